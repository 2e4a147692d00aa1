"""Running sums: several single digits added up. Hard in one go, easy one by one: the smallest task for which
steps pay.
"""

from dataclasses import dataclass

from .base import Problem, Score, ask, check_split, draw, same, say, side


def running(numbers: tuple[int, ...]) -> list[str]:
    """The steps: each adds one number to what there is so far."""
    return [f"{sum(numbers[:i])} + {n} = {sum(numbers[: i + 1])}" for i, n in enumerate(numbers) if i]


@dataclass(frozen=True)
class Running:
    """Sums of `terms` single digits. How to get there is left to whoever answers: at once, or in steps."""

    terms: int = 5
    name = "running"

    def __post_init__(self):
        if not 2 <= self.terms <= 12:
            raise ValueError(f"terms is 2 to 12, not {self.terms}")

    def problem(self, r, split: str) -> Problem | None:
        """One problem, or None if it belongs to the other split (the order of the digits does not matter for
        its side).
        """
        numbers = tuple(r.randint(0, 9) for _ in range(self.terms))
        if side("running", tuple(sorted(numbers))) != split:
            return None
        messages, meta = ask(f"What is {' + '.join(map(str, numbers))}?", numbers=numbers)
        return Problem(messages, str(sum(numbers)), meta)

    def problems(self, n: int, *, split: str = "test", seed: int = 0) -> list[Problem]:
        """Held-out sums are held out in every order of their digits."""
        check_split(split)
        return draw(lambda r: self.problem(r, split), n, "running", self.terms, split, seed)

    def text(self, problem: Problem, steps: bool) -> str:
        """The right answer, at once or behind its steps: '3 + 7 = 10; 10 + 1 = 11; so 11'."""
        return (
            f"{'; '.join(running(problem.meta['numbers']))}; so {problem.answer}" if steps else problem.answer
        )

    def solution(self, problem: Problem) -> list:
        """The demonstration, at once."""
        return say(self.text(problem, steps=False))

    def score(self, problem: Problem, text: str) -> Score:
        """answer: what stands behind the last 'so', or the whole text. Steps are neither asked for nor
        paid.
        """
        return Score({"answer": float(same(text.rpartition("so ")[2], problem.answer))})

    def reply(self, problem: Problem, messages: list) -> None:
        """One turn: always over."""
        return None

    def worksheet(self, r, scratchpads: float) -> str:
        """A document of three train problems; each is written with its steps with probability
        `scratchpads`.
        """
        lines = []
        while len(lines) < 3:
            p = self.problem(r, "train")
            if p is not None:
                lines.append(f"Question: {p.question}\nAnswer: {self.text(p, r.random() < scratchpads)}.")
        return "\n".join(lines)
