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
# # 01 · Data topology: which tokens carry gradient?
#
# *Run ▸ Run All Cells* starts this chapter.
#
# **Where we are.** Before any stage of training there is one decision that no learning rate repairs: how text becomes rows, and which tokens of a row the loss may push.
#
# ```
# raw text → [ packing | masking | pairs | rollouts ] → loss → every later chapter
# ```
#
# **For a ten-year-old.** The same story can be used in four ways: read it on, fill in the answers of one speaker, say which of two endings is better,
# or make up an ending and get a mark for it. You learn something different each time.
#
# **In an interview.** *Most failures come from good data under the wrong loss. So I first ask which tokens contribute gradient: in CPT all of them, in SFT the assistant's, in DPO
# the chosen against the rejected answer, in RL what the policy itself sampled. Then I print one row with its mask before I train.*
#
# Words used here: **token** = a piece of text with a number; **mask** = 1 where the objective may push the token, else 0; **logits** = raw scores for every possible next token;
# **gradient** = how much the loss grows with each number (training moves against it); **rollout** = an answer sampled from the model itself.

# %%
import torch

from llmlab.models.load import load
from llmlab.learn.notebook import show
from llmlab.learn.widgets import Drills, Panel, Predict, TokenStrip

base, chatty = load("base"), load("chat")

# %% [markdown]
# ## 1 · By hand: the shift
#
# A model reads tokens and, at each place, scores what comes next. So the logits at place 0 belong to token 1. Three tokens, a vocabulary of three:

# %%
ids = torch.tensor([[0, 2, 1]])                                    # [B=1, T=3]
logits = torch.tensor([[[0.0, 0.0, 3.0], [0.0, 2.0, 0.0]]])        # [B=1, T-1=2, V=3]

# %%
logprobs = logits.log_softmax(-1)
by_hand = torch.stack([logprobs[0, 0, ids[0, 1]], logprobs[0, 1, ids[0, 2]]])
by_hand

# %% [markdown]
# Now the loss on the *last* token only, as if the second one were the user's. The gradient with respect to the logits is *softmax − one-hot* where the mask is 1.
# Where it is 0, it is exactly zero: not small, zero. (Negative at the right token: the loss falls when that logit grows, so training pushes it up.)

# %%
leaf = logits.clone().requires_grad_(True)
mask = torch.tensor([0.0, 1.0])
chosen = leaf.log_softmax(-1)[0].gather(1, ids[0, 1:, None])[:, 0]
(-(chosen * mask).sum() / mask.sum()).backward()
leaf.grad

# %% [markdown]
# ## 2 · Read the source
#
# The shift happens in one function of the package, and the mask is applied in one other:

# %%
from llmlab.methods import imitation, parts, preferences
from llmlab.models.forward import Out, forward, token_logprobs

show(forward, parts.token_mean, imitation.nll)

# %%
from llmlab.tokens.batch import Batch

out = Out(logits, token_logprobs(logits, ids[:, 1:]), mask[None])
assert torch.allclose(out.logprobs[0], by_hand)
assert torch.equal(leaf.grad[0, 0], torch.zeros(3))

# %% [markdown]
# ## 3 · One text, four topologies
#
# Here is one conversation about a person of Verania. We turn it into batches in four ways and look at each with the same strip: hover over a token for its numbers,
# choose a layer with the buttons. Nothing is drawn from what it ought to be: *weights* is d loss / d log-prob of the token (negative: training makes the token likelier; positive: less likely),
# *gradient* is the size of d loss / d logits at the place that predicts it. Both are measured by autograd on the real model and stand on the token that is **predicted**.

# %%
from llmlab.chapters.c01_data_topology.topology import transcripts

talk = transcripts("test", 2)
for message in talk[0].conversation:
    print(f"{message['role']:10}{message['content']}")

# %% [markdown]
# **Packing (CPT).** Documents (here cut to one sentence each) one after the other, an end token between them, every token trained. Only the very first token has no gradient: nothing predicts it.

# %%
from llmlab.tokens import chat, pack
from llmlab.tokens.special import document_end
from llmlab.world import Formulary, corpora

documents = [corpora.domain_document(Formulary(), seed=0, i=i).split(". ")[0] + "."
             for i in range(6)]
encoded = pack.encode_documents(base.tok, documents, document_end(base.tok))
packed = next(pack.pack(encoded, rows=1, length=80))
TokenStrip(base.tok, packed, base.model, imitation.nll)

# %% [markdown]
# **Masking (SFT).** The same machinery, another mask: the assistant's words and the token that ends its turn. The question is still *read* (attention sees it); it is not *graded*.
# (In the layer *loss* the user's words and the control tokens are expensive, although this is a trained model: they were never graded, so it never learnt to write them.)

# %%
from llmlab.tokens.batch import pad

rows = [chat.encode(chatty.tok, t.conversation) for t in talk]
masked = Batch(pad([i for i, _ in rows], chatty.tok.pad_token_id),
               pad([m for _, m in rows], 0).float())
sft_strip = TokenStrip(chatty.tok, masked, chatty.model, imitation.nll)
sft_strip

# %% [markdown]
# The same as a picture, for readers without a kernel:

# %%
sft_strip.picture("gradient")

# %% [markdown]
# **Pairs (DPO).** Two rows a question: the right last answer and a wrong one. The loss is −log σ(β · margin), where the margin says how much more the chosen answer has gained over a frozen *reference* model than the rejected one has.
# Look at the layer *weights*: negative on the chosen answer (pushed up), positive on the rejected one (pushed down). What both rows share, such as the first answer, gets both and cancels in the sum over the pair.

# %%
from llmlab.tokens import chat, pairs
from llmlab.train import loop
from llmlab.world.base import say

rows = [chat.example(chatty.tok, t.messages, say(text)) for t in talk
        for text in (t.chosen, t.rejected)]
compared = loop.add_logprobs(chatty.model, pairs.of_rows(chatty.tok, rows),
                             "ref_logprobs")
TokenStrip(chatty.tok, compared, chatty.model, preferences.dpo)

# %% [markdown]
# **Rollouts (RL).** The model writes four answers to the same sum itself; each is scored; the advantage says how much better it was than the group's mean, in units of the group's standard deviation.
# What the model did not write (the question) has no gradient, and a group whose answers all score the same has none at all.

# %%
from llmlab.methods.policy import Dials
from llmlab.train.collect import Collector
from llmlab.world import Sums

sums, grpo = Sums(("add",), digits=3), Dials().objective(max_len=12)
collector = Collector(chatty.model, chatty.tok, sums, Dials(), seed=3, prompts=2,
                      group=4, max_new=12)
sampled = next(collector(0))
TokenStrip(chatty.tok, sampled, chatty.model, grpo, rows=4)

# %% [markdown]
# The rule of all four, measured: the share of places whose gradient is exactly zero, and of places that the mask leaves out. They must agree, except where an advantage is 0.

# %%
import pandas as pd

from llmlab.learn import strips

views = {"packing": (base, packed, imitation.nll),
         "masking": (chatty, masked, imitation.nll),
         "pairs": (chatty, compared, preferences.dpo),
         "rollouts": (chatty, sampled, grpo)}
table = {}
for name, (loaded, batch, objective) in views.items():
    gradient = strips.measure(
        loaded.tok, batch, loaded.model, objective).layers["gradient"].values[:, 1:]
    table[name] = {"exactly zero": float((gradient == 0).float().mean()),
                   "masked": float((batch.mask[:, 1:] == 0).float().mean())}
pd.DataFrame(table).T.round(3)

# %% [markdown]
# **What is computed.** Pairs and rollouts repeat themselves: both rows of a pair begin with the same prompt, and so do all answers of a group. Padded rows compute the prompt again and again,
# and the padding too. Packing removes the padding; chapter 02 compares three kinds of it (a document a row, one stream, a stream with a reset). A fourth kind *shares prefixes*: a causal model
# computes the same for the same beginning, so once is enough. Here are the answers to both sums from above, all eight rows as one:

# %%
from llmlab.chapters.c01_data_topology import sharing

sharing.picture(chatty.tok, sampled)

# %% [markdown]
# Read a line from left to right: every token sees its own past and nothing else. The second sum skips the rest of the first, and an answer skips the other answers to its sum; both share what
# they have in common. The mask is half of it. The other half is that positions restart where two rows part, as if the other row weren't there.

# %%
kinds = {"masking": masked, "pairs": compared, "rollouts": sampled}
pd.DataFrame({name: sharing.computed(batch) for name, batch in kinds.items()}).T

# %% [markdown]
# Compare the first three columns: sharing computes the fewest tokens in every batch, and saves most for rollouts, where many answers follow one prompt. (The last column counts the tokens that are trained.)
# The loss doesn't change, because all numbers that it reads are the same:

# %%
from llmlab.models.forward import forward_trained

full, less = (f(chatty.model, compared) for f in (forward, forward_trained))
there = compared.mask[:, 1:] > 0
assert torch.allclose(full.logprobs[there], less.logprobs[there], atol=1e-4)

# %% [markdown]
# ## 4 · Predict
#
# We take 2,000 conversations of two questions each about people whom the base model *already knows*, and train the base model on them three times: loss on every token, loss on the assistant's tokens,
# and loss on pairs (right last answer against a wrong one, DPO). Same texts, same order, same learning rate, same number of steps.

# %%
from statistics import median

from llmlab.learn import figures
from llmlab.lab import runs
from llmlab.chapters.c01_data_topology.topology import Topology

seeds = (0, 1, 2)
stored = {loss: [runs.run(Topology(loss=loss), seed) for seed in seeds]
          for loss in ("all", "assistant", "dpo")}
end = lambda loss, metric: median(r.metrics()[metric]["final"] for r in stored[loss])
Predict("After training on pairs alone: which share of held-out questions does the "
        "model answer rightly?",
        lambda: 100 * end("dpo", "answering"), unit="%", low=0, high=100,
        why="A pair says which of two endings is better, not how an answer begins: the "
            "base never learns the chat's form.")

# %%
Predict("After an answer, which of the three models goes on to write the user's next "
        "question?",
        lambda: max(stored, key=lambda loss: end(loss, "asks_itself")), kind="choice",
        options=list(stored),
        shows=lambda: figures.curves(
            {f"loss on {name}": group for name, group in stored.items()},
            Topology.curves,
            title="The same 2,000 transcripts under three losses, 3 seeds"),
        why="Whoever is trained on every token learns to write the user's words too.")

# %% [markdown]
# ## 5 · Turn the knob
#
# The dots mark settings with stored runs (line: median of five seeds, band: lowest to highest): they answer at once. **Run** trains the present setting here, over the band. **Compare** keeps a setting in the picture.
# In the terminal: `llmlab run topology --loss all`.

# %%
Panel("topology", show=["loss", "lr"])


# %%
pd.DataFrame({f"loss on {loss}": {label: end(loss, m)
                                  for m, label in Topology.curves.items()}
              for loss in stored}).round(3)

# %% [markdown]
# Read it like this.
#
# - **All tokens** and **assistant tokens** learn to answer about equally well. The difference is what else was learnt: with the loss on all tokens the model also learns to *be the user*.
#   Look at *probability of going on as the user*: in service such a model asks itself the next question unless something stops it.
# - **Pairs** order the two answers rightly, and the model still does not *say* the right one: DPO compares, it does not show. From a base model that gives both answers almost no probability, a better order is worth nothing yet.
#   (Chapter 06 is about that; its cure is a likelihood term, or SFT first.)
# - General text pays in every case, because none of it was in these batches: at the end most under *all tokens*, on the way most under *pairs*, which are thrown far off and come most of the way back. That is chapter 02's subject.
# - Who learns to answer *first*? The assistant-only loss, perhaps because nothing of its gradient is spent on the user's words; soon the loss on all tokens has caught up.
#
# ## 6 · Break it, then fix it
#
# The classic faults of this layer are silent: the loss falls nicely. Each is a switch here; the strip shows it at a glance.
#
# | symptom | fault | how the strip shows it | cure |
# |---|---|---|---|
# | the first word of each answer is poor | mask late by one | the first answer token has no gradient, the line break behind the turn has one | shift once, in `forward` |
# | answers begin with a role marker | mask early by one | gradient on the token before the answer | the same |
# | the model never stops | end token not trained (or padding = end token, masked away) | last token of the turn has gradient zero | train the end of the turn; pad with another token |
# | it answers, then asks itself | loss on user tokens | gradient on the question | mask the user |
# | it makes tool results up (chapter 08) | loss on tool results | gradient on the result | mask the tool's turns |
# | documents answer each other (chapter 02) | packing without a reset | positions do not restart | `packing reset` |

# %%
def late_by_one(batch):
    return Batch(batch.ids,
                 torch.cat([torch.zeros(len(batch), 1), batch.mask[:, :-1]], 1))

def end_untrained(batch):
    ends = batch.ids == chatty.tok.eos_token_id
    return Batch(batch.ids, batch.mask * ~ends)

# %%
fault = late_by_one        # or: end_untrained
TokenStrip(chatty.tok, fault(masked), chatty.model, imitation.nll, rows=1)

# %% [markdown]
# What do they cost? Three short trainings that differ in nothing but the mask, then each model answers: is the answer right, is its *first token* right, and with which token does it leave off? (One seed: an illustration.)

# %%
from llmlab.train.sample import sample
from llmlab.tokens.special import TEMPLATE

def trained(break_it, steps=60):
    student = load("base")
    student.tok.chat_template = TEMPLATE
    recipe = Topology()
    stream = (break_it(recipe.batch_at(student.tok, recipe.chosen(0, i)))
              for i in range(steps))
    for _ in loop.steps(student.model, stream, imitation.nll, n=steps, lr=2e-3,
                        warmup=10):
        pass
    return student

# %%
from collections import Counter

def behaviour(student, n=64):
    """Shares of right answers and first tokens, and how answers of 24 tokens end."""
    asked = transcripts("test", n)
    prompts = [chat.prompt(student.tok, t.messages) for t in asked]
    wrote = sample(student.model.eval(), prompts, max_new=24, temperature=0,
                   stop=chat.stop_ids(student.tok)).ids
    wanted = [student.tok(f" {t.chosen}")["input_ids"] for t in asked]
    right = sum(w[:len(a)] == a for w, a in zip(wrote, wanted)) / n
    first = sum(w[0] == a[0] for w, a in zip(wrote, wanted)) / n
    last = Counter(student.tok.decode(w[-1]) for w in wrote).most_common(3)
    return {"right": right, "first token right": first, "leaves off with": dict(last)}

# %%
faults = {"as it should be": lambda batch: batch, "late by one": late_by_one,
          "end untrained": end_untrained}
pd.DataFrame({name: behaviour(trained(fault)) for name, fault in faults.items()}).T

# %% [markdown]
# The first model closes its turn with the template's own token. *Late by one* was never told how an answer begins, so it does not get to answering. *End untrained* was never told how a turn ends: it falls back on what it
# knows from pretraining (a *document* ends after an answer), or runs on until it is cut. Where only the template's token stops the answer, all of those would run on.

# %% [markdown]
# ## 7 · The evidence
#
# Every statement of the sources about this chapter is a **claim** in the ledger: put into our words, with arms, a direction and a smallest effect of interest, and the log of declarations says when each was fixed and what was
# changed after results were known. A claim's parts are decided one by one, by the 98 % interval over seeds: *as claimed*, *reversed*, *too small* (or, where no difference was claimed, *differs*), else *open*. Seeds are looked at when there
# are five, ten and twenty. *Supported* means that every part is as claimed, *refuted* that every part is excluded, *conditional* that it depends on a knob that is named; *withheld* that the design cannot decide it, and why. A verdict holds for this lab: a small
# model and a small world. The line in italics is what to know before quoting it. The whole ledger stands in [its own notebook](ledger.ipynb).

# %%
from llmlab.ledger.table import Ledger

Ledger("01")

# %% [markdown]
# ## 8 · What is contested
#
# - **"Mask the user, because the model should answer, not ask."** Our runs: answers are equally good with and without the mask; what the mask buys is that the model does not go on as the user, and that it forgets less (chapter 00 gives the interval).
#   Some published recipes keep a small loss on instructions when answers are short [Shi et al. 2024].
# - **"Packing is for pretraining."** It is also used in SFT for throughput; then the reset is not optional, since conversations must not see each other.
# - **"DPO: contrast of chosen and rejected tokens."** The tokens of both answers carry gradient, with opposite sign and the same weight per pair. Nothing in that asks for the
#   chosen answer to become likely; both can sink together [Razin et al. 2024].
#
# ## 9 · Exercises
#
# Write the function, then let the judge look. `hint("shift")` helps in steps, `solution("shift")` shows right ones, `reset("shift")` begins again.

# %%
from llmlab.learn.judge import check, hint, reset, solution, task

task("shift")

# %%
def shift(logits, ids):
    ...

check("shift", shift)

# %%
task("assistant_mask")

# %%
task("packing_mask")

# %%
task("token_mean")

# %% [markdown]
# More: `task("dpo_pair_loss")`, `task("left_pad")`.
#
# ## 10 · Drills
#
# Four parts an answer: diagnosis, lever, risks, measurements. The same in the terminal: `llmlab drill --chapter 01`.

# %%
Drills("01")

# %% [markdown]
# ## To take away
#
# 1. What carries loss is what is learnt. The same texts teach a writer of dialogues, an assistant, or nothing, by their mask.
# 2. Whether documents in a row may read one another, and where an answer stops, is decided in a mask too; look at it before you train.
# 3. A loss that falls says that something is being learnt, not what. Read what the model writes.

# %%
from llmlab.learn.notebook import references

references("dpo_paper_2023", "shi_2024", "razin_2024", "deepseek_math_2024")
