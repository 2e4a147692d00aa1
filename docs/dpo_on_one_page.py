"""DPO on one page: what `llmlab run dpo` does, top to bottom, with nothing of llmlab but its checkpoint,
its pairs and its chat template. tests/test_one_page.py holds it to the library's numbers.

    python docs/dpo_on_one_page.py
"""

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmlab import paths
from llmlab.world import talk

BETA, NLL = 0.1, 0.5  # pull to the reference; weight of the likelihood of the chosen answer
LR, WARMUP, STEPS, PAIRS = 1e-3, 5, 60, 16


def encode(tok, pair, answer):
    """ids of the conversation, and 1 where the assistant speaks."""
    messages = [*pair.messages, {"role": "assistant", "content": answer}]
    out = tok.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    return out["input_ids"], out["assistant_masks"]


def batch(tok, pairs):
    """Rows 2i chosen, 2i+1 rejected, padded on the right: ids [2B,T], mask [2B,T]."""
    rows = [encode(tok, p, answer) for p in pairs for answer in (p.chosen, p.rejected)]
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [tok.pad_token_id] * (width - len(ids)) for ids, _ in rows])
    return ids, torch.tensor([mask + [0.0] * (width - len(mask)) for _, mask in rows])


def logprobs(model, ids):
    """log p of every next token, in nats. [2B,T-1]"""
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    return -F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")


def rate(step):
    """Share of the peak rate: linear warm-up, then linear decay to a tenth."""
    return (step + 1) / (WARMUP + 1) if step < WARMUP else 0.1 + 0.9 * (STEPS - step) / (STEPS - WARMUP)


def train(seed=0):
    """The loss of each step."""
    folder = paths.data() / "checkpoints" / "chat"
    tok = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(STEPS):
        pairs = talk.pairs(PAIRS, split="train", seed=seed * 100_003 + step, kinds="style")
        ids, mask = batch(tok, pairs)
        mask = mask[:, 1:]
        with torch.no_grad():
            ref = logprobs(reference, ids)
        new = logprobs(model.train(), ids)
        gain = ((new - ref) * mask).sum(1)  # log(pi/ref) of each answer
        margin = BETA * (gain[0::2] - gain[1::2])
        chosen = (new * mask)[0::2].sum() / mask[0::2].sum()
        loss = -F.logsigmoid(margin).mean() - NLL * chosen
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = LR * rate(step)
        optimizer.step()
        optimizer.zero_grad()
        yield loss.item()


if __name__ == "__main__":
    for step, loss in enumerate(train(), 1):
        print(f"step {step:2}  loss {loss:.4f}")
