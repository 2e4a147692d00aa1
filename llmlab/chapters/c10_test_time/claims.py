"""Claims of chapter 10: what samples, votes, verifiers, revision and search are worth at test time."""

from ...ledger.claims import Arm, Claim, contrast

HELD = 96
TELLING = 400  # problems that tell an effect of 5 points


def scale(label: str, **knobs) -> Arm:
    """Thirty-two samples of each problem."""
    return Arm(f"scale: {label}", "scale", dict(held=HELD) | knobs)


PLAIN = scale("products, level 2", level=2)
LOOSE = scale("a verifier that accepts a third of the wrong ones", level=2, held=TELLING, fpr=0.3, fnr=0.1)
LEARNED = scale("learned verifiers, sums and differences", family="columns", level=3, judged=60)
MANY = scale("products, level 2, 64 samples", level=2, held=TELLING, samples=64, steps=64, fpr=0.3, fnr=0.1)
EASY = scale("products, level 1", level=1)
REACH = scale("a small search", family="reach", level=2)

TOLD = {
    f: Arm(f"revise: {label}", "revise", dict(feedback=f, level=2, steps=2, held=128))
    for f, label in (
        ("intrinsic", "try again"),
        ("critique", "own critique"),
        ("flag", "told that it is wrong"),
        ("step", "told how far it is right"),
        ("resample", "asked afresh"),
    )
}

PERFECT = Arm("search: every step checked", "search", dict(level=2, held=64))
LIKELY = Arm("search: by likelihood", "search", dict(level=2, score="likelihood", held=64))

SPENT = {  # at the best of three rates each, tried with a seed of its own: 1e-4, 3e-4, 1e-3
    m: Arm(f"budget: {m}", "budget", dict(method=m, level=1, lr=lr, held=TELLING, probe=24))
    for m, lr in (("star", 3e-4), ("dpo", 1e-4), ("grpo", 3e-4))
}

SAMPLES = "the same samples of the same problems"
SHOWN = dict(counts=False)

CLAIMS = (
    Claim(
        "C129",
        "Best-of-N with a verifier improves answers, and a learned one captures most of what is there.",
        "A 8",
        "measured",
        "10",
        "Coverage grows log-linearly; voting and reward models plateau; a verifier that errs has a ceiling.",
        ("brown_2024", "resampling_2024"),
        contrasts=(
            contrast(
                "exact check, 16 samples against one",
                "more",
                PLAIN("verified"),
                PLAIN("single"),
                0.2,
            ),
            contrast(
                "learned process verifier, 16 samples against the vote",
                "more",
                LEARNED("prm"),
                LEARNED("voted"),
                0.1,
            ),
            contrast(
                "exact check against the learned process verifier",
                "more",
                LEARNED("pass_at_k"),
                LEARNED("prm"),
                0.1,
                **SHOWN,
            ),
        ),
        first=5,
        matched=SAMPLES,
        items=HELD,
    ),
    Claim(
        "C158",
        "With a verifier that accepts wrong answers more samples stop helping: there is a ceiling, and the"
        " formula tells it.",
        "ours",
        "measured",
        "10",
        "The best number of samples is often below ten; no number makes a weak model strong.",
        ("resampling_2024",),
        contrasts=(
            contrast(
                "64 samples against 16, loose verifier", "same", MANY("verified"), LOOSE("verified"), 0.1
            ),
            contrast(
                "measured against the formula, 64 samples", "same", MANY("verified"), MANY("expected"), 0.05
            ),
        ),
        first=10,
        matched="problems, seed, verifier",
        items=TELLING,
    ),
    Claim(
        "C130",
        "A vote over samples (self-consistency) improves answers.",
        "A 8",
        "measured",
        "10",
        "It tends to the modal answer: it gains where that is right, and loses elsewhere.",
        ("self_consistency_2023", "self_consistency_limits_2025"),
        contrasts=(
            contrast(
                "vote of 16 against one sample, level 1",
                "more",
                EASY("voted"),
                EASY("single"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "vote of 16 against greedy, level 1", "more", EASY("voted"), EASY("voted", "start"), 0.1
            ),
            contrast(
                "vote of 16 against greedy, a small search",
                "more",
                REACH("voted"),
                REACH("voted", "start"),
                0.1,
            ),
        ),
        first=5,
        matched="problems; tokens: sixteen samples against one greedy answer",
        items=HELD,
    ),
    Claim(
        "C131",
        "Critique and revise improves answers.",
        "A 8",
        "measured",
        "10",
        "Without outside feedback accuracy fell: 95.5, 91.5, 89.0 % in two rounds; both rates must be read.",
        ("huang_2023", "markov_revision_2026"),
        contrasts=(
            contrast(
                "right after two rounds, try again, against before",
                "more",
                TOLD["intrinsic"]("accuracy"),
                TOLD["intrinsic"]("accuracy", "start"),
                0.1,
            ),
            contrast(
                "right after two rounds, own critique, against before",
                "more",
                TOLD["critique"]("accuracy"),
                TOLD["critique"]("accuracy", "start"),
                0.1,
            ),
            contrast(
                "right after two rounds, told how far it is right, against asked afresh",
                "more",
                TOLD["step"]("accuracy"),
                TOLD["resample"]("accuracy"),
                0.1,
            ),
            contrast(
                "told that it is wrong, against asked afresh",
                "less",
                TOLD["flag"]("accuracy"),
                TOLD["resample"]("accuracy"),
                0.1,
                **SHOWN,
            ),
        ),
        first=5,
        matched="problems, rounds, temperature, seed",
        items=128,
    ),
    Claim(
        "C132",
        "Search over steps pays where problems are searches and steps can be scored.",
        "A 8",
        "measured",
        "10",
        "Beam search and MCTS gain with good scores of steps; with poor ones best-of-N is as good.",
        ("snell_2024", "tree_of_thoughts_2023"),
        contrasts=(
            contrast(
                "beam against best of n, every step checked",
                "more",
                PERFECT("beam"),
                PERFECT("best_of_n"),
                0.125,
            ),
            contrast(
                "beam against best of n, by likelihood", "same", LIKELY("beam"), LIKELY("best_of_n"), 0.125
            ),
            contrast(
                "MCTS against best of n, every step checked",
                "more",
                PERFECT("mcts"),
                PERFECT("best_of_n"),
                0.125,
                **SHOWN,
            ),
            contrast(
                "lookahead against best of n, every step checked",
                "more",
                PERFECT("lookahead"),
                PERFECT("best_of_n"),
                0.125,
                **SHOWN,
            ),
        ),
        first=5,
        matched="tokens sampled a problem, score, problems, seed",
        items=64,
    ),
    Claim(
        "C133",
        "Latency and cost explode with test-time compute.",
        "A 8",
        "systems",
        "10",
        "N samples cost N times the tokens and gain less each; seconds depend on the engine.",
        ("inverse_scaling_2025",),
        why="seconds are the machine's, so the ledger holds none; tokens are on the axis of every figure,"
        " and seconds are measured by: llmlab bench --only at_once",
    ),
    Claim(
        "C134",
        "Whether to train or to sample depends on how often the model will be asked.",
        "A 11.3",
        "measured",
        "10",
        "With a verifier more samples beat a larger model on easy problems; trained gains are paid once.",
        ("snell_2024", "verifier_based_2025"),
        contrasts=(
            contrast(
                "one sample after STaR against one before",
                "more",
                SPENT["star"]("trained"),
                SPENT["star"]("first"),
                0.05,
            ),
            contrast(
                "one sample after STaR against 8 with an exact check before",
                "less",
                SPENT["star"]("trained"),
                SPENT["star"]("verified"),
                0.1,
            ),
            contrast(
                "one sample after GRPO against after STaR",
                "more",
                SPENT["grpo"]("trained"),
                SPENT["star"]("trained"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "one sample after DPO against after STaR",
                "more",
                SPENT["dpo"]("trained"),
                SPENT["star"]("trained"),
                0.05,
                **SHOWN,
            ),
        ),
        first=10,
        matched="problems, seed, trials of the rate; tokens of training are read (spent, break_even)",
        items=TELLING,
    ),
    Claim(
        "C159",
        "A vote that stops early spends its samples where they are needed: better at equal tokens.",
        "ours",
        "measured",
        "10",
        "Adaptive consistency: up to 7.9 times fewer samples at equal accuracy.",
        ("adaptive_consistency_2023",),
        contrasts=(
            contrast(
                "stops early against a fixed number, 16 samples in the mean",
                "more",
                EASY("adaptive"),
                EASY("voted"),
                0.05,
            ),
        ),
        first=5,
        matched="samples a problem in the mean",
    ),
)
