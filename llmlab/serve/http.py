"""The batcher behind HTTP with OpenAI's chat schema, on loopback only: any OpenAI client works, `model` is
the tenant.
"""

import asyncio
import json
import secrets
import socket
import threading
import time
from collections.abc import Awaitable
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Literal
from urllib.parse import urlsplit

import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from fastapi import Request as HTTPRequest
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import UserError
from .adapters import BadAdapter
from .batcher import Batcher
from .lora import MAX_RANK
from .requests import BadRequest, Request, Ticket, TooLong, TooManyWaiting, text
from .store import AdapterStore, UnknownTenant

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MOST_BYTES = 2**20  # of a request's body
PATIENCE = 10.0  # seconds that a client may take for the next piece of it
# fields that common clients send, and the values with which they change nothing
NEUTRAL: dict[str, tuple] = {
    "stop": (None, [], ""),
    "top_p": (None, 1),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "parallel_tool_calls": (None, True, False),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "response_format": (None, {"type": "text"}),
    "metadata": (None, {}),
    "store": (None, False),
    "service_tier": (None, "auto", "default"),
}
STATUS = {
    UnknownTenant: (404, "model_not_found"),
    TooLong: (400, "context_length_exceeded"),
    BadRequest: (400, "invalid_request"),
}
STATUS |= {TooManyWaiting: (429, "too_many_requests"), BadAdapter: (503, "adapter_unusable")}


class Message(BaseModel):
    """One turn; text only."""

    model_config = ConfigDict(extra="forbid")
    role: str
    content: str


class StreamOptions(BaseModel):
    """include_usage: a last chunk that counts the tokens."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """What is understood of OpenAI's schema. Any other field is refused: to ignore it silently would be to
    answer another question.
    """

    model_config = ConfigDict(extra="forbid")
    model: str
    messages: list[Message]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float = 1.0
    seed: int | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] = 1
    user: str | None = None

    def request(self) -> Request:
        """As the batcher takes it. Without a seed every call draws anew, as OpenAI's does."""
        most = self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens
        seed = self.seed if self.seed is not None else secrets.randbits(62)
        messages = tuple(m.model_dump() for m in self.messages)
        return Request(self.model, messages, 256 if most is None else most, self.temperature, seed)


class Refused(UserError):
    """A request that does not reach the batcher."""

    def __init__(self, status: int, code: str, sentence: str):
        super().__init__(sentence)
        self.status, self.code = status, code


def create_app(batcher: Batcher, keys: dict[str, str] | None = None) -> FastAPI:
    """POST /v1/chat/completions · GET /v1/models · GET /health, over a started batcher. keys: tenant -> what
    a client must send as `Authorization: Bearer …` to be answered by it; None: anybody on this machine may
    ask.
    """
    app = FastAPI(
        title="llmlab",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(only_this_machine)],
        exception_handlers={UserError: refuse, 404: wrong_address, 405: wrong_address, Exception: refuse},
    )

    @app.get("/health")
    async def health():
        """How busy the batcher is."""
        return load_of(batcher)

    @app.get("/v1/models")
    async def models():
        """What `model` may be in a request."""
        return names_of(batcher.store)

    @app.post("/v1/chat/completions")
    async def completions(http: HTTPRequest):
        """OpenAI's chat completions, whole or as a stream."""
        return await answered(batcher, http, keys)

    return app


async def refuse(http: HTTPRequest, error: Exception) -> JSONResponse:
    """What went wrong, as OpenAI's error body."""
    return failure(error)


async def wrong_address(http: HTTPRequest, error: HTTPException) -> JSONResponse:
    """An address or a method that does not exist, with the one that does."""
    told = f"there is no {http.method} {http.url.path}; use POST /v1/chat/completions"
    return failure(Refused(error.status_code, "not_found", told))


def load_of(batcher: Batcher) -> dict:
    """Requests that wait, requests in the running batch, and adapters in it (the base not counted)."""
    return {
        "status": "ok",
        "waiting": len(batcher.waiting),
        "live": len(batcher.live),
        "adapters": len(batcher.slots) - 1,
    }


def names_of(store: AdapterStore) -> dict:
    """Every tenant by name (the version in service), and every version by tenant@number."""
    entries = store.entries()
    names = [e.tenant for e in entries if e.current] + [f"{e.tenant}@{e.version}" for e in entries]
    return {
        "object": "list",
        "data": [{"id": n, "object": "model", "created": 0, "owned_by": n.partition("@")[0]} for n in names],
    }


async def answered(batcher: Batcher, http: HTTPRequest, keys: dict[str, str] | None) -> Response:
    """One chat request through the batcher. A client that hangs up frees its row; nobody reads the status
    then.
    """
    no_web_page(http)
    asked, tokens, loop = parse(await body(http)), asyncio.Queue(), asyncio.get_running_loop()
    if keys is not None:
        know(asked.model, http.headers.get("authorization", ""), keys)

    def listen(ticket: Ticket):
        """From the batcher's thread: how far it is. Who does not stream hears of the end only."""
        if asked.stream or ticket.over:
            loop.call_soon_threadsafe(tokens.put_nowait, (len(ticket.ids), ticket.over))

    ticket = batcher.submit(asked.request(), listen)
    if asked.stream:
        return StreamingResponse(chunks(batcher, ticket, tokens, asked), media_type="text/event-stream")
    if not await first(
        tokens.get(), http.receive()
    ):  # after the body the only message left is that the client has hung up
        batcher.cancel(ticket)
        return Response(status_code=499)
    return JSONResponse(completion(batcher, ticket, asked.model))


async def first(this: Awaitable, other: Awaitable) -> bool:
    """Did `this` end before `other` did?"""
    mine, theirs = asyncio.ensure_future(this), asyncio.ensure_future(other)
    await asyncio.wait({mine, theirs}, return_when=asyncio.FIRST_COMPLETED)
    ended = mine.done()
    for task in (mine, theirs):
        task.cancel()
    return ended


def only_this_machine(http: HTTPRequest) -> None:
    """A web page that has another host name pointed at us (DNS rebinding) gets nothing."""
    if http.url.hostname not in LOOPBACK:
        raise Refused(403, "wrong_host", "this server answers on loopback only; ask http://127.0.0.1")


def no_web_page(http: HTTPRequest) -> None:
    """A page of another site can send no request that the browser would not ask about first."""
    kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "wrong_type", f"the body is '{kind}'; send Content-Type: application/json")
    origin = http.headers.get("origin")
    if origin and urlsplit(origin).hostname not in LOOPBACK:
        raise Refused(403, "wrong_origin", "this server answers no page of another site")


def know(tenant: str, given: str, keys: dict[str, str]) -> None:
    """Raises Refused unless the key is the tenant's."""
    wanted = keys.get(tenant.partition("@")[0])
    if wanted is None or not secrets.compare_digest(given.encode(), f"Bearer {wanted}".encode()):
        raise Refused(401, "invalid_api_key", "this tenant needs its key; send it as Authorization: Bearer …")


async def body(http: HTTPRequest) -> bytes:
    """The request's body, refused as soon as it is too large or too slow."""
    parts, size, stream = [], 0, http.stream()
    while True:
        try:
            part = await asyncio.wait_for(anext(stream), PATIENCE)
        except StopAsyncIteration:
            break
        except TimeoutError:
            raise Refused(408, "too_slow", f"nothing came for {PATIENCE:g} seconds; ask again") from None
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise Refused(
                413, "too_large", f"the request is larger than {MOST_BYTES:,} bytes; shorten the messages"
            )
    return b"".join(parts)


def parse(raw: bytes) -> ChatRequest:
    """The body as a ChatRequest; what is wrong with it as one sentence."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as e:
        raise Refused(
            400,
            "malformed_json",
            f"the body is not JSON ({str(e)[:80]}); send an object with model and messages",
        ) from None
    if isinstance(data, dict):
        data = {k: v for k, v in data.items() if not (k in NEUTRAL and v in NEUTRAL[k])}
    try:
        asked = ChatRequest.model_validate(data)
        "".join(m.role + m.content for m in asked.messages).encode()
        return asked
    except UnicodeEncodeError:
        raise Refused(400, "invalid_request", "a message holds half a character; send valid text") from None
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        if where in NEUTRAL:
            allowed = " or ".join(json.dumps(v) for v in NEUTRAL[where][1:])
            raise Refused(
                400, "invalid_request", f"{where} is not supported; leave it out, or send {allowed}"
            ) from None
        raise Refused(
            400,
            "invalid_request",
            f"{where}: {first['msg']}; send OpenAI's chat schema with {', '.join(ChatRequest.model_fields)}",
        ) from None


def failure(error: Exception) -> JSONResponse:
    """OpenAI's error body. What nobody foresaw says no more than that: its text may hold another tenant's
    words.
    """
    status, code = (
        (error.status, error.code)
        if isinstance(error, Refused)
        else STATUS.get(type(error), (400 if isinstance(error, UserError) else 500, "failed"))
    )
    kind = (
        "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    )
    message = (
        str(error)
        if isinstance(error, UserError)
        else f"the server failed ({type(error).__name__}); ask again, and read its log if it fails again"
    )
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": code}}, status)


def frame(ticket: Ticket, model: str, kind: str) -> dict:
    """What every response says: who answered, with which files (system_fingerprint = tenant@version:hash)."""
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": f"{ticket.adapter.name}:{ticket.adapter.fingerprint}",
    }


def usage(ticket: Ticket) -> dict:
    """Tokens read and written, the stop token included."""
    read, written = len(ticket.prompt), len(ticket.ids)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def completion(batcher: Batcher, ticket: Ticket, model: str) -> dict:
    """The whole answer."""
    answer = ticket.answer(batcher.tok)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": answer.text},
        "finish_reason": answer.finish,
        "logprobs": None,
    }
    return frame(ticket, model, "chat.completion") | {"choices": [choice], "usage": usage(ticket)}


async def chunks(batcher: Batcher, ticket: Ticket, tokens: asyncio.Queue, asked: ChatRequest):
    """The answer piece by piece as server-sent events; a client that hangs up frees its row."""
    head, sent, over = frame(ticket, asked.model, "chat.completion.chunk"), 0, False

    def event(delta: dict, finish: str | None = None) -> str:
        return (
            "data:"
            f" {json.dumps(head | {'choices': [{'index': 0, 'delta': delta, 'finish_reason': finish}]})}\n\n"
        )

    try:
        yield event({"role": "assistant", "content": ""})
        while not over:
            count, over = await tokens.get()
            so_far = text(batcher.tok, ticket.ids[:count])
            if so_far.endswith("\ufffd") and not over:  # the first bytes of a character: wait for the rest
                continue
            if so_far[sent:]:
                yield event({"content": so_far[sent:]})
            sent = len(so_far)
        if ticket.error is not None:
            yield f"data: {failure(ticket.error).body.decode()}\n\n"
            return
        yield event({}, ticket.finish)
        if asked.stream_options and asked.stream_options.include_usage:
            yield f"data: {json.dumps(head | {'choices': [], 'usage': usage(ticket)})}\n\n"
        yield "data: [DONE]\n\n"
    finally:
        batcher.cancel(ticket)


@contextmanager
def serving(batcher: Batcher, port: int = 0, keys: dict[str, str] | None = None) -> Iterator[str]:
    """The batcher's server in a thread of this process, until the block ends. Yields its address; port 0 =
    any free one.
    """
    listener = listen_on("127.0.0.1", port)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(batcher.start(), keys),
            log_level="error",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=2,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def listen_on(host: str, port: int) -> socket.socket:
    """A socket on loopback. Raises UserError for any other host, and for a port that is taken."""
    if host not in LOOPBACK:
        raise UserError(
            f"the server listens on loopback only, not on '{host}': it knows no passwords; reach it from"
            " elsewhere through an ssh tunnel"
        )
    listener = socket.socket(socket.AF_INET6 if host == "::1" else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as e:
        listener.close()
        raise UserError(
            f"port {port} cannot be used ({getattr(e, 'strerror', None) or e}); choose another one with"
            " --port"
        ) from None
    listener.listen(2048)
    return listener


def read_keys(file: str) -> dict[str, str]:
    """tenant -> key, of a JSON file with such an object. Raises UserError."""
    try:
        found = json.loads(Path(file).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError, RecursionError) as e:
        raise UserError(
            f"'{file[:200]}' cannot be read as JSON ({type(e).__name__}); write tenant and key in an object"
        ) from None
    if not isinstance(found, dict) or not all(isinstance(v, str) and len(v) >= 8 for v in found.values()):
        raise UserError(f"'{file}' is no object of tenants with keys of at least 8 characters each")
    return found


def run(
    folder: str,
    model: str = "chat",
    port: int = 8000,
    host: str = "127.0.0.1",
    keys: str = "",
    max_rank: int = MAX_RANK,
) -> None:
    """Serve a folder of adapters until Ctrl-C or SIGTERM. Raises UserError where there is no tenant."""
    from ..models.load import load

    known = read_keys(keys) if keys else None
    store, listener = AdapterStore(folder), listen_on(host, port)
    loaded = load(model)
    if not store.tenants():
        listener.close()
        raise UserError(
            f"'{folder}' holds no tenant; put adapters into TENANT/VERSION/ in it, or add --make for the"
            " lab's"
        )
    batcher = Batcher(loaded, store, max_rank=max_rank).start()
    print(
        f"{len(store.tenants())} tenants on http://{host}:{port}/v1 (Ctrl-C stops):"
        f" {', '.join(store.tenants()[:8])}"
        + ("" if known else "\nanybody on this machine may ask any tenant; --keys FILE gives each its key"),
        flush=True,
    )
    config = uvicorn.Config(
        create_app(batcher, known),
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        batcher.close()
