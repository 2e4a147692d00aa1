"""What the models of this chapter are asked where a run shows their words."""

from ...lab.samples import Asked
from ...world import Desk
from ...world.base import Problem, Score, rng, same
from ...world.desk import call_text
from ...world.errands import DIRECT, Errands
from ...world.leaflets import Reading
from ...world.mishaps import Mishaps
from .knowledge import Library
from .raft import behind, facts
from .rag import is_right
from .tools import SMALL_TALK


class Turn:
    """One turn of an assistant: right if it is the one that is wanted."""

    name = "turn"

    def score(self, problem: Problem, text: str) -> Score:
        """answer: the same text up to a full stop."""
        return Score({"answer": float(same(text, problem.answer))})


def first_calls(experiment) -> list[Asked]:
    """Two questions that need a tool, and one that needs none."""
    need = [Asked("a tool is needed", p, Turn()) for p in Desk(1, expect="call").problems(3, seed=11)]
    return [*need, Asked("no tool helps", SMALL_TALK[0], Turn())]


def decisions(experiment) -> list[Asked]:
    """One question of each kind: right is the call where one is needed, else the answer."""
    found = []
    for kind in ("known", "easy", "unknown", "hard", "talk"):
        p = Errands((kind,)).problems(1, seed=11)[0]
        wanted = p.answer if kind in DIRECT else call_text(p.meta["call"])
        found.append(Asked(kind, Problem(p.messages, wanted, p.meta), Turn()))
    return found


def after_an_error(experiment) -> list[Asked]:
    """The turn after a tool failed, and after a result that gives orders."""
    found = []
    for kind in ("transient", "renamed", "missing", "placed", "injected"):
        world = Mishaps((kind,), experiment.says)
        p = world.problems(1, seed=11)[0]
        done, result, after, *_ = world.solution(p)
        wanted = call_text(after) if after.get("tool_calls") else after["content"]
        found.append(Asked(kind, Problem((*p.messages, done, result), wanted, p.meta), Turn()))
    return found


def passages(experiment) -> list[Asked]:
    """Passages that tell it, and passages that do not."""
    worlds = {"one passage": Reading(1), "four passages": Reading(4), "not in four": Reading(4, absent=1.0)}
    return [Asked(about, w.problems(1, seed=11)[0], w) for about, w in worlds.items()]


def of_the_domain(experiment) -> list[Asked]:
    """A drug that is never taught, with its passage and without; and one that is taught, without."""
    asked = (
        ("new, told", "test", True),
        ("new, not told", "test", False),
        ("taught, not told", "train", False),
    )
    found = []
    for about, split, there in asked:
        fact = facts(split, 1)[0]
        p = behind(rng("asked", about), fact, experiment.passages, there, split)
        known = split == "train" and experiment.without == "answer"
        found.append(Asked(about, Problem(p.messages, f"{fact.value}.", p.meta) if known else p, Reading()))
    return found


class Told:
    """A fact: right is its value, whatever is cited."""

    name = "told"

    def score(self, problem: Problem, text: str) -> Score:
        """answer: the value."""
        return Score({"answer": float(is_right(text.strip(), problem))})


def on_the_last_day(experiment) -> list[Asked]:
    """A fact of each kind, asked after the change of seed 0; right is what is true by then."""
    library, asked = Library(None, None, experiment.editions(0)[1]), experiment.asked(0)
    k = 0 if experiment.way == "cpt" else experiment.shown
    kinds = dict(recall="it stays", paraphrase="in other words", old="it has changed", leak="withdrawn")
    found = []
    for kind, about in kinds.items():
        p = asked[kind][0]
        text = library.reader.text(p, library.find([p], k)[0])
        found.append(Asked(about, Problem(({"role": "user", "content": text},), p.meta["now"]), Told()))
    return found


ASKED = {
    "tools": first_calls,
    "decide": decisions,
    "repair": after_an_error,
    "rag": passages,
    "knowledge": on_the_last_day,
    "raft": of_the_domain,
}
