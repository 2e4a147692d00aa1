"""The server as clients see it: OpenAI's own library, streams, errors with one sentence, two thousand
requests at once.
"""

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import openai
import pytest
from helpers_browser import free_port
from safetensors.torch import load_file, save_file

from llmlab.cli import main
from llmlab.errors import UserError
from llmlab.serve import http, tenants, vllm
from llmlab.serve.batcher import Batcher
from llmlab.serve.http import LOOPBACK, listen_on, run, serving
from llmlab.serve.requests import Request
from llmlab.serve.store import AdapterStore
from llmlab.serve.tenants import numbered, whose

TALK = [{"role": "user", "content": "Who are you?"}]
AS_JSON = {"Content-Type": "application/json"}


@pytest.fixture
def batcher(little, store):
    found = Batcher(little, store, max_waiting=50)
    yield found
    found.close()


@pytest.fixture
def url(batcher):
    with serving(batcher) as address:
        yield address


@pytest.fixture
def client(url):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def said(batcher, tenant: str, **more) -> str:
    return batcher.answer([Request(tenant, tuple(TALK), **more)])[0].text


def test_openais_client_gets_the_tenants_answer_with_usage_and_fingerprint(client, batcher, store):
    got = client.chat.completions.create(model="ann", messages=TALK, temperature=0, max_tokens=12)
    assert got.choices[0].message.content == said(batcher, "ann", max_tokens=12) and got.model == "ann"
    assert got.system_fingerprint == f"ann@1:{store.load('ann').fingerprint}"
    assert (
        got.usage.total_tokens == got.usage.prompt_tokens + got.usage.completion_tokens
        and got.usage.completion_tokens == 12
    )
    assert got.choices[0].finish_reason == "length"


def test_a_seed_makes_a_sample_repeatable(client):
    ask = lambda **more: (
        client.chat.completions.create(model="ann", messages=TALK, max_tokens=16, **more)
        .choices[0]
        .message.content
    )
    assert ask(seed=1) == ask(seed=1) != ask(seed=2) and ask() != ask()


def test_a_stream_adds_up_to_the_answer(client, batcher):
    events = list(
        client.chat.completions.create(
            model="bob@1",
            messages=TALK,
            temperature=0,
            max_tokens=20,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(e.choices[0].delta.content or "" for e in events if e.choices)
    assert text.strip() == said(batcher, "bob", max_tokens=20) and events[-1].usage.completion_tokens == 20
    assert events[-2].choices[0].finish_reason == "length" and {e.system_fingerprint[:6] for e in events} == {
        "bob@1:"
    }


def test_models_and_health(client, url, store, saved):
    store.publish("ann", saved["bob"][0])
    assert {m.id for m in client.models.list()} == {
        "ann",
        "bob",
        "cid",
        "dan",
        "ann@1",
        "ann@2",
        "bob@1",
        "cid@1",
        "dan@1",
    }
    assert httpx.get(f"{url}/health").json()["status"] == "ok"


OK = {"model": "ann", "messages": TALK}
REFUSED = {
    "unknown tenant": (OK | {"model": "eve"}, 404, "there is no tenant 'eve'; known: ann, bob, cid, dan"),
    "unknown version": (OK | {"model": "ann@9"}, 404, "the tenant 'ann' has no version '9'; there are 1"),
    "path for a tenant": (OK | {"model": "../../etc"}, 404, "there is no tenant '../../etc'"),
    "malformed": (b"{", 400, "the body is not JSON"),
    "not utf-8": (b'"\xff"', 400, "the body is not JSON"),
    "deep": (b"[" * 100_000, 400, "the body is not JSON"),
    "a list": (b"[]", 400, "the body: Input should be"),
    "empty": (b"", 400, "the body is not JSON"),
    "no messages": ({"model": "ann"}, 400, "messages: Field required"),
    "empty messages": (OK | {"messages": []}, 400, "the last message must be the user's"),
    "wrong type": (OK | {"max_tokens": "many"}, 400, "max_tokens: Input should be a valid integer"),
    "content in parts": (
        OK | {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        400,
        "messages.0.content: Input should be a valid string",
    ),
    "unknown field": (OK | {"best_of": 2}, 400, "best_of: Extra inputs are not permitted"),
    "not supported": (OK | {"top_p": 0.5}, 400, "top_p is not supported; leave it out, or send 1"),
    "stop words": (OK | {"stop": ["."]}, 400, "stop is not supported; leave it out, or send []"),
    "half a character": (
        b'{"model": "ann", "messages": [{"role": "user", "content": "\\ud800"}]}',
        400,
        "half a character",
    ),
    "two choices": (OK | {"n": 2}, 400, "n: Input should be 1"),
    "cold": (OK | {"temperature": -1}, 400, "temperature is -1; choose 0"),
    "nan": (
        b'{"model": "ann", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
        400,
        "temperature is nan; choose 0",
    ),
    "large seed": (OK | {"seed": 2**70}, 400, "seed"),
    "no tokens": (OK | {"max_tokens": 0}, 400, "max_tokens is 0; ask for at least 1"),
    "too long": (OK | {"max_tokens": 5000}, 400, "are more than the context of 2048; shorten one of them"),
    "large body": (b"x" * (2**20 + 1), 413, "larger than 1,048,576 bytes; shorten"),
    "special token": (
        OK | {"messages": [{"role": "user", "content": "<|im_end|>"}]},
        400,
        "contains the special token",
    ),
}


@pytest.mark.parametrize("body, status, sentence", REFUSED.values(), ids=REFUSED)
def test_a_bad_request_gets_a_status_and_one_sentence(url, body, status, sentence):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    got = httpx.post(f"{url}/v1/chat/completions", content=raw, headers=AS_JSON)
    error = got.json()["error"]
    assert (
        got.status_code == status
        and sentence in error["message"]
        and set(error) == {"message", "type", "param", "code"}
    )
    assert (
        "\n" not in error["message"]
        and httpx.post(f"{url}/v1/chat/completions", json=OK | {"max_tokens": 2}).status_code == 200
    )


def post(url, more=None, **headers) -> httpx.Response:
    """A short question to ann with more fields, and headers with - for _."""
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    return httpx.post(f"{url}/v1/chat/completions", json=OK | {"max_tokens": 2} | (more or {}), headers=named)


@pytest.mark.parametrize("name", http.NEUTRAL)
def test_fields_that_change_nothing_are_accepted(url, name):
    for value in http.NEUTRAL[name]:
        assert post(url, {name: value}).status_code == 200, value


def test_all_neutral_fields_at_once_give_the_same_answer(url):
    plain, more = (
        {"temperature": 0, "max_tokens": 8},
        {name: values[1] for name, values in http.NEUTRAL.items()},
    )
    one, two = (post(url, x).json()["choices"][0] for x in (plain, plain | more))
    assert one == two


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_a_form_of_a_web_page_is_refused(url, kind):
    got = httpx.post(f"{url}/v1/chat/completions", content=json.dumps(OK), headers={"Content-Type": kind})
    assert got.status_code == 415 and "send Content-Type: application/json" in got.text


def test_a_page_of_another_site_is_refused_and_one_of_this_machine_is_not(url):
    assert post(url, origin="https://evil.example").status_code == 403
    assert post(url, origin="null").status_code in (200, 403)
    assert post(url, origin="http://localhost:8888").status_code == 200


def test_a_tenant_with_a_key_answers_only_who_sends_it(batcher):
    with serving(batcher, keys={"ann": "a-long-key", "bob": "another-key"}) as url:
        assert post(url).status_code == 401 and "needs its key" in post(url).text
        for wrong in ("Bearer another-key", "a-long-key", "Bearer", "Bearer a-long-key2", "Basic a-long-key"):
            assert post(url, authorization=wrong).status_code == 401
        assert post(url, authorization="Bearer a-long-key").status_code == 200
        assert post(url, {"model": "ann@1"}, authorization="Bearer a-long-key").status_code == 200
        assert post(url, {"model": "cid"}, authorization="Bearer a-long-key").status_code == 401


@pytest.mark.parametrize("text", ["[1]", "{", '{"ann": 5}', '{"ann": "short"}'])
def test_bad_files_of_keys_are_one_sentence(tmp_path, text, store):
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(UserError, match="keys.json"):
        run(str(store.folder), keys=str(tmp_path / "keys.json"))


def test_a_client_that_sends_half_a_body_is_timed_out_and_shuts_nobody_out(url, monkeypatch):
    monkeypatch.setattr(http, "PATIENCE", 0.3)
    host, port = url.removeprefix("http://").split(":")
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    slow = [socket.create_connection((host, int(port))) for _ in range(300)]
    try:
        for s in slow[:150]:
            s.sendall(f"{head}Content-Length: 500\r\n\r\n{{".encode())
        began = time.monotonic()
        assert post(url).status_code == 200 and time.monotonic() - began < 20
        slow[0].settimeout(20)
        assert b"408" in slow[0].recv(200)
    finally:
        for s in slow:
            s.close()


def test_a_folder_without_a_tenant_is_said(tmp_path):
    with pytest.raises(UserError, match="holds no tenant"):
        run(str(tmp_path))


def test_wrong_addresses_have_the_same_form(url):
    for got, status in [
        (httpx.get(f"{url}/v1/nothing"), 404),
        (httpx.get(f"{url}/v1/chat/completions"), 405),
        (httpx.get(f"{url}/health", headers={"Host": "evil.example"}), 403),
    ]:
        assert got.status_code == status and got.json()["error"]["message"]


def test_openais_client_raises_its_own_errors(client):
    with pytest.raises(openai.NotFoundError, match="there is no tenant 'eve'"):
        client.chat.completions.create(model="eve", messages=TALK)
    with pytest.raises(openai.BadRequestError, match="top_p"):
        client.chat.completions.create(model="ann", messages=TALK, top_p=0.5)


def test_too_many_waiting_is_429(little, store):
    batcher = Batcher(little, store, max_waiting=1)
    batcher.start = lambda: batcher  # nobody works
    with serving(batcher) as url:
        batcher.submit(Request("ann", tuple(TALK)))
        got = httpx.post(f"{url}/v1/chat/completions", json=OK)
        assert got.status_code == 429 and "ask again in a moment" in got.json()["error"]["message"]
    batcher.close()


def test_a_failure_inside_is_500_and_tells_nobodys_words(url, batcher, monkeypatch):
    def fail(*_):
        raise RuntimeError("somebody's prompt")

    with monkeypatch.context() as patch:
        patch.setattr(batcher.cache, "join", fail)
        got = httpx.post(f"{url}/v1/chat/completions", json=OK)
    assert got.status_code == 500 and "RuntimeError" in got.text and "somebody" not in got.text
    assert httpx.post(f"{url}/v1/chat/completions", json=OK | {"max_tokens": 2}).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_is_killed_in_the_middle_frees_its_row(url, batcher, stream):
    body = json.dumps(OK | {"max_tokens": 1900, "temperature": 0, "stream": stream}).encode()
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as s:
        s.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        end = time.monotonic() + 20
        while not batcher.live and time.monotonic() < end:
            time.sleep(0.01)
        ticket = batcher.live[0]
    end = time.monotonic() + 20
    while (batcher.live or batcher.waiting) and time.monotonic() < end:
        time.sleep(0.05)
    assert not batcher.live and not batcher.waiting and ticket.cancelled and len(ticket.ids) < 1900
    assert httpx.post(f"{url}/v1/chat/completions", json=OK | {"max_tokens": 2}).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.0.1", "example.org"])
def test_only_loopback_is_listened_on(host, store):
    with pytest.raises(UserError, match="loopback only"):
        run(str(store.folder), host=host)
    assert host not in LOOPBACK


def test_a_taken_port_is_one_sentence():
    with listen_on("127.0.0.1", 0) as taken, pytest.raises(UserError, match="choose another one with --port"):
        listen_on("127.0.0.1", taken.getsockname()[1])


# --- the command line
# -------------------------------------------------------------------------------------------------


def test_vllms_command_line(store, saved, capsys, monkeypatch, tmp_path):
    words = shlex.split(vllm.command(store.folder, "some model"))
    assert words[:3] == ["vllm", "serve", "some model"] and words[-4:] == [
        "--max-loras",
        "4",
        "--max-lora-rank",
        "8",
    ]
    assert f"bob={store.folder.resolve()}/bob/1" in words
    assert main(["serve", str(store.folder), "--model", "chat", "--vllm"]) == 0
    assert "--enable-lora" in capsys.readouterr().out


def test_the_labs_tenants_are_made_and_made_only_once(tmp_path, capsys, monkeypatch):
    trained = []
    monkeypatch.setattr(
        tenants,
        "train",
        lambda loaded, store, tenant: (
            trained.append(tenant.name) or (store.folder / tenant.name / "1").mkdir(parents=True)
        ),
    )
    folder = tmp_path / "adapters"
    for _ in range(2):
        main(["serve", str(folder), "--make", "--vllm"])
    assert trained == list(tenants.TENANTS)


WRONG = {
    "no folder": ([], "which adapters?"),
    "folder that is not there": (["/nowhere"], "there is no folder '/nowhere'"),
    "nothing in it": (["{empty}", "--vllm"], "holds no adapters"),
    "unknown option": (["{empty}", "--prot", "1"], "did you mean --port?"),
    "no such model": (["{empty}", "--model", "bsae", "--port", "0"], "there is no model 'bsae'"),
    "no such port": (["{empty}", "--port", "99999"], "port 99999 cannot be used"),
}


@pytest.mark.parametrize("argv, sentence", WRONG.values(), ids=WRONG)
def test_wrong_words_get_one_line(argv, sentence, capsys, tmp_path):
    assert main(["serve", *(a.format(empty=tmp_path) for a in argv)]) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1 and sentence in err[0]


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_needs_no_folder(flag, capsys):
    with pytest.raises(SystemExit) as end:
        main(["serve", flag])
    assert end.value.code == 0 and "--port" in capsys.readouterr().out


# --- many at once
# -----------------------------------------------------------------------------------------------------

CLIENT = """
import asyncio, json, sys

PORT, SLOW = int(sys.argv[1]), sys.argv[2]

async def ask(body, room):
    async with room:
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        raw = json.dumps(body).encode()
        head = [b"POST /v1/chat/completions HTTP/1.1", b"Host: 127.0.0.1", b"Connection: close"]
        head += [b"Content-Type: application/json"]
        head += [b"Content-Length: %d" % len(raw)]
        writer.write(b"\\r\\n".join(head) + b"\\r\\n\\r\\n")
        slow = body["model"] == SLOW
        for piece in [raw[i : i + 40] for i in range(0, len(raw), 40)] if slow else [raw]:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.2 * slow)
        answer = b""
        while piece := await reader.read(100 if slow else -1):
            answer += piece
            await asyncio.sleep(0.2 * slow)
        writer.close()
        return json.loads(answer.partition(b"\\r\\n\\r\\n")[2])

async def main():
    room = asyncio.Semaphore(1000)
    print(json.dumps(await asyncio.gather(*(ask(b, room) for b in json.load(sys.stdin)))))

asyncio.run(main())
"""


@pytest.mark.slow
def test_two_thousand_requests_with_a_poisoned_tenant_and_a_slow_one(lab, many, tmp_path):
    """32 tenants, a thousand connections at a time from a process of its own. One tenant's weights are huge;
    another one's clients send and read a few bytes at a time. Who answered is read off the content.
    """
    folder = shutil.copytree(many.folder, tmp_path / "many")
    tenants, batcher = numbered(32), Batcher(lab, AdapterStore(folder))
    poisoned, slow = tenants[5].name, tenants[7].name
    weights = folder / poisoned / "1" / "adapter_model.safetensors"
    save_file({k: t * 1e25 for k, t in load_file(weights).items()}, weights, {"format": "pt"})
    asked = [(t, p) for t in tenants for p in t.problems(63, seed=int(t.name[1:]))][:2000]
    bodies = [
        {"model": t.name, "messages": list(p.messages), "temperature": 0, "max_tokens": 24} for t, p in asked
    ]
    with serving(batcher) as url:
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, url.rpartition(":")[2], slow],
            input=json.dumps(bodies),
            capture_output=True,
            text=True,
            timeout=240,
        )
    batcher.close()
    answers = json.loads(done.stdout)
    assert len(answers) == 2000, "some were lost"
    wrong = unclear = 0
    for (tenant, problem), answer in zip(asked, answers):
        if tenant.name == poisoned:
            assert "finite" in answer["error"]["message"]
            continue
        text = answer["choices"][0]["message"]["content"]
        assert answer["system_fingerprint"].startswith(f"{tenant.name}@1:")
        wrong += bool(set(re.findall(r"t\d\d", text)) - {tenant.name})
        unclear += whose(tenants, problem.question, text) != [tenant.name]
    assert wrong == 0 and unclear <= 60


@pytest.mark.slow
def test_idle_connections_shut_nobody_out_and_sigterm_ends_within_seconds(many, tmp_path):
    port, log = free_port(), tmp_path / "log"
    argv = [sys.executable, "-m", "llmlab.cli", "serve", str(many.folder), "--port", str(port)]
    address = f"http://127.0.0.1:{port}/v1/chat/completions"
    body = {"model": "t03", "messages": TALK, "max_tokens": 8}
    with open(log, "w") as out:
        server = subprocess.Popen(argv, stdout=out, stderr=out)
    try:
        until = time.monotonic() + 60
        while "tenants on http" not in log.read_text() and time.monotonic() < until:
            time.sleep(0.2)
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
        assert httpx.post(address, json=body, timeout=20).status_code == 200
        long = body | {"stream": True, "max_tokens": 1500, "temperature": 1.5}
        with httpx.stream("POST", address, json=long, timeout=20) as stream:
            next(stream.iter_raw())
            server.send_signal(signal.SIGTERM)
            began = time.monotonic()
            server.wait(15)
        assert time.monotonic() - began < 8 and server.returncode in (0, -signal.SIGTERM)
        assert "Traceback" not in log.read_text()
        for s in idle:
            s.close()
    finally:
        server.kill()
        server.wait()


def test_threads_that_submit_at_once_get_their_own_answers(batcher):
    batcher.start()
    want = {n: said(batcher, n) for n in ("ann", "bob", "cid", "dan")}
    wrong = []

    def ask(name: str):
        over = threading.Event()
        ticket = batcher.submit(Request(name, tuple(TALK)), lambda t: t.over and over.set())
        if not over.wait(30) or ticket.answer(batcher.tok).text != want[name]:
            wrong.append(name)

    threads = [threading.Thread(target=ask, args=(name,)) for name in want for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
