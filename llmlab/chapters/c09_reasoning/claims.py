"""Claims of chapter 09: what steps, verifiers and self-training do, measured on problems whose every step can
be checked.
"""

from dataclasses import replace

from ...ledger.claims import Arm, Claim, contrast, gain
from . import checks

HELD = 64
MANY, MOST = 400, 512  # problems that tell an effect of 5 points; of 3 points where a tenth is right


def of_many(arm: Arm) -> Arm:
    """The same arm, read on more problems."""
    return replace(arm, label=f"{arm.label}, {MANY} problems", knobs=arm.knobs | {"held": MANY})


def taught(family: str) -> tuple[Arm, ...]:
    """Steps, the answer alone, and empty tokens in place of the steps."""
    return tuple(
        Arm(f"taught {family}: {label}", "decompose", dict(shown=s, family=family, held=HELD, probe=120))
        for s, label in (("steps", "steps"), ("answer", "the answer alone"), ("filler", "empty tokens"))
    )


STEPS, BARE, FILLED = taught("products")
SUM_STEPS, SUM_BARE, _ = taught("columns")


def star(label: str, **knobs) -> Arm:
    """Four rounds of self-training, on functions of letters if nothing else is said."""
    return Arm(f"star: {label}", "star", dict(family="strings", level=3, held=HELD, probe=40) | knobs)


def reach(label: str, **knobs) -> Arm:
    """The same on small searches, which are solved in one sample of five; of level 1, in one of three."""
    return star(f"searches, {label}", **dict(family="reach", level=2) | knobs)


EXACT = star("exact answers")
ALL = star("no verifier", check="none")
MAJORITY = star("majority as label", check="majority")
LONG = reach("majority, twelve rounds", check="majority", steps=120, probe=20)
STOPPED = reach("majority, until six of ten agree", check="majority", steps=120, probe=20, stop=0.6)
ACCEPTS = star("accepts half of the wrong ones", fpr=0.5)
REJECTS = star("rejects half of the right ones", fnr=0.5)
HOLE = star("accepts what ends in the right letter", check="last_character")
R_EXACT, R_ALL, R_MAJORITY = (reach(c, check=c) for c in ("outcome", "none", "majority"))
R_ACCEPTS = reach("accepts half of the wrong ones", fpr=0.5)
R_REJECTS = reach("rejects half of the right ones", fnr=0.5)
R_HOLE = reach("accepts what ends in the right digit", check="last_character")
ONE, FIVE, TOGETHER = (
    star(label, fpr=0.3, checkers=n, errors=e)
    for label, n, e in (
        ("one checker", 1, "independent"),
        ("five checkers, errors of their own", 5, "independent"),
        ("five checkers, the same errors", 5, "shared"),
    )
)
SHORTEST, DISTINCT = (
    reach(f"easy ones, {keep} only", keep=keep, level=1, lr=3e-4, held=MANY)
    for keep in ("shortest", "distinct")
)
FIRST = star("samples of the first model", writer="first")
DPO = star("DPO", loss="dpo")
NARROW = star("2 samples of 256 problems", k=2, prompts=256)
COLD, HOT = (star(f"temperature {t:g}", temperature=t) for t in (0.5, 1.5))
EASY, MIXED = (star(c.replace("_", " "), curriculum=c) for c in ("easy_first", "mixed"))

JUDGE = dict(held=128, probe=60)
ORM = Arm("verify: outcome labels", "verify", dict(labels="outcome", aggregation="last") | JUDGE)
PRM = Arm("verify: exact step labels", "verify", JUDGE)
ROLLOUTS = Arm("verify: labels by rollouts", "verify", dict(labels="rollouts") | JUDGE)
SUMMED = Arm("verify: exact step labels, summed", "verify", dict(aggregation="sum") | JUDGE)


def grpo(label: str, level: int, **knobs) -> Arm:
    """Forty steps of GRPO, if nothing else is said, on small searches: of the first level nine of ten
    problems are solved in one of eight samples, of the second two of three.
    """
    knobs = dict(family="reach", level=level, steps=40, held=MOST, probe=40) | knobs
    return Arm(f"GRPO: {label}", "process", knobs)


OUTCOME, DENSE = (
    grpo(f"{label}, easy searches", 1, reward_func=r)
    for label, r in (("outcome", "outcome"), ("every step", "dense"))
)
H_OUTCOME, H_DENSE = (
    grpo(f"{label}, hard searches", 2, reward_func=r)
    for label, r in (("outcome", "outcome"), ("every step", "dense"))
)
E_DENSE = grpo("every step, easy searches, a third of the samples", 1, reward_func="dense", steps=13)
E_H_DENSE = grpo("every step, hard searches, a quarter of the samples", 2, reward_func="dense", steps=10)
LEAST, SUM = (
    grpo(f"learned, {a}, easy searches", 1, reward_func="learned", aggregation=a, judged=200)
    for a in ("min", "sum")
)

BINARY, HONEST = (
    of_many(Arm(f"calibrate: {label}", "calibrate", dict(reward_func=r, probe=55)))
    for label, r in (("outcome", "outcome"), ("Brier term", "brier"))
)
LEAKED = Arm("contaminate: half of the test", "contaminate", dict(held=HELD, probe=90))
WORDED = Arm("contaminate: half, reworded", "contaminate", dict(form="reworded", held=HELD, probe=90))

SAME = "start, samples, steps, rate, seed"
SHOWN = dict(counts=False)
SLIGHT = 0.05  # what eight samples of each of 64 problems can tell

CLAIMS = (
    Claim(
        "C112",
        "Decomposing a problem into steps pays.",
        "A 6.1",
        "measured",
        "09",
        "Small transformers learn sums in few examples with a scratchpad, and in many without.",
        ("lee_2023_arithmetic",),
        contrasts=(
            contrast(
                "right, steps against the answer alone", "more", STEPS("accuracy"), BARE("accuracy"), 0.2
            ),
            contrast(
                "right, steps against empty tokens in their place",
                "more",
                STEPS("accuracy"),
                FILLED("accuracy"),
                0.2,
            ),
            contrast(
                "sums that the model knows by heart, steps against the answer alone",
                "more",
                SUM_STEPS("accuracy"),
                SUM_BARE("accuracy"),
                0.2,
                **SHOWN,
            ),
        ),
        first=5,
        matched="learnt tokens, steps, rate, seed; not problems: short answers leave room for more",
        items=HELD,
    ),
    Claim(
        "C154",
        "The answer follows from the steps that are written: it changes when a step is edited.",
        "ours",
        "measured",
        "09",
        "Large models often answer as before when their steps are changed.",
        ("lanham_2023",),
        contrasts=(
            contrast(
                "products: answers that follow an edited step against answers right in spite of it",
                "more",
                STEPS("follows"),
                STEPS("unmoved"),
                0.2,
            ),
            contrast(
                "sums: answers that follow an edited step against answers right in spite of it",
                "more",
                SUM_STEPS("follows"),
                SUM_STEPS("unmoved"),
                0.2,
                **SHOWN,
            ),
        ),
        first=5,
        matched="the same edited solutions",
        items=HELD,
    ),
    Claim(
        "C113",
        "Reinforcement for right answers makes a model worse calibrated, and no less robust.",
        "A 6.1.2",
        "measured",
        "09",
        "Binary rewards worsened calibration at scale; with a Brier term it improved.",
        ("damani_2025_rlcr",),
        contrasts=(
            gain("calibration error of the agreement, GRPO", OUTCOME, "ece", "more", 0.03),
            gain("lost in another guise, GRPO", OUTCOME, "drop", "same", 0.1),
            gain("one of eight right, GRPO", OUTCOME, "pass_at_k", "less", SLIGHT, **SHOWN),
            gain("calibration error of the agreement, every step", DENSE, "ece", "more", 0.03, **SHOWN),
        ),
        first=10,
        matched="one run each: its end against its start",
        items=MOST,
    ),
    Claim(
        "C155",
        "A Brier term makes the stated confidence honest, at no cost in right answers.",
        "ours",
        "measured",
        "09",
        "RLCR: expected calibration error from .37 to .03, accuracy as before.",
        ("damani_2025_rlcr",),
        contrasts=(
            contrast(
                "calibration error, with the term against without", "less", HONEST("ece"), BINARY("ece"), 0.1
            ),
            contrast(
                "right answers, with the term against without",
                "same",
                HONEST("pass_at_1"),
                BINARY("pass_at_1"),
                0.1,
            ),
        ),
        first=10,
        matched=SAME,
        items=MANY,
    ),
    Claim(
        "C114",
        "An outcome verifier (ORM) is cheap and robust enough to pick by.",
        "A 6.2.1",
        "measured",
        "09",
        "The sources call it cheap, robust and sparse; at scale it gains much over one sample.",
        ("cobbe_2021", "verify_step_by_step_2024"),
        contrasts=(
            contrast("picked of eight against one sample", "more", ORM("selected"), ORM("pass_at_1"), 0.1),
            contrast("picked of eight against the vote", "more", ORM("selected"), ORM("voted"), 0.1),
        ),
        first=10,
        matched="the same samples; 256 labelled solutions, steps, rate, seed",
        items=128,
    ),
    Claim(
        "C115",
        "A process verifier (PRM) picks better than an outcome verifier, and overfits to style.",
        "A 6.2.1",
        "measured",
        "09",
        "78.2 against 72.4 % at best of 1,860; discriminative ORMs and PRMs came out alike elsewhere.",
        ("verify_step_by_step_2024", "lee_2025_multirm"),
        contrasts=(
            contrast(
                "picked of eight, exact step labels against outcome",
                "more",
                PRM("selected"),
                ORM("selected"),
                0.1,
            ),
            contrast(
                "true and useless steps score higher, summed against least",
                "more",
                SUMMED("padded"),
                PRM("padded"),
                0.2,
            ),
            contrast(
                "picked of eight, labels by rollouts against exact",
                "same",
                ROLLOUTS("selected"),
                PRM("selected"),
                0.1,
                **SHOWN,
            ),
        ),
        first=10,
        matched="labelled solutions, steps, rate, seed; not the work of labelling",
        items=128,
    ),
    Claim(
        "C116",
        "Rewards for the process reduce reward hacking.",
        "A 6.2",
        "measured",
        "09",
        "True of exact checks in controlled worlds; learned process rewards, summed, were hacked at once.",
        ("interplay_pre_mid_rl_2025", "cheng_2025_pure"),
        contrasts=(
            contrast(
                "right through wrong steps, every step against outcome",
                "less",
                DENSE("unsound"),
                OUTCOME("unsound"),
                SLIGHT,
            ),
            contrast(
                "right, learned and summed against learned and least",
                "less",
                SUM("pass_at_1"),
                LEAST("pass_at_1"),
                0.1,
            ),
            contrast(
                "length, learned and summed against learned and least",
                "more",
                SUM("length"),
                LEAST("length"),
                5,
                "tokens",
                **SHOWN,
            ),
            gain("right through wrong steps, outcome", OUTCOME, "unsound", "more", SLIGHT, **SHOWN),
            gain("right, learned and least", LEAST, "pass_at_1", "less", SLIGHT, **SHOWN),
        ),
        first=10,
        matched=SAME,
        items=MOST,
    ),
    Claim(
        "C117",
        "Process rewards are worth it on the hard problems only; elsewhere the outcome does.",
        "A 6.2.2",
        "measured",
        "09",
        "A rule of practice; we found no test at equal checks.",
        (),
        contrasts=(
            contrast(
                "right on hard searches, every step against outcome",
                "more",
                H_DENSE("pass_at_1"),
                H_OUTCOME("pass_at_1"),
                SLIGHT,
            ),
            contrast(
                "right on easy searches, every step against outcome",
                "same",
                DENSE("pass_at_1"),
                OUTCOME("pass_at_1"),
                SLIGHT,
            ),
            contrast(
                "checks a sample, every step against outcome",
                "more",
                H_DENSE("checks_mean"),
                H_OUTCOME("checks_mean"),
                0.5,
                "checks",
                **SHOWN,
            ),
            contrast(
                "right on hard searches, every step against outcome at equal checks",
                "more",
                E_H_DENSE("pass_at_1"),
                H_OUTCOME("pass_at_1"),
                SLIGHT,
                **SHOWN,
            ),
            contrast(
                "right on easy searches, every step against outcome at equal checks",
                "same",
                E_DENSE("pass_at_1"),
                OUTCOME("pass_at_1"),
                SLIGHT,
                **SHOWN,
            ),
        ),
        first=10,
        matched=f"{SAME}; in the readings at equal checks: checks in place of samples and steps",
        items=MOST,
    ),
    Claim(
        "C118",
        "Several verifiers reduce brittleness.",
        "A 6.2.2",
        "measured",
        "09",
        "By majority, if their errors are independent.",
        (),
        contrasts=(
            contrast(
                "right among what is kept, five with errors of their own against five with the same ones",
                "more",
                FIVE("precision", "mean"),
                TOGETHER("precision", "mean"),
                0.05,
            ),
            contrast(
                "right in the end, five against one",
                "more",
                FIVE("pass_at_1"),
                ONE("pass_at_1"),
                SLIGHT,
                **SHOWN,
            ),
        ),
        first=5,
        matched=SAME,
        knob="whether the checkers err together",
        depends="errors",
    ),
    Claim(
        "C119",
        "Self-training on verified samples increases the mass on right solutions.",
        "A 6.3.1",
        "measured",
        "09",
        "STaR: 60.0 to 72.3 % with rationalisation; without a filter little is left.",
        ("zelikman_2022",),
        contrasts=(
            *(
                c
                for kind, exact, every, majority in (
                    ("functions of letters", EXACT, ALL, MAJORITY),
                    ("small searches", R_EXACT, R_ALL, R_MAJORITY),
                )
                for c in (
                    gain(f"{kind}: right, verified", exact, "pass_at_1", "more", SLIGHT),
                    contrast(
                        f"{kind}: right, verified against not verified",
                        "more",
                        exact("pass_at_1"),
                        every("pass_at_1"),
                        SLIGHT,
                    ),
                    contrast(
                        f"{kind}: right, verified against the majority",
                        "more",
                        exact("pass_at_1"),
                        majority("pass_at_1"),
                        SLIGHT,
                    ),
                )
            ),
            gain(
                "small searches: right through wrong steps, verified by the answer",
                R_EXACT,
                "unsound",
                "more",
                0.02,
                **SHOWN,
            ),
        ),
        first=5,
        matched=SAME,
        knob="the kind of problem",
        depends="family",
    ),
    Claim(
        "C120",
        "With more samples at least one is right more often.",
        "A 6.3.3",
        "exact",
        "09",
        "1 − (1−p)^K.",
        ("brown_2024",),
        check=checks.one_of_k,
    ),
    Claim(
        "C121",
        "A higher temperature gives the diversity that self-training needs.",
        "A 6.3.2",
        "measured",
        "09",
        "Coverage grows with temperature up to a point, precision falls.",
        ("brown_2024",),
        contrasts=(
            contrast(
                "right in the end, temperature 1 against 0.5",
                "more",
                EXACT("pass_at_1"),
                COLD("pass_at_1"),
                SLIGHT,
            ),
            contrast(
                "right in the end, temperature 1.5 against 1",
                "more",
                HOT("pass_at_1"),
                EXACT("pass_at_1"),
                SLIGHT,
            ),
        ),
        first=5,
        matched=SAME,
        depends="temperature",
        knob="the temperature",
    ),
    Claim(
        "C122",
        "False positives of the verifier poison self-training, more than false negatives do.",
        "A 6.3.3",
        "measured",
        "09",
        "Precision first; but symmetric noise up to 15 % cost less than two points, and systematic errors are"
        " what does harm.",
        ("rad_2026", "egashira_2026"),
        contrasts=(
            *(
                c
                for kind, accepts, rejects, hole, exact in (
                    ("functions of letters", ACCEPTS, REJECTS, HOLE, EXACT),
                    ("small searches", R_ACCEPTS, R_REJECTS, R_HOLE, R_EXACT),
                )
                for c in (
                    contrast(
                        f"{kind}: half of the wrong ones accepted against half of the right ones rejected",
                        "less",
                        accepts("pass_at_1"),
                        rejects("pass_at_1"),
                        SLIGHT,
                    ),
                    contrast(
                        f"{kind}: a systematic hole against random acceptance",
                        "less",
                        hole("pass_at_1"),
                        accepts("pass_at_1"),
                        SLIGHT,
                    ),
                    contrast(
                        f"{kind}: half of the right ones rejected against exact",
                        "same",
                        rejects("pass_at_1"),
                        exact("pass_at_1"),
                        0.1,
                    ),
                )
            ),
        ),
        first=5,
        matched=SAME,
        knob="the kind of problem",
        depends="family",
    ),
    Claim(
        "C123",
        "A curriculum from easy to hard helps.",
        "A 6.3.3",
        "measured",
        "09",
        "Helps in some studies; no order had a robust advantage in synthetic arithmetic.",
        ("parashar_2025", "mordig_2026"),
        contrasts=(
            contrast(
                "right, easy first against mixed", "more", EASY("pass_at_1"), MIXED("pass_at_1"), SLIGHT
            ),
        ),
        first=5,
        matched="problems of each level, samples, steps, rate, seed",
    ),
    Claim(
        "C124",
        "Self-training without outside truth confirms itself: it rises, then falls.",
        "A 6.3.4",
        "measured",
        "09",
        "Intrinsic rewards rise then fall; majority self-training collapses.",
        ("he_2026", "shafayat_2025"),
        contrasts=(
            contrast(
                "right, highest reading against the start",
                "more",
                LONG("pass_at_1", "highest"),
                LONG("pass_at_1", "start"),
                SLIGHT,
            ),
            contrast(
                "right, last reading against the highest",
                "less",
                LONG("pass_at_1"),
                LONG("pass_at_1", "highest"),
                SLIGHT,
            ),
            gain("agreement of the samples", LONG, "agreement", "more", 0.1),
            contrast(
                "right, stopped when six of ten agree against never",
                "more",
                STOPPED("pass_at_1"),
                LONG("pass_at_1"),
                SLIGHT,
                **SHOWN,
            ),
        ),
        first=5,
        matched="one run: its readings against each other",
    ),
    Claim(
        "C125",
        "Too strict a filter narrows what the model writes (mode collapse).",
        "A 6.3.4",
        "measured",
        "09",
        "Filters and schedules are central in self-improvement by length.",
        ("lee_2025_selfimprove",),
        contrasts=(
            contrast(
                "distinct solutions, shortest only against distinct ones",
                "less",
                SHORTEST("distinct"),
                DISTINCT("distinct"),
                0.05,
            ),
            contrast(
                "one of eight right, shortest only against distinct ones",
                "less",
                SHORTEST("pass_at_k"),
                DISTINCT("pass_at_k"),
                SLIGHT,
            ),
        ),
        first=10,
        matched="samples, steps, rate, seed; not what is kept",
        items=MANY,
    ),
    Claim(
        "C126",
        "Fresh samples of the present model are better than those of the first one.",
        "A 6.3.4",
        "measured",
        "09",
        "On-policy data drifts with the model; ReST-EM samples anew each round.",
        ("gulcehre_2023",),
        contrasts=(
            contrast(
                "right, fresh samples against old ones",
                "more",
                EXACT("pass_at_1"),
                FIRST("pass_at_1"),
                SLIGHT,
            ),
        ),
        first=5,
        matched=SAME,
    ),
    Claim(
        "C127",
        "Preferring verified samples to rejected ones (DPO) beats imitating the verified ones.",
        "A 6.3.2",
        "measured",
        "09",
        "Gains where negatives carry information; the likelihood of the chosen may fall.",
        ("razin_2024", "xu_2024"),
        contrasts=(
            contrast("right, DPO against imitation", "more", DPO("pass_at_1"), EXACT("pass_at_1"), SLIGHT),
            contrast(
                "one of eight right, DPO against imitation",
                "same",
                DPO("pass_at_k"),
                EXACT("pass_at_k"),
                0.1,
                **SHOWN,
            ),
        ),
        first=5,
        matched="problems, samples, steps, rate, rows a step, seed",
    ),
    Claim(
        "C128",
        "The advantage is the reward less the group's mean.",
        "A GRPO",
        "exact",
        "09",
        "Called normalisation there; it is centring, up to a factor the leave-one-out baseline.",
        ("deepseek_math_2024",),
        check=checks.centred_is_scaled_leave_one_out,
    ),
    Claim(
        "C153",
        "The sign of J = TPR − FPR decides where self-training ends, the ratio TPR / FPR how fast; a"
        " systematic false positive is never removed.",
        "ours",
        "exact",
        "09",
        "The same law was found for rewards by noisy verifiers.",
        ("rad_2026",),
        check=checks.odds_of_a_round,
    ),
    Claim(
        "C156",
        "A test that leaked looks better than it is, and the leak can be seen.",
        "ours",
        "measured",
        "09",
        "A clean generator tells; likelihoods tell less and less with the size of the data.",
        ("wu_2025_contamination", "shi_2023_mink"),
        contrasts=(
            contrast(
                "right on what leaked against newly made problems",
                "more",
                LEAKED("leaked"),
                LEAKED("fresh"),
                0.2,
            ),
            contrast(
                "reworded: right on what leaked against newly made ones",
                "more",
                WORDED("leaked"),
                WORDED("fresh"),
                0.2,
            ),
            gain("leak seen by the loss, against the start", LEAKED, "seen_loss", "more", 0.2, "AUC"),
        ),
        first=5,
        matched="the same run and model: two sets of problems of one kind",
        items=HELD,
    ),
    Claim(
        "C157",
        "More samples of few problems, or few samples of many: at equal samples it hardly matters.",
        "ours",
        "measured",
        "09",
        "RFT: more distinct solutions of a problem help; so do more problems.",
        ("yuan_2023_rft",),
        contrasts=(
            contrast(
                "right, 8 of 64 problems against 2 of 256",
                "same",
                EXACT("pass_at_1"),
                NARROW("pass_at_1"),
                SLIGHT,
            ),
        ),
        first=5,
        matched="samples, steps, rate, seed",
    ),
)
