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
# # 11 · Distillation and quantisation
#
# *Run ▸ Run All Cells* starts this chapter.
#
# **Where we are.** You have a model that reasons. Now it has to become cheap to run. There are two ways, and you can combine them: a smaller model learns from the large one, or the same model gets fewer bits per weight.
#
# ```
# problem → who writes the text? data · teacher · student
#                        ↓
#            text → what is learnt per token? the token · the teacher's probabilities · its log-prob as a reward
#
# trained weights → round to 8 … 2 bits → which skill goes first? → repair: GPTQ · QAT
# ```
#
# **For a ten-year-old.** Your sister is good at puzzles. You can copy her solutions. Or you try yourself, and at every line she tells you what she would have written there. The second way teaches you to get out of *your own* mistakes. Quantisation is something else: you write a recipe down with rounder numbers. 250 g instead of 248 g is fine. "A lot" isn't.
#
# **In an interview.** *For distillation I ask who writes the text, which divergence compares teacher and student on it, and what the teacher knows that the student doesn't. Text from the teacher is cheap, but leaves the student alone with its own mistakes. On-policy distillation corrects them, at the price of sampling and a forward pass of the teacher. For quantisation I never trust perplexity alone: I measure each skill and calibrate on data that look like use. I round after training, unless the bits are so few that only training with rounded weights repairs them.*
#
# New terms: **forward KL** = KL(teacher ‖ student); **reverse KL** = KL(student ‖ teacher); **on-policy** = on the student's own samples; **self-distillation** = the teacher is the same model with more to read; **PTQ** = rounding after training; **QAT** = training with rounded weights; **GPTQ** = rounding in which later weights make up for the errors of earlier ones; **calibration data** = texts whose activations GPTQ looks at.

# %%
import statistics
import time

import pandas as pd
import torch

from llmlab.lab import runs, sweeps
from llmlab.learn import figures
from llmlab.learn.notebook import ends, references, show
from llmlab.learn.widgets import Drills, Panel, Predict
from llmlab.models.load import load

pd.set_option("display.max_colwidth", None)

# %% [markdown]
# ## 0 · Look
#
# What does a model lose when it gets smaller? The teacher is the *reasoner* of chapter 09. Its three students were cut from it: they keep its four layers, with fewer heads and neurons, and were trained again for a short time. Give all four models one problem, and measure how fast they answer:

# %%
from llmlab.train.attempts import attempts
from llmlab.world.reasoning import Reasoning

NAMES = ("reasoner", "student_l", "student_m", "student_s")
models = {name: load(name) for name in NAMES}
strings = Reasoning(("strings",), (2,))
asked = strings.problems(24, seed=5)


def tried(loaded, k=4, temperature=1.0):
    """k attempts at each problem."""
    return attempts(loaded.model, loaded.tok, strings, asked, k, max_new=150,
                    temperature=temperature, seed=5)

# %%
print(asked[0].question, "→", asked[0].answer)
greedy = {name: tried(m, 1, 0.0) for name, m in models.items()}
pd.DataFrame({name: {"said": g[0][0].text, "right": g[0][0].right}
              for name, g in greedy.items()}).T

# %%
def size_and_speed(loaded):
    """Weights, their bytes, how fast 96 samples come, and how many are right."""
    weights = sum(p.numel() for p in loaded.model.parameters())
    began = time.perf_counter()
    every = [a for group in tried(loaded) for a in group]
    seconds = time.perf_counter() - began
    return {"million weights": weights / 1e6, "MB, 32 bits": weights * 4 / 1e6,
            "tokens/s": sum(a.tokens for a in every) / seconds,
            "pass@1": sum(a.right for a in every) / len(every)}


sizes = pd.DataFrame({name: size_and_speed(m) for name, m in models.items()}).T
sizes.round({"million weights": 2, "MB, 32 bits": 1, "tokens/s": 0,
             "pass@1": 2})

# %% [markdown]
# Compare the last two columns of the second table. The students are faster, on this machine, and have a lower *pass@1*: fewer of their single samples are right. They save less time than bytes, because four layers take four steps, however narrow they are. How much of the last column can a student win back at the same size?
#
# ## 1 · By hand: two directions, one β
#
# Which of two students is closer to its teacher? That depends on the direction of the KL. Here the teacher wants *cat* or *dog*. One student is cautious and spreads its probability, the other is bold and picks:

# %%
def kl(p, q):
    """KL(p ‖ q) = Σ p log p/q in nats."""
    return sum(a * torch.log(torch.tensor(a / b)) for a, b in zip(p, q) if a).item()


teacher = (0.49, 0.49, 0.02)  # cat, dog, and a word that is wrong here
spread, picks = (0.34, 0.34, 0.32), (0.90, 0.05, 0.05)
by_hand = pd.DataFrame({name: {"forward, KL(teacher ‖ student)": kl(teacher, student),
                               "reverse, KL(student ‖ teacher)": kl(student, teacher),
                               "wrong words written": student[2]}
                        for name, student in (("spreads", spread), ("picks", picks))}).T
assert by_hand["forward, KL(teacher ‖ student)"].idxmin() == "spreads"
assert by_hand["reverse, KL(student ‖ teacher)"].idxmin() == "picks"
by_hand.round(2)

# %% [markdown]
# Find the smaller KL in each column: the directions choose different students. Forward KL is large where the student gives little to something that the teacher says. So it prefers the one that spreads, although a third of what it writes is wrong. Reverse KL is large where the student says what the teacher wouldn't, so it prefers the one that picks [Gu et al. 2023]. The usual names are *mass-covering* and *mode-seeking*.
#
# The package has both, and what lies between:

# %%
from llmlab.methods import distillation

show(distillation.forward_kl, distillation.reverse_kl, distillation.js)

# %% [markdown]
# In TRL one number sets the direction: `beta` is 0 for forward and 1 for reverse KL, in its GKDTrainer and in its DistillationTrainer. The *defaults* differ, `0.5` and `1.0`, and a training library once swapped the two names in its documentation. So name the direction, not just "KL". Here β means what it does in TRL; a test compares losses and gradients.
#
# **Temperature.** Divide both models' logits by T, and small probabilities weigh more. For large T the gradient shrinks about as 1/T², so the loss is multiplied by T².
#
# **Top-k.** A teacher behind an API may give only its k likeliest tokens. Put the rest into one bucket, the tail, and the loss becomes a lower bound of the whole. How close is it?

# %%
from llmlab.methods.distillation import top_k, with_tail

said = torch.tensor([[4.0, 3.0, 1.0, 0.0, -1.0, -1.0]])
own = torch.tensor([[2.0, 2.5, 2.0, 0.0, 0.0, -2.0]]).log_softmax(-1)
rows = {}
for k in (1, 2, 4, 6):
    ids, kept = top_k(said, k)
    rows[k] = float((kept.exp() * (kept - with_tail(own, ids))).sum())
pd.Series(rows, name="forward KL (nats)").rename_axis("k").to_frame().round(3)

# %% [markdown]
# Go down the rows: the loss grows towards the last one, which compares all six tokens. A small k can't see how the student shares out the tail. At scale, nearly all of the mass lies on a few tokens, so a small k is close [Li et al. 2026].
#
# ## 2 · Who writes the text?
#
# What matters more, who writes the text or which KL is learnt on it? The teacher can write it, the student can, or it is a right solution from the data; the teacher scores every token in any case. Teacher's text with forward KL is soft-label SFT. Own text with reverse KL is on-policy distillation.

# %%
CORNERS = {"right solutions, forward KL": dict(writer="data", beta=0.0),
           "right solutions, reverse KL": dict(writer="data"),
           "teacher's text, forward KL": dict(writer="teacher", beta=0.0),
           "teacher's text, reverse KL": dict(writer="teacher", beta=1.0),
           "own text, forward KL": dict(beta=0.0),
           "own text, reverse KL": {}}
READ = {"pass_at_1": "pass@1", "accuracy": "greedy accuracy",
        "held_forward_kl": "forward KL, right text",
        "own_reverse_kl": "reverse KL, own text",
        "distinct": "different of four", "known": "known people"}


def corners():
    """The medium student after 60 steps, means over the seeds of the stored sweep."""
    return ends("distill", CORNERS, READ)

# %%
def better(column):
    """The direction with the higher mean over the three writers."""
    table = corners()[column]
    return table.groupby(lambda name: name.split(", ")[1]).mean().idxmax()

# %%
Predict("Forward or reverse KL: which gives more right greedy answers, and which more "
        "right samples?",
        lambda: f"greedy: {better('greedy accuracy')}; "
                f"samples: {better('pass@1')}",
        kind="choice",
        options=tuple(f"greedy: {a} KL; samples: {b} KL"
                      for a in ("forward", "reverse") for b in ("forward", "reverse")),
        shows=corners,
        why="Reverse KL sharpens: a sample looks more like the greedy answer. Forward "
            "KL keeps the teacher's spread, and greedy decoding ignores it.")

# %% [markdown]
# Compare the rows of one *direction*: their greedy answers are close, no matter who wrote the text, and their *pass@1* differs a little more. Then compare the directions. Forward KL gives better greedy answers. Reverse KL gives a better pass@1, and samples that are more alike: among four samples, fewer are different (*different of four*). All rows share one learning rate. At each arm's best rate, reverse KL keeps the better pass@1, and forward KL no longer has better greedy answers (C160 and C170 in section 12).
#
# So in this table the direction matters more than the writer for greedy answers; for *pass@1* both matter about equally little. At tuned rates it is *pass@1* that the direction decides (C170). At scale the writer matters: students that only read given text do badly when they write on their own, and on-policy text repairs that [Agarwal et al. 2023]. That failure is called *exposure bias*. It needs long texts, where one mistake leads to the next, and the lab's solutions are short. This may be the reason; we haven't tested it.
#
# Now compare both KL columns: averaged over the writers, each direction is better on its own KL. *Forward KL, right text* is like a held-out loss and goes with good greedy answers here. *Reverse KL, own text* is what a user meets; it goes with good samples. Report the one that matches how you decode, and always look at what the student writes.
#
# Here are two opposite corners of the table over training:

# %%
from llmlab.chapters.c11_distillation.distill import Distill


def seeds(name, **knobs):
    """The stored runs of these settings, one per seed."""
    from llmlab.lab import registry
    return sweeps.need(name).at(registry.get(name)(**knobs).settings())


figures.curves({name: seeds("distill", **CORNERS[name])
                for name in ("teacher's text, forward KL", "own text, reverse KL")},
               {m: Distill.curves[m] for m in ("pass_at_1", "held_forward_kl",
                                               "own_reverse_kl", "distinct")},
               title="Two corners, the medium student, 5 seeds")

# %% [markdown]
# Compare the second panel with the third: the two students change places, and each is lower on the KL that it was trained with. The panels differ in the text and in the direction of the KL, so they don't show which of the two matters.
#
# **A cheaper signal.** The whole distribution needs the teacher's logits for every token. Its log-prob of the *sampled* token alone gives an unbiased but noisy estimate of the reverse KL: −log(student/teacher) is the token's reward. That turns distillation into RL with a dense reward. Break it: the last preset, *own text alone*, imitates the student's own samples without a teacher. What should that teach?

# %%
Panel("distill", show=["writer", "beta", "loss", "size", "lr"])

# %% [markdown]
# It should teach nothing: on average the gradient of one's own samples is zero. Only noise is left, and an optimiser that normalises its steps makes full steps out of noise. In the lab no answer is right within twenty steps; with a fifth of the learning rate the model stays where it was (try it). This happens when a pipeline silently drops the teacher's column and nobody looks at the answers; see the drill *The teacher that nobody read*.
#
# At scale, on-policy distillation beat SFT on the teacher's text at equal compute for summaries, translation and arithmetic [Agarwal et al. 2023]. It needs a teacher that thinks in similar patterns and knows something that the student doesn't [Li et al. 2026]. So start with SFT on the teacher's text (a cold start).
#
# ## 3 · What a teacher is worth
#
# Does the teacher help, or just the training? The control has the same student, problems and steps, but right solutions and no teacher. The numbers are pass@1, one seed each:

# %%
def last(experiment, metric):
    """The last reading of a stored run."""
    return [*runs.run(experiment, 0).curve(metric).values()][-1]

# %%
table = {}
for size in ("large", "medium", "small"):
    alone = Distill(size=size, writer="data", loss="labels")
    taught = Distill(size=size)
    table[size] = {"before": runs.run(taught, 0).curve("pass_at_1")[0],
                   "right solutions": last(alone, "pass_at_1"),
                   "on-policy": last(taught, "pass_at_1"),
                   "teacher": last(taught, "teacher_pass_at_1")}
pd.DataFrame(table).T.rename_axis("student").round(2)

# %% [markdown]
# Compare *right solutions* with *on-policy*: at equal steps these runs show no advantage of the teacher. And a step on own text costs more, because the student samples it and the teacher reads it. How much more?

# %%
def seconds_per_step(**knobs):
    """The median over four steps, on this machine."""
    e = Distill(steps=6, probe=6, held=4, **knobs)
    marks = [time.perf_counter() for _ in e.rows(load(e.default_model), 0)]
    return statistics.median(b - a for a, b in zip(marks[1:], marks[2:6]))

# %%
ALONE = dict(writer="data", loss="labels")
costs = {size: {"right solutions": seconds_per_step(size=size, **ALONE),
                "on-policy": seconds_per_step(size=size)}
         for size in ("large", "medium", "small")}
minutes = pd.DataFrame(costs).T.assign(times=lambda t: t.iloc[:, 1] / t.iloc[:, 0])
minutes.rename_axis("seconds per step").round(2)

# %% [markdown]
# The last column says how many steps on right solutions fit into one step of distillation, on this machine. So the fair comparison is at equal *time*. A row of claim C135, which its verdict doesn't count, gives the medium student without a teacher four times the steps, and it wins clearly. Where right solutions are plentiful a teacher adds little: they are a perfect teacher's text. At scale it pays where nobody can write the solution down (section 12).
#
# Can a student be better than its teacher? It can be expected if something *other than the teacher* says what is right: a checker, a vote, a reward. Then it imitates only the teacher's good days. In the lab even that brings the large student up to its teacher and not past it, whether it learns from right solutions or from the teacher's right samples. Without such a filter it stays below (C171). An exception elsewhere: *born-again networks*, students of their teacher's size, passed it on images and next words, even without labels [Furlanello et al. 2018].
#
# ## 4 · The teacher's text: filter, form, order
#
# Which texts should the student read? Black-box distillation, which sees only the teacher's text, is SFT on its samples [Kim and Rush 2016]. You choose which ones, in which form and order. First the form: the same right solutions with their steps, with the answer alone, or with every step twice.

# %%
from llmlab.chapters.c11_distillation.teaching import as_form

worked = strings.solution(asked[0])[0]["content"]
forms = pd.DataFrame({form: {"the text": as_form(worked, form)}
                      for form in ("steps", "answer", "long")}).T
for form in forms.index:
    trained = Distill(writer="data", loss="labels", form=form)
    forms.loc[form, ["greedy accuracy", "tokens"]] = [last(trained, "accuracy"),
                                                      last(trained, "length")]
forms.round(2)

# %% [markdown]
# Compare *greedy accuracy*: the student that reads the steps once does best. It began with this form, so part of the gap is the cost of changing a habit. The rest is no surprise: the answer alone asks for a leap, and steps written twice add tokens and nothing new. (One seed; C138 has five.)
#
# At scale, small models learn *less* from long chains of a strong teacher than from short ones, or from a smaller teacher's [Li et al. 2025], and recover only with much more data [Luo et al. 2025].
#
# To filter, `--keep right` asks the checker, `--keep likely` the teacher's own likelihood, and `--keep distinct` drops copies. A filter by likelihood keeps the most common solutions, so watch *different of four*: diversity is lost silently. `--order easy_first` is a curriculum. Section 12 says what these choices did over five seeds.
#
# Or use pairs: the teacher's text is *chosen*, the student's answer to the same problem *rejected*, and DPO (chapter 06) learns the difference: `llmlab run distill --writer teacher --loss dpo`.
#
# ## 5 · Self-distillation: the teacher has read the leaflet
#
# Can a model teach itself? Let it read something more: the leaflet of a drug, a worked solution, an error message. With this hint it knows the answer, and it judges, token by token, answers given without the hint. Here the *reader* of chapter 08 is both student and teacher:

# %%
from llmlab.chapters.c11_distillation.selfdistill import SelfDistill

learner = SelfDistill()
one = learner.world().problems(1, split="train", seed=2)[0]
print("student reads:", one.question)
print("teacher reads:", learner.world().hinted(one, "passage").question)
print("wanted:", one.answer)

# %%
LEAFLET = {"self, with the leaflet": {}, "asked to cite it": dict(hint="cited"),
           "another drug's leaflet": dict(hint="other"), "GRPO": dict(method="grpo"),
           "SFT on right answers": dict(method="sft")}
ends("selfdistill", LEAFLET,
     {"recall": "recalled, greedy", "pass_at_1": "pass@1",
      "leaked": "cites a leaflet nobody gave", "absent": "not in the documents",
      "known": "known people kept",
      "refused": "refusals kept"})

# %% [markdown]
# Read the first column, then the last three (means over five seeds). GRPO finds nothing: the reader nearly always says "Not in the documents", so no reward comes. It forgets little because it learns nothing. Self-distillation needs no right sample: the teacher names the right token wherever the student is. Decoded greedily, it recalls most of the facts, though fewer than SFT on the right answers. Its pass@1 is much lower, because the teacher leaves some probability to other words. A wrong leaflet teaches nothing and costs everything else.
#
# *Leaks.* A teacher that is asked to cite teaches the student to cite, and the student has nothing to cite. So the hint's *form* must not appear in the answers that you want.
#
# *Forgetting.* One paper reports that self-distillation forgets less than SFT [Shenfeld et al. 2026], another that it forgets more than GRPO and collapses [Wang et al. 2026]. In the lab it forgets *more* than SFT: compare *known people kept* in those two rows (C161 repeats this at tuned rates). Both lose nearly all refusals, which nobody trained.

# %%
Panel("selfdistill", show=["method", "hint", "beta", "lr", "teacher"])

# %% [markdown]
# Set β to 1 for the usual reverse KL. It weighs each token by the *student's* probability. The reader starts out sure of "Not in the documents", so the right answer's tokens have almost no weight and almost no gradient.
#
# ## 6 · Several specialists into one
#
# How do several models, each fine-tuned on its own skill, become one? (The lab has two, for chains of links and for strings.) Mix the data and train once. Or average the weights [Wortsman et al. 2022]. Or use TIES, which drops small changes and lets the majority decide each weight's sign [Yadav et al. 2023]. Or distil on-policy: the student answers each kind of problem, and its specialist is the teacher.

# %%
Panel("specialists", show=["how", "lr"])

# %% [markdown]
# Compare each skill with what its own specialist reaches. Then look at *tool calls* under More curves: no specialist learnt them, and they are what gets lost. Merging costs no step, but the specialists must have started from the same weights. Distilling from many needs the models and their prompts, but no answers. Mixing needs the data. Section 12 compares the four ways over seeds (C169).
#
# ## 7 · Quantisation by hand
#
# What does rounding do to the weights? Eight weights share a scale. At b bits there are 2ᵇ − 1 whole numbers, symmetric around 0. The largest weight gets the largest number, and the others are rounded:

# %%
from llmlab.models import formats

weights = torch.tensor([[0.02, -0.11, 0.07, 0.30, -0.25, 0.01, 0.16, -0.04]])
four = {"weights": weights, "8 bits": formats.integer(weights, 8, 8),
        "4 bits": formats.integer(weights, 4, 8),
        "2 bits": formats.integer(weights, 2, 8)}
steps = 2 ** (4 - 1) - 1  # at 4 bits: -7 … 7
scale = weights.abs().max() / steps
assert torch.allclose(four["4 bits"], (weights / scale).round() * scale)
pd.DataFrame({name: w[0].tolist() for name, w in four.items()}).T.round(3)

# %% [markdown]
# Go down the columns: the largest weight stays exact, and with fewer bits more of the small ones become 0. What if one weight is much larger than the rest?

# %%
spiked = weights.clone()
spiked[0, 3] = 3.0  # one outlier
rest = [0, 1, 2, 4, 5, 6, 7]


def error_of_the_rest(w, bits):
    """Relative error of the seven weights other than the largest."""
    return formats.error(w[:, rest], formats.integer(w, bits, 8)[:, rest])


pd.DataFrame({name: {f"{b} bits": error_of_the_rest(w, b) for b in (8, 4, 3)}
              for name, w in (("as above", weights), ("with an outlier", spiked))}
             ).T.round(2)

# %% [markdown]
# The table shows the relative error of the *other seven* weights. One outlier makes the scale coarse for all that share it; at an error of 1 they are all rounded to 0. Smaller groups contain the damage but cost bits, because every group stores a scale:

# %%
show(formats.integer, formats.bits_a_weight)

# %%
pd.DataFrame({f"{b} bits": {g: formats.bits_a_weight(b, g) for g in (8, 32, 128)}
              for b in (8, 4, 3, 2)}).rename_axis("group").round(2)

# %% [markdown]
# "Four bits" are 4.5 with groups of 32, and 6 with groups of 8. So compare formats by bits per weight *with* their scales: Q4_0 of llama.cpp takes 4.5, and MXFP4, which many accelerators compute with, 4.25.
#
# ## 8 · Which skill goes first?
#
# What does a model lose as the bits get fewer? Round the chat model to 8, 6, 5, 4, 3 and 2 bits, each from the full weights, and measure the loss on general text and seven skills:

# %%
from llmlab.chapters.c11_distillation.quantise import Quantise

by_skill = ("facts", "short_sums", "long_sums", "calls", "formats", "lookup",
            "refusals")
run = seeds("quantise")[0]
Predict("At 3 bits the loss on general text is a little higher. Which skill has lost "
        "most?",
        lambda: min(by_skill, key=lambda m: run.curve(m)[13] - run.curve(m)[0]),
        kind="choice", options=by_skill,
        shows=lambda: pd.DataFrame({m: {16 - s: v for s, v in run.curve(m).items()}
                                    for m in ("general_loss", *by_skill)}
                                   ).rename_axis("bits").round(2),
        why="Perhaps the first token of an answer chooses between two habits, and a "
            "small change of the logits flips it. A text's mean loss moves far less.")

# %% [markdown]
# Go down the column of the loss, then down the others. At three bits the loss does rise, by a little, while calls and refusals are nearly gone (C163). Metric and text change together here: general text contains no calls. One explanation, which we haven't tested, is that a refusal or a call depends on the first token of the answer, and the rest follows. At scale, too, compressed models of equal accuracy change many answers [Dutta et al. 2024]. So "perplexity is equal" isn't an evaluation. List the skills that your product needs and test each, the rare ones most of all.
#
# **Which layer does the damage?** Round one matrix of the chat model at a time to 3 bits. Compare its relative error with what that adds to the loss on general text:

# %%
from itertools import islice

from llmlab.train import probes
from llmlab.world import corpora

texts = list(islice(corpora.general(0, split="test"), 48))
general = probes.text_rows(models["reasoner"].tok, texts)


def loss(loaded):
    """Nats per token."""
    return probes.read(loaded.model, {"loss": general})["loss"]

# %%
def one_rounded(name):
    """The chat model with one matrix at 3 bits, and that matrix's relative error."""
    found = load("chat")
    errors = formats.quantise_with(
        found.model, lambda n, w: formats.integer(w, 3, 32) if n == name else w)
    return found, errors[name]


full, effects = loss(load("chat")), {}
for name in formats.linears(load("chat").model):
    found, error = one_rounded(name)
    effects[name.split(".")[-1], int(name.split(".")[2])] = (error, loss(found) - full)

# %%
titles = ("relative error, layer", "adds to the loss, layer")
pd.concat({title: pd.Series({k: v[i] for k, v in effects.items()}).unstack()
           for i, title in enumerate(titles)}, axis=1).round(4)

# %% [markdown]
# Compare the left half with the right. All errors are nearly equal, because rounding to nearest treats all matrices alike. But one matrix of the last layer, with a slightly larger error, does several times as much damage as most others. So the error doesn't tell how much a layer matters, and sensitive layers deserve more bits.
#
# ## 9 · Which rounding is best?
#
# Which way to round loses least at 3 bits? Here are four, and a model with outliers (means over five seeds):

# %%
WAYS = {"round to nearest": {}, "quantiles (NF)": dict(scheme="nf"),
        "GPTQ": dict(scheme="gptq"), "one scale per row": dict(group=128),
        "outliers, groups of 32": dict(outliers=30.0)}
KINDS = {"general_loss": "loss", "weight_error": "error of the weights",
         "facts": "facts", "calls": "calls", "refusals": "refusals",
         "long_sums": "long sums"}

# %%
def at(bits, found):
    """Readings at that number of bits, means over the seeds."""
    return {label: sum(r.curve(m)[16 - bits] for r in found) / len(found)
            for m, label in KINDS.items()}


pd.DataFrame({name: at(3, seeds("quantise", **knobs)) for name, knobs in WAYS.items()}
             ).T.round(2)

# %% [markdown]
# Compare the *error of the weights* with the skills. NF puts its levels where most weights are, so it has a smaller error than rounding to nearest and keeps more of everything. GPTQ [Frantar et al. 2022] has a *larger* error and still keeps more facts, calls and refusals, because it minimises the error of a layer's *output* on calibration texts; long sums pay for it. The general loss even puts GPTQ behind rounding to nearest; but its calibration texts are conversations, and the loss is read on other text. One scale per row has coarser steps than groups of 32. In the last row, two of 128 columns are outliers, as large models have them [Dettmers et al. 2022]. Groups of 32 soften the damage but don't save the model, because every row still has damaged groups. The *error of the weights* misses that, because the large columns dominate it.

# %% [markdown]
# Does it matter which texts GPTQ is calibrated on? The lab can't tell: for refusals, random tokens against conversations stays open over five seeds (C164). Set *calibration* in the panel at the end of this section and compare skill by skill. Calibrate on a mixture that looks like your traffic.
#
# **Formats of llama.cpp.** What do real formats lose? The name says the bits of a number; Q4_0 and Q5_0 have one scale for 32 weights. MXFP4 stores four-bit floating-point numbers, and 32 of them share a power of two. The `gguf` package does the rounding:

# %%
by_format = {name: runs.run(Quantise(scheme=name), 0) for name in ("gguf", "mxfp4")}
columns = {"bits": "bits"} | KINDS
rows = {f"{name}, {16 - s} bits": {label: run.curve(m)[s]
                                   for m, label in columns.items()}
        for name, run in by_format.items() for s in run.curve("bits") if s}
pd.DataFrame(rows).T.round(3)

# %% [markdown]
# Go down the rows: down to five bits nearly nothing happens; at four, look for the first skill that moves. MXFP4 takes a quarter of a bit less than Q4_0 (*bits* counts the scales), because its scale has 8 bits and not 16. But a power of two fits the largest weight of a group less well than a free scale. The table says nothing about speed: fewer bits are faster only with kernels made for them, and this CPU has none. Exporting a GGUF *file* needs llama.cpp's own converter.
#
# **After which stage does rounding hurt most?** Round the base model, the chat model, and the two trained further from it. What does that add to the loss on general text?

# %%
def rounded(name, bits):
    """A model with its linear layers rounded to that number of bits."""
    found = load(name)
    formats.quantise_with(found.model, lambda _, w: formats.integer(w, bits, 32))
    return found

# %%
stages = {name: {"full weights": loss(load(name))}
          | {f"{b} bits adds": loss(rounded(name, b)) - loss(load(name))
             for b in (8, 4, 3)} for name in ("base", "chat", "reader", "reasoner")}
pd.DataFrame(stages).T.round(3)

# %% [markdown]
# Read the last column. The chat model loses more than its base, and the reader and the reasoner, both trained further, lose more than the chat model. So measure the model that you deploy; its base is an easier case. (One model per row: an observation, not a law.)
#
# **Fewer weights or fewer bits?** Which is the cheaper way to make a model smaller? Compare bytes with pass@1, for the teacher and its students at 8, 5, 4 and 3 bits. (Linear layers are rounded and count with their scales; embeddings have 16 bits.)

# %%
def megabytes(loaded, bits):
    """What its weights take."""
    layers = sum(m.weight.numel() for m in formats.linears(loaded.model).values())
    rest = sum(p.numel() for p in loaded.model.parameters()) - layers
    return (layers * formats.bits_a_weight(bits, 32) + rest * 16) / 8e6

# %%
def share(loaded):
    """Samples that are right."""
    every = [a.right for group in tried(loaded) for a in group]
    return sum(every) / len(every)

# %%
fewer = {name: {bits: rounded(name, bits) for bits in (8, 5, 4, 3)} for name in NAMES}
points = {name: [(megabytes(m, bits), share(m)) for bits, m in found.items()]
          for name, found in fewer.items()}

# %%
frontier, (axis,) = figures.panels(1, width=5.8, height=3.0)
frontier.subplots_adjust(left=0.11, right=0.78)
for (colour, dash), (name, line) in zip(figures.LOOKS, points.items()):
    axis.plot(*zip(*line), color=colour, linestyle=dash, marker="o", label=name)
axis.set(xlabel="megabytes (from left: 3, 4, 5, 8 bits)",
         ylabel="pass@1 (share)")
axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
frontier

# %% [markdown]
# Choose a size on the horizontal axis and take the highest point to its left. Down to four or five bits, bits are cheaper to give up than weights (these students are not distilled yet, which flatters rounding): a larger model with fewer bits beats a smaller one with more. At three bits the large one falls off a cliff, and a smaller model with more bits wins. So round to four or five bits first. Distil if that isn't small enough, and go below four bits only with the repair of the next section. (96 samples per point: read the shape.)

# %%
Panel("quantise", show=["scheme", "group", "outliers", "calibration"])

# %% [markdown]
# Try *outliers (break it)*, then a smaller *group*: the damage shrinks and doesn't go away.
#
# ## 10 · Repair: train with rounded weights
#
# Can training repair what rounding breaks? Rounding has no slope, so the gradient passes it as if it weren't there. This is the *straight-through estimator*. The full weights are kept and trained, and every forward pass sees the rounded ones:

# %%
from llmlab.models.fake_quant import RoundedLinear

show(RoundedLinear.forward)

# %%
TRAINED = {f"{train}, {when}": dict(train=train, when=when)
           for train in ("kd", "sft") for when in ("ptq", "qat")}
COLUMNS = {"general_loss": "loss", "calls": "calls", "refusals": "refusals",
           "facts": "facts", "long_sums": "long sums",
           "full_sums": "long sums, full weights"}
ends("qat", TRAINED, COLUMNS)

# %% [markdown]
# Compare each *qat* row with its *ptq* row, at three bits and after sixty steps (means over five seeds). *kd* learns the probabilities of the full model as it began, so *kd, ptq* learns nothing new. *sft* learns right answers instead. With *qat*, few steps repair most of what rounding breaks, and in this table the full model is as good a teacher as right answers are. (C166 leaves that open at tuned rates.) At scale, too, a KL to the full model is a robust objective [Lv et al. 2026]. The last column shows the price: weights that were trained to be rounded are worse when they aren't.
#
# **RL and rounding.** Should you round after RL, or train with rounded weights? At scale the first kept reasoning and the second hurt it [Kumar et al. 2025]. In a third case, which many run without knowing, only the *sampler* is rounded: the inference engine runs quantised weights and the trainer doesn't. Then the samples come from another policy than the trained one. `--sampler rounded` does that, and `--importance` says how to weight its tokens: by the ratio of both models' probabilities, cut off at 2 (truncated importance sampling [Yao et al. 2025]), or as if they were the trained model's own.

# %%
from llmlab.chapters.c11_distillation.qat import QAT

SUMS = dict(train="grpo", batch=128, lr=1e-4)
orders = {"GRPO, then 4 bits": QAT(when="ptq", bits=4, **SUMS),
          "the same, lr 3e-4": QAT(when="ptq", bits=4, **SUMS | dict(lr=3e-4)),
          "GRPO with 4-bit weights": QAT(bits=4, **SUMS)}
for importance in ("truncated", "none"):
    orders[f"3-bit sampler, {importance}"] = QAT(when="ptq", sampler="rounded",
                                                 importance=importance, **SUMS)

# %%
def told(experiment):
    """Long sums before and after three runs, in full weights and rounded."""
    three = [runs.run(experiment, seed) for seed in range(3)]
    read = lambda m, at: [[*r.curve(m).values()][at] for r in three]
    mean = lambda m, at: round(statistics.fmean(read(m, at)), 2)
    moved = [*three[0].curve("mismatch").values()]
    return {"before": mean("full_sums", 0), "after": mean("full_sums", -1),
            "rounded, before": mean("long_sums", 0),
            "rounded, after": mean("long_sums", -1),
            "verbatim, by seed": [round(v, 2) for v in read("verbatim_sums", -1)],
            "mismatch (nats per token)": round(moved[0], 2) if moved else 0}

# %%
pd.DataFrame({name: told(e) for name, e in orders.items()}).T

# %% [markdown]
# Compare *before* with *after*, and the same for the rounded weights (means over three seeds; C167, at 3e-4, and C168 make these comparisons with five seeds and more steps). On its own samples the model gets more sums right, and at four bits much of that survives the rounding. The last two rows learn from a sampler with three bits. If its tokens are taken for the trained model's own, the full weights end no better than they began, far behind the run on own samples; the rounded weights, which wrote the samples, gain most. A truncated ratio makes up most of the full weights' distance (C168). The usual clip does harm: the model ends below its start (in brackets in C168). A likely reason: where the trained model finds a token much likelier than the sampler did, the clip drops the push for right answers and keeps the one against wrong answers.
#
# *mismatch* is the mean difference of the log-probs at the start, KL(sampler ‖ trained). Watch it in any real run; it should be a small fraction of the entropy. At scale, the mismatch biases the gradient [Qi et al. 2025], and a truncated ratio makes up for part of it [Yao et al. 2025].
#
# **Read with the eyes of the reward.** *verbatim* reads the full weights after each run again, but wants every answer token for token as the demonstrations had it. At the higher rate it finds nothing at all in some seeds, where *after* finds a gain. There GRPO has come to end every answer with a full stop. The reward accepts "82" and "82.", so it is indifferent between them, and the form drifts. We read these runs verbatim at first, called GRPO unstable, and tuned its rate by that reading. So evaluate with the checker that pays. If the form matters to your users, pay for it.

# %%
Panel("qat", show=["when", "train", "bits", "sampler", "importance", "lr"])

# %% [markdown]
# Compare *round afterwards (PTQ)* with *QAT, KL to the full model*. Then try other numbers of bits.
#
# **An adapter and few bits.** How do you deploy a LoRA adapter with rounded weights? You choose twice. The adapter is trained on top of the full weights W, or of the rounded ones Q(W) as in QLoRA (chapter 05). Then its change Δ is deployed as a *16-bit adapter* on Q(W), or *merged* and rounded with the weights, Q(W + Δ). Here an adapter learns a new skill, at three bits:

# %%
TRAINED_ON = {f"trained on {base} weights": dict(base=base, bits=3)
              for base in ("rounded", "full")}
ends("merging", TRAINED_ON,
     {"unrounded": "nothing rounded", "beside": "16-bit adapter",
      "merged": "merged, rounded", "change": "size of Δ (steps)"})

# %% [markdown]
# Compare *16-bit adapter* in the two rows. An adapter that was trained on rounded weights has learnt to make up for their error. One that was trained on full weights meets that error only when it is deployed. Then compare it with *merged, rounded* in the first row: rounding again makes another error, which the adapter has never seen. The last column shows why. It gives the size of Δ in steps of the grid, and rounding moves a weight by 1/√12 of a step (root mean square), which is more than Δ does. So deploy an adapter on the weights that it was trained on. C172 tests this over seeds.

# %%
Panel("merging", show=["base", "bits", "group", "lr"])

# %% [markdown]
# Go from three bits to four: the second rounding then costs much less.
#
# **What is known at scale.** Four things are common in practice and not in this lab:
#
# | what | how | what it gives |
# |---|---|---|
# | distil long chains | SFT on chains of a reasoning model that passed a check | 800,000 samples of R1 took a 32B model to 72.6 % on AIME 2024, RL on the same base to 47 % [DeepSeek-AI 2025] |
# | round activations | SmoothQuant divides an activation's outlier channel by a factor and multiplies its weights by it: same product, easier to round | weights and activations in 8 bits [Xiao et al. 2022] |
# | rotate first | QuaRot multiplies by an orthogonal matrix and undoes it in the next weights, which spreads outliers over all channels; SpinQuant learns the matrix | weights, activations and cache in 4 bits [Ashkboos et al. 2024, Liu et al. 2024] |
# | round the KV cache | KIVI: keys share a scale per channel, values per token | long contexts and large batches: 2 bits [Liu et al. 2024] |
#
# Read it as a map. The first row is section 4 at scale. The others round more than the weights: rounded weights alone, as in this chapter, save memory and the time to read it, and only if the activations are rounded, too, does the multiplication itself run in few bits.
#
# ## 11 · With your own models and texts
#
# How do you run this on your own models?
#
# ```
# llmlab run distill --teacher FOLDER_OR_HUB_ID --student FOLDER --domain my_chats.jsonl     # own data; the student writes
# llmlab run distill --teacher M --student M2 --domain my_chats.jsonl --writer teacher --loss labels   # another tokenizer: text only
# llmlab run distill --engine trl --writer teacher --beta 0                                  # the same through TRL
# llmlab run quantise --model FOLDER_OR_HUB_ID --scheme gptq
# ```
#
# If the two tokenizers differ, probabilities of one say nothing about the tokens of the other, so the lab refuses and suggests text instead. `--engine trl` prints the arguments that TRL gets.
#
# ## 12 · The evidence
#
# Which statements of the sources did the lab confirm? Each one is a claim in the ledger, declared before the runs that decide it. Chapter 02, section 11, explains how a verdict is reached. The claims have runs of their own, with more seeds and often other steps or rates than the tables above, so numbers can differ. `llmlab claims C135` prints each arm's command.

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("11")
evidence

# %% [markdown]
# Read each claim with its verdict. On the right are its effects with their intervals; where a claim has several parts, click the triangle. The effects as a picture:

# %%
forest.figure(evidence.rows)

# %% [markdown]
# Effects are divided by the smallest effect of interest, and the claimed side is on the right. A part of a claim is as claimed if its dot is to the right of 1 and its interval to the right of 0. Where no difference was claimed, the whole interval must lie inside the blue band.
#
# Ten lab results are worth a discussion. Within a comparison, every tuned arm had the same number of learning rates tried, at a seed that no claim uses.
#
# - **What a teacher is worth (C135).** At equal steps the medium student gained a little from its teacher, and the large one nothing. With four times the steps, which is no more time, right solutions alone won clearly (`llmlab claims C135`); they cost nothing here. At scale, where nobody can write them down, on-policy distillation reached an RL-trained teacher for a fraction of RL's compute [Lu 2025].
# - **Soft targets (C136).** On the same right solutions, labels taught more than the teacher's probabilities, with few problems and with many. A label is right; the teacher gives part of its probability to what is wrong.
# - **Who writes (C160).** The published advantage of own text doesn't show. With reverse KL it made no difference who wrote; with forward KL the teacher's text was better. A likely reason: the lab's students begin close to their teacher, so they make few mistakes of their own to learn from.
# - **The teacher's texts (C137, C138, C139).** Worked steps taught far more than answers alone, even than eight times as many answers; every step written twice taught less. Of the teacher's samples, those that are right taught more than all of them. The likelier half made the student less diverse and no better. A curriculum did harm: easy problems first ended below a mixture, and hard ones first far below. Probably that is because the mixture trains on the tested level from the first step to the last. At scale, curricula help where time is short or data noisy, and hardly otherwise [Wu et al. 2020].
# - **Several specialists (C169).** On-policy distillation from both specialists was hardly better than the mean of their weights, and worse than SFT on mixed data. It also lost most tool calls, which no specialist had practised. The mean is a weak rival, because it halves each change: adding the changes, or TIES, did far better without a single step. At scale, RL-trained specialists were united best by on-policy distillation [Ma et al. 2026].
# - **Which KL (C170).** Reverse KL made samples right more often and more alike. At each arm's best rate, forward KL's advantage for greedy answers vanishes. So the table of section 2 compares rates as well as directions.
# - **Self-distillation (C161, C162).** It taught most of the facts without one label, and forgot more than SFT did. When the teacher was asked to cite, nearly every answer cited a leaflet that nobody gave.
# - **Few bits (C166, C167).** Training with rounded weights repaired tool calls that rounding afterwards broke, even when the arm that was rounded afterwards had its best rate. RL first and rounding afterwards was *not* better than RL with rounded weights, unlike at scale [Kumar et al. 2025]: at four bits it was slightly worse, and both kept a clear gain.
# - **A rounded sampler (C168).** Taking its tokens for the trained model's own left the full weights no better than they began, far behind RL on own samples; a truncated ratio made up about two thirds of that, and less than half at three times the rate.
# - **An adapter and three bits (C172).** Deployed on the rounded weights that it was trained on, the adapter kept its skill. It lost a large part when it was merged and rounded again, or trained on the full weights.
#
# ## 13 · Where the sources are contested
#
# Which statements hold only under conditions? (For chains of thought see section 4, for forgetting section 5.)
#
# - **"Much of the capability at lower cost."** This is reported again and again, but against which baseline? The same student with as many tokens *or as much time* and no teacher is rarely shown.
# - **"Logits are a smoother learning signal."** They are where one text has many right continuations [Hinton et al. 2015]. A sure teacher gives one-hot probabilities, and these are labels.
# - **"Dense rewards are better."** Distillation on sampled tokens has failure modes of its own, which the top-k of the teacher repairs [Fu et al. 2026].
# - **"Four bits are free."** They are on averages. Hard reasoning, small models and rare skills pay first [Liu et al. 2025].
#
# ## 14 · Exercises
#
# Can you write the losses and the rounding yourself?

# %%
from llmlab.learn.judge import check, hint, reset, solution, task

task("generalised_jsd")

# %%
def generalised_jsd(teacher, student, beta):
    ...

check("generalised_jsd", generalised_jsd)

# %%
task("token_rewards")

# %%
task("rounded_in_groups")

# %% [markdown]
# More: `task("softened_kl")`, `task("top_k_kl")`, `task("columns_behind_hints")`, `task("merged")`.
#
# ## 15 · Drills
#
# Can you use this at work? Answer each case before you look.

# %%
Drills("11")

# %% [markdown]
# ## 16 · Interview page
#
# What should you be able to say, and which questions follow?

# %%
from llmlab.learn.interview import interview

interview("11")

# %% [markdown]
# ## To take away
#
# 1. Who writes the prefix and which KL you learn are two choices. Judge a student by what it writes, decoded as you will decode.
# 2. Where right texts are plentiful, the lab's teacher wasn't worth its time; at scale it pays where nobody can write them down. Always compare with the same student trained without one.
# 3. Quantise by skill: where the average loss rises a little, a rare skill can be gone.

# %%
references("spinquant_2024", "kivi_2024", "quarot_2024", "smoothquant_2022",
           "hinton_2015", "kim_2016", "minillm_2023", "gkd_2023", "opd_2025",
           "li_2026_opd", "fu_2026_opd", "li_2025_gap", "luo_2025_valley", "sdft_2026",
           "wang_2026_denser", "mopd_2026", "ties_2023", "model_soups_2022",
           "wu_2020_curricula", "gptq_2022", "llm_int8_2022", "dutta_2024",
           "liu_2025_quantised", "llm_qat_2023", "lv_2026", "kumar_2025", "qi_2025",
           "tis_2025", "born_again_2018", "deepseek_r1_2025")
