"""Claims of chapter 07: the family of policy gradients, its KL penalty, its hacks, and what it keeps or finds
that imitation does not.
"""

from ...ledger.claims import Arm, Claim, Contrast, contrast, gain
from ...ledger.rates import Trials
from . import checks

READ = dict(held=48, k=16)
HELD = 400  # problems of the claims about a few points: a share of half is known to 2.5


def policy(label: str, **knobs) -> Arm:
    """An arm of 30 steps of 16 problems × 8 samples, read at the start, in the middle and at the end."""
    return Arm(
        label, "policy", {"steps": 30, "prompts": 16, "lr": 4e-4, "warmup": 3, "probe": 15} | READ | knobs
    )


def noise(label: str, **knobs) -> Arm:
    """An arm that measures gradients and trains nothing."""
    return Arm(label, "variance", {"steps": 20} | knobs)


KEEPS = ("people", "solved")  # 512 questions each


def retain(label: str, method: str, lr: float) -> Arm:
    """An arm that stops when 60 % of its sampled answers are right."""
    return Arm(label, "retain", {"method": method, "steps": 200, "probe": 10, "lr": lr}, KEEPS, 10)


# The best of each arm's trials, which keeps most of the known facts and gets there, as
# data/sweeps/policy.rates and agent.rates have them (a test compares them).
RATES: dict[str, float] = {
    "sft_one, until 60 %": 1e-4,
    "rejection_sampling, until 60 %": 1e-4,
    "grpo, until 60 %": 1e-4,
    "a call fails: sft_gold": 1e-4,
    "a call fails: sft_retry": 3e-3,
    "a call fails: grpo": 1e-4,
}
BARE = dict(ratio="none", clip="none", aggregation="token_mean")
# samples are used four times, half of them from weights that are four steps older: 15 pairs of batches
OLD = dict(epochs=4, staleness=1, steps=120, probe=120, held=HELD)
STRICT = policy("strict verifier")
CRASH = policy("flawed verifier", reward_func="crash")
CRASH_LOSS, CRASH_REWARD = (
    policy(f"flawed verifier, {word} 0.1", reward_func="crash", kl_penalty=where, beta=0.1)
    for word, where in (("k3 in the loss", "k3"), ("k1 in the reward", "reward"))
)
MEAN = dict(
    reward_func="crash", advantage="group_mean"
)  # what a penalty in the reward weighs is then not divided by the group's deviation
CRASH_MEAN, CRASH_MEAN_REWARD = (
    policy("flawed verifier, group's mean", **MEAN),
    policy("the same, k1 in the reward 0.1", kl_penalty="reward", beta=0.1, **MEAN),
)
FORM, LONG = (
    policy("rewarded for the format", reward_func="format"),
    policy("rewarded for length", reward_func="length"),
)
PENALISED, TIGHT = (
    policy("strict, KL penalty 0.1", kl_penalty="k3", beta=0.1),
    policy("strict, KL penalty 1", kl_penalty="k3", beta=1.0),
)
RESET = policy("strict, KL penalty 1, a new reference every 10 steps", kl_penalty="k3", beta=1.0, reset=10)
STRICT_400 = policy("strict verifier, 400 problems", held=HELD)
PLAIN = policy("REINFORCE", **BARE, advantage="no_baseline")
UNCLIPPED, CLIPPED = (
    policy("old samples, no clip", clip="none", **OLD),
    policy("old samples, token clip", **OLD),
)
HIGHER = policy("old samples, clip higher", clip="higher", **OLD)
SEQUENCE = policy("old samples, sequence clip", ratio="sequence", clip="gspo", epsilon=3e-4, **OLD)
RESAMPLED, DOUBLE = (
    policy("groups without signal replaced", groups="resampled"),
    policy("twice the problems", prompts=32),
)
DOTS = {
    m: policy(f"answer, then dots: {m}", task="filler", size=2, **knobs)
    for m, knobs in {"GRPO": {}, "Dr. GRPO": dict(aggregation="fixed_length", advantage="group_mean")}.items()
}
OVERLONG = policy("answer, then dots: GRPO, overlong penalty", task="filler", size=2, overlong="on")
EVEN = {
    k: noise(f"{64 // k} problems × {k} samples", prompts=64 // k, group=k) for k in (2, 4, 8, 16, 32)
}  # equal samples a batch
PUSH = {
    m: noise(f"gradient at the start, {m}", task="filler", size=2, **knobs)
    for m, knobs in {
        "GRPO": dict(advantage="group_norm", weight="mean"),
        "Dr. GRPO": dict(advantage="group_mean", weight="answer"),
    }.items()
}
STRINGS = {
    depth: policy(f"strings, {depth} deep", task="strings", size=depth, held=HELD) for depth in (1, 2, 3)
}
NOISE = {
    (a, size): noise(f"{a}, {size} digits", advantage=a, size=size)
    for a in ("no_baseline", "group_mean", "critic")
    for size in (2, 3)
}
SHIFTED = {
    a: noise(f"{a}, 3 digits, paid 1 or 2", advantage=a, size=3, offset=1.0)
    for a in ("no_baseline", "group_mean", "critic")
}
KEPT = {
    label.split(",")[0]: retain(label, label.split(",")[0], lr)
    for label, lr in RATES.items()
    if label.endswith("until 60 %")
}
ANY = Arm("any of many answers rewarded", "retain", {"steps": 80, "probe": 40, "until": 1.0})  # to the end
FAST = retain(f"{KEPT['grpo'].label}, five times the rate", "grpo", 5e-4)
AGENT = dict(calls=1, faults=1.0, steps=60, probe=60)
TRIED = {
    m: Arm(label, "agent", AGENT | {"method": m, "lr": RATES[label]}, ("tasks_done",))
    for m in ("sft_gold", "sft_retry", "grpo")
    for label in (f"a call fails: {m}",)
}
CHAIN = dict(
    calls=3, faults=0.0, cold_start=15, steps=35, probe=35
)  # 15 steps of lessons, then 20 of practice
CHAINED = {
    (m, share): Arm(
        f"three calls: {m}, {share:.0%} chains in the lessons",
        "agent",
        CHAIN | {"method": m, "chained": share},
    )
    for m, share in (
        ("sft_single", 0.1),
        ("grpo", 0.1),
        ("sft_gold", 0.1),
        ("sft_single", 0.0),
        ("grpo", 0.0),
    )
}
ORDER = {
    s: Arm(s.replace("-", " → "), "order", {"stages": s, "probe": 120})
    for s in ("rl", "sft-rl", "sft-dpo-rl", "sft-rl-dpo")
}
SHORTER = Arm(
    "sft → rl, 40 steps each", "order", {"stages": "sft-rl", "steps": 80, "probe": 80}
)  # as many of each as three stages of 120 steps have
PUSHED, PUSHED_PENALISED = (
    Arm("learned reward", "overopt"),
    Arm("learned reward, KL penalty 0.1", "overopt", {"beta": 0.1}),
)

HALF_RIGHT = ("skill", 0.5)
AGENT_TRIED = (
    Trials("tasks_done", (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2), tuple(TRIED.values()), exam=("tasks_done",)),
)
RATES_TRIED = (
    Trials(
        "general_recall",
        (3e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3),
        tuple(KEPT.values()),
        reached=(("skill", 0.6),),
    ),
)

NATS, TOKENS, COSINE, STD = "nats per token", "tokens", "cosine", "std"
MATCHED = "problems, samples a problem, steps, rate, seed"
AGED = "; every sample is used four times, half of them are a batch old"
SAMPLES = "batches of the same samples at the same policy, seed by seed"
SHOWN = dict(counts=False)
# the arms were chosen after a look at seed 0, and a first round ran seeds 0 to 4: what counts begins behind
# them
CHOSEN = 5
FRESH = 30  # redesigned after results of seeds below: more problems, the usual rate for old samples
ANEW = 40  # redesigned once more

TRIALS = {"policy": RATES_TRIED, "agent": AGENT_TRIED}

CLAIMS = (
    Claim(
        "C068",
        "A KL penalty stops gaming, and discourages collapse.",
        "A 4.1.1, 4.1.4",
        "measured",
        "07",
        "Gao et al.: the penalty acts like an early stop and does not move the frontier; DAPO and Dr. GRPO"
        " drop it.",
        ("gao_2022", "dapo_2025", "dr_grpo_2025"),
        contrasts=(
            contrast(
                "really right under a flawed verifier, k1 in the reward against none",
                "more",
                CRASH_REWARD("pass_at_1"),
                CRASH("pass_at_1"),
                0.1,
            ),
            contrast(
                "really right under a flawed verifier, k3 in the loss against none",
                "more",
                CRASH_LOSS("pass_at_1"),
                CRASH("pass_at_1"),
                0.1,
            ),
            contrast(
                "gold reward under a learned one, KL penalty against none",
                "more",
                PUSHED_PENALISED("gold"),
                PUSHED("gold"),
                0.05,
                "points",
            ),
            contrast(
                "different answers under a strict verifier, KL penalty against none",
                "more",
                PENALISED("distinct"),
                STRICT("distinct"),
                0.02,
            ),
            contrast(
                "really right under a flawed verifier, k1 in the reward against none, not divided by the"
                " group's deviation",
                "more",
                CRASH_MEAN_REWARD("pass_at_1"),
                CRASH_MEAN("pass_at_1"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "price: right under a strict verifier, KL penalty against none",
                "less",
                PENALISED("pass_at_1"),
                STRICT("pass_at_1"),
                0.03,
                **SHOWN,
            ),
        ),
        matched=MATCHED,
        first=CHOSEN,
        knob="where the KL penalty sits, and what is paid",
    ),
    Claim(
        "C069",
        "REINFORCE has high variance.",
        "A 4.1.3",
        "measured",
        "07",
        "True of raw rewards; after centring the published methods are close (Ahmadian et al.).",
        ("rloo_2024",),
        contrasts=(
            contrast(
                "agreement of two gradients, no baseline against the group's mean, paid 0 or 1",
                "less",
                NOISE["no_baseline", 3]("agreement"),
                NOISE["group_mean", 3]("agreement"),
                0.02,
                COSINE,
            ),
            contrast(
                "agreement of two gradients, no baseline against the group's mean, paid 1 or 2",
                "less",
                SHIFTED["no_baseline"]("agreement"),
                SHIFTED["group_mean"]("agreement"),
                0.02,
                COSINE,
            ),
            contrast(
                "right after training, REINFORCE against GRPO",
                "less",
                PLAIN("pass_at_1"),
                STRICT("pass_at_1"),
                0.03,
            ),
        ),
        matched=SAMPLES + "; in training: " + MATCHED,
        first=CHOSEN,
        knob="how far the rewards are from centred",
        depends="offset",
    ),
    Claim(
        "C070",
        "A baseline reduces the variance of the gradient.",
        "A 4.1.2",
        "measured",
        "07",
        "Williams 1992; it leaves the expectation as it is. How much it helps depends on how far the mean"
        " reward is from 0.",
        ("rloo_2024",),
        contrasts=(
            *(
                contrast(
                    f"agreement of two gradients, group's mean against none, {size} digits, paid 0 or 1",
                    "more",
                    NOISE["group_mean", size]("agreement"),
                    NOISE["no_baseline", size]("agreement"),
                    0.02,
                    COSINE,
                )
                for size in (2, 3)
            ),
            contrast(
                "agreement of two gradients, group's mean against none, 3 digits, paid 1 or 2",
                "more",
                SHIFTED["group_mean"]("agreement"),
                SHIFTED["no_baseline"]("agreement"),
                0.02,
                COSINE,
            ),
            *(
                contrast(
                    f"agreement of two gradients, {EVEN[k].label} against 8 × 8",
                    "more",
                    EVEN[k]("agreement"),
                    EVEN[8]("agreement"),
                    0.02,
                    COSINE,
                    **SHOWN,
                )
                for k in (2, 4, 16, 32)
            ),
        ),
        matched=SAMPLES,
        first=CHOSEN,
        knob="how far the rewards are from centred",
        depends="offset",
    ),
    Claim(
        "C071",
        "Clipping limits the change of a step, and makes training more stable.",
        "A 4.1.4",
        "measured",
        "07",
        "Exact for fresh samples: the ratio is 1 and no clip binds. With old samples it is what PPO was made"
        " for.",
        ("ppo_2017",),
        contrasts=(
            contrast(
                "KL from the start after old samples, clip against none",
                "less",
                CLIPPED("held_kl"),
                UNCLIPPED("held_kl"),
                0.02,
                NATS,
            ),
            contrast(
                "right after old samples, clip against none",
                "more",
                CLIPPED("pass_at_1"),
                UNCLIPPED("pass_at_1"),
                0.05,
            ),
            gain("right after old samples, clip", CLIPPED, "pass_at_1", "more", 0.05, **SHOWN),
            contrast(
                "share of tokens cut",
                "more",
                CLIPPED("clip_fraction_mean"),
                UNCLIPPED("clip_fraction_mean"),
                0.001,
                **SHOWN,
            ),
        ),
        matched=MATCHED + AGED,
        first=FRESH,
        knob="what is asked of it",
        items=HELD,
    ),
    Claim(
        "C072",
        "A critic with GAE reduces variance.",
        "A 4.1.4, 4.3.1",
        "measured",
        "07",
        "Against no baseline it should; against the group's mean, which is free, it has to be good.",
        ("ppo_2017",),
        contrasts=(
            contrast(
                "agreement of two gradients, critic against no baseline, easy sums",
                "more",
                NOISE["critic", 2]("agreement"),
                NOISE["no_baseline", 2]("agreement"),
                0.02,
                COSINE,
            ),
            contrast(
                "agreement of two gradients, critic against no baseline, hard sums, paid 1 or 2",
                "more",
                SHIFTED["critic"]("agreement"),
                SHIFTED["no_baseline"]("agreement"),
                0.02,
                COSINE,
            ),
            contrast(
                "agreement of two gradients, critic against the group's mean, hard sums",
                "more",
                NOISE["critic", 3]("agreement"),
                NOISE["group_mean", 3]("agreement"),
                0.02,
                COSINE,
            ),
        ),
        matched=SAMPLES + "; the critic is fitted to other samples of that policy first",
        first=FRESH,
        knob="how far the rewards are from centred",
        depends="offset",
    ),
    Claim(
        "C073",
        "GRPO needs no critic, which saves much memory.",
        "A 4.1.5",
        "exact",
        "07",
        "Arithmetic: with a verifier in the place of the reward model, half; without a reference a little"
        " more.",
        ("deepseek_math_2024",),
        check=checks.memory_of_roles,
    ),
    Claim(
        "C074",
        "GRPO lives on the ranking within a group.",
        "A 4.1.2",
        "exact",
        "07",
        "Closed form: equal rewards give exactly no gradient, and adding a constant to all rewards changes"
        " nothing.",
        ("deepseek_math_2024",),
        check=checks.ranking_within_a_group,
        corrects=(
            "It lives on differences within a group: a constant or a factor for all rewards changes nothing,"
            " but with the same ranking the distances decide how large an advantage is, and its sign."
        ),
    ),
    Claim(
        "C075",
        "GRPO overweights certain problems and lengths.",
        "A 4.1.6",
        "exact",
        "07",
        "Closed form: the standard deviation weights a problem by 1/√(p(1−p)), the mean within an answer a"
        " token by 1/length.",
        ("dr_grpo_2025",),
        check=checks.weights_of_grpo,
    ),
    Claim(
        "C076",
        "Dr. GRPO removes the bias to length.",
        "A 4.1.6",
        "measured",
        "07",
        "Liu et al.: without it wrong answers stop growing. Where length means nothing, the push to go on is"
        " exactly 0 if tokens are summed.",
        ("dr_grpo_2025",),
        contrasts=(
            contrast(
                "push on wrong answers to go on, GRPO against Dr. GRPO",
                "more",
                PUSH["GRPO"]("wrong_push"),
                PUSH["Dr. GRPO"]("wrong_push"),
                0.05,
                STD,
            ),
            Contrast(
                "push on wrong answers to go on, Dr. GRPO",
                (PUSH["Dr. GRPO"]("wrong_push"),),
                "same",
                0.05,
                STD,
            ),
            contrast(
                "length of wrong answers after training, GRPO against Dr. GRPO",
                "more",
                DOTS["GRPO"]("wrong_length"),
                DOTS["Dr. GRPO"]("wrong_length"),
                1.0,
                TOKENS,
            ),
            Contrast(
                "push on right answers to go on, GRPO",
                (PUSH["GRPO"]("right_push"),),
                "less",
                0.05,
                STD,
                counts=False,
            ),
            gain(
                "length of wrong answers under GRPO",
                DOTS["GRPO"],
                "wrong_length",
                "more",
                1.0,
                TOKENS,
                **SHOWN,
            ),
            contrast(
                "length of wrong answers after training, GRPO with an overlong penalty against without",
                "less",
                OVERLONG("wrong_length"),
                DOTS["GRPO"]("wrong_length"),
                1.0,
                TOKENS,
                **SHOWN,
            ),
            contrast(
                "right answers, Dr. GRPO against GRPO",
                "same",
                DOTS["Dr. GRPO"]("pass_at_1"),
                DOTS["GRPO"]("pass_at_1"),
                0.05,
                **SHOWN,
            ),
        ),
        matched=SAMPLES + "; in training: " + MATCHED,
        first=CHOSEN,
        knob="whether one reads the gradient or the length that training ends with",
    ),
    Claim(
        "C077",
        "GSPO, which clips whole answers, is more stable.",
        "A 4.1.7",
        "measured",
        "07",
        "Vendor evidence on mixtures of experts and long answers; for fresh samples its gradient is GRPO's"
        " (exact, tested).",
        ("gspo_2025",),
        contrasts=(
            contrast(
                "right after old samples, sequence clip against token clip",
                "more",
                SEQUENCE("pass_at_1"),
                CLIPPED("pass_at_1"),
                0.05,
            ),
            contrast(
                "share cut, sequence against token",
                "more",
                SEQUENCE("clip_fraction_mean"),
                CLIPPED("clip_fraction_mean"),
                0.05,
                **SHOWN,
            ),
        ),
        matched=MATCHED + AGED,
        first=FRESH,
        items=HELD,
    ),
    Claim(
        "C078",
        "A higher clip upwards preserves diversity.",
        "A 4.1.8",
        "measured",
        "07",
        "DAPO: entropy stays up. It can only act where the ratio leaves 1.",
        ("dapo_2025",),
        contrasts=(
            contrast(
                "entropy of the samples, clip higher against symmetric",
                "more",
                HIGHER("held_entropy"),
                CLIPPED("held_entropy"),
                0.02,
                NATS,
            ),
            contrast(
                "different answers, clip higher against symmetric",
                "more",
                HIGHER("distinct"),
                CLIPPED("distinct"),
                0.02,
            ),
        ),
        matched=MATCHED + AGED,
        first=FRESH,
    ),
    Claim(
        "C079",
        "Dynamic sampling makes training more efficient.",
        "A 4.1.8",
        "measured",
        "07",
        "DAPO: half the steps. It pays in samples, which are the cost here.",
        ("dapo_2025",),
        contrasts=(
            contrast(
                "right after equal steps, replaced against all",
                "more",
                RESAMPLED("pass_at_1"),
                STRICT("pass_at_1"),
                0.03,
            ),
            contrast(
                "right, replaced against twice the problems, nearly equal samples",
                "more",
                RESAMPLED("pass_at_1"),
                DOUBLE("pass_at_1"),
                0.03,
            ),
            contrast(
                "price: samples drawn",
                "more",
                RESAMPLED("samples"),
                STRICT("samples"),
                100.0,
                "samples",
                **SHOWN,
            ),
        ),
        matched="steps, problems a step (first contrast), nearly the samples (second one), rate, seed",
        first=CHOSEN,
        knob="what is counted: steps or samples",
        depends="prompts",
        items=48,
    ),
    Claim(
        "C084",
        "Reinforcement learning finds solutions beyond the data.",
        "A 4.1.10, 4.3",
        "measured",
        "07",
        "Yue et al.: it sharpens what the base samples; others find real gains at the edge of competence.",
        ("yue_2025", "interplay_pre_mid_rl_2025"),
        contrasts=(
            gain("problems right in one of 16 samples, two functions", STRINGS[2], "pass_at_k", "more", 0.05),
            gain("samples right, two functions", STRINGS[2], "pass_at_1", "more", 0.1, **SHOWN),
            gain(
                "problems right in one of 16 samples, one function",
                STRINGS[1],
                "pass_at_k",
                "more",
                0.1,
                **SHOWN,
            ),
            gain(
                "problems right in one of 16 samples, three functions",
                STRINGS[3],
                "pass_at_k",
                "more",
                0.05,
                **SHOWN,
            ),
        ),
        matched="the model before and after, same problems",
        first=FRESH,
        items=HELD,
    ),
    Claim(
        "C085",
        "The first failure of reinforcement learning is reward hacking; a KL penalty, stricter rewards and"
        " targeted evaluation help.",
        "A 4.1.10",
        "measured",
        "07",
        "Planted here: a verifier that passes what it cannot read.",
        ("gao_2022",),
        contrasts=(
            gain("what the flawed verifier pays", CRASH, "held_reward", "more", 0.1),
            contrast(
                "really right, flawed against strict", "less", CRASH("pass_at_1"), STRICT("pass_at_1"), 0.2
            ),
            contrast(
                "cure: really right, KL penalty in the reward against none",
                "more",
                CRASH_REWARD("pass_at_1"),
                CRASH("pass_at_1"),
                0.1,
            ),
            gain("what is paid for the form alone", FORM, "held_reward", "more", 0.1, **SHOWN),
            contrast(
                "really right, paid for the form against strict",
                "less",
                FORM("pass_at_1"),
                STRICT("pass_at_1"),
                0.2,
                **SHOWN,
            ),
            gain("what is rewarded for length", LONG, "held_reward", "more", 0.1, **SHOWN),
            contrast(
                "really right, paid for length against strict",
                "less",
                LONG("pass_at_1"),
                STRICT("pass_at_1"),
                0.2,
                **SHOWN,
            ),
        ),
        matched=MATCHED,
        first=CHOSEN,
    ),
    Claim(
        "C086",
        "Reinforcement learning collapses modes.",
        "A 4.3.1",
        "measured",
        "07",
        "Kirk et al.: less diversity after RLHF than after SFT.",
        ("kirk_2023",),
        contrasts=(
            gain(
                "where many answers are right: different ones among the right ones",
                ANY,
                "distinct",
                "less",
                0.05,
            ),
            gain("sums right in one of 16 samples", STRICT_400, "pass_at_k", "less", 0.02),
            gain("different answers to a sum", STRICT_400, "distinct", "less", 0.05, **SHOWN),
            gain("entropy of the samples", STRICT_400, "held_entropy", "less", 0.02, NATS, **SHOWN),
            gain("sums right, each sample", STRICT_400, "pass_at_1", "more", 0.05, **SHOWN),
        ),
        matched="the model before and after",
        first=FRESH,
    ),
    Claim(
        "C087",
        "Too little KL control drifts, too much learns nothing.",
        "A 4.3.1",
        "measured",
        "07",
        "An inverted U over the weight.",
        ("gao_2022",),
        contrasts=(
            contrast(
                "KL from the start, no KL penalty against 0.1",
                "more",
                STRICT("held_kl"),
                PENALISED("held_kl"),
                0.01,
                NATS,
            ),
            contrast(
                "right, KL penalty 1 against none", "less", TIGHT("pass_at_1"), STRICT("pass_at_1"), 0.03
            ),
            contrast(
                "right, KL penalty 1 with a new reference every 10 steps against one that stays",
                "more",
                RESET("pass_at_1"),
                TIGHT("pass_at_1"),
                0.03,
                **SHOWN,
            ),
            contrast(
                "known people, no KL penalty against 0.1",
                "less",
                STRICT("general_recall"),
                PENALISED("general_recall"),
                0.02,
                **SHOWN,
            ),
        ),
        matched=MATCHED,
        first=CHOSEN,
        items=48,
    ),
    Claim(
        "C095",
        "Online reinforcement learning scales a capability without harming unseen tasks.",
        "B best use",
        "measured",
        "07",
        "Shenfeld et al.: it forgets less at equal accuracy; imitation of own right samples does as well."
        " 'Without harm' is too strong.",
        ("razor_2025", "retaining_by_doing_2025"),
        contrasts=(
            gain("the capability: names of people who live there", KEPT["grpo"], "skill", "more", 0.3),
            contrast(
                "without harm: known people where half of the answers are right",
                "same",
                KEPT["grpo"]("people", at=HALF_RIGHT),
                KEPT["grpo"]("people", "start"),
                0.02,
            ),
            contrast(
                "without harm: three-digit sums where half of the answers are right",
                "same",
                KEPT["grpo"]("solved", at=HALF_RIGHT),
                KEPT["grpo"]("solved", "start"),
                0.05,
            ),
            contrast(
                "known people, reward against imitation of one answer",
                "more",
                KEPT["grpo"]("people", at=HALF_RIGHT),
                KEPT["sft_one"]("people", at=HALF_RIGHT),
                0.02,
                **SHOWN,
            ),
            contrast(
                "known people at five times the rate, reward against the start",
                "same",
                FAST("people", at=HALF_RIGHT),
                FAST("people", "start"),
                0.02,
                **SHOWN,
            ),
        ),
        matched=(
            "the model before and after, same run; read where half of the sampled answers are right; six"
            " rates tried for each arm at another seed"
        ),
        first=ANEW,
        items=512,
    ),
    Claim(
        "C096",
        "GRPO is designed for verifiable rewards.",
        "B 3",
        "definition",
        "07",
        "DeepSeekMath trained it with a learned reward model; any reward that can be compared within a group"
        " will do.",
        ("deepseek_math_2024",),
        why=(
            "A statement about an intention. The method reads a number for each sample, wherever it comes"
            " from; chapter 06 trains it on a learned reward."
        ),
        corrects=(
            "DeepSeekMath, where GRPO was introduced, trained it with a learned reward model; the"
            " method reads a number for each sample, wherever it comes from."
        ),
    ),
    Claim(
        "C097",
        "Reinforcement learning rewards the whole trajectory, three calls in a chain; SFT cannot.",
        "B 3",
        "measured",
        "07",
        "Imitation of whole traces does it too. A reward at the end needs chains that sometimes succeed,"
        " or it has nothing to compare.",
        contrasts=(
            contrast(
                "chains done, reward against more single calls, 10 % chains in the lessons",
                "more",
                CHAINED["grpo", 0.1]("success_sampled"),
                CHAINED["sft_single", 0.1]("success_sampled"),
                0.2,
            ),
            contrast(
                "chains done, reward against more single calls, no chain in the lessons",
                "more",
                CHAINED["grpo", 0.0]("success_sampled"),
                CHAINED["sft_single", 0.0]("success_sampled"),
                0.2,
            ),
            contrast(
                "SFT cannot: chains done, traces of chains against reward",
                "less",
                CHAINED["sft_gold", 0.1]("success_sampled"),
                CHAINED["grpo", 0.1]("success_sampled"),
                0.2,
            ),
        ),
        matched="the same 15 steps of lessons on single calls, then 20 steps of practice; rate, seed",
        first=CHOSEN,
        knob="whether the first lessons sometimes contained a chain, and what SFT is shown",
        items=32,
    ),
    Claim(
        "C098",
        "Reinforcement learning teaches to plan, to retry and to improve; SFT does not.",
        "B 3",
        "measured",
        "07",
        "Gandhi et al., Ye et al.: traces with mistakes and their repair teach it by imitation: the claim is"
        " about data.",
        ("gandhi_2024", "ye_2024_mistakes"),
        contrasts=(
            gain("done although a call fails, after reward", TRIED["grpo"], "tasks_done", "more", 0.1),
            contrast(
                "done although a call fails, reward against clean traces",
                "more",
                TRIED["grpo"]("tasks_done"),
                TRIED["sft_gold"]("tasks_done"),
                0.1,
            ),
            contrast(
                "done although a call fails, reward against traces with a retry",
                "more",
                TRIED["grpo"]("tasks_done"),
                TRIED["sft_retry"]("tasks_done"),
                0.1,
            ),
            gain(
                "done although a call fails, after clean traces",
                TRIED["sft_gold"],
                "tasks_done",
                "more",
                0.1,
                **SHOWN,
            ),
            gain(
                "done although a call fails, after traces with a retry",
                TRIED["sft_retry"],
                "tasks_done",
                "more",
                0.1,
                **SHOWN,
            ),
        ),
        matched="steps, seed; six rates tried for each arm at another seed; traces imitated and trajectories"
        " tried are not the same number",
        first=FRESH,
        knob="whether the traces show a repair",
        depends="method",
        items=256,
    ),
    Claim(
        "C099",
        "The order is SFT, then DPO, then reinforcement learning.",
        "B summary",
        "measured",
        "07",
        "A recipe without a direct test.",
        contrasts=(
            contrast(
                "sums right, reinforcement learning alone against SFT first",
                "less",
                ORDER["rl"]("sums"),
                ORDER["sft-rl"]("sums"),
                0.2,
            ),
            contrast(
                "sums right, with DPO in between against without",
                "more",
                ORDER["sft-dpo-rl"]("sums"),
                ORDER["sft-rl"]("sums"),
                0.03,
            ),
            contrast(
                "polite answers, DPO before RL against after",
                "more",
                ORDER["sft-dpo-rl"]("polite"),
                ORDER["sft-rl-dpo"]("polite"),
                0.05,
            ),
            contrast(
                "sums right, DPO in between against without, equal steps of RL",
                "same",
                ORDER["sft-dpo-rl"]("sums"),
                SHORTER("sums"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "sums right, DPO before RL against after",
                "more",
                ORDER["sft-dpo-rl"]("sums"),
                ORDER["sft-rl-dpo"]("sums"),
                0.03,
                **SHOWN,
            ),
        ),
        matched="optimiser steps in all, shared equally by the stages",
        first=CHOSEN,
        knob="what is asked at the end",
    ),
)
