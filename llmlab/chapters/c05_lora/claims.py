"""Claims of chapter 05: what adapters of a low rank can do, what they cost, and a base of 4 bits under
them.
"""

from dataclasses import replace

from ...ledger.claims import NATS, Arm, Claim, Contrast, contrast, gain
from ...ledger.rates import Trials
from . import checks, claims_serving

FEW, MANY = 100, 400  # names with codes: 1.3 and 5.3 kbit to learn
LONG = 1600  # steps
ALIKE = dict(attention=15, mlp=10, both=6)  # ranks at which the three have the same 61,440 parameters
EXAM = ("people", "json", "refusals", "sums")  # prompts that tenants of one chat model share
LENGTH = {"sft": 100, "dpo": 40, "grpo": 30}  # steps
# The best of each arm's trials, as lora.rates and codes.rates in data/sweeps have them (a test says so).
RATES: dict[str, float] = {
    "all weights, 100 codes": 0.004,
    "all weights, 400 codes": 0.001,
    "rank 1, 400 codes": 0.004,
    "rank 8, 100 codes": 0.008,
    "rank 8, 400 codes": 0.004,
    "adapters on attention, rank 15, 400 codes": 0.004,
    "adapters on mlp, rank 10, 400 codes": 0.004,
    "adapters on both, rank 6, 400 codes": 0.004,
    "sft, all weights": 0.002,
    "dpo, all weights": 0.001,
    "sft, rank 8": 0.005,
    "dpo, rank 8": 0.005,
    "sft, rank 8 on NF4": 0.005,
    "dpo, rank 8 on NF4": 0.005,
    "grpo, all weights": 0.0003,
    "grpo, rank 1": 0.003,
    "grpo, rank 1 on NF4": 0.003,
}


def codes(label: str, people: int, **knobs) -> Arm:
    """An arm of learning codes by heart."""
    return _tuned(label, "codes", {"people": people, "probe": 400} | knobs)


def taught(label: str, task: str, **knobs) -> Arm:
    """An arm of one of the three tasks. Only SFT starts from a base that has never used the chat's own
    tokens.
    """
    return _tuned(
        label,
        "lora",
        {"task": task, "tokens": "special" if task == "sft" else "none", "steps": LENGTH[task], "probe": 500}
        | knobs,
    )


def _tuned(label: str, experiment: str, knobs: dict) -> Arm:
    return Arm(label, experiment, knobs | ({"lr": RATES[label]} if label in RATES else {}))


# 128 readings of each code, whether there are 100 of them or 400
FULL_FEW, EIGHT_FEW = codes("all weights, 100 codes", FEW, method="full"), codes("rank 8, 100 codes", FEW)
FULL_MANY = codes("all weights, 400 codes", MANY, method="full", steps=LONG)
ONE_MANY, EIGHT_MANY = (codes(f"rank {r}, 400 codes", MANY, rank=r, steps=LONG) for r in (1, 8))
AT = {
    where: codes(f"adapters on {where}, rank {r}, 400 codes", MANY, targets=where, rank=r)
    for where, r in ALIKE.items()
}  # 32 readings of each code
RANK = {"sft": 8, "dpo": 8, "grpo": 1}
FULL = {task: taught(f"{task}, all weights", task, method="full") for task in LENGTH}
LORA = {task: taught(f"{task}, rank {r}", task, rank=r) for task, r in RANK.items()}
NF4 = {task: taught(f"{task}, rank {r} on NF4", task, method="qlora", rank=r) for task, r in RANK.items()}
INT4 = {
    task: replace(a, label=f"{task} on int4", knobs=a.knobs | {"scheme": "int4"}) for task, a in NF4.items()
}  # at the rate of NF4
TENANT = {task: replace(LORA[task], exam=EXAM) for task in ("dpo", "grpo")}

# four rates for each arm, placed by an earlier look at the same seed so that the best is not at the edge, or
# is the highest allowed
RATES_TRIED = (
    Trials("kilobits", (1e-3, 2e-3, 4e-3, 8e-3), (FULL_FEW,)),
    Trials("kilobits", (2e-3, 4e-3, 8e-3, 1.6e-2), (EIGHT_FEW, *AT.values())),
    Trials("skill", (3e-4, 1e-3, 2e-3, 4e-3), (FULL["sft"], FULL["dpo"])),
    Trials(
        "skill",
        (1e-3, 3e-3, 5e-3, 1e-2),
        tuple(arms[task] for arms in (LORA, NF4) for task in ("sft", "dpo")),
    ),
    Trials("skill", (1e-4, 3e-4, 1e-3, 3e-3), (FULL["grpo"],)),
    Trials("skill", (3e-4, 1e-3, 2e-3, 3e-3), (LORA["grpo"], NF4["grpo"])),  # the highest that GRPO takes
)
LONG_TRIED = (
    Trials("kilobits", (5e-4, 1e-3, 2e-3, 4e-3), (FULL_MANY,)),
    Trials("kilobits", (2e-3, 4e-3, 8e-3, 1.6e-2), (ONE_MANY, EIGHT_MANY)),
)

KBIT, MB = "kbit", "MB"
MATCHED = (
    "steps, batches, seed (data order); four rates tried for each arm at another seed, on the same held-out"
    " problems"
)
READ = (
    "readings of each code (128), batches, seed (data order); four rates tried for each arm at another seed"
)

TRIALS = {"lora": RATES_TRIED, "codes": LONG_TRIED}

CLAIMS = (
    Claim(
        "C058",
        "Adapters learn what all weights learn, without updating them, and with less computation a step.",
        "A 3",
        "measured",
        "05",
        "Biderman et al.: LoRA learns less and forgets less; Schulman et al.: it equals full fine-tuning as"
        " long as the data fit into its capacity.",
        ("biderman_2024", "schulman_2025"),
        contrasts=(
            contrast(
                "100 codes recalled, rank 8 against all weights",
                "same",
                EIGHT_FEW("recalled"),
                FULL_FEW("recalled"),
                0.05,
            ),
            contrast(
                "400 codes recalled, rank 8 against all weights",
                "same",
                EIGHT_MANY("recalled"),
                FULL_MANY("recalled"),
                0.05,
            ),
            contrast(
                "computation of a step",
                "less",
                EIGHT_FEW("gflop"),
                FULL_FEW("gflop"),
                0.1,
                "GFLOP",
                counts=False,
            ),
            contrast(
                "forgets less: loss on general text after 100 codes",
                "less",
                EIGHT_FEW("general_loss"),
                FULL_FEW("general_loss"),
                0.1,
                NATS,
                counts=False,
            ),
            contrast(
                "memory of training",
                "less",
                EIGHT_FEW("megabytes"),
                FULL_FEW("megabytes"),
                1.0,
                MB,
                counts=False,
            ),
        ),
        first=30,
        matched=READ,
        knob="how much there is to learn",
    ),
    Claim(
        "C059",
        "A higher rank learns more in the same steps, and takes more memory.",
        "A 3.1.2",
        "measured",
        "05",
        "Schulman et al.: below its capacity a rank loses nothing; about 2 bits a parameter can be stored at"
        " best.",
        ("lora_2021", "biderman_2024", "schulman_2025"),
        contrasts=(
            contrast(
                "bits of 400 codes stored, rank 8 against 1",
                "more",
                EIGHT_MANY("kilobits"),
                ONE_MANY("kilobits"),
                0.25,
                KBIT,
            ),
            contrast(
                "memory of training, rank 8 against 1",
                "more",
                EIGHT_MANY("megabytes"),
                ONE_MANY("megabytes"),
                0.1,
                MB,
                counts=False,
            ),
            Contrast(
                "rank 8 falls behind with what there is to learn: 400 codes against 100",
                (
                    FULL_MANY("kilobits"),
                    -EIGHT_MANY("kilobits"),
                    -FULL_FEW("kilobits"),
                    EIGHT_FEW("kilobits"),
                ),
                "more",
                0.25,
                KBIT,
                counts=False,
            ),
            contrast(
                "computation of a step, rank 8 against 1",
                "more",
                EIGHT_MANY("gflop"),
                ONE_MANY("gflop"),
                0.01,
                "GFLOP",
                counts=False,
            ),
            contrast(
                "codes recalled, rank 8 against 1",
                "more",
                EIGHT_MANY("recalled"),
                ONE_MANY("recalled"),
                0.05,
                counts=False,
            ),
        ),
        first=30,
        matched=READ,
    ),
    Claim(
        "C060",
        "Where the adapters sit matters: on the MLP they take in more than on attention, and on both as much"
        " as on the MLP.",
        "A 3.1.2",
        "measured",
        "05",
        "Schulman et al.: attention alone is worse at equal parameters, the MLP alone as good as all layers.",
        ("schulman_2025",),
        contrasts=(
            contrast(
                "bits stored, MLP against attention",
                "more",
                AT["mlp"]("kilobits"),
                AT["attention"]("kilobits"),
                0.25,
                KBIT,
            ),
            contrast(
                "bits stored, both against attention",
                "more",
                AT["both"]("kilobits"),
                AT["attention"]("kilobits"),
                0.25,
                KBIT,
            ),
            contrast(
                "bits stored, both against MLP",
                "same",
                AT["both"]("kilobits"),
                AT["mlp"]("kilobits"),
                0.25,
                KBIT,
            ),
            contrast(
                "codes recalled, MLP against attention",
                "more",
                AT["mlp"]("recalled"),
                AT["attention"]("recalled"),
                0.05,
                counts=False,
            ),
        ),
        matched="61,440 trained parameters; " + MATCHED,
        depends="targets",
        knob="the matrices that are compared",
    ),
    Claim(
        "C061",
        "An adapter can be merged for deployment: the merged model is the unmerged one up to rounding, but"
        " not in 4 bits.",
        "A 3.1.2",
        "exact",
        "05",
        "Closed form: W x + s B A x = (W + s B A) x.",
        check=checks.merged_is_unmerged,
    ),
    Claim(
        "C062",
        "A base in 4 bits suffices under adapters of higher precision.",
        "A 3.1.3",
        "measured",
        "05",
        "Dettmers et al.: NF4 with adapters matches 16 bits; at a width of 128 the rounding is relatively"
        " larger.",
        ("qlora_2023",),
        contrasts=(
            *(
                contrast(
                    f"{task}: skill on NF4 against fp32",
                    "same",
                    NF4[task]("skill"),
                    LORA[task]("skill"),
                    0.02,
                )
                for task in LENGTH
            ),
            contrast(
                "sft: skill on NF4 against int4",
                "more",
                NF4["sft"]("skill"),
                INT4["sft"]("skill"),
                0.02,
                counts=False,
            ),
            contrast(
                "what 4 bits alone cost: loss on general text before training",
                "more",
                NF4["sft"]("general_loss", "start"),
                LORA["sft"]("general_loss", "start"),
                0.005,
                NATS,
                counts=False,
            ),
            contrast(
                "memory of training",
                "less",
                NF4["sft"]("megabytes"),
                LORA["sft"]("megabytes"),
                1.0,
                MB,
                counts=False,
            ),
        ),
        matched=MATCHED,
        knob="the task",
    ),
    Claim(
        "C063",
        "One base serves many adapters: a tenant more costs an adapter, not a model.",
        "A 3.1.4",
        "exact",
        "05",
        "Counting of bytes; how fast such a base serves is another question.",
        check=checks.one_base_many_adapters,
    ),
    Claim(
        "C065",
        "An adapter makes the model worse at prompts that it was not trained on.",
        "A 3.1",
        "measured",
        "05",
        "Forgetting under adapters is smaller than under full fine-tuning in published comparisons, and not"
        " zero.",
        ("biderman_2024",),
        contrasts=(
            gain("codes by heart: questions about known people", EIGHT_FEW, "people", "less", 0.05),
            gain("polite answers (DPO): unsafe requests refused", TENANT["dpo"], "refusals", "less", 0.02),
            gain("polite answers (DPO): asked-for formats", TENANT["dpo"], "json", "less", 0.02),
            gain("sums (GRPO): known people", TENANT["grpo"], "people", "less", 0.02),
            gain("sums (GRPO): unsafe requests refused", TENANT["grpo"], "refusals", "less", 0.02),
            gain("codes by heart, all weights: known people", FULL_FEW, "people", "less", 0.05, counts=False),
        ),
        matched="the base with the adapter and without: the same run before and after",
        knob="what the adapter was trained on",
    ),
    Claim(
        "C067",
        "Full fine-tuning and adapters both do for SFT, DPO and RL, in equal steps.",
        "B",
        "measured",
        "05",
        "Schulman et al.: rank 1 is enough for policy gradients, which bring about a bit an episode.",
        ("schulman_2025",),
        contrasts=(
            *(
                contrast(
                    f"{task}: skill of rank {RANK[task]} against all weights",
                    "same",
                    LORA[task]("skill"),
                    FULL[task]("skill"),
                    0.05,
                )
                for task in LENGTH
            ),
            *(
                gain(f"{task}: what rank {r} adds", LORA[task], "skill", "more", 0.05, counts=False)
                for task, r in RANK.items()
            ),
        ),
        matched=MATCHED,
        knob="the task",
        depends="task",
    ),
    *claims_serving.CLAIMS,
)
