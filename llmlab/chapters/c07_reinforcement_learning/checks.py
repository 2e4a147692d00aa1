"""Exact claims about policy gradients: each function proves its claim, or raises AssertionError; it returns
what it found in words.
"""

LAB, SMALL, LARGE = 1_000_000, 600_000_000, 70_000_000_000  # parameters


def memory_of_roles() -> str:
    """C073: bytes of all models that PPO and GRPO hold, at three sizes; and the actual tensors of both at lab
    size.
    """
    import torch

    from ...models import roles
    from ...models.frozen import frozen_copy
    from ...models.heads import Valued
    from ...models.load import load
    from ...train import loop

    told = []
    for name, n, unit, word in (
        ("1 M", LAB, 1e6, "MB"),
        ("0.6 B", SMALL, 1e9, "GB"),
        ("70 B", LARGE, 1e12, "TB"),
    ):
        ppo, penalised, bare = (
            roles.method_bytes(m, n) / unit for m in ("PPO", "GRPO with a reference", "GRPO")
        )
        assert ppo == 2 * penalised and bare < penalised
        told.append(f"{name}: {ppo:.3g} against {penalised:.3g} {word}")
    policy = load("chat").model
    critic, reference, judge = (
        Valued(frozen_copy(policy).requires_grad_(True)),
        frozen_copy(policy),
        frozen_copy(policy),
    )
    stepped = {}
    for model in (policy, critic):
        opts = loop.optimizers(model, "adamw", 1e-4)
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        opts[0].step()
        stepped[model] = opts
    both, alone = roles.held(stepped, [reference, judge]), roles.held({policy: stepped[policy]}, [reference])
    assert 1.9 < both / alone < 2.1, f"{both} against {alone} bytes"
    return (
        f"PPO against GRPO with a reference: {'; '.join(told)}; the lab model's actual tensors:"
        f" {both / 1e6:.1f} against {alone / 1e6:.1f} MB"
    )


def ranking_within_a_group() -> str:
    """C074: equal rewards give a gradient of exactly 0; a constant added to all rewards, or another scale of
    them, changes nothing; another distance of the same ranking does.
    """
    import torch

    from ...methods import advantages, policy
    from ...models.forward import Out, token_logprobs
    from ...tokens.batch import Batch

    g = torch.Generator().manual_seed(0)
    ids, group = torch.randint(0, 50, (8, 12), generator=g), torch.arange(2).repeat_interleave(4)
    logits = torch.randn(8, 11, 50, generator=g, requires_grad=True)
    logprobs = token_logprobs(logits, ids[:, 1:])
    out, batch = (
        Out(logits, logprobs, torch.ones(8, 11)),
        Batch(ids, torch.ones(8, 12), {"old_logprobs": logprobs.detach()}),
    )

    def slope(rewards):
        loss, _ = policy.Dials().objective(1)(
            out, batch.add(advantages=advantages.group_norm(rewards, group))
        )
        return torch.autograd.grad(loss, logits, retain_graph=True)[0]

    rewards = torch.rand(8, generator=g)
    assert not slope(torch.full((8,), 0.3)).any(), "equal rewards have a gradient"
    moved = float((slope(rewards + 7) - slope(rewards)).abs().max() / slope(rewards).abs().max())
    scaled = float((slope(5 * rewards) - slope(rewards)).abs().max() / slope(rewards).abs().max())
    assert moved < 1e-4 and scaled < 1e-2, f"{moved}, {scaled}"
    one = torch.zeros(3)
    low, high = (float(advantages.group_norm(torch.tensor([0.0, m, 1.0]), one)[1]) for m in (0.1, 0.9))
    assert low < 0 < high, "the ranking alone decides"
    return (
        f"equal rewards: gradient exactly 0; rewards + 7: changed by {moved:.0e} of its size; rewards × 5: by"
        f" {scaled:.0e}; the second of rewards 0, 0.1, 1 has advantage {low:.2f}, of 0, 0.9, 1 {high:.2f}"
    )


def weights_of_grpo() -> str:
    """C075: weight of a problem by its share p of right samples, and of a token by its answer's length,
    against their closed forms.
    """
    import torch

    from ...methods import advantages, parts

    n, found = 1000, {}
    for p in (0.02, 0.1, 0.5, 0.9):
        rewards, group = (torch.arange(n) < p * n).float(), torch.zeros(n)
        ratio = advantages.group_norm(rewards, group)[0] / advantages.group_mean(rewards, group)[0]
        found[p] = float(ratio)
        assert abs(found[p] * (p * (1 - p)) ** 0.5 - 1) < 0.01, f"the weight at p = {p} is {found[p]}"
    x, mask = torch.ones(2, 20, requires_grad=True), torch.zeros(2, 20)
    mask[0, :4], mask[1, :20] = 1, 1
    (by_answer,) = torch.autograd.grad(parts.sequence_mean(x, mask), x)
    (by_constant,) = torch.autograd.grad(parts.fixed_length(x, mask, length=20), x)
    short, long = float(by_answer[0, 0]), float(by_answer[1, 0])
    assert abs(short / long - 5) < 1e-4 and float(by_constant[0, 0]) == float(by_constant[1, 0])
    said = ", ".join(f"{w:.1f} at p = {p:g}" for p, w in found.items())
    return (
        f"weight of a problem 1/√(p(1−p)): {said}; a token of 4 weighs {short / long:.0f} × one of 20 under"
        " GRPO, the same under Dr. GRPO"
    )
