"""stages: preference or reinforcement learning after supervised fine-tuning, in the template of that stage or
in another one.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from ...lab import knobs, registry
from ...lab.experiment import Experiment, knob
from ...tokens import chat
from ...tokens.wrong_templates import TEMPLATES
from ...train import probes
from ...train.recipe import Read
from ...train.rollout import evaluate
from ...world import talk
from ...world.base import say
from ...world.sums import Sums
from .template import template

METHODS = ("dpo", "grpo")
LONGEST = 18  # tokens that a sum may take
FORMS = tuple(name for name in TEMPLATES if name != "user_results")  # no tool is used in these stages


@dataclass(frozen=True)
class Stages(Experiment):
    """DPO or GRPO of the chat model under a template; read under the template in which the model is
    served.
    """

    name: ClassVar[str] = "stages"
    default_model: ClassVar[str] = "chat"
    summary: ClassVar[str] = (
        "one template through all stages: DPO or GRPO in another template than SFT's, read as the model is"
        " served"
    )
    curves: ClassVar[dict[str, str]] = {
        "polite": "polite and right answers (share)",
        "sums": "three-digit sums right (share)",
        "facts": "facts right, politely or not (share)",
        "fact_loss": "loss on plain answers (nats per token)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, held=16),
        values=dict(held=(32,)),
        phases=[dict(method="grpo", steps=5, trained="literal", served="literal")],
    )

    method: str = knob("dpo", choices=METHODS, help="the stage after SFT")
    trained: str = knob("control", choices=FORMS, help="template of this stage; SFT's was control")
    served: str = knob("control", choices=FORMS, help="template under which the model is asked")
    lr: float = knobs.lr(1e-3)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(60, low=5, high=1000)
    held: int = knob(96, 16, 512, help="held-out problems of each kind that a reading asks")
    probe: int = knobs.probe(20)

    def recipe(self, loaded, seed, texts=None):
        """The stage under its template, with readings under the template of serving."""
        model, tok = loaded.model, loaded.tok
        with template(tok, self.served):
            read = self.prober(model, tok)
        tok.chat_template = TEMPLATES[self.trained]
        settings = dict(lr=self.lr, warmup=self.warmup, steps=self.steps, probe=self.probe)
        stage = registry.get(self.method)(**settings).recipe(loaded, seed)

        def both(step):
            found = stage.probe(step)
            with template(tok, self.served):
                return found | read()

        return replace(stage, probe=Read(both))

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The stage's rows; afterwards the tokenizer has the template that it had."""
        with template(loaded.tok, self.trained):
            yield from super().rows(loaded, seed, checkpoint, texts)

    def prober(self, model, tok):
        """A function that asks for polite answers, facts and sums."""
        pairs, sums = talk.pairs(self.held, split="test", seed=7, kinds="style"), Sums(("add",), digits=3)
        sets = {
            "polite": probes.batches(
                [chat.example(tok, p.messages, say(f"Gladly: {p.problem.answer}.")) for p in pairs]
            ),
            "blunt": probes.batches(
                [chat.example(tok, p.messages, say(f"{p.problem.answer}.")) for p in pairs]
            ),
        }

        def read() -> dict[str, float]:
            found = probes.read(model, sets | {"fact_loss": sets["blunt"]})
            solved = evaluate(model, tok, sums, n=self.held, seed=7, max_new=LONGEST).accuracy
            return found | {"facts": found["polite"] + found["blunt"], "sums": solved}

        return read
