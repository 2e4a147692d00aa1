"""Prose: no house word and no inversion in what a reader sees. A failure names file, line and phrase, and
what to write in its place: mend the text, there is no list of exceptions.
"""

import ast
import re
from pathlib import Path
from typing import Iterator

import pytest

ROOT = Path(__file__).parent.parent
TEXTS = [
    "README.md",
    "docs/*.md",
    "docs/*.py",
    "notebooks/py/*.py",
    "data/drills/*.yaml",
    "data/lessons/*.yaml",
    "data/interview/*.yaml",
]
# of llmlab/; messages of the layers below are part of the code that seals stored runs
SPOKEN = ["chapters", "cli", "lab/knobs.py", "lab/labels.py", "learn", "ledger", "methods", "trl"]
SHOWN = ("chapters", "methods")  # whose source a notebook shows, docstrings and all
OLD = {"migrate.py"}  # names that stored data had once; no reader meets them
ADVERBS = (
    "a|above|alone|an|apart|around|at|before|behind|below|beside|between|by|first|here|in|it|last|next|on|once|"
    "over|still|the|there|together|twice|under|until|with|within"
)

# what is searched for -> what to write instead, a sentence that is found
HOUSE = {
    r"leash\w*": ("KL penalty", "A longer leash lets the policy move."),
    r"borders?(?![-:\w])": (
        "boundary, threshold, smallest effect of interest",
        "The effect lies on the border.",
    ),
    r"rows? that do(es)? not count": ("comparisons without a verdict", "See the rows that do not count."),
    r"so many": ("that many, or the number", "It is read every so many steps."),
    r"now and then": ("sometimes, occasionally", "It is right now and then."),
    r"by the (seed|border)": ("depending on the seed; by enough to matter", "A third of them by the seed."),
    r"turn(s|ed|ing)?( \w+)? round": ("swapped, flipped, reversed", "Some labels are turned round."),
    rf"(stands?|stood|standing)(?= ({ADVERBS})\b)(?! (out|up|by|in) for)": (
        "is, lies, appears",
        "The words stand in the glossary.",
    ),
    r"(where|what|how)( \w+)+ (stands?|stood)(?=[.,;:)])": ("is", "Say where each word stands."),
    r"(it|is) is said|is said (so|which|that|where|what)": ("say it", "It is said which."),
    r"what (is|was|are) \w+ (is|was|are|does|did)": (
        "name the thing: 'the loss is read'",
        "Then what is read is the loss.",
    ),
    r"what (they|it|we|you) \w+ differs": ("they differ in what they …", "What they compare differs."),
    r"closes another gap|is not cheap": ("a cheap lever that closes the wrong gap", "It closes another gap."),
    r"holds? (0|zero)(?![.,]\d)": ("contains 0", "An interval that holds 0 says nothing."),
    r"answers nothing": ("doesn't answer questions", "It has read a lot and answers nothing."),
    r"(go|goes|going|went|gone) on with": ("continue", "It goes on with the text."),
    r"paid away|lost all along|knows [^.]{1,20} all along": ("falls throughout", "Skill is paid away."),
    r"below zero, times|above zero, times": ("negative times negative", "Below zero, times below zero."),
    r"reads? over(?! \d)(?= it\b|[.,;])": ("ignores", "It is something which the verifier reads over."),
    r"for (its|their) (steps|samples) (it|they)": ("per step, per sample", "For its steps it gains."),
    # found while reading
    r"rightly": ("correctly", "It answers rightly."),
    r"whoever": ("anyone who, a model that", "Whoever is trained on it writes it."),
    r"dear(er|est)": ("more expensive", "The old name is the dearer one."),
    r"the other way about": ("the other way round", "It went the other way about."),
    r"(?-i:Else)(?=,| [a-z*])": ("Otherwise", "Else, nothing is learnt."),
    r"(leave|leaves|leaving|left) off": ("stop", "See with which token it leaves off."),
    r"in small(?=[.:,])": ("in miniature", "Here is a panel in small:"),
    r"at last": ("finally", "And at last it practises."),
    r"(reading|worst|loss|measure it|deepest)( \w+){0,6} on the way(?! (down|up|to|from|back)\b)": (
        "during the run",
        "The worst reading on the way.",
    ),
    r"(pairs?|loss|documents?|interval|corpus|texts?|prompt|conversations?|dialogues?|traces?|examples?) "
    r"((that|which) )?((do|does) not )?holds?"
    r"(?= (a|an|the|no|one|it|them|only|several|any|nothing|\d)\b|[.,;])": (
        "contain",
        "The pairs do not hold the answer.",
    ),
    r"(says?|tells?|shows?|sees|knows?) nothing of": ("nothing about", "The loss tells nothing of it."),
    r"(measured?|watch|draw|plot|trained|tokenised|things|log-probs|rejected|rows|facts|refusals) apart": (
        "separately",
        "I watch the two log-probs apart.",
    ),
    r"is borne out": ("is confirmed", "The arithmetic is borne out."),
}
SOUND = [
    "It stands out.",
    "She understands it.",
    "The letter stands for a loss.",
    "border-left: 4px solid",
    "box-sizing: border-box",
    "Something else is learnt.",
    "What is a token?",
    "It reads over 400 documents.",
    "On the way back it is slower.",
    "Seed by seed.",
    "It tells the two apart, and it keeps them apart.",
    "The tail holds 0.03 % of the mass.",
    "A third of what it writes is wrong.",
]


def compiled(pattern: str) -> re.Pattern:
    """Whole words, whatever the case; a blank may be the end of a line."""
    return re.compile(rf"\b(?:{pattern})".replace(" ", r"\s+") + r"(?!\w)", re.IGNORECASE)


WORDS = {pattern: compiled(pattern) for pattern in HOUSE}


def passages(file: Path, root: Path = ROOT) -> Iterator[tuple[int, str]]:
    """(first line, text) of what a reader sees of a file: all of it, or the texts in the library's code."""
    text, parts = file.read_text(encoding="utf-8"), file.relative_to(root).parts
    if parts[0] != "llmlab":
        yield 1, re.sub(r"^# ", "  ", text, flags=re.MULTILINE)  # notebooks: Markdown stands in comments
        return
    tree, hidden = ast.parse(text), set()
    if parts[1] not in SHOWN:
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
                hidden.add(id(node.body[0].value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in hidden:
            yield node.lineno, node.value


def seen(root: Path = ROOT) -> dict[str, list[tuple[int, str]]]:
    """What readers see: file -> passages."""
    found = [f for pattern in TEXTS for f in root.glob(pattern)]
    for part in SPOKEN:
        found += [root / "llmlab" / part] if part.endswith(".py") else (root / "llmlab" / part).rglob("*.py")
    kept = sorted(f for f in found if f.is_file() and f.name not in OLD)
    return {f.relative_to(root).as_posix(): list(passages(f, root)) for f in kept}


def hits(pattern: str, texts: dict[str, list[tuple[int, str]]]) -> list[str]:
    """'file, line 3: … phrase …; write: …' of every hit."""
    found = []
    for name, parts in texts.items():
        for first, text in parts:
            for m in WORDS[pattern].finditer(text):
                line = first + text.count("\n", 0, m.start())
                near = " ".join(text[max(0, m.start() - 30) : m.end() + 30].split())
                found.append(
                    f"{name}, line {line}: '{' '.join(m[0].split())}' in '… {near} …';"
                    f" write: {HOUSE[pattern][0]}"
                )
    return found


@pytest.fixture(scope="module")
def texts():
    return seen()


def test_the_texts_of_all_kinds_are_read(texts):
    names = set(texts)
    assert {"README.md", "docs/commands.md", "notebooks/py/ledger.py", "llmlab/cli/__init__.py"} <= names
    for folder in ("notebooks/py", "data/drills", "data/lessons", "data/interview", "llmlab/chapters"):
        assert sum(n.startswith(folder) for n in names) >= 10


@pytest.mark.parametrize("pattern", HOUSE)
def test_no_text_has_it(pattern, texts):
    found = hits(pattern, texts)
    assert not found, f"{len(found)} times:\n" + "\n".join(found)


@pytest.mark.parametrize("pattern", HOUSE)
def test_a_planted_sentence_is_found_in_every_kind_of_text(pattern, tmp_path):
    instead, sentence = HOUSE[pattern]
    assert instead and WORDS[pattern].search(sentence)
    split = sentence.replace(" ", "\n# ")  # one word a line
    planted = {
        "notebooks/py/x.py": f"# %% [markdown]\n# {split}\n",
        "data/drills/x.yaml": "chapter: x\nsays: >-\n  " + sentence.replace(" ", "\n  ") + "\n",
        "llmlab/chapters/x.py": f"X = 1\nY = knob(0, help={sentence!r})\n",
        "llmlab/cli/x.py": f'"""A docstring."""\nOPTIONS = ("a", {sentence!r})\n',
    }
    for name, text in planted.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")
    found = hits(pattern, seen(tmp_path))
    assert {told.split(",")[0] for told in found} == set(planted)
    assert all(int(re.search(r", line (\d+): ", told)[1]) >= 2 and instead in told for told in found)


@pytest.mark.parametrize("sentence", SOUND)
def test_a_sound_sentence_is_not_found(sentence):
    assert not [p for p, word in WORDS.items() if word.search(sentence)]


if __name__ == "__main__":  # python tests/test_prose.py: how often each is found
    every = seen()
    for p in HOUSE:
        found = hits(p, every)
        print(f"{len(found):5}  {p}")
        for line in found:
            print("      ", line)
