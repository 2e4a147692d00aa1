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
# **Where we are.** The same teaching as before (SFT, DPO, GRPO), but with another answer to the question *which numbers are trained?*
#
# ```
# base (frozen) + a small adapter  →  one tenant's model;   base (frozen) + 32 small adapters  →  32 tenants on one machine
# ```
#
# **For a ten-year-old.** You do not rewrite the thick book. You lay a thin transparent sheet with your corrections over each page. Another child can lay another sheet over the same book.
#
# **In an interview.** *LoRA freezes W and trains a change of low rank, W + (α/r)·BA. It saves the gradients and optimiser states of W, which is most of the memory of training, and it makes the change small enough to ship, to swap
# and to serve by the dozen on one base. Whether it matches full fine-tuning depends on how much there is to learn, and each needs its own learning rate. QLoRA holds the frozen base in 4 bits. I merge in high precision, never into 4 bits, and I
# test that a tenant's request can only meet that tenant's adapter.*
#
# Words used here: **rank** = how many independent directions a matrix changes in; **adapter** = the two thin matrices A and B; **target modules** = which matrices get one; **NF4** = 4-bit numbers whose 16 levels are quantiles of a normal
# distribution; **tenant** = a customer with an adapter of its own; **merge** = to add BA into W once and for all.

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
# A matrix with two rows and three columns, an adapter of rank 1. B begins at zero, so the first step changes nothing:

# %%
W = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]])
A, B, alpha = torch.tensor([[0.5, -0.5, 1.0]]), torch.zeros(2, 1), 2.0
x = torch.tensor([1.0, 2.0, 3.0])
x @ W.T, x @ W.T + alpha / len(A) * (x @ A.T) @ B.T

# %% [markdown]
# After some training B is not zero. The product BA is a matrix of W's shape, but of rank 1: each of its rows is a multiple of A's single row.

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
# **The gradient.** With s = α/r: if W's gradient is dW, A gets s·Bᵀ dW and B gets s·dW Aᵀ. While B is zero, dA is zero as well: in the first step only B moves.

# %%
show(lora.lora_gradients)

# %%
dW = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
{"B = 0": lora.lora_gradients(dW, A, torch.zeros(2, 1), alpha)[0],
 "B ≠ 0": lora.lora_gradients(dW, A, B, alpha)[0]}

# %% [markdown]
# **What it saves.** The forward product and the gradient of the input are still computed. What falls away is the product for W's own gradient, about a third of the work in W, and what training keeps beside each trained number: its gradient
# and AdamW's two moments (running means of the gradient and of its square). A square matrix as wide as an 8-billion-parameter model, and a rank of 8:

# %%
out, fan_in, rank = 4096, 4096, 8
pd.Series({"full": out * fan_in, "LoRA": rank * (out + fan_in)},
          name="trained parameters").map("{:,}".format).to_frame()

# %% [markdown]
# From here on PEFT does the work. Our few lines and its layer agree to rounding (a test holds them together); this is one of the lab model's own matrices:

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
# Computed from the shapes: weights, adapters, gradients, optimiser states (AdamW's moments, and a *master copy*: the weights once more in fp32, which small steps do not get lost in), without activations. For the lab model the computed bytes are those of the actual tensors, to the byte (tested).

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
# The two approximations of this chapter, on matrices of the lab model. How much of what full fine-tuning changed fits into rank r, and at what price? And where do sixteen levels go, if the weights look like a bell?

# %%
from llmlab.learn.widgets import Mechanism

Mechanism("lora")

# %%
Mechanism("nf4")

# %% [markdown]
# ## 3 · Predict
#
# Random four-digit codes are facts that nothing predicts: each takes 13.3 bits of room. The base learns 400 of them, with all weights or with adapters, each at the best of four learning rates.

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
        why="After so few readings rank 8 is slower than all weights; it holds all of "
            "them after four times the steps.")

# %% [markdown]
# ## 4 · Turn the knob
#
# `rank`, `alpha`, `targets`, `method` and `lr`: what a low rank can take in. In the terminal: `llmlab run codes --people 400 --rank 1`.

# %%
Panel("codes", show=["people", "method", "rank", "alpha", "targets", "lr"])

# %% [markdown]
# And the three tasks of the other chapters, taught by adapters: SFT, DPO, GRPO. `init` is how A and B begin, `variant` LoRA, rsLoRA (α/√r) or DoRA (lengths apart from directions).

# %%
Panel("lora", show=["task", "method", "rank", "alpha", "targets", "init", "variant",
                    "tokens", "lr"])

# %% [markdown]
# (The start `pissa` takes A and B from the largest singular directions of W, `olora` from its QR factors, `orthogonal` makes their product zero without either being zero.)
#
# **Where to start on a real model.** Adapters on all linear layers but the head, rank 8 to 32, α fixed (32, or twice the first rank), little or no dropout, ten times the rate of full fine-tuning. Prefer all weights, or retrieval, where there are
# more bits to learn than fit, where the tokenizer or the language is new, or where one tenant fills a machine anyway.
#
# **Full fine-tuning against LoRA at tuned rates.** Each arm tried the same number of rates on a seed that no claim uses; the best one is what the ledger's runs take. Codes: kilobits stored.

# %%
from llmlab.ledger import rates

from llmlab.chapters.c05_lora import claims

def tried(trials):
    table = rates.load("lora")["table"]
    found = pd.concat([pd.DataFrame({a.label: table[a.label] for a in t.arms}).T
                       for t in trials]).round(2)
    found = found[sorted(found.columns, key=float)].astype(object)
    return found.fillna("").rename_axis(columns="rate")

tried([t for t in claims.RATES_TRIED if t.metric == "kilobits"])

# %% [markdown]
# The three tasks: share right.

# %%
tried([t for t in claims.RATES_TRIED if t.metric == "skill"])

# %% [markdown]
# At those rates, over the ledger's seeds, mean and 95 % interval. First what is learnt by heart, next to what was known before; megabytes are those of the actual tensors of training (weights, adapters, gradients, optimiser).

# %%
from llmlab.learn import draw

learnt = (claims.FULL_FEW, claims.EIGHT_FEW, claims.FULL_MANY, claims.EIGHT_MANY,
          claims.ONE_MANY, *claims.AT.values())
megabytes = {"megabytes": "memory of training (MB)"}
draw.means({arm.label: arm for arm in learnt}, CodeBook.curves | megabytes)

# %% [markdown]
# A rank learns what fits into it. The few codes are learnt nearly completely by rank 8; of the many, far fewer than by all weights, and by rank 1 hardly any. With the same number of trained parameters, adapters on attention take in least and adapters on both
# places most. What was known is gone in every arm: codes by heart, without any old text beside them, overwrite it, whether all weights move or adapters do.

# %%
from llmlab.chapters.c05_lora.lora import LoRA

three = [arms[task] for task in claims.LENGTH
         for arms in (claims.FULL, claims.LORA, claims.NF4)]
draw.means({arm.label: arm for arm in three}, LoRA.curves | megabytes)

# %% [markdown]
# SFT asks the base for a new manner with new marks: there rank 8 stays far behind in the same steps. For DPO and GRPO, which move a chat model a little, adapters reach what all weights reach. Forgetting does not follow the number of trained parameters: under DPO the
# adapters, at their own higher rate, lose more of the known people than all weights do at theirs. NF4 changes little beside this.

# %% [markdown]
# ## 5 · QLoRA: the base in 4 bits
#
# Sixteen levels between −1 and 1, close together where normal weights are many; 64 weights share one scale. By hand, on six weights:

# %%
from llmlab.models import quant

levels = quant.nf4_levels()
block = torch.tensor([0.8, -0.4, 0.05, 0.0, -0.8, 0.3])
codes, absmax = quant.to_codes(block, levels, block=6)
pd.DataFrame(
    {"weight": block, "code": codes,
     "level · scale": quant.from_codes(codes, absmax, levels, block.shape)}).round(3).T

# %%
weight = load("base").model.model.layers[0].mlp.up_proj.weight.detach()
error = {name: (quant.rounded(weight, ls)
                - weight).square().mean().sqrt() / weight.square().mean().sqrt()
         for name, ls in (("NF4 (16 levels)", levels), ("15 equal steps", quant.INT4))}
pd.Series({k: float(v) for k, v in error.items()},
          name="relative error of the weights").round(4).to_frame()

# %% [markdown]
# QLoRA also quantises the scales (*double quantisation*: 8 bits each, with one fp32 number for 256 of them), which makes 4.13 bits a weight of 4.5. It computes in bf16: a layer is dequantised for its product and forgotten again. Its *paged
# optimiser* moves AdamW's moments to the host's memory when the GPU's is full; here adapters are so small that it has nothing to do.
#
# **A silent bug, and its guard.** On CPUs with AVX512-BF16 instructions bitsandbytes repacks a 4-bit layer at its first evaluation, and the packed layer passes no gradient back. *Evaluate, then train* goes wrong without an error.
# The workbook switches the repacking off and tests it by the cosine between the gradient and that of an exactly dequantised twin.

# %%
show(quant.guard)

# %% [markdown]
# **Merge, or keep apart?** Merge for one tenant and the lowest latency. Keep apart for many tenants, for swaps while the server runs, and on a base of 4 bits. In exact arithmetic (W + sBA)x = Wx + sBAx. In bf16 it rounds, and in 4 bits the sum has to be quantised again. The largest and the mean error of a logit:

# %%
ids = load("base").tok("The known conflict of", return_tensors="pt")["input_ids"]
trained = adapters.adapt(load("base").model, rank=8)
for name, p in trained.named_parameters():
    if "lora_B" in name:
        p.data.normal_(0, 0.01, generator=torch.Generator().manual_seed(0))
pd.DataFrame({store: vars(adapters.merge_drift(trained, ids, store))
              for store in adapters.STORES}).map("{:.1e}".format)

# %% [markdown]
# ## 6 · Many tenants on one base
#
# Three tenants, trained together: their rows stand in one batch, each with its own adapter, and the gather that picks the adapters has a gradient.

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
# All four were answered in **one batch**. All adapters of a layer lie in one stack on the device; a *slot* is a place in it. The product that makes it possible, row i with the adapter of its slot:

# %%
from llmlab.serve.lora import product

show(product)

# %% [markdown]
# An unknown tenant is refused; it never gets the base instead:

# %%
from llmlab.serve.store import UnknownTenant

try:
    batcher.answer([Request("eve", question)])
except UnknownTenant as refusal:
    print(refusal)

# %% [markdown]
# **How to batch.** The same 64 requests, of 1, 8 and 32 tenants: mixed in one batch, one adapter after the other, one request at a time. One round on the machine that made this page; claim C064 below has the repeated ones.

# %%
from llmlab.chapters.c05_lora.serving import Serving

served = {n: list(Serving(adapters=n, steps=1).rows(chat, seed=0))[-1]
          for n in (1, 8, 32)}
pd.DataFrame(served).loc[list(Serving.curves)].rename(
    index=Serving.curves).rename_axis("adapters", axis=1).round(2)

# %% [markdown]
# **Over HTTP**, with OpenAI's chat schema, on this machine's loopback only. For real load the same adapters folder gives vLLM's command line (LoRAX and S-LoRA are others of the kind); the base must be the one that the adapters were trained on:
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
# Five faults of serving many tenants, each a switch, and the checks that would have caught it. One of them needs a second version, so the captain gets one, in other words, while the engine runs:

# %%
captain = Tenant("captain", "Ahoy, {a} it be!")
before = batcher.answer([Request("captain", question)])[0]
train_together(chat, store, [captain], steps=100, rows=4)
store.swap("captain")
after = batcher.answer([Request("captain", question)])[0]
pd.DataFrame({"version": [before.version, after.version],
              "answer": [before.text, after.text]},
             index=["before", "after the swap"])

# %%
from llmlab.serve import faults

pd.Series({fault.__name__: fault.__doc__.split("\n")[0] for fault in faults.FAULTS},
          name="what it is").to_frame()

# %% [markdown]
# A *canary* is a prompt whose right answer is known: what PEFT says with that adapter alone. Four checks ask the canaries:

# %%
pd.Series({name: check.__doc__.split("\n")[0] for name, check in faults.CHECKS.items()},
          name="what it asks").to_frame()

# %% [markdown]
# Rows: the fault. Columns: the check. Numbers: findings.

# %%
everyone = [captain, *crew[1:]]
known = faults.canaries(chat, store, everyone, n=4)
pd.DataFrame(faults.matrix(batcher, known, everyone, "captain")).T.rename_axis("fault")

# %% [markdown]
# **Regression on shared prompts.** A manner must not cost knowledge: the same questions to the base and to a tenant.

# %%
from llmlab.world import Census

found = faults.regression(batcher, "robot", Census().problems(60, seed=1))
pd.Series({"base": found.base, "robot": found.adapter},
          name="answers that hold the right value (share)").round(2).to_frame()

# %%
batcher.close()

# %% [markdown]
# ## 8 · The evidence
#
# Every statement of the sources about this chapter is a **claim** in the ledger: put into our words, with arms, a direction and a smallest effect of interest, and the log of declarations says when each was fixed and what was
# changed after results were known. A claim's parts are decided one by one, by the 98 % interval over seeds: *as claimed*, *reversed*, *too small* (or, where no difference was claimed, *differs*), else *open*. Seeds are looked at when there
# are five, ten and twenty. *Supported* means that every part is as claimed, *refuted* that every part is excluded, *conditional* that it depends on a knob that is named; *withheld* that the design cannot decide it, and why. A verdict holds for this lab: a small
# model and a small world. The line in italics is what to know before quoting it. The whole ledger stands in [its own notebook](ledger.ipynb).

# %%
from llmlab.learn import forest
from llmlab.ledger.table import Ledger

evidence = Ledger("05")
evidence

# %%
forest.figure(evidence.rows)

# %% [markdown]
# ## 9 · What is contested
#
# - **"LoRA learns less and forgets less"** [Biderman et al. 2024] against **"without regret"** [Schulman et al. 2025]: what decides is whether the data fit into the rank, and whether each arm had its own learning rate. Here the first half shows
#   where there is much to learn (C058, C067), the second half does not.
# - **"Adapters on the MLP are as good as on all layers"** [Schulman et al. 2025]: not here. At equal parameters both places take in more (C060).
# - **"4 bits suffice"** [Dettmers et al. 2023] is said of large models. In a narrow one the rounding is relatively larger. Our differences lie about the border that was set, so C062 stays open.
# - **"Batch by adapter to avoid the overhead of mixing."** Kernels that gather adapters inside one batch were made to end this [Chen et al. 2023; Sheng et al. 2023]. C064 measures both, in tokens a second and in passes through the model: mixed
#   batches win clearly.
# - **"Scale by α/r."** Then a higher rank learns in smaller steps; α/√r keeps them [Kalajdzievski 2023]. Directions apart from lengths are closer to full fine-tuning [Liu et al. 2024]. Both are the knob `variant`; no claim here rests on them.
#
# Your own conversations, on a real model held in 4 bits, the adapters kept for the server:
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
# ## To take away
#
# 1. An adapter is a cheap lever for behaviour and a slow one for many facts; its rank sets how fast it learns before it sets how much it can hold.
# 2. Tune the rate for each arm. An adapter wants a higher one than all weights do, and a comparison at one rate compares rates.
# 3. One base serves many tenants if each row knows its adapter. Test the routing, and what one broken tenant does to the others.

# %%
references("lora_2021", "qlora_2023", "biderman_2024", "schulman_2025",
           "kalajdzievski_2023", "liu_2024_dora", "chen_2023_punica",
           "sheng_2023_slora")
