"""Knobs that many experiments share, each with its meaning said once: `lr: float = knobs.lr(5e-4)`."""

from .experiment import knob


def lr(default: float, low: float = 1e-6, high: float = 1e-2):
    """Peak learning rate."""
    return knob(default, low, high, scale="log", help="peak learning rate of AdamW")


def warmup(default: int, high: int = 200):
    """Steps in which the rate rises."""
    return knob(default, 0, high, unit="steps", help="steps of linear warm-up")


def steps(default: int, low: int = 10, high: int = 5000):
    """Length of the run."""
    return knob(default, low, high, unit="steps", help="optimiser steps")


def probe(default: int):
    """How often the probes are read."""
    return knob(default, 1, 500, unit="steps", help="steps between two readings of the probes")


def held(default: int, low: int = 16, high: int = 512):
    """How many problems a reading asks."""
    return knob(default, low, high, help="held-out problems that a reading asks")
