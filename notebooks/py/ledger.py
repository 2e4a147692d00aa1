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
# Two texts on mid- and post-training make many statements. Here each of them is a **claim**: put into our words, given arms, a metric, a direction and a smallest effect of interest, then measured over seeds and judged by rules that
# stand in one file. A claim that fails stays in. When each was declared, and what was changed after results were known, stands in its log below.
#
# A claim has parts, and each part is decided by the 98 % interval of its effect over seeds:
#
# - **as claimed**: the interval is above 0, and the mean is at least the smallest effect of interest. Where no difference was claimed, the interval lies inside that border.
# - **reversed**: the interval is on the other side of 0. **too small**: it ends below the smallest effect. **differs**: no difference was claimed, and there is one.
# - **open**: none of these. The claim is looked at again with ten and with twenty seeds, and at no other number: whoever looks after every seed finds something sooner or later.
#
# And the claim by its parts:
#
# - **supported**: all parts are as claimed. **refuted**: all are excluded. **conditional**: some hold and some do not, and the arms differ in the knob that is named. Else **supported in part**, **refuted in part**, or **open**.
# - **withheld**: the design cannot decide it: both sides at the floor or the ceiling, an arm that ends below its own start, a rate at the edge of those tried, too few questions. It waits for a better design.
# - **proven**: by counting or by a closed form. **corrected**: the source's words are imprecise, and the truth can be shown. **untestable**: and why.
#
# All parts must hold, so nothing is corrected for the number of claims, and a new chapter changes no old verdict. What the number of claims does to the page as a whole is said in one line above the list: how many of the decided parts are
# expected to be false. Some comparisons are shown beside a claim, with an interval and no verdict. The line in italics under a verdict is what to know before quoting it.
#
# Words used here: an **arm** is one setting of the knobs; **points** are percentage points; **early** is the mean of the readings at steps ten to forty, **worst** the highest loss on the way; **replay** is old text mixed in;
# **CKA** says how like two sets of vectors are (1: the same up to rotation and scale); **KL** says how far the predictions have moved. The rest stands where its chapter explains it.
#
# Click a row, or press Enter on it: what was found in plain words, the literature beside it, what would change our mind, every seed's effect, the curves. *Run one more seed* trains the claim's arms here and now and puts a dot beside the
# stored ones: a dot, never a verdict.

# %%
from llmlab.learn.widgets.ledger import LedgerPage

LedgerPage()

# %% [markdown]
# The same without clicking, of the rows that can be quoted; the others stand below, by their verdict. Each effect is divided by the smallest one of interest and turned so that right is *as claimed*.

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger, counts, rows

forest.figure(Ledger(quotable=True).rows)

# %%
counts(rows())

# %% [markdown]
# ## What can be quoted
#
# Decided, by a design that lets it be quoted, with the words that belong beside it. Effects first: the size is the news, the verdict only says on which side of a border it lies.

# %%
Ledger(quotable=True)

# %% [markdown]
# ## What must not be quoted yet
#
# Each of these has a number and would be misread: what is compared is not what the claim speaks of. The line in italics says why.

# %%
Ledger(verdict="withheld")

# %% [markdown]
# Three of them show what a verdict without guards would have done. **C053** was *refuted*: two cuts were compared that both keep nothing. The cut that keeps question, call and answer does what the claim says, by far. **C098** would have been
# *supported*: the reward does better than clean traces, because clean traces destroy more; it ends below its own start. **C022** was open on one bad seed: all other controls refuse everything, and nothing can rise above everything.

# %% [markdown]
# ## What came out against the sources

# %%
Ledger(verdict="refuted")

# %% [markdown]
# *Refuted* says that the claimed effect, of that size, is excluded here: not that its opposite holds. *Too small* says that there may be an effect, and that it does not matter.

# %% [markdown]
# ## What holds under a condition, or in part

# %%
Ledger(verdict="conditional")

# %% [markdown]
# What to add to some of these:
#
# - **C046** Other role marks, and a padding token that hides the end of every turn, break what was learnt. A second begin-of-text token costs nothing that can be measured.
# - **C069** With rewards of 0 and 1 the group's mean gains nothing. Paid 1 and 2 instead, which asks for the same, the gradient without a baseline drowns.
# - **C070** On easy sums the group's mean costs: nearly all answers are right and get almost no weight, so the few wrong ones decide.

# %%
Ledger(verdict="supported in part, refuted in part")

# %% [markdown]
# What to add to some of these:
#
# - **C004** It agrees with [Chen et al. 2025] that what is near to the model's own distribution is learnt without forgetting, and proves nothing: the methods differ in their tasks too.
# - **C017** A fifth of the base's peak rate keeps more and learns less than twice that peak: the trade-off of [Ibrahim et al. 2024].
# - **C023** At two tenths some seeds learn to answer in steps and some do not, and a mean over the two kinds describes neither (chapter 02 shows the dots).
# - **C091** Style, name and language are taken on. Targeted it is not: what no pair asks for changes as well.

# %% [markdown]
# ## What stays open

# %%
Ledger(verdict="open")

# %%
Ledger(verdict="supported in part")

# %%
Ledger(verdict="refuted in part")

# %% [markdown]
# *Open* is no verdict: what was claimed was neither shown nor excluded by the seeds that were run. `llmlab claims run` takes every open claim to its next look.

# %% [markdown]
# ## What is proven, and what is corrected

# %%
Ledger(verdict="proven")

# %%
Ledger(verdict="corrected")

# %% [markdown]
# ## When it was declared
#
# A claim's hash covers what decides its verdict: arms, metrics, direction, smallest effect, seeds, guards. The log names every change of it. These were changed after results were known:

# %%
from llmlab.ledger import CLAIMS, declarations

late = {e["claim"] for e in declarations.entries() if e["after_results"]}
{id: declarations.told(CLAIMS[id]) for id in sorted(late)}

# %% [markdown]
# ## Does the ledger find things that are not there?
#
# **An arm against itself.** The first seeds of an arm against its next ones, judged as if that were a claim: nothing but *open* or *too small* is right. Then the same with an effect planted on one side, three times the smallest one of interest.

# %%
from llmlab.ledger.controls import planted, same_arm

same_arm("C099"), planted("C099", 3.0)

# %% [markdown]
# How often the rules err, with the looks as they are taken, is simulated in the tests: without any effect a part is called *as claimed* in about two cases of a hundred, and an effect of the smallest size of interest is excluded in about three.

# %% [markdown]
# **A dead knob.** Two arms whose knob does nothing give the same numbers in every run. That is not a refutation but a broken experiment, and it is said so:

# %%
from llmlab.ledger.controls import dead_knob

dead_knob("C016")

# %% [markdown]
# **An altered number.** The results carry a checksum over every digit; changed by hand, none of their verdicts is shown any more.

# %%
from llmlab.ledger.controls import altered

altered()

# %% [markdown]
# The rules, as they stand in the package:

# %%
from llmlab.ledger import guards, statistics
from llmlab.learn.notebook import show

show(statistics.part, statistics.look, statistics.overall, guards.floor_or_ceiling)

# %% [markdown]
# References of this page (each claim's own stand in its detail):

# %%
from llmlab.learn.notebook import references

references("ibrahim_2024", "retaining_by_doing_2025")
