"""Renamed: what knobs, their values and metrics were called before. Stored records are brought to today's
words by this table (llmlab build migrate), and the command line says the new name to whoever types the old
one.
"""

from typing import Iterable

from . import registry

# experiment -> {old: new}
KNOBS: dict[str, dict[str, str]] = {
    "cpt": {"kl": "kl_coef"},
    "burst": {"kl": "kl_coef"},
    "midtrain": {"rule": "method"},
    "chats": {"cut": "truncation"},
    "traces": {"cut": "truncation"},
    "dpo": {"pairs": "task"},
    "online": {"pairs": "pairing"},
    "overopt": {"way": "method"},
    "grpo": {"clip": "epsilon"},
    "policy": {
        "paid": "reward_func",
        "range": "epsilon",
        "leash": "kl_penalty",
        "stale": "staleness",
        "tries": "k",
    },
    "retain": {"way": "method"},
    "agent": {"way": "method", "narrow": "cold_start"},
}
# experiment -> today's knob -> {old: new}
VALUES: dict[str, dict[str, dict[str, str]]] = {
    "topology": {"loss": {"pairs": "dpo"}},
    "policy": {"reward_func": {"form": "format", "long": "length"}},
    "retain": {
        "method": {"one": "sft_one", "any": "sft_any", "own": "rejection_sampling", "reward": "grpo"},
    },
    "agent": {
        "method": {"single": "sft_single", "gold": "sft_gold", "retry": "sft_retry", "reward": "grpo"},
    },
}
STEPS = {"kl_old": "approx_kl", "no_signal": "frac_reward_zero_std", "pull": "kl_loss"}  # in a step's row
# a probe's metric that had the name of a step's own figure -> beside which metric it stands
BESIDE = {"policy": {"kl": "accuracy"}, "overopt": {"kl": "proxy"}}
METRICS: dict[str, dict[str, str]] = {
    "curate": {"known": "general_recall"},
    "policy": {
        "sampled": "pass_at_1",
        "covered": "pass_at_k",
        "paid": "held_reward",
        "surprise": "held_entropy",
        "known": "general_recall",
        "kl": "held_kl",
        "practised": "train_accuracy",
        "cut": "clip_fraction_mean",
        "aged": "approx_kl_mean",
        "idle": "frac_reward_zero_std_mean",
    },
    "overopt": {"kl": "held_kl"},
    "retain": {"known": "general_recall"},
    "variance": {"sampled": "pass_at_1"},
    "agent": {
        "plain": "success",
        "sampled": "success_sampled",
        "mended": "recovery",
        "mended_sampled": "recovery_sampled",
        "known": "general_recall",
    },
}
# arms of the ledger whose label is a key of the table of learning rates
ARMS = {
    "one, until 60 %": "sft_one, until 60 %",
    "own, until 60 %": "rejection_sampling, until 60 %",
    "reward, until 60 %": "grpo, until 60 %",
}
DRILLS = {"07-leash": "07-kl-penalty"}  # by which reviews are kept


def knobs(experiment: str, settings: dict) -> dict:
    """Settings in today's words; those of a study too."""
    if "of" in settings:
        return settings | {"knobs": knobs(settings["of"], settings["knobs"])}
    named = {KNOBS.get(experiment, {}).get(k, k): v for k, v in settings.items()}
    values = VALUES.get(experiment, {})
    return {k: values.get(k, {}).get(v, v) if isinstance(v, str) else v for k, v in named.items()}


def old_knobs(experiment: str, settings: dict) -> dict:
    """Today's settings in the old words, by which records were named."""
    if "of" in settings:
        return settings | {"knobs": old_knobs(settings["of"], settings["knobs"])}
    names, values = _turned(KNOBS.get(experiment, {})), VALUES.get(experiment, {})
    return {
        names.get(k, k): _turned(values.get(k, {})).get(v, v) if isinstance(v, str) else v
        for k, v in settings.items()
    }


def metric(experiment: str, name: str) -> str:
    """Today's name of a metric."""
    return (STEPS | METRICS.get(experiment, {})).get(name, name)


def old_metric(experiment: str, name: str) -> str:
    """The old name of a probe's metric."""
    return _turned(METRICS.get(experiment, {})).get(name, name)


def rows(experiment: str, found: Iterable[dict]) -> list[dict]:
    """Rows of a run with today's metrics."""
    return [
        {metric(experiment, n) if _probed(experiment, n, row) else n: value for n, value in row.items()}
        for row in found
    ]


def _probed(experiment: str, name: str, row: dict) -> bool:
    """Is it the probe's reading, where a step's own figure may have the name too?"""
    beside = BESIDE.get(experiment, {}).get(name)
    return beside is None or beside in row and METRICS[experiment][name] not in row


def hint(experiment: str, flag: str, value: str = "") -> str:
    """In a sentence, what an old flag or value is called today; nothing where it is not old."""
    new = KNOBS.get(experiment, {}).get(flag)
    if new and new != flag and flag not in {k.name for k in registry.get(experiment).knobs()}:
        return f"--{flag} is called --{new} now"
    now = VALUES.get(experiment, {}).get(flag, {}).get(value)
    return f"--{flag} {value} is called --{flag} {now} now" if now else ""


def _turned(names: dict[str, str]) -> dict[str, str]:
    return {new: old for old, new in names.items()}
