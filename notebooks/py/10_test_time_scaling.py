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
# # 10 · Test-time scaling
#
# *Run ▸ Run All Cells* starts this chapter.
#
# **Where we are.** The reasoner solves problems step by step. Chapter 09 trained it further; here its weights stay as they are. You spend more tokens on a request instead, and pick.
#
# ```
# question → several attempts → vote, or verifier, or score → one answer
# question → attempt → remark → another attempt
# question → first steps → score → the best are continued → …
# ```
#
# **For a ten-year-old.** You do a sum four times. If three results agree, you trust that one. If your teacher can check, one right result is enough. But four sums take four times as long, and a teacher who nods at everything is no help.
#
# **In an interview.** *Samples hold more than one answer shows, and what I get out of them depends on how I pick. A vote converges to the commonest answer, right or wrong. Best-of-n converges to the precision of its verifier, however many samples I draw. Revision needs information from outside.
# Search needs a score for partial solutions. I compare all of them at equal tokens, stop early, and ask from which number of requests on training would have been cheaper.*
#
# New terms: **pass@k** = chance that at least one of k samples is right; **pass^k** = chance that all k are; **self-consistency** = vote over the final answers; **selector** = what picks one of k; **TPR, FPR** = share of right, and of wrong, samples that a verifier accepts;
# **revision** = another attempt after a remark; **beam search** = the best few partial solutions are continued; **MCTS** (Monte Carlo tree search) = a tree that grows where it looks good or is hardly tried; **break-even** = number of requests from which training is cheaper.

# %%
from collections import Counter
from math import comb
from statistics import fmean

import pandas as pd

from llmlab.lab import runs
from llmlab.learn import figures
from llmlab.learn.notebook import references, show
from llmlab.learn.widgets import Drills, Panel, Predict, Tree
from llmlab.methods import scaling
from llmlab.models.load import load

pd.set_option("display.max_colwidth", None)

# %% [markdown]
# ## 0 · Look
#
# Give the reasoner 32 products, easy and hard ones, draw 16 samples of each, and look at the problem that is nearest to half right:

# %%
from llmlab.train.attempts import attempts
from llmlab.world.reasoning import Reasoning

reasoner, world = load("reasoner"), Reasoning(("products",), (1, 2))
groups = attempts(reasoner.model, reasoner.tok, world, world.problems(32, seed=3), 16,
                  max_new=150)


def share(group):
    """Samples that are right."""
    return fmean(a.right for a in group)

# %%
group = min(groups, key=lambda g: abs(share(g) - 0.5))
print(group[0].episode.problem.question)
pd.DataFrame([(a.text, a.answer, a.right, a.tokens) for a in group[:8]],
             columns=["sample", "answer", "right", "tokens"])

# %% [markdown]
# One model and one question, and the answers differ, because a step slips in some samples and not in others. So a right answer is often there. This chapter is about getting hold of it, and about the price.
#
# ## 1 · By hand: four different numbers
#
# Three problems, four samples each. A sample has an answer, and a score that some verifier gave it:

# %%
by_hand = {  # name: answers, scores, the right answer
    "A": ("12 12 12 7", (0.9, 0.8, 0.7, 0.2), "12"),
    "B": ("5 8 8 3", (0.9, 0.3, 0.4, 0.2), "5"),
    "C": ("4 6 6 6", (0.9, 0.5, 0.4, 0.3), "6"),
}


def four_numbers(said, scores, wanted, k=3):
    answers = said.split()
    right = [a == wanted for a in answers]
    n, c = len(right), sum(right)
    return {"one sample": c / n, f"pass@{k}": scaling.pass_at_k(n, c, k),
            f"pass^{k}": scaling.pass_hat_k(n, c, k),
            f"voted@{k}": scaling.voted_at_k(answers, right, k),
            f"selected@{k}": scaling.selected_at_k(scores, right, k)}

# %%
numbers = pd.DataFrame({name: four_numbers(*p) for name, p in by_hand.items()}).T
numbers.loc["mean"] = numbers.mean()
assert numbers.loc["B", "pass@3"] == 1 - comb(3, 3) / comb(4, 3)
assert numbers.loc["A", "pass^3"] == comb(3, 3) / comb(4, 3)
numbers.round(2)

# %% [markdown]
# pass@k says what is in the samples, voted@k and selected@k what a user gets, and pass^k what you can rely on. In B the commonest answer is wrong, so the vote fails and the verifier helps. In C the verifier is fooled, and the vote helps. One number for an agent hides all of this.
#
# **Estimating them.** Draw n samples, more than k, and count the subsets of size k in which one is right, or all are [Chen et al. 2021; Yao et al. 2024]:

# %%
show(scaling.pass_at_k, scaling.pass_hat_k)

# %% [markdown]
# There is a shortcut: put the measured share c/n into the formula for a known chance. What do both give on average for a hard problem?

# %%
n, p = 10, 0.05  # samples, and the chance that one is right


def on_average(estimate):
    """Mean of an estimate over the number of right samples, c of n."""
    return sum(comb(n, c) * p**c * (1 - p) ** (n - c) * estimate(c)
               for c in range(n + 1))


pd.DataFrame({k: {"true": 1 - (1 - p) ** k,
                  "subsets": on_average(lambda c: scaling.pass_at_k(n, c, k)),
                  "c/n plugged in": on_average(lambda c: 1 - (1 - c / n) ** k)}
              for k in (1, 2, 5, 10)}).T.rename_axis("k").round(4)

# %% [markdown]
# Counting subsets gives the true value in every row. The shortcut is too low from two samples on. A second trap: with temperature 0 all samples are copies, and pass@k is pass@1 for every k.
#
# ## 2 · One axis: tokens per problem
#
# The stored run draws 32 samples for each of 48 problems and computes every way of picking one of k. *weighted* votes by how likely the model finds a solution; *likeliest* and *shortest* pick a single one by the mean log-prob of its tokens, or by its length. *Adaptive self-consistency* stops its vote
# once one answer leads by three, and spends what it saves on the other problems.

# %%
from llmlab.chapters.c10_test_time.scale import Scale

run = runs.run(Scale(), 0)
ways = {"pass_at_k": "pass@k", "voted": "vote", "weighted": "vote, weighted",
        "adaptive": "adaptive self-consistency", "likeliest": "likeliest",
        "shortest": "shortest", "pass_hat_k": "pass^k"}
greedy, tokens = run.curve("voted")[0], run.curve("tokens")

# %%
def taken(way, k):
    """Samples per problem; an adaptive vote can do with fewer."""
    return run.curve("adaptive_samples")[k] if way == "adaptive" else k

# %%
def over_tokens():
    """Every way over the tokens that it takes."""
    figure, (axis,) = figures.panels(1, width=7.2, height=3.4)
    figure.subplots_adjust(left=0.09, right=0.66, top=0.97)
    for (colour, dash), (way, name) in zip(figures.LOOKS, ways.items()):
        line = {tokens[1] * taken(way, k): v for k, v in run.curve(way).items() if k}
        axis.plot(*zip(*line.items()), color=colour, linestyle=dash, label=name)
    axis.axhline(greedy, color="gray", linewidth=0.8, label="one greedy answer")
    axis.set(xscale="log", xlabel="tokens per problem (log)", ylabel="right (share)")
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5))
    return figure

# %%
one = run.curve("pass_at_k")[1]
Predict(f"One sample is right in {one:.0%} of cases, the greedy answer in "
        f"{greedy:.0%}. In how many is the vote of 16 right?",
        lambda: float(run.curve("voted")[16]), kind="number", unit="share",
        low=0, high=1, shows=over_tokens,
        why="A vote turns problems that are mostly right into right ones, and those "
            "that are mostly wrong in the same way into wrong ones.")

# %% [markdown]
# The highest line is what the samples hold, the lowest what you can rely on. Every way of picking one of k lies between them: if all are right no pick can fail, and if none is, no pick can succeed. (Adaptive self-consistency takes k on average, more for some problems.) The distance to the highest line is what a better
# selector could still gain. Compare the vote with the gray line as well: greedy decoding costs one sample, and a vote has to beat it to be worth sixteen. (One seed: look, and don't quote.)
#
# At scale, 250 samples raised the share of SWE-bench Lite issues with a solution among them from 15.9 to 56 %, while votes and reward models level off where no automatic check exists [Brown et al. 2024].
#
# ## 3 · Voting: where does it end?
#
# With more and more samples a vote gives the *commonest* answer. So sort the problems from above by the share of samples that are right:

# %%
from llmlab.chapters.c10_test_time.scale import modal

voted = pd.DataFrame({"one sample": [share(g) for g in groups],
                      "vote of 16": [float(modal(g)) for g in groups]})
shares = pd.cut(voted["one sample"], [0, 0.25, 0.5, 0.75, 1], include_lowest=True,
                labels=["up to 1/4", "to 1/2", "to 3/4", "above 3/4"])
table = voted.groupby(shares, observed=True).mean()
table.insert(0, "problems", shares.value_counts())
table.rename_axis("samples that are right").round(2)

# %% [markdown]
# Where more than half of the samples are right the vote can't fail, and below that it depends on the wrong ones: scattered errors lose the vote, a common error wins it. The gain on a test set is what the vote wins in the rows where right answers are the commonest, minus what it loses in the others. Among the problems
# that the model solves in at least one sample of eight, here is the one whose favourite wrong answer is furthest ahead:

# %%
def lead(group):
    """Votes of the commonest right answer, less those of the commonest wrong one."""
    votes = {side: Counter(a.answer for a in group if a.right is side)
             for side in (True, False)}
    return max(votes[True].values(), default=0) - max(votes[False].values(), default=0)


worst = min((g for g in groups if share(g) >= 1 / 8), key=lead)
print(worst[0].episode.problem.question)
pd.Series(Counter((a.answer, a.right) for a in worst), name="votes").rename_axis(
    ["answer", "right"]).sort_values(ascending=False).head(4).to_frame()

# %% [markdown]
# If the wrong answer at the top is really the model's commonest one, more samples make this vote *worse*: one sample is sometimes right, and the vote of many never is. Agreement isn't correctness. Normalise the answers before you count, too, or one answer in three spellings loses to another in one.
#
# At scale, voting gained 17.9 points on GSM8K [Wang et al. 2023]. With stronger models 20 samples gained 0.4 and 1.6 % in one study [Loo 2025]; in another, one model fell from 78 to 74.3 % with five samples while a second one rose [Mehta 2026].
#
# ## 4 · A verifier that errs
#
# Best-of-n takes a sample that the verifier accepts, or any if it accepts none. A model is right in three of ten samples, and a verifier accepts nine of ten right ones. What do more samples bring, for different FPR?

# %%
show(scaling.best_of_n, scaling.precision)

# %%
figure, (axis,) = figures.panels(1, width=5.6, height=3.0)
figure.subplots_adjust(left=0.11)
sizes = [1, 2, 4, 8, 16, 32, 64, 128]
for (colour, dash), fpr in zip(figures.LOOKS, (0.0, 0.02, 0.1, 0.3)):
    axis.plot(sizes, [scaling.best_of_n(0.3, k, 0.9, fpr) for k in sizes], color=colour,
              linestyle=dash, label=f"FPR {fpr:g}")
    axis.axhline(scaling.precision(0.3, 0.9, fpr), color=colour, linewidth=0.6)
axis.set(xscale="log", xlabel="samples", ylabel="right (share)", ylim=(0, 1.03))
axis.set_xticks(sizes, sizes)
axis.minorticks_off()
axis.legend(fontsize=8)
figure

# %% [markdown]
# Each curve flattens at its thin line, the verifier's *precision*: the share of right ones among the samples that it accepts. More samples never cross that line. A lower FPR lifts it, and so does a better model.
#
# A learned score is worse off than a yes or no. The more samples there are, the surer it is that one of them fools it, and accuracy can fall again. Chapter 06 called this over-optimisation [Gao et al. 2022].
#
# **The best n.** Say a wrong answer that is delivered costs something, and saying nothing costs nothing. The problems are mixed: one kind the model can never solve, others it solves rarely, sometimes, or nearly always.

# %%
kinds = (0.0, 0.05, 0.3, 0.8)  # share right of four kinds of problems


def worth(n, cost, tpr=0.9, fpr=0.05):
    """Right deliveries less cost × wrong ones; nothing accepted, nothing delivered."""
    total = 0.0
    for p in kinds:
        accepted = p * tpr + (1 - p) * fpr
        delivered = 1 - (1 - accepted) ** n
        total += delivered * (p * tpr - cost * (1 - p) * fpr) / accepted
    return total / len(kinds)


pd.DataFrame({f"a wrong one costs {cost:g}": {n: worth(n, cost) for n in sizes}
              for cost in (0, 0.5, 1, 2)}).rename_axis("samples").round(2)

# %% [markdown]
# Go down each column to its highest number. If wrong answers cost nothing, more samples are always better. If they cost something, there is a best n, and it is small: past it, samples mostly find wrong answers to problems that can't be solved. At scale the best number was often below ten [Stroebl et al. 2024].
#
# **Measured.** Two verifiers on the reasoner's samples. One errs at random. The other has a hole: it also accepts every answer that ends in 0, like a checker that takes what it can't parse for 0. The formula gets each verifier's overall TPR and FPR:

# %%
flawed = {"errs at random": runs.run(Scale(fpr=0.3), 0),
          "accepts what ends in 0": runs.run(Scale(check="ending"), 0)}
columns = {"verified": "measured", "expected": "formula", "pass_at_k": "pass@k"}
pd.concat({name: pd.DataFrame({label: found.curve(metric)
                               for metric, label in columns.items()}).drop(0)
           for name, found in flawed.items()}, axis=1).rename_axis("k").round(2)

# %% [markdown]
# On the left, measurement and formula should agree up to noise, because the errors are as independent as the formula assumes. On the right they aren't: where the right answer ends in 0, wrong ones often do, too, so the verifier is blind to these problems and exact elsewhere. The same FPR, arranged otherwise, gives another
# curve. So give rates by kind of mistake, and not one number. (One seed each.)
#
# Break it, then fix it: *verifier with a hole* against *products, exact check*; then *learned verifiers*, where an ORM and a PRM from chapter 09 do the picking.

# %%
Panel("scale", show=["check", "fpr", "fnr", "temperature"])

# %% [markdown]
# The value at 0 is the greedy answer. Look at *verified* against *pass@k*, and whether the curve still rises at its right end. It doesn't show what a wrong answer costs you; only you know that.
#
# ## 5 · Critique and revise
#
# A round of revision does two things: it repairs some wrong answers and spoils some right ones. These two rates make a chain of two states:

# %%
def chain(right, repaired, spoiled, rounds=20):
    """Share right after each round."""
    shares = [right]
    for _ in range(rounds):
        shares.append(shares[-1] * (1 - spoiled) + (1 - shares[-1]) * repaired)
    return shares


pd.DataFrame({"strong model, blind": chain(0.8, 0.2, 0.1),
              "weak model, blind": chain(0.4, 0.2, 0.1),
              "strong model, a test says what is wrong": chain(0.8, 0.2, 0.0)}
             ).iloc[[0, 1, 2, 4, 8, 20]].rename_axis("rounds").round(2)

# %% [markdown]
# Blind revision pulls a strong and a weak model to the same value, *repaired / (repaired + spoiled)*: one loses and the other gains. If nothing right is touched, accuracy can only rise. So accuracy alone can't tell you whether a loop works. Measure both rates [Liu and Meng 2026].
#
# Now the reasoner, which was trained to revise. *Try again* asks for every answer, right or wrong, without saying anything. The other two use an exact check: only wrong answers are touched. Either the model is told *how far it is right* and goes on from there, or the question is asked afresh, which gives *fresh samples*.
# The first is sequential scaling, the last is parallel scaling with a check. The stored sweep has five seeds, and means are shown:

# %%
from llmlab.chapters.c10_test_time.revise import Revise
from llmlab.lab import sweeps

stored = sweeps.need("revise")
told = {"try again": "intrinsic", "told how far it is right": "step",
        "fresh samples": "resample"}
revised = {name: stored.at(Revise(feedback=f).settings()) for name, f in told.items()}


def mean(some, metric):
    """step -> mean over the seeds."""
    curves = [run.curve(metric) for run in some]
    return {step: fmean(c[step] for c in curves) for step in curves[0]}

# %%
def both_rates():
    """Where each begins and ends, both rates of the first round, and their limit."""
    rows = {}
    for name, some in revised.items():
        up, down = (mean(some, m)[1] for m in ("wrong_to_right", "right_to_wrong"))
        right = mean(some, "accuracy")
        rows[name] = {"before": right[0], "after": right[4],
                      "wrong to right": up, "right to wrong": down,
                      "limit of the chain": up / (up + down) if up + down else None,
                      "tokens per problem": mean(some, "tokens")[4]}
    return pd.DataFrame(rows).T.round(2)

# %%
Predict("Four rounds of revision. What does accuracy do?",
        lambda: {name: mean(some, "accuracy") for name, some in revised.items()},
        kind="sketch", metrics=list(revised), shows=both_rates,
        why="What differs is how much comes in from outside: nothing, how far the "
            "attempt is right, or only that it is wrong.")

# %% [markdown]
# A remark earns its tokens only if *wrong to right* is higher than with fresh samples. On products it isn't: told how far it is right, this model often repeats its mistake or makes another one, and a new try does more. So the exact check is worth a lot here and the remark little. Trying again without any check touches right
# answers too; if the limit is below *before*, stop. (The rates of later rounds are lower, because what is still wrong after a round is harder.)
#
# **Sequential or parallel?** A long chain of thought is the sequential way that large models are trained for: they check, go back and try again inside one answer [DeepSeek-AI 2025]. How long it gets can be forced: cutting it off saves tokens, and putting "Wait" where it wanted to stop makes it go on, which raised
# s1-32B on AIME24 from 50 to 57 % [Muennighoff et al. 2025]. Easy questions gain more from revision, hard ones from a mixture with parallel samples [Snell et al. 2024].

# %%
Panel("revise", show=["feedback", "family", "level"])

# %% [markdown]
# Try *its own critique*: the model says first which step is wrong, and only what it objects to is tried again. It can be no better than its critic, so look at *right ones that become wrong*.
#
# At scale, GPT-4 on GSM8K fell from 95.5 to 91.5 and then to 89.0 % when it corrected itself without feedback [Huang et al. 2023]. Later work: it depends on the task [Stav et al. 2026], and a model that revises only what its own check flags can gain [Jiang et al. 2025].
#
# ## 6 · Search over steps
#
# Best-of-n looks at whole solutions. A search looks at partial solutions and spends its tokens on good ones. MCTS chooses the next one by PUCT: its value, plus a bonus for what was hardly tried [Silver et al. 2017; Feng et al. 2023]. A child that was never visited takes the mean of its siblings' values. One choice by hand:

# %%
parent = (6 * 0.9 + 3 * 0.6) / 9
children = pd.DataFrame({"value": [0.9, 0.6, parent], "prior": [0.2, 0.7, 0.1],
                         "visits": [6, 3, 0]}, index=["a", "b", "c"])
tried = children.visits.sum() ** 0.5 / (1 + children.visits)
for explore in (0, 1, 4):
    bonus = explore * children.prior * tried
    children[f"explore {explore}"] = children["value"] + bonus
children.round(2)

# %% [markdown]
# The highest number of a column is visited next. Without a bonus the search stays with the first good child. With a large one it follows the prior, which is how often the model itself writes that step.

# %%
from llmlab.train import search

show(search.select, search.back_up)

# %% [markdown]
# The task: reach a number in three operations. There are several ways, and many dead ends. Press *Run* and watch the visits, or *Step* through the rounds. Point at a node for its value.

# %%
from llmlab.chapters.c10_test_time.search import Search

puzzle = Reasoning(("reach",), (2,)).problems(6, seed=0)[1]
print(puzzle.question)
tree = Tree(reasoner, puzzle, Search().scorer(reasoner, 0), rounds=16)
tree

# %% [markdown]
# The root has as many visits as there were rounds, and they gather where the value is high. The score is a perfect judge of steps: it counts the share of the due steps that are right and from which the number can still be reached. So a step into a dead end adds nothing. Follow the most visited path to its end: does it
# reach the number? If not, the rounds were too few, because a finished wrong solution still holds the value of its good steps. Try `rounds=64`, `Tree(…, explore=0.0)`, and `Search(score="outcome")`, where only a finished right solution counts.
#
# One tree proves nothing. Here are all ways at equal tokens: with a perfect score of every step, with a perfect check of answers only, and with a process verifier that was trained for a minute. Means of five seeds:

# %%
scores = {"every step is scored": "exact", "only answers are scored": "outcome",
          "a learned score": "learned"}
searched = sweeps.need("search")
pd.concat({name: pd.DataFrame({way.replace("_", " "): mean(
    searched.at(Search(score=score).settings()), way) for way in Search.curves})
    for name, score in scores.items()}, axis=1).rename_axis("tokens").round(2)

# %% [markdown]
# Read a row from left to right: the same tokens, spent in four ways. With a perfect score of steps the beam is ahead while tokens are few, and lookahead once they are many; best-of-n finally passes the beam, because independent samples differ more than the offspring of a few survivors. If only answers can be checked nothing beats
# best-of-n: a beam has no score for partial solutions and picks at random, and MCTS, which remembers which subtrees ended well, comes nearest. With a learned score every way gets *worse* from some budget on: among more candidates there is more often one that the score overrates.

# %%
Panel("search", show=["score", "family", "level"])

# %% [markdown]
# Try the scores on products (*family*), and *likelihood*, the score that costs nothing. Only a good score of steps makes a search worth its tokens.
#
# At scale, search beat a simple re-ranking only with judges of about 90 % accuracy, and took 10 to 20 times as long [Chen et al. 2024]. For agents, comparing finished plans in a list worked best, and knowing when to reflect mattered [Zhu et al. 2025].
#
# ## 7 · Budgets that follow the problem
#
# Easy problems need no sixteen samples. Stop the vote once one answer is ahead by a margin, three votes here, and give what is saved to the problems that are still open:

# %%
from llmlab.chapters.c10_test_time import scale

show(scaling.first_of_margin, scale.adaptive)

# %%
families = ("products", "strings", "reach")
many = sweeps.need("scale")
how = {"fixed": "voted", "adaptive": "adaptive", "takes": "adaptive_samples"}
pd.concat({f: pd.DataFrame({name: mean(many.at(Scale(family=f).settings()), m)
                            for name, m in how.items()})
           for f in families}, axis=1).drop(0).rename_axis("samples").round(2)

# %% [markdown]
# *fixed* draws the same number for every problem, *adaptive* at most as many on average (five seeds). Read *takes* first: where problems are easy, nearly all votes have stopped long before, so the same accuracy costs less. It doesn't help where a wrong answer leads clearly, since that vote stops early as well, nor where answers
# scatter so much that hardly any vote stops.
#
# At scale, such a rule saved up to 7.9 times the samples at nearly the same accuracy [Aggarwal et al. 2023]. Choosing the method by difficulty was more than four times as efficient as plain best-of-n [Snell et al. 2024].
#
# ## 8 · Train or sample?
#
# Training is paid once, samples at every request. Let training cost as much as a million samples, and let it make one sample as good as eight picked by an exact check. From how many requests on is it cheaper?

# %%
training = 1_000_000  # in samples


def break_even(p, k=8):
    """Requests, against k samples always, and against stopping at the first right."""
    early = sum((1 - p) ** i for i in range(k))  # one more if all before are wrong
    return {"samples if stopped early": early,
            "break-even, k always": training / (k - 1),
            "break-even, stopped early": training / (early - 1)}


pd.DataFrame({f"p = {p:g}": break_even(p) for p in (0.2, 0.4, 0.6, 0.8)}
             ).T.round({"samples if stopped early": 1} | dict.fromkeys(
                 ("break-even, k always", "break-even, stopped early"), 0))

# %% [markdown]
# Nobody has to draw eight samples if a check says when to stop, so the comparison with a fixed k flatters training. The better the model already is, the more requests it takes. Below the break-even, sample; above it, train; and compare that number with how long you'll keep the model.
#
# The lab does it with real tokens: STaR from chapter 09, and beside it the samples of the model before training. *equivalent checked samples* says how many of those, with an exact check, are as good as one sample of the trained model.

# %%
from llmlab.chapters.c10_test_time.budget import Budget

spent = runs.run(Budget(), 0)
told = {"spent": "tokens of training", "trained": "trained, one sample",
        "first": "not trained, one sample", "voted": "vote of 8",
        "verified": "8 and an exact check", "need_check": "equivalent checked samples",
        "break_even": "break-even (requests)"}
pd.DataFrame({label: spent.curve(m) for m, label in told.items()}
             ).rename_axis("step").round(2)

# %% [markdown]
# Go down the rows: training gets more expensive, and the question is whether one new sample is worth more old ones. At 1 it has bought nothing yet, and the break-even is set to a million, which means never. A little above 1 it has bought a fraction of a sample, which few tokens replace, so the break-even is far away.
# The verdict is a number of requests and not a winner. It holds for an exact check at request time; without one, compare with the vote.

# %%
Panel("budget", show=["method", "k", "level"])

# %% [markdown]
# Try *DPO* and *GRPO* at the same settings. The two levers combine as well: accepted samples are training data, and a trained model can be sampled.
#
# At scale, test-time compute could beat a model 14 times larger where the small one sometimes succeeds, and not on the hardest questions [Snell et al. 2024].
#
# ## 9 · Latency and cost
#
# Parallel samples wait for the slowest. And each further sample buys less: with an exact check, number N helps only if all before it were wrong.

# %%
slow = 0.05  # share of samples that take longer than you want to wait
pd.DataFrame({N: {"cost": N, "waits too long": 1 - (1 - slow) ** N,
                  "N-th sample buys, easy (p = 0.5)": 0.5 * 0.5 ** (N - 1),
                  "N-th sample buys, hard (p = 0.1)": 0.1 * 0.9 ** (N - 1)}
              for N in (1, 2, 4, 8, 16)}).T.rename_axis("N").round(3)

# %% [markdown]
# From row to row the cost doubles, more requests wait too long, and the last sample buys less, on easy problems first. Three rules follow: cancel the rest once one is accepted, start with two and draw more only after a rejection, and set a deadline with the best answer so far. A deadline cuts long solutions, and these belong to hard problems.
#
# **Speculative decoding** makes a sample faster and leaves its distribution as it is: a small model drafts tokens, the large one accepts each with probability $\min(1, p/q)$, where p is its own probability of the token and q the draft's, and after a rejection draws from $\max(0, p - q)$, normalised [Leviathan et al. 2022]. Tokens per pass of the large model, by drafted tokens and acceptance:

# %%
pd.DataFrame({f"accepts {a:g}": {k: (1 - a ** (k + 1)) / (1 - a) for k in (1, 2, 4, 8)}
              for a in (0.5, 0.8, 0.9)}).rename_axis("drafted").round(1)

# %% [markdown]
# Drafting more tokens pays only if most are accepted. The students of chapter 11 can draft for the reasoner: `llmlab bench --only speculate` counts the accepted drafts and the tokens per pass, and a test shows that the samples' distribution is the reasoner's own. Speculative decoding saves passes of a device that waits for memory. Samples of one prompt side by side fill the same waiting time, so the more of them you draw, the less speculation adds: it shortens each sample and saves none.
#
# ## 10 · With your own problems, check and model
#
# ```
# llmlab run scale --problems FILE.jsonl --model M                          # a rule for final answers says what is right
# llmlab run scale --problems FILE.jsonl --verifier my_check.py --model M   # your check says what is right
# llmlab run scale --problems FILE.jsonl --model M --samples 64 --steps 32 --longest 1024
# ```
#
# A line of the file is `{"question": …, "answer": …}`. `my_check.py` holds `check(question, answer, said)`, which returns True or False; it runs in a process of its own with limits of time and memory, and a check that crashes is a *fault* and no verdict. `--verifier math-verify` compares
# expressions. Look first at *faults*, then at *pass@k* against *voted*: the first says whether samples are worth drawing, the second whether you need a verifier.
#
# ## 11 · The evidence
#
# Each statement that the sources make on this topic is a claim in the ledger, declared before the runs that decide it. Chapter 02, section 11, explains how a verdict is reached.

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("10")
evidence

# %% [markdown]
# The same as a picture:

# %%
forest.figure(evidence.rows)

# %% [markdown]
# Each effect is divided by the smallest one of interest, so that the claimed side is on the right. A part is as claimed if its dot lies right of 1 and its interval right of 0. In a blue band no difference was claimed, so there the whole interval must lie inside the band.
#
# Four rows are worth a discussion:
#
# - **Best of N (C129).** With an exact check it is the largest effect of the chapter. With a learned verifier it falls behind the plain vote: more samples find more answers that fool it.
# - **Critique and revise (C131).** Without information from outside, a round of critique made answers worse. Even the true place of the first error helped less than a fresh attempt.
# - **Search (C132).** At the largest budget a beam over checked steps was no better than best-of-N at equal tokens; with few tokens it was ahead (section 6), and this claim doesn't read those. The sampled solutions were already spread widely enough, so cutting some of them early saved little.
# - **Train or sample (C134).** A few checked samples of the untrained model beat one sample after self-training by far. Which of the two is cheaper depends on how often the model will be asked (section 8).
#
# ## 12 · Where the sources are contested
#
# - **"Self-consistency voting."** It gained 17.9 points on GSM8K [Wang et al. 2023], and next to nothing, or less than nothing, with recent models [Loo 2025; Mehta 2026]. A likely reason: the errors that a strong model still makes are systematic.
# - **"Best-of-N + verifier."** Coverage goes on rising with samples [Brown et al. 2024], and false positives set a ceiling that no number of samples passes, so a weak model can't be made strong this way [Stroebl et al. 2024].
# - **"Critique, then revise."** It hurts without information from outside [Huang et al. 2023], depends on the task [Stav et al. 2026], and helps where a trained check decides what is revised [Jiang et al. 2025].
# - **"Search is most useful for agents and tool chains."** Tree of Thoughts solved 74 instead of 4 % of Game of 24, where a partial state is easy to judge [Yao et al. 2023]. With realistic judges the gain was negligible [Chen et al. 2024].
# - **"More thinking helps."** There are tasks on which longer reasoning lowers accuracy [Gema et al. 2025].
# - **"Training or test-time compute?"** Methods with a verifier pull ahead of those without as the budget grows [Setlur et al. 2025]; beyond that the answer is a curve over the number of requests.
#
# ## 13 · Exercises

# %%
from llmlab.learn.judge import check, hint, reset, solution, task

task("pass_rates")

# %%
def pass_rates(right, n, k):
    ...

check("pass_rates", pass_rates)

# %%
task("verified_at_n")

# %%
task("revision_rates")

# %%
task("puct_visits")

# %% [markdown]
# More: `task("selected_at_k")`, `task("weighted_vote")`, `task("speculative_step")`.
#
# ## 14 · Drills

# %%
Drills("10")

# %% [markdown]
# ## 15 · Interview page

# %%
from llmlab.learn.interview import interview

interview("10")

# %% [markdown]
# ## To take away
#
# 1. pass@k, pass^k, voted@k and selected@k are four numbers. Report the one that your product depends on, over tokens per problem.
# 2. What picks sets the limit: a vote converges to the commonest answer, best-of-n to the precision of its verifier, blind revision to the ratio of its two rates.
# 3. Stop early, then ask from how many requests on training is cheaper.

# %%
references("chen_2021_codex", "tau_bench_2024", "self_consistency_2023",
           "self_consistency_limits_2025", "mehta_2026", "brown_2024",
           "resampling_2024", "snell_2024", "gao_2022", "huang_2023",
           "markov_revision_2026", "stav_2026", "jiang_2025_pag", "silver_2017",
           "feng_2023", "tree_of_thoughts_2023", "chen_2024_discriminator",
           "scaling_test_time_compute_agents_2025", "adaptive_consistency_2023",
           "verifier_based_2025", "inverse_scaling_2025", "leviathan_2022",
           "deepseek_r1_2025", "muennighoff_2025")
