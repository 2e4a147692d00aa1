"""Widgets for the notebooks: they read Runs and knobs, and know nothing of training."""

from .panel import Panel

__all__ = ["Panel"]
