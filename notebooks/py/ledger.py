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
# Two texts on mid- and post-training make many statements. Here each of them is a **claim**: we put it into our words and gave it arms, a metric, a direction and a smallest effect of interest. Then we measured it over seeds, and rules that are
# all in one file judge it. A claim that fails stays in. The log below says when each claim was declared, and what was changed after results were known.
#
# A claim has parts, and the 98 % interval of its effect over seeds decides each part:
#
# - **as claimed**: the interval is above 0, and the mean is at least the smallest effect of interest. Where no difference was claimed, the whole interval is smaller than that effect.
# - **reversed**: the interval is on the other side of 0.
# - **too small**: it ends below the smallest effect.
# - **differs**: no difference was claimed, and there is one.
# - **open**: none of these. We look again with ten and with twenty seeds, and at no other number: anyone who looks after every seed finds something sooner or later.
#
# The parts decide the claim:
#
# - **supported**: all parts are as claimed.
# - **refuted**: all are excluded.
# - **conditional**: some hold and some do not, and the arms differ in the knob that is named.
# - **supported in part**, **refuted in part** or **open**: the other cases.
# - **withheld**: the design cannot decide it. Both sides are at the floor or the ceiling, the best rate is at the edge of those tried, there are too few questions, or a condition of the claim's own fails (for example: no arm ends below its start). It waits for a better design.
# - **proven**: by counting or by a closed form.
# - **corrected**: the source's words are imprecise, and the truth can be shown.
# - **untestable**: the row says why.
#
# All parts must hold, so no verdict is corrected for the number of claims, and a new chapter changes no old verdict. One line above the list shows what the number of claims means for the page as a whole: how many of the decided parts are
# expected to be false. Some claims come with further comparisons that have an interval and no verdict. Read the line in italics under a verdict before you quote it.
#
# Words used here: an **arm** is one setting of the knobs; **points** are percentage points; **early** is the mean of the readings at steps ten to forty, **worst** the highest loss during the run; **replay** is old text mixed in;
# **CKA** says how similar two sets of vectors are (1: the same up to rotation and scale); **KL** says how far the predictions have moved. The chapters explain the other terms.
#
# Click a row, or press Enter on it. You see what was found in plain words, the literature, what would change our mind, every seed's effect, and the curves. *Run one more seed* trains the claim's arms here and now. It adds a dot to the
# stored ones: a dot, never a verdict.

# %%
from llmlab.learn.widgets.ledger import LedgerPage

LedgerPage()

# %% [markdown]
# Here are the same effects without clicking, for the rows that can be quoted. (The others follow below, by verdict.)

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger, counts, rows

forest.figure(Ledger(quotable=True).rows)

# %% [markdown]
# Effects are divided by the smallest effect of interest, and the claimed side is on the right. A part of a claim is as claimed if its dot is right of 1 and its interval right of 0. Where no difference was claimed, the whole interval must lie inside the blue band.

# %%
counts(rows())

# %% [markdown]
# ## What can be quoted
#
# These claims are decided, by a sound design, and can be quoted, each with its caveat. Read the effect first: the size is the news, and the verdict only says on which side of a threshold it lies.

# %%
Ledger(quotable=True)

# %% [markdown]
# ## What must not be quoted yet
#
# Each of these has a number that would be misread, because the design compares something other than what the claim is about. The line in italics says why.

# %%
Ledger(verdict="withheld")

# %% [markdown]
# Three of them show what would go wrong without guards. **C053** was *refuted*, by comparing two cuts that both keep nothing. The cut that keeps question, call and answer does what the claim says, by a wide margin. **C098** would have been
# *supported*: the reward does better than clean traces, but only because clean traces destroy more; it ends below its own start. **C022** was open because of one bad seed: all other controls refuse everything, and no arm can refuse more than
# everything.

# %% [markdown]
# ## What came out against the sources

# %%
Ledger(verdict="refuted")

# %% [markdown]
# *Refuted* means that an effect of the claimed size is excluded here. It doesn't mean that the opposite holds. *Too small* means that there may be an effect, but too small to matter.

# %% [markdown]
# ## What holds under a condition, or in part

# %%
Ledger(verdict="conditional")

# %% [markdown]
# Some of these need a word more:
#
# - **C046** Other role marks break what the model learnt, and so does a padding token that hides the end of every turn. A second begin-of-text token costs nothing that we could measure.
# - **C069** With rewards of 0 and 1 the group's mean gains nothing. With rewards of 1 and 2, which ask for the same, the gradient drowns in noise unless there is a baseline.
# - **C070** On easy sums the group's mean makes the gradient noisier: nearly all answers are right and get almost no weight, so the few wrong ones decide.

# %%
Ledger(verdict="supported in part, refuted in part")

# %% [markdown]
# Some of these need a word more:
#
# - **C004** It agrees with [Chen et al. 2025] that a model forgets little when it learns from data near its own distribution. It doesn't prove that, because the methods also differ in their tasks.
# - **C017** A fifth of the base's peak rate keeps more and learns less than twice that peak does: the trade-off of [Ibrahim et al. 2024].
# - **C023** At two tenths some seeds learn to answer in steps and some do not, and a mean over the two kinds describes neither (chapter 02 shows the dots).
# - **C091** The model takes on style, name and language. It isn't targeted: answers that no pair asks for change as well.

# %% [markdown]
# ## What stays open

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

# %%
Ledger(verdict="proven")

# %%
Ledger(verdict="corrected")

# %% [markdown]
# ## When it was declared
#
# A claim's hash covers everything that decides its verdict: arms, metrics, direction, smallest effect, seeds, guards. The log records every change of the hash. These claims were changed after results were known:

# %%
from llmlab.ledger import CLAIMS, declarations

late = {e["claim"] for e in declarations.entries() if e["after_results"]}
{id: declarations.told(CLAIMS[id]) for id in sorted(late)}

# %% [markdown]
# ## Does the ledger find things that are not there?
#
# **An arm against itself.** We compare the first seeds of an arm with its next ones, as if that were a claim. The only correct verdicts are *open* and *too small*. Then we plant an effect on one side, three times the smallest one of interest.

# %%
from llmlab.ledger.controls import planted, same_arm

same_arm("C099"), planted("C099", 3.0)

# %% [markdown]
# The tests simulate how often the rules err, with all the looks that they take. Without any effect, a part is called *as claimed* in about two cases of a hundred; an effect of the smallest size of interest is excluded in about three.

# %% [markdown]
# **A dead knob.** Two arms whose knob does nothing give the same numbers in every run. That doesn't refute the claim. The experiment is broken, and the ledger says so:

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
# A number that holds only for its own seeds is worth little. So we draw readings by lot, run each with new seeds that no record has, and ask whether the new values lie where the stored ones predict them: mean ± t·s·√(1 + 1/n).

# %%
import pandas as pd

from llmlab.ledger import replication

again = replication.load()
print(replication.summary(again))
columns = ["claim", "arm", "metric", "low", "high", "new"]
pd.DataFrame(again).reindex(columns=columns).round(3)

# %% [markdown]
# Compare *new* with *low* and *high*. By chance about two values of a hundred fall outside. `llmlab claims replicate --lot 2` draws other readings.

# %% [markdown]
# References of this page (each claim lists its own):

# %%
from llmlab.learn.notebook import references

references("ibrahim_2024", "retaining_by_doing_2025")
