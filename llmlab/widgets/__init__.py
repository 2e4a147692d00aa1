"""Widgets for the notebooks: they read Runs and knobs, and know nothing of training."""

from .atlas import Flow, Map
from .drill import Drills
from .panel import Panel
from .predict import Predict
from .strip import TokenStrip

__all__ = ["Drills", "Flow", "Map", "Panel", "Predict", "TokenStrip"]
