"""dpo through DPOTrainer: our pairs, as tokens, in our order; the reference is a copy of the model as it is
in memory.
"""

from functools import cache

from ..chapters.c06_preferences.dpo import DPO
from ..errors import UserError
from ..models.frozen import frozen_copy
from ..tokens.batch import Batch
from ..train.recipe import Recipe
from .trainer import batches, optimizers, share

KIND = DPO
FIXED = {"train_sampling_strategy": "sequential", "max_length": None}
LOSSES = {
    "dpo": "sigmoid",
    "nll_chosen": "sft",
}  # our objectives by TRL's names; a weighted sum of them is a list with weights
DIALS = {  # knob -> TRL's settings
    "beta": lambda k: {"beta": k.beta},
    "nll": lambda k: losses({"dpo": 1.0, "nll_chosen": k.nll}),
    "steps": lambda k: {"max_steps": k.steps},
    "batch": lambda k: {"per_device_train_batch_size": share(k.batch, "--batch")},
}
LOGGED = {  # TRL's name -> ours
    "rewards/margins": "margin",
    "rewards/accuracies": "accuracy",
    "rewards/chosen": "chosen_reward",
    "rewards/rejected": "rejected_reward",
    "logps/chosen": "chosen_logprob",
    "logps/rejected": "rejected_logprob",
}


def logged(k: DPO) -> dict[str, str]:
    """What TRL logs beside the loss -> our name for it."""
    return LOGGED


def losses(weights: dict[str, float]) -> dict:
    """A weighted sum of our objectives in TRL's words."""
    return weighted({LOSSES[name]: weight for name, weight in weights.items()})


def weighted(weights: dict[str, float]) -> dict:
    """A weighted sum of TRL's losses as its settings; what has no weight is left out."""
    used = {name: weight for name, weight in weights.items() if weight}
    return {"loss_type": list(used), "loss_weights": list(used.values())}


@cache
def trainer_class():
    """DPOTrainer, which would tokenise messages, with the tokens that it is given."""
    from trl import DPOTrainer

    class Tokenised(DPOTrainer):
        def _prepare_dataset(self, dataset, *_):
            return dataset

    return Tokenised


def build(k: DPO, recipe: Recipe, tok, seed: int, settings: dict):
    """The trainer, ready to train."""
    from datasets import Dataset
    from trl import DPOConfig

    data = Dataset.from_list([row for b in batches(recipe) for row in examples(b)])
    return trainer_class()(
        recipe.model,
        ref_model=frozen_copy(recipe.model),  # without one TRL reads the weights from disk again
        args=DPOConfig(**settings),
        train_dataset=data,
        processing_class=tok,
        optimizers=optimizers(recipe),
    )


def examples(batch: Batch) -> list[dict]:
    """A batch's pairs without their padding: prompt_ids, chosen_ids, rejected_ids. Raises UserError where the
    two have no prompt in common.
    """
    found = []
    for i in range(0, len(batch), 2):
        start, other = (int(batch.mask[j].argmax()) for j in (i, i + 1))
        if start != other or not batch.ids[i, :start].equal(batch.ids[i + 1, :start]):
            raise UserError(
                "--engine trl takes pairs of answers to one prompt, and this model's template writes two; use"
                " --engine lab"
            )
        sides = [batch.ids[j, start : int(batch.mask[j].nonzero().max()) + 1].tolist() for j in (i, i + 1)]
        found.append(
            {"prompt_ids": batch.ids[i, :start].tolist(), "chosen_ids": sides[0], "rejected_ids": sides[1]}
        )
    return found
