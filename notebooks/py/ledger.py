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
#
# A claim with several parts is supported only if all of them are, conditional if some are supported and others refuted, and otherwise inconclusive. The intervals are of one part alone while verdicts are adjusted for all of them
# together, so an interval may clear its border and the verdict still be open. Some comparisons are shown beside a claim and do not count.
#
# Words used here: an **arm** is one setting of the knobs; **points** are percentage points; **early** is the mean of the readings at steps ten to forty, **worst** the highest loss on the way; **replay** is old text mixed in;
# **CKA** says how like two sets of vectors are (1: the same up to rotation and scale); **KL** says how far the predictions have moved. The rest stands where its chapter explains it.
#
# - **exact**: proven by counting or by a closed form. **untestable**: and why.
#
# Click a row, or press Enter on it: what was fixed, every seed's effect, the curves. *Run one more seed* trains the claim's arms here and now and puts the result beside the stored ones.

# %%
from llmlab.learn.widgets.ledger import LedgerPage

LedgerPage()

# %% [markdown]
# The same without clicking. Each effect is divided by the smallest one of interest and turned so that right is *as claimed*.

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger, counts, rows

forest.figure(rows())

# %%
counts(rows())

# %% [markdown]
# ## What came out against the sources

# %%
Ledger(verdict="refuted")

# %% [markdown]
# *Refuted* says that the claimed effect, of that size, is excluded: not that its opposite holds. What follows are possible reasons; where we tested one, it says so.
#
# - **C013** The clean arm has half the steps. A wrong fact is another drug's value, drawn anew in every document, so the right one stays the commonest. At equal quantity the wrong facts do cost recall (a row that does not
#   count), but less than going without half of the reading. A mistake that is always the same one would be another matter.
# - **C028** Early on, the loss per word is lower with tokens of their own, and higher with a first phase than without: one prediction stands where there were several, and while only the new rows learn, the rest of the model does
#   not. At the end it is otherwise: then the loss per word is higher with own tokens (chapter 03), and names are copied far better if there was a first phase (a row that does not count). So the reason given is refuted, and the
#   advice is not.
# - **C053** Cut on the right, a dialogue loses its final answer; cut in the middle, it keeps the answer and loses the question and half of the call. After either, no look-up comes out right. Cut on the left, which costs the
#   instructions and keeps question, call and answer, most do (a row that does not count). So the answer alone is not enough: what it rests on must survive with it.
# - **C072** The critic here is the best linear one, fitted to this very policy beforehand. On easy sums the gradient without any baseline agrees with itself better, for the reason given under C070; on hard ones the group's mean is as good.
# - **C064** Sorted by adapter, requests of many tenants make many small batches, and each is a pass through the whole model. The gather that mixes them costs less than those passes.

# %% [markdown]
# ## What holds under a condition

# %%
Ledger(verdict="conditional")

# %% [markdown]
# What the conditions say:
#
# - **C002** Asked by a question, documents in five wordings come out a little below questions in five wordings, and far above when a statement is to be completed. In rows that do not count: more wordings help both, and documents
#   spare more of what was known. Documents about drugs contain no refusals and taught none.
# - **C004** Demonstrations cost clearly more than the border, the model's own samples (GRPO) nothing that can be measured; DPO and a lower rate lie at the border and stay open. It agrees with [Chen et al. 2025] that what is near
#   to the model's own distribution is learnt without forgetting, and proves nothing: the methods differ in their tasks too.
# - **C005** Samples help as much as whoever picks among them: a perfect verifier gains much; a vote gains less than the border over the one likeliest answer (and much over a single *sample*, the comparison that is often printed).
# - **C017** A fifth of the base's peak rate keeps more and learns less than twice that peak. That is the trade-off of [Ibrahim et al. 2024]; of the three rates in chapter 02's grid none is best at both.
# - **C019** Statements about drugs are completed, questions about them hardly answered. About people the model had been asked before, and there documents on newcomers are enough for about half of the questions (C002). Whether that is
#   the reason was not isolated.
# - **C023** With a tenth of worked steps no seed ends with answers in steps, and GRPO ends below where it ends without them; with three tenths all do; in between some seeds do and some do not, and a mean over the two kinds describes
#   neither (chapter 02 shows the dots). That GRPO can only strengthen what is sampled now and then would explain it.
# - **C031** With replay the loss on general text rises and then regains a part; without, it rises more and is still rising at the end of the run.
# - **C046** Other role marks, and a padding token that hides the end of every turn, break what was learnt. A second begin-of-text token costs nothing that can be measured. Without the generation prompt much is lost, by seed very
#   differently, and that part stays open. Literal role words are as good as control tokens for accuracy if they stand on both sides (a row that does not count).
# - **C090** With a likelihood term on the chosen answer, failures are admitted as often as after imitation, and made-up values become far less likely. Without that term DPO pushes the made-up values down and admits nothing.
# - **C091** Style, name and language are taken on. Targeted it is not: what no pair asks for changes as well, and after four questions about a name the plain answers about people are mostly gone.
# - **C092** Each arm at its best rate: for style and sums imitation wins by far; for when to call the contrast wins, and imitation harms. With a likelihood term DPO is level with imitation for style, a little below it for sums, and further ahead for
#   decisions (rows that do not count).
# - **C069**, **C070** With rewards of 0 and 1 the group's mean gains nothing, and on easy sums it costs: nearly all answers are right and get almost no weight, so the few wrong ones decide. Paid 1 and 2 instead, which asks for the same, the gradient
#   without a baseline drowns. Whether the policy ends better is open (C069's last part). At equal samples, groups of about four do best (rows of C070 that do not count).
# - **C084** Where one function on letters came out right now and then, sixteen samples nearly always hold a right answer in the end. But pretraining had shown it with its steps: it is drawn out rather than found
#   *beyond the data*. Three inside each other stood nowhere and never came out right, and nothing is found.
# - **C097** With a chain now and then among the lessons the reward makes nearly all chains succeed; with none it never has anything to compare. Imitation of whole chains does as well, so that SFT cannot is refuted.
# - **C099** Reinforcement learning alone gets nowhere. With DPO in between fewer sums are right, for DPO takes a third of the steps: given as many steps of reinforcement learning the difference is too small to be resolved (a row that does not count). As the last stage it undoes
#   most of what was just learnt. What it does for politeness, before or after, stays open.
# - **C060** Adapters on the MLP take in more than on attention. On both places they take in more still, with the same number of parameters: the second half is refuted.
# - **C067** GRPO at rank 1 is level with all weights. SFT of the base, which has to learn the marks of turns too, stays far behind at rank 8 in equal steps. DPO at rank 8 comes out a little above.
# - **C037** KL keeps a little more than nothing does and far less than replay at equal compute, and ends with a higher loss on the domain. A possible reason: the KL is computed on the domain's texts only.

# %% [markdown]
# ## What stays open

# %%
Ledger(verdict="inconclusive")

# %% [markdown]
# *Inconclusive* is no verdict on the claim: what counts was neither shown nor excluded by the seeds that were run. Some have one clear part and an open one (C032, C033, C034, C038, and one part of C026); the others are open throughout. A
# claim's detail above tells how many seeds its smallest effect would need; `llmlab claims run C020 --most 20` runs more of them. C012, C025, C036, C039 and C042 had a verdict when the ledger was smaller: the correction is for all tests in it, so
# each new chapter asks more of the old ones, and five seeds no longer reach it there. Since chapter 05 seeds are planned at the level that the whole ledger asks.
#
# Of chapter 04: in C042 facts do not only come late; what was known before is lost meanwhile, and strangers are admitted less often (rows that do not count). C041 is open in one part only, refusals after a handful of examples, which differ much between seeds; C044 in how far a set made mostly of unsafe requests goes towards refusing everything. C048 and C052 come out near zero: results as the user's words, and loss
# on results, cost less than the border or little more. C051 holds for calls and fails for JSON without the end of its turn in most seeds, not in all. C055 was declared on formats, which so few steps hardly teach; facts, in rows that do not
# count, are lost to careless labels and to little variety. C057's second half: chains do come with traces of chains, by seed differently.
#
# Of chapter 05: C058 is clear where there is much to learn (rank 8 falls far behind) and open where there is little. C062 comes out about the border for all three tasks. C065 is clear for codes and politeness, which cost nearly everything else; GRPO's adapters cost little, and
# refusals by seed very differently. C025: the tokens that make names copyable cost recall of facts and a higher loss at this budget (rows that do not count).
#
# Of chapter 06: in C082 it is clear that plain DPO on sums stays behind imitation, each at its best rate; how much it loses of what was there differs much between seeds. C093 and C094 come out near the border: fresh samples help a little, those renewed
# each ten steps no more than old ones, and own answers serve hardly better than corrections.
#
# Of chapter 07, whose arms were chosen after a look at the first seeds, so that other seeds count: C068 is clear for a KL penalty inside the reward, whether or not it is divided by the group's deviation (a row that does not count); in the loss it holds the flawed verifier in about half of the seeds, and against a learned reward it helps in most. C071 and
# C077: on old samples at three times the rate all lose much of what they could do, with a clip less of it, and clipping whole answers less again, which is short of the level that the whole ledger asks; at the usual rate little is lost or learnt, and what the clip adds is
# smaller still (rows that do not count). C078: no difference in either direction. C076 is clear in the gradient at the start, where GRPO pushes wrong answers to go
# on and Dr. GRPO does not; in training the answers stayed long under GRPO in some seeds, under Dr. GRPO in none. C079: at equal steps it helps, at equal samples it does not. C087: without a KL penalty the policy drifts, which is clear, and harmless here: most of the distance is a full stop at the end of the answers, which the verifier reads over; the tight one costs about the border, and most of that comes back if the reference follows now and then. C095: at its best rate
# the reward loses no facts, and imitation hardly any; at five times that rate all lose, by seed very differently. Sums, which were not asked for, lose about the border. C098: traces that show a repair teach it best, which is clear, clean ones unteach it, the reward lies between.

# %% [markdown]
# ## What holds

# %%
Ledger(verdict="supported")

# %% [markdown]
# What to add to some of these:
#
# - **C043** With volume and variety the old facts come back, and strangers are admitted more often (rows that do not count): the harm of C042 is one of too little, not of too much.
# - **C047** A stage in another template teaches that template; little of it is seen where the model is served. DPO suffers far more than GRPO.
# - **C054** Samples that a checker accepts are as good as the solutions. A vote adds little.
# - **C056** The same steps with some traces of error and retry bring recovery, and cost nothing where no call fails. So the claim is about the data.
# - **C059** The rank that is needed grows with what there is to learn: the distance to all weights opens between the few codes and the many.
# - **C081** A tenth of the pairs is not enough either: the others prefer the plain answer, and they win.
# - **C085** The KL penalty that cures sits inside the reward; the pay of the flawed verifier rises while what is right falls. In one seed of ten the flaw was not found.
# - **C086** Different answers and entropy fall, and problems of which one sample in sixteen is right become fewer too (a row that does not count).
# - **C083** One topic, a handful of pairs, a third of them turned round: each costs more than half of what clean pairs teach in the same steps.
# - **C001** The two numbers of its first part come from different problems (a list in the prompt, people read about); it compares levers, not settings of one.

# %%
Ledger(verdict="exact")

# %% [markdown]
# ## Does the ledger find things that are not there?
#
# **Shuffled labels**, here of one claim. Take a claim that is supported, forget which run belonged to which arm, deal the labels anew, and judge the whole ledger again; a hundred times.

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
from llmlab.learn.notebook import show

show(statistics.estimate, statistics.judge, statistics.overall)

# %% [markdown]
# References of this page (each claim's own stand in its detail):

# %%
from llmlab.learn.notebook import references

references("ibrahim_2024", "retaining_by_doing_2025")
