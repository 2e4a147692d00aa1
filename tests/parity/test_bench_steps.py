"""What `llmlab bench` sets side by side is the same step: the losses of both libraries agree."""

import pytest

from llmlab.cli import bench_steps


@pytest.mark.parametrize("name", ["sft", "dpo", "distill"])
def test_both_sides_of_a_benchmark_have_the_same_loss(name, monkeypatch):
    monkeypatch.setattr(bench_steps, "STEPS", 1)
    monkeypatch.setattr(bench_steps, "WARM", 1)
    monkeypatch.setattr(bench_steps, "ROUNDS", 1)
    monkeypatch.setattr(bench_steps, "matrix_rate", lambda tokens, model: 1e11)
    figures = getattr(bench_steps, name)()
    assert figures["losses_apart"] < 1e-5
    assert figures["ratio"] > 0 and figures["ceiling"] > 0 and figures["ours_ms"] > 0
