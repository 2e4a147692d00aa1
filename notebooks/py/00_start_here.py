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
# # 00 · Start here
#
# *Run ▸ Run All Cells* starts this chapter (Shift-Enter runs a single cell).
#
# Here is a language model of one million parameters. It has read about a small invented country, Verania, and has never been in a conversation. Ask it something. Then train it for about twenty seconds on conversations about
# other people, and read its words again.

# %%
from llmlab.learn.widgets import FirstMinute

FirstMinute()

# %% [markdown]
# Before training, the model just continues its books: with more questions, and with other people's answers. Yet it already knew the facts: they can't come from this training, which is about other people only. After a few dozen small steps it answers, and stops. We added nothing but a *behaviour*. Most of this workbook does the same: find out what is missing, add it, and see what it costs.
#
# The workbook is about what happens to a language model *after* pretraining. You can run most of its claims as experiments; the others name their paper. Each experiment takes about half a minute on a laptop and trains a real (tiny) transformer. We invented its country, so we know every fact in it. The same code runs full-size models.
#
# **For a ten-year-old.** Training a model is like training a new colleague. First she learns to read and to count (pretraining). Then she reads your company's papers (continued pretraining), learns how we talk to customers (fine-tuning), hears which of two answers was better (preferences), and finally practises on real tasks with a mark for each (reinforcement learning).
#
# **In an interview.** *I define the target behaviour. I diagnose the gap: knowledge, behaviour, preference, reliability or cost. I pull the cheapest lever that closes that gap. And I name what it may break, and how I would know.*

# %%
import pandas as pd

from llmlab.learn.notebook import references

pd.set_option("display.max_colwidth", None)
from llmlab.learn.widgets import Drills, Flow, Map, Panel, Predict

# %% [markdown]
# ## Before you begin
#
# **You need** Python and some PyTorch; the workbook explains what post-training is. In a clone, one line installs it and opens this page (more in the [README](../README.md#start)):
#
# ```
# python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[demo]' && .venv/bin/llmlab lab
# ```
#
# Reading a chapter takes about three quarters of an hour. Later chapters use words of earlier ones. The minutes below are what its code takes to run:

# %%
from IPython.display import Markdown

from llmlab.learn import books

Markdown("\n".join(f"- [{c['title']}]({c['file']}): {(c['seconds'] or 0) / 60:.1f} min"
                   for c in books.chapters()))

# %% [markdown]
# - **Alone:** commit to each prediction before you look, do the exercises, and let `llmlab drill` ask you on later days.
# - **Before an interview:** read *In an interview*, *The evidence* and *To take away* of each chapter. Then `llmlab interview 00` and `llmlab drill --mock 20`.
# - **With a class:** `llmlab demo 02` shows a chapter's lesson full screen, with questions for a show of hands.
#
# Nearly everything starts from one base model, which was pretrained in two phases:

# %%
from llmlab.lab.plans import PLANS
from llmlab.models.load import load

base, phases = load("base"), [PLANS["pre"], PLANS["base"]]
config = base.model.config
pd.Series({"layers": config.num_hidden_layers, "width": config.hidden_size,
           "parameters": f"{base.model.num_parameters():,}",
           "vocabulary": f"{config.vocab_size:,}",
           "positions in pretraining": phases[0].length - 1,
           "tokens read": f"{sum(p.steps * p.rows * (p.length - 1) for p in phases):,}",
           "peak learning rates": " and ".join(str(p.lr) for p in phases)},
          name="base").to_frame()

# %% [markdown]
# It has the Qwen3 architecture, at about a six-hundredth of the size of the smallest Qwen3, and it never saw a row longer than *positions* says.
#
# Unfamiliar terms are defined in the **glossary** at the end of this chapter. Every chapter also explains its own terms where they first appear.
#
# ## 1 · The life of a model
#
# Which stages can a model go through? Click one to see what it needs, what it changes and what it risks. Few models go through all of them: leave out a stage that closes no gap.

# %%
Map()

# %% [markdown]
# Read the map in the order of the stages. Most of them change the *distribution* of what the model says. Test-time scaling leaves the weights alone and pays compute to choose among samples. Distillation moves a behaviour into a cheaper model.
#
# (Continued pretraining is also called *mid-training* when the texts are a large, chosen mixture.)
#
# ## 2 · Which knob would you turn?
#
# Answer the questions, and you reach a recommended lever, its risk, how to measure it, and what our own runs say. (These runs are stored; the command next to each one runs it again.)

# %%
Flow()

# %% [markdown]
# A real product has several gaps at once. Which one comes first? The exercise `which_lever` below turns the flow into a function with a fixed order: knowledge before behaviour, behaviour before preference, and cost last, because each stage builds on the one before. (A looked-up passage counts as a prompt there, so retrieval comes before continued pretraining. The exercise leaves reliability out; the flow above asks about it.)
#
# Before you extend a tokenizer, ask one thing more: is there a new language or script, or much text to train on, or must names be copied whole? In the lab an extension saved tokens, and the model learnt the domain worse (chapter 03).
#
# ## 3 · By hand: is it knowledge or behaviour?
#
# The quickest diagnosis needs no training. Put the fact into the prompt. If the model now answers correctly, it has the behaviour. It lacks the knowledge, or a way from this question to a fact that it has stored. We try this with the dose of an invented drug:

# %%
from llmlab.train import probes
from llmlab.tokens import chat
from llmlab.world import Formulary

drugs = Formulary(24)
name, drug = next(iter(drugs.drugs.items()))
asked = f"Question: What is the dose of {name}?\nAnswer:"
told = f"The dose of {name} is {drug.dose}.\n{asked}"


# %%
def right(prompt):
    return probes.exact(
        base.model,
        probes.batches([chat.continuation(base.tok, prompt, f" {drug.dose}.")])) == 1.0

{"asked": right(asked), "told in the prompt, then asked": right(told)}

# %% [markdown]
# One example is an anecdote. Here is the same test for all 24 drugs. There are nineteen possible doses, so a guess is rarely right. But a model that copies any number it sees would be right as well. So the last two rows tell it the doses of two drugs and ask for the first or the last:

# %%
doses = {n: d.dose for n, d in drugs.drugs.items()}
others = dict(zip(doses, [*list(doses)[1:], *doses]))  # the next drug of the list
ask = "Question: What is the dose of {n}?\nAnswer:"
tell, tell_other = "The dose of {n} is {d}.\n", "The dose of {o} is {e}.\n"

def share(prompt):
    rows = [chat.continuation(
        base.tok, prompt.format(n=n, d=d, o=others[n], e=doses[others[n]]), f" {d}.")
        for n, d in doses.items()]
    return probes.exact(base.model, probes.batches(rows))

pd.Series({"asked": share(ask), "told, then asked": share(tell + ask),
           "told before another, then asked": share(tell + tell_other + ask),
           "told after another, then asked": share(tell_other + tell + ask)},
          name="share right").round(2)

# %% [markdown]
# Compare the rows. With the fact in the prompt the model answers correctly far more often, so it has the behaviour (reading a prompt, answering). It isn't just copying: with two doses in the prompt, a model that always copied the first dose, or always the last, would fail in one of the last two rows. Its books contain pages of questions and answers, so it answers in this form; what it lacked above was the form of a chat. The knowledge isn't just out of reach; it is missing, because this model has never read about a drug.
#
# Often this test is already the cure: look the passage up and put it into the prompt (*retrieval*). For facts that are written down somewhere, that is the usual first choice. Training comes in where looking them up is not enough.
#
# ## 4 · How a chapter works
#
# Every chapter has the same rhythm: **why**; **by hand** on tiny arrays; **the source** with `show(function)`, and an assertion that your numbers agree with it; **predict**, then look; **turn the knob** in a panel; **break it, then fix it**; **the evidence** of the ledger, and what is contested; **exercises** with a judge, and **drills** that come back when you are about to forget them.
#
# Here is a small prediction with its panel. We train the base model on conversations about people whom it already knows:

# %%
from statistics import median

from llmlab.lab import runs
from llmlab.chapters.c01_data_topology.topology import Topology

stored = [runs.run(Topology(), seed) for seed in (0, 1, 2)]
Predict("How many steps of 16 conversations until it answers half of the held-out "
        "questions correctly?",
        lambda: median(next(s for s, v in r.curve("answering").items() if v >= 0.5)
                       for r in stored),
        unit="steps", low=0, high=120,
        shows=lambda: Panel("topology", show=["loss", "lr"]),
        why="The facts are there already; only the form has to be learnt, and few "
            "examples show it.")

# %% [markdown]
# Settings marked ● are stored, so they answer at once. **Run** trains any other setting. These are all the experiments that you can run, with the seconds that each one takes:

# %%
from llmlab.lab import registry, times

measured = times.read()
pd.DataFrame([{"experiment": n, "shows": registry.get(n).summary,
               "seconds": measured.get(n, {}).get("seconds")}
              for n in registry.NAMES]).set_index("experiment")

# %% [markdown]
# Read the table as a menu: one row per experiment, timed with default knobs on the machine that built this page, not on yours.
#
# ## 5 · What this machine can do
#
# What can *your* machine do? `llmlab doctor` tells you how long each experiment takes on it, whether the checkpoints are intact, and what to watch out for with your processor. It begins like this:

# %%
from itertools import islice

from llmlab.cli import doctor

facts = islice(doctor.examine(time_experiments=False), 2)
print(*(next(doctor.lines(fact)) for fact in facts), sep="\n")

# %% [markdown]
# ## 6 · What counts as shown
#
# When may you believe a comparison? Our model is small and its country is invented, so no number here is a number about a large model. What can carry over is the *mechanism*, and the way to test it. Three rules hold for every comparison. (A cell with one seed is an illustration, and says so.)
#
# - **Several seeds, paired.** One run is an anecdote. The next cell takes one comparison apart: the same seeds in both settings, the difference seed by seed, and its 95 % interval.
# - **Something is matched** between the two settings: tokens, steps or samples. The text says which. (In the next cell: the steps and the conversations.)
# - **A claim that fails stays in.** Where the sources of this workbook are contested, or our runs disagree with them, the chapter says so.

# %%
from llmlab.ledger.statistics import interval
from llmlab.learn.notebook import paired, show

def finals(loss):
    return [runs.run(Topology(loss=loss), seed).metrics()["general_loss"]["final"]
            for seed in (0, 1, 2)]

settings = pd.DataFrame({loss: finals(loss) for loss in ("assistant", "all")},
                        index=["seed 0", "seed 1", "seed 2"])
settings.assign(difference=settings["all"] - settings["assistant"]).round(3)

# %%
print("loss on general text, all tokens − assistant tokens:",
      paired(finals("assistant"), finals("all")))
show(paired, interval)

# %% [markdown]
# Look at the differences: in every seed, training on all tokens ends with a higher loss on general text, and their interval is above 0. A chapter calls that *seen in three seeds*. It doesn't say how large the difference would be elsewhere.
#
# The ledger in the next section asks for more: at least five seeds, and a 98 % interval. That interval is wider, because the ledger may look again with more seeds, and each further look is another chance to find an effect that isn't there. So a ± in a chapter is a 95 % interval, and the ledger's brackets are a 98 % interval.
#
# ## 7 · The evidence
#
# Which statements of the sources hold in the lab? Each is a **claim** in the ledger: put into our words, with *arms* (the settings that are compared), a direction, and a *smallest effect of interest* (a smaller one wouldn't matter to us). Here is one:

# %%
from llmlab.ledger.table import Ledger

Ledger(ids=["C002"])

# %% [markdown]
# The row has a line for each **part** of the claim. It names the two arms and says by how much they differ on average; the brackets hold that mean's 98 % confidence interval over the seeds. The last two intervals lie wholly on the claimed side of 0, and both means are larger than the smallest effect: these parts are *as claimed*. The first interval lies on the other side: documents taught a little *less* than questions did, so this part is *reversed*. The claim is therefore *supported in part* and *refuted in part*. If the seeds fall into two groups, such an interval can extend beyond what is possible (for a share, more than a hundred points). Then read the seeds one by one; `llmlab claims C002` prints them. A width of zero means that all seeds gave the same.
#
# An effect can also be *too small*, or two arms can *differ* where no difference was claimed; both exclude the claim as well. A part that the interval doesn't decide is *open*: it may exclude zero, and still not tell whether the effect is large enough to matter. If all parts are as claimed, the claim is *supported*; if all are excluded, it is *refuted*. *Conditional* names the knob that it depends on. *Withheld* means that the design can't decide it. [Chapter 02](02_continued_pretraining.ipynb), section 11, gives the full rules.
#
# A verdict holds for this lab, a small model in a small world. Read the line in italics before you quote one. A log says when each claim was fixed and what was changed after results were known. It is in [the ledger's own notebook](ledger.ipynb), with all claims. Those of this chapter are:

# %%
Ledger("00")

# %% [markdown]
# Read each claim with its verdict. On the right are its effects with their intervals; where a claim has several parts, click the triangle.
#
# C005 seems to contradict the map's *test-time scaling*. But it compares with the greedy answer. Over that, a vote gains nothing here (all three means are slightly below zero); over one sample at temperature 1 it does gain. And picking by a hardly trained verifier did harm. (`llmlab claims C005` shows these rows, in brackets where no verdict rests on them.)
#
# ## 8 · Where the sources are contested
#
# - **"Prompt → SFT → DPO → RL → CPT → distil, by price."** This sorts levers by effort, not by what is missing. And the cheapest depends on how often the model will be asked: training is paid once, test-time compute with every request [Snell et al. 2024]. The exercise `break_even` is about that.
# - **"If it doesn't know the facts, let it read them."** In a controlled study on invented biographies, a model that has read a fact can *continue* a text about it. Whether it can also *answer* a question depends on how many wordings it has read and on whether it has seen questions [Allen-Zhu and Li 2023]. Chapter 02 takes a first look. Retrieval is a rival: it needs no training at all (chapter 08).
# - **"Never fine-tune facts in."** At scale, SFT learns unknown facts slowly, and the model makes up more once it has learnt them [Gekhman et al. 2024]. In the lab (on the base, not on a chat model), training on questions was about as good as training on documents for answering questions, and worse for stating the facts (C002). Making things up is the subject of chapter 04.
#
# ## 9 · Exercises
#
# `task("name")` shows the task and an empty function. `check` tells you whether yours is right, or what is wrong with it. `hint` gives hints, and `solution` shows correct versions.

# %%
from llmlab.learn.judge import check, hint, reset, solution, task

task("which_lever")

# %%
def which_lever(diagnosis):
    ...

check("which_lever", which_lever)

# %%
task("regression_gate")

# %%
task("interval")

# %%
task("break_even")

# %% [markdown]
# ## 10 · Drills
#
# These are real situations, put as an interviewer would put them. Answer in four parts: diagnosis, lever, risks, measurements. Then compare with a spoken answer and grade yourself by the rubric. Questions come back when you are about to forget them. In the terminal: `llmlab drill`; for an interview against the clock: `llmlab drill --mock 20`.

# %%
Drills("00")

# %% [markdown]
# ## 11 · Interview page
#
# What should you know by heart? One page has the formulas as the papers have them, what this lab shows, what is known about large models, and three follow-ups. Keep the two kinds of evidence apart when you speak. In the terminal: `llmlab interview 00`.

# %%
from llmlab.learn.interview import interview

interview("00")

# %% [markdown]
# ## To take away
#
# 1. A missing fact and a missing behaviour look alike from the outside. Put the fact into the prompt. If the answer is then right, the behaviour was there. The fact was missing, or it is stored and this question doesn't reach it. To tell the two apart, let the model complete a statement of the fact.
# 2. Choose a lever by what is missing, not by what it costs. A cheap lever that closes the wrong gap is a waste.
# 3. Before you believe a number, ask for several seeds, for what was matched, and for the size of effect that would have mattered. Ask the same of our numbers.

# %% [markdown]
# ## Glossary

# %%
from llmlab.learn.atlas import GLOSSARY

pd.Series(GLOSSARY, name="meaning").rename_axis("term").to_frame()

# %%
references("snell_2024", "allen_zhu_2023", "gekhman_2024")
