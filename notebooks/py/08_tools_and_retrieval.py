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
# **Where we are.** So far the model has learnt to answer, from preferences and by reinforcement. Now it gets tools: a calculator, a directory of people, a search in documents.
#
# ```
# question → which tool, or none → arguments → result or error → answer that rests on the result
# question → passages that were found → answer with its source
# ```
#
# **For a ten-year-old.** You don't have to know every phone number. You have to know where the phone book is, how to look up a name, and what to do when the page is torn out.
#
# **In an interview.** *I measure four things separately: selection, arguments, execution and the answer. A grammar guarantees the form of a call, not its content. Whether to call is a decision with a price, and it depends on what the model already knows. Retrieval is
# one more tool, and when an answer is wrong I first ask which half failed: was the passage found, and was it read?*
#
# New terms: **tool call** = a name with arguments in JSON; **schema** = which names and arguments are allowed; **trajectory** = call, result and answer in turn; **wrong but valid** = fits the schema and asks for the wrong thing;
# **constrained decoding** = tokens that cannot lead to a valid text get probability 0; **retriever** = finds passages; **reader** = answers from them; **recall@k** = share of questions whose relevant (gold) passage is among the first k.

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
# The chat model was shown calls wherever tools were offered. Offer it tools and ask what it knows by heart:

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
# With tools on offer it calls for all three, and about people it calls wrongly: another tool, or arguments that no schema allows. Even without tools it writes a call for the sum, which it could do in its head, because sums went with calls in training. Users report the same of large models: a model trained on calls "calls a
# tool for everything".
#
# ## 1 · By hand: four numbers
#
# One question, four first turns. What is *valid*, *right*, *executable*, and *wrong but valid*?

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
# The second row is the dangerous one: it is valid, it runs, and it answers another question. No error tells you. That is why the four numbers belong together.
#
# ## 2 · What is trained
#
# A trajectory with call, result and answer. Only what the assistant wrote carries loss; the result is read and not imitated. The darker a token, the larger the gradient that it sends:

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
# The value is white where the tool says it and coloured where the assistant repeats it. Darkest are the pieces of the name, since copying an unseen name is what the model is least sure of.
#
# In a rollout the same holds for reinforcement learning, with one more duty: the ids that are trained must be the ids that were *sampled*. A conversation that is made into text and tokenised again can give other ids. Ours never did (C146), others' do, so keep the sampled ones.
#
# ## 3 · Data: from no calls to right calls
#
# A base model that has never seen a dialogue is shown 50 or 1,000 distinct ones, for the same number of steps. The stored sweep has five seeds; means are shown:

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
        why="The right tool comes early and a complete call later. The arguments, "
            "which have to be copied from the question, come last.")

# %% [markdown]
# Most calls of the model that saw few dialogues fit the schema, and most of these are wrong. More *different* dialogues at the same number of steps make the difference.
#
# The sliders train it here, in under a minute. *calls only* shows first calls without results and answers; *no counterexamples* leaves out the dialogues in which no tool helps. The same from the stored sweep, means of five seeds:

# %%
Panel("tools", show=["examples", "no_calls", "shown"])

# %%
kinds = {"1,000 examples": {}, "calls only": dict(shown="calls"),
         "no counterexamples": dict(no_calls=0.0)}
ends("tools", kinds,
     {"right": "right calls", "answered": "questions answered",
      "false_calls": "calls where no tool helps"})

# %% [markdown]
# Compare with the first row. With calls only, more first calls are right and no question is answered. Without counterexamples every piece of small talk triggers a call. The table doesn't show longer chains: chains of two calls don't give chains of three (C107).

# %% [markdown]
# ## 4 · Constrained decoding
#
# The grammar is made from the schemas. *auto* allows a text, a call, or a text and then a call; *call* forces a call; *text* has no branch for calls.

# %%
from llmlab.train import tool_grammar

print(*(f"{mode:5} {rule}" for mode, rule in tool_grammar.MODES.items()), sep="\n")
show(tool_grammar.lark)

# %% [markdown]
# What a grammar buys, and what it does not. The same models, under *call*:

# %%
table("_grammar")

# %% [markdown]
# Compare the columns with those above. What the grammar repairs becomes *valid*; how much of it becomes *right* depends on the model. After few dialogues most of it is wrong and valid, after many about half is right. A call that hasn't ended after 64 tokens is cut off, so not even the grammar makes all of them valid.
#
# At scale, small models are reported to lose right answers under a hard schema, the *constraint tax*, and to win a part back if they may think freely first [Ray 2026]. The lab finds no such loss (C142).
#
# **A switch to know.** A response format that forgot the tools makes calls impossible, whatever the model has learnt (C141). In production this looks like a model that "stopped using its tools".
#
# ## 5 · To call or not to call
#
# A call that is right with chance $p_{\text{tool}}$ and costs a price is worth it if $p_{\text{tool}} - \text{price} > p_{\text{memory}}$. By hand, for a tool that is right nine times in ten:

# %%
from llmlab.models.load import card

kinds = ["census questions", "two-digit sums", "three-digit sums", "two-digit products"]
memory = pd.Series({kind: card("chat")["skills"][kind] for kind in kinds})
worth = {True: "call", False: "answer"}
pd.DataFrame({"right from memory": memory.round(2)} | {
    f"price {price:g}": (0.9 - price > memory).map(worth) for price in (0.0, 0.2, 0.5)})

# %% [markdown]
# There is no answer to "does it call too often?" without a price, and without knowing what the model knows: a small model may be right to look everything up. Now the model has to find the boundary by itself, from a reward for right answers minus a price per call, or
# from examples. It is the chat model above, with two tools and mixed questions:

# %%
Panel("decide", show=["method", "price", "no_calls"])

# %% [markdown]
# The ledger's arms, by reward (the first three rows) and by examples:

# %%
from llmlab.chapters.c08_tools_and_retrieval import claims
from llmlab.chapters.c08_tools_and_retrieval.decide import Decide
from llmlab.learn import draw

ways = {arm.label: arm for arm in (*claims.PRICED.values(), *claims.TAUGHT.values())}
draw.means(ways, {m: Decide.curves[m] for m in (
    "needless", "missed", "calls_half", "calls_unknown", "need")})

# %% [markdown]
# Read the first two columns together: a model at the boundary has low numbers in both. By reward no row gets there. In the mean a price lowers the needless calls and raises the missed ones, but the seeds differ widely: whether a price does either by enough to matter is open (C144). Unknown people are hardly ever looked up, and half-mastered sums nearly always unless the price is high. One explanation: a group whose samples all do the same teaches nothing. Examples draw the boundary better: the more of them are answered without a call, the fewer needless calls, at the cost of some that were needed (C106).
#
# *need*, the last column, is a side metric: can a linear probe tell from the last hidden state, before the first token, whether a call will be needed? At scale that is reported, with an area under the curve of 0.89 to 0.96 [Sun et al. 2026]. In the lab it is lower after training by reward, and highest where examples show both calls and answers. A model can "know" that it needs a tool and still not act on it.
#
# ## 6 · When a tool fails
#
# Five things can go wrong, and each has its own remedy: a temporary failure (call again), a renamed field (use the word that the error names), nothing to find (say so), an order that timed out and may have been placed (look, do *not* order again), and a result
# with an instruction inside (ignore it).

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
# What the model was shown, and what errors say; means of five seeds:

# %%
ends("repair", {"errors shown": {}, "gold traces only": dict(shown="gold"),
                "errors masked": dict(says="masked"),
                "no error text": dict(says="absent")},
     {"repaired": "repaired", "resampled": "by independent samples",
      "renamed": "renamed field", "double_orders": "ordered twice",
      "gave_up": "gives up correctly", "misled": "misled"})

# %% [markdown]
# A model that saw only gold traces repairs nothing, though it has learnt the task as well; independent samples of as many tokens beat it. Masked errors take away what only their text can tell, the new name of a field. And they get orders placed twice: the solutions shown for masked errors simply try once more. A better policy would ask
# for the status first; the exercise `next_move` wants that from you. Nothing here protects against an instruction inside a result (*misled*), unless it is shown in training: try *orders shown too*.
#
# The Python SDK of MCP (2.3) hides the text of ordinary exceptions from the model unless you raise its own `ToolError`; so this switch is one line in your server.
#
# ## 7 · Retrieval by hand
#
# A library of leaflets, cut into chunks. BM25 finds rare words; dense vectors find passages that a model represents similarly.

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
# The name is rare, so the chunks that hold it win; what else they say only decides among them.
#
# Two rankings become one by their ranks, not by their scores, which have no common scale (reciprocal rank fusion):

# %%
fused([[0, 1, 2], [2, 0, 3]], [1.0, 1.0])

# %% [markdown]
# Chunk 0 is first in one list and second in the other, so it stays in front of chunk 2, which is third and first: each place counts as 1 / (60 + rank).
#
# ## 8 · Which half failed?
#
# *recall*: the relevant chunk is among those shown. *gold*: right answers when it is put there, among as many others, so the reader's half. *accuracy*: both halves together.

# %%
Panel("rag", show=["retriever", "length", "header"])

# %% [markdown]
# The stored curves as a table, means of five seeds, by the number of chunks shown:

# %%
from statistics import fmean

from llmlab.lab import sweeps

stored = sweeps.need("rag").turned()["defaults"]
pd.DataFrame({m: {n: fmean(run.curve(m)[n] for run in stored) for n in (1, 2, 4, 8)}
              for m in ("recall", "gold", "accuracy")}).rename_axis("chunks").round(2)

# %% [markdown]
# Compare the last two rows. Two or four chunks are read well. With eight, *recall* is as high and the answers collapse: that many chunks make a longer prompt than any that the reader was trained on. Recall alone would not have warned you.
#
# A *reranker* looks at the best sixteen again. Ours asks the reader how likely the question is after each chunk [Sachan et al. 2022]. Try *the same, reranked*.
#
# Try *short chunks*, then *short chunks, named*. A short chunk often says "One tablet holds 20 mg." without saying of what; a header gives it the leaflet's name. Try *untrained vectors*, then *trained vectors*, which contrastive training makes of a language model's own states in under a minute. In the ledger's runs, with eight chunks shown:

# %%
from llmlab.chapters.c08_tools_and_retrieval.rag import Rag

finders = {arm.label: arm
           for arm in (*claims.FOUND.values(), claims.SHORT, claims.NAMED)}
draw.means(finders, {m: Rag.curves[m] for m in ("recall", "gold", "accuracy")})

# %% [markdown]
# Compare the first column of the first four rows: untrained states find little, trained vectors (*encoder*) come near BM25, and fusing both (*hybrid*) gains nothing here (C147), since these questions turn on names. In the last two rows the header helps the retriever and the reader alike. (Don't compare the answers of long and short chunks here: eight long ones are more than the reader was trained on.)

# %%

halves = {"32 words": runs.run(Rag(), 0),
          "8 words": runs.run(Rag(length=8, overlap=2), 0)}
told = {"recall": "found", "gold": "right, if put there", "accuracy": "right",
        "unsupported": "unsupported", "cited": "right and correctly cited"}
pd.DataFrame({name: {label: run.curve(m)[4] for m, label in told.items()}
              for name, run in halves.items()}).T.round(2)

# %% [markdown]
# Two stored runs, four chunks shown, one seed each. Where *found* is low and *right, if put there* is high, fix the retriever; where it is the other way round, more retrieval will not help.
#
# ## 9 · Training for retrieval: RAFT
#
# A reader can be trained on questions with passages, some of which contain the answer. What should it do where none does? RAFT leaves the passage out of a share of the examples and teaches the answer all the same [Zhang et al. 2024]:

# %%
Panel("raft", show=["gold", "without", "domain"])

# %%
from llmlab.chapters.c08_tools_and_retrieval.raft import Raft

taught = {"always there": Raft(gold=1.0), "RAFT": Raft(),
          "refusals taught": Raft(without="refuse")}
told = {"gold": "right, passage there", "unsupported": "made up, not there",
        "refused": "refused, not there", "over_refused": "refused, though there",
        "memory": "taught, no passages"}
last = lambda run, m: [*run.curve(m).values()][-1]
pd.DataFrame({name: {label: last(runs.run(e, 0), m) for m, label in told.items()}
              for name, e in taught.items()}).T.round(2)

# %% [markdown]
# Read *made up, not there* down the rows. A reader that was always given the passage keeps its habit of refusing when none tells the answer. RAFT also teaches the answer where no passage tells it, so the reader learns to invent one. Refusals in place of these answers cure it. (One run each; with intervals in the ledger.)
#
# ## 10 · Train it in, or look it up?
#
# New facts, of which some change later and some are withdrawn. Continued pretraining puts them into the weights, retrieval in front of the question:

# %%
from llmlab.chapters.c08_tools_and_retrieval.knowledge import Knowledge

ways = {"trained in": Knowledge(), "looked up": Knowledge(way="retrieval")}
told = {"recall": "right", "inverse": "right, asked for the name",
        "updated": "new value after a change", "old": "old value after a change",
        "leak": "withdrawn fact told", "kept": "skills of before",
        "query_tokens": "tokens per query"}
pd.DataFrame({name: {label: last(runs.run(e, 0), m) for m, label in told.items()}
              for name, e in ways.items()}).T.round(2)

# %%
Panel("knowledge", show=["way", "replay", "focus"])

# %% [markdown]
# Compare *withdrawn fact told*: what was trained in cannot be taken out by deleting a document. Then *new value after a change*, which costs another training in one row and one new document in the other. What retrieval pays is in the last column, at every query. (One run each.)
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
# Each statement that the sources make on this topic is a claim in the ledger, declared before the runs that decide it. Chapter 02, section 11, explains how a verdict is reached.

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("08")
evidence

# %% [markdown]
# The same as a picture:

# %%
forest.figure(evidence.rows)

# %% [markdown]
# Each effect is divided by the smallest one of interest, so that the claimed side is on the right. A part is as claimed if its dot lies right of 1 and its interval right of 0. In a blue band no difference was claimed, so there the whole interval must lie inside the band.
#
# ## 13 · Where the sources are contested
#
# - **"Enforce validity at generation time."** Validity is enforced, correctness is not, and small models may pay for it: validity 62 → 100 %, right answers 20 → 11 % [Ray 2026]. The lab finds no loss (C142).
# - **"Tool overuse: add counterexamples."** Prompts that discourage calls suppress needed ones too, and a reward that counts calls removes up to two thirds of them [Wang et al. 2025]; where the boundary lies depends on what the model knows.
# - **"RAG is tool use."** The reading is the same; what differs is who decides to search and who writes the query.
# - **"Already learn tool formats from a few examples."** True of models that read examples in a prompt; our lab model does not (untestable here).
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
# 1. Measure selection, arguments, execution and answer separately, and count what is valid and wrong.
# 2. Whether to call is a decision with a price. It depends on what the model knows, so state both.
# 3. When a retrieved answer is wrong, first ask which half failed: put the right passage there and read again.

# %%
references("toolformer_2023", "gorilla_2023", "when2call_2025", "when2tool_2026",
           "otc_2025", "jsonschemabench_2025", "constraint_tax_2026",
           "suppression_2026",
           "think_before_constraining_2026", "raft_2024", "rrf_2009", "dpr_2020",
           "query_likelihood_2022", "ovadia_2023", "finetunebench_2024")
