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
# **Where we are.** Before any stage of training you make one decision that no learning rate can repair: how text becomes rows, and which tokens of a row the loss may push.
#
# ```
# raw text → [ packing | masking | pairs | rollouts ] → loss → every later chapter
# ```
#
# **For a ten-year-old.** You can practise with the same story in four ways: read on, fill in what one speaker says, say which of two endings is better, or make up an ending and get a mark for it. You learn something different each time.
#
# **In an interview.** *Good data under the wrong loss teaches the wrong thing, and the loss still falls. So I first ask which tokens contribute gradient. In CPT it is all of them, and in SFT the assistant's. In DPO it is those of the chosen answer against those of the rejected one, and in RL what the policy itself sampled. I print one row with its mask before I train.*
#
# New terms:
#
# - A **token** is a piece of text with a number. The **mask** is 1 where the loss may push a token, and 0 elsewhere.
# - **Logits** are raw scores for every possible next token.
# - The **gradient** says how much the loss grows with each number. Training moves against it.
# - A **rollout** is an answer sampled from the model itself.

# %%
import torch

from llmlab.models.load import load
from llmlab.learn.notebook import show
from llmlab.learn.widgets import Drills, Panel, Predict, TokenStrip

base, chatty = load("base"), load("chat")

# %% [markdown]
# ## 1 · By hand: the shift
#
# Which score belongs to which token? A model reads tokens and, at each position, scores what comes next. So the logits at position 0 belong to token 1. Here are three tokens and a vocabulary of three:

# %%
ids = torch.tensor([[0, 2, 1]])                                    # [B=1, T=3]
logits = torch.tensor([[[0.0, 0.0, 3.0], [0.0, 2.0, 0.0]]])        # [B=1, T-1=2, V=3]

# %%
logprobs = logits.log_softmax(-1)
by_hand = torch.stack([logprobs[0, 0, ids[0, 1]], logprobs[0, 1, ids[0, 2]]])
by_hand

# %% [markdown]
# These are the log-probs of the second and the third token. Now we put the loss on the *last* token only, as if the second one were the user's. Where the mask is 1, the gradient with respect to the logits is *softmax − one-hot*. And where the mask is 0?

# %%
leaf = logits.clone().requires_grad_(True)
mask = torch.tensor([0.0, 1.0])
chosen = leaf.log_softmax(-1)[0].gather(1, ids[0, 1:, None])[:, 0]
(-(chosen * mask).sum() / mask.sum()).backward()
leaf.grad

# %% [markdown]
# The masked row of the gradient is exactly zero: not small, zero. In the other row only the target is negative: the loss falls when that logit grows, so training pushes it up.
#
# ## 2 · Read the source
#
# How does the package do this? One function does the shift, and another one applies the mask:

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
# ## 3 · Four topologies
#
# Which tokens does each kind of training push? We make batches in four ways and look at each with the same strip. Hover over a token for its numbers; choose a layer with the buttons. The strip shows what autograd measures on the real model, not what ought to happen:
#
# - *Weights* is d loss / d log-prob of the token. Negative means that training makes the token likelier, positive means less likely.
# - *Gradient* is the size of d loss / d logits at the position that predicts the token.
#
# Both are drawn on the token that is **predicted**. Masking and pairs use this conversation about a person of Verania; packing takes documents, and rollouts take sums:

# %%
from llmlab.chapters.c01_data_topology.topology import transcripts

talk = transcripts("test", 2)
for message in talk[0].conversation:
    print(f"{message['role']:10}{message['content']}")

# %% [markdown]
# **Packing (CPT).** Documents follow one another, with an end token between them, and every token is trained. (We cut each document to one sentence.) Only the very first token has no gradient, because nothing predicts it:

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
# **Masking (SFT).** The machinery is the same, but the mask covers only the assistant's words and the token that ends its turn. The model still *reads* the question (attention sees it), but it is not *graded* on it. So only the assistant's words and the end of its turn have a gradient. (Look at the layer *loss*: the user's words and the control tokens have a high loss although this model is trained. It was never graded on them, so it never learnt to write them.)

# %%
from llmlab.tokens.batch import pad

rows = [chat.encode(chatty.tok, t.conversation) for t in talk]
masked = Batch(pad([i for i, _ in rows], chatty.tok.pad_token_id),
               pad([m for _, m in rows], 0).float())
TokenStrip(chatty.tok, masked, chatty.model, imitation.nll)

# %% [markdown]
# **Pairs (DPO** [Rafailov et al. 2023]**).** Each question gives two rows: one with the right last answer, one with a wrong one. The loss is −log σ(margin), where σ is the sigmoid. The margin is a constant β times how much more the chosen answer has gained in log-prob than the rejected one, each compared with a frozen *reference* model. The strip shows the layer *weights*, with its sign: negative (blue) on the chosen answer, which is pushed up, and positive (orange) on the rejected one, which is pushed down. Tokens *before* the first difference, such as the first answer, get both pushes. The strip shows each row by itself; in the weights the two pushes cancel, because there the contexts are equal, too. After the first different word they no longer cancel, not even for equal tokens.

# %%
from llmlab.tokens import chat, pairs
from llmlab.train import loop
from llmlab.world.base import say

rows = [chat.example(chatty.tok, t.messages, say(text)) for t in talk
        for text in (t.chosen, t.rejected)]
compared = loop.add_logprobs(chatty.model, pairs.of_rows(chatty.tok, rows),
                             "ref_logprobs")
TokenStrip(chatty.tok, compared, chatty.model, preferences.dpo, layer="weights")

# %% [markdown]
# **Rollouts (RL).** The model itself writes four answers to each of two sums, and a program scores each one. The advantage says how much better an answer was than its group's mean, in units of the group's standard deviation, as in GRPO [Shao et al. 2024]. The question has no gradient, because the model did not write it. Look at the *weights* again: a right answer is pushed up (blue) and a wrong one down (orange). A group whose answers all score the same, as the second one here, has no gradient (with a KL term in the loss, only that term's).

# %%
from llmlab.methods.policy import Dials
from llmlab.train.collect import Collector
from llmlab.world import Sums

sums, grpo = Sums(("add",), digits=3), Dials().objective(max_len=12)
collector = Collector(chatty.model, chatty.tok, sums, Dials(), seed=3, prompts=2,
                      group=4, max_new=12)
sampled = next(collector(0))
TokenStrip(chatty.tok, sampled, chatty.model, grpo, layer="weights")

# %% [markdown]
# All four follow one rule, and we can measure it. The table gives the share of positions whose gradient is exactly zero, and the share that the mask leaves out:

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
# Compare the two columns: they agree, except for rollouts, where the answers to the second sum all scored the same. So the mask decides where gradient may flow; it doesn't decide how much.
#
# **What is computed?** Pairs and rollouts repeat themselves: both rows of a pair begin with the same prompt, and so do all answers of a group. Padded rows compute the prompt again and again, and the padding, too. Packing removes the padding. Chapter 02 compares three kinds of it (one document per row, one stream, and a stream with a reset). A fourth kind *shares prefixes*: a causal model computes the same for the same beginning, so once is enough. Here are the answers to both sums from above, all eight rows as one:

# %%
from llmlab.chapters.c01_data_topology import sharing

sharing.picture(chatty.tok, sampled)

# %% [markdown]
# Read a line from left to right: each token sees its own past (dark) and nothing else. The second sum ignores the rest of the first, and an answer ignores the other answers to its sum. All share one copy of their common beginning. The attention mask does half of this. Positions do the other half: each row counts on from the fork, as if the other row weren't there. How many tokens does this save?

# %%
kinds = {"masking": masked, "pairs": compared, "rollouts": sampled}
pd.DataFrame({name: sharing.computed(batch) for name, batch in kinds.items()}).T

# %% [markdown]
# Compare the first three columns. Sharing computes the fewest tokens in every batch, and it saves most for rollouts, where many answers follow one prompt. (The last column counts the trained tokens.) The loss doesn't change, because it gets the same numbers:

# %%
from llmlab.models.forward import forward_trained

full, less = (f(chatty.model, compared) for f in (forward, forward_trained))
there = compared.mask[:, 1:] > 0
assert torch.allclose(full.logprobs[there], less.logprobs[there], atol=1e-4)

# %% [markdown]
# ## 4 · Predict
#
# Does the same text teach the same thing under every loss? We take 2,000 conversations about people whom the base model *already knows*, with two questions in each. We train the base model on them three times: with the loss on every token, on the assistant's tokens, and on pairs (the right last answer against a wrong one, DPO). Texts, order, learning rate and number of steps are the same.

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
        "model answer correctly?",
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
        why="A model that is trained on every token learns the user's words too.")

# %% [markdown]
# ## 5 · Turn the knob
#
# What does the loss decide, and what the learning rate? The dots mark settings with stored runs, which answer at once (line: median of five seeds, band: lowest to highest). **Run** trains the current setting here and draws it over the band. **Compare** keeps a setting in the picture. In the terminal: `llmlab run topology --loss all`.

# %%
Panel("topology", show=["loss", "lr"])


# %%
first = stored["all"][0].metrics()
before = {label: first[m]["start"] for m, label in Topology.curves.items()}
pd.DataFrame({"before": before} | {
    f"loss on {loss}": {label: end(loss, m) for m, label in Topology.curves.items()}
    for loss in stored}).round(3)

# %%
figures.curves({f"loss on {loss}": group for loss, group in stored.items()},
               {m: Topology.curves[m] for m in ("asks_itself", "general_loss")})


# %% [markdown]
# Compare each column of the table with *before*: one loss makes a writer of dialogues, one an assistant, and one neither. (The table shows medians of three seeds; the ledger below has the intervals.) In the lab:
#
# - **All tokens** and **assistant tokens** teach answering about equally well. They differ in what else they teach: with the loss on all tokens the model also learns to *be the user*. Look at the left panel. In production such a model asks itself the next question unless something stops it.
# - **Pairs** put the two answers in the right order, and still the model does not *say* the right one: DPO compares answers, it doesn't show how to write them. Even the order is learnt no better than by imitation here. (All three losses share one learning rate, which was chosen for imitation; chapter 06 tunes it for DPO.) The base model gives both answers almost no probability, so a better order is worth nothing yet. (The cure is a likelihood term, or SFT first: chapter 06.)
# - General text gets worse in every case, because none of it was in these batches. At the end it is worst under *all tokens*. During the run (right panel) it is worst under *pairs*, which swing far off and come most of the way back. Chapter 02 is about that.
#
# ## 6 · Break it, then fix it
#
# How do you notice a wrong mask? The classic faults of this layer are silent: the loss falls nicely. The strip shows each at a glance, and you can switch two of them on below. Read the table from the symptom to the cure; the third column tells you where to look.
#
# | symptom | fault | how the strip shows it | cure |
# |---|---|---|---|
# | the first word of each answer is poor | mask late by one | the first answer token has no gradient, the line break after the turn has one | shift once, in `forward` |
# | the model never stops, though its answers begin well | mask early by one | gradient on the token before the answer, none on the end of the turn | the same |
# | the model never stops, all else is as it should be | end token not trained (or padding = end token, masked away) | last token of the turn has gradient zero | train the end of the turn; pad with another token |
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
# What do these faults cost? We run three short trainings that differ only in the mask, and let each model answer. Is the answer right, is its *first token* right, and with which token does it stop? (One seed: an illustration.)

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
    return {"right": right, "first token right": first, "stops with": dict(last)}

# %%
faults = {"as it should be": lambda batch: batch, "late by one": late_by_one,
          "end untrained": end_untrained}
pd.DataFrame({name: behaviour(trained(fault)) for name, fault in faults.items()}).T

# %% [markdown]
# Read the last column first. The sound model closes its turn with the template's own token. *End untrained* never saw how a turn ends. It falls back on pretraining (a *document* ends after an answer), or it runs on until it is cut. If your server stops at the template's token only, all of these answers run on. *Late by one* does stop, but it never saw how an answer begins, so its first token is rarely right.

# %% [markdown]
# ## 7 · The evidence
#
# Which statements of the sources hold in the lab? Each is a **claim** in the ledger. [Chapter 02](02_continued_pretraining.ipynb), section 11, explains how a verdict is reached. A verdict holds for this lab, a small model in a small world. Read the line in italics before you quote one. The whole ledger is in [its own notebook](ledger.ipynb). The claims have runs of their own, with more seeds and often other steps or rates than the tables above, so numbers can differ. `llmlab claims C006` prints each arm's command.

# %%
from llmlab.ledger.table import Ledger

Ledger("01")

# %% [markdown]
# Read each claim with its verdict. On the right are its effects with their intervals; where a claim has several parts, click the triangle.
#
# ## 8 · What is contested
#
# - **"Mask the user, because the model should answer, not ask."** In the lab, answers are about equally good with and without the mask. The mask buys something else: the model does not continue as the user, and it forgets less (chapter 00 gives the interval). At scale, the full loss on instructions helped where they were long, answers short or examples few [Shi et al. 2024], and a low to moderate weight did best in another study [Chatterjee et al. 2025].
# - **"Packing is for pretraining."** SFT uses it for throughput, too. There the reset is the safe default: without it a conversation reads its neighbours. In pretraining, attention that stops at document boundaries did better than plain packing [Zhao et al. 2024].
# - **"DPO: contrast of chosen and rejected tokens."** The tokens of both answers carry gradient, with opposite signs and the same weight per pair. Nothing in that asks for the chosen answer to become likely: both can become less likely together [Razin et al. 2024].
#
# ## 9 · Exercises
#
# Write the function, then let the judge look at it. `hint("shift")` helps in steps, `solution("shift")` shows correct versions, and `reset("shift")` starts again.

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
# Answer in four parts: diagnosis, lever, risks, measurements. The same in the terminal: `llmlab drill --chapter 01`.

# %%
Drills("01")

# %% [markdown]
# ## 11 · Interview page
#
# What should you know by heart? One page has the formulas as the papers have them, what this lab shows, what is known about large models, and three follow-ups. Keep the two kinds of evidence apart when you speak. In the terminal: `llmlab interview 01`.

# %%
from llmlab.learn.interview import interview

interview("01")

# %% [markdown]
# ## To take away
#
# 1. The model learns to write the tokens that carry loss. With another mask, the same texts teach a writer of dialogues, an assistant, or neither.
# 2. Masks also decide whether documents in a row may read one another, and whether the end of an answer is trained. Look at them before you train.
# 3. A falling loss says that the model is learning something. It doesn't say what. Read what the model writes.

# %%
from llmlab.learn.notebook import references

references("dpo_paper_2023", "shi_2024", "chatterjee_2025", "razin_2024",
           "deepseek_math_2024", "zhao_2024_packing")
