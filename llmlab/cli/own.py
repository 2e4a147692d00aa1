"""The user's own data on the command line: read, told, shown, counted."""

from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Iterable, Iterator, Literal

from ..errors import UserError
from ..learn.pieces import pieces
from .options import Option

COUNTED = 500  # examples whose tokens a run counts before it begins


def knobs_of(cls) -> list[Option]:
    """An experiment's knobs as options."""
    return [
        (k.name, Literal[k.choices] if k.choices else k.kind, k.default, f"{k.help} [{k.range}]")
        for k in cls.knobs()
    ]


def read_own(experiment, options) -> tuple[Any, str]:
    """(the user's texts, what was recognised in a line); (None, "") where none are given."""
    told: list[str] = []
    experiment = experiment.of or experiment
    if experiment.takes_problems and options.problems:
        from ..lab import own_problems

        return own_problems.own(options.problems, options.verifier, told.append), "".join(told)
    if experiment.takes_problems and options.verifier:
        raise UserError("--verifier judges problems of your own; add --problems FILE")
    if not (experiment.takes_texts and options.domain):
        return None, ""
    texts = experiment.own(options.domain, options.skip_bad, told.append)
    return texts, "".join(told)


def addressed(experiment, name: str):
    """A model's tokenizer without the model, with the chat template that a run would give it."""
    from ..models.load import Loaded, tokenizer

    loaded = Loaded(None, tokenizer(name), name, "")  # type: ignore[arg-type]
    experiment.address(loaded)
    return loaded


@dataclass
class Seen:
    """Counts what goes by: examples, tokens, trained ones, and what is odd about some of them."""

    examples: int = 0
    held_out: int = 0
    tokens: int = 0
    trained: int = 0
    odd: dict[str, list[str]] = field(default_factory=dict)  # what -> where

    def of(self, every: Iterable) -> Iterator:
        """The same examples, counted."""
        for example in every:
            self.examples += 1
            if example.held_out:
                self.held_out += 1
            else:
                self.tokens += len(example.ids)
                self.trained += sum(example.mask)
            (name, number), *odd = example.label.items()
            for what, _ in [*odd, *([] if any(example.mask) else [("nothing trained", 0)])]:
                self.odd.setdefault(what, []).append(f"{name} {number}")
            yield example

    def told(self, of: str = "") -> str:
        """The counts in a line, and a line for each oddity."""
        share = self.trained / max(1, self.tokens)
        learnt = self.examples - self.held_out
        lines = [f"{share:.0%} of {self.tokens:,} tokens in {of}{learnt:,} examples are trained"]
        if self.held_out:
            lines[0] += f"; {self.held_out:,} more are held out, the curves are read on them"
        for what, where in self.odd.items():
            if what != "answer":
                lines.append(f"{what}: {len(where):,} of them, the first is {where[0]}")
        return "\n".join(lines)


def before_a_run(experiment, loaded, texts) -> None:
    """The first example, the first that is learnt from where that is another one, and the share of tokens
    that are trained. Raises UserError if none is.
    """
    seen, learnt = Seen(), False
    for example in seen.of(islice(experiment.preview(loaded, texts), COUNTED)):
        if seen.examples == 1 or not (learnt or example.held_out):
            draw(loaded.tok, example)
        learnt = learnt or not example.held_out
    print(seen.told("the first " if seen.examples == COUNTED else ""))


def draw(tok, example) -> None:
    """An example in two colours, what is trained underlined too."""
    from rich.console import Console
    from rich.text import Text

    head = ", ".join(f"{k} {v}" for k, v in example.label.items())
    body = Text.assemble(
        *(
            (p["text"], "bold blue underline" if p["trained"] else "dim")
            for p in pieces(tok, example.ids, example.mask)
        )
    )
    console = Console(width=110, highlight=False)
    role = "held out; it would train" if example.held_out else "trained"
    console.print(Text.assemble((head, "bold"), f" ({role}: ", ("underlined", "bold blue underline"), ")"))
    console.print(body)
