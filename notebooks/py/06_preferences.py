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
# # 06 · Preferences
#
# *Run ▸ Run All Cells* starts this chapter.
#
# **Where we are.** The model answers (SFT). Now it is told which of two answers is *better*.
#
# ```
# question + better answer + worse answer  →  raise one against the other, measured from where the model was  →  DPO and its family
# the same pairs  →  a model that scores answers  →  something to choose by, or to train against  →  chapter 07
# ```
#
# **For a ten-year-old.** Nobody shows you the perfect drawing. Somebody holds two of yours up and says: *this one*. After many such pairs you know what they like. But you never drew a cat, so you never heard whether they like cats.
#
# **In an interview.** *DPO is a logistic regression on the difference of two log-ratios to a reference; the implied reward is β·log(π/ref). It needs no reward model and no sampling, and therefore explores nothing: what the pairs do not hold, it
# cannot find. It only fixes a difference, so both answers may become unlikely (likelihood displacement); I watch the two log-probs apart and add a likelihood term. A reward model learns manner first and content late, if at all, copies the habits of its
# labellers, and may be pushed only so far.*
#
# Words used here: **pair** = one question with a *chosen* and a *rejected* answer; **reference** = the model before this stage, frozen; **margin** = how much further the chosen answer has risen than the rejected one, times β; **gold** = the
# true reward, known here because we wrote the world; **proxy** = a learned reward that stands for it; **on-policy** = written by the model that is trained.

# %%
import math
from statistics import median

import pandas as pd
import torch

# %%
from llmlab.learn import figures
from llmlab.train import loop
from llmlab.methods import preferences
from llmlab.lab import runs
from llmlab.chapters.c06_preferences.prefer import Prefer
from llmlab.models.forward import forward
from llmlab.models.frozen import frozen_copy
from llmlab.models.load import load
from llmlab.learn.notebook import references, show
from llmlab.learn.widgets import Drills, Panel, Predict

pd.set_option("display.max_colwidth", None)

# %% [markdown]
# ## 1 · By hand: one pair
#
# Log-probs of two whole answers to one question, under the model and under the reference. In between, the model was trained a little: both answers fell, the rejected one further.

# %%
policy = torch.tensor([-9.0, -14.0])  # chosen, rejected
ref = torch.tensor([-8.0, -10.0])
beta = 0.5
reward = beta * (policy - ref)
margin = reward[0] - reward[1]
{"implied rewards": reward.tolist(), "margin": float(margin),
 "loss": float(-torch.nn.functional.logsigmoid(margin))}

# %% [markdown]
# The margin is positive, the loss is below ln 2: DPO is content, although the chosen answer became *less* likely. Nothing in the loss says where the lost probability went.
#
# The pull of a pair is β·sigmoid(−margin): a settled pair hardly counts.

# %%
pd.Series({m: beta * float(torch.sigmoid(torch.tensor(-m)))
           for m in (-2.0, 0.0, 2.0, 6.0)},
          name="weight of the pair").rename_axis("margin").round(3).to_frame()

# %% [markdown]
# ## 2 · Read the source
#
# Five losses on pairs. What they compare differs, and the curve that they put it on.

# %%
show(preferences.dpo, preferences.ipo, preferences.simpo)

# %%
from llmlab.methods import preferences

show(preferences.odds_ratio, preferences.orpo)

# %%
told = {name: {"reads a reference": m.reference, "own knob": ", ".join(m.extra),
               "paper": m.paper} for name, m in preferences.METHODS.items()}
pd.DataFrame(told).T.rename_axis("method")

# %% [markdown]
# **On the real model.** At the first step model and reference are the same, so every margin is zero and the loss is ln 2. If yours is not, the reference, the mask or the template is wrong: look before you train.

# %%
chat, pairs = load("chat"), Prefer()
batch = loop.add_logprobs(frozen_copy(chat.model), pairs.batch_at(chat.tok, 0, 0),
                          "ref_logprobs")
loss, info = preferences.dpo(forward(chat.model, batch), batch)
assert math.isclose(loss.item(), math.log(2), abs_tol=1e-5)
[chat.tok.decode(batch.ids[i][batch.mask[i] > 0]) for i in (0, 1)]

# %% [markdown]
# The same by our hand as by the function:

# %%
fake = type(batch)(torch.zeros(2, 2, dtype=torch.long), torch.ones(2, 2),
                   {"pair": torch.zeros(2), "ref_logprobs": ref.view(2, 1)})
out = type(forward(chat.model, batch))(None, policy.view(2, 1), torch.ones(2, 1))
assert math.isclose(preferences.dpo(out, fake, beta=beta)[0],
                    -torch.nn.functional.logsigmoid(margin))

# %% [markdown]
# **The reference costs nothing to keep.** Its log-probs of fixed answers are constants: compute them once and store them (TRL: `precompute_ref_log_probs`). With adapters the reference is the model with its adapter switched off. The ledger's claim C080
# runs all three and compares the numbers.

# %%
from llmlab.chapters.c06_preferences import checks

show(checks.reference_is_a_table)

# %% [markdown]
# The loss sees one number, the margin. Drag the two log-probs; then press *both fall*, and watch the loss go down while the chosen answer becomes less likely too:

# %%
from llmlab.learn.widgets import Mechanism

Mechanism("dpo")

# %% [markdown]
# ## 3 · Predict
#
# The chat model knows two hundred people and answers in one word. Pairs ask for another style: *Gladly: …* is chosen, the bare answer rejected; both are right. Plain DPO, no other term.

# %%
seeds = (0, 1, 2)
arms = {"DPO": {}, "DPO + NLL": dict(nll=0.5), "SFT on chosen": dict(method="sft")}
style = {name: [runs.run(Prefer(**knobs), seed) for seed in seeds]
         for name, knobs in arms.items()}
end = lambda group, metric: median(r.metrics()[metric]["final"] for r in group)

# %%
Predict("After DPO: what share of the answers is the polite, right one?",
        lambda: end(style["DPO"], "skill"), kind="number", unit="share", low=0, high=1,
        shows=lambda: figures.curves(style, Prefer.curves,
                                     title="The same pairs, three losses; 3 seeds"),
        mark="right",
        why="The margin grows although the polite answer hardly becomes likelier: the "
            "blunt one loses more, to texts that stand in no pair.")

# %% [markdown]
# **Ordered rightly, and not given.** With plain DPO nearly every held-out pair is ordered rightly, and the polite answer is hardly ever given. It did become likelier, but nearly all of the probability that the blunt answer lost went *elsewhere*, to
# texts that stand in no pair. The margin cannot see it; the two log-probs, drawn apart, can. A likelihood term on the chosen answer (NLL) cures it. And see what imitation of the chosen answers alone does: the contrast adds little where there is one
# thing to learn.
#
# **Likelihood displacement** goes a step further: the *chosen* answer loses probability too, while its pair is ordered better and better. Nothing in the loss forbids it, for only the difference counts. Here with right sums preferred to wrong ones, each
# arm at its best rate, in the ledger's runs; the same term cures it.

# %%
from llmlab.learn import draw
from llmlab.chapters.c06_preferences import claims

sums = [claims.BY["sums", method] for method in claims.METHODS]
draw.over_steps(
    sums, {m: Prefer.curves[m] for m in ("chosen_logprob", "preferred", "skill")},
    title="Right sums preferred to wrong ones, before and after; the ledger's seeds")

# %% [markdown]
# ## 4 · Turn the knob
#
# `task` is the taste: a style, another name, German where it is asked for, when to look up and when to answer, honesty after a failed call, right sums. What is marked ● is stored with five seeds and answers at once, one knob turned at a time; the
# rest is trained while you wait. In the terminal: `llmlab run prefer --task identity --nll 0.5`.
#
# The menu `method` leaves `beta` where it stands, but β is another quantity in each: DPO's scales a log-ratio to the reference, IPO asks for a margin of 1/(2β) a token, SimPO's scales a mean log-prob and is usually above 1, ORPO's weighs a term. Equal
# numbers are not an equal pull, so turn `beta` too before you call one method better.

# %%
Panel("prefer", show=["task", "method", "beta", "nll", "smoothing", "gamma", "lr"])

# %% [markdown]
# ## 5 · Break it, then fix it
#
# What is wrong with the pairs is a slider too: `coverage` (how many of them hold the best answer), `noise` (how many are turned round), `examples` (how many different ones there are), `topics` (how many kinds of questions they cover).

# %%
faults = {
    "all right": dict(nll=0.5), "best answer in no pair": dict(nll=0.5, coverage=0.0),
    "one topic": dict(nll=0.5, topics=1), "30 % turned round": dict(nll=0.5, noise=0.3)}
broken = {name: [runs.run(Prefer(**knobs), seed) for seed in seeds]
          for name, knobs in faults.items()}
figures.curves(broken, {m: Prefer.curves[m] for m in ("skill", "preferred", "facts")},
               title="Pairs with faults, DPO + NLL; 3 seeds")

# %% [markdown]
# Look at the labels that were turned round: *every* held-out pair is ordered rightly, and the best answer is rarely given. *Ordered rightly* says moved in the right direction **from the reference**, and the blunt answer began far ahead. With a share ε of
# wrong labels DPO's loss is least at a margin of logit(1 − ε): it has reason to move the log-ratio of chosen and rejected by logit(1 − ε)/β, and reason not to go further. Label `smoothing` takes a share of the labels to be wrong, and so sets a ceiling of
# the same kind. Without the likelihood term, in the stored runs:

# %%
from llmlab.lab import sweeps

stored = sweeps.need("prefer").turned()
logit = lambda share: math.log(share / (1 - share))
of = lambda run, which, step: run.curve(f"{which}_logprob")[step]
ratio = lambda run, step: of(run, "chosen", step) - of(run, "rejected", step)
moved = {name: median(ratio(run, 60) - ratio(run, 0) for run in stored[name])
         for name in ("defaults", "noise 0.3", "smoothing 0.2")}
ceiling = {"defaults": math.inf, "noise 0.3": logit(0.7) / 0.1,
           "smoothing 0.2": logit(0.8) / 0.1}
lead = -median(ratio(run, 0) for run in stored["defaults"])
pd.DataFrame({"moved": moved, "ceiling logit(1 − ε)/β": ceiling,
              "the blunt answer's lead": lead}).round(1).rename_axis(columns="nats")

# %% [markdown]
# The arithmetic is borne out. With a likelihood term the policy goes past the ceiling, and from there the contrast is a *brake*: it pulls back, the harder the larger β is. So a smaller β should help against wrong labels, and smoothing, which lowers the
# ceiling, should harm:

# %%
cures = {"30 % turned round": {}, "and smoothing 0.3": dict(smoothing=0.3),
         "and β 0.01": dict(beta=0.01)}
cured = {"all right": broken["all right"]} | {
    name: [runs.run(Prefer(nll=0.5, noise=0.3, **knobs), seed) for seed in seeds]
    for name, knobs in cures.items()}
figures.curves(cured,
               {m: Prefer.curves[m] for m in ("skill", "preferred", "chosen_logprob")},
               title="Wrong labels and two knobs against them; 3 seeds")

# %% [markdown]
# So it is: smoothing makes it worse here, a smaller β brings most of the lesson back. The best cure is clean labels. For the other faults it is the pairs too: the best
# answer in some of them, all topics, more of them.

# %%
Panel("prefer", show=["task", "nll", "coverage", "noise", "examples", "topics"])

# %% [markdown]
# **What the pairs do not hold is changed all the same.** `facts` asks the old questions and wants the old plain form. For the style this *is* the lesson. Look at it with `--task german` and `--task identity`: nobody asked for German or for a name there,
# and yet the plain answers suffer. The cure is to put what must stay among the pairs, or fewer steps, or a smaller rate.
#
# ## 6 · Whose answers?
#
# Pairs can be **corrections** (the model's wrong answer against a given right one), the model's **own best and worst** samples, or somebody's **offline** file. And the samples may be as old as you like: `refresh` 1 draws them anew at every step
# (online), 10 every ten steps (semi-online), 0 once and for all (offline). Each arm gets the same number of pairs.

# %%
from llmlab.chapters.c06_preferences.online import Online

ages = {"online": {}, "renewed each 10 steps": dict(refresh=10),
        "offline": dict(refresh=0), "corrections": dict(pairing="correction")}
own = {name: [runs.run(Online(**knobs), seed) for seed in seeds]
       for name, knobs in ages.items()}
figures.curves(own, {m: Online.curves[m] for m in ("skill", "greedy", "mixed")},
               title="DPO + NLL on three-digit sums, 3 seeds")

# %% [markdown]
# *Mixed* counts the problems that give a pair: those whose samples are partly right and partly wrong, and for corrections, which need no more than a wrong one, all with a wrong sample. Corrections are drawn anew at every step here, as online is. All arms add a little likelihood of
# the chosen answer (`nll`). As the online model learns, fewer of its own problems are mixed.

# %%
Panel("online", show=["task", "refresh", "pairing", "samples", "nll", "beta"])

# %% [markdown]
# ## 7 · Reward models
#
# The same pairs can train a model that *scores*: a single number at the end of an answer, fitted so that sigmoid(difference) is the chance that one answer beats the other (Bradley and Terry). Gold here: right +1, polite +½, long-winded minus a little.

# %%
show(preferences.bradley_terry)

# %%
from llmlab.chapters.c06_preferences.reward import Reward

labellers = {
    "honest labels": {}, "half of the labels: the longer wins": dict(planted="length"),
    "half: the impolite wins": dict(planted="format"), "100 pairs": dict(labels=100)}
judges = {name: [runs.run(Reward(**knobs), seed) for seed in seeds]
          for name, knobs in labellers.items()}
figures.curves(judges, Reward.curves, title="Reward models of the same size, 3 seeds")

# %% [markdown]
# **Manner first, content not at all.** Within some tens of steps the model orders polite above blunt; whether the answer is *right* it cannot tell in the end either, and its accuracy of pairs hides that, because most pairs differ in manner too. With few labels it
# becomes sure of itself (calibration error, loss on held-out pairs) without becoming better.
#
# **A planted habit is found by twins**: the same answer with and without padding, with and without the polite lead. In standard deviations of the rewards:

# %%
found = {name: {m: end(group, m)
                for m in ("length_pull", "format_pull", "content", "calibration")}
         for name, group in judges.items()}
pd.DataFrame(found).T.rename(columns=Reward.curves).round(2)

# %% [markdown]
# ## 8 · Over-optimisation
#
# Now push against the learned reward: by taking the best of n samples, or by reinforcement learning (chapter 07). The proxy must rise, since that is what is pushed. Gold?
#
# How far may each go? The best of n moves at most ln n − (n − 1)/n nats from the start, and needs no training: of N scored samples, sorted from worst to best, the i-th is the best of n drawn ones with chance C(i − 1, n − 1) / C(N, n).

# %%
from llmlab.chapters.c06_preferences import overopt

show(overopt.chances)

# %%
from llmlab.chapters.c06_preferences.overopt import Overopt

pressed = {"best of n": dict(method="best_of_n"), "RL": dict(probe=2),
           "RL with a KL penalty": dict(beta=0.1, probe=2)}
over = {name: [runs.run(Overopt(**knobs), seed) for seed in seeds]
        for name, knobs in pressed.items()}
along = {m: Overopt.curves[m] for m in ("proxy", "gold", "right")}
figures.against(over, ("held_kl", Overopt.curves["held_kl"]), along,
                title="Learned against true reward along the way; 3 seeds")

# %%
figures.curves(over, Overopt.curves,
               title="The same over the steps (best of n: step + 1 samples)")

# %% [markdown]
# The learned reward rises under all of them. Best of n: the true one rises with it, and turns in some seeds; rightness is lost all along, for the reward model cannot see whether an answer is right. RL goes further from the start (for best of n the KL
# drawn is an upper bound, for RL it is measured), wanders, gains in some seeds and loses in others, and ends with less that is right; a KL penalty holds it nearer.

# %%
Panel("overopt", show=["method", "labels", "fit", "planted", "beta", "lr"])

# %% [markdown]
# ## 9 · The evidence
#
# Every statement of the sources about this chapter is a **claim** in the ledger: put into our words, with arms, a direction and a smallest effect of interest, and the log of declarations says when each was fixed and what was
# changed after results were known. A claim's parts are decided one by one, by the 98 % interval over seeds: *as claimed*, *reversed*, *too small* (or, where no difference was claimed, *differs*), else *open*. Seeds are looked at when there
# are five, ten and twenty. *Supported* means that every part is as claimed, *refuted* that every part is excluded, *conditional* that it depends on a knob that is named; *withheld* that the design cannot decide it, and why. A verdict holds for this lab: a small
# model and a small world. The line in italics is what to know before quoting it. The whole ledger stands in [its own notebook](ledger.ipynb).

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("06")
evidence

# %%
forest.figure(evidence.rows)

# %% [markdown]
# The rates that the arms of C082 and C092 tried, each the same ones, on a seed that no claim uses (share of best answers; *before*: that of the model they start from):

# %%
from llmlab.ledger import rates

tried = pd.DataFrame(rates.load("prefer")["table"]).T
tried.insert(0, "before", {arm.label: median(draw.readings(arm, "skill", "start"))
                           for arm in claims.BY.values()})
tried.round(2).rename_axis(columns="rate")

# %% [markdown]
# ## 10 · What is contested
#
# - **"DPO is more effective than SFT, because it contrasts"** (C092): for decisions such as when to call a tool [Ross et al. 2025], not for answers that can be checked [Xu et al. 2024]; and the likelihood of the chosen answer can fall until the
#   behaviour flips [Razin et al. 2024]. Here, at each arm's own best rate: for style and sums plain DPO loses to imitation, and with a likelihood term it is about level. For when to call, imitation harms at every rate that was tried, DPO gains, and DPO with
#   a likelihood term gains most: there the rejected answer says what the chosen one cannot.
# - **"A contrastive loss defined via KL divergence"** (C089): the loss holds no KL. It is *derived* from a reward under a KL penalty [Rafailov et al. 2023], and in exact arithmetic it has the same optimum; with a finite number of pairs nothing holds
#   the policy near the reference where no pair lies.
# - **"Online is stronger than offline"** (C093): as published [Guo et al. 2024; Tang et al. 2024], and semi-online as good [Lanchantin et al. 2025]. Here online gains a few points in most seeds, which falls short of the ledger's bar, and samples renewed
#   each ten steps gain nothing that can be measured. Where the first model's samples already hold both right and wrong answers, offline lacks little.
# - **IPO, SimPO, ORPO**: IPO wants a margin of a fixed size [Azar et al. 2023], SimPO and ORPO drop the reference [Meng et al. 2024; Hong et al. 2024]. Their β are different quantities: 0.1 of one is not that of another, so compare them at their own best.
# - **Over-optimisation** was measured for reward models of very different sizes against a larger one that stood for gold [Gao et al. 2022]: with d = √KL gold goes as d(α − βd) under best-of-n and as d(α − β log d) under RL, and a KL penalty moves along the
#   same frontier rather than improving it.
#
# On real models, with your own pairs (JSON lines of `prompt`, `chosen`, `rejected`; every tenth question is held out) or those of the lab's tasks, with adapters, and through TRL's trainer:
#
# ```
# llmlab run pairs --domain my_pairs.jsonl --model Qwen/Qwen3-0.6B --device cuda --method qlora --lr 2e-5 --nll 0.5 --out my_adapters/anna/1
# llmlab run prefer --model Qwen/Qwen3-0.6B --device cuda --lr 1e-5 --nll 0.5
# llmlab run lora --task dpo --method qlora --model Qwen/Qwen3-0.6B --device cuda
# llmlab run dpo --engine trl
# ```
#
# ## 11 · Exercises

# %%
from llmlab.learn.judge import check, hint, reset, solution, task

task("dpo_loss")

# %%
def dpo_loss(policy, ref, beta):
    ...

check("dpo_loss", dpo_loss)

# %%
task("win_probability")

# %%
task("log_odds")

# %%
task("best_of_n")

# %% [markdown]
# More: `task("dpo_weights")`, `task("best_and_worst")`.
#
# ## 12 · Drills

# %%
Drills("06")

# %% [markdown]
# ## To take away
#
# 1. The margin is a difference. It grows as well when both answers become less likely: draw the two log-probs apart, and read what the model writes.
# 2. A pair can only push what one of its answers holds. If no pair holds the best answer, nothing teaches it.
# 3. A likelihood term on the chosen answer is a cheap guard. Imitation of the chosen answers is the baseline that preferences must beat.

# %%
references("dpo_paper_2023", "azar_2023_ipo", "hong_2024_orpo", "meng_2024_simpo",
           "xu_2024", "razin_2024", "tang_2024", "guo_2024", "lanchantin_2025",
           "ross_2025", "gao_2022", "christiano_2017")
