"""parts: several parts of the world as one; each problem says which part it is from."""

from dataclasses import replace

from ...world.base import Message, Problem, Score
from ...world.reasoning import Reasoning

PARTS: dict[str, Reasoning] = {
    "links": Reasoning(("links",), (1,)),
    "strings": Reasoning(("strings",), (2,)),
}


class Parts:
    """Answers and scores of problems whose meta names their part."""

    name = "parts"

    @staticmethod
    def of(name: str, problem: Problem) -> Problem:
        """A problem of a part, marked with the part's name."""
        return replace(problem, meta=problem.meta | {"part": name})

    @staticmethod
    def name_of(problem: Problem) -> str:
        """The name of a problem's part."""
        return problem.meta["part"]

    def problems(self, n: int, *, split: str, seed: int) -> list[Problem]:
        """n problems, the parts in turn."""
        each = -(-n // len(PARTS))
        drawn = {name: world.problems(each, split=split, seed=seed) for name, world in PARTS.items()}
        return [self.of(name, drawn[name][i]) for i in range(each) for name in PARTS][:n]

    def solution(self, problem: Problem) -> list[Message]:
        """As its part has it."""
        return PARTS[self.name_of(problem)].solution(problem)

    def score(self, problem: Problem, text: str) -> Score:
        """As its part does."""
        return PARTS[self.name_of(problem)].score(problem, text)

    def reply(self, problem: Problem, messages: list[Message]) -> None:
        """One turn: always over."""
        return None
