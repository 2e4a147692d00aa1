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
# **Where we are.** We have a base model. It knows the people of Verania, adds two-digit numbers and copies from its prompt. It has never read about a drug. We want it to learn the drugs *and* to keep what it knows.
#
# ```
# pretraining → [ continued pretraining ] → SFT → preferences / RL → distillation
# ```
#
# **For a ten-year-old.** You read a thick book about medicine for a week. You learn many words. If you do nothing else that week, your sums get rusty. So you read every fifth page from your old school books.
#
# **In an interview.** *Continued pretraining (CPT) is next-token training on a new distribution. It buys knowledge and fluency and costs general skill. Replay is the cheapest insurance, and I choose its share with a regression suite, not by faith.*
#
# Words used here: **domain** = the new texts; **replay** = texts like the old ones, mixed in; **regression suite** = tests of the old skills; **packing** = filling rows with several documents; **warm-up** = the steps over which the learning rate climbs to its peak; **nats** = the unit of a loss that uses the natural logarithm.

# %%
import torch

from llmlab.chapters.c02_continued_pretraining.cpt import CPT, Texts
from llmlab.learn.notebook import references, show
from llmlab.learn.widgets import Drills, Panel, Predict

# %% [markdown]
# **When is it the right tool?** Use it when the model lacks *knowledge of a domain*: its loss on such texts is high, and it mangles names, jargon and document forms. If it knows the domain and only *answers* badly, use SFT. If the passages can be looked up, try retrieval first (chapter 08). Plain CPT doesn't align a model, and may undo alignment: it learns the harmful patterns in its documents, too. (Pretraining *can* align if human preferences enter its objective: [Korbak et al. 2023].)
#
# A plan for CPT has four points:
#
# - **Data.** Deduplicate [Lee et al. 2021], remove boilerplate such as page headers, mark where documents end.
# - **Mixture.** Mix in replay, and choose its share with the regression suite.
# - **Rate.** Try several peaks: a low one keeps more and learns less. Warming up again is customary; in the lab its benefit is small (C033).
# - **Evaluation.** Measure domain gains and general regressions from the first step.
#
# ## 1 · The texts
#
# What does the model read? This is a monograph about one drug. Every fact has six wordings. We hold out one fifth of all pairs (drug, wording) and measure on those.

# %%
from llmlab.world import Formulary, corpora

print(corpora.domain_document(Formulary(), seed=0, i=0))

# %% [markdown]
# Each sentence states one fact about the drug. Next come three general documents, as replay mixes them in.

# %%
from itertools import islice

for text in islice(corpora.general(0), 3):
    print(text, "\n")

# %% [markdown]
# These documents train skills, such as reading a value from a form or a list. The tokenizer was trained on this corpus alone. So it splits a drug's name into many tokens (chapter 03 is about that).

# %%
from llmlab.models.load import load

base = load("base")
for word in (" Keller lives in Belmont", " " + next(iter(Formulary().drugs))):
    print(base.tok.tokenize(word))

# %% [markdown]
# This one name of a drug takes more tokens than the four common words.
#
# ## 2 · By hand: the objective
#
# What does CPT minimise? The same loss as pretraining. Take three tokens, a vocabulary of three, and logits for the second and the third token:

# %%
logits = torch.tensor([[[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])  # [B=1, T-1=2, V=3]
ids = torch.tensor([[0, 0, 1]])                               # [B=1, T=3]

# %% [markdown]
# The first row of logits predicts the second token, the second row the third. The loss is the mean of the two negative log-probabilities:

# %%
first = logits[0, 0].log_softmax(-1)[ids[0, 1]]
second = logits[0, 1].log_softmax(-1)[ids[0, 2]]
by_hand = -(first + second) / 2
by_hand

# %% [markdown]
# ## 3 · Read the source
#
# Does the library compute the same? This is the loss that pretrained the base model:

# %%
from llmlab.methods import imitation, parts

show(parts.token_mean, imitation.nll)

# %% [markdown]
# The next cell stops if our number and the library's differ. `Out` is what a forward pass returns: logits and log-probabilities, already shifted.

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
# Documents have many lengths, rows have one. How do we fill the rows? We put four documents into two rows of six tokens. A 0 ends a document and also fills up a row. `none` gives each document a row (two wait for the next batch). `plain` writes them one after the other. `reset` does the same and starts the positions again at each document. The share at the end of each line counts the tokens that are not trained. (Nothing predicts a row's first token in any scheme, so the share leaves it out.)

# %%
from llmlab.tokens.pack import pack

documents = [[5, 6, 0], [7, 8, 9, 4, 0], [3, 0], [2, 0]]
rows = {how: next(pack(documents, rows=2, length=6, how=how))
        for how in ("none", "plain", "reset")}
for how, batch in rows.items():
    print(f"{how:6}", batch.ids.tolist(),
          f"not trained: {1 - batch.mask[:, 1:].mean():.0%}")

# %% [markdown]
# Compare the shares. `none` wastes many positions, and holds only two of the four documents. `plain` wastes none, but the 7 can look back at the 5 and 6 of another document. `reset` prevents that: if you pass positions but no attention mask, the library `transformers` keeps attention inside each document. Then nothing predicts the first token of a document, so its mask is 0. Here these first tokens make up `reset`'s whole share. With real documents the loss is small: one token each.

# %%
print(rows["reset"]["positions"].tolist())
print(rows["reset"].mask.tolist())

# %% [markdown]
# Where a position (first list) is 0, so is the mask (second list).
#
# Does attention stay inside the document in the real model? We pack two documents and compare the second one with the same document alone:

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
# With `reset` the difference is rounding error; with `plain` it is large. So without the reset, predictions for the second document depend on the first.
#
# Drag the two dials that decide most of what follows, the learning rate and the share of old text:

# %%
from llmlab.learn.widgets import Mechanism

Mechanism("schedule")

# %% [markdown]
# ## 5 · Predict
#
# How much does the model forget while it reads about drugs, and how much does replay save? We train for 150 steps of 16 rows, once on drug monographs alone and once with a fifth of general text. The rate climbs to `lr 2e-3` over 20 steps (`warmup 20`) and then falls to a tenth. Is that a high peak? The next cell prints it beside that of pretraining's last phase.

# %%
from llmlab.models.load import card

print("peak rate in pretraining:", card("base")["settings"]["lr"], " here:", CPT().lr)

# %% [markdown]
# They are of the same size, so our default is not "much lower than in pretraining". (Only roughly: there Muon trained the matrices and AdamW the rest, here AdamW trains everything.) Now predict:

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
        why="A fifth of old text pulls back what the new text pushes away: a dip at "
            "first, then most of it returns.")

# %% [markdown]
# Look at the first steps. With replay the general skills get worse and then come most of the way back. Without replay they don't come back. (The root scale gives the first steps more room. Three seeds show the shape, not the exact depth.)
#
# ## 6 · Turn the knob
#
# How do replay and the learning rate change these curves? Settings marked ● are stored with five seeds (line: median, band: lowest to highest) and answer at once. **Run** trains the present setting, and after **Stop** it continues. In the terminal: `llmlab run cpt --replay 0.2`; for a class: `llmlab demo cpt`.

# %%
panel = Panel("cpt", show=["replay", "lr", "warmup"])
panel.preset({"replay": 0.5})  # not at the answer to the questions above
panel

# %% [markdown]
# The next table has the end of each run of section 5:

# %%
import pandas as pd

pd.set_option("display.max_colwidth", None)

ends = [
    {"setting": name, "seed": r.seed}
    | {label: r.metrics()[m]["final"] for m, label in CPT.curves.items()}
    for name, group in replay.items() for r in group]
pd.DataFrame(ends).round(3)

# %% [markdown]
# Look at known people and sums: with replay most of both is left in every seed, and without it nearly nothing. The model recalls only some of the domain's facts, and how many differs between seeds.
#
# The **stability gap** is the V in the general curves with replay: old skills fall right after the switch of texts, and then recover in part. The term was coined for this dip of *old* tasks right after training switches to a new one [De Lange et al. 2023]. For language models it was also used for an early dip in tasks of the *new* domain [Guo et al. 2024].
#
# How deep is the V? The next table compares the share of known people at the start, at its worst, and at the end.

# %%
def gap(name, run, metric="general_recall"):
    curve = list(run.curve(metric).values())
    return {"setting": name, "seed": run.seed, "start": curve[0], "worst": min(curve),
            "end": curve[-1]}

pd.DataFrame(
    [gap(name, run) for name, group in replay.items() for run in group]).round(3)

# %% [markdown]
# Compare *worst* with *end*. With replay the model wins back most of what it lost. Without it, the end is hardly better than the worst reading.
#
# How much replay, and at which rate? The next table shows known people and drug facts at the end, for a stored grid of both knobs (medians over five seeds).

# %%
from llmlab.lab import sweeps

sweep = sweeps.need("cpt")
old_new = {"general_recall": "known people right (share)",
           "domain_recall": "drug facts right (share)"}
last = lambda knobs, m: median(list(c.curve(m).values())[-1] for c in sweep.at(knobs))
grid = pd.DataFrame([p | {label: last(p, m) for m, label in old_new.items()}
                     for p in sweep.grid.points() if p["warmup"] == 20])
grid.pivot(index="replay", columns="lr", values=list(old_new.values())).round(2)

# %% [markdown]
# No setting is best at both. At the lowest rate the model learns next to nothing about drugs, with any replay. At `lr 2e-3` a fifth of replay keeps most of the old and costs little of the new. At the highest rate every share of replay is a trade-off.
#
# For the same grid, here is the worst share of known people during the run. With replay it is the bottom of the V.

# %%
worst = lambda knobs: [min(c.curve("general_recall").values()) for c in sweep.at(knobs)]
pd.DataFrame({f"lr {lr:g}": {f"replay {share:g}": median(
                                 worst({"replay": share, "lr": lr, "warmup": 20}))
                             for share in sweep.grid.axes["replay"]}
              for lr in sweep.grid.axes["lr"]}).round(2)

# %% [markdown]
# A higher rate makes the V deeper (read along a row), and more replay makes it shallower (read down a column). Medians don't show how seeds differ.
#
# ## 7 · Break it, then fix it
#
# What goes wrong in CPT, and what cures it? Find a symptom on the left, then the knob that makes it and the one that cures it:
#
# | symptom | break it with | cure it with |
# |---|---|---|
# | general skills fall and stay down | `replay 0` | `replay` up |
# | old skills fall to nothing early, although the model learns the domain | `lr 5e-3`, `replay 0` | `lr` down, `replay` up, `gate` |
# | the domain is learnt slowly | `duplicates 0.8`, `boilerplate 0.5` | clean the data: set them to 0 |
# | wrong facts, fluently stated | `noise 0.5` | better sources |
# | the rare sub-domain stays bad | `mixing fixed` | `mixing adaptive` |
# | nobody noticed until release | `gate 0` | `gate 20`: test every 20 steps, and roll back after a drop of more than `tolerance` |
#
# This is what the knobs mean:

# %%
pd.DataFrame([{"knob": k.name, "meaning": k.help, "range": k.range}
              for k in CPT.knobs()]).set_index("knob")

# %%
knobs = ["lr", "replay", "duplicates", "noise", "boilerplate", "anneal", "mixing",
         "kl_coef", "packing", "gate", "tolerance"]
faults = Panel("cpt", show=knobs)
faults

# %% [markdown]
# Which of these knobs matters? We change one at a time from the default (20 % replay). The table has the mean difference from the default, paired by three seeds, and its 95 % interval. The first column is the loss on the rarest of three sub-domains: a tenth of the documents are about nerve drugs.

# %%
from llmlab.learn.notebook import paired

switches = [{"duplicates": 0.8}, {"boilerplate": 0.5}, {"noise": 0.5},
            {"anneal": 1.0}, {"mixing": "adaptive"}, {"kl_coef": 0.5},
            {"packing": "none"}, {"warmup": 0}, {"warmup": 60}]
metrics = {"domain_loss.nerves": "loss on nerve drugs (nats per token)", **CPT.curves}
def finals(knobs, metric):
    return [runs.run(CPT(**knobs), seed).metrics()[metric]["final"] for seed in seeds]

pd.DataFrame({" ".join(f"{k} {v}" for k, v in knobs.items()): {
                  label: str(paired(finals({}, m), finals(knobs, m)))
                  for m, label in metrics.items()}
              for knobs in switches}).T

# %% [markdown]
# If an interval contains 0, no effect has been shown. Of this many intervals, two or three may miss 0 by chance. In the lab, three seeds show:
#
# - **Copies and boilerplate raise the domain loss,** because they take the place of useful text.
# - **Wrong facts hardly move the loss:** the interval of `noise 0.5` is narrow and contains 0. Three seeds don't settle recall. Over five seeds, a clean half of the documents, read twice, taught more facts than the full set with a wrong fact in each document (C013).
# - **A KL penalty is no free cure.** It keeps the predictions close to the base's. With `kl_coef 0.5` the model keeps old skills better and learns the form of the texts, but no facts, because the penalty pulls against what we want to teach. (C037 compares it with replay at equal compute.)
# - **Adaptive mixing,** which reads more of the sub-domains with a high loss, lowers the loss where it was highest. (DoReMi learns weights from the loss *in excess* of a reference model's, because a high loss alone may just mean text that is hard to guess [Xie et al. 2023].)
# - **No effect is shown of warm-up, or of annealing,** which moves from much replay to none. That doesn't mean "they don't matter". (C033, with more seeds, finds a small effect of a long warm-up.)

# %% [markdown]
# Can a **gate**, a regression suite run during training, limit the damage of a bad setting? Here the learning rate is much too high and there is no replay. Every 20 steps the gate compares known people and sums with their values before the first step. A drop of more than `tolerance` (here a fifth) rolls the weights back, halves the rate and moves a fifth of the batch to replay. (If a gate is too strict, even an ordinary V trips it: try `tolerance 0.05` at the default rate.)

# %%
hasty = CPT(lr=5e-3, replay=0.0, steps=100)
gated = CPT(lr=5e-3, replay=0.0, steps=100, gate=20, tolerance=0.2)
reckless = {name: [runs.run(e, seed) for seed in seeds]
            for name, e in (("no gate", hasty), ("gate 20", gated))}
figures.curves(reckless, CPT.curves,
               title="A learning rate far too high, with and without a gate, 3 seeds",
               early=True)

# %% [markdown]
# The panels of people and sums show that the old skills are saved. Three things save them together: the rollback, the halved rate, and the fifth of the batch that becomes replay. The domain's panels show the cost: the gate throws away what was learnt before each rollback, and the run ends with almost no drug facts. (C018 tests a gate against bad data instead: it limits the worst drop; the effect at the end is open.)
#
# ## 8 · What CPT is not
#
# The model has read about the drugs. Can it *answer questions* about them? We train once more, on twelve drugs only so that it learns enough of them, and ask in two ways every 25 steps: complete a statement, and answer a question.

# %%
from llmlab.train import probes

few, student, readings = Formulary(12), load("base"), []
asked = probes.question_rows(student.tok, few, few.problems(128, seed=7))
for row in CPT(drugs=12, steps=100, probe=25).rows(student, seed=0):
    if "domain_recall" in row:
        answered = probes.exact(student.model, probes.batches(asked))
        readings.append({"step": row["step"], "questions answered": answered,
                         "statements completed": row["domain_recall"]})

pd.DataFrame(readings).set_index("step").round(2)

# %% [markdown]
# Read the columns downwards. The right one rises, and the left one hardly follows: reading documents taught the model to continue documents. (One seed, twelve drugs.) Is that true of all facts? The next table has the means over the ledger's seeds: 24 drugs, and 120 people who are new to the model, both read about in documents only.

# %%
from statistics import fmean

from llmlab.chapters.c02_continued_pretraining import claims as arms
from llmlab.learn.draw import readings

ways = ("questions answered", "statements completed")
read = {"drugs": (arms.DEFAULT, "drug_questions", "drug_facts"),
        "new people": (arms.READ, "answering", "stating")}
pd.DataFrame({about: {way: fmean(readings(arm, m)) for way, m in zip(ways, metrics)}
              for about, (arm, *metrics) in read.items()}).T.round(2)

# %% [markdown]
# Compare the two columns in each row. About drugs the model completes statements and answers almost no question; about people it does both about equally well. So "CPT for knowledge, SFT for behaviour" fits the drugs only. Perhaps they differ because this base had read questions about people but none about drugs; our arms don't isolate this. (C019, about drugs, is withheld, because answers are near the floor before and after. C002 compares documents about people with questions about them, at equal tokens.) Try it: `llmlab run facts --texts questions --forms 1`.
#
# ## 9 · Long documents
#
# What happens at positions that the model has never seen? It was pretrained on rows of 256 tokens. We put general documents into rows of 512 and read the loss by position in the row.

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
# Within the trained length more context helps: the second stretch is easier than the first. Beyond it each stretch is harder again, because the model has never met those distances. (One model: an illustration.) The loss says little about whether the model can *use* something far above. Claim C012 tests that with lists about twice as long as the trained length.
#
# **How a context is extended.** CPT does this, too. RoPE, which most models use, turns each pair of dimensions of a query or key by an angle that grows with the position, some pairs fast and some slowly; its *base* sets how slowly. Three changes keep far positions near what was trained. *A higher base* slows the turning. *Position interpolation* divides all positions by a factor, so that they fall into the trained range [Chen et al. 2023]. *YaRN* does that to the slow pairs only, leaves alone the fast ones, which tell neighbours apart, and rescales attention [Peng et al. 2023]. Then some CPT follows on rows of the new length, with documents that really are that long, since packed short ones contain nothing to look up far away. (The lab changes the documents only.)
#
# ## 10 · Your own documents
#
# How do you run this on your own texts? Give a folder of `.txt`, `.md` or `.jsonl` files. Here the recipe runs on text that every Python has, its licence and docstrings.
#
# ```
# llmlab run cpt --domain python
# llmlab run cpt --domain my_documents --replay 0.3
# llmlab run cpt --domain my_documents --model Qwen/Qwen3-0.6B --device cuda --lr 1e-5
# ```

# %%
texts = Texts.cut(corpora.python_texts())
own = runs.run(CPT(steps=40), seed=0, texts=texts)
pd.DataFrame(own.metrics()).T.rename(CPT.curves).round(3)

# %% [markdown]
# Compare *start* with *final*: the loss on the new texts falls, and the last rows show what that costs the old skills.
#
# **From a base or from an instruct model?** From the base, if you can, with SFT again afterwards. An instruct model loses some of its chat to plain documents, so mix conversations into the replay. Without a second SFT, chat can be won back by weights: average with the old model (WiSE-FT [Wortsman et al. 2021]), or add the difference *instruct − base* ([Ilharco et al. 2022]; *chat vector* [Huang et al. 2023]). Test formats and refusals again in each case. (No claim here tests these.)

# %% [markdown]
# ## 11 · The evidence
#
# Which statements of the sources hold in the lab? Each is a **claim** in the ledger, in our words, with **arms** (the settings to compare), a direction, and a **smallest effect of interest** (a smaller one would not matter).
#
# A claim has parts, and the 98 % interval over seeds decides each part. We look at five, ten and twenty seeds, and at no other number. (The interval is wider than the usual 95 %, because three looks give chance three tries.) A part is
#
# - *as claimed* if the interval lies on the claimed side of 0 and the mean is at least the smallest effect of interest. Where no difference was claimed, the whole interval must be smaller than that effect, in both directions.
# - *reversed* if the interval lies on the other side of 0
# - *too small* if it ends below the smallest effect of interest
# - *differs* if no difference was claimed and the whole interval lies beyond the smallest effect
# - *open* if none of these is true
#
# A part that is *reversed*, *too small* or *differs* is **excluded**: the effect that was claimed is not there. The parts decide the claim, which is
#
# - *supported* if every part is as claimed
# - *refuted* if every part is excluded
# - *conditional* if some parts hold, the others are excluded, and their arms differ in the knob that is named
# - *supported in part* or *refuted in part* if some parts are as claimed, or excluded. With no knob to explain a mixture, a claim can be both.
# - *open* if no part is decided
# - *withheld* if the design cannot decide it. The row says why: both sides are at the floor or the ceiling, a condition of the claim's own fails, a rate is at the edge of those tried, or there are too few questions. (Every seed gets the same questions, so the interval doesn't contain the luck of choosing *them*: see C071 in chapter 07.)
# - *proven* if counting or a closed form shows it
# - *corrected* if the source's words are imprecise and the truth can be shown
# - *untestable*, and the row says why
#
# A verdict holds for this lab, a small model in a small world. Read the line in italics before you quote one. The whole ledger is in [its own notebook](ledger.ipynb). Where a table above shows a single run or a sweep, a claim's numbers can differ: its runs have more seeds, and often other steps or rates. `llmlab claims C017` prints each arm's command.

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("02")
evidence

# %% [markdown]
# Read each claim with its verdict. On the right are its effects with their intervals; where a claim has several parts, click the triangle. The effects as a picture:

# %%
forest.figure(evidence.rows)

# %% [markdown]
# Effects are divided by the smallest effect of interest, and the claimed side is on the right. A part of a claim is as claimed if its dot is to the right of 1 and its interval to the right of 0. Where no difference was claimed, the whole interval must lie inside the blue band.
#
# **Replay is a dose.** What does each share of replay keep, and what does it cost on the domain (C016)? A pale dot is a seed.

# %%
from llmlab.learn.draw import dose, over_steps

dose(list(arms.DOSE.values()), "replay",
     {"people": "known people right (share)", "sums": "two-digit sums right (share)",
      "domain_nats": "domain loss (nats per character)"})

# %% [markdown]
# Look where the curves flatten: the first tenth of replay buys most of what a fifth buys. But a fifth doesn't keep everything: fewer people are known than at the start. So "a fifth of replay keeps general skills" is true against no replay, and too strong against the start. The right panel shows that every share costs some of the domain.
#
# **The stability gap and the representation** (C031, C032, C033). Does the V also appear inside the model? *CKA* [Kornblith et al. 2019] compares the last layer's vectors with those of the base on the same text: 1 means the same up to rotation and scale. All lines have 20 % replay; the solid one has the default warm-up. (The longest warm-up was read on other seeds, and only in general loss.)

# %%
shown = {"general_nats": "general loss (nats per token)",
         "people": "known people right (share)",
         "likeness": "last layer's likeness to the base (CKA)"}
over_steps([arms.DEFAULT, arms.COLD, arms.SLOW_OFTEN], shown)

# %% [markdown]
# Warm-up moves the dip to a later step. With the longest warm-up (left panel) the worst general loss is slightly lower than without any. Part of that is slower learning. C033 compares runs once they have learnt equally much of the domain: a tenth of the rate keeps general loss clearly lower, and a long warm-up only a little. Next, three shares of replay:

# %%
over_steps([arms.NONE, arms.DEFAULT, arms.HALF], shown)

# %% [markdown]
# Only the runs with replay recover. Without it, loss and representation keep moving away from the base.
#
# Where does the representation move? In the next figure 0 is the embedding, and k the representation after block k.

# %%
from llmlab.learn.draw import layers

layers([arms.NONE, arms.DEFAULT, arms.HALF])

# %% [markdown]
# The embedding hardly moves, and the representation after the last block moves most (mind the different scales). That doesn't say which block changed: each one's output also contains the changes below it. The last one comes part of the way back only with replay; whether by enough to matter is open (C032).

# %% [markdown]
# **Mid-training, and what reinforcement learning makes of it** (C023). Can reading between pretraining and RL decide what RL reaches? The model read documents with sums of several terms, some of them solved in steps. Then every arm got the same GRPO (chapter 07), which rewarded right answers only.

# %%
dose(list(arms.WORKED.values()), "share",
     {"skill": "right answers after GRPO (share)",
      "in_steps": "answers in steps (share)"},
     "of worksheets with steps")

# %% [markdown]
# Answers in steps appear only at the larger shares. How much of this was there *before* GRPO?

# %%
dose(list(arms.WORKED.values()), "share",
     {"skill": "right answers before GRPO (share)",
      "in_steps": "answers in steps (share)"},
     "of worksheets with steps", "before")

# %% [markdown]
# Compare the two figures. *Before* GRPO, steps in the documents don't pay off: the model gets fewer sums right with them than without. *After* GRPO, all seeds with the largest share answer in steps, and nearly always correctly; with the smallest share no seed does. Without any steps, fewer sums are right after GRPO than before. In between some seeds do and some don't, and a mean over the two kinds describes neither. Perhaps GRPO can only amplify what the model already samples occasionally; our arms don't isolate this.

# %% [markdown]
# ## 12 · Where the sources are contested
#
# - **"80/20."** This is a starting guess. At scale, useful shares go from 1 % to 50 %, depending on the shift [Ibrahim et al. 2024].
# - **"Learning rate much lower than in pretraining."** At scale, re-warming makes the model learn the domain faster and forget more: a trade-off, not a rule [Ibrahim et al. 2024].
# - **The stability gap's remedy.** The paper that studied the gap in LLMs recommends several epochs on a well-chosen subset and a mixture close to pretraining, not replay alone [Guo et al. 2024].
# - **"Add a KL term to the base."** It costs a second forward pass, about a third more compute, so compare it with that much more training on replay. In RL, on-policy data explains retention better than KL does [Chen et al. 2025].
# - **"Mid-training makes RL work."** At scale, several groups report it for reasoning [Wang et al. 2025; Zhang et al. 2025; Tsilivis et al. 2025]. Our test in the lab is C023: `llmlab run midtrain --share 0.3`.
# - **"CPT teaches facts."** In a controlled study on invented biographies, training on questions couldn't extract facts that had been read in a single wording [Allen-Zhu and Li 2023]. In the lab, documents in several wordings let the model answer questions about people, and hardly any about drugs (section 8).
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
# What should you know by heart? One page has formulas, the lab's results, what is known about large models, and three follow-ups. Keep the two kinds of evidence apart when you speak. (In the terminal: `llmlab interview 02`.)

# %%
from llmlab.learn.interview import interview

interview("02")

# %% [markdown]
# ## To take away
#
# 1. A model that reads only the domain forgets the rest. Some old text in every batch keeps most of it, and costs part of the new.
# 2. A higher rate learns more and forgets more. Compare runs where they have learnt equally, not at the end.
# 3. Say beforehand what must be kept, and watch it from the first step. The loss on the domain tells you nothing about it.

# %%
references("chat_vector_2023", "yarn_2023", "chen_2023_interpolation", "korbak_2023",
           "de_lange_2023", "stability_gap_2024", "stability_gap_acl_2025",
           "ibrahim_2024", "allen_zhu_2023", "retaining_by_doing_2025",
           "lee_2021_dedup", "octothinker_2025", "interplay_pre_mid_rl_2025",
           "tsilivis_2025", "kornblith_2019", "doremi_2023", "wise_ft_2021",
           "task_arithmetic_2022")
