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
# **Where we are.** After SFT the model answers. Now we tell it which of two answers is *better*.
#
# ```
# question + better answer + worse answer  →  raise one against the other, measured from where the model was  →  DPO and its family
# the same pairs  →  a model that scores answers  →  something to choose by, or to train against  →  chapter 07
# ```
#
# **For a ten-year-old.** Nobody shows you the perfect drawing. Somebody holds two of yours up and says: *this one*. After many such pairs you know what they like. But you never drew a cat, so you never heard whether they like cats.
#
# **In an interview.** *DPO is a logistic regression on the difference of two log-ratios to a reference. Its implied reward is β·log(π/ref). It needs no reward model and no sampling, so it doesn't explore: it learns the manner that the pairs show, and finds nothing that none of them shows. It only fixes a difference, so both answers may become less likely (likelihood displacement). I watch the two log-probs separately and add a likelihood term. A reward model is a proxy. It copies the habits of its labellers, such as a taste for length, and its score stops tracking quality if I optimise it too hard. So I keep an evaluation that the training never sees.*
#
# New terms:
#
# - A **pair** is one question with a *chosen* and a *rejected* answer.
# - The **policy** (π) is the model that we train. The **reference** is the model before this stage, frozen.
# - The **margin** is how much further the chosen answer has risen than the rejected one, times β.
# - **Gold** is the true reward, known here because we wrote the world. A **proxy** is a learned reward in its place.
# - **On-policy** answers are written by the model that is trained.

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
# What satisfies DPO? These are the log-probs of two whole answers to one question, under the policy and under the reference. After a little training both answers are less likely, the rejected one more so:

# %%
policy = torch.tensor([-9.0, -14.0])  # chosen, rejected
ref = torch.tensor([-8.0, -10.0])
beta = 0.5
reward = beta * (policy - ref)
margin = reward[0] - reward[1]
{"implied rewards": reward.tolist(), "margin": float(margin),
 "loss": float(-torch.nn.functional.logsigmoid(margin))}

# %% [markdown]
# The margin is positive, and the loss is below ln 2, its value at the start. DPO is satisfied, although the chosen answer became *less* likely. Nothing in the loss says where the lost probability went.
#
# How hard does a pair pull? Its weight is β·sigmoid(−margin):

# %%
pd.Series({m: beta * float(torch.sigmoid(torch.tensor(-m)))
           for m in (-2.0, 0.0, 2.0, 6.0)},
          name="weight of the pair").rename_axis("margin").round(3).to_frame()

# %% [markdown]
# Go down the table: the wider its margin, the less a pair still pulls.
#
# ## 2 · Read the source
#
# How do losses on pairs differ? These five differ in what they compare and in the loss applied to it. Our IPO is not quite the paper's: Azar et al. compare log-probs of the *whole* answer, while ours divides them by its length, as TRL does. So our β asks for a margin per token.

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
# The table shows which methods need a reference, and which knob each one adds. Two relatives are common at scale and not in the lab. With $r(y) = \log\frac{\pi(y)}{\pi_{\text{ref}}(y)}$ of a whole answer, $y_w$ chosen and $y_l$ rejected:
#
# | method | learns from | loss |
# |---|---|---|
# | length-normalised DPO [Lambert et al. 2024] | pairs | $-\log \sigma\big(\frac{\beta}{\lvert y_w \rvert} r(y_w) - \frac{\beta}{\lvert y_l \rvert} r(y_l)\big)$ |
# | KTO [Ethayarajh et al. 2024] | single answers, good or bad | good: $\lambda_D \big(1 - \sigma(\beta (r(y) - z_0))\big)$; bad: $\lambda_U \big(1 - \sigma(\beta (z_0 - r(y)))\big)$ |
#
# Read the middle column: KTO needs no pairs, so it fits thumbs up and down from a product; its two λ balance them. $z_0$ estimates KL(π ‖ π_ref) and carries no gradient.
#
# **On the real model.** At the first step policy and reference are the same, so every margin is zero and the loss is ln 2. If your first loss differs, look for the cause first: another reference, mask or template, dropout that is on, reference log-probs stored in another precision, or a likelihood term in the reported loss. Look before you train, also at the two answers of a pair:

# %%
chat, pairs = load("chat"), Prefer()
batch = loop.add_logprobs(frozen_copy(chat.model), pairs.batch_at(chat.tok, 0, 0),
                          "ref_logprobs")
loss, info = preferences.dpo(forward(chat.model, batch), batch)
assert math.isclose(loss.item(), math.log(2), abs_tol=1e-5)
[chat.tok.decode(batch.ids[i][batch.mask[i] > 0]) for i in (0, 1)]

# %% [markdown]
# The function gives the same loss as our calculation by hand:

# %%
fake = type(batch)(torch.zeros(2, 2, dtype=torch.long), torch.ones(2, 2),
                   {"pair": torch.zeros(2), "ref_logprobs": ref.view(2, 1)})
out = type(forward(chat.model, batch))(None, policy.view(2, 1), torch.ones(2, 1))
assert math.isclose(preferences.dpo(out, fake, beta=beta)[0],
                    -torch.nn.functional.logsigmoid(margin))

# %% [markdown]
# **You need not keep the reference in memory.** Its log-probs of fixed answers are constants, so compute them once and store them (TRL: `precompute_ref_log_probs`). With adapters, the reference is the model with its adapter switched off. Claim C080 of the ledger runs all three ways and compares the numbers.

# %%
from llmlab.chapters.c06_preferences import checks

show(checks.reference_is_a_table)

# %% [markdown]
# The loss sees a single number, the margin. Drag the two log-probs. Then press *both fall*, and watch the loss go down while the chosen answer becomes less likely, too:

# %%
from llmlab.learn.widgets import Mechanism

Mechanism("dpo")

# %% [markdown]
# ## 3 · Predict
#
# Does a model say what it has learnt to prefer? The chat model knows two hundred people and answers in one word. Our pairs ask for another style: *Gladly: …* is chosen and the bare (*blunt*) answer is rejected. Both are right. We train with plain DPO, with DPO and a likelihood term on the chosen answer (*NLL*), and with SFT on the chosen answers. (The rate isn't tuned for each; section 9 has every method at seven rates.)

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
        why="The margin grows, and the polite answer stays improbable: what the blunt "
            "one loses goes to texts that are in no pair.")

# %% [markdown]
# **The order is learnt, and the model still doesn't say it.** Compare *pairs that moved the right way* with *best answer given*. A pair counts if its margin is above zero, that is, if the chosen answer has gained on the rejected one since the start; so at step 0 none does. (TRL calls this accuracy of the rewards; chapter 01 counts pairs whose chosen answer is the likelier one.) With plain DPO nearly every held-out pair has moved the right way, and the model hardly ever gives the polite answer. That answer did become likelier, but nearly all of the probability that the blunt answer lost went *elsewhere*, to texts that are in no pair. The margin can't show this. The two log-probs, drawn separately, can. The likelihood term cures this. So does imitating the chosen answers: where there is only one thing to learn, the contrast adds little.
#
# **Likelihood displacement** goes a step further. The *chosen* answer loses probability, too, while the order of its pair keeps improving. Nothing in the loss forbids that, because only the difference counts. In the next figure the pairs prefer right sums to wrong ones. SFT and DPO + NLL run at their best rates. DPO runs at 1e-4: at its best rate, the lowest tried, it learns nothing. The seeds are the ledger's:

# %%
from llmlab.learn import draw
from llmlab.chapters.c06_preferences import claims

sums = [claims.BY["sums", "SFT"], claims.ORDERED, claims.BY["sums", "DPO + NLL"]]
draw.over_steps(
    sums, {m: Prefer.curves[m] for m in ("chosen_logprob", "preferred", "skill")},
    title="Right sums preferred to wrong ones, before and after; the ledger's seeds")

# %% [markdown]
# Each line joins two readings, one at the start and one at the end; nothing was read in between. Compare the three methods: under plain DPO the chosen log-prob falls (left panel), and the share of right sums falls with it (right panel). The likelihood term prevents that.
#
# ## 4 · Turn the knob
#
# What else can pairs teach? `task` sets what the pairs prefer: a style, another name, German where it is asked for, when to look up or answer, honesty after a failed call, or right sums. Settings marked ● are stored with five seeds, one knob turned at a time, and answer at once. Others are trained while you wait. In the terminal: `llmlab run prefer --task identity --nll 0.5`.
#
# If you change `method`, the panel keeps `beta`, but β means something else in each method. In DPO it scales a log-ratio to the reference. In IPO it asks for a margin of 1/(2β): for the whole answer in Azar et al., per token in TRL and here. In SimPO it scales a mean log-prob and is usually above 1. In ORPO it weighs a term. Equal numbers don't pull equally hard, so tune `beta` for each method before you call one of them better.

# %%
Panel("prefer", show=["task", "method", "beta", "nll", "smoothing", "gamma", "lr"])

# %% [markdown]
# ## 5 · Break it, then fix it
#
# What do faults in the pairs cost? Each fault has a slider: `coverage` (how many pairs contain the best answer), `noise` (how many have chosen and rejected swapped), `examples` (how many different pairs there are), and `topics` (how many kinds of questions they cover).

# %%
faults = {
    "all right": dict(nll=0.5), "best answer in no pair": dict(nll=0.5, coverage=0.0),
    "one topic": dict(nll=0.5, topics=1), "30 % swapped": dict(nll=0.5, noise=0.3)}
broken = {name: [runs.run(Prefer(**knobs), seed) for seed in seeds]
          for name, knobs in faults.items()}
figures.curves(broken, {m: Prefer.curves[m] for m in ("skill", "preferred", "facts")},
               title="Pairs with faults, DPO + NLL; 3 seeds")

# %% [markdown]
# Look at the left panel first: each fault means fewer best answers. Swapped labels are odd: *every* held-out pair has moved the right way, and still the model rarely gives the best answer. The move is measured **from the reference**, and there the blunt answer was far ahead. (These runs have a likelihood term, which imitates the blunt answer in every swapped pair, so the contrast alone isn't to blame.)
#
# Why does training stop halfway? With a share ε of wrong labels, DPO's loss is lowest at a margin of logit(1 − ε). So training moves the log-ratio of chosen and rejected by logit(1 − ε)/β and then stops. Label `smoothing` assumes that a share of the labels is wrong, which sets the same kind of ceiling. The table shows stored runs without the likelihood term:

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
# Compare *moved* with the ceiling. The runs confirm the arithmetic: with noise or smoothing the log-ratio moves about as far as the ceiling, well short of the blunt answer's lead.
#
# A likelihood term takes the policy past the ceiling. From there on the contrast is a *brake*: it pulls back, and a larger β pulls harder. So against wrong labels a smaller β should help, and smoothing should hurt, because it lowers the ceiling:

# %%
cures = {"30 % swapped": {}, "30 % swapped, smoothing 0.3": dict(smoothing=0.3),
         "30 % swapped, β 0.01": dict(beta=0.01)}
cured = {"all right": broken["all right"]} | {
    name: [runs.run(Prefer(nll=0.5, noise=0.3, **knobs), seed) for seed in seeds]
    for name, knobs in cures.items()}
figures.curves(cured,
               {m: Prefer.curves[m] for m in ("skill", "preferred", "chosen_logprob")},
               title="Wrong labels and two knobs against them; 3 seeds")

# %% [markdown]
# Look at the left panel again. In the lab both predictions hold: smoothing makes it worse, and a smaller β brings most of the best answers back. That is with the likelihood term, and with a preferred answer that starts far behind. Without the term, on few pairs, plain DPO fits the wrong labels themselves. There smoothing and a larger β are the usual brakes; we didn't test that.
#
# The best cure is clean labels. The other faults are cured in the pairs, too: put the best answer into some of them, cover all topics, collect more of them.

# %%
Panel("prefer", show=["task", "nll", "coverage", "noise", "examples", "topics"])

# %% [markdown]
# **The pairs change answers that they don't contain.** `facts` asks the old questions and expects the old plain form. For the style that change *is* the goal. But look at `--task german` and `--task identity`: nobody asked for German or for a name in those questions, and yet the plain answers suffer. There are three cures: add pairs for what must stay, take fewer steps, or lower the rate.
#
# ## 6 · Whose answers?
#
# Who should write the answers? Pairs can be **corrections** (the model's wrong answer against a given right one), the model's **own best and worst** samples, or a file from somebody else (**offline**). Own samples can come from a newer or an older model: `refresh` 1 samples from the present model at every step (online), 10 renews the writer every ten steps (semi-online), and 0 keeps the first model as writer (offline, too). Each arm gets the same number of pairs.
#
# **Who judges?** Here a rule does. At scale people do, or a model: *LLM-as-a-judge* [Zheng et al. 2023], and RLAIF if such labels replace people's [Lee et al. 2023]. A judge is cheap and favours the answer shown first, the longer one, and its own. So show each pair in both orders, keep it if both verdicts agree, and compare a sample with people.

# %%
from llmlab.chapters.c06_preferences.online import Online

ages = {"online": {}, "renewed every 10 steps": dict(refresh=10),
        "offline": dict(refresh=0), "corrections": dict(pairing="correction")}
own = {name: [runs.run(Online(**knobs), seed) for seed in seeds]
       for name, knobs in ages.items()}
figures.curves(own, {m: Online.curves[m] for m in ("skill", "greedy", "mixed")},
               title="DPO + NLL on three-digit sums, 3 seeds")

# %% [markdown]
# In the lab the arms end close together, and offline ends lowest in most seeds. The right panel shows the share of problems that give a pair. With own samples, a problem needs both a right and a wrong sample; with corrections, a wrong one is enough. The share falls as the online model learns. Here corrections also use the present model, and all arms add a small likelihood term on the chosen answer (`nll`).

# %%
Panel("online", show=["task", "refresh", "pairing", "samples", "nll", "beta"])

# %% [markdown]
# **An answer that no pair contains.** Pairs that are given can't deliberately raise an answer that they never name. Own samples can contain it, and so can the samples of reinforcement learning. How likely must an answer be at the start to be found?
#
# We ask the model who it is. First SFT gives it the habit of calling itself Nova, not Lumo, with probability `mass`. Nova earns 1, Lumo ½, anything else 0. Then three methods run at the same rate: DPO on given pairs, which prefer Lumo to a refusal and never mention Nova; DPO on own samples, the best of eight against the worst; and GRPO on such samples. (Both DPO arms add a little likelihood of the chosen answer.)

# %%
from llmlab.chapters.c06_preferences.explore import Explore

starts = {"given pairs, Nova 10 % at the start": dict(method="offline", mass=0.1),
          "own samples, 1 %": {}, "GRPO, 1 %": dict(method="grpo"),
          "GRPO, 0 %": dict(method="grpo", mass=0.0)}
found = {name: [runs.run(Explore(**knobs), seed) for seed in seeds]
         for name, knobs in starts.items()}

# %%
Predict("GRPO, from 1 %: how likely is Nova after 40 steps of 128 samples?",
        lambda: end(found["GRPO, 1 %"], "best_prob"), kind="number", unit="share",
        low=0, high=1, mark="best_prob",
        shows=lambda: figures.curves(
            found, {m: Explore.curves[m] for m in ("best_prob", "usual_prob", "paid")},
            title="A name that no pair contains; 3 seeds"),
        why="One sample in a hundred can be enough: its group of eight prefers it to "
            "the other seven, and each step makes it likelier in the next.")

# %% [markdown]
# With `mass 0.01` it is a race. One sample in a hundred is enough, if it comes soon: its group prefers it to the other seven, and it comes again. Until then every step teaches Lumo, and Nova can fade away unseen, as it does in some of the ledger's seeds (C081). Given pairs take away even the tenth that was there: they raise Lumo, by the pairs and by the likelihood term. With `mass 0` GRPO finds nothing either, because a reward can only favour what is sampled. So online methods don't explore beyond the model's own samples. If the answer never comes, someone has to write it down, and SFT on a few examples comes first.

# %%
Panel("explore", show=["method", "mass", "group", "prompts", "lr"])

# %% [markdown]
# ## 7 · Reward models
#
# What does a model learn that scores answers? The same pairs can train one [Christiano et al. 2017]. It puts a single number at the end of an answer, fitted so that sigmoid(difference) is the probability that one answer beats the other (Bradley and Terry). Our gold reward gives 1 for a right answer, adds ½ for politeness, and subtracts a little for long-windedness.

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
# **In the lab the reward model learns style and not content.** Compare *polite above blunt* with *right above wrong*. Within some tens of steps honest labels teach it to score polite answers above blunt ones. Even at the end it can't tell whether an answer is *right*. Its accuracy on pairs hides that, because most pairs differ in style as well. With few labels it becomes overconfident (calibration error, loss on held-out pairs) without becoming better. At scale reward models do judge content, and they still favour style, above all length [Singhal et al. 2023]. Measure the two separately.
#
# **Twins reveal a planted habit.** Score the same answer with and without padding, and with and without the polite opening. The first two columns show the differences in standard deviations of the rewards:

# %%
found = {name: {m: end(group, m)
                for m in ("length_pull", "format_pull", "content", "calibration")}
         for name, group in judges.items()}
pd.DataFrame(found).T.rename(columns=Reward.curves).round(2)

# %% [markdown]
# Look for the sign that flips. Labellers who prefer length make padding pay off, and those who prefer impoliteness make the polite opening costly. The column *right above wrong* stays near a coin flip for all of them.
#
# ## 8 · Over-optimisation
#
# What happens to gold if we optimise the proxy, by taking the best of n samples or by reinforcement learning (chapter 07)?
#
# How far does each method move the policy? Best of n moves it at most ln n − (n − 1)/n nats from the start and needs no training. Sort N scored samples from worst to best and draw n: the i-th is the best one drawn with probability C(i − 1, n − 1) / C(N, n).

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
                title="Learned and gold reward as the policy moves; 3 seeds")

# %% [markdown]
# Compare learned and gold reward at the same KL: as far as best of n gets, it has far more gold than RL. (For best of n the KL is an upper bound; for RL it is measured.) Here are the same runs over the steps:

# %%
figures.curves(over, Overopt.curves,
               title="The same over the steps (best of n: step + 1 samples)")

# %% [markdown]
# In the lab the learned reward rises under all three methods, and all three end with fewer right answers: this reward model can't see whether an answer is right, and probably the manner that it pays for goes with wrong answers here. It is a *blind* proxy, not one that helps first and misleads later, as in Gao et al. Under best of n gold rises as well, and turns down in some seeds. RL moves further from the start. It gains gold in some seeds, loses it in others, and ends with the fewest right answers. A KL penalty keeps it nearer.

# %%
Panel("overopt", show=["method", "labels", "fit", "planted", "beta", "lr"])

# %% [markdown]
# ## 9 · The evidence
#
# Which statements of the sources hold in the lab? Each is a **claim** in the ledger. [Chapter 02](02_continued_pretraining.ipynb), section 11, explains how a verdict is reached. A verdict holds for this lab, a small model in a small world. Read the line in italics before you quote one. The whole ledger is in [its own notebook](ledger.ipynb). Where a table above shows a single run or a sweep, a claim's numbers can differ: its runs have more seeds, and often other steps or rates. `llmlab claims C082` prints each arm's command.

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("06")
evidence

# %% [markdown]
# Read each claim with its verdict. On the right are its effects with their intervals; where a claim has several parts, click the triangle. The effects as a picture:

# %%
forest.figure(evidence.rows)

# %% [markdown]
# Effects are divided by the smallest effect of interest, and the claimed side is on the right. A part of a claim is as claimed if its dot is to the right of 1 and its interval to the right of 0. Where no difference was claimed, the whole interval must lie inside the blue band.
#
# All arms of C082 and C092 tried the same rates, on a seed that no claim uses. The table gives the share of best answers. *before* is the share of the model that they start from:

# %%
from llmlab.ledger import rates

tried = pd.DataFrame(rates.load("prefer")["table"]).T
tried.insert(0, "before", {arm.label: median(draw.readings(arm, "skill", "start"))
                           for arm in claims.BY.values()})
tried.round(2).rename_axis(columns="rate")

# %% [markdown]
# Find the highest share in each row, and compare it with *before*. Imitation never beats its start at deciding when to call, and plain DPO never beats its start on sums. In both cases the lowest rate is best, because it changes the model least.
#
# ## 10 · What is contested
#
# - **"DPO is more effective than SFT, because it contrasts"** (C092). At scale this was found for decisions such as when to call a tool [Ross et al. 2025], and the reverse for answers that can be checked [Xu et al. 2024]. The likelihood of the chosen answer can even fall until the behaviour flips [Razin et al. 2024]. In the lab it depends on the task, each arm at its best rate. On style plain DPO loses to imitation. On sums imitation beats its start, and DPO doesn't at any rate that was tried. At deciding when to call a tool it is the reverse: DPO beats its start, and imitation doesn't at any rate. DPO with a likelihood term equals imitation on style (probably because the preference term is soon satisfied, and Adam ignores the constant weight of the likelihood term that is left), is somewhat behind it on sums (undecided), and gains most at deciding.
# - **"A contrastive loss defined via KL divergence"** (C089). The loss contains no KL. It is *derived* from a reward under a KL penalty [Rafailov et al. 2023], and both have the same optimum if preferences follow Bradley and Terry, the pairs cover all answers without limit, and the policy can represent that optimum. With a finite number of pairs, nothing keeps the policy near the reference on answers that no pair contains.
# - **"Online is stronger than offline"** (C093). At scale online won in several studies [Guo et al. 2024; Tang et al. 2024], and semi-online was as good [Lanchantin et al. 2025]. In the lab online gains a few points, and renewing the writer every ten steps gains nothing that we could measure. Offline is nearly as good where the first model's samples already contain both right and wrong answers.
# - **IPO, SimPO, ORPO.** IPO aims at a margin of fixed size, over the whole answer [Azar et al. 2023]; TRL and our code average over its tokens first. SimPO and ORPO drop the reference [Meng et al. 2024; Hong et al. 2024]. Their β are different quantities, so compare each method at its own best.
# - **Over-optimisation** was measured at scale, for reward models of very different sizes, with a larger one in the role of gold [Gao et al. 2022]. Let d = √KL, and let α and β be fitted constants. Then gold follows d(α − βd) under best-of-n and d(α − β log d) under RL. There a KL penalty moves along the same frontier and doesn't improve it. In section 8 the penalised runs have more gold at equal KL, but three seeds are only a hint.
#
# The same recipes run on real models, with your own pairs (JSON lines of `prompt`, `chosen`, `rejected`; every tenth question is held out) or with the lab's tasks, with adapters, and through TRL's trainer:
#
# ```
# llmlab run pairs --domain my_pairs.jsonl --model Qwen/Qwen3-0.6B --device cuda --method qlora --lr 2e-5 --nll 0.5 --out my_adapters/anna/1
# llmlab run prefer --model Qwen/Qwen3-0.6B --device cuda --lr 1e-6 --nll 0.5
# llmlab run lora --task dpo --method qlora --model Qwen/Qwen3-0.6B --device cuda
# llmlab run dpo --engine trl
# ```
#
# Where to start on a real model: one epoch, and a learning rate near 5e-7 for all weights, or about ten times that for adapters. For plain DPO take β 0.1. Tülu 3's 8B model, from which this rate comes, used length-normalised DPO with β = 5 [Lambert et al. 2024], because a mean over tokens is smaller than a sum. Higher rates often break larger models: read samples before you trust the curves.
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
# ## 13 · Interview page
#
# When you speak, keep this lab's evidence apart from the published evidence. In the terminal: `llmlab interview 06`.

# %%
from llmlab.learn.interview import interview

interview("06")

# %% [markdown]
# ## To take away
#
# 1. The margin is a difference. It can grow while both answers become less likely. Plot the two log-probs separately, and read what the model writes.
# 2. Pairs teach a *manner*, and it carries over to new questions. What no pair shows is not raised on purpose; if its probability moves, that is a side effect.
# 3. A likelihood term on the chosen answer is a cheap guard. Imitating the chosen answers is the baseline that preference training must beat.

# %%
references("rlaif_2023", "zheng_2023_judge", "kto_2024", "dpo_paper_2023",
           "azar_2023_ipo", "hong_2024_orpo", "meng_2024_simpo", "xu_2024",
           "razin_2024", "tang_2024", "guo_2024", "lanchantin_2025", "ross_2025",
           "gao_2022", "christiano_2017", "singhal_2023", "lambert_2024")
