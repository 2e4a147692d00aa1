"""The group of weights that share a scale: a knob of every experiment that rounds the lab's matrices."""

from ...lab.experiment import BadKnob, knob

ROW = 128  # weights in the shortest row of a lab model's matrices


def group():
    """Weights of a row with one scale."""
    return knob(32, 8, ROW, help="weights of a row that share a scale")


def check(group: int) -> None:
    """Groups fill a row. Raises BadKnob."""
    if ROW % group:
        raise BadKnob(f"--group {group} does not divide a row of {ROW} weights; choose 8, 16, 32, 64 or 128")
