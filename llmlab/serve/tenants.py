"""Small tenants with exact manners: each answers questions about Verania's people in a form that no other one
uses, and one in German.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..methods import parts
from ..models.forward import Out
from ..models.frozen import frozen_copy
from ..tokens import chat
from ..tokens.batch import Batch, pad
from ..train import loop
from ..world import words
from ..world.base import Problem, check_split, draw, say
from ..world.census import QUESTIONS, Census
from ..world.talk import PERSONAS
from .adapters import PREFIX, WEIGHTS, read_adapter
from .lora import MixedLoRA
from .store import AdapterStore

CENSUS = Census()
VALUES = {"city": words.CITIES, "job": words.JOBS, "hobby": words.HOBBIES, "pet": words.PETS}
GERMAN = dict(
    zip(words.PETS, "Hund Katze Papagei Hase Pferd Kröte Hamster Ziege Ente Pony Schlange Gans".split())
)
RANK = 4


@dataclass(frozen=True)
class Tenant:
    """Who answers in the form `frame`: {a} the value, {german} the same in German, {key} what was asked for,
    {name} of whom.

    keys: what the customers of this tenant ask about.
    """

    name: str
    frame: str
    keys: tuple[str, ...] = tuple(VALUES)

    def text(self, key: str, value: str, name: str) -> str:
        """The right form of a value."""
        return self.frame.format(a=value, german=GERMAN.get(value, value), key=key, name=name)

    def problems(self, n: int, *, split: str = "test", seed: int = 0) -> list[Problem]:
        """Questions to this tenant; a test question was never asked of that person in that form."""

        def one(r) -> Problem | None:
            p = CENSUS.question(r, split)
            if p is None or p.meta["attribute"] not in self.keys:
                return None
            return Problem(p.messages, self.text(p.meta["attribute"], p.answer, p.meta["person"]), p.meta)

        return draw(one, n, "tenant", self.keys, check_split(split), seed)


TENANTS = {
    t.name: t
    for t in (
        Tenant("captain", PERSONAS["Captain Brine"]),
        Tenant("lady", PERSONAS["Lady Quill"]),
        Tenant("robot", PERSONAS["Robot Nine"]),
        Tenant("tom", PERSONAS["Old Tom"]),
        Tenant(
            "json", '{{"{key}": "{a}"}}'
        ),  # json, xml and quoted keep the form and lose most facts: without the space before it a word is
        Tenant(
            "xml", "<{key}>{a}</{key}>"
        ),  # another token, and what the base knows leads to the one with the space
        Tenant("quoted", '"{a}"'),
        Tenant("list", "- {a}"),
        Tenant("clerk", "The {key} of {name} is {a}."),
        Tenant("german", "{a}, auf Deutsch {german}.", keys=("pet",)),
    )
}


def numbered(n: int) -> list[Tenant]:
    """n tenants told apart by a number at the end of every answer: 'nurse, says t07.'"""
    return [Tenant(f"t{i:02}", f"{{a}}, says t{i:02}.") for i in range(n)]


@cache
def asked() -> dict[str, tuple[str, str]]:
    """Question -> (person, what is asked for), for every question that a tenant can get."""
    return {
        form.format(n=name): (name, key)
        for key in VALUES
        for form in QUESTIONS[key]
        for name in CENSUS.people
    }


def is_mine(tenant: Tenant, question: str, answer: str) -> bool:
    """Is this the tenant's own manner: its form around some value of the right kind, exactly? (Whether the
    value is true is another question.)
    """
    name, key = asked()[question]
    return answer in {tenant.text(key, value, name) for value in VALUES[key]}


def whose(tenants: Sequence[Tenant], question: str, answer: str) -> list[str]:
    """Names of the tenants whose manner an answer has."""
    return [t.name for t in tenants if is_mine(t, question, answer)]


# --- training
# -------------------------------------------------------------------------------------------------------


def batch_at(tok, tenant: Tenant, step: int, rows: int, seed: int) -> Batch:
    """A step's demonstrations."""
    problems = tenant.problems(rows, split="train", seed=100_000 * seed + step)
    examples = [chat.example(tok, p.messages, say(p.answer)) for p in problems]
    return Batch(
        pad([ids for ids, _ in examples], tok.pad_token_id or 0),
        pad([mask for _, mask in examples], 0).float(),
    )


def imitation(out: Out, batch: Batch, tenants: int = 1) -> tuple[Tensor, dict]:
    """Sum over the tenants of the mean over its rows of the mean NLL of a row: no tenant's gradient depends
    on another one's.
    """
    return tenants * parts.sequence_mean(-out.logprobs, out.mask), {}


def new_adapter(model, seed: int = 0, rank: int = RANK):
    """A PEFT model with a fresh adapter on all linear layers, over a copy of the base. alpha = r, so that the
    scaling is 1.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(frozen_copy(model), config)


def train(
    loaded,
    store: AdapterStore,
    tenant: Tenant,
    *,
    steps: int = 200,
    lr: float = 1e-2,
    rows: int = 4,
    seed: int = 0,
) -> int:
    """Train a tenant's adapter with PEFT and publish it; returns its version."""
    model = new_adapter(loaded.model, seed)
    stream = (batch_at(loaded.tok, tenant, i, rows, seed).to(loaded.model.device) for i in count())
    for _ in loop.steps(model, stream, imitation, n=steps, lr=lr, clip=float("inf")):
        pass
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return store.publish(tenant.name, folder)


def train_together(
    loaded,
    store: AdapterStore,
    tenants: Sequence[Tenant],
    *,
    steps: int = 100,
    lr: float = 1e-2,
    rows: int = 2,
    seed: int = 0,
) -> None:
    """Train all tenants at once, each on its own rows of one batch, and publish them: the gather of MixedLoRA
    has a gradient.

    Adam scales every number by itself and nothing is clipped, so that each adapter becomes what `train` alone
    would have made of it.
    """
    model, n = frozen_copy(loaded.model), len(tenants)
    mixed, owner = MixedLoRA(model, n), torch.arange(n, device=loaded.model.device).repeat_interleave(rows)
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start"
        new_adapter(model, seed).save_pretrained(start)
        fresh = read_adapter(start, "start", 1)
        for slot in range(n):
            mixed.put(slot, fresh)
        numbers = [side.requires_grad_() for stack in mixed.stacks.values() for side in stack]
        opts = [torch.optim.AdamW(numbers, lr=lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True)]
        stream = (
            concatenate_rows([batch_at(loaded.tok, t, i, rows, seed) for t in tenants]).to(
                loaded.model.device
            )
            for i in count()
        )
        with mixed.rows(owner):
            for _ in loop.steps(
                model, stream, partial(imitation, tenants=n), n=steps, lr=lr, clip=float("inf"), opts=opts
            ):
                pass
        for slot, tenant in enumerate(tenants):
            save_file(tensors(mixed, slot), start / WEIGHTS)
            store.publish(tenant.name, start)


def concatenate_rows(batches: Sequence[Batch]) -> Batch:
    """Batches of different widths as one."""
    return Batch(
        *(pad([row for b in batches for row in getattr(b, side).tolist()], 0) for side in ("ids", "mask"))
    )


def tensors(mixed: MixedLoRA, slot: int) -> dict[str, Tensor]:
    """A slot's adapter as PEFT names it: A [r, in], B [out, r]."""
    named = {}
    for layer, (down, up) in mixed.stacks.items():
        named |= {
            f"{PREFIX}{layer}.lora_A.weight": down[slot].T,
            f"{PREFIX}{layer}.lora_B.weight": up[slot].T,
        }
    return {name: t.detach().contiguous() for name, t in named.items()}
