"""Drills: what ships is complete and its links resolve; a broken file is one sentence with file, line, field
and fix.
"""

import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmlab import paths
from llmlab.cli.options import parse
from llmlab.errors import UserError
from llmlab.lab import registry
from llmlab.learn import drills, shipped

ALL = drills.load()
EVERY = pytest.mark.parametrize("drill", ALL, ids=lambda d: d.id)
JOBS = shipped.jobs()


def answers(drill) -> dict[str, str]:
    """Everything that the learner is told, by place."""
    told = drill.answer.parts() | {"look": drill.link.look, "contested": drill.contested}
    told |= {"spoken": drill.answer.spoken}
    return (
        told
        | {f"rubric {i}": p for i, p in enumerate(drill.rubric)}
        | {f"follow-up {i}": f.answer for i, f in enumerate(drill.follow_ups)}
    )


# --- what ships
# -------------------------------------------------------------------------------------------------------


def test_every_chapter_has_enough_drills_of_every_level():
    levels = {c: Counter(d.level for d in ALL if d.chapter == c) for c in sorted({d.chapter for d in ALL})}
    assert {"00", "01", "02", "03", "04", "05", "07", "08", "09", "10", "11"} <= set(levels)
    assert all(sum(n.values()) >= 8 and n[1] >= 3 and n[2] and n[3] for n in levels.values()), levels


def test_ids_and_titles_are_unique():
    assert (
        len({d.id for d in ALL}) == len({d.title for d in ALL}) == len({d.question for d in ALL}) == len(ALL)
    )


@EVERY
def test_the_link_resolves_to_a_run_that_ships_beside_the_default_one(drill):
    cls, experiment = registry.get(drill.link.name), drill.link.experiment()
    assert (experiment, drill.link.seed) in JOBS and (cls(), drill.link.seed) in JOBS
    defaults = cls().settings()
    assert experiment.settings() == defaults | drill.link.knobs
    assert all(
        type(v) is type(defaults[k]) for k, v in experiment.settings().items()
    )  # 0 and 0.0 are stored under different keys


def test_no_run_ships_twice():
    assert len(JOBS) == len(set(JOBS))


@EVERY
def test_the_command_makes_the_same_run(drill):
    cls, (llmlab, run, name, *flags) = registry.get(drill.link.name), shlex.split(drill.link.command)
    assert (llmlab, run, name) == ("llmlab", "run", drill.link.name)
    options = parse(
        "run", [(k.name, k.kind, k.default, k.help) for k in cls.knobs()] + [("seed", int, 1, "")], flags
    )
    assert (
        cls(**{k.name: getattr(options, k.name) for k in cls.knobs()}) == drill.link.experiment()
        and options.seed == drill.link.seed
    )


UNDRAWN = {"loss", "rollbacks", "lr_scale"} | {  # in a run's table and not among its curves
    *("executable", "answered_3", "right_late", "calls_no_branch", "transient", "injected"),
    *("kept", "entropy", "shortest"),
}


@EVERY
def test_what_to_look_at_exists(drill):
    """Names in backticks are metrics of the experiment, or flags of it with values in range."""
    cls = registry.get(drill.link.name)
    for name in re.findall(r"`([^`]+)`", drill.link.look):
        if name.startswith("--"):
            knob, _, value = name[2:].partition(" ")
            kinds = {k.name: k.kind for k in cls.knobs()}
            cls(**{knob: kinds[knob](value)})
        else:
            assert name.split(".")[0] in {*cls.curves, *UNDRAWN}, name


FIGURE = re.compile(r"\d+([.,]\d+)?\s*(%|percent|points?\b|nats\b|times\b)", re.I)
OURS = re.compile(
    r"\b(we|our|ours|this lab|the lab|measured here|linked run|the run|default run|stored run)\b|`", re.I
)


def figures_of_ours(text: str) -> list[str]:
    """Sentences that give a figure for a run of the workbook."""
    return [
        s
        for s in re.split(r"(?<=[.?!])\s+", text)
        if OURS.search(s) and FIGURE.search(re.sub(r"`--[^`]*`", "", s))
    ]


@EVERY
def test_no_figure_of_ours_is_typed(drill):
    """Numbers belong to runs. What to look at holds no digit at all besides flags, metrics (`pass_at_1`,
    `answered_2`), chapters and the step at which a run starts.
    """
    assert not {place: found for place, text in answers(drill).items() if (found := figures_of_ours(text))}
    allowed = r"`(--[^`]*|pass_at_1|answered_[23])`|chapter \d\d|step 0"
    assert not re.search(r"\d", re.sub(allowed, "", drill.link.look)), drill.link.look


@pytest.mark.parametrize(
    "typed",
    ["In the default run recall falls by 12 points.", "`arithmetic` ends at 28 %.", "We measured 0.3 nats."],
)
def test_a_typed_figure_would_be_found(typed):
    assert figures_of_ours("Replay helps. " + typed)


@EVERY
def test_texts_are_plain_sentences(drill):
    for place, text in {"question": drill.question, **answers(drill)}.items():
        assert text == text.strip() and "\n" not in text and "  " not in text, place
        assert not re.search(r"[\u2013\u2014]|TODO|\s[,.;:?]", text), place
    assert drill.question.rstrip(")").endswith(("?", ".")) and all(
        len(part) > 80 for part in drill.answer.parts().values()
    )
    assert all(10 < len(p) < 130 for p in drill.rubric)


SPOKEN = [d for d in ALL if d.answer.spoken]


def test_every_drill_of_four_chapters_has_a_spoken_answer():
    assert {d.id for d in SPOKEN} >= {d.id for d in ALL if d.chapter in ("00", "02", "07", "08")}
    assert len({d.answer.spoken for d in SPOKEN}) == len(SPOKEN)


@pytest.mark.parametrize("drill", SPOKEN, ids=lambda d: d.id)
def test_a_spoken_answer_takes_a_minute_and_sounds_like_speech(drill):
    least, most = drills.SPOKEN
    sentences = re.split(r"(?<=[.?!])\s+", drill.answer.spoken)
    assert (least, most) == (90, 150) and least <= len(drill.answer.spoken.split()) <= most
    assert re.search(r"\b(I|I'd|I'll)\b", drill.answer.spoken) and "`" not in drill.answer.spoken
    assert max(len(s.split()) for s in sentences) <= 45, "nobody can say that in one breath"


FIGURES = re.compile(r"(?<![\w.-])\d[\d,.]*(?:e-\d+)?(?![\w-])")


@pytest.mark.parametrize("drill", SPOKEN, ids=lambda d: d.id)
def test_the_figures_of_a_spoken_answer_stand_in_the_drill(drill):
    """What is said aloud agrees with the four parts: no figure of its own."""
    written = " ".join([drill.question, *answers(drill).values()]).replace(drill.answer.spoken, "")
    own = {f.rstrip(".,") for f in FIGURES.findall(drill.answer.spoken)}
    assert own <= {f.rstrip(".,") for f in FIGURES.findall(written)}, drill.id


def test_points_in_dispute_are_marked():
    early = (
        "02-forgetting",
        "02-stability-gap",
        "02-one-wording",
        "03-first-values",
        "03-small-norm",
        "01-same-text-three-losses",
    )
    sft = (
        "04-template-in-production",
        "04-prompt-loss",
        "04-new-facts",
        "04-gold-traces",
        "04-leaky-checker",
        "04-json-at-85",
    )
    rl = (
        "07-kl-penalty",
        "07-longer-and-longer",
        "07-sharper-not-wider",
        "07-noise-of-the-gradient",
        "07-a-range-too-wide",
    )
    tools = ("08-data-or-grammar", "08-search-or-train", "08-names-and-vectors", "08-price-of-a-call")
    for must in (
        *early,
        *sft,
        *rl,
        *tools,
        "05-rank-and-facts",
        "05-which-layers",
        "05-shared-prompts",
        "05-mixed-batches",
    ):
        assert next(d for d in ALL if d.id == must).contested


@pytest.mark.parametrize("name", ["llmlab.learn.drills", "llmlab.learn.practice", "llmlab.cli.drill"])
def test_importing_is_light(name):
    code = f"import sys, {name}; assert not {{'torch', 'transformers', 'matplotlib'}} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


# --- links
# ------------------------------------------------------------------------------------------------------------

BAD_LINKS = {
    "no such experiment": (("ctp", {}), "there is no experiment 'ctp'; did you mean cpt?"),
    "no such knob": (("cpt", {"repaly": 0.1}), "cpt has no knob 'repaly'; did you mean replay?"),
    "a word for a number": (("cpt", {"lr": "5e-3"}), "the knob lr of cpt takes a number, not '5e-3'"),
    "a number for a word": (("cpt", {"packing": 3}), "the knob packing of cpt takes a word, not '3'"),
    "half a step": (("cpt", {"steps": 10.5}), "the knob steps of cpt takes a whole number, not 10.5"),
    "out of range": (("cpt", {"replay": 3}), "--replay 3 is out of range"),
    "not a number": (("cpt", {"replay": float("nan")}), "out of range"),
    "bad choice": (("cpt", {"packing": "tight"}), "--packing is one of none, plain, reset"),
}


@pytest.mark.parametrize("link, fix", BAD_LINKS.values(), ids=BAD_LINKS)
def test_a_link_that_does_not_resolve_is_a_sentence(link, fix):
    with pytest.raises(UserError, match=re.escape(fix)):
        drills.Link(*link, seed=0, look="").experiment()


def test_a_whole_number_for_a_share_names_the_same_run():
    assert (
        drills.Link("cpt", {"replay": 0}, 0, "").experiment().settings()
        == drills.Link("cpt", {"replay": 0.0}, 0, "").experiment().settings()
    )


def test_the_command_quotes_and_does_not_round():
    link = drills.Link("cpt", {"lr": 0.00123456789, "packing": "none; rm"}, 3, "")
    assert link.command == "llmlab run cpt --lr 0.00123456789 --packing 'none; rm' --seed 3"


def test_choosing():
    assert {d.chapter for d in drills.choose(ALL, "2")} == {"02"} and {
        d.level for d in drills.choose(ALL, "", 3)
    } == {3}
    assert drills.choose(ALL) == ALL


@pytest.mark.parametrize(
    "chapter, level, fix",
    [("77", 0, "there are 00, 01"), ("x", 0, "no drills of chapter 'x'"), ("", 9, "choose 1 to 3")],
)
def test_choosing_nothing_is_a_sentence(chapter, level, fix):
    with pytest.raises(UserError, match=fix):
        drills.choose(ALL, chapter, level)
    with pytest.raises(UserError, match="leave the level out"):
        drills.choose([d for d in ALL if d.level < 3], "", 3)


# --- broken files
# -----------------------------------------------------------------------------------------------------

GOOD = """chapter: "07"
drills:
  - id: 07-one
    level: 1
    title: One
    source: A 1
    tags: [a]
    question: Why?
    answer:
      diagnosis: d
      lever: l
      risks: r
      measurements: m
    rubric: [one point, two points, three points]
    follow_ups:
      - question: And?
        answer: So.
    link:
      experiment: cpt
      knobs: {replay: 0.0}
      seed: 0
      look: here
"""


@pytest.fixture
def broken(tmp_path):
    """A function: write a file, read it, give the error."""

    def read(text: str | bytes, name: str = "07_x.yaml") -> drills.BadEntry:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(drills.BadEntry) as caught:
            drills.load(tmp_path)
        assert "\n" not in str(caught.value) and str(caught.value).startswith(
            f"{tmp_path / name}, line {caught.value.line}, field "
        )
        return caught.value

    return read


def test_the_good_file_is_good(tmp_path):
    (tmp_path / "07_x.yaml").write_text(GOOD)
    (drill,) = drills.load(tmp_path)
    assert (
        drill.answer.lever == "l"
        and drill.link.knobs == {"replay": 0.0}
        and drill.place.endswith("07_x.yaml, line 3")
    )


def test_a_spoken_answer_is_optional_and_read(tmp_path):
    words = " ".join(["word"] * 100)
    (tmp_path / "07_x.yaml").write_text(
        swap("measurements: m\n", f"measurements: m\n      spoken: {words}\n")
    )
    (drill,) = drills.load(tmp_path)
    assert drill.answer.spoken == words and "spoken" not in drill.answer.parts()


def swap(old: str, new: str):
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


BROKEN = {  # text, line, field, fix
    "spoken answer too short": (
        swap("measurements: m\n", "measurements: m\n      spoken: two words\n"),
        14,
        "drills[0].answer.spoken",
        "has 2 words; a minute of speech takes 90 to 150",
    ),
    "spoken answer empty": (
        swap("measurements: m\n", "measurements: m\n      spoken:\n"),
        14,
        "drills[0].answer.spoken",
        "is empty; write text",
    ),
    "part missing": (swap("      lever: l\n", ""), 9, "drills[0].answer.lever", "is missing; add it"),
    "part misspelt": (
        swap("      lever: l\n", "      levr: l\n      lever: l\n"),
        11,
        "drills[0].answer.levr",
        "did you mean lever?",
    ),
    "part empty": (swap("lever: l", "lever:"), 11, "drills[0].answer.lever", "is empty; write text"),
    "part blank": (swap("lever: l", 'lever: "  "'), 11, "drills[0].answer.lever", "is empty; write the text"),
    "part a number": (
        swap("lever: l", "lever: 12"),
        11,
        "drills[0].answer.lever",
        "must be text, not '12'; put it in quotes",
    ),
    "part a list": (swap("lever: l", "lever: [l]"), 11, "drills[0].answer.lever", "must be text"),
    "part a date": (
        swap("lever: l", "lever: 2024-05-06"),
        11,
        "drills[0].answer.lever",
        "put the text in quotes",
    ),
    "part an impossible date": (
        swap("lever: l", "lever: 2024-99-99"),
        11,
        "drills[0].answer.lever",
        "put the text in quotes",
    ),
    "part yes": (
        swap("lever: l", "lever: yes"),
        11,
        "drills[0].answer.lever",
        "must be text, not 'True'; put it in quotes",
    ),
    "part twice": (
        swap("      lever: l\n", "      lever: l\n      lever: k\n"),
        12,
        "drills[0].answer.lever",
        "second time; keep one",
    ),
    "part too long": (
        swap("lever: l", "lever: " + "x" * 3001),
        11,
        "drills[0].answer.lever",
        "is 3001 characters long; shorten it to 3000",
    ),
    "chapter not in quotes": (swap('"07"', "07"), 1, "chapter", "must be text, not '7'; put it in quotes"),
    "chapter of another file": (swap('"07"', '"08"'), 1, "chapter", "the file's name begins otherwise"),
    "chapter in words": (swap('"07"', "seven"), 1, "chapter", 'write it like "02"'),
    "id of another chapter": (swap("07-one", "06-one"), 3, "drills[0].id", "begin it with '07-'"),
    "id with capitals": (swap("07-one", "07-One"), 3, "drills[0].id", "write it like 02-stability-gap"),
    "level 4": (swap("level: 1", "level: 4"), 4, "drills[0].level", "is one of 1, 2, 3, not 4"),
    "level in words": (
        swap("level: 1", "level: easy"),
        4,
        "drills[0].level",
        "must be a whole number, not 'easy'",
    ),
    "level a half": (swap("level: 1", "level: 1.5"), 4, "drills[0].level", "must be a whole number"),
    "two points": (swap(", three points", ""), 14, "drills[0].rubric", "has 2 entries; write at least 3"),
    "nine points": (
        swap("three points", ", ".join("abcdefg")),
        14,
        "drills[0].rubric",
        "has 9 entries; keep at most 8",
    ),
    "a point twice": (swap("two points", "one point"), 14, "drills[0].rubric", "says the same thing twice"),
    "a point empty": (swap("two points", "''"), 14, "drills[0].rubric[1]", "is empty"),
    "no follow-up": (
        swap("      - question: And?\n        answer: So.\n", ""),
        15,
        "drills[0].follow_ups",
        "is empty; write a list",
    ),
    "follow-up without answer": (
        swap("        answer: So.\n", ""),
        16,
        "drills[0].follow_ups[0].answer",
        "is missing",
    ),
    "knob a list": (
        swap("replay: 0.0", "replay: [0.0]"),
        20,
        "drills[0].link.knobs.replay",
        "must be a number or text",
    ),
    "knob yes": (
        swap("replay: 0.0", "replay: yes"),
        20,
        "drills[0].link.knobs.replay",
        "must be a number or text, not 'True'",
    ),
    "knobs a list": (
        swap("{replay: 0.0}", "[replay]"),
        20,
        "drills[0].link.knobs",
        "must be a block of fields",
    ),
    "seed below zero": (swap("seed: 0", "seed: -1"), 21, "drills[0].link.seed", "is -1; choose 0 or more"),
    "no link": (swap(GOOD[GOOD.index("    link:") :], ""), 3, "drills[0].link", "is missing"),
    "experiment with blanks": (
        swap("experiment: cpt", "experiment: rm -rf"),
        19,
        "drills[0].link.experiment",
        "write it like cpt",
    ),
    "unknown field": (GOOD + "author: me\n", 23, "author", "is not known; choose from chapter, drills"),
    "no drills": ('chapter: "07"\ndrills: []\n', 2, "drills", "has 0 entries; write at least 1"),
    "a list of drills only": (GOOD[GOOD.index("  - id") :], 1, "file", "must be a block of fields"),
    "empty file": ("", 1, "file", "is empty; write a block of fields"),
    "only a comment": ("# later\n", 1, "file", "is empty"),
    "tab": (swap("    level: 1", "\tlevel: 1"), 4, "file", "is not valid YAML at column 1"),
    "colon in a text": (swap("question: Why?", "question: Why: because?"), 8, "file", "is not valid YAML"),
    "open bracket": (swap("[a]", "[a"), 8, "file", "is not valid YAML"),
    "open quote": (swap("title: One", 'title: "One'), 5, "file", "is not valid YAML"),
    "two documents": (GOOD + "---\n" + GOOD, 23, "file", "is not valid YAML"),
    "code": (
        swap("lever: l", "lever: !!python/object/apply:os.system [echo]"),
        11,
        "drills[0].answer.lever",
        "put the text in quotes",
    ),
    "a tag of its own": (swap("lever: l", "lever: !secret l"), 11, "drills[0].answer.lever", "is read as"),
    "alias": (
        swap("tags: [a]", "tags: &t [a]").replace("[one point", "*t #"),
        14,
        "file",
        "aliases (*name) are not allowed",
    ),
    "merge": (
        swap("    level: 1\n", "    level: 1\n    <<: {a: b}\n"),
        5,
        "drills[0].<<",
        "put the text in quotes|is not known",
    ),
    "not UTF-8": (
        swap("lever: l", "lever: gr\xfc").encode("latin1"),
        11,
        "file",
        "is not UTF-8 here; save it as UTF-8",
    ),
    "forbidden character": (
        swap("lever: l", "lever: \x00"),
        1,
        "file",
        "holds a character that YAML forbids",
    ),
    "nested too deep": (swap("lever: l", "lever: " + "[" * 3000), 1, "file", "is nested too deep"),
    "a number without end": (
        swap("level: 1", "level: " + "1" * 5000),
        4,
        "drills[0].level",
        "cannot be read",
    ),
}


@pytest.mark.parametrize("text, line, field, fix", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_names_line_field_and_fix(text, line, field, fix, broken):
    error = broken(text)
    assert (error.line, error.field) == (line, field), str(error)
    assert any(f in str(error) for f in fix.split("|")), str(error)


def test_of_two_mistakes_the_first_in_the_file_is_named(broken):
    assert broken(swap("level: 1", "level: 7").replace("seed: 0", "seed: x")).line == 4


def test_an_id_of_two_files_names_both(broken, tmp_path):
    (tmp_path / "07_a.yaml").write_text(GOOD)
    error = broken(GOOD, "07_b.yaml")
    assert error.line == 3 and "07_a.yaml, line 3 has too; choose another id" in str(error)


def test_a_folder_without_drills_is_a_sentence(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="there are no drill files in"):
            drills.load(folder)


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path):
    (tmp_path / "07_x.yaml").mkdir()
    with pytest.raises(drills.BadEntry, match="cannot be read"):
        drills.load(tmp_path)


def leaves(node, where=()):
    """Paths of all fields of a document."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, item in items:
        yield (*where, key)
        yield from leaves(item, (*where, key))


FIELDS = [p for p in leaves(yaml.safe_load(GOOD)) if p[-1] != "replay" and not isinstance(p[-1], int)]


@pytest.mark.parametrize("path", FIELDS, ids=drills.dotted)
@pytest.mark.parametrize("how", ["gone", "null", "mapping"])
def test_every_field_is_needed_and_named(path, how, broken):
    document = yaml.safe_load(GOOD)
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    if how == "gone":
        del parent[path[-1]]
    else:
        parent[path[-1]] = None if how == "null" else {"odd": [1]}
    error = broken(yaml.safe_dump(document, sort_keys=False))
    assert (
        error.field == drills.dotted(path)
        or error.field.startswith(drills.dotted(path) + ".")
        and how == "mapping"
    )


PIECES = [b"*a", b"&a ", b"!!int ", b"? ", b"- ", b": ", b"{[", b"<<: "]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_the_bytes_a_file_loads_or_is_a_bad_drill(data, tmp_path):
    body = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 30))] = data.draw(
            st.binary(max_size=6) | st.sampled_from(PIECES)
        )
    (tmp_path / "07_x.yaml").write_bytes(body)
    try:
        drills.load(tmp_path)
    except drills.BadEntry as e:
        assert 1 <= e.line <= len(body.decode("utf-8", "replace").splitlines()) + 1 and e.field


def test_the_shipped_files_are_the_folder():
    assert {Path(d.place.split(",")[0]).parent for d in ALL} == {paths.data() / "drills"}
