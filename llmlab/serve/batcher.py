"""The batcher: one base, many adapters, requests that join and leave a running batch (continuous batching;
Orca, Yu et al., 2022).

Three ways to batch. mixed: whoever waits, adapters side by side (MixedLoRA). sorted: one adapter's requests
together, one adapter after the other. single: one request at a time.

Joining a running batch against waiting until it is empty: nothing is gained where all answers are of one
length, and much where they are uneven, because a batch that waits for its longest answer runs on with ever
fewer rows.
"""

import threading
from collections import deque
from typing import Callable, Iterable

import torch
from torch import Tensor

from ..errors import UserError
from ..tokens import chat
from .adapters import BASE, Adapter, BadAdapter, check_fits
from .cache import RowCache
from .lora import MAX_RANK, MixedLoRA
from .requests import Answer, Request, Ticket, TooManyWaiting, prompt_ids

BATCHING = ("mixed", "sorted", "single")


class Batcher:
    """Answers requests by tenant. `answer` works in the caller's thread; after `start` a thread of its own
    works on what `submit` brings.

    max_rows: rows decoded together. max_waiting: requests that may wait, the next one raises TooManyWaiting.
    max_adapters: slots on the device;
    the adapter used longest ago makes room for a new one, as in S-LoRA. max_rank: of an adapter (stacks
    are as wide as the largest). A row's answer is a function of its request and adapter alone (up to
    float rounding, which depends on the batch's shape): greedy, or sampled with the request's own seed.
    """

    def __init__(
        self,
        loaded,
        store,
        *,
        batching: str = "mixed",
        max_rows: int = 64,
        max_waiting: int = 1024,
        max_adapters: int = 64,
        max_rank: int = MAX_RANK,
    ):
        if batching not in BATCHING:
            raise UserError(f"batching is one of {', '.join(BATCHING)}, not '{batching}'")
        if min(max_rows, max_waiting, max_adapters, max_rank) < 1:
            raise UserError("max_rows, max_waiting, max_adapters and max_rank must be at least 1")
        self.model, self.tok, self.store, self.batching = loaded.model.eval(), loaded.tok, store, batching
        self.max_rows, self.max_waiting, self.max_adapters = max_rows, max_waiting, max_adapters
        self.context, self.stops = self.model.config.max_position_embeddings, chat.stop_ids(self.tok)
        self.mixed, self.slots = (
            MixedLoRA(self.model, max_adapters + 1, max_rank),
            {BASE.name: 0},
        )  # slots: adapter's name -> slot, last used last
        self.waiting, self.live = deque(), []  # live[i] is row i of the cache
        self._changed, self._turn, self._thread, self._closing = (
            threading.Condition(),
            threading.Lock(),
            None,
            False,
        )
        self._fits: dict[str, Adapter] = {}  # name -> what was found to fit this base
        self._last = ([], None)  # slots of the rows of the last step, and the tensor that was made of them
        self._new_cache()

    def _new_cache(self) -> None:
        self.cache = RowCache(self.model.config, self.max_rows, self.model.device)

    # --- asking
    # -----------------------------------------------------------------------------------------------------

    def submit(self, request: Request, listen: Callable[[Ticket], None] | None = None) -> Ticket:
        """Queue a request for the version that is in service now.

        Raises UnknownTenant, BadAdapter, BadRequest, TooLong or TooManyWaiting at once. listen is called in
        the batcher's thread.
        """
        adapter = self.store.load(request.tenant)
        if adapter is not self._fits.get(adapter.name):
            check_fits(adapter, self.mixed.linears, self.mixed.max_rank)
            self._fits[adapter.name] = adapter
        ticket = Ticket(request, adapter, prompt_ids(self.tok, request, self.context), listen)
        with self._changed:
            if len(self.waiting) >= self.max_waiting:
                raise TooManyWaiting(
                    f"{self.max_waiting} requests are waiting already; ask again in a moment"
                )
            self.waiting.append(ticket)
            self._changed.notify()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Nobody waits for this any more: its row is free at the next step."""
        ticket.cancelled = True

    def answer(self, requests: Iterable[Request]) -> list[Answer]:
        """All answers, in the order of the requests."""
        todo, tickets = deque(requests), []
        while todo or not all(t.over for t in tickets):
            while todo and len(self.waiting) < self.max_waiting:
                tickets.append(self.submit(todo.popleft()))
            self.step()
        return [t.answer(self.tok) for t in tickets]

    # --- working
    # ----------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Let requests join, then add one token to every live row. False: there was nothing to do."""
        with self._turn, torch.no_grad():
            self._drop()
            if joining := self._joining():
                self.live += joining
                with self.mixed.rows(self._slots(joining)):
                    logits = self.cache.join(self.model, [t.prompt for t in joining])
                self._take(joining, logits)
            if not self.live:
                return bool(joining)
            token = torch.tensor([t.ids[-1] for t in self.live], device=self.model.device)
            with self.mixed.rows(self._slots(self.live)):
                logits = self.cache.step(self.model, token)
            self._take(self.live, logits)
            return True

    def slot(self, ticket: Ticket) -> int:
        """The slot whose adapter this request's row gets: the one line on which the tenants' separation
        hangs.
        """
        return self.slots[ticket.adapter.name]

    def _slots(self, tickets: list[Ticket]) -> Tensor | int:
        """Slot of each row [n]: one number if all are the same, the same tensor as long as they are the same
        rows; both spare the gather.
        """
        slots = [self.slot(t) for t in tickets]
        if len(set(slots)) == 1:
            return slots[0]
        if slots != self._last[0]:
            self._last = (slots, torch.tensor(slots, device=self.model.device))
        return self._last[1]

    def _take(self, tickets: list[Ticket], logits: Tensor) -> None:
        """Give every ticket its next token; drop the rows that are finished."""
        finite = logits.isfinite().all(-1)
        logits = torch.where(finite[:, None], logits, 0.0)
        temperature = torch.tensor([t.request.temperature for t in tickets], device=logits.device)
        uniform = [t.uniforms[len(t.ids)] if t.uniforms else 0.0 for t in tickets]
        draws = torch.tensor(uniform, dtype=torch.float64, device=logits.device)
        chosen = choose(logits, temperature, draws).tolist()
        for ticket, token, sound in zip(tickets, chosen, finite.tolist()):
            if sound:
                ticket.take(token, self.stops)
            else:
                ticket.error = BadAdapter(
                    f"the adapter {ticket.adapter.name} gives numbers that are not finite; its weights are"
                    " too large: train it again with a lower rate"
                )
            if ticket.listen:
                ticket.listen(ticket)
        self._drop()

    def _drop(self) -> None:
        """The rows of finished and cancelled requests leave; the last rows fill the gaps."""
        order = close_ranks([not t.over for t in self.live])
        if len(order) < len(self.live):
            self.cache.keep(torch.tensor(order, dtype=torch.long, device=self.model.device))
            self.live = [self.live[i] for i in order]

    def _joining(self) -> list[Ticket]:
        """Who joins now: as many as there is room for, in the order of arrival, as far as the way of batching
        and the slots allow.

        With a full queue, joining waits until a quarter of the rows is free: reading one prompt costs nearly
        as much as reading sixteen.
        """
        with self._changed:
            room = self.max_rows - len(self.live)
            if self.live and (self.batching != "mixed" or room < min(len(self.waiting), self.max_rows // 4)):
                return []
            chosen, later = [], []
            while self.waiting and len(chosen) < (1 if self.batching == "single" else room):
                ticket = self.waiting.popleft()
                if ticket.cancelled:
                    continue
                alone = self.batching == "sorted" and chosen and ticket.adapter is not chosen[0].adapter
                (later if alone or not self.seat(ticket.adapter, chosen) else chosen).append(ticket)
            self.waiting.extendleft(reversed(later))
            return chosen

    def seat(self, adapter: Adapter, chosen: list[Ticket]) -> bool:
        """Bring an adapter into a slot, in place of the idle one used longest ago. False: every slot is in
        use.
        """
        if adapter.name not in self.slots:
            busy = {t.adapter.name for t in self.live + chosen} | {BASE.name}
            free = set(range(1, self.max_adapters + 1)) - set(self.slots.values())
            idle = next((name for name in self.slots if name not in busy), None)
            if not free and idle is None:
                return False
            slot = min(free) if free else self.slots.pop(idle)
            self.mixed.put(slot, adapter)
            self.slots[adapter.name] = slot
        self.slots[adapter.name] = self.slots.pop(adapter.name)  # last used last
        return True

    # --- a thread of its own
    # ----------------------------------------------------------------------------------------

    def start(self) -> "Batcher":
        """Work in the background until `close`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="llmlab-batcher", daemon=True)
            self._thread.start()  # type: ignore[attr-defined]
        return self

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self.waiting or self.live)
            if self._closing:
                return
            try:
                self.step()
            except (
                Exception
            ) as e:  # whoever was in the batch reads what happened; the others go on with a new cache
                self._fail(e)

    def _fail(self, error: Exception) -> None:
        """End every live request with the error."""
        with self._turn:
            failed, self.live = self.live, []
            self._new_cache()
            for ticket in failed:
                ticket.error = error
                if ticket.listen:
                    ticket.listen(ticket)

    def close(self) -> None:
        """Stop the thread, fail what still waits, give the model back as it was."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        self.live, self.waiting = [*self.live, *self.waiting], deque()
        self._fail(UserError("the batcher was closed; start another one"))
        self.mixed.close()


def choose(logits: Tensor, temperature: Tensor, uniform: Tensor) -> Tensor:
    """Next tokens [n] of logits [n, V]: the most probable one where temperature [n] is 0, else the first one
    at which the running sum of probabilities exceeds uniform [n] (in float64: float32 would distort rare
    tokens).
    """
    greedy = logits.argmax(-1)
    if not temperature.any():
        return greedy
    total = (
        (logits.float() / temperature.clamp(min=1e-5)[:, None]).softmax(-1).cumsum(-1, dtype=torch.float64)
    )
    drawn = torch.searchsorted(total, uniform[:, None] * total[:, -1:], right=True)[:, 0].clamp(
        max=logits.shape[-1] - 1
    )
    return torch.where(temperature == 0, greedy, drawn)


def close_ranks(live: list[bool]) -> list[int]:
    """The row to put in each place so that the live ones come first: the last of them fill the gaps, the
    others stay.
    """
    count = sum(live)
    fill = (i for i in range(count, len(live)) if live[i])
    return [i if live[i] else next(fill) for i in range(count)]
