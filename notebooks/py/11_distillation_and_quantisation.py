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
# **Where we are.** You have a model that reasons. Now it has to become cheap to run. There are two ways, and they combine: a smaller model that learns from the large one, and the same model with fewer bits per weight.
#
# ```
# problem → who writes the text? data · teacher · student
#                        ↓
#            text → what is learnt of each token? the token · the teacher's probabilities · its log-prob as a reward
#
# trained weights → round to 8 … 2 bits → which skill goes first? → repair: GPTQ · QAT
# ```
#
# **For a ten-year-old.** Your sister is good at puzzles. You can copy her solutions. Or you try yourself, and at every line she tells you what she would have written there. The second way teaches you to get out of *your own* mistakes. Quantisation is something else: you write the recipe down with rounder numbers. 250 g instead of 248 g is fine. "A lot" isn't.
#
# **In an interview.** *Distillation has three questions: who writes the text, which divergence compares teacher and student there, and what the teacher knows that the student doesn't. Text from the teacher is cheap and leaves the student alone with its own mistakes; on-policy distillation corrects it where it really goes, at the price of sampling and a forward pass of the teacher. For quantisation I never trust perplexity alone.
# I measure by skill, calibrate on data that look like use, and round after training unless the bits are so few that only training with rounded weights repairs them.*
#
# New terms: **teacher**, **student** = the model that is imitated, the one that learns; **black box** / **white box** = only the teacher's text / its probabilities, too; **forward KL** = KL(teacher ‖ student); **reverse KL** = KL(student ‖ teacher); **on-policy** = on the student's own samples; **self-distillation** = the teacher is the same model with more to read; **PTQ** = rounding after training;
# **QAT** = training with rounded weights; **RTN** = round to nearest; **group** = weights that share a scale; **GPTQ** = rounding in which later weights make up for earlier ones; **outlier** = a weight or an activation much larger than the rest; **calibration data** = texts whose activations GPTQ looks at.

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
# The teacher is the *reasoner* of chapter 09. Its students are cut from it: fewer heads and neurons in all four layers, then trained again for a short time. Give all four one problem, and measure how fast they answer:

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
            "one sample right": sum(a.right for a in every) / len(every)}


sizes = pd.DataFrame({name: size_and_speed(m) for name, m in models.items()}).T
sizes.round({"million weights": 2, "MB, 32 bits": 1, "tokens/s": 0,
             "one sample right": 2})

# %% [markdown]
# Go down the last two columns: a smaller model is faster and right less often. The tokens per second are this machine's, and four layers take four steps one after the other however narrow they are, so bytes fall faster than time. The question of this chapter is how much of the last column a student can win back at the same size.
#
# ## 1 · By hand: two directions, one β
#
# At one place the teacher wants *cat* or *dog*, and a student can only learn one peak. Two students are on offer, a cautious one that spreads and a bold one that picks:

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
# The two directions choose different students. Forward KL is large where the student gives little to something the teacher says, so it prefers the one that spreads, although a third of what it writes is wrong. Reverse KL is large where the student says what the teacher wouldn't, so it prefers the one that picks. *Mass-covering* and *mode-seeking* are the usual names.
#
# The package has both, and what lies between:

# %%
from llmlab.methods import distillation

show(distillation.forward_kl, distillation.reverse_kl, distillation.js)

# %% [markdown]
# TRL has one number for it, `beta`: 0 is forward, 1 is reverse, in its GKDTrainer and in its DistillationTrainer. The *defaults* differ, `0.5` and `1.0`, and a training library once had the two names swapped in its documentation. So say the direction, not the word "KL". Here β means what it does in TRL, and a test compares losses and gradients for several β.
#
# **Temperature.** Divide both models' logits by T, and small probabilities weigh more. The gradient shrinks about as 1/T² for large T, so the loss is multiplied by T². **Top-k.** A teacher behind an interface may give its k likeliest tokens only. Put the rest into one bucket, the tail: the loss is then a lower bound of the whole.

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
# From row to row the loss grows towards the last one, which compares all six tokens. What a small k can't see is how the student shares out the tail. At scale nearly all of the mass lies on a few tokens, so a small k is close [Li et al. 2026].
#
# ## 2 · Who writes the text?
#
# Two questions with two answers each give four methods. Text by the *teacher* with forward KL is soft-label SFT. Text by the *student* with reverse KL is on-policy distillation. The text may also be right solutions from the data; the teacher still scores every token of it. (The student without any teacher comes in section 3.)

# %%
CORNERS = {"right solutions, forward KL": dict(writer="data", beta=0.0),
           "right solutions, reverse KL": dict(writer="data"),
           "teacher's text, forward KL": dict(writer="teacher", beta=0.0),
           "teacher's text, reverse KL": dict(writer="teacher", beta=1.0),
           "own text, forward KL": dict(beta=0.0),
           "own text, reverse KL": {}}
READ = {"pass_at_1": "one sample right", "accuracy": "greedy right",
        "held_forward_kl": "KL on right text", "own_reverse_kl": "KL on own text",
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
        lambda: f"greedy: {better('greedy right')}; "
                f"samples: {better('one sample right')}",
        kind="choice",
        options=tuple(f"greedy: {a} KL; samples: {b} KL"
                      for a in ("forward", "reverse") for b in ("forward", "reverse")),
        shows=corners,
        why="Reverse KL sharpens: a sample looks more like the greedy answer. Forward "
            "KL keeps the teacher's spread, and greedy decoding ignores it.")

# %% [markdown]
# Compare the rows of one *direction*: they look alike, no matter who wrote the text. With forward KL the greedy answers are better and the KL on right text is lower, with reverse KL single samples are better and the KL on own text is lower. *Different of four* says what reverse KL costs: samples become alike.
#
# So in the lab the direction decides, and the writer hardly matters. At scale it is the other way round: students that only read given text fail when they write on their own, and on-policy text repairs that. One possible reason is that the lab's solutions are short, and this *exposure bias* needs long texts, where one mistake leads to the next; we haven't tested that.
# What does show: *KL on right text*, which is what a held-out loss measures, and *KL on own text*, which is what a user meets, rank the students in opposite order. In this table the first predicts the greedy answers and the second the samples. So report the one that matches how you decode, and always look at what the student writes. (The table has one learning rate for all rows. With the best rate for each, samples are again better with reverse KL, and the advantage of forward KL for greedy answers is gone: C160 and C170 in section 11.)
#
# The same over training, for two opposite corners:

# %%
from llmlab.chapters.c11_distillation.distill import Distill


def seeds(name, **knobs):
    """The stored runs of these settings, one a seed."""
    from llmlab.lab import registry
    return sweeps.need(name).at(registry.get(name)(**knobs).settings())


figures.curves({name: seeds("distill", **CORNERS[name])
                for name in ("teacher's text, forward KL", "own text, reverse KL")},
               {m: Distill.curves[m] for m in ("pass_at_1", "held_forward_kl",
                                               "own_reverse_kl", "distinct")},
               title="Two corners, the medium student, 5 seeds")

# %% [markdown]
# Read the second and the third panel together: nearly the same quantity on two kinds of text, and the two students change places.
#
# **A cheaper signal.** The whole distribution costs a teacher's logits for every token. Its log-prob of the *sampled* token alone gives an unbiased but noisy estimate of the reverse KL at that token: −log(student/teacher) is its reward. That turns distillation into RL with a dense reward. Break it: the last preset, *own text alone*, imitates the student's own samples, without a teacher. What should that teach?

# %%
Panel("distill", show=["writer", "beta", "loss", "size", "lr"])

# %% [markdown]
# It should teach nothing: on average the gradient of one's own samples is zero. Only noise is left, and an optimiser that normalises its steps makes full steps out of noise. Within twenty steps no answer is right; with a fifth of the learning rate the model stays where it was (try it). This happens to people: a pipeline drops the teacher's column on the way, no error appears, and nobody looks at the answers. The drill *The teacher that nobody read* is about that.
#
# At scale, on-policy distillation beat SFT on teacher's text at equal compute for summaries, translation and arithmetic [Agarwal et al. 2023]. It needs a teacher that thinks in similar patterns and knows something that the student doesn't [Li et al. 2026]. Cold-start on the teacher's text first.
#
# ## 3 · What a teacher is worth
#
# Is it the teacher that helps, or just the training? The control is the same student, the same problems and steps, with right solutions and no teacher:

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
# Compare the second and the third column: at equal steps the teacher helps. But a step on one's own text is more expensive, because the student samples it and the teacher reads it. By how much?

# %%
def seconds_a_step(**knobs):
    """The median over four steps, on this machine."""
    e = Distill(steps=6, probe=6, held=4, **knobs)
    marks = [time.perf_counter() for _ in e.rows(load(e.default_model), 0)]
    return statistics.median(b - a for a, b in zip(marks[1:], marks[2:6]))

# %%
ALONE = dict(writer="data", loss="labels")
dear = {size: {"right solutions": seconds_a_step(size=size, **ALONE),
               "on-policy": seconds_a_step(size=size)}
        for size in ("large", "medium", "small")}
minutes = pd.DataFrame(dear).T.assign(times=lambda t: t.iloc[:, 1] / t.iloc[:, 0])
minutes.rename_axis("seconds a step").round(2)

# %% [markdown]
# The last column says how many steps on right solutions fit into one of distillation, on this machine. So the fair question is what each reaches in the same *time*, and claim C135 asks it, too: it gives the student without a teacher four times the steps, and then that student wins clearly. Where right solutions are plentiful a teacher adds little: they are a perfect teacher's text. It pays where data are short, where there are many right answers, or where nobody can write the solution down. (One seed each.)
#
# Can a student be better than its teacher? Yes, if its data were *filtered by something other than the teacher*: a checker, a vote, a reward. It then imitates the teacher's good days only. It can also profit from averaging over the teacher's noise. Imitation alone has no other reason to go further.
#
# ## 4 · The teacher's text: filter, form, order
#
# Black-box distillation is SFT on a teacher's samples. Three choices: which samples, how long, in which order. First the form. The same right solutions with their steps, with the answer alone, or with every step twice:

# %%
from llmlab.chapters.c11_distillation.teaching import as_form

worked = strings.solution(asked[0])[0]["content"]
forms = pd.DataFrame({form: {"the text": as_form(worked, form)}
                      for form in ("steps", "answer", "long")}).T
for form in forms.index:
    trained = Distill(writer="data", loss="labels", form=form)
    forms.loc[form, ["greedy right", "tokens"]] = [last(trained, "accuracy"),
                                                   last(trained, "length")]
forms.round(2)

# %% [markdown]
# The students began with the first form, so part of the gap is the cost of changing a habit. The rest is what one would expect: the answer alone asks for a leap, and twice the steps are twice the tokens and nothing new. At scale small models learn *less* from long chains of a strong teacher than from short ones, or from a smaller teacher's [Li et al. 2025], and recover only with much more data [Luo et al. 2025].
#
# `--keep right` filters by the checker, `--keep likely` by the teacher's own likelihood, `--keep distinct` drops copies. A filter by likelihood keeps the most common solutions, so watch *different of four*: diversity is lost silently. `--order easy_first` is a curriculum. The ledger (C137, C138, C139) measures all three.
#
# Pairs are the third kind of black-box text: the teacher's text is *chosen*, what the student says of the same problem is *rejected*, and DPO from chapter 06 learns the difference: `llmlab run distill --writer teacher --loss dpo`.
#
# ## 5 · Self-distillation: the teacher has read the leaflet
#
# There need not be a larger model. Let the *same* model read something more: the leaflet of a drug, a worked solution, an error message. With this hint it knows the answer, and it judges, token by token, answers given without the hint:

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
     {"recall": "recalled, greedy", "pass_at_1": "one sample right",
      "leaked": "cites a leaflet nobody gave", "absent": "not in the documents",
      "known": "known people kept",
      "refused": "refusals kept"})

# %% [markdown]
# Means over five seeds. Read the first column, then the last three. GRPO finds nothing: the reader nearly always says "Not in the documents", so no sample is right and no reward comes. Self-distillation needs no right sample: the teacher's column names the right token wherever the student stands. With greedy decoding it recalls nearly as many facts as SFT on the right answers; its samples are right less often, because the teacher with the leaflet leaves some probability to other words. A wrong leaflet teaches nothing and costs everything else.
#
# *Leaks.* A teacher that is asked to cite teaches the student to cite, and there is nothing to cite. So the hint's *form* must not appear in the answers that you want. (*not in the documents* is the answer that the reader begins with. In the rows without recall it stays there.)
#
# *Forgetting.* The papers don't agree. One reports that self-distillation forgets less than SFT [Shenfeld et al. 2026], another that it forgets more than GRPO and collapses [Wang et al. 2026]. In the lab it forgets *more* than SFT: compare the known people in those two rows (C161 asks it at tuned rates). The refusals, on which nobody trained, are lost by both.

# %%
Panel("selfdistill", show=["method", "hint", "beta", "lr", "teacher"])

# %% [markdown]
# Turn β to 1 for the usual reverse KL. Reverse KL weighs each token by the *student's* probability. The reader starts out sure of "Not in the documents", so the right answer's tokens have almost no weight and almost no gradient.
#
# ## 6 · Several specialists into one
#
# Several models were fine-tuned, each on its own skill (two in the lab: chains of links, and strings). You want one. Four ways: mix the data and train once; average the weights; TIES, which drops small changes and lets the majority decide each weight's sign [Yadav et al. 2023]; or on-policy distillation from all of them, where the student answers each kind of problem and that kind's specialist is its teacher.

# %%
Panel("specialists", show=["how", "lr"])

# %% [markdown]
# Compare each part with what its own specialist reaches. Then look at *tool calls* under More curves: no specialist learnt them, and they are what gets lost. Merging costs no step and needs specialists that started from the same weights. Distilling from many needs the models and their prompts, and no answers. Mixing needs the data. (Claim C169 compares them over seeds.)
#
# ## 7 · Quantisation by hand
#
# Eight weights share a scale. At b bits there are 2ᵇ − 1 whole numbers, symmetric around 0; the largest weight gets the largest number, and the rest is rounded:

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

# %%
spiked = weights.clone()
spiked[0, 3] = 3.0  # one outlier
rest = [0, 1, 2, 4, 5, 6, 7]


def error_of_the_rest(w, bits):
    """Relative error of the seven weights beside the largest."""
    return formats.error(w[:, rest], formats.integer(w, bits, 8)[:, rest])


pd.DataFrame({name: {f"{b} bits": error_of_the_rest(w, b) for b in (8, 4, 3)}
              for name, w in (("as above", weights), ("with an outlier", spiked))}
             ).T.round(2)

# %% [markdown]
# The relative error of the *other seven* weights: one outlier makes the scale coarse for all that share it. At an error of 1 they are all rounded to 0. Smaller groups contain the damage and cost bits, because every group stores a scale:

# %%
show(formats.integer, formats.bits_a_weight)

# %%
pd.DataFrame({f"{b} bits": {g: formats.bits_a_weight(b, g) for g in (8, 32, 128)}
              for b in (8, 4, 3, 2)}).rename_axis("group").round(2)

# %% [markdown]
# "Four bits" are 4.5 with groups of 32, and 6 with groups of 8. That is why formats are compared by bits a weight *with* their scales: Q4_0 of llama.cpp takes 4.5, MXFP4, which many accelerators compute with, 4.25.
#
# ## 8 · Which skill goes first?
#
# The chat model, rounded to 8, 6, 5, 4, 3 and 2 bits, each from the full weights. The loss on general text, and seven skills:

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
        why="A skill whose first token is a choice between two habits flips when "
            "logits move a little. A loss averaged over a text hardly notices it.")

# %% [markdown]
# Go down the column of the loss, then down the others. The loss is a mean over many easy tokens. A refusal or a tool call hangs on one: the first token of the answer decides, and then the rest follows. So "perplexity is equal" isn't an evaluation. List the skills that your product needs and test each, the rare ones most of all.
#
# **Which layer does it?** Round one matrix of the chat model at a time to 3 bits, and look at two numbers: its relative error, and what that adds to the loss on general text.

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
    """The chat model with one matrix at 3 bits, and the relative error of it."""
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
# On the left all numbers are nearly equal: rounding to nearest treats all matrices alike. On the right they differ: one matrix of the last layer does several times as much damage as most others. So an error of weights says little, and formats that give more bits to sensitive layers have a point.
#
# The same bits in other ways:

# %%
WAYS = {"round to nearest": {}, "quantiles (NF)": dict(scheme="nf"),
        "GPTQ": dict(scheme="gptq"), "one scale a row": dict(group=128),
        "outliers, groups of 32": dict(outliers=30.0)}
KINDS = ("general_loss", "weight_error", "facts", "calls", "refusals", "long_sums")


def at(bits, found):
    """Readings at that number of bits, means over the seeds."""
    return {m: sum(r.curve(m)[16 - bits] for r in found) / len(found) for m in KINDS}


pd.DataFrame({name: at(3, seeds("quantise", **knobs)) for name, knobs in WAYS.items()}
             ).T.round(2)

# %% [markdown]
# Everything at 3 bits, means over five seeds. Compare *weight error* with the skills. NF puts its levels where most weights are, so it has a smaller error at the same bits and keeps more of everything. GPTQ has a *larger* error in the weights and still keeps more facts, calls and refusals than rounding to nearest, because it minimises the error of a layer's *output* on calibration texts; long sums pay for it.
# The general loss is a little higher than with rounding to nearest, and doesn't show any of this. One scale a row has coarser steps than groups of 32. The last row is a model with the outliers of section 7: two columns of 128 are enlarged. Small groups soften the damage and don't save the model, because these columns lie in groups of their own in every row. And *weight error* is lower there, since the large columns dominate it: it misses what happened.

# %% [markdown]
# GPTQ depends on its calibration texts:


# %%
blind = {"GPTQ on conversations": dict(scheme="gptq"),
         "GPTQ on random tokens": dict(scheme="gptq", calibration="random")}
pd.DataFrame({name: {m: runs.run(Quantise(**knobs), 0).curve(m)[13] for m in KINDS}
              for name, knobs in blind.items()}).T.round(2)

# %% [markdown]
# Even calibrating on random tokens helps calls and refusals (compare with the first row above). Conversations help these more and cost long sums. So calibrate on a mixture that looks like your traffic, and test each skill. (One seed each.)
#
# **Formats of llama.cpp**, by the `gguf` package. The name says the bits of a number; Q4_0 and Q5_0 have one scale for 32 weights. MXFP4 stores four-bit floating-point numbers, and 32 of them share a power of two:

# %%
by_format = {name: runs.run(Quantise(scheme=name), 0) for name in ("gguf", "mxfp4")}
rows = {f"{name}, {16 - s} bits": {m: run.curve(m)[s] for m in ("bits", *KINDS)}
        for name, run in by_format.items() for s in run.curve("bits") if s}
pd.DataFrame(rows).T.round(3)

# %% [markdown]
# Down to five bits nearly nothing happens; at four, look for the first skill that moves. MXFP4 takes a quarter of a bit less than Q4_0 (*bits* counts the scales), because its scale has 8 bits and not 16. A power of two fits the largest weight of a group less well than a free scale. The lab says nothing about speed: fewer bits are faster only with kernels made for them, and on this CPU they aren't. Exporting the lab's models to a GGUF *file* would need llama.cpp's own converter, which isn't a package.
#
# **After which stage does it hurt most?** The same rounding for the base model, the chat model and the two trained further from it. What rounding adds to the loss on general text:

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
# Read the last column. The chat model loses more than its base, and the reader and the reasoner, both trained further from the chat model, lose more than it. So measure the model that you deploy; its base is an easier case. (One model a row, so this is an observation and not a law.) The loss is a mean, and the first table of this section says what it hides.
#
# **Fewer weights or fewer bits?** Both halves of this chapter make a model smaller. For the teacher and its students at 8, 5, 4 and 3 bits: the bytes (linear layers rounded, with their scales; embeddings at 16 bits), and how often one sample is right.

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
         ylabel="one sample right (share)")
axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
frontier

# %% [markdown]
# Choose a size on the horizontal axis and take the highest point to its left. Down to four or five bits, bits are the cheaper thing to give up: a larger model with fewer bits beats a smaller one with more. At three bits the large one falls off a cliff, and the smaller model with more bits wins. So the order is: round to four or five bits first, distil for what is still missing, and go below four bits only with the repair of the next section. (96 samples a point: read the shape.)

# %%
Panel("quantise", show=["scheme", "group", "outliers", "calibration"])

# %% [markdown]
# ## 9 · Repair: train with rounded weights
#
# Rounding has no slope, so the gradient passes it as if it weren't there: the *straight-through estimator*. The full weights are kept and trained, and every forward pass sees the rounded ones:

# %%
from llmlab.models.fake_quant import RoundedLinear

show(RoundedLinear.forward)

# %%
TRAINED = {f"{train}, {when}": dict(train=train, when=when)
           for train in ("kd", "sft") for when in ("ptq", "qat")}
COLUMNS = {"general_loss": "loss", "calls": "calls", "refusals": "refusals",
           "facts": "facts", "long_sums": "long sums",
           "full_sums": "the same, full weights"}
ends("qat", TRAINED, COLUMNS)

# %% [markdown]
# Three bits, sixty steps, means over five seeds. *kd* teaches nothing new: the teacher is the full model itself, as it began, so *kd, ptq* is plain rounding. Beside it, the same steps with rounded weights, and then right answers in place of the full model's probabilities. Few steps repair most of what rounding breaks, and in the lab the full model is as good a teacher as right answers are. At scale, too, a KL to the full model is a robust objective [Lv et al. 2026]. The last column is the price: weights that were trained to be rounded are worse when they aren't.
#
# **RL and rounding.** Two orders: train in full precision and round afterwards, or train with rounded weights. At scale the first kept reasoning and the second hurt it [Kumar et al. 2025]. There is a third case, and many run it without knowing: the *sampler* is rounded, because the inference engine runs quantised weights, and the trainer isn't. The samples then come from another policy than the one that is trained. `--sampler rounded` does that, and `--importance` says how its tokens count:
# by the ratio of both models' probabilities, cut off at 2 (truncated importance sampling [Yao et al. 2025]), or as if they were the trained model's own.

# %%
from llmlab.chapters.c11_distillation.qat import QAT

SUMS = dict(train="grpo", lr=3e-4)
orders = {"GRPO, then 4 bits": QAT(when="ptq", bits=4, **SUMS),
          "GRPO with 4-bit weights": QAT(bits=4, **SUMS)}
for importance in ("truncated", "none"):
    orders[f"3-bit sampler, {importance}"] = QAT(when="ptq", sampler="rounded",
                                                 importance=importance, **SUMS)

# %%
def told(experiment):
    """Long sums before and after, in full weights and rounded, and the mismatch."""
    run = runs.run(experiment, 0)
    ends_of = {m: [*run.curve(m).values()] for m in ("full_sums", "long_sums")}
    moved = [*run.curve("mismatch").values()]
    return {"before": ends_of["full_sums"][0], "after": ends_of["full_sums"][-1],
            "after, rounded": ends_of["long_sums"][-1],
            "mismatch (nats per token)": moved[0] if moved else 0.0}

# %%
pd.DataFrame({name: told(e) for name, e in orders.items()}).T.round(2)

# %% [markdown]
# *mismatch* is the mean difference of the log-probs at the start, KL(sampler ‖ trained). You can watch it in any real run, where it should be a small fraction of the entropy. Compare *before* and *after*: here the last row, a sampler of 3 bits whose tokens are taken for the trained model's own, loses everything. Don't conclude yet: these are single seeds. C168 repeats the rows with five, and at this rate GRPO is so unstable, on its own samples too, that nothing can be decided. What is known at scale: the mismatch biases the gradient, and a truncated ratio makes up for part of it [Yao et al. 2025].

# %%
Panel("qat", show=["when", "train", "bits", "sampler", "importance", "lr"])

# %% [markdown]
# **An adapter and few bits.** LoRA adds two choices. The adapter is trained beside the full weights W or beside the rounded ones Q(W), as QLoRA does it (chapter 05). And its change Δ is deployed beside Q(W) in 16 bits, or merged and rounded with the weights, Q(W + Δ). Here an adapter learns a new skill, at three bits:

# %%
BESIDE = {f"trained beside {base} weights": dict(base=base, bits=3)
          for base in ("rounded", "full")}
ends("merging", BESIDE, {m: m for m in ("unrounded", "beside", "merged", "change")})

# %% [markdown]
# Compare *beside* in the two rows. An adapter that was trained beside rounded weights has learnt to make up for their error; one that was trained beside the full weights meets that error for the first time when it is deployed. Then compare *beside* and *merged* in the first row: rounding again makes another error, which the adapter has never seen. *change* is the size of Δ in steps of the grid, and it shows why: rounding moves a weight by 1/√12 of a step (root mean square), which is more than Δ does. So deploy the adapter on the weights that it was trained beside. C172 asks this over seeds.

# %%
Panel("merging", show=["base", "bits", "group", "lr"])

# %% [markdown]
# ## 10 · With your own models and texts
#
# ```
# llmlab run distill --teacher FOLDER_OR_HUB_ID --student FOLDER --domain my_chats.jsonl     # own data; the student writes
# llmlab run distill --teacher M --student M2 --domain my_chats.jsonl --writer teacher --loss labels   # another tokenizer: text only
# llmlab run distill --engine trl --writer teacher --beta 0                                  # the same through TRL
# llmlab run quantise --model FOLDER_OR_HUB_ID --scheme gptq
# ```
#
# If the two tokenizers differ, probabilities of one say nothing about the tokens of the other, so the lab refuses and suggests text instead. `--engine trl` prints the table of arguments that TRL gets.
#
# ## 11 · The evidence
#
# Each statement that the sources make on this topic is a claim in the ledger, declared before the runs that decide it. Chapter 02, section 11, explains how a verdict is reached.

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("11")
evidence

# %% [markdown]
# The same as a picture:

# %%
forest.figure(evidence.rows)

# %% [markdown]
# Each effect is divided by the smallest one of interest, so that the claimed side is on the right. A part is as claimed if its dot lies right of 1 and its interval right of 0. In a blue band no difference was claimed, so there the whole interval must lie inside the band.
#
# Seven findings are worth a discussion. Every tuned arm had the same number of learning rates tried, at a seed that no claim uses.
#
# - **What a teacher is worth (C135).** At equal steps the medium student gained a little from its teacher, and the large one nothing. In equal time, four times the steps, right solutions alone won clearly. They cost nothing here. At scale, where nobody can write them down, on-policy distillation reached an RL-trained teacher for a fraction of RL's compute [Lu 2025].
# - **Soft targets (C136).** On the same right solutions, labels taught more than the teacher's probabilities, with few problems and with many. A label is right; the teacher gives part of its probability to what is wrong.
# - **Who writes (C160).** The published advantage of own text doesn't show. With the reverse KL it made no difference who wrote; with the forward KL the teacher's text was better. A likely reason is that the lab's students begin close to their teacher, so that there are few mistakes of their own to learn from.
# - **Which KL (C170).** The reverse KL made samples right more often and more alike. The advantage of the forward KL for greedy answers, in the table of section 2, vanishes when each arm has its own best rate. So that table compares rates as well as directions.
# - **Self-distillation (C161, C162).** It taught most of the facts without one label, and cost more of what the model knew before than SFT did. Asked to cite, the teacher made nearly every answer cite a leaflet that nobody gave.
# - **Few bits (C166, C167).** Training with rounded weights repaired the calls that rounding afterwards had broken, also at the latter's best rate. And RL first, rounding afterwards was *not* better than RL with rounded weights, unlike at scale [Kumar et al. 2025]: at no rate that was tried did RL's gain survive the rounding.
# - **An adapter and three bits (C172).** Deployed on the weights that it was trained beside, the adapter kept its skill; merged and rounded again, or trained beside the full weights, it lost a large part.
#
# ## 12 · Where the sources are contested
#
# - **"Much of the capability at lower cost."** Reported again and again, but against which baseline? The same student with as many tokens *or as much time* and no teacher is rarely shown.
# - **"Logits are a smoother learning signal."** True where one text has many right continuations [Hinton et al. 2015]. A sure teacher gives one-hot probabilities, and these are labels.
# - **"Chain of thought from the best teacher."** Small students learn more from short chains or smaller teachers [Li et al. 2025].
# - **"Self-distillation forgets less."** Less than SFT [Shenfeld et al. 2026], more than GRPO [Wang et al. 2026].
# - **"Dense rewards are better."** Sampled-token distillation has failure modes of its own, which the top-k of the teacher repairs [Fu et al. 2026].
# - **"Four bits are free."** On averages. Hard reasoning, small models and rare skills pay first [Liu et al. 2025].
#
# ## 13 · Exercises

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
# ## 14 · Drills

# %%
Drills("11")

# %% [markdown]
# ## 15 · Interview page

# %%
from llmlab.learn.interview import interview

interview("11")

# %% [markdown]
# ## To take away
#
# 1. Who writes the prefix, and which KL: these are two choices. Judge a student by what it writes, decoded as you will decode.
# 2. A teacher pays where right texts are scarce or nobody can write them. Always compare with the same student trained without one.
# 3. Quantise by skill: the average loss is the last to notice.

# %%
references("hinton_2015", "kim_2016", "minillm_2023", "gkd_2023", "opd_2025",
           "li_2026_opd", "fu_2026_opd", "li_2025_gap", "luo_2025_valley", "sdft_2026",
           "wang_2026_denser", "mopd_2026", "ties_2023", "model_soups_2022",
           "gptq_2022", "llm_int8_2022", "dutta_2024", "liu_2025_quantised",
           "llm_qat_2023", "lv_2026", "kumar_2025", "qi_2025", "tis_2025")
