"""Exact claims: each function proves its claim on the lab model, or raises AssertionError; it returns what it
found in words.
"""


def masked_tokens() -> str:
    """C008: with a mask, the loss has a zero gradient at every logit that predicts an unmasked token, and no
    other.
    """
    import torch

    from ...methods import imitation
    from ...models.forward import Out, token_logprobs
    from ...tokens.batch import Batch

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 50, (4, 12), generator=generator)
    mask = (torch.rand(4, 12, generator=generator) < 0.4).float()
    logits = torch.randn(4, 11, 50, generator=generator, requires_grad=True)
    loss, _ = imitation.nll(Out(logits, token_logprobs(logits, ids[:, 1:]), mask[:, 1:]), Batch(ids, mask))
    loss.backward()
    touched = logits.grad.abs().sum(-1) > 0
    assert torch.equal(touched, mask[:, 1:] > 0), "a gradient where the mask is 0, or none where it is 1"
    return (
        f"{int(touched.sum())} of {touched.numel()} predictions carry gradient: exactly those under the mask"
    )
