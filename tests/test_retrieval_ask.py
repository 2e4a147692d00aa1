"""llmlab run rag --domain FOLDER --ask: documents and where each word stands, answers with file and line."""

import gzip
import json
import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("lancedb")
from llmlab import cli, paths  # noqa: E402
from llmlab.cli import ask  # noqa: E402
from llmlab.errors import UserError  # noqa: E402
from llmlab.lab import answer as answers  # noqa: E402
from llmlab.lab.answer import Answer, answer, prompt  # noqa: E402
from llmlab.lab.folder import Folder  # noqa: E402
from llmlab.models.load import Loaded, save  # noqa: E402
from llmlab.train.sample import Completions  # noqa: E402


def chunks(path, length=4, overlap=0, **more) -> list:
    """All chunks of a file or folder."""
    folder = Folder(str(path), length, overlap, **more)
    return [c for read in folder.documents().values() for c in read()]


# --- reading


@pytest.mark.parametrize("name", ["a.txt", "a.md", "A.TXT", "a.txt.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_are_those_of_an_editor(tmp_path, name, end, mark):
    lines = ["# Title", "", "one\ttwo\u2028three", " " * 500 + "four", "x" * 5000, "last \u0085 words"]
    raw = (mark + end.join(lines)).encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    found = chunks(tmp_path, length=2)
    assert not any("\ufeff" in c.text for c in found)
    for c in found:
        first, last = c.text.split()[0], c.text.split()[-1]
        assert first in lines[c.line - 1] and last in lines[c.last - 1]
    assert " ".join(" ".join(c.text for c in found).split()).replace(" ", "") == "".join(
        "".join(lines).split()
    )


def test_a_records_chunks_have_its_line(tmp_path):
    records = [{"text": "one two three\nfour five six"}, {"text": "a\u2028b"}, {"text": "\ud800 is half"}]
    raw = "\r\n\r\n".join(map(json.dumps, records))
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + raw.encode())
    found = [(c.line, c.last, c.text) for c in chunks(tmp_path)]
    assert found == [
        (1, 1, "one two three four"),
        (1, 1, "five six"),
        (3, 3, "a\u2028b"),
        (5, 5, "? is half"),
    ]


def test_a_header_is_the_files_name_and_moves_no_line(tmp_path):
    (tmp_path / "v1.2 of b.md").write_text("\n\none two\nthree four five")
    found = [(c.line, c.last, c.text) for c in chunks(tmp_path, header=True)]
    assert found == [(3, 4, "v1.2 of b. one two\nthree four"), (4, 4, "v1.2 of b. five")]


def test_a_huge_line_is_cut(tmp_path):
    (tmp_path / "a.txt").write_text("x" * 1_000_000 + "\nend")
    found = chunks(tmp_path, length=32)
    assert max(len(c.text) for c in found) <= 64 * 32 + 1 and found[-1].last == 2


def test_what_is_no_document_is_left_alone_and_counted(tmp_path):
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "sub" / "deep" / "a.txt").write_text("one")
    (tmp_path / "copy.txt").write_text("one")
    (tmp_path / "empty.md").write_text(" \n")
    (tmp_path / "b.pdf").write_bytes(b"%PDF")
    (tmp_path / "README").write_text("two")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "c.txt").write_text("three")
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    (tmp_path / "gone.txt").symlink_to("nowhere.txt")
    (tmp_path / "round").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.txt")
    folder = Folder(str(tmp_path), 4, 0)
    told = folder.told()
    assert [c.text for read in folder.documents().values() for c in read()] == ["one"]
    assert told.startswith("3 files (1 × .md, 2 × .txt), 1 of them the copy of another; left alone: ")
    for part in (
        "1 × .pdf",
        "1 × hidden",
        "1 × linked folder",
        "3 × no regular file",
        "1 × without a suffix",
    ):
        assert part in told, part


def test_a_name_that_is_not_utf8_is_written_out(tmp_path):
    with open(os.path.join(os.fsencode(tmp_path), b"\xff.txt"), "w") as f:
        f.write("one")
    assert chunks(tmp_path)[0].source.endswith("\\xff.txt")


BAD = {
    "latin.txt": ("Grüße".encode("latin1"), "line 1 is not UTF-8; convert it"),
    "picture.md": (b"\x89PNG\r\n\x1a\n\0\0", "line 1 is not UTF-8"),
    "zero.txt": (b"one\ntwo \0", "line 2 holds a zero byte"),
    "a.txt.gz": (b"not gzip", "cannot be read"),
    "cut.txt.gz": (gzip.compress(b"one " * 1000)[:20], "cannot be read"),
    "a.jsonl": (b'{"text": "fine"}\n{"text": 5}', "line 2: it has no field 'text'"),
    "b.jsonl": (b'{"text": "fine"}\n{', "line 2: it is no JSON"),
    "c.jsonl": (b'[{"text": "fine"}]', "save it as JSON lines"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_document_is_a_sentence_or_is_skipped(tmp_path, name):
    raw, why = BAD[name]
    (tmp_path / name).write_bytes(raw)
    (tmp_path / "good.txt").write_text("fine")
    with pytest.raises(UserError, match=re.escape(why)) as e:
        chunks(tmp_path)
    assert name in str(e.value) and "--skip_bad" in str(e.value) and "\n" not in str(e.value)
    folder = Folder(str(tmp_path), 4, 0, skip_bad=True)
    assert {c.text for read in folder.documents().values() for c in read()} == {"fine"}
    assert len(folder.bad) == 1 and name in folder.told()


def test_a_file_that_changes_while_it_is_read_is_not_taken_for_what_it_was(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    documents = Folder(str(tmp_path), 4, 0).documents()
    (tmp_path / "a.txt").write_text("two")
    with pytest.raises(UserError, match="changed while it was read"):
        [list(read()) for read in documents.values()]


@pytest.mark.parametrize("change", [dict(header=True), dict(content="two"), dict(name="a.jsonl")])
def test_a_mark_is_of_all_that_the_chunks_are_made_from(tmp_path, change):
    def mark(name="a.txt", content="one", **more):
        (tmp_path / name).write_text(content)
        return next(iter(Folder(str(tmp_path / name), 4, 0, **more).by_mark))

    assert mark() == mark(name="b.md") and mark() != mark(**change)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["a.txt", "a.md.gz", "a.jsonl"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory, raw, name):
    file = tmp_path_factory.mktemp("d") / name
    file.write_bytes(raw)
    for skip_bad in (False, True):
        try:
            chunks(file, skip_bad=skip_bad)
        except UserError as e:
            assert not skip_bad and name in str(e)


# --- answering


def test_citations_are_looked_up():
    found = Answer("It is 40 [2], taken at night [1, 2] and [7].", 3, True)
    assert found.cited == [2, 1] and found.remarks == ["The answer cites [7], and only 1 to 3 were shown."]
    assert Answer("40 [1].", 3, True).remarks == []
    assert "cites no passage" in Answer("It is 40.", 3, True).remarks[0]
    assert "do not tell it" in Answer("Not in the documents.", 3, True).remarks[0]
    assert "cut off" in Answer("40 [1] and", 3, False).remarks[0]
    assert Answer("[0] [9999999999999999999999]", 1, True).cited == []


def test_a_lab_model_sees_the_form_that_it_was_trained_on(tiny):
    text = tiny.tok.decode(prompt(tiny.tok, "What\nis it?", ["one\n two", "three"]))
    assert "one two [1] three [2]\nWhat is it? Cite it." in text and answers.ASKED not in text


def test_another_model_is_told_what_is_expected(foreign):
    from llmlab.models.load import tokenizer

    text = tokenizer(foreign[1]).decode(prompt(tokenizer(foreign[1]), "What is it?", ["one", "two"]))
    plain = " ".join(text.split())
    assert "Not in the documents." in plain and "[1] one [2] two What is it?" in plain


def test_passages_without_room_are_left_out(tiny, monkeypatch):
    seen = []
    monkeypatch.setattr(answers, "room", lambda model: 124)

    def said(model, prompts, **_):
        seen.extend(prompts)
        return Completions(prompts, [[5]], [[0.0]], [False])

    monkeypatch.setattr(answers, "sample", said)
    found = answer(tiny, "What is it?", ["a short passage"] * 40)
    assert 0 < found.shown < 40 and len(seen[0]) <= 100
    with pytest.raises(UserError, match="no room"):
        answer(tiny, "What is it? " * 100, ["a"])


# --- the command


@pytest.fixture
def docs(tmp_path):
    """A folder with two documents."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "zorvex.md").write_text("# Zorvex\n\nThe dose of Zorvex is 40 mg.\nIt is taken at night.\n")
    (folder / "more.jsonl").write_text('{"text": "Trains run late."}\n{"text": "Belcor has dose 12."}\n')
    return folder


@pytest.fixture
def model(tiny, tmp_path):
    """The folder of a random model."""
    save(tmp_path / "model", tiny.model, tiny.tok)
    return str(tmp_path / "model")


@pytest.fixture
def said(monkeypatch):
    """What the model answers, in place of what a random one would."""

    def says(text):
        monkeypatch.setattr(
            "llmlab.lab.answer.answer", lambda loaded, question, shown: Answer(text, len(shown), True)
        )

    return says


def run(capsys, *argv) -> tuple[int, str, str]:
    code = cli.main(["run", "rag", *argv])
    done = capsys.readouterr()
    return code, done.out, done.err


@pytest.mark.parametrize("way", ["bm25", "states", "hybrid"])
def test_an_answer_comes_with_file_and_line(capsys, home, docs, model, said, way):
    said("12 [1].")
    common = ["--domain", str(docs), "--model", model, "--length", "8", "--overlap", "2", "--retriever", way]
    code, out, _ = run(capsys, *common, "--ask", "Belcor", "--steps", "3", "--json")
    found = json.loads(out.splitlines()[-1])
    assert code == 0 and found["answer"] == "12 [1]." and found["remarks"] == []
    assert found["citations"][0]["at"] == "{file}:{line}".format(**found["passages"][0])
    if way == "bm25":
        assert f"from       [1] {docs}/more.jsonl:2" in out and len(found["passages"]) == 1
    assert found["added"] == found["chunks"] and ("exact" in out) == (way != "bm25")
    code, out, _ = run(capsys, *common, "--ask", "Belcor", "--json")
    assert json.loads(out.splitlines()[-1])["added"] == 0


def test_chunks_are_ranked_again_by_how_likely_the_question_is_behind_them(
    capsys, home, docs, model, said, monkeypatch
):
    said("12 [1].")
    common = ["--domain", str(docs), "--model", model, "--ask", "dose Belcor Zorvex", "--json"]
    settings = ["--steps", "1", "--length", "8", "--overlap", "2"]
    first = json.loads(run(capsys, *common, *settings)[1].splitlines()[-1])["passages"][0]
    other = {"zorvex.md": "more.jsonl", "more.jsonl": "zorvex.md"}[first["file"].rpartition("/")[2]]
    wanted = {"zorvex.md": "Zorvex is 40", "more.jsonl": "Belcor has"}[other]
    asked = []

    def likelihood(model, tok, question, texts):
        asked.extend(texts)
        return np.array([wanted in t for t in texts], dtype=float)

    monkeypatch.setattr("llmlab.retrieval.rerank.likelihood", likelihood)
    code, out, _ = run(capsys, *common, *settings, "--rerank", "likelihood")
    found = json.loads(out.splitlines()[-1])["passages"]
    assert code == 0 and "rerank " in out and len(asked) > 1 == len(found)
    assert found[0]["file"].endswith(other)


def test_a_real_model_answers(capsys, home, docs, model):
    code, out, err = run(capsys, "--domain", str(docs), "--model", model, "--ask", "What dose has Zorvex?")
    assert code == 0 and f"] {docs}/zorvex.md:1–4" in out and "answer  " in out and not err


def test_an_answer_that_cites_nothing_is_said_to(capsys, home, docs, model, said):
    said("It is 40.")
    assert (
        "The answer cites no passage"
        in run(capsys, "--domain", str(docs), "--model", model, "--ask", "dose Zorvex")[1]
    )


def test_nothing_found_is_said_and_the_model_is_not_asked(capsys, home, docs, model):
    code, out, _ = run(capsys, "--domain", str(docs), "--model", model, "--ask", "xylophone")
    assert code == 0 and "No passage shares a word" in out and "answer  " not in out


def test_without_a_question_the_index_is_brought_up_to_date(capsys, home, docs):
    code, out, _ = run(capsys, "--domain", str(docs))
    assert code == 0 and "2 files (1 × .jsonl, 1 × .md)" in out and "3 chunks, 3 of them added now" in out
    (docs / "zorvex.md").rename(docs / "renamed.md")
    assert "0 of them added now, 0 others removed" in run(capsys, "--domain", str(docs))[1]
    (docs / "renamed.md").write_text("New.")
    (docs / "more.jsonl").unlink()
    assert "1 chunk, 1 of them added now, 3 others removed" in run(capsys, "--domain", str(docs))[1]
    assert "1 of them added now" in run(capsys, "--domain", str(docs), "--again")[1]


def test_one_process_at_a_time(capsys, home, docs):
    run(capsys, "--domain", str(docs))
    (lock,) = (paths.cache() / "documents").glob("*.lock")
    with paths.alone(lock, "it"):
        code, _, err = run(capsys, "--domain", str(docs))
    assert code == 2 and "another 'llmlab run rag --domain' is at work" in err


REFUSED = {
    "--domain FOLDER": ["--ask", "What?"],
    "--ann is about": ["--ann"],
    "does not exist": ["--domain", "nowhere", "--ask", "What?"],
    "give a folder, or a file that ends in .txt": ["--domain", "/dev/null"],
    "is of another kind": ["--domain", "PDF"],
    "holds no documents": ["--domain", "EMPTY"],
    "about the lab's own leaflets": ["--domain", "DOCS", "--stale", "0.5"],
    "choose bm25, states or hybrid": ["--domain", "DOCS", "--retriever", "encoder"],
    "must be below --length": ["--domain", "DOCS", "--length", "8", "--overlap", "8"],
    "--seed changes nothing": ["--domain", "DOCS", "--seed", "3"],
    "there is no device": ["--domain", "DOCS", "--device", "cuda:99"],
    "there is no model": ["--domain", "DOCS", "--ask", "What?", "--model", "./nowhere"],
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_mistake_is_one_sentence(capsys, home, docs, tmp_path, why):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    names = {"DOCS": str(docs), "EMPTY": str(tmp_path / "empty"), "PDF": str(tmp_path / "a.pdf")}
    code, _, err = run(capsys, *(names.get(w, w) for w in REFUSED[why]))
    assert code == 2 and why in err and err.strip().count("\n") == 0


def test_every_knob_is_applied_or_refused():
    from llmlab.lab import registry

    assert set(ask.APPLIES) < {k.name for k in registry.get("rag").knobs()}


def test_a_long_chunk_is_cut_to_what_the_model_reads(tiny, monkeypatch):
    monkeypatch.setattr(answers, "room", lambda model: 16)
    loaded = Loaded(tiny.model, tiny.tok, "tiny", "")
    one, other = ask.embed(loaded, ["word " * 16 + "a", "word " * 16 + "b"])
    assert (one == other).all()
