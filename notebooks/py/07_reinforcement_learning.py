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
# **Where we are.** Nobody shows the answer any more, and nobody compares two. The model tries, and something *scores* what it did.
#
# ```
# question → several samples of the model → a score each → better than the others? → make it likelier, a little, and not too far from before
# ```
#
# **For a ten-year-old.** You throw balls at a hoop. Nobody moves your arm. Some balls go in. You do a little more of what you did before those, and a little less of the rest. If all went in, or none, you learn nothing from that round.
#
# **In an interview.** *Every method of the family is one objective: minus the mean of a clipped ratio times an advantage, plus β times a KL to a reference. Four dials (the ratio's level, the clip's shape, the aggregation, the KL) and a rule for the
# advantage tell REINFORCE, PPO, RLOO, GRPO, Dr. GRPO, DAPO, GSPO and CISPO apart. On fresh samples the ratio is one and no clip binds. GRPO replaces the critic by the group's mean and learns nothing from groups that agree. What I watch first is
# whether the score measures what I want: a flaw in the verifier is found within tens of steps.*
#
# Words used here: **policy** = the model as a chooser of tokens; **reward** = the score of an answer; **advantage** = how much better than expected it was; **group** = the samples of one problem; **ratio** = probability of a token now, divided by
# that when it was sampled; **clip** = no further gain once the ratio has moved so far; **leash** = a KL penalty to a reference; **critic** = a head that predicts the reward at every token; **on-policy** = sampled from the model as it is.

# %%
from statistics import median

import pandas as pd
import torch

from llmlab import advantages, dials, objectives
from llmlab.experiments.policy import Policy
from llmlab.notebook import references, show
from llmlab.widgets import Drills, Panel, Predict

pd.set_option("display.max_colwidth", None)

# %% [markdown]
# ## 1 · By hand: two problems, four samples each
#
# The first problem was solved in three of four samples, the second in none.

# %%
rewards = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
group = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
pd.DataFrame({name: rule(rewards, group)[:, 0] for name, rule in advantages.ADVANTAGES.items()}).round(2).T

# %% [markdown]
# Without a baseline every right sample is pushed and no wrong one is touched. With the group's mean the rare event weighs most: here the single failure. The second problem gives nothing under any rule that compares: *no signal*.
#
# In a group of four, dividing by the deviation makes 3 of 4 weigh more than 2 of 4. By how much, for a share p of right samples?

# %%
p = torch.tensor([0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
pd.DataFrame({"share right p": p, "weight 1/√(p(1−p))": 1 / (p * (1 - p)).sqrt()}).round(2).T

# %% [markdown]
# **Length.** Say the answer is decided first, and then the model goes on with something that means nothing, with probability q at every token. What does one answer push on that choice? 1 − q for each time it went on, −q for the stop: zero on
# average, so the *sum* over an answer (Dr. GRPO) leaves the length alone. GRPO divides by the length first:

# %%
q = torch.tensor([0.5, 0.8, 0.9, 0.95, 0.99])
divided = (1 - q) + (1 - q) / q * (1 - q).log()  # expectation of the push over the length, which is geometric
pd.DataFrame({"goes on with q": q, "mean length": 1 / (1 - q), "push, summed": 0 * q, "push, divided by the length": divided}).round(3).T

# %% [markdown]
# Below zero, times an advantage below zero, is above zero: wrong answers are pushed to go on, and right ones to stop.
#
# **The ratio and the clip.** A token was sampled with probability `0.20` and has `0.30` now. Its advantage is +1. With a range of `0.2` there is nothing more to gain, and its gradient is zero; with advantage −1 the clip does not hold it.

# %%
ratio = torch.tensor([[0.30 / 0.20]])
{A: [x.item() for x in objectives.clipped(ratio, torch.tensor([[A]]), 0.2, 0.2)] for A in (1.0, -1.0)}

# %% [markdown]
# ## 2 · One page, one objective
#
# $$\mathcal{L} = -\,\underset{\text{aggregate}}{\text{mean}}\;\text{clip}\big(r_t\big)\,A_t \;+\; \beta\;\underset{\text{aggregate}}{\text{mean}}\;\text{KL}_t,\qquad r_t=\frac{\pi(y_t)}{\pi_{\text{old}}(y_t)}$$
#
# The table is made from the code. Two rows that differ in one cell are two methods that differ in one word.

# %%
pd.DataFrame(dials.table()).set_index("method")

# %%
pairs = [("REINFORCE", "REINFORCE with baseline"), ("GRPO", "Dr. GRPO"), ("GRPO", "GSPO"), ("DAPO", "CISPO"), ("PPO", "DAPO")]
pd.Series({f"{a} → {b}": "; ".join(f"{d}: {x} → {y}" for d, (x, y) in dials.between(a, b).items()) for a, b in pairs}, name="what differs").to_frame()

# %% [markdown]
# The parts themselves are a line or two each.

# %%
show(objectives.token_ratio, objectives.sequence_ratio, objectives.clipped, objectives.capped_weight)

# %%
show(objectives.token_mean, objectives.sequence_mean, objectives.fixed_length, objectives.k1, objectives.k3)

# %%
show(dials.Dials.columns, dials.Dials.gain, dials.Dials.objective)

# %% [markdown]
# Named methods and dials agree: on random batches every setting gives the loss and the gradient of its named function (tested). Here, GRPO:

# %%
from llmlab.models.forward import Out, token_logprobs
from llmlab.tokens.batch import Batch

g = torch.Generator().manual_seed(0)
ids, logits = torch.randint(0, 30, (8, 6), generator=g), torch.randn(8, 5, 30, generator=g)
out = Out(logits, token_logprobs(logits, ids[:, 1:]), torch.ones(8, 5))
batch = Batch(ids, torch.ones(8, 6), {"old_logprobs": out.logprobs - 0.3, "advantages": advantages.group_norm(rewards, group)})
assert torch.allclose(objectives.grpo(out, batch)[0], dials.Dials().objective(max_len=5)(out, batch)[0])

# %% [markdown]
# ## 3 · Predict
#
# The chat model gets about half of all three-digit sums right. GRPO, with nothing but the checker's word:

# %%
from llmlab.ledger import draw
from llmlab.ledger import policy as claims

learnt = {m: draw.readings(claims.STRICT, m) for m in ("accuracy", "sampled")}

# %%
Predict("What share of held-out sums does GRPO get right in the end?", lambda: median(learnt["accuracy"]), kind="number", unit="share", low=0, high=1)

# %%
draw.over_steps([claims.STRICT, claims.PLAIN], Policy.curves, title="Three-digit sums: GRPO with a strict verifier, and REINFORCE; the ledger's seeds")

# %% [markdown]
# ## 4 · Turn one dial at a time
#
# On fresh samples (`epochs` 1, `stale` 0) the ratio is one: turn `clip` and nothing happens but noise of rounding. Raise `epochs` or `stale` and the dials begin to matter. In the terminal: `llmlab run policy --epochs 4 --clip none`.

# %%
Panel("policy", show=["advantage", "ratio", "clip", "range", "aggregation", "leash", "beta", "epochs", "stale", "lr"])

# %% [markdown]
# ## 5 · Break it, then fix it: pay for the wrong thing
#
# A verifier with a bug: what it cannot read raises an error inside, the error is swallowed, and the answer counts as right. One line, seen in the wild more than once.

# %%
from llmlab import arena

show(arena.crash)

# %%
hacks = [claims.STRICT, claims.CRASH, claims.CRASH_LOSS, claims.CRASH_REWARD]
draw.over_steps(hacks, {m: Policy.curves[m] for m in ("paid", "sampled", "surprise", "length", "kl", "known")}, title="What is paid, and what is right")

# %% [markdown]
# The curve that everybody watches, *paid*, looks best where the answers are worst. The cures: a strict verifier; a leash, if it is strong enough against the pay (here it holds inside the reward, and in the loss with the same weight in some
# seeds only); an evaluation that is not the reward, read on the way, and a stop where *it* is best.

# %%
told = {a.label: {"at the end": median(draw.readings(a, "sampled")), "at its best reading": median(draw.readings(a, "sampled", "highest"))} for a in hacks}
pd.DataFrame(told).T.round(2).rename_axis(columns="really right (share)")

# %%
Panel("policy", show=["task", "paid", "leash", "beta", "reset", "steps"])

# %% [markdown]
# **Which KL?** k1 = log(π/ref) belongs into the reward; as a loss its expected gradient is zero. k3 as a loss pulls in the *other* direction, KL(ref ‖ π), to first order the same. A test moves a policy away and checks that each leash brings it back.
#
# ## 6 · Variance
#
# No training here: the same policy samples batch after batch, and the gradients are compared. *Agreement* is the cosine that two batches' gradients have on average: 1 = no noise.

# %%
from llmlab.experiments.variance import Variance

draw.means({a.label: a for a in (*claims.NOISE.values(), *claims.SHIFTED.values())}, {m: Variance.curves[m] for m in ("agreement", "sampled")})

# %% [markdown]
# A baseline leaves the expected gradient as it is and takes out what all rewards have in common. With rewards of 0 and 1 that is little, and on easy sums the group's mean even costs agreement: nearly all samples are right and get almost no
# weight, so that the few wrong ones, which are unlikely and have large gradients, decide. Pay 1 and 2 in their place, which asks for exactly the same, and the gradient without a baseline drowns. How much a baseline helps depends on the zero
# of the reward, and 0 or 1 is a good zero already. A linear critic, fitted to this very policy, does no better.
#
# **How many samples a problem?** The same number of samples a batch, as many problems with few samples or few problems with many:

# %%
draw.means({arm.label: arm for arm in claims.EVEN.values()}, {"agreement": Variance.curves["agreement"]})

# %% [markdown]
# Few samples of many problems tell more than many of few, down to about four: samples of one problem repeat each other. With two the gain is gone, for then the baseline is a single other sample, and most pairs agree and give nothing.
#
# **Where does the gradient push the length?** The policy answers a sum and then writes dots, which mean nothing. The push of section 1, now measured: on right and on wrong answers apart, at the same fixed policy.

# %%
draw.means(claims.PUSH, {m: Variance.curves[m] for m in ("wrong_push", "right_push")})

# %% [markdown]
# And after training? Right answers happen to be short, and being short is learnt from them, so the dots go in most runs. Under GRPO they stay in some (look at the upper edge of the band), in right and wrong answers alike; under Dr. GRPO in none. A
# likely reason: while it writes dots the policy cannot tell whether its answer was right, so both pushes meet on the same dots, and the weak one on the many wrong answers about balances the strong one on the few right ones.

# %%
draw.over_steps(list(claims.DOTS.values()), {"right_length": "right answers (tokens)", "wrong_length": "wrong answers (tokens)", "sampled": Policy.curves["sampled"]}, title="Answer, then dots")

# %% [markdown]
# ## 7 · Memory: PPO against GRPO
#
# Roles and bytes: 16 for a trained parameter with AdamW in mixed precision, 2 for a frozen one.

# %%
from llmlab.models import roles

sizes = {"1 M": 1_000_000, "0.6 B": 600_000_000, "70 B": 70_000_000_000}
pd.DataFrame({name: {m: roles.method_bytes(m, n) / 1e9 for m in roles.METHODS} for name, n in sizes.items()}).rename_axis(columns="GB").round(3)

# %% [markdown]
# ## 8 · The edge of competence
#
# Functions on letters, one inside the other: `size` 1, 2, 3. *Covered* asks whether one of sixteen samples is right. Where none ever is, there is nothing to reinforce.

# %%
draw.over_steps(list(claims.STRINGS.values()), {m: Policy.curves[m] for m in ("sampled", "covered", "distinct")}, title="Strings of three depths")

# %% [markdown]
# ## 9 · What is kept
#
# *Name anyone who lives there*: many answers are right. Ways to the same share of right answers: imitate one fixed answer, the model's own right samples, or be paid (the panel has a fourth: any right one). First the rates that were tried for each,
# on a seed that no claim uses: the share of known facts that is left when the skill is there, or 0 where a rate does not get there.

# %%
from llmlab.ledger import rates

pd.DataFrame(rates.load("policy")["table"]).T

# %% [markdown]
# Then the ledger's seeds, at each arm's best rate and at five times that.

# %%
from llmlab.experiments.retain import Retain

draw.means({arm.label: arm for arm in (*claims.KEPT.values(), *claims.FAST.values())}, Retain.curves)

# %% [markdown]
# At its best rate every way keeps nearly all facts. At five times that rate all of them lose, by seed very differently. Published, the reward forgets least at equal skill [Shenfeld et al. 2025]; here what the method does is small beside what the rate does,
# which is how they explain it too: forgetting follows the distance moved. *Without harm* it is not: sums, which nobody asked for, lose a little even at the best rate. A comparison of methods at one common rate, as it is often made, would have shown
# whatever that rate shows.

# %%
Panel("retain", show=["way", "until", "lr", "group"])

# %% [markdown]
# ## 10 · Several steps, one reward; and the order of the stages
#
# Tasks of the tool desk take one to three calls, and a call may fail once. The reward comes at the end of the whole conversation. `way` is how it is practised.

# %%
from llmlab.experiments.agent import Agent

draw.over_steps(list(claims.TRIED.values()), {m: Agent.curves[m] for m in ("mended", "mended_sampled", "known")}, title="A call fails once")

# %% [markdown]
# Clean traces make it worse: what is never shown to fail is never tried again. A few steps on traces that show a failed call *and its repair* teach the repair by imitation. The reward, in the same few
# steps, keeps more of it than clean traces leave, and adds nothing in the mean. So the old sentence, that imitation cannot teach recovery, is about the data and not about the method.

# %% [markdown]
# **Three calls in a chain**, paid only when all of it is right. Every arm begins with the same lessons on single calls, among which a tenth are whole chains, or none. Then it practises: more single calls, whole chains to imitate, or the reward.

# %%
draw.means({arm.label: arm for arm in claims.CHAINED.values()}, {"sampled": "chains done (share)", "plain": "chains done, greedy (share)"})

# %% [markdown]
# With no chain among the lessons not one of the model's own samples ever comes through, so the reward has nothing to compare; more single calls do not help either. With a chain now and then it begins to come through, and the reward makes nearly
# all of them come through. So does imitation, if what it imitates is chains: that supervised fine-tuning cannot do it is about what it is shown.

# %%
Panel("agent", show=["way", "calls", "faults", "narrow", "chained", "lr"])

# %%
from llmlab.experiments.order import Order

draw.means({arm.label: arm for arm in claims.ORDER.values()}, Order.curves)

# %% [markdown]
# Reinforcement learning alone has nothing to strengthen. With DPO as the last stage the sums that were just learnt are mostly lost; before it, they are won back. In every order with DPO the refusals of dangerous requests are gone: no pair asked
# for them (chapter 06).
#
# ## 11 · The same dials in TRL
#
# `llmlab run policy --engine trl` runs TRL's GRPOTrainer (and `prefer`, `dpo` its DPOTrainer) and prints what each of our knobs becomes there; what TRL cannot say is refused in a sentence. The table is made from the arguments that are passed:

# %%
from llmlab.engines import trl

pd.DataFrame(trl.told(Policy(leash="k3"))).set_index("knob")

# %% [markdown]
# ## 12 · The evidence
#
# Every statement of the sources about this chapter is a **claim** in the ledger; direction, smallest effect of interest and rates were fixed before the runs. The whole ledger stands in [its own notebook](ledger.ipynb).

# %%
from llmlab.ledger import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("07")
evidence

# %%
forest.figure(evidence.rows)

# %% [markdown]
# ## 13 · What is contested
#
# - **Is the leash needed?** A penalty acts like an early stop and does not move the frontier of true reward against KL [Gao et al. 2022]; DAPO and Dr. GRPO drop it [Yu et al. 2025; Liu et al. 2025]. Against a flaw in the verifier it does buy time.
# - **"Discovers beyond the data"**: at many samples the base covers what the trained policy does [Yue et al. 2025]; at the edge of competence others find real gains. Look at *covered* above, and ask where the policy began.
# - **"GRPO was designed for verifiable rewards"**: it was first trained on a learned reward model [Shao et al. 2024].
# - **Length and difficulty**: dividing by length and by the deviation are biases of GRPO [Liu et al. 2025], exact on paper (C075); whether they show depends on where the length is decided.
# - **GSPO's stability** is evidence from mixtures of experts and long answers [Zheng et al. 2025]; for fresh samples its gradient is GRPO's.
# - **"Without harming unseen tasks"**: forgetting follows the distance moved, and own samples move least [Shenfeld et al. 2025]. Diversity does suffer [Kirk et al. 2023].
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
from llmlab.judge import check, hint, reset, solution, task

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
task("leashed_rewards")

# %% [markdown]
# More: `task("look_ahead")`, `task("rl_bytes")`.
#
# ## 15 · Drills

# %%
Drills("07")

# %%
references("ppo_2017", "rloo_2024", "deepseek_math_2024", "dr_grpo_2025", "dapo_2025", "gspo_2025", "cispo_2025", "gao_2022", "yue_2025", "kirk_2023", "razor_2025", "revisiting_grpo_2025")
