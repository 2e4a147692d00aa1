# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py//py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 · Tools and retrieval
#
# *Run ▸ Run All Cells* starts this chapter.
#
# **Where we are.** So far the model has learnt to answer, from preferences and by reinforcement. Now it gets tools: a calculator, a directory of people, and a search in documents.
#
# ```
# question → which tool, or none → arguments → result or error → answer that rests on the result
# question → passages that were found → answer with its source
# ```
#
# **For a ten-year-old.** You don't have to know every phone number. You have to know where the phone book is, how to look up a name, and what to do when the page is torn out.
#
# **In an interview.** *I measure four things separately: choice of the tool, arguments, execution and answer. A grammar guarantees the form of a call, not its content. A call has a price, so whether to call depends on what the model already knows. Retrieval is one more tool. When an answer is wrong, I first ask which half failed: was the passage found, and was it read correctly?*
#
# New terms:
#
# - A **tool call** is a name with arguments in JSON. A **schema** says which names and arguments are allowed. A call is **wrong but valid** if it fits the schema and asks for the wrong thing. A **trajectory** is a call, its result and the answer, in turn; with a written thought before each call it is *ReAct* [Yao et al. 2022].
# - **Constrained decoding** gives probability 0 to every token that can't lead to a valid text.
# - A **retriever** finds passages, and a **reader** answers from them. **recall@k** is the share of questions whose relevant (*gold*) passage is among the first k.

# %%
import pandas as pd

from llmlab.learn.notebook import references, show
from llmlab.learn.widgets import Drills, Panel, Predict, TokenStrip
from llmlab.models.load import load
from llmlab.tokens import chat

pd.set_option("display.max_colwidth", None)

# %% [markdown]
# ## 0 · Look
#
# Does the model know when it needs a tool? In training it saw calls wherever tools were offered. Now we offer tools and ask what it knows by heart:

# %%
from llmlab.world.desk import SYSTEM, TOOLS
from llmlab.train.sample import sample

talker = load("chat")


def said(question, tools=TOOLS):
    """The model's first turn, greedy."""
    turns = ({"role": "system", "content": SYSTEM},
             {"role": "user", "content": question})
    ids = chat.prompt(talker.tok, turns, tools)
    done = sample(talker.model, [ids], max_new=48, temperature=0.0,
                  stop=chat.stop_ids(talker.tok))
    return talker.tok.decode(done.ids[0][:-1])

# %%
asked = ["Where does Henry Otto live?", "Name the job of Anna Weber.",
         "What is 57 + 60?"]
pd.DataFrame({"question": asked, "with tools": [said(q) for q in asked],
              "without": [said(q, None) for q in asked]})

# %% [markdown]
# Compare the last two columns. With tools on offer it calls for all three questions, and about people it calls wrongly: it picks another tool, or arguments that no schema allows. Even without tools it writes a call for a sum that it could do in its head, because sums went with calls in training.
#
# ## 1 · By hand: four numbers
#
# Here are four possible first turns for one question. Which are *valid*, *right*, *executable*, and *wrong but valid*?

# %%
from llmlab.chapters.c08_tools_and_retrieval.tools import judge
from llmlab.world.desk import Desk, call, call_text

question = next(p for p in Desk(1, expect="call").problems(40, seed=7)
                if p.question.startswith("Look up the pet"))
person = question.question.removesuffix(".").split(" of ")[1]
turns = {
    "right": call_text(call("census", person=person, field="pet")),
    "wrong field": call_text(call("census", person=person, field="job")),
    "wrong name": call_text(call("census", person="Nobody Here", field="pet")),
    "not in the schema": call_text(call("census", person=person, field="animal")),
}
pd.DataFrame({name: judge(question, text) for name, text in turns.items()}).T

# %% [markdown]
# The second row is the dangerous one: its call is valid, it runs, and it answers another question. No error tells you, so you need all four numbers. Of the public tests, BFCL (Berkeley) compares calls with the right ones and runs them; τ-bench looks at the database after a whole dialogue [Yao et al. 2024].
#
# ## 2 · What is trained
#
# Which tokens of a trajectory does the model learn? Only what the assistant wrote carries loss. The model reads the tool's result but doesn't imitate it. In the picture, a darker token sends a larger gradient:

# %%
from llmlab.methods import imitation
from llmlab.tokens.batch import Batch

desk = Desk(1, tools=("census",))
lookup = desk.problems(1, seed=3)[0]
trace = chat.example(talker.tok, lookup.messages, desk.solution(lookup),
                     lookup.meta["tools"])
strip = TokenStrip(talker.tok, Batch.of_rows(talker.tok, [trace]), talker.model,
                   imitation.nll)
strip.picture("gradient")

# %% [markdown]
# Find the looked-up value: it is white where the tool says it and coloured where the assistant repeats it. The pieces of the name are darkest, because the model is least sure of copying an unseen name.
#
# Reinforcement learning uses the same mask, and one more rule: train on the token ids that were *sampled*. A conversation that is turned into text and tokenised again can give other ids. In the lab it never did (C146); elsewhere it has.
#
# ## 3 · Data: from no calls to right calls
#
# How many examples does a model need before it calls correctly? A base model that has never seen a dialogue is shown 50 or 1,000 different ones, for the same number of steps. (At scale, tools brought large gains on sums, facts and API calls [Schick et al. 2023; Patil et al. 2023].) The numbers are means over five stored seeds:

# %%
from llmlab.lab import runs
from llmlab.learn.notebook import ends

# %%
def table(suffix=""):
    """Calls after both trainings, under one way of decoding."""
    shown = {f"{n} examples": dict(examples=n) for n in (50, 1000)}
    names = {"valid": "valid", "right": "right", "wrong_but_valid": "wrong but valid"}
    return ends("tools", shown, {f"{m}{suffix}": name for m, name in names.items()})

# %%
Predict("With 50 examples, what share of the calls has the right tool and arguments?",
        lambda: float(table().loc["50 examples", "right"]), kind="number", unit="share",
        low=0, high=1, shows=table,
        why="The model learns the tool first and complete calls later. The "
            "arguments, which it must copy from the question, come last.")

# %% [markdown]
# Compare *right* with *valid*. In the lab, most calls of the model that saw few dialogues fit the schema, and most of those are wrong. More *different* dialogues make the difference, at the same number of steps.
#
# The panel trains the model here, in under a minute. *calls only* shows it first calls, without results and answers. *no counterexamples* leaves out the dialogues in which no tool helps. Below the panel are the stored means of five seeds:

# %%
Panel("tools", show=["examples", "no_calls", "shown"])

# %%
kinds = {"1,000 examples": {}, "calls only": dict(shown="calls"),
         "no counterexamples": dict(no_calls=0.0)}
ends("tools", kinds,
     {"right": "right calls", "answered": "questions answered",
      "false_calls": "calls where no tool helps"})

# %% [markdown]
# Compare the lower rows with the first. With calls only, no question gets answered. More first calls are right in these runs, which the ledger leaves open (C104). Without counterexamples, every piece of small talk triggers a call. The table doesn't show longer chains: chains of two calls don't teach chains of three (C107).

# %% [markdown]
# ## 4 · Constrained decoding
#
# Can decoding make up for missing data? The grammar is made from the schemas. *auto* allows a text, a call, or a text and then a call; *call* forces a call; *text* has no branch for calls.

# %%
from llmlab.train import tool_grammar

print(*(f"{mode:5} {rule}" for mode, rule in tool_grammar.MODES.items()), sep="\n")
show(tool_grammar.lark)

# %% [markdown]
# Here are the models of section 3 again, decoded under *call*:

# %%
table("_grammar")

# %% [markdown]
# Compare the columns with those in section 3. The grammar makes more calls *valid*; how many of the repaired calls are also *right* depends on the model. After few dialogues most are wrong but valid, after many a larger part is right. (In the ledger's runs, at other settings, the grammar adds hardly any right calls after many dialogues: C110.) Some calls stay invalid because they are cut off after 64 tokens.
#
# At scale a hard schema can cost right answers, the *constraint tax* (section 13).
#
# **A switch to know.** If a response format leaves out the tools, calls become impossible, whatever the model has learnt (C141). In production this looks like a model that "stopped using its tools".
#
# ## 5 · To call or not to call
#
# When is a call worth its price? A call that is right with chance $p_{\text{tool}}$ pays off if $p_{\text{tool}} - \text{price} > p_{\text{memory}}$. By hand, for a tool that is right nine times in ten:

# %%
from llmlab.models.load import card

kinds = ["census questions", "two-digit sums", "three-digit sums", "two-digit products"]
memory = pd.Series({kind: card("chat")["skills"][kind] for kind in kinds})
worth = {True: "call", False: "answer"}
pd.DataFrame({"right from memory": memory.round(2)} | {
    f"price {price:g}": (0.9 - price > memory).map(worth) for price in (0.0, 0.2, 0.5)})

# %% [markdown]
# Read along a row: the higher the price, the fewer calls pay. So "does it call too often?" has no answer unless you know the price and what the model knows. A small model may be right to look everything up.
#
# Can the model find this boundary by itself? The chat model gets two tools and mixed questions. It learns from examples, or from a reward for right answers minus a price per call:

# %%
Panel("decide", show=["method", "price", "no_calls"])

# %% [markdown]
# In the ledger's arms, the first three rows learn by reward and the last three from examples:

# %%
from llmlab.chapters.c08_tools_and_retrieval import claims
from llmlab.chapters.c08_tools_and_retrieval.decide import Decide
from llmlab.learn import draw

ways = {arm.label: arm for arm in (*claims.PRICED.values(), *claims.TAUGHT.values())}
draw.means(ways, {m: Decide.curves[m] for m in (
    "needless", "missed", "calls_half", "calls_unknown", "need")})

# %% [markdown]
# Read the first two columns together: a model at the boundary has low numbers in both. In the lab no row gets there by reward. A low price lowers the needless calls. Whether a high one also stops calls that were needed is open: the seeds differ widely (C144). The models hardly ever look up unknown people, and call for most half-mastered sums at every price. One explanation is that a group whose samples all do the same teaches nothing.
#
# Examples draw the boundary better. The more of them are answered without a call, the fewer calls are needless, at the cost of some that were needed (C106).
#
# The last column, *need*: how well does a linear probe tell from the last hidden state whether a call will be needed? At scale its AUC is 0.89 to 0.96 [Sun et al. 2026]. In the lab it is lower after training by reward. A model can "know" that it needs a tool and still not act on it.
#
# ## 6 · When a tool fails
#
# What should a model do when something goes wrong? It depends on what:
#
# - After a temporary failure, call again.
# - If a field was renamed, use the word that the error names.
# - If there is nothing to find, say so.
# - If an order timed out, it may have been placed. Look, and do *not* order again.
# - If a result contains an instruction, ignore it.
#
# The fourth case, solved correctly:

# %%
from llmlab.world.mishaps import Mishaps

world = Mishaps(("placed",))
task = world.problems(1, seed=2)[0]
pd.DataFrame([(m["role"], m["content"] or call_text(m))
              for m in [*task.messages[1:], *world.solution(task)]],
             columns=["who", "what"])

# %%
Panel("repair", show=["shown", "says", "injected"])

# %% [markdown]
# How much do the training traces matter, and how much the text of the error? In *gold traces* nothing goes wrong. The table shows means over five seeds:

# %%
ends("repair", {"errors shown": {}, "gold traces only": dict(shown="gold"),
                "errors masked": dict(says="masked"),
                "no error text": dict(says="absent")},
     {"repaired": "repaired", "resampled": "by independent samples",
      "renamed": "renamed field", "double_orders": "ordered twice",
      "gave_up": "gives up correctly", "misled": "misled"})

# %% [markdown]
# Compare *repaired* with *by independent samples*, which spends as many tokens on fresh attempts. A model that saw only gold traces learnt the task equally well, but it repairs nothing: independent samples do better.
#
# A masked error hides what only its text can tell, the new name of a field. It also leads to double orders, because the solutions shown for it simply try again. Asking for the status first would be better (exercise `next_move`). Nothing here protects against an instruction inside a result (*misled*) unless training shows some: try *orders shown too*.
#
# The Python SDK of MCP (2.3) hides the text of ordinary exceptions from the model unless you raise its own `ToolError`, so whether errors are masked is one line in your server.
#
# ## 7 · Retrieval by hand
#
# How does a search find a passage? Here a library of leaflets is cut into chunks. BM25 looks for shared words, and rare words count most. Dense vectors find passages that a model represents similarly; among millions, an approximate index such as HNSW [Malkov & Yashunin 2016] looks at a small part and misses a few.

# %%
from llmlab.retrieval.chunks import cut
from llmlab.retrieval.rank import BM25, best, fused
from llmlab.world.shelf import Shelf

shelf = Shelf(drugs=20, people=10)
pieces = [c for leaflet in shelf.leaflets
          for c in cut(leaflet.source, leaflet.text, 24, 6)]
wanted = shelf.problems(1, seed=1)[0]
query = wanted.question.split("\n")[-1].removesuffix(" Cite it.")
scores = BM25([p.text for p in pieces]).scores(query)
print(query, "→", wanted.answer)
pd.DataFrame([(round(float(scores[i]), 2), pieces[i].source, pieces[i].text)
              for i in best(scores, 3)], columns=["score", "source", "chunk"])

# %%
show(BM25, fused)

# %% [markdown]
# The name is rare, so the chunks that contain it win. Other words only decide the order among them.
#
# To merge two rankings, whose scores have no common scale, reciprocal rank fusion [Cormack et al. 2009] uses the ranks:

# %%
fused([[0, 1, 2], [2, 0, 3]], [1.0, 1.0])

# %% [markdown]
# Each place counts 1 / (60 + rank). Chunk 0 is first in one list and second in the other, so it stays ahead of chunk 2, which is third and first.
#
# ## 8 · Which half failed?
#
# Was the passage not found, or was it not read? Three readings tell. *recall*: the relevant chunk is among those shown. *gold*: the reader answers correctly if that chunk is put there, at a random place among the best others. *accuracy*: the reader answers correctly from what was found, so this measures both halves.

# %%
Panel("rag", show=["retriever", "length", "header"])

# %% [markdown]
# The table shows the stored curves (means over five seeds) for each number of chunks shown:

# %%
from statistics import fmean

from llmlab.lab import sweeps

stored = sweeps.need("rag").turned()["defaults"]
pd.DataFrame({m: {n: fmean(run.curve(m)[n] for run in stored) for n in (1, 2, 4, 8)}
              for m in ("recall", "gold", "accuracy")}).rename_axis("chunks").round(2)

# %% [markdown]
# Compare *recall* with *accuracy* in the last two rows. In the lab two or four chunks are read well. With eight, *recall* is as high, but the answers collapse. Length alone doesn't explain it: the prompts of *gold* are as long and are read far better. The order differs. A search shows its best chunk first, furthest from the question. Here are the same eight chunks in both orders:

# %%
from llmlab.chapters.c08_tools_and_retrieval import rag

experiment, model = rag.Rag(), load("reader")
library = experiment.chunks()
asked = experiment.shelf().problems(32, seed=0)
find = experiment.finder(model.model, model.tok, 0, [c.text(False) for c in library])
ranked = [find(rag.words(p), 8) for p in asked]
reader = rag.Reader(model.model, model.tok, library, False)

# %%
orders = {"best first": ranked, "best last": [r[::-1] for r in ranked]}
answers = {name: reader.answers(asked, [[library[i] for i in r] for r in order])
           for name, order in orders.items()}
right = {name: fmean(map(rag.is_right, a, asked)) for name, a in answers.items()}
pd.Series(right, name="right, eight chunks").round(2).to_frame()

# %% [markdown]
# Compare the two rows: with the best chunk next to the question, this reader answers most questions. (One set of questions.) Probably eight chunks put the first one further from the question than in its training. At scale, models read the middle of a long prompt worst (*lost in the middle* [Liu et al. 2023]). So *recall* alone doesn't warn you. And *gold* shows what a better search can gain only if that search puts the chunk in a similar place, among similar chunks.
#
# Three things to try in the panel:
#
# - *the same, reranked*. A *reranker* looks again at the best sixteen chunks; ours asks the reader how likely the question is after each [Sachan et al. 2022]. Most often it is a *cross-encoder*, which reads question and chunk together and gives a score [Nogueira & Cho 2019].
# - *short chunks*, then *short chunks, named*. A short chunk often says "One tablet holds 20 mg." without saying of what; a header adds the name.
# - *untrained vectors*, then *trained vectors*. Contrastive training [Karpukhin et al. 2020] makes them of a language model's own states in under a minute.
#
# Here are the ledger's runs, with eight chunks shown:

# %%
from llmlab.chapters.c08_tools_and_retrieval.rag import Rag

finders = {arm.label: arm
           for arm in (*claims.FOUND.values(), claims.SHORT, claims.NAMED)}
draw.means(finders, {m: Rag.curves[m] for m in ("recall", "gold", "accuracy")})

# %% [markdown]
# Compare the first column of the first four rows. In the lab untrained *states* find little, and trained vectors (*encoder*) come near BM25. Fusing both (*hybrid*) gains nothing in this table, probably because these questions turn on names. In the last two rows the header helps the retriever and the reader alike. Don't compare answers for long and short chunks here: eight long ones, best first, are read badly.
#
# Now compare the two halves with four chunks shown:

# %%

halves = {"32 words": runs.run(Rag(), 0),
          "8 words": runs.run(Rag(length=8, overlap=2), 0)}
told = {"recall": "found", "gold": "right, given the chunk", "accuracy": "right",
        "unsupported": "unsupported", "cited": "right and correctly cited"}
pd.DataFrame({name: {label: run.curve(m)[4] for m, label in told.items()}
              for name, run in halves.items()}).T.round(2)

# %% [markdown]
# If *found* is low and *right, given the chunk* is high, fix the retriever. The other way round, more retrieval won't help. (One stored run each.)
#
# ## 9 · Training for retrieval: RAFT
#
# What should a reader do if no passage contains the answer? One way is to train it on questions whose passages sometimes lack the answer. RAFT puts the passage among distractors, leaves it out of a share of the examples and teaches the answer all the same; its answers are chains of thought that quote the passage [Zhang et al. 2024]. Ours have distractors and answer with the value alone. The panel trains such a reader, and the table compares three:

# %%
Panel("raft", show=["gold", "without", "domain"])

# %%
from llmlab.chapters.c08_tools_and_retrieval.raft import Raft

taught = {"passage always there": Raft(gold=1.0), "RAFT": Raft(),
          "refusals taught": Raft(without="refuse")}
told = {"gold": "shown: right", "over_refused": "shown: refused",
        "refused": "missing: refused", "misread": "missing: another drug's value",
        "unsupported": "missing: invented"}

# %%
def last_readings(arms, told):
    """The last readings, means over five seeds."""
    last = lambda run, m: [*run.curve(m).values()][-1]
    stored = {name: sweeps.need(e.name).at(e.settings()) for name, e in arms.items()}
    return pd.DataFrame({name: {label: fmean(last(r, m) for r in some)
                                for m, label in told.items()}
                         for name, some in stored.items()}).T.round(2)


last_readings(taught, told)

# %% [markdown]
# The last three columns share out the questions whose passage is *missing*: they sum to 1 but for rounding. Read them down the rows. A reader that always got the passage mostly keeps its earlier habit of refusing. RAFT also teaches answers that no passage supports, so its reader never refuses: most often it gives another drug's value, and otherwise it invents one. Teaching refusals instead cures most of it. (Means over five seeds; the ledger has intervals.)
#
# ## 10 · Train it in, or look it up?
#
# Where should new facts go? Continued pretraining puts them into the weights, and retrieval puts them in front of the question. At scale, retrieval was the better lever for facts [Ovadia et al. 2023]. Later some facts change and some are withdrawn:

# %%
from llmlab.chapters.c08_tools_and_retrieval.knowledge import Knowledge

ways = {"trained in": Knowledge(), "looked up": Knowledge(way="retrieval"),
        "both": Knowledge(way="both")}
told = {"recall": "right", "updated": "new value after a change",
        "old": "old value after a change", "leak": "withdrawn fact told",
        "kept": "earlier skills",
        "query_tokens": "tokens per query"}
last_readings(ways, told)

# %%
Panel("knowledge", show=["way", "replay", "focus"])

# %% [markdown]
# Compare *withdrawn fact told*: deleting a document can't take out what was trained in. Then compare *new value after a change*, which takes more training in one row and one new document in the other. Retrieval's cost is in the last column, and you pay it at every query. (Means over five seeds.)
#
# ## 11 · With your own tools, documents and models
#
# ```
# llmlab desk                                   # the desk as an MCP server: any MCP client can call it
# llmlab tools my_tools.py --problems q.jsonl   # the four numbers, on your functions or any MCP server
# llmlab run rag --domain FOLDER --ask "…"      # an index of your documents, and an answer with file and line
# ```
#
# Functions run in a child process with limits on time, memory and output. Your own code runs with your rights.
#
# ## 12 · The evidence
#
# Which statements of the sources hold in the lab? Each is a claim in the ledger, declared before the runs that decide it (chapter 02, section 11 explains the verdicts). Where a table above shows a single run or a sweep, a claim's numbers can differ: its runs have more seeds, and often other steps or rates. `llmlab claims C104` prints each arm's command.

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("08")
evidence

# %% [markdown]
# Read each claim with its verdict. On the right are its effects with their intervals; where a claim has several parts, click the triangle. The effects as a picture:

# %%
forest.figure(evidence.rows)

# %% [markdown]
# Effects are divided by the smallest effect of interest, and the claimed side is on the right. A part of a claim is as claimed if its dot is to the right of 1 and its interval to the right of 0. Where no difference was claimed, the whole interval must lie inside the blue band.
#
# ## 13 · Where the sources are contested
#
# - **"Enforce validity at generation time."** It enforces validity, not correctness. In small models validity rose from 62 to 100 % and right answers fell from 20 to 11 %; thinking freely first won a part back [Ray 2026]. The lab finds no such loss (C142).
# - **"Tool overuse: add counterexamples."** At scale, large models call too often, and pairs help more than SFT [Ross et al. 2025]. Prompts that discourage calls suppress needed ones too, and a reward that counts calls removes up to two thirds of them [Wang et al. 2025].
# - **"RAG is tool use."** The reading is the same: in the lab a model that searches for itself answers about as well as one that is given the passages (C109). The difference is who decides to search and who writes the query.
# - **"Plan before the call."** Agents on tasks of many steps report gains. In the lab a plan helps too little to matter where one call suffices; whether it helps where two are needed is open (C105).
# - **"Already learn tool formats from a few examples."** This is true of models that learn from examples in a prompt. Our lab model doesn't, so the lab can't test it.
#
# ## 14 · Exercises

# %%
from llmlab.learn.judge import check, hint, reset, solution, task

task("call_numbers")

# %%
def call_numbers(texts, calls, schemas, known):
    ...

check("call_numbers", call_numbers)

# %%
task("next_move")

# %%
task("which_half_failed")

# %%
task("trajectory_row")

# %% [markdown]
# More: `task("policies")`, `task("priced_advantages")`, `task("two_ways_to_constrain")`, `task("overlapping_chunks")`, `task("bm25_scores")`, `task("fused_ranks")`, `task("in_batch_loss")`.
#
# ## 15 · Drills

# %%
Drills("08")

# %% [markdown]
# ## 16 · Interview page

# %%
from llmlab.learn.interview import interview

interview("08")

# %% [markdown]
# ## To take away
#
# 1. Measure choice, arguments, execution and answer separately, and count the calls that are valid and wrong.
# 2. Every call has a price. Whether it pays off depends on what the model knows, so state both.
# 3. When a retrieved answer is wrong, first ask which half failed: put the right passage there and ask again.

# %%
references("nogueira_2019", "lost_in_the_middle_2023", "hnsw_2016", "react_2022",
           "toolformer_2023", "gorilla_2023", "when2call_2025", "when2tool_2026",
           "otc_2025", "constraint_tax_2026", "raft_2024", "rrf_2009", "dpr_2020",
           "query_likelihood_2022", "ovadia_2023", "tau_bench_2024")
