"""Claims of chapter 08: what tools and retrieval need, measured part by part."""

from ...ledger.claims import Arm, Claim, contrast, gain
from . import checks

HELD = 64
PLAIN = dict(held=HELD, steps=120, probe=120)


def tools(label: str, **knobs) -> Arm:
    """An arm of 120 steps of SFT of the base model on 16 dialogues a step."""
    return Arm(label, "tools", PLAIN | knobs)


MANY, SOME, FEW = (tools(f"{n:,} examples", examples=n) for n in (1000, 200, 50))
TWICE = tools("50 examples, 128 questions", examples=50, held=2 * HELD)
CALLS = tools("calls only", shown="calls")
PLANNED = tools("a plan before each call", chain=2, plan="on")
CHAINED = {n: tools(f"chains of up to {n}", chain=n) for n in (2, 3)}

TEXT, MASKED, ABSENT = (
    Arm(f"errors {w}", "repair", dict(says=s, held=48, steps=80, probe=80))
    for w, s in (
        ("say what is wrong", "text"),
        ("say that something is", "masked"),
        ("say nothing", "absent"),
    )
)
GOLD = Arm("gold traces only", "repair", dict(shown="gold", held=48, steps=80, probe=80))
WARNED = Arm("orders in results shown", "repair", dict(injected=0.2, held=48, steps=80, probe=80))

READ = dict(held=32, probe=40)
PRICED = {p: Arm(f"{p:g} points a call", "decide", dict(price=p) | READ) for p in (0.0, 0.2, 0.8)}
TAUGHT = {
    s: Arm(
        f"{s:.0%} answered without a call",
        "decide",
        dict(method="sft", no_calls=s, lr=1e-3, steps=120) | READ,
    )
    for s in (0.0, 0.1, 0.4)
}

FOUND = {w: Arm(w, "rag", dict(retriever=w, held=64)) for w in ("bm25", "states", "encoder", "hybrid")}
SHORT = Arm("chunks of 8 words", "rag", dict(length=8, overlap=2, held=64))
NAMED = Arm("chunks of 8 words with a header", "rag", dict(length=8, overlap=2, header="on", held=64))
FOUR = dict(steps=4, held=64)  # eight chunks are more tokens than the reader was ever shown
READ_FOUR = Arm("four chunks", "rag", FOUR)
STALE = Arm("four chunks, half with an older edition", "rag", dict(stale=0.5) | FOUR)

LEARNT = {
    w: Arm(f"knowledge: {label}", "knowledge", dict(way=w, held=64, probe=60))
    for w, label in (("cpt", "trained in"), ("retrieval", "retrieved"), ("both", "both"))
}
HASTY = Arm(
    "knowledge: trained in, 10 steps after the change", "knowledge", dict(update=10, held=64, probe=60)
)

LIKE = Arm("results like memory", "traces", {})
UNLIKE = Arm("half of the results unlike memory", "traces", dict(differs=0.5))

PAIRED = Arm(
    "pairs, 40% answered without a call",
    "decide",
    dict(method="dpo", no_calls=0.4, lr=3e-4, steps=120) | READ,
)
THERE = Arm("the passage is always there", "raft", dict(gold=1.0, held=128, steps=120, probe=120))
LACKING = {
    (w, g): Arm(
        f"there in {g:.0%}, else {said}", "raft", dict(gold=g, without=w, held=128, steps=120, probe=120)
    )
    for w, said in (("answer", "the answer is taught"), ("refuse", "refusing is taught"))
    for g in (0.8, 0.6)
}
ONCE = Arm(
    "there in 60%, else the answer is taught; no fact twice",
    "raft",
    dict(gold=0.6, domain=2000, held=128, steps=120, probe=120),
)

SFT = "dialogues, steps, rate, seed (which dialogues)"
SHOWN = dict(counts=False)
KNOWLEDGE = "shelf, change, questions, reader; not minutes: retrieval trains nothing, and pays in tokens"
QUESTIONS = "questions, shelf, reader; no training but the encoder's"

CLAIMS = (
    Claim(
        "C100",
        "Tools let a model look things up where it would guess.",
        "A 5",
        "measured",
        "08",
        "Toolformer and Gorilla: large gains on sums, facts and API calls.",
        ("toolformer_2023", "gorilla_2023"),
        contrasts=(
            gain("right about unknown people", TAUGHT[0.4], "right_unknown", "more", 0.2),
            gain("right about hard sums", TAUGHT[0.4], "right_hard", "more", 0.2),
            gain("right about known people", TAUGHT[0.4], "right_known", "more", 0.1, **SHOWN),
        ),
        matched="one run each: its end against its start",
        items=32,
        first=1,
    ),
    Claim(
        "C101",
        "Selection, arguments, execution and answer are problems of their own.",
        "A 5.0.15",
        "measured",
        "08",
        "A definition that practice bears out: valid calls with wrong arguments are the commonest failure.",
        ("gorilla_2023", "constraint_tax_2026"),
        contrasts=(
            contrast(
                "200 examples: right tool against right call", "more", SOME("selected"), SOME("right"), 0.15
            ),
            contrast(
                "200 examples: executable against right", "more", SOME("executable"), SOME("right"), 0.15
            ),
            contrast(
                "50 examples: right tool against right call", "more", FEW("selected"), FEW("right"), 0.15
            ),
        ),
        matched=SFT,
        items=HELD,
        first=1,
    ),
    Claim(
        "C102",
        "Constrained decoding enforces validity when the call is written.",
        "A 5.1.2",
        "measured",
        "08",
        "By construction, where the length allows the call to end; frameworks differ in the schemas they"
        " support.",
        ("jsonschemabench_2025",),
        contrasts=(
            contrast(
                "50 examples: valid under a grammar against free",
                "more",
                FEW("valid_grammar"),
                FEW("valid"),
                0.15,
            ),
            gain(
                "untrained: valid under a grammar, against SFT on 1,000",
                MANY,
                "valid_grammar",
                "same",
                0.05,
                **SHOWN,
            ),
        ),
        matched="the same weights and questions, decoded in two ways",
        items=HELD,
        first=1,
    ),
    Claim(
        "C103",
        "Retries that read the error repair what fresh tries do not.",
        "A 5.0.2",
        "measured",
        "08",
        "Common practice (self-heal loops); we found no test at equal tokens.",
        (),
        contrasts=(
            contrast(
                "repaired against fresh tries of as many tokens",
                "more",
                TEXT("repaired"),
                TEXT("resampled"),
                0.15,
            ),
            contrast(
                "repaired, errors that say what is wrong against masked ones",
                "more",
                TEXT("repaired"),
                MASKED("repaired"),
                0.15,
            ),
        ),
        matched="tokens sampled a task (first part); traces, steps, seed (second part)",
        items=96,
        first=1,
    ),
    Claim(
        "C104",
        "Training on the full loop (call, result, answer) is what makes answers right.",
        "A 5.1.1",
        "measured",
        "08",
        "The form of all public tool data sets.",
        ("toolformer_2023", "toollmm_2023"),
        contrasts=(
            contrast(
                "answers right, full loop against calls only",
                "more",
                MANY("answered"),
                CALLS("answered"),
                0.2,
            ),
            contrast(
                "calls right, full loop against calls only", "same", MANY("right"), CALLS("right"), 0.15
            ),
        ),
        matched=SFT,
        items=HELD,
        first=1,
    ),
    Claim(
        "C105",
        "An explicit plan before the call helps.",
        "A 5.1.1",
        "measured",
        "08",
        "The source calls it optional. ReAct-style agents report gains on tasks of many steps.",
        (),
        contrasts=(
            contrast(
                "two calls: answers right with a plan",
                "more",
                PLANNED("answered_2"),
                CHAINED[2]("answered_2"),
                0.15,
            ),
            contrast("one call: right with a plan", "more", PLANNED("right"), CHAINED[2]("right"), 0.15),
        ),
        matched=SFT + "; not tokens: plans are longer",
        items=HELD,
        first=1,
    ),
    Claim(
        "C106",
        "Examples in which no tool is called teach when not to call.",
        "A 5.1",
        "measured",
        "08",
        "When2Call: large models call too often; pairs help more than SFT.",
        ("when2call_2025", "when2tool_2026"),
        contrasts=(
            contrast(
                "needless calls, 40 % against none",
                "less",
                TAUGHT[0.4]("needless"),
                TAUGHT[0.0]("needless"),
                0.3,
            ),
            contrast(
                "needless calls, 10 % against none",
                "less",
                TAUGHT[0.1]("needless"),
                TAUGHT[0.0]("needless"),
                0.2,
            ),
            contrast(
                "no call where one is needed, 40 % against none",
                "same",
                TAUGHT[0.4]("missed"),
                TAUGHT[0.0]("missed"),
                0.2,
            ),
        ),
        matched="examples, steps, rate, seed",
        items=96,
        first=1,
    ),
    Claim(
        "C107",
        "Trajectories of several calls cure chaining failures.",
        "A 5.1",
        "measured",
        "08",
        "ReAct-style agents; see C056 and C057 for rewards in place of traces.",
        (),
        contrasts=(
            contrast(
                "two calls: chains of two against single calls",
                "more",
                CHAINED[2]("answered_2"),
                MANY("answered_2"),
                0.2,
            ),
            contrast(
                "three calls: chains of three against single calls",
                "more",
                CHAINED[3]("answered_3"),
                MANY("answered_3"),
                0.15,
            ),
            contrast(
                "three calls, only two shown, against single calls",
                "more",
                CHAINED[2]("answered_3"),
                MANY("answered_3"),
                0.15,
                **SHOWN,
            ),
        ),
        matched=SFT,
        items=HELD,
        first=1,
    ),
    Claim(
        "C108",
        "Answers become grounded in the tool's result.",
        "A 5.1.1",
        "measured",
        "08",
        "Where results always agree with memory, both look grounded; results that differ tell them apart.",
        (),
        contrasts=(
            gain("the tool is followed where memory differs", UNLIKE, "follows", "more", 0.3),
            contrast(
                "followed, half of the results unlike memory against none",
                "more",
                UNLIKE("follows"),
                LIKE("follows"),
                0.15,
            ),
        ),
        matched=SFT,
        items=64,
        first=1,
    ),
    Claim(
        "C109",
        "RAG is tool use: the model that searches reads as well as one that is given the passages.",
        "A 5, note",
        "measured",
        "08",
        "A definition; what differs is who decides to search and writes the query.",
        ("raft_2024",),
        contrasts=(
            contrast(
                "right answers, own search against given passages",
                "same",
                READ_FOUR("by_tool"),
                READ_FOUR("accuracy"),
                0.15,
            ),
        ),
        matched=QUESTIONS + "; chunks shown",
        items=64,
        first=6,
    ),
    Claim(
        "C110",
        "More data or constrained decoding? A grammar buys validity, data buys right arguments.",
        "A 11.4",
        "measured",
        "08",
        "The source asks; it does not answer.",
        ("constraint_tax_2026", "think_before_constraining_2026"),
        contrasts=(
            contrast(
                "right: 1,000 examples free against 50 under a grammar",
                "more",
                MANY("right"),
                FEW("right_grammar"),
                0.2,
            ),
            contrast(
                "valid: the grammar's gain at 50 against at 1,000",
                "more",
                FEW("valid_grammar"),
                FEW("valid"),
                0.15,
            ),
            contrast(
                "right: the grammar's gain at 1,000 examples",
                "same",
                MANY("right_grammar"),
                MANY("right"),
                0.15,
            ),
        ),
        matched=SFT + "; the number of distinct dialogues is what differs",
        items=HELD,
        first=1,
    ),
    Claim(
        "C111",
        "Models already learn tool formats from a few examples in the prompt, and lack planning and"
        " recovery.",
        "B 2",
        "measured",
        "08",
        "Said of models of 0.6 B parameters and more.",
        why="the lab model has not the instructions to read examples in a prompt; on a real model:"
        " llmlab run tools --model Qwen/Qwen3-0.6B --steps 10",
    ),
    Claim(
        "C141",
        "A response format without a branch for calls makes calls impossible, whatever the model has learnt.",
        "ours",
        "exact",
        "08",
        "Tool suppression in production models under both features at once.",
        ("suppression_2026",),
        check=checks.no_branch_no_call,
    ),
    Claim(
        "C142",
        "A grammar turns calls that were invalid into calls that are wrong but valid.",
        "ours",
        "measured",
        "08",
        "Models of 0.5 to 1.7 B parameters: validity 62 to 100 %, accuracy 20 to 11 %, wrong but valid 50"
        " to 89 %.",
        ("constraint_tax_2026",),
        contrasts=(
            contrast(
                "50 examples: wrong but valid under a grammar against free",
                "more",
                TWICE("wrong_but_valid_grammar"),
                TWICE("wrong_but_valid"),
                0.15,
            ),
            contrast(
                "50 examples: right under a grammar against free",
                "less",
                TWICE("right_grammar"),
                TWICE("right"),
                0.1,
            ),
        ),
        matched="the same weights and questions, decoded in two ways",
        items=2 * HELD,
        first=6,
    ),
    Claim(
        "C143",
        "What an error says decides what can be repaired and what is done twice.",
        "ours",
        "measured",
        "08",
        "An official tool server hides the text of ordinary exceptions from the model.",
        (),
        contrasts=(
            contrast(
                "renamed field found, error text against masked",
                "more",
                TEXT("renamed"),
                MASKED("renamed"),
                0.3,
            ),
            contrast(
                "orders placed twice, masked against error text",
                "more",
                MASKED("double_orders"),
                TEXT("double_orders"),
                0.2,
            ),
            contrast(
                "one order after a time-out, errors shown against gold traces",
                "more",
                TEXT("placed"),
                GOLD("placed"),
                0.3,
            ),
        ),
        matched="traces, steps, rate, seed",
        items=48,
        first=1,
    ),
    Claim(
        "C144",
        "A reward for right answers alone makes a model call where it need not; a price cures it, and too"
        " high a"
        " price stops the calls that are needed.",
        "ours",
        "measured",
        "08",
        "A reward that counts calls removes up to 68 % of them; the boundary depends on what the model"
        " knows.",
        ("otc_2025", "when2tool_2026"),
        contrasts=(
            contrast(
                "needless calls, 0.2 points against none",
                "less",
                PRICED[0.2]("needless"),
                PRICED[0.0]("needless"),
                0.15,
            ),
            contrast(
                "no call where memory fails, 0.8 points against 0.2",
                "more",
                PRICED[0.8]("missed"),
                PRICED[0.2]("missed"),
                0.2,
            ),
            gain("needless calls by outcome alone", PRICED[0.0], "needless", "more", 0.1, **SHOWN),
        ),
        matched="samples, steps, rate, seed",
        items=64,
        first=1,
    ),
    Claim(
        "C145",
        "Short chunks lose the name that a fact belongs to; a header gives it back.",
        "ours",
        "measured",
        "08",
        "Practice: chunks with a title or a summary in front are found and read better.",
        (),
        contrasts=(
            contrast("found, 8 words against 32", "less", SHORT("recall"), FOUND["bm25"]("recall"), 0.15),
            contrast(
                "found, 8 words with a header against without", "more", NAMED("recall"), SHORT("recall"), 0.15
            ),
            contrast(
                "answered, 8 words with a header against without",
                "more",
                NAMED("accuracy"),
                SHORT("accuracy"),
                0.15,
            ),
        ),
        matched=QUESTIONS,
        items=64,
        first=1,
    ),
    Claim(
        "C146",
        "The ids that are trained are the ids that were sampled, over all turns of a conversation with"
        " tools.",
        "ours",
        "exact",
        "08",
        "Histories that are made into text and tokenised again differ from what was sampled; libraries"
        " had this bug.",
        (),
        check=checks.sampled_is_trained,
    ),
    Claim(
        "C147",
        "A language model's own states find nothing by name; a contrast of under a minute makes an"
        " encoder of them.",
        "ours",
        "measured",
        "08",
        "BM25 is hard to beat where names are rare words; encoders trained on pairs beat it on open"
        " questions.",
        ("dpr_2020", "rrf_2009"),
        contrasts=(
            contrast(
                "found, untrained states against BM25",
                "less",
                FOUND["states"]("recall"),
                FOUND["bm25"]("recall"),
                0.3,
            ),
            contrast(
                "found, trained encoder against untrained states",
                "more",
                FOUND["encoder"]("recall"),
                FOUND["states"]("recall"),
                0.3,
            ),
            contrast(
                "found, both against BM25",
                "more",
                FOUND["hybrid"]("recall"),
                FOUND["bm25"]("recall"),
                0.05,
                **SHOWN,
            ),
        ),
        matched=QUESTIONS,
        items=64,
        first=1,
    ),
    Claim(
        "C148",
        "An older edition in the library costs answers, although it holds the right name.",
        "ours",
        "measured",
        "08",
        "Stale documents are among the commonest reports of users.",
        (),
        contrasts=(
            contrast(
                "answered, half with an older edition against none",
                "less",
                STALE("accuracy"),
                READ_FOUR("accuracy"),
                0.15,
            ),
        ),
        matched=QUESTIONS,
        items=64,
        first=6,
    ),
    Claim(
        "C149",
        "Retrieval follows an update and a removal at once; what was trained in does not.",
        "ours",
        "measured",
        "08",
        "FineTuneBench: commercial fine-tuning taught models 37 % of new facts and 19 % of updated ones;"
        " retrieval has no such step.",
        ("finetunebench_2024", "ovadia_2023"),
        contrasts=(
            contrast(
                "withdrawn facts still told, trained in against retrieved",
                "more",
                LEARNT["cpt"]("leak"),
                LEARNT["retrieval"]("leak"),
                0.15,
            ),
            contrast(
                "new values told, retrieved against trained in for 10 steps",
                "more",
                LEARNT["retrieval"]("updated"),
                HASTY("updated"),
                0.2,
            ),
            contrast(
                "new values told, retrieved against trained in for 40 steps",
                "more",
                LEARNT["retrieval"]("updated"),
                LEARNT["cpt"]("updated"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "withdrawn facts told, trained and retrieved against retrieved",
                "more",
                LEARNT["both"]("leak"),
                LEARNT["retrieval"]("leak"),
                0.1,
                **SHOWN,
            ),
        ),
        matched=KNOWLEDGE,
        items=64,
        first=1,
    ),
    Claim(
        "C150",
        "Continued pretraining answers without a passage's tokens; retrieval pays them at every query and"
        " answers more of the questions in wordings that training never shows.",
        "ours",
        "measured",
        "08",
        "Ovadia et al.: retrieval beats unsupervised fine-tuning on new facts, which are learnt better from"
        " several paraphrases.",
        ("ovadia_2023", "finetunebench_2024"),
        contrasts=(
            contrast(
                "tokens a query, trained in against retrieved",
                "less",
                LEARNT["cpt"]("query_tokens"),
                LEARNT["retrieval"]("query_tokens"),
                100,
                "tokens",
            ),
            contrast(
                "paraphrased questions right, retrieved against trained in",
                "more",
                LEARNT["retrieval"]("paraphrase"),
                LEARNT["cpt"]("paraphrase"),
                0.15,
            ),
            contrast(
                "skills of before, trained in against retrieved",
                "less",
                LEARNT["cpt"]("kept"),
                LEARNT["retrieval"]("kept"),
                0.05,
                **SHOWN,
            ),
            contrast(
                "paraphrased questions right, both against retrieved",
                "more",
                LEARNT["both"]("paraphrase"),
                LEARNT["retrieval"]("paraphrase"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "inverse questions by retrieval, leaflet found against name told",
                "more",
                LEARNT["retrieval"]("inverse_found"),
                LEARNT["retrieval"]("inverse"),
                0.3,
                **SHOWN,
            ),
        ),
        matched=KNOWLEDGE,
        items=64,
        first=1,
    ),
    Claim(
        "C151",
        "Training without the gold passage teaches to answer without support, unless refusing is what is"
        " taught.",
        "ours",
        "measured",
        "08",
        "RAFT leaves the passage out of a share of its examples and teaches the answer there too; the best"
        " share differs from data set to data set.",
        ("raft_2024",),
        contrasts=(
            contrast(
                "made up where it is not there, 60 % with answers against always",
                "more",
                LACKING["answer", 0.6]("unsupported"),
                THERE("unsupported"),
                0.1,
            ),
            contrast(
                "made up where it is not there, 60 %: refusals taught against answers",
                "less",
                LACKING["refuse", 0.6]("unsupported"),
                LACKING["answer", 0.6]("unsupported"),
                0.1,
            ),
            contrast(
                "refused where it is not there, 60 % with refusals against always",
                "more",
                LACKING["refuse", 0.6]("refused"),
                THERE("refused"),
                0.2,
            ),
            contrast(
                "refused where it is not there, 80 % with refusals against always",
                "more",
                LACKING["refuse", 0.8]("refused"),
                THERE("refused"),
                0.2,
            ),
            contrast(
                "made up where it is not there, 80 % with answers against always",
                "more",
                LACKING["answer", 0.8]("unsupported"),
                THERE("unsupported"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "taught facts recalled behind other passages, 60 % with answers against always",
                "more",
                LACKING["answer", 0.6]("recalled"),
                THERE("recalled"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "right with the passage, 60 % with answers against always",
                "less",
                LACKING["answer", 0.6]("gold"),
                THERE("gold"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "refused although it is there, 60 % with refusals against always",
                "more",
                LACKING["refuse", 0.6]("over_refused"),
                THERE("over_refused"),
                0.1,
                **SHOWN,
            ),
            contrast(
                "made up where it is not there, 60 % with answers: facts repeated against none twice",
                "more",
                LACKING["answer", 0.6]("unsupported"),
                ONCE("unsupported"),
                0.1,
                **SHOWN,
            ),
            gain("refused, the passage always there", THERE, "refused", "less", 0.2, **SHOWN),
        ),
        matched="questions, facts, steps, rate, seed",
        items=128,
        first=1,
    ),
    Claim(
        "C152",
        "Pairs teach when to call better than examples.",
        "ours",
        "measured",
        "08",
        "When2Call: preference training improves the decision considerably more than SFT.",
        ("when2call_2025",),
        contrasts=(
            contrast(
                "needless calls, pairs against examples",
                "less",
                PAIRED("needless"),
                TAUGHT[0.4]("needless"),
                0.1,
            ),
            contrast(
                "no call where memory fails, pairs against examples",
                "less",
                PAIRED("missed"),
                TAUGHT[0.4]("missed"),
                0.15,
            ),
            contrast(
                "right answers, pairs against examples",
                "more",
                PAIRED("accuracy"),
                TAUGHT[0.4]("accuracy"),
                0.1,
                **SHOWN,
            ),
        ),
        matched=("questions, steps, seed; not the rate, nor tokens: a pair is two rows"),
        items=64,
        first=2,
    ),
)
