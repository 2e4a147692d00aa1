"""Since: means since the last reading and sums since the start, the same after an interruption at any row."""

from hypothesis import given
from hypothesis import strategies as st

from llmlab.train.since import Since


def probe() -> Since:
    return Since(lambda step: {"accuracy": 1.0}, {"loss_mean": "loss"}, {"samples": "drawn"})


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.integers(1, 4), st.integers(0, 11))
def test_means_and_sums_and_an_interruption(losses, every, cut):
    def rows(seen: Since, before: list[dict], start: int) -> list[dict]:
        found = before or [{"step": 0} | seen(0)]
        for i, loss in enumerate(losses[start:], start + 1):
            row = {"step": i, "loss": loss, "drawn": 2.0}
            seen.note(row)
            found.append(row | (seen(i) if i % every == 0 else {}))
        return found

    whole = rows(probe(), [], 0)
    for i in range(every, len(losses) + 1, every):
        assert abs(whole[i]["loss_mean"] - sum(losses[i - every : i]) / every) < 1e-9
        assert whole[i]["samples"] == 2.0 * i
    assert whole[0]["loss_mean"] == 0.0 == whole[0]["samples"]
    cut = min(cut, len(losses))
    again = probe()
    again.resume(whole[: cut + 1])
    assert rows(again, whole[: cut + 1], cut) == whole
