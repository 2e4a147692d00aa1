"""Adapter interference: five faults of multi-tenant serving as switches, and the checks that catch them on
canary prompts.

A canary is a prompt whose right answer is known: what PEFT says with that adapter alone, on a copy of the
base, without any batch.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from peft import PeftModel
from torch import Tensor

from ..errors import UserError
from ..models.frozen import frozen_copy
from ..tokens import chat
from ..world.base import Problem
from .adapters import BASE, Adapter
from .batcher import Batcher
from .requests import Request, Ticket, text
from .tenants import Tenant, is_mine, whose

LONGEST = 24  # tokens of a canary's answer


@dataclass(frozen=True)
class Canary:
    """A prompt of a tenant (or of the base), PEFT's answer to it, and its logits [V] for the first token of
    that answer.
    """

    tenant: str
    messages: tuple[dict, ...]
    answer: str
    logits: Tensor


@dataclass(frozen=True)
class Finding:
    """What a check saw: whose request, and one sentence."""

    check: str
    tenant: str
    sentence: str


def canaries(loaded, store, tenants: Sequence[Tenant], n: int = 4, seed: int = 0) -> list[Canary]:
    """n canaries of every tenant's version in service, and the same prompts put to the base. Made by PEFT,
    not by this package's batcher.
    """
    found = []
    for tenant in tenants:
        problems = tenant.problems(n, seed=seed)
        folder = store.folder / tenant.name / str(store.current(tenant.name))
        alone = PeftModel.from_pretrained(frozen_copy(loaded.model), str(folder)).eval()
        found += [_canary(alone, loaded.tok, tenant.name, p.messages) for p in problems]
        found += [_canary(frozen_copy(loaded.model), loaded.tok, BASE.tenant, p.messages) for p in problems]
    return found


@torch.no_grad()
def _canary(model, tok, tenant: str, messages) -> Canary:
    prompt, stops = chat.prompt(tok, messages), sorted(chat.stop_ids(tok))
    ids = torch.tensor([prompt], device=model.device)
    kind = dict(
        do_sample=False,
        max_new_tokens=LONGEST,
        eos_token_id=stops,
        pad_token_id=stops[0],
        attention_mask=torch.ones_like(ids),
    )
    answer = model.generate(input_ids=ids, **kind)[0, len(prompt) :]
    return Canary(tenant, messages, text(tok, answer.tolist()), model(input_ids=ids).logits[0, -1])


# --- checks
# -----------------------------------------------------------------------------------------------------------


def content(batcher: Batcher, found: Sequence[Canary], tenants: Sequence[Tenant]) -> list[Finding]:
    """Does every tenant's answer have that tenant's manner? Needs no reference, so it can watch real
    traffic.
    """
    known, own = {t.name: t for t in tenants}, [c for c in found if c.tenant != BASE.tenant]
    bad = []
    for canary, got in zip(own, _ask(batcher, own)):
        question = canary.messages[-1]["content"]
        if not is_mine(known[canary.tenant], question, got):
            like = ", ".join(whose(tenants, question, got)) or "nobody"
            bad.append(
                Finding(
                    "content", canary.tenant, f"{canary.tenant} got '{got}', which is the manner of {like}"
                )
            )
    return bad


def reference(batcher: Batcher, found: Sequence[Canary], tenants: Sequence[Tenant]) -> list[Finding]:
    """Is every answer, base included, word for word what the adapter says alone, though all are asked in one
    batch?
    """
    pairs = zip(found, _ask(batcher, found))
    return [
        Finding("reference", c.tenant, f"{c.tenant} got '{got}' instead of '{c.answer}'")
        for c, got in pairs
        if got != c.answer
    ]


@torch.no_grad()
def logits(
    batcher: Batcher, found: Sequence[Canary], tenants: Sequence[Tenant], tolerance: float = 1e-3
) -> list[Finding]:
    """Are the logits after the prompt those of the adapter alone? Sees a wrong scaling that leaves the words
    as they are.
    """
    bad = []
    for canary in found:
        adapter = batcher.store.load(canary.tenant)
        ticket = Ticket(_request(canary), adapter, chat.prompt(batcher.tok, canary.messages))
        batcher.seat(adapter, [])
        with batcher.mixed.rows(batcher.slot(ticket)):
            got = batcher.model(input_ids=torch.tensor([ticket.prompt], device=batcher.model.device)).logits[
                0, -1
            ]
        if (gap := float((got - canary.logits).abs().max())) > tolerance:
            bad.append(
                Finding("logits", canary.tenant, f"the logits of {canary.tenant} are off by up to {gap:.2g}")
            )
    return bad


def leaks(batcher: Batcher, found: Sequence[Canary], tenants: Sequence[Tenant]) -> list[Finding]:
    """Does the base still answer as the base, right after a tenant's request?"""
    base, bad = [c for c in found if c.tenant == BASE.tenant], []
    for tenant in tenants:
        before = next(c for c in found if c.tenant == tenant.name)
        for canary in base:
            _, got = (batcher.answer([_request(c)])[0].text for c in (before, canary))
            if got != canary.answer:
                bad.append(
                    Finding(
                        "leaks",
                        tenant.name,
                        f"after a request of {tenant.name} the base says '{got}' instead of"
                        f" '{canary.answer}'",
                    )
                )
    return bad


CHECKS = {"content": content, "reference": reference, "logits": logits, "leaks": leaks}


def check(batcher: Batcher, found: Sequence[Canary], tenants: Sequence[Tenant]) -> list[Finding]:
    """All checks: a batcher that separates its tenants gives an empty list."""
    return [finding for one in CHECKS.values() for finding in one(batcher, found, tenants)]


def _request(canary: Canary) -> Request:
    return Request(canary.tenant, canary.messages, LONGEST)


def _ask(batcher: Batcher, found: Sequence[Canary]) -> list[str]:
    return [a.text for a in batcher.answer(map(_request, found))]


# --- faults: each as a block in which the batcher has it
# ---------------------------------------------------------------


@contextmanager
def _slot_is(batcher: Batcher, other: Callable[[Ticket, int], int]):
    """Within the block a row gets slot other(ticket, its right slot)."""
    right = batcher.slot
    batcher.slot = lambda ticket: other(ticket, right(ticket))
    try:
        yield
    finally:
        del batcher.slot


@contextmanager
def _holds(batcher: Batcher, tenant: str, change: Callable[[Adapter], Adapter]):
    """Within the block the slot of a tenant's adapter holds a changed one."""
    adapter = batcher.store.load(tenant)
    batcher.seat(adapter, [])
    slot = batcher.slots[adapter.name]
    batcher.mixed.put(slot, change(adapter))
    try:
        yield
    finally:
        batcher.mixed.put(slot, adapter)


def wrong_routing(batcher: Batcher, tenant: str, share: float = 0.5) -> AbstractContextManager:
    """A share of the tenant's requests gets another tenant's adapter: the router's table is wrong."""
    r, fate = random.Random(0), {}

    def other(ticket: Ticket, slot: int) -> int:
        """The slot that answers the ticket: a share of the tenant's requests gets a stranger's."""
        if ticket.adapter.tenant != tenant:
            return slot
        if (
            id(ticket) not in fate
        ):  # decided once for a request; the ticket is kept, so that its id is not used again
            strangers = sorted(set(batcher.slots.values()) - {0, slot})
            fate[id(ticket)] = (ticket, r.choice(strangers) if strangers and r.random() < share else slot)
        return fate[id(ticket)][1]

    return _slot_is(batcher, other)


def stale_version(batcher: Batcher, tenant: str) -> AbstractContextManager:
    """The swap is announced, but the version before it still answers: a cache that knows the tenant and not
    the version.
    """
    now = batcher.store.current(tenant)
    earlier = [v for v in batcher.store.versions(tenant) if v < now]
    if not earlier:
        raise UserError(f"the tenant '{tenant}' has one version only; publish and swap in a second one first")
    return _holds(batcher, tenant, lambda adapter: batcher.store.load(f"{tenant}@{earlier[-1]}"))


def merged_twice(batcher: Batcher, tenant: str) -> AbstractContextManager:
    """W + 2BA: merged into the weights, and added once more on the way."""
    return _holds(
        batcher,
        tenant,
        lambda a: _with(a, {layer: (down, 2 * up) for layer, (down, up) in a.factors.items()}),
    )


def left_active(batcher: Batcher, tenant: str) -> AbstractContextManager:
    """After the tenant's first request its adapter stays switched on for those who ask the base: set_adapter
    without its way back.
    """
    left = []

    def other(ticket: Ticket, slot: int) -> int:
        """The slot that answers the ticket: the base (slot 0) gets the adapter that was left on."""
        if ticket.adapter.tenant == tenant:
            left[:] = [slot]
        return left[0] if left and slot == 0 else slot

    return _slot_is(batcher, other)


def two_summed(batcher: Batcher, tenant: str) -> AbstractContextManager:
    """A second tenant's adapter is added on top: two adapters active at once. (Ranks add: A stacked, B side
    by side.)
    """
    others = [t for t in batcher.store.tenants() if t != tenant]
    if not others:
        raise UserError("two adapters cannot be summed where there is one tenant only; publish another one")
    second = batcher.store.load(others[0]).factors

    def sum_of(a: Adapter) -> Adapter:
        factors = {
            layer: (torch.cat([down, second[layer][0]]), torch.cat([up, second[layer][1]], 1))
            for layer, (down, up) in a.factors.items()
            if layer in second
        }
        return _with(a, a.factors | factors)

    return _holds(batcher, tenant, sum_of)


def _with(adapter: Adapter, factors: dict) -> Adapter:
    return Adapter(adapter.tenant, adapter.version, factors, adapter.fingerprint, adapter.bytes)


FAULTS = {  # fault -> the check that is made for it
    wrong_routing: content,
    stale_version: reference,
    merged_twice: logits,
    left_active: leaks,
    two_summed: reference,
}


def matrix(
    batcher: Batcher, found: Sequence[Canary], tenants: Sequence[Tenant], tenant: str
) -> dict[str, dict[str, int]]:
    """Fault -> check -> number of findings, with 'none' for the batcher as it is: which check sees what."""
    rows = {"none": {name: len(one(batcher, found, tenants)) for name, one in CHECKS.items()}}
    for fault in FAULTS:
        with fault(batcher, tenant):
            rows[fault.__name__] = {name: len(one(batcher, found, tenants)) for name, one in CHECKS.items()}
    return rows


# --- regression on shared prompts
# -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Regression:
    """Share of shared prompts whose answer holds the right value: by the base, by the adapter; and the
    questions that were lost on the way.
    """

    base: float
    adapter: float
    lost: tuple[str, ...]


def regression(batcher: Batcher, tenant: str, problems: Sequence[Problem]) -> Regression:
    """Base against adapter on prompts that everybody may ask: a manner must not cost knowledge.
    Problem.answer is the value to be found.
    """
    requests = [Request(name, p.messages, LONGEST) for name in (BASE.tenant, tenant) for p in problems]
    answers = batcher.answer(requests)
    right = [p.answer in a.text for p, a in zip([*problems, *problems], answers)]
    base, adapter = right[: len(problems)], right[len(problems) :]
    lost = tuple(p.question for p, b, a in zip(problems, base, adapter) if b and not a)
    return Regression(sum(base) / len(base), sum(adapter) / len(adapter), lost)
