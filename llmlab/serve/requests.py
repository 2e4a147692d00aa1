"""A request on its way: what was asked, checked; the ticket that follows it through the batches; the
answer.
"""

from dataclasses import dataclass, field
from typing import Callable

import torch

from ..errors import UserError
from ..tokens import chat
from .adapters import Adapter

ROLES = ("system", "user", "assistant")


class BadRequest(UserError):
    """A request that cannot be served as it is; the message names the fix."""


class TooLong(BadRequest):
    """Prompt and answer do not fit the model's context."""


class TooManyWaiting(UserError):
    """The queue is full: ask again later."""


@dataclass(frozen=True)
class Request:
    """tenant: 'captain', 'captain@2' for a pinned version, or 'base'. temperature 0 = greedy; else the seed
    decides, whoever is in the batch.
    """

    tenant: str
    messages: tuple[dict, ...]
    max_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    """tenant and version as routed, fingerprint of that adapter's files, text, its tokens (the stop token
    included), finish: 'stop' or 'length'.
    """

    tenant: str
    version: int
    fingerprint: str
    text: str
    ids: tuple[int, ...]
    finish: str
    prompt_tokens: int


@dataclass(eq=False)
class Ticket:
    """A request in the batcher. The adapter is fixed here, so a swap meanwhile does not touch it.
    listen(ticket) is called after every token.
    """

    request: Request
    adapter: Adapter
    prompt: list[int]
    listen: Callable[["Ticket"], None] | None = None
    ids: list[int] = field(default_factory=list)
    finish: str | None = None
    error: Exception | None = None
    cancelled: bool = False

    def __post_init__(self):
        draws = self.request.max_tokens if self.request.temperature else 0
        generator = torch.Generator().manual_seed(self.request.seed)
        self.uniforms = torch.rand(
            draws, generator=generator, dtype=torch.float64
        ).tolist()  # one number a token, the row's own

    @property
    def over(self) -> bool:
        """Does it need no more tokens?"""
        return self.cancelled or self.finish is not None or self.error is not None

    def take(self, token: int, stops: set[int]) -> None:
        """One more token."""
        self.ids.append(token)
        if token in stops:
            self.finish = "stop"
        elif len(self.ids) == self.request.max_tokens:
            self.finish = "length"

    def answer(self, tok) -> Answer:
        """The finished answer; raises what went wrong."""
        if self.error is not None:
            raise self.error
        a = self.adapter
        return Answer(
            a.tenant,
            a.version,
            a.fingerprint,
            text(tok, self.ids),
            tuple(self.ids),
            self.finish,
            len(self.prompt),
        )


def text(tok, ids: list[int]) -> str:
    """Tokens as text without special ones."""
    return tok.decode(ids, skip_special_tokens=True).strip()


def prompt_ids(tok, request: Request, context: int) -> list[int]:
    """The request's messages as ids up to where the answer begins. Raises BadRequest or TooLong with one
    sentence.
    """
    if request.max_tokens < 1:
        raise BadRequest(f"max_tokens is {request.max_tokens}; ask for at least 1")
    if not 0 <= request.temperature <= 100:
        raise BadRequest(f"temperature is {request.temperature:g}; choose 0 (greedy) to 100")
    if not -(2**63) <= request.seed < 2**63:
        raise BadRequest(f"seed {request.seed} is out of range; choose a whole number of at most 63 bits")
    check_messages(tok, request.messages)
    ids = chat.prompt(tok, request.messages)
    if len(ids) + request.max_tokens > context:
        raise TooLong(
            f"{len(ids)} prompt tokens and {request.max_tokens} for the answer are more than the context of"
            f" {context}; shorten one of them"
        )
    return ids


def check_messages(tok, messages) -> None:
    """Roles in their places, and no text that the tokenizer would read as a mark of the template (a user
    could open a system turn with it).
    """
    roles = [m["role"] for m in messages]
    if not roles or roles[-1] != "user":
        raise BadRequest("the last message must be the user's; add one with role 'user'")
    if odd := [r for r in roles if r not in ROLES]:
        raise BadRequest(f"role '{odd[0]}' is not served; use {', '.join(ROLES)}")
    if "system" in roles[1:]:
        raise BadRequest("a system message may only stand first; join the system messages into one")
    for special in (t.content for t in tok.added_tokens_decoder.values() if t.special):
        if any(special in m["content"] for m in messages):
            raise BadRequest(
                f"a message contains the special token '{special}'; take it out or write it differently"
            )
