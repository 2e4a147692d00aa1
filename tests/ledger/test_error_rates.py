"""How often the rules err, by simulation with the looks as they are taken: under no effect, at the smallest
effect of interest, and at one and a half of it; and a growing ledger changes no verdict.
"""

import random

import numpy as np
import pytest
from scipy import stats

from llmlab.ledger import results, statistics
from llmlab.ledger.claims import Arm, Claim, contrast

ARM = Arm("an arm", "cpt")
RULE = contrast("a contrast", "more", ARM("people"), ARM("people", "start"), 1.0)
TIMES = 20_000


def found(effect: float, sd: float, looks=statistics.LOOKS, times: int = TIMES) -> dict[str, float]:
    """What a part is at its last look -> share of simulated claims; and the mean number of seeds."""
    draws = np.random.default_rng(0).normal(effect, sd, (times, looks[-1]))
    out, used = np.full(times, "open", dtype=object), np.full(times, looks[-1])
    undecided = np.ones(times, dtype=bool)
    for n in looks:
        seen = draws[:, :n]
        mean, sem = seen.mean(1), seen.std(1, ddof=1) / n**0.5
        half = stats.t.ppf((1 + statistics.LEVEL) / 2, n - 1) * sem
        low, high = mean - half, mean + half
        here = np.select(
            [(low > 0) & (mean >= 1.0), high < 0, high < 1.0], ["as claimed", "reversed", "too small"], "open"
        )
        now = undecided & (here != "open")
        out[now], used[now] = here[now], n
        undecided &= here == "open"
    kinds, counts = np.unique(out, return_counts=True)
    return dict(zip(kinds, counts / times)) | {"seeds": used.mean()}


def test_the_simulation_is_the_rule():
    """One by one, the vectorised copy above says what the rules say."""
    r = random.Random(1)
    for _ in range(300):
        effects = [r.gauss(r.choice([0, 1, 1.5]), r.choice([0.3, 1, 3])) for _ in range(20)]
        n = statistics.look([effects], [RULE])
        said = statistics.part(statistics.estimate(effects[:n]), RULE)
        draws = np.array([effects])
        for m in statistics.LOOKS:
            seen = draws[:, :m]
            half = stats.t.ppf(0.99, m - 1) * seen.std(ddof=1) / m**0.5
            low, high, mean = seen.mean() - half, seen.mean() + half, seen.mean()
            here = (
                "as claimed"
                if low > 0 and mean >= 1
                else "reversed"
                if high < 0
                else "too small"
                if high < 1
                else "open"
            )
            if here != "open":
                break
        assert said == here


@pytest.mark.parametrize("sd", [0.5, 1.0, 2.0, 4.0])
def test_without_an_effect_support_is_rare(sd):
    share = found(0.0, sd)
    assert share.get("as claimed", 0) <= 0.03
    assert share.get("as claimed", 0) + share.get("reversed", 0) <= 0.06


@pytest.mark.parametrize("sd", [0.5, 1.0, 2.0, 4.0])
def test_an_effect_of_the_smallest_size_is_rarely_refuted(sd):
    share = found(1.0, sd)
    assert share.get("too small", 0) + share.get("reversed", 0) <= 0.035


def test_what_is_there_is_found_and_what_is_not_is_excluded():
    """A spread as large as the smallest effect: 20 seeds at most decide nearly always."""
    assert found(1.5, 1.0)["as claimed"] >= 0.95 and found(1.5, 1.0)["seeds"] < 10
    nothing = found(0.0, 1.0)
    assert nothing["too small"] + nothing.get("reversed", 0) >= 0.95 and nothing["seeds"] < 14


def test_looking_at_every_number_of_seeds_would_err_more():
    """Negative control: the looks are few because each one costs."""
    each = found(0.0, 2.0, looks=tuple(range(5, 21)))
    planned = found(0.0, 2.0)
    assert each["as claimed"] > 1.5 * planned["as claimed"]


def test_sixty_more_claims_move_no_verdict():
    """q may move, verdicts do not: each claim is its own family."""
    records = results.load()
    before = {id: (r["verdict"], [c["verdict"] for c in r["contrasts"]]) for id, r in records.items()}
    r, new = random.Random(0), {}
    for i in range(60):
        rule = contrast("noise", "more", ARM("people"), ARM("people", "start"), 0.05)
        effects = [r.gauss(r.choice([0, 0, 0.1]), 0.05) for _ in range(5)]
        claim = Claim(f"C{500 + i}", "w", "A 0", "measured", "01", "none", matched="steps", contrasts=(rule,))
        terms = [{"arm": f"x{i}", "metric": "people", "how": "final", "weight": 1.0, "values": effects}]
        new[claim.id] = {
            "id": claim.id,
            "seal": {},
            "seeds": list(range(5)),
            "verdict": "",
            "contrasts": [
                {"label": "noise", "direction": "more", "least": 0.05, "unit": "share", "counts": True}
                | {"effects": effects, "terms": terms}
            ],
        }
    everything = records | new
    results.judge(everything)
    after = {id: (r["verdict"], [c["verdict"] for c in r["contrasts"]]) for id, r in records.items()}
    assert after == before and len({everything[id]["verdict"] for id in new}) > 1
