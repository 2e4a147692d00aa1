"""What may lie in a tenant's folder harms that tenant only, and nobody waits for it."""

import json
import os
import shutil
import threading

import pytest
import torch
from safetensors.torch import load_file, save_file

from llmlab import cli
from llmlab.errors import UserError
from llmlab.serve.batcher import Batcher
from llmlab.serve.requests import Request
from llmlab.serve.store import AdapterStore


def pointer(make):
    """`current` is something else than a small file with a number."""

    def do(tenant):
        make(tenant / "current")

    return do


def config(**changes):
    def do(tenant):
        file = tenant / "1" / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return do


def weights(change):
    def do(tenant):
        file = tenant / "1" / "adapter_model.safetensors"
        save_file(change(load_file(file)), file, {"format": "pt"})

    return do


def wide(tensors, rank=1000):
    """The same A and B with many rows and columns of zeros."""
    found = {}
    for name, t in tensors.items():
        side = 0 if "lora_A" in name else 1
        more = list(t.shape)
        more[side] = rank - t.shape[side]
        found[name] = torch.cat([t, torch.zeros(more)], side)
    return found


def replaced(name, make):
    def do(tenant):
        path = tenant / "1" / name
        path.unlink()
        make(path)

    return do


REFUSED = {
    "current is a pipe": pointer(os.mkfifo),
    "current is a folder": pointer(os.mkdir),
    "current is a loop": pointer(lambda p: p.symlink_to(p)),
    "current leads nowhere": pointer(lambda p: p.symlink_to("nothing")),
    "current is a device": pointer(lambda p: p.symlink_to("/dev/zero")),
    "current is junk": pointer(lambda p: p.write_bytes(b"\xff\x00\x01")),
    "current has a long number": pointer(lambda p: p.write_text("1" + "0" * 5000)),
    "current is huge": pointer(lambda p: p.write_bytes(b"x" * 10**7)),
    "current is empty": pointer(lambda p: p.write_text("")),
    "weights are a pipe": replaced("adapter_model.safetensors", os.mkfifo),
    "weights are a loop": replaced("adapter_model.safetensors", lambda p: p.symlink_to(p)),
    "the config is a pipe": replaced("adapter_config.json", os.mkfifo),
    "the config has no end": replaced("adapter_config.json", lambda p: p.write_text("[" * 100_000)),
    "the config is a list": replaced("adapter_config.json", lambda p: p.write_text("[1]")),
    "rank 1000": weights(wide),
    "alpha is a word": config(lora_alpha="many"),
    "alpha is infinite": config(lora_alpha=float("inf")),
    "a pattern that is none": config(alpha_pattern={"(": 3}),
    "a pattern of words": config(alpha_pattern={".*": "x"}),
    "a pattern that is a list": config(alpha_pattern=[1]),
    "the version is a file": lambda t: (shutil.rmtree(t / "1"), (t / "1").write_text("x")),
    "the version is a loop": lambda t: (shutil.rmtree(t / "1"), (t / "1").symlink_to(t / "1")),
    "the tenant is a loop": lambda t: (shutil.rmtree(t), t.symlink_to(t)),
    "the tenant is a pipe": lambda t: (shutil.rmtree(t), os.mkfifo(t)),
}
SERVED = {
    "fp8": weights(lambda ts: {k: t.to(torch.float8_e4m3fn) for k, t in ts.items()}),
    "bf16": weights(lambda ts: {k: t.to(torch.bfloat16) for k, t in ts.items()}),
    "rank 100": weights(lambda ts: wide(ts, 100)),
    "junk beside it": lambda t: ((t / "notes").write_text("x"), (t / "0").mkdir(), os.mkfifo(t / "pipe")),
}


def ask(name):
    return Request(name, ({"role": "user", "content": "Who are you?"},), max_tokens=6)


def within(seconds, work):
    """The work's result; a test must not hang where a reader does."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it waits for ever"
    return found[0]


def answers(little, store):
    """tenant -> ids, or the error."""
    batcher = Batcher(little, store, max_rows=4)
    found = {}
    for name in ("ann", "odd", "bob"):
        try:
            ticket = batcher.submit(ask(name))
        except UserError as e:
            found[name] = e
            continue
        while not ticket.over:
            batcher.step()
        found[name] = ticket.error or ticket.ids
    batcher.close()
    return found


@pytest.mark.parametrize("kind", [*REFUSED, *SERVED])
def test_it_harms_its_tenant_only(little, saved, tmp_path, kind):
    store = AdapterStore(tmp_path)
    for name in ("ann", "bob"):
        store.publish(name, saved[name][0])
    store.publish("odd", saved["ann"][0])
    alone = answers(little, store)
    (REFUSED | SERVED)[kind](tmp_path / "odd")
    mixed = within(30, lambda: answers(little, AdapterStore(tmp_path)))
    assert [mixed[n] for n in ("ann", "bob")] == [alone[n] for n in ("ann", "bob")]
    if kind in SERVED:
        assert isinstance(mixed["odd"], list)
    else:
        assert isinstance(mixed["odd"], UserError) and "\n" not in str(mixed["odd"])
    assert {"ann", "bob"} <= set(within(10, AdapterStore(tmp_path).tenants))


def test_a_larger_rank_can_be_asked_for(little, saved, tmp_path):
    store = AdapterStore(tmp_path)
    store.publish("odd", saved["ann"][0])
    REFUSED["rank 1000"](tmp_path / "odd")
    batcher = Batcher(little, AdapterStore(tmp_path), max_rank=1000)
    ticket = batcher.submit(ask("odd"))
    while not ticket.over:
        batcher.step()
    assert ticket.error is None
    batcher.close()
    with pytest.raises(UserError, match="max_rank must be at least 1"):
        Batcher(little, store, max_rank=0)


def test_the_command_line_knows_it(capsys):
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    assert "--max_rank" in capsys.readouterr().out
