"""Vouched: chains of changes that changed nothing, name by name, in both directions."""

import json
import os
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlab.errors import UserError
from llmlab.lab import vouched


def entry(old: str, new: str, name: str = "cpt") -> dict:
    return {"name": name, "old": old, "new": new, "date": "2026-11-28", "rehearsals": 27}


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """A data folder in which nothing is vouched for yet."""
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path))
    return tmp_path


def test_code_is_like_itself_and_no_other_is_without_a_list():
    assert vouched.alike("cpt", "a", "a") and not vouched.alike("cpt", "a", "b") and vouched.entries() == []


def test_what_was_added_stays_in_order_and_one_entry_takes_one_line():
    vouched.add([entry("a", "b")])
    vouched.add([entry("b", "c"), entry("x", "y", "dpo")])
    assert vouched.entries() == [entry("a", "b"), entry("b", "c"), entry("x", "y", "dpo")]
    assert len(vouched.file().read_text().splitlines()) == 3, "a change of the list is easy to read in a diff"


CHAIN = [entry("a", "b"), entry("b", "c"), entry("c", "d")]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_chain_of_steps_leads_from_each_of_its_codes_to_each_other(order):
    vouched.add([CHAIN[i] for i in order])
    assert all(vouched.alike("cpt", one, other) for one, other in permutations("abcd", 2))
    assert not any(vouched.alike("cpt", one, "e") for one in "abcd")


def test_two_changes_of_the_same_old_code_do_the_same_too():
    """The book of c0 vouched for c1, later for c2: what c1 made is current under c2."""
    vouched.add([entry("c0", "c1")])
    vouched.add([entry("c0", "c2")])
    assert vouched.alike("cpt", "c1", "c2") and vouched.alike("cpt", "c2", "c1")


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"))))
def test_it_is_the_closure_of_what_was_vouched_for(pairs):
    vouched.file().unlink(missing_ok=True)
    vouched.add([entry(*p) for p in pairs])
    groups = {c: {c} for c in "abcdefgh"}
    for one, other in pairs:
        for c in (joined := groups[one] | groups[other]):
            groups[c] = joined
    assert all(vouched.alike("cpt", a, b) == (b in groups[a]) for a in groups for b in groups)


def test_names_do_not_mix():
    vouched.add([entry("a", "b"), entry("b", "c", "dpo")])
    assert not vouched.alike("dpo", "a", "b") and not vouched.alike("cpt", "b", "c")
    assert not vouched.alike("cpt", "a", "c") and not vouched.alike("", "a", "b")


def test_a_list_that_another_process_writes_is_read_again():
    vouched.add([entry("a", "b")])
    assert not vouched.alike("cpt", "a", "c")
    vouched.file().write_text(json.dumps([entry("a", "c")]))
    os.utime(vouched.file(), (1, 1))
    assert vouched.alike("cpt", "a", "c") and not vouched.alike("cpt", "a", "b")


DAMAGED = {
    "empty": "",
    "cut": json.dumps([entry("a", "b")])[:-9],
    "a conflict of a merge": "<<<<<<< HEAD\n[]\n=======\n[]\n>>>>>>>\n",
    "no list": "3",
    "a table": json.dumps(entry("a", "b")),
    "a list of texts": '["cpt"]',
    "an entry without its old code": json.dumps([{"name": "cpt", "new": "b"}]),
    "an entry whose code is a number": json.dumps([entry("a", "b") | {"old": 1}]),
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_list_is_one_sentence_and_vouches_for_nothing(text):
    vouched.file().write_text(text)
    for ask in (lambda: vouched.alike("cpt", "a", "b"), vouched.entries, lambda: vouched.add([])):
        with pytest.raises(
            UserError, match=r"vouched\.json' is damaged, so nothing is vouched for; restore it"
        ):
            ask()
    assert vouched.alike("cpt", "a", "a"), "today's code needs no list"
    assert vouched.file().read_text() == text, "what is damaged is not written over"
