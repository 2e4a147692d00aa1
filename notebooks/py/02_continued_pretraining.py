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
# **Where we are.** We have a base model. It knows the people of Verania, adds two-digit numbers and copies from its prompt.
# It has never read about a drug. We want it to learn the drugs *and* to keep what it knows.
#
# ```
# pretraining → [ continued pretraining ] → SFT → preferences / RL → distillation
# ```
#
# **For a ten-year-old.** You read a thick book about medicine for a week. You learn many words. If you do nothing else that week, your sums get rusty.
# So you read every fifth page from your old school books.
#
# **In an interview.** *Continued pretraining (CPT) is next-token training on a new distribution. It buys knowledge and fluency and costs general skill. Replay is the
# cheapest insurance, and I choose its share with a regression suite, not by faith.*
#
# Words used here: **domain** = the new texts; **replay** = texts like the old ones, mixed in; **packing** = filling rows with several documents;
# **warm-up** = the steps over which the learning rate climbs to its peak; **nats** = the unit of a loss that uses the natural logarithm.

# %%
import torch

from llmlab.chapters.c02_continued_pretraining.cpt import CPT, Texts
from llmlab.learn.notebook import references, show
from llmlab.learn.widgets import Drills, Panel, Predict

# %% [markdown]
# **When is it the right tool?** When the model lacks *knowledge of a domain*: its loss on such texts is high, it mangles names and jargon, and it doesn't know the document forms (laws, code, records).
# If the model knows the domain and only *answers* badly, you need SFT instead. If the passages can be looked up, try retrieval first (chapter 08). And CPT is never an alignment step: the model learns whatever the documents contain, harmful
# patterns included. (Our test of whether those outlive safety training, C022, could not decide it.)
#
# A checklist for an interview:
#
# - **data**: deduplicated [Lee et al. 2021], without page furniture, documents delimited
# - **mixture**: replay, its share chosen by regression gates
# - **rate**: re-warmed, far below what breaks old skills
# - **evaluation**: domain gains and general regressions, from the first step to the last
#
# ## 1 · The texts
#
# This is a drug monograph, as the model reads it. Every fact has six wordings. We hold out one fifth of all pairs (drug, wording) and measure on those.

# %%
from llmlab.world import Formulary, corpora

print(corpora.domain_document(Formulary(), seed=0, i=0))

# %% [markdown]
# And these are three documents of the general corpus, the kind of text that replay mixes in.

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
# There is nothing new here: the loss of CPT is the loss of pretraining. We take three tokens, a vocabulary of three, and the model's logits for what comes next:

# %%
logits = torch.tensor([[[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])  # [B=1, T-1=2, V=3]
ids = torch.tensor([[0, 0, 1]])                               # [B=1, T=3]

# %% [markdown]
# The first row of logits predicts the second token, the second row the third. (Chapter 01 has the same shift with a mask.)

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
# Documents have many lengths, rows have one. Here are four documents, rows of six tokens and two rows a batch. (With `none` the other two documents come in the next batch.) A 0 ends a document and also fills up a row:

# %%
from llmlab.tokens.pack import pack, padding

documents = [[5, 6, 0], [7, 8, 9, 4, 0], [3, 0], [2, 0]]
rows = {how: next(pack(documents, rows=2, length=6, how=how))
        for how in ("none", "plain", "reset")}
for how, batch in rows.items():
    print(f"{how:6}", batch.ids.tolist(),
          f"{padding(batch):.0%} of the places train nothing")

# %% [markdown]
# Compare the shares. `none` wastes many positions. `plain` wastes none, but the 7 can look back at the 5 and 6 of another document. `reset` keeps the rows and prevents that:
# positions start again, and transformers builds the attention mask from them. Then nothing predicts the first token of a document, so its mask is 0.
# (In documents of two tokens that is half of all positions; in real ones it is one token a document.)

# %%
print(rows["reset"]["positions"].tolist())
print(rows["reset"].mask.tolist())

# %% [markdown]
# Does attention really stay inside the document in the real model? We pack two documents and compare the second one with the same document alone:

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
# With `reset` the difference is rounding error; with `plain` it is large. So the model's answer about the second document depends on the first one unless you reset.
#
# Two dials decide most of what follows: how fast the rate rises and falls, and how much of each batch is old text. Drag them and read what the model sees in a run of that length:

# %%
from llmlab.learn.widgets import Mechanism

Mechanism("schedule")

# %% [markdown]
# ## 5 · Predict
#
# Before you turn a knob, commit: each question hides its answer until you have given yours. We train 150 steps of 16 rows on drug monographs, once without replay and once with a fifth of general text.
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
Predict("Without replay: what share of the people that it knew does the model still "
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
# Look at the first steps: with replay the general curves dip and then come most of the way back; without replay they only fall. (The step axis is a root scale, which gives the dip more room. Three seeds show the shape, not its exact depth.)
#
# ## 6 · Turn the knob
#
# Settings marked ● are stored with five seeds (line: median, band: lowest to highest) and answer at once. **Run** trains the present setting here and now, over that band. **Compare** keeps a setting in the picture
# beside the next one. **Stop** stops at once, and the next Run with the same knobs continues from there. In the terminal: `llmlab run cpt --replay 0.2`; for a class: `llmlab demo cpt`.

# %%
panel = Panel("cpt", show=["replay", "lr", "warmup"])
panel.preset({"replay": 0.5})  # not at the answer to the questions above
panel

# %% [markdown]
# The runs below are stored with the workbook under the hash of everything that they depend on. If the code changes, they are computed again rather than shown.

# %%
import pandas as pd

pd.set_option("display.max_colwidth", None)

ends = [
    {"setting": name, "seed": r.seed} | {m: r.metrics()[m]["final"] for m in CPT.curves}
    for name, group in replay.items() for r in group]
pd.DataFrame(ends).round(3)

# %% [markdown]
# Replay keeps most of the known people and the sums in every seed; without it both are nearly gone. After these few steps the model recalls only some of the domain's facts, and how many depends on the seed.
#
# The **stability gap** is the V in the general curves with replay: they get worse while the learning rate rises, and then recover in part. Without replay there is no V, only a fall.
# The term has two meanings. It was coined for *old* tasks, which dip right after training switches to a new one [De Lange et al. 2023]; that is the V here. For language models it was also used for tasks of the *new* domain, which dip early in continued pretraining [Guo et al. 2024].
# The next cell takes the V apart: the worst reading of known people during the run, and the last one.

# %%
def gap(name, run, metric="general_recall"):
    curve = list(run.curve(metric).values())
    return {"setting": name, "seed": run.seed, "start": curve[0], "worst": min(curve),
            "end": curve[-1]}

pd.DataFrame(
    [gap(name, run) for name, group in replay.items() for run in group]).round(3)

# %% [markdown]
# Compare *worst* with *end*: with replay the model wins back most of what it lost; without it, the worst reading is at or near the end.
#
# How much replay, at which rate? The stored sweep answers this for a grid. It gives shares at the end, as medians over five seeds, of the old (`general_recall`: known people) and of the new (`domain_recall`: drug facts).

# %%
from llmlab.lab import sweeps

sweep = sweeps.need("cpt")
grid = pd.DataFrame([p | {m: median(list(c.curve(m).values())[-1] for c in sweep.at(p))
                          for m in ("general_recall", "domain_recall")}
                     for p in sweep.grid.points() if p["warmup"] == 20])
grid.pivot(index="replay", columns="lr",
           values=["general_recall", "domain_recall"]).round(2)

# %% [markdown]
# No point on this grid is best at both. Read the columns: at the lowest rate the model learns next to nothing, with any replay. At `lr 2e-3` a fifth of replay keeps most of the old and costs little of the new. At the highest rate every share of
# replay is a trade-off. That is the whole argument about "the right rate" and "80/20".
#
# For the same grid, this is the bottom of the V: the worst reading of known people during the run, median over five seeds.

# %%
worst = lambda knobs: [min(c.curve("general_recall").values()) for c in sweep.at(knobs)]
pd.DataFrame({f"lr {lr:g}": {f"replay {share:g}": median(
                                 worst({"replay": share, "lr": lr, "warmup": 20}))
                             for share in sweep.grid.axes["replay"]}
              for lr in sweep.grid.axes["lr"]}).round(2)

# %% [markdown]
# A higher rate makes the V deeper, and more replay makes it shallower. The table shows medians; it doesn't show how much the seeds differ.
#
# ## 7 · Break it, then fix it
#
# Each failure has a knob, and so has each cure. Read the table from the symptom that you see to the knob that makes it and the knob that cures it:
#
# | symptom | break it with | cure it with |
# |---|---|---|
# | general skills fall and stay down | `replay 0` | `replay` up |
# | old skills fall to nothing early, although the model learns the domain | `lr 5e-3`, `replay 0` | `lr` down, `replay` up, `gate` |
# | the domain is learnt slowly | `duplicates 0.8`, `boilerplate 0.5` | clean the data: set them to 0 |
# | wrong facts, fluently stated | `noise 0.5` | better sources |
# | the rare sub-domain stays bad | `mixing fixed` | `mixing adaptive` |
# | nobody noticed until release | `gate 0` | `gate 20`: stop, roll back, retune (`tolerance` says at what drop) |
#
# This is what the knobs mean, and how far each of them goes:

# %%
pd.DataFrame([{"knob": k.name, "meaning": k.help, "range": k.range}
              for k in CPT.knobs()]).set_index("knob")

# %%
knobs = ["lr", "replay", "duplicates", "noise", "boilerplate", "anneal", "mixing",
         "kl_coef", "packing", "gate", "tolerance"]
faults = Panel("cpt", show=knobs)
faults

# %% [markdown]
# Now every switch on its own, with everything else at the default (20 % replay), three seeds each. The domain has three sub-domains of unequal size (heart, germs, nerves). The first column is the loss on the rarest: nerve drugs, a tenth of
# the documents.

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
# Look for rows that differ from the first one. Which of these differences are more than luck? Here they are again as differences from the default, seed by seed: the mean and the 95 % interval over three seeds.

# %%
from llmlab.learn.notebook import paired

def finals(knobs, metric):
    return [runs.run(CPT(**knobs), seed).metrics()[metric]["final"] for seed in seeds]

pd.DataFrame({" ".join(f"{k} {v}" for k, v in knobs.items()): {
                  m: str(paired(finals({}, m), finals(knobs, m))) for m in metrics}
              for knobs in switches[1:]}).T

# %% [markdown]
# If the interval contains 0, no effect has been shown. And with this many intervals, expect two or three to miss 0 by chance, so treat a surprise as a question.
#
# - **Seen in three seeds: copies and page furniture raise the domain loss.** They take the place of useful text. (The loss *on the training texts* would look better than it is, so we measure on held-out text. That part is not tested here.)
# - **Bounded: wrong facts hardly move the loss.** With `noise 0.5` its interval is narrow and contains 0. Recall may still suffer: three seeds can't resolve that, and neither can they resolve the effect of copies on it. The ledger has five
#   seeds: see C013 and C014 with their caveats.
# - **Seen in three seeds: a KL penalty to the base is no free cure.** `kl_coef 0.5` keeps old skills better. It lets the model learn the form of the texts but no facts, because on domain text it pulls against the very thing we want to teach. C037 compares it
#   with replay at equal compute.
# - **Seen in three seeds: adaptive mixing** lowers the loss where it was highest, on the rare sub-domain. (At scale DoReMi learns such weights with a small model beforehand [Xie et al. 2023].)
# - **A question, not a finding: rows with padding** (`packing none`) end a little better on the rare sub-domain. Nobody predicted it and we know no reason, so it may be one of the chance misses.
# - **Not shown: warm-up and annealing.** That doesn't mean "they don't matter". It means "three seeds see no effect at this size and this rate". The sources name warm-up among the cures of the stability gap, so here is the same question at other
#   rates, from the sweep above with five seeds:

# %%
pd.DataFrame(
    {f"lr {lr:g}": {f"replay {share:g}": str(
                        paired(worst({"replay": share, "lr": lr, "warmup": 0}),
                               worst({"replay": share, "lr": lr, "warmup": 20})))
                    for share in sweep.grid.axes["replay"]}
     for lr in sweep.grid.axes["lr"]})

# %% [markdown]
# Each cell is the worst reading of known people during the run, with 20 steps of warm-up minus without. Above 0 means that warm-up made the V shallower. Every interval contains 0 or lies below it, so no benefit of warm-up is shown at
# any of these rates. (The wider intervals leave room for one.) The table of section 6 shows what the rate and replay do to the V.

# %% [markdown]
# Now the gate at work, with a learning rate much too high and no replay. Every 20 steps the regression suite compares known people and sums with the reading before the first step.
# A drop of more than `tolerance` (here a fifth) rolls the weights back, halves the rate and moves a fifth of the batch to replay. Rejected steps stay spent: the step counter keeps running.
# Beware of a gate that is too strict. While it lasts, the V of the stability gap looks like a far larger regression than the one that remains. Try `tolerance 0.05` with the default rate.

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
# The gate saves the old skills. The other panels show the cost: the rejected steps are lost, and the gentler setting after them learns more slowly. The gate found a safer setting by trial;
# choosing it beforehand would have been cheaper.
#
# ## 8 · What CPT is not
#
# The model has read about the drugs. Can it *answer questions* about them? We train once more, keep the weights, and ask it first to complete a statement and then to answer a question.

# %%
student = load("base")
*_, row = CPT(steps=100, probe=100).rows(student, seed=0)
print(f"statements completed correctly: {row['domain_recall']:.0%}")

# %%
from llmlab.train import probes

drugs = Formulary(CPT().drugs)
asked = probes.question_rows(student.tok, drugs, drugs.problems(128, seed=7))
print("questions answered correctly: "
      f"{probes.exact(student.model, probes.batches(asked)):.0%}")

# %% [markdown]
# Our two numbers show nothing yet: they come from one seed, and after these few steps the model knows hardly a fact in either form. The sources say "CPT for knowledge, SFT for behaviour", because documents teach a model to continue documents.
# The ledger asks more carefully. C019 compares the two ways of asking over seeds. It is withheld: answers to questions are near the floor in both arms, so it can't tell whether reading made the model answer.
# C002 compares documents with questions at equal tokens: about new people, documents taught the model to answer nearly as well as questions did. A likely reason for the difference: in pretraining this base had read questions about people and none about drugs. Our arms don't isolate it. Try it: `llmlab run facts --texts questions --forms 1`.
#
# ## 9 · Long documents
#
# Continued pretraining is also how one extends a model to longer contexts. This model was pretrained on rows of 256 tokens. What is its loss at positions that it has never seen?
# We put the same general documents into rows of 512, one after the other, and read the loss by position in the row.

# %%
from llmlab.tokens.special import document_end
from llmlab.tokens import pack as packing

long = next(packing.pack(packing.encode_documents(base.tok,
                                                  corpora.general(0, split="test"),
                                                  document_end(base.tok)),
                         rows=24, length=513))
with torch.no_grad():
    loss = -forward(base.model, long).logprobs.mean(0)
pd.Series({f"positions {a + 1} to {a + 128}": float(loss[a:a + 128].mean())
           for a in range(0, 512, 128)},
          name="nats per token").round(3)

# %% [markdown]
# Within the trained length more context helps: the second stretch is easier than the first. Beyond it each stretch is harder again, because the model has never met those distances. (One model: an illustration.)
# The loss says little about whether the model can *use* something far above. Claim C012 tests that: it asks for one line of a long list, at about twice the trained length, after reading short lists or long ones at equal tokens.
#
# ## 10 · Your own documents
#
# The same recipe runs on your own texts: a folder of `.txt`, `.md` or `.jsonl` files. Here it runs on real text that every Python has, its licence and docstrings.
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
# Compare start and final: the loss on the new texts falls, and the old skills are measured beside it. Real English costs far more nats than Verania's, because this model has one million parameters and a vocabulary made for another country.

# %% [markdown]
# ## 11 · The evidence
#
# Each statement that the sources make on this topic is a **claim** in the ledger: put into our words, with arms, a direction and a smallest effect of interest. A log says when each claim was fixed and what was changed after results were known.
#
# A claim has parts, and the 98 % interval over seeds decides each part. We look at five, ten and twenty seeds, and at no other number. (A 98 % interval and not a 95 % one, because up to three looks give chance three tries.)
#
# - *as claimed*: the interval lies on the claimed side of 0, and the mean is at least the smallest effect of interest. Where no difference was claimed, the whole interval is smaller than that effect, in both directions.
# - *reversed*: it lies on the other side of 0
# - *too small*: it ends below the smallest effect of interest
# - *differs*: no difference was claimed, and the whole interval lies beyond the smallest effect
# - *open*: none of these
#
# A part that is *reversed*, *too small* or *differs* is **excluded**: the effect that was claimed is not there. The parts decide the claim:
#
# - *supported*: every part is as claimed
# - *refuted*: every part is excluded
# - *conditional*: some parts hold, the others are excluded, and their arms differ in the knob that is named
# - *supported in part*, *refuted in part*: some parts are as claimed, or excluded; with no knob to explain a mixture, a claim can be both
# - *open*: no part is decided
# - *withheld*: the design cannot decide it, and the row says why. Both sides are at the floor or the ceiling, a condition of the claim's own fails, a rate is at the edge of those tried, or there are too few questions.
# - *proven*: by counting or by a closed form
# - *corrected*: the source's words are imprecise, and the truth can be shown
# - *untestable*: the row says why
#
# Why withhold an effect whose interval is clear of 0? C071 of chapter 07 is the example: with old samples, a clip keeps far more right answers than no clip does. But its exam has so few questions that the luck of choosing *them* is larger than the smallest effect of interest, and an interval over seeds doesn't contain that luck, because every seed gets the same questions. With other questions the effect could be another one.
#
# A verdict holds for this lab, a small model in a small world. Read the line in italics before you quote one. The whole ledger is in [its own notebook](ledger.ipynb).

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("02")
evidence

# %% [markdown]
# The same as a picture:

# %%
forest.figure(evidence.rows)

# %% [markdown]
# Effects are divided by the smallest effect of interest, and the claimed side is on the right. A part of a claim is as claimed if its dot is right of 1 and its interval right of 0. Where no difference was claimed, the whole interval must lie inside the blue band.
#
# **Replay is a dose.** The next figure shows what each share keeps and what it costs on the domain (C016). A dot is a seed.

# %%
from llmlab.chapters.c02_continued_pretraining import claims as arms
from llmlab.learn.draw import dose, over_steps

shares = [arms.NONE, arms.FIVE, arms.TEN, arms.DEFAULT, arms.HALF]
dose(shares, "replay",
     {"people": "known people right (share)", "sums": "two-digit sums right (share)",
      "domain_nats": "domain loss (nats per character)"})

# %% [markdown]
# The first tenth of replay buys most of what a fifth buys, and every share costs some of the domain.
#
# **The stability gap and the representation** (C031, C032, C033). *CKA* [Kornblith et al. 2019] compares the last layer's vectors with those of the base on the same text: 1 means the same up to rotation and scale.

# %%
shown = {"general_nats": "general loss (nats per token)",
         "people": "known people right (share)",
         "likeness": "last layer's likeness to the base (CKA)"}
over_steps([arms.DEFAULT, arms.COLD, arms.SLOW], shown)

# %% [markdown]
# Warm-up moves the dip to a later step. With the long warm-up the worst general loss is slightly lower than without any; for the known people, the table of section 7 shows no benefit of a shorter one. (C033 as a whole is withheld, because of its other part: the two learning rates don't learn equally much.) Replay decides whether there is a way back:

# %%
over_steps([arms.NONE, arms.DEFAULT, arms.HALF], shown)

# %% [markdown]
# Only the runs with replay recover. Without it, loss and representation keep moving away from the base.
#
# Which layers move? In the next figure 0 is the embedding and 4 the output of the last block.

# %%
from llmlab.learn.draw import layers

layers([arms.NONE, arms.DEFAULT, arms.HALF])

# %% [markdown]
# The embedding hardly moves, and the last block, right before the prediction, moves most. With replay it comes part of the way back (whether by enough to matter is open: C032). Without replay it doesn't.

# %% [markdown]
# **Mid-training, and what reinforcement learning makes of it** (C023). The model read documents with sums of several terms, some of them solved in steps. Then every arm got the same GRPO, which rewarded right answers only.
# Left: right answers after GRPO. Right: the share of answers written in steps.

# %%
dose(list(arms.WORKED.values()), "share",
     {"skill": "right answers after GRPO (share)",
      "in_steps": "answers in steps (share)"},
     "of worksheets with steps")

# %% [markdown]
# And how much of this was there *before* the practice? This is the reading before its first step:

# %%
dose(list(arms.WORKED.values()), "share",
     {"skill": "right answers before GRPO (share)",
      "in_steps": "answers in steps (share)"},
     "of worksheets with steps", "before")

# %% [markdown]
# Read the two figures together. *Before* GRPO, steps in the documents don't pay off: the model gets fewer sums right with them than without. *After* GRPO, all seeds with the largest share answer in steps, and nearly always correctly;
# with the smallest share no seed does. In between some seeds do and some don't, and a mean over the two kinds describes neither. One explanation: GRPO can only amplify what the model already samples occasionally. Our arms don't isolate it.

# %% [markdown]
# ## 12 · Where the sources are contested
#
# - **"80/20."** A starting guess. At scale, useful shares go from 1 % to 50 %, depending on the shift [Ibrahim et al. 2024]. Find yours with the slider.
# - **"Learning rate much lower than in pretraining."** Re-warming the rate makes the model learn the domain faster and forget more: a trade-off, not a rule [Ibrahim et al. 2024].
# - **The stability gap's remedy.** The paper that studied it in LLMs recommends several epochs on a well-chosen subset and a mixture close to pretraining, not replay alone [Guo et al. 2024].
# - **"Add a KL term to the base."** It costs a second forward pass, about a third more compute, so the fair rival is that much more training on replay. In RL, on-policy data explains retention better
#   than KL does [Chen et al. 2025].
# - **"Mid-training makes RL work."** At scale, several groups report it for reasoning [Wang et al. 2025; Zhang et al. 2025; Tsilivis et al. 2025]. C023 above is our test in the lab: `llmlab run midtrain --share 0.3`.
# - **"CPT teaches facts."** At scale, facts read in a single wording are stored and can't be extracted [Allen-Zhu and Li 2023]. In the lab, documents in several wordings let the model answer questions about people (C002); about drugs, the
#   lab can't decide it yet (C019, withheld).
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
# 1. A model that reads only the domain forgets the rest. Some old text in every batch keeps most of it, and costs part of the new.
# 2. A higher rate learns more and forgets more. Read both curves where the runs have learnt equally, not at the end.
# 3. Say beforehand what must be kept, and watch it from the first step. The loss on the domain tells you nothing about it.

# %%
references("de_lange_2023", "stability_gap_2024", "stability_gap_acl_2025",
           "ibrahim_2024", "allen_zhu_2023", "retaining_by_doing_2025",
           "lee_2021_dedup",
           "octothinker_2025", "interplay_pre_mid_rl_2025", "tsilivis_2025",
           "kornblith_2019", "doremi_2023")
