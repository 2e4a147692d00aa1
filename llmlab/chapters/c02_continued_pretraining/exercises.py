"""Chapter 02: packing, replay, curriculum, domain mixing, the gate, clean data, and the KL penalty to
the base model.
"""

import math
import random
import statistics

import torch
import torch.nn.functional as F

from ...learn.exercise import Exercise, case

# ---- packing into rows ----


def pack_plain(documents, end, length):
    """documents: lists of ids without an end token. Every document gets `end`; the stream of all of them is
    cut into rows of `length`. Returns the full rows, a list of lists; what is left over is dropped.
    """
    stream = [token for ids in documents for token in [*ids, end]]
    return [stream[i : i + length] for i in range(0, len(stream) - length + 1, length)]


def _pack_plain_stream(documents, end, length):
    rows, row = [], []
    for ids in documents:
        for token in ids + [end]:
            row.append(token)
            if len(row) == length:
                rows.append(row)
                row = []
    return rows


def pack_without_end(documents, end, length):
    """You join documents without `end`: the model cannot tell where one stops, and never learns to stop
    itself.
    """
    stream = [token for ids in documents for token in ids]
    return [stream[i : i + length] for i in range(0, len(stream) - length + 1, length)]


def pack_end_between(documents, end, length):
    """You put `end` between documents only; the last one needs its own."""
    stream = [token for ids in documents for token in [*ids, end]][:-1]
    return [stream[i : i + length] for i in range(0, len(stream) - length + 1, length)]


def pack_short_rest(documents, end, length):
    """You keep a last row that is too short. Rows of unequal length make no tensor: drop it (the next
    documents would fill it).
    """
    stream = [token for ids in documents for token in [*ids, end]]
    return [stream[i : i + length] for i in range(0, len(stream), length)]


def pack_rest_padded(documents, end, length):
    """You fill the last row up. Packing has no padding: drop what does not fill a row."""
    rows = pack_short_rest(documents, end, length)
    return [row + [end] * (length - len(row)) for row in rows]


def pack_each_alone(documents, end, length):
    """You cut each document by itself and lose its rest: rows may hold several documents, and a document may
    go on in the next row.
    """
    return [row for ids in documents for row in pack_plain([ids], end, length)]


def _pack_cases():
    r = random.Random(9)
    document = lambda: [r.randrange(1, 50) for _ in range(r.randrange(0, 9))]
    return [
        case("the chapter's documents", [[5, 6], [7, 8, 9, 4], [3], [2]], 0, 6),
        case("one document longer than a row", [[1, 2, 3, 4, 5, 6, 7]], 0, 3),
        case("the end token fills the last row", [[1, 2], [3, 4]], 0, 3),
        case("too little for one row", [[1, 2]], 0, 9),
        *(
            case("random documents", [document() for _ in range(r.randrange(1, 8))], 0, r.randrange(2, 8))
            for _ in range(12)
        ),
    ]


PACK_PLAIN = Exercise(
    pack_plain,
    "Pack documents without a reset: one stream, cut into full rows.",
    _pack_cases,
    (
        "First the stream, then the cuts.",
        "stream = document 1, end, document 2, end, …; row i is stream[i·length : (i + 1)·length].",
        "The last start that gives a full row is len(stream) − length.",
    ),
    (_pack_plain_stream,),
    (pack_without_end, pack_end_between, pack_short_rest, pack_rest_padded, pack_each_alone),
)

# ---- replay ----


def replay_rows(share, rows, u):
    """share: part of the batch that is replay. rows: rows of the batch. u: a random number, uniform in [0,
    1). Returns the whole number of replay rows: one of the two next to share · rows, and on average over u
    exactly share · rows.
    """
    exact = share * rows
    return math.floor(exact) + (u < exact - math.floor(exact))


def _replay_rows_ceil(share, rows, u):
    return math.ceil(share * rows - u)


def replay_rounded(share, rows, u):
    """Rounding gives the same number in every batch: 3.2 rows become 3 for ever, and a share below half a row
    never replays at all. Use u.
    """
    return round(share * rows)


def replay_down(share, rows, u):
    """Rounding down replays too little in every batch, and nothing at all below one row. Round up with the
    probability of the fraction.
    """
    return math.floor(share * rows)


def replay_up(share, rows, u):
    """Rounding up replays too much in every batch. Round up with the probability of the fraction only."""
    return math.ceil(share * rows)


def replay_all_or_none(share, rows, u):
    """The average is right, but a batch is then all replay or none: its gradient swings between two tasks.
    Stay within one row of share · rows.
    """
    return rows if u < share else 0


def replay_probability_reversed(share, rows, u):
    """You round up when u is *above* the fraction: 3.2 becomes 4 in four batches of five. Up with probability
    0.2, that is when u < 0.2.
    """
    exact = share * rows
    return math.floor(exact) + (u >= exact - math.floor(exact))


def _replay_cases():
    r = random.Random(10)
    return [
        case("3.2 rows, a small u: up", 0.2, 16, 0.1),
        case("3.2 rows, a large u: down", 0.2, 16, 0.7),
        case("a tenth of a row", 0.0125, 8, 0.03),
        case("4 rows exactly", 0.25, 16, 0.5),
        case("no replay", 0.0, 16, 0.0),
        *(
            case("random share", r.randrange(1, 90) / 100 + 0.003, r.randrange(2, 33), r.random())
            for _ in range(40)
        ),
    ]


REPLAY_ROWS = Exercise(
    replay_rows,
    "How many rows of this batch are replay? 20 % of 16 rows are 3.2: take 3 or 4, so that the average is"
    " right.",
    _replay_cases,
    (
        "Which two whole numbers are possible, and how often must the upper one come?",
        "Up with the probability of the fraction: for 3.2 in a fifth of the batches.",
        "math.floor(x) + (u < x - math.floor(x))",
    ),
    (_replay_rows_ceil,),
    (replay_rounded, replay_down, replay_up, replay_all_or_none, replay_probability_reversed),
)

# ---- curriculum ----


def anneal_replay(share, steps):
    """share: mean share of replay, at most 0.5. steps: number of steps, at least 2. Returns a list: the share
    at each step, falling in equal parts to 0 at the last step, with the mean `share`.
    """
    return [2 * share * (1 - step / (steps - 1)) for step in range(steps)]


def _anneal_replay_tensor(share, steps):
    return torch.linspace(2 * share, 0, steps).tolist()


def anneal_half(share, steps):
    """You start at `share` and fall to 0: that is half the replay in all, so a comparison with constant
    replay would compare amounts, not order.
    """
    return [share * (1 - step / (steps - 1)) for step in range(steps)]


def anneal_rising(share, steps):
    """Your replay rises. The curriculum starts near the old texts, while the learning rate climbs, and ends
    on the domain.
    """
    return anneal_replay(share, steps)[::-1]


def anneal_constant(share, steps):
    """That is constant replay. Annealing moves the same amount to the beginning: from 2 · share down to 0."""
    return [share] * steps


def anneal_off_by_one(share, steps):
    """You divide by `steps`: the last of steps 0 … steps − 1 is then not 0, and the total is too large.
    Divide by steps − 1.
    """
    return [2 * share * (1 - step / steps) for step in range(steps)]


def _anneal_cases():
    r = random.Random(11)
    return [
        case("five steps, a fifth", 0.2, 5),
        case("two steps", 0.5, 2),
        case("no replay", 0.0, 3),
        *(case("random", r.randrange(1, 50) / 100, r.randrange(2, 60)) for _ in range(8)),
    ]


ANNEAL_REPLAY = Exercise(
    anneal_replay,
    "A curriculum: much replay first, none at the end, and in all exactly as much as constant replay.",
    _anneal_cases,
    (
        "A line that ends at 0 has its mean half way. Where must it begin?",
        "From 2 · share at step 0 to 0 at step steps − 1.",
        "2 * share * (1 - step / (steps - 1))",
    ),
    (_anneal_replay_tensor,),
    (anneal_half, anneal_rising, anneal_constant, anneal_off_by_one),
)

# ---- domain mixing ----


def adaptive_weights(losses, floor):
    """losses: {sub-domain: held-out loss in nats}. floor: the least weight of any. Returns {sub-domain:
    weight}: floor plus a part of what is left, in proportion to exp(loss); the weights add up to 1.
    """
    total = sum(math.exp(loss) for loss in losses.values())
    left = 1 - floor * len(losses)
    return {d: floor + left * math.exp(loss) / total for d, loss in losses.items()}


def _adaptive_softmax(losses, floor):
    parts = torch.tensor(list(losses.values()), dtype=torch.float64).softmax(0).tolist()
    return {d: floor + (1 - floor * len(losses)) * p for d, p in zip(losses, parts)}


def adaptive_reversed(losses, floor):
    """You give more to sub-domains with a *low* loss. Those are learnt already: more of what is still bad."""
    return adaptive_weights({d: -loss for d, loss in losses.items()}, floor)


def adaptive_no_floor(losses, floor):
    """Without the floor a sub-domain that is learnt gets next to nothing, and is forgotten."""
    return adaptive_weights(losses, 0.0)


def adaptive_clamped(losses, floor):
    """You lift small weights to the floor and leave the others: the sum is above 1. Share out what is left
    after every floor.
    """
    return {d: max(floor, w) for d, w in adaptive_weights(losses, 0.0).items()}


def adaptive_linear(losses, floor):
    """You share out in proportion to the loss; wanted is in proportion to exp(loss), which tells 2 nats from
    3 more sharply.
    """
    total, left = sum(losses.values()), 1 - floor * len(losses)
    return {d: floor + left * loss / total for d, loss in losses.items()}


def _adaptive_cases():
    r = random.Random(12)
    return [
        case("two sub-domains", {"heart": 1.0, "nerves": 3.0}, 0.1),
        case("equal losses", {"heart": 2.0, "germs": 2.0, "nerves": 2.0}, 0.05),
        case("one is far behind", {"heart": 0.5, "germs": 0.5, "nerves": 6.0}, 0.05),
        *(
            case(
                "random losses", {d: 5 * r.random() for d in ("a", "b", "c", "d")[: r.randrange(2, 5)]}, 0.05
            )
            for _ in range(8)
        ),
    ]


ADAPTIVE_WEIGHTS = Exercise(
    adaptive_weights,
    "Adaptive domain mixing: draw more from sub-domains whose held-out loss is high, and something from"
    " each.",
    _adaptive_cases,
    (
        "Give every sub-domain its floor. How much is left to share out?",
        "left = 1 − floor · number; a sub-domain's part of it is exp(loss) / sum of exp(loss).",
        "{d: floor + left * math.exp(loss) / total for d, loss in losses.items()}",
    ),
    (_adaptive_softmax,),
    (adaptive_reversed, adaptive_no_floor, adaptive_clamped, adaptive_linear),
)

# ---- guardrails ----


def gate_decision(readings, tolerance):
    """readings: a list of {skill: share right}; the first was taken before training, the others every N
    steps. tolerance: the drop that is let pass. Returns 'keep' or 'rollback' for each later reading; in place
    of the third rollback 'stop', which ends the list.
    """
    start, decisions = readings[0], []
    for reading in readings[1:]:
        if all(start[skill] - reading[skill] <= tolerance for skill in start):
            decisions.append("keep")
        elif decisions.count("rollback") == 2:
            return [*decisions, "stop"]
        else:
            decisions.append("rollback")
    return decisions


def _gate_decision_worst(readings, tolerance):
    start, *later = readings
    worst = [max(start[s] - reading[s] for s in start) for reading in later]
    decisions = ["rollback" if drop > tolerance else "keep" for drop in worst]
    bad = [i for i, d in enumerate(decisions) if d == "rollback"]
    return decisions if len(bad) < 3 else decisions[: bad[2]] + ["stop"]


def gate_drifts(readings, tolerance):
    """You compare with the reading before: a skill can slide away in small steps, each within the tolerance.
    Compare with the start.
    """
    pairs = zip(readings, readings[1:])
    bad = [any(old[s] - new[s] > tolerance for s in old) for old, new in pairs]
    return _with_stop(bad)


def gate_averages(readings, tolerance):
    """You average over the skills: one that collapses hides behind one that grows."""
    mean = lambda reading: statistics.fmean(reading.values())
    return _with_stop([mean(readings[0]) - mean(reading) > tolerance for reading in readings[1:]])


def gate_in_a_row(readings, tolerance):
    """You count rollbacks in a row. Three in all are enough: a good reading in between does not undo them."""
    decisions, row = [], 0
    for reading in readings[1:]:
        row = row + 1 if any(readings[0][s] - reading[s] > tolerance for s in reading) else 0
        decisions.append("keep" if row == 0 else "rollback" if row < 3 else "stop")
        if row == 3:
            break
    return decisions


def gate_never_stops(readings, tolerance):
    """You never stop. After the third rollback the run only burns money: end the list with 'stop'."""
    return ["rollback" if any(readings[0][s] - r[s] > tolerance for s in r) else "keep" for r in readings[1:]]


def gate_strict(readings, tolerance):
    """A drop of exactly the tolerance is let pass: roll back only when it is larger."""
    return _with_stop(
        [any(readings[0][s] - reading[s] >= tolerance for s in reading) for reading in readings[1:]]
    )


def _with_stop(bad):
    decisions = []
    for is_bad in bad:
        if is_bad and decisions.count("rollback") == 2:
            return [*decisions, "stop"]
        decisions.append("rollback" if is_bad else "keep")
    return decisions


def _gate_decision_cases():
    r = random.Random(13)
    people = lambda *shares: [{"people": s} for s in shares]
    walk = lambda n: [{"people": r.randrange(9, 17) / 16, "sums": r.randrange(6, 14) / 16} for _ in range(n)]
    return [
        case("a drop, then better", people(1.0, 0.5, 1.0), 0.125),
        case("a slow slide", people(1.0, 0.9375, 0.875, 0.8125, 0.75), 0.125),
        case(
            "a skill collapses while another grows",
            [{"people": 1.0, "sums": 0.25}, {"people": 0.5, "sums": 1.0}],
            0.125,
        ),
        case("three drops, with good readings between", people(1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 1.0), 0.125),
        case("three drops in a row, and readings after them", people(1.0, 0.5, 0.5, 0.5, 0.5), 0.125),
        case("a drop of exactly the tolerance", people(1.0, 0.875), 0.125),
        *(case("random readings", walk(r.randrange(2, 9)), 0.1875) for _ in range(20)),
    ]


GATE_DECISION = Exercise(
    gate_decision,
    "A guardrail during training: keep the checkpoint, roll back to the last kept one, or give up at the"
    " third failure.",
    _gate_decision_cases,
    (
        "Compared with which reading does a slow slide show?",
        "Bad: some skill of the first reading is down by more than the tolerance. Count the bad ones.",
        "If it is bad and decisions.count('rollback') == 2: append 'stop' and return.",
    ),
    (_gate_decision_worst,),
    (gate_drifts, gate_averages, gate_in_a_row, gate_never_stops, gate_strict),
)

# ---- clean data ----


def dedup(texts):
    """texts: a list of strings. Two are the same if they differ only in case and white space (how much, what
    kind, and at the ends). Returns the first of each, unchanged, in the order of the list.
    """
    kept = {}
    for text in texts:
        kept.setdefault(" ".join(text.lower().split()), text)
    return list(kept.values())


def _dedup_loop(texts):
    seen, kept = set(), []
    for text in texts:
        key = tuple(text.casefold().split())
        if key not in seen:
            seen.add(key)
            kept.append(text)
    return kept


def dedup_exact(texts):
    """You compare the raw strings: a copy with another space or a capital letter passes. Compare a normalised
    form.
    """
    return list(dict.fromkeys(texts))


def dedup_normalised(texts):
    """You return the normalised texts. Normalise to compare; the model is to read the original."""
    return list(dict.fromkeys(" ".join(text.lower().split()) for text in texts))


def dedup_last(texts):
    """You keep the last of each; wanted is the first, at its place."""
    return list({" ".join(text.lower().split()): text for text in texts}.values())


def dedup_sorted(texts):
    """The order of the list is lost: sets have none, and sorting makes another. A corpus in alphabetical
    order is a bad curriculum.
    """
    return sorted(dedup(texts))


def dedup_drops_both(texts):
    """You drop every text that has a copy, the first one too."""
    keys = [" ".join(text.lower().split()) for text in texts]
    return [text for text, key in zip(texts, keys) if keys.count(key) == 1]


def dedup_glued(texts):
    """You delete white space altogether: "a nt" and "an t" become the same. Runs of it become one space."""
    kept = {}
    for text in texts:
        kept.setdefault("".join(text.lower().split()), text)
    return list(kept.values())


def _dedup_cases():
    r = random.Random(14)
    words = ("Take", "take", "one", "tablet", " a", "day")
    text = lambda: (
        r.choice(("", " ")) + r.choice((" ", "  ", "\n")).join(r.choices(words, k=r.randrange(1, 4)))
    )
    return [
        case("a copy with other spaces and capitals", ["Take one a day.", "Rest.", "take  one a day. "]),
        case("no copies", ["b", "a", "c"]),
        case("line breaks", ["one\ntwo", "one two", "one\t two\n"]),
        case("spaces that part words", ["a nt", "an t"]),
        case("nothing", []),
        *(case("random texts", [text() for _ in range(r.randrange(2, 12))]) for _ in range(12)),
    ]


DEDUP = Exercise(
    dedup,
    "Remove copies from a corpus. Scraped copies differ in spacing and capitals, so compare a normalised"
    " form.",
    _dedup_cases,
    (
        "Make a key for each text, such that copies have the same key.",
        "key = ' '.join(text.lower().split()): lower case, runs of white space as one space.",
        "A dict keeps insertion order: kept.setdefault(key, text).",
    ),
    (_dedup_loop,),
    (dedup_exact, dedup_normalised, dedup_last, dedup_sorted, dedup_drops_both, dedup_glued),
)

# ---- the KL penalty ----


def kl_to_base(logits, base_logits, mask):
    """logits, base_logits [B,T,V] of the model and of the frozen base. mask [B,T] of zeros and ones (floats),
    at least one 1. Returns KL(model ‖ base) in nats, summed over the vocabulary and averaged over the tokens
    with mask 1: a number.
    """
    logp, logq = logits.log_softmax(-1), base_logits.log_softmax(-1)
    kl = (logp.exp() * (logp - logq)).sum(-1)
    return (kl * mask).sum() / mask.sum()


def _kl_by_library(logits, base_logits, mask):
    kl = F.kl_div(base_logits.log_softmax(-1), logits.log_softmax(-1), log_target=True, reduction="none").sum(
        -1
    )
    return kl[mask > 0].mean()


def _kl_as_cross_entropy(logits, base_logits, mask):
    p = logits.softmax(-1)
    cross = -(p * base_logits.log_softmax(-1)).sum(-1)
    entropy = -(p * logits.log_softmax(-1)).sum(-1)
    return (cross - entropy)[mask.bool()].mean()


def kl_reversed(logits, base_logits, mask):
    """That is KL(base ‖ model), the other direction. The model comes first: average over what the *model*
    says. (In F.kl_div(input, target) the target is the distribution that is averaged over.)
    """
    return kl_to_base(base_logits, logits, mask)


def kl_unmasked(logits, base_logits, mask):
    """You average over masked places too, such as padding."""
    return kl_to_base(logits, base_logits, torch.ones_like(mask))


def kl_mean_over_vocabulary(logits, base_logits, mask):
    """You average over the vocabulary. A KL is a *sum* over it: yours is V times too small, so its weight in
    the loss means nothing.
    """
    return kl_to_base(logits, base_logits, mask) / logits.shape[-1]


def kl_of_logits(logits, base_logits, mask):
    """You subtract raw logits. Their difference changes when a constant is added to one of them; take
    log_softmax of both first.
    """
    return ((logits.softmax(-1) * (logits - base_logits)).sum(-1) * mask).sum() / mask.sum()


def _kl_cases():
    generator = torch.Generator().manual_seed(15)
    draw = lambda *shape: 2 * torch.randn(*shape, generator=generator)
    mask = lambda *shape: (
        (torch.rand(*shape, generator=generator) > 0.4).float().index_fill(1, torch.tensor([0]), 1.0)
    )
    return [
        case(
            "the model is sure, the base is not",
            torch.tensor([[[4.0, 0.0]]]),
            torch.tensor([[[0.0, 0.0]]]),
            torch.ones(1, 1),
        ),
        case(
            "the same distribution, other logits",
            torch.tensor([[[1.0, 2.0]]]),
            torch.tensor([[[4.0, 5.0]]]),
            torch.ones(1, 1),
        ),
        case("a masked place", draw(1, 2, 3), draw(1, 2, 3), torch.tensor([[1.0, 0.0]])),
        *(
            case("random logits", draw(*shape, 5), draw(*shape, 5), mask(*shape))
            for shape in ((1, 4), (2, 6), (3, 3))
        ),
    ]


KL_TO_BASE = Exercise(
    kl_to_base,
    "The KL penalty of continued pretraining: how far is the model from the base, averaged over what the"
    " model says?",
    _kl_cases,
    (
        "KL(p ‖ q): whose probabilities stand outside the logarithm?",
        (
            "Per place: sum over the vocabulary of p · (log p − log q), p the model, q the base. Then the"
            " mean over mask 1."
        ),
        "log_softmax of both; (logp.exp() * (logp - logq)).sum(-1).",
    ),
    (_kl_by_library, _kl_as_cross_entropy),
    (kl_reversed, kl_unmasked, kl_mean_over_vocabulary, kl_of_logits),
)

EXERCISES = (PACK_PLAIN, REPLAY_ROWS, ANNEAL_REPLAY, ADAPTIVE_WEIGHTS, GATE_DECISION, DEDUP, KL_TO_BASE)
