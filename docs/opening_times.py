"""How long a reader waits: from `llmlab lab` to the model's first answer, and for the ledger's page.

python docs/opening_times.py           # needs Chromium and '.[dev]'; on a machine that does nothing else
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from first_minute import SIZE, run_first_cell  # noqa: E402  (it also makes the tests' helpers importable)
from helpers_browser import LAB, chromium, free_port, new_page, ready, served  # noqa: E402

OPEN = """import time
t = time.perf_counter()
from llmlab.learn.widgets.ledger import LedgerPage
LedgerPage()
seconds = time.perf_counter() - t"""


def first_answer() -> float:
    """Seconds from the start of the command to the first words of the model, clicks included."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        page = new_page(browser, **SIZE)
        began = time.monotonic()
        command = [sys.executable, "-m", "llmlab.cli", "lab", "--chapter", "00", "--no-browser"]
        command += ["--folder", f"{folder}/notebooks", "--port", str(free_port())]
        with served(command, Path(folder), LAB) as found:
            page.goto(f"{found[1]}/lab/tree/00_start_here.ipynb?token={found[2]}")
            ready(page)
            widget = page.locator(".jp-OutputArea-output:has(button:has-text('Train it'))").first
            run_first_cell(page, widget)
            widget.locator("button:has-text('Ask')").click()
            widget.locator("table.llmlab-said").wait_for(timeout=120_000)
            return time.monotonic() - began


def ledger_page() -> float:
    """Seconds that a new kernel takes to make the ledger's page: imports, but not the browser's drawing."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel()
    try:
        reply = client.execute_interactive(
            OPEN, user_expressions={"seconds": "seconds"}, output_hook=lambda _: None, timeout=120
        )
        return float(reply["content"]["user_expressions"]["seconds"]["data"]["text/plain"])
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    print(f"llmlab lab to the model's first answer: {first_answer():.1f} s")
    print(f"the ledger's page in a new kernel: {ledger_page():.1f} s")
