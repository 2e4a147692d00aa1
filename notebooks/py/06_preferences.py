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
# cannot find. It only fixes a difference, so both answers may become unlikely (likelihood displacement); I watch the two log-probs apart and add a likelihood term. A reward model learns manner first and content last, copies the habits of its
# labellers, and may be pushed only so far.*
#
# Words used here: **pair** = one question with a *chosen* and a *rejected* answer; **reference** = the model before this stage, frozen; **margin** = how much further the chosen answer has risen than the rejected one, times β; **gold** = the
# true reward, known here because we wrote the world; **proxy** = a learned reward that stands for it; **on-policy** = written by the model that is trained.

# %%
import math
from statistics import median

import pandas as pd
import torch

from llmlab import figures, loop, preferences, runs
from llmlab.experiments.prefer import Prefer
from llmlab.models.forward import forward
from llmlab.models.frozen import frozen_copy
from llmlab.models.load import load
from llmlab.notebook import references, show
from llmlab.widgets import Drills, Panel, Predict

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
{"implied rewards": reward.tolist(), "margin": float(margin), "loss": float(-torch.nn.functional.logsigmoid(margin))}

# %% [markdown]
# The margin is positive, the loss is below ln 2: DPO is content, although the chosen answer became *less* likely. Nothing in the loss says where the lost probability went.
#
# The pull of a pair is β·sigmoid(−margin): a settled pair hardly counts.

# %%
pd.Series({m: beta * float(torch.sigmoid(torch.tensor(-m))) for m in (-2.0, 0.0, 2.0, 6.0)}, name="weight of the pair").rename_axis("margin").round(3).to_frame()

# %% [markdown]
# ## 2 · Read the source
#
# Five losses on pairs. What they compare differs, and the curve that they put it on.

# %%
show(preferences.dpo, preferences.ipo, preferences.simpo)

# %%
from llmlab import objectives

show(objectives.odds_ratio, objectives.orpo)

# %%
told = {name: {"reads a reference": m.reference, "own knob": ", ".join(m.extra), "paper": m.paper} for name, m in preferences.METHODS.items()}
pd.DataFrame(told).T.rename_axis("method")

# %% [markdown]
# **On the real model.** At the first step model and reference are the same, so every margin is zero and the loss is ln 2. If yours is not, the reference, the mask or the template is wrong: look before you train.

# %%
chat, pairs = load("chat"), Prefer()
batch = loop.add_logprobs(frozen_copy(chat.model), pairs.batch_at(chat.tok, 0, 0), "ref_logprobs")
loss, info = preferences.dpo(forward(chat.model, batch), batch)
assert math.isclose(loss.item(), math.log(2), abs_tol=1e-5)
[chat.tok.decode(batch.ids[i][batch.mask[i] > 0]) for i in (0, 1)]

# %% [markdown]
# The same by our hand as by the function:

# %%
fake = type(batch)(torch.zeros(2, 2, dtype=torch.long), torch.ones(2, 2), {"pair": torch.zeros(2), "ref_logprobs": ref.view(2, 1)})
out = type(forward(chat.model, batch))(None, policy.view(2, 1), torch.ones(2, 1))
assert math.isclose(preferences.dpo(out, fake, beta=beta)[0], -torch.nn.functional.logsigmoid(margin))

# %% [markdown]
# **The reference costs nothing to keep.** Its log-probs of fixed answers are constants: compute them once and store them (TRL: `precompute_ref_log_probs`). With adapters the reference is the model with its adapter switched off. The ledger's claim C080
# runs all three and compares the numbers.

# %%
from llmlab.ledger import exact_prefer

show(exact_prefer.reference_is_a_table)

# %% [markdown]
# ## 3 · Predict
#
# The chat model knows two hundred people and answers in one word. Pairs ask for another style: *Gladly: …* is chosen, the bare answer rejected; both are right. Plain DPO, no other term.

# %%
seeds = (0, 1, 2)
arms = {"DPO": {}, "DPO + NLL": dict(nll=0.5), "SFT on chosen": dict(method="sft")}
style = {name: [runs.run(Prefer(**knobs), seed) for seed in seeds] for name, knobs in arms.items()}
end = lambda group, metric: median(r.metrics()[metric]["final"] for r in group)

# %%
Predict("After DPO: what share of the answers is the polite, right one?", lambda: end(style["DPO"], "skill"), kind="number", unit="share", low=0, high=1)

# %%
figures.curves(style, Prefer.curves, title="The same pairs, three losses; 3 seeds")

# %% [markdown]
# **Likelihood displacement.** With plain DPO nearly every held-out pair is ordered rightly, and the polite answer is hardly ever given. Both answers fell, and the probability went *elsewhere*. The margin cannot see it; the two log-probs, drawn apart, can.
# A likelihood term on the chosen answer (NLL) cures it. And see what imitation of the chosen answers alone does: the contrast adds little where there is one thing to learn.

# %% [markdown]
# ## 4 · Turn the knob
#
# `task` is the taste: a style, another name, German where it is asked for, when to look up and when to answer, honesty after a failed call, right sums. In the terminal: `llmlab run prefer --task identity --nll 0.5`.

# %%
Panel("prefer", show=["task", "method", "beta", "nll", "smoothing", "gamma", "lr"])

# %% [markdown]
# ## 5 · Break it, then fix it
#
# What is wrong with the pairs is a slider too: `coverage` (how many of them hold the best answer), `noise` (how many are turned round), `examples` (how many different ones there are), `topics` (how many kinds of questions they cover).

# %%
faults = {"all right": dict(nll=0.5), "best answer in no pair": dict(nll=0.5, coverage=0.0), "one topic": dict(nll=0.5, topics=1), "30 % turned round": dict(nll=0.5, noise=0.3)}
broken = {name: [runs.run(Prefer(**knobs), seed) for seed in seeds] for name, knobs in faults.items()}
figures.curves(broken, {m: Prefer.curves[m] for m in ("skill", "preferred", "facts")}, title="Pairs with faults, DPO + NLL; 3 seeds")

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
from llmlab.experiments.online import Online

ages = {"online": {}, "renewed each 10 steps": dict(refresh=10), "offline": dict(refresh=0), "corrections": dict(pairs="correction")}
own = {name: [runs.run(Online(**knobs), seed) for seed in seeds] for name, knobs in ages.items()}
figures.curves(own, {m: Online.curves[m] for m in ("skill", "greedy", "mixed")}, title="DPO on three-digit sums, 3 seeds")

# %% [markdown]
# *Mixed* counts the problems whose samples are partly right and partly wrong; only these give a pair. As the online model learns, fewer of its own problems do.

# %%
Panel("online", show=["task", "refresh", "pairs", "samples", "nll", "beta"])

# %% [markdown]
# ## 7 · Reward models
#
# The same pairs can train a model that *scores*: a single number at the end of an answer, fitted so that sigmoid(difference) is the chance that one answer beats the other (Bradley and Terry). Gold here: right +1, polite +½, long-winded minus a little.

# %%
show(objectives.bradley_terry)

# %%
from llmlab.experiments.reward import Reward

labellers = {"honest labels": {}, "half of the labels: the longer wins": dict(planted="length"), "half: the impolite wins": dict(planted="format"), "100 pairs": dict(labels=100)}
judges = {name: [runs.run(Reward(**knobs), seed) for seed in seeds] for name, knobs in labellers.items()}
figures.curves(judges, Reward.curves, title="Reward models of the same size, 3 seeds")

# %% [markdown]
# **Manner first, content last.** Within some tens of steps the model orders polite above blunt; whether the answer is *right* it still cannot tell, and its accuracy of pairs hides that, because most pairs differ in manner too. With few labels it
# becomes sure of itself (calibration error, loss on held-out pairs) without becoming better.
#
# **A planted habit is found by twins**: the same answer with and without padding, with and without the polite lead. In standard deviations of the rewards:

# %%
found = {name: {m: end(group, m) for m in ("length_pull", "format_pull", "content", "calibration")} for name, group in judges.items()}
pd.DataFrame(found).T.rename(columns=Reward.curves).round(2)

# %% [markdown]
# ## 8 · Over-optimisation
#
# Now push against the learned reward: by taking the best of n samples, or by reinforcement learning (chapter 07). The proxy must rise, since that is what is pushed. Gold?

# %%
from llmlab.experiments.overopt import Overopt

pressed = {"best of n": dict(way="best_of_n"), "RL": {}, "RL with a leash": dict(beta=0.1)}
over = {name: [runs.run(Overopt(**knobs), seed) for seed in seeds] for name, knobs in pressed.items()}
along = {m: Overopt.curves[m] for m in ("proxy", "gold", "right")}
figures.against({n: over[n] for n in ("best of n", "RL with a leash")}, ("kl", Overopt.curves["kl"]), along, title="Learned against true reward along the way; 3 seeds")

# %%
figures.curves(over, Overopt.curves, title="The same over the steps (best of n: step + 1 samples)")

# %% [markdown]
# The learned reward rises. The true one rises, turns and falls, in some seeds early and in some hardly: the reward model cannot see whether an answer is right, so rightness pays for the rest. RL without a leash goes further from the start than
# best-of-n can, and ends with less.

# %%
Panel("overopt", show=["way", "labels", "fit", "planted", "beta", "lr"])

# %% [markdown]
# ## 9 · The evidence
#
# Every statement of the sources about this chapter is a **claim** in the ledger; direction, smallest effect of interest and rates were fixed before the runs. The whole ledger stands in [its own notebook](ledger.ipynb).

# %%
from llmlab.ledger import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("06")
evidence

# %%
forest.figure(evidence.rows)

# %% [markdown]
# The rates that the arms of C082 and C092 tried, each the same ones, on a seed that no claim uses (share of best answers):

# %%
from llmlab.ledger import rates

pd.DataFrame(rates.load("prefer")["table"]).T.round(2).rename_axis(columns="rate")

# %% [markdown]
# ## 10 · What is contested
#
# - **"DPO is more effective than SFT, because it contrasts"** (C092): for decisions such as when to call a tool [Ross et al. 2025], not for answers that can be checked [Xu et al. 2024]; and the likelihood of the chosen answer can fall until the
#   behaviour flips [Razin et al. 2024]. Here plain DPO loses to imitation at each arm's own best rate; with a likelihood term they are close.
# - **"A contrastive loss defined via KL divergence"** (C089): the loss holds no KL. It is *derived* from a reward under a KL leash [Rafailov et al. 2023], and in exact arithmetic it has the same optimum; with a finite number of pairs nothing holds
#   the policy near the reference where no pair lies.
# - **"Online is stronger than offline"** (C093): as published [Guo et al. 2024; Tang et al. 2024]; semi-online is as good [Lanchantin et al. 2025]. Where the first model's samples already hold both right and wrong answers, offline has all it needs.
# - **IPO, SimPO, ORPO**: IPO wants a margin of a fixed size [Azar et al. 2023], SimPO and ORPO drop the reference [Meng et al. 2024; Hong et al. 2024]. Their β are different quantities: 0.1 of one is not that of another, so compare them at their own best.
# - **Over-optimisation** was measured for large reward models [Gao et al. 2022]; a leash moves along the same frontier rather than improving it.
#
# On real models, with pairs of the lab's tasks and adapters, and through TRL's trainer:
#
# ```
# llmlab run prefer --model Qwen/Qwen3-0.6B --device cuda --lr 1e-5 --nll 0.5
# llmlab run lora --task dpo --method qlora --model Qwen/Qwen3-0.6B --device cuda
# llmlab run dpo --engine trl
# ```
#
# ## 11 · Exercises

# %%
from llmlab.judge import check, hint, reset, solution, task

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

# %%
references("dpo_paper_2023", "azar_2023_ipo", "hong_2024_orpo", "meng_2024_simpo", "xu_2024", "razin_2024", "tang_2024", "guo_2024", "lanchantin_2025", "ross_2025", "gao_2022", "christiano_2017")
