"""Archive: long lists to be read in context. What is asked for may stand far above the question, so that
distance is a knob.
"""

from dataclasses import dataclass

from .base import OneTurn, Problem, ask, check_split, draw
from .records import ASK, FIELDS, STATE, unseen_name

KEPT = ("city", "colour", "price", "job", "month")  # values of one or two tokens


@dataclass(frozen=True)
class Archive(OneTurn):
    """Lists of `lines` facts about as many unseen names; a question asks for one of the first `asked` lines
    (any, if 0).
    """

    lines: int = 40
    asked: int = 0
    name = "archive"

    def __post_init__(self):
        if not 2 <= self.lines <= 200 or not 0 <= self.asked <= self.lines:
            raise ValueError(
                f"an archive has 2 to 200 lines, of which at most all are asked for, not {self.lines} and"
                f" {self.asked}"
            )

    def facts(self, r, split: str) -> dict[str, tuple[str, str]]:
        """Name -> (field, value) of every line; the names of test lists are never shown in training."""
        found: dict[str, tuple[str, str]] = {}
        while len(found) < self.lines:
            field = r.choice(KEPT)
            found[unseen_name(r, split)] = field, FIELDS[field](r)
        return found

    @staticmethod
    def listed(r, facts: dict) -> str:
        """The list as text, a line a fact."""
        return "\n".join(r.choice(STATE).format(f=f, n=n, v=v) for n, (f, v) in facts.items())

    def problem(self, r, split: str) -> Problem:
        """One list and one question."""
        facts = self.facts(r, split)
        name = r.choice(list(facts)[: self.asked or None])
        field, value = facts[name]
        messages, meta = ask(
            f"{self.listed(r, facts)}\n{r.choice(ASK).format(f=field, n=name)}", names=list(facts)
        )
        return Problem(messages, value, meta)

    def problems(self, n: int, *, split: str = "test", seed: int = 0) -> list[Problem]:
        """Lists with names that training never shows."""
        check_split(split)
        return draw(lambda r: self.problem(r, split), n, "archive", self.lines, self.asked, split, seed)

    def document(self, r, questions: int = 6) -> str:
        """A list of train names, then questions about lines anywhere in it."""
        facts = self.facts(r, "train")
        asked = r.sample(list(facts), min(questions, len(facts)))
        return "\n".join(
            [
                self.listed(r, facts),
                *(
                    f"Question: {r.choice(ASK).format(f=facts[n][0], n=n)}\nAnswer: {facts[n][1]}."
                    for n in asked
                ),
            ]
        )
