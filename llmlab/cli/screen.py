"""What long work shows, and how it is stopped."""

import signal
from contextlib import contextmanager


@contextmanager
def stoppable():
    """Ctrl-C ends the work after its present step, so that nothing is lost; a second one at once. Yields a
    function: has it been pressed?
    """
    pressed = []

    def press(*_):
        if pressed:
            raise KeyboardInterrupt
        pressed.append(True)

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def progress():
    """A progress bar on stderr with the time left and the last reading, if stderr is a terminal; in a log
    only what went wrong is to stand there.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
        console=console,
        disable=not console.is_terminal,
    )
