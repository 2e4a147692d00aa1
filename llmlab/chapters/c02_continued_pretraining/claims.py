"""Claims of chapter 02: continued pretraining, what it teaches, what it costs, and what cures it."""

from ...ledger.claims import CHARS, NATS, STEPS, Arm, Claim, Contrast, contrast, gain
from ..c00_start_here.arms import DEFAULT, FORMATS, LONG_LISTS, READ, READ_ONE, RESET, SFT, cpt

NONE = cpt("no replay", 10, replay=0.0)
HALF = cpt("50 % replay", 10, replay=0.5)
DOSE = {
    share: cpt(f"{share:.0%} replay, read at the end", replay=share) for share in (0, 0.05, 0.1, 0.2, 0.5)
}
COLD, SLOW = cpt("no warm-up", 10, warmup=0), cpt("60 steps of warm-up", 10, warmup=60)
LOW, HIGH = cpt("lr 5e-4", 10, lr=5e-4), cpt("lr 5e-3", 10, lr=5e-3)
COPIES, FURNITURE = cpt("80 % copies", duplicates=0.8), cpt("50 % boilerplate", boilerplate=0.5)
WRONG, TWICE = (
    cpt("a wrong fact in every document", noise=1.0),
    cpt("half the documents, all clean, read twice", fresh=75),
)
ANNEALED, ADAPTIVE = (
    cpt("replay from 40 % to 0", anneal=1.0),
    cpt("more of what has a high loss", mixing="adaptive", probe=10),
)
ANEW = 40  # redesigned after results of seeds below
FRESH = 30  # redesigned after results of seeds below
EQUAL_COMPUTE = dict(replay=0.0, steps=112, probe=56)  # a step with a reference costs a third more
KL = {
    weight: cpt(f"KL {weight:g}, no replay", kl_coef=weight, **EQUAL_COMPUTE) for weight in (0.02, 0.1, 0.5)
}

MILD = {"probe": 10, "lr": 5e-4, "replay": 0.5}  # so that the ordinary dip does not trip the gate
GATE = {"gate": 10, "tolerance": 0.2}
BURST = Arm("no gate", "burst", MILD, ("people",), 10)
GATED = Arm("gate every 10 steps", "burst", MILD | GATE, ("people",), 10)
QUIET = Arm("gate every 10 steps, no burst", "burst", MILD | GATE | {"length": 0})
LEARNT = ("domain_nats", 0.8)  # all of these four get there
LOW_OFTEN, HIGH_OFTEN, SLOW_OFTEN, COLD_OFTEN = (
    Arm(label, "cpt", {"probe": 150} | knobs, ("general_nats", "domain_nats"), 10)
    for label, knobs in (
        ("lr 5e-4, read every 10 steps", {"lr": 5e-4}),
        ("lr 5e-3, read every 10 steps", {"lr": 5e-3}),
        ("60 steps of warm-up, read every 10", {"warmup": 60}),
        ("no warm-up, read every 10 steps", {"warmup": 0}),
    )
)


SHORT_LISTS = Arm("short lists", "longdoc", {"lines": 10})


def midtrain(lesson: str, share: float, label: str, **knobs) -> Arm:
    """An arm of reading before practising."""
    return Arm(label, "midtrain", {"lesson": lesson, "share": share} | knobs)


WORKED = {
    s: midtrain("steps", s, f"{s:.0%} with steps", steps=180, practice=30, probe=150)
    for s in (0.0, 0.1, 0.2, 0.3)
}
CALLS = {
    s: midtrain("calls", s, f"{s:.0%} logs of calls", steps=160, practice=80, practice_lr=2e-3, probe=40)
    for s in (0.0, 0.3)
}
ADVICE = {
    s: midtrain("advice", s, f"{s:.0%} unsafe documents", steps=95, practice=15, practice_lr=2e-3, probe=95)
    for s in (0.0, 0.05, 0.2)
}


CLAIMS = (
    Claim(
        "C011",
        "Continued pretraining cures a high loss on domain text and ignorance of its terms.",
        "A 1.0.1",
        "measured",
        "02",
        "Common ground; measured gains depend on the base.",
        contrasts=(
            gain("loss on domain text", DEFAULT, "domain_nats", "less", 0.2, CHARS),
            gain("drug facts recalled", DEFAULT, "drug_facts", "more", 0.05),
        ),
        matched="the same run before and after; " + STEPS,
    ),
    Claim(
        "C012",
        "Continued pretraining on long documents repairs long-range reading; short documents do less.",
        "A 1.0.1, 1.1.2",
        "measured",
        "02",
        "Long-context recipes all continue on long documents; at equal tokens the comparison is rare.",
        contrasts=(
            contrast(
                "look-up at twice the trained length, long documents against short",
                "more",
                LONG_LISTS("far"),
                SHORT_LISTS("far"),
                0.05,
            ),
            gain("the same, long documents against the start", LONG_LISTS, "far", "more", 0.05),
            contrast(
                "look-up at half the trained length",
                "more",
                LONG_LISTS("near"),
                SHORT_LISTS("near"),
                0.05,
                counts=False,
            ),
        ),
        matched="tokens, rows of 1,024 tokens, share of list text, seed",
    ),
    Claim(
        "C013",
        "Quality beats quantity: half as many clean documents, read twice, teach more than all with a wrong"
        " fact in each.",
        "A 1.0.2",
        "measured",
        "02",
        "LIMA (for SFT) fixes the steps too; label noise without a system is often averaged out.",
        contrasts=(
            contrast("drug facts recalled", "more", TWICE("drug_facts"), WRONG("drug_facts"), 0.05),
            contrast("loss on domain text", "less", TWICE("domain_nats"), WRONG("domain_nats"), 0.01, CHARS),
            contrast(
                "what the wrong facts cost at equal quantity",
                "more",
                DOSE[0.2]("drug_facts"),
                WRONG("drug_facts"),
                0.05,
                counts=False,
            ),
        ),
        matched="the clean half is read twice: " + STEPS,
        first=FRESH,
    ),
    Claim(
        "C014",
        "Removing duplicates and boilerplate pays at equal tokens.",
        "A 1.0.2",
        "measured",
        "02",
        "Deduplication cuts verbatim memorisation about tenfold and spares training steps.",
        ("lee_2021_dedup",),
        contrasts=(
            contrast(
                "without copies: loss on domain text",
                "less",
                DEFAULT("domain_nats"),
                COPIES("domain_nats"),
                0.01,
                CHARS,
            ),
            contrast(
                "without boilerplate: loss on domain text",
                "less",
                DEFAULT("domain_nats"),
                FURNITURE("domain_nats"),
                0.01,
                CHARS,
            ),
            contrast(
                "without copies: drug facts",
                "more",
                DEFAULT("drug_facts"),
                COPIES("drug_facts"),
                0.05,
                counts=False,
            ),
            contrast(
                "without boilerplate: drug facts",
                "more",
                DEFAULT("drug_facts"),
                FURNITURE("drug_facts"),
                0.05,
                counts=False,
            ),
        ),
        matched=STEPS,
        knob="the kind of dirt",
    ),
    Claim(
        "C015",
        "Attention should stay inside its document: enforcing boundaries helps.",
        "A 1.0.2",
        "measured",
        "02",
        "Intra-document masking helps in pretraining studies; effects are small in short windows.",
        contrasts=(
            contrast(
                "loss on domain text", "less", RESET("domain_nats"), DEFAULT("domain_nats"), 0.01, CHARS
            ),
            contrast(
                "loss on a document's first ten tokens",
                "less",
                RESET("opening_nats"),
                DEFAULT("opening_nats"),
                0.05,
                NATS,
            ),
        ),
        matched=STEPS,
        knob="where in the document one looks",
    ),
    Claim(
        "C016",
        "A fifth of replay keeps general skills; the first replay buys most.",
        "A 1.0.2, 1.3, 10",
        "measured",
        "02",
        "Ibrahim et al.: 5 % already helps, up to 50 % for a strong shift; 80/20 is a starting guess.",
        ("ibrahim_2024",),
        contrasts=(
            gain("it keeps: known people, 20 % against the start", DOSE[0.2], "people", "same", 0.05),
            gain("it keeps: two-digit sums, 20 % against the start", DOSE[0.2], "sums", "same", 0.05),
            contrast(
                "it helps: known people, 20 % against none",
                "more",
                DOSE[0.2]("people"),
                DOSE[0]("people"),
                0.05,
            ),
            Contrast(
                "the first buys most: people gained by the first 20 % less those gained by the next 30 %",
                (DOSE[0.2]("people"), -DOSE[0]("people"), -DOSE[0.5]("people"), DOSE[0.2]("people")),
                "more",
                0.1,
                "share",
            ),
            gain("known people, 50 % against the start", DOSE[0.5], "people", "same", 0.05, counts=False),
            contrast(
                "5 % as good as 20 %: known people",
                "same",
                DOSE[0.05]("people"),
                DOSE[0.2]("people"),
                0.05,
                counts=False,
            ),
            contrast(
                "10 % against none: known people",
                "more",
                DOSE[0.1]("people"),
                DOSE[0]("people"),
                0.05,
                counts=False,
            ),
            contrast(
                "price: loss on domain text, 20 % against none",
                "more",
                DOSE[0.2]("domain_nats"),
                DOSE[0]("domain_nats"),
                0.01,
                CHARS,
                counts=False,
            ),
        ),
        matched=STEPS,
        first=FRESH,
    ),
    Claim(
        "C017",
        "The learning rate belongs far below the peak of pretraining.",
        "A 1.0.2",
        "measured",
        "02",
        "Ibrahim et al.: re-warming forgets more and adapts better; a trade-off.",
        ("ibrahim_2024",),
        contrasts=(
            contrast(
                "what is kept: known people, 5e-4 against 5e-3", "more", LOW("people"), HIGH("people"), 0.05
            ),
            contrast(
                "what is learnt: drug facts, 5e-4 against 5e-3",
                "more",
                LOW("drug_facts"),
                HIGH("drug_facts"),
                0.05,
            ),
        ),
        matched=STEPS,
        knob="whether one asks what is kept or what is learnt",
    ),
    Claim(
        "C018",
        "A regression suite every few steps with rollback limits the damage of bad data.",
        "A 1.3",
        "measured",
        "02",
        "Practice; no study at hand.",
        contrasts=(
            contrast(
                "known people at their lowest",
                "more",
                GATED("people", "lowest"),
                BURST("people", "lowest"),
                0.05,
            ),
            contrast("known people at the end", "more", GATED("people"), BURST("people"), 0.05),
            contrast(
                "price: loss on domain text at the end",
                "more",
                GATED("domain_loss"),
                BURST("domain_loss"),
                0.05,
                NATS,
                counts=False,
            ),
            gain("the gate fires in the burst", GATED, "rollbacks", "more", 0.5, "rollbacks", counts=False),
        ),
        matched=STEPS + "; the bad data comes at the same steps",
        first=ANEW,
        guards=(
            gain("no false alarm where there is no burst", QUIET, "rollbacks", "same", 0.5, "rollbacks"),
        ),
    ),
    Claim(
        "C019",
        "Continued pretraining improves the recall of domain knowledge.",
        "A 1.1.1",
        "measured",
        "02",
        "Allen-Zhu and Li: facts that are stored need not be extractable; paraphrases or mixed questions"
        " decide.",
        ("allen_zhu_2023",),
        contrasts=(
            gain("asked by a statement to complete", DEFAULT, "drug_facts", "more", 0.05),
            gain("asked by a question", DEFAULT, "drug_questions", "more", 0.05),
        ),
        matched="the same run before and after; " + STEPS,
        knob="how one asks",
    ),
    Claim(
        "C020",
        "Domain documents that contain tool calls make tool use easier to teach afterwards.",
        "A 1.1.1",
        "measured",
        "02",
        "OctoThinker: question-and-answer data in mid-training helps later RL.",
        ("octothinker_2025",),
        contrasts=(
            contrast(
                "right calls after 80 steps of the same SFT",
                "more",
                CALLS[0.3]("skill"),
                CALLS[0.0]("skill"),
                0.05,
            ),
        ),
        matched="tokens read, demonstrations, seed",
    ),
    Claim(
        "C021",
        "Documents alone do not teach to follow instructions.",
        "A 1.1.2",
        "measured",
        "02",
        "Common ground.",
        contrasts=(
            gain("asked-for formats after documents", FORMATS, "json", "same", 0.02),
            contrast("demonstrations against documents: formats", "more", SFT("json"), FORMATS("json"), 0.05),
            contrast(
                "demonstrations against documents: refusals",
                "more",
                SFT("refusals"),
                FORMATS("refusals"),
                0.05,
            ),
        ),
        matched="the base that both start from; each at its default length",
    ),
    Claim(
        "C022",
        "Unsafe patterns in the corpus make safety worse after the same safety training.",
        "A 1.1.2",
        "measured",
        "02",
        "Li et al.: models of 1 B parameters that were pretrained on more toxic text are easier to detoxify"
        " afterwards.",
        ("li_2025_bad",),
        contrasts=(
            contrast(
                "refusals after 15 steps of SFT, 5 % unsafe documents",
                "less",
                ADVICE[0.05]("skill"),
                ADVICE[0.0]("skill"),
                0.05,
            ),
            contrast(
                "refusals after 15 steps of SFT, 20 % unsafe documents",
                "less",
                ADVICE[0.2]("skill"),
                ADVICE[0.0]("skill"),
                0.05,
            ),
        ),
        matched="tokens read, demonstrations, seed",
        first=FRESH,
        knob="the share of unsafe documents",
    ),
    Claim(
        "C023",
        "Mid-training decides whether reinforcement learning works: worked steps in the documents raise what"
        " the same GRPO reaches.",
        "A 1.1.2, 1.3",
        "measured",
        "02",
        "OctoThinker and Interplay say so; Tsilivis et al.: where worked solutions are rare, RL succeeds"
        " after next-token training fails.",
        ("octothinker_2025", "interplay_pre_mid_rl_2025", "tsilivis_2025"),
        contrasts=(
            *(
                contrast(
                    f"right answers after GRPO, {s:.0%} with steps against none",
                    "more",
                    WORKED[s]("skill"),
                    WORKED[0.0]("skill"),
                    0.1,
                )
                for s in (0.1, 0.2, 0.3)
            ),
            contrast(
                "answers in steps after GRPO, 30% against none",
                "more",
                WORKED[0.3]("in_steps"),
                WORKED[0.0]("in_steps"),
                0.1,
                counts=False,
            ),
            contrast(
                "what GRPO adds, 30% with steps",
                "more",
                WORKED[0.3]("skill"),
                WORKED[0.3]("skill", "before"),
                0.1,
                counts=False,
            ),
        ),
        matched="tokens read, problems, GRPO steps and samples, seed",
        knob="the share of worked solutions",
        depends="share",
    ),
    Claim(
        "C031",
        "General skill dips early in continued pretraining and then recovers: the stability gap.",
        "A 1.3",
        "measured",
        "02",
        "Guo et al. see drop and recovery on OpenLlama-3B; they explain it by unstable general abilities.",
        ("stability_gap_2024", "stability_gap_acl_2025"),
        contrasts=(
            contrast(
                "dip, 20 % replay: loss early against start",
                "more",
                DEFAULT("general_nats", "early"),
                DEFAULT("general_nats", "start"),
                0.02,
                NATS,
            ),
            contrast(
                "recovery, 20 % replay: loss at the end against early",
                "less",
                DEFAULT("general_nats"),
                DEFAULT("general_nats", "early"),
                0.02,
                NATS,
            ),
            contrast(
                "recovery, no replay: loss at the end against early",
                "less",
                NONE("general_nats"),
                NONE("general_nats", "early"),
                0.02,
                NATS,
            ),
            contrast(
                "dip without warm-up",
                "more",
                COLD("general_nats", "early"),
                COLD("general_nats", "start"),
                0.02,
                NATS,
                counts=False,
            ),
            contrast(
                "recovery without warm-up",
                "less",
                COLD("general_nats"),
                COLD("general_nats", "early"),
                0.02,
                NATS,
                counts=False,
            ),
        ),
        matched="the same run at three times; " + STEPS,
        knob="replay",
        depends="replay",
    ),
    Claim(
        "C032",
        "Early gradients push the model away from its general-purpose representations.",
        "A 1.3.1",
        "measured",
        "02",
        "The source's explanation of the gap; representation measures are rarely shown beside it.",
        ("kornblith_2019",),
        contrasts=(
            contrast(
                "likeness of the last layer early against start",
                "less",
                DEFAULT("likeness", "early"),
                DEFAULT("likeness", "start"),
                0.05,
                "CKA",
            ),
            contrast(
                "it comes back: likeness at the end against early",
                "more",
                DEFAULT("likeness"),
                DEFAULT("likeness", "early"),
                0.02,
                "CKA",
            ),
            contrast(
                "replay holds it: 50 % against none, early",
                "more",
                HALF("likeness", "early"),
                NONE("likeness", "early"),
                0.02,
                "CKA",
                counts=False,
            ),
            contrast(
                "the first block moves less than the last",
                "more",
                DEFAULT("likeness.1", "early"),
                DEFAULT("likeness", "early"),
                0.02,
                "CKA",
                counts=False,
            ),
        ),
        matched="the same run at three times; " + STEPS,
        knob="early or at the end",
    ),
    Claim(
        "C033",
        "A lower rate and a longer warm-up cure the early dip.",
        "A 1.3.1, 1.3.2",
        "measured",
        "02",
        "Named by the source; Guo et al. propose other remedies (several epochs on a subset, better data, a"
        " mixture near to pretraining).",
        ("stability_gap_2024",),
        contrasts=(
            contrast(
                "general loss when as much is learnt, lr 5e-4 against 5e-3",
                "less",
                LOW_OFTEN("general_nats", at=LEARNT),
                HIGH_OFTEN("general_nats", at=LEARNT),
                0.02,
                NATS,
            ),
            contrast(
                "general loss when as much is learnt, warm-up 60 against none",
                "less",
                SLOW_OFTEN("general_nats", at=LEARNT),
                COLD_OFTEN("general_nats", at=LEARNT),
                0.02,
                NATS,
            ),
            contrast(
                "worst general loss of the run, lr 5e-4 against 5e-3",
                "less",
                LOW_OFTEN("general_nats", "highest"),
                HIGH_OFTEN("general_nats", "highest"),
                0.02,
                NATS,
                counts=False,
            ),
            contrast(
                "worst general loss of the run, warm-up 60 against none",
                "less",
                SLOW_OFTEN("general_nats", "highest"),
                COLD_OFTEN("general_nats", "highest"),
                0.02,
                NATS,
                counts=False,
            ),
        ),
        matched="what is learnt: read where the loss on domain text first is 0.8 nats per character; "
        + STEPS,
        knob="the remedy: rate or warm-up",
        first=FRESH,
    ),
    Claim(
        "C034",
        "Narrow texts, always in the same words, make the model forget more.",
        "A 1.3.1",
        "measured",
        "02",
        "Named by the source; no study at hand.",
        contrasts=(
            contrast("known people, 5 wordings against 1", "more", READ("people"), READ_ONE("people"), 0.05),
            contrast(
                "general loss, 5 wordings against 1",
                "less",
                READ("general_loss"),
                READ_ONE("general_loss"),
                0.02,
                NATS,
            ),
        ),
        matched=STEPS + ", people and facts read about",
        knob="what is forgotten",
    ),
    Claim(
        "C035",
        "Too little replay deepens the dip.",
        "A 1.3.1, 1.3.2",
        "measured",
        "02",
        "Ibrahim et al.: more replay, less forgetting.",
        ("ibrahim_2024",),
        contrasts=(
            contrast(
                "worst general loss, none against 20 %",
                "more",
                NONE("general_nats", "highest"),
                DEFAULT("general_nats", "highest"),
                0.02,
                NATS,
            ),
            contrast(
                "worst general loss, 20 % against 50 %",
                "more",
                DEFAULT("general_nats", "highest"),
                HALF("general_nats", "highest"),
                0.02,
                NATS,
            ),
        ),
        matched=STEPS,
    ),
    Claim(
        "C036",
        "Noisy or mislabelled documents deepen the loss of general skill.",
        "A 1.3.1, 1.3.2",
        "measured",
        "02",
        "Named by the source; no study at hand.",
        contrasts=(
            contrast(
                "known people, a wrong fact in every document against none",
                "less",
                WRONG("people"),
                DEFAULT("people"),
                0.05,
            ),
            contrast(
                "general loss, a wrong fact in every document against none",
                "more",
                WRONG("general_nats"),
                DEFAULT("general_nats"),
                0.02,
                NATS,
            ),
            contrast(
                "general loss, boilerplate against none",
                "more",
                FURNITURE("general_nats"),
                DEFAULT("general_nats"),
                0.02,
                NATS,
                counts=False,
            ),
        ),
        matched=STEPS,
        knob="what is forgotten",
    ),
    Claim(
        "C037",
        "Holding the logits near the base's (KL) protects general skills, at equal compute as well as replay"
        " does.",
        "A 1.3.2",
        "measured",
        "02",
        "Retaining by Doing: data on the model's own distribution, not KL, explains what is kept.",
        ("retaining_by_doing_2025",),
        contrasts=(
            contrast("known people, KL 0.1 against nothing", "more", KL[0.1]("people"), NONE("people"), 0.05),
            contrast(
                "known people, KL 0.1 against 20 % replay", "same", KL[0.1]("people"), DEFAULT("people"), 0.05
            ),
            contrast(
                "loss on domain text, KL 0.1 against 20 % replay",
                "same",
                KL[0.1]("domain_nats"),
                DEFAULT("domain_nats"),
                0.02,
                CHARS,
            ),
            contrast(
                "known people, KL 0.02 against 20 % replay",
                "same",
                KL[0.02]("people"),
                DEFAULT("people"),
                0.05,
                counts=False,
            ),
            contrast(
                "loss on domain text, KL 0.02 against 20 % replay",
                "same",
                KL[0.02]("domain_nats"),
                DEFAULT("domain_nats"),
                0.02,
                CHARS,
                counts=False,
            ),
            contrast(
                "known people, KL 0.5 against 20 % replay",
                "same",
                KL[0.5]("people"),
                DEFAULT("people"),
                0.05,
                counts=False,
            ),
            contrast(
                "loss on domain text, KL 0.5 against 20 % replay",
                "same",
                KL[0.5]("domain_nats"),
                DEFAULT("domain_nats"),
                0.02,
                CHARS,
                counts=False,
            ),
        ),
        matched=(
            "compute: a step with the reference costs a third more, so KL gets 112 steps for 150; three"
            " settings of each remedy"
        ),
        knob="against what: nothing, or replay",
        depends="replay",
    ),
    Claim(
        "C038",
        "Much replay first, then annealed away, beats the same replay held constant.",
        "A 1.3",
        "measured",
        "02",
        "Curricula of mixtures are common; the gain over a flat mixture is contested.",
        contrasts=(
            contrast("known people", "more", ANNEALED("people"), DEFAULT("people"), 0.02),
            contrast(
                "loss on domain text", "less", ANNEALED("domain_nats"), DEFAULT("domain_nats"), 0.01, CHARS
            ),
        ),
        matched="total replay; " + STEPS,
        knob="what is kept or what is learnt",
    ),
    Claim(
        "C039",
        "Reading more of the sub-domains with a high loss helps them.",
        "A 1.3",
        "measured",
        "02",
        "DoReMi weighs domains by excess loss and gains; here the plain loss decides, as the source says.",
        ("doremi_2023",),
        contrasts=(
            contrast(
                "facts of the rarest sub-domain",
                "more",
                ADAPTIVE("drug_facts.nerves"),
                DEFAULT("drug_facts.nerves"),
                0.05,
            ),
            contrast(
                "loss on domain text, the three sub-domains alike",
                "less",
                ADAPTIVE("domain_nats"),
                DEFAULT("domain_nats"),
                0.01,
                CHARS,
            ),
            contrast(
                "all drug facts", "more", ADAPTIVE("drug_facts"), DEFAULT("drug_facts"), 0.05, counts=False
            ),
        ),
        matched="total tokens; " + STEPS,
        knob="recall or loss",
        items=32,
    ),
    Claim(
        "C040",
        "Without replay, continued pretraining forgets catastrophically.",
        "A 10",
        "measured",
        "02",
        "Known since the eighties; how much depends on the distance of the domains.",
        ("ibrahim_2024",),
        contrasts=(
            gain("known people", NONE, "people", "less", 0.1),
            gain("two-digit sums", NONE, "sums", "less", 0.1),
            gain("statements about known people", NONE, "statements", "less", 0.1, counts=False),
        ),
        matched="the same run before and after; " + STEPS,
    ),
)
