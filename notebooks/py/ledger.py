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
# # The ledger
#
# Two texts on mid- and post-training make many statements. Which of them hold? Here each statement is a **claim**. We put it into our words and gave it arms, a metric, a direction and a smallest effect of interest. Then we measured it over seeds and judged it by rules that are all in one file. A claim that fails stays in. The log below says when each claim was declared, and what was changed after results were known.
#
# Here is one claim, from chapter 02:

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger, counts, rows

Ledger(ids=["C040"])

# %% [markdown]
# Read the last column. Each line is a **part** of the claim: what changed, by how much on average, and in brackets where the mean lies with 98 % confidence over the seeds. Both intervals lie on the claimed side of 0, and both means are larger than the smallest effect of interest. So both parts are *as claimed*, and the claim is *supported*. (Where no difference is claimed, the whole interval must be smaller than that effect.)
#
# A part that doesn't go so well is
#
# - **reversed** if its interval is on the other side of 0
# - **too small** if the interval ends below the smallest effect
# - **differs** if no difference was claimed, and there is one
# - **open** if none of these is true. We look again with ten and with twenty seeds, and at no other number: anyone who looks after every seed finds something sooner or later.
#
# *Reversed*, *too small* and *differs* exclude the claimed effect. A claim is **supported** if all its parts are as claimed and **refuted** if all are excluded. It is **conditional** if some hold, the others don't, and their arms differ in the knob that is named; other mixtures are *in part*. If no part is decided, it is **open**. It is **withheld** if its design can't decide it: both sides are at the floor or the ceiling, the best rate is at the edge of those tried, the questions are too few, or a condition of its own fails. Some claims need no seeds: they are **proven** by counting or a closed form, **corrected** where the source's words are imprecise and the truth can be shown, or **untestable**, and the row says why.
#
# All parts must hold, so a claim needs no correction for the number of its parts. Nor is a verdict corrected for the number of claims, so a new chapter changes no old verdict. Instead, one line above the list says what the number of claims means for the page as a whole: how many of the decided parts are expected to be false. Some claims have further comparisons, with an interval but no verdict.
#
# Terms of this page:
#
# - An **arm** is one setting of the knobs. **Points** are percentage points.
# - **Early** is the mean of the readings at steps ten to forty, **worst** the highest loss during the run.
# - **Replay** is old text mixed in.
# - **CKA** says how similar two sets of vectors are (1: the same up to rotation and scale), **KL** how far the predictions have moved. The chapters explain the other terms.
#
# Click a row, or press Enter on it. You see what was found in plain words, the literature, what would change our mind, every seed's effect, and the curves. Read the line in italics under a verdict before you quote it. *Run one more seed* trains the claim's arms here and now. It adds a dot to the stored ones and never changes a verdict.

# %%
from llmlab.learn.widgets.ledger import LedgerPage

LedgerPage()

# %% [markdown]
# How large are the effects? Here are those of the claims that can be quoted. (The others follow below, by verdict.)

# %%
forest.figure(Ledger(quotable=True).rows)

# %% [markdown]
# Effects are divided by the smallest effect of interest, and the claimed side is on the right. A part of a claim is as claimed if its dot is to the right of 1 and its interval to the right of 0. Where no difference was claimed, the whole interval must lie inside the blue band.
#
# How many claims have each verdict?

# %%
counts(rows())

# %% [markdown]
# (*Not run* means that the claim has no result yet.)
#
# ## What can be quoted
#
# Which results may you repeat? These claims are decided by a sound design, and you can quote each with its caveat. Read the effects in the last column before the verdict: their size is the news, and the verdict only says on which side of a threshold it lies.

# %%
Ledger(quotable=True)

# %% [markdown]
# ## What must not be quoted yet
#
# Which numbers would mislead you? Each of these claims has one, because its design compares something other than what the claim is about. The line in italics says why.

# %%
Ledger(verdict="withheld")

# %% [markdown]
# One of them shows what would go wrong without such guards. **C097** compares what happens to chains of calls that the lessons never contained. Neither side ever does such a chain, so the two agree perfectly, and about nothing. (**C095** was withheld as well, while half of its runs never got to the share of right answers at which they were compared: they forgot less because they had learnt less.)

# %% [markdown]
# ## What came out against the sources
#
# Which statements does the lab contradict?

# %%
Ledger(verdict="refuted")

# %% [markdown]
# *Refuted* means that an effect of the claimed size is excluded here. It doesn't mean that the opposite holds. *Too small* means that there may be an effect, but too small to matter.

# %% [markdown]
# ## What holds under a condition, or in part
#
# Which statements hold only under some settings? *Conditional on* names the knob.

# %%
Ledger(verdict="conditional")

# %% [markdown]
# Some of these need a word more:
#
# - **C046** Other role marks break what the model learnt. So does a padding token that hides the end of every turn. A second begin-of-text token costs nothing that we could measure.
# - **C069** With rewards of 0 and 1, subtracting the group's mean gains nothing. With rewards of 1 and 2, which ask for the same, the gradient drowns in noise unless there is a baseline.
# - **C070** On easy sums the group's mean makes the gradient noisier. Nearly all answers are right and get almost no weight, so the few wrong ones decide.

# %%
Ledger(verdict="supported in part, refuted in part")

# %% [markdown]
# Some of these need a word more:
#
# - **C004** It agrees with [Chen et al. 2025] that a model forgets little when it learns from data near its own distribution. It doesn't prove that, because the methods also differ in their tasks.
# - **C017** A learning rate of a fifth of the base's peak keeps more and learns less than one of twice that peak. This is the trade-off of [Ibrahim et al. 2024].
# - **C023** With two tenths of worked solutions, some seeds learn to answer in steps and some don't. A mean over the two kinds describes neither (chapter 02 shows the dots).
# - **C091** The model takes on style, name and language. But this isn't targeted: answers that no pair asks for change as well.

# %% [markdown]
# ## What stays open
#
# What have our seeds not decided? First come the claims without any decided part, then those with some:

# %%
Ledger(verdict="open")

# %%
Ledger(verdict="supported in part")

# %%
Ledger(verdict="refuted in part")

# %% [markdown]
# *Open* is no verdict: our seeds have neither shown nor excluded the claim. `llmlab claims run` takes every open claim to its next look.

# %% [markdown]
# ## What is proven, and what is corrected
#
# Which statements can be shown without seeds?

# %%
Ledger(verdict="proven")

# %%
Ledger(verdict="corrected")

# %% [markdown]
# ## When it was declared
#
# Was a claim changed to fit its result? Its hash covers everything that decides its verdict: arms, metrics, direction, smallest effect, seeds, guards. The log records every change of the hash. These claims were changed after results were known:

# %%
import pandas as pd

from llmlab.ledger import declarations

late = pd.DataFrame([{m: e[m] for m in ("claim", "date", "what")}
                     for e in declarations.entries() if e["after_results"]])
late.style.hide().set_properties(**{"text-align": "left", "white-space": "normal"})

# %% [markdown]
# Does a better design change a verdict? Often. **C053** was *refuted* by a comparison of two cuts that both lose what is needed; against the cut that keeps question, call and answer it is *supported*, by a wide margin. **C013** was *refuted* while the clean half of the documents got half the training. When it is read twice, so that the steps are equal, it teaches more facts than all documents with a wrong fact in each. **C016** was *supported* against no replay at all; against the model's own start, "keeps" is too strong. **C098** was *withheld*: at a rate that all arms shared, the reward ended below its own start. At a rate of its own it teaches the model to try again. So read what is compared before you believe a verdict, here and in papers.

# %% [markdown]
# ## Does the ledger find things that are not there?
#
# **An arm against itself.** We take every reading of ten seeds or more and compare its first seeds with its last ones, as if that were a claim. The only correct verdicts are *open* and *too small*. Then we plant an effect on one side, three times the smallest one of interest. Here are the counts without and with it:

# %%
from llmlab.ledger.controls import same_arm

pd.DataFrame({"an arm against itself": same_arm(),
              "the same, effect planted": same_arm(planted=3.0)}
             ).T.fillna(0).astype(int)

# %% [markdown]
# In the first row, any other verdict is an error. In the second, *open* means that half of the seeds don't show the effect. The tests simulate how often the rules err, with all the looks that they take. Without any effect, a part is called *as claimed* in about two cases of a hundred. An effect of the smallest size of interest is excluded in about three.

# %% [markdown]
# **A dead knob.** If a knob does nothing, its two arms give the same numbers in every run. That doesn't refute the claim. The experiment is broken, and the ledger says so:

# %%
from llmlab.ledger.controls import dead_knob

dead_knob("C016")

# %% [markdown]
# **An altered number.** The results carry a checksum over every digit. If somebody changes one by hand, the page shows no verdict any more:

# %%
from llmlab.ledger.controls import altered

altered()

# %% [markdown]
# These are the rules, as the package has them:

# %%
from llmlab.ledger import guards, statistics
from llmlab.learn.notebook import show

show(statistics.part, statistics.look, statistics.overall, guards.floor_or_ceiling)

# %% [markdown]
# ## Do the numbers come back?
#
# A number that holds only for its own seeds is worth little. So we draw readings at random and run each with new seeds that no record has. Are the new values where the stored ones predict them, within mean ± t·s·√(1 + 1/n)?

# %%
from llmlab.ledger import replication

again = replication.load()
print(replication.summary(again))
columns = ["claim", "arm", "metric", "low", "high", "new"]
pd.DataFrame(again).reindex(columns=columns).round(3)

# %% [markdown]
# Compare *new* with *low* and *high*, the ends of the prediction. By chance about two values of a hundred fall outside. `llmlab claims replicate --lot 2` draws other readings.

# %% [markdown]
# References of this page (each claim lists its own):

# %%
from llmlab.learn.notebook import references

references("ibrahim_2024", "retaining_by_doing_2025")
