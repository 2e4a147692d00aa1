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
# # 02 · Continued pretraining
#
# *Run ▸ Run All Cells* starts this chapter.
#
# **Where we are.** A base model exists. It knows the people of Verania, adds two-digit numbers and copies from its prompt.
# It has never seen a drug. We want it to know the drugs *and* to keep what it knows.
#
# ```
# pretraining → [ continued pretraining ] → SFT → preferences / RL → distillation
# ```
#
# **For a ten-year-old.** You read a thick book about medicine for a week. You learn many words. If you do nothing else that week, your sums get rusty.
# So every fifth page you read, you read from your old school books.
#
# **In an interview.** *Continued pretraining (CPT) is next-token training on a new distribution. It buys knowledge and fluency, costs general skill, and replay is the
# cheapest insurance; I would choose the replay share by a regression suite, not by faith.*
#
# Words used here: **domain** = the new texts; **replay** = texts like the old ones, mixed in; **packing** = filling rows with several documents;
# **warm-up** = the steps over which the learning rate climbs to its peak; **nats** = the unit of a loss that uses the natural logarithm.

# %%
import torch

from llmlab.chapters.c02_continued_pretraining.cpt import CPT, Texts
from llmlab.learn.notebook import references, show
from llmlab.learn.widgets import Drills, Panel, Predict

# %% [markdown]
# **When is it the right tool?** When what is missing is *knowledge of a domain*: high loss on its texts, names and jargon that the model mangles, document forms that it does not know (laws, code, records).
# When the model knows and only *answers* badly, this is the wrong chapter: that is SFT. And it is never an alignment step: what the documents hold, harmful patterns too, is read (whether it outlives safety training stayed open: C022).
#
# A checklist for an interview: **data** (deduplicated, without page furniture, documents delimited) · **mixture** (replay, chosen by regression gates) · **rate** (re-warmed, far below what breaks old skills) ·
# **evaluation** (domain gains and general regressions, all the time).
#
# ## 1 · The texts
#
# A drug monograph, as the model gets to read it. Every fact has six wordings. One fifth of all pairs (drug, wording) is held out: we measure on those.

# %%
from llmlab.world import Formulary, corpora

print(corpora.domain_document(Formulary(), seed=0, i=0))

# %% [markdown]
# And three documents of the general corpus, the kind of text that replay mixes in.

# %%
from itertools import islice

for text in islice(corpora.general(0), 3):
    print(text, "\n")

# %% [markdown]
# The tokenizer was trained on the general corpus alone, so a drug's name shatters while common words stay whole. (Chapter 03 is about that.)

# %%
from llmlab.models.load import load

base = load("base")
for word in (" Keller lives in Belmont", " " + next(iter(Formulary().drugs))):
    print(base.tok.tokenize(word))

# %% [markdown]
# ## 2 · By hand: the objective
#
# Nothing new: the loss of CPT is the loss of pretraining. Three tokens, a vocabulary of three, and the model's logits for what comes next:

# %%
logits = torch.tensor([[[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])  # [B=1, T-1=2, V=3]
ids = torch.tensor([[0, 0, 1]])                               # [B=1, T=3]

# %% [markdown]
# The first row of logits must predict the second token, the second row the third. (Chapter 01 has the same shift with a mask.)

# %%
first = logits[0, 0].log_softmax(-1)[ids[0, 1]]
second = logits[0, 1].log_softmax(-1)[ids[0, 2]]
by_hand = -(first + second) / 2
by_hand

# %% [markdown]
# ## 3 · Read the source
#
# This is the function that pretrained the base model and that will now train on the drugs:

# %%
from llmlab.methods import imitation, parts

show(parts.token_mean, imitation.nll)

# %% [markdown]
# Our number and the library's must agree. `Out` is what a forward pass returns: logits and log-probs, already shifted.

# %%
from llmlab.models.forward import Out, token_logprobs
from llmlab.tokens.batch import Batch

out = Out(logits, token_logprobs(logits, ids[:, 1:]), torch.ones(1, 2))
loss, info = imitation.nll(out, Batch(ids, torch.ones(1, 3)))
assert torch.allclose(loss, by_hand)
loss

# %% [markdown]
# ## 4 · By hand: packing
#
# Documents have all lengths, rows have one. Four documents, rows of six tokens, two rows a batch (with `none` the other two documents come in the next batch); 0 ends a document and also fills up:

# %%
from llmlab.tokens.pack import pack, padding

documents = [[5, 6, 0], [7, 8, 9, 4, 0], [3, 0], [2, 0]]
rows = {how: next(pack(documents, rows=2, length=6, how=how))
        for how in ("none", "plain", "reset")}
for how, batch in rows.items():
    print(f"{how:6}", batch.ids.tolist(),
          f"{padding(batch):.0%} of the places train nothing")

# %% [markdown]
# `none` wastes places. `plain` wastes none, but the 7 can look back at the 5 and 6 of another document. `reset` keeps the rows and forbids that look:
# positions start again, and transformers builds the attention mask from them. Then the first token of a document has nothing to be predicted from, so its mask is 0.
# (In documents of two tokens that is half of all places; in real ones it is one token a document.)

# %%
print(rows["reset"]["positions"].tolist())
print(rows["reset"].mask.tolist())

# %% [markdown]
# Is "attention stays inside the document" true of the real model? Two documents packed with reset, against the second one alone:

# %%
from llmlab.models.forward import forward

a, b = (base.tok(t)["input_ids"] for t in islice(corpora.general(0), 2))
both = torch.tensor([a + b])
positions = torch.tensor([[*range(len(a)), *range(len(b))]])
columns = {"plain": {}, "reset": {"positions": positions}}
with torch.no_grad():
    alone = forward(
        base.model, Batch(torch.tensor([b]), torch.ones(1, len(b)))).logits[0]
    for how, given in columns.items():
        packed = forward(
            base.model, Batch(both, torch.ones(both.shape), given)).logits[0, len(a):]
        print(f"{how}: largest logit difference "
              f"{float((packed - alone).abs().max()):.1e}")

# %% [markdown]
# Two dials decide most of what follows: how fast the rate rises and falls, and how much of each batch is old text. Drag them, and read what a run of that length gets to see:

# %%
from llmlab.learn.widgets import Mechanism

Mechanism("schedule")

# %% [markdown]
# ## 5 · Predict
#
# Before you turn a knob, commit: each question covers its answer until you have given yours. We train 150 steps of 16 rows on drug monographs, once without replay and once with a fifth of general text.
# The learning rate climbs to `lr 2e-3` over 20 steps (`warmup 20`) and then falls in a straight line to a tenth.

# %%
from statistics import median

from llmlab.learn import figures
from llmlab.lab import runs

seeds = (0, 1, 2)
replay = {f"replay {share:.0%}": [runs.run(CPT(replay=share), seed) for seed in seeds]
          for share in (0.0, 0.2)}
end = lambda group, metric: median(r.metrics()[metric]["final"] for r in group)

# %%
Predict("Without replay: which share of the people that it knew does the model still "
        "know at the end?",
        lambda: 100 * end(replay["replay 0%"], "general_recall"), unit="%", low=0,
        high=100,
        why="Nothing in the monographs asks for people, and the weights that hold them "
            "are free to move.")

# %%
curves = lambda: {label: replay["replay 20%"][0].curve(m)
                  for m, label in CPT.curves.items() if m != "domain_recall"}
Predict("With 20 % replay: what does each curve do over the run?", curves,
        kind="sketch",
        metrics=[label for m, label in CPT.curves.items() if m != "domain_recall"],
        flat=0.05,
        shows=lambda: figures.curves(
            replay, CPT.curves,
            title="Continued pretraining on drug monographs, 3 seeds", early=True),
        why="A fifth of old text pulls back what the rising rate pushes away: a dip at "
            "first, then most of it returns.")

# %% [markdown]
# The first steps have the most room: the step axis is a root scale, so that the dip, and the way back from it, can be seen.
#
# ## 6 · Turn the knob
#
# Settings marked ● are stored with five seeds (line: median, band: lowest to highest) and answer at once. **Run** trains the present setting here, now, over that band. **Compare** keeps a setting in the picture
# beside the next one. **Stop** stops at once, and the next Run with the same knobs goes on where it stopped. In the terminal the same is `llmlab run cpt --replay 0.2`; for a class, `llmlab demo cpt`.

# %%
panel = Panel("cpt", show=["replay", "lr", "warmup"])
panel.preset({"replay": 0.5})  # not at the answer to the questions above
panel

# %% [markdown]
# These runs are stored with the workbook under the hash of everything they depend on; if the code changes, they are computed again rather than shown.

# %%
import pandas as pd

pd.set_option("display.max_colwidth", None)

ends = [
    {"setting": name, "seed": r.seed} | {m: r.metrics()[m]["final"] for m in CPT.curves}
    for name, group in replay.items() for r in group]
pd.DataFrame(ends).round(3)

# %% [markdown]
# Read it like this. The **stability gap** is the V in the general curves with replay: they worsen while the learning rate rises, and then recover in part. Without replay there is no V, only the way down.
# Some of the domain's facts are recalled after these few steps, a sixth to a third of them by the seed.
# The next cell takes the V apart: the worst reading of known people on the way, and the last one.

# %%
def gap(name, run, metric="general_recall"):
    curve = list(run.curve(metric).values())
    return {"setting": name, "seed": run.seed, "start": curve[0], "worst": min(curve),
            "end": curve[-1]}

pd.DataFrame(
    [gap(name, run) for name, group in replay.items() for run in group]).round(3)

# %% [markdown]
# How much replay, at which rate? The stored sweep holds the answer for a grid: shares at the end, median over five seeds, of the old (`general_recall`: known people) and of the new (`domain_recall`: drug facts).

# %%
from llmlab.lab import sweeps

sweep = sweeps.need("cpt")
grid = pd.DataFrame([p | {m: median(list(c.curve(m).values())[-1] for c in sweep.at(p))
                          for m in ("general_recall", "domain_recall")}
                     for p in sweep.grid.points() if p["warmup"] == 20])
grid.pivot(index="replay", columns="lr",
           values=["general_recall", "domain_recall"]).round(2)

# %% [markdown]
# Read it by columns. At the lowest rate next to nothing is learnt, with any replay. At `lr 2e-3` a fifth of replay keeps most of the old and costs little of the new. At the highest rate every share of replay is a trade.
# That is the whole argument about "the right rate" and "80/20": there is no point on this grid that is best at both.
#
# And the bottom of the V (the worst reading of known people on the way, median over five seeds) for the same grid:

# %%
worst = lambda knobs: [min(c.curve("general_recall").values()) for c in sweep.at(knobs)]
pd.DataFrame({f"lr {lr:g}": {f"replay {share:g}": median(
                                 worst({"replay": share, "lr": lr, "warmup": 20}))
                             for share in sweep.grid.axes["replay"]}
              for lr in sweep.grid.axes["lr"]}).round(2)

# %% [markdown]
# ## 7 · Break it, then fix it
#
# Each failure has a knob, and each cure too:
#
# | symptom | break it with | cure it with |
# |---|---|---|
# | general skills fall and stay down | `replay 0` | `replay` up |
# | old skills fall to nothing, early (the domain is learnt all the same) | `lr 5e-3`, `replay 0` | `lr` down, `replay` up, `gate` |
# | the domain is learnt slowly | `duplicates 0.8`, `boilerplate 0.5` | clean the data: set them to 0 |
# | wrong facts, fluently stated | `noise 0.5` | better sources |
# | the rare sub-domain stays bad | `mixing fixed` | `mixing adaptive` |
# | nobody noticed until release | `gate 0` | `gate 20`: stop, roll back, retune (`tolerance` says at what drop) |
#
# What the knobs mean, and how far they go:

# %%
pd.DataFrame([{"knob": k.name, "meaning": k.help, "range": k.range}
              for k in CPT.knobs()]).set_index("knob")

# %%
knobs = ["lr", "replay", "duplicates", "noise", "boilerplate", "anneal", "mixing",
         "kl_coef", "packing", "gate", "tolerance"]
faults = Panel("cpt", show=knobs)
faults

# %% [markdown]
# Every switch on its own, everything else at the default (20 % replay), three seeds each. The domain has three sub-domains of unequal size (heart, germs, nerves); the first column is the loss on the rarest, nerve drugs, a tenth of the documents.

# %%
switches = [{}, {"duplicates": 0.8}, {"boilerplate": 0.5}, {"noise": 0.5},
            {"anneal": 1.0}, {"mixing": "adaptive"}, {"kl_coef": 0.5},
            {"packing": "none"}, {"warmup": 0}, {"warmup": 60}]
metrics = ["domain_loss.nerves", *CPT.curves]
def medians(knobs):
    group = [runs.run(CPT(**knobs), seed) for seed in seeds]
    return {m: end(group, m) for m in metrics}

table = pd.DataFrame({" ".join(f"{k} {v}" for k, v in knobs.items())
                      or "default": medians(knobs) for knobs in switches}).T
table.round(3)

# %% [markdown]
# The same as differences from the default, seed by seed: mean, and the 95 % interval over three seeds. An interval that holds 0 says: not shown by this.

# %%
from llmlab.learn.notebook import paired

def finals(knobs, metric):
    return [runs.run(CPT(**knobs), seed).metrics()[metric]["final"] for seed in seeds]

pd.DataFrame({" ".join(f"{k} {v}" for k, v in knobs.items()): {
                  m: str(paired(finals({}, m), finals(knobs, m))) for m in metrics}
              for knobs in switches[1:]}).T

# %% [markdown]
# Read it by the rule of chapter 00: shown is what an interval without 0 shows.
#
# - **Shown: copies and page furniture cost domain loss.** The places they take are lost, and the loss *on the training texts* would look better than it is. Hence held-out text. (That last point is not measured here.)
# - **Bounded: wrong facts hardly move the loss.** With `noise 0.5` its interval is narrow and holds 0. What suffers is recall: three seeds do not resolve that (nor the effect of copies on it), more do (C013 and C014, in rows that do not count).
# - **Shown: a KL penalty to the base is no free cure.** `kl_coef 0.5` keeps old skills better and learns the form of the texts, but no facts: on domain text it pulls against just what is to be learnt. C037 compares it with replay at equal compute.
# - **Shown: adaptive mixing** lowers the loss where it was highest, on the rare sub-domain.
# - **Shown, and unexpected: rows with padding** (`packing none`) end a little better on the rare sub-domain. We do not know why; of so many intervals two or three miss 0 by chance.
# - **Not shown: warm-up and annealing.** Not "they do not matter" but "no effect at this size and this rate that three seeds can see". The sources name warm-up among the cures of the stability gap; the sweep above
#   holds the same question at other rates, with five seeds:

# %%
pd.DataFrame(
    {f"lr {lr:g}": {f"replay {share:g}": str(
                        paired(worst({"replay": share, "lr": lr, "warmup": 0}),
                               worst({"replay": share, "lr": lr, "warmup": 20})))
                    for share in sweep.grid.axes["replay"]}
     for lr in sweep.grid.axes["lr"]})

# %% [markdown]
# (The worst reading of known people on the way, with 20 steps of warm-up minus without: above 0 means that warm-up made the V shallower.) None is above 0 by more than its interval: at none of these
# rates is an effect of warm-up on the V shown (the wider intervals leave room for one). What the rate and replay do to it, the table of section 6 says.

# %% [markdown]
# The gate at work: a learning rate much too high, no replay. Every 20 steps the regression suite compares known people and sums with the reading before the first step.
# A drop of more than `tolerance` (here a fifth) rolls the weights back, halves the rate and moves a fifth of the batch to replay. Rejected steps stay spent: the step counter goes on.
# Beware of a gate that is too strict: the stability gap's V, of which a good part is won back, looks like a far larger regression while it lasts. Try `tolerance 0.05` with the default rate.

# %%
hasty = CPT(lr=5e-3, replay=0.0, steps=100)
gated = CPT(lr=5e-3, replay=0.0, steps=100, gate=20, tolerance=0.2)
reckless = {name: [runs.run(e, seed) for seed in seeds]
            for name, e in (("no gate", hasty), ("gate 20", gated))}
figures.curves(reckless, CPT.curves,
               title="A learning rate far too high, with and without a gate, 3 seeds",
               early=True)

# %%
for run in reckless["gate 20"]:
    print("seed", run.seed, "rollbacks:", max(run.curve("rollbacks").values()),
          *run.notes)

# %% [markdown]
# The price stands in the other panels: two stretches of steps were undone, and the gentler setting after them learns more slowly. The gate found a safer setting by trial, at the price of the rejected steps;
# choosing it beforehand would have been cheaper.
#
# ## 8 · What CPT is not
#
# The model has read about the drugs. Can it *answer questions* about them? We train once more, keep the weights, and ask: first to complete a statement, then to answer.

# %%
student = load("base")
*_, row = CPT(steps=100, probe=100).rows(student, seed=0)
print(f"statements completed rightly: {row['domain_recall']:.0%}")

# %%
from llmlab.train import probes

drugs = Formulary(CPT().drugs)
asked = probes.question_rows(student.tok, drugs, drugs.problems(128, seed=7))
print("questions answered rightly: "
      f"{probes.exact(student.model, probes.batches(asked)):.0%}")

# %% [markdown]
# Documents teach to continue documents; whether that is enough to answer depends: for drugs, about which nobody had ever asked this model, no (C019); for new people, nearly as well as questions about them (C002). The sources say "CPT for knowledge, SFT for
# behaviour"; our two numbers agree with that and cannot show it: one seed, and after these few steps hardly a fact is known in either form. The ledger asks more carefully: C019 over seeds, and C002 with documents
# against questions at equal tokens, in one wording and in several. Try it: `llmlab run facts --texts questions --forms 1`.
#
# ## 9 · Long documents
#
# Continued pretraining is also how models are brought to longer contexts. This model was pretrained on rows of 256 tokens. What is its loss further on in a text than it ever saw?
# The same general documents, one after the other, in rows of 512; loss by place in the row.

# %%
from llmlab.tokens.special import document_end
from llmlab.tokens import pack as packing

long = next(packing.pack(packing.encode_documents(base.tok,
                                                  corpora.general(0, split="test"),
                                                  document_end(base.tok)),
                         rows=24, length=513))
with torch.no_grad():
    loss = -forward(base.model, long).logprobs.mean(0)
pd.Series({f"places {a + 1} to {a + 128}": float(loss[a:a + 128].mean())
           for a in range(0, 512, 128)},
          name="nats per token").round(3)

# %% [markdown]
# (One model: an illustration.) Inside what it was trained on, more context helps: the second stretch is easier than the first. Beyond, each further stretch is harder again: the model has never met those distances.
# A loss says little about *using* what stands far above. Claim C012 asks for one line of a long list, at about twice the trained length, before and after reading lists: short ones or long ones, at equal tokens.
#
# ## 10 · Your own documents
#
# The same recipe on texts of yours: a folder of `.txt`, `.md` or `.jsonl` files. Here on real text that every Python has: its licence and docstrings.
#
# ```
# llmlab run cpt --domain python
# llmlab run cpt --domain my_documents --replay 0.3
# llmlab run cpt --domain my_documents --model Qwen/Qwen3-0.6B --device cuda --lr 1e-5
# ```

# %%
texts = Texts.cut(corpora.python_texts())
own = runs.run(CPT(steps=60), seed=0, texts=texts)
pd.DataFrame(own.metrics()).T.round(3)

# %% [markdown]
# Real English prose costs far more nats than Verania's: this model has one million parameters and a vocabulary made for another country. The regressions are measured all the same.

# %% [markdown]
# ## 11 · The evidence
#
# Every statement of the sources about this chapter is a **claim** in the ledger: put into our words, with arms, a direction and a smallest effect of interest, and the log of declarations says when each was fixed and what was
# changed after results were known. A claim's parts are decided one by one, by the 98 % interval over seeds: *as claimed*, *reversed*, *too small* (or, where no difference was claimed, *differs*), else *open*. Seeds are looked at when there
# are five, ten and twenty. *Supported* means that every part is as claimed, *refuted* that every part is excluded, *conditional* that it depends on a knob that is named; *withheld* that the design cannot decide it, and why. A verdict holds for this lab: a small
# model and a small world. The line in italics is what to know before quoting it. The whole ledger stands in [its own notebook](ledger.ipynb).

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("02")
evidence

# %% [markdown]
# The same as a picture: each effect divided by the smallest one of interest, so that 1 is the border. Right of it: as claimed, and large enough to matter.

# %%
forest.figure(evidence.rows)

# %% [markdown]
# **Replay is a dose.** What its share keeps, and what it costs on the domain (C016). A dot is a seed.

# %%
from llmlab.chapters.c02_continued_pretraining import claims as arms
from llmlab.learn.draw import dose, over_steps

shares = [arms.NONE, arms.FIVE, arms.TEN, arms.DEFAULT, arms.HALF]
dose(shares, "replay",
     {"people": "known people right (share)", "sums": "two-digit sums right (share)",
      "domain_nats": "domain loss (nats per character)"})

# %% [markdown]
# **The stability gap, and the representation beside it** (C031, C032, C033). *CKA* compares the last layer's vectors with those of the base on the same text: 1 means the same up to rotation and scale.

# %%
shown = {"general_nats": "general loss (nats per token)",
         "people": "known people right (share)",
         "likeness": "last layer's likeness to the base (CKA)"}
over_steps([arms.DEFAULT, arms.COLD, arms.SLOW], shown)

# %% [markdown]
# Warm-up moves the dip to a later step; whether it makes it shallower by the border is open (C033). Replay decides whether there is a way back:

# %%
over_steps([arms.NONE, arms.DEFAULT, arms.HALF], shown)

# %% [markdown]
# Layer by layer: 0 is the embedding, 4 the last block's output. The embedding hardly moves; the last block, which stands before the prediction, moves most. With replay it turns back (whether by the border is open: C032), without it does not.

# %%
from llmlab.learn.draw import layers

layers([arms.NONE, arms.DEFAULT, arms.HALF])

# %% [markdown]
# **Mid-training and what reinforcement learning makes of it** (C023). The documents held sums with several terms, some solved in steps; then came the same GRPO, rewarded for right answers only.
# Left: right answers after it. Right: the share of answers written in steps.

# %%
dose(list(arms.WORKED.values()), "share",
     {"skill": "right answers after GRPO (share)",
      "in_steps": "answers in steps (share)"},
     "of worksheets with steps")

# %% [markdown]
# How much is *before* the practice? The reading before its first step:

# %%
dose(list(arms.WORKED.values()), "share",
     {"skill": "right answers before GRPO (share)",
      "in_steps": "answers in steps (share)"},
     "of worksheets with steps", "before")

# %% [markdown]
# Read the two together. *Before* the practice, steps in the documents do not pay: right answers are fewer with them than without. After it, all seeds with the largest share answer in steps, and nearly always rightly; with the
# smallest none does. In between some seeds do and some do not, and a mean over the two kinds describes neither. That GRPO makes a rule of what is sampled now and then, and of nothing else, would explain it; our arms do not isolate it.

# %% [markdown]
# ## 12 · Where the sources are contested
#
# - **"80/20."** A starting guess. Published useful ranges go from 1 % to 50 %, depending on the shift [Ibrahim et al. 2024]. Find yours with the slider.
# - **"Learning rate much lower than in pretraining."** Re-warming the rate learns the domain faster and forgets more: a trade-off, not a rule [Ibrahim et al. 2024].
# - **The stability gap's remedy.** The paper that named it for LLMs recommends several epochs on a well-chosen subset and a mixture close to pretraining, not replay alone [Guo et al. 2024].
# - **"Add a KL term to the base."** It costs a second forward pass, about a third more compute, so the fair rival is that much more training on replay. In RL, on-policy data explains retention better
#   than KL does [Chen et al. 2025].
# - **"Mid-training makes RL work."** Reported for reasoning [Wang et al. 2025; Zhang et al. 2025; Tsilivis et al. 2025]; C023 above is our test: `llmlab run midtrain --share 0.3`.
# - **"CPT teaches facts."** With a single wording, facts are stored and not extractable [Allen-Zhu and Li 2023]. Several wordings helped for people (C002); for drugs six of them were not enough to answer questions (C019).
#
# ## 13 · Exercises

# %%
from llmlab.learn.judge import check, hint, reset, solution, task

task("replay_rows")

# %%
def replay_rows(share, rows, u):
    ...

check("replay_rows", replay_rows)

# %%
task("gate_decision")

# %%
task("kl_to_base")

# %%
task("dedup")

# %% [markdown]
# More: `task("pack_plain")`, `task("anneal_replay")`, `task("adaptive_weights")`.
#
# ## 14 · Drills

# %%
Drills("02")

# %% [markdown]
# ## 15 · Interview page
#
# What to know by heart, on one page: the formulas as the papers have them, what this lab shows, what is known about large models, and three follow-ups. Keep the two kinds of evidence apart when you speak. In the terminal: `llmlab interview 02`.

# %%
from llmlab.learn.interview import interview

interview("02")

# %% [markdown]
# ## To take away
#
# 1. Reading the domain alone drives out what is not read any more. Some old text in every batch keeps most of it, and costs a part of the new.
# 2. A higher rate learns more and forgets more. Look at both curves at equal learning, not at the end of one of them.
# 3. Say beforehand what must be kept, and watch it from the first step: loss on the domain tells nothing of it.

# %%
references("stability_gap_2024", "stability_gap_acl_2025", "ibrahim_2024",
           "allen_zhu_2023", "retaining_by_doing_2025", "lee_2021_dedup",
           "octothinker_2025", "interplay_pre_mid_rl_2025", "tsilivis_2025",
           "kornblith_2019", "doremi_2023")
