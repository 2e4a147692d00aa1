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
# # 03 · Tokenizer extension
#
# *Run ▸ Run All Cells* starts this chapter.
#
# **Where we are.** Chapter 02 taught the model about drugs, whose names the tokenizer splits into many pieces. Here we ask whether the names should get tokens of their own.
#
# ```
# pretraining → [ tokenizer extension ] → continued pretraining → SFT → …
# ```
#
# **For a ten-year-old.** A new classmate has a very long name. Either you spell it every time, or you learn it as one word. One word is quicker to say, but at first it means nothing to you.
#
# **In an interview.** *I measure fragmentation on a list of domain words. If the important ones become five tokens or more and are frequent, I consider an extension: I add the words that save most tokens, test how their rows should start, and re-check everything that counts or caches tokens. I compare losses per character, because a comparison per token is void. And I keep the old tokenizer as a baseline that has to be beaten.*
#
# Words used here: **fragmentation** = how many tokens (**pieces**) a word becomes; **embedding row** = the vector of a token; **tied embeddings** = the same matrix reads tokens in and scores them at the end.

# %%
import pandas as pd
import torch

from llmlab.models.load import load
from llmlab.learn.notebook import references, show
from llmlab.tokens import extend
from llmlab.learn.widgets import Drills, Panel, Predict, TokenStrip
from llmlab.world import Census, Formulary, corpora

base = load("base")

# %% [markdown]
# ## 1 · Measure: fragmentation
#
# How badly does the tokenizer split our words? It was trained on the general corpus, where no drug occurs. Compare two common words with three drugs:

# %%
drugs = list(Formulary(24).drugs)
for word in ("teacher", "Belmont", *drugs[:3]):
    print(f"{word:16}", base.tok.tokenize(f" {word}"))

# %% [markdown]
# A common word stays whole, and a drug's name falls into many pieces. By a rule of thumb, a word of five tokens or more is *shattered*. What share of the names of our people, and of our drugs, is shattered?

# %%
names = [part for person in Census().people for part in person.split()]
pd.DataFrame({"people": extend.fragmentation(base.tok, names),
              "drugs": extend.fragmentation(base.tok, drugs)}).T.round(2)

# %% [markdown]
# In the right column, every drug is shattered, and the people's names are not. Try words of your own. (To the lab's tokenizer every word from outside Verania is foreign.) A real tokenizer works, too: `load("Qwen/Qwen3-0.6B").tok`, or any folder.

# %%
my_words = ["bradycardia", "acetylsalicylic", "subpoena", "KeyError"]
extend.fragmentation(base.tok, my_words)

# %% [markdown]
# ## 2 · By hand: which words are worth a token?
#
# A new token costs one row of the embedding matrix. What does it save? *Occurrences × (pieces − 1)* tokens. Here are two words in a tiny text:

# %%
pieces = {"Xubvoprilex": 7, "the": 1}
count = {"Xubvoprilex": 3, "the": 40}
by_hand = {w: count[w] * (pieces[w] - 1) for w in pieces}
by_hand

# %%
show(extend.shortlist)

# %%
monographs = [corpora.domain_document(Formulary(24), seed=0, i=i) for i in range(400)]
ranked = extend.shortlist(base.tok, monographs, 30)
pd.DataFrame(ranked, columns=["word", "tokens saved"]).head(8)

# %% [markdown]
# Every word at the top is a drug. Further down come ordinary words that only this small tokenizer lacks. How much do all tokens save together?

# %%
from llmlab.learn import figures

saved = pd.Series([s for _, s in extend.shortlist(base.tok, monographs, 200)]).cumsum()
total = sum(len(base.tok(t)["input_ids"]) for t in monographs)
print(f"the first 24 save {saved[23] / total:.0%},",
      f"all {len(saved)} save {saved.iloc[-1] / total:.0%} of the tokens")
figures.line(100 * saved / total, x="new tokens", y="tokens saved (% of the corpus)")

# %% [markdown]
# The curve flattens, because each further token saves less, but it has no bend at 24, where the drugs end: ordinary words bring about half of the saving. It shows what you save on this corpus, not what the model learns.
#
# ## 3 · By hand: a new row
#
# How should a new token's row begin? Take four old rows in two dimensions, and a word spelt with the tokens 1 and 3. One way is the mean of those two rows:

# %%
old = torch.tensor([[1.0, 0.0], [3.0, 2.0], [0.0, 1.0], [1.0, 4.0]])
by_hand = (old[1] + old[3]) / 2
by_hand

# %%
show(extend.new_rows)

# %%
assert torch.equal(extend.new_rows(old, [[1, 3]], "pieces")[0], by_hand)
{init: [round(float(x), 3) for x in extend.new_rows(
            old, [[1, 3]], init, torch.Generator().manual_seed(0))[0]]
 for init in extend.INITS}

# %% [markdown]
# There are four starts: the mean of the pieces, the mean of all rows, and two random rows near zero.
#
# With tied embeddings the row is used twice: to read the word, and to score it as the next one. A row close to zero has a score (logit) close to zero, and that is *high* if the other logits are far below zero. How much probability do untrained rows take on ordinary text, where none of them belongs?

# %%
from llmlab.train import probes
from llmlab.chapters.c03_tokenizer_extension.extend import leak

texts = [next(corpora.general(i, split="test")) for i in range(24)]
leaks = {}
for init in extend.INITS:
    fresh = load("base")
    new = extend.add_words(fresh.model, fresh.tok, drugs, init,
                           torch.Generator().manual_seed(0))
    leaks[init] = leak(fresh.model, probes.text_rows(fresh.tok, texts), new)
print(f"{len(drugs)} new tokens are {len(drugs) / len(fresh.tok):.1%} of the "
      "vocabulary; their share of the probability:")
pd.Series(leaks, name="share").map("{:.2%}".format).to_frame()

# %% [markdown]
# Rows near zero (*random*, *small*) get about the share of a blind guess (printed above the table); the two averages get next to nothing.
#
# In practice, `resize_token_embeddings` of transformers draws new rows around the mean of all old ones, with their covariance. If the head is *untied*, it has rows of its own, which must be started and trained as well.
#
# At scale there are more ways. They come from the *replacement* of a whole tokenizer, for a domain or for a new language: FVT starts a row as the mean of the old pieces [Gee et al. 2022]. WECHSEL [Minixhofer et al. 2022] and FOCUS [Dobler and de Melo 2023] average the rows of tokens that *mean* something similar, because in a new language the old pieces of a word say little about it. An *extension*, as here, keeps the old tokens and adds to them; it can borrow these starts.
#
# How does a word get into a tokenizer? Ours is an *added token*: it is cut out of the text before BPE begins. So it also cuts longer words that contain it (a plural, for example), and it brings no useful parts for other new words. Continuing BPE's merges on domain text gives whole families of pieces instead.
#
# ## 4 · See it
#
# What does the model pay for a name? Here are the losses of one sentence, under the old tokenizer and under the new one, before any training on drugs.

# %%
from llmlab.methods import imitation
from llmlab.tokens.batch import Batch

dose = Formulary(24).drugs[drugs[0]].dose
sentence = (f"The usual dose of {drugs[0]} is {dose} mg. "
            f"Patients receive {drugs[0]} against fever.")

def strip(loaded):
    ids = torch.tensor([loaded.tok(sentence)["input_ids"]])
    return TokenStrip(loaded.tok, Batch(ids, torch.ones(ids.shape)), loaded.model,
                      imitation.nll, layer="loss")

strip(base)

# %%
extended = load("base")
extend.add_words(extended.model, extended.tok, drugs)
strip(extended)

# %% [markdown]
# The drug's name costs one high loss under the new tokenizer and about ten under the old one. The ten add up to more, because no drug occurs in the general corpus and every piece surprises the model.
#
# ## 5 · Predict
#
# Does the model learn the domain better with tokens for the drugs? We train the same base model on the same monographs, for the same number of steps and tokens: once with the old tokenizer and once with a token per drug. (The second arm reads *more text* in those tokens.)

# %%
from statistics import median

from llmlab.lab import runs
from llmlab.chapters.c03_tokenizer_extension.extend import Extend

seeds = (0, 1, 2)
arms = {"old tokenizer": Extend(tokens=0), "a token per drug": Extend()}
stored = {name: [runs.run(e, seed) for seed in seeds] for name, e in arms.items()}
end = lambda name, metric: median(r.metrics()[metric]["final"] for r in stored[name])

# %%
Predict("Which one ends with the lower loss per character on held-out monographs?",
        lambda: min(stored, key=lambda name: end(name, "domain_loss")), kind="choice",
        options=list(stored),
        why="Both start badly. Probably the pieces end ahead because drugs share them, "
            "while a new row is trained by its own drug only; we didn't test that.")

# %%
Predict("Which one copies the drugs' names from the context more often?",
        lambda: max(stored, key=lambda name: end(name, "copying")), kind="choice",
        options=list(stored),
        shows=lambda: figures.curves(
            stored, Extend.curves, title="Continued pretraining with the old tokenizer "
                                         "and with a token per drug, 3 seeds"),
        why="The expected reason: a name of one token is copied in one step, a name of "
            "nine pieces must be spelt without a slip. Three seeds don't settle which "
            "arm copies more; C025 does with five, at this end point.")

# %% [markdown]
# ## 6 · Turn the knob
#
# What do new tokens need? `tokens` sets how many there are and `init` how their rows begin. Here `warmup` is a *first phase*, in which only the new rows learn, at the rate `row_lr`, and documents with new tokens come `oversample` times as often. In the terminal: `llmlab run extend --init random`. Below the panel are the results of section 5 and their difference with its 95 % interval.

# %%
Panel("extend", show=["tokens", "init", "warmup", "oversample", "row_lr"])

# %%
from llmlab.learn.notebook import paired

def difference(metric):
    before, after = ([r.metrics()[metric]["final"] for r in stored[name]]
                     for name in arms)
    return str(paired(before, after))

curves = Extend.curves.items()
ends = {name: {label: f"{end(name, m):.3f}" for m, label in curves} for name in arms}
pd.DataFrame(ends | {"new − old": {label: difference(m) for m, label in curves}})


# %% [markdown]
# **In the lab, and at this budget, the extension saves tokens and the model learns the domain *worse***: it ends with a higher loss per character and recalls fewer facts, although it has read more text. One possible reason, which we did not test, is that pieces are shared (drugs of one class end alike). Learning one name may then help with the next, while a new row starts alone.
#
# Three seeds don't show that the new tokens help *copying*. The ledger's five do (C025), but the interval is wide and the end point arbitrary: early on the old tokenizer copies well for a moment. We don't know why.

# %% [markdown]
# **Never compare losses per token across tokenizers.** With fewer tokens each one carries more, so the loss per token rises although nothing got worse. Here is the loss per token and per character, for the same two models before any training:

# %%
def losses(loaded):
    batches = probes.text_rows(loaded.tok, monographs[:40], cut=10**6)
    per_token = probes.loss(loaded.model, batches)
    tokens = sum(float(b.mask[:, 1:].sum()) for b in batches)
    return {"nats per token": per_token, "tokens": tokens,
            "nats per character": per_token * tokens / sum(map(len, monographs[:40]))}

pd.DataFrame({"old tokenizer": losses(base),
              "extended, untrained": losses(extended)}).T.round(3)

# %% [markdown]
# Per token the extended model looks worse; per character it does better. Only the second comparison is fair: both are measured on the same characters. The field calls this ruler *bits per byte*: the same sum of losses, divided by ln 2 and by the bytes of the text.
#
# ## 7 · Break it, then fix it
#
# What goes wrong? Find a symptom on the left, then what makes it and what cures it:
#
# | symptom | break it with | cure it with |
# |---|---|---|
# | new tokens stay behind the old pieces (in the lab late, not early: C028) | `init random` | the usual advice is `init pieces` and `oversample 4`; neither cure is shown in the lab (C026, C027) |
# | new rows stay short | `warmup 0`: no first phase | `warmup 20` at a high `row_lr` |
# | new words take probability where they do not belong | `init small`, or too high a `row_lr` | `init mean` or `pieces`, a lower rate |
# | everything gets worse after deployment | an old tokenizer in front of the new model | ship tokenizer and model as one |
# | sequences have another length than planned | the extension itself | measure tokens per document again, before and after |
#
# Here are the default (`init pieces`), two other starts, and a run without a first phase:

# %%
faults = {"default": Extend(), "random": Extend(init="random"),
          "small norm": Extend(init="small"), "no first phase": Extend(warmup=0)}
shown = ["domain_loss", "term_loss", "copying", "leak", "norm"]
broken = {name: [runs.run(e, seed) for seed in seeds] for name, e in faults.items()}
figures.curves(broken, {m: Extend.curves[m] for m in shown},
               title="How the new rows begin, 3 seeds")

# %%
table = {n: {Extend.curves[m]: median(r.metrics()[m]["final"] for r in g)
             for m in shown} for n, g in broken.items()}
pd.DataFrame(table).round(3)

# %% [markdown]
# In the lab the four arms end with nearly the same loss *per character*. They differ most in the *names copied*: rows that start from the pieces copy most, and without a first phase no name is copied. (Three seeds; no claim compares the starts here.) The first phase costs its steps (look at the start of the domain loss). It makes the new rows grow and raises their probability in general text. The average norm shows how hard the rows were pushed, not what they have learnt.
#
# What does the first phase buy? Here are five seeds of the stored sweep:

# %%
from llmlab.lab import sweeps

def swept(metric, warmup):
    return [list(c.curve(metric).values())[-1]
            for c in sweeps.need("extend").at({"warmup": warmup})]

effects = {label: paired(swept(m, 0), swept(m, 20))
           for m, label in Extend.curves.items()}
pd.DataFrame({label: {"with a first phase − without": e.mean, "±": e.half}
              for label, e in effects.items()}).T.round(4)

# %% [markdown]
# A row shows a difference if its mean is larger than its ±. With a first phase more names are copied, and in these seeds the new words get likelier (the ledger's seeds leave that open, C028). The price: general text gets a little worse, and new tokens turn up there. No difference is shown for the domain's loss.
#
# **Undertrained tokens.** Do rare words end worse? A row learns what its word means mainly from its own occurrences. We train one model briefly (one seed: an illustration). Six of the drugs occur in no document, six in one, six in ten and six in a hundred.

# %%
import random

seen = {drug: (0, 1, 10, 100)[i % 4] for i, drug in enumerate(drugs)}
left, documents = dict(seen), []
for i in range(3000):
    text = corpora.domain_document(Formulary(24), seed=0, i=i)
    drug = next(d for d in drugs if d in text)
    if left[drug]:
        left[drug] -= 1
        documents.append(text)

random.Random(0).shuffle(documents)

# %%
from llmlab.tokens import pack
from llmlab.tokens.special import document_end
from llmlab.train import loop

student = load("base")
extend.add_words(student.model, student.tok, drugs)
encoded = pack.encode_documents(student.tok, documents, document_end(student.tok))
rows = list(pack.pack(encoded, rows=16, length=129))
for _ in loop.steps(student.model, iter(rows), imitation.nll, n=len(rows), lr=2e-3,
                    warmup=5):
    pass

# %%
from llmlab.tokens import chat

def name_loss(drug):
    return probes.loss(
        student.model,
        probes.batches([chat.continuation(student.tok, "The code of", f" {drug}")]))

found = pd.DataFrame({"documents with it": seen,
                      "loss": {drug: name_loss(drug) for drug in drugs}})
found.groupby("documents with it")["loss"].agg(["mean", "min", "max"]).round(2)

# %% [markdown]
# Read the column *mean* (nats) downwards: one document or ten hardly move a name, and a hundred do. At scale, undertrained tokens are common in released models [Land and Bartolo 2024].
#
# **Segmentation mismatch.** What if the extended model gets its input from the *old* tokenizer? The text is the same; only its split into tokens differs.

# %%
held = [corpora.domain_document(Formulary(24), 0, i, split="test") for i in range(32)]
characters = sum(map(len, held))

def nats(tok):
    batches = probes.text_rows(tok, held, cut=10**6)
    return probes.loss(student.model, batches) * sum(float(b.mask[:, 1:].sum())
                                                     for b in batches) / characters

pd.Series({"its own tokenizer": nats(student.tok),
           "the old tokenizer": nats(load("base").tok)},
          name="nats per character").round(3)

# %% [markdown]
# Behind the wrong tokenizer the same weights do far worse on the same text, and nothing raises an error. (One seed: an illustration.)
#
# **Distribution shock.** Which other numbers change although nobody touches the code? Documents per row, steps per epoch, and every limit that counts tokens.

# %%
def shape(tok):
    lengths = pd.Series([len(tok(t)["input_ids"]) for t in monographs])
    return {"tokens per document": lengths.mean(), "longest": lengths.max(),
            "documents per row of 128": 128 / lengths.mean(),
            "rows for all 400": lengths.sum() / 128}

pd.DataFrame({"old": shape(base.tok), "extended": shape(extended.tok)}).T.round(2)

# %% [markdown]
# Compare the two lines: the same 400 documents now fill fewer rows, so any setting that is counted in tokens now means something different.
#
# One small trap remains: the new token begins with a space. At the start of a text there is none, and the name falls back into pieces.

# %%
[extended.tok.tokenize(t) for t in (f"of {drugs[0]} is", f"{drugs[0]} is")]

# %% [markdown]
# ## 8 · The evidence
#
# Which statements of the sources hold in the lab? Each is a **claim** in the ledger ([chapter 02](02_continued_pretraining.ipynb), section 11, explains the verdicts). A verdict holds for this lab. Read the line in italics before you quote one. The whole ledger is in [its own notebook](ledger.ipynb). The claims have runs of their own, with more seeds and often other steps or rates than the tables above, so numbers can differ. `llmlab claims C025` prints each arm's command.

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("03")
evidence

# %% [markdown]
# Read each claim with its verdict. On the right are its effects with their intervals; where a claim has several parts, click the triangle. The effects as a picture:

# %%
forest.figure(evidence.rows)

# %% [markdown]
# Effects are divided by the smallest effect of interest, and the claimed side is on the right. A part of a claim is as claimed if its dot is to the right of 1 and its interval to the right of 0. Where no difference was claimed, the whole interval must lie inside the blue band.
#
# ## 9 · What is contested
#
# - **"Initialise with the mean of the sub-tokens."** The classical result averages *all* rows, which bounds how far the model's predictions can move [Hewitt 2021]. The mean of the sub-tokens is another recipe with weaker evidence. At scale, simple choices do about as well as elaborate ones [Mundra et al. 2024], and distilling the pieces' effect through the whole model does better [Dobler et al. 2025].
# - **"Fragmented terms waste context, so extend."** The extension saves tokens; that is arithmetic. Whether the model *learns the domain better* is another question, and in the lab it did not. More occurrences per word, or a larger model, may reverse that (try `drugs`, `steps` and `tokens`). At scale, LLaMA learnt Chinese better with its old vocabulary than with an extended one [Zhao et al. 2024]; a Korean extension worked, in stages with most of the model frozen [Kim et al. 2024].
# - **"5+ tokens."** This is a rule of thumb. The saving is occurrences × (pieces − 1), so a rare word saves little, however many pieces it has.
#
# On your own documents, a model's tokenizer gets the words that save most:
#
# ```
# llmlab run extend --domain my_documents --tokens 50
# llmlab run extend --domain my_documents --model Qwen/Qwen3-0.6B --device cuda --lr 1e-5 --row_lr 1e-3
# ```
#
# ## 10 · Exercises

# %%
from llmlab.learn.judge import check, hint, reset, solution, task

task("fragmentation")

# %%
def fragmentation(words, tokenize):
    ...

check("fragmentation", fragmentation)

# %%
task("tokens_saved")

# %%
task("init_rows")

# %%
task("loss_per_character")

# %% [markdown]
# More: `task("row_likeness")`, `task("oversample_weights")`.
#
# ## 11 · Drills

# %%
Drills("03")

# %% [markdown]
# ## 12 · Interview page
#
# What should you know by heart? One page has formulas, the lab's results, what is known about large models, and three follow-ups. Keep the two kinds of evidence apart when you speak. (In the terminal: `llmlab interview 03`.)

# %%
from llmlab.learn.interview import interview

interview("03")

# %% [markdown]
# ## To take away
#
# 1. Compare tokenizers per character or per word, never per token: another tokenizer is another ruler.
# 2. A new token begins without meaning. It saves length and costs training. In the lab it began *ahead* of the word's many pieces, which the model hadn't learnt either, and ended behind them. With a first phase for the new rows alone, far more names could be copied (the table of section 7).
# 3. In the lab an extension paid off in shorter texts and in names copied whole; with the old pieces the model learnt the domain better. At scale the usual reason is a new language or script, with much text to train on.

# %%
references("hewitt_2021", "gee_2022", "minixhofer_2022", "dobler_2023", "mundra_2024",
           "dobler_2025", "land_2024", "zhao_2024_beyond", "kim_2024_eeve")
