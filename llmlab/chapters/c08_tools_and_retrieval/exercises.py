"""Chapter 08: which tokens of a tool conversation are trained, calls that are valid and wrong, what a
grammar does to the odds, when a call is worth its price, what to do after an error, and retrieval, from
chunks to the half that failed.
"""

import json
import math
import random

import torch
import torch.nn.functional as F

from ...learn.exercise import Exercise, case


def _draws(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.rand(*shape, generator=generator)


# ---- the ids that were sampled ----


class Toy:
    """A tokenizer of six tokens; it takes the longest one from the left."""

    tokens = ("a", "b", "c", "ab", "abc", "<end>")

    def encode(self, text):
        """Text as ids."""
        ids = []
        while text:
            found = max((t for t in self.tokens if text.startswith(t)), key=len)
            ids, text = [*ids, self.tokens.index(found)], text[len(found) :]
        return ids

    def decode(self, ids):
        """Ids as text."""
        return "".join(self.tokens[i] for i in ids)

    def __repr__(self):
        return f"a tokenizer: {dict(enumerate(self.tokens))}"


def trajectory_row(prompt, turns, tok):
    """prompt: ids. turns: a list of (sampled, result): the ids that the model sampled in a turn, its end
    token included, and what the tool then wrote, as text, or None where no tool answered. tok.encode: text
    → ids; tok.decode: ids → text. Returns (ids, mask): the whole conversation as one row to train on, and 1
    for each id that the policy gradient counts, else 0.
    """
    ids, mask = list(prompt), [0] * len(prompt)
    for sampled, result in turns:
        ids += sampled
        mask += [1] * len(sampled)
        new = [] if result is None else tok.encode(result)
        ids += new
        mask += [0] * len(new)
    return ids, mask


def _trajectory_row_parts(prompt, turns, tok):
    parts = [(prompt, 0)]
    for sampled, result in turns:
        parts += [(sampled, 1), (tok.encode(result or ""), 0)]
    return [i for part, _ in parts for i in part], [m for part, m in parts for _ in part]


def encoded_again(prompt, turns, tok):
    """You turn what was sampled into text and encode it again. The text is the same, the ids may not be:
    then you train on tokens that the model never drew, with log-probs that belong to others. Append the
    sampled ids.
    """
    return trajectory_row(prompt, [(tok.encode(tok.decode(s)), r) for s, r in turns], tok)


def results_trained(prompt, turns, tok):
    """You train on the tool's results. The tool wrote them; a model that learns to write them makes results
    up.
    """
    ids, mask = trajectory_row(prompt, turns, tok)
    return ids, [0] * len(prompt) + [1] * (len(mask) - len(prompt))


def answer_only(prompt, turns, tok):
    """You train on the last turn only. The calls are the model's own words too, and they led to it."""
    ids, mask = trajectory_row(prompt, turns, tok)
    return ids, [0] * (len(mask) - len(turns[-1][0])) + [1] * len(turns[-1][0])


def end_untrained(prompt, turns, tok):
    """You leave out the end token of each turn. The model sampled it: without it, it doesn't learn to hand
    over to the tool.
    """
    ids, mask = trajectory_row(prompt, turns, tok)
    return ids, [int(m and i != tok.encode("<end>")[0]) for i, m in zip(ids, mask)]


def _row_cases():
    r, tok = random.Random(81), Toy()
    some = lambda most: [r.randrange(5) for _ in range(r.randint(1, most))]

    def talk(n):
        """n turns, the last one an answer."""
        return [(some(4) + [5], None if i == n - 1 else tok.decode(some(3))) for i in range(n)]

    return [
        case("a call, a result, an answer", [2, 2], [([4, 5], "bc"), ([3, 5], None)], tok),
        case(
            "sampled as a + b, which encode() makes one token", [2], [([0, 1, 5], "c"), ([2, 5], None)], tok
        ),
        case("no call", [3, 2], [([0, 5], None)], tok),
        case("a call that ran out of tokens, and no answer", [4], [([0, 2, 5], "ab"), ([1, 1], None)], tok),
        *(case(f"{n} turns", some(4), talk(n), tok) for n in (1, 2, 3, 3, 4)),
    ]


TRAJECTORY_ROW = Exercise(
    trajectory_row,
    "Make a training row of a conversation with tools: the ids that were sampled, and no others, carry loss.",
    _row_cases,
    (
        (
            "Three parties wrote this row: the user, the model and the tool. Which of "
            "its tokens did the model choose?"
        ),
        "Append the sampled ids as they are. Encode only what the tool wrote.",
        "For each turn: ids += sampled, mask += ones; then ids += tok.encode(result), mask += zeros.",
    ),
    (_trajectory_row_parts,),
    (encoded_again, results_trained, answer_only, end_untrained),
)

# ---- four numbers of a call ----


def call_numbers(texts, calls, schemas, known):
    """texts: what a model wrote for n questions. calls: the right call of each, as {"name": …, "arguments":
    {…}}. schemas: tool → {argument: "string" or "integer"}; a call has exactly these arguments, of these
    types. known: the ids that exist; a tool has an answer where its argument "id" is one of them. Returns
    shares of all n as a dict: valid (JSON that fits the schema of a tool), right (valid, and the wanted
    call), executable (valid, and the tool has an answer), wrong_but_valid.
    """
    kinds, count = {"string": str, "integer": int}, [0, 0, 0, 0]
    for text, call in zip(texts, calls):
        try:
            written = json.loads(text)
            schema, given = schemas[written["name"]], written["arguments"]
            fits = set(given) == set(schema) and all(isinstance(given[a], kinds[schema[a]]) for a in schema)
        except (ValueError, KeyError, TypeError):
            continue
        if fits:
            right = written == call
            count = [c + x for c, x in zip(count, (1, right, given["id"] in known, not right))]
    return dict(zip(("valid", "right", "executable", "wrong_but_valid"), (c / len(texts) for c in count)))


def _call_numbers_lists(texts, calls, schemas, known):
    def read(text):
        try:
            call = json.loads(text)
            schema, given = schemas[call["name"]], call["arguments"]
            kinds = {a: "string" if isinstance(given[a], str) else type(given[a]).__name__ for a in given}
            return call if kinds == {a: {"integer": "int"}.get(k, k) for a, k in schema.items()} else None
        except (ValueError, KeyError, TypeError):
            return None

    written, n = [read(t) for t in texts], len(texts)
    valid = [c is not None for c in written]
    right = [v and c == w for v, c, w in zip(valid, written, calls)]
    answered = [v and c["arguments"]["id"] in known for v, c in zip(valid, written)]
    return {
        "valid": sum(valid) / n,
        "right": sum(right) / n,
        "executable": sum(answered) / n,
        "wrong_but_valid": (sum(valid) - sum(right)) / n,
    }


def _parses(text):
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def json_is_enough(texts, calls, schemas, known):
    """You count every JSON text as valid. It must name a tool and fit that tool's schema."""
    parsed = sum(map(_parses, texts)) / len(texts)
    found = call_numbers(texts, calls, schemas, known)
    return found | {"valid": parsed, "wrong_but_valid": parsed - found["right"]}


def of_the_valid_ones(texts, calls, schemas, known):
    """You divide by the valid calls. Shares of different wholes cannot be compared: divide all four by the
    number of questions.
    """
    found = call_numbers(texts, calls, schemas, known)
    return {k: v if k == "valid" else v / (found["valid"] or 1.0) for k, v in found.items()}


def answered_is_right(texts, calls, schemas, known):
    """You take an answer from the tool for a right call. A call with another id, or another field, gets an
    answer too, to another question.
    """
    found = call_numbers(texts, calls, schemas, known)
    return found | {
        "right": found["executable"],
        "wrong_but_valid": found["valid"] - found["executable"],
    }


def all_that_is_wrong(texts, calls, schemas, known):
    """You count invalid calls among the wrong but valid ones. An invalid call can be caught by the schema;
    a wrong but valid one cannot, which is why it has a number of its own.
    """
    found = call_numbers(texts, calls, schemas, known)
    return found | {"wrong_but_valid": 1 - found["right"]}


def more_arguments_allowed(texts, calls, schemas, known):
    """You let calls pass that have arguments which the schema doesn't know. A strict tool refuses them."""
    cut = []
    for text in texts:
        call = json.loads(text) if _parses(text) else None
        if isinstance(call, dict) and isinstance(call.get("arguments"), dict):
            schema = schemas.get(call.get("name"), {})
            text = json.dumps(
                call | {"arguments": {a: v for a, v in call["arguments"].items() if a in schema}}
            )
        cut.append(text)
    return call_numbers(cut, calls, schemas, known)


SCHEMAS = {"look_up": {"id": "string", "field": "string"}, "order": {"id": "string", "count": "integer"}}
KNOWN = ["D1", "D2", "D3"]


def _look(drug, field, **more):
    return json.dumps({"name": "look_up", "arguments": {"id": drug, "field": field, **more}})


def _written(r, wanted):
    """What a model may write for a wanted call: it, or one of the ways to miss it."""
    drug, field = wanted["arguments"]["id"], wanted["arguments"]["field"]
    return r.choice(
        (
            json.dumps(wanted),
            json.dumps(wanted)[:-1],
            _look(r.choice([k for k in KNOWN if k != drug]), field),
            _look("D9", field),
            _look(drug, "colour"),
            _look(drug, field, unit="mg"),
            _look(7, field),
            json.dumps({"name": "look_up", "arguments": {"id": drug}}),
            json.dumps({"name": "search", "arguments": {"id": drug, "field": field}}),
            json.dumps({"name": "order", "arguments": {"id": drug, "count": 2}}),
            json.dumps([drug, field]),
        )
    )


def _number_cases():
    r = random.Random(82)
    call = lambda: {
        "name": "look_up",
        "arguments": {"id": r.choice(KNOWN), "field": r.choice(("dose", "use"))},
    }
    first = {"name": "look_up", "arguments": {"id": "D1", "field": "dose"}}
    cases = [
        case(name, [json.dumps(first), text], [first, first], SCHEMAS, KNOWN)
        for name, text in (
            ("right, and another drug's id", _look("D2", "dose")),
            ("right, and an id that does not exist", _look("D9", "dose")),
            ("right, and an argument too many", _look("D1", "dose", unit="mg")),
            ("right, and JSON without a tool", '["D1", "dose"]'),
            ("right, and a bracket that is missing", json.dumps(first)[:-1]),
        )
    ]
    for n in (5, 8, 8, 12):
        wanted = [call() for _ in range(n)]
        cases.append(case(f"{n} questions", [_written(r, w) for w in wanted], wanted, SCHEMAS, KNOWN))
    return cases


CALL_NUMBERS = Exercise(
    call_numbers,
    "Measure tool calls by four numbers: valid, right, executable, and wrong but valid.",
    _number_cases,
    (
        (
            "Which of the four could a JSON parser find? Which the schema, which the tool, and which "
            "nobody but you?"
        ),
        "Read the text with json.loads; catch ValueError, KeyError and TypeError: such a text is not valid.",
        (
            "valid: set(arguments) == set(schema), and each argument of its type. All four are divided by "
            "len(texts)."
        ),
    ),
    (_call_numbers_lists,),
    (json_is_enough, of_the_valid_ones, answered_is_right, all_that_is_wrong, more_arguments_allowed),
)

# ---- what a grammar does to the odds ----


def two_ways_to_constrain(first, second, valid):
    """A model writes two tokens. first [V]: the probabilities of the first one; second [V, V]: row i those
    of the second one after token i; valid [V, V], truth values: is the text (i, j) valid? Returns (masked,
    conditional), each [V, V]: the probability of each text under a grammar that masks token by token,
    letting pass what can still become valid, and under rejection sampling: draw whole texts, keep a valid
    one.
    """
    start = first * valid.any(1)
    then = second * valid
    masked = (start / start.sum())[:, None] * then / then.sum(1, keepdim=True).clamp(min=1e-30)
    conditional = first[:, None] * then
    return masked, conditional / conditional.sum()


def _two_ways_loop(first, second, valid):
    masked, conditional = torch.zeros_like(second), torch.zeros_like(second)
    open_ = [i for i in range(len(first)) if valid[i].any()]
    for i in open_:
        for j in range(len(first)):
            if valid[i, j]:
                masked[i, j] = first[i] / first[open_].sum() * second[i, j] / second[i][valid[i]].sum()
                conditional[i, j] = first[i] * second[i, j]
    return masked, conditional / conditional.sum()


def taken_for_the_same(first, second, valid):
    """You take masking for rejection. A mask looks one token ahead: it keeps a first token at full weight
    even if nearly everything that the model would write after it is invalid.
    """
    conditional = two_ways_to_constrain(first, second, valid)[1]
    return conditional, conditional.clone()


def not_divided(first, second, valid):
    """You set what is forbidden to zero and stop. Divide what is left by its sum, after each mask."""
    return first[:, None] * second * valid, two_ways_to_constrain(first, second, valid)[1]


def only_the_last_token(first, second, valid):
    """You mask the second token only. A first token after which nothing valid can come has to be masked as
    well.
    """
    then = second * valid
    masked = first[:, None] * then / then.sum(1, keepdim=True).clamp(min=1e-30)
    return masked, two_ways_to_constrain(first, second, valid)[1]


def zero_logits(first, second, valid):
    """You multiply logits by the mask. A logit of 0 is a probability like any other: the forbidden ones
    need -inf, or a probability of 0.
    """
    start = (first.log() * valid.any(1)).softmax(0)
    then = (second.log() * valid).softmax(1)
    return start[:, None] * then, two_ways_to_constrain(first, second, valid)[1]


def _constrain_cases():
    draw = _draws(83)

    def rows(*shape):
        x = draw(*shape) + 0.05
        return x / x.sum(-1, keepdim=True)

    cases = [
        case(
            "a likely beginning that hardly ever ends well",
            torch.tensor([0.9, 0.1]),
            torch.tensor([[0.01, 0.99], [0.5, 0.5]]),
            torch.tensor([[True, False], [True, True]]),
        ),
        case(
            "a beginning that cannot end well",
            torch.tensor([0.6, 0.4]),
            torch.tensor([[0.5, 0.5], [0.2, 0.8]]),
            torch.tensor([[False, False], [True, False]]),
        ),
        case("everything is valid", rows(3), rows(3, 3), torch.ones(3, 3, dtype=torch.bool)),
    ]
    for v in (3, 4, 5):
        valid = draw(v, v) > 0.6
        valid[0], valid[1, 1] = False, True
        cases.append(case(f"{v} tokens", rows(v), rows(v, v), valid))
    return cases


TWO_WAYS_TO_CONSTRAIN = Exercise(
    two_ways_to_constrain,
    "Constrain a model in two ways, and see that they do not give the same odds.",
    _constrain_cases,
    (
        "Rejection keeps the model's odds among valid texts. What does a mask know about the second"
        " it lets the first one pass?",
        (
            "Masked: first times valid.any(1), divided by its sum; second times valid, each row divided "
            "by its sum."
        ),
        "Conditional: first[:, None] * second * valid, divided by the sum over everything.",
    ),
    (_two_ways_loop,),
    (taken_for_the_same, not_divided, only_the_last_token, zero_logits),
)

# ---- when a call is worth its price ----


def policies(p_memory, p_tool, price):
    """p_memory, p_tool [n]: the chance of a right answer to each of n questions from memory, and after one
    call. price: what a call costs; a right answer is worth 1. Returns a dict of mean utilities: never (no
    call), always (a call a question), decide (for each question the better of the two, known in advance).
    """
    after = p_tool - price
    decide = torch.where(after > p_memory, after, p_memory)
    return {"never": float(p_memory.mean()), "always": float(after.mean()), "decide": float(decide.mean())}


def _policies_loop(p_memory, p_tool, price):
    pairs = list(zip(p_memory.tolist(), p_tool.tolist()))
    return {
        "never": sum(m for m, _ in pairs) / len(pairs),
        "always": sum(t - price for _, t in pairs) / len(pairs),
        "decide": sum(max(m, t - price) for m, t in pairs) / len(pairs),
    }


def price_forgotten(p_memory, p_tool, price):
    """You call wherever the tool is better, and pay for it afterwards. The price belongs in the decision:
    call only if p_tool - price > p_memory.
    """
    decide = torch.where(p_tool > p_memory, p_tool - price, p_memory)
    return policies(p_memory, p_tool, price) | {"decide": float(decide.mean())}


def below_one_half(p_memory, p_tool, price):
    """You call where memory is right less than half of the time. There is no fixed border: it is p_tool -
    price, and a tool that fails on a question does not help with it.
    """
    decide = torch.where(p_memory < 0.5, p_tool - price, p_memory)
    return policies(p_memory, p_tool, price) | {"decide": float(decide.mean())}


def one_rule_for_all(p_memory, p_tool, price):
    """You choose once for all questions. The gain lies in choosing for each: take the maximum first, then
    the mean.
    """
    found = policies(p_memory, p_tool, price)
    return found | {"decide": max(found["never"], found["always"])}


def a_free_call(p_memory, p_tool, price):
    """In `always` nobody pays. Take the price off each call, no matter who decided on it."""
    return policies(p_memory, p_tool, price) | {"always": float(p_tool.mean())}


def _policy_cases():
    draw = _draws(84)
    return [
        case("one is known, one is not", torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0]), 0.2),
        case(
            "a call that costs more than it gains", torch.tensor([0.6, 0.3]), torch.tensor([0.7, 0.9]), 0.25
        ),
        case("a tool that fails too", torch.tensor([0.2, 0.4]), torch.tensor([0.1, 0.9]), 0.1),
        case("too dear to call at all", torch.tensor([0.3, 0.5]), torch.tensor([0.9, 1.0]), 0.8),
        *(case(f"{n} questions, price {p}", draw(n), draw(n), p) for n, p in ((4, 0.1), (6, 0.3), (9, 0.05))),
    ]


POLICIES = Exercise(
    policies,
    "What is the right to decide worth, against always calling and never calling?",
    _policy_cases,
    (
        "For one question: what do you get with a call, and what without?",
        "With a call p_tool - price, without p_memory. Decide takes the larger one, for each question.",
        "torch.maximum(p_memory, p_tool - price).mean() is the utility of deciding.",
    ),
    (_policies_loop,),
    (price_forgotten, below_one_half, one_rule_for_all, a_free_call),
)


def priced_advantages(right, calls, price):
    """right, calls [n, k]: of k samples for each of n questions, whether the answer was right (1.0 or 0.0)
    and how many calls it took. Reward: right less price times calls. Returns [n, k]: GRPO's advantages, the
    reward less the mean of its question, divided by (the question's standard deviation, with k - 1, plus
    0.0001).
    """
    reward = right - price * calls
    return (reward - reward.mean(1, keepdim=True)) / (reward.std(1, keepdim=True) + 1e-4)


def _priced_advantages_rows(right, calls, price):
    rows = []
    for r, c in zip(right.tolist(), calls.tolist()):
        rewards = [a - price * b for a, b in zip(r, c)]
        mean = sum(rewards) / len(rewards)
        std = math.sqrt(sum((x - mean) ** 2 for x in rewards) / (len(rewards) - 1))
        rows.append([(x - mean) / (std + 1e-4) for x in rewards])
    return torch.tensor(rows)


def price_after(right, calls, price):
    """You take the price off the advantage. It belongs in the reward, before mean and deviation are taken;
    as it is, calls are punished even where every sample makes the same one.
    """
    return priced_advantages(right, calls, 0.0) - price * calls


def paid_when_wrong(right, calls, price):
    """You charge wrong answers only. A needless call usually comes with a right answer: that is where it
    must cost.
    """
    return priced_advantages(right, calls * (1 - right), price)


def once_a_conversation(right, calls, price):
    """You charge one call, however many were made. The price is for each."""
    return priced_advantages(right, (calls > 0).float(), price)


def over_the_batch(right, calls, price):
    """Mean and deviation run over all questions. A hard question is then punished for being hard; compare
    samples of the same question.
    """
    return priced_advantages(right.view(1, -1), calls.view(1, -1), price).view(right.shape)


def _priced_cases():
    draw = _draws(85)
    cases = [
        case("all right, two with a call", torch.ones(1, 4), torch.tensor([[1.0, 0.0, 1.0, 0.0]]), 0.2),
        case(
            "right only with a call",
            torch.tensor([[1.0, 0.0, 1.0, 0.0]]),
            torch.tensor([[1.0, 0.0, 2.0, 0.0]]),
            0.2,
        ),
        case("all the same: no signal", torch.ones(2, 3), torch.ones(2, 3), 0.3),
    ]
    for n, k, price in ((2, 4, 0.1), (3, 5, 0.3), (3, 8, 0.8)):
        cases.append(
            case(f"{n} questions, {k} samples", (draw(n, k) > 0.4).float(), (draw(n, k) * 3).floor(), price)
        )
    return cases


PRICED_ADVANTAGES = Exercise(
    priced_advantages,
    "Put a price on calls, and see which samples a policy gradient then prefers.",
    _priced_cases,
    (
        "All samples of a question are right. Which one should become more likely?",
        "First the reward of each sample: right - price * calls. Then compare within its row.",
        "(reward - reward.mean(1, keepdim=True)) / (reward.std(1, keepdim=True) + 1e-4).",
    ),
    (_priced_advantages_rows,),
    (price_after, paid_when_wrong, once_a_conversation, over_the_batch),
)

# ---- after an error ----


def next_move(writes, error, tries, limit):
    """writes: does the tool change the world (an order, a payment)? error: None, "fault" (nothing was done,
    try again), "bad_arguments" (it says which ones are right), "not_found", "timeout" or "failed" (nobody
    knows what was done). tries: calls made so far; limit: the most that may be made. Returns what comes
    next: "answer", "repeat" the same call, "mend" it, "look" whether it was done, or "give up". Looking
    does not count as a try.
    """
    if error is None:
        return "answer"
    if writes and error in ("timeout", "failed"):
        return "look"
    if error == "not_found" or tries >= limit:
        return "give up"
    return "mend" if error == "bad_arguments" else "repeat"


def _next_move_table(writes, error, tries, limit):
    unsure = "look" if writes else "repeat"
    move = {
        None: "answer",
        "fault": "repeat",
        "bad_arguments": "mend",
        "not_found": "give up",
        "timeout": unsure,
        "failed": unsure,
    }[error]
    return "give up" if move in ("repeat", "mend") and tries >= limit else move


def repeats_orders(writes, error, tries, limit):
    """You repeat a call that changes the world though nobody knows whether it was done. That orders twice,
    or pays twice: look first.
    """
    return next_move(False, error, tries, limit)


def the_same_again(writes, error, tries, limit):
    """You repeat a call whose arguments are wrong. The same call fails in the same way: mend it by what the
    error says.
    """
    move = next_move(writes, error, tries, limit)
    return "repeat" if move == "mend" else move


def for_ever(writes, error, tries, limit):
    """You never stop trying. At the limit, say that it cannot be done: an agent without one burns its
    budget in a loop.
    """
    return next_move(writes, error, 0, limit)


def other_names(writes, error, tries, limit):
    """You try other arguments where there is nothing to find. The error names none, so they would be
    invented; say that it was not found.
    """
    return "mend" if error == "not_found" and tries < limit else next_move(writes, error, tries, limit)


def looks_every_time(writes, error, tries, limit):
    """You look after every error of a tool that writes. After a fault or bad arguments nothing was done:
    the error says so, and the next call is safe.
    """
    return "look" if writes and error not in (None, "not_found") else next_move(writes, error, tries, limit)


def _move_cases():
    r = random.Random(86)
    errors = (None, "fault", "bad_arguments", "not_found", "timeout", "failed")
    return [
        case("an order that timed out", True, "timeout", 1, 3),
        case("a look-up that timed out", False, "timeout", 1, 3),
        case("an order that 'failed'", True, "failed", 3, 3),
        case("a renamed field", False, "bad_arguments", 1, 3),
        case("no such drug", False, "not_found", 1, 3),
        case("a fault, and the limit is reached", False, "fault", 3, 3),
        case("an order with a bad count", True, "bad_arguments", 1, 3),
        *(
            case("another error", r.random() < 0.5, r.choice(errors), r.randint(1, 4), r.randint(1, 4))
            for _ in range(20)
        ),
    ]


NEXT_MOVE = Exercise(
    next_move,
    "Decide what an agent does after an error: repeat, mend, look, give up.",
    _move_cases,
    (
        "Ask of each error: was anything done? Can the same call succeed? Does it say what would?",
        "Unknown outcome and a tool that writes: look, even at the limit. Nothing to find: give up.",
        "Then the limit. Then bad_arguments → mend; what is left → repeat.",
    ),
    (_next_move_table,),
    (repeats_orders, the_same_again, for_ever, other_names, looks_every_time),
)

# ---- retrieval ----


def overlapping_chunks(words, length, overlap):
    """words: a document as a list. Returns windows of `length` words, each beginning length - overlap words
    after the last one. The end of the document is kept (the last window may be shorter), and no window lies
    wholly inside another. No words: no windows. 0 ≤ overlap < length.
    """
    chunks, start = [], 0
    while start < len(words):
        chunks.append(words[start : start + length])
        if start + length >= len(words):
            break
        start += length - overlap
    return chunks


def _overlapping_chunks_range(words, length, overlap):
    starts = range(0, max(len(words) - overlap, min(len(words), 1)), length - overlap)
    return [words[s : s + length] for s in starts]


def the_end_dropped(words, length, overlap):
    """You keep full windows only. The last words of the document can then never be found."""
    return [c for c in overlapping_chunks(words, length, overlap) if len(c) == length]


def no_overlap(words, length, overlap):
    """Your windows do not overlap. A sentence that lies across a boundary is then whole in none of them."""
    return overlapping_chunks(words, length, 0)


def a_window_too_many(words, length, overlap):
    """Your last window lies inside the one before. It adds no words, and it can push another chunk off the
    list of those shown.
    """
    return [words[s : s + length] for s in range(0, len(words), length - overlap)]


def a_gap(words, length, overlap):
    """You begin the next window overlap words too late, so words between two windows are lost. The step is
    length - overlap.
    """
    return [words[s : s + length] for s in range(0, len(words), length + overlap)]


def _chunk_cases():
    r = random.Random(87)
    some = lambda n: [r.choice("abcdefgh") for _ in range(n)]
    return [
        case("seven words", list("abcdefg"), 4, 2),
        case("it fits exactly", list("abcdef"), 4, 2),
        case("a rest", list("abcdefgh"), 3, 1),
        case("a document shorter than a window", list("ab"), 5, 2),
        case("no words", [], 4, 1),
        *(
            case(f"{n} words, {length} of length, {o} shared", some(n), length, o)
            for n, length, o in ((10, 4, 1), (11, 5, 3), (13, 6, 0), (16, 5, 4))
        ),
    ]


OVERLAPPING_CHUNKS = Exercise(
    overlapping_chunks,
    "Cut a document into windows that overlap and cover it.",
    _chunk_cases,
    (
        "How far is it from the start of one window to the start of the next?",
        "length - overlap words. When have you reached the end?",
        "Stop after the first window for which start + length >= len(words).",
    ),
    (_overlapping_chunks_range,),
    (the_end_dropped, no_overlap, a_window_too_many, a_gap),
)


def bm25_scores(query, documents):
    """query: a list of different words; documents: n lists of words. Returns n scores by BM25 with k1 = 1.5
    and b = 0.75: the sum over the query's words of idf · tf / (tf + k1 · (1 - b + b · length / mean
    length)). tf: how often the word occurs in the document; idf = ln(1 + (n - df + 0.5) / (df + 0.5)); df:
    the documents that contain it.
    """
    n, mean = len(documents), sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for word in query:
            df, tf = sum(word in d for d in documents), document.count(word)
            idf = math.log(1 + (n - df + 0.5) / (df + 0.5))
            score += idf * tf / (tf + 1.5 * (0.25 + 0.75 * len(document) / mean))
        scores.append(score)
    return scores


def _bm25_tensors(query, documents):
    tf = torch.tensor([[float(d.count(w)) for w in query] for d in documents])
    df, length = (tf > 0).sum(0), torch.tensor([float(len(d)) for d in documents])
    idf = torch.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
    return (idf * tf / (tf + 1.5 * (0.25 + 0.75 * length / length.mean())[:, None])).sum(1).tolist()


def _bm25(query, documents, idf=None, b=0.75, saturated=True, counts=False):
    """BM25 with a part of it changed."""
    n, mean = len(documents), sum(map(len, documents)) / len(documents)
    scores = [0.0] * n
    for word in query:
        df = sum(d.count(word) if counts else word in d for d in documents)
        weight = math.log(1 + (n - df + 0.5) / (df + 0.5)) if idf is None else idf
        for i, d in enumerate(documents):
            tf = d.count(word)
            below = tf + 1.5 * (1 - b + b * len(d) / mean)
            scores[i] += weight * (tf / below if saturated else tf)
    return scores


def every_word_the_same(query, documents):
    """You leave out idf. Then 'the' weighs as much as the one name that is asked for."""
    return _bm25(query, documents, idf=1.0)


def length_ignored(query, documents):
    """You do not look at the document's length. A long one holds more of everything by chance: divide by
    the mean length, with weight b.
    """
    return _bm25(query, documents, b=0.0)


def without_saturation(query, documents):
    """You count a word's tenth occurrence like its first. tf / (tf + …) can never exceed 1."""
    return _bm25(query, documents, saturated=False)


def occurrences_counted(query, documents):
    """df is the number of documents that contain the word, not how often it occurs in all of them."""
    return _bm25(query, documents, counts=True)


def _bm25_cases():
    r = random.Random(88)
    vocabulary = "the the the dose of of a drug is Lumo Tavir Orsan for pain".split()
    some = lambda: [r.choice(vocabulary) for _ in range(r.randint(3, 14))]
    cases = [
        case(
            "a name and a common word",
            ["the", "Lumo"],
            ["the dose of the drug".split(), "Lumo is a drug".split(), "the the the".split()],
        ),
        case(
            "a short document and a long one",
            ["Lumo"],
            ["Lumo is new".split(), "Lumo is a drug for pain that came after the others".split(), ["no"]],
        ),
        case("a word ten times", ["dose"], [["dose"] * 10, ["dose", "of", "a", "drug"], ["a", "drug"]]),
        case("a word that nobody has", ["Kelvo"], [["a", "drug"], ["the", "dose"]]),
    ]
    for n in (3, 5, 6):
        documents = [some() for _ in range(n)]
        cases.append(case(f"{n} documents", ["the", "Lumo", "dose"], documents))
    return cases


BM25_SCORES = Exercise(
    bm25_scores,
    "Score documents by the words that they share with a question.",
    _bm25_cases,
    (
        "Which word of the question says most about the document that is meant?",
        "One score a document: a loop over the query's words, each with its df, its idf and its tf.",
        "document.count(word) is tf; sum(word in d for d in documents) is df.",
    ),
    (_bm25_tensors,),
    (every_word_the_same, length_ignored, without_saturation, occurrences_counted),
)


def fused_ranks(rankings, constant):
    """rankings: lists of documents (numbers), best first; a document may be missing from some. Returns
    [(document, score), …] by reciprocal rank fusion, best first, of equal scores the smaller document
    first: a document scores 1 / (constant + rank) for each ranking that holds it, where ranks begin with 1.
    """
    score = {}
    for ranking in rankings:
        for rank, document in enumerate(ranking, 1):
            score[document] = score.get(document, 0.0) + 1 / (constant + rank)
    return sorted(score.items(), key=lambda pair: (-pair[1], pair[0]))


def _fused_ranks_by_document(rankings, constant):
    every = sorted({d for ranking in rankings for d in ranking})
    score = lambda d: sum(1 / (constant + r.index(d) + 1) for r in rankings if d in r)
    return sorted(((d, score(d)) for d in every), key=lambda pair: -pair[1])


def _sorted(score):
    return sorted(score.items(), key=lambda pair: (-pair[1], pair[0]))


def ranks_from_zero(rankings, constant):
    """Your ranks begin with 0. The formula's begin with 1, which matters where the constant is small."""
    return fused_ranks(rankings, constant - 1)


def in_every_list(rankings, constant):
    """You keep only what every ranking holds. What words alone can find, or vectors alone, is why the two
    are put together: a document that is missing simply gets nothing from that list.
    """
    shared = set(rankings[0]).intersection(*rankings)
    return [(d, s) for d, s in fused_ranks(rankings, constant) if d in shared]


def the_best_rank_counts(rankings, constant):
    """You take a document's best rank. The ranks are added up: two second places beat one first place."""
    score = {}
    for ranking in rankings:
        for rank, d in enumerate(ranking, 1):
            score[d] = max(score.get(d, 0.0), 1 / (constant + rank))
    return _sorted(score)


def without_the_constant(rankings, constant):
    """You leave out the constant. A first place then weighs twice a second one, and a single list decides;
    the constant flattens the top.
    """
    return fused_ranks(rankings, 0)


def _rank_cases():
    r = random.Random(89)
    some = lambda n: r.sample(range(8), n)
    return [
        case("two lists that disagree", [[1, 2, 3], [3, 2, 4]], 60),
        case("found by one list only", [[5, 1], [1, 2]], 60),
        case("two second places against a first", [[1, 2, 3], [4, 2, 5]], 2),
        case("one list", [[3, 1, 2]], 10),
        case("three lists", [[1, 2, 3], [2, 4], [5, 2, 1]], 5),  # no near ties: the order of adding is free
        *(
            case(f"{len(lengths)} lists", [some(n) for n in lengths], c)
            for lengths, c in (((4, 4), 1), ((6, 6), 60))
        ),
    ]


FUSED_RANKS = Exercise(
    fused_ranks,
    "Put two rankings together without comparing their scores.",
    _rank_cases,
    (
        "A BM25 score and a cosine have no common scale. What do both rankings have?",
        "Ranks. Add 1 / (constant + rank) over the lists, in a dict.",
        "enumerate(ranking, 1) counts from 1; sort by (-score, document).",
    ),
    (_fused_ranks_by_document,),
    (ranks_from_zero, in_every_list, the_best_rank_counts, without_the_constant),
)


def in_batch_loss(questions, passages, temperature):
    """questions, passages [n, d]: vectors of length 1; passage i belongs to question i. Returns InfoNCE
    with in-batch negatives, a number: the mean over questions of minus the log of the share that the own
    passage gets when the n passages compete by similarity / temperature.
    """
    logits = questions @ passages.T / temperature
    return F.cross_entropy(logits, torch.arange(len(logits)))


def _in_batch_loss_by_hand(questions, passages, temperature):
    logits = questions @ passages.T / temperature
    return (logits.logsumexp(1) - logits.diagonal()).mean()


def passages_choose(questions, passages, temperature):
    """You let the questions compete for each passage. In a search the passages compete for the question:
    softmax over passages.
    """
    return in_batch_loss(passages, questions, temperature)


def without_temperature(questions, passages, temperature):
    """The temperature is missing. Similarities lie between -1 and 1, so the softmax is nearly flat and the
    loss can hardly fall.
    """
    return in_batch_loss(questions, passages, 1.0)


def only_pulled_together(questions, passages, temperature):
    """You only pull question and passage together. Without the others in the batch everything may end at
    the same point.
    """
    return -(questions * passages).sum(1).mean() / temperature


def without_its_own(questions, passages, temperature):
    """Your denominator leaves out the question's own passage. Without it this is no probability."""
    logits = questions @ passages.T / temperature
    others = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool), -math.inf)
    return (others.logsumexp(1) - logits.diagonal()).mean()


def _loss_cases():
    draw = _draws(90)
    unit = lambda n, d: F.normalize(draw(n, d) - 0.5, dim=1)
    eye = torch.eye(3)
    return [
        case("each passage beside its question", eye, eye.clone(), 0.5),
        case("two passages exchanged", eye, eye[[1, 0, 2]], 0.5),
        case("all at one point", torch.tensor([[1.0, 0.0]] * 4), torch.tensor([[1.0, 0.0]] * 4), 0.05),
        *(case(f"{n} pairs", unit(n, 4), unit(n, 4), t) for n, t in ((3, 0.05), (5, 0.1), (8, 0.5))),
    ]


IN_BATCH_LOSS = Exercise(
    in_batch_loss,
    "Train an encoder: each question beside its own passage, away from those of the others.",
    _loss_cases,
    (
        "questions @ passages.T: what is in row i, and where in it is the right passage?",
        (
            "Row i holds the similarities of question i; the right one is on the diagonal. Divide by the "
            "temperature."
        ),
        "It is the cross-entropy of the rows with the labels 0, 1, …, n - 1.",
    ),
    (_in_batch_loss_by_hand,),
    (passages_choose, without_temperature, only_pulled_together, without_its_own),
)


def which_half_failed(found, right, gold_right):
    """Three lists of truth values over the same n questions. found: the chunk that tells it was among those
    shown; right: the answer was right; gold_right: the answer was right when that chunk was put there.
    Returns a dict of shares of all n that add up to 1: right; unsupported (right, though the chunk was not
    found); reading (found, and wrong all the same); search (wrong and not found, but right with the chunk);
    both (wrong, not found, and wrong with the chunk too).
    """
    n = len(found)
    count = dict.fromkeys(("right", "unsupported", "reading", "search", "both"), 0)
    for f, r, g in zip(found, right, gold_right):
        name = ("right" if f else "unsupported") if r else "reading" if f else "search" if g else "both"
        count[name] += 1
    return {name: c / n for name, c in count.items()}


def _which_half_tensors(found, right, gold_right):
    f, r, g = (torch.tensor(x, dtype=torch.bool) for x in (found, right, gold_right))
    parts = {
        "right": r & f,
        "unsupported": r & ~f,
        "reading": ~r & f,
        "search": ~r & ~f & g,
        "both": ~r & ~f & ~g,
    }
    return {name: float(x.float().mean()) for name, x in parts.items()}


def search_for_all(found, right, gold_right):
    """You blame the search for everything that was not found. Where the reader fails with the chunk before
    its eyes, a better search does not help: that is 'both'.
    """
    told = which_half_failed(found, right, gold_right)
    return told | {"search": told["search"] + told["both"], "both": 0.0}


def right_is_right(found, right, gold_right):
    """You do not ask where a right answer came from. Without its chunk it is a guess or memory, and no
    document supports it.
    """
    told = which_half_failed(found, right, gold_right)
    return told | {"right": told["right"] + told["unsupported"], "unsupported": 0.0}


def of_the_failures(found, right, gold_right):
    """You divide the failures by the number of failures. All five are shares of all questions, so that they
    can be compared and add up to 1.
    """
    told = which_half_failed(found, right, gold_right)
    wrong = told["reading"] + told["search"] + told["both"] or 1.0
    return {k: v if k in ("right", "unsupported") else v / wrong for k, v in told.items()}


def gold_tells_all(found, right, gold_right):
    """You judge the reading by the chunk that was put there, even where the search had found it. Found and
    wrong is a failure of the reading among what was really shown, whatever happens with the chunk alone.
    """
    seen = [f and not (g and not r) for f, r, g in zip(found, right, gold_right)]
    return which_half_failed(seen, right, gold_right)


def _half_cases():
    r = random.Random(91)
    toss = lambda n, p: [r.random() < p for _ in range(n)]
    return [
        case(
            "one of each kind",
            [True, False, True, False, False],
            [True, True, False, False, False],
            [True, True, False, True, False],
        ),
        case("all is well", [True, True], [True, True], [True, True]),
        case("found, wrong, and right with the chunk alone", [True, True], [False, True], [True, True]),
        case("nothing is found", [False] * 4, [False] * 4, [True, True, False, True]),
        *(case(f"{n} questions", toss(n, 0.6), toss(n, 0.5), toss(n, 0.7)) for n in (5, 8, 10, 16)),
    ]


WHICH_HALF_FAILED = Exercise(
    which_half_failed,
    "Say which half of a retrieval system failed: the search, the reading, or both.",
    _half_cases,
    (
        "Of a wrong answer ask first whether the chunk was there, then whether it would have helped.",
        "Found and wrong: reading. Not found: the answer with the chunk put there tells search from both.",
        "And a right answer without its chunk is unsupported. Count the five, divide by n.",
    ),
    (_which_half_tensors,),
    (search_for_all, right_is_right, of_the_failures, gold_tells_all),
)

EXERCISES = (
    TRAJECTORY_ROW,
    CALL_NUMBERS,
    TWO_WAYS_TO_CONSTRAIN,
    POLICIES,
    PRICED_ADVANTAGES,
    NEXT_MOVE,
    OVERLAPPING_CHUNKS,
    BM25_SCORES,
    FUSED_RANKS,
    IN_BATCH_LOSS,
    WHICH_HALF_FAILED,
)
