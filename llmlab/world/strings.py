"""Strings: functions on short letter sequences and their compositions f(g(x)): reasoning depth with an exact
answer.
"""

from dataclasses import dataclass

from .base import Problem, Score, ask, check_split, draw, same, say, side

FUNCTIONS = {
    "rev": lambda s: s[::-1],
    "rot": lambda s: s[1:] + s[:1],
    "swap": lambda s: s[-1:] + s[1:-1] + s[:1] if len(s) > 1 else s,
    "cut": lambda s: s[1:] if len(s) > 1 else s,
    "dup": lambda s: s + s[-1:],
    "sort": lambda s: sorted(s),
    "head": lambda s: s[:1] + s,
    "next": lambda s: [chr((ord(c) - 97 + 1) % 26 + 97) for c in s],
}
MEANING = {
    "rev": "reverses",
    "rot": "moves the first letter to the end",
    "swap": "swaps the first and the last letter",
    "cut": "drops the first letter",
    "dup": "repeats the last letter",
    "sort": "sorts",
    "head": "repeats the first letter",
    "next": "moves each letter one on in the alphabet",
}


def apply(names: tuple[str, ...], letters: list[str]) -> list[list[str]]:
    """All intermediate results; names are applied from the last (innermost) to the first."""
    results = [letters]
    for name in reversed(names):
        results.append(FUNCTIONS[name](results[-1]))
    return results


@dataclass(frozen=True)
class Strings:
    """Compositions of `depth` functions (1 to 4) on `length` letters. `scratchpad`: one line per function."""

    depth: int = 1
    length: int = 4
    scratchpad: bool = False
    name = "strings"

    def __post_init__(self):
        if not 1 <= self.depth <= 4:
            raise ValueError(f"depth is 1 to 4, not {self.depth}")
        if not 2 <= self.length <= 8:
            raise ValueError(f"length is 2 to 8 letters, not {self.length}")

    def problem(self, r, split: str) -> Problem | None:
        """One composition; test pairs of (functions, letters) are never shown in training."""
        names = tuple(r.choice(list(FUNCTIONS)) for _ in range(self.depth))
        letters = [r.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(self.length)]
        if side("strings", names, letters) != split:
            return None
        call = "(".join(names) + "(" + " ".join(letters) + ")" * self.depth
        text = f"What is {call}?" + (" Show the steps." if self.scratchpad else "")
        messages, meta = ask(text, names=names, letters=letters, call=call, scratchpad=self.scratchpad)
        return Problem(messages, " ".join(apply(names, letters)[-1]), meta)

    def problems(self, n: int, *, split: str = "test", seed: int = 0) -> list[Problem]:
        """Held-out compositions."""
        check_split(split)
        return draw(lambda r: self.problem(r, split), n, "strings", self, split, seed)

    def steps(self, problem: Problem) -> list[str]:
        """One line per function, the innermost first: 'rot(a b) = b a'."""
        results = [" ".join(s) for s in apply(problem.meta["names"], problem.meta["letters"])]
        return [
            f"{name}({x}) = {y}" for name, x, y in zip(reversed(problem.meta["names"]), results, results[1:])
        ]

    def text(self, problem: Problem) -> str:
        """The right answer as text, after its steps where the problem asks for them."""
        return (
            "; ".join(self.steps(problem) + [f"so {problem.answer}"])
            if problem.meta["scratchpad"]
            else problem.answer
        )

    def solution(self, problem: Problem) -> list:
        """The demonstration."""
        return say(self.text(problem))

    def score(self, problem: Problem, text: str) -> Score:
        """format: letters only (after 'so' where steps are asked for); steps: exactly the functions' lines;
        answer: it is right.
        """
        *steps, last = [part.strip() for part in text.strip().removesuffix(".").split(";")]
        given, asked = last.removeprefix("so ").strip(), problem.meta["scratchpad"]
        well_formed = all(len(c) == 1 and c.isalpha() for c in given.split(" ")) and (
            not asked or last.startswith("so ")
        )
        parts = {"format": float(well_formed), "answer": float(same(given, problem.answer))}
        if asked:
            parts["steps"] = float(steps == self.steps(problem))
        return Score(parts)

    def reply(self, problem: Problem, messages: list) -> None:
        """One turn: always over."""
        return None

    def worksheet(self, r) -> str:
        """A document of train compositions."""
        lines = []
        while len(lines) < (1 if self.scratchpad else 3):
            p = self.problem(r, "train")
            if p is not None:
                lines.append(
                    f"Question: {p.question}\nAnswer: {self.text(p)}."
                    if self.scratchpad or r.random() < 0.3
                    else f"{p.meta['call']} = {p.answer}."
                )
        return "\n".join(lines)
