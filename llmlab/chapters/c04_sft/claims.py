"""Claims of chapter 04: what supervised fine-tuning changes, which tokens it should imitate, the template
trap, and the data.
"""

from dataclasses import replace

from ...ledger.claims import Arm, Claim, contrast, gain
from . import checks

NATS, TOKENS = "nats per token", "tokens"
STEPS = "optimiser steps, conversations a step, rate, seed (data order)"


def sft(label: str, **knobs) -> Arm:
    """An arm of SFT of the base model, read at the start and the end."""
    return Arm(label, "sft", {"steps": 120, "probe": 120, "held": 512} | knobs)


def template(trained: str, served: str, **knobs) -> Arm:
    """An arm of SFT under one template, read under another."""
    return Arm(
        f"trained {trained}, served {served}",
        "template",
        {"trained": trained, "served": served, "probe": 150, "held": 512} | knobs,
    )


def traces(label: str, **knobs) -> Arm:
    """An arm of SFT on tool dialogues."""
    return Arm(label, "traces", {"probe": 120, "held": 512} | knobs)


def unknown(label: str, **knobs) -> Arm:
    """An arm of SFT on questions about newcomers."""
    return Arm(label, "unknown", {"steps": 150, "probe": 150, "held": 512} | knobs)


def curate(label: str, **knobs) -> Arm:
    """An arm of SFT on own samples."""
    return Arm(label, "curate", {"probe": 100, "held": 512} | knobs)


def stages(method: str, trained: str, lr: float) -> Arm:
    """An arm of DPO or GRPO after SFT."""
    return Arm(
        f"{method} in the template {trained}",
        "stages",
        {"method": method, "trained": trained, "lr": lr, "probe": 60, "held": 512},
    )


NEW, SOME, HANDFUL = (
    sft("new conversations"),
    sft("300 conversations", examples=300),
    sft("30 conversations", examples=30),
)
SAFETY = {s: sft(f"{s:.0%} unsafe requests", examples=300, safety=s) for s in (0.02, 0.5, 0.8)}
VERBOSE = {s: sft(f"{s:.0%} long answers", verbose=s) for s in (0.2, 0.8)}
PROMPT = {
    (n, w): sft(f"{n} conversations, weight {w:g} on the prompt", examples=n, prompt_weight=w)
    for n in (64, 2000)
    for w in (0.0, 0.1, 1.0)
}
CALLS, JSON = sft("loss on the calls only", mask="calls"), sft("loss on the JSON only", mask="json")
FEW_CLEAN, MANY_CLEAN = sft("200 clean conversations", examples=200), PROMPT[2000, 0.0]
NOISY = sft("2,000, 30 % careless", examples=2000, wrong=0.3)
FILTERED = sft("2,000, 30 % careless, filtered", examples=2000, wrong=0.3, filtering="checked")
ABOUT_20, ABOUT_200 = (
    sft("1,000 about 20 people", examples=1000, people=20),
    sft("1,000 about 200 people", examples=1000),
)

MATCHED, SERVED_LITERAL, LITERAL = (
    template("control", "control"),
    template("control", "literal"),
    template("literal", "literal"),
)
NO_PROMPT, NO_PROMPT_BOTH = template("control", "no_prompt"), template("no_prompt", "no_prompt")
BOS, TWO_BOS = template("bos", "bos"), template("bos", "double_bos")
USER_RESULTS, USER_RESULTS_BOTH = (
    template("control", "user_results"),
    template("user_results", "user_results"),
)
PAD_IS_END = replace(template("control", "control", pad="turn end"), label="padding token = turn end")

GOLD, RETRY = traces("gold traces"), traces("30 % with error and retry", retry=0.3)
CHAINED = traces("30 % of two calls", chained=0.3)
COMPLETION = traces("loss on results too", mask="completion")
DIFFERS, COMPLETION_DIFFERS = (
    traces("half of the results other than memory", differs=0.5),
    traces("the same, loss on results too", differs=0.5, mask="completion"),
)
CUT = {
    how: traces(f"rows of 112 tokens, cut {how}", length=112, truncation=how)
    for how in ("right", "left", "middle")
}

OLD_ONLY, HALF_NEW = unknown("no newcomers", share=0.0), unknown("half about newcomers")
LITTLE = unknown("60 steps, 1 wording", steps=60, probe=60)
MUCH = unknown("600 steps, 6 wordings", steps=600, probe=300, wordings=6)
MUCH_ALIKE = unknown("600 steps, 1 wording", steps=600, probe=300)

KEPT = {keep: curate(f"{keep} of 8 samples", keep=keep) for keep in ("verified", "majority", "any")}
SOLUTIONS = curate("the right solutions", keep="solutions")
RATES = {"dpo": 1e-3, "grpo": 3e-4}
STAGE = {(m, t): stages(m, t, RATES[m]) for m in RATES for t in ("control", "literal")}

SHOWN = dict(counts=False)

CLAIMS = (
    Claim(
        "C041",
        "SFT starts behaviours: a few hundred conversations bring formats, tool calls and refusals.",
        "A 2.1.1, B 1",
        "measured",
        "04",
        "Common ground; how many examples are enough depends on the model.",
        contrasts=(
            gain("refusals, 30 conversations against before", HANDFUL, "refusals", "more", 0.3),
            gain("right tool calls, 300 conversations against before", SOME, "calls", "more", 0.3),
            gain("valid JSON, 300 conversations against before", SOME, "valid_json", "more", 0.3),
            contrast(
                "valid JSON, new conversations against 300",
                "more",
                NEW("valid_json"),
                SOME("valid_json"),
                0.05,
                **SHOWN,
            ),
        ),
        matched="the same run before and after; " + STEPS,
    ),
    Claim(
        "C042",
        "SFT is weak at putting in facts: the behaviour gets further in the same steps, old facts are lost,"
        " and the model learns to make facts up.",
        "A 2.1.2",
        "measured",
        "04",
        "Gekhman et al.: unknown facts are fitted slowly, and once fitted raise hallucination; Ovadia et al."
        " prefer retrieval.",
        ("gekhman_2024", "ovadia_2023"),
        contrasts=(
            contrast(
                "behaviour (saying that one does not know) against new facts, same run",
                "more",
                HALF_NEW("admits"),
                HALF_NEW("new"),
                0.05,
            ),
            contrast(
                "old facts, half of the questions about newcomers against none",
                "less",
                HALF_NEW("known"),
                OLD_ONLY("known"),
                0.05,
            ),
            contrast(
                "strangers admitted, half about newcomers against none",
                "less",
                HALF_NEW("admits"),
                OLD_ONLY("admits"),
                0.05,
            ),
            gain("old facts against before, half about newcomers", HALF_NEW, "known", "less", 0.05, **SHOWN),
        ),
        matched=STEPS
        + ", share of conversations about strangers; what is about newcomers is not about known people",
    ),
    Claim(
        "C043",
        "With large volumes SFT does put facts in.",
        "A 2.1.2",
        "measured",
        "04",
        "Volume and variety are usually changed together; Allen-Zhu and Li point at variety.",
        ("allen_zhu_2023",),
        contrasts=(
            contrast(
                "new facts in other wordings: 600 steps of 6 wordings against 60 of 1",
                "more",
                MUCH("new"),
                LITTLE("new"),
                0.05,
            ),
            contrast(
                "volume alone: 600 steps of 1 wording against 60",
                "more",
                MUCH_ALIKE("new"),
                LITTLE("new"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "variety alone: 6 wordings against 1, 600 steps",
                "more",
                MUCH("new"),
                MUCH_ALIKE("new"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "old facts: 600 steps of 6 wordings against 60 of 1",
                "less",
                MUCH("known"),
                LITTLE("known"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "strangers admitted: 600 steps of 6 wordings against 60 of 1",
                "less",
                MUCH("admits"),
                LITTLE("admits"),
                0.05,
                **SHOWN,
            ),
        ),
        matched="conversations a step, rate, newcomers, seed; volume is what is compared",
    ),
    Claim(
        "C044",
        "Imbalanced safety data makes a model refuse too little or too much.",
        "A 2.1.3",
        "measured",
        "04",
        "Common ground; few public measurements at equal size.",
        contrasts=(
            contrast(
                "too little: refusals, 2 % unsafe requests against 15 %",
                "less",
                SAFETY[0.02]("refusals"),
                SOME("refusals"),
                0.05,
            ),
            contrast(
                "too much: harmless refused, 80 % against 15 %",
                "more",
                SAFETY[0.8]("false_refusals"),
                SOME("false_refusals"),
                0.05,
            ),
            contrast(
                "too much: harmless refused, 50 % against 15 %",
                "more",
                SAFETY[0.5]("false_refusals"),
                SOME("false_refusals"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "what it costs: right tool calls, 80 % against 15 %",
                "less",
                SAFETY[0.8]("calls"),
                SOME("calls"),
                0.05,
                **SHOWN,
            ),
        ),
        matched="300 conversations, " + STEPS,
        knob="the direction",
    ),
    Claim(
        "C045",
        "Answers become as long as the labels: a verbose data set makes a verbose model.",
        "A 2.1.3",
        "measured",
        "04",
        "Trivial for SFT, where the label is the target; worth a row because it is so often forgotten.",
        contrasts=(
            contrast(
                "length of plain answers, 80 % long labels against 20 %",
                "more",
                VERBOSE[0.8]("length"),
                VERBOSE[0.2]("length"),
                2,
                TOKENS,
            ),
        ),
        matched=STEPS,
    ),
    Claim(
        "C046",
        "A template at serving time other than in training breaks roles and tool calls.",
        "A 2.1.3, 2.2",
        "measured",
        "04",
        "Known as the chat template trap. Liu et al. decide by it whether a base answers; Lyu et al. keep"
        " safety by another template at test time.",
        ("revisiting_grpo_2025", "lyu_2024"),
        contrasts=(
            contrast(
                "look-ups: served with literal roles",
                "less",
                SERVED_LITERAL("lookups"),
                MATCHED("lookups"),
                0.05,
            ),
            contrast(
                "look-ups: served without the generation prompt",
                "less",
                NO_PROMPT("lookups"),
                MATCHED("lookups"),
                0.05,
            ),
            contrast(
                "look-ups: a second begin-of-text token", "less", TWO_BOS("lookups"), BOS("lookups"), 0.05
            ),
            contrast(
                "turns that end: padding token = turn end",
                "less",
                PAD_IS_END("stops"),
                MATCHED("stops"),
                0.05,
            ),
            contrast(
                "cure: literal roles in training too",
                "more",
                LITERAL("lookups"),
                SERVED_LITERAL("lookups"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "cure: no generation prompt in training either",
                "more",
                NO_PROMPT_BOTH("lookups"),
                NO_PROMPT("lookups"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "refusals: served with literal roles",
                "less",
                SERVED_LITERAL("refusals"),
                MATCHED("refusals"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "literal roles throughout against control tokens",
                "less",
                LITERAL("lookups"),
                MATCHED("lookups"),
                0.05,
                **SHOWN,
            ),
        ),
        matched="conversations, " + STEPS,
        knob="which difference",
        depends="served",
    ),
    Claim(
        "C047",
        "The template must be the same in SFT, preference optimisation and reinforcement learning.",
        "A 2.2.1",
        "measured",
        "04",
        "Practice; no public ablation is known to us.",
        contrasts=(
            contrast(
                "polite answers as served, DPO in literal roles",
                "less",
                STAGE["dpo", "literal"]("polite"),
                STAGE["dpo", "control"]("polite"),
                0.05,
            ),
            contrast(
                "sums as served, GRPO in literal roles",
                "less",
                STAGE["grpo", "literal"]("sums"),
                STAGE["grpo", "control"]("sums"),
                0.05,
            ),
            contrast(
                "facts as served, DPO in literal roles",
                "less",
                STAGE["dpo", "literal"]("facts"),
                STAGE["dpo", "control"]("facts"),
                0.05,
                **SHOWN,
            ),
        ),
        matched="steps, pairs or samples a step, rate, seed",
        knob="the stage",
    ),
    Claim(
        "C048",
        "A tool's result must be marked as one, in the same template.",
        "A 2.2.1",
        "measured",
        "04",
        "Practice; no public ablation is known to us.",
        contrasts=(
            contrast(
                "trained with tool messages, served as the user's text",
                "less",
                USER_RESULTS("lookups"),
                MATCHED("lookups"),
                0.05,
            ),
            contrast(
                "as the user's text in training and serving",
                "less",
                USER_RESULTS_BOTH("lookups"),
                MATCHED("lookups"),
                0.05,
            ),
        ),
        matched="conversations, " + STEPS,
        knob="whether training and serving agree",
    ),
    Claim(
        "C049",
        "Roles are marked by control tokens, not by literal words such as 'User:'.",
        "A 2.2",
        "exact",
        "04",
        "The separation holds only if typed text is kept from becoming control tokens.",
        check=checks.literal_roles,
    ),
    Claim(
        "C050",
        "Loss on the user's tokens makes the model predict the prompt instead of answering.",
        "A 2.3.1",
        "measured",
        "04",
        "Shi et al.: loss on instructions helps with few examples and long prompts; other work finds a small"
        " weight best.",
        ("shi_2024",),
        contrasts=(
            contrast(
                "it predicts the prompt: weight 1 against 0",
                "less",
                PROMPT[2000, 1.0]("prompt_loss"),
                PROMPT[2000, 0.0]("prompt_loss"),
                0.5,
                NATS,
                **SHOWN,
            ),
            contrast(
                "facts, 2,000 conversations: weight 1 against 0",
                "less",
                PROMPT[2000, 1.0]("facts"),
                PROMPT[2000, 0.0]("facts"),
                0.05,
            ),
            contrast(
                "facts, 64 conversations: weight 1 against 0",
                "less",
                PROMPT[64, 1.0]("facts"),
                PROMPT[64, 0.0]("facts"),
                0.05,
            ),
            contrast(
                "facts, 2,000: weight 0.1 against 0",
                "less",
                PROMPT[2000, 0.1]("facts"),
                PROMPT[2000, 0.0]("facts"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "facts, 64: weight 0.1 against 0",
                "less",
                PROMPT[64, 0.1]("facts"),
                PROMPT[64, 0.0]("facts"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "general text, 2,000: weight 1 against 0",
                "less",
                PROMPT[2000, 1.0]("general_loss"),
                PROMPT[2000, 0.0]("general_loss"),
                0.05,
                NATS,
                **SHOWN,
            ),
        ),
        matched="conversations, " + STEPS,
        knob="what is asked, and how many examples there are",
    ),
    Claim(
        "C051",
        "Loss on a part of the answer is enough: on the tool call, or on the JSON.",
        "A 2.3.1",
        "measured",
        "04",
        "Practice; a span without the end of the turn does not teach when to stop.",
        contrasts=(
            contrast(
                "right calls: loss on the calls against on all answers",
                "same",
                CALLS("calls"),
                NEW("calls"),
                0.05,
            ),
            contrast(
                "valid JSON: loss on the JSON against on all answers",
                "same",
                JSON("valid_json"),
                NEW("valid_json"),
                0.05,
            ),
            contrast(
                "facts: loss on the calls against on all answers",
                "less",
                CALLS("facts"),
                NEW("facts"),
                0.05,
                **SHOWN,
            ),
        ),
        matched="conversations, " + STEPS,
        knob="which part: the calls with the end of their turn, or the JSON without it",
    ),
    Claim(
        "C052",
        "Results of tools are masked: else the model learns to predict them, and does worse with true ones.",
        "A 2.3",
        "measured",
        "04",
        "Practice; no public ablation is known to us.",
        contrasts=(
            contrast(
                "it predicts results: loss on them against masked",
                "less",
                COMPLETION("result_loss"),
                GOLD("result_loss"),
                0.5,
                NATS,
                **SHOWN,
            ),
            contrast(
                "follows the tool against memory: loss on results against masked",
                "less",
                COMPLETION("follows"),
                GOLD("follows"),
                0.05,
            ),
            contrast(
                "look-ups: loss on results against masked",
                "less",
                COMPLETION("lookups"),
                GOLD("lookups"),
                0.05,
            ),
            contrast(
                "follows, half of the results other than memory: loss on them against masked",
                "less",
                COMPLETION_DIFFERS("follows"),
                DIFFERS("follows"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "follows: results other than memory against true ones",
                "more",
                DIFFERS("follows"),
                GOLD("follows"),
                0.05,
                **SHOWN,
            ),
        ),
        matched="dialogues, " + STEPS,
        knob="what is asked",
    ),
    Claim(
        "C053",
        "What is too long must be cut so that the answer survives.",
        "A 2.3",
        "measured",
        "04",
        "Arithmetic for the labels; what it costs depends on the share of long rows.",
        contrasts=(
            contrast(
                "look-ups: cut on the right (the answer is lost) against on the left (it survives)",
                "less",
                CUT["right"]("lookups"),
                CUT["left"]("lookups"),
                0.05,
            ),
            contrast(
                "look-ups: cut in the middle (question and half the call are lost) against on the left",
                "less",
                CUT["middle"]("lookups"),
                CUT["left"]("lookups"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "labels a step: cut on the right against on the left",
                "less",
                CUT["right"]("tokens", "mean"),
                CUT["left"]("tokens", "mean"),
                10,
                TOKENS,
                **SHOWN,
            ),
        ),
        matched="dialogues, rows of 112 tokens, " + STEPS,
        first=30,
    ),
    Claim(
        "C054",
        "Rejection sampling improves the data: imitate only those own samples that a checker accepts.",
        "B data curation",
        "measured",
        "04",
        "STaR, RFT and ReST rest on it.",
        ("zelikman_2022", "yuan_2023_rft"),
        contrasts=(
            contrast(
                "sums: checked samples against any sample",
                "more",
                KEPT["verified"]("accuracy"),
                KEPT["any"]("accuracy"),
                0.05,
            ),
            gain("sums: checked samples against before", KEPT["verified"], "accuracy", "more", 0.05),
            contrast(
                "sums: the commonest sample against any",
                "more",
                KEPT["majority"]("accuracy"),
                KEPT["any"]("accuracy"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "sums: checked samples against the solutions",
                "same",
                KEPT["verified"]("accuracy"),
                SOLUTIONS("accuracy"),
                0.05,
                **SHOWN,
            ),
        ),
        matched="problems, samples a problem, " + STEPS,
    ),
    Claim(
        "C055",
        "A few good and varied examples beat many careless ones.",
        "B data curation",
        "measured",
        "04",
        "LIMA: a thousand curated examples suffice; random label noise is often averaged out, systematic"
        " noise is not.",
        ("zhou_2023_lima",),
        contrasts=(
            contrast(
                "formats: 200 clean against 2,000 with 30 % careless",
                "more",
                FEW_CLEAN("formats"),
                NOISY("formats"),
                0.05,
            ),
            contrast(
                "formats: 2,000 filtered against unfiltered",
                "more",
                FILTERED("formats"),
                NOISY("formats"),
                0.05,
            ),
            contrast(
                "formats: 1,000 about 200 people against 20",
                "more",
                ABOUT_200("formats"),
                ABOUT_20("formats"),
                0.05,
            ),
            contrast(
                "number alone, formats: 200 clean against 2,000 clean",
                "less",
                FEW_CLEAN("formats"),
                MANY_CLEAN("formats"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "refusals: 200 clean against 2,000 with 30 % careless",
                "more",
                FEW_CLEAN("refusals"),
                NOISY("refusals"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "facts: 200 clean against 2,000 with 30 % careless",
                "more",
                FEW_CLEAN("facts"),
                NOISY("facts"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "facts: 2,000 filtered against unfiltered",
                "more",
                FILTERED("facts"),
                NOISY("facts"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "facts: 1,000 about 200 people against 20",
                "more",
                ABOUT_200("facts"),
                ABOUT_20("facts"),
                0.05,
                **SHOWN,
            ),
        ),
        matched=STEPS,
        knob="which virtue: number against care, filtering, variety",
    ),
    Claim(
        "C056",
        "A model that saw gold traces only does not recover from a failed call.",
        "B 1",
        "measured",
        "04",
        "Traces with errors and retries teach recovery (Gandhi et al.), in pretraining and not by LoRA later"
        " (Ye et al.).",
        ("gandhi_2024", "ye_2024_mistakes"),
        contrasts=(
            contrast(
                "gold traces: look-ups with a failing call against without",
                "less",
                GOLD("recovers"),
                GOLD("lookups"),
                0.05,
            ),
            contrast(
                "30 % error and retry against gold: look-ups with a failing call",
                "more",
                RETRY("recovers"),
                GOLD("recovers"),
                0.05,
            ),
            contrast(
                "30 % error and retry against gold: look-ups without a failure",
                "less",
                RETRY("lookups"),
                GOLD("lookups"),
                0.05,
                **SHOWN,
            ),
        ),
        matched="dialogues, " + STEPS,
    ),
    Claim(
        "C057",
        "SFT teaches execution, not planning: it cannot make a model revise or compose, whatever the traces.",
        "B 1, summary",
        "measured",
        "04",
        "Stated without a condition it is a claim about the method; Gandhi et al. show that it is one about"
        " the data.",
        ("gandhi_2024",),
        contrasts=(
            contrast(
                "revises: 30 % error and retry against gold",
                "same",
                RETRY("recovers"),
                GOLD("recovers"),
                0.05,
            ),
            contrast(
                "composes: 30 % of two calls against single calls",
                "same",
                CHAINED("chains"),
                GOLD("chains"),
                0.05,
            ),
        ),
        matched="dialogues, " + STEPS,
    ),
)
