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
# **Where we are.** The base model has read a lot and answers nothing: it goes on with the text. Here it becomes an assistant, by imitating conversations.
#
# ```
# pretraining → continued pretraining → [ supervised fine-tuning ] → preferences → reinforcement learning
# ```
#
# **For a ten-year-old.** You learn how to behave at a shop counter by watching many customers being served. You do not learn new facts about the goods that way, but you learn how to answer.
#
# **In an interview.** *SFT is next-token loss on conversations, counted only where the assistant speaks. It starts behaviours: formats, tool calls, refusals. I mask the user's words and the tools' results, keep one chat template
# from the first training step to the last request, look at the labels before I look at the loss, and treat the data as the model: what is in it comes out.*
#
# Words used here: **chat template** = the text that a list of messages becomes; **control token** = one id with a meaning of its own, such as `<|im_start|>`, which typed text must be kept from becoming; **label** = the id to be predicted at a place, or −100 where nothing is;
# **collator** = what makes one batch out of several conversations; **generation prompt** = the words that open the assistant's turn; **nat** = the unit of a loss with natural logarithms, one bit is ln 2 of it.

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
# A dialogue with a tool, as the world of this workbook has them. The template turns messages into text:

# %%
from llmlab.world import Desk

desk = Desk(1, tools=("formulary",))
problem = desk.problems(1, seed=3)[0]
messages, tools = [*problem.messages, *desk.solution(problem)], problem.meta["tools"]
print(chat.render(base.tok, messages, tools))

# %% [markdown]
# As in Qwen's template, a tool's result stands in a user turn, inside `<tool_response>`: the mark, not the role, says that no human wrote it.

# %% [markdown]
# Who writes which token when the model is served? The system prompt, the question and the tool's result come from outside; so do the words that open each turn. The model writes the call, the answer, and the token that closes each
# of the two. These, and no others, are imitated:

# %%
ids, mask = collate.encode(base.tok, messages, tools)
"".join(base.tok.decode(i) for i, m in zip(ids, mask) if m)

# %% [markdown]
# A label is the token's id under the mask and −100 elsewhere; training libraries leave −100 out of the loss. By hand, on the first tokens of the call:

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
# The loss is the mean of −log p over the labels, each predicted from everything to its left. Three places, two of them imitated:

# %%
from llmlab.methods import imitation

probability, imitated = torch.tensor([0.9, 0.5, 0.2]), torch.tensor([0.0, 1.0, 1.0])
by_hand = -(probability.log() * imitated).sum() / imitated.sum()
show(imitation.nll)

# %%
from llmlab.models.forward import Out
from llmlab.tokens.batch import Batch

place = Out(torch.zeros(1, 3, 1), probability.log()[None], imitated[None])
loss, _ = imitation.nll(place,
                        Batch(torch.zeros(1, 4, dtype=torch.long), torch.ones(1, 4)))
assert torch.isclose(loss, by_hand)
round(float(loss), 4)

# %% [markdown]
# ## 2 · Which tokens are imitated? Five answers
#
# The same dialogue under five masks. *all* imitates every token, the user's words too. *completion* is what one gets by calling everything after the prompt the completion: the tool's result is imitated too. *calls* leaves the words of the answer out, *json* keeps only the object itself,
# without the token that ends the turn. *calls* also leaves out thoughts that a model writes before a call; a model whose thinking must not be imitated is masked like that. In a conversation of several turns every assistant turn
# carries labels, unless the template rewrites old ones.

# %%
pd.Series({m: sum(collate.encode(base.tok, messages, tools, imitate=m)[1])
           for m in collate.IMITATED},
          name="tokens imitated").to_frame()

# %%
def strip(imitate):
    ids, mask = collate.encode(base.tok, messages, tools, imitate=imitate)
    return TokenStrip(base.tok,
                      Batch(torch.tensor([ids]), torch.tensor([mask]).float()),
                      layer="mask")

strip("assistant")

# %%
strip("calls").picture("mask")

# %%
strip("json").picture("mask")

# %% [markdown]
# ## 3 · Too long, too short
#
# A row has room for so many tokens. Cut on the right and the final answer goes first, and its labels with it. Cut on the left and the instructions go. *middle* keeps the end, up to half the row or back to the last imitated turn, and
# fills the rest with the beginning. What lies between is lost, here the question and half of the call:

# %%
show(collate.cut)

# %%
def survives(how, length=112):
    kept, labels = collate.cut(ids, mask, length, how)
    return {"tokens": len(kept), "labels": sum(labels),
            "has the system prompt": kept[:5] == ids[:5],
            "has the answer": kept[-9:] == ids[-9:]}

pd.DataFrame({how: survives(how) for how in collate.CUTS}).T

# %% [markdown]
# How many labels are left in a whole data set, and how many rows still hold the question? The lab's dialogues with tools in rows of different lengths:

# %%
dialogues = [[*p.messages, *desk.solution(p)] for p in desk.problems(200, seed=4)]
encoded = [collate.encode(base.tok, d, tools) for d in dialogues]
asked = [d[1]["content"] for d in dialogues]

def kept(how, length):
    cut = [collate.cut(i, m, length, how) for i, m in encoded]
    labels = sum(sum(m) for _, m in cut) / sum(sum(m) for _, m in encoded)
    return labels, sum(
        q in base.tok.decode(i) for (i, _), q in zip(cut, asked)) / len(cut)

# %%
lengths = (96, 112, 128, 144, 160)
both = {how: [kept(how, n) for n in lengths] for how in collate.CUTS}
pd.concat({f"{what} kept (share)": pd.DataFrame(
               {how: [x[k] for x in v] for how, v in both.items()}, index=lengths)
           for k, what in enumerate(("labels", "questions"))},
          axis=1).round(2).rename_axis("tokens a row")

# %% [markdown]
# The opposite waste is padding: a short conversation beside a long one. Several can share a row if attention stays inside each (the `positions` column restarts, as in chapter 01):

# %%
from llmlab.chapters.c04_sft.chats import examples

mixed = [collate.encode(base.tok, c.messages, c.tools) for c in examples(64)]
padded, packed = (collate.collate(base.tok, mixed, length=512, packed=p)
                  for p in (False, True))
pd.DataFrame({n: {"rows": len(b), "places": b.ids.numel(), "labels": int(b.mask.sum())}
              for n, b in {"padded": padded, "packed": packed}.items()})

# %% [markdown]
# ## 4 · Predict
#
# The base model, a few hundred small steps of 16 conversations each: facts about people it knows, asked-for formats, questions for the drug desk, and requests that must be refused.

# %%
from llmlab.chapters.c04_sft.sft import SFT

seeds = (0, 1, 2)
default = [runs.run(SFT(), seed) for seed in seeds]
end = lambda group, metric: median(r.metrics()[metric]["final"] for r in group)

# %%
Predict("Which is learnt most completely?",
        lambda: max(("formats", "refusals", "facts"), key=lambda m: end(default, m)),
        kind="choice", options=["formats", "refusals", "facts"],
        why="One answer fits every unsafe request; facts and formats need another "
            "answer each time.")

# %%
Predict("What happens to the loss on general text meanwhile?",
        lambda: "it rises"
        if end(default, "general_loss") > default[0].metrics()["general_loss"]["start"]
        else "it falls",
        kind="choice", options=["it rises", "it falls"],
        shows=lambda: figures.curves(
            {"new conversations": default}, SFT.curves,
            title="Supervised fine-tuning of the base model, 3 seeds"),
        why="No general text is among the conversations, so nothing keeps it.")

# %% [markdown]
# ## 5 · Turn the knob
#
# `examples` how many different conversations (0: every one is new), `safety` what share of them must be refused, `mask` and `prompt_weight` what is imitated, `verbose`, `wrong`, `filtering` and `people` what is wrong with the data.
# In the terminal: `llmlab run sft --examples 30`.

# %%
Panel("sft", show=["examples", "safety", "mask", "prompt_weight", "verbose", "wrong",
                   "filtering", "people"])

# %% [markdown]
# How many examples does a format take? Pools of different size, the same steps, five seeds: share of requests for JSON that are answered by valid JSON with the right key, and share of all formats with the right content too.

# %%
from llmlab.learn import draw
from llmlab.chapters.c04_sft import claims as arms

pools = (arms.HANDFUL, arms.PROMPT[64, 0.0], arms.FEW_CLEAN, arms.SOME, arms.MANY_CLEAN)
draw.dose(pools, "examples",
          {m: SFT.curves[m] for m in ("valid_json", "formats", "refusals")},
          unit="conversations")

# %%
draw.means({arm.label: arm for arm in (*pools, arms.NEW)},
           {m: SFT.curves[m]
            for m in ("valid_json", "formats", "refusals", "calls", "facts")})

# %% [markdown]
# ## 6 · The template trap
#
# A template is part of the model. (`literal` below leaves one control token, the one that ends the assistant's turn.) Below the same training and the same questions; only the text around them differs between training and serving. `literal` marks the roles by the words User: and Assistant:,
# `no_prompt` forgets the generation prompt, `double_bos` puts the begin-of-text token twice (the template writes one, the tokenizer adds another), and where the padding token is the turn's end, a collator that ignores padding
# ignores the end of every answer with it.

# %%
from llmlab.tokens.templates import MEANING

pd.Series(MEANING, name="what it is").to_frame()

# %%
from llmlab.chapters.c04_sft.template import Template

trap = {"as trained": arms.MATCHED, "served literal": arms.SERVED_LITERAL,
        "no generation prompt": arms.NO_PROMPT, "a second begin-of-text": arms.TWO_BOS,
        "results as the user's text": arms.USER_RESULTS,
        "padding = turn end": arms.PAD_IS_END}
cures = {"literal in both": arms.LITERAL, "no prompt in both": arms.NO_PROMPT_BOTH,
         "one begin-of-text in both": arms.BOS,
         "as the user's text in both": arms.USER_RESULTS_BOTH}
draw.means(trap | cures, Template.curves)

# %%
faults = {"as trained": {}, "served literal": dict(served="literal"),
          "no generation prompt": dict(served="no_prompt"),
          "padding = turn end": dict(pad="turn end")}
drawn = {name: [runs.run(Template(**knobs), seed) for seed in seeds]
         for name, knobs in faults.items()}
shown = {m: Template.curves[m] for m in ("lookups", "formats", "refusals", "stops")}
figures.curves(drawn, shown,
               title="Trained in one template, served in another, 3 seeds")

# %% [markdown]
# For all faults but the last the cure is the same: train and serve with one template. For padding it is a mask by position and not by id. How much the form itself matters, once both sides agree on it, C046 compares. It matters for something
# else: with literal roles a user can write a turn of the assistant's (C049 below). Control tokens protect only where typed marks are kept out; a server that renders everything to one text first loses that.

# %%
Panel("template", show=["trained", "served", "pad"])

# %% [markdown]
# **And the stages after SFT?** DPO (chapter 06) and GRPO (chapter 07) of the chat model, once in SFT's template and once in literal roles; both are asked as SFT's template asks.

# %%
from llmlab.chapters.c04_sft.stages import Stages

draw.means({f"{m} in {t}": arm for (m, t), arm in arms.STAGE.items()}, Stages.curves)

# %% [markdown]
# ## 7 · Break it, then fix it
#
# | symptom | break it with | cure it with |
# |---|---|---|
# | refuses nothing, or everything | `safety` at an end of its range, few `examples` | a share near that of the requests to come; measure both rates |
# | rambles | `verbose 0.8` | labels of the length you want |
# | careless answers | `wrong 0.3` | `filtering checked`, or fewer and better examples |
# | knows the form only for the people it saw | `people 20` | `people 200`: variety |
# | predicts the user | `mask all` | `mask assistant` |
# | never stops | `mask json`, or `pad "turn end"` | the end of the turn belongs to the label |

# %%
unsafe = {"300, 2 % unsafe": arms.SAFETY[0.02], "300, 15 % unsafe": arms.SOME,
          "300, 50 % unsafe": arms.SAFETY[0.5], "300, 80 % unsafe": arms.SAFETY[0.8]}
draw.means(unsafe, {m: SFT.curves[m]
                    for m in ("refusals", "false_refusals", "calls", "formats")})

# %%
careless = {
    "200 clean": arms.FEW_CLEAN, "2,000 clean": arms.MANY_CLEAN,
    "2,000, 30 % careless": arms.NOISY, "2,000, 30 % careless, filtered": arms.FILTERED,
    "1,000 about 20 people": arms.ABOUT_20, "1,000 about 200 people": arms.ABOUT_200,
    "20 % rambling": arms.VERBOSE[0.2], "80 % rambling": arms.VERBOSE[0.8]}
draw.means(careless,
           {m: SFT.curves[m] for m in ("formats", "facts", "refusals", "length")})

# %%
imitated = {"all answers": arms.NEW, "calls only": arms.CALLS, "JSON only": arms.JSON}
imitated |= {f"{n:,} conversations, weight {w:g} on the prompt": arm
             for (n, w), arm in arms.PROMPT.items()}
draw.means(imitated,
           {m: SFT.curves[m]
            for m in ("formats", "valid_json", "calls", "facts", "prompt_loss")})

# %% [markdown]
# **Tools that fail.** *Gold traces* are dialogues in which every call succeeds: they show what to do when all goes well. What does the model do when the first call fails, and what if some traces show a failure and the repeated call? *Tool against memory* asks a desk
# whose census contradicts what the model has read: does the answer follow the tool?

# %%
from llmlab.chapters.c04_sft.traces import Traces

traces = {"gold": arms.GOLD, "30 % error and retry": arms.RETRY,
          "30 % of two calls": arms.CHAINED, "loss on results too": arms.COMPLETION}
cuts = {f"cut {how}": arm for how, arm in arms.CUT.items()}
draw.means(traces | cuts, Traces.curves)

# %%
Panel("traces", show=["retry", "differs", "chained", "mask", "length", "truncation"])

# %% [markdown]
# **Facts by SFT.** Questions about newcomers whom the chat model never read of, mixed with known people, and with strangers to whom the right answer is *I do not know.*

# %%
from llmlab.chapters.c04_sft.unknown import Unknown

taught = {"no newcomers": Unknown(share=0.0), "half about newcomers": Unknown()}
taught = {name: [runs.run(e, seed) for seed in seeds] for name, e in taught.items()}
figures.curves(taught,
               {m: Unknown.curves[m] for m in ("learnt", "new", "known", "admits")},
               title="Facts by supervised fine-tuning, 3 seeds")

# %% [markdown]
# **Own samples as data.** The chat model answers sums; of eight samples a problem one is kept and imitated: any, or the first that the checker accepts.

# %%
from llmlab.chapters.c04_sft.curate import Curate

curated = {keep: [runs.run(Curate(keep=keep), seed) for seed in seeds]
           for keep in ("any", "verified")}
figures.curves(curated, Curate.curves, title="Imitating own samples, 3 seeds")

# %% [markdown]
# ## 8 · The same with TRL
#
# TRL's `SFTTrainer` is widely used. Given the same rows it makes the same steps (a test holds the weights together after ten of them). `--engine trl` runs the same knobs through it and stores the same kind of Run;
# `torchrun` shares each batch among processes.
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
# ## 9 · The evidence
#
# Every statement of the sources about this chapter is a **claim** in the ledger: put into our words, with arms, a direction and a smallest effect of interest, and the log of declarations says when each was fixed and what was
# changed after results were known. A claim's parts are decided one by one, by the 98 % interval over seeds: *as claimed*, *reversed*, *too small* (or, where no difference was claimed, *differs*), else *open*. Seeds are looked at when there
# are five, ten and twenty. *Supported* means that every part is as claimed, *refuted* that every part is excluded, *conditional* that it depends on a knob that is named; *withheld* that the design cannot decide it, and why. A verdict holds for this lab: a small
# model and a small world. The line in italics is what to know before quoting it. The whole ledger stands in [its own notebook](ledger.ipynb).

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("04")
evidence

# %%
forest.figure(evidence.rows)

# %% [markdown]
# ## 10 · What is contested
#
# - **"Mask the prompt."** With few examples, long prompts or short answers, loss on the instructions can help [Shi et al. 2024]. It is one knob: `prompt_weight`.
# - **"SFT cannot teach recovery."** Traces with errors and their repair teach it by plain next-token loss [Gandhi et al. 2024], if they come early: in pretraining, and hardly by LoRA afterwards [Ye et al. 2024]. The statement is about the data, not about the method.
# - **"SFT cannot put in facts."** Unknown facts are fitted slowly and then raise hallucination [Gekhman et al. 2024], and retrieval is the better lever for facts that change [Ovadia et al. 2023]. With volume and variety they do go in.
# - **"Adopt the official template."** Mostly right; a deliberately different template at test time has kept a fine-tuned model safe [Lyu et al. 2024].
# - **"A thousand good examples are enough"** [Zhou et al. 2023], for style; what counts as good is decided by a checker, which may itself be wrong.
#
# **Where to start on a real model.** All weights: a rate of 1e-5 to 2e-5, a few per cent of warm-up, one to three epochs, 64 or more conversations a step; adapters: about ten times that rate. Mix in some general conversations if old skills
# must stay, and remove from the data what the test set holds. Stop on held-out answers, not on the training loss. The rates in this notebook are far higher because the model is small. If memory forces small batches, *accumulate* over
# tokens: the mean of the batches' means gives a short batch's tokens too much weight, as the next cell shows.
#
# **Before you believe an SFT run,** check: the decoded labels of one row; labels a row, and whether the end of the turn is among them; the share of rows that were cut; the lengths of the labels; both refusal rates; formats and tool calls on
# held-out prompts; loss on general text; equal ids in training and in serving.

# %%
short_batch, long_batch = torch.tensor([4.0, 4.0]), torch.tensor([1.0] * 8)
mean_of_means = (short_batch.mean() + long_batch.mean()) / 2
over_tokens = torch.cat([short_batch, long_batch]).mean()
float(mean_of_means), round(float(over_tokens), 2)

# %% [markdown]
# Who writes the answers? People, programs with a checker, or a stronger model: learning from a stronger model's answers is *distillation*, chapter 11.
#
# Your own conversations (JSON lines with `messages` in each, `tools` where there are some), on any model folder:
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
# ## To take away
#
# 1. Supervised fine-tuning teaches form quickly and facts slowly, and what it teaches about unknown facts may be to make them up.
# 2. What is served must be what was trained: the template, the end of the turn, the generation prompt.
# 3. Look at the mask, at what is cut, and at a hundred examples. Most failures of fine-tuning stand there to be read.

# %%
references("shi_2024", "gandhi_2024", "ye_2024_mistakes", "gekhman_2024", "ovadia_2023",
           "lyu_2024", "zhou_2023_lima", "zelikman_2022")
