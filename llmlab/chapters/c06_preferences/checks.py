"""Exact claims about preferences: each function proves its claim, or raises AssertionError; it returns what
it found in words.
"""


def reference_is_a_table() -> str:
    """C080: the same DPO step with the reference in memory, with its log-probs stored once, and with a
    switched-off adapter as reference.
    """
    import math

    from ...methods import preferences
    from ...models import adapters
    from ...models.forward import forward
    from ...models.frozen import frozen_copy
    from ...models.load import load
    from ...train import loop
    from .prefer import Prefer

    loaded, pairs = load("chat"), Prefer()
    stored = loop.add_logprobs(frozen_copy(loaded.model), pairs.batch_at(loaded.tok, 0, 0), "ref_logprobs")
    loss, _ = preferences.dpo(forward(loaded.model, stored), stored)
    assert abs(float(loss.detach()) - math.log(2)) < 1e-5, f"the first loss is {loss}, not ln 2"
    whole = sum(p.numel() * p.element_size() for p in loaded.model.parameters())
    table = stored["ref_logprobs"].numel() * stored["ref_logprobs"].element_size()
    model = adapters.adapt(loaded.model, rank=8)
    for _ in loop.steps(model, [stored] * 5, preferences.dpo, n=5, lr=1e-3):
        pass
    with model.disable_adapter():
        off = loop.add_logprobs(model, stored, "ref_logprobs")["ref_logprobs"]
    on = loop.add_logprobs(model, stored, "ref_logprobs")["ref_logprobs"]
    assert float((on - off).abs().max()) > 0.01, "the adapter has not moved"
    apart = float((off - stored["ref_logprobs"]).abs().max())
    assert apart < 1e-4, f"the model without its adapter is not the reference: {apart}"
    assert table < whole / 100
    return (
        f"first loss {float(loss.detach()):.4f} = ln 2; 32 rows of the reference take {table / 1e3:.0f} kB as"
        f" a table, {whole / 1e6:.1f} MB as a model; after 5 steps the model without its adapter is the"
        f" reference to {apart:.0e}"
    )


def loss_is_cross_entropy() -> str:
    """C088: DPO's loss is the cross-entropy of 'chosen wins' under rewards beta·log(pi/ref); its gradient's
    weight is sigmoid(-margin).
    """
    import torch
    import torch.nn.functional as F

    from ...methods import preferences
    from ...models.forward import Out, token_logprobs
    from ...tokens.batch import Batch

    generator, beta = torch.Generator().manual_seed(0), 0.3
    ids = torch.randint(0, 50, (8, 12), generator=generator)
    mask = (torch.rand(8, 12, generator=generator) < 0.5).float()
    logits = torch.randn(8, 11, 50, generator=generator, requires_grad=True)
    logprobs = token_logprobs(logits, ids[:, 1:])
    batch = Batch(
        ids,
        mask,
        {
            "pair": torch.arange(4).repeat_interleave(2),
            "ref_logprobs": -torch.rand(8, 11, generator=generator) * 5,
        },
    )
    loss, _ = preferences.dpo(Out(logits, logprobs, mask[:, 1:]), batch, beta=beta)
    reward = beta * ((logprobs - batch["ref_logprobs"]) * mask[:, 1:]).sum(1)
    two = reward.view(4, 2)
    entropy = F.cross_entropy(two, torch.zeros(4, dtype=torch.long))
    assert torch.allclose(loss, entropy, atol=1e-6), f"{loss} is not the cross-entropy {entropy}"
    (slope,) = torch.autograd.grad(loss, logprobs)
    weight = torch.sigmoid(two[:, 1] - two[:, 0]) * beta / 4
    wanted = torch.stack([-weight, weight], 1).flatten()[:, None] * mask[:, 1:]
    assert torch.allclose(slope, wanted, atol=1e-6), "the gradient's weight is not beta · sigmoid(-margin)"
    return (
        f"loss {float(loss.detach()):.4f} = cross-entropy {float(entropy.detach()):.4f}; every token's"
        " gradient is ± beta · sigmoid(-margin) / pairs"
    )


def solves_the_penalised_problem() -> str:
    """C089: DPO's optimum is ref · exp(r / beta) / Z, that of E[r] - beta KL(pi || ref); no KL is in the
    loss.
    """
    import torch

    generator, beta = torch.Generator().manual_seed(0), 0.5
    reward, ref = torch.randn(6, generator=generator), torch.randn(6, generator=generator).softmax(0)
    logits = ref.log().clone().requires_grad_(True)
    win = torch.sigmoid(reward[:, None] - reward[None, :])  # chance that i is preferred to j
    opt = torch.optim.LBFGS([logits], max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-9)

    def loss():
        opt.zero_grad()
        implied = beta * (logits.log_softmax(0) - ref.log())
        value = -(win * torch.nn.functional.logsigmoid(implied[:, None] - implied[None, :])).mean()
        value.backward()
        return value

    opt.step(loss)
    found, wanted = logits.softmax(0).detach(), (ref.log() + reward / beta).softmax(0)

    def goal(p):
        return float((p * reward).sum() - beta * (p * (p / ref).log()).sum())

    apart = float((found - wanted).abs().max())
    assert apart < 1e-3, f"DPO's optimum is {apart} from the penalised one"
    assert goal(wanted) > goal(ref) and goal(wanted) >= goal(found) - 1e-6
    return (
        f"over six answers DPO's optimum and that of reward - beta · KL(pi || ref) differ by {apart:.0e}; the"
        " loss itself holds log-ratios, no KL"
    )
