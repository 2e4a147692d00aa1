"""Widgets for the notebooks: they read Runs and knobs, and know nothing of training. Each is imported when it
is asked for: a page of results needs no torch.
"""

from importlib import import_module

PLACES = {
    "Drills": "drill",
    "FirstMinute": "first",
    "Flow": "atlas",
    "LedgerPage": "ledger",
    "Lesson": "lesson",
    "Map": "atlas",
    "Mechanism": "mechanisms",
    "Panel": "panel",
    "Predict": "predict",
    "TokenStrip": "strip",
    "Tree": "tree",
}
__all__ = list(PLACES)


def __getattr__(name: str):
    if name not in PLACES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{PLACES[name]}", __name__), name)
