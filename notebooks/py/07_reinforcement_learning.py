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
# question → several samples of the model → a score each → better than the others? → make it a little likelier, and stay near where you were
# ```
#
# **For a ten-year-old.** You throw balls at a hoop. After a hit, you do a little more of what you just did. If all balls went in, or none, that round teaches you nothing.
#
# **In an interview.** *Every policy-gradient method pushes a sample's log-prob by its advantage, which says how much better than expected the answer was. The methods differ in three things: what "expected" is (a critic in PPO, the group's mean in GRPO), what keeps a step small (a clip on the ratio of a token or, in GSPO, of the whole answer; a KL penalty), and how the tokens of an answer are averaged. Before any of that, I check whether the score measures what I want.* (Section 16 has the longer answers.)
#
# Words used here (each comes with an example in section 1):
#
# - The **policy** is the model as a chooser of tokens. **On-policy** samples come from the model as it is now.
# - The **reward** is the score of an answer, and a **group** is the samples of one problem.
# - The **advantage** says how much better than expected an answer was.
# - A **critic** predicts, at every token, the reward that the answer will end with. PPO usually trains a second model for it; in section 6 a linear head must do.
# - The **ratio** is a token's probability now, divided by its probability when it was sampled. It is 1 as long as the model hasn't changed since.
# - A **clip** stops further gain once the ratio has left a range. A **KL penalty** is the price of moving away from a reference model.

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
# How does the expected reward change with the model? $\nabla\,\mathbb{E}[R] = \sum_y R(y)\,\nabla\pi(y) = \mathbb{E}\big[R\,\nabla\log\pi(y)\big]$, because $\nabla\pi = \pi\,\nabla\log\pi$. So sample, score, and push each sample's log-prob by its score.
#
# You may subtract a baseline $b$ that doesn't depend on the answer: $\mathbb{E}\big[b\,\nabla\log\pi(y)\big] = b\,\nabla\sum_y\pi(y) = 0$, so it changes only the noise.
#
# Take two problems. The first was solved in three of four samples, the second in none. Each row is a rule for the advantage:

# %%
rewards = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
group = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
pd.DataFrame({name: rule(rewards, group)[:, 0]
              for name, rule in advantages.ADVANTAGES.items()}).round(2).T

# %% [markdown]
# Without a baseline every right sample gets a push and no wrong one does. With the group's mean the rare event weighs most, here the single failure. Under any rule that compares, the second problem gives *no signal*.
#
# The mean of a group of $n$ does depend on the answer, because it contains the sample's own reward. That costs only a factor: `group_mean` is $(n-1)/n$ times `leave_one_out`. Adding a constant to all rewards changes nothing under rules that compare, and multiplying them changes nothing under `group_norm`, up to the small ε that it adds to the deviation (C074).
#
# `group_norm` also divides by the group's standard deviation (over n − 1, as TRL does; the formula below leaves this factor out). The table shows what that does to problems with a share p of right samples:

# %%
p = torch.tensor([0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
deviation = (p * (1 - p)).sqrt()
pd.DataFrame({"share right p": p, "weight 1/√(p(1−p))": 1 / deviation,
              "total push, group_mean": 2 * p * (1 - p),
              "total push, group_norm": 2 * deviation}).round(2).T

# %% [markdown]
# Compare the last two rows. Half-solved problems push most under both rules, but `group_norm` gives very easy and very hard ones more than their share.
#
# **Length.** Which rule rewards rambling? Suppose that the answer is decided and the model then adds meaningless tokens, with probability q each time. Each such token pushes the choice to continue by 1 − q, and the stop pushes it by −q. Dr. GRPO sums these pushes, and the sum is zero on average. GRPO divides by the length first:

# %%
q = torch.tensor([0.5, 0.8, 0.9, 0.95, 0.99])
# expected push; the length has a geometric distribution
divided = (1 - q) + (1 - q) / q * (1 - q).log()
pd.DataFrame({"chance q to continue": q, "mean length": 1 / (1 - q),
              "push, summed": (1 / (1 - q) - 1) * (1 - q) - q,
              "push, divided by the length": divided}).round(3).T

# %% [markdown]
# The last row is negative, while the sum above it is zero. A negative push times a negative advantage is positive, so GRPO pushes wrong answers to continue and right ones to stop.
#
# **A critic.** GAE turns the critic's predictions into advantages: λ = 0 trusts the next prediction (r + V′ − V), λ = 1 waits for the reward (R − V). Take three tokens with predictions `0.5`, `0.6` and `0.9`, and a reward of 1 at the end:

# %%
show(advantages.gae)

# %%
by_token, values = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.5, 0.6, 0.9]])
pd.DataFrame(
    {f"λ = {lam}": advantages.gae(by_token, values, torch.ones(1, 3), lam=lam)[0][0]
     for lam in (0.0, 0.95, 1.0)}).round(3).T

# %% [markdown]
# Compare the first and the last row. With λ = 0 the second token gets most credit, because the prediction jumps right after it. With λ = 1 each token gets what its prediction lacked.
#
# **The ratio and the clip.** A token had probability `0.20` when it was sampled and has `0.30` now; the clip range is `0.2`. What is its gain with advantage +1 and with −1, and does the clip bind?

# %%
ratio = torch.tensor([[0.30 / 0.20]])
{A: [x.item() for x in policy.clipped(ratio, torch.tensor([[A]]), 0.2, 0.2)]
 for A in (1.0, -1.0)}

# %% [markdown]
# Each entry is a gain, then whether the clip binds. With +1 the gain stops at the edge of the range, and so does the gradient. With −1 the clip doesn't bind: it takes away a gain, never a loss.
#
# ## 2 · One page, one objective
#
# How do the methods differ? All minimise one objective and set its parts, the *dials*, differently:
#
# $$\mathcal{L} = -\,\underset{\text{aggregate}}{\text{mean}}\;g(r_t, A_t) \;+\; \beta\;\underset{\text{aggregate}}{\text{mean}}\;\text{KL}_t,\qquad r_t=\frac{\pi(y_t)}{\pi_{\text{old}}(y_t)}$$
#
# The first two dials, ratio and clip, choose $g$, the term that grows:
#
# | ratio, clip | $g$ | |
# |---|---|---|
# | ratio `none` | $A_t \log \pi(y_t)$ | REINFORCE |
# | clip `none` | $r_t A_t$ | importance sampling |
# | `symmetric`, `higher` | $\min\big(r_t A_t,\ \text{clip}(r_t)\,A_t\big)$ | PPO [Schulman et al. 2017] |
# | `capped` | $\text{stop-gradient}\big(\min(r_t, c)\big)\,A_t \log \pi(y_t)$ | CISPO [Chen et al. 2025]: every token keeps a gradient |
#
# As $\nabla r_t = r_t \nabla \log \pi(y_t)$, all four have the same gradient if the ratio is one. A KL penalty *in the reward* is no term of the loss: it changes $A_t$. PPO's critic adds its own squared error.
#
# The code gives the settings of every method:

# %%
pd.DataFrame(policy.table()).set_index("method")

# %% [markdown]
# Each row is a method, each column a dial. The KL column belongs to the recipe and not to the method: k1 in the reward comes from RLHF's PPO, and GSPO can keep GRPO's KL term. So the panels' buttons leave the KL out. (The RLOO button averages over an answer's tokens; the RLOO row sums them, as Ahmadian et al. 2024 do. The textbook's REINFORCE sums them as well; our two REINFORCE rows divide that sum by the batch's tokens, which changes a step's size but not its direction.) What separates two methods, apart from the KL?

# %%
pairs = [("REINFORCE", "REINFORCE with baseline"), ("GRPO", "Dr. GRPO"),
         ("GRPO", "GSPO"), ("DAPO", "CISPO"), ("PPO", "DAPO")]
pd.Series({f"{a} → {b}": "; ".join(f"{d}: {x} → {y}"
                                   for d, (x, y) in policy.between(a, b).items()
                                   if d != "KL")
           for a, b in pairs},
          name="what differs").to_frame()

# %% [markdown]
# In these pairs one dial differs, or two. GSPO's range is tiny because its ratio is a geometric mean over the tokens of a whole answer, which hardly moves away from one. DAPO has two more parts outside the loss: dynamic sampling (`groups`) and the overlong penalty (`overlong`).

# %%
show(policy.token_ratio, policy.sequence_ratio, policy.clipped, policy.capped_weight)

# %%
show(parts.token_mean, parts.sequence_mean, parts.fixed_length, policy.k1, policy.k3)

# %%
show(policy.Dials.columns, policy.Dials.gain, policy.Dials.objective)

# %% [markdown]
# Tests compare every setting's loss and gradient with its paper's formula. Here is GRPO's loss without KL, written out:

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
# Play with three formulas. Which rule still pushes when all rewards are equal? For which ratios does a clipped token have a gradient? Which direction of KL covers the target, and which picks a peak?

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
# About half of the chat model's *samples* of three-digit sums are right. What does GRPO make of that, with nothing but the checker's word (`llmlab run policy`)?

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
Predict("What share of the samples is right at the end?",
        lambda: reading("pass_at_1", max), kind="number", unit="share", low=0, high=1,
        shows=lambda: (before_and_after(),
                       Panel("policy", show=["group", "lr", "beta"])),
        why="Training makes right samples more likely. Samples come closer to "
            "the greedy answer, and that gets better too.")

# %% [markdown]
# Here are GRPO and REINFORCE in the ledger's shorter runs, both rewarded by a strict verifier, which pays only for right answers:

# %%
from dataclasses import replace

grpo = replace(claims.STRICT, label="GRPO")
draw.over_steps([grpo, claims.PLAIN],
                {m: Policy.curves[m]
                 for m in ("pass_at_1", "pass_at_k", "distinct", "held_kl", "length")},
                title="Three-digit sums: GRPO and REINFORCE, the ledger's seeds")

# %% [markdown]
# Compare *pass@1*, the share of single samples that are right, with *pass@k*, the share of problems with at least one right sample of sixteen. In the lab pass@1 rises, while the number of different answers falls: probability moves onto answers that were there already. Sums have one right answer. In this figure pass@16 ends below its start; read on 400 problems, the fall isn't decided (C086). Where many answers are right, the right ones become far more alike (C086). GRPO and plain REINFORCE end with about as many right samples (C069), and under both, runs end close to the start or far from it (*KL*), so the distance between the two medians shows nothing. *KL* rises although the verifier is honest and the answers get better, so it is no alarm by itself. At scale, RLHF makes outputs less diverse as well [Kirk et al. 2023].

# %% [markdown]
# ## 4 · Turn one dial at a time
#
# Which dials matter? Settings marked ● are stored with five seeds and answer at once. `clip` does nothing on fresh samples (`epochs` 1, `staleness` 0), so raise either to see it work. In the terminal: `llmlab run policy --epochs 4 --clip none`.

# %%
Panel("policy", show=["advantage", "ratio", "clip", "epsilon", "aggregation",
                      "kl_penalty", "beta", "epochs", "staleness", "lr"])

# %% [markdown]
# What does each dial change at the end of a run, if you change it alone?

# %%
draw.turned("policy",
            {m: Policy.curves[m] for m in ("pass_at_1", "held_entropy", "held_kl")},
            without=["reward_func"])

# %% [markdown]
# Look for points away from 0. `clip` changes nothing, as promised. Most other intervals contain 0. With a KL penalty the runs end nearer to the start, and without a baseline, too; with `group_mean` *pass@1* ends slightly lower. With four `epochs` a run sees a quarter of the samples in as many steps and ends lower. All settings share one untuned learning rate, so the figure doesn't rank the methods.
#
# **Old samples.** When does the clip bind? Here every sample is used four times, and half of them are a batch old:

# %%
old = [claims.UNCLIPPED, claims.CLIPPED, claims.HIGHER, claims.SEQUENCE]
shown = {"clip_fraction_mean": "clip fraction (share of tokens)",
         "approx_kl_mean": "approximate KL to the policy that sampled (nats)",
         "pass_at_1": Policy.curves["pass_at_1"]}
draw.over_steps(old, shown,
                title="Samples used four times, half of them a batch old")

# %% [markdown]
# Each line joins a reading at the start and one at the end. Compare the first two arms in the last panel. With a clip more sums end right: the tokens whose ratio has already moved far get no further push. Without it the policy moves on with every use of the same samples, and in some seeds it runs far away (C071).
#
# Now compare the other two with the symmetric clip. A clip on the whole answer's ratio ends with no more right sums (C077), but its range doesn't fit here: the first panel shows that it clips most tokens. The paper's 3e-4 is made for answers of thousands of tokens; ours have about six, and a geometric mean over six ratios varies far more. So C077 speaks of this lab and of right answers only, while the paper claims stability: less spread and no divergence. A higher upper clip doesn't make the answers more varied (C078). At scale both are reported to do better [Zheng et al. 2025; Yu et al. 2025]: GSPO above all for mixtures of experts, DAPO over thousands of steps. Also at scale, GRPO on samples of an older policy did as well as on fresh ones, or better [Mroueh et al. 2025].
#
# **Three parts of large runs:**
#
# - *Truncated importance sampling.* With the same weights, a fast inference engine computes slightly other probabilities than the trainer, so even fresh samples are off-policy. Each token is weighted by $\min(\pi_{\text{trainer}}/\pi_{\text{sampler}},\ c)$ [Yao et al. 2025]. Chapter 11, section 10, tries it.
# - *An entropy bonus* adds the policy's entropy to what is maximised, against an early collapse [Schulman et al. 2017]. DAPO raises the upper clip for the same purpose.
# - *Value clipping.* Many PPO codes also clip how far the critic's value may move in an update.

# %% [markdown]
# ## 5 · Break it, then fix it: reward the wrong thing
#
# What does a policy do with a bug in its verifier? This verifier raises an error on answers that it can't read. The error is swallowed, and the answer counts as right.

# %%
from llmlab.world import arena

show(arena.crash)

# %%
hacks = [claims.STRICT, claims.CRASH, claims.CRASH_LOSS, claims.CRASH_REWARD]
draw.over_steps(hacks,
                {m: Policy.curves[m]
                 for m in ("held_reward", "pass_at_1", "length", "held_kl")},
                title="What is rewarded, and what is right")

# %% [markdown]
# Compare the first two panels: the reward looks best where the answers are worst (C085). Three things help. The first is a strict verifier. The second is a strong enough KL penalty; in the lab it works inside the reward, but in the loss only in some seeds. The third is an evaluation that is not the reward, and stopping where *it* is best:

# %%
told = {a.label: {"at the end": median(draw.readings(a, "pass_at_1")),
                  "at its best reading": median(
                      draw.readings(a, "pass_at_1", "highest"))}
        for a in (*hacks, claims.FORM, claims.LONG)}
pd.DataFrame(told).T.round(2).rename_axis(columns="really right (share)")

# %% [markdown]
# With the flawed verifier the best reading is the start, so the honest evaluation would have stopped the run at once. An evaluation that is stricter about the *form* misleads, too: chapter 11, section 10, shows a collapse that only such a reading saw. The last two rows are two more flawed rewards (`reward_func` `format` and `length` in the panel). Under both the median run loses most of its sums; under `length` some seeds keep theirs. (All are GRPO.)

# %%
Panel("policy", show=["task", "reward_func", "kl_penalty", "beta", "reset", "steps"])

# %% [markdown]
# **Which KL?** The estimator k1 = log(π/ref) belongs in the reward; as a loss its expected gradient is zero. As a loss, k2 = ½ log²(π/ref) has the gradient of KL(π ‖ ref). k3 pulls along the *other* direction, KL(ref ‖ π); the two agree to first order.
#
# **The same β is not the same strength.** `group_norm` divides by the group's standard deviation after the penalty was added to the reward. If all samples get the same reward, only the penalty is left:

# %%
alike, k1 = torch.ones(4), torch.tensor([0.2, 0.6, -0.1, 1.0])
pd.DataFrame(
    {f"β = {beta}": advantages.group_norm(alike - beta * k1, torch.zeros(4))[:, 0]
     for beta in (0.01, 0.1, 1.0)}).round(2).rename_axis("sample").T

# %% [markdown]
# Compare the rows: they hardly differ. Whatever β is, the penalty comes out at full size. With `group_mean` β means what it says. (The columns are four samples at different distances from the reference.)
#
# **Resets.** A strong KL penalty holds the policy back for good, unless `reset` makes the policy its own reference every few steps:

# %%
held_back = {arm.label: arm for arm in (claims.TIGHT, claims.RESET)}
draw.means(held_back, {m: Policy.curves[m] for m in ("held_kl", "pass_at_1")})

# %% [markdown]
# Compare the KL column: with resets the policy ends further from its start. What a penalty costs in right answers isn't resolved here (C087).
#
# ## 6 · Variance
#
# How noisy is the gradient? Without any training, the same policy samples batch after batch, and we compare their gradients. *Agreement* is the mean cosine between two batches' gradients; 1 means no noise.

# %%
from llmlab.chapters.c07_reinforcement_learning.variance import Variance

hard = [claims.NOISE[rule, 3] for rule in ("no_baseline", "group_mean", "critic")]
draw.means({a.label: a for a in (*hard, *claims.SHIFTED.values())},
           {"agreement": Variance.curves["agreement"]})

# %% [markdown]
# Compare the first three rows with the last three. If the rewards are 0 and 1, the three rules hardly differ. Rewards of 1 and 2 ask for exactly the same, but now the gradient without a baseline drowns in noise: a baseline removes what all rewards have in common (C070). A linear critic helps there too, but no more than the group's mean, which is free (C072).
#
# **Where does the gradient push the length?** The policy answers a sum and then writes dots, which mean nothing. We measure the push of section 1 at a fixed policy:

# %%
draw.means(claims.PUSH, {m: Variance.curves[m] for m in ("wrong_push", "right_push")})

# %% [markdown]
# The first column confirms the formula: GRPO pushes wrong answers to continue, and Dr. GRPO doesn't (C076). In the second column Dr. GRPO's push is small but not zero, because here being right has to do with stopping. An answer counts as right only if at most 24 dots and nothing else follow the sum, so the right answers are those that stopped in time.
#
# What happens in training? We add DAPO's *overlong penalty*. Its ramp in the paper is the last 4,096 of 20,480 tokens [Yu et al. 2025]; ours is the second half of the length allowed.

# %%
draw.over_steps([*claims.DOTS.values(), claims.OVERLONG],
                {"right_length": "right answers (tokens)",
                 "wrong_length": "wrong answers (tokens)",
                 "pass_at_1": Policy.curves["pass_at_1"]},
                title="Answer, then dots")

# %% [markdown]
# Look at the upper edge of GRPO's band. In most runs the dots disappear, because right answers happen to be short. With GRPO they stay in some seeds, with Dr. GRPO or the overlong penalty in none. The mean difference isn't resolved (C076). At scale, Dr. GRPO's authors saw wrong answers stop growing [Liu et al. 2025].
#
# **Groups without a signal** teach nothing. `groups` drops them or, as in DAPO, replaces them by new problems. Does that pay? The fair comparison is an arm that replaces nothing and spends about as many samples on twice the problems:

# %%
kinds = {"all groups kept": claims.STRICT, claims.RESAMPLED.label: claims.RESAMPLED,
         claims.DOUBLE.label: claims.DOUBLE}
draw.means(kinds,
           {"frac_reward_zero_std_mean": "drawn groups with equal rewards (share)",
            "samples": "samples drawn", "pass_at_1": Policy.curves["pass_at_1"]})

# %% [markdown]
# Compare the last two columns. (The first counts all groups that were drawn, also those that were then replaced.) In these means, replacing groups helps per step but not per sample, and samples dominate RL's cost. The test set is too small for a verdict (C079).
#
# ## 7 · Memory: PPO against GRPO
#
# How many bytes does each model need per parameter? Trained with AdamW in mixed precision, it needs 2 for the weight, 2 for the gradient, 4 for the master copy and 8 for the moments; frozen, it needs 2.

# %%
from llmlab.models import roles

pd.DataFrame({method: {role: roles.role_bytes(role, 1) if role in held else 0
                       for role in roles.ROLES}
              for method, held in roles.METHODS.items()}).rename_axis(
    columns="bytes per parameter")

# %%
print("at 70 B parameters:", *(f"{m} {roles.method_bytes(m, 70e9) / 1e12:.2f} TB"
                              for m in roles.METHODS), sep="  ")

# %% [markdown]
# Compare PPO with *GRPO with a reference*, which needs half of PPO's memory. The critic is nearly all of the difference. The rest is the frozen reward model, which a program replaces here; with a learned one, only the critic is saved. A real run saves a smaller share, because both methods also need activations and caches.

# %% [markdown]
# ## 8 · The edge of competence
#
# On which problems can reinforcement learning help? Here are functions on letters, nested one to three deep and worked step by step:

# %%
draw.over_steps(list(claims.STRINGS.values()),
                {m: Policy.curves[m] for m in ("pass_at_1", "pass_at_k", "distinct")},
                title="Strings of three depths")

# %% [markdown]
# Compare the three depths. In the lab no sample at depth three is right, so nothing can be reinforced. Depth one rises most. Probably that is no discovery: pretraining contained it and the chat conversations didn't, so the reward may only bring it back (C084 doesn't test this). At depth two look at the first two panels. Single samples get better, but sixteen samples solve no more problems than before (C084). So at depth two reinforcement learning only makes likely what the model could already do, as one study found at scale [Yue et al. 2025]; others disagree (section 13).

# %% [markdown]
# ## 9 · What is kept
#
# Does reinforcement learning forget less than imitation? *Name anyone who lives there* has many right answers. Two methods aim at the same share of right ones: imitating one fixed answer (`sft_one`), and GRPO. A run stops when it gets there. Each runs at the best of six learning rates, and GRPO also at five times its best. (At the lowest rate neither gets there in time.) The panel below has a third method, imitating the model's own right samples.

# %%
from llmlab.chapters.c07_reinforcement_learning.retain import Retain

shown = {m: Retain.curves[m] for m in ("skill", "general_recall", "sums")}
kept = (claims.KEPT["sft_one"], claims.KEPT["grpo"], claims.FAST)
pd.concat([draw.means({"before": claims.KEPT["grpo"]}, shown, "start"),
           draw.means({arm.label: arm for arm in kept}, shown)])

# %% [markdown]
# Compare the two rates of GRPO. In the lab the rate matters more than the method: at its best rate each keeps nearly all known people, and at five times that rate GRPO loses many. C095 looks at GRPO when half of its answers are right: at the best rate known people stay as they were, and sums, which nothing trained, stay within five points of the start. (Whether imitation does more harm can't be seen here, because at its best rate it keeps nearly everyone, too.)
#
# At scale, reinforcement learning forgot less at equal skill, and forgetting followed the distance moved [Shenfeld et al. 2025].

# %%
Panel("retain", show=["method", "until", "lr", "group"])

# %% [markdown]
# ## 10 · Several steps, one reward; and the order of the stages
#
# Can one reward at the end teach a task of several calls? The tool desk's tasks take one to three calls, and a call may fail once. `sft_gold` imitates traces in which nothing fails, `sft_retry` imitates traces with a failed call and its repair, and `grpo` learns from the reward. *Recovery* is the share of tasks done although a call fails.

# %%
from llmlab.chapters.c07_reinforcement_learning.agent import Agent

draw.over_steps(list(claims.TRIED.values()),
                {"tasks_done": "a call fails: done, sampled (share)",
                 "success_sampled": "nothing fails: done, sampled (share)",
                 "general_recall": Agent.curves["general_recall"]},
                title="Tasks of one call; each arm at its best rate, before and after")

# %% [markdown]
# In the first panel a call fails. Traces that show the repair teach it, and clean traces erase it: when imitation fails here, the fault lies in its data. The reward teaches it as well, and less than such traces do (C098). In the second panel nothing fails, so all arms start higher. GRPO, which practised only failures, ends slightly lower there (the ledger doesn't test this).
#
# The third panel shows the largest effect, and it is a price: `sft_retry` forgets nearly all known facts; the other arms keep them. Rates were chosen by the first panel alone, and the best one for `sft_retry` is thirty times the others'. The sliders below start at a tenth of that rate, with fewer steps. Choose `sft_retry` there: it recovers nearly as often and keeps the facts. So rate and steps did the damage, and not the traces. Choose a rate by what must be kept, too.

# %% [markdown]
# **Three calls in a chain** earn a reward only if all three are right. First the model imitates lessons: single calls only, or single calls with a tenth of whole chains. Then it practises in one of three ways: more single calls, whole chains to imitate, or the reward.

# %%
draw.means({arm.label: arm for arm in claims.CHAINED.values()},
           {"success_sampled": "chains done (share)"})

# %% [markdown]
# Compare the two `grpo` rows. Without a chain in the lessons no sample ever succeeds, and the reward has nothing to compare. With a few chains, the reward makes most chains succeed, and so does imitating whole chains. (The ledger withholds C097, because without a chain in the lessons neither side ever does one.)

# %%
Panel("agent", show=["method", "calls", "faults", "cold_start", "chained", "lr"])

# %% [markdown]
# The sliders start with `grpo` at a rate three times its best one, and it gets worse. Compare it with `sft_retry`, which this rate suits, and then lower `lr`.
#
# **The order of the stages.** Which stage should come last? The first four rows have the same number of steps, divided equally between their stages. In the last row SFT and reinforcement learning have as few steps each as in the rows with three stages:

# %%
from llmlab.chapters.c07_reinforcement_learning.order import Order

draw.means({arm.label: arm for arm in (*claims.ORDER.values(), claims.SHORTER)},
           {m: Order.curves[m] for m in ("sums", "polite", "refused")})

# %% [markdown]
# Read the first column. Reinforcement learning alone has nothing to strengthen, because the base model doesn't answer in the chat form. With DPO as the last stage, far fewer sums are right. DPO before reinforcement learning costs far less: it leaves about as many right sums as the last row, which has equally long stages but no DPO (C099).
#
# Refusals are not part of the claim. Only SFT shows the model any, so more SFT keeps more of them, and DPO leaves few.
#
# ## 11 · The same dials in TRL
#
# `llmlab run policy --engine trl` runs TRL's GRPOTrainer and refuses what TRL can't express. The table translates the dials:

# %%
from llmlab.trl import engine

dials = ["advantage", "ratio", "clip", "epsilon", "aggregation", "kl_penalty", "beta",
         "epochs", "staleness"]
pd.DataFrame(engine.told(Policy(kl_penalty="k3"))).set_index("knob").loc[dials]

# %% [markdown]
# Read it as a dictionary. For example, our aggregation is TRL's `loss_type`.
#
# ## 12 · The evidence
#
# Which statements of the sources hold in the lab? Each is a **claim** in the ledger; chapter 02, section 11 explains how a verdict is reached. For this chapter the arms were chosen after a look at seed 0, and a first round ran seeds 0 to 4, so the verdicts use later seeds only. A verdict holds for this lab. Before you quote one, read the line in italics. Further arms and checks are in [the ledger's notebook](ledger.ipynb). Where a table above shows a single run or a sweep, a claim's numbers can differ: its runs have more seeds, and often other steps or rates. `llmlab claims C071` prints each arm's command.

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("07")
evidence

# %% [markdown]
# Read each claim with its verdict. On the right are its effects with their intervals; where a claim has several parts, click the triangle. The effects as a picture:

# %%
forest.figure(evidence.rows)

# %% [markdown]
# Effects are divided by the smallest effect of interest, and the claimed side is on the right. A part of a claim is as claimed if its dot is to the right of 1 and its interval to the right of 0. Where no difference was claimed, the whole interval must lie inside the blue band.
#
# ## 13 · What is contested
#
# - **Is the KL penalty needed?** Against a learned reward it acted like early stopping [Gao et al. 2022]. DAPO and Dr. GRPO drop it [Yu et al. 2025; Liu et al. 2025].
# - **"Discovers beyond the data."** With many samples the base model solves what the trained policy solves [Yue et al. 2025]. Others find real gains at the edge of competence [Zhang et al. 2025].
# - **"GRPO was designed for verifiable rewards."** It was first trained on a learned reward model [Shao et al. 2024].
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
# When you speak, keep the two kinds of evidence apart, this lab's and the published. In the terminal: `llmlab interview 07`.

# %%
from llmlab.learn.interview import interview

interview("07")

# %% [markdown]
# ## To take away
#
# 1. Reinforcement learning makes more likely what is sometimes sampled and scores well. The reward gives no gradient to what is never sampled or is always right.
# 2. The reward is the task. The policy uses any hole in the checker, and the reward rises while it does. So read the answers.
# 3. In the first update on fresh samples the ratio is one and no clip binds. It can bind in every later update on the same samples. Turn one dial at a time, and measure.

# %%
references("ppo_2017", "rloo_2024", "deepseek_math_2024", "dr_grpo_2025", "dapo_2025",
           "gspo_2025", "cispo_2025", "gao_2022", "yue_2025", "kirk_2023", "razor_2025",
           "revisiting_grpo_2025", "interplay_pre_mid_rl_2025", "tis_2025")
