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
# **Where we are.** Chapter 09 trained the reasoner. Here its weights stay as they are: you draw several attempts at a request and pick one answer. What does that gain, and what does it cost?
#
# ```
# question → several attempts → vote, verifier or score → one answer
# question → attempt → feedback → another attempt
# question → first steps → score → continue the best → …
# ```
#
# **For a ten-year-old.** You work out a sum four times. If three results agree, you trust that one. If your teacher can check, one right result is enough. But four sums take four times as long, and a teacher who nods at everything is no help.
#
# **In an interview.** *What I get out of samples depends on how I pick. A vote converges to the commonest answer, right or wrong. Rejection sampling converges to the precision of its verifier. Revision needs information from outside, and search needs a score for partial solutions. I compare all of them at equal tokens, stop early, and ask after how many requests training would have been cheaper.*
#
# New terms: **pass@k**, **pass^k** = chance that at least one, or all, of k samples are right; **self-consistency** = a vote over the final answers of several samples; **best-of-n** = the sample with the highest score is taken; **rejection sampling** = the first sample that a verifier accepts is taken; **TPR**, **FPR** = share of right samples, and of wrong ones, that a verifier accepts; **beam search** = continue only the best few partial solutions; **MCTS** (Monte Carlo tree search) = grow a tree of steps where it looks good or has hardly been tried; **break-even** = number of requests after which training is cheaper.

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
# How different are several answers to the same question? Give the reasoner 32 products, easy and hard ones, and draw 16 samples of each. Here is a problem that it gets right about half of the time:

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
# Compare the steps in the rows. The model and the question are the same, but in some samples a step goes wrong. So a right answer is often there. How do you find it, and at what price?
#
# ## 1 · By hand: four different numbers
#
# Which number says how good several samples are? Four are in use. Take three problems with four samples each, and for every sample its answer and the score that some verifier gave it:

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
# Compare the numbers within a row. pass@k says what the samples contain, pass^k what you can rely on. voted@k and selected@k say what a user gets when a vote, or the highest score, picks the answer. In B the commonest answer is wrong, so the vote fails and the verifier helps. In C the verifier is fooled and the vote helps. One number for an agent hides all of this.
#
# **Estimating them.** Draw n samples, more than k. Of all subsets of size k, count those in which at least one sample is right (pass@k) or all are (pass^k) [Chen et al. 2021; Yao et al. 2024]:

# %%
show(scaling.pass_at_k, scaling.pass_hat_k)

# %% [markdown]
# A tempting shortcut puts the measured share c/n into the formula as if it were the true chance. What do both give on average for a hard problem?

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
# Compare both estimates with *true*. Counting subsets gives the true value for every k; the shortcut is too low from two samples on. (With temperature 0 neither helps: all samples are copies, and pass@k is pass@1.)
#
# ## 2 · One axis: tokens per problem
#
# Which way of picking gets the most out of the same tokens? The stored run draws 32 samples for each of 48 problems and estimates how often each way is right if it picks one of k. *vote, weighted* counts a vote more if the model finds that solution likely. *likeliest* takes the sample with the highest mean log-prob per token, *shortest* the one with the fewest tokens. *Adaptive self-consistency* stops its vote once one answer leads by three, and spends what it saves on other problems, so it draws k samples on average.

# %%
from llmlab.chapters.c10_test_time.scale import Scale

run = runs.run(Scale(), 0)
ways = {"pass_at_k": "pass@k", "voted": "vote", "weighted": "vote, weighted",
        "adaptive": "adaptive self-consistency", "likeliest": "likeliest",
        "shortest": "shortest", "pass_hat_k": "pass^k"}
greedy, tokens = run.curve("voted")[0], run.curve("tokens")

# %%
def taken(way, k):
    """Samples per problem; an adaptive vote may need fewer."""
    return run.curve("adaptive_samples")[k] if way == "adaptive" else k

# %%
def over_tokens():
    """Share right of every way, against the tokens that it takes."""
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
        why="A vote solves the problems whose samples are mostly right. It fails on "
            "those whose samples mostly share one wrong answer.")

# %% [markdown]
# Start with the highest line, pass@k, and the lowest, pass^k. Every way that picks one of k lies between them: if all k samples are right no pick can fail, and if none is right no pick can succeed. (The adaptive vote may draw more than k for a hard problem, so it has no such bounds.) The distance to the highest line is what better picking could still gain. Then compare the vote with the grey line: sixteen samples have to beat one greedy answer to be worth their price. (One seed: don't quote the values.)
#
# At scale, 250 samples raised the share of SWE-bench Lite issues with a solution among them from 15.9 to 56 %. Votes and reward models level off where no automatic check exists [Brown et al. 2024].
#
# ## 3 · Voting: where does it end?
#
# What does a vote give with more and more samples? It gives the *commonest* answer. So sort the problems of section 0 by the share of their samples that are right:

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
# Compare *one sample* with *vote of 16* in each row. Where more than half of the samples are right, the vote can't fail. Below that, it wins if the wrong answers are scattered and loses if they agree. The next cell looks for such a loss. Among the problems with at least one right sample in eight, it shows the one where a wrong answer leads by the most votes:

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
# Is the answer at the top wrong? If it really is the model's commonest one, more samples make the vote *worse*: one sample is sometimes right, the vote of many never is. Agreement isn't correctness. (Normalise answers before you count: a right one in three spellings loses to a wrong one in a single spelling.)
#
# At scale, voting gained 17.9 points on GSM8K [Wang et al. 2023]. With stronger models it gains less: 0.4 and 1.6 % with 20 samples in one study [Loo 2025]. In another, five samples lowered one model from 78 to 74.3 %, while a second one rose [Mehta 2026].
#
# ## 4 · A verifier that errs
#
# What do more samples gain if the verifier makes mistakes? *Best-of-n* takes the sample with the highest score. If the verifier only says yes or no, this becomes *rejection sampling*: the first sample that it accepts, or any if it accepts none. The formula is for the second, whatever the code calls it. Suppose that three of ten samples are right, and that the verifier accepts nine of ten right ones. The figure varies its FPR, the share of wrong ones that it accepts:

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
# Follow each curve to its thin line, the verifier's *precision*: the share of right samples among those that it accepts. More samples never cross that line. A lower FPR lifts it, and so does a better model. The figure assumes independent errors.
#
# For best-of-n by a learned score there is no such formula, and accuracy can even fall again: the more samples there are, the surer it is that one of them fools the score. Chapter 06 called this over-optimisation [Gao et al. 2022].
#
# **The best n.** How many samples should you draw if a wrong answer does harm? Suppose that a right answer is worth 1, a wrong one costs something, and silence costs nothing. The model solves the four kinds of problems never, rarely, sometimes, and nearly always.

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


pd.DataFrame({f"a wrong answer costs {cost:g}": {n: worth(n, cost) for n in sizes}
              for cost in (0, 0.5, 1, 2)}).rename_axis("samples").round(2)

# %% [markdown]
# Find the highest number in each column. If wrong answers cost nothing, more samples are always better. If they cost something, there is a best n, and it is small: beyond it, more samples mostly find wrong answers to problems that can't be solved. The exact n depends on our invented mix. At scale, the best number was often below ten [Stroebl et al. 2024].
#
# **Measured.** Does the formula hold in practice? Two verifiers check the reasoner's samples. One errs at random. The other has a hole: it also accepts every answer that ends in 0, like a checker that reads anything it can't parse as 0. The formula gets each verifier's overall TPR and FPR:

# %%
from llmlab.lab import sweeps

# %%
def mean(some, metric):
    """step -> mean over the seeds."""
    curves = [run.curve(metric) for run in some]
    return {step: fmean(c[step] for c in curves) for step in curves[0]}

# %%
scaled = sweeps.need("scale")
flawed = {"errs at random": scaled.at(Scale(fpr=0.3).settings()),
          "accepts any answer ending in 0": scaled.at(Scale(check="ending").settings())}
columns = {"verified": "measured", "expected": "formula", "pass_at_k": "pass@k"}

# %%
pd.concat({name: pd.DataFrame({label: mean(some, metric)
                               for metric, label in columns.items()}).drop(0)
           for name, some in flawed.items()}, axis=1).rename_axis("k").round(2)

# %% [markdown]
# Compare *measured* with *formula*. On the left they agree up to noise, because the errors are as independent as the formula assumes. On the right they part: where the right answer ends in 0, wrong ones often do, too, so its errors pile up on those problems. A single overall FPR hides that, so report error rates for each kind of mistake. (Means over five seeds. C158 confirms the formula for random errors on more problems, up to 64 samples.)
#
# Break it, then fix it: compare the preset *verifier with a hole* with *products, exact check*. Then try *learned verifiers*, where an ORM and a PRM from chapter 09 do the picking.

# %%
Panel("scale", show=["check", "fpr", "fnr", "temperature"])

# %% [markdown]
# The value at 0 is the greedy answer. Compare the accepted sample with *pass@k*, and see whether the curve still rises at its right end. The panel doesn't show what a wrong answer costs you; only you know that.
#
# ## 5 · Critique and revise
#
# Does revising make answers better? A round of revision repairs some wrong answers and spoils some right ones. If both rates stay the same, they decide where accuracy ends:

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
# Go down each column. Blind revision pulls a strong and a weak model to the same value, *repaired / (repaired + spoiled)*: one loses and the other gains. If no right answer is touched, accuracy can only rise. So accuracy alone can't tell you whether a loop works. Measure both rates [Liu and Meng 2026].
#
# Now let the reasoner revise; it was trained to. *Try again* asks for another attempt at every answer, right or wrong, without feedback. The other two use an exact check and touch only wrong answers. *Told how far it is right*, the model continues from its last right step; this is sequential scaling. *Fresh samples* asks the question again; this is parallel scaling with a check. The numbers are means over five stored seeds:

# %%
from llmlab.chapters.c10_test_time.revise import Revise

stored = sweeps.need("revise")
told = {"try again": "intrinsic", "told how far it is right": "step",
        "fresh samples": "resample"}
revised = {name: stored.at(Revise(feedback=f).settings()) for name, f in told.items()}

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
        why="They differ in the information from outside: none at all, how far the "
            "attempt is right, or only that it is wrong.")

# %% [markdown]
# Compare *wrong to right* across the rows. Feedback earns its tokens only if this rate is higher than with fresh samples, and on products it isn't: told how far it is right, this model often repeats its mistake or makes another one. So the exact check is worth a lot here, and this feedback is worse than a fresh sample (C131). *Try again* has no check and spoils right answers, too; if its limit is below *before*, stop. (Later rounds have lower rates, because what is still wrong is harder.)
#
# **Sequential or parallel?** Large models are trained for the sequential way: they check, go back and try again within one long chain of thought [DeepSeek-AI 2025], whose length section 7 is about. Easy questions gain more from revision, hard ones from a mixture with parallel samples [Snell et al. 2024].

# %%
Panel("revise", show=["feedback", "family", "level"])

# %% [markdown]
# Try *its own critique*: the model first says which step is wrong, and only attempts that it objects to are tried again. This can be no better than the critic, so watch *right ones that become wrong*.
#
# At scale, GPT-4 on GSM8K fell from 95.5 to 91.5 and then to 89.0 % when it corrected itself without feedback [Huang et al. 2023]. Later work found that this depends on the task [Stav et al. 2026], and that a model can gain if it revises only what its own trained check flags [Jiang et al. 2025].
#
# ## 6 · Search over steps
#
# Does it help to judge steps before the solution is finished? A search scores partial solutions and spends its tokens on good ones. MCTS chooses the next step by PUCT: the step's value, plus a bonus for steps that have hardly been tried [Silver et al. 2017; Feng et al. 2023]. The bonus is larger for a high *prior*, which says how often the model itself writes the step. A step that was never visited takes the mean value of all visits to its siblings. One choice by hand:

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
# In each column *explore*, the step with the highest number is visited next. Without a bonus the search stays with the first good step. With a large one it follows the prior.

# %%
from llmlab.train import search

show(search.select, search.back_up)

# %% [markdown]
# Now a real search: reach a number in three operations. There are several ways, and many dead ends. Press *Run* and watch the visits, or *Step* through the rounds. Point at a node for its value.

# %%
from llmlab.chapters.c10_test_time.search import Search

puzzle = Reasoning(("reach",), (2,)).problems(6, seed=0)[1]
print(puzzle.question)
tree = Tree(reasoner, puzzle, Search().scorer(reasoner, 0), rounds=16)
tree

# %% [markdown]
# Look where the visits go: the root has one per round, and below it they gather where the value is high. The score is a perfect judge. It counts the share of the required steps that are right and leave the number within reach, so a step into a dead end adds nothing. Does the most visited path reach the number? If not, the rounds were too few, because a finished wrong solution keeps the value of its good steps. Try `rounds=64`, `Tree(…, explore=0.0)`, and `Search(score="outcome")`, where only a finished right solution counts.
#
# One tree proves nothing. The next table spends equal tokens in four ways. (*lookahead* finishes a solution from each step and scores the result.) Each block uses another score: a perfect one for every step, a perfect check of answers only, or a process verifier that was trained for a minute. All numbers are means over five seeds:

# %%
scores = {"every step is scored": "exact", "only answers are scored": "outcome",
          "a learned score": "learned"}
searched = sweeps.need("search")
pd.concat({name: pd.DataFrame({way.replace("_", " "): mean(
    searched.at(Search(score=score).settings()), way) for way in Search.curves})
    for name, score in scores.items()}, axis=1).rename_axis("tokens").round(2)

# %% [markdown]
# Compare the four ways within each block and row: they cost the same tokens. With a perfect score of steps, the beam is ahead while tokens are few, and lookahead once they are many. If only answers can be checked, nothing beats best-of-n. With a learned score, every way gets *worse* from some budget on. (The first rows aren't fair: a way whose smallest run already takes more tokens is shown with that run.)
#
# Why? Independent samples differ more than the offspring of a few survivors, so best-of-n finally passes even the beam with a perfect score. Without a score for partial solutions, a beam picks at random; MCTS comes nearest to best-of-n, because it remembers which subtrees ended well. And among more candidates there is more often one that a learned score overrates.

# %%
Panel("search", show=["score", "family", "level"])

# %% [markdown]
# Try the scores on products (*family*), and *likelihood*, which needs no verifier. Only a good score of steps makes a search worth its tokens.
#
# At scale, search beat a simple re-ranking only with judges of about 90 % accuracy, and took 10 to 20 times as long [Chen et al. 2024]. For agents, comparing finished plans in a list worked best, and it mattered to know when to reflect [Zhu et al. 2025].
#
# ## 7 · Budgets that follow the problem
#
# Can you save the samples that easy problems don't need? Stop the vote once one answer is three votes ahead, and give what you save to the problems that are still open:

# %%
from llmlab.chapters.c10_test_time import scale

show(scaling.first_of_margin, scale.adaptive)

# %%
families = ("products", "strings", "reach")
many = sweeps.need("scale")
how = {"fixed": "voted", "adaptive": "adaptive", "drawn": "adaptive_samples"}
pd.concat({f: pd.DataFrame({name: mean(many.at(Scale(family=f).settings()), m)
                            for name, m in how.items()})
           for f in families}, axis=1).drop(0).rename_axis("samples").round(2)

# %% [markdown]
# *fixed* draws the same number for every problem, *adaptive* at most as many on average (five seeds). Read *drawn* first. Where problems are easy, nearly all votes stop long before the limit, so the same accuracy costs less. It doesn't help where a wrong answer leads clearly, because that vote stops early as well, nor where answers scatter so much that hardly any vote stops.
#
# At scale, such a rule needed up to 7.9 times fewer samples at nearly the same accuracy [Aggarwal et al. 2023]. Choosing the method by difficulty was more than four times as efficient as plain best-of-n [Snell et al. 2024].
#
# **Thinking length.** In a reasoning model one long chain takes the place of many samples, and its length is the axis. The lab's solutions have one fixed form; at scale:
#
# | lever | who sets the length | reported |
# |---|---|---|
# | budget forcing | the decoder cuts the chain off, or writes "Wait" where the model wants to stop | s1-32B on AIME24: from 50 to 57 % [Muennighoff et al. 2025] |
# | thinking budget, reasoning effort | the user, by a limit or a level | more budget, steadily more right [Yang et al. 2025] |
# | length in the reward | the prompt names a length, and RL pays less for missing it | L1 [Aggarwal & Welleck 2025] |
#
# Read down the middle column: the decision moves from the decoder to the user and into training. Longer isn't always better (section 12).
#
# **Verifiers that think.** A *generative verifier* writes a critique before its verdict, and several critiques can vote (GenRM) [Zhang et al. 2024]. Should a budget buy more solutions, or more critiques of each? Suppose that a critique costs as much as a solution, and that one critique accepts eight of ten right solutions and three of ten wrong ones:

# %%
def most_accept(rate, m):
    """Chance that most of m independent critiques accept."""
    return sum(comb(m, i) * rate**i * (1 - rate) ** (m - i)
               for i in range(m // 2 + 1, m + 1))


critiques = {}
for m in (1, 3, 7, 15):
    n, tpr, fpr = 32 // (1 + m), most_accept(0.8, m), most_accept(0.3, m)
    critiques[m] = {"solutions": n, "TPR": tpr, "FPR": fpr,
                    "right": scaling.best_of_n(0.3, n, tpr, fpr),
                    "ceiling": scaling.precision(0.3, tpr, fpr)}
pd.DataFrame(critiques).T.rename_axis("critiques of each").round(2)

# %% [markdown]
# Compare *right* with *ceiling*: more critiques lift the ceiling, but with few solutions the share right stays below it, so the best row is in the middle. Critiques of one model share their errors, so the real gain is smaller.
#
# ## 8 · Train or sample?
#
# After how many requests is training cheaper? You pay for it once, and for samples at every request. Suppose that training costs as much as a million samples and makes one sample as good as eight with an exact check:

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
# Go down the last column: the more often one sample is already right (p), the more requests it takes until training pays. The column *k always* flatters training, because nobody has to draw all eight samples if a check says when to stop. If you expect fewer requests than the break-even while you keep the model, sample; otherwise train.
#
# The lab repeats this with real tokens, for STaR from chapter 09. *equivalent checked samples* says how many samples of the model before training, with an exact check, are as good as one sample of the trained model.

# %%
from llmlab.chapters.c10_test_time.budget import Budget

spent = sweeps.need("budget").at(Budget().settings())
told = {"spent": "tokens of training", "trained": "trained, one sample",
        "first": "not trained, one sample", "voted": "vote of 8",
        "verified": "8 and an exact check", "need_check": "equivalent checked samples"}
table = pd.DataFrame({label: pd.DataFrame([run.curve(m) for run in spent]).median()
                      for m, label in told.items()}).rename_axis("step").round(2)

# %%
def requests(number):
    """Whole requests; the run stores a million for "never"."""
    return "never" if number >= 1e6 else f"{number:,.0f}"


pays = pd.DataFrame([run.curve("break_even") for run in spent])
table["break-even (requests), all seeds"] = [
    " to ".join(dict.fromkeys(map(requests, ends)))
    for ends in zip(pays.min(), pays.max())]
table["tokens of training"] = table["tokens of training"].map("{:,.0f}".format)
table

# %% [markdown]
# Go down the rows: training gets more expensive, and the question is how many old samples one new sample is worth. While this number is 1, training has bought nothing yet, and no number of requests pays it back. At the end one sample of the trained model is worth a little more than one checked sample before, and far less than eight. The last column says after how many requests training has paid for itself (range over five seeds, lowest to highest; the other columns are medians). It assumes an exact check at request time; without one, compare with the vote.
#
# Which training is worth most? The ledger's arms (C134) run each method at the best of three rates:

# %%
from llmlab.chapters.c10_test_time.claims import SPENT
from llmlab.learn import draw

ways = {"STaR": SPENT["star"], "DPO": SPENT["dpo"], "GRPO": SPENT["grpo"]}
draw.means(ways, {m: told[m] for m in ("first", "trained", "verified", "need_check")}
           ).join(draw.means(ways, {"spent": "tokens of training"}, digits=0))

# %% [markdown]
# Compare the first two columns, then the last. After STaR a single sample is right more often, and still far below eight samples with an exact check (C134). GRPO and DPO end lower in this table; the ledger doesn't decide between the three. GRPO spent almost three times the tokens of the others, because it draws fresh samples at every step. So with few requests and a check, sample; with very many, train on what the check accepted. (Numbers of this small model: take the method from the tables, not the break-even.)

# %%
Panel("budget", show=["method", "k", "level"])

# %% [markdown]
# Try *DPO* and *GRPO* at the same settings. You can also combine both levers: train on accepted samples, then sample from the trained model.
#
# At scale, test-time compute could beat a model 14 times larger where the small one sometimes succeeds, but not on the hardest questions [Snell et al. 2024].
#
# ## 9 · Latency and cost
#
# How long does a user wait for N samples that are drawn at once? The lab's engine reads the question once for all of them (a *shared prefix*) and writes the next token of all N in one pass:

# %%
from time import perf_counter


def drawn(n):
    """Seconds until the last of n samples is there, and the tokens of each."""
    began = perf_counter()
    (found,) = attempts(reasoner.model, reasoner.tok, world,
                        world.problems(1, seed=7), n, max_new=150)
    return perf_counter() - began, [a.tokens for a in found]

# %%
price = 1.0  # dollars for a million tokens that are written: set your own
drawn(1)  # the first call takes longer
took = {n: drawn(n) for n in (1, 4, 16, 64, 256)}
pd.DataFrame({n: {"seconds": s, "tokens per second": sum(t) / s,
                  "dollars, 1,000 requests": price * sum(t) / 1000}
              for n, (s, t) in took.items()}).T.rename_axis("N at once").round(2)

# %%
N, one = list(took), took[1][0]
times = {"drawn at once": [took[n][0] for n in N],
         "one after another": [one * n for n in N]}

# %%
waiting, (axis,) = figures.panels(1, width=4.4, height=2.6)
waiting.subplots_adjust(left=0.15)
for (colour, dash), (name, seconds) in zip(figures.LOOKS, times.items()):
    axis.loglog(N, seconds, color=colour, linestyle=dash, label=name)
axis.set(xlabel="samples of one question (log)", ylabel="time until the last (s, log)")
axis.legend(fontsize=7, frameon=False)
waiting

# %% [markdown]
# Go down the columns, then look at the distance between the two lines (the dashed one multiplies the time of one sample). At first the waiting time grows far more slowly than N: one pass over sixteen rows costs far less than sixteen passes over one, so the tokens per second go up. With hundreds of rows the processor is busy, and from then on the time grows with N. The price grows with N from the first row on. (One run on this machine and a small model; a large one fills its device with fewer rows.)
#
# And what does the next sample still gain? Parallel samples wait for the slowest. With an exact check, the N-th sample helps only if all before it were wrong.

# %%
slow = 0.05  # share of samples that take longer than you want to wait
pd.DataFrame({N: {"cost": N, "requests that wait too long": 1 - (1 - slow) ** N,
                  "N-th sample gains, easy (p = 0.5)": 0.5 * 0.5 ** (N - 1),
                  "N-th sample gains, hard (p = 0.1)": 0.1 * 0.9 ** (N - 1)}
              for N in (1, 2, 4, 8, 16)}).T.rename_axis("N").round(3)

# %% [markdown]
# From row to row the cost doubles, more requests wait too long, and the last sample gains less, on easy problems first. Three rules follow: cancel the rest once one is accepted, start with two and draw more only after a rejection, and stop at a deadline with the best answer so far. But a deadline cuts off long solutions, which belong to hard problems.
#
# **Speculative decoding** makes a sample faster and leaves its distribution as it is. A small model drafts tokens. The large model accepts each one with probability $\min(1, p/q)$, where p is its own probability of the token and q the draft model's. After a rejection it draws from $\max(0, p - q)$, normalised [Leviathan et al. 2022]. How many tokens does one pass of the large model then give, by drafted tokens and acceptance?

# %%
pd.DataFrame({f"accepts {a:g}": {k: (1 - a ** (k + 1)) / (1 - a) for k in (1, 2, 4, 8)}
              for a in (0.5, 0.8, 0.9)}).rename_axis("drafted").round(1)

# %% [markdown]
# Compare the columns: drafting more tokens pays only if most are accepted. (What the drafting itself costs isn't in the table.) `llmlab bench --only speculate` counts accepted drafts and tokens per pass, with the students of chapter 11 as draft models, and a test shows that the samples keep the reasoner's distribution. Speculation uses time in which a device waits for its memory. Parallel samples fill the same time, so the more you draw, the less it adds.
#
# ## 10 · With your own problems, check and model
#
# How do you measure this on your own problems?
#
# ```
# llmlab run scale --problems FILE.jsonl --model M                          # a rule for final answers says what is right
# llmlab run scale --problems FILE.jsonl --verifier my_check.py --model M   # your check says what is right
# llmlab run scale --problems FILE.jsonl --model M --samples 64 --steps 32 --longest 1024
# ```
#
# A line of the file is `{"question": …, "answer": …}`. `my_check.py` defines `check(question, answer, said)`, which returns True or False. It runs in its own process with limits on time and memory; a crash counts as a *fault*, not as a verdict. `--verifier math-verify` compares expressions. Look at *faults* first. Then *pass@k* says whether samples are worth drawing, and its distance to *voted* whether you need a verifier.
#
# ## 11 · The evidence
#
# Which statements of the sources did the lab confirm? Each one is a claim in the ledger, declared before the runs that decide it. Chapter 02, section 11, explains how a verdict is reached. Where a table above shows a single run or a sweep, a claim's numbers can differ: its runs have more seeds, and often other steps or rates. `llmlab claims C132` prints each arm's command.

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("10")
evidence

# %% [markdown]
# Read each claim with its verdict. On the right are its effects with their intervals; where a claim has several parts, click the triangle. The effects as a picture:

# %%
forest.figure(evidence.rows)

# %% [markdown]
# Effects are divided by the smallest effect of interest, and the claimed side is on the right. A part of a claim is as claimed if its dot is to the right of 1 and its interval to the right of 0. Where no difference was claimed, the whole interval must lie inside the blue band.
#
# Two lab results are worth a discussion:
#
# - **Best of N (C129).** With an exact check, sixteen samples beat one by far. With a learned verifier, best-of-n falls behind the plain vote. A likely reason: more samples contain more answers that fool it.
# - **Search (C132).** At the largest budget, a beam over checked steps was no better than best-of-n at equal tokens. With few tokens, which this claim doesn't cover, it was ahead (section 6). Probably the samples already differed enough, so cutting some early saved little.
#
# ## 12 · Where the sources are contested
#
# Where do papers disagree? (For voting see section 3, for critique and revision section 5.)
#
# - **"Best-of-N + verifier."** Coverage, which is pass@k, keeps rising with samples [Brown et al. 2024]. But false positives set a ceiling, so a weak model can't be made strong this way [Stroebl et al. 2024].
# - **"Search is most useful for agents and tool chains."** Tree of Thoughts solved 74 instead of 4 % of Game of 24, where a partial state is easy to judge [Yao et al. 2023]. With realistic judges the gain was negligible [Chen et al. 2024].
# - **"More thinking helps."** On some tasks, longer reasoning lowers accuracy [Gema et al. 2025].
# - **"Training or test-time compute?"** As the budget grows, methods with a verifier pull ahead of those without [Setlur et al. 2025]. Beyond that, the answer is a curve over the number of requests.
#
# ## 13 · Exercises
#
# Can you write these estimates yourself?

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
#
# Can you use this at work? Answer each case before you look.

# %%
Drills("10")

# %% [markdown]
# ## 15 · Interview page
#
# What should you be able to say, and which questions follow?

# %%
from llmlab.learn.interview import interview

interview("10")

# %% [markdown]
# ## To take away
#
# 1. pass@k, pass^k, voted@k and selected@k are four numbers. Report the one that your product depends on, over tokens per problem.
# 2. The way you pick sets the limit: a vote converges to the commonest answer, rejection sampling to the precision of its verifier, blind revision to a value set by its two rates.
# 3. Stop early, then work out how many requests make training the cheaper way.

# %%
references("genrm_2024", "l1_2025", "chen_2021_codex", "tau_bench_2024",
           "self_consistency_2023", "self_consistency_limits_2025", "mehta_2026",
           "brown_2024", "resampling_2024", "snell_2024", "gao_2022", "huang_2023",
           "markov_revision_2026", "stav_2026", "jiang_2025_pag", "silver_2017",
           "feng_2023", "tree_of_thoughts_2023", "chen_2024_discriminator",
           "scaling_test_time_compute_agents_2025", "adaptive_consistency_2023",
           "verifier_based_2025", "inverse_scaling_2025", "leviathan_2022",
           "deepseek_r1_2025", "muennighoff_2025", "qwen3_2025")
