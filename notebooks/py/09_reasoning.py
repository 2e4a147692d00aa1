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
# **Where we are.** The model answers, calls tools and looks things up. Now an answer takes several steps, and the model learns from its own attempts. The teacher is anyone who says which attempts were right.
#
# ```
# problem → K attempts with their steps → verifier: yes or no → keep → train ─┐
#                ↑                                                            │
#                └────────────────────── the next round ──────────────────────┘
# ```
#
# **For a ten-year-old.** You try a puzzle eight times and write down every line. Then you compare with the answer key, keep the tries that came out right and study those. If the key has mistakes in it, you study the mistakes too. If you have no key and just keep the answer that you wrote most often,
# you get surer of yourself. Whether you get better depends on how often that answer was right.
#
# **In an interview.** *Reasoning is a bundle of behaviours that I can measure: decomposition, verification, self-correction and planning. Self-training samples, verifies and imitates what passed. Random errors of the verifier slow it down as long as right answers pass more often than wrong ones;
# a pattern of errors is learnt. An outcome reward is cheap and sparse. A process reward is dense: it is safe where a program checks the steps, and a proxy where a model does. I report calibration beside accuracy, and I check that the test was not in the training data.*
#
# New terms: **verifier** = says whether a solution is right; **outcome** / **process** = judges the answer / every step; **ORM**, **PRM** = outcome / process reward model, which has learnt to do so; **TPR**, **FPR** = share of right, of wrong solutions that pass; **J** (Youden's) = TPR − FPR; **precision** = share of right ones among
# those that pass; **unsound** = a right answer reached through a wrong step; **pass@k** = at least one of k samples is right; **calibration** = stated chances hold; **ECE** = expected calibration error; **AUC** = chance that a right one is ranked above a wrong one; **contamination** = the test was in the training data.

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
# The *reasoner* is the chat model after SFT on worked problems of five families: sums column by column, products, functions on letters, chains of links, and numbers to be reached with three allowed operations. It saw levels 1 to 3, never level 4. First its own words for one problem, the greedy
# answer and three samples:

# %%
from llmlab.train.attempts import attempts
from llmlab.world.reasoning import NAMES, Reasoning


def tried(world, n, k=8, temperature=1.0):
    """k attempts at each of n held-out problems."""
    return attempts(reasoner.model, reasoner.tok, world, world.problems(n, seed=7), k,
                    max_new=150, temperature=temperature, seed=7)

# %%
hard = Reasoning(("products",), (2,))
samples = tried(hard, 8, 3)  # of eight problems the first with right and wrong samples
at = next(i for i, g in enumerate(samples) if len({a.right for a in g}) > 1)
words = [*tried(hard, 8, 1, 0.0)[at], *samples[at]]
print(words[0].episode.problem.question, "→", words[0].episode.problem.answer)
pd.DataFrame({"said": [a.text for a in words], "right": [a.right for a in words],
              "every step follows": [a.sound for a in words]},
             index=["greedy", "sample 1", "sample 2", "sample 3"])

# %% [markdown]
# A solution is steps with a semicolon after each, then "so" and the answer. *right* compares the answer alone; *every step follows* asks a program that checks each step. One problem shows the form, not how often the model succeeds. For that, the profile:

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
# Look at the gap between *one sample* and *pass@8*. Where it is wide, right solutions already occur among the samples, and training can make them more frequent. Where both lie at the bottom there is nothing to keep. A *vote* gains where wrong answers scatter. Each point is an average over only eight
# problems, so read the shape and not the values.
#
# ## 1 · By hand: which step is wrong?
#
# Verification is the behaviour that everything else rests on. Below is an attempt with one planted mistake, carried on from there as if nothing had happened:

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
# Only the planted step fails. The later steps follow from what is written before them, wrong as that is. So a process label says *where* the mistake was made; the outcome label only says that there is one.

# %%
assert first_wrong(problem, attempt) == follow(problem, steps).index(False) + 1
show(follow, first_wrong)

# %% [markdown]
# `due` knows which steps may come next after *any* text, right or wrong. That is what makes this checker exact, and it is what real tasks lack.
#
# ## 2 · Decomposition: why write steps at all?
#
# Suppose every step is right with the same chance, and mistakes are not repaired. Then n steps are all right with that chance to the power n:

# %%
pd.DataFrame({f"{n} steps": {q: q**n for q in (0.9, 0.97, 0.99, 0.999)}
              for n in (1, 5, 10, 40)}).rename_axis("chance of one step").round(2)

# %% [markdown]
# Read along a row: errors compound, so long chains need very reliable steps. Written steps still win if each of them is much easier than the leap from the question to the answer. Whether they do is an experiment. The same chat model learns the same problems with their *steps*, with the *answer*
# alone, or with as many empty tokens (*filler*) in place of the steps, at an equal number of learnt tokens:

# %%
Panel("decompose", show=["shown", "family", "level"])

# %%
from llmlab.chapters.c09_reasoning.decompose import Decompose
from llmlab.lab import runs


def ends(arms, names):
    """The last readings of stored runs: label -> experiment, metric -> label."""
    rows = {arm: {label: [*runs.run(e, 0).curve(m).values()][-1]
                  for m, label in names.items()} for arm, e in arms.items()}
    return pd.DataFrame(rows).T.round(2)

# %%
ends({"steps": Decompose(), "answer alone": Decompose(shown="answer")},
     {"accuracy": "right", "harder": "right one level up",
      "sound": "every step follows", "follows": "follows a false step",
      "unmoved": "right in spite of it", "length": "tokens"})

# %% [markdown]
# Compare *right* first. With their steps products are learnt, without them hardly, although that arm saw many more problems for its tokens. Now turn *family* to *columns* in the panel: three-digit sums the chat model knows by heart, and there the answer alone is as good. So steps pay where the leap from the question to the answer
# is too large. Then ask whether the steps are the cause of the answer: a step in the middle is replaced by a false one, behind the model's back. If the answer *follows the false step*, the model reads its own steps. If it is
# *right in spite of it*, the steps were for show. (Both are 0 by definition without steps. One stored run each.)
#
# Elsewhere, too, small transformers learnt arithmetic far better from worked steps [Lee et al. 2023]. At scale, how much a model relies on its written steps varies by task and by model [Lanham et al. 2023], and an explanation can hide what moved the answer [Turpin et al. 2023].
# Empty tokens can carry computation too, but that is hard to learn [Pfau et al. 2024].
#
# ## 3 · Four behaviours, and how they are evaluated
#
# | behaviour | here |
# |---|---|
# | decomposition: sub-goals | section 2 |
# | verification: check steps and answers | sections 1 and 4 |
# | self-correction: revise when a check fails | `llmlab run revise`, chapter 10 |
# | planning: choose and order the moves | the family *reach*; tool chains in chapter 08 |
#
# The table says where each one is measured. Accuracy alone evaluates none of them: also ask for *robustness* (does the answer change when the problem does not?) and *calibration* (does it know when it is unsure?). One problem and three variants of its question:

# %%
from llmlab.world.reasoning import GUISES

asked = Reasoning(("columns", "links"), (1, 2)).problems(24, seed=7)
one = next(p for p in asked if p.meta.get("op") == "add")
pd.DataFrame({name: [guise(one).question] for name, guise in GUISES.items()},
             index=["question"]).T

# %% [markdown]
# The answer is the same in all rows. How much does the model lose?

# %%
drops = behaviours.robust(reasoner.model, reasoner.tok, Reasoning(), asked, 150)
pd.Series(drops, name="share").round(2).to_frame()

# %% [markdown]
# *greedy* is the accuracy on the plain problems, each *drop_…* what is lost on the same problems in that variant, and *drop* their mean: 0 is robust, and below 0 the variant helped. The new wording and the idle sentence never occur in training, and they cost the most: the model knows one form of words. The new order
# costs nothing. At scale, one irrelevant clause cost models up to 65 % of their accuracy [Mirzadeh et al. 2024].
#
# **Calibration.** How sure is a model that says nothing about it? Take the share of its samples that agree. Each dot below is a fifth of that scale:

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
# On the diagonal the agreement is honest: where seven of ten samples agree, seven of ten such answers are right. Below it the model agrees with itself more than it is right. The size of a dot is the number of samples in it, and a small dot says little. The dots lie near the line: before any reinforcement the agreement of
# samples is a usable confidence. *ece* is the mean distance from the diagonal, weighted by the number of samples and taken over ten bins; *brier*
# also charges for not telling sure from unsure; *aurc* is the share of errors if only the surest answers are given, averaged over how many are given. A model that always states its average accuracy has an ECE of zero and cannot sort its answers at all, so report more than the ECE.
#
# ## 4 · Verifiers
#
# Five programs judge the samples of section 0. Right is what *outcome* says. *process* also wants every step to follow. The other three have a hole, as real ones do: *ending* accepts any answer that ends in 0, *last_character* compares one character with the reference, *form* accepts any answer that follows at least one step.

# %%
from llmlab.world.verifiers import CHECKS

samples = [(a.episode.problem, a.text, a.right) for g in every for a in g]


def rates(check):
    """Shares: of right and of wrong samples that pass, of right ones among these."""
    passed = {r: [check(p, text) for p, text, ok in samples if ok == r]
              for r in (True, False)}
    tpr, fpr = fmean(passed[True]), fmean(passed[False])
    return {"TPR": tpr, "FPR": fpr, "J": tpr - fpr,
            "precision": sum(passed[True]) / sum(map(sum, passed.values()))}


pd.DataFrame({name: rates(check) for name, check in CHECKS.items()}).T.round(2)

# %% [markdown]
# Look at FPR and precision together. A hole that few samples fall into today looks harmless here: the table shows what the present model does, not what training will make of the hole. *process* has a TPR below 1 where right answers come after wrong steps, and that is intended. *last_character* has one below 1 because a small search has several right answers, and the reference is only one of them.
#
# **Learned verifiers.** Where no program can check, a head on the model learns it. An ORM learns the label of the answer, a PRM a label for every step: from people [Lightman et al. 2023], or from rollouts, where a step counts as good if one of several continuations ends right [Wang et al. 2023].
# To choose one of several solutions, the scores of the steps must become one number. Four rules, on solutions that you can judge yourself:

# %%
from llmlab.methods.verification import AGGREGATIONS

good, bad, idle = [0.9] * 6, [0.9] * 5 + [0.2], [0.8] * 6
scored = {"six good steps": good, "its last step wrong": bad,
          "a wrong step, then a good end": [*bad, 0.9],
          "six good steps and six idle ones": good + idle}
pd.DataFrame({name: {rule: f(s) for rule, f in AGGREGATIONS.items()}
              for name, s in scored.items()}).T.round(2)

# %% [markdown]
# The *sum* pays for every step: the padded solution wins, and the one with a wrong step beats the good one. *last* forgets a wrong step as soon as the end looks good. The *minimum* can't be raised by a further step. The *product* falls with every step that is in doubt, so it prefers short solutions.
# The panel trains such a head; its curves say how well it chooses:

# %%
Panel("verify", show=["labels", "aggregation", "solutions"])

# %% [markdown]
# The stored heads at the end, a row a seed of the default, and one seed with its scores summed:

# %%
from llmlab.chapters.c09_reasoning.verify import Verify

heads = {f"seed {n}": runs.run(Verify(), n) for n in (0, 1, 2)}
heads["seed 0, summed"] = runs.run(Verify(aggregation="sum"), 0)
chosen = ("selected", "pass_at_1", "voted", "exact", "by_length", "auc", "padded")
pd.DataFrame({name: {m: [*run.curve(m).values()][-1] for m in chosen}
              for name, run in heads.items()}).T.round(2)

# %% [markdown]
# *selected* is the share right if the head picks one of eight. Compare it with one sample, with the vote, and with an exact check, which no choice can beat. The heads rank all samples well (*auc*), and in two seeds of three that doesn't help to pick among the eight of one problem: such a head has learnt which problems are hard. In no seed does it beat the vote. *by_length* picks the shortest solution without reading it: a head must beat that, too. *padded* attacks the head: a step is written
# twice, which is true and idle, and it counts how often the score rises. With the scores of the steps summed, it always does.
#
# At scale a PRM chose better than an ORM on MATH, 78.2 against 72.4 % [Lightman et al. 2023]. On word problems outcome and process labels gave similar final errors, and process labels fewer wrong steps [Uesato et al. 2022]. Across fourteen domains the two kinds of heads were about equal [Lee et al. 2025].
#
# ## 5 · How good must a verifier be?
#
# Suppose that each round imitates perfectly what passed. Right answers pass with TPR, wrong ones with FPR. Then the odds of a right answer are multiplied, round by round:
#
# $$\frac{p'}{1-p'} = \frac{\text{TPR}}{\text{FPR}}\cdot\frac{p}{1-p}$$
#
# So the sign of J = TPR − FPR decides where it ends. For GRPO the sign decides as well [Rad et al. 2026].

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
# On the right the curves are straight lines: each round multiplies the odds by the same factor. Above J = 0 all answers end up right, later if J is small. At J = 0 nothing moves. Below it training makes the model worse, and a better optimiser does so faster.
#
# **Random or systematic?** All this holds for errors that fall on any solution alike. A mistake that *always* passes is never removed. If a share q of the samples makes it, a share p is right, and all right ones pass, then the share right ends at p/(p + q), however many rounds you train.
#
# What sets the speed? Two checkers:

# %%
checkers = {"A: all right pass, a fifth of the wrong": (1.0, 0.2),
            "B: four in ten of the right pass, a fiftieth of the wrong": (0.4, 0.02)}
Predict("One sample in five is right. Which checker makes self-training faster?",
        lambda: max(checkers, key=lambda c: imitated(0.2, *checkers[c], 1)),
        kind="choice", options=tuple(checkers),
        shows=lambda: pd.DataFrame(
            {name: {"J": t - f, "odds times": t / f, "then": imitated(0.2, t, f, 1)}
             for name, (t, f) in checkers.items()}).T.round(2),
        why="Imitation sees only what passes, so the ratio TPR / FPR counts and not J. "
            "B costs more samples, because it rejects six of ten good ones.")

# %% [markdown]
# Now the measured rounds beside the theory: an exact check, one that lets half of the wrong samples pass at random, and no check. The problems are functions on letters, three deep (`strings`, level 3), which the reasoner mostly solves and often gets wrong in one step. The stored sweep has five seeds; means are shown.

# %%
from llmlab.chapters.c09_reasoning.star import Star
from llmlab.lab import sweeps


def seeds(star):
    """The stored runs of these settings, one a seed."""
    return sweeps.need("star").at(star.settings())


def mean(some, metric):
    """step -> mean over the seeds."""
    curves = [run.curve(metric) for run in some]
    return {step: fmean(c[step] for c in curves) for step in curves[0]}

# %%
def by_round(star):
    """Right samples after each round: imitated perfectly, and measured."""
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
# Perfect imitation would solve nearly everything within a few rounds. *measured* moves far less: a round is ten small steps of training, the problems are held out, and a step that the model has never written can't be imitated. The law says which way a verifier pulls; how far the model follows is an experiment. With half of the wrong ones accepted it does not follow at all, although J is positive: what passed teaches mistakes as well, and four rounds are short.

# %%
Panel("star", show=["fpr", "fnr", "checkers"])

# %% [markdown]
# Several *checkers* vote. With independent errors the vote errs less often than one of them; with `errors` on *shared* they all err at the same samples, and many are worth one.
#
# ## 6 · Self-training
#
# Generate K attempts per problem, verify, keep, train, repeat. With imitation and a hint for unsolved problems this is STaR [Zelikman et al. 2022]; with a threshold on a reward it is ReST [Gulcehre et al. 2023]; one round of it is RFT [Yuan et al. 2023]. Here there are no hints, so it is rejection sampling in rounds, or expert iteration.
# One line decides which accepted attempts are kept:

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
# Compare the four where they differ only in the verifier: lines are medians of five seeds, bands go from the lowest to the highest. *precision* is the share of right ones in what the model was shown, on the problems of the last two rounds; compare the lines, and not their first points with held-out *pass@1*. *distinct* and *pass@8* say whether it gets better by getting narrower. *unsound* counts right answers that were reached through wrong
# steps, which an outcome check keeps.

# %%
Panel("star", show=["check", "k", "keep", "writer"])

# %% [markdown]
# Things to try: more samples per problem (`k`) reach harder problems at proportional cost. *shortest only* keeps true solutions of one form. *old samples* come from the first model, round after round. Under *More*, `loss` makes pairs of accepted and rejected samples for DPO, and `curriculum` orders the levels.
#
# ## 7 · Without a verifier: the majority as label
#
# Now nobody knows the answers. Of eight samples the commonest answer counts as right. Commit before you look:

# %%
watched = {"right samples": "pass_at_1", "vote right": "voted",
           "samples that agree": "agreement"}
beside = ("precision", "distinct", "ece")
majority = Star(check="majority")
Predict("Four rounds with the majority as label: what does each curve do?",
        lambda: {name: mean(seeds(majority), m) for name, m in watched.items()},
        kind="sketch", metrics=tuple(watched),
        shows=lambda: figures.curves(
            {"majority": seeds(majority), "exact check": seeds(Star())},
            {m: Star.curves[m] for m in (*watched.values(), *beside)}),
        why="Each problem is pushed to its commonest answer, so agreement has reason "
            "to rise. Right samples rise only where the commonest answer is right.")

# %% [markdown]
# Read the panels round by round; the first reading is before training, when nothing has been kept yet. As long as single samples lie below the vote, the vote has something to teach; once they have reached it, the gain is used up. Agreement rises under the exact check as well, since every filter narrows what is said. *ece* asks whether agreement still means right: unanimous wrong answers are confident ones. In the mean of the seeds it grows under the majority and not under the check; single seeds differ. A few rounds show the beginning at most.
#
# At scale such rewards help at first [Zuo et al. 2025] and collapse when training goes on [Shafayat et al. 2025]. They sharpen what the model believes already, so accuracy rises and then falls [He et al. 2026]. A run needs a rule that ends it, and without labels the agreement is what you can see:
#
# ```
# llmlab run star --check majority --steps 300 --stop 0.9
# ```
#
# It ends before the first round in which at least that share of the samples agrees with the vote. A few labelled problems, held out, are a better rule: stop where accuracy on *them* has stopped rising.
#
# ## 8 · Rewards for the outcome, or for every step
#
# The same samples, GRPO, and another reward. *dense* counts the due steps that are right before the first mistake. *learned* is the score of a PRM that was trained beforehand.

# %%
from llmlab.world.verifiers import dense

show(dense)

# %%
Panel("process", show=["reward_func", "aggregation", "lr"])

# %% [markdown]
# Look at *groups of equal rewards* first. Where all answers of a group are wrong, an outcome reward has no signal, and steps still differ. The reward *hard* pays for the outcome, and checks steps only in groups without a right answer (*checks* counts them). Now the hack: a learned verifier whose step scores are added up.

# %%
from llmlab.chapters.c09_reasoning.process import Process

summed = Process(reward_func="learned", aggregation="sum", family="columns", level=3)
hacked = ("train_reward", "pass_at_1", "length")
figures.curves({"learned, summed": [runs.run(summed, 0)]},
               {m: Process.curves[m] for m in hacked})

# %% [markdown]
# Sums and differences, because a small judge can check those. Here *reward* rises while *pass@1* falls: a reward that rises alone is being gamed. *length* hardly moves, so this is no padding; the policy has found steps that the judge overrates. (*reward* is a mean over the steps since the last reading, so it has no point at the start.) At scale summed credit collapsed training at once and the minimum did not; a tenth of checked outcomes, mixed in,
# cut the hacking further [Cheng et al. 2025].
#
# **Shaping.** Pay each step the *change* of a potential, γΦ(s′) − Φ(s), with Φ = 0 at the end, on top of the outcome. Then the changes cancel along any solution, padding earns nothing, and the best policy stays the best even if Φ is wrong [Ng et al. 1999]. The exercise `shaped_returns` derives it.
#
# ## 9 · Calibration: pay for honesty
#
# A reward of 1 or 0 pays a right answer alike, sure or not. RLCR subtracts the Brier score of a stated chance q [Damani et al. 2025]. What is it best to state if the true chance is p?

# %%
stated = [i / 10 for i in range(11)]
paid = {p: [p - (p * (q - 1) ** 2 + (1 - p) * q**2) for q in stated]
        for p in (0.2, 0.5, 0.8)}
pd.DataFrame({f"true chance {p}": x for p, x in paid.items()},
             index=stated).rename_axis("stated").round(2).T

# %% [markdown]
# In each row the largest value is where the stated chance equals the true one, and it is p². So honesty pays, and being right still pays more. The reasoner is first taught, by a few steps of SFT, to end with "Sure: " and a digit drawn at random, which means nothing yet. (Before that it states nothing, which counts as certainty: the first
# point of the curves.) Then GRPO, with either reward:

# %%
Panel("calibrate", show=["reward_func", "weight", "steps"])

# %%
from llmlab.chapters.c09_reasoning.calibrate import Calibrate

ends({"with a Brier term": Calibrate(),
      "outcome alone": Calibrate(reward_func="outcome")},
     {"pass_at_1": "right", "stated": "stated chance", "ece": "ECE", "brier": "Brier",
      "auc": "right surer than wrong"})

# %% [markdown]
# Compare *stated chance* with *right*: that is the level, and the Brier term repairs it. Then *right surer than wrong*, the chance that a right answer was stated with more confidence than a wrong one: a half is no knowledge at all, whatever the ECE says, and it stays there. The model has learnt its average and not when it is unsure. A level can be
# rescaled afterwards; a ranking that isn't there can't. One run each.
#
# ## 10 · Contamination
#
# Half of a test lies in the training data. What does the test say then, and could you tell?

# %%
Panel("contaminate", show=["leak", "form", "copies"])

# %%
from llmlab.chapters.c09_reasoning.contaminate import Contaminate

parts = {"reported": "whole test", "leaked": "leaked", "clean": "rest of the test",
         "fresh": "newly made", "guised": "leaked, in another form",
         "seen_loss": "seen by the loss (AUC)", "seen_min_k": "by Min-K% (AUC)"}
ends({"half of the test leaked": Contaminate()}, parts)

# %% [markdown]
# *newly made* is what the model can do. Compare *leaked* with *rest of the test*, and both with it; then *leaked, in another form*: what is known by heart falls when the words change, and so may honest skill (section 3). The last two ask whether the likelihood of a solution gives the leak away, by its
# mean or by its least likely tokens [Shi et al. 2023]; a half is a coin. Try *in other words*: a search for the same wording finds less then.
#
# **Controls.** At scale, random rewards raised one model family's score on a public benchmark by 21.4 points [Shao et al. 2025]. On generated arithmetic, which nobody can have seen, only correct rewards helped [Wu et al. 2025]. So run an arm with random rewards, and a test that a program makes new.
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
# Each line of the file has a question and an answer: `{"question": "…", "answer": "72"}`; GSM8K's `####` is understood. A fifth is held out. Your check is one function:
#
# ```
# def check(question: str, answer: str, said: str) -> bool:
#     """Does what was said give the answer?"""
#     return said.split()[-1].rstrip(".") == answer
# ```
#
# It runs in a process of its own, with limits on time and memory. A time-out or a crash is *no verdict*: such a sample is neither kept nor used as rejected, and `faults` counts it. (A time-out that was counted as a wrong answer has spoilt real runs.) Without `--verifier` a rule reads the answer from what was said:

# %%
from llmlab.world.given import equal, final

told = ["48 + 24 = 72; so 72.", r"In all \boxed{72} clips.", "#### 72", "72 clips",
        "Not 27, it is 72.", "It is 27, not 72.", "The answer is 72.0", "48+24",
        "seventy-two"]
pd.DataFrame([(s, final(s), equal(final(s), "72")) for s in told],
             columns=["said", "read as", "accepted"])

# %% [markdown]
# Judge each row yourself: which verdicts would you change? A rule like this errs in both directions, and the errors are systematic. The audit counts them by kind, on answers that are known to be right or wrong:

# %%
from llmlab.cli import audit

code = audit.command([])

# %% [markdown]
# *false positives* are what self-training would learn. The library math-verify (`pip install math-verify`), in version `0.9`, accepts "40+2" for 42, so that echoing a sum can score, and it rejects `0.333` for 1/3. Audit a verifier on answers of *your* model, by hand, before you train on its word.
#
# ## 12 · The evidence
#
# Each statement that the sources make on this topic is a claim in the ledger, declared before the runs that decide it. Chapter 02, section 11 explains how a verdict is reached.

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("09")
evidence

# %% [markdown]
# Read a row from the left: the claim, its verdict, the effects with their intervals over seeds. The same as a picture:

# %%
forest.figure(evidence.rows)

# %% [markdown]
# Each effect is divided by the smallest one of interest, so that the claimed side is on the right. A part is as claimed if its dot lies right of 1 and its interval right of 0. In a blue band no difference was claimed, so there the whole interval must lie inside the band.
#
# All of it holds for this lab, a small model and a small world. Five rows are worth a discussion:
#
# - **Several verifiers (C118).** Five checkers help if their errors are their own. Five copies of one checker decide exactly as one does, so no vote among them can help.
# - **Fresh samples (C126) and rejected samples (C127).** Neither paid here. Samples of the present model taught no more than those of the first one, and DPO on verified against rejected samples was worse than imitating the verified ones: the pairs push likelihood away from wrong solutions that share most of their tokens with right ones. At scale, the likelihood of the preferred answer can fall with the other one's [Razin et al. 2024], and gains are reported with a likelihood term for it [Pang et al. 2024].
# - **Self-confirmation (C124).** The samples came to agree with each other much more, and they hardly became more often right. Agreement is therefore no evidence of progress.
# - **A learned outcome verifier (C114).** Picking by it was worse than one sample, and far worse than the vote: with few labels it prefers what looks right. Compare with the exact check before you trust a learned one.
# - **A leaked test (C156).** The gain on leaked problems was as large on reworded ones, so rewording a test set doesn't clean it. Newly made problems do.
#
# ## 13 · Where the sources are contested
#
# - **"False positives poison training."** Random ones slow it: with 15 % symmetric noise large models lost less than 2 points [Plesner et al. 2026], and the sign of J decides [Rad et al. 2026]. Systematic ones lead to a plateau or to collapse, and the pattern matters more than the rate [Egashira et al. 2026].
# - **"A PRM can reduce reward hacking."** An exact check of the process did, in a controlled world [Zhang et al. 2025]. A learned one is gamed: rewards above 0.9 with accuracy below 4 % [Tiwari et al. 2026]. DeepSeek-R1 gave PRMs up for RL [DeepSeek-AI 2025].
# - **"Start with easier problems."** One study finds a gain [Parashar et al. 2025], one up to twice the speed [Shi et al. 2025], one no robust advantage of any order [Mordig et al. 2026]. Report final level and speed apart.
# - **"DPO on accepted against rejected."** It uses more of what was sampled. On programming contests DPO reached 0 % where PPO reached 22.4 % [Xu et al. 2024].
# - **"Self-training increases the mass on successes."** Whether it also finds anything new is another question. At many samples the base covers what the trained policy does [Yue et al. 2025]; true gains need headroom and the edge of competence [Zhang et al. 2025].
# - **"It doesn't reason: accuracy drops when the numbers change."** Once chance is allowed for question by question, only half of twenty models change significantly [Długosz et al. 2026].
#
# ## 14 · Exercises

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
# ## 15 · Drills

# %%
Drills("09")

# %% [markdown]
# ## 16 · Interview page

# %%
from llmlab.learn.interview import interview

interview("09")

# %% [markdown]
# ## To take away
#
# 1. The verifier is the teacher. Random errors cost time as long as right answers pass more often than wrong ones; a pattern that always passes is learnt.
# 2. Agreement is not correctness. Without a signal from outside, training makes a model surer of what it believes already, so stop by labelled held-out problems.
# 3. Report more than accuracy: right answers reached through wrong steps, calibration, pass@k beside pass@1, and a test that nobody can have seen.

# %%
references("zelikman_2022", "gulcehre_2023", "yuan_2023_rft", "rad_2026",
           "plesner_2026", "egashira_2026", "zuo_2025_ttrl", "shafayat_2025", "he_2026",
           "verify_step_by_step_2024", "math_shepherd_2023", "uesato_2022",
           "lee_2025_multirm", "cheng_2025_pure", "tiwari_2026",
           "interplay_pre_mid_rl_2025", "deepseek_r1_2025", "ng_1999",
           "damani_2025_rlcr", "shi_2023_mink", "shao_2025_spurious",
           "wu_2025_contamination", "lee_2023_arithmetic", "lanham_2023", "turpin_2023",
           "pfau_2024", "mirzadeh_2024", "dlugosz_2026", "parashar_2025",
           "shi_2025_adarft", "mordig_2026", "xu_2024", "yue_2025",
           "razin_2024", "pang_2024")
