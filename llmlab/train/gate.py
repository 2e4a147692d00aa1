"""The promotion gate: a regression suite every N steps; a drop rolls the weights back and retunes, a third
one stops the run.
"""

import copy

from .recipe import GaveUp, Probe


class Gate(Probe):
    """Wraps a probe. `every` steps the shares named in `watch` are compared with the reading before the first
    step. A drop of more than `tolerance` rolls back.

    After a rollback the learning rate is halved (`lr_scale`) and a fifth of the batch moves to replay
    (`more_replay`).
    The step counter goes on: what was spent on the rejected steps stays spent.
    """

    def __init__(
        self,
        model,
        opts,
        probe: Probe,
        *,
        every: int,
        watch: tuple[str, ...],
        tolerance: float = 0.05,
        patience: int = 3,
    ):
        self.model, self.opts, self.probe, self.every, self.watch = model, opts, probe, every, watch
        self.tolerance, self.patience, self.unit = tolerance, patience, every
        self.lr_scale, self.more_replay, self.rollbacks = 1.0, 0.0, 0
        self.baseline: dict[str, float] | None = None
        self.kept = self._snapshot()

    def __call__(self, step: int) -> dict:
        """Probe; at a gate step keep the state or roll it back. The row says how many rollbacks there were
        and what was rejected.
        """
        row = self.probe(step)
        if self.baseline is None:
            self.baseline = {k: row[k] for k in self.watch}
        elif step % self.every == 0:
            if any(self.baseline[k] - row[k] > self.tolerance for k in self.watch):
                row = self._roll_back(row, step)
            else:
                self.kept = self._snapshot()
        return row | {"rollbacks": self.rollbacks, "lr_scale": self.lr_scale}

    def resume(self, rows: list[dict]) -> None:
        """Take up the state from the rows of an interrupted run. Its checkpoint was taken at a gate step, so
        the restored weights are the kept ones.
        """
        probed = [r for r in rows if "rollbacks" in r]
        self.baseline = {k: probed[0][k] for k in self.watch}
        self.rollbacks, self.lr_scale = probed[-1]["rollbacks"], probed[-1]["lr_scale"]
        self.more_replay, self.kept = 0.2 * self.rollbacks, self._snapshot()
        self.probe.resume(rows)

    def _roll_back(self, row: dict, step: int) -> dict:
        self.rollbacks += 1
        if self.rollbacks >= self.patience:
            self.restore()
            drops = f"{self.rollbacks} regressions of more than {self.tolerance:.0%}"
            raise GaveUp(f"stopped by the gate at step {step}: {drops}; start with a lower lr or more replay")
        self.restore()
        self.lr_scale, self.more_replay = self.lr_scale / 2, self.more_replay + 0.2
        return self.probe(step) | {f"rejected_{k}": row[k] for k in self.watch}

    def _snapshot(self):
        return copy.deepcopy(self.model.state_dict()), [copy.deepcopy(o.state_dict()) for o in self.opts]

    def note(self, row: dict) -> None:
        """Hand it on."""
        self.probe.note(row)

    def restore(self) -> bool:
        """Put model and optimisers back to what was kept."""
        weights, states = copy.deepcopy(self.kept)
        self.model.load_state_dict(weights)
        for o, state in zip(self.opts, states):
            o.load_state_dict(state)
        return True
