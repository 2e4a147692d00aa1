"""Stepwise: five families of problems that are solved step by step. A family says which steps are due behind
those that are written, right or wrong as they are, so that every step of any text can be checked by itself.
"""

from dataclasses import dataclass

from .base import Problem, ask, side
from .strings import FUNCTIONS
from .sums import ASKS, SIGNS, digits, evaluate

STEPS = " Show the steps."
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Family:
    """A kind of problem, of levels 1 to 4 that rise in difficulty; the answer is what the last step comes to,
    unless a family says otherwise.
    """

    name: str

    def problem(self, r, split: str, level: int) -> Problem | None:
        """One problem of the level, or None if it belongs to the other split."""
        raise NotImplementedError

    def due(self, problem: Problem, before: list[str]) -> list[str]:
        """The steps that follow from those written before; none: the answer is due, or nothing follows."""
        raise NotImplementedError

    def concluded(self, problem: Problem, steps: list[str]) -> str:
        """The answer that these steps lead to, whether they are true or not; '' where they lead nowhere."""
        return right_of(steps[-1]) if steps else ""

    def is_right(self, problem: Problem, answer: str) -> bool:
        """Is this answer right, whatever was written before it?"""
        return answer == problem.answer

    def leads(self, problem: Problem, steps: list[str]) -> bool:
        """Can a right answer still follow from these steps, each of which follows from those before?"""
        return True

    def slips(self, r, problem: Problem, before: list[str]) -> dict[str, str]:
        """Kind of mistake -> a wrong step of that kind, in place of one that is due."""
        raise NotImplementedError


def right_of(step: str) -> str:
    """What a step comes to: behind '=', or behind 'to'."""
    return step.partition(" = ")[2] or step.partition(" to ")[2]


def off(r, value: str) -> str:
    """The value with one digit or letter changed."""
    places = [i for i, c in enumerate(value) if c.isalnum()]
    if not places:
        return value + "0"
    i = r.choice(places)
    pool = "0123456789" if value[i].isdigit() else LETTERS
    return value[:i] + r.choice([c for c in pool if c != value[i]]) + value[i + 1 :]


def miscalculated(r, step: str) -> str:
    """The step with another value."""
    return step.removesuffix(right_of(step)) + off(r, right_of(step))


def is_number(text: str) -> bool:
    """A whole number in plain ASCII digits, of a length that can be meant."""
    return len(text) < 20 and text.isascii() and text.removeprefix("-").isdigit()


@dataclass(frozen=True)
class Columns(Family):
    """Sums and differences, column by column with carries or borrows."""

    name: str = "columns"

    def problem(self, r, split, level):
        """Numbers of level + 2 digits."""
        op, low = r.choice(("add", "subtract")), 10 ** (level + 1)
        a, b = sorted((r.randrange(low, 10 * low), r.randrange(low, 10 * low)), reverse=True)
        if op == "add" and r.random() < 0.5:
            a, b = b, a
        if side("columns", op, sorted((a, b))) != split:
            return None
        return posed(self.name, r.choice(ASKS).format(e=f"{a} {SIGNS[op]} {b}"), op=op, numbers=(a, b))

    def due(self, problem, before):
        """The next column, with what the written one before it carries or borrows."""
        op, (a, b) = problem.meta["op"], problem.meta["numbers"]
        i, left, right = len(before), digits(a), digits(b)
        if i >= max(len(left), len(right)):
            return []
        x, y = (d[i] if i < len(d) else 0 for d in (left, right))
        if op == "add":
            carry = int(right_of(before[-1])) // 10 if before and is_number(right_of(before[-1])) else 0
        else:
            carry = int(bool(before) and before[-1].startswith("10 + "))
        terms = f"{x} {SIGNS[op]} {y}" + (f" {SIGNS[op]} {carry}" if carry else "")
        if op == "subtract" and x - y - carry < 0 and i < max(len(left), len(right)) - 1:
            terms = "10 + " + terms
        return [f"{terms} = {evaluate(terms)}"]

    def concluded(self, problem, steps):
        """The written columns' last digits, the last column in full."""
        values = [right_of(s) for s in steps]
        if not values or not all(is_number(v) and int(v) >= 0 for v in values):
            return ""
        return str(int(values[-1] + "".join(v[-1] for v in reversed(values[:-1]))))

    def slips(self, r, problem, before):
        """A wrong value, or a carry or borrow forgotten."""
        step = self.due(problem, before)[0]
        found, terms = {"value": miscalculated(r, step)}, step.partition(" = ")[0]
        sign = SIGNS[problem.meta["op"]]
        if terms.removeprefix("10 + ").count(sign) == 2:
            short = terms.rpartition(f" {sign} ")[0]
            found["carry"] = f"{short} = {evaluate(short)}"
        return found


@dataclass(frozen=True)
class Products(Family):
    """Products by partial products and their running sum."""

    name: str = "products"

    def problem(self, r, split, level):
        """2 × 2, 3 × 2, 3 × 3 and 4 × 3 digits, no zero among those of the second."""
        long, short = ((2, 2), (3, 2), (3, 3), (4, 3))[level - 1]
        a = r.randrange(10 ** (long - 1), 10**long)
        b = int("".join(r.choice("123456789") for _ in range(short)))
        if side("products", sorted((a, b))) != split:
            return None
        return posed(self.name, r.choice(ASKS).format(e=f"{a} * {b}"), op="multiply", numbers=(a, b))

    def due(self, problem, before):
        """The next partial product, then the sums of the values as they are written."""
        a, b = problem.meta["numbers"]
        parts = [d * 10**i for i, d in enumerate(digits(b))]
        i, values = len(before), [right_of(s) for s in before]
        if i < len(parts):
            return [f"{a} * {parts[i]} = {a * parts[i]}"]
        if i >= 2 * len(parts) - 1 or not all(map(is_number, values)):
            return []
        total = values[0] if i == len(parts) else values[-1]
        added = values[i - len(parts) + 1]
        return [f"{total} + {added} = {int(total) + int(added)}"]

    def slips(self, r, problem, before):
        """A wrong value, or a zero lost."""
        step = self.due(problem, before)[0]
        found, value = {"value": miscalculated(r, step)}, right_of(step)
        if value.endswith("0") and " * " in step:
            found["zero"] = step.removesuffix("0")
        return found


@dataclass(frozen=True)
class Compositions(Family):
    """Functions on letters, applied from the innermost outwards."""

    name: str = "strings"

    def problem(self, r, split, level):
        """Two to four functions on four letters, four on six."""
        depth, length = ((2, 4), (3, 4), (4, 4), (4, 6))[level - 1]
        names = tuple(r.choice(list(FUNCTIONS)) for _ in range(depth))
        letters = [r.choice(LETTERS) for _ in range(length)]
        if side("compositions", names, letters) != split:
            return None
        text = "What is " + "(".join(names) + "(" + " ".join(letters) + ")" * depth + "?"
        return posed(self.name, text, names=names, letters=letters)

    def due(self, problem, before):
        """The next function on what stands written."""
        names = problem.meta["names"][::-1]
        if len(before) >= len(names):
            return []
        letters = right_of(before[-1]).split() if before else problem.meta["letters"]
        if not letters or not all(len(c) == 1 and c in LETTERS for c in letters):
            return []
        return [applied(names[len(before)], letters)]

    def slips(self, r, problem, before):
        """A wrong letter, or another function than the one that is due."""
        step = self.due(problem, before)[0]
        name, _, rest = step.partition("(")
        letters = rest.partition(")")[0].split()
        wrong = [
            f"{name}({' '.join(letters)}) = {right_of(s)}"
            for s in (applied(n, letters) for n in FUNCTIONS)
            if right_of(s) != right_of(step)
        ]
        return {"value": miscalculated(r, step)} | ({"rule": r.choice(wrong)} if wrong else {})


def applied(name: str, letters: list[str]) -> str:
    """One function as a step: 'rot(a b) = b a'."""
    return f"{name}({' '.join(letters)}) = {' '.join(FUNCTIONS[name](letters))}"


@dataclass(frozen=True)
class Links(Family):
    """A chain of links among many, to be followed from a start."""

    name: str = "links"

    def problem(self, r, split, level):
        """Three, five, seven or nine links to follow. Two more lead on from there, so that the end of the
        chain is not the answer; others lead into it.
        """
        hops = 2 * level + 1
        chain = hops + 2
        nodes = r.sample(LETTERS, chain + 1 + hops // 3)
        links = dict(zip(nodes[:chain], nodes[1 : chain + 1]))
        links |= {a: r.choice(nodes[: chain + 1]) for a in nodes[chain + 1 :]}
        if side("links", sorted(links.items()), hops) != split:
            return None
        told = list(links.items())
        r.shuffle(told)
        text = ", ".join(f"{a} to {b}" for a, b in told)
        question = f"Links: {text}. Where do {hops} links from {nodes[0]} lead?"
        return posed(self.name, question, links=links, start=nodes[0], hops=hops)

    def due(self, problem, before):
        """The link from where one stands."""
        here = right_of(before[-1]) if before else problem.meta["start"]
        if len(before) >= problem.meta["hops"] or here not in problem.meta["links"]:
            return []
        return [f"{here} to {problem.meta['links'][here]}"]

    def slips(self, r, problem, before):
        """A link that does not exist, or one from elsewhere."""
        step, links = self.due(problem, before)[0], problem.meta["links"]
        here, _, there = step.partition(" to ")
        wrong = r.choice([n for n in links if n != there])
        other = r.choice([n for n in links if n != here])
        return {"value": f"{here} to {wrong}", "jump": f"{other} to {links[other]}"}


@dataclass(frozen=True)
class Reach(Family):
    """A number to be reached from another one by so many of three operations: a small search. Several answers
    may be right.
    """

    name: str = "reach"

    def problem(self, r, split, level):
        """Two to five operations."""
        count, start = level + 1, r.randint(2, 9)
        signs = r.sample(["+", "+", "*", "-"], 3)
        allowed = [f"{s} {r.randint(2, 3) if s == '*' else r.randint(2, 9)}" for s in signs]
        if len(set(allowed)) < 3:
            return None
        path, value = [], start
        for _ in range(count):
            path.append(r.choice(allowed))
            value = evaluate(f"{value} {path[-1]}")
        if not 0 <= value < 1000 or side("reach", start, value, sorted(allowed), count) != split:
            return None
        told = ", ".join(allowed)
        question = f"Reach {value} from {start} in {count} steps with {told}."
        meta = dict(start=start, target=value, allowed=allowed, count=count)
        return posed(self.name, question, " ".join(path), **meta)

    def due(self, problem, before):
        """Each allowed operation on the number that stands written."""
        here = right_of(before[-1]) if before else str(problem.meta["start"])
        if len(before) >= problem.meta["count"] or not is_number(here):
            return []
        return [f"{here} {o} = {evaluate(f'{here} {o}')}" for o in problem.meta["allowed"]]

    def leads(self, problem, steps):
        """Is there a way from the number that stands written to the target, in the steps that are left?"""
        here = {int(right_of(steps[-1])) if steps else problem.meta["start"]}
        for _ in range(problem.meta["count"] - len(steps)):
            here = {evaluate(f"{n} {o}") for n in here for o in problem.meta["allowed"]}
        return problem.meta["target"] in here

    def concluded(self, problem, steps):
        """The operations of the steps."""
        return " ".join(" ".join(s.partition(" = ")[0].split(" ")[1:3]) for s in steps)

    def is_right(self, problem, answer):
        """As many allowed operations as are asked for, which end at the target."""
        words = answer.split(" ")
        pairs = [" ".join(words[i : i + 2]) for i in range(0, len(words), 2)]
        asked = problem.meta
        if len(pairs) != asked["count"] or not set(pairs) <= set(asked["allowed"]):
            return False
        return evaluate(f"{asked['start']} {answer}") == asked["target"]

    def slips(self, r, problem, before):
        """A wrong value, or an operation that is not allowed."""
        step = r.choice(self.due(problem, before))
        here, sign, number, *_ = step.split(" ")
        other = f"{sign} {int(number) + 1}"
        found = {"value": miscalculated(r, step)}
        if other not in problem.meta["allowed"]:
            found["rule"] = f"{here} {other} = {evaluate(f'{here} {other}')}"
        return found


FAMILIES: dict[str, Family] = {f.name: f for f in (Columns(), Products(), Compositions(), Links(), Reach())}


def posed(family: str, question: str, answer: str | None = None, **meta) -> Problem:
    """A problem of a family; its answer follows from its steps where it is not given."""
    messages, meta = ask(question + STEPS, family=family, **meta)
    problem = Problem(messages, answer or "", meta)
    return (
        problem if answer else Problem(messages, family_of(problem).concluded(problem, path(problem)), meta)
    )


def family_of(problem: Problem) -> Family:
    """The family that it belongs to."""
    return FAMILIES[problem.meta["family"]]


def path(problem: Problem, before: tuple[str, ...] = ()) -> list[str]:
    """Steps to the end behind `before`: those that are due; where several are, those of the answer."""
    family, steps = family_of(problem), list(before)
    wanted = problem.answer.split(" ") if problem.meta["family"] == "reach" else []
    while due := family.due(problem, steps):
        i = 2 * len(steps)
        steps.append(next((s for s in due if f" {' '.join(wanted[i : i + 2])} = " in s), due[0]))
    return steps


def written(text: str) -> tuple[list[str], str | None]:
    """(steps, answer) of 'step; step; so ANSWER'; None: there is no answer."""
    *steps, last = [part.strip() for part in text.strip().removesuffix(".").split(";")]
    return (steps, last.removeprefix("so ")) if last.startswith("so ") else ([*steps, last], None)


def follow(problem: Problem, steps: list[str]) -> list[bool]:
    """Is each step one that is due behind those before it, as they are written?"""
    family = family_of(problem)
    return [s in family.due(problem, steps[:i]) for i, s in enumerate(steps)]


def text(steps: list[str], answer: str) -> str:
    """A solution as it is written: 'step; step; so ANSWER'."""
    return "; ".join([*steps, f"so {answer}"])
