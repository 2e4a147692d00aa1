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
# **Where we are.** Nobody shows the answer any more, and nobody compares two. The model tries, and something *scores* what it did.
#
# ```
# question → several samples of the model → a score each → better than the others? → make it likelier, a little, and not too far from before
# ```
#
# **For a ten-year-old.** You throw balls at a hoop. Nobody moves your arm. Some balls go in. You do a little more of what you did before those, and a little less of the rest. If all went in, or none, you learn nothing from that round.
#
# **In an interview.** *Every method of the family pushes a sample's log-prob by its advantage. REINFORCE and RLOO do just that; PPO, GRPO, DAPO and GSPO take the smaller of ratio × advantage and clipped ratio × advantage; CISPO caps the ratio and uses it as a weight. Four dials (the ratio's level, the clip's shape, the aggregation, the KL) and a rule for the
# advantage tell REINFORCE, PPO, RLOO, GRPO, Dr. GRPO, DAPO, GSPO and CISPO apart. On fresh samples the ratio is one and no clip binds. GRPO replaces the critic by the group's mean and learns nothing from groups that agree. What I watch first is
# whether the score measures what I want, because a flaw in the verifier is what the policy will find.*
#
# Words used here: **policy** = the model as a chooser of tokens; **reward** = the score of an answer; **advantage** = how much better than expected it was; **group** = the samples of one problem; **ratio** = probability of a token now, divided by
# that when it was sampled; **clip** = no further gain once the ratio has moved so far; **KL penalty** = what it costs to move away from a reference; **critic** = a head that predicts the reward at every token; **on-policy** = sampled from the model as it is.

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
# The step of all of them: how does the expected reward change with the model? $\nabla\,\mathbb{E}[R] = \sum_y R(y)\,\nabla\pi(y) = \mathbb{E}\big[R\,\nabla\log\pi(y)\big]$, because $\nabla\pi = \pi\,\nabla\log\pi$: sample, score, and push each sample's log-prob by its score. And
# $\mathbb{E}\big[b\,\nabla\log\pi(y)\big] = b\,\nabla\sum_y\pi(y) = b\,\nabla 1 = 0$: a baseline $b$ that does not look at the answer may be subtracted, and changes only the noise.
#
# The first problem was solved in three of four samples, the second in none.

# %%
rewards = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
group = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
pd.DataFrame({name: rule(rewards, group)[:, 0]
              for name, rule in advantages.ADVANTAGES.items()}).round(2).T

# %% [markdown]
# Without a baseline every right sample is pushed and no wrong one is touched. With the group's mean the rare event weighs most: here the single failure. The second problem gives nothing under any rule that compares: *no signal*.
#
# `group_norm` multiplies a whole group by one over its deviation. For a share p of right samples, with the deviation over all samples of the model, and what a problem then pushes in all, the mean of |A|:

# %%
p = torch.tensor([0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
deviation = (p * (1 - p)).sqrt()
pd.DataFrame({"share right p": p, "multiplied by 1/√(p(1−p))": 1 / deviation,
              "push in all, group_mean": 2 * p * (1 - p),
              "push in all, group_norm": 2 * deviation}).round(2).T

# %% [markdown]
# Problems of which half is solved still push most, but less far ahead: very easy and very hard ones count for more than their share. Summed up, the undivided rule climbs p, and the divided one climbs 2·arcsin √p.

# %% [markdown]
# **Length.** Say the answer is decided first, and then the model goes on with something that means nothing, with probability q at every token. What does one answer push on that choice? 1 − q for each time it went on, −q for the stop: zero on
# average, so the *sum* over an answer (Dr. GRPO) leaves the length alone. GRPO divides by the length first:

# %%
q = torch.tensor([0.5, 0.8, 0.9, 0.95, 0.99])
# expectation of the push over the length, which is geometric
divided = (1 - q) + (1 - q) / q * (1 - q).log()
pd.DataFrame({"goes on with q": q, "mean length": 1 / (1 - q),
              "push, summed": (1 / (1 - q) - 1) * (1 - q) - q,
              "push, divided by the length": divided}).round(3).T

# %% [markdown]
# A negative push times a negative advantage is positive: wrong answers are pushed to go on, and right ones to stop.
#
# **A critic** predicts the reward at every token, and what came is compared with that. GAE mixes two answers to *better than expected?*: λ = 0 trusts the critic's next value (r + V′ − V), λ = 1 waits for the reward (R − V). Three tokens, predicted `0.5`, `0.6`
# and `0.9`, with a reward of 1 at the end:

# %%
show(advantages.gae)

# %%
by_token, values = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.5, 0.6, 0.9]])
pd.DataFrame(
    {f"λ = {lam}": advantages.gae(by_token, values, torch.ones(1, 3), lam=lam)[0][0]
     for lam in (0.0, 0.95, 1.0)}).round(3).T

# %% [markdown]
# **The ratio and the clip.** A token was sampled with probability `0.20` and has `0.30` now. Its advantage is +1. With a range of `0.2` there is nothing more to gain, and its gradient is zero; with advantage −1 the clip does not hold it.

# %%
ratio = torch.tensor([[0.30 / 0.20]])
{A: [x.item() for x in policy.clipped(ratio, torch.tensor([[A]]), 0.2, 0.2)]
 for A in (1.0, -1.0)}

# %% [markdown]
# ## 2 · One page, one objective
#
# $$\mathcal{L} = -\,\underset{\text{aggregate}}{\text{mean}}\;g(r_t, A_t) \;+\; \beta\;\underset{\text{aggregate}}{\text{mean}}\;\text{KL}_t,\qquad r_t=\frac{\pi(y_t)}{\pi_{\text{old}}(y_t)}$$
#
# What is to grow, $g$, depends on the first two dials:
#
# | ratio, clip | $g$ | |
# |---|---|---|
# | ratio `none` | $A_t \log \pi(y_t)$ | REINFORCE |
# | clip `none` | $r_t A_t$ | importance sampling |
# | `symmetric`, `higher` | $\min\big(r_t A_t,\ \text{clip}(r_t)\,A_t\big)$ | PPO: the clip takes away a gain, never a loss |
# | `capped` | $\text{stop-gradient}\big(\min(r_t, c)\big)\,A_t \log \pi(y_t)$ | CISPO: every token keeps a gradient |
#
# As $\nabla r_t = r_t \nabla \log \pi(y_t)$, all four have the same gradient $A_t \nabla \log \pi(y_t)$ where the ratio is one. A KL penalty *in the reward* is no term of the loss: it changes $A_t$. The critic of PPO adds a term of its own, its squared error.
#
# The table is made from the code. Two rows that differ in one cell are two methods that differ in one word. (DAPO's other two parts, dynamic sampling and the overlong penalty, are not dials of the loss: `groups` and `overlong`. GSPO's clip range is so small
# because the ratio of a whole answer is a geometric mean over its tokens, which hardly leaves one.)

# %%
pd.DataFrame(policy.table()).set_index("method")

# %%
pairs = [("REINFORCE", "REINFORCE with baseline"), ("GRPO", "Dr. GRPO"),
         ("GRPO", "GSPO"), ("DAPO", "CISPO"), ("PPO", "DAPO")]
pd.Series({f"{a} → {b}": "; ".join(f"{d}: {x} → {y}"
                                   for d, (x, y) in policy.between(a, b).items())
           for a, b in pairs},
          name="what differs").to_frame()

# %% [markdown]
# The parts themselves are a line or two each.

# %%
show(policy.token_ratio, policy.sequence_ratio, policy.clipped, policy.capped_weight)

# %%
show(parts.token_mean, parts.sequence_mean, parts.fixed_length, policy.k1, policy.k3)

# %%
show(policy.Dials.columns, policy.Dials.gain, policy.Dials.objective)

# %% [markdown]
# Dials and papers agree: on random batches every setting gives the loss and the gradient of its paper's formula (tested). Here, GRPO's, written out:

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
# Three formulas to play with. First the group: drag the eight rewards, make them all equal, and see which rule still pushes. Then the clip: for which ratios does a token still have a gradient? Last the two directions of KL: one covers the target, the other picks a peak.

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
# About half of the chat model's *samples* of three-digit sums are right. GRPO, with nothing but the checker's word, for half a minute (`llmlab run policy`):

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
        why="What is right now and then is made likelier; the samples come nearer "
            "to the greedy answer, and that gets better too.")

# %% [markdown]
# The same with a strict verifier, for two methods:

# %%
draw.over_steps([claims.STRICT, claims.PLAIN], Policy.curves,
                title="Three-digit sums: GRPO with a strict verifier, and REINFORCE; "
                      "half as many steps and problems, the ledger's seeds")

# %% [markdown]
# Do not read *KL* as an alarm. In most seeds the honest run moves far, in some it does not; the difference is one token of *length*: the policy has taken to ending its answers with a full stop, which the verifier reads over. KL says how far, not whether for
# the better.

# %% [markdown]
# ## 4 · Turn one dial at a time
#
# What is marked ● is stored with five seeds and answers at once, one dial turned at a time. On fresh samples (`epochs` 1, `staleness` 0) the ratio is one: turn `clip` and nothing happens but noise of rounding. Raise `epochs` or `staleness` and the dials begin to
# matter. In the terminal: `llmlab run policy --epochs 4 --clip none`.

# %%
Panel("policy", show=["advantage", "ratio", "clip", "epsilon", "aggregation",
                      "kl_penalty", "beta", "epochs", "staleness", "lr"])

# %% [markdown]
# All of them at one look: what each dial, turned alone, changes at the end. One rate for all, which was tuned for none of them, so a row is what a dial does *here* and no ranking of methods.

# %%
draw.turned("policy",
            {m: Policy.curves[m] for m in ("pass_at_1", "held_entropy", "held_kl")},
            without=["reward_func"])

# %% [markdown]
# `clip` changes nothing at all, as promised. The rules for the advantage and the aggregations lie close together. KL penalties hold the distance (the full stop is not taken up), at a small price. Four `epochs` make four steps of each batch of samples, so that they
# see a quarter of the samples in as many steps, and end lower.

# %% [markdown]
# **Old samples.** Where clips bind: every sample is used twice, half of them are a batch old. First at three times the rate, then at the usual one.

# %%
old = [claims.UNCLIPPED, claims.CLIPPED, claims.HIGHER, claims.SEQUENCE]
shown = {"clip_fraction_mean": "clip fraction (share of tokens)",
         "approx_kl_mean": "approximate KL to the policy that sampled (nats)",
         "pass_at_1": Policy.curves["pass_at_1"],
         "held_entropy": Policy.curves["held_entropy"]}
draw.over_steps(
    old, {m: shown[m] for m in ("clip_fraction_mean", "approx_kl_mean", "pass_at_1")},
    title="Old samples at three times the rate; the ledger's seeds")

# %%
draw.means({arm.label: arm
            for arm in (*old, claims.UNCLIPPED_USUAL, claims.CLIPPED_USUAL)},
           shown)

# %% [markdown]
# At three times the rate all of them lose what they could do; a clip slows the fall, and does not make this rate safe. At the usual rate little happens in so few steps: with a clip the runs end a little above where they began, without one a little below. That the entropy stays higher with a higher clip, as it was meant, does
# not show here (C078).

# %% [markdown]
# ## 5 · Break it, then fix it: reward the wrong thing
#
# A verifier with a bug: what it cannot read raises an error inside, the error is swallowed, and the answer counts as right. One line, seen in the wild more than once.

# %%
from llmlab.world import arena

show(arena.crash)

# %%
hacks = [claims.STRICT, claims.CRASH, claims.CRASH_LOSS, claims.CRASH_REWARD]
draw.over_steps(hacks,
                {m: Policy.curves[m]
                 for m in ("held_reward", "pass_at_1", "held_entropy", "length",
                           "held_kl", "general_recall")},
                title="The reward, and what is right")

# %% [markdown]
# The curve that everybody watches, the *reward*, looks best where the answers are worst. The cures: a strict verifier; a KL penalty, if it is strong enough against the reward (here it holds inside the reward, and in the loss with the same number β in some
# seeds only, see below); an evaluation that is not the reward, read on the way, and a stop where *it* is best.

# %%
told = {a.label: {"at the end": median(draw.readings(a, "pass_at_1")),
                  "at its best reading": median(
                      draw.readings(a, "pass_at_1", "highest"))} for a in hacks}
pd.DataFrame(told).T.round(2).rename_axis(columns="really right (share)")

# %%
Panel("policy", show=["task", "reward_func", "kl_penalty", "beta", "reset", "steps"])

# %% [markdown]
# **Two more rewards that are not what one wants**: for the format of an answer (a number, right or wrong), and half for being right and half for length. The format is there from the start and rewarded in full, and the sums are lost all the same: nothing
# holds them any more. Where both count, the length wins in most seeds, being the easier half.

# %%
flawed = {"before, strict verifier": claims.STRICT}, {
    arm.label: arm for arm in (claims.STRICT, claims.CRASH, claims.FORM, claims.LONG)}
pd.concat([draw.means(arms,
                      {m: Policy.curves[m]
                       for m in ("held_reward", "pass_at_1", "length")},
                      how) for arms, how in zip(flawed, ("start", "final"))])

# %% [markdown]
# **Which KL?** k1 = log(π/ref) belongs into the reward; as a loss its expected gradient is zero. k2 = ½ log²(π/ref) as a loss has the gradient of KL(π ‖ ref); k3 pulls along the *other* direction, KL(ref ‖ π), to first order the same. A test moves a policy
# away and checks that `reward`, `k2` and `k3` bring it back, and that `k1` in the loss does not.
#
# **The same β is not the same strength.** Inside the reward the KL penalty is there before `group_norm` divides by the group's deviation. Where all samples of a group get the same reward it is all that is left, and comes out at full size whatever β is:

# %%
alike, k1 = torch.ones(4), torch.tensor([0.2, 0.6, -0.1, 1.0])
pd.DataFrame(
    {f"β = {beta}": advantages.group_norm(alike - beta * k1, torch.zeros(4))[:, 0]
     for beta in (0.01, 0.1, 1.0)}).round(2).rename_axis("sample").T

# %% [markdown]
# With `group_mean` in its place β means what it says. The flawed verifier again, under both rules; the KL penalty inside the reward holds under either, so it is not the division that makes it strong:

# %%
draw.means({arm.label: arm for arm in (claims.CRASH, claims.CRASH_REWARD,
                                       claims.CRASH_MEAN, claims.CRASH_MEAN_REWARD)},
           {m: Policy.curves[m] for m in ("held_reward", "pass_at_1", "held_kl")})

# %% [markdown]
# **Resets.** A KL penalty that holds also holds back. `reset` makes the policy its own reference now and then: each stretch is short, the way is free. The distance from the start about doubles against the KL penalty that stays, and is still a small part of what it is without any; with more resets it may go on growing.

# %%
draw.means({arm.label: arm
            for arm in (claims.STRICT, claims.PENALISED, claims.TIGHT, claims.RESET)},
           {m: Policy.curves[m] for m in ("pass_at_1", "held_kl", "distinct")})

# %% [markdown]
# ## 6 · Variance
#
# No training here: the same policy samples batch after batch, and the gradients are compared. *Agreement* is the cosine that two batches' gradients have on average: 1 = no noise.

# %%
from llmlab.chapters.c07_reinforcement_learning.variance import Variance

draw.means({a.label: a for a in (*claims.NOISE.values(), *claims.SHIFTED.values())},
           {m: Variance.curves[m] for m in ("agreement", "pass_at_1")})

# %% [markdown]
# A baseline leaves the expected gradient as it is and takes out what all rewards have in common. With rewards of 0 and 1 that is little, and on easy sums the group's mean even costs agreement: nearly all samples are right and get almost no
# weight, so that the few wrong ones, which are unlikely and have large gradients, decide. Pay 1 and 2 in their place, which asks for exactly the same, and the gradient without a baseline drowns. How much a baseline helps depends on the zero
# of the reward, and 0 or 1 is a good zero already. A linear critic, fitted to this very policy, does no better.
#
# **How many samples a problem?** The same number of samples a batch, as many problems with few samples or few problems with many:

# %%
draw.means({arm.label: arm for arm in claims.EVEN.values()},
           {"agreement": Variance.curves["agreement"]})

# %% [markdown]
# Few samples of many problems tell more than many of few, down to about four: samples of one problem repeat each other. With two there is no further gain: then the baseline is a single other sample, and most pairs agree and give nothing.
#
# **Where does the gradient push the length?** The policy answers a sum and then writes dots, which mean nothing. The push of section 1, now measured: on right and on wrong answers apart, at the same fixed policy.

# %%
draw.means(claims.PUSH, {m: Variance.curves[m] for m in ("wrong_push", "right_push")})

# %% [markdown]
# And after training? Right answers happen to be short, and being short is learnt from them, so the dots go in most runs. Under GRPO they stay in some (look at the upper edge of the band), in right and wrong answers alike; under Dr. GRPO in none. A
# likely reason: while it writes dots the policy cannot tell whether its answer was right, so both pushes meet on the same dots, and the weak one on the many wrong answers about balances the strong one on the few right ones.
# The *overlong penalty* of DAPO, a price that grows over the second half of the length allowed, takes the dots away in every seed: it says what was meant.

# %%
draw.over_steps([*claims.DOTS.values(), claims.OVERLONG],
                {"right_length": "right answers (tokens)",
                 "wrong_length": "wrong answers (tokens)",
                 "pass_at_1": Policy.curves["pass_at_1"]},
                title="Answer, then dots")

# %% [markdown]
# **Groups without a signal** cost samples and teach nothing. `groups` drops them or, as DAPO does, draws new problems until every group has one. In the ledger's runs, beside a run that spends about as many samples on twice the problems:

# %%
draw.means({arm.label: arm for arm in (claims.STRICT, claims.RESAMPLED, claims.DOUBLE)},
           {"frac_reward_zero_std_mean": "groups whose rewards are all equal (share)",
            "samples": "samples drawn", "pass_at_1": Policy.curves["pass_at_1"]})

# %% [markdown]
# For its steps it gains; for its samples, which are the cost of training by reward, it does not (C079).
#
# ## 7 · Memory: PPO against GRPO
#
# Which models must be there, and how many bytes does each take for a parameter? Trained with AdamW in mixed precision: weight 2, gradient 2, master copy 4, moments 8. Frozen: 2.

# %%
from llmlab.models import roles

pd.DataFrame({method: {role: roles.role_bytes(role, 1) if role in held else 0
                       for role in roles.ROLES}
              for method, held in roles.METHODS.items()}).rename_axis(
    columns="bytes a parameter")

# %%
sizes = {"1 M": 1_000_000, "0.6 B": 600_000_000, "70 B": 70_000_000_000}
pd.DataFrame({name: {m: roles.method_bytes(m, n) / 1e9 for m in roles.METHODS}
              for name, n in sizes.items()}).rename_axis(columns="GB").round(3)

# %% [markdown]
# A reward that is a program costs nothing here; a learned one would cost GRPO its frozen model too. Activations and the caches of the samples come on top for both, so the saving of a real run is smaller than these rows.

# %% [markdown]
# ## 8 · The edge of competence
#
# Functions on letters, one inside the other, worked step by step: `size` 1, 2, 3. *pass@16* asks whether one of sixteen samples is right. Where none ever is, there is nothing to reinforce.

# %%
draw.over_steps(list(claims.STRINGS.values()),
                {m: Policy.curves[m] for m in ("pass_at_1", "pass_at_k", "distinct")},
                title="Strings of three depths")

# %% [markdown]
# One function begins *below* two, since depth is not what makes it hard here: pretraining held both with their steps, but the chat model's conversations only two. So what the reward finds at depth one stood in pretraining: it is drawn out, not discovered. Three
# stood nowhere, no sample was ever right, and nothing is found.

# %% [markdown]
# ## 9 · What is kept
#
# *Name anyone who lives there*: many answers are right. Methods to the same share of right answers: imitate one fixed answer, the model's own right samples, or GRPO (the panel has a fourth: any right answer). First the rates that were tried for each,
# on a seed that no claim uses: the share of known facts that is left when the skill is there, or 0 where a rate does not get there.

# %%
from llmlab.ledger import rates

pd.DataFrame(rates.load("policy")["table"]).T

# %% [markdown]
# Then the ledger's seeds, at each arm's best rate and at five times that.

# %%
from llmlab.chapters.c07_reinforcement_learning.retain import Retain

kept = draw.means({arm.label: arm
                   for arm in (*claims.KEPT.values(), *claims.FAST.values())},
                  Retain.curves, digits=3)
before = draw.means({"before": claims.KEPT["grpo"]}, Retain.curves, "start", digits=3)
pd.concat([before, kept])

# %% [markdown]
# At its best rate, for all three the smallest that was tried, every method keeps nearly all facts. At five times that rate all of them lose, by seed very differently, and GRPO no less than the others. Published, reinforcement learning forgets least at equal skill
# [Shenfeld et al. 2025]; here what the method does is small beside what the rate does, which is near to how they explain it: forgetting follows the distance moved (theirs is measured on the new task, our KL on general text). *Without harm* it is not: sums,
# which nobody asked for, lose a little even at the best rate. A comparison of methods at one common rate, as it is often made, would have shown whatever that rate shows.

# %%
Panel("retain", show=["method", "until", "lr", "group"])

# %% [markdown]
# ## 10 · Several steps, one reward; and the order of the stages
#
# Tasks of the tool desk take one to three calls, and a call may fail once. The reward comes at the end of the whole conversation. `method` is how it is practised: `sft_gold` imitates traces in which nothing fails, `sft_retry` traces that show a failed call and its
# repair, `grpo` learns from the reward. *Recovery*, tasks done although a call fails, is what is practised; *success* without a fault should not suffer.

# %%
from llmlab.chapters.c07_reinforcement_learning.agent import Agent

draw.over_steps(list(claims.TRIED.values()),
                {m: Agent.curves[m]
                 for m in ("recovery", "recovery_sampled", "success")},
                title="A call fails once")

# %% [markdown]
# Clean traces make it worse: what is never shown to fail is never tried again. A few steps on traces that show a failed call *and its repair* teach the repair by imitation. The reward, in the same few
# steps on few tasks, keeps more of it than clean traces leave, and adds nothing: it loses some of it, and some of the tasks without a fault too. So the old sentence, that imitation cannot teach recovery, is about the data and not about the method.

# %% [markdown]
# **Three calls in a chain**, rewarded only when all of it is right. Every arm begins with the same lessons on single calls, among which a tenth are whole chains, or none. Then it practises: more single calls, whole chains to imitate, or the reward.

# %%
draw.means({arm.label: arm for arm in claims.CHAINED.values()},
           {"success_sampled": "chains done (share)",
            "success": "chains done, greedy (share)"})

# %% [markdown]
# With no chain among the lessons not one of the model's own samples ever comes through, so the reward has nothing to compare; more single calls do not help either. With a chain now and then it begins to come through, and the reward makes nearly
# all of them come through. So does imitation, if what it imitates is chains: that supervised fine-tuning cannot do it is about what it is shown.

# %%
Panel("agent", show=["method", "calls", "faults", "cold_start", "chained", "lr"])

# %% [markdown]
# **The order of the stages.** All have the same steps in all, shared equally, so that two stages give each more than three do; the last row has two stages of the length that three have.

# %%
from llmlab.chapters.c07_reinforcement_learning.order import Order

draw.means({arm.label: arm for arm in (*claims.ORDER.values(), claims.SHORTER)},
           Order.curves)

# %% [markdown]
# Reinforcement learning alone has nothing to strengthen. With DPO as the last stage the sums that were just learnt are mostly lost; before it, they are won back: the difference to as many steps of
# reinforcement learning without DPO (last row) is too small to be resolved. The refusals of dangerous requests suffer with every stage that does not ask for them (chapter 06): shorter SFT leaves fewer, and after DPO they are mostly gone.
#
# ## 11 · The same dials in TRL
#
# `llmlab run policy --engine trl` runs TRL's GRPOTrainer (and `prefer`, `dpo` its DPOTrainer) and prints what each of our knobs becomes there; what TRL cannot say is refused in a sentence. The table is made from the arguments that are passed:

# %%
from llmlab.trl import engine

pd.DataFrame(engine.told(Policy(kl_penalty="k3"))).set_index("knob")

# %% [markdown]
# ## 12 · The evidence
#
# Every statement of the sources about this chapter is a **claim** in the ledger: put into our words, with arms, a direction and a smallest effect of interest, and the log of declarations says when each was fixed and what was
# changed after results were known. A claim's parts are decided one by one, by the 98 % interval over seeds: *as claimed*, *reversed*, *too small* (or, where no difference was claimed, *differs*), else *open*. Seeds are looked at when there
# are five, ten and twenty. *Supported* means that every part is as claimed, *refuted* that every part is excluded, *conditional* that it depends on a knob that is named; *withheld* that the design cannot decide it, and why. A verdict holds for this lab: a small
# model and a small world. The line in italics is what to know before quoting it. The whole ledger stands in [its own notebook](ledger.ipynb).

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("07")
evidence

# %%
forest.figure(evidence.rows)

# %% [markdown]
# ## 13 · What is contested
#
# - **Is the KL penalty needed?** A penalty acts like an early stop and does not move the frontier of true reward against KL [Gao et al. 2022]; DAPO and Dr. GRPO drop it [Yu et al. 2025; Liu et al. 2025]. Against a flaw in the verifier it does buy time.
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
# What to know by heart, on one page: the formulas as the papers have them, what this lab shows, what is known about large models, and three follow-ups. Keep the two kinds of evidence apart when you speak. In the terminal: `llmlab interview 07`.

# %%
from llmlab.learn.interview import interview

interview("07")

# %% [markdown]
# ## To take away
#
# 1. Reinforcement learning makes likelier what is sampled now and then. What is never sampled, and what is always right, gives no gradient.
# 2. The reward is the task. A hole in the checker is found and used, and the curve of the reward rises while it happens: read the answers.
# 3. On fresh samples the ratio is one and clipping does nothing. Its dials matter when samples are used again; turn one at a time, and measure.

# %%
references("ppo_2017", "rloo_2024", "deepseek_math_2024", "dr_grpo_2025", "dapo_2025",
           "gspo_2025", "cispo_2025", "gao_2022", "yue_2025", "kirk_2023", "razor_2025",
           "revisiting_grpo_2025")
