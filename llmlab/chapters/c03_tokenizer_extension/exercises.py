"""Chapter 03: fragmentation, which tokens to add, how their rows begin, what is comparable across tokenizers,
and oversampling.
"""

import math
import random
import statistics

import torch
import torch.nn.functional as F

from ...learn.exercise import Exercise, case


class Pieces:
    """A toy tokenizer: the longest piece of its list that fits, else single characters. Called with a text it
    returns a list of pieces.
    """

    def __init__(self, *vocabulary):
        self.vocabulary = sorted(vocabulary, key=len, reverse=True)

    def __call__(self, text):
        found = []
        while text:
            piece = next((v for v in self.vocabulary if text.startswith(v)), text[0])
            found, text = [*found, piece], text[len(piece) :]
        return found

    def __repr__(self):
        return f"Pieces({', '.join(map(repr, self.vocabulary))})"


ENGLISH = (
    " take",
    " tablet",
    "take",
    " heart",
    "tablet",
    "ment",
    "ing",
    " a",
    "or",
    "in",
    "an",
    "er",
    "th",
    " z",
    "vex",
    "zor",
)


def _random_words(r, n):
    return [
        "".join(r.choices(("zor", "vex", "an", "in", "ment", "take", "x", "q"), k=r.randrange(1, 5)))
        for _ in range(n)
    ]


# ---- fragmentation ----


def fragmentation(words, tokenize):
    """words: a list of strings without spaces. tokenize: text -> list of pieces. Returns (mean pieces a word,
    share of words with 5 pieces or more), each word tokenised as it stands inside a sentence: with a space
    before it.
    """
    counts = [len(tokenize(" " + word)) for word in words]
    return sum(counts) / len(counts), sum(n >= 5 for n in counts) / len(counts)


def _fragmentation_tensor(words, tokenize):
    counts = torch.tensor([float(len(tokenize(f" {word}"))) for word in words])
    return counts.mean().item(), (counts > 4).float().mean().item()


def without_space(words, tokenize):
    """You tokenise the word at the beginning of a text. Inside a sentence a space comes before it, and most
    tokenizers have other pieces for that.
    """
    counts = [len(tokenize(word)) for word in words]
    return statistics.fmean(counts), statistics.fmean(n >= 5 for n in counts)


def more_than_five(words, tokenize):
    """Five pieces are already too many: count n ≥ 5, not n > 5."""
    counts = [len(tokenize(" " + word)) for word in words]
    return statistics.fmean(counts), statistics.fmean(n > 5 for n in counts)


def different_pieces(words, tokenize):
    """You count *different* pieces. A piece that comes twice takes two places in the context."""
    counts = [len(set(tokenize(" " + word))) for word in words]
    return statistics.fmean(counts), statistics.fmean(n >= 5 for n in counts)


def characters_a_piece(words, tokenize):
    """That is characters a piece, which falls as words shatter. Wanted: pieces a word."""
    counts = [len(tokenize(" " + word)) for word in words]
    return sum(len(w) + 1 for w in words) / sum(counts), statistics.fmean(n >= 5 for n in counts)


def _fragmentation_cases():
    r = random.Random(16)
    tokenize = Pieces(*ENGLISH)
    return [
        case("a common word and a drug", ["tablet", "zorvexin"], tokenize),
        case("words of 5 and of 7 pieces", ["xqqx", "xqqxqx"], tokenize),
        case("a piece that repeats", ["xxxxx", "take"], tokenize),
        *(case("random words", _random_words(r, r.randrange(1, 12)), tokenize) for _ in range(8)),
    ]


FRAGMENTATION = Exercise(
    fragmentation,
    "Measure how badly a tokenizer shatters a word list: mean pieces a word, and the share of words that"
    " become 5 pieces or more.",
    _fragmentation_cases,
    (
        "Where in a text does a word of your list usually stand?",
        "Tokenise ' ' + word; count the pieces of every word.",
        "counts = [len(tokenize(' ' + word)) for word in words], then two means.",
    ),
    (_fragmentation_tensor,),
    (without_space, more_than_five, different_pieces, characters_a_piece),
)

# ---- which tokens are worth adding? ----


def tokens_saved(counts, tokenize, n):
    """counts: {word: how often it comes in the corpus}. tokenize: text -> list of pieces (no space needed
    here). Returns the n best words to add as (word, tokens saved in the corpus), best first, equal ones in
    alphabetical order; words that save nothing are left out.
    """
    saved = {word: count * (len(tokenize(word)) - 1) for word, count in counts.items()}
    ranked = sorted(saved.items(), key=lambda item: (-item[1], item[0]))
    return [(word, s) for word, s in ranked if s > 0][:n]


def _tokens_saved_loop(counts, tokenize, n):
    left, best = dict(counts), []
    while left and len(best) < n:
        word = min(left, key=lambda w: (-left[w] * (len(tokenize(w)) - 1), w))
        saving = left.pop(word) * (len(tokenize(word)) - 1)
        if saving:
            best.append((word, saving))
    return best


def _ranked(counts, tokenize, n, rank):
    order = sorted(counts, key=lambda w: (-rank(w), w))
    saving = lambda w: counts[w] * (len(tokenize(w)) - 1)
    return [(w, saving(w)) for w in order if saving(w) > 0][:n]


def by_frequency(counts, tokenize, n):
    """You rank by frequency: a frequent word of two pieces saves less than one half as frequent of six. Rank
    by count × (pieces − 1).
    """
    return _ranked(counts, tokenize, n, lambda w: counts[w])


def by_pieces(counts, tokenize, n):
    """You rank by pieces: the worst word may come once in the corpus. Rank by count × (pieces − 1)."""
    return _ranked(counts, tokenize, n, lambda w: len(tokenize(w)))


def own_token_forgotten(counts, tokenize, n):
    """The new token itself takes a place: a word of k pieces saves k − 1 each time, not k."""
    saved = {word: count * len(tokenize(word)) for word, count in counts.items()}
    return sorted(((w, s) for w, s in saved.items() if s > counts[w]), key=lambda item: (-item[1], item[0]))[
        :n
    ]


def useless_added(counts, tokenize, n):
    """You add words that are one token already. They save nothing, and a row of the embedding is not free."""
    saved = {word: count * (len(tokenize(word)) - 1) for word, count in counts.items()}
    return sorted(saved.items(), key=lambda item: (-item[1], item[0]))[:n]


def _tokens_saved_cases():
    r = random.Random(17)
    tokenize = Pieces(*ENGLISH)
    return [
        case("frequent or shattered?", {"takeing": 10, "zorvexqqq": 4, "qqqqqqqq": 1}, tokenize, 2),
        case("one word is a token already", {"take": 50, "zorvex": 2}, tokenize, 2),
        case("equal savings", {"zorvex": 3, "antake": 3, "inin": 3}, tokenize, 2),
        *(
            case(
                "random words",
                {w: r.randrange(1, 30) for w in _random_words(r, 10)},
                tokenize,
                r.randrange(2, 7),
            )
            for _ in range(10)
        ),
    ]


TOKENS_SAVED = Exercise(
    tokens_saved,
    "Choose new tokens by what they are worth: how many tokens would the corpus lose if the word were one"
    " token?",
    _tokens_saved_cases,
    (
        "A word of k pieces becomes one token. How many are saved each time it comes?",
        "saved = count × (pieces − 1); sort by −saved, then by the word.",
        "sorted(saved.items(), key=lambda item: (-item[1], item[0])), keep what is > 0, cut at n.",
    ),
    (_tokens_saved_loop,),
    (by_frequency, by_pieces, own_token_forgotten, useless_added),
)

# ---- new rows ----


def init_rows(embedding, pieces):
    """embedding [V,D]. pieces: for each of the n new tokens the list of old ids it was split into. Returns a
    new [V+n,D] tensor: the old rows unchanged, then one row a new token, the mean of its pieces' rows.
    """
    return torch.cat([embedding, *(embedding[ids].mean(0, keepdim=True) for ids in pieces)])


def _init_rows_loop(embedding, pieces):
    grown = torch.empty(len(embedding) + len(pieces), embedding.shape[1])
    grown[: len(embedding)] = embedding
    for i, ids in enumerate(pieces):
        grown[len(embedding) + i] = sum(embedding[j] for j in ids) / len(ids)
    return grown


def _init_rows_matrix(embedding, pieces):
    average = torch.zeros(len(pieces), len(embedding))
    for i, ids in enumerate(pieces):
        for j in ids:
            average[i, j] += 1 / len(ids)
    return torch.cat([embedding, average @ embedding])


def rows_of_global_mean(embedding, pieces):
    """Every new row is the mean of the *whole* vocabulary: all new tokens start as the same one, and say
    nothing about their word.
    """
    return torch.cat([embedding, embedding.mean(0).expand(len(pieces), -1)])


def rows_summed(embedding, pieces):
    """You add the pieces up. The new row is then longer than any old one, and its logit too large: take the
    mean.
    """
    return torch.cat([embedding, torch.stack([embedding[ids].sum(0) for ids in pieces])])


def rows_of_last_piece(embedding, pieces):
    """You copy the last piece: every word that ends alike becomes the same token. Take the mean of all its
    pieces.
    """
    return torch.cat([embedding, torch.stack([embedding[ids[-1]] for ids in pieces])])


def rows_in_front(embedding, pieces):
    """The new rows come first, so every old id now points to another row. Append them."""
    return torch.cat([torch.stack([embedding[ids].mean(0) for ids in pieces]), embedding])


def rows_of_different_pieces(embedding, pieces):
    """You count a piece that comes twice only once. It is in the word twice, so it has twice the weight."""
    return torch.cat([embedding, torch.stack([embedding[sorted(set(ids))].mean(0) for ids in pieces])])


def _init_rows_cases():
    r, generator = random.Random(18), torch.Generator().manual_seed(18)
    return [
        case("one new token of two pieces", torch.tensor([[1.0, 0.0], [0.0, 1.0], [4.0, 4.0]]), [[0, 1]]),
        case("a piece that comes twice", torch.tensor([[1.0, 0.0], [0.0, 1.0], [4.0, 4.0]]), [[0, 1, 1]]),
        *(
            case(
                "random rows",
                torch.randn(v, 3, generator=generator),
                [[r.randrange(v) for _ in range(r.randrange(2, 6))] for _ in range(n)],
            )
            for v, n in ((6, 2), (9, 4), (20, 7))
        ),
    ]


INIT_ROWS = Exercise(
    init_rows,
    "Resize the embedding for new tokens, each starting as the mean of the pieces it replaces. (With tied"
    " embeddings this one matrix is the head, too.)",
    _init_rows_cases,
    (
        "What did the model read so far where the new token will stand?",
        "embedding[ids].mean(0) is one new row; the new rows come after the old ones.",
        "torch.cat([embedding, torch.stack([...])])",
    ),
    (_init_rows_loop, _init_rows_matrix),
    (rows_of_global_mean, rows_summed, rows_of_last_piece, rows_in_front, rows_of_different_pieces),
)

# ---- do new rows start as twins? ----


def row_likeness(embedding, n_new):
    """embedding [V,D], whose last n_new ≥ 2 rows are new. Returns the mean cosine over all pairs of different
    new rows, a number: 1 = they are all alike.
    """
    rows = F.normalize(embedding[-n_new:], dim=1)
    cosine = rows @ rows.T
    return (cosine.sum() - cosine.diagonal().sum()) / (n_new * (n_new - 1))


def _row_likeness_loop(embedding, n_new):
    new, found = embedding[len(embedding) - n_new :], []
    for i in range(n_new):
        for j in range(i):
            found.append(F.cosine_similarity(new[i], new[j], dim=0))
    return sum(found) / len(found)


def with_itself(embedding, n_new):
    """You count each row with itself, which always gives 1. Leave the diagonal out."""
    rows = F.normalize(embedding[-n_new:], dim=1)
    return (rows @ rows.T).mean()


def all_rows(embedding, n_new):
    """You compare all rows. The question is whether the *new* ones are alike: the last n_new."""
    return row_likeness(embedding, len(embedding))


def dot_product(embedding, n_new):
    """That is the dot product, which also grows with the rows' lengths. For the cosine divide each row by its
    length first.
    """
    rows = embedding[-n_new:]
    product = rows @ rows.T
    return (product.sum() - product.diagonal().sum()) / (n_new * (n_new - 1))


def _likeness_cases():
    generator = torch.Generator().manual_seed(19)
    draw = lambda *shape: torch.randn(*shape, generator=generator)
    mean = draw(6, 4) + 1
    return [
        case("two new rows at right angles", torch.tensor([[5.0, 5.0], [2.0, 0.0], [0.0, 3.0]]), 2),
        case("all new rows are the mean of the old ones", torch.cat([mean, mean.mean(0).expand(3, -1)]), 3),
        *(case("random rows", draw(v, d) + 0.5, n) for v, d, n in ((6, 3, 2), (12, 5, 4), (9, 2, 8))),
    ]


ROW_LIKENESS = Exercise(
    row_likeness,
    "The resize trap: rows that all start at the mean of the old ones are told apart by nothing. Measure how"
    " alike the new rows are.",
    _likeness_cases,
    (
        "Take the last n_new rows and make each one unit long.",
        "rows @ rows.T holds all cosines; its diagonal is each row with itself.",
        "n_new · (n_new − 1) places are left beside the diagonal.",
    ),
    (_row_likeness_loop,),
    (with_itself, all_rows, dot_product),
)

# ---- comparing across tokenizers ----


def loss_per_character(losses, texts):
    """losses: for each text the list of its tokens' losses in nats. texts: the texts. Returns nats a
    character over the whole corpus, a number: comparable between models with different tokenizers.
    """
    return sum(map(sum, losses)) / sum(map(len, texts))


def _loss_per_character_loop(losses, texts):
    nats = characters = 0
    for of_tokens, text in zip(losses, texts):
        for loss in of_tokens:
            nats += loss
        characters += len(text)
    return nats / characters


def loss_per_token(losses, texts):
    """That is nats a *token*. A tokenizer with longer pieces has fewer tokens, each harder: its loss a token
    rises though nothing got worse.
    """
    return statistics.fmean(x for of_tokens in losses for x in of_tokens)


def mean_of_ratios(losses, texts):
    """You average over texts: a short text then counts as much as a long one. One sum of nats, one sum of
    characters.
    """
    return statistics.fmean(sum(of_tokens) / len(text) for of_tokens, text in zip(losses, texts))


def loss_per_byte(losses, texts):
    """You divide by bytes. That is a fair measure too, but another one: an é has two bytes and is one
    character.
    """
    return sum(map(sum, losses)) / sum(len(text.encode()) for text in texts)


def bits_per_character(losses, texts):
    """Those are bits. Wanted are nats: do not divide by ln 2."""
    return sum(map(sum, losses)) / sum(map(len, texts)) / math.log(2)


def _loss_cases():
    r = random.Random(20)
    text = lambda n: "".join(r.choices("abc déß ", k=n))
    return [
        case("the same text in 4 tokens", [[1.0, 2.0, 0.5, 0.5]], ["zorvexin"]),
        case("and in one", [[3.0]], ["zorvexin"]),
        case("a short text and a long one", [[4.0], [1.0, 1.0]], ["ab", "a longer text"]),
        case("letters with accents", [[2.0, 1.0]], ["café"]),
        *(
            case(
                "random",
                [[4 * r.random() for _ in range(r.randrange(1, 6))] for _ in range(3)],
                [text(r.randrange(5, 30)) for _ in range(3)],
            )
            for _ in range(6)
        ),
    ]


LOSS_PER_CHARACTER = Exercise(
    loss_per_character,
    "After new tokens were added, the loss per token rose. Is the model worse? Compute what is comparable:"
    " the loss per character.",
    _loss_cases,
    (
        "What does not change when the tokenizer does?",
        "All nats of the corpus, divided by all its characters.",
        "len(text) counts characters.",
    ),
    (_loss_per_character_loop,),
    (loss_per_token, mean_of_ratios, loss_per_byte, bits_per_character),
)

# ---- warm-up by oversampling ----


def oversample_weights(documents, new, target):
    """documents: lists of ids. new: the set of new ids. target: the share of drawn documents that shall hold
    a new token. Returns one weight a document, adding up to 1, equal among documents that contain a new token
    and among those that do not; uniform if one of the two kinds is missing.
    """
    holds = [any(i in new for i in ids) for ids in documents]
    n = sum(holds)
    if n in (0, len(documents)):
        return [1 / len(documents)] * len(documents)
    return [target / n if h else (1 - target) / (len(documents) - n) for h in holds]


def _oversample_by_groups(documents, new, target):
    groups = {True: [], False: []}
    for place, ids in enumerate(documents):
        groups[not new.isdisjoint(ids)].append(place)
    if not groups[True] or not groups[False]:
        return [1 / len(documents) for _ in documents]
    weights = [0.0] * len(documents)
    for held, share in ((True, target), (False, 1 - target)):
        for place in groups[held]:
            weights[place] = share / len(groups[held])
    return weights


def numbers_forgotten(documents, new, target):
    """You give each *document* the share of its kind. If few contain a new token they still come too
    seldom: divide the share by their number.
    """
    raw = [target if not new.isdisjoint(ids) else 1 - target for ids in documents]
    return [w / sum(raw) for w in raw]


def not_normalised(documents, new, target):
    """The weights do not add up to 1."""
    return [w * len(documents) for w in oversample_weights(documents, new, target)]


def by_occurrences(documents, new, target):
    """You weigh by how many new tokens a document holds: a few documents then come again and again. Equal
    weights among those that hold any.
    """
    counts = [sum(i in new for i in ids) for ids in documents]
    if 0 in (sum(counts), counts.count(0)):
        return [1 / len(documents)] * len(documents)
    return [target * c / sum(counts) if c else (1 - target) / counts.count(0) for c in counts]


def natural(documents, new, target):
    """That is the natural frequency: new tokens are rare, and stay noise for long. Raise their documents'
    share to `target`.
    """
    return [1 / len(documents)] * len(documents)


def missing_kind(documents, new, target):
    """If no document contains a new token (or all do) your weights do not add up to 1: then draw evenly."""
    holds = [not new.isdisjoint(ids) for ids in documents]
    n = sum(holds)
    return [target / n if h else (1 - target) / (len(documents) - n) for h in holds]


def _oversample_cases():
    r = random.Random(21)
    return [
        case("one document of four holds a new token", [[1, 2], [3, 99], [4], [5, 6]], {99}, 0.5),
        case("a document contains it twice", [[99, 99], [99, 1], [2], [3]], {99}, 0.6),
        case("no document contains one", [[1], [2]], {99}, 0.5),
        case("all do", [[99], [98, 1]], {98, 99}, 0.5),
        *(
            case(
                "random documents",
                [[r.randrange(30) for _ in range(r.randrange(1, 5))] for _ in range(8)],
                {27, 28, 29},
                0.4,
            )
            for _ in range(8)
        ),
    ]


OVERSAMPLE_WEIGHTS = Exercise(
    oversample_weights,
    "Warm the new tokens up: draw documents so that a share `target` of them holds a new token.",
    _oversample_cases,
    (
        "How many documents contain a new token, and what must all their weights together be?",
        "target / (how many hold one) for each that does, (1 − target) / (how many do not) for the others.",
        "If one of the two kinds is empty, every weight is 1 / len(documents).",
    ),
    (_oversample_by_groups,),
    (numbers_forgotten, not_normalised, by_occurrences, natural, missing_kind),
)

EXERCISES = (FRAGMENTATION, TOKENS_SAVED, INIT_ROWS, ROW_LIKENESS, LOSS_PER_CHARACTER, OVERSAMPLE_WEIGHTS)
