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
# # 04 · Supervised fine-tuning
#
# *Run ▸ Run All Cells* starts this chapter.
#
# **Where we are.** The base model has read a lot but doesn't answer questions; it just continues the text. Here it becomes an assistant by imitating conversations.
#
# ```
# pretraining → continued pretraining → [ supervised fine-tuning ] → preferences → reinforcement learning
# ```
#
# **For a ten-year-old.** You learn how to behave at a shop counter by watching many customers being served. You learn little about the goods, but you learn how to answer.
#
# **In an interview.** *Supervised fine-tuning (SFT) is next-token loss on conversations, counted only where the assistant speaks. It starts behaviours: formats, tool calls, refusals. I mask the user and the tools, keep one chat template from training to serving, read the decoded labels before the loss, and check the data first, because the model does what the data shows.*
#
# Words used here: **chat template** = the rule that turns messages into text; **control token** = a single id such as `<|im_start|>`; **label** = the id to be predicted at a position, or −100 where the loss is off; **collator** = the code that makes a batch of conversations; **generation prompt** = the words that open the assistant's turn.

# %%
from statistics import median

import pandas as pd
import torch

# %%
from llmlab.learn import figures
from llmlab.lab import runs
from llmlab.models.load import load
from llmlab.learn.notebook import references, show
from llmlab.tokens import chat, collate
from llmlab.tokens.special import TEMPLATE
from llmlab.learn.widgets import Drills, Panel, Predict, TokenStrip

pd.set_option("display.max_colwidth", None)
base = load("base")
base.tok.chat_template = TEMPLATE

# %% [markdown]
# ## 1 · By hand: from messages to labels
#
# How does a conversation become training data? First the template turns messages into text. This conversation has a tool call:

# %%
from llmlab.world import Desk

desk = Desk(1, tools=("formulary",))
problem = desk.problems(1, seed=3)[0]
messages, tools = [*problem.messages, *desk.solution(problem)], problem.meta["tools"]
print(chat.render(base.tok, messages, tools))

# %% [markdown]
# As in Qwen's template, a tool's result comes in a user turn, marked by `<tool_response>`. The served model writes only the call, the answer, and the token that closes each. So only these tokens are *imitated* (carry loss):

# %%
ids, mask = collate.encode(base.tok, messages, tools)
"".join(base.tok.decode(i) for i, m in zip(ids, mask) if m)

# %% [markdown]
# A label is the token's id where the mask is 1, else −100, which training libraries leave out of the loss. At the start of the call:

# %%
first = mask.index(1)
by_hand = [i if m else -100 for i, m in zip(ids, mask)]
by_hand[first - 3 : first + 5]

# %%
show(collate.labels)

# %%
assert collate.labels(torch.tensor([ids]), torch.tensor([mask]))[0].tolist() == by_hand
print(f"{sum(mask)} of {len(ids)} tokens are imitated")

# %% [markdown]
# The loss is the mean of −log p over the labels (by hand in chapter 01).
#
# ## 2 · Which tokens are imitated?
#
# We compare five masks. *assistant* is that of section 1. *all* imitates the user too. *completion* imitates everything after the question. *calls* leaves out the words of the answer. *json* keeps only the JSON object, without the token that ends the turn.

# %%
pd.Series({m: sum(collate.encode(base.tok, messages, tools, imitate=m)[1])
           for m in collate.IMITATED},
          name="tokens imitated").to_frame()

# %% [markdown]
# *completion* has more labels than *assistant*: the tool's result, which only the tool can know. The strips show where the labels are.

# %%
from llmlab.tokens.batch import Batch

def strip(imitate):
    ids, mask = collate.encode(base.tok, messages, tools, imitate=imitate)
    return TokenStrip(base.tok,
                      Batch(torch.tensor([ids]), torch.tensor([mask]).float()),
                      layer="mask")

strip("assistant")

# %%
strip("json").picture("mask")

# %% [markdown]
# The last label under *json* is the closing brace, so nothing teaches this model to stop.
#
# ## 3 · Too long, too short
#
# What if a conversation is longer than a row? It is often dropped, or split between two turns. Or it is cut: on the right, on the left, or in the middle, which joins two pieces into a text that never existed.

# %%
show(collate.cut)

# %%
def survives(how, length=112):
    kept, labels = collate.cut(ids, mask, length, how)
    return {"tokens": len(kept), "labels": sum(labels),
            "has the system prompt": kept[:5] == ids[:5],
            "has the answer": kept[-9:] == ids[-9:],
            "has the question": "conflict of" in base.tok.decode(kept)}

pd.DataFrame({how: survives(how) for how in collate.CUTS}).T

# %% [markdown]
# Every cut loses something: *right* the answer, *left* the instructions, *middle* the question. So choose rows that hold nearly every conversation, and count what you cut. (Packing, in chapter 01, avoids padding.)
#
# ## 4 · Predict
#
# What does the model learn, and what does it forget? We train the base model for 200 steps of 16 conversations: about people it knows, in requested formats, with the drug desk, and with requests that must be refused.

# %%
from llmlab.chapters.c04_sft.sft import SFT

seeds = (0, 1, 2)
default = [runs.run(SFT(), seed) for seed in seeds]
end = lambda group, metric: median(r.metrics()[metric]["final"] for r in group)

# %%
Predict("Which is learnt most completely?",
        lambda: max(("formats", "refusals", "facts"), key=lambda m: end(default, m)),
        kind="choice", options=["formats", "refusals", "facts"],
        why="One answer fits every unsafe request; facts and formats need a "
            "different answer each time.")

# %%
Predict("What happens to the loss on general text meanwhile?",
        lambda: "it rises"
        if end(default, "general_loss") > default[0].metrics()["general_loss"]["start"]
        else "it falls",
        kind="choice", options=["it rises", "it falls"],
        shows=lambda: figures.curves(
            {f"always new conversations, {SFT().steps} steps": default}, SFT.curves,
            title="Supervised fine-tuning of the base model, 3 seeds"),
        why="No general text is among the conversations, so nothing keeps it.")

# %% [markdown]
# ## 5 · Turn the knob
#
# Which data does it take? `examples` is the number of different conversations (0: every one is new), `safety` the share that must be refused, and `mask` and `prompt_weight` set what is imitated. The others spoil the data or repair it. In the terminal: `llmlab run sft --examples 30`.

# %%
Panel("sft", show=["examples", "safety", "mask", "prompt_weight", "verbose", "wrong",
                   "filtering", "people"])

# %% [markdown]
# **How many examples does a format take?** We compare five pools of different size, with five seeds. (Training is shorter than in section 4.)

# %%
from llmlab.learn import draw
from llmlab.chapters.c04_sft import claims as arms

pools = (arms.HANDFUL, arms.PROMPT[64, 0.0], arms.FEW_CLEAN, arms.SOME, arms.MANY_CLEAN)
draw.dose(pools, "examples",
          {m: SFT.curves[m] for m in ("valid_json", "formats", "refusals")},
          unit="conversations")

# %% [markdown]
# In the lab form comes before content. With a few hundred conversations nearly all JSON is valid (left), while few answers in a requested format have the right content as well (middle). At scale a thousand curated ones were enough for style [Zhou et al. 2023].
#
# ## 6 · The template trap
#
# The template is part of the model. What if serving uses another one than training? Only the text around the questions differs:

# %%
from llmlab.tokens.wrong_templates import MEANING

pd.Series(MEANING, name="what it is").to_frame()

# %% [markdown]
# Each row is one way to write a conversation. One more fault is in the collator. If padding has the id of the turn's end, hiding padding by its id hides the end of every answer, too. Here is each fault with its cure:

# %%
faults = {"literal roles": (arms.SERVED_LITERAL, arms.LITERAL),
          "no generation prompt": (arms.NO_PROMPT, arms.NO_PROMPT_BOTH),
          "begin-of-text twice": (arms.TWO_BOS, arms.BOS),
          "results as the user's text": (arms.USER_RESULTS, arms.USER_RESULTS_BOTH),
          "padding = turn end": (arms.PAD_IS_END, arms.MATCHED)}
columns = ("look-ups right (share), with the fault", "cured")
pd.concat([draw.means({fault: pair[i] for fault, pair in faults.items()},
                      {"lookups": column})
           for i, column in enumerate(columns)], axis=1)

# %% [markdown]
# In the lab literal roles at serving time destroy nearly all look-ups, a missing generation prompt about half, and the padding fault all of them, because no turn ends. The other two hardly matter to this model. The cure is agreement between training and serving; for padding, mask by position. Look-ups work with either kind of role marker, but literal roles let a user fake an assistant's turn (C049). Control tokens prevent that only if typed text can't become one.

# %%
Panel("template", show=["trained", "served", "pad"])

# %% [markdown]
# Later stages must keep the template. In the lab, what DPO taught with literal roles was almost gone under SFT's template, and GRPO lost some of its gain (C047).
#
# ## 7 · Break it, then fix it
#
# What goes wrong, what makes it, and what cures it?
#
# | symptom | break it with | cure it with |
# |---|---|---|
# | refuses nothing, or everything | `safety` at an end of its range, few `examples` | a share near that of the requests to come; measure both rates |
# | rambles (C045) | `verbose 0.8` | labels of the length you want |
# | careless answers | `wrong 0.3` | `filtering checked`, or fewer and better examples |
# | knows the form only for the people it saw | `people 20` | `people 200`: variety |
# | predicts the user | `mask all` | `mask assistant` |
# | never stops | `mask json`, or `pad "turn end"` | put a label on the end of the turn |
#
# **Refusals.** How many unsafe requests should the data have? All runs have 300 conversations:

# %%
unsafe = {"safety 0.02": arms.SAFETY[0.02], "safety 0.15": arms.SOME,
          "safety 0.5": arms.SAFETY[0.5], "safety 0.8": arms.SAFETY[0.8]}
draw.means(unsafe, {m: SFT.curves[m] for m in ("refusals", "false_refusals", "calls")})

# %% [markdown]
# The first column is a success, the second an error. With too few unsafe requests in the data most of them get answered. With too many the model refuses harmless ones and loses its tool calls. (At 0.8 only 60 of the 300 conversations are about anything else, so few calls were shown, too.) At scale a few hundred safety examples helped, and too many caused false refusals [Bianchi et al. 2023].
#
# **Care, filtering, variety.** What is better data worth, at equal steps? (*Careless* labels are wrong, always in the same way.)

# %%
data = {"2,000 clean": arms.MANY_CLEAN, "2,000, 30 % careless": arms.NOISY,
        "the same, filtered by a checker": arms.FILTERED,
        "200 clean": arms.FEW_CLEAN, "1,000 about 200 people": arms.ABOUT_200,
        "1,000 about 20 people": arms.ABOUT_20}
draw.means(data, {m: SFT.curves[m] for m in ("facts", "refusals")})

# %% [markdown]
# A checker that filters out careless answers restores what they cost, and conversations about few people teach fewer facts. But few clean examples don't simply beat many careless ones: on average they lead on refusals and trail on facts. (C055 compares the formats, and finds a clear gain for the filter only.)
#
# **Masks.** What if only a part of the answer has labels?

# %%
masks = {"all answers": arms.NEW, "calls only": arms.CALLS, "JSON only": arms.JSON}
draw.means(masks, {m: SFT.curves[m] for m in ("calls", "valid_json", "facts")})

# %% [markdown]
# What has no label isn't learnt. *calls only* teaches calls and nothing else. With *JSON only* the model never learns to stop, so its JSON is often broken (seeds differ widely: C051). Labels on the *prompt* make the model predict prompts, and make it worse on general text (`llmlab claims C050`). Whether they cost facts is open (C050). With labels on tools' *results* the model learns to predict the results. In the lab it still uses true ones as well as without (C052); mask them anyway, because the tool writes them and not the model.
#
# **Tools that fail.** In *gold traces* every call succeeds. What if the first call fails, and what if some traces show the failure and the retry?

# %%
from llmlab.chapters.c04_sft.traces import Traces

traces = {"gold": arms.GOLD, "30 % with a failed call and a retry": arms.RETRY,
          "30 % with two calls": arms.CHAINED}
draw.means(traces, {m: Traces.curves[m] for m in ("lookups", "recovers", "chains")})

# %% [markdown]
# Look at the middle column. After gold traces the model almost never recovers from a failed call. With some retries in the data it recovers as often as an ordinary look-up succeeds. Traces with two calls teach chains, at a price in single look-ups. So "SFT can't teach recovery" is about the data, not the method (C056, C057).

# %%
Panel("traces", show=["retry", "differs", "chained", "mask", "length", "truncation"])

# %% [markdown]
# **Facts by SFT.** Can it teach facts? We mix questions about three groups: newcomers, who are new to the model; people it knows; and strangers, where *I do not know* is right:

# %%
from llmlab.chapters.c04_sft.unknown import Unknown

taught = {"no newcomers": Unknown(share=0.0), "half about newcomers": Unknown()}
taught = {name: [runs.run(e, seed) for seed in seeds] for name, e in taught.items()}
figures.curves(taught,
               {m: Unknown.curves[m] for m in ("learnt", "new", "known", "admits")},
               title="Facts by supervised fine-tuning, 3 seeds")

# %% [markdown]
# In the first two panels, newcomers are known better in the trained wording than in others. The other panels show the price. Known people drop at once, further than without newcomers, and come back only in part. The model learns to admit that it doesn't know someone, but less often than without newcomers. (Newcomers replace half of the rehearsal, and part of the drop is due to that.) Far more steps and wordings do put the facts in (C043).
#
# **Own samples as data.** Can a model learn from its own answers? We imitate any of eight samples per sum, or the first that a checker accepts:

# %%
from llmlab.chapters.c04_sft.curate import Curate

curated = {keep: [runs.run(Curate(keep=keep), seed) for seed in seeds]
           for keep in ("any", "verified")}
figures.curves(curated, Curate.curves, title="Imitating own samples, 3 seeds")

# %% [markdown]
# In the lab only the checked samples make the model better: the information comes from the checker (C054). At scale this is rejection sampling. STaR does it in rounds, starts each one from the original model again, and shows the right answer to a problem that the model fails, so that it writes the reasoning that leads there [Zelikman et al. 2022].
#
# ## 8 · The same with TRL
#
# Does TRL train as our loop does? On the same rows its `SFTTrainer` makes the same steps. (`torchrun` splits each batch.) By itself, TRL asks the template which tokens are the assistant's (`assistant_only_loss=True`): `{% generation %}` and `{% endgeneration %}` enclose them. Many models' templates lack these marks, so look at the labels. Ours has them.
#
# ```
# llmlab run sft --engine trl
# torchrun --nproc-per-node 2 -m llmlab.cli run sft --engine trl
# ```

# %%
from itertools import islice

from llmlab.trl.engine import TRL

short = SFT(steps=10, probe=10, held=16)
ours, theirs = (list(islice(e.rows(load("base"), 0), 11)) for e in (short, TRL(short)))
losses = {"our loop": [r["loss"] for r in ours[1:]],
          "TRL": [r["loss"] for r in theirs[1:]]}
pd.DataFrame(losses, index=range(1, 11)).rename_axis("step").round(4).T

# %% [markdown]
# The losses agree step by step; a test compares the weights as well.
#
# ## 9 · The evidence
#
# Which statements of the sources hold in the lab? (Chapter 02, section 11 explains the verdicts.) Read the line in italics before you quote one. Further arms and checks are in [the ledger's notebook](ledger.ipynb). Where a table above shows a single run or a sweep, a claim's numbers can differ: its runs have more seeds, and often other steps or rates. `llmlab claims C043` prints each arm's command.

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("04")
evidence

# %% [markdown]
# Read each claim with its verdict. On the right are its effects with their intervals; where a claim has several parts, click the triangle. The effects as a picture:

# %%
forest.figure(evidence.rows)

# %% [markdown]
# Effects are divided by the smallest effect of interest, and the claimed side is on the right. A part of a claim is as claimed if its dot is to the right of 1 and its interval to the right of 0. Where no difference was claimed, the whole interval must lie inside the blue band.
#
# ## 10 · What is contested
#
# - **"Mask the prompt."** At scale, loss on the instructions can help with few examples, long prompts or short answers [Shi et al. 2024].
# - **"SFT cannot teach recovery."** Traces with errors and their repair teach it [Gandhi et al. 2024]. In one study they did so only in pretraining, and hardly by LoRA later [Ye et al. 2024].
# - **"SFT cannot put in facts."** At scale, unknown facts are fitted slowly and then raise hallucination [Gekhman et al. 2024]. For facts that change, retrieval is the better lever [Ovadia et al. 2023].
#
# **Where do conversations come from?** People write them [Ouyang et al. 2022], or a stronger model does: cheaper, but its style is copied more than its ability [Gudibande et al. 2023], and its licence may forbid it. Own samples that a checker accepts are a third source, and logs of real use a fourth, with consent. Remove duplicates, and whatever overlaps with the tests [Lambert et al. 2024].
#
# **On a real model** people start with a rate of 1e-5 to 2e-5 for all weights and about ten times that for adapters [Schulman et al. 2025]. They train for one to three epochs, with 64 or more conversations per step. Mix in general conversations if old skills must stay, and stop on held-out answers, not on the training loss. If you accumulate small batches, divide once by all tokens: a mean of means gives short answers too much weight.
#
# **Before you believe an SFT run,** check the decoded labels of one row, the share of rows that were cut, and equal ids in training and serving. Measure both refusal rates, held-out formats and calls, and the loss on general text.
#
# Your own conversations are JSON lines with `messages`, and `tools` if there are any:
#
# ```
# llmlab run chats --domain my_chats.jsonl --model Qwen/Qwen3-0.6B --device cuda --lr 1e-5 --length 1024 --packed yes
# ```
#
# ## 11 · Exercises

# %%
from llmlab.learn.judge import check, hint, reset, solution, task

task("span_mask")

# %%
def span_mask(offsets, spans):
    ...

check("span_mask", span_mask)

# %%
task("sft_loss")

# %%
task("keep_answer")

# %%
task("rejection_sample")

# %% [markdown]
# More: `task("refusal_rates")`, `task("first_fit")`.
#
# ## 12 · Drills

# %%
Drills("04")

# %% [markdown]
# ## 13 · Interview page
#
# Keep the two kinds of evidence, this lab's and the published, apart when you speak. In the terminal: `llmlab interview 04`.

# %%
from llmlab.learn.interview import interview

interview("04")

# %% [markdown]
# ## To take away
#
# 1. Supervised fine-tuning teaches form quickly and facts slowly, and questions about unknown facts can teach it to make things up.
# 2. Serve what you trained: the same template, the same end of turn, the same generation prompt.
# 3. Look at the mask, at what is cut, and at a hundred examples. Most failures of fine-tuning can be seen there.

# %%
references("shi_2024", "gandhi_2024", "ye_2024_mistakes", "gekhman_2024", "ovadia_2023",
           "zhou_2023_lima", "zelikman_2022", "bianchi_2023", "schulman_2025",
           "ouyang_2022", "gudibande_2023", "lambert_2024")
