"""Exact claims about serving: each function proves its claim on the lab model, or raises AssertionError; it
returns what it found in words.
"""

SHARES = (0.25, 0.5, 1.0)  # of one tenant's requests that are routed wrongly
ASKED = 40  # requests of each tenant


def bleed() -> str:
    """C066: three tenants, told apart by their manner: no answer in another one's manner as routed, and as
    many as are routed wrongly.
    """
    import tempfile

    from ...models.load import load
    from ...serve.batcher import Batcher
    from ...serve.faults import wrong_routing
    from ...serve.requests import Request
    from ...serve.store import AdapterStore
    from ...serve.tenants import TENANTS, train_together, whose

    loaded, crew = load("chat"), [TENANTS[n] for n in ("captain", "robot", "tom")]
    with tempfile.TemporaryDirectory() as folder:
        store = AdapterStore(folder)
        train_together(loaded, store, crew, rows=4)
        batcher = Batcher(loaded, store)
        asked = [Request(t.name, p.messages, 24) for t in crew for p in t.problems(ASKED)]

        def foreign() -> int:
            """Answers in the manner of somebody else."""
            pairs = zip(asked, batcher.answer(asked))
            return sum(
                bool(set(whose(crew, q.messages[-1]["content"], a.text)) - {q.tenant}) for q, a in pairs
            )

        assert foreign() == 0, "an answer in another tenant's manner although the routing is right"
        found = {}
        for share in SHARES:
            with wrong_routing(batcher, "captain", share):
                astray, inner = {}, batcher.slot
                batcher.slot = lambda ticket, inner=inner, astray=astray: astray.setdefault(
                    ticket, inner(ticket)
                )
                found[share] = (
                    foreign(),
                    sum(slot != batcher.slots[t.adapter.name] for t, slot in astray.items()),
                )
        batcher.close()
    assert all(0.9 * astray <= seen <= astray for seen, astray in found.values()), found
    said = ", ".join(
        f"{seen} of {astray} at a share of {share:.0%}" for share, (seen, astray) in found.items()
    )
    return f"0 of {len(asked)} answers in another tenant's manner as routed; of those routed wrongly: {said}"
