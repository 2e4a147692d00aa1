"""distill through TRL: given texts through GKDTrainer, the student's own through DistillationTrainer, and the
text alone through SFTTrainer.

beta means the same everywhere: 0 forward KL, 1 reverse KL, the generalised JS between. A temperature T other
than 1 means three things. Our loss divides both models' logits by T and multiplies the KL by T².
DistillationTrainer divides too, leaves T² out, and also samples at T. GKDTrainer only samples at T. So it is
refused.

GKDTrainer's `lmbda` is the share of batches that the student writes. With 0 it keeps to our texts. It is one
of TRL's experimental trainers; the stable DistillationTrainer always samples.
"""

from dataclasses import replace
from functools import partial
from itertools import islice

from ..chapters.c11_distillation.distill import Distill
from ..chapters.c11_distillation.teaching import LONGEST
from ..errors import UserError
from ..models.load import Loaded
from ..tokens import chat
from ..train.recipe import Recipe
from ..world.base import Problem, World
from . import grpo, sft
from .trainer import optimizers, share

KIND = Distill
FIXED: dict = {}  # the writer decides which trainer it is, and so what is always the same
SAMPLED = {name: grpo.FIXED[name] for name in ("shuffle_dataset", "top_p", "top_k", "chat_template_kwargs")}
# GKDTrainer divides by the tokens of all processes and then averages over these; so each divides by its own
GIVEN = sft.FIXED | {"lmbda": 0.0, "seq_kd": False, "average_tokens_across_devices": False}
TEXT_ALONE = {"loss_type": "nll"}


def writer(k: Distill) -> dict:
    """The settings of the trainer for who writes and what is learnt."""
    if k.writer == "student":
        return SAMPLED | {"max_completion_length": LONGEST}
    return GIVEN if k.loss == "kl" else sft.FIXED


def divergence(k: Distill, setting: dict) -> dict:
    """A setting of the KL; where the text alone is learnt, what is in its place."""
    return setting if k.loss == "kl" else TEXT_ALONE


DIALS = {  # knob -> TRL's settings
    "writer": writer,
    "loss": lambda k: divergence(k, {"beta": k.beta}),
    "beta": lambda k: divergence(k, {"beta": k.beta}),
    "temperature": lambda k: divergence(k, {"temperature": k.temperature}),
    "steps": lambda k: {"max_steps": k.steps},
    "batch": lambda k: {"per_device_train_batch_size": share(k.batch, "--batch")},
}
PASSED = {  # knob -> the object that it decides, or why there is none
    "size": ("model", "the student; teacher_model is our teacher"),
    "labels": ("", "only losses without a share for the text go through TRL"),
    "top_k": ("", "only losses over all tokens of the teacher go through TRL"),
}
LAB = "use --engine lab"
CANNOT = (
    (
        lambda k: k.loss == "token",
        (
            "--loss token rewards each sampled token, and TRL's stable trainers compare whole distributions;"
            f" {LAB}, or --loss kl --beta 1, which has the same gradient on average"
        ),
    ),
    (
        lambda k: k.loss == "labels" and k.writer == "student",
        (
            "--loss labels goes through TRL's SFTTrainer, which doesn't sample, so the student can't write;"
            f" {LAB}, or --writer teacher or data"
        ),
    ),
    (
        lambda k: k.loss == "dpo",
        (
            "--loss dpo goes through TRL's DPOTrainer, which llmlab run pairs --engine trl drives with pairs"
            f" of your own; {LAB}"
        ),
    ),
    (
        lambda k: k.top_k,
        (
            "TRL's trainers compare all tokens, and the top_k of their config is the sampler's;"
            f" {LAB}, or --top_k 0"
        ),
    ),
    (
        lambda k: k.labels,
        f"--labels mixes two losses, and TRL's distillation has one; {LAB}, or --labels 0",
    ),
    (
        lambda k: k.temperature != 1,
        (
            "--temperature softens both models in the lab's loss and multiplies it by T²; TRL's"
            " DistillationTrainer also samples at T and leaves T² out, and its GKDTrainer ignores T in the"
            f" loss; {LAB}, or --temperature 1"
        ),
    ),
)


def logged(k: Distill) -> dict[str, str]:
    """What TRL logs beside the loss -> our name for it: nothing that our objectives note."""
    return {}


def build(k: Distill, recipe: Recipe, tok, seed: int, settings: dict):
    """The trainer, ready to train. Raises UserError for texts or prompts that it cannot take."""
    if k.loss == "labels":
        return sft.build(k, recipe, tok, seed, settings)  # type: ignore[arg-type]
    return (on_policy if k.writer == "student" else off_policy)(k, recipe, tok, seed, settings)


def parts(recipe: Recipe) -> tuple[Loaded, Loaded, World, int]:
    """Student, teacher, world and seed: what Distill.recipe gives its stream."""
    stream: partial = recipe.stream  # type: ignore[assignment]
    return stream.args


def off_policy(k: Distill, recipe: Recipe, tok, seed: int, settings: dict):
    """GKDTrainer on our rows with our labels, in our order."""
    from datasets import Dataset
    from trl.experimental.gkd import GKDConfig, GKDTrainer
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    _, teacher, *_ = parts(recipe)
    texts = replace(k, loss="labels")  # the same batches without the teacher's column, which TRL computes
    every = list(islice(texts.stream(*parts(recipe), 0), k.steps))
    sft.check(every, k.batch)
    return GKDTrainer(
        recipe.model,
        teacher_model=teacher.model,
        args=GKDConfig(**settings),
        data_collator=DataCollatorForLanguageModeling(tok.pad_token_id or 0),
        train_dataset=Dataset.from_list([row for b in every for row in sft.examples(b)]),
        processing_class=tok,
        optimizers=optimizers(recipe),
    )


def on_policy(k: Distill, recipe: Recipe, tok, seed: int, settings: dict):
    """DistillationTrainer on our problems in our order; it samples the answers itself."""
    from datasets import Dataset
    from trl import DistillationConfig, DistillationTrainer

    model, (_, teacher, world, _) = recipe.model, parts(recipe)
    asked = k.asked(world, seed)
    check(tok, asked)
    turns = [k.turn(asked, seed, step) for step in range(k.steps)]
    if any(len(turn) != k.batch for turn in turns):
        raise UserError(f"--engine trl takes {k.batch} problems at every step, and here are fewer; {LAB}")
    model.generation_config.eos_token_id = sorted(chat.stop_ids(tok))  # where TRL looks for what ends it
    return DistillationTrainer(
        model,
        teacher_model=teacher.model,
        args=DistillationConfig(seed=seed, **settings),
        train_dataset=Dataset.from_list([{"prompt": prompt(tok, p)} for turn in turns for p in turn]),
        processing_class=tok,
        optimizers=optimizers(recipe),
    )


def prompt(tok, problem: Problem):
    """A problem as TRL takes it: messages, or text if the tokenizer has no template."""
    return list(problem.messages) if tok.chat_template else chat.plain(problem.messages)


def check(tok, asked: list[Problem]) -> None:
    """Does TRL make our ids of every prompt? Raises UserError."""
    if any(p.meta.get("tools") for p in asked):
        raise UserError(f"the tools of your own conversations are not passed on to TRL; {LAB}")
    for p in asked:
        grpo.check(tok, p, prompt(tok, p))
