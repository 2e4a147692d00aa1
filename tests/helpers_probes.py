"""Probes that read little, for tests in which the training or its bookkeeping is what is tested."""

from dataclasses import replace

from llmlab.chapters.c04_sft import sft
from llmlab.chapters.c05_lora import codes, lora
from llmlab.chapters.c07_reinforcement_learning import agent, grpo, reader, retain
from llmlab.train import probes


def few_problems(monkeypatch, n: int, **lessons: dict) -> None:
    """n problems in the probes of adapters, of policies and of agents, and answers of eight tokens after SFT;
    knobs of the lessons that adapters are trained on, by task.
    """
    lesson, evaluate = lora.LoRA.lesson, grpo.evaluate
    monkeypatch.setattr(lora.LoRA, "lesson", lambda self: replace(lesson(self), **lessons.get(self.task, {})))
    monkeypatch.setattr(grpo, "evaluate", lambda *args, **asked: evaluate(*args, **asked | dict(n=n)))
    monkeypatch.setattr(sft, "LONGEST", 8)
    monkeypatch.setattr(reader, "GREEDY", n)
    for module in (codes, lora, agent, retain):
        monkeypatch.setattr(module, "HELD", n)


def eight_rows(monkeypatch) -> None:
    """Probes of losses read eight rows of each set."""
    read = probes.read

    def few(model, sets):
        return read(model, {n: [b.pick(slice(0, 8)) for b in bs[:1]] for n, bs in sets.items()})

    monkeypatch.setattr(probes, "read", few)
