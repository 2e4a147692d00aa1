"""Claims of chapter 00: which lever for which gap."""

from ...ledger.claims import NATS, STEPS, Arm, Claim, contrast, gain
from .arms import (
    ASKED,
    ASKED_ONE,
    DEFAULT,
    FORMATS,
    LONG_LISTS,
    READ,
    READ_ONE,
    READ_ONE_QUIET,
    READ_QUIET,
    SFT,
)

SFT_LOW = Arm("demonstrations, lr 5e-4", "sft", {"probe": 200, "lr": 5e-4}, ("statements",))
DPO = Arm("preferences (DPO)", "dpo", {"probe": 60}, ("statements",))
GRPO = Arm("reinforcement (GRPO)", "grpo", {"probe": 60}, ("statements", "solved"))
SAMPLES = Arm("16 samples", "sampling")
WORKED = {
    t: Arm(f"16 worked products, temperature {t:g}", "scale", dict(level=2, held=128, temperature=t))
    for t in (0.5, 0.7, 1)
}
JUDGED = Arm(
    "16 worked sums, a learned verifier", "scale", dict(family="columns", level=3, held=128, judged=60)
)
SHOWN = dict(counts=False)

CLAIMS = (
    Claim(
        "C001",
        "A prompt supplies missing facts, examples supply missing behaviour: choose by what is missing.",
        "A 0.2.1",
        "definition",
        "00",
        "A rule of thumb. Two of its gaps are measured here; preferences, rewards and distillation wait for"
        " their chapters.",
        contrasts=(
            contrast(
                "facts: given in the prompt against read about in 150 steps",
                "more",
                LONG_LISTS("near", "start"),
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
            *(
                contrast(
                    f"a vote of 16 worked answers against the greedy one, temperature {t:g}",
                    "more",
                    WORKED[t]("voted"),
                    WORKED[t]("voted", "start"),
                    0.03,
                )
                for t in WORKED
            ),
            contrast(
                "a learned verifier's pick of 16 worked answers against the greedy one",
                "more",
                JUDGED("prm"),
                JUDGED("prm", "start"),
                0.03,
            ),
            contrast(
                "a vote of 16 worked answers against one of them, temperature 1",
                "more",
                WORKED[1]("voted"),
                WORKED[1]("single"),
                0.03,
                **SHOWN,
            ),
            contrast(
                "an oracle's pick of 16 worked answers against the greedy one, temperature 1",
                "more",
                WORKED[1]("pass_at_k"),
                WORKED[1]("pass_at_k", "start"),
                0.03,
                **SHOWN,
            ),
            contrast(
                "a vote of 16 bare answers against the greedy one",
                "more",
                SAMPLES("majority"),
                SAMPLES("greedy"),
                0.03,
                **SHOWN,
            ),
        ),
        matched="model, problems; the arms differ in samples",
        knob="who picks",
        first=30,
    ),
)
