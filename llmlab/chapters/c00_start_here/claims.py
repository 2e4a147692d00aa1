"""Claims of chapters 00 and 01: which lever for which gap, and the same data through different losses."""

from ..c02_continued_pretraining import claims, checks
from ...ledger.claims import Arm, Claim, contrast
from ..c02_continued_pretraining.claims import ASKED, ASKED_ONE, DEFAULT, FORMATS, NATS, PADDED, READ, READ_ONE, READ_ONE_QUIET, READ_QUIET, SFT, STEPS, gain

SFT_LOW = Arm("demonstrations, lr 5e-4", "sft", {"probe": 200, "lr": 5e-4}, ("statements",))
DPO = Arm("preferences (DPO)", "dpo", {"probe": 60}, ("statements",))
GRPO = Arm("reinforcement (GRPO)", "grpo", {"probe": 60}, ("statements", "solved"))
SAMPLES = Arm("16 samples", "sampling")
LOSSES = {
    loss: Arm(f"loss on {loss}", "topology", {"loss": loss, "probe": 120}, ("people",))
    for loss in ("assistant", "all", "pairs")
}

CLAIMS = (
    Claim(
        "C001",
        "Pick the cheapest lever that works: a prompt for missing facts, examples for missing behaviour.",
        "A 0.2.1",
        "definition",
        "00",
        "A rule of thumb. Two of its gaps are measured here; preferences, rewards and distillation wait for"
        " their chapters.",
        contrasts=(
            contrast(
                "facts: given in the prompt against read about in 150 steps",
                "more",
                claims.LONG_LISTS("near", "start"),
                READ("answering"),
                0.05,
            ),
            contrast(
                "behaviour: refusing, after demonstrations against before",
                "more",
                SFT("refusals"),
                SFT("refusals", "start"),
                0.05,
            ),
        ),
        matched="each lever at its default length; the prompt costs no training at all",
        knob="the gap",
    ),
    Claim(
        "C002",
        "Unknown facts call for documents (CPT), wrong behaviour calls for demonstrations (SFT).",
        "A 0.2.1",
        "measured",
        "00",
        "Allen-Zhu and Li: without several wordings facts are stored but not extracted, whatever fine-tuning"
        " follows; Gekhman et al.: unknown facts are learnt slowly from questions and raise hallucination.",
        ("allen_zhu_2023", "gekhman_2024"),
        contrasts=(
            contrast(
                "facts asked by question: 5 documents against 5 question wordings",
                "more",
                READ("answering"),
                ASKED("answering"),
                0.05,
            ),
            contrast(
                "facts to be stated: 5 documents against 5 question wordings",
                "more",
                READ("stating"),
                ASKED("stating"),
                0.05,
            ),
            contrast(
                "behaviour: demonstrations against documents, refusals",
                "more",
                SFT("refusals"),
                FORMATS("refusals"),
                0.05,
            ),
            contrast(
                "wordings: 5 documents a person against 1",
                "more",
                READ("answering"),
                READ_ONE("answering"),
                0.05,
                counts=False,
            ),
            contrast(
                "wordings: 5 of a question against 1",
                "more",
                ASKED("answering"),
                ASKED_ONE("answering"),
                0.05,
                counts=False,
            ),
            contrast(
                "questions about others mixed in, 5 documents a person",
                "more",
                READ("answering"),
                READ_QUIET("answering"),
                0.05,
                counts=False,
            ),
            contrast(
                "questions about others mixed in, 1 document a person",
                "more",
                READ_ONE("answering"),
                READ_ONE_QUIET("answering"),
                0.05,
                counts=False,
            ),
            contrast(
                "people known before: 5 documents against 5 question wordings",
                "more",
                READ("people"),
                ASKED("people"),
                0.05,
                counts=False,
            ),
        ),
        matched="tokens, steps, share of replay, facts, seed",
        knob="how one asks for the facts",
    ),
    Claim(
        "C003",
        "Mid-training changes what the model knows.",
        "A 0.2",
        "measured",
        "00",
        "Common ground; what it knows of the length of contexts is C012.",
        contrasts=(
            gain("drug facts recalled", DEFAULT, "drug_facts", "more", 0.05),
            gain("KL from the base on general text", DEFAULT, "distance", "more", 0.02, NATS),
        ),
        matched="the same run before and after; " + STEPS,
    ),
    Claim(
        "C004",
        "Post-training teaches behaviour and leaves knowledge as it was.",
        "A 0.2",
        "measured",
        "00",
        "Retention depends on how near the training data is to the model's own distribution.",
        ("retaining_by_doing_2025",),
        contrasts=(
            gain("statements about known people, after SFT", SFT, "statements", "same", 0.05),
            gain("statements about known people, after SFT at lr 5e-4", SFT_LOW, "statements", "same", 0.05),
            gain("statements about known people, after DPO", DPO, "statements", "same", 0.05),
            gain("statements about known people, after GRPO", GRPO, "statements", "same", 0.05),
        ),
        matched="the same run before and after, each method at its default settings",
        knob="the method and its rate",
    ),
    Claim(
        "C005",
        "More compute at test time makes answers more reliable without training.",
        "A 0.2",
        "measured",
        "00",
        "Snell et al., Brown et al.: coverage grows with samples; voting levels off.",
        ("snell_2024", "brown_2024"),
        contrasts=(
            contrast(
                "a vote of 16 samples against one greedy answer",
                "more",
                SAMPLES("majority"),
                SAMPLES("greedy"),
                0.03,
            ),
            contrast(
                "a verifier's pick of 16 samples against one greedy answer",
                "more",
                SAMPLES("verified"),
                SAMPLES("greedy"),
                0.03,
            ),
            contrast(
                "a vote of 16 samples against one sample",
                "more",
                SAMPLES("majority"),
                SAMPLES("single"),
                0.03,
                counts=False,
            ),
        ),
        matched="model, problems; the arms differ in samples",
        knob="who picks",
    ),
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
                LOSSES["pairs"]("people"),
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
        "Loss on instructions can help with few examples (Shi et al.), so what is best is another question.",
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
                LOSSES["pairs"]("ordering"),
                LOSSES["pairs"]("ordering", "start"),
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
