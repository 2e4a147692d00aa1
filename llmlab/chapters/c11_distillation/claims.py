"""Claims of chapter 11: what a student takes from its teacher and how, what a model teaches itself, and what
few bits cost.
"""

from dataclasses import replace

from ...ledger.claims import NATS, Arm, Claim, contrast, gain
from ...ledger.rates import Trials

HELD = 128  # problems behind a reading
# The best of each arm's trials, as data/sweeps/<experiment>.rates have them (a test holds the two together).
RATES: dict[str, float] = {
    "on-policy, reverse KL": 0.001,
    "on-policy, forward KL": 0.004,
    "teacher's text, forward KL": 0.002,
    "teacher's text, reverse KL": 0.001,
    "teacher's text alone": 0.001,
    "on-policy, sampled token": 0.001,
    "right solutions alone": 0.001,
    "right solutions alone, four times the steps": 0.002,
    "large student, on-policy": 0.0005,
    "large student, right solutions alone": 0.0005,
    "100 problems, teacher's KL": 0.002,
    "400 problems, teacher's KL": 0.004,
    "100 problems, labels": 0.001,
    "400 problems, labels": 0.001,
    "large student, steps": 0.0005,
    "large student, answer": 0.002,
    "large student, long": 0.002,
    "medium student, steps": 0.001,
    "medium student, answer": 0.0005,
    "medium student, long": 0.002,
    "three levels, mixed": 0.002,
    "three levels, easy_first": 0.001,
    "three levels, hard_first": 0.001,
    "teacher's text against own first, DPO": 0.0001,
    "self-distillation": 0.001,
    "SFT on right answers": 0.001,
    "GRPO": 3e-05,
    "PTQ": 0.004,
    "QAT on right answers": 0.001,
    "QAT, KL to the full model": 0.000125,
    "GRPO, then rounded": 0.0003,
    "GRPO with rounded weights": 0.0003,
}


def _tuned(experiment: str, label: str, rated: str, knobs: dict) -> Arm:
    lr = {"lr": RATES[rated or label]} if (rated or label) in RATES else {}
    return Arm(label, experiment, knobs | lr)


def distil(label: str, rated: str = "", **knobs) -> Arm:
    """A student on strings of level 2: 60 steps of 16 texts, at the best rate of the tuned arm of that
    label, or else of its own.
    """
    return _tuned("distill", label, rated, dict(held=HELD, probe=240) | knobs)


def learns(label: str, **knobs) -> Arm:
    """The reader, on questions about five new drugs: 120 steps of 32 answers."""
    return _tuned("selfdistill", label, "", dict(held=48, steps=120, probe=120) | knobs)


def low(label: str, rated: str = "", **knobs) -> Arm:
    """The chat model for three bits: 60 steps."""
    return _tuned("qat", label, rated, dict(held=HELD, probe=60) | knobs)


def bits(label: str, **knobs) -> Arm:
    """The chat model's weights, rounded."""
    return Arm(label, "quantise", dict(held=HELD) | knobs)


OPD = distil("on-policy, reverse KL")
OPD_FORWARD = distil("on-policy, forward KL", beta=0.0)
READ = distil("teacher's text, forward KL", writer="teacher", beta=0.0)
READ_REVERSE = distil("teacher's text, reverse KL", writer="teacher")
TEXT = distil("teacher's text alone", writer="teacher", loss="labels")
PAIRS = distil("teacher's text against own first, DPO", writer="teacher", loss="dpo")
TOKEN = distil("on-policy, sampled token", loss="token")
ALONE = distil("right solutions alone", writer="data", loss="labels")
LONGER = distil("right solutions alone, four times the steps", writer="data", loss="labels", steps=240)
LARGE = distil("large student, on-policy", size="large")
LARGE_ALONE = distil("large student, right solutions alone", size="large", writer="data", loss="labels")

FEW, MANY = 100, 400  # problems
SOFT = {n: distil(f"{n} problems, teacher's KL", problems=n, writer="data", beta=0.0) for n in (FEW, MANY)}
HARD = {n: distil(f"{n} problems, labels", problems=n, writer="data", loss="labels") for n in (FEW, MANY)}

FORM = {
    (size, form): distil(f"{size} student, {form}", size=size, form=form, writer="data", loss="labels")
    for size in ("large", "medium")
    for form in ("steps", "answer", "long")
}
AS_MANY = distil(
    "medium student, answer, eight times the texts",
    "medium student, answer",
    form="answer",
    writer="data",
    loss="labels",
    batch=128,
    problems=3200,
)

# long enough for a student to pass its teacher; all at the rate that was best for right solutions
LONG = dict(size="large", loss="labels", steps=240, held=400)
TAUGHT_RIGHT = distil(
    "large student, right solutions, 240 steps", "large student, steps", writer="data", **LONG
)
KEPT = {
    keep: distil(
        f"large student, teacher's samples, keep {keep}, 240 steps",
        "large student, steps",
        writer="teacher",
        keep=keep,
        **LONG,
    )
    for keep in ("all", "right", "likely", "distinct")
}

LEVELS = dict(writer="data", loss="labels", level=3, steps=120)
ORDER = {o: distil(f"three levels, {o}", order=o, **LEVELS) for o in ("mixed", "easy_first", "hard_first")}

SELF, IMITATED, SCORED = (
    learns("self-distillation"),
    learns("SFT on right answers", method="sft"),
    learns("GRPO", method="grpo"),
)
CITED = replace(SELF, label="self-distillation, asked to cite", knobs=SELF.knobs | {"hint": "cited"})
OTHER = replace(SELF, label="another drug's leaflet", knobs=SELF.knobs | {"hint": "other"})

Q4 = bits("formats of GGUF, 8 to 4 bits", scheme="gguf")
RTN = bits("whole numbers, 8 to 2 bits")
GPTQ = bits("GPTQ, 8 to 2 bits", scheme="gptq")
BLIND = bits("GPTQ on random tokens", scheme="gptq", calibration="random")
SPIKED, SPIKED_GROUPS = (
    bits("outliers, one scale a row", outliers=30.0, group=128),
    bits("outliers, groups of 32", outliers=30.0),
)

AFTER, WITH = low("PTQ", when="ptq", train="sft"), low("QAT on right answers", train="sft")
REPAIRED = low("QAT, KL to the full model")
SCORED_SUMS = dict(train="grpo", batch=128, steps=100, probe=100, held=400)
RL = {
    "ptq": low("GRPO, then rounded", when="ptq", bits=4, **SCORED_SUMS),
    "qat": low("GRPO with rounded weights", bits=4, **SCORED_SUMS),
}


def scored(rate: float, importance: str = "") -> Arm:
    """GRPO on full weights: on their own samples, or on those of three bits, weighted by `importance`."""
    knobs = dict(sampler="rounded", importance=importance) if importance else {}
    whose = f"samples of rounded weights, {importance}" if importance else "its own samples"
    return low(f"GRPO on {whose}, lr {rate:g}", when="ptq", lr=rate, **knobs, **SCORED_SUMS)


# read as the reward reads, a pilot (seed 91) gains on own samples at 1e-4 and 3e-4, and with the truncated
# ratio at 1e-4
RATE, HIGH_RATE = 1e-4, 3e-4
TRUE, TRUE_HIGH = scored(RATE), scored(HIGH_RATE)
ROUNDED = {i: scored(RATE, i) for i in ("clipped", "truncated", "none")}
ROUNDED_HIGH = {i: scored(HIGH_RATE, i) for i in ("truncated", "none")}

ONE = {
    how: Arm(label, "specialists", dict(taught=80, steps=60, held=HELD, probe=60) | knobs)
    for how, label, knobs in (
        ("opd", "specialists, on-policy distillation", {}),
        ("mix", "specialists' data, mixed", dict(how="mix")),
        ("average", "specialists, mean of the weights", dict(how="average")),
        ("sum", "specialists, sum of the changes", dict(how="average", scale=2.0)),
        ("ties", "specialists, TIES", dict(how="ties")),
    )
}

ADAPTER = {
    base: Arm(f"adapter trained beside {name}, 3 bits", "merging", dict(base=base, bits=3, held=HELD))
    for base, name in (("rounded", "rounded weights"), ("full", "full weights"))
}
FOUR_BITS = Arm("adapter trained beside rounded weights, 4 bits", "merging", dict(held=HELD))

FIVE = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
TRIALS = {
    "distill": (
        Trials(
            "pass_at_1",
            (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3),
            (OPD, OPD_FORWARD, READ, READ_REVERSE, TEXT, TOKEN, ALONE, LONGER, LARGE, LARGE_ALONE)
            + (
                *SOFT.values(),
                *HARD.values(),
                *FORM.values(),
                *ORDER.values(),
            ),
        ),
        Trials("pass_at_1", (1e-5, *FIVE), (PAIRS,)),
    ),
    "selfdistill": (Trials("pass_at_1", FIVE, (SELF, IMITATED, SCORED)),),
    "qat": (
        Trials("calls", (6.25e-5, 1.25e-4, 2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3), (AFTER, WITH, REPAIRED)),
        Trials("long_sums", (1e-6, 3e-6, 1e-5, *FIVE), tuple(RL.values())),
    ),
}

MATCHED = "problems, steps, texts a step, seed; six rates tried for each arm at another seed"
SHOWN = dict(counts=False)

CLAIMS = (
    Claim(
        "C135",
        "A distilled student keeps much of the capability at lower cost.",
        "A 9",
        "measured",
        "11",
        "On-policy distillation reached an RL-trained teacher's level at a tenth of the compute of RL.",
        ("gkd_2023", "opd_2025"),
        contrasts=(
            contrast(
                "large student, 73 % of the weights, against its teacher, greedy",
                "same",
                LARGE("accuracy"),
                LARGE("teacher_accuracy"),
                0.25,
            ),
            contrast(
                "with the teacher against right solutions alone, equal steps",
                "more",
                OPD("pass_at_1"),
                ALONE("pass_at_1"),
                0.1,
            ),
            contrast(
                "with the teacher against right solutions alone, four times the steps",
                "more",
                OPD("pass_at_1"),
                LONGER("pass_at_1"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "the same for the large student, equal steps",
                "more",
                LARGE("pass_at_1"),
                LARGE_ALONE("pass_at_1"),
                0.1,
                **SHOWN,
            ),
        ),
        first=5,
        matched=MATCHED,
        items=HELD,
    ),
    Claim(
        "C136",
        "A teacher's probabilities are a smoother signal than labels: a student learns more from few texts.",
        "A 9.1.2",
        "measured",
        "11",
        "Soft targets carry more information per case, and let a net learn from 3 % of the data.",
        ("hinton_2015",),
        contrasts=(
            contrast(
                f"{FEW} problems, KL against labels",
                "more",
                SOFT[FEW]("pass_at_1"),
                HARD[FEW]("pass_at_1"),
                0.1,
            ),
            contrast(
                f"{MANY} problems, KL against labels",
                "more",
                SOFT[MANY]("pass_at_1"),
                HARD[MANY]("pass_at_1"),
                0.1,
            ),
        ),
        depends="problems",
        knob="the number of problems",
        first=5,
        matched=MATCHED,
        items=HELD,
    ),
    Claim(
        "C137",
        "A teacher's texts are worth filtering, as long as their diversity stays.",
        "A 9.1.3",
        "measured",
        "11",
        "Rejection sampling gains by distinct right solutions; a likelihood filter keeps the common ones.",
        ("yuan_2023_rft",),
        contrasts=(
            contrast(
                "right samples against all",
                "more",
                KEPT["right"]("pass_at_1"),
                KEPT["all"]("pass_at_1"),
                0.05,
            ),
            contrast(
                "the likelier half against all: different solutions of four",
                "less",
                KEPT["likely"]("distinct"),
                KEPT["all"]("distinct"),
                0.05,
            ),
            contrast(
                "the likelier half against all",
                "more",
                KEPT["likely"]("pass_at_1"),
                KEPT["all"]("pass_at_1"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "each text once against all",
                "same",
                KEPT["distinct"]("pass_at_1"),
                KEPT["all"]("pass_at_1"),
                0.05,
                **SHOWN,
            ),
        ),
        first=5,
        matched="problems, the teacher's samples, steps, texts a step, rate, seed",
        items=400,
    ),
    Claim(
        "C138",
        "Steps teach a student more than answers, and longer chains don't help.",
        "A 9.1.3",
        "measured",
        "11",
        "Models of at most 3B gain more from short chains or a smaller teacher than from long ones.",
        ("li_2025_gap", "luo_2025_valley"),
        contrasts=(
            contrast(
                "medium student, steps against the answer alone, equal texts",
                "more",
                FORM["medium", "steps"]("accuracy"),
                FORM["medium", "answer"]("accuracy"),
                0.1,
            ),
            contrast(
                "medium student, steps against answers alone in eight times the texts",
                "more",
                FORM["medium", "steps"]("accuracy"),
                AS_MANY("accuracy"),
                0.1,
            ),
            contrast(
                "large student, each step twice against once",
                "less",
                FORM["large", "long"]("accuracy"),
                FORM["large", "steps"]("accuracy"),
                0.1,
            ),
            contrast(
                "medium student, each step twice against once",
                "less",
                FORM["medium", "long"]("accuracy"),
                FORM["medium", "steps"]("accuracy"),
                0.1,
            ),
        ),
        depends="form",
        knob="what the text has besides the answer",
        first=5,
        matched=MATCHED,
        items=HELD,
    ),
    Claim(
        "C139",
        "Easy problems first, then hard ones.",
        "A 9.1.3",
        "measured",
        "11",
        "Curricula help where time is short or data noisy, and hardly otherwise.",
        ("wu_2020_curricula",),
        contrasts=(
            contrast(
                "easy first against mixed, level 3",
                "more",
                ORDER["easy_first"]("pass_at_1"),
                ORDER["mixed"]("pass_at_1"),
                0.1,
            ),
            contrast(
                "hard first against mixed, level 3",
                "less",
                ORDER["hard_first"]("pass_at_1"),
                ORDER["mixed"]("pass_at_1"),
                0.1,
                **SHOWN,
            ),
        ),
        first=5,
        matched="problems of three levels, steps, texts a step, seed; six rates tried for each arm",
        items=HELD,
    ),
    Claim(
        "C140",
        "Quantise a model when it is deployed: at four bits it is as good as before.",
        "A 0.2",
        "measured",
        "11",
        "Four bits are close on averages; hard tasks and small models lose first.",
        ("gptq_2022", "liu_2025_quantised"),
        contrasts=(
            gain("loss on general text, Q4_0 against 16 bits", Q4, "general_loss", "same", 0.05, NATS),
            gain("known people recalled, Q4_0", Q4, "facts", "same", 0.05),
            gain("tool calls, Q4_0", Q4, "calls", "same", 0.05),
            gain("three-digit sums, Q4_0", Q4, "long_sums", "same", 0.05),
            contrast(
                "tool calls, five bits (Q5_0)",
                "same",
                Q4("calls", "before"),
                Q4("calls", "start"),
                0.05,
                **SHOWN,
            ),
        ),
        first=5,
        matched="model, questions, seed (which questions)",
    ),
    Claim(
        "C160",
        "On-policy distillation: a student that is scored on its own text is right more often than one that"
        " reads its teacher's.",
        "ours",
        "measured",
        "11",
        "Training on given text leaves a student alone with its own mistakes; own samples with a reverse KL"
        " repair them, if teacher and student think alike.",
        ("gkd_2023", "minillm_2023", "li_2026_opd"),
        contrasts=(
            contrast(
                "reverse KL, own text against the teacher's",
                "more",
                OPD("pass_at_1"),
                READ_REVERSE("pass_at_1"),
                0.1,
            ),
            contrast(
                "forward KL, own text against the teacher's",
                "more",
                OPD_FORWARD("pass_at_1"),
                READ("pass_at_1"),
                0.1,
            ),
            contrast(
                "KL(student ‖ teacher) on own text, reverse KL, own text against the teacher's",
                "less",
                OPD("own_reverse_kl"),
                READ_REVERSE("own_reverse_kl"),
                0.02,
                NATS,
                **SHOWN,
            ),
            contrast(
                "own text, sampled token against the whole distribution",
                "less",
                TOKEN("pass_at_1"),
                OPD("pass_at_1"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "teacher's text against the student's own (DPO), against the text alone",
                "more",
                PAIRS("pass_at_1"),
                TEXT("pass_at_1"),
                0.1,
                **SHOWN,
            ),
        ),
        depends="beta",
        knob="the direction of the KL",
        first=5,
        matched=MATCHED,
        items=HELD,
    ),
    Claim(
        "C170",
        "Reverse KL makes samples right more often, forward KL the greedy answers.",
        "ours",
        "measured",
        "11",
        "Reverse KL seeks modes, so samples become alike; forward KL keeps the teacher's spread.",
        ("minillm_2023", "wu_2024_kl"),
        contrasts=(
            contrast(
                "one sample right, reverse against forward KL, own text",
                "more",
                OPD("pass_at_1"),
                OPD_FORWARD("pass_at_1"),
                0.1,
            ),
            contrast(
                "greedy answer right, reverse against forward KL, own text",
                "less",
                OPD("accuracy"),
                OPD_FORWARD("accuracy"),
                0.1,
            ),
            contrast(
                "different solutions of four, reverse against forward KL, own text",
                "less",
                OPD("distinct"),
                OPD_FORWARD("distinct"),
                0.1,
                **SHOWN,
            ),
        ),
        first=5,
        matched=MATCHED,
        items=HELD,
    ),
    Claim(
        "C161",
        "Self-distillation with a hint learns without labels and forgets less than SFT.",
        "ours",
        "measured",
        "11",
        "SDFT reports less forgetting; a later study more than GRPO, and a replication a gap of a point.",
        ("sdft_2026", "wang_2026_denser"),
        contrasts=(
            gain("facts about new drugs recalled", SELF, "pass_at_1", "more", 0.1),
            contrast(
                "refusals kept, self-distillation against SFT",
                "more",
                SELF("refused"),
                IMITATED("refused"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "known people kept, self-distillation against SFT",
                "more",
                SELF("known"),
                IMITATED("known"),
                0.1,
            ),
            contrast(
                "facts recalled, self-distillation against SFT",
                "less",
                SELF("pass_at_1"),
                IMITATED("pass_at_1"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "facts recalled, GRPO against self-distillation",
                "less",
                SCORED("pass_at_1"),
                SELF("pass_at_1"),
                0.1,
                **SHOWN,
            ),
        ),
        first=5,
        matched="questions, answers a step, steps, seed; five rates tried for each arm at another seed",
    ),
    Claim(
        "C162",
        "A hint in the teacher's prompt leaks: the student learns to speak of what it can't see.",
        "ours",
        "measured",
        "11",
        "The student imitates the teacher's references to the hint as well: the privilege illusion.",
        ("wang_2026_denser",),
        contrasts=(
            contrast(
                "cites a leaflet nobody gave: teacher asked to cite against not",
                "more",
                CITED("leaked"),
                SELF("leaked"),
                0.1,
            ),
            contrast(
                "facts recalled: another drug's leaflet against the right one",
                "less",
                OTHER("pass_at_1"),
                SELF("pass_at_1"),
                0.1,
                **SHOWN,
            ),
        ),
        first=5,
        matched="questions, answers a step, steps, rate, seed",
    ),
    Claim(
        "C163",
        "At three bits the average loss hardly moves while single skills are gone.",
        "ours",
        "measured",
        "11",
        "Perplexity hides it: some calibration sets and tasks break at bits at which others don't.",
        ("gptq_2022", "liu_2025_quantised"),
        contrasts=(
            contrast(
                "loss on general text at 3 bits against 16",
                "same",
                RTN("general_loss", "before"),
                RTN("general_loss", "start"),
                0.3,
                NATS,
            ),
            contrast(
                "tool calls at 3 bits against 16", "less", RTN("calls", "before"), RTN("calls", "start"), 0.2
            ),
            contrast(
                "refusals at 3 bits against 16",
                "less",
                RTN("refusals", "before"),
                RTN("refusals", "start"),
                0.2,
            ),
            contrast(
                "known people at 3 bits against 16",
                "less",
                RTN("facts", "before"),
                RTN("facts", "start"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "calibration (ECE of long sums) at 3 bits against 16",
                "more",
                RTN("ece", "before"),
                RTN("ece", "start"),
                0.05,
                **SHOWN,
            ),
        ),
        first=5,
        matched="model, questions, seed (which questions)",
    ),
    Claim(
        "C164",
        "GPTQ keeps more than rounding to nearest, if its calibration texts look like those of use.",
        "ours",
        "measured",
        "11",
        "Later columns make up for the rounding of earlier ones, on the inputs that were shown.",
        ("gptq_2022",),
        contrasts=(
            contrast(
                "refusals at 3 bits, GPTQ against rounding to nearest",
                "more",
                GPTQ("refusals", "before"),
                RTN("refusals", "before"),
                0.1,
            ),
            contrast(
                "refusals at 3 bits, calibrated on random tokens against conversations",
                "less",
                BLIND("refusals", "before"),
                GPTQ("refusals", "before"),
                0.1,
            ),
            contrast(
                "tool calls at 3 bits, GPTQ against rounding to nearest",
                "more",
                GPTQ("calls", "before"),
                RTN("calls", "before"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "known people at 3 bits, GPTQ against rounding to nearest",
                "more",
                GPTQ("facts", "before"),
                RTN("facts", "before"),
                0.1,
                **SHOWN,
            ),
        ),
        first=5,
        matched="model, bits, groups, questions, seed; tokens of calibration",
    ),
    Claim(
        "C165",
        "Outliers make a scale coarse for all its group: small groups contain the damage.",
        "ours",
        "measured",
        "11",
        "Few large columns set the scale; large models have them and small ones don't.",
        ("llm_int8_2022",),
        contrasts=(
            contrast(
                "loss on general text at 3 bits, two large columns: groups of 32 against one scale a row",
                "less",
                SPIKED_GROUPS("general_loss", "before"),
                SPIKED("general_loss", "before"),
                0.1,
                NATS,
            ),
            contrast(
                "known people at 3 bits, groups of 32 against one scale a row",
                "more",
                SPIKED_GROUPS("facts", "before"),
                SPIKED("facts", "before"),
                0.1,
                **SHOWN,
            ),
        ),
        first=5,
        matched="model, outliers, bits, questions, seed",
    ),
    Claim(
        "C166",
        "Training with rounded weights repairs what rounding afterwards breaks, and the full model's"
        " probabilities are as good a target as right answers.",
        "ours",
        "measured",
        "11",
        "KD to the full model is the objective that recovers most in low-bit QAT.",
        ("lv_2026", "llm_qat_2023"),
        contrasts=(
            contrast("tool calls, QAT against PTQ", "more", WITH("calls"), AFTER("calls"), 0.2),
            contrast(
                "tool calls, KL to the full model against right answers",
                "same",
                REPAIRED("calls"),
                WITH("calls"),
                0.1,
            ),
            contrast(
                "known people, KL to the full model against right answers",
                "more",
                REPAIRED("facts"),
                WITH("facts"),
                0.1,
                **SHOWN,
            ),
            contrast("refusals, QAT against PTQ", "more", WITH("refusals"), AFTER("refusals"), 0.1, **SHOWN),
        ),
        first=5,
        matched="questions, steps, batch, bits, seed; eight rates tried for each arm at another seed",
    ),
    Claim(
        "C167",
        "RL first and rounding afterwards beats RL with rounded weights.",
        "ours",
        "measured",
        "11",
        "QAT inside RL hurt reasoning; RL in full precision, then PTQ, kept it.",
        ("kumar_2025",),
        contrasts=(
            contrast(
                "three-digit sums at four bits, GRPO then rounded against GRPO with rounded weights",
                "more",
                RL["ptq"]("long_sums"),
                RL["qat"]("long_sums"),
                0.1,
            ),
            gain(
                "GRPO in full precision, then rounded: against the rounded start",
                RL["ptq"],
                "long_sums",
                "more",
                0.1,
                counts=False,
            ),
        ),
        first=30,
        matched="problems, samples, steps, bits, seed; eight rates tried for each arm at another seed",
        items=400,
    ),
    Claim(
        "C168",
        "Samples of rounded weights that are taken for the trained model's own put RL far behind; a truncated"
        " ratio to the sampler's log-probs makes up most of that.",
        "ours",
        "measured",
        "11",
        "A mismatch of sampler and trainer biases the gradient; truncated importance sampling corrects it.",
        ("tis_2025", "qi_2025"),
        contrasts=(
            contrast(
                "sums with full weights, sampler of three bits, not corrected, against own samples",
                "less",
                ROUNDED["none"]("full_sums"),
                TRUE("full_sums"),
                0.1,
            ),
            contrast(
                "sums with full weights, truncated ratio against not corrected",
                "more",
                ROUNDED["truncated"]("full_sums"),
                ROUNDED["none"]("full_sums"),
                0.1,
            ),
            contrast(
                "sums with full weights, clipped ratio against not corrected",
                "more",
                ROUNDED["clipped"]("full_sums"),
                ROUNDED["none"]("full_sums"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "sums with rounded weights, not corrected against own samples",
                "more",
                ROUNDED["none"]("long_sums"),
                TRUE("long_sums"),
                0.1,
                **SHOWN,
            ),
            gain(
                "sums with full weights, own samples against the start",
                TRUE,
                "full_sums",
                "more",
                0.1,
                **SHOWN,
            ),
            contrast(
                "at three times the rate: not corrected against own samples",
                "less",
                ROUNDED_HIGH["none"]("full_sums"),
                TRUE_HIGH("full_sums"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "at three times the rate: truncated ratio against not corrected",
                "more",
                ROUNDED_HIGH["truncated"]("full_sums"),
                ROUNDED_HIGH["none"]("full_sums"),
                0.1,
                **SHOWN,
            ),
        ),
        first=30,
        matched="problems, samples, steps, rate, seed",
        items=400,
    ),
    Claim(
        "C169",
        "Several specialists become one model by on-policy distillation from all of them; the mean of their"
        " weights loses more.",
        "ours",
        "measured",
        "11",
        "Distilling from many on own samples kept what merging and data mixes lost; merges of near models do"
        " well without a step.",
        ("mopd_2026", "ties_2023", "model_soups_2022"),
        contrasts=(
            contrast(
                "mean of the parts, distilled against mean of the weights",
                "more",
                ONE["opd"]("mean"),
                ONE["average"]("mean"),
                0.1,
            ),
            contrast(
                "mean of the parts, distilled against SFT on mixed data",
                "more",
                ONE["opd"]("mean"),
                ONE["mix"]("mean"),
                0.1,
            ),
            contrast(
                "mean of the parts, TIES against mean of the weights",
                "more",
                ONE["ties"]("mean"),
                ONE["average"]("mean"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "mean of the parts, sum of the changes against their mean",
                "more",
                ONE["sum"]("mean"),
                ONE["average"]("mean"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "tool calls, which nobody trained: distilled against the start",
                "less",
                ONE["opd"]("calls"),
                ONE["opd"]("calls", "start"),
                0.1,
                **SHOWN,
            ),
        ),
        first=5,
        matched="the specialists (steps, rate, seed); after them steps, rows a step, problems",
        items=HELD,
    ),
    Claim(
        "C171",
        "A student passes its teacher where something else than the teacher says what is right.",
        "ours",
        "measured",
        "11",
        "Students of their teacher's size passed it in image classes and next words; a filter by the right"
        " answer adds what the teacher doesn't know.",
        ("born_again_2018", "yuan_2023_rft"),
        contrasts=(
            contrast(
                "one sample right: student of right solutions against its teacher",
                "more",
                TAUGHT_RIGHT("pass_at_1"),
                TAUGHT_RIGHT("teacher_pass_at_1"),
                0.05,
            ),
            contrast(
                "one sample right: student of the teacher's right samples against its teacher",
                "more",
                KEPT["right"]("pass_at_1"),
                KEPT["right"]("teacher_pass_at_1"),
                0.05,
            ),
            contrast(
                "one sample right: student of all of the teacher's samples against its teacher",
                "more",
                KEPT["all"]("pass_at_1"),
                KEPT["all"]("teacher_pass_at_1"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "one sample right: on-policy distillation, 60 steps, against its teacher",
                "more",
                LARGE("pass_at_1"),
                LARGE("teacher_pass_at_1"),
                0.1,
                **SHOWN,
            ),
        ),
        first=5,
        matched="problems, steps, texts a step, rate, seed",
        items=400,
    ),
    Claim(
        "C172",
        "An adapter that was trained beside rounded weights is deployed beside them: merged and rounded"
        " again, it loses part of what it taught.",
        "ours",
        "measured",
        "11",
        "QLoRA keeps the adapter in 16 bits beside 4-bit weights; merging into the format changes the base"
        " that it was trained beside.",
        ("qlora_2023", "loftq_2023"),
        contrasts=(
            contrast(
                "3 bits, trained beside rounded weights: adapter beside them against merged and rounded",
                "more",
                ADAPTER["rounded"]("beside"),
                ADAPTER["rounded"]("merged"),
                0.1,
            ),
            contrast(
                "3 bits, adapter beside rounded weights: trained beside them against beside full ones",
                "more",
                ADAPTER["rounded"]("beside"),
                ADAPTER["full"]("beside"),
                0.1,
            ),
            contrast(
                "4 bits, trained beside rounded weights: adapter beside them against merged and rounded",
                "more",
                FOUR_BITS("beside"),
                FOUR_BITS("merged"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "3 bits, trained beside full weights: adapter beside rounded ones against merged and rounded",
                "more",
                ADAPTER["full"]("beside"),
                ADAPTER["full"]("merged"),
                0.1,
                **SHOWN,
            ),
        ),
        first=5,
        matched="problems, steps, rows a step, rate, seed",
        items=HELD,
    ),
)
