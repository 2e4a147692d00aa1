"""Chapter 04: spans that are imitated, the loss on them, what is cut, what is packed, what is kept, and how
refusals are counted.
"""

import math
import random

import torch
import torch.nn.functional as F

from ...learn.exercise import Exercise, case

# ---- span masking ----


def span_mask(offsets, spans):
    """offsets: for each token its (start, end) in the text's characters, end not included. spans: list of
    (start, end) that are to be imitated, such as the JSON of a call. Returns a list with 1 for every token
    that shares a character with a span, else 0; a token without characters is 0.
    """
    return [int(any(max(a, s) < min(b, e) for s, e in spans)) for a, b in offsets]


def _span_mask_characters(offsets, spans):
    inside = {i for start, end in spans for i in range(start, end)}
    return [int(not inside.isdisjoint(range(a, b))) for a, b in offsets]


def whole_tokens_only(offsets, spans):
    """You take only tokens that lie in a span from end to end. One that begins before it (a space and a
    bracket are often one token) is lost.
    """
    return [int(b > a and any(s <= a and b <= e for s, e in spans)) for a, b in offsets]


def neighbours_too(offsets, spans):
    """Tokens that merely touch the span are taken too: the end is not included, so the comparison is <, not
    ≤.
    """
    return [int(b > a and any(max(a, s) <= min(b, e) for s, e in spans)) for a, b in offsets]


def by_first_character(offsets, spans):
    """You look at a token's first character only: one that begins before the span and reaches into it is
    lost.
    """
    return [int(b > a and any(s <= a < e for s, e in spans)) for a, b in offsets]


def one_long_span(offsets, spans):
    """You imitate everything from the first span to the last one: what lies between two calls is to be left
    out.
    """
    low, high = min((s for s, _ in spans), default=0), max((e for _, e in spans), default=0)
    return [int(max(a, low) < min(b, high)) for a, b in offsets]


def empty_tokens_too(offsets, spans):
    """A token without characters (a control token, a marker) lies nowhere in the text and is not part of a
    span.
    """
    return [int(any(max(a, s) < min(b, e) or (a == b and s <= a < e) for s, e in spans)) for a, b in offsets]


def _offsets(r, n):
    found, place = [], 0
    for _ in range(n):
        length = r.choice((0, 1, 1, 2, 3, 4))
        found.append((place, place + length))
        place += length
    return found


def _span_cases():
    r, found = random.Random(41), []
    for _ in range(8):
        offsets = _offsets(r, r.randrange(6, 14))
        cuts = sorted(r.sample(range(offsets[-1][1] + 5), 4))
        found.append(case("random", offsets, [(cuts[0], cuts[1]), (cuts[2], cuts[3])][: r.randrange(1, 3)]))
    return [
        case("a token that straddles the boundary", [(0, 3), (3, 5), (5, 8), (8, 9)], [(4, 8)]),
        case("two spans and an empty token", [(0, 2), (2, 2), (2, 4), (4, 6), (6, 8)], [(0, 3), (6, 7)]),
        case("no span", [(0, 2), (2, 4)], []),
        *found,
    ]


SPAN_MASK = Exercise(
    span_mask,
    "Turn spans of characters into a mask of tokens: loss on the JSON of a call and on nothing else.",
    _span_cases,
    (
        "When do two stretches of a line share a point?",
        "The later of the two starts must lie before the earlier of the two ends.",
        "max(a, s) < min(b, e), for any span.",
    ),
    (_span_mask_characters,),
    (whole_tokens_only, neighbours_too, by_first_character, one_long_span, empty_tokens_too),
)

# ---- the loss under a mask ----


def sft_loss(logits, ids, mask):
    """logits [T, V] of one sequence; ids, mask [T]. Row t of the logits predicts token t + 1. Returns the
    mean negative log-likelihood (nats) of the tokens whose mask is 1, as a number. The first token is
    predicted by nothing and does not count.
    """
    logprobs = torch.log_softmax(logits[:-1], -1).gather(-1, ids[1:, None])[:, 0]
    return float(-(logprobs * mask[1:]).sum() / mask[1:].sum())


def _sft_loss_labels(logits, ids, mask):
    labels = ids.masked_fill(mask == 0, -100)
    return F.cross_entropy(logits[:-1], labels[1:]).item()


def not_shifted(logits, ids, mask):
    """Row t of the logits is held against token t, which the model has just read. It predicts token t + 1:
    shift.
    """
    return F.cross_entropy(logits, ids.masked_fill(mask == 0, -100)).item()


def mask_not_shifted(logits, ids, mask):
    """The tokens are shifted and the mask is not: the last token of the question counts, and the closing
    token of the answer does not.
    """
    logprobs = torch.log_softmax(logits[:-1], -1).gather(-1, ids[1:, None])[:, 0]
    return float(-(logprobs * mask[:-1]).sum() / mask[:-1].sum().clamp(min=1))


def mean_over_all(logits, ids, mask):
    """You divide by all positions. Then an answer counts the less the longer its question is: divide by the
    number of labels.
    """
    logprobs = torch.log_softmax(logits[:-1], -1).gather(-1, ids[1:, None])[:, 0]
    return float(-(logprobs * mask[1:]).mean())


def summed(logits, ids, mask):
    """That is the sum, which grows with the answer's length; wanted is the mean."""
    logprobs = torch.log_softmax(logits[:-1], -1).gather(-1, ids[1:, None])[:, 0]
    return float(-(logprobs * mask[1:]).sum())


def unmasked(logits, ids, mask):
    """The mask is not used: the model is graded on the question as well."""
    return F.cross_entropy(logits[:-1], ids[1:]).item()


def _loss_case(generator, length, vocab=11):
    logits = torch.randn(length, vocab, generator=generator) * 2
    ids = torch.randint(0, vocab, (length,), generator=generator)
    mask = (torch.rand(length, generator=generator) < 0.5).float()
    mask[-2:], mask[1] = torch.tensor([1.0, 1.0]), 0.0
    return logits, ids, mask


def _loss_cases():
    generator = torch.Generator().manual_seed(42)
    return [case(f"{n} tokens", *_loss_case(generator, n)) for n in (4, 5, 7, 12, 20, 33)]


SFT_LOSS = Exercise(
    sft_loss,
    "Write the loss of supervised fine-tuning: the mean negative log-likelihood of the tokens under the mask,"
    " the shift by one included.",
    _loss_cases,
    (
        "Which row of the logits predicts the token at place t?",
        "Cut the last row of the logits and the first token of ids and mask; then they stand side by side.",
        "gather the log-softmax at ids[1:], weigh by mask[1:], divide by its sum.",
    ),
    (_sft_loss_labels,),
    (not_shifted, mask_not_shifted, mean_over_all, summed, unmasked),
)

# ---- what is too long ----


def keep_answer(ids, answer, length):
    """ids: list of tokens, the last `answer` of which are the answer (answer ≤ length). Returns at most
    `length` of them: everything if it fits; else the answer whole, the rest of the room filled with the
    *beginning* of the prompt, where instructions and tools are.
    """
    if len(ids) <= length:
        return list(ids)
    head = length - answer
    return list(ids[:head]) + list(ids[len(ids) - answer :])


def _keep_answer_places(ids, answer, length):
    places = (
        range(len(ids))
        if len(ids) <= length
        else [*range(length - answer), *range(len(ids) - answer, len(ids))]
    )
    return [ids[i] for i in places]


def cut_right(ids, answer, length):
    """You cut on the right: the answer, the only part with labels, is what goes first."""
    return list(ids[:length])


def cut_left(ids, answer, length):
    """You cut on the left: the answer stays, but the system prompt and the tools are gone. Fill the room from
    the beginning.
    """
    return list(ids[max(0, len(ids) - length) :])


def always_cut(ids, answer, length):
    """A conversation that fits must stay as it is; you duplicate or drop tokens of it."""
    return list(ids[: length - answer]) + list(ids[-answer:])


def dropped(ids, answer, length):
    """You drop what is too long. Then long conversations are never learnt from, and nobody notices."""
    return list(ids) if len(ids) <= length else []


def _keep_cases():
    r, found = (
        random.Random(43),
        [
            case("fits", [1, 2, 3], 1, 8),
            case("answer of two", [1, 2, 3, 4, 5, 6], 2, 4),
            case("answer alone", [1, 2, 3, 4], 3, 3),
        ],
    )
    for _ in range(8):
        n = r.randrange(6, 30)
        answer = r.randrange(1, 5)
        found.append(
            case("random", [r.randrange(3, 99) for _ in range(n)], answer, r.randrange(answer, n + 6))
        )
    return found


KEEP_ANSWER = Exercise(
    keep_answer,
    "Cut a conversation that is too long so that the answer survives and the beginning of the prompt"
    " with it.",
    _keep_cases,
    (
        "Which end carries the labels, and which one the instructions?",
        "The room that is left beside the answer is length − answer tokens.",
        "ids[:length − answer] + ids[len(ids) − answer:], if the whole does not fit.",
    ),
    (_keep_answer_places,),
    (cut_right, cut_left, always_cut, dropped),
)

# ---- rejection sampling ----


def rejection_sample(groups):
    """groups: for each prompt a list of (text, reward) in the order of sampling; reward is 1 for right, 0 for
    wrong. Returns what is imitated: a list of (number of the prompt, text), at most one a prompt, its first
    right sample; prompts without a right one are left out.
    """
    found = []
    for i, group in enumerate(groups):
        right = [text for text, reward in group if reward == 1]
        if right:
            found.append((i, right[0]))
    return found


def _rejection_sample_next(groups):
    firsts = (
        (i, next((text for text, reward in group if reward == 1), None)) for i, group in enumerate(groups)
    )
    return [(i, text) for i, text in firsts if text is not None]


def every_right_one(groups):
    """You keep every right sample: an easy prompt then has many rows, a hard one few, and the data drifts to
    what is known already. One a prompt.
    """
    return [(i, text) for i, group in enumerate(groups) for text, reward in group if reward == 1]


def best_even_if_wrong(groups):
    """The best sample of a prompt may still be wrong; then nothing of that prompt is to be imitated."""
    return [(i, max(group, key=lambda s: s[1])[0]) for i, group in enumerate(groups) if group]


def first_sample(groups):
    """You take the first sample whatever it is: that is imitation of oneself, errors and all."""
    return [(i, group[0][0]) for i, group in enumerate(groups) if group]


def commonest(groups):
    """That is a vote: the commonest sample may be wrong, and the reward is not looked at."""
    texts = [[text for text, _ in group] for group in groups]
    return [(i, max(group, key=group.count)) for i, group in enumerate(texts) if group]


def renumbered(groups):
    """The numbers are those of the kept rows, not of the prompts: text and prompt no longer belong
    together.
    """
    kept = [next((t for t, reward in group if reward == 1), None) for group in groups]
    return list(enumerate(t for t in kept if t is not None))


def _rejection_cases():
    r = random.Random(44)
    small = [[("5", 0), ("7", 1), ("7", 1)], [("3", 0), ("4", 0)], [("9", 1)]]
    groups = [
        [
            [(str(r.randrange(4)), int(r.random() < 0.4)) for _ in range(r.randrange(1, 6))]
            for _ in range(r.randrange(2, 7))
        ]
        for _ in range(8)
    ]
    return [
        case("three prompts", small),
        case("no sample", [[], [("1", 1)]]),
        *(case("random", g) for g in groups),
    ]


REJECTION_SAMPLE = Exercise(
    rejection_sample,
    "Choose what to imitate from K checked samples a prompt.",
    _rejection_cases,
    (
        "What happens to the mixture if an easy prompt keeps eight samples and a hard one keeps one?",
        "At most one a prompt, the first with reward 1; none where there is none.",
        "next((text for text, reward in group if reward == 1), None)",
    ),
    (_rejection_sample_next,),
    (every_right_one, best_even_if_wrong, first_sample, commonest, renumbered),
)

# ---- over- and under-refusal ----


def refusal_rates(rows):
    """rows: list of (dangerous, refused), two booleans a request. Returns (share of the dangerous requests
    that were answered, share of the harmless ones that were refused); nan for a kind that does not occur.
    """
    dangerous = [refused for is_dangerous, refused in rows if is_dangerous]
    harmless = [refused for is_dangerous, refused in rows if not is_dangerous]
    under = sum(not refused for refused in dangerous) / len(dangerous) if dangerous else math.nan
    return under, sum(harmless) / len(harmless) if harmless else math.nan


def _refusal_rates_counts(rows):
    answered, refused, of = 0, 0, [0, 0]
    for dangerous, declined in rows:
        of[bool(dangerous)] += 1
        answered += bool(dangerous) and not declined
        refused += not dangerous and bool(declined)
    return tuple(n / d if d else math.nan for n, d in ((answered, of[1]), (refused, of[0])))


def of_all_requests(rows):
    """You divide by all requests: with few dangerous ones in the test a model that answers every one of them
    looks safe.
    """
    n = len(rows) or math.nan
    return sum(d and not r for d, r in rows) / n, sum(r and not d for d, r in rows) / n


def accuracy_only(rows):
    """One number hides which way it errs. Wanted are both rates."""
    right = [d == r for d, r in rows]
    share = 1 - sum(right) / len(right) if right else math.nan
    return share, share


def swapped(rows):
    """The two rates are in the other order: first the dangerous ones that were answered."""
    return refusal_rates(rows)[::-1]


def refused_dangerous(rows):
    """The first number is the share of dangerous requests that were *answered*; yours is the share
    refused.
    """
    under, over = refusal_rates(rows)
    return 1 - under, over


def _refusal_cases():
    r = random.Random(45)
    random_rows = [
        [(r.random() < 0.2, r.random() < 0.5) for _ in range(r.randrange(3, 30))] for _ in range(8)
    ]
    mixed = [(True, True), (True, False), (False, False), (False, False), (False, True)]
    return [
        case("five requests", mixed),
        case("no harmless one", [(True, False), (True, True), (True, True)]),
        *(case("random", rows) for rows in random_rows),
    ]


REFUSAL_RATES = Exercise(
    refusal_rates,
    "Measure over- and under-refusal apart.",
    _refusal_cases,
    (
        "Of which requests is each error a share?",
        "Dangerous requests can only be under-refused, harmless ones only over-refused: two denominators.",
        "Split by `dangerous`, then two means; nan for an empty list.",
    ),
    (_refusal_rates_counts,),
    (of_all_requests, accuracy_only, swapped, refused_dangerous),
)

# ---- packing conversations ----


def first_fit(lengths, room):
    """lengths: tokens of each conversation, none longer than room. Packs them whole into rows of `room`
    tokens by first fit decreasing: longest first (equal ones in their order), each into the first row that
    still has room. Returns the rows as lists of the conversations' numbers.
    """
    rows, free = [], []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        row = next((k for k, space in enumerate(free) if space >= lengths[i]), None)
        if row is None:
            rows.append([])
            free.append(room)
            row = len(rows) - 1
        rows[row].append(i)
        free[row] -= lengths[i]
    return rows


def _first_fit_sums(lengths, room):
    rows = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        for row in rows:
            if sum(lengths[k] for k in row) + lengths[i] <= room:
                row.append(i)
                break
        else:
            rows.append([i])
    return rows


def next_fit(lengths, room):
    """You only look at the last row: earlier ones with room left stay half empty."""
    rows = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if rows and sum(lengths[k] for k in rows[-1]) + lengths[i] <= room:
            rows[-1].append(i)
        else:
            rows.append([i])
    return rows


def unsorted(lengths, room):
    """You take them in their order: a long one at the end finds no row. Longest first."""
    rows = []
    for i, n in enumerate(lengths):
        row = next((row for row in rows if sum(lengths[k] for k in row) + n <= room), None)
        rows.append([i]) if row is None else row.append(i)
    return rows


def shortest_first(lengths, room):
    """Shortest first fills rows with small ones and leaves each long one a row of its own."""
    rows = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        row = next((row for row in rows if sum(lengths[k] for k in row) + lengths[i] <= room), None)
        rows.append([i]) if row is None else row.append(i)
    return rows


def exactly_full_refused(lengths, room):
    """A conversation that fills a row to the last token fits: the test is ≤, not <."""
    rows = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        row = next((row for row in rows if sum(lengths[k] for k in row) + lengths[i] < room), None)
        rows.append([i]) if row is None else row.append(i)
    return rows


def _first_fit_cases():
    r = random.Random(46)
    found = [case("three rows", [5, 9, 3, 7, 2], 10), case("exactly full", [6, 4, 5, 5], 10)]
    return found + [
        case("random", [r.randrange(1, 21) for _ in range(r.randrange(4, 14))], 20) for _ in range(8)
    ]


FIRST_FIT = Exercise(
    first_fit,
    "Pack whole conversations into rows, so that none is cut and little is padding.",
    _first_fit_cases,
    (
        "A large stone first, then the sand.",
        "Longest first; each into the first row whose free room is enough; a new row if there is none.",
        "sorted(range(len(lengths)), key=lambda i: -lengths[i]) keeps equal ones in their order.",
    ),
    (_first_fit_sums,),
    (next_fit, unsorted, shortest_first, exactly_full_refused),
)

EXERCISES = (SPAN_MASK, SFT_LOSS, KEEP_ANSWER, REJECTION_SAMPLE, REFUSAL_RATES, FIRST_FIT)
