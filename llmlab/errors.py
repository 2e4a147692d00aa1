"""What went wrong and what to do, in one sentence: the command line prints it and exits with 2, notebooks
show it without a traceback.
"""


class UserError(ValueError):
    """A mistake that the user can mend; str(error) is one sentence that names the fix."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]
