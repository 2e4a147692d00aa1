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
# # 09 · Reasoning and self-training
#
# *Run ▸ Run All Cells* starts this chapter.
#
# **Where we are.** The model answers, calls tools and looks things up. Now one answer takes several steps, and the model learns from its own attempts. Its teacher is anyone who can say which attempts were right.
#
# ```
# problem → K attempts with their steps → verifier: yes or no → keep → train ─┐
#                ↑                                                            │
#                └────────────────────── the next round ──────────────────────┘
# ```
#
# **For a ten-year-old.** You try a puzzle eight times and write down every line. Then you look at the answer key and study the tries that came out right. If the key has mistakes, you study the mistakes too. If you have no key and keep the answer that you wrote most often, you get surer, and better only if that answer is usually right.
#
# **In an interview.** *Reasoning is a bundle of behaviours that I can measure: decomposition, verification, self-correction and planning. Self-training samples, verifies, and imitates what passed. Random errors of the verifier only slow it down, as long as right answers pass more often than wrong ones. A pattern of errors gets learnt. An outcome reward is cheap and sparse. A process reward is dense: it is safe if a program checks the steps, and only a proxy if a model does. I report calibration next to accuracy, and I check that the test was not in the training data.*
#
# New terms:
#
# - A **verifier** says whether a solution is right. **TPR** and **FPR** are the shares of right and of wrong solutions that pass, and **J** (Youden's) is TPR − FPR. **Precision** is the share of right solutions among those that pass.
# - An **outcome** reward judges the answer, a **process** reward every step. **ORM** and **PRM** are models that learn such a reward. An **unsound** solution reaches a right answer through a wrong step.
# - **pass@k**: at least one of k samples is right.
# - **Calibration**: answers given with a confidence of seven in ten are right seven times in ten. **ECE** is the expected calibration error. **AUC** is the chance that a right answer is ranked above a wrong one.
# - **Contamination**: the test was in the training data.

# %%
from statistics import fmean

import pandas as pd

from llmlab.learn import figures
from llmlab.learn.notebook import references, show
from llmlab.learn.widgets import Drills, Panel, Predict
from llmlab.models.load import load

pd.set_option("display.max_colwidth", None)
reasoner = load("reasoner")

# %% [markdown]
# ## 0 · Look
#
# What does a written solution look like, and how often is it right? The *reasoner* is the chat model after SFT on worked problems of five families: sums column by column, products, functions on letters (*strings*), chains of links, and numbers to reach with three allowed operations (*reach*). It saw levels 1 to 3, never level 4. Here are its greedy answer and three samples for one problem:

# %%
from llmlab.train.attempts import attempts
from llmlab.world.reasoning import NAMES, Reasoning


def tried(world, n, k=8, temperature=1.0):
    """k attempts at each of n held-out problems."""
    return attempts(reasoner.model, reasoner.tok, world, world.problems(n, seed=7), k,
                    max_new=150, temperature=temperature, seed=7)

# %%
hard = Reasoning(("products",), (2,))
samples = tried(hard, 8, 3)  # show the first problem with right and wrong samples
at = next(i for i, g in enumerate(samples) if len({a.right for a in g}) > 1)
words = [*tried(hard, 8, 1, 0.0)[at], *samples[at]]
print(words[0].episode.problem.question, "→", words[0].episode.problem.answer)
pd.DataFrame({"said": [a.text for a in words], "right": [a.right for a in words],
              "every step follows": [a.sound for a in words]},
             index=["greedy", "sample 1", "sample 2", "sample 3"])

# %% [markdown]
# A solution is a list of steps, each followed by a semicolon, then "so" and the answer. *right* looks only at the answer; for *every step follows*, a program checks each step. One problem shows the format. How often does the model succeed?

# %%
from llmlab.chapters.c09_reasoning import behaviours

levels = (1, 2, 3)
kinds = {(f, n): Reasoning((f,), (n,)) for f in NAMES for n in levels}
groups = {kind: tried(world, 8) for kind, world in kinds.items()}
greedy = {kind: behaviours.share(tried(w, 8, 1, 0.0)) for kind, w in kinds.items()}

# %%
from llmlab.lab.sweeps import Curves

found = {kind: behaviours.sampled(g) | {"greedy": greedy[kind]}
         for kind, g in groups.items()}
told = {"greedy": "greedy", "one sample": "pass_at_1",
        "vote of eight": "voted", "pass@8": "pass_at_k"}
lines = {name: [Curves(0, {f: {n: found[f, n][m] for n in levels} for f in NAMES})]
         for name, m in told.items()}
profile = figures.curves(lines, {f: f"{f}: right (share)" for f in NAMES})
for axis in profile.axes:
    axis.set(xlabel="level", xticks=levels)
profile

# %% [markdown]
# Look at the gap between *one sample* and *pass@8*. Where it is wide, training can make right samples more frequent. Where both are near zero, there is nothing to keep. The *vote* takes the most common of eight answers and gains where wrong answers scatter. Each point averages only eight problems, so read the shapes and not the values.
#
# ## 1 · By hand: which step is wrong?
#
# Can a program find out? Below is an attempt with one planted mistake, continued as if nothing had happened:

# %%
from llmlab.world.base import rng
from llmlab.world.reasoning import first_wrong, slipped
from llmlab.world.stepwise import follow, written

problem = Reasoning(("products",), (1,)).problems(1, seed=1)[0]
kind, attempt = slipped(rng("by hand", 3), problem)
steps, answer = written(attempt)
print(f"{problem.question} → {problem.answer}; planted mistake: {kind}")
pd.DataFrame({"step": steps, "follows": follow(problem, steps)})

# %% [markdown]
# Only the planted step fails; the later steps follow from what was written before them. So a process label says *where* the mistake is; an outcome label only says that there is one.

# %%
assert first_wrong(problem, attempt) == follow(problem, steps).index(False) + 1
show(follow, first_wrong)

# %% [markdown]
# `due` lists the steps that may come next after *any* text, right or wrong. That makes the checker exact, and it is what real tasks lack.
#
# ## 2 · Decomposition: why write steps at all?
#
# If every step is right with the same chance and mistakes are never repaired, n steps are all right with that chance to the power n:

# %%
pd.DataFrame({f"{n} steps": {q: q**n for q in (0.9, 0.97, 0.99, 0.999)}
              for n in (1, 5, 10, 40)}).rename_axis("chance of one step").round(2)

# %% [markdown]
# Read along a row: errors compound, so long chains need very reliable steps. Steps still pay if each one is much easier than the leap from question to answer. To find out, the same chat model learns the same problems with their *steps*, with the *answer* alone, or with meaningless tokens (*filler*) in place of the steps. All three learn from the same number of tokens:

# %%
Panel("decompose", show=["shown", "family", "level"])

# %%
from llmlab.chapters.c09_reasoning.decompose import Decompose
from llmlab.lab import runs, sweeps


def seeds(experiment):
    """The stored runs of these settings, one per seed."""
    return sweeps.need(experiment.name).at(experiment.settings())


def ends(arms, names):
    """The last readings, means over the seeds: label -> experiment, metric -> label."""
    rows = {arm: {label: fmean([*r.curve(m).values()][-1] for r in seeds(e))
                  for m, label in names.items()} for arm, e in arms.items()}
    return pd.DataFrame(rows).T.round(2)

# %%
ends({"steps": Decompose(), "answer alone": Decompose(shown="answer")},
     {"accuracy": "right", "harder": "right one level up",
      "sound": "every step follows", "follows": "follows a false step",
      "unmoved": "right in spite of it", "length": "tokens"})

# %% [markdown]
# Compare *right* first. In the lab the model learns products with steps (it begins with some of them right, because the chat model has seen worked products) and hardly learns them without, although the arm without steps saw many more problems. Now set *family* to *columns* in the panel. The chat model has already learnt three-digit sums without steps, and there the answer alone does as well. So steps pay where the leap from question to answer is too large.
#
# Do the steps cause the answer? We replace a step in the middle by a false one, behind the model's back. If the answer *follows the false step*, the model reads its own steps. If it is *right in spite of it*, the steps were for show. (Without steps both are 0 by definition. The numbers are means over five seeds.)
#
# Elsewhere, too, small transformers learnt arithmetic far better from worked steps [Lee et al. 2023]. At scale, how much a model relies on its written steps varies by task and by model [Lanham et al. 2023], and an explanation can hide what moved the answer [Turpin et al. 2023]. Meaningless tokens can carry computation too, but that is hard to learn [Pfau et al. 2024].
#
# ## 3 · Four behaviours, and how they are evaluated
#
# What do we measure when we say that a model reasons?
#
# | behaviour | where it is measured |
# |---|---|
# | decomposition: set sub-goals | section 2 |
# | verification: check steps and answers | sections 1 and 4 |
# | self-correction: revise when a check fails | `llmlab run revise`, chapter 10 |
# | planning: choose and order the moves | the family *reach*; tool chains in chapter 08 |
#
# Accuracy alone evaluates none of these four. Also measure *robustness* (does the answer stay the same if only the wording changes?) and *calibration* (does the model know when it is unsure?). First, three variants of one question:

# %%
from llmlab.world.reasoning import GUISES

asked = Reasoning(("columns", "links"), (1, 2)).problems(24, seed=7)
one = next(p for p in asked if p.meta.get("op") == "add")
pd.DataFrame({name: [guise(one).question] for name, guise in GUISES.items()},
             index=["question"]).T

# %% [markdown]
# All three have the same answer. How much accuracy does the model lose on them?

# %%
drops = behaviours.robust(reasoner.model, reasoner.tok, Reasoning(), asked, 150)
pd.Series(drops, name="share").round(2).to_frame()

# %% [markdown]
# *greedy* is the accuracy on the plain problems, each *drop_…* is what one variant costs, and *drop* is their mean. Zero is robust; a negative drop means that the variant helped. In the lab the new wording and the idle sentence cost the most. Neither occurred in training: the model has learnt to solve these problems only in its own wordings. The new order costs nothing. At scale, one irrelevant clause cost models up to 65 % of their accuracy [Mirzadeh et al. 2024].
#
# **Calibration.** How sure is a model that doesn't say? Take the share of its samples that agree. Each dot covers a fifth of that scale:

# %%
from llmlab.methods import calibration

every = [g for some in groups.values() for g in some]
sure = [c for g in every for c in behaviours.confidence(g)]
right = [a.right for g in every for a in g]
told = calibration.bins(sure, right, 5)
reliability, (axis,) = figures.panels(1, width=3.8, height=3.2)
reliability.subplots_adjust(left=0.18, top=0.95)
axis.plot([0, 1], [0, 1], color="black", linewidth=0.8)
for mean, share, n in told:
    axis.scatter(mean, share, s=n / 2, color=figures.COLOURS[0])
axis.set(ylabel="right (share)", xlabel="samples that agree (share)")
reliability

# %%
pd.Series(behaviours.calibrated(every), name="agreement as confidence").round(2)

# %% [markdown]
# Look at how far the dots are from the diagonal. On it, agreement is honest: where seven of ten samples agree, seven of ten such answers are right. Below it the model is too sure. A small dot has few samples and says little. In the lab the dots lie near the line, so before any reinforcement the agreement of samples is a usable confidence.
#
# *ece* is the mean distance from the diagonal, over ten bins weighted by their samples. *brier* also charges a model that can't tell sure from unsure. *aurc* is the share of errors among the surest answers, averaged over how many you give. Report more than the ECE: a model that always states its average accuracy has an ECE of zero and can't sort its answers at all.
#
# ## 4 · Verifiers
#
# Which wrong solutions get past a verifier? Five programs judge the samples of section 0. *outcome* defines what right means here, and *process* also wants every step to follow. The other three have a hole, as real verifiers do: *ending* also accepts any answer that ends in 0, *last_character* compares only the last character with the reference, and *form* accepts any answer after at least one step.

# %%
from llmlab.world.verifiers import CHECKS

samples = [(a.episode.problem, a.text, a.right) for g in every for a in g]


def rates(check):
    """TPR, FPR, J and precision of a check on the samples."""
    passed = {r: [check(p, text) for p, text, ok in samples if ok == r]
              for r in (True, False)}
    tpr, fpr = fmean(passed[True]), fmean(passed[False])
    return {"TPR": tpr, "FPR": fpr, "J": tpr - fpr,
            "precision": sum(passed[True]) / sum(map(sum, passed.values()))}


pd.DataFrame({name: rates(check) for name, check in CHECKS.items()}).T.round(2)

# %% [markdown]
# Read FPR and precision together. The table shows the present model, not what training will make of a hole: one that few samples fall into today looks harmless. *process* has a TPR below 1 because it rejects right answers after wrong steps, as it should. *last_character* has one too, because problems of the family *reach* have several right answers, and the reference is only one of them.
#
# **Learned verifiers.** Where no program can check, a head on the model learns to. An ORM learns from a label for the answer, a PRM from a label for every step. Step labels come from people [Lightman et al. 2023] or from rollouts: a step counts as good if one of several continuations ends right [Wang et al. 2023]. To choose between solutions, the scores of the steps must become one number. Here are four rules, on solutions that you can judge yourself:

# %%
from llmlab.methods.verification import AGGREGATIONS

good, bad, idle = [0.9] * 6, [0.9] * 5 + [0.2], [0.8] * 6
scored = {"six good steps": good, "its last step wrong": bad,
          "a wrong step, then a good end": [*bad, 0.9],
          "six good steps and six idle ones": good + idle}
pd.DataFrame({name: {rule: f(s) for rule, f in AGGREGATIONS.items()}
              for name, s in scored.items()}).T.round(2)

# %% [markdown]
# Find the winner of each column. The *sum* pays for every step, so the padded solution wins, and one with a wrong step beats the good one. *last* forgets a wrong step once the end looks good. No further step can raise the *minimum*. The *product* falls with every doubtful step, so it prefers short solutions. The panel trains a learned verifier and shows how well it chooses:

# %%
Panel("verify", show=["labels", "aggregation", "solutions"])

# %% [markdown]
# How well do learned heads choose? Here are an ORM and a PRM, and the PRM with summed scores (means over five seeds):

# %%
from llmlab.chapters.c09_reasoning.verify import Verify

chosen = {"selected": "picked by the head", "pass_at_1": "one sample",
          "voted": "vote", "exact": "exact check", "by_length": "shortest",
          "auc": "AUC", "padded": "padding pays"}
ends({"ORM": Verify(labels="outcome", aggregation="last"),
      "PRM, minimum": Verify(), "PRM, summed": Verify(aggregation="sum")}, chosen)

# %% [markdown]
# *Picked by the head* is the share right if the head picks one of eight. Compare it with one sample, with the vote, and with an exact check, which no choice can beat. In the lab no head beats the vote. The ORM (C114) and the PRM with the minimum choose no better than one sample; summed scores do, but they can be padded. Yet all three rank all samples well (*AUC*), perhaps because they have learnt which problems are hard.
#
# A head must also beat *shortest*, which picks the shortest solution without reading it. *Padding pays* attacks the head: it is the share of solutions whose score rises when one step is written twice. With summed scores it always does.
#
# At scale, a PRM chose better than an ORM on MATH, 78.2 against 72.4 % [Lightman et al. 2023]. On word problems, outcome and process labels gave similar final errors, and process labels gave fewer wrong steps [Uesato et al. 2022]. Across fourteen domains the two kinds of head were about equal [Lee et al. 2025].
#
# ## 5 · How good must a verifier be?
#
# Suppose that each round imitates perfectly what passed. Right answers pass with probability TPR, wrong ones with FPR. Then every round multiplies the odds of a right answer:
#
# $$\frac{p'}{1-p'} = \frac{\text{TPR}}{\text{FPR}}\cdot\frac{p}{1-p}$$
#
# So the sign of J = TPR − FPR decides where training ends. For GRPO the sign decides as well [Rad et al. 2026].

# %%
from llmlab.methods.scaling import imitated, precision

show(precision, imitated)

# %%
rounds, start = range(9), 0.2
pairs = ((1.0, 0.2), (0.8, 0.2), (0.6, 0.5), (0.5, 0.5), (0.4, 0.6))
theory = {f"TPR {t}, FPR {f}: J = {round(t - f, 1) or 0:g}":
          {n: imitated(start, t, f, n) for n in rounds} for t, f in pairs}
lines = {name: [Curves(0, {"share": p, "odds": {n: x / (1 - x) for n, x in p.items()}})]
         for name, p in theory.items()}
drawn = figures.curves(lines, {"share": "right (share)", "odds": "odds of right"})
drawn.axes[1].set_yscale("log")
for axis in drawn.axes:
    axis.set(xlabel="round")
drawn

# %% [markdown]
# Look at the straight lines on the right: each round multiplies the odds by the same factor. If J is positive, all answers end up right; how soon depends on TPR / FPR. If J is zero, nothing moves. If J is negative, training makes the model worse, and a better optimiser does so faster. This is theory and not a measurement.
#
# **Random or systematic?** The law holds for errors that hit every solution alike. A mistake that *always* passes is never removed. If a share q of the samples makes it, a share p is right, and all right ones pass, then the share right ends at p/(p + q), however many rounds you train.
#
# What sets the speed? Compare two checkers:

# %%
checkers = {"A: passes all right answers, one in five wrong": (1.0, 0.2),
            "B: passes four in ten right answers, one in fifty wrong": (0.4, 0.02)}
Predict("One sample in five is right. Which checker makes self-training faster?",
        lambda: max(checkers, key=lambda c: imitated(0.2, *checkers[c], 1)),
        kind="choice", options=tuple(checkers),
        shows=lambda: pd.DataFrame(
            {name: {"J": t - f, "odds factor": t / f, "then": imitated(0.2, t, f, 1)}
             for name, (t, f) in checkers.items()}).T.round(2),
        why="Imitation sees only what passes, so TPR / FPR sets the speed, not J. "
            "B needs more samples, because it rejects six of ten right ones.")

# %% [markdown]
# Does a real model follow the theory? We compare an exact check, one that passes half of the wrong samples at random, and no check. The problems are functions on letters, nested three deep (`strings`, level 3), which the reasoner mostly solves. The table shows means of five stored seeds:

# %%
from llmlab.chapters.c09_reasoning.star import Star

def mean(some, metric):
    """step -> mean over the seeds."""
    curves = [run.curve(metric) for run in some]
    return {step: fmean(c[step] for c in curves) for step in curves[0]}

# %%
def by_round(star):
    """Share right after each round: under perfect imitation, and measured."""
    right = mean(seeds(star), "pass_at_1")
    measured = {step // star.each: share for step, share in right.items()}
    perfect = {n: imitated(measured[0], 1 - star.fnr, star.fpr, n) for n in measured}
    return {"perfect": perfect, "measured": measured}

# %%
noisy = Star(fpr=0.5)
checked = {"exact": by_round(Star()), "half of the wrong pass": by_round(noisy)}
none = by_round(Star(check="none"))["measured"]
pd.DataFrame({(name, which): values for name, both in checked.items()
              for which, values in both.items()} | {("no check", "measured"): none}
             ).round(2).rename_axis("round")

# %% [markdown]
# Compare *perfect* with *measured*. Perfect imitation would solve nearly everything within a few rounds. In the lab the model moves far less: a round is ten small training steps, the problems are held out, and a step that the model never writes can't be imitated. With half of the wrong samples accepted it doesn't improve at all, although J is positive. What passed teaches mistakes as well, and four rounds are few. The law says which way a verifier pulls, not how far the model follows.

# %%
Panel("star", show=["fpr", "fnr", "checkers"])

# %% [markdown]
# Try several *checkers*, which vote. If their errors are independent, the vote errs less often than one checker; with `errors` on *shared*, many are no better than one.
#
# ## 6 · Self-training
#
# How does a model learn from its own samples? Generate K attempts per problem, verify, keep, train, repeat. With a hint for unsolved problems this is STaR [Zelikman et al. 2022], with a threshold on a reward ReST [Gulcehre et al. 2023], and a single round is RFT [Yuan et al. 2023]. Ours has no hints, so it is rejection sampling in rounds, or expert iteration. This function decides which accepted attempts are kept:

# %%
from llmlab.chapters.c09_reasoning import star

show(star.chosen)

# %%
named = {"exact check": Star(), "random errors": noisy,
         "a hole: the last letter": Star(check="last_character"),
         "no check": Star(check="none")}
figures.curves({name: seeds(s) for name, s in named.items()},
               {m: Star.curves[m] for m in
                ("pass_at_1", "pass_at_k", "precision", "distinct", "unsound")})

# %% [markdown]
# Compare the four lines, which differ only in the verifier. Lines are medians of five seeds, and bands go from the lowest to the highest. *Right among what was kept* is the precision of the training data. It covers the problems of the last two rounds, so don't compare it with held-out *pass@1*. *pass@8* and *different solutions* tell whether the model gets better only by getting narrower. *Right through wrong steps* is what an outcome check lets through. In the lab only the exact check keeps right samples alone, and *pass@1* moves little in four rounds.

# %% [markdown]
# Why so little? These problems start with four of five samples right: little is left to learn, and most of the kept solutions belong to problems that need no training. Here is the same loop, with an exact check, on short searches, where one sample in three is right and nearly every problem is solved at least once in eight:

# %%
from llmlab.chapters.c09_reasoning.shipped import EASY

searches = [runs.run(Star(**EASY), seed) for seed in (0, 1, 2)]

# %%
figures.curves({"functions of letters": seeds(Star()), "short searches": searches},
               {m: Star.curves[m] for m in
                ("pass_at_1", "pass_at_k", "distinct", "unsound")})

# %% [markdown]
# Compare the two lines, each with its own start. (Five seeds and three, at different rates.) On the searches *pass@1* rises clearly (on harder ones, at a lower rate, the ledger leaves the gain open: C119): each round shows the model right solutions of problems that it mostly fails. The next two panels show the price: *pass@8* falls, and solutions become more alike. So a part of the gain is probability that moved onto answers that were there already. In the last panel, solutions that are right through wrong steps become more frequent, because the check looks at the answer alone. So use self-training where the model succeeds sometimes, and watch pass@k.

# %%
Panel("star", show=["check", "k", "keep", "writer"])

# %% [markdown]
# Try more samples per problem (`k`), which reach harder problems at proportional cost, *shortest only*, which keeps right solutions of one form, and *old samples*, which the first model writes in every round. Under *More*, `loss` makes pairs of accepted and rejected samples for DPO, and `curriculum` orders the levels.
#
# ## 7 · Without a verifier: the majority as label
#
# What if nobody knows the answers? Then the most common of eight answers can serve as the label. Commit before you look:

# %%
majority = Star(check="majority")
start_and_end = lambda curve: (curve[min(curve)], curve[max(curve)])

# %%
watched = {"right samples": "pass_at_1", "vote right": "voted",
           "samples that agree": "agreement"}
beside = ("precision", "distinct", "ece")
Predict("Four rounds with the majority as label: does each end above its start?",
        lambda: {name: start_and_end(mean(seeds(majority), m))
                 for name, m in watched.items()},
        kind="sketch", metrics=tuple(watched), flat=0.02,
        shows=lambda: figures.curves(
            {"majority": seeds(majority), "exact check": seeds(Star())},
            {m: Star.curves[m] for m in (*watched.values(), *beside)}),
        why="Each problem is pushed to its most common answer, so agreement ends "
            "higher. Right samples rise only where that answer is right.")

# %% [markdown]
# Read each panel from left to right; the prediction compared only the two ends. Under the majority, agreement rises and then falls back a little, while the vote is right less often. As long as single samples are right less often than the vote, the vote can teach; once they catch up, the gain is used up. Agreement ends higher under the exact check as well, because every filter narrows what the model says. *ece* asks whether agreement still means right, and unanimous wrong answers raise it. In the mean of the seeds it grows under the majority and not under the exact check; single seeds differ. A few rounds show only the beginning.
#
# At scale, such rewards help at first [Zuo et al. 2025] and collapse if training continues [Shafayat et al. 2025]. They sharpen what the model already believes, so accuracy rises and then falls [He et al. 2026]. A run therefore needs a rule that ends it, and without labels you can only watch the agreement:
#
# ```
# llmlab run star --check majority --steps 300 --stop 0.9
# ```
#
# This run ends before the first round in which that share of the samples agrees with the vote. A few held-out problems with labels give a better rule: stop when accuracy on *them* no longer rises.
#
# ## 8 · Rewards for the outcome, or for every step
#
# Should GRPO reward the answer or the steps? Here only the reward changes. *dense* counts the due steps that are right before the first mistake. *learned* is the score of a PRM that was trained beforehand.

# %%
from llmlab.world.verifiers import dense

show(dense)

# %% [markdown]
# *hard* pays for the outcome and checks steps only in groups without a right answer. The problems are sums and differences (`columns`, level 3); samples, steps and rate are the same:

# %%
from llmlab.chapters.c09_reasoning.process import Process

columns = dict(family="columns", level=3)
paid = {"outcome": "outcome", "every step": "dense",
        "steps where nothing is right": "hard"}
paid = {name: [runs.run(Process(reward_func=r, **columns), seed) for seed in (0, 1, 2)]
        for name, r in paid.items()}
figures.curves(paid, {m: Process.curves[m] for m in
                      ("pass_at_1", "frac_reward_zero_std_mean", "checks_mean")},
               title="GRPO for the outcome or for the steps; 3 seeds")

# %% [markdown]
# Look at the middle panel first. With an outcome reward, more than half of the groups give no signal, because their answers are all right or all wrong; where steps are paid, fewer groups are lost. The right panel shows the price: a check for each step of each sample, or far fewer if steps are checked only where no answer is right. The left panel shows what it buys: *pass@1* rises by a few points whatever is paid. So in these runs the cheapest reward does as well.

# %%
Panel("process", show=["reward_func", "aggregation", "lr"], **columns)

# %% [markdown]
# **Does the reward change how an answer is reached?** Sums leave little room for a right answer through wrong steps. Searches leave more, because two mistakes can cancel. The table has the ledger's arms: forty steps of GRPO on searches of the first level. The answer and every step cost a check each, about three a sample in place of one. So *equal checks* is a run of thirteen steps in all, with its own decay of the rate, and pays for about as many checks as the outcome in forty.

# %%
from llmlab.chapters.c09_reasoning import claims as arms
from llmlab.learn import draw

# %%
told = {"pass_at_1": "pass@1", "pass_at_k": "pass@8", "drop": "lost in another guise",
        "unsound": "right through wrong steps", "ece": "ECE"}
after = {"outcome": arms.OUTCOME, "every step": arms.DENSE,
         "every step, equal checks": arms.E_DENSE}
pd.concat([draw.means({"before": arms.OUTCOME}, told, how="start"),
           draw.means(after, told)])

# %% [markdown]
# Read each column downwards. After forty steps both rewards have raised *pass@1* and lowered *pass@8*: single samples are right more often, and eight of them differ less. Then they part. Paid for the outcome, the model more often reaches a right answer through wrong steps; paid for every step, less often than before. If checks are what you pay for, compare the last row with *outcome*: it has hardly moved away from *before*. *ECE* rises under both in forty steps: how many samples agree says less about how often they are right. In another guise the model loses as much as before.

# %% [markdown]
# Now the hack: a *learned* verifier scores the steps, and the reward is their sum or their minimum.

# %%
learned = {name: [runs.run(Process(reward_func="learned", aggregation=a, **columns), s)
                  for s in (0, 1, 2)]
           for name, a in (("learned, summed", "sum"), ("learned, minimum", "min"))}
figures.curves(learned, {m: Process.curves[m] for m in
                         ("train_reward", "pass_at_1", "length")},
               title="GRPO for what a learned verifier says; 3 seeds")

# %% [markdown]
# The rewards hardly move or rise a little while *pass@1* falls by far: the verifier doesn't notice the damage, whichever way its scores are put together. (A sum has other units than a minimum, so compare each line with itself. The reward averages the steps between readings and has no first point.) The length hardly moves, so this isn't padding. What it writes instead, you can read in the panel above: set *reward_func* to *learned*, press **Run**, and point at an answer to see all its steps. (The verifier's own scores aren't shown.) Our verifier is small and never trained again. At scale, summed step scores made training collapse at once, and the minimum did not. Mixing in a tenth of checked outcomes cut the hacking further [Cheng et al. 2025].
#
# **Shaping.** Can you reward progress without changing which policy is best? Let a potential Φ(s) estimate how good an unfinished solution is, with Φ = 0 at the end, and pay each step the *change* γΦ(s′) − Φ(s) on top of the outcome. The changes cancel along any solution, so padding earns nothing, and the best policy stays the best even if Φ is wrong [Ng et al. 1999]. The exercise `shaped_returns` derives this.
#
# ## 9 · Calibration: pay for honesty
#
# Can a reward teach a model to say how sure it is? A reward of 1 or 0 pays a right answer alike, sure or not. RLCR also asks for a chance q of being right and subtracts its Brier score, the squared error of q [Damani et al. 2025]. If the true chance is p, what should the model state?

# %%
stated = [i / 10 for i in range(11)]
paid = {p: [p - (p * (q - 1) ** 2 + (1 - p) * q**2) for q in stated]
        for p in (0.2, 0.5, 0.8)}
pd.DataFrame({f"true chance {p}": x for p, x in paid.items()},
             index=stated).rename_axis("stated").round(2).T

# %% [markdown]
# In each row the largest value is where the stated chance equals the true one, and it is p². So honesty pays, and being right pays even more.
#
# In the experiment, a few steps of SFT first teach the reasoner to end with "Sure: " and a digit drawn at random, which means nothing yet. (Before that it states nothing, which counts as certainty and gives the first point of the curves.) Then GRPO trains it with either reward:

# %%
Panel("calibrate", show=["reward_func", "weight", "steps"])

# %%
from llmlab.chapters.c09_reasoning.calibrate import Calibrate

ends({"with a Brier term": Calibrate(),
      "outcome alone": Calibrate(reward_func="outcome")},
     {"pass_at_1": "right", "stated": "stated chance", "ece": "ECE", "brier": "Brier",
      "auc": "right surer than wrong"})

# %% [markdown]
# First compare *stated chance* with *right*. A gap means that the model is too sure on average, and the Brier term nearly closes it. Then look at *right surer than wrong*, the chance that a right answer was stated with more confidence than a wrong one. A half means no knowledge at all, whatever the ECE says, and in the lab it stays there: the model has learnt its average but not when it is unsure. You can rescale an average afterwards, but not a ranking that isn't there. (Means over five seeds, on few held-out problems.) The Brier term clearly lowers the calibration error (C155). Does it cost right answers? In this table fewer are right with it; the ledger, on many more problems and after longer training, finds a difference too small to matter.
#
# ## 10 · Contamination
#
# Half of a test is in the training data. What does the test say then, and could you tell?

# %%
Panel("contaminate", show=["leak", "form", "copies"])

# %%
from llmlab.chapters.c09_reasoning.contaminate import Contaminate

parts = {"reported": "whole test", "leaked": "leaked", "clean": "rest of the test",
         "fresh": "newly made", "guised": "leaked, in another form",
         "seen_loss": "leak seen by the loss (AUC)",
         "seen_min_k": "leak seen by Min-K% (AUC)"}
one = runs.run(Contaminate(), 0)
pd.DataFrame({label: {"half of the test leaked": [*one.curve(m).values()][-1]}
              for m, label in parts.items()}).round(2)

# %% [markdown]
# *newly made* is what the model can really do. Compare *leaked* with it and with *rest of the test*. Then look at *leaked, in another form*: what is known by heart falls when the words change, but so may honest skill (section 3). The last two columns ask whether the likelihood of a solution gives the leak away, by its mean or by its least likely tokens [Shi et al. 2023]. A half is no better than a coin. (One run; C156 has the intervals.) Try *in other words*: a search for the same wording then finds less.
#
# **Controls.** At scale, random rewards raised one model family's score on a public benchmark by 21.4 points [Shao et al. 2025]. On generated arithmetic, which no model can have seen, only correct rewards helped [Wu et al. 2025]. So run an arm with random rewards, and use a test that a program makes new.
#
# ## 11 · With your own problems and your own verifier
#
# ```
# llmlab run star --problems FILE.jsonl --verifier my_check.py --model M --out FOLDER
# llmlab run star --problems FILE.jsonl --verifier math-verify --model M --out FOLDER
# llmlab audit --verifier my_check.py           # how often does it err, on answers of known truth?
# llmlab audit MINE.jsonl --verifier math-verify --wrong
# ```
#
# Each line of the file has a question and an answer: `{"question": "…", "answer": "72"}`. GSM8K's `####` is understood, and a fifth of the problems is held out. Your check is one function:
#
# ```
# def check(question: str, answer: str, said: str) -> bool:
#     """Does what was said give the answer?"""
#     return said.split()[-1].rstrip(".") == answer
# ```
#
# It runs in its own process, with limits on time and memory. A time-out or a crash is *no verdict*: such a sample is neither kept nor used as rejected, and `faults` counts it. (Counting time-outs as wrong answers has spoilt real runs.) Without `--verifier`, a rule reads the answer from what the model said:

# %%
from llmlab.world.given import equal, final

told = ["48 + 24 = 72; so 72.", r"In all \boxed{72} clips.", "#### 72", "72 clips",
        "Not 27, it is 72.", "It is 27, not 72.", "The answer is 72.0", "48+24",
        "seventy-two"]
pd.DataFrame([(s, final(s), equal(final(s), "72")) for s in told],
             columns=["said", "read as", "accepted"])

# %% [markdown]
# Judge each row yourself: which verdicts would you change? Such a rule errs in both directions, and systematically. The audit counts its errors by kind, on answers of known truth:

# %%
from llmlab.cli import audit

code = audit.command([])

# %% [markdown]
# Look at *false positives*, which self-training would learn. The library math-verify (`pip install math-verify`), in version `0.9`, accepts "40+2" for 42, so echoing a sum can score, and it rejects `0.333` for 1/3. Before you train with a verifier, audit it by hand on answers of *your* model.
#
# ## 12 · The evidence
#
# Which statements of the sources hold in the lab? Each is a claim in the ledger, declared before the runs that decide it (chapter 02, section 11 explains the verdicts). Where a table above shows a single run or a sweep, a claim's numbers can differ: its runs have more seeds, and often other steps or rates. `llmlab claims C119` prints each arm's command.

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("09")
evidence

# %% [markdown]
# Read each claim with its verdict. On the right are its effects with their intervals; where a claim has several parts, click the triangle. The effects as a picture:

# %%
forest.figure(evidence.rows)

# %% [markdown]
# Effects are divided by the smallest effect of interest, and the claimed side is on the right. A part of a claim is as claimed if its dot is to the right of 1 and its interval to the right of 0. Where no difference was claimed, the whole interval must lie inside the blue band.
#
# All of it holds for this lab, a small model in a small world. Six rows deserve discussion:
#
# - **Rewards for steps (C116, C117).** Paid for every step, the model reaches fewer right answers through wrong steps than paid for the outcome. But steps should pay most on hard problems, and they did not: on searches of which a third are never solved in eight samples, they ended with slightly fewer right samples, at the price of a check for each step. At equal checks they are clearly further behind on easy searches and about as far on hard ones (neither reading counts). A learned verifier was hacked whether its scores were summed or their minimum was taken.
# - **RL and calibration (C113).** GRPO for right answers raised the calibration error: the samples agree more than they are right. What is lost in another guise stayed the same.
# - **Several verifiers (C118).** Five checkers help if their errors are independent; five copies of one decide exactly as one does.
# - **Fresh samples (C126) and rejected samples (C127).** Neither paid off in the lab. Fresh samples taught no more than those of the first model. DPO on verified against rejected samples did worse than imitating the verified ones: its pairs push likelihood away from wrong solutions that share most of their tokens with right ones. At scale, the likelihood of the preferred answer can fall with the other one's [Razin et al. 2024], and gains are reported with a likelihood term for it [Pang et al. 2024].
# - **Self-confirmation (C124).** The samples agreed much more in the end and were hardly more often right, so agreement is no evidence of progress.
# - **A leaked test (C156).** The gain was as large where the leaked copies were worded otherwise, so a search for the test's own words doesn't find such a leak. Newly made problems are safe from it.
#
# ## 13 · What is known at scale: the recipe of a reasoning model
#
# How are large reasoning models made? First came *chain-of-thought prompting*: with a few worked examples in the prompt, large models write their steps and solve far more word problems [Wei et al. 2022]. DeepSeek-R1-Zero needed no examples. GRPO on the base model, with rules that check the answer and the format, raised AIME 2024 from 15.6 to 71 % [DeepSeek-AI 2025]. Its chains grew to thousands of tokens, with checks, doubts and new attempts, but they were hard to read and mixed languages. So R1 took four stages:
#
# | stage of R1 [DeepSeek-AI 2025] | what happens | in this course |
# |---|---|---|
# | 1 cold start | SFT on thousands of long, readable chains | section 0: SFT makes the *reasoner* |
# | 2 RL for reasoning | GRPO; rules reward the right answer and one language | section 8, chapter 07 |
# | 3 rejection sampling, SFT | the base learns 600,000 accepted chains of stage 2 and 200,000 other answers | section 6 |
# | 4 RL for all uses | rules where an answer can be checked, reward models elsewhere | chapters 06 and 07 |
#
# Read the last column: the course has each part by itself and never the whole. It has no long chains either: the lab's solutions have one fixed form, in which nothing is taken back. Such *backtracking* grew under RL in a model that already showed some, and a model without it gained after SFT on traces that contain it [Gandhi et al. 2025]. Length is controlled in the reward, by a target [Aggarwal & Welleck 2025] or the overlong penalty of chapter 07, or while decoding (chapter 10, section 7).
#
# ## 14 · Where the sources are contested
#
# - **"False positives poison training."** Random ones slow it: with 15 % symmetric noise large models lost less than 2 points [Plesner et al. 2026], and the sign of J decides [Rad et al. 2026]. Systematic ones lead to a plateau or to collapse, and their pattern matters more than their rate [Egashira et al. 2026].
# - **"A PRM can reduce reward hacking."** An exact check of the process did, in a controlled world [Zhang et al. 2025]. A learned one gets gamed: rewards were above 0.9 with accuracy below 4 % [Tiwari et al. 2026]. DeepSeek-R1 gave up PRMs for its RL [DeepSeek-AI 2025].
# - **"Start with easier problems."** One study finds a gain [Parashar et al. 2025], one up to twice the speed [Shi et al. 2025], and one no robust advantage of any order [Mordig et al. 2026]. Report the final level and the speed separately.
# - **"DPO on accepted against rejected."** It uses more of what was sampled. But on programming contests DPO reached 0 % where PPO reached 22.4 % [Xu et al. 2024].
# - **"Self-training increases the mass on successes."** Whether it also finds anything new is another question. With many samples the base model covers what the trained policy does [Yue et al. 2025]. True gains need headroom and the edge of competence [Zhang et al. 2025].
# - **"It doesn't reason: accuracy drops when the numbers change."** Once chance is allowed for, question by question, only half of twenty models change significantly [Długosz et al. 2026].
#
# ## 15 · Exercises

# %%
from llmlab.learn.judge import check, hint, reset, solution, task

task("keep_samples")

# %%
def keep_samples(texts, right, luck, fpr, fnr):
    ...

check("keep_samples", keep_samples)

# %%
task("share_right_by_round")

# %%
task("picked_by_steps")

# %%
task("shaped_returns")

# %% [markdown]
# More: `task("calibration_error")`, `task("verified_pairs")`, `task("leaked_questions")`.
#
# ## 16 · Drills

# %%
Drills("09")

# %% [markdown]
# ## 17 · Interview page

# %%
from llmlab.learn.interview import interview

interview("09")

# %% [markdown]
# ## To take away
#
# 1. The verifier is the teacher. Random errors cost time as long as right answers pass more often than wrong ones. A pattern that always passes is learnt.
# 2. Agreement is not correctness. Without a signal from outside, training makes a model surer of what it already believes. Let held-out problems with labels tell you when to stop.
# 3. Report more than accuracy: calibration, pass@k next to pass@1, right answers reached through wrong steps, and a test that no model can have seen.

# %%
references("l1_2025", "gandhi_2025", "wei_2022_cot", "zelikman_2022", "gulcehre_2023",
           "yuan_2023_rft", "rad_2026", "plesner_2026", "egashira_2026",
           "zuo_2025_ttrl", "shafayat_2025", "he_2026", "verify_step_by_step_2024",
           "math_shepherd_2023", "uesato_2022", "lee_2025_multirm", "cheng_2025_pure",
           "tiwari_2026", "interplay_pre_mid_rl_2025", "deepseek_r1_2025", "ng_1999",
           "damani_2025_rlcr", "shi_2023_mink", "shao_2025_spurious",
           "wu_2025_contamination", "lee_2023_arithmetic", "lanham_2023", "turpin_2023",
           "pfau_2024", "mirzadeh_2024", "dlugosz_2026", "parashar_2025",
           "shi_2025_adarft", "mordig_2026", "xu_2024", "yue_2025", "razin_2024",
           "pang_2024")
