"""What the notebooks' cells call: show the source that a chapter has just built by hand."""

import inspect


class Source:
    """Source code as the value of a cell."""

    def __init__(self, code: str):
        self.code = code

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.code}```"

    def __repr__(self) -> str:
        return self.code


def show(*things) -> Source:
    """The source of functions or classes, as they stand in the package."""
    return Source("\n\n".join(inspect.getsource(t) for t in things))
