"""Labels: what a knob is called in front of a reader: whole words, with the symbol of the papers."""

LABELS = {
    "lr": "learning rate",
    "row_lr": "learning rate of new rows",
    "practice_lr": "learning rate of practice",
    "tune_lr": "learning rate of SFT, DPO",
    "epsilon": "clip range ε",
    "beta": "KL penalty β",
    "kl_coef": "KL coefficient",
    "kl_penalty": "KL penalty: where",
    "lam": "GAE λ",
    "gamma": "SimPO margin γ",
    "nll": "NLL weight α",
    "smoothing": "label smoothing ε",
    "group": "samples a prompt K",
    "prompts": "prompts a step",
    "held": "held-out prompts",
    "k": "samples of pass@k",
    "temperature": "temperature T",
    "rank": "LoRA rank r",
    "alpha": "LoRA α",
    "targets": "adapted matrices",
    "warmup": "warm-up",
    "steps": "steps",
    "batch": "batch size",
    "probe": "read every",
    "replay": "replay share",
    "aggregation": "loss aggregation",
    "reward_func": "reward function",
    "prompt_weight": "weight of the prompt",
    "examples": "different examples",
    "op": "operation",
    "epochs": "epochs a batch",
    "staleness": "staleness of samples",
    "advantage": "advantage",
    "ratio": "importance ratio",
    "clip": "clipping",
    "groups": "groups of equal reward",
    "overlong": "overlong answers",
    "gate": "regression gate",
    "tolerance": "gate's tolerance",
}
IN_DPO = {"beta": "DPO β"}  # β stands before the log-ratio there


def label(experiment: str, knob) -> str:
    """'learning rate', 'clip range ε', 'warm-up (steps)'."""
    words = LABELS.get(knob.name, knob.name.replace("_", " "))
    if experiment in ("dpo", "prefer", "pairs", "online", "stages", "overopt"):
        words = IN_DPO.get(knob.name, words)
    unit = knob.unit if knob.unit and knob.unit not in words else ""
    return f"{words} ({unit})" if unit else words
