"""Exact claims about tools: each function proves its claim, or raises AssertionError; it returns what it
found in words.
"""


def no_branch_no_call() -> str:
    """C141: the same weights and questions, greedy, under a grammar with a branch for calls and without
    one.
    """
    from ...models.load import load
    from ...tokens import chat
    from ...train.sample import sample
    from ...train.tool_grammar import constraint
    from ...world.desk import TOOLS, Desk

    loaded, asked = load("chat"), Desk(1, expect="call").problems(64, seed=7)
    prompts = [chat.prompt(loaded.tok, p.messages, p.meta["tools"]) for p in asked]
    shares = {}
    for mode in ("auto", "text"):
        allowed = constraint(loaded.tok, TOOLS, mode, loaded.model.config.vocab_size)
        done = sample(
            loaded.model,
            prompts,
            max_new=64,
            temperature=0.0,
            stop=chat.stop_ids(loaded.tok),
            allowed=allowed,
        )
        shares[mode] = sum("<tool_call>" in loaded.tok.decode(ids) for ids in done.ids) / len(asked)
    assert shares["auto"] > 0.9, f"with a branch it calls in {shares['auto']:.0%} only"
    assert shares["text"] == 0.0, f"without a branch it calls in {shares['text']:.0%}"
    return f"{len(asked)} questions: {shares['auto']:.0%} call with a branch for calls, 0 % without"


def sampled_is_trained() -> str:
    """C146: every id under the mask of a batch is one that the model sampled, in order, and every other one
    is not; the log-prob of each, computed anew, is the one it was drawn with.
    """
    import torch

    from ...models.forward import forward
    from ...models.load import load
    from ...train.rollout import as_batch, play
    from ...world.errands import Errands

    loaded, world = load("chat"), Errands(("easy", "half", "known"))
    generator = torch.Generator().manual_seed(0)
    episodes = play(
        loaded.model, loaded.tok, world, world.problems(24, seed=1), max_new=48, generator=generator, turns=3
    )
    batch = as_batch(loaded.tok, episodes)
    with torch.no_grad():
        out = forward(loaded.model, batch)
    apart = float(((out.logprobs - batch["old_logprobs"]) * out.mask).abs().max())
    calls = sum(m["role"] == "tool" for e in episodes for m in e.messages)
    assert calls >= 12, f"only {calls} calls: nothing is tested"
    assert [int(n) for n in batch.mask.sum(1)] == [sum(e.mask) for e in episodes]
    assert apart < 1e-3, f"a log-prob is off by {apart}"
    again = [_anew(loaded.tok, e) for e in episodes]
    other = sum(ids != e.ids for ids, e in zip(again, episodes))
    return (
        f"{len(episodes)} conversations with {calls} calls: {int(batch.mask.sum())} sampled ids are those"
        f" under the mask,"
        f" log-probs equal to {apart:.0e}; made into text and tokenised again, {other} of them are other ids"
    )


def _anew(tok, episode) -> list[int]:
    """The mistake: the conversation as text, tokenised again."""
    return tok(tok.decode(episode.ids), add_special_tokens=False)["input_ids"]
