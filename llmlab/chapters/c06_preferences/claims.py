"""Claims of chapter 06: what pairs teach, what they cannot, and whose answers the pairs should hold."""

from ...ledger.claims import Arm, Claim, contrast, gain
from ...ledger.rates import Trials
from . import checks

METHODS = {"SFT": dict(method="sft"), "DPO": dict(), "DPO + NLL": dict(nll=0.5)}
TUNED = ("style", "decide", "sums")
METHOD = {"offline": "DPO on given pairs", "online": "DPO on own samples", "grpo": "GRPO"}
# The best of each arm's trials, as data/sweeps/prefer.rates has them (a test holds the two together).
RATES: dict[str, float] = {
    "style, SFT": 0.001,
    "style, DPO": 0.0003,
    "style, DPO + NLL": 0.001,
    "decide, SFT": 3e-06,
    "decide, DPO": 1e-05,
    "decide, DPO + NLL": 0.0003,
    "sums, SFT": 0.0003,
    "sums, DPO": 3e-06,
    "sums, DPO + NLL": 0.0001,
}
READ = dict(held=128, probe=60)


def prefer(label: str, task: str, rated: str = "", **knobs) -> Arm:
    """An arm of 60 steps of 8 pairs, at the best rate of the tuned arm of that label, or else of its own."""
    lr = {"lr": RATES[rated or label]} if (rated or label) in RATES else {}
    return Arm(label, "prefer", {"task": task, "batch": 8} | READ | knobs | lr)


def explore(label: str, **knobs) -> Arm:
    """An arm of 40 steps of 16 questions from a model that says the best answer with a given chance."""
    return Arm(label, "explore", {"steps": 40, "held": 128, "probe": 40} | knobs)


def online(label: str, **knobs) -> Arm:
    """An arm of DPO on own samples, with the same number of pairs no matter who wrote them."""
    return Arm(label, "online", {"steps": 40} | READ | {"probe": 40} | knobs)


BY = {(task, m): prefer(f"{task}, {m}", task, **knobs) for task in TUNED for m, knobs in METHODS.items()}
ORDERED = prefer("sums, DPO, lr 1e-4", "sums", lr=1e-4)  # a rate at which it orders the pairs
LIKE = "style, DPO + NLL"
FULL = BY["style", "DPO + NLL"]
# who has an answer that is said with probability 0, 1 or 10 % at the start, at the same rate
CHANCES = (0.0, 0.01, 0.1)
FOUND = {(m, c): explore(f"{METHOD[m]}, from {c:.0%}", method=m, mass=c) for m in METHOD for c in CHANCES}
OTHER_RATES = [
    explore(f"{METHOD['offline']}, from 10%, lr {lr:g}", method="offline", mass=0.1, lr=lr)
    for lr in (1e-4, 1e-3)
]
NARROW = prefer("pairs about homes only", "style", LIKE, nll=0.5, topics=1)
FEW = prefer("16 pairs", "style", LIKE, nll=0.5, examples=16)
NOISY = prefer("30 % of the pairs swapped", "style", LIKE, nll=0.5, noise=0.3)
NAMED, GERMAN = (prefer(f"{t}, DPO + NLL", t, LIKE, nll=0.5) for t in ("identity", "german"))
FAILED = {m: prefer(f"failed look-ups, {m}", "failed", LIKE, **knobs) for m, knobs in METHODS.items()}
ONLINE, SEMI, OFFLINE = (
    online("online"),
    online("renewed each 10 steps", refresh=10),
    online("offline", refresh=0),
)
CORRECTION = online("corrections", pairing="correction")
MANY, MANY_CORRECTED = (
    online("many right answers, own best", task="many"),
    online("many right answers, corrections", task="many", pairing="correction"),
)

RATES_TRIED = (Trials("skill", (3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3), tuple(BY.values())),)

NATS = "nats"
MATCHED = "pairs, steps, seed (which pairs); seven rates tried for each arm at another seed"
SAME = "pairs, steps, rate, seed"
SHOWN = dict(counts=False)
FRESH = 30  # redesigned after results of seeds below

TRIALS = {"prefer": RATES_TRIED}

CLAIMS = (
    Claim(
        "C080",
        "DPO is memory efficient: no reward model, no critic, no samples, and the reference need not stay in"
        " memory.",
        "A 4.2, B 2",
        "exact",
        "06",
        "Closed form: the reference's log-probs of fixed answers are constants. Unless these are stored, it"
        " is heavier than SFT.",
        ("dpo_paper_2023",),
        check=checks.reference_is_a_table,
    ),
    Claim(
        "C081",
        "DPO explores nothing: what the pairs do not contain, it does not find.",
        "A 4.2",
        "measured",
        "06",
        "Tang et al.: coverage of the offline data alone doesn't explain the gap; Xu et al.: DPO fails where"
        " the policy's own answers lie outside the pairs.",
        ("tang_2024", "xu_2024"),
        contrasts=(
            *(
                contrast(
                    f"probability of an answer that is in no pair, given pairs against {other}, from {c:.0%}",
                    "less",
                    FOUND["offline", c]("best_prob"),
                    FOUND[m, c]("best_prob"),
                    0.5,
                )
                for c in CHANCES[1:]
                for m, other in (("online", "own samples"), ("grpo", "GRPO"))
            ),
            *(
                gain(f"that probability after {arm.label}", arm, "best_prob", "same", 0.05, **SHOWN)
                for arm in (FOUND["online", 0.0], FOUND["grpo", 0.0], FOUND["offline", 0.1], *OTHER_RATES)
            ),
        ),
        matched="start, questions, steps, rate, seed; own samples: 8 a question",
        first=FRESH,
    ),
    Claim(
        "C082",
        "DPO struggles on sparse, exact tasks, where preferred is not correct.",
        "A 4.2.1",
        "measured",
        "06",
        "Xu et al.: DPO far behind PPO on contest code; Razin et al.: the likelihood of the chosen answer"
        " itself falls.",
        ("xu_2024", "razin_2024"),
        contrasts=(
            gain("three-digit sums right after DPO that orders the pairs", ORDERED, "skill", "less", 0.02),
            contrast(
                "sums right: the start, which DPO beats at no rate, against SFT",
                "less",
                BY["sums", "SFT"]("skill", "start"),
                BY["sums", "SFT"]("skill"),
                0.05,
            ),
            gain(
                "log-prob of the right answer after DPO",
                ORDERED,
                "chosen_logprob",
                "less",
                0.1,
                NATS,
                **SHOWN,
            ),
            gain(
                "held-out pairs that moved the right way, all the same",
                ORDERED,
                "preferred",
                "more",
                0.2,
                **SHOWN,
            ),
            contrast(
                "sums right, DPO + NLL against DPO",
                "more",
                BY["sums", "DPO + NLL"]("skill"),
                ORDERED("skill"),
                0.05,
                **SHOWN,
            ),
        ),
        matched=MATCHED + "; DPO at 1e-4, because its best is the lowest, at which it learns nothing",
        first=FRESH,
    ),
    Claim(
        "C083",
        "DPO struggles where the pairs are biased or alike.",
        "A 4.2.1",
        "measured",
        "06",
        "Coverage matters and isn't all (Tang et al.); flipped labels are what label smoothing was made for.",
        ("tang_2024",),
        contrasts=(
            contrast(
                "polite answers, pairs of one topic against five", "less", NARROW("skill"), FULL("skill"), 0.1
            ),
            contrast("polite answers, 16 pairs against new ones", "less", FEW("skill"), FULL("skill"), 0.1),
            contrast("polite answers, 30 % swapped against none", "less", NOISY("skill"), FULL("skill"), 0.1),
        ),
        matched=SAME,
        knob="what is wrong with the pairs",
    ),
    Claim(
        "C088",
        "DPO is the cross-entropy of a reward difference, the reward being the log-ratio to the reference.",
        "B 2",
        "exact",
        "06",
        "Closed form; the gradient's weight is sigmoid(-margin), one half at the start.",
        ("dpo_paper_2023",),
        check=checks.loss_is_cross_entropy,
    ),
    Claim(
        "C089",
        "DPO uses a contrastive loss defined via the KL divergence between reference and target policy.",
        "B 2",
        "exact",
        "06",
        "Imprecise: the loss contains no KL; it is derived from a reward maximisation under a KL penalty,"
        " whose solution it inverts.",
        ("dpo_paper_2023",),
        check=checks.solves_the_penalised_problem,
        corrects=(
            "The loss contains no KL divergence: it is a logistic loss on a difference of log-ratios,"
            " and the KL is part of the problem whose solution it inverts."
        ),
    ),
    Claim(
        "C090",
        "DPO learns from mistakes: failed tool calls are signals, not waste.",
        "B 2",
        "measured",
        "06",
        "When2Call: preference training beats SFT on when not to call; here the rejected answer makes a value"
        " up after a failed look-up.",
        ("ross_2025",),
        contrasts=(
            contrast(
                "failure admitted, DPO + NLL against imitation",
                "more",
                FAILED["DPO + NLL"]("skill"),
                FAILED["SFT"]("skill"),
                0.02,
            ),
            contrast(
                "failure admitted, DPO alone against imitation",
                "more",
                FAILED["DPO"]("skill"),
                FAILED["SFT"]("skill"),
                0.02,
            ),
            contrast(
                "log-prob of made-up values, DPO + NLL against imitation",
                "less",
                FAILED["DPO + NLL"]("rejected_logprob"),
                FAILED["SFT"]("rejected_logprob"),
                1.0,
                NATS,
            ),
        ),
        matched=SAME,
        knob="whether the chosen answer is held up by a likelihood term",
    ),
    Claim(
        "C091",
        "DPO shifts style or identity, in small targeted ways.",
        "B 2",
        "measured",
        "06",
        "Common practice; how targeted it is, is rarely reported.",
        contrasts=(
            gain("polite answers", FULL, "skill", "more", 0.5),
            gain("another name", NAMED, "skill", "more", 0.5),
            gain("answers in German where asked for", GERMAN, "skill", "more", 0.5),
            gain("targeted: plain facts after another name", NAMED, "facts", "same", 0.05),
            gain("targeted: plain facts, not asked in German, after German", GERMAN, "facts", "same", 0.05),
        ),
        matched="the model before and after, same run",
        knob="whether what must stay is among the pairs",
    ),
    Claim(
        "C092",
        "DPO is more effective than SFT, because it contrasts.",
        "B best use",
        "measured",
        "06",
        "Yes for decisions (When2Call), no for verifiable reasoning (Xu et al.), and displacement can flip"
        " the behaviour (Razin et al.).",
        ("ross_2025", "xu_2024", "razin_2024"),
        contrasts=(
            contrast(
                "style: best answers, DPO against SFT on chosen",
                "more",
                BY["style", "DPO"]("skill"),
                BY["style", "SFT"]("skill"),
                0.05,
            ),
            contrast(
                "sums: the start, which DPO beats at no rate, against SFT",
                "more",
                BY["sums", "SFT"]("skill", "start"),
                BY["sums", "SFT"]("skill"),
                0.05,
            ),
            gain(
                "decide: DPO against the start, which SFT beats at no rate",
                BY["decide", "DPO"],
                "skill",
                "more",
                0.05,
            ),
            gain("decide: best answers after SFT", BY["decide", "SFT"], "skill", "more", 0.05, **SHOWN),
            contrast(
                "decide: best answers, DPO against SFT on chosen",
                "more",
                BY["decide", "DPO"]("skill"),
                BY["decide", "SFT"]("skill"),
                0.05,
                **SHOWN,
            ),
            *(
                gain(f"{t}: best answers after DPO", BY[t, "DPO"], "skill", "more", 0.05, **SHOWN)
                for t in ("style", "sums")
            ),
            *(
                contrast(
                    f"{t}: best answers, DPO + NLL against SFT",
                    "more",
                    BY[t, "DPO + NLL"]("skill"),
                    BY[t, "SFT"]("skill"),
                    0.05,
                    **SHOWN,
                )
                for t in TUNED
            ),
        ),
        matched=MATCHED,
        knob="the task",
        depends="task",
        first=FRESH,
    ),
    Claim(
        "C093",
        "Online DPO is stronger than offline DPO.",
        "B best use",
        "measured",
        "06",
        "Guo et al., Tang et al.: online wins; Lanchantin et al.: semi-online is as good, both far above"
        " offline.",
        ("guo_2024", "tang_2024", "lanchantin_2025"),
        contrasts=(
            contrast("sums right, online against offline", "more", ONLINE("skill"), OFFLINE("skill"), 0.03),
            contrast(
                "sums right, renewed each 10 steps against offline",
                "more",
                SEMI("skill"),
                OFFLINE("skill"),
                0.03,
            ),
            contrast(
                "sums right, renewed each 10 steps against online",
                "same",
                SEMI("skill"),
                ONLINE("skill"),
                0.05,
                **SHOWN,
            ),
        ),
        matched="pairs (16 a step), steps, rate, seed; each pair a right and a wrong sample of one problem",
        depends="refresh",
        knob="how often the pairs are renewed",
    ),
    Claim(
        "C094",
        "Pairs come from corrections, or from the model's own best and worst samples; own samples serve"
        " better.",
        "B data",
        "measured",
        "06",
        "The source names both; that the policy's own answers serve better is what follows from studies of"
        " on-policy data (Tang et al.).",
        ("tang_2024",),
        contrasts=(
            contrast(
                "sums right, own best against corrections", "more", ONLINE("skill"), CORRECTION("skill"), 0.03
            ),
            contrast(
                "any of many right, own best against corrections",
                "more",
                MANY("skill"),
                MANY_CORRECTED("skill"),
                0.03,
            ),
            contrast(
                "known facts, own best against corrections",
                "more",
                MANY("facts"),
                MANY_CORRECTED("facts"),
                0.02,
                **SHOWN,
            ),
        ),
        matched="pairs, steps, rate, seed",
        knob="how many answers are right",
    ),
)
