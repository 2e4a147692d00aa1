"""Records: what was written comes back, what is not whole is never taken for true, and a record is current
while what was asked for is the same and its code does the same.
"""

import json
import random
from string import ascii_letters

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlab import paths
from llmlab.lab import record, vouched
from llmlab.lab.record import Damaged, Seal

SEAL = Seal("asked", {"cpt": "c0", "study": "s0"})
CONTENT = b'first line\n{"loss": 1.5}\nlast line'


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder in which nothing is vouched for."""
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def path(tmp_path):
    """A whole record."""
    record.write(tmp_path / "x.record", SEAL, CONTENT)
    return tmp_path / "x.record"


# --- written and read
# -----------------------------------------------------------------------------------------------------


def test_seal_and_content_come_back(path):
    assert record.read(path) == (SEAL, CONTENT) and record.seal_of(path) == SEAL


@given(content=st.binary(), identity=st.text(), code=st.dictionaries(st.text(), st.text()))
def test_any_bytes_come_back_under_any_seal(tmp_path_factory, content, identity, code):
    path = tmp_path_factory.getbasetemp() / "any.record"
    record.write(path, Seal(identity, code), content)
    assert record.read(path) == (Seal(identity, code), content)


def test_writing_twice_gives_the_same_bytes(path):
    before = path.read_bytes()
    record.write(path, SEAL, CONTENT)
    assert path.read_bytes() == before


def test_a_missing_record_is_an_os_error_and_has_no_seal(tmp_path):
    with pytest.raises(OSError):
        record.read(tmp_path / "none.record")
    assert record.seal_of(tmp_path / "none.record") is None


# --- damaged
# ---------------------------------------------------------------------------------------------------------


def head(**parts) -> bytes:
    """A file with that header in place of its own."""
    return json.dumps(parts).encode() + b"\n" + CONTENT


WHOLE = dict(sha256=paths.hash_bytes(CONTENT), identity="asked", code={})
DAMAGE = {
    "empty": lambda b: b"",
    "ten bytes": lambda b: b[:10],
    "the header alone": lambda b: b.split(b"\n", 1)[0],
    "the header and its line end": lambda b: b.split(b"\n", 1)[0] + b"\n",
    "half": lambda b: b[: len(b) // 2],
    "a line lost": lambda b: b.rsplit(b"\n", 1)[0],
    "the last byte lost": lambda b: b[:-1],
    "a byte more": lambda b: b + b"\n",
    "no header": lambda b: b.split(b"\n", 1)[1],
    "a header of nothing": lambda b: b"{}\n" + CONTENT,
    "an empty header": lambda b: b"\n" + CONTENT,
    "a header that is a list": lambda b: b"[]\n" + CONTENT,
    "a header that is no JSON": lambda b: b"seal\n" + CONTENT,
    "a header that is no text": lambda b: b"\xff\xfe\n" + CONTENT,
    "two headers": lambda b: b.split(b"\n", 1)[0] + b"\n" + b,
    "no checksum": lambda b: head(identity="asked", code={}),
    "the checksum of nothing": lambda b: head(**WHOLE | {"sha256": paths.hash_bytes(b"")}),
    "no identity": lambda b: head(sha256=WHOLE["sha256"], code={}),
    "an identity that is no text": lambda b: head(**WHOLE | {"identity": 3}),
    "no code": lambda b: head(sha256=WHOLE["sha256"], identity="asked"),
    "code that is no table": lambda b: head(**WHOLE | {"code": "c0"}),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_is_said_by_name_and_has_no_seal(path, damage):
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Damaged, match="x.record"):
        record.read(path)
    assert record.seal_of(path) is None


@pytest.mark.parametrize("place", range(len(CONTENT)))
def test_one_flipped_bit_of_the_content_is_damage(path, place):
    raw = bytearray(path.read_bytes())
    raw[len(raw) - len(CONTENT) + place] ^= 1
    path.write_bytes(raw)
    with pytest.raises(Damaged, match="was changed after it was written"):
        record.read(path)


@given(cut=st.integers(0, 10**4), seed=st.integers(0, 10**6))
def test_a_record_that_is_cut_anywhere_is_damage(tmp_path_factory, cut, seed):
    path, r = tmp_path_factory.getbasetemp() / "cut.record", random.Random(seed)
    record.write(path, SEAL, "".join(r.choices(ascii_letters + "\n", k=40)).encode())
    raw = path.read_bytes()
    path.write_bytes(raw[: cut % len(raw)])
    with pytest.raises(Damaged):
        record.read(path)


# --- current
# ---------------------------------------------------------------------------------------------------------

CURRENT = {
    "the same": SEAL,
    "other code too": Seal("asked", SEAL.code | {"dpo": "d0"}),
    "vouched code": Seal("asked", SEAL.code | {"cpt": "old"}),
}
STALE = {
    "none": None,
    "another identity": Seal("asked otherwise", SEAL.code),
    "other code": Seal("asked", SEAL.code | {"cpt": "c1"}),
    "one of two codes": Seal("asked", {"cpt": "c0"}),
    "code of another name": Seal("asked", {"cpt": "c0", "studies": "s0"}),
    "no code": Seal("asked"),
    "code that is vouched for under another name": Seal("asked", SEAL.code | {"study": "old"}),
}


@pytest.fixture
def vouching(data):
    """cpt's old code did what c0 does."""
    vouched.add([{"name": "cpt", "old": "old", "new": "c0"}])


@pytest.mark.parametrize("found", CURRENT.values(), ids=CURRENT)
def test_a_record_of_the_same_question_and_code_is_current(vouching, found):
    assert record.is_current(found, SEAL)


@pytest.mark.parametrize("found", STALE.values(), ids=STALE)
def test_a_record_of_another_question_or_of_other_code_is_not(vouching, found):
    assert not record.is_current(found, SEAL)


def test_what_no_code_makes_is_current_by_its_identity_alone(data):
    assert record.is_current(Seal("page", {"any": "code"}), Seal("page"))
    assert not record.is_current(Seal("page"), Seal("another"))


def test_stale_names_what_is_missing_or_not_current_in_its_order(data):
    shipped = [("a", None, SEAL), ("b", SEAL, SEAL), ("c", Seal("old"), SEAL), ("d", SEAL, Seal("asked"))]
    assert record.stale(iter(shipped)) == ["a", "c"] and record.stale([]) == []
