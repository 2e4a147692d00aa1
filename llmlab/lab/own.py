"""own: what the experiments on your own data share: a file of JSON lines, a model trained whole or by
adapters, a folder for what was trained.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, ClassVar, TypeVar

from ..errors import UserError
from ..lab.experiment import Experiment
from ..models import adapters, quant
from ..models.load import LAB, Loaded, load, save
from ..train.wrap import wrapped
from ..world.base import Message
from .experiment import knob

ROLES = ("system", "user", "assistant", "tool")
T = TypeVar("T")


@dataclass(frozen=True)
class Own(Experiment):
    """The part of an experiment that says what of the model is trained, and where it is kept."""

    takes_texts: ClassVar[bool] = True
    keeps: ClassVar[bool] = True

    method: str = knob(
        "full",
        choices=("full", "lora", "qlora"),
        help="full: every weight; lora: adapters; qlora: adapters on a base of 4 bits",
    )
    rank: int = knob(8, 1, 64, scale="log", help="rank of the adapters")
    targets: str = knob(
        "both", choices=tuple(adapters.TARGETS), help="matrices that carry adapters: attention, mlp or both"
    )

    out: str = field(
        default="", repr=False
    )  # folder for the trained model or its adapters: no knob, it changes nothing

    def load(self, name: str, device: str) -> Loaded:
        """The starting model; for qlora a folder or hub id is read in 4 bits, layer by layer."""
        return (
            quant.load_4bit(name, device)
            if self.method == "qlora" and name not in LAB
            else load(name, device)
        )

    def ready(self, loaded: Loaded, seed: int) -> Loaded:
        """The model with what is to be trained of it."""
        method = "lora" if self.method == "qlora" and quant.layers4bit(loaded.model) else self.method
        # a model without a chat template has never read the marks of turns, and adapters on its blocks cannot
        # give them a meaning
        tokens = () if loaded.tok.chat_template else sorted(loaded.tok.added_tokens_decoder)
        return wrapped(loaded, method, seed, rank=self.rank, targets=self.targets, tokens=tokens)

    def finish(self, trained: Loaded) -> None:
        """Keep the trained model in `out`, or its adapters as PEFT saves them (what `llmlab serve` reads as
        TENANT/VERSION/), with the tokenizer.
        """
        if not self.out:
            return
        if isinstance(trained.model, adapters.PeftModel):
            trained.model.save_pretrained(self.out)
            trained.tok.save_pretrained(self.out)
        else:
            save(Path(self.out), trained.model, trained.tok)


def read(path: str, parse: Callable[[dict], T], what: str, form: str) -> tuple[T, ...]:
    """One `what` a line of a file of JSON lines, as `parse` makes it. Raises UserError with file, line and
    the form that a line should have.
    """
    try:
        lines = (
            Path(path).expanduser().read_text(encoding="utf-8-sig").split("\n")
        )  # splitlines() cuts at marks that JSON allows inside a word
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(
            f"'{path}' cannot be read ({type(e).__name__}); give a file of JSON lines, a {what} in each"
        ) from None
    found = []
    for i, line in enumerate(lines, 1):
        try:
            found += [parse(json.loads(line))] if line.strip() else []
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(f"{path}, line {i} is no {what}; write {form}") from None
    if len(found) < 2:
        raise UserError(
            f"'{path}' holds {len(found)} {what}{'s' * (len(found) != 1)}; at least two are needed, one to"
            " learn from and one to be held out"
        )
    return tuple(found)


def needs(so) -> None:
    """Raises ValueError unless it is so."""
    if not so:
        raise ValueError


def spoken(messages: list[dict]) -> tuple[Message, ...]:
    """Messages with a known role and words or calls; no content is an empty one. Raises ValueError, TypeError
    or KeyError for what is none.
    """
    needs(
        isinstance(messages, list)
        and all(m["role"] in ROLES and isinstance(m.get("content") or "", str) for m in messages)
    )
    return tuple(
        {**m, "content": m.get("content") or ""}
        | ({"tool_calls": list(map(called, m["tool_calls"]))} if m.get("tool_calls") else {})
        for m in messages
    )


def called(call: dict) -> dict:
    """A tool call whose arguments are an object; OpenAI writes them as a string of JSON."""
    function = call["function"]
    arguments = (
        json.loads(function["arguments"]) if isinstance(function["arguments"], str) else function["arguments"]
    )
    needs(isinstance(function["name"], str) and isinstance(arguments, dict))
    return {**call, "function": {**function, "arguments": arguments}}


def schemas(tools) -> tuple | None:
    """Schemas of tools, each a function with a name and parameters, or None. Raises ValueError, TypeError or
    KeyError for what is none.
    """
    needs(
        tools is None
        or isinstance(tools, list)
        and all(isinstance(t["function"]["name"], str) and "parameters" in t["function"] for t in tools)
    )
    return tuple(tools) if tools else None
