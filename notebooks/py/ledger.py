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
# Two texts on mid- and post-training make many statements. Here each of them is a **claim**: put into our words, given arms, a metric, a direction and a smallest effect of interest *before* any run,
# then measured over paired seeds, and judged by rules that stand in one file. A claim that fails stays in.
#
# - **supported**: the effect has the claimed sign and at least the smallest size of interest, and its p-value, adjusted over the whole ledger, is below one in twenty.
# - **refuted**: an effect of that sign and size is excluded, by a test adjusted in the same way. Nothing is said about other models or other data: this is a small model in a small world.
# - **conditional**: supported under one condition, refuted under another; the condition is named.
# - **inconclusive**: neither. The seeds that would have been needed stand beside those that were run.
# - **exact**: proven by counting or by a closed form. **untestable**: and why.
#
# Click a row, or press Enter on it: what was fixed, every seed's effect, the curves. *Run one more seed* trains the claim's arms here and now and puts the result beside the stored ones.

# %%
from llmlab.widgets.ledger import LedgerPage

LedgerPage()

# %% [markdown]
# The same without clicking. Each effect is divided by the smallest one of interest and turned so that right is *as claimed*.

# %%
from llmlab.ledger import forest
from llmlab.ledger.table import Ledger, counts, rows

forest.figure(rows())

# %%
counts(rows())

# %% [markdown]
# ## What came out against the sources

# %%
Ledger(verdict="refuted")

# %% [markdown]
# Why we believe these:
#
# - **C013** A wrong fact is another drug's value, drawn anew in every document, so the right one stays the commonest; and every document says much else that is right. At equal quantity the wrong facts do cost recall
#   (a row of the claim that is shown and does not count), but less than going without half of the documents. A mistake that is always the same one would be another matter.
# - **C028** A term's own token is *one* prediction where its pieces are several, and the row that starts as the mean of its pieces is no stranger: the loss per word is lower from early on. And a first phase in which only the
#   new rows learn keeps the rest of the model from learning the domain meanwhile, so the early loss is higher with it. It pays nevertheless, later: names are copied far better at the end. The advice stands, the reason does not.
# - **C036** A wrong sentence uses the same words in the same places as a right one: its gradient moves the model as far, and nothing else that it knows depends on it. What is forgotten follows from how far the texts are from
#   general text and how much of that is mixed in (C016, C040), not from their truth.

# %% [markdown]
# ## What holds under a condition

# %%
Ledger(verdict="conditional")

# %% [markdown]
# What the conditions say:
#
# - **C002** Documents in several wordings teach to answer almost as well as the questions themselves do; they teach to state far better, and spare more of what was known. Refuted is only that they are the *better* way where
#   one asks by a question. The number of wordings matters more than the kind of text (the rows of the claim that do not count). Behaviour is another matter: no document teaches to refuse.
# - **C004** Demonstrations cost most of what was known, the model's own samples (GRPO) nothing that can be measured, and a lower rate costs less. That agrees with Chen et al. 2025: what is near to the model's own distribution
#   is learnt without forgetting. It is no proof: the methods differ in their tasks too.
# - **C005** Samples help only as much as whoever picks among them: a verifier gains much, a vote nothing over the one likeliest answer (and much over a single *sample*, the comparison that is often printed instead).
# - **C017** A low rate keeps and a high rate learns; there is no rate that is right for both. That is Ibrahim et al.'s trade-off, and replay (C016) is what softens it.
# - **C019** The drugs' facts are there when a statement is to be completed and hardly at all when a question is asked: nobody ever asked this model about a drug. About people it had been asked, and there documents on newcomers
#   are enough to answer about them (C002). Storage is not extraction (Allen-Zhu and Li 2023); but the way to extract may come from elsewhere.
# - **C023** GRPO can only strengthen what is sampled now and then. With enough worked steps in the documents some answers come in steps, and practice makes them the rule; with few it never meets one, and the reading spent on
#   them is missing elsewhere. Chapter 02 shows the dose, and seeds that fall on either side.
# - **C031** The V of the stability gap is drawn by replay: with it the loss on general text rises and comes back; without it the same dip is the beginning of a fall that does not end.
# - **C037** The KL term is computed on the domain's texts, so it holds the model where it reads and not where it forgets: better than nothing, far from replay, which shows the model those very texts at the same price.

# %% [markdown]
# ## What stays open

# %%
Ledger(verdict="inconclusive")

# %% [markdown]
# *Inconclusive* is no verdict on the claim: it says that the part that counts was not shown and not excluded by the seeds that were run. Most of these have one clear half and one open one; the row says which. A claim's detail
# above tells how many seeds its smallest effect would need. `llmlab claims run C023 --most 20` runs more of them.

# %% [markdown]
# ## What holds

# %%
Ledger(verdict="supported")

# %%
Ledger(verdict="exact")

# %% [markdown]
# ## Does the ledger find things that are not there?
#
# **Shuffled labels.** Take a claim that is supported, forget which run belonged to which arm, deal the labels anew, and judge the whole ledger again; a hundred times.

# %%
from llmlab.ledger.controls import shuffled

shuffled("C016", times=100)

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
from llmlab.ledger import statistics
from llmlab.notebook import show

show(statistics.estimate, statistics.judge, statistics.overall)
