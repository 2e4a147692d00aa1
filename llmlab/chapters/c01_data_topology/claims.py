"""Claims of chapter 01: the same data through different losses."""

from ...ledger.claims import NATS, Arm, Claim, contrast, gain
from ..c00_start_here.arms import DEFAULT, PADDED
from . import checks

GRPO = Arm("reinforcement (GRPO)", "grpo", {"probe": 60}, ("statements", "solved"))
SAMPLES = Arm("16 samples", "sampling")
LOSSES = {
    loss: Arm(f"loss on {loss}", "topology", {"loss": loss, "probe": 120}, ("people",))
    for loss in ("assistant", "all", "dpo")
}

CLAIMS = (
    Claim(
        "C006",
        "The right data through the wrong loss fails.",
        "A 0.3",
        "measured",
        "01",
        "The source says most failures come from here; that share cannot be measured in a lab. That it"
        " happens can.",
        contrasts=(
            contrast(
                "answers: loss on the answers against loss on pairs",
                "more",
                LOSSES["assistant"]("people"),
                LOSSES["dpo"]("people"),
                0.05,
            ),
            contrast(
                "goes on as the user: loss on all tokens against loss on the answers",
                "more",
                LOSSES["all"]("asks_itself"),
                LOSSES["assistant"]("asks_itself"),
                0.05,
            ),
            contrast(
                "answers: loss on all tokens against loss on the answers",
                "less",
                LOSSES["all"]("people"),
                LOSSES["assistant"]("people"),
                0.05,
                counts=False,
            ),
        ),
        matched="the same 2,000 transcripts, steps, rate, seed",
        knob="the loss",
    ),
    Claim(
        "C007",
        "Packing documents end to end trains more tokens for the same compute.",
        "A 0.3.1",
        "systems",
        "01",
        "Arithmetic: padding is computed and thrown away.",
        contrasts=(
            contrast(
                "trained tokens a step, packed against a document a row",
                "more",
                DEFAULT("tokens", "mean"),
                PADDED("tokens", "mean"),
                200,
                "tokens",
            ),
        ),
        matched="16 rows of 128 places a step, documents",
    ),
    Claim(
        "C008",
        "Only the tokens under the mask contribute gradient.",
        "A 0.3.2",
        "exact",
        "01",
        "Closed form.",
        check=checks.masked_tokens,
    ),
    Claim(
        "C009",
        "The same text teaches different things under different losses.",
        "A 0.3.2",
        "measured",
        "01",
        "Loss on instructions can help with few examples (Shi et al.); which loss is best is left open.",
        ("shi_2024",),
        contrasts=(
            contrast(
                "the user's words: loss on the answers against loss on all tokens",
                "more",
                LOSSES["assistant"]("user_loss"),
                LOSSES["all"]("user_loss"),
                0.5,
                NATS,
            ),
            contrast(
                "ordering of pairs: loss on pairs against the start",
                "more",
                LOSSES["dpo"]("ordering"),
                LOSSES["dpo"]("ordering", "start"),
                0.05,
            ),
            contrast(
                "the assistant's words: loss on the answers against the start",
                "less",
                LOSSES["assistant"]("answer_loss"),
                LOSSES["assistant"]("answer_loss", "start"),
                0.5,
                NATS,
            ),
        ),
        matched="the same 2,000 transcripts, steps, rate, seed",
    ),
    Claim(
        "C010",
        "Rollouts let the model explore, and let a verifier choose.",
        "A 0.3",
        "measured",
        "01",
        "Whether exploration leaves what the base can do is contested (C084, chapter 07).",
        ("brown_2024",),
        contrasts=(
            contrast(
                "explore: some of 16 samples right against one sample",
                "more",
                SAMPLES("verified"),
                SAMPLES("single"),
                0.05,
            ),
            gain("choose: three-digit sums after GRPO against before", GRPO, "solved", "more", 0.05),
        ),
        matched="problems and model; the same run before and after",
    ),
)
