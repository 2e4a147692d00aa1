"""Drills: interview questions in data/drills/*.yaml with a model answer in four parts, a rubric, follow-ups
and the Run that shows it. No torch.
"""

import difflib
import shlex
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import yaml

from .. import paths
from ..errors import UserError
from ..lab import registry

PARTS = {  # what a good answer says, and what to ask oneself
    "diagnosis": "what is wrong or missing, and how do you know?",
    "lever": "what would you change, and why this first?",
    "risks": "what could it break?",
    "measurements": "how would you know that it worked?",
}
LEVELS = (1, 2, 3)
SPOKEN = (90, 150)  # words of an answer that is said aloud in about a minute


class BadEntry(UserError):
    """A mistake in a file of drills or of an interview page; the message names file, line, field and fix."""

    def __init__(self, file: Path, line: int, field: str, what: str):
        self.file, self.line, self.field = file, line, field
        super().__init__(f"{file}, line {line}, field '{field}' {what}")


@dataclass(frozen=True)
class Answer:
    """The model answer, part by part; spoken: the same as one would say it aloud."""

    diagnosis: str
    lever: str
    risks: str
    measurements: str
    spoken: str = ""

    def parts(self) -> dict[str, str]:
        """Name of the part -> text, in order."""
        return {part: getattr(self, part) for part in PARTS}


@dataclass(frozen=True)
class FollowUp:
    """What the interviewer asks next."""

    question: str
    answer: str


@dataclass(frozen=True)
class Link:
    """The run that shows the answer: experiment, knobs other than the defaults, seed, and what to look at in
    it.
    """

    name: str
    knobs: dict = field(hash=False)
    seed: int
    look: str

    @property
    def command(self) -> str:
        """The run in the terminal."""
        flags = [
            f"--{knob} {shlex.quote(value) if isinstance(value, str) else short(value)}"
            for knob, value in self.knobs.items()
        ]
        return " ".join(["llmlab run", self.name, *flags, f"--seed {self.seed}"])

    def experiment(self):
        """The experiment with these knobs. Raises UserError where there is no such experiment, knob or
        value.
        """
        cls = registry.get(self.name)
        known = {k.name: k for k in cls.knobs()}
        for name, value in self.knobs.items():
            if name not in known:
                raise UserError(f"{self.name} has no knob '{name}'{nearest(name, known)}")
            if isinstance(value, str) != (known[name].kind is str):
                raise UserError(
                    f"the knob {name} of {self.name} takes a"
                    f" {'word' if known[name].kind is str else 'number'}, not '{value}'"
                )
            if known[name].kind is int and value != int(value):
                raise UserError(f"the knob {name} of {self.name} takes a whole number, not {value}")
        return cls(
            **{name: known[name].kind(value) for name, value in self.knobs.items()}
        )  # 0 and 0.0 are the same run

    def run(self):
        """The stored Run, or None where none is stored for today's code: then `command` makes it. Reads
        torch's checkpoints, so it takes a second.
        """
        from ..lab import runs

        return runs.stored(self.experiment(), self.seed)


@dataclass(frozen=True)
class Drill:
    """One question with everything that is needed to practise it."""

    id: str
    chapter: str
    level: int
    title: str
    question: str
    answer: Answer
    rubric: tuple[str, ...]  # points to tick, each of weight 1
    follow_ups: tuple[FollowUp, ...]
    link: Link
    source: str
    tags: tuple[str, ...]
    contested: str = ""  # where the field disagrees, and who says what
    place: str = field(default="", compare=False)  # file and line


def fields(required: dict, **optional) -> dict:
    """Schema of a mapping that has these fields and no others."""
    return {
        "type": "object",
        "properties": required | optional,
        "required": list(required),
        "additionalProperties": False,
    }


def many(items: dict, least: int, most: int) -> dict:
    """Schema of a list."""
    return {"type": "array", "items": items, "minItems": least, "maxItems": most, "uniqueItems": True}


def shaped(pattern: str, example: str) -> dict:
    """Schema of a word of this form."""
    return {"type": "string", "pattern": pattern, "examples": [example]}


TEXT = {"type": "string", "pattern": r"\S", "maxLength": 3000}
DRILL = fields(
    {
        "id": shaped(r"^\d\d-[a-z0-9]+(-[a-z0-9]+)*$", "02-stability-gap"),
        "level": {"type": "integer", "enum": list(LEVELS)},
        "title": TEXT | {"maxLength": 80},
        "source": TEXT,
        "tags": many(TEXT, 1, 8),
        "question": TEXT,
        "answer": fields({part: TEXT for part in PARTS}, spoken=TEXT),
        "rubric": many(TEXT, 3, 8),
        "follow_ups": many(fields({"question": TEXT, "answer": TEXT}), 1, 5),
        "link": fields(
            {
                "experiment": shaped(r"^[a-z_]+$", "cpt"),
                "knobs": {"type": "object", "additionalProperties": {"type": ["number", "string"]}},
                "seed": {"type": "integer", "minimum": 0},
                "look": TEXT,
            }
        ),
    },
    contested=TEXT,
)
CHAPTER = shaped(r"^\d\d$", '"02"')
FILE = fields({"chapter": CHAPTER, "drills": many(DRILL, 1, 200)})


def load(folder: Path | str | None = None) -> list[Drill]:
    """All drills of the folder (data/drills by default), by file and in order. Raises BadEntry at the first
    mistake.
    """
    folder = Path(folder) if folder else paths.data() / "drills"
    files = sorted(f for f in folder.glob("*") if f.suffix in (".yaml", ".yml"))
    if not files:
        raise UserError(f"there are no drill files in '{folder}'; give a folder with .yaml files")
    return list(_read_all(tuple((file, _content(file)) for file in files)))


def _content(file: Path) -> str:
    """Hash of what it holds; empty for what cannot be read, which the parser complains about."""
    try:
        return paths.hash_bytes(file.read_bytes())
    except OSError:
        return ""


@lru_cache(maxsize=4)
def _read_all(files: tuple[tuple[Path, str], ...]) -> list[Drill]:
    """The drills of (file, hash of its content) pairs; the same content is parsed once."""
    found: dict[str, Drill] = {}
    for file, _ in files:
        for i, drill in enumerate(read(file)):
            if drill.id in found:
                line = int(drill.place.rpartition(" ")[2])
                raise BadEntry(
                    file,
                    line,
                    f"drills[{i}].id",
                    f"is '{drill.id}', which {found[drill.id].place} has too; choose another id",
                )
            found[drill.id] = drill
    return list(found.values())


def choose(known: list[Drill], chapter: str = "", level: int = 0) -> list[Drill]:
    """The drills of a chapter ("" for all) and a level (0 for all). Raises UserError where there are none."""
    chapters, wanted = sorted({d.chapter for d in known}), chapter and chapter.zfill(2)
    if wanted and wanted not in chapters:
        raise UserError(f"there are no drills of chapter '{chapter}'; there are {', '.join(chapters)}")
    if level not in (0, *LEVELS):
        raise UserError(f"level {level} is out of range; choose 1 to 3, or 0 for all")
    chosen = [d for d in known if (not wanted or d.chapter == wanted) and level in (0, d.level)]
    if not chosen:
        raise UserError(
            f"there are no drills of level {level} in chapter {wanted or 'any'}; leave the level out"
        )
    return chosen


def read(file: Path) -> list[Drill]:
    """The drills of one file, checked."""
    document, lines = checked(file, FILE)
    chapter = document["chapter"]
    for i, d in enumerate(document["drills"]):
        if not d["id"].startswith(chapter + "-"):
            raise BadEntry(
                file,
                lines["drills", i, "id"],
                f"drills[{i}].id",
                f"is '{d['id']}'; begin it with '{chapter}-', its chapter",
            )
        said, (least, most) = len(d["answer"].get("spoken", "").split()), SPOKEN
        if said and not least <= said <= most:
            raise BadEntry(
                file,
                lines["drills", i, "answer", "spoken"],
                f"drills[{i}].answer.spoken",
                f"has {said} words; a minute of speech takes {least} to {most}",
            )
    return [
        build(d, chapter, f"{file}, line {lines['drills', i, 'id']}")
        for i, d in enumerate(document["drills"])
    ]


def build(d: dict, chapter: str, place: str) -> Drill:
    """A checked mapping as a Drill."""
    texts = {name: d.get(name, "").strip() for name in ("title", "question", "source", "contested")}
    link = d["link"]
    return Drill(
        id=d["id"],
        chapter=chapter,
        level=int(d["level"]),
        answer=Answer(**{part: text.strip() for part, text in d["answer"].items()}),
        rubric=tuple(point.strip() for point in d["rubric"]),
        follow_ups=tuple(FollowUp(f["question"].strip(), f["answer"].strip()) for f in d["follow_ups"]),
        link=Link(link["experiment"], link["knobs"], int(link["seed"]), link["look"].strip()),
        tags=tuple(d["tags"]),
        place=place,
        **texts,
    )


# --- reading, with a line for every field
# -----------------------------------------------------------------------------


class Loader(yaml.SafeLoader):
    """Safe, and without aliases: aliases of aliases fill any memory."""

    def compose_node(self, parent, index):
        """A node of the document; MarkedYAMLError where it is an alias."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not allowed; write the text out",
                problem_mark=self.peek_event().start_mark,
            )
        return super().compose_node(parent, index)


PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map")}


def parse(file: Path) -> tuple[object, dict[tuple, int]]:
    """(the document, path of a field -> line). Raises BadEntry for what is not YAML."""
    try:
        loader = Loader(file.read_text(encoding="utf-8"))
        lines: dict[tuple, int] = {(): 1}
        node = loader.get_single_node()
        return (value(file, loader, node, (), lines) if node else None), lines
    except OSError as e:
        raise BadEntry(file, 1, "file", f"cannot be read ({e.strerror}); make it readable") from None
    except UnicodeDecodeError as e:
        line = file.read_bytes()[: e.start].count(b"\n") + 1
        raise BadEntry(file, line, "file", "is not UTF-8 here; save it as UTF-8") from None
    except yaml.reader.ReaderError as e:
        raise BadEntry(
            file, 1, "file", f"holds a character that YAML forbids (number {e.position + 1}); remove it"
        ) from None
    except yaml.MarkedYAMLError as e:
        at_end = "end of stream" in (
            e.problem or ""
        )  # an open quote or bracket: where it was opened is the line to mend
        mark = e.context_mark if at_end and e.context_mark else e.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise BadEntry(
            file,
            line,
            "file",
            f"is not valid YAML at column {column} ({' '.join(str(e.problem).split())}); mend this line",
        ) from None
    except RecursionError:
        raise BadEntry(file, 1, "file", "is nested too deep; five levels are enough") from None


def value(file: Path, loader: Loader, node, where: tuple, lines: dict):
    """A node as plain data; notes the line of every field on the way."""
    if node.tag not in PLAIN:
        kind = node.tag.rpartition(":")[2]
        raise BadEntry(
            file,
            node.start_mark.line + 1,
            dotted(where),
            f"is read as '{kind}', which is not used here; put the text in quotes",
        )
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            lines[*where, i] = item.start_mark.line + 1
        return [value(file, loader, item, (*where, i), lines) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        found = {}
        for key, item in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in found:
                raise BadEntry(
                    file, line, dotted((*where, name)), "occurs here for the second time; keep one"
                )
            lines[*where, name] = line
            found[name] = value(file, loader, item, (*where, name), lines)
        return found
    try:
        return loader.construct_object(node)
    except (ValueError, LookupError, AttributeError, OverflowError):
        raise BadEntry(
            file,
            node.start_mark.line + 1,
            dotted(where),
            f"cannot be read ('{node.value[:40]}'); put the text in quotes",
        ) from None


def dotted(where) -> str:
    """drills[2].answer.lever for its path."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in where).lstrip(".") or "file"


# --- checking
# ---------------------------------------------------------------------------------------------------------


def checked(file: Path, schema: dict) -> tuple[dict, dict[tuple, int]]:
    """A file's document and the line of each field, if it fits the schema and its name the chapter. Raises
    BadEntry.
    """
    document, lines = parse(file)
    check(file, document, lines, schema)
    chapter = document["chapter"]
    if not file.name.startswith(chapter):
        raise BadEntry(
            file,
            lines["chapter",],
            "chapter",
            f"is '{chapter}', but the file's name begins otherwise; mend one of the two",
        )
    return document, lines


def check(file: Path, document, lines: dict, schema: dict) -> None:
    """Against the schema. Raises BadEntry for the mistake that stands first in the file."""
    from jsonschema import Draft202012Validator  # late: it takes a second and a half

    wrong = sorted(
        (sentence(error, lines) for error in Draft202012Validator(schema).iter_errors(document)),
        key=lambda found: (found[0], len(found[1])),
    )
    if wrong:
        line, where, what = wrong[0]
        raise BadEntry(file, line, dotted(where), what)


def sentence(error, lines: dict) -> tuple[int, tuple, str]:
    """(line, path of the field, what is wrong and the fix) of a schema error."""
    where, found, rule = tuple(error.absolute_path), error.instance, error.validator_value
    line = lines[where]
    match error.validator:
        case "required":
            missing = next(name for name in rule if name not in found)
            return line, (*where, missing), "is missing; add it"
        case "additionalProperties":
            known = error.schema["properties"]
            extra = min((name for name in found if name not in known), key=lambda name: lines[*where, name])
            return lines[*where, extra], (*where, extra), f"is not known{nearest(extra, known)}"
        case "type":
            kinds = {
                "string": "text",
                "object": "a block of fields",
                "array": "a list",
                "integer": "a whole number",
                "number": "a number",
            }
            wanted = " or ".join(kinds[kind] for kind in ([rule] if isinstance(rule, str) else rule))
            if found is None:
                return line, where, f"is empty; write {wanted}"
            quotes = "; put it in quotes" if rule == "string" and not isinstance(found, list | dict) else ""
            return line, where, f"must be {wanted}, not '{str(found)[:40]}'{quotes or '; mend it'}"
        case "enum":
            return line, where, f"is one of {', '.join(map(str, rule))}, not {found}; choose one"
        case "pattern" if rule == TEXT["pattern"]:
            return line, where, "is empty; write the text"
        case "pattern":
            return line, where, f"is '{found[:40]}'; write it like {error.schema['examples'][0]}"
        case "maxLength":
            return line, where, f"is {len(found)} characters long; shorten it to {rule}"
        case "minItems":
            return line, where, f"has {len(found)} entries; write at least {rule}"
        case "maxItems":
            return line, where, f"has {len(found)} entries; keep at most {rule}"
        case "uniqueItems":
            return line, where, "says the same thing twice; keep one"
        case _:  # minimum: of the seed
            return line, where, f"is {found}; choose {rule} or more"


def nearest(name: str, known) -> str:
    """'; did you mean …?' or the list."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else f"; choose from {', '.join(known)}"


def short(number: float) -> str:
    """A number for the command line: 0.005, 20, never rounded."""
    return f"{number:g}" if float(f"{number:g}") == number else repr(number)
