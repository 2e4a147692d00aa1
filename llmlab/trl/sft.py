"""What imitates, through SFTTrainer: our rows with our labels, in our order."""

from ..errors import UserError
from ..lab.supervised import Supervised
from ..tokens import collate
from ..tokens.batch import Batch
from ..train.recipe import Recipe
from .trainer import batches, optimizers, share

KIND = Supervised
FIXED = {"train_sampling_strategy": "sequential", "max_length": None}
DIALS = {  # knob -> TRL's settings
    "steps": lambda k: {"max_steps": k.steps},
    "batch": lambda k: {"per_device_train_batch_size": share(k.batch, "--batch")},
}


def logged(k: Supervised) -> dict[str, str]:
    """What TRL logs beside the loss -> our name for it."""
    return {}


def build(k: Supervised, recipe: Recipe, tok, seed: int, settings: dict):
    """The trainer, ready to train. Raises UserError for rows that it cannot take."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    every = batches(recipe)
    check(every, k.batch)  # type: ignore[attr-defined]
    data = Dataset.from_list([row for b in every for row in examples(b)])
    return SFTTrainer(
        recipe.model,
        SFTConfig(**settings),
        train_dataset=data,
        processing_class=tok,
        optimizers=optimizers(recipe),
    )


def check(batches: list[Batch], size: int) -> None:
    """Can TRL train on these? Raises UserError."""
    if any(b.given for b in batches):
        raise UserError("--engine trl takes a conversation a row; packed rows need --engine lab")
    if any(len(b) != size for b in batches):
        raise UserError(
            f"--engine trl takes {size} rows at every step, and here some have fewer; use --engine lab"
        )


def examples(batch: Batch) -> list[dict]:
    """A batch's rows without their padding: input_ids, and labels with -100 where nothing is imitated."""
    ends = [
        int(row.nonzero().max()) + 1 if row.any() else 1 for row in batch.mask
    ]  # what follows the last label decides nothing
    labels = collate.labels(batch.ids, batch.mask)
    return [
        {"input_ids": i[:e].tolist(), "labels": t[:e].tolist()} for i, t, e in zip(batch.ids, labels, ends)
    ]
