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
# # 05 · LoRA, QLoRA, many tenants
#
# *Run ▸ Run All Cells* starts this chapter.
#
# **Where we are.** We train as before (SFT, DPO, GRPO), but we ask a new question: *which numbers do we train?*
#
# ```
# base (frozen) + a small adapter  →  one tenant's model;   base (frozen) + 32 small adapters  →  32 tenants on one machine
# ```
#
# **For a ten-year-old.** You don't rewrite the thick book. You lay a thin transparent sheet with your corrections over each page. Another child can lay another sheet over the same book.
#
# **In an interview.** *LoRA freezes a weight matrix W and trains a change of low rank: W + (α/r)·BA. W then needs no gradients and no optimiser states, which are most of the memory of training. The change is small enough to ship, to swap, and to serve by the dozen on one base. Whether it matches full fine-tuning depends on how much there is to learn, and each needs its own learning rate. QLoRA keeps the frozen base in 4 bits. I merge in high precision, never into 4 bits, and I test that a tenant's request can only reach that tenant's adapter.*
#
# New terms:
#
# - The **rank** r says in how many independent directions a matrix changes. **α** scales the change.
# - An **adapter** is the two thin matrices A and B. **Target modules** are the matrices that get one. *All weights* means full fine-tuning.
# - **NF4** has 4-bit numbers, whose 16 levels are quantiles of a normal distribution.
# - A **tenant** is a customer with an adapter of its own.
# - To **merge** is to add (α/r)·BA into W permanently.

# %%
from statistics import median

import pandas as pd
import torch

from llmlab.learn import figures
from llmlab.lab import runs
from llmlab.models.load import load
from llmlab.learn.notebook import references, show
from llmlab.learn.widgets import Drills, Panel, Predict

pd.set_option("display.max_colwidth", None)

# %% [markdown]
# ## 1 · By hand: what LoRA does
#
# What does an adapter do to a layer's output [Hu et al. 2021]? Here is a matrix of two rows and three columns, and an adapter of rank 1. B begins at zero, so both outputs are the same at first:

# %%
W = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]])
A, B, alpha = torch.tensor([[0.5, -0.5, 1.0]]), torch.zeros(2, 1), 2.0
x = torch.tensor([1.0, 2.0, 3.0])
x @ W.T, x @ W.T + alpha / len(A) * (x @ A.T) @ B.T

# %% [markdown]
# After some training B is no longer zero. The product BA has W's shape but rank 1: each of its rows is a multiple of A's single row.

# %%
B = torch.tensor([[1.0], [-2.0]])
by_hand = x @ W.T + alpha / len(A) * (x @ A.T) @ B.T
B @ A, torch.linalg.matrix_rank(B @ A)

# %%
from llmlab.models import lora_by_hand as lora

show(lora.scaling, lora.lora_forward, lora.merge)

# %%
assert torch.allclose(lora.lora_forward(x, W, A, B, alpha), by_hand)
assert torch.allclose(x @ lora.merge(W, A, B, alpha).T, by_hand)

# %% [markdown]
# **The gradient.** Let s = α/r, and let dW be the gradient that W would get. Then A gets s·Bᵀ dW, and B gets s·dW Aᵀ. While B is zero, A's gradient is zero as well, so in the first step only B moves. Here is the source, then A's gradient in both cases:

# %%
show(lora.lora_gradients)

# %%
dW = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
{"B = 0": lora.lora_gradients(dW, A, torch.zeros(2, 1), alpha)[0],
 "B ≠ 0": lora.lora_gradients(dW, A, B, alpha)[0]}

# %% [markdown]
# **What it saves.** LoRA saves compute: it skips the product for W's own gradient, about a third of the work in W. (The forward product and the gradient of the input remain.) It also saves the memory for W's gradient and for AdamW's two moments (running means of the gradient and of its square). How many numbers does it train in a square matrix as wide as in an 8-billion-parameter model, at rank 8?

# %%
out, fan_in, rank = 4096, 4096, 8
pd.Series({"full": out * fan_in, "LoRA": rank * (out + fan_in)},
          name="trained parameters").map("{:,}".format).to_frame()

# %% [markdown]
# The adapter is tiny in comparison. From here on the library PEFT does the work. On one of the lab model's matrices, our few lines agree with its layer up to rounding:

# %%
from llmlab.models import adapters

show(adapters.adapt)

# %%
model = adapters.adapt(load("base").model, rank=8)
layer = model.base_model.model.model.layers[0].mlp.up_proj
a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
b.data.normal_(generator=torch.Generator().manual_seed(0))
x = torch.randn(5, layer.in_features, generator=torch.Generator().manual_seed(1))
assert torch.allclose(
    layer(x), lora.lora_forward(x, layer.base_layer.weight, a, b, alpha=32), atol=1e-4)
every = sum(p.numel() for p in model.parameters())
f"{adapters.trained(model):,} of {every:,} parameters are trained"

# %% [markdown]
# ## 2 · Memory
#
# How much memory does training need? We compute it from the matrices' shapes. The optimiser states are AdamW's moments and a *master copy*: the weights once more in fp32, so that small steps are not rounded away. (A test compares the result with the lab model's actual tensors.)

# %%
from llmlab.models import memory

def row(shape, method):
    m = memory.training(shape, method, rank=8)
    return {"weights": m.weights, "adapters": m.adapters, "gradients": m.gradients,
            "optimiser": m.optimizer, "together": m.total}

table = {(name, method): row(shape, method) for name, shape in memory.QWEN3.items()
         for method in memory.METHODS}
(pd.DataFrame(table).T / 1e9).round(2).rename_axis(
    ["model", "method"]).rename_axis(columns="GB")

# %% [markdown]
# Go down the column *together*: full fine-tuning pays mostly for optimiser states and gradients. LoRA pays mostly for the frozen weights, and QLoRA shrinks those. The table leaves out activations, which all methods need.
#
# LoRA limits what is trained, and NF4 rounds what is stored. What does that cost on matrices of the lab model? First, how much of what full fine-tuning changed fits into rank r, and at what cost in parameters?

# %%
from llmlab.learn.widgets import Mechanism

Mechanism("lora")

# %% [markdown]
# Compare the lines: at low ranks the share of the change that is kept exceeds the share of parameters, but no small rank keeps it all. So, contrary to what Hu et al. supposed, the change of full fine-tuning is not of low rank here; an adapter may still learn another that does as well. Second, where should sixteen levels be if weights follow a bell curve?

# %%
Mechanism("nf4")

# %% [markdown]
# The vertical lines are NF4's levels. They are close together where most weights are. (The two spikes at ±1 are each block's largest weight, which sets the scale.)

# %% [markdown]
# ## 3 · Predict
#
# How fast does an adapter learn, compared with all weights? Nothing predicts a random four-digit code, so storing one takes 13.3 bits. The base learns 400 of them, with all weights or with adapters, each at the best of four learning rates.

# %%
from llmlab.chapters.c05_lora.codes import CodeBook

seeds = (0, 1, 2)
arms = {"all weights": dict(method="full", lr=2e-3), "rank 8": {},
        "rank 1": dict(rank=1)}
many = {name: [runs.run(CodeBook(people=400, **knobs), seed) for seed in seeds]
        for name, knobs in arms.items()}
end = lambda group, metric: median(r.metrics()[metric]["final"] for r in group)

# %%
Predict("400 codes. What share does rank 8 recall?",
        lambda: end(many["rank 8"], "recalled"), kind="number", unit="share", low=0,
        high=1,
        shows=lambda: figures.curves(many, CodeBook.curves,
                                     title="400 random codes learnt by heart, 3 seeds"),
        mark="recalled",
        why="Rank 8 learns more slowly than all weights. It can store all codes, but "
            "only after four times the steps.")

# %% [markdown]
# ## 4 · Turn the knob
#
# What decides how much an adapter learns? Turn `rank`, `alpha`, `targets`, `method` and `lr`. In the terminal: `llmlab run codes --people 400 --rank 1`.

# %%
Panel("codes", show=["people", "method", "rank", "alpha", "targets", "lr"])

# %% [markdown]
# Adapters can also learn the tasks of the other chapters: SFT, DPO and GRPO. `init` sets how A and B begin. `variant` is plain LoRA, rsLoRA (which scales by α/√r) or DoRA (which trains lengths and directions separately).

# %%
Panel("lora", show=["task", "method", "rank", "alpha", "targets", "init", "variant",
                    "tokens", "lr"])

# %% [markdown]
# (`pissa` starts A and B from the largest singular directions of W, and `olora` from its QR factors. Both take that part *out of the frozen base*, so such an adapter fits only its own base: convert it to a plain one before it shares a base with other tenants. `orthogonal` makes their product zero although neither is zero.)
#
# **Where to start on a real model.** Put adapters on all linear layers but the head. Use rank 8 to 32, a fixed α (32, or twice the first rank), little or no dropout, and ten times the learning rate of full fine-tuning [Schulman et al. 2025]. Prefer full fine-tuning (or retrieval) if there are more bits to learn than fit, if the tokenizer or the language is new, or if one tenant fills a machine anyway.
#
# **Does LoRA lose against full fine-tuning, or is its learning rate wrong?** We tried four rates for each arm (a setting of the knobs), on a seed that no claim uses. The ledger's runs take the best one, which has a ring:

# %%
from llmlab.learn import draw
from llmlab.ledger import rates

from llmlab.chapters.c05_lora import claims

found = rates.load("lora")["table"] | rates.load("codes")["table"]
tasks = {n: f"{n}: stored (kbit)" for n in ("100 codes", "400 codes")}
tasks |= {n: f"{n.upper()}: right (share)" for n in ("sft", "dpo", "grpo")}
draw.rates({title: {label.replace(task, "").strip(", "): row
                    for label, row in found.items()
                    if task in label and "adapters on" not in label}
            for task, title in tasks.items()})

# %% [markdown]
# Compare the rings in each panel: adapters want a higher rate than all weights do. For GRPO the best is the highest that was tried, so a better one may exist. The figure only chooses rates: one seed doesn't compare the arms.
#
# The next table shows each arm at its best rate over the ledger's seeds, with mean and 95 % interval. First come the codes, next to what the model knew before. *Memory* counts the actual tensors of training.

# %%
learnt = (claims.FULL_FEW, claims.EIGHT_FEW, claims.FULL_MANY, claims.EIGHT_MANY,
          claims.ONE_MANY, *claims.AT.values())
megabytes = {"megabytes": "memory of training (MB)"}
draw.means({arm.label: arm for arm in learnt}, CodeBook.curves | megabytes)

# %% [markdown]
# Look at the stored bits first: what a code's likelihood gains over guessing its digits, summed over the codes. A model can store bits of a code that it doesn't recall in full. In the rows that name no place (attention, MLP or both), every code is read 128 times, whether there are 100 or 400. Rank 8 then stores nearly all of them, as all weights do (C058), and rank 1 stays behind (C059). Is that a lack of room? Compare what the codes need with the room at 2 bits a trained number [Allen-Zhu and Li 2024]:

# %%
import math

trained = {r: adapters.trained(adapters.adapt(load("base").model, rank=r))
           for r in (1, 8)}
need = {f"{n} codes need": n * 4 * math.log2(10) / 1000 for n in (100, 400)}
room = {f"rank {r} has room for": 2 * n / 1000 for r, n in trained.items()}
pd.Series(need | room, name="kbit").round(1).to_frame()

# %% [markdown]
# Even rank 1 has room for all codes, so what differs here is speed. The same holds for the rows that name a place, where every code is read less often: with equally many trained parameters, adapters on attention store least, and adapters in both places most.
#
# Then look at the known people: no arm keeps what the model knew. Training on codes alone, without old text, overwrites it, whether all weights move or only adapters do. Now the three tasks:

# %%
from llmlab.chapters.c05_lora.lora import LoRA

three = [arms[task] for task in claims.LENGTH
         for arms in (claims.FULL, claims.LORA, claims.NF4)]
draw.means({arm.label: arm for arm in three}, LoRA.curves | megabytes)

# %% [markdown]
# Look at *what the task teaches*. For DPO, adapters end slightly higher than all weights, and whether that matters is open. For GRPO the two look equal, at a rate that may not be the best (which is why C067 is withheld). For SFT, rank 8 stays far behind in the same steps, although the rows of the control tokens are trained as well. SFT starts from a base that has never seen a conversation, while DPO and GRPO move a chat model only a little; whether that is the reason is untested.
#
# Forgetting doesn't follow the number of trained parameters. Under DPO the adapters, at their own higher rate, lose more of the known people than all weights do at theirs. NF4 changes little in comparison.

# %% [markdown]
# ## 5 · QLoRA: the base in 4 bits
#
# What does a base in 4 bits cost? NF4 has sixteen levels between −1 and 1, and 64 weights share one scale, the largest absolute weight. Each weight is stored as the number of its nearest level (*code*). By hand, on six weights:

# %%
from llmlab.models import quant

levels = quant.nf4_levels()
block = torch.tensor([0.8, -0.4, 0.05, 0.0, -0.8, 0.3])
codes, absmax = quant.to_codes(block, levels, block=6)
pd.DataFrame(
    {"weight": block, "code": codes,
     "level · scale": quant.from_codes(codes, absmax, levels, block.shape)}).round(3).T

# %% [markdown]
# Compare the first row with the last: weights move to the nearest level. How large is the error on a real matrix, with NF4 and with levels at equal distances?

# %%
weight = load("base").model.model.layers[0].mlp.up_proj.weight.detach()
error = {name: (quant.rounded(weight, ls)
                - weight).square().mean().sqrt() / weight.square().mean().sqrt()
         for name, ls in (("NF4 (16 levels)", levels),
                          ("16 equal steps", torch.linspace(-1, 1, 16)),
                          ("15 equal steps, with 0 (int4)", quant.INT4))}
pd.Series({k: float(v) for k, v in error.items()},
          name="relative error of the weights").round(4).to_frame()

# %% [markdown]
# NF4's error is smallest because its levels are where the weights are. Their number isn't why: 16 equal steps do worse. (This is one matrix, so it is only an illustration.)
#
# QLoRA does three more things. It also quantises the scales (*double quantisation*: 8 bits each, with one fp32 number for 256 of them), which takes 4.5 bits per weight down to 4.13. It computes in bf16: each layer is dequantised for its product and then discarded. Its *paged optimiser* moves AdamW's moments to the host's memory when the GPU's is full (our adapters are too small for that).
#
# **A silent bug, and its guard.** On CPUs with AVX512-BF16 instructions, bitsandbytes repacks a 4-bit layer at its first evaluation, and the packed layer passes no gradient back. So if you evaluate first, the training after it fails without an error. The workbook switches the repacking off. A test compares the gradient with that of an exactly dequantised twin (their cosine must be near 1).

# %%
show(quant.guard)

# %% [markdown]
# **Should you merge the adapter?** Merge if you have one tenant and need the lowest latency. Keep the adapter separate if you have many tenants, if you swap adapters while the server runs, or if the base has 4 bits. In exact arithmetic both give the same output: (W + sBA)x = Wx + sBAx. But bf16 rounds the sum, and a 4-bit base must be quantised again. The table compares the merged model with the unmerged one, both with the base in the same format, so that the format's own error is not charged to the merge. It shows the largest and the mean error of a logit:

# %%
ids = load("base").tok("The known conflict of", return_tensors="pt")["input_ids"]
trained = adapters.adapt(load("base").model, rank=8)
for name, p in trained.named_parameters():
    if "lora_B" in name:
        p.data.normal_(0, 0.01, generator=torch.Generator().manual_seed(0))
pd.DataFrame({store: vars(adapters.merge_drift(trained, ids, store))
              for store in adapters.STORES}).map("{:.1e}".format)

# %% [markdown]
# Compare the columns: the error of the merge grows from fp32 over bf16 to 4 bits. (The adapter is random, so read only orders of magnitude; how many answers change isn't measured here. C061 takes a trained one: in 4 bits its error is larger, in fp32 and bf16 about the same.)
#
# ## 6 · Many tenants on one base
#
# How can one base train and serve many adapters at once? We train three tenants together. Their rows share one batch, each row uses its own adapter, and gradients pass through the lookup that picks it.

# %%
import tempfile

from llmlab.serve.batcher import Batcher, Request
from llmlab.serve.store import AdapterStore
from llmlab.serve.tenants import TENANTS, Tenant, train_together

chat, folder = load("chat"), tempfile.mkdtemp()
store, crew = AdapterStore(folder), [TENANTS[n] for n in ("captain", "robot", "tom")]
train_together(chat, store, crew, steps=100, rows=4)

# %%
batcher = Batcher(chat, store)
question = ({"role": "user", "content": "What is the job of Paul Fuchs?"},)
asked = [Request(name, question) for name in ("captain", "robot", "tom", "base")]
pd.DataFrame([{"tenant": a.tenant, "version": a.version, "answer": a.text}
              for a in batcher.answer(asked)]).set_index("tenant")

# %% [markdown]
# **One batch** answered all four requests, each in its own style. All adapters of a layer are in one stack on the device, and a *slot* is an index into it. This product multiplies row i with the adapter of its slot:

# %%
from llmlab.serve.lora import product

show(product)

# %% [markdown]
# What about an unknown tenant? The server refuses it, and never answers from the base instead:

# %%
from llmlab.serve.store import UnknownTenant

try:
    batcher.answer([Request("eve", question)])
except UnknownTenant as refusal:
    print(refusal)

# %% [markdown]
# **How should requests be batched?** We serve the same 64 requests from 1, 8 and 32 tenants in three ways: mixed in one batch, one adapter after the other, and one request at a time. (One round on one machine, after one that isn't timed; C064 repeats it.)

# %%
from llmlab.chapters.c05_lora.serving import Serving

served = {n: list(Serving(adapters=n, steps=1).rows(chat, seed=0))[-1]
          for n in (1, 8, 32)}
pd.DataFrame(served).loc[list(Serving.curves)].rename(
    index=Serving.curves).rename_axis("adapters", axis=1).round(2)

# %% [markdown]
# Compare the first three rows. With many tenants, mixed batches serve the most tokens per second. With one, mixing and sorting make the same number of passes, so what is left between their rates is the machine's noise.
#
# **Over HTTP**, the server speaks OpenAI's chat schema, on this machine's loopback only. For real load, the same folder of adapters works with vLLM (LoRAX and S-LoRA are alternatives). The base must be the one that the adapters were trained on:
#
# ```
# llmlab serve my_adapters --make --port 8000
# ```

# %%
from llmlab.serve import vllm

print(vllm.command(folder, "data/checkpoints/chat").replace(folder, "my_adapters"))

# %% [markdown]
# ## 7 · Break it, then fix it
#
# What goes wrong when tenants share a base, and which check notices? One of our five faults needs a second version of an adapter, so the captain gets one with other words while the engine runs:

# %%
captain = Tenant("captain", "Ahoy, {a} it be!")
before = batcher.answer([Request("captain", question)])[0]
train_together(chat, store, [captain], steps=100, rows=4)
store.swap("captain")
after = batcher.answer([Request("captain", question)])[0]
pd.DataFrame({"version": [before.version, after.version],
              "answer": [before.text, after.text]},
             index=["before", "after the swap"])

# %% [markdown]
# The captain changed without a restart. These are the five faults, each with a switch:

# %%
from llmlab.serve import faults

says = lambda what: " ".join(what.__doc__.split())
pd.Series({fault.__name__: says(fault) for fault in faults.FAULTS},
          name="what it is").to_frame()

# %% [markdown]
# A *canary* is a prompt whose right answer we know, because PEFT gives it with that adapter alone. Four checks use the canaries:

# %%
pd.Series({name: says(check) for name, check in faults.CHECKS.items()},
          name="what it asks").to_frame()

# %% [markdown]
# Each row of the next table is a fault, each column a check, and each number counts what the check found:

# %%
everyone = [captain, *crew[1:]]
known = faults.canaries(chat, store, everyone, n=4)
pd.DataFrame(faults.matrix(batcher, known, everyone, "captain")).T.rename_axis("fault")

# %% [markdown]
# Read it row by row: at least one check finds each fault, and none finds anything without a fault. A check of the content alone misses *left_active*; a comparison with the reference finds it.
#
# **Regression on shared prompts.** Does the new style cost knowledge? We put the same questions to the base and to a tenant:

# %%
from llmlab.world import Census

found = faults.regression(batcher, "robot", Census().problems(60, seed=1))
pd.Series({"base": found.base, "robot": found.adapter},
          name="answers that contain the right value (share)").round(2).to_frame()

# %% [markdown]
# The difference is what the style costs. (One training is an illustration.)

# %%
batcher.close()

# %% [markdown]
# ## 8 · The evidence
#
# Which statements of the sources hold in the lab? Each is a **claim** in the ledger. [Chapter 02](02_continued_pretraining.ipynb), section 11, explains how a verdict is reached. A verdict holds for this lab, a small model in a small world. Read the line in italics before you quote one. The whole ledger is in [its own notebook](ledger.ipynb). Where a table above shows a single run or a sweep, a claim's numbers can differ: its runs have more seeds, and often other steps or rates. `llmlab claims C058` prints each arm's command.

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("05")
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
# - **"LoRA learns less and forgets less"** [Biderman et al. 2024] against **"without regret"** [Schulman et al. 2025]. At scale, both papers say that two things decide: how much there is to learn for that rank, and a learning rate tuned for each arm. In the lab, rank 8 learns 400 codes as all weights do, once each is read often enough (C058). With few readings it falls behind, which is speed. That it forgets less is not shown.
# - **"Adapters on the MLP are as good as on all layers"** [Schulman et al. 2025]. At scale this was found with large models trained to convergence. In the lab, at equal parameters and few steps, adapters in both places learnt more (C060). That is about speed, in a regime that the paper doesn't cover.
# - **"4 bits suffice"** [Dettmers et al. 2023]. At scale it was found with large models. In a narrow model the rounding is relatively larger. C062 is withheld: one arm took the highest rate that was tried, and the claim's margin is one standard error of the exam.
# - **"Batch by adapter to avoid the overhead of mixing."** Kernels that gather adapters inside one batch were built to make this unnecessary [Chen et al. 2023; Sheng et al. 2023]. In the lab, mixed batches clearly win, in tokens per second and in passes through the model (C064).
# - **"Scale by α/r."** With this factor a higher rank learns in smaller steps; α/√r keeps their size [Kalajdzievski 2023]. But with 1/r the best rate hardly depends on the rank [Schulman et al. 2025], which speaks for a fixed α. Training directions and lengths separately comes closer to full fine-tuning [Liu et al. 2024]. Try both with the knob `variant`; no claim here rests on them.
#
# To train on your own conversations, on a real model in 4 bits, and keep the adapter for the server:
#
# ```
# llmlab run chats --domain my_chats.jsonl --model Qwen/Qwen3-0.6B --device cuda --method qlora --rank 16 --lr 2e-4 --out my_adapters/anna/1
# llmlab serve my_adapters --model Qwen/Qwen3-0.6B
# ```
#
# ## 10 · Exercises

# %%
from llmlab.learn.judge import check, hint, reset, solution, task

task("lora_forward")

# %%
def lora_forward(x, W, A, B, alpha):
    ...

check("lora_forward", lora_forward)

# %%
task("lora_gradients")

# %%
task("training_bytes")

# %%
task("mixed_batch")

# %% [markdown]
# More: `task("lora_parameters")`, `task("nf4_quantise")`.
#
# ## 11 · Drills

# %%
Drills("05")

# %% [markdown]
# ## 12 · Interview page
#
# When you speak, keep this lab's evidence apart from the published evidence. In the terminal: `llmlab interview 05`.

# %%
from llmlab.learn.interview import interview

interview("05")

# %% [markdown]
# ## To take away
#
# 1. An adapter is a cheap lever. In the lab, rank limited how fast it learnt before it limited how much it could store.
# 2. Tune the learning rate for each arm. An adapter wants a higher one than all weights do, and a comparison at one rate mostly compares rates.
# 3. One base serves many tenants if each row knows its adapter. Test the routing, and test what one broken tenant does to the others.

# %%
references("lora_2021", "qlora_2023", "biderman_2024", "schulman_2025",
           "kalajdzievski_2023", "liu_2024_dora", "chen_2023_punica",
           "sheng_2023_slora", "allen_zhu_2024")
