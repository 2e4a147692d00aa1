"""grpo through GRPOTrainer: our problems in our order, our checker; TRL samples, compares the samples of a
group, and makes the steps.
"""

from ..chapters.c07_reinforcement_learning.grpo import GRPO, longest
from ..errors import UserError
from ..tokens import chat
from ..train.recipe import Recipe
from ..world.base import Problem, World
from ..world.sums import Sums
from .trainer import optimizers, share

KIND = GRPO
# the dials of the family (methods.policy, methods.parts) in TRL's words: dial -> our part -> TRL's settings
RATIO = {
    "token_ratio": {"importance_sampling_level": "token"},
    "sequence_ratio": {"importance_sampling_level": "sequence"},
}
AGGREGATION = {
    "sequence_mean": {"loss_type": "grpo"},
    "token_mean": {"loss_type": "dapo"},
    "fixed_length": {"loss_type": "dr_grpo"},
}
ADVANTAGE = {"group_norm": {"scale_rewards": "group"}, "group_mean": {"scale_rewards": "none"}}
KL = {"none": {"beta": 0.0}}
FIXED = {
    **RATIO["token_ratio"],
    **AGGREGATION["sequence_mean"],
    **ADVANTAGE["group_norm"],
    **KL["none"],
    "shuffle_dataset": False,
    "top_p": 1.0,
    "top_k": 0,
    "chat_template_kwargs": {"enable_thinking": False},
}
DIALS = {  # knob -> TRL's settings
    "steps": lambda k: {"max_steps": k.steps},
    "prompts": lambda k: {
        "per_device_train_batch_size": share(k.prompts * k.group, "--prompts times --group, that is")
    },
    "group": lambda k: {"num_generations": k.group},
    "temperature": lambda k: {"temperature": k.temperature},
    "epsilon": lambda k: {"epsilon": k.epsilon, "epsilon_high": k.epsilon},
    "epochs": lambda k: {"num_iterations": k.epochs},
    "digits": lambda k: {"max_completion_length": longest(k)},
}
LOGGED = {
    "reward": "reward",
    "frac_reward_zero_std": "frac_reward_zero_std",
    "entropy": "entropy",
    "clip_ratio/region_mean": "clip_fraction",
}


def logged(k: GRPO) -> dict[str, str]:
    """What TRL logs beside the loss -> our name for it."""
    return LOGGED


def build(k: GRPO, recipe: Recipe, tok, seed: int, settings: dict):
    """The trainer, ready to train."""
    world = Sums((k.op,), digits=k.digits)
    asked = problems(world, k, seed)
    return assemble(recipe, tok, seed, settings, asked, reward(tok, world, asked))


def assemble(recipe: Recipe, tok, seed: int, settings: dict, asked: list[Problem], score):
    """GRPOTrainer on these problems, paid by `score`. Raises UserError where TRL would give the model another
    prompt than ours.
    """
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model = recipe.model
    rows = [
        {"prompt": list(p.messages) if tok.chat_template else chat.plain(p.messages), "number": i}
        for i, p in enumerate(asked)
    ]
    check(tok, asked[0], rows[0]["prompt"])
    model.generation_config.eos_token_id = sorted(
        chat.stop_ids(tok)
    )  # this is where TRL looks for what ends an answer
    return GRPOTrainer(
        model,
        reward_funcs=score,
        args=GRPOConfig(seed=seed, **settings),
        train_dataset=Dataset.from_list(rows),
        processing_class=tok,
        optimizers=optimizers(recipe),
    )


def problems(world: World, k: GRPO, seed: int) -> list[Problem]:
    """What the collector would ask, batch after batch."""
    batches = range(-(-k.steps // k.epochs))
    return [p for i in batches for p in world.problems(k.prompts, split="train", seed=seed * 1_000_003 + i)]


def reward(tok, world: World, asked: list[Problem]):
    """The world's score of each answer, as TRL asks for it; read off the tokens, as rollout.play does."""
    stops = chat.stop_ids(tok)

    def score(completion_ids, number, **_) -> list[float]:
        texts = [tok.decode(ids[:-1] if ids[-1] in stops else ids) for ids in completion_ids]
        return [world.score(asked[i], text).reward for i, text in zip(number, texts)]

    return score


def check(tok, problem: Problem, given) -> None:
    """Does TRL make our ids of a prompt? Raises UserError."""
    if tok.chat_template:
        theirs = tok.apply_chat_template(
            given, add_generation_prompt=True, tokenize=True, return_dict=True, enable_thinking=False
        )["input_ids"]
    else:
        theirs = tok(given)["input_ids"]
    if theirs != chat.prompt(tok, problem.messages):
        raise UserError("TRL adds tokens to this model's prompts that the lab leaves out; use --engine lab")
