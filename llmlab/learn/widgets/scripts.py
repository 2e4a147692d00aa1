"""Scripts of the widgets that draw in the browser."""

from pathlib import Path

HERE = Path(__file__).parent


def script(name: str) -> str:
    """A widget's script behind the elements that all of them use: one text, since anywidget takes one
    module.
    """
    return "\n".join((HERE / f"{part}.js").read_text(encoding="utf-8") for part in ("elements", name))
