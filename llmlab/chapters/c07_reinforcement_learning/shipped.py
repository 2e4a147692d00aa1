"""What of this chapter is shipped: the sweeps behind its sliders, and the runs that its notebook draws over
the seeds.
"""

from ...lab.grid import Grid

SWEEPS = (
    Grid(
        "policy",
        alone={
            "reward_func": ("strict", "crash"),
            "advantage": ("group_norm", "group_mean", "leave_one_out", "no_baseline", "critic"),
            "clip": ("symmetric", "none"),
            "aggregation": ("sequence_mean", "token_mean", "fixed_length"),
            "kl_penalty": ("none", "reward", "k3"),
            "epochs": (1, 4),
        },
    ),
    Grid("retain", alone={"method": ("grpo", "rejection_sampling", "sft_any", "sft_one")}),
    Grid("agent", alone={"method": ("grpo", "sft_retry", "sft_gold", "sft_single")}),
)
RUNS = [("grpo", {})]
