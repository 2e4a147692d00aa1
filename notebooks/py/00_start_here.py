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
# Here is a language model of one million parameters. It has read about a small invented country, Verania, and has never been in a conversation. Ask it something; then train it, for about twenty seconds, on conversations about other people, and
# read its words again.

# %%
from llmlab.learn.widgets import FirstMinute

FirstMinute()

# %% [markdown]
# Before, it goes on writing what its books look like: more questions, other people's answers. It knows the fact all along. After some dozens of small steps it answers, and stops. Nothing was added but a *behaviour*, and that is what most of this workbook is about:
# finding out what is missing, adding it, and seeing what it costs.
#
# This workbook is about what happens to a language model *after* pretraining. Most claims in it are experiments that you can run (the others name their paper): on a laptop, in about half a minute, on a real
# (tiny) transformer that lives in a small invented country, Verania, whose every fact is known exactly. The same code runs real models.
#
# **For a ten-year-old.** Training a model is like training a new colleague. First she learns to read and to count (pretraining). Then she reads your company's papers (continued pretraining), learns how we talk to
# customers (fine-tuning), hears which of two answers was the better one (preferences), and at last practises on real tasks with a mark for each (reinforcement learning).
#
# **In an interview.** *Define the target behaviour; diagnose the gap: knowledge, behaviour, preference, reliability or cost; pull the cheapest lever that closes it; name what it may break, and how you would know.*

# %%
import pandas as pd

from llmlab.learn.notebook import references

pd.set_option("display.max_colwidth", None)
from llmlab.learn.widgets import Drills, Flow, Map, Panel, Predict

# %% [markdown]
# Words that you do not know yet stand in the **glossary** at the end of this chapter; every chapter explains its own where they first appear.
#
# ## 1 · The life of a model
#
# Click a stage: what it needs, what it changes, what it risks. Hardly any model goes through all of them: leave out what closes no gap.

# %%
Map()

# %% [markdown]
# Every stage changes the *distribution* of what the model says, or (test-time scaling, distillation) the *compute* that it takes to say it. Pretraining builds the engine, mid-training tunes it for the terrain,
# post-training teaches the driver, and test-time scaling takes more time on a difficult route.
#
# ## 2 · Which knob would you turn?
#
# Answer the questions; at the end stands a lever with its risk, its measure, and what our own runs say. (They are stored runs: the commands beside them make them again.)

# %%
Flow()

# %% [markdown]
# Real products have several gaps at once. The exercise `which_lever` below turns the flow into a function with one fixed order for that case: facts before form, form before taste, because
# a later stage builds on the earlier one.
#
# The order *prompt → SFT → DPO → RL → CPT → distil* that one hears ("cheapest effective lever first") orders by effort, not by what is missing. A lever that is cheap and closes another gap is not cheap.
#
# ## 3 · By hand: is it knowledge or behaviour?
#
# The quickest diagnosis costs no training. Give the fact in the prompt: if the answer is right then, the behaviour is there and the knowledge is missing.

# %%
from llmlab.train import probes
from llmlab.models.load import load
from llmlab.tokens import chat
from llmlab.world import Formulary

base, drugs = load("base"), Formulary(24)
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
# One example is an anecdote. The same for all 24 drugs (there are nineteen possible doses, so a guess is seldom right):

# %%
def rows(prompt):
    return [chat.continuation(base.tok, prompt.format(n=n, d=d.dose), f" {d.dose}.")
            for n, d in drugs.drugs.items()]

prompts = {"asked": "Question: What is the dose of {n}?\nAnswer:",
           "told, then asked": "The dose of {n} is {d}.\nQuestion: What is the dose of "
                               "{n}?\nAnswer:"}
pd.Series({k: probes.exact(base.model, probes.batches(rows(p)))
           for k, p in prompts.items()},
          name="share right")

# %% [markdown]
# The behaviour (reading a prompt, answering) is there, the knowledge is not. Where the facts are few or change often, this is already the cure: look the passage up and put it into the prompt (*retrieval*).
#
# ## 4 · How a chapter works
#
# 1. **Why**: the idea in two sizes. 2. **By hand**: tiny arrays, real numbers. 3. **Read the source**: `show(function)`, and an assertion that your numbers are the library's.
# 4. **Predict**: commit, then look. 5. **Turn the knob**: the panel. 6. **Break it, then fix it**. 7. What is contested. 8. **Exercises** with a judge, **drills** that come back when you are about to forget them, references.
#
# Here are a prediction and a panel in small. The base model is trained on conversations about people whom it knows already:

# %%
from statistics import median

from llmlab.lab import runs
from llmlab.chapters.c01_data_topology.topology import Topology

stored = [runs.run(Topology(), seed) for seed in (0, 1, 2)]
Predict("How many steps of 16 conversations until it answers half of the held-out "
        "questions rightly?",
        lambda: median(next(s for s, v in r.curve("answering").items() if v >= 0.5)
                       for r in stored),
        unit="steps", low=0, high=120,
        shows=lambda: Panel("topology", show=["loss", "lr"]),
        why="The facts are there already; only the form has to be learnt, and few "
            "examples show it.")

# %% [markdown]
# Settings marked ● are stored and answer at once; others are trained when you press **Run**. Then look at the whole table of experiments that this machine can do, with the seconds that each takes:

# %%
from llmlab.lab import registry, times

measured = times.read()
pd.DataFrame([{"experiment": n, "shows": registry.get(n).summary,
               "seconds": measured.get(n, {}).get("seconds")}
              for n in registry.NAMES]).set_index("experiment")

# %% [markdown]
# ## 5 · What this machine can do
#
# `llmlab doctor` says more: how long each experiment takes here, whether the checkpoints are whole, what to mind about this processor.

# %%
from itertools import islice

from llmlab.cli import doctor

facts = islice(doctor.examine(time_experiments=False), 2)
print(*(next(doctor.lines(fact)) for fact in facts), sep="\n")

# %% [markdown]
# ## 6 · What counts as shown
#
# Our model is small and its country is invented, so a number here is not a number about a large model. What carries over is the *mechanism*, and the way to test it. Three rules hold for every comparison that is called *shown*; a cell with one seed is an illustration, and says so:
#
# - **Several seeds, paired.** One run is an anecdote. The next cell takes one comparison apart: same seeds in both settings, the difference seed by seed, and its 95 % interval.
# - **Something is matched** between two settings: tokens, steps or samples. It is said which.
# - **A claim that fails stays in.** Where the texts that this workbook teaches are contested, or our runs disagree with them, the chapter says so.

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
# ## 7 · The evidence
#
# Every statement of the sources about this chapter is a **claim** in the ledger: put into our words, with arms, a direction and a smallest effect of interest, and the log of declarations says when each was fixed and what was
# changed after results were known. A claim's parts are decided one by one, by the 98 % interval over seeds: *as claimed*, *reversed*, *too small* (or, where no difference was claimed, *differs*), else *open*. Seeds are looked at when there
# are five, ten and twenty. *Supported* means that every part is as claimed, *refuted* that every part is excluded, *conditional* that it depends on a knob that is named; *withheld* that the design cannot decide it, and why. A verdict holds for this lab: a small
# model and a small world. The line in italics is what to know before quoting it. The whole ledger stands in [its own notebook](ledger.ipynb).

# %%
from llmlab.ledger.table import Ledger

Ledger("00")

# %% [markdown]
# ## 8 · Where the sources are contested
#
# - **"Prompt → SFT → DPO → RL → CPT → distil, by price."** What is cheapest depends on how often the model will be asked: training is paid once, test-time compute with every request [Snell et al. 2024].
#   The exercise `break_even` is about that.
# - **"If it does not know the facts, teach it by reading."** Reading gives knowledge that can be *continued*; whether it can be *asked for* depends on wordings and on whether anybody ever showed questions
#   [Allen-Zhu and Li 2023]. Chapter 02 takes a first look at it.
# - **"Never fine-tune facts in."** Unknown facts in SFT are learnt slowly, and once learnt make the model invent more [Gekhman et al. 2024]. Here (on the base, not on a chat model) questions taught to answer about as well as documents did,
#   and to state less (C002); inventing is chapter 04's matter.
#
# ## 9 · Exercises
#
# `task("name")` shows the task and an empty function. `check` says whether yours is right, or what is wrong with it; `hint` helps in steps; `solution` shows right ones.

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
# Real situations, as an interviewer would put them. Answer in four parts (diagnosis, lever, risks, measurements), then compare with an answer said aloud and grade yourself by the rubric. Questions come back when you are about to forget them.
# In the terminal: `llmlab drill`; an interview against the clock: `llmlab drill --mock 20`.

# %%
Drills("00")

# %% [markdown]
# ## 11 · Interview page
#
# What to know by heart, on one page: the formulas as the papers have them, what this lab shows, what is known about large models, and three follow-ups. Keep the two kinds of evidence apart when you speak. In the terminal: `llmlab interview 00`.

# %%
from llmlab.learn.interview import interview

interview("00")

# %% [markdown]
# ## To take away
#
# 1. A missing fact and a missing behaviour look alike from outside. Put the fact into the prompt: if the answer is right then, the behaviour was there and the knowledge was missing.
# 2. Choose a lever by what is missing, not by what it costs. A cheap lever that closes another gap is not cheap.
# 3. A number counts when it comes with several seeds, something that is matched, and the size that would have mattered. Ask for these before you believe it, ours included.

# %% [markdown]
# ## Glossary

# %%
from llmlab.learn.atlas import GLOSSARY

pd.Series(GLOSSARY, name="meaning").rename_axis("term").to_frame()

# %%
references("snell_2024", "allen_zhu_2023", "gekhman_2024",
           "scaling_test_time_compute_agents_2025")
