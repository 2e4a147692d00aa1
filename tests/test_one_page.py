"""The script without abstractions gives the library's numbers."""

import runpy
from itertools import islice
from pathlib import Path

import pytest

from llmlab.chapters.c06_preferences.dpo import DPO
from llmlab.models.load import load

PAGE = Path(__file__).parent.parent / "docs" / "dpo_on_one_page.py"
N = 12  # past the warm-up


def test_dpo_on_one_page_gives_the_losses_of_the_library():
    page = runpy.run_path(str(PAGE))
    theirs = [row["loss"] for row in islice(DPO(probe=60).rows(load("chat"), seed=1), 1, N + 1)]
    assert list(islice(page["train"](seed=1), N)) == pytest.approx(theirs, rel=1e-4)


def test_the_pages_settings_are_the_librarys_defaults():
    page, k = runpy.run_path(str(PAGE)), DPO()
    said = [page[name] for name in ("BETA", "NLL", "LR", "WARMUP", "STEPS", "PAIRS")]
    assert said == [k.beta, k.nll, k.lr, k.warmup, k.steps, k.batch]


def test_another_beta_would_be_noticed():
    page = runpy.run_path(str(PAGE))
    page["train"].__globals__["BETA"] = 0.2
    theirs = [row["loss"] for row in islice(DPO(probe=60).rows(load("chat"), seed=1), 1, N + 1)]
    assert list(islice(page["train"](seed=1), N)) != pytest.approx(theirs, rel=1e-4)
