"""policy through GRPOTrainer: the dials in TRL's words; our problems in our order, our verifier.

Which of TRL's aggregations (loss_type) is ours:

    sequence_mean  "grpo"     the mean of each answer's mean
    fixed_length   "dr_grpo"  the sum over (answers · max_completion_length)
    token_mean     "dapo"     the mean over the tokens of all processes and of all batches sampled together:
    ours, if that is one batch
                   "bnpo"     the mean over the tokens of each process's part of the batch: ours in one
                   process, also for batches sampled ahead

"cispo" caps the weight at epsilon_high itself, not 1 above it, and always aggregates as "dapo" does. The KL
penalty k3 is ours without the factor that use_bias_correction_kl puts there. leave_one_out is group_mean
times n / (n - 1), that is, with rewards of this weight. Of batches sampled ahead TRL shuffles the answers
before it makes batches of them again.
"""

from ..chapters.c07_reinforcement_learning.policy import ROUNDS, Policy
from ..chapters.c07_reinforcement_learning.reader import SINCE
from ..tokens import chat
from ..train.recipe import Recipe
from ..world.arena import REWARD_FUNCS, Game
from ..world.base import Problem
from . import grpo
from .trainer import share

KIND = Policy
FIXED = {name: grpo.FIXED[name] for name in ("shuffle_dataset", "top_p", "top_k", "chat_template_kwargs")}
RATIO = {"token": grpo.RATIO["token_ratio"], "sequence": grpo.RATIO["sequence_ratio"]}
ADVANTAGE = {
    "group_norm": lambda k: grpo.ADVANTAGE["group_norm"],
    "group_mean": lambda k: grpo.ADVANTAGE["group_mean"],
    "leave_one_out": lambda k: grpo.ADVANTAGE["group_mean"] | {"reward_weights": [k.group / (k.group - 1)]},
}
INF = float("inf")
CLIP = {  # (what the knob epsilon becomes, what the knob clip becomes)
    "none": lambda k: ({"epsilon": INF}, {"epsilon_high": INF}),
    "symmetric": lambda k: ({"epsilon": k.epsilon}, {"epsilon_high": k.epsilon}),
    **{
        clip: lambda k: ({"epsilon": k.epsilon}, {"epsilon_high": k.dials().high})
        for clip in ("higher", "gspo")
    },
    "capped": lambda k: ({"epsilon_high": 1 + k.epsilon}, {"loss_type": "cispo"}),
}


def loss_type(k: Policy) -> dict:
    """TRL's name for the aggregation and, where the weight is capped, for the clip."""
    if k.clip == "capped":
        return {"loss_type": "cispo"}
    return (
        {"loss_type": "bnpo"}
        if k.aggregation == "token_mean" and k.staleness
        else grpo.AGGREGATION[k.aggregation]
    )


def weight(k: Policy) -> dict:
    """The weight of the KL penalty: without one it is 0, and TRL makes no reference."""
    return {"beta": k.beta if k.kl_penalty == "k3" else 0.0}


DIALS = {  # knob -> TRL's settings
    "task": lambda k: {"max_completion_length": k.game().longest},
    "advantage": lambda k: ADVANTAGE[k.advantage](k),
    "ratio": lambda k: RATIO[k.ratio],
    "clip": lambda k: CLIP[k.clip](k)[1],
    "epsilon": lambda k: CLIP[k.clip](k)[0],
    "aggregation": loss_type,
    "kl_penalty": lambda k: {"use_bias_correction_kl": False} | weight(k),
    "beta": weight,
    "epochs": lambda k: {"num_iterations": k.epochs},
    "staleness": lambda k: {"steps_per_generation": k.staleness + 1},
    "prompts": lambda k: {
        "per_device_train_batch_size": share(k.prompts * k.group, "--prompts times --group, that is")
    },
    "group": lambda k: {"num_generations": k.group},
    "temperature": lambda k: {"temperature": k.temperature},
    "steps": lambda k: {"max_steps": k.steps},
}
PASSED = {  # knob -> the object that it decides, or why there is none
    "reward_func": ("reward_funcs", "our verifier"),
    "lam": ("", "read by a critic alone"),
    "source": ("", "only own samples go through TRL"),
    "reset": ("", "only a reference that stays goes through TRL"),
    "groups": ("", "only all groups go through TRL"),
    "overlong": ("", "only rewards without this penalty go through TRL"),
}
LAB = "use --engine lab"
CANNOT = (
    (
        lambda k: k.source == "gold",
        (
            f"--source gold samples nothing, so TRL's GRPOTrainer has nothing to do; {LAB}, or llmlab run sft"
            " --engine trl"
        ),
    ),
    (
        lambda k: k.advantage == "critic",
        f"TRL has no trainer with a critic any more; {LAB}, or --advantage group_norm",
    ),
    (
        lambda k: k.advantage == "no_baseline",
        f"TRL always compares with the group; {LAB}, or --advantage group_mean",
    ),
    (
        lambda k: k.ratio == "none",
        (
            f"TRL always has a ratio; {LAB}, or --ratio token --clip none, which has the same gradient on"
            " fresh samples"
        ),
    ),
    (
        lambda k: k.kl_penalty == "reward",
        f"TRL's GRPOTrainer has its KL penalty in the loss; {LAB}, or --kl_penalty k3",
    ),
    (
        lambda k: k.kl_penalty in ("k1", "k2"),
        f"the KL penalty of TRL's GRPOTrainer is k3; {LAB}, or --kl_penalty k3",
    ),
    (lambda k: k.reset, f"--reset is not passed on to TRL; {LAB}, or --reset 0"),
    (
        lambda k: k.groups != "all",
        f"TRL keeps groups of equal rewards, and samples no others for them; {LAB}, or --groups all",
    ),
    (
        lambda k: k.overlong == "on",
        f"the penalty of --overlong on is not passed on to TRL; {LAB}, or --overlong off",
    ),
    (
        lambda k: k.game().turns > 1,
        (
            f"the tool calls of --task chain and faults are not passed on to TRL; {LAB}, or a task of one"
            " turn, such as sums"
        ),
    ),
    (
        lambda k: k.clip == "capped" and k.aggregation != "token_mean",
        f"TRL caps weights under a mean over all tokens only; {LAB}, or --aggregation token_mean",
    ),
    (
        lambda k: k.clip == "capped" and k.staleness,
        (
            "TRL divides a capped loss by the tokens of all batches sampled ahead, and the lab by those of"
            f" the batch; {LAB}, or --staleness 0"
        ),
    ),
    (
        lambda k: k.staleness and k.epochs > 1,
        (
            "TRL goes through all batches sampled ahead before it begins again, and the lab uses up each in"
            f" turn; {LAB}, or --epochs 1 or --staleness 0"
        ),
    ),
)
UNREAD = (*SINCE, "samples")  # means over the steps that our objective notes
LOGGED = {
    "rewards/score/mean": "reward",
    "frac_reward_zero_std": "frac_reward_zero_std",
    "entropy": "entropy",
    "clip_ratio/region_mean": "clip_fraction",
}


def logged(k: Policy) -> dict[str, str]:
    """What TRL logs beside the loss -> our name for it. Its means are over all answers, ours over those with
    a signal.
    """
    return LOGGED


def build(k: Policy, recipe: Recipe, tok, seed: int, settings: dict):
    """The trainer, ready to train, with the model as it is in memory for its reference."""
    game = k.game()
    asked = problems(game, k, seed)
    trainer = grpo.assemble(recipe, tok, seed, settings, asked, reward(tok, game, asked, k.reward_func))
    if trainer.ref_model is not None:
        trainer.ref_model.load_state_dict(recipe.model.state_dict())  # TRL has read it from disk
    return trainer


def problems(game: Game, k: Policy, seed: int) -> list[Problem]:
    """What the collector would ask, batch after batch, up to the last one that is sampled."""
    batches = -(-k.steps // k.block) * (k.staleness + 1)
    return [
        p
        for i in range(batches)
        for p in game.world.problems(k.prompts, split="train", seed=(seed * 1_000_003 + i) * ROUNDS)
    ]


def reward(tok, game: Game, asked: list[Problem], reward_func: str):
    """What the verifier in use pays for each answer, as TRL asks for it; read off the tokens, as rollout.play
    does.
    """
    stops, rule = chat.stop_ids(tok), REWARD_FUNCS[reward_func]

    def score(completion_ids, number, **_) -> list[float]:
        texts = [tok.decode(ids[:-1] if ids[-1] in stops else ids) for ids in completion_ids]
        problems = [asked[i] for i in number]
        return [
            rule(p, game.world.score(p, text), len(ids) / game.longest)
            for p, text, ids in zip(problems, texts, completion_ids)
        ]

    return score
