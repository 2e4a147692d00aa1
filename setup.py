"""Puts data/ and the executed notebooks into the wheel, as llmlab/_shipped; all else is in pyproject.toml.

In a clone they lie at the top, where people look for them; llmlab/paths.py finds them in either place.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHIPPED = {"data": "**/*", "notebooks": "*.ipynb"}  # folder -> which of its files


def shipped() -> list[Path]:
    """The files, relative to the clone. Raises FileNotFoundError where a folder is missing or empty."""
    files = []
    for folder, pattern in SHIPPED.items():
        found = [f.relative_to(ROOT) for f in sorted((ROOT / folder).glob(pattern)) if f.is_file()]
        found = [f for f in found if not any(part.startswith(".") for part in f.parts)]
        if not found:
            raise FileNotFoundError(f"{folder}/ is missing or empty: a wheel without it would not work")
        files += found
    return files


class BuildWithShipped(build_py):
    """Python files as ever, then the shipped ones; an editable install reads them where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        shutil.rmtree(self._inside(), ignore_errors=True)  # build/ may hold those of an older build
        for file in shipped():
            target = self._inside() / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """What the build makes."""
        own = [] if self.editable_mode else [str(self._inside() / file) for file in shipped()]
        return super().get_outputs(include_bytecode) + own

    def _inside(self) -> Path:
        return Path(self.build_lib) / "llmlab" / "_shipped"


setup(cmdclass={"build_py": BuildWithShipped})
