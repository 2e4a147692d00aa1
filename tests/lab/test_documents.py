"""The user's own documents: every kind that people have, by sub-folder; what is wrong is one sentence."""

import gzip
import json

import pytest

from llmlab.errors import UserError
from llmlab.lab.documents import Documents

TEXT = json.dumps({"text": "three\u2028and more"}, ensure_ascii=False).encode()


def test_a_folder_of_all_kinds(tmp_path):
    (tmp_path / "A.TXT").write_text("one", encoding="utf-8")
    (tmp_path / "b.md").write_text("two", encoding="utf-8")
    (tmp_path / "c.jsonl").write_bytes(
        b"\xef\xbb\xbf" + TEXT + b"\n\n" + TEXT.replace(b"three", b"four") + b"\n"
    )
    (tmp_path / "d.json").write_text(json.dumps([{"text": "five"}, {"text": "six"}]))
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress(TEXT.replace(b"three", b"seven")))
    (tmp_path / "f.csv").write_text("text,id\neight,1\n")
    (tmp_path / "g.html").write_text("<p>")
    found = Documents(str(tmp_path))
    assert [t.split("\u2028")[0] for t in found.by_domain["all"]] == [
        *("one", "two", "three", "four", "five", "six", "seven", "eight")
    ]
    assert found.told().startswith(
        "8 documents in 1 sub-domains (1 × .txt, 1 × .md, 3 × JSON lines, 2 × JSON array"
    )
    assert "left alone: 1 × .html" in found.told()


def test_sub_folders_are_sub_domains(tmp_path):
    for name in ("law", "law/old", "news"):
        (tmp_path / name).mkdir()
    (tmp_path / "law" / "a.txt").write_text("one")
    (tmp_path / "law" / "old" / "b.txt").write_text("two")
    (tmp_path / "news" / "c.md").write_text("three")
    (tmp_path / "d.txt").write_text("four")
    assert Documents(str(tmp_path)).by_domain == {"law": ["one", "two"], "news": ["three"], "all": ["four"]}


def test_a_single_file(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(TEXT)
    assert Documents(str(tmp_path / "a.jsonl")).by_domain == {"all": ["three\u2028and more"]}


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.txt", b"fine\n\xff\xfe\x00bad", "line 2 is not UTF-8"),
        ("a.jsonl", b'{"txt": 1}\n', r"line 1: it has no field 'text' with a text \(its fields: txt\)"),
        ("a.jsonl", b'{"text": "x"}\nnot json\n', "line 2: it is no JSON"),
        ("a.jsonl", b'{"text": 3}', "line 1: it has no field 'text' with a text"),
        ("a.txt", b"   \n", "holds no text"),
        ("a.pdf", b"x", "holds no text"),
    ],
)
def test_bad_folders_get_one_sentence(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        Documents(str(tmp_path))


def test_bad_records_may_be_left_out(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(TEXT + b"\n{\n")
    found = Documents(str(tmp_path), skip_bad=True)
    assert len(found.by_domain["all"]) == 1 and "1 bad records skipped, the first: " in found.told()


def test_a_file_of_another_kind_or_none_is_said(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"x")
    for path, message in (
        (tmp_path / "a.pdf", "is neither .txt, .md nor"),
        (tmp_path / "none", "does not exist"),
    ):
        with pytest.raises(UserError, match=message):
            Documents(str(path))
