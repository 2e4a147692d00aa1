"""Since: a probe that also tells what happened since its last reading."""

from typing import Callable, Mapping

from .recipe import Read


class Since(Read):
    """means: reading -> the steps' figure of which it is the mean since the last reading, 0 before the first
    step · sums: reading -> the figure of which it is the sum since the start.
    """

    def __init__(
        self, function: Callable[[int], dict], means: Mapping[str, str], sums: Mapping[str, str] | None = None
    ):
        super().__init__(function)
        self.means, self.sums = means, sums or {}
        self.recent: list[dict[str, float]] = []
        self.totals = dict.fromkeys(self.sums, 0.0)

    def note(self, row):
        """A step's figures."""
        self.recent.append({name: float(row[figure]) for name, figure in self.means.items()})
        for name, figure in self.sums.items():
            self.totals[name] += row[figure]

    def resume(self, rows):
        """Take up the figures from the rows of an interrupted run."""
        for row in rows[1:]:
            self.note(row)
            self.recent = [] if any(name in row for name in self.means) else self.recent

    def __call__(self, step):
        """The readings, the means and the sums."""
        found = super().__call__(step)
        means = {n: sum(r[n] for r in self.recent) / max(1, len(self.recent)) for n in self.means}
        self.recent = []
        return found | means | self.totals
