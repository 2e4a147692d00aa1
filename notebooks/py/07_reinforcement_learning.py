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
# # 07 · Reinforcement learning
#
# *Run ▸ Run All Cells* starts this chapter.
#
# **Where we are.** Nobody shows the model an answer any more, and nobody compares two. The model tries, and something *scores* what it did.
#
# ```
# question → several samples of the model → a score each → better than the others? → make it likelier, a little, and stay near where you were
# ```
#
# **For a ten-year-old.** You throw balls at a hoop. You do a little more of what you did before those that went in. If all went in, or none, that round teaches you nothing.
#
# **In an interview.** *Every method of the family pushes a sample's log-prob by its advantage. REINFORCE and RLOO do just that; PPO, GRPO, DAPO and GSPO take the smaller of ratio × advantage and clipped ratio × advantage; CISPO caps the ratio and uses it as a weight. GRPO replaces the critic by the group's mean, and a group whose
# rewards agree gives no gradient. On fresh samples the ratio is one and no clip binds. I check first whether the score measures what I want.*
#
# Words used here: **policy** = the model as a chooser of tokens; **reward** = the score of an answer; **advantage** = how much better than expected it was; **group** = the samples of one problem; **ratio** = a token's probability now, divided by
# its probability when it was sampled; **clip** = no further gain once the ratio has left a range; **KL penalty** = the price of moving away from a reference; **critic** = a head that predicts the reward at every token; **on-policy** = sampled from the model as it is.

# %%
from statistics import median

import pandas as pd
import torch

from llmlab.methods import advantages, policy, parts
from llmlab.chapters.c07_reinforcement_learning.policy import Policy
from llmlab.learn.notebook import references, show
from llmlab.learn.widgets import Drills, Panel, Predict

pd.set_option("display.max_colwidth", None)

# %% [markdown]
# ## 1 · By hand: two problems, four samples each
#
# How does the expected reward change with the model? $\nabla\,\mathbb{E}[R] = \sum_y R(y)\,\nabla\pi(y) = \mathbb{E}\big[R\,\nabla\log\pi(y)\big]$, because $\nabla\pi = \pi\,\nabla\log\pi$. So sample, score, and push each sample's log-prob by its score. You may subtract a baseline $b$ that doesn't depend on the answer:
# $\mathbb{E}\big[b\,\nabla\log\pi(y)\big] = b\,\nabla\sum_y\pi(y) = 0$, so it changes only the noise.
#
# Two problems. The first was solved in three of four samples, the second in none:

# %%
rewards = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
group = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
pd.DataFrame({name: rule(rewards, group)[:, 0]
              for name, rule in advantages.ADVANTAGES.items()}).round(2).T

# %% [markdown]
# Without a baseline every right sample is pushed and no wrong one is touched. With the group's mean the rare event weighs most, here the single failure. The second problem gives nothing under any rule that compares: *no signal*.
#
# The mean of a group of $n$ contains the sample's own reward, so it does depend on the answer. That costs only a factor: `group_mean` is $(n-1)/n$ times `leave_one_out`, and the direction stays. Adding a constant to all rewards
# changes nothing under rules that compare, and multiplying them changes nothing under `group_norm`, up to rounding (C074).
#
# `group_norm` also divides by the group's deviation. With a share p of right samples:

# %%
p = torch.tensor([0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
deviation = (p * (1 - p)).sqrt()
pd.DataFrame({"share right p": p, "multiplied by 1/√(p(1−p))": 1 / deviation,
              "push in all, group_mean": 2 * p * (1 - p),
              "push in all, group_norm": 2 * deviation}).round(2).T

# %% [markdown]
# In the last two rows half-solved problems push most, but `group_norm` gives very easy and very hard ones more than their share.
#
# **Length.** Say the answer is decided, and then the model continues with meaningless tokens, with probability q each time. An answer pushes that choice by 1 − q each time it went on and by −q when it stopped. The sum is zero on
# average (Dr. GRPO). GRPO divides by the length first:

# %%
q = torch.tensor([0.5, 0.8, 0.9, 0.95, 0.99])
# expectation of the push over the length, which is geometric
divided = (1 - q) + (1 - q) / q * (1 - q).log()
pd.DataFrame({"continues with q": q, "mean length": 1 / (1 - q),
              "push, summed": (1 / (1 - q) - 1) * (1 - q) - q,
              "push, divided by the length": divided}).round(3).T

# %% [markdown]
# The last row is negative. A negative push times a negative advantage is positive, so wrong answers are pushed to go on, and right ones to stop.
#
# **A critic** predicts the reward at every token. GAE with λ = 0 trusts the critic's next value (r + V′ − V), with λ = 1 it waits for the reward (R − V). Three tokens with predictions `0.5`, `0.6`
# and `0.9`, and a reward of 1 at the end:

# %%
show(advantages.gae)

# %%
by_token, values = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.5, 0.6, 0.9]])
pd.DataFrame(
    {f"λ = {lam}": advantages.gae(by_token, values, torch.ones(1, 3), lam=lam)[0][0]
     for lam in (0.0, 0.95, 1.0)}).round(3).T

# %% [markdown]
# With λ = 0 the second token gets the credit, because the prediction jumps right after it; with λ = 1 each token gets what its prediction lacked.
#
# **The ratio and the clip.** A token had probability `0.20` when it was sampled and has `0.30` now; the clip range is `0.2`. What is its gain with advantage +1 and −1, and does the clip bind?

# %%
ratio = torch.tensor([[0.30 / 0.20]])
{A: [x.item() for x in policy.clipped(ratio, torch.tensor([[A]]), 0.2, 0.2)]
 for A in (1.0, -1.0)}

# %% [markdown]
# With +1 the gain stops at the edge of the range, and so does the gradient. With −1 the clip doesn't bind: it takes away a gain, never a loss.
#
# ## 2 · One page, one objective
#
# $$\mathcal{L} = -\,\underset{\text{aggregate}}{\text{mean}}\;g(r_t, A_t) \;+\; \beta\;\underset{\text{aggregate}}{\text{mean}}\;\text{KL}_t,\qquad r_t=\frac{\pi(y_t)}{\pi_{\text{old}}(y_t)}$$
#
# The first two dials choose $g$, the term that grows:
#
# | ratio, clip | $g$ | |
# |---|---|---|
# | ratio `none` | $A_t \log \pi(y_t)$ | REINFORCE |
# | clip `none` | $r_t A_t$ | importance sampling |
# | `symmetric`, `higher` | $\min\big(r_t A_t,\ \text{clip}(r_t)\,A_t\big)$ | PPO: the clip takes away a gain, never a loss |
# | `capped` | $\text{stop-gradient}\big(\min(r_t, c)\big)\,A_t \log \pi(y_t)$ | CISPO: every token keeps a gradient |
#
# As $\nabla r_t = r_t \nabla \log \pi(y_t)$, all four have the same gradient where the ratio is one. A KL penalty *in the reward* is no term of the loss: it changes $A_t$. PPO's critic adds its own squared error.
#
# The table is made from the code:

# %%
pd.DataFrame(policy.table()).set_index("method")

# %% [markdown]
# A row is a method, a column a dial. (The buttons of the panels below are not the whole recipes: they leave out the KL term, and the button RLOO takes the mean over an answer's tokens where the table's row sums over them.) The KL column belongs to the recipe and not to the method: k1 in the reward is RLHF's PPO, and GSPO can keep GRPO's KL term. So it's left out when we ask what separates two methods:

# %%
pairs = [("REINFORCE", "REINFORCE with baseline"), ("GRPO", "Dr. GRPO"),
         ("GRPO", "GSPO"), ("DAPO", "CISPO"), ("PPO", "DAPO")]
pd.Series({f"{a} → {b}": "; ".join(f"{d}: {x} → {y}"
                                   for d, (x, y) in policy.between(a, b).items()
                                   if d != "KL")
           for a, b in pairs},
          name="what differs").to_frame()

# %% [markdown]
# Read a row as what separates two methods: in these pairs one dial differs, or two. GSPO's range is tiny because the ratio of a whole answer is a geometric mean over its tokens, which hardly leaves one. DAPO has two more parts outside the loss: dynamic sampling (`groups`) and the overlong penalty (`overlong`).

# %%
show(policy.token_ratio, policy.sequence_ratio, policy.clipped, policy.capped_weight)

# %%
show(parts.token_mean, parts.sequence_mean, parts.fixed_length, policy.k1, policy.k3)

# %%
show(policy.Dials.columns, policy.Dials.gain, policy.Dials.objective)

# %% [markdown]
# Tests compare every setting with its paper's formula, loss and gradient. Here is GRPO's, written out:

# %%
from llmlab.models.forward import Out, token_logprobs
from llmlab.tokens.batch import Batch

g = torch.Generator().manual_seed(0)
ids = torch.randint(0, 30, (8, 6), generator=g)
logits = torch.randn(8, 5, 30, generator=g)
out = Out(logits, token_logprobs(logits, ids[:, 1:]), torch.ones(8, 5))
batch = Batch(ids, torch.ones(8, 6),
              {"old_logprobs": out.logprobs - 0.3,
               "advantages": advantages.group_norm(rewards, group)})
r, A = (out.logprobs - batch["old_logprobs"]).exp(), batch["advantages"]
by_hand = -torch.min(r * A, r.clamp(0.8, 1.2) * A).mean(1).mean()
assert torch.allclose(by_hand, policy.Dials().objective(max_len=5)(out, batch)[0])

# %% [markdown]
# Three formulas to play with. Which rule still pushes when all rewards are equal? For which ratios does a clipped token have a gradient? Which direction of KL covers the target, and which picks a peak?

# %%
from llmlab.learn.widgets import Mechanism

Mechanism("group")

# %%
Mechanism("clip")

# %%
Mechanism("kl")

# %% [markdown]
# ## 3 · Predict
#
# About half of the chat model's *samples* of three-digit sums are right. We train it by GRPO with nothing but the checker's word (`llmlab run policy`):

# %%
from llmlab.lab import sweeps
from llmlab.learn import draw
from llmlab.chapters.c07_reinforcement_learning import claims

default = sweeps.need("policy").turned()["defaults"]
reading = lambda metric, at: median(at(c.curve(metric).items())[1] for c in default)

def before_and_after():
    columns = {"samples": "pass_at_1", "greedy answers": "accuracy"}
    found = {word: {name: reading(metric, at) for name, metric in columns.items()}
             for word, at in (("before", min), ("after", max))}
    return pd.DataFrame(found).round(2).rename_axis(columns="right (share)")

# %%
Predict("What share of its samples is right in the end?",
        lambda: reading("pass_at_1", max), kind="number", unit="share", low=0, high=1,
        shows=lambda: (before_and_after(),
                       Panel("policy", show=["group", "lr", "beta"])),
        why="What is sometimes right is made likelier; the samples come nearer "
            "to the greedy answer, and that gets better too.")

# %% [markdown]
# GRPO and REINFORCE, both with the strict verifier, on the ledger's shorter runs:

# %%
from dataclasses import replace

grpo = replace(claims.STRICT, label="GRPO")
draw.over_steps([grpo, claims.PLAIN],
                {m: Policy.curves[m]
                 for m in ("pass_at_1", "pass_at_k", "distinct", "held_kl", "length")},
                title="Three-digit sums: GRPO and REINFORCE, the ledger's seeds")

# %% [markdown]
# In the lab GRPO and plain REINFORCE end alike (C069). *pass@1* is the share of single samples that are right, *pass@16* (pass@k in the figure) the share of problems with at least one right sample of sixteen. pass@1 rises while pass@16 and the different answers fall: probability moves onto answers that were there already (C086). At scale RLHF makes outputs less diverse as well [Kirk et al. 2023].
# And *KL* is no alarm by itself: it rises here although the verifier is honest and the answers get better.

# %% [markdown]
# ## 4 · Turn one dial at a time
#
# Settings marked ● are stored with five seeds and answer at once. On fresh samples (`epochs` 1, `staleness` 0) `clip` does nothing; raise either and it begins to matter. In the terminal: `llmlab run policy --epochs 4 --clip none`.

# %%
Panel("policy", show=["advantage", "ratio", "clip", "epsilon", "aggregation",
                      "kl_penalty", "beta", "epochs", "staleness", "lr"])

# %% [markdown]
# What each dial, turned alone, changes at the end of the run:

# %%
draw.turned("policy",
            {m: Policy.curves[m] for m in ("pass_at_1", "held_entropy", "held_kl")},
            without=["reward_func"])

# %% [markdown]
# Look for points away from 0. `clip` changes nothing, as promised; advantages and aggregations lie close together; KL penalties limit the distance; four `epochs` see a quarter of the samples in as many steps and end lower. All share one untuned rate: this doesn't rank the methods.
#
# **Old samples.** Every sample is used twice, and half of them are a batch old, so the clip binds:

# %%
old = [claims.UNCLIPPED, claims.CLIPPED, claims.UNCLIPPED_USUAL, claims.CLIPPED_USUAL]
shown = {"clip_fraction_mean": "clip fraction (share of tokens)",
         "approx_kl_mean": "approximate KL to the policy that sampled (nats)",
         "pass_at_1": Policy.curves["pass_at_1"]}
draw.over_steps(old, shown,
                title="Old samples at three times the usual rate, and at the usual one")

# %% [markdown]
# Compare the pairs in the last panel. At three times the rate both arms lose what they could do, without a clip even more; at the usual rate they differ little. A clip slows a fall; it doesn't make a rate safe. That GSPO's ratio or DAPO's higher clip do better is reported at scale [Zheng et al. 2025; Yu et al. 2025] and open here (C077, C078). Also at scale, GRPO on samples of an older policy did as well as on fresh ones, or better [Mroueh et al. 2025].

# %% [markdown]
# ## 5 · Break it, then fix it: reward the wrong thing
#
# This verifier has a bug: what it can't read raises an error, the error is swallowed, and the answer counts as right.

# %%
from llmlab.world import arena

show(arena.crash)

# %%
hacks = [claims.STRICT, claims.CRASH, claims.CRASH_LOSS, claims.CRASH_REWARD]
draw.over_steps(hacks,
                {m: Policy.curves[m]
                 for m in ("held_reward", "pass_at_1", "length", "held_kl")},
                title="The reward, and what is right")

# %% [markdown]
# The reward looks best where the answers are worst (C085). Three things help: a strict verifier; a KL penalty that is strong enough (here it holds inside the reward, but in the loss only in some seeds); and an evaluation that is not the reward, with a stop where *it* is best:

# %%
told = {a.label: {"at the end": median(draw.readings(a, "pass_at_1")),
                  "at its best reading": median(
                      draw.readings(a, "pass_at_1", "highest"))}
        for a in (*hacks, claims.FORM, claims.LONG)}
pd.DataFrame(told).T.round(2).rename_axis(columns="really right (share)")

# %% [markdown]
# Under the flawed verifier the best reading is the start: the honest evaluation would have stopped the run at once. The last two rows are two more flawed rewards, `reward_func format` and `reward_func length` in the panel: under both the median run loses most of its sums. (It hides that with the reward for length some seeds keep theirs.) All of these are GRPO.

# %%
Panel("policy", show=["task", "reward_func", "kl_penalty", "beta", "reset", "steps"])

# %% [markdown]
# **Which KL?** k1 = log(π/ref) belongs in the reward; as a loss its expected gradient is zero. k2 = ½ log²(π/ref) as a loss has the gradient of KL(π ‖ ref); k3 pulls along the *other* direction, KL(ref ‖ π), which agrees to first order.
#
# **The same β is not the same strength.** `group_norm` divides by the group's deviation after the penalty was added to the reward. Where all samples get the same reward, only the penalty is left:

# %%
alike, k1 = torch.ones(4), torch.tensor([0.2, 0.6, -0.1, 1.0])
pd.DataFrame(
    {f"β = {beta}": advantages.group_norm(alike - beta * k1, torch.zeros(4))[:, 0]
     for beta in (0.01, 0.1, 1.0)}).round(2).rename_axis("sample").T

# %% [markdown]
# Compare the rows: they hardly differ. Whatever β is, the penalty comes out at full size. (The columns are four samples, whose own distances from the reference differ.) With `group_mean` β means what it says.
#
# **Resets.** `reset` makes the policy its own reference every few steps, so that a strong KL penalty doesn't hold it back for good:

# %%
held_back = {arm.label: arm for arm in (claims.TIGHT, claims.RESET)}
draw.means(held_back, {m: Policy.curves[m] for m in ("held_kl", "pass_at_1")})

# %% [markdown]
# With resets the policy ends further from its start. What a penalty costs in right answers isn't resolved here (C087).
#
# ## 6 · Variance
#
# No training here: the same policy samples batch after batch, and we compare their gradients. *Agreement* is the mean cosine of two batches' gradients; 1 means no noise.

# %%
from llmlab.chapters.c07_reinforcement_learning.variance import Variance

hard = [claims.NOISE[rule, 3] for rule in ("no_baseline", "group_mean", "critic")]
draw.means({a.label: a for a in (*hard, *claims.SHIFTED.values())},
           {"agreement": Variance.curves["agreement"]})

# %% [markdown]
# With rewards of 0 and 1 the three rules hardly differ. With 1 and 2, which ask for exactly the same, the gradient without a baseline drowns in noise: a baseline removes what all rewards have in common (C070). A linear critic does no better than the group's mean (C072).
#
# **Where does the gradient push the length?** The policy answers a sum and then writes dots, which mean nothing. Here is the push of section 1, measured at a fixed policy:

# %%
draw.means(claims.PUSH, {m: Variance.curves[m] for m in ("wrong_push", "right_push")})

# %% [markdown]
# The first column confirms the formula: GRPO pushes wrong answers to go on, Dr. GRPO doesn't (C076). In the second, Dr. GRPO's push is small but not zero. The sum of section 1 is zero if being right has nothing to do with stopping, and here it has: an answer counts as right only if its tail is clean, at most 24 dots and nothing else, and the longer the tail, the more chances it has to be spoilt. So the answers that count as right are those that stopped in time. (A wrong sum is wrong whatever its tail, and there the pushes cancel.) Now train, also with DAPO's *overlong penalty*. Its ramp in the paper is the last 4,096 of 20,480 tokens [Yu et al. 2025]; ours is the second half of the length allowed.

# %%
draw.over_steps([*claims.DOTS.values(), claims.OVERLONG],
                {"right_length": "right answers (tokens)",
                 "wrong_length": "wrong answers (tokens)",
                 "pass_at_1": Policy.curves["pass_at_1"]},
                title="Answer, then dots")

# %% [markdown]
# The dots go in most runs, since right answers happen to be short. Look at the upper edge of GRPO's band: in some seeds they stay; with Dr. GRPO or the overlong penalty in none. The mean difference isn't resolved (C076); at scale Dr. GRPO's authors saw wrong answers stop growing [Liu et al. 2025].
#
# **Groups without a signal** teach nothing. `groups` drops them or, as in DAPO, replaces them by new problems. The fair rival spends about as many samples on twice the problems:

# %%
kinds = {"all groups kept": claims.STRICT, claims.RESAMPLED.label: claims.RESAMPLED,
         claims.DOUBLE.label: claims.DOUBLE}
draw.means(kinds,
           {"frac_reward_zero_std_mean": "groups whose rewards are all equal (share)",
            "samples": "samples drawn", "pass_at_1": Policy.curves["pass_at_1"]})

# %% [markdown]
# It helps per step but not per sample, and samples dominate RL's cost. The exam is too small for a verdict (C079).
#
# ## 7 · Memory: PPO against GRPO
#
# How many bytes does each model need for a parameter? Trained with AdamW in mixed precision: weight 2, gradient 2, master copy 4, moments 8. Frozen: 2.

# %%
from llmlab.models import roles

pd.DataFrame({method: {role: roles.role_bytes(role, 1) if role in held else 0
                       for role in roles.ROLES}
              for method, held in roles.METHODS.items()}).rename_axis(
    columns="bytes a parameter")

# %%
print("at 70 B parameters:", *(f"{m} {roles.method_bytes(m, 70e9) / 1e12:.2f} TB"
                              for m in roles.METHODS), sep="  ")

# %% [markdown]
# Two rows make the difference between PPO and GRPO with a reference, which needs half of PPO's memory: the critic, nearly all of it, and the frozen reward model, which a program replaces here. With a learned reward model, as GRPO was first trained, that row stays and the saving is the critic alone. A real run saves less: activations and caches come on top for both.

# %% [markdown]
# ## 8 · The edge of competence
#
# Functions on letters, one inside the other, worked step by step, one to three deep:

# %%
draw.over_steps(list(claims.STRINGS.values()),
                {m: Policy.curves[m] for m in ("pass_at_1", "pass_at_k", "distinct")},
                title="Strings of three depths")

# %% [markdown]
# At depth three no sample is right, so nothing can be reinforced. Depth one rises most, but that isn't a discovery: pretraining contained it and the chat conversations didn't, so the reward brings it back. The lab can't decide whether reinforcement learning goes beyond the data (C084).

# %% [markdown]
# ## 9 · What is kept
#
# *Name anyone who lives there*: many answers are right. Three ways aim at the same share of right answers: imitating one fixed answer, imitating the model's own right samples, and GRPO. A run stops when it gets there, and many runs with the reward run out of steps before. Each way runs at the best of five rates, which is the lowest tried for all three (a lower one may be better still), and at five times that rate.

# %%
from llmlab.chapters.c07_reinforcement_learning.retain import Retain

shown = {m: Retain.curves[m] for m in ("skill", "general_recall", "sums")}
kept = {arm.label: arm for arm in (*claims.KEPT.values(), *claims.FAST.values())}
pd.concat([draw.means({"before": claims.KEPT["grpo"]}, shown, "start"),
           draw.means(kept, shown)])

# %% [markdown]
# In the lab the rate matters more than the method. At its best rate each keeps nearly all known people; at five times that rate all lose some, and GRPO no less than the others. Sums, which nobody trained, suffer a little even at the best rate. The exam can't separate the methods (C095, withheld).
# At scale reinforcement learning forgot less at equal skill, and forgetting followed the distance moved [Shenfeld et al. 2025].

# %%
Panel("retain", show=["method", "until", "lr", "group"])

# %% [markdown]
# ## 10 · Several steps, one reward; and the order of the stages
#
# The tool desk's tasks take one to three calls, a call may fail once, and the reward comes at the end. `sft_gold` imitates traces in which nothing fails, `sft_retry` traces with a failed call and its
# repair, `grpo` learns from the reward. *Recovery* counts tasks done although a call fails.

# %%
from llmlab.chapters.c07_reinforcement_learning.agent import Agent

draw.over_steps(list(claims.TRIED.values()),
                {m: Agent.curves[m]
                 for m in ("recovery", "recovery_sampled", "success")},
                title="A call fails once")

# %% [markdown]
# Traces that show the repair teach it; clean traces erase it: the failure of imitation lies in its data. In these few steps the reward keeps more recovery than clean traces do, but adds none (C098).

# %% [markdown]
# **Three calls in a chain**, rewarded only when all three are right. First come lessons on single calls, with a tenth of whole chains among them or none; then practice on single calls, by imitating chains, or by reward.

# %%
draw.means({arm.label: arm for arm in claims.CHAINED.values()},
           {"success_sampled": "chains done (share)"})

# %% [markdown]
# Compare the two `grpo` rows. Without a chain in the lessons no sample ever succeeds, and the reward has nothing to compare. With a few, the reward makes nearly all chains succeed, and so does imitation of whole chains (C097).

# %%
Panel("agent", show=["method", "calls", "faults", "cold_start", "chained", "lr"])

# %% [markdown]
# **The order of the stages.** In the first four rows the same number of steps is shared equally by the stages. In the last row SFT and reinforcement learning have only as many steps each as in the rows with three stages:

# %%
from llmlab.chapters.c07_reinforcement_learning.order import Order

draw.means({arm.label: arm for arm in (*claims.ORDER.values(), claims.SHORTER)},
           {m: Order.curves[m] for m in ("sums", "polite", "refused")})

# %% [markdown]
# Reinforcement learning alone has nothing to strengthen, because the base doesn't answer in the chat form. As the last stage DPO destroys much of what the reward taught. Before reinforcement learning it costs far less: about as many sums end right as in the last row, which has equally long stages and no DPO (C099).
# Refusals are no part of the claim. More steps of SFT, the only stage that shows any, keep more of them, and with DPO few are left; no row has SFT alone, so the table doesn't say what reinforcement learning costs them.
#
# ## 11 · The same dials in TRL
#
# `llmlab run policy --engine trl` runs TRL's GRPOTrainer and refuses what it can't say. The dials become:

# %%
from llmlab.trl import engine

dials = ["advantage", "ratio", "clip", "epsilon", "aggregation", "kl_penalty", "beta",
         "epochs", "staleness"]
pd.DataFrame(engine.told(Policy(kl_penalty="k3"))).set_index("knob").loc[dials]

# %% [markdown]
# Read it as a dictionary: TRL's `loss_type`, for example, is the aggregation.
#
# ## 12 · The evidence
#
# Each statement that the sources make on this topic is a **claim** in the ledger; chapter 02, section 11 explains how a verdict is reached. Here the arms were chosen after a look at seed 0, and a first round ran seeds 0 to 4, so the verdicts use later seeds only. A verdict holds for this lab, and the line in italics is what to know before you quote it.
# Further arms and checks are in [the ledger's notebook](ledger.ipynb).

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("07")
evidence

# %%
forest.figure(evidence.rows)

# %% [markdown]
# Each effect is divided by the smallest one of interest, so that the claimed side is on the right. A part is as claimed if its dot lies right of 1 and its interval right of 0. In a blue band no difference was claimed, so there the whole interval must lie inside the band.
#
# ## 13 · What is contested
#
# - **Is the KL penalty needed?** Against a learned reward it acted like an early stop [Gao et al. 2022]; DAPO and Dr. GRPO drop it [Yu et al. 2025; Liu et al. 2025].
# - **"Discovers beyond the data"**: with many samples the base solves what the trained policy solves [Yue et al. 2025]; others find real gains at the edge of competence [Zhang et al. 2025].
# - **"GRPO was designed for verifiable rewards"**: it was first trained on a learned reward model [Shao et al. 2024].
#
# On a real model:
#
# ```
# llmlab run policy --model Qwen/Qwen3-0.6B --device cuda --lr 1e-6 --size 4
# llmlab run lora --task grpo --method qlora --model Qwen/Qwen3-0.6B --device cuda
# llmlab run policy --aggregation fixed_length --advantage group_mean --engine trl
# torchrun --nproc_per_node 2 -m llmlab.cli run grpo --engine trl
# ```
#
# ## 14 · Exercises

# %%
from llmlab.learn.judge import check, hint, reset, solution, task

task("leave_one_out")

# %%
def leave_one_out(rewards):
    ...

check("leave_one_out", leave_one_out)

# %%
task("clipped_gain")

# %%
task("token_weights")

# %%
task("kl_penalised_rewards")

# %% [markdown]
# More: `task("look_ahead")`, `task("rl_bytes")`.
#
# ## 15 · Drills

# %%
Drills("07")

# %% [markdown]
# ## 16 · Interview page
#
# Keep the two kinds of evidence, this lab's and the published, apart when you speak. In the terminal: `llmlab interview 07`.

# %%
from llmlab.learn.interview import interview

interview("07")

# %% [markdown]
# ## To take away
#
# 1. Reinforcement learning makes likelier what is sometimes sampled and scores well. What is never sampled, and what is always right, gives no gradient.
# 2. The reward is the task. The policy uses a hole in the checker, and the reward rises while it does: read the answers.
# 3. On fresh samples the ratio is one and clipping does nothing. It matters when samples are used again; turn one dial at a time, and measure.

# %%
references("ppo_2017", "rloo_2024", "deepseek_math_2024", "dr_grpo_2025", "dapo_2025",
           "gspo_2025", "cispo_2025", "gao_2022", "yue_2025", "kirk_2023", "razor_2025",
           "revisiting_grpo_2025", "interplay_pre_mid_rl_2025")
