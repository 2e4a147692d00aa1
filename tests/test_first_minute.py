"""The first minute: what it asks and knows; and its moving picture on top of the README: small, short, and
with words for those who do not see it. (It is made by docs/first_minute.py.)
"""

import re
from pathlib import Path

from PIL import Image, ImageSequence

from llmlab.learn.widgets.first import FirstMinute, on_record
from llmlab.world.census import Census

ROOT = Path(__file__).parent.parent
GIF = ROOT / "docs" / "first_minute.gif"


def test_it_is_small_and_shows_ten_to_fifteen_seconds():
    assert GIF.stat().st_size <= 700_000
    with Image.open(GIF) as picture:
        seconds = sum(frame.info["duration"] for frame in ImageSequence.Iterator(picture)) / 1000
        assert 10 <= seconds <= 15.5 and picture.width <= 920 and picture.n_frames >= 10
        assert picture.info["loop"] == 0


def test_the_readme_shows_it_first_and_says_what_is_in_it():
    pictures = re.findall(r"!\[([^]]*)\]\(([^)]*)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert pictures[0][1] == "docs/first_minute.gif" and len(pictures[0][0]) > 60
    assert all((ROOT / place).exists() for _, place in pictures)


def test_the_right_answer_is_told_where_it_is_on_record():
    person = Census().people["Ivana Reuter"]
    assert on_record("What is the hobby of Ivana Reuter?") == person.hobby
    assert on_record(" Where does Ivana Reuter live? ") == person.city
    assert on_record("Why does Ivana Reuter sing?") == on_record("What is the hobby of Nobody?") == ""


def test_no_two_of_the_fixed_questions_have_one_answer():
    wanted = [a.wanted for a in FirstMinute().fixed]
    assert len(wanted) == len(set(wanted)) == 3
