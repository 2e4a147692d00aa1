"""What the notebooks' cells call."""

import numpy as np
import pytest
from scipy import stats

from llmlab.learn.notebook import bibliography, paired, references, show


def test_paired_is_scipys_interval():
    r = np.random.default_rng(0)
    a, b = r.normal(size=7), r.normal(0.5, size=7)
    low, high = stats.ttest_rel(b, a).confidence_interval(0.95)
    found = paired(list(a), list(b))
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))


def test_paired_refuses_unequal_seeds():
    with pytest.raises(ValueError):
        paired([1, 2, 3], [1, 2])


def test_source_and_references_show_as_markdown():
    assert show(paired)._repr_markdown_().startswith("```python\ndef paired") and "t-interval" in repr(
        show(paired)
    )
    assert (
        references("lora_2021")._repr_markdown_()
        == "- Edward J. Hu, Yelong Shen, Phillip Wallis, Zeyuan Allen-Zhu, Yuanzhi Li, Shean Wang, Lu Wang,"
        " Weizhu Chen (2021): LoRA: Low-Rank Adaptation of Large Language Models. arXiv 2106.09685; ICLR"
        " 2022"
    )


def test_every_entry_of_the_bibliography_can_be_cited():
    assert all(len(repr(references(key))) > 30 for key in bibliography()) and len(bibliography()) > 20
