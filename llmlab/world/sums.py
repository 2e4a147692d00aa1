"""Sums: verifiable arithmetic (add, subtract, multiply, sort), direct or with scratchpad steps, every step
checked exactly.
"""

import re
from dataclasses import dataclass

from .base import Problem, Score, ask, check_split, draw, say, side

OPS = ("add", "subtract", "multiply", "sort")
SIGNS = {"add": "+", "subtract": "-", "multiply": "*"}
ASKS = ["What is {e}?", "Calculate {e}.", "How much is {e}?"]
STEP = re.compile(r"^(-?\d+(?: [-+*] -?\d+)+) = (-?\d+)$|^smallest of ([\d ]+) is (\d+)$")


def evaluate(expression: str) -> int:
    """Value of 'a op b op c', evaluated from left to right (no Python is evaluated)."""
    first, *rest = expression.split(" ")
    value = int(first)
    for sign, number in zip(rest[::2], rest[1::2]):
        value = {"+": value + int(number), "-": value - int(number), "*": value * int(number)}[sign]
    return value


def step_is_right(step: str) -> bool:
    """Is one scratchpad step of a known form, and true?"""
    found = STEP.match(step.strip())
    if not found:
        return False
    expression, value, numbers, smallest = found.groups()
    return (
        evaluate(expression) == int(value) if expression else min(map(int, numbers.split())) == int(smallest)
    )


def digits(n: int) -> list[int]:
    """Digits of n, units first."""
    return [int(d) for d in reversed(str(n))]


def written_steps(op: str, numbers: tuple[int, ...]) -> list[str]:
    """The scratchpad: column by column with carries or borrows, partial products, or selection of the
    smallest.
    """
    if op == "sort":
        left, steps = list(numbers), []
        while left:
            steps.append(f"smallest of {' '.join(map(str, left))} is {min(left)}")
            left.remove(min(left))
        return steps
    a, b = numbers
    if op == "multiply":
        parts = [d * 10**i for i, d in enumerate(digits(b)) if d]
        products = [f"{a} * {p} = {a * p}" for p in parts]
        total, sums = a * parts[0] if parts else 0, []
        for p in parts[1:]:
            sums.append(f"{total} + {a * p} = {total + a * p}")
            total += a * p
        return (products + sums) or [f"{a} * 0 = 0"]
    sign, carry, steps = SIGNS[op], 0, []
    pa, pb = digits(a), digits(b)
    for i in range(max(len(pa), len(pb))):
        x, y = (p[i] if i < len(p) else 0 for p in (pa, pb))
        value = x + y + carry if op == "add" else x - y - carry
        borrowed = op == "subtract" and value < 0 and i < max(len(pa), len(pb)) - 1
        terms = f"{x} {sign} {y}" + (f" {sign} {carry}" if carry else "")
        if borrowed:
            terms, value = "10 + " + terms, value + 10
        steps.append(f"{terms} = {value}")
        carry = value // 10 if op == "add" else int(borrowed)
    return steps


@dataclass(frozen=True)
class Sums:
    """Sums of `digits`-digit numbers (sort: digits + 1 two-digit numbers). `scratchpad`: steps before the
    answer.
    """

    ops: tuple[str, ...] = ("add",)
    digits: int = 2
    scratchpad: bool = False
    name = "sums"

    def __post_init__(self):
        if not set(self.ops) <= set(OPS) or not self.ops:
            raise ValueError(f"ops are among {', '.join(OPS)}, not {self.ops}")
        if not 1 <= self.digits <= 6:
            raise ValueError(f"digits is 1 to 6, not {self.digits}")

    def numbers(self, r, op: str) -> tuple[int, ...]:
        """Operands at the difficulty; differences are never negative."""
        low, high = (0 if self.digits == 1 else 10 ** (self.digits - 1)), 10**self.digits - 1
        if op == "sort":
            return tuple(r.sample(range(10, 100), self.digits + 1))
        a, b = r.randint(low, high), r.randint(low, high)
        return (max(a, b), min(a, b)) if op == "subtract" else (a, b)

    def problem(self, r, split: str) -> Problem | None:
        """One problem, or None if it belongs to the other split (a + b and b + a share their side)."""
        op = r.choice(self.ops)
        numbers = self.numbers(r, op)
        if side(op, tuple(sorted(numbers))) != split:
            return None
        if op == "sort":
            text, answer = f"Sort {' '.join(map(str, numbers))}.", " ".join(map(str, sorted(numbers)))
        else:
            text = r.choice(ASKS).format(e=f"{numbers[0]} {SIGNS[op]} {numbers[1]}")
            answer = str(evaluate(f"{numbers[0]} {SIGNS[op]} {numbers[1]}"))
        if self.scratchpad:
            text += " Show the steps."
        messages, meta = ask(text, op=op, numbers=numbers, digits=self.digits, scratchpad=self.scratchpad)
        return Problem(messages, answer, meta)

    def problems(self, n: int, *, split: str = "test", seed: int = 0) -> list[Problem]:
        """Held-out problems are held out as pairs of operands."""
        check_split(split)
        return draw(lambda r: self.problem(r, split), n, "sums", self, split, seed)

    def text(self, problem: Problem) -> str:
        """The right answer as text, with steps where the problem asks for them: 'step; step; ...; so
        ANSWER'.
        """
        if not problem.meta["scratchpad"]:
            return problem.answer
        return (
            "; ".join(written_steps(problem.meta["op"], problem.meta["numbers"])) + f"; so {problem.answer}"
        )

    def solution(self, problem: Problem) -> list:
        """The demonstration."""
        return say(self.text(problem))

    def score(self, problem: Problem, text: str) -> Score:
        """format: an answer is there in the asked form; steps: all written steps are true and lead to the
        answer; answer: it is right.
        """
        *steps, last = [part.strip() for part in text.strip().removesuffix(".").split(";")]
        given = last.removeprefix("so ").strip()
        asked = problem.meta["scratchpad"]
        well_formed = re.fullmatch(r"-?\d+(?: \d+)*", given) is not None and (
            not asked or last.startswith("so ")
        )
        parts = {"format": float(well_formed), "answer": float(given == problem.answer)}
        if asked:
            expected = written_steps(problem.meta["op"], problem.meta["numbers"])
            parts["steps"] = float(steps == expected and all(map(step_is_right, steps)))
        return Score(parts)

    def steps(self, text: str) -> list[bool]:
        """Truth of each written step, for process rewards."""
        *steps, _ = text.strip().split(";")
        return [step_is_right(s) for s in steps]

    def reply(self, problem: Problem, messages: list) -> None:
        """One turn: always over."""
        return None

    def worksheet(self, r) -> str:
        """A document of train sums: nine direct ones, or two with their steps."""
        lines = []
        while len(lines) < (2 if self.scratchpad else 9):
            p = self.problem(r, "train")
            if p is None:
                continue
            left = p.question if self.scratchpad or p.meta["op"] == "sort" or r.random() < 0.2 else ""
            equation = (
                "" if left else f"{p.meta['numbers'][0]} {SIGNS[p.meta['op']]} {p.meta['numbers'][1]} = "
            )
            lines.append(
                f"Question: {left}\nAnswer: {self.text(p)}." if left else f"{equation}{self.text(p)}."
            )
        return "\n".join(lines)
