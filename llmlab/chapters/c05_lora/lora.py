"""lora: a model taught by adapters, or by all its weights, through the SFT, DPO or GRPO of the other
chapters.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from ...lab import knobs, registry
from ...lab.experiment import BadKnob, Experiment, knob
from ...models import adapters, quant
from ...tokens import chat
from ...train import probes
from ...train.recipe import Read
from ...train.rollout import evaluate
from ...train.wrap import cost, wrapped
from ...world import corpora, talk
from ...world.census import Census
from ...world.sums import Sums
from ...world.talk import Talk

HELD, SEED = 512, 11  # problems a probe, others than those of the tasks' own, smaller probes
TASKS = {
    "sft": "base",
    "dpo": "chat",
    "grpo": "chat",
}  # task, which is an experiment by name -> where it starts
LONGEST, DIGITS = 18, 3  # tokens that a sum may take, and its digits
LESSONS = Talk(("fact", "format", "unsafe"))  # what SFT shows, as its own probes ask for it
METHODS = ("full", "lora", "qlora")


class Start:
    """The checkpoint that a task starts from; asked of the class, that of its default task."""

    def __get__(self, experiment, cls) -> str:
        return TASKS[experiment.task if experiment else "sft"]


@dataclass(frozen=True)
class LoRA(Experiment):
    """One base, one task, and the question which weights are trained: all of them, adapters, or adapters on a
    base of 4 bits.
    """

    name: ClassVar[str] = "lora"
    summary: ClassVar[str] = (
        "adapters against full fine-tuning on SFT, DPO and GRPO: what is learnt, what is kept, what it costs"
    )
    default_model: ClassVar[str] = Start()
    presets: ClassVar[dict[str, dict]] = {
        "full": {"method": "full"},
        "LoRA": {"method": "lora"},
        "QLoRA": {"method": "qlora"},
    }
    front: ClassVar[tuple[str, ...]] = ("method", "rank", "lr")
    curves: ClassVar[dict[str, str]] = {
        "skill": "what the task teaches (share right)",
        "people": "known people, in plain form (share)",
        "sums": "two-digit sums, in plain form (share)",
        "general_loss": "loss on general text (nats per token)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5),
        values=dict(rank=(2,), targets=("attention", "mlp")),
        under=dict(scheme=dict(method="qlora")),
        phases=[
            dict(task="dpo", method="qlora", lr=1e-3),
            dict(task="grpo", steps=10, lr=1e-3),
            dict(init="pissa", variant="dora"),
            dict(method="full", lr=2e-3),
        ],
        small=dict(HELD=16),
    )

    task: str = knob(
        "sft",
        choices=tuple(TASKS),
        help="sft: the base becomes an assistant; dpo: polite answers; grpo: three-digit sums",
    )
    method: str = knob(
        "lora",
        choices=METHODS,
        help="full: every weight is trained; lora: adapters; qlora: adapters on a base of 4 bits",
    )
    scheme: str = knob(
        "nf4", choices=quant.SCHEMES, help="the 4 bits of qlora: nf4, or fifteen equal steps (int4)"
    )
    rank: int = knob(8, 1, 64, scale="log", help="rank of the adapters")
    alpha: float = knob(32.0, 1.0, 256.0, scale="log", help="the adapters' change is alpha / rank · B A")
    targets: str = knob(
        "both", choices=tuple(adapters.TARGETS), help="matrices that carry adapters: attention, mlp or both"
    )
    init: str = knob(
        "kaiming",
        choices=tuple(adapters.INITS),
        help="start of A and B: B zero (kaiming, gaussian), or taken out of the weights",
    )
    variant: str = knob(
        "lora",
        choices=adapters.VARIANTS,
        help="rslora: alpha / √rank; dora: a matrix's lengths are trained separately from its directions",
    )
    tokens: str = knob(
        "special",
        choices=("none", "special"),
        help="special: adapters come with the embeddings of the chat's own tokens",
    )
    lr: float = knob(
        3e-3, 1e-5, 1e-2, scale="log", help="peak learning rate of AdamW; grpo takes at most 3e-3"
    )
    warmup: int = knobs.warmup(5, high=100)
    steps: int = knobs.steps(100, high=1000)
    probe: int = knobs.probe(50)

    def __post_init__(self):
        super().__post_init__()
        self.lesson()  # its ranges hold too
        if self.method != "full":
            try:
                adapters.check(self.rank, self.init, self.method == "qlora")
            except adapters.BadAdapter as e:
                raise BadKnob(str(e)) from None

    def lesson(self) -> Experiment:
        """The experiment that does the teaching, with its own defaults for all that is not a knob here."""
        return registry.get(self.task)(lr=self.lr, warmup=self.warmup, steps=self.steps, probe=self.probe)

    def recipe(self, loaded, seed, texts=None):
        """The task's own recipe; where it reads its probes, also what was learnt, what was kept and what it
        costs.
        """
        # a base has never read most of the special tokens
        tokens = sorted(loaded.tok.added_tokens_decoder) if self.tokens == "special" else ()
        settings = dict(rank=self.rank, alpha=self.alpha, targets=self.targets, init=self.init, tokens=tokens)
        loaded = wrapped(loaded, self.method, seed, self.scheme, variant=self.variant, **settings)
        task, price = self.lesson().recipe(loaded, seed), cost(loaded.model)
        skill, kept = (
            taught(self.task, loaded.tok),
            self.kept(loaded.tok),
        )  # the task has given it its template

        def read(step):
            found = task.probe(step) | {"skill": skill(loaded.model)}
            return found | probes.read(loaded.model, kept) | price

        return replace(task, probe=Read(read), partly=True)

    def kept(self, tok):
        """What the base knew, in the plain form of its pretraining, which no task trains."""
        general = corpora.general(1, split="test")
        return {"people": plain(tok, Census()), "sums": plain(tok, Sums(("add",)))} | {
            "general_loss": probes.text_rows(tok, [next(general) for _ in range(96)])
        }


def plain(tok, world):
    """Held-out problems of a world as 'Question: …\\nAnswer: ….', whatever template the tokenizer has."""
    problems = world.problems(HELD, seed=SEED)
    return probes.batches([chat.continuation(tok, chat.plain(p.messages), f" {p.answer}.") for p in problems])


def taught(task: str, tok):
    """model -> share of held-out problems of the task's own kind done as it teaches."""
    if (
        task == "grpo"
    ):  # sampled and scored: a policy may come to write its answers in another form than the demonstrations'
        return lambda model: (
            evaluate(model, tok, Sums(("add",), digits=DIGITS), n=HELD, seed=SEED, max_new=LONGEST).accuracy
        )
    if task == "sft":
        rows = probes.question_rows(tok, LESSONS, LESSONS.problems(HELD, seed=SEED))
    else:
        pairs = talk.pairs(HELD, split="test", seed=SEED, kinds="style")
        rows = [
            chat.example(tok, p.messages, [{"role": "assistant", "content": f"Gladly: {p.problem.answer}."}])
            for p in pairs
        ]
    prepared = probes.batches(rows)
    return lambda model: probes.exact(model, prepared)
