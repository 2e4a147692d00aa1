"""own problems: questions of your own with their answers, judged by what they say, by math-verify, or by a
check of your own in a process of its own with limits of time and memory.
"""

import json
from pathlib import Path
from typing import Callable

from ..errors import UserError
from ..paths import extra
from ..world.base import Problem, side
from ..world.desk import ToolError
from ..world.given import Given, Judge, by_rule
from . import files
from .own import enough

QUESTION, ANSWER = ("question", "prompt", "problem"), ("answer", "solution", "target")
ASKED = ("question", "answer", "said")  # parameters of your own check
SECONDS, MEGABYTES = 5.0, 512  # that a check may take
STUCK = 8  # faults in a row after which it is not asked any more
LIBRARY = "math-verify"


def own(path: str, verifier: str = "", on_found: Callable[[str], None] = lambda told: None) -> Given:
    """The problems of a file; a fifth is held out, chosen by checksum. Raises UserError with file, line and
    fix, and where the check accepts none of the file's own answers.
    """
    kind, records = files.read(path)
    every = enough([problem(r) for r in records], "problem", path)
    sides = [side("given", p.question) for p in every]
    if len(set(sides)) < 2:
        sides = ["test" if i % 5 == 0 else "train" for i in range(len(every))]
    train, test = (tuple(p for p, s in zip(every, sides) if s == which) for which in ("train", "test"))
    judge, told = judge_of(verifier)
    if not any(judge(p, p.answer)[0] for p in every[:STUCK]):
        raise UserError(
            f"{told.splitlines()[0]} accepts none of the first answers of '{path}' itself; mend the"
            f" check, or the"
            " answers"
        )
    on_found(
        f"{len(every)} problems from {kind}, {len(test)} of them held out; judged by {told.splitlines()[0]}"
    )
    return Given(train, test, told, judge)


def problem(record: files.Record) -> Problem:
    """One question with its answer; of an answer with '####' (GSM8K) what stands behind it. Raises
    UserError.
    """
    if record.why:
        raise UserError(f"{record.where}: {record.why}")
    fields = record.fields
    question = next((fields[k] for k in QUESTION if fields.get(k)), None)
    answer = next((fields[k] for k in ANSWER if fields.get(k) not in (None, "")), None)
    if not isinstance(question, str) or not question.strip():
        raise UserError(f"{record.where}: it asks nothing; add a field question")
    if isinstance(answer, bool) or not isinstance(answer, (str, int, float)):
        raise UserError(f"{record.where}: it has no answer; add a field answer with a text or a number")
    wanted = str(answer).rpartition("####")[2].strip()
    return Problem(({"role": "user", "content": question},), wanted, {})


def judge_of(verifier: str) -> tuple[Judge, str]:
    """(what judges, what it is: its name, and the source of a file)."""
    if not verifier:
        return by_rule, "the rule for final answers"
    if verifier == LIBRARY:
        return by_library(), LIBRARY
    file = Path(verifier).expanduser()
    if file.suffix != ".py" or not file.is_file():
        raise UserError(f"--verifier is a Python file or {LIBRARY}, and '{verifier}' is neither")
    return OwnCheck(str(file)), f"{file.name}\n{files.text(str(file))}"


def by_library() -> Judge:
    """math-verify: LaTeX and expressions, equal by SymPy. Its time-out is a fault."""
    try:
        from math_verify import parse, verify
        from math_verify.errors import TimeoutException
    except ImportError:
        raise UserError(f"math-verify is not installed; run: {extra('verify')}") from None

    def judge(problem: Problem, text: str) -> tuple[bool, str]:
        try:
            return bool(verify(parse(f"${problem.answer}$"), parse(text), raise_on_error=True)), ""
        except TimeoutException:
            return False, "timeout"
        except Exception:  # SymPy's errors have no common base
            return False, "failed"

    return judge


def judged_elsewhere(experiment, names: tuple[str, ...]) -> None:
    """Knobs about the lab's problems and verifiers change nothing on your own. Raises UserError if one is
    set, but for labels that need no verifier.
    """
    for k in experiment.knobs():
        value = getattr(experiment, k.name)
        if k.name in names and value not in (k.default, "majority", "none"):
            raise UserError(
                f"--{k.name} is about the lab's own problems; leave it out, or leave out --problems"
            )


class OwnCheck:
    """check(question, answer, said) of your file: True or False. Faults (timeout, crashed, out_of_memory,
    failed, bad_result) are no verdict. Raises UserError where nothing but faults comes.
    """

    def __init__(self, file: str):
        from ..serve.python_tools import PythonTools

        self.file, self.row = file, 0
        self.tools = PythonTools(file, seconds=SECONDS, megabytes=MEGABYTES)
        found = {s["function"]["name"]: s["function"]["parameters"] for s in self.tools.schemas}
        if tuple(found.get("check", {}).get("properties", ())) != ASKED:
            raise UserError(
                f"'{file}' has no check(question: str, answer: str, said: str) -> bool; write one, with a"
                f" docstring"
            )

    def __call__(self, problem: Problem, text: str) -> tuple[bool, str]:
        """The verdict."""
        right, fault = self.asked(dict(zip(ASKED, (problem.question, problem.answer, text))))
        self.row = self.row + 1 if fault else 0
        if self.row >= STUCK:
            raise UserError(
                f"'{self.file}' gave no verdict {STUCK} times in a row, the last time: {fault}; run it by"
                f" itself"
            )
        return right, fault

    def asked(self, given: dict[str, str]) -> tuple[bool, str]:
        """One call."""
        try:
            said = json.loads(self.tools.run("check", given))
        except ToolError as e:
            return False, e.kind
        except ValueError:
            return False, "bad_result"
        return (said, "") if isinstance(said, bool) else (False, "bad_result")
