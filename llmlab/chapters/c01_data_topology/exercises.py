"""Chapter 01: which tokens carry gradient? Shift, masks, packing, averages, pairs, padding."""

import math
import random

import torch
import torch.nn.functional as F

from ...learn.exercise import Exercise, case


def _tensors(seed):
    """A source of random tensors that leaves torch's own generator alone."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator)


# ---- the time shift ----


def shift(logits, ids):
    """logits [B,T,V]: what the model says at each place. ids [B,T]: the tokens. Returns the mean next-token
    loss in nats, a number.
    """
    logp = logits[:, :-1].log_softmax(-1)
    return -logp.gather(-1, ids[:, 1:, None]).mean()


def _shift_by_library(logits, ids):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def _shift_loop(logits, ids):
    losses = []
    for row, tokens in zip(logits, ids):
        for t in range(len(tokens) - 1):
            losses.append(-row[t].log_softmax(-1)[tokens[t + 1]])
    return sum(losses) / len(losses)


def shift_none(logits, ids):
    """You compare place t with the token at t, which the model has already read. Place t says what comes at t
    + 1.
    """
    return F.cross_entropy(logits.flatten(0, 1), ids.flatten())


def shift_backwards(logits, ids):
    """You shifted the wrong way: place t is scored on the token *before* it. Drop the last logits and the
    first token.
    """
    return F.cross_entropy(logits[:, 1:].flatten(0, 1), ids[:, :-1].flatten())


def shift_divides_by_all(logits, ids):
    """You divide by T places a row, but only T − 1 tokens are predicted: nothing predicts the first."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="sum") / ids.numel()


def shift_raw(logits, ids):
    """Those are raw logits. A log-probability needs log_softmax: minus the log of the sum over the
    vocabulary.
    """
    return -logits[:, :-1].gather(-1, ids[:, 1:, None]).mean()


def _shift_cases():
    r, draw = random.Random(3), _tensors(3)
    shapes = [(1, 2, 2), (1, 3, 3), (2, 5, 7), (4, 9, 11), (3, 2, 5)]
    return [
        case(
            "the chapter's three tokens",
            torch.tensor([[[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]]]),
            torch.tensor([[0, 0, 1]]),
        ),
        *(
            case(
                f"logits of shape [{b},{t},{v}]",
                2 * draw(b, t, v),
                torch.tensor([[r.randrange(v) for _ in range(t)] for _ in range(b)]),
            )
            for b, t, v in shapes
        ),
    ]


SHIFT = Exercise(
    shift,
    "Compute the next-token loss from a model's unshifted logits: the mean of −log p(next token) over all"
    " tokens that something predicts.",
    _shift_cases,
    (
        "How many tokens of a row of T can be predicted?",
        "Line up logits[:, :-1] with ids[:, 1:].",
        "log_softmax over the vocabulary, gather the column of the next token, take minus the mean.",
    ),
    (_shift_by_library, _shift_loop),
    (shift_none, shift_backwards, shift_divides_by_all, shift_raw),
)

# ---- masking ----


def assistant_mask(turns):
    """turns: list of (role, tokens); the tokens of a turn are '<start>', the role, the content, '<end>'.
    Roles: system, user, assistant, tool. Returns one list with a 1 or 0 for every token: 1 where the loss
    counts.
    """
    mask = []
    for role, tokens in turns:
        mask += [0, 0] + [int(role == "assistant")] * (len(tokens) - 2)
    return mask


def _assistant_mask_flat(turns):
    return [int(role == "assistant" and place >= 2) for role, tokens in turns for place in range(len(tokens))]


def end_untrained(turns):
    """You leave out <end>. The model writes it, too: untrained, it never learns to stop."""
    return [
        int(role == "assistant" and 2 <= place < len(tokens) - 1)
        for role, tokens in turns
        for place in range(len(tokens))
    ]


def header_trained(turns):
    """You train <start> and the role. They are given to the model at inference; it never writes them."""
    return [int(role == "assistant") for role, tokens in turns for _ in tokens]


def tool_trained(turns):
    """You train the tool's results. The world writes them; a model that learns to write them makes them
    up.
    """
    return [
        int(role in ("assistant", "tool") and place >= 2)
        for role, tokens in turns
        for place in range(len(tokens))
    ]


def last_only(turns):
    """You train the last assistant turn only. The others were written by the assistant as well."""
    last = max((i for i, (role, _) in enumerate(turns) if role == "assistant"), default=-1)
    return [
        int(i == last and place >= 2) for i, (_, tokens) in enumerate(turns) for place in range(len(tokens))
    ]


def everything_trained(turns):
    """You train on every token: that is continued pretraining on chats, and the model learns to write the
    user's turns.
    """
    return [1 for _, tokens in turns for _ in tokens]


def _assistant_cases():
    r = random.Random(4)
    turn = lambda role, text: (role, ["<start>", role, *text.split(), "<end>"])
    dialogue = lambda roles: [
        turn(role, " ".join(r.choices(("a", "b", "c", "d"), k=r.randrange(1, 5)))) for role in roles
    ]
    return [
        case("one question, one answer", [turn("user", "2 + 2 ?"), turn("assistant", "4 .")]),
        case(
            "two rounds",
            [
                turn("user", "Hi"),
                turn("assistant", "Hello !"),
                turn("user", "Bye"),
                turn("assistant", "So long"),
            ],
        ),
        case(
            "a tool call",
            [
                turn("user", "17 * 3 ?"),
                turn("assistant", "calc ( 17 * 3 )"),
                turn("tool", "51"),
                turn("assistant", "51 ."),
            ],
        ),
        case("a prompt without an answer", [turn("system", "Be brief"), turn("user", "Hi")]),
        case("an empty answer: the end token alone", [turn("user", "Say nothing"), turn("assistant", "")]),
        *(
            case(
                "random turns",
                dialogue(r.choices(("system", "user", "assistant", "tool"), k=r.randrange(1, 7))),
            )
            for _ in range(12)
        ),
    ]


ASSISTANT_MASK = Exercise(
    assistant_mask,
    "Mask a conversation for SFT: the loss counts on what the assistant itself writes at inference, and on"
    " nothing else.",
    _assistant_cases,
    (
        "For each token ask: does the model write it when it is used, or is it given?",
        (
            "Given: system, user and tool turns, and the first two tokens (<start> and the role) of every"
            " turn. Written: the rest of an assistant turn."
        ),
        "Per turn: two zeros, then len(tokens) − 2 times 1 if the role is assistant, else 0.",
    ),
    (_assistant_mask_flat,),
    (end_untrained, header_trained, tool_trained, last_only, everything_trained),
)

# ---- packing ----


def packing_mask(documents):
    """documents: lists of ids, each closed by its end token. They stand one after the other in one row, with
    attention reset at each document. Returns (positions, mask), two lists with a whole number for every token
    of the row.
    """
    positions = [p for ids in documents for p in range(len(ids))]
    return positions, [int(p > 0) for p in positions]


def _packing_mask_loop(documents):
    positions, mask = [], []
    for ids in documents:
        for place, _ in enumerate(ids):
            positions.append(place)
            mask.append(0 if place == 0 else 1)
    return positions, mask


def first_trained(documents):
    """You train the first token of each document: nothing precedes it, so there is nothing to predict it
    from.
    """
    positions, mask = packing_mask(documents)
    return positions, [1] * len(mask)


def first_of_row_only(documents):
    """You spare the first token of the row only. Attention is reset at *every* document: the first token of
    each has nothing before it.
    """
    positions, mask = packing_mask(documents)
    return positions, [int(i > 0) for i in range(len(mask))]


def last_untrained(documents):
    """You leave the end token out and train the first one. The end is predicted from its own document, and
    has to be learnt; the first token has nothing before it.
    """
    positions, _ = packing_mask(documents)
    return positions, [int(place < len(ids) - 1) for ids in documents for place in range(len(ids))]


def positions_run_on(documents):
    """Your positions run on across documents. Starting again at 0 is what resets attention; as it is, a
    document looks back at the one before.
    """
    positions, mask = packing_mask(documents)
    return list(range(len(positions))), mask


def positions_from_one(documents):
    """Positions count from 0. From 1, no document has a position 0, and the model sees places it was never
    trained on.
    """
    positions, mask = packing_mask(documents)
    return [p + 1 for p in positions], mask


def _packing_cases():
    r = random.Random(5)
    return [
        case("three documents; 0 ends a document", [[5, 6, 0], [7, 8, 9, 0], [3, 0]]),
        case("one document", [[4, 4, 4, 0]]),
        case("a document that is nothing but its end", [[5, 0], [0], [6, 7, 0]]),
        *(
            case(
                "random documents",
                [[r.randrange(1, 99) for _ in range(r.randrange(6))] + [0] for _ in range(r.randrange(1, 6))],
            )
            for _ in range(10)
        ),
    ]


PACKING_MASK = Exercise(
    packing_mask,
    "Pack whole documents into one row with `reset`: say at which position of its own document each token"
    " stands, and which tokens are trained.",
    _packing_cases,
    (
        (
            "What does the model know when it must predict the first token of a document, if attention stays"
            " inside the document?"
        ),
        "Positions start at 0 in each document; the mask is 0 exactly where the position is 0.",
        "positions = [p for ids in documents for p in range(len(ids))]",
    ),
    (_packing_mask_loop,),
    (first_trained, first_of_row_only, last_untrained, positions_run_on, positions_from_one),
)

# ---- averages ----


def token_mean(losses, mask):
    """losses [B,T] in nats, mask [B,T] of zeros and ones (floats). Returns the mean over the tokens with mask
    1, a number; 0 if there are none.
    """
    return torch.where(mask > 0, losses, 0.0).sum() / mask.sum().clamp(min=1)


def _token_mean_by_index(losses, mask):
    chosen = losses[mask > 0]
    return chosen.mean() if len(chosen) else torch.tensor(0.0)


def _token_mean_loop(losses, mask):
    total = count = 0
    for row, kept in zip(losses.tolist(), mask.tolist()):
        for loss, keep in zip(row, kept):
            if keep:
                total, count = total + loss, count + 1
    return total / max(count, 1)


def mean_of_means(losses, mask):
    """You average inside each row first: a token of a short answer then counts more than one of a long
    answer. Sum everything, divide once.
    """
    return (torch.where(mask > 0, losses, 0.0).sum(1) / mask.sum(1).clamp(min=1)).mean()


def over_all_places(losses, mask):
    """You divide by all places. Masked ones add nothing to the sum, so the loss looks smaller the more
    padding there is: divide by mask.sum().
    """
    return torch.where(mask > 0, losses, 0.0).mean()


def over_rows(losses, mask):
    """You divide by the number of rows: longer answers then have a larger loss. Divide by the number of
    tokens.
    """
    return torch.where(mask > 0, losses, 0.0).sum() / len(losses)


def times_mask(losses, mask):
    """Multiplying by the mask fails where a masked place holds inf: inf · 0 is nan. Choose with torch.where,
    or by index.
    """
    return (losses * mask).sum() / mask.sum().clamp(min=1)


def empty_is_nan(losses, mask):
    """A batch without any trained token gives 0/0 here, and one nan ruins every weight. Its loss is 0."""
    return torch.where(mask > 0, losses, 0.0).sum() / mask.sum()


def _mean_cases():
    draw = _tensors(6)
    return [
        case(
            "a long row and a short one",
            torch.tensor([[1.0, 1.0, 1.0, 1.0], [5.0, 0.0, 0.0, 0.0]]),
            torch.tensor([[1.0, 1, 1, 1], [1, 0, 0, 0]]),
        ),
        case("everything is trained", torch.tensor([[1.0, 2.0], [3.0, 6.0]]), torch.ones(2, 2)),
        case(
            "a masked place holds inf", torch.tensor([[2.0, math.inf, 4.0]]), torch.tensor([[1.0, 0.0, 1.0]])
        ),
        case("nothing is trained", torch.tensor([[2.0, 3.0]]), torch.zeros(1, 2)),
        *(
            case("random losses and mask", draw(b, t).abs(), (draw(b, t) > 0.3).float())
            for b, t in ((2, 5), (3, 7), (8, 4), (4, 30))
        ),
    ]


TOKEN_MEAN = Exercise(
    token_mean,
    "Average a loss over the trained tokens of a batch, every token with the same weight.",
    _mean_cases,
    (
        "Two rows, four trained tokens and one: what weight has the lone one?",
        "One sum over the whole batch, divided once by the number of ones in the mask.",
        "torch.where(mask > 0, losses, 0.0) survives inf; mask.sum().clamp(min=1) survives an empty mask.",
    ),
    (_token_mean_by_index, _token_mean_loop),
    (mean_of_means, over_all_places, over_rows, times_mask, empty_is_nan),
)

# ---- pairs ----


def dpo_pair_loss(chosen, rejected, ref_chosen, ref_rejected, beta):
    """Log-probs [N] of N chosen and N rejected answers (summed over their tokens), under the model and under
    the reference; beta, a number. Returns the mean DPO loss, a number.
    """
    margin = beta * ((chosen - ref_chosen) - (rejected - ref_rejected))
    return -F.logsigmoid(margin).mean()


def _dpo_softplus(chosen, rejected, ref_chosen, ref_rejected, beta):
    return F.softplus(beta * (rejected - ref_rejected) - beta * (chosen - ref_chosen)).mean()


def _dpo_loop(chosen, rejected, ref_chosen, ref_rejected, beta):
    total = 0.0
    for good, bad, ref_good, ref_bad in zip(
        chosen.tolist(), rejected.tolist(), ref_chosen.tolist(), ref_rejected.tolist()
    ):
        margin = beta * ((good - ref_good) - (bad - ref_bad))
        total += math.log1p(math.exp(-abs(margin))) + max(-margin, 0.0)
    return total / len(chosen)


def dpo_no_reference(chosen, rejected, ref_chosen, ref_rejected, beta):
    """You compare raw log-probs. DPO rewards a *change* against the reference: subtract ref_chosen and
    ref_rejected. At the start every margin is 0.
    """
    return -F.logsigmoid(beta * (chosen - rejected)).mean()


def dpo_reversed(chosen, rejected, ref_chosen, ref_rejected, beta):
    """The sign is reversed: this rewards the rejected answer."""
    return dpo_pair_loss(rejected, chosen, ref_rejected, ref_chosen, beta)


def dpo_beta_outside(chosen, rejected, ref_chosen, ref_rejected, beta):
    """beta stands outside the sigmoid, where it only rescales the loss. Inside, it says how far the model may
    move from the reference.
    """
    return beta * dpo_pair_loss(chosen, rejected, ref_chosen, ref_rejected, 1.0)


def dpo_mean_first(chosen, rejected, ref_chosen, ref_rejected, beta):
    """You average the margins before the sigmoid: one easy pair then hides the hard ones. First the loss of
    each pair, then the mean.
    """
    return -F.logsigmoid((beta * ((chosen - ref_chosen) - (rejected - ref_rejected))).mean())


def dpo_two_steps(chosen, rejected, ref_chosen, ref_rejected, beta):
    """log(sigmoid(x)) in two steps is −inf once the sigmoid has rounded to 0. logsigmoid does both in one,
    and stays finite.
    """
    return -torch.log(torch.sigmoid(beta * ((chosen - ref_chosen) - (rejected - ref_rejected)))).mean()


def _dpo_cases():
    draw = _tensors(7)
    one = lambda *values: [torch.tensor([float(v)]) for v in values]
    return [
        case("model = reference: ln 2", *one(-12, -9, -12, -9), 0.1),
        case("the chosen answer rose by 5 nats", *one(-7, -9, -12, -9), 0.1),
        case(
            "an easy pair and a hard one",
            *(torch.tensor(x) for x in ([-4.0, -9.0], [-9.0, -4.0], [-5.0, -5.0], [-5.0, -2.0])),
            1.0,
        ),
        case("a margin of −300", *one(-400, -100, -100, -100), 1.0),
        *(
            case("random pairs", *(-10 + 4 * draw(n) for _ in range(4)), beta)
            for n, beta in ((2, 0.1), (5, 0.5), (16, 2.0))
        ),
    ]


DPO_PAIR_LOSS = Exercise(
    dpo_pair_loss,
    "The loss of a preference pair: −log sigmoid of beta times the margin, by which the chosen answer rose"
    " more than the rejected one.",
    _dpo_cases,
    (
        "What is the loss before the first step, when model and reference are the same?",
        (
            "reward = beta · (log-prob under the model − log-prob under the reference); margin = reward of"
            " chosen − reward of rejected."
        ),
        "-F.logsigmoid(margin).mean()",
    ),
    (_dpo_softplus, _dpo_loop),
    (dpo_no_reference, dpo_reversed, dpo_beta_outside, dpo_mean_first, dpo_two_steps),
)

# ---- padding for generation ----


def left_pad(rows, pad):
    """rows: lists of ids of unequal length, prompts to be continued. pad: the id that fills. Returns (ids,
    mask, positions), three [B,T] tensors of whole numbers: mask 1 on real tokens; positions count from 0 at
    the first real token, and are 0 on padding.
    """
    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(r)) + r for r in rows])
    mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows])
    return ids, mask, (mask.cumsum(1) - 1).clamp(min=0)


def _left_pad_lists(rows, pad):
    width = max(len(r) for r in rows)
    ids, mask, positions = [], [], []
    for row in rows:
        missing = width - len(row)
        ids.append([pad] * missing + list(row))
        mask.append([0] * missing + [1] * len(row))
        positions.append([0] * missing + list(range(len(row))))
    return torch.tensor(ids), torch.tensor(mask), torch.tensor(positions)


def right_pad(rows, pad):
    """You pad on the right. Generation goes on from the last place of each row, and there it would find
    padding: pad on the left.
    """
    width = max(map(len, rows))
    fill = lambda row, value: row + [value] * (width - len(row))
    return torch.tensor([fill(r, pad) for r in rows]), *(
        torch.tensor(x)
        for x in ([fill([1] * len(r), 0) for r in rows], [fill([*range(len(r))], 0) for r in rows])
    )


def mask_by_value(rows, pad):
    """You find padding by its value. A prompt may hold that very id (an end token between two documents):
    count lengths instead.
    """
    ids = left_pad(rows, pad)[0]
    mask = (ids != pad).long()
    return ids, mask, (mask.cumsum(1) - 1).clamp(min=0)


def positions_of_places(rows, pad):
    """Your positions count the padding. The first real token of every row is at position 0."""
    ids, mask, _ = left_pad(rows, pad)
    return ids, mask, torch.arange(ids.shape[1]).expand(ids.shape).clone()


def mask_inverted(rows, pad):
    """Your mask is inverted: 1 means a real token, to be looked at; 0 means padding."""
    ids, mask, positions = left_pad(rows, pad)
    return ids, 1 - mask, positions


def _left_pad_cases():
    r = random.Random(8)
    return [
        case("lengths 3 and 1", [[5, 6, 7], [9]], 0),
        case("equal lengths", [[5, 6], [7, 8]], 0),
        case("the padding id stands inside a prompt", [[5, 0, 6], [0, 7]], 0),
        *(
            case(
                "random prompts",
                [[r.randrange(9) for _ in range(r.randrange(1, 8))] for _ in range(r.randrange(2, 5))],
                2,
            )
            for _ in range(10)
        ),
    ]


LEFT_PAD = Exercise(
    left_pad,
    "Make one tensor of prompts of unequal length, ready for generation.",
    _left_pad_cases,
    (
        "Where does the model write its first new token, and what must stand right before it?",
        "ids: padding, then the row. mask: zeros, then ones. positions: as if there were no padding.",
        "From the mask: (mask.cumsum(1) - 1).clamp(min=0).",
    ),
    (_left_pad_lists,),
    (right_pad, mask_by_value, positions_of_places, mask_inverted),
)

EXERCISES = (SHIFT, ASSISTANT_MASK, PACKING_MASK, TOKEN_MEAN, DPO_PAIR_LOSS, LEFT_PAD)
