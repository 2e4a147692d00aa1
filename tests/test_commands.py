"""Every command that the README and docs/commands.md show works as it is written, in a quick form: with small
settings behind it, or with --help where it would take minutes. A command without a quick form fails.
"""

import io
import json
import os
import re
import shlex
from pathlib import Path

import pytest
from helpers_families import save_family

from llmlab import cli
from llmlab.lab import samples
from llmlab.train import probes

ROOT = Path(__file__).parent.parent
TINY = "--steps 10 --batch 2 --probe 10"
PUSH = "--steps 5 --prompts 2 --group 2 --held 8 --k 2"
QUICK = {  # a command -> what is added to it
    "llmlab lab": "--no-browser",
    "llmlab claims": "",
    "llmlab claims C016": "",
    "llmlab claims run C016": "--help",
    "llmlab claims replicate": "--help",
    "llmlab drill": "",
    "llmlab interview 07": "",
    "llmlab demo 02": "--no-browser",
    "llmlab demo cpt": "--no-browser",
    "llmlab run": "",
    "llmlab run cpt --replay 0": TINY,
    "llmlab run cpt --replay 0.2": TINY,
    "llmlab run cpt --domain my_documents": TINY,
    "llmlab run cpt --domain python --json": TINY,
    "llmlab run cpt --model FOLDER_OR_HUB_ID": TINY,
    "llmlab show chats --domain my_chats.jsonl": "",
    "llmlab run chats --domain my_chats.jsonl": TINY,
    "llmlab run chats --method qlora --out my_adapters/anna/1": "--help",
    "llmlab run pairs --domain my_pairs.jsonl": "--steps 5 --batch 2 --probe 5",
    'llmlab run rag --domain my_documents --ask "What does flat 7 pay?"': "--model chat",
    "llmlab run rag --domain my_documents --retriever hybrid --json": "--model chat",
    "llmlab run policy --epochs 4 --clip none": PUSH,
    "llmlab run policy --reward_func crash": "--help",
    "llmlab run sft --engine trl": TINY + " --held 16",
    "llmlab run template --served literal": "--help",
    "llmlab run codes --people 400 --rank 1": "--help",
    "llmlab run lora --method qlora": "--help",
    "llmlab run prefer --task decide --nll 0.5": "--help",
    "llmlab run online --refresh 10": "--help",
    "llmlab run star --problems my_problems.jsonl --verifier my_check.py": "--help",
    "llmlab run scale --problems my_problems.jsonl": "--help",
    "llmlab run distill --teacher reasoner --student student_s --domain my_chats.jsonl": "--steps 2 --held 4",
    "llmlab run distill --writer teacher --beta 0": "--help",
    "llmlab run quantise --scheme gptq": "--help",
    "llmlab run specialists --how ties": "--help",
    "llmlab tools my_tools.py --problems my_questions.jsonl": "--max_new 8",
    "llmlab tools my_tools.py --problems my_questions.jsonl --train my_calls.jsonl --out new": "--steps 10",
    "llmlab tools http://127.0.0.1:8765/mcp --problems my_questions.jsonl": "--help",
    "llmlab desk": "--help",
    "llmlab desk --http": "--help",
    "llmlab serve my_adapters --make": "",
    "llmlab serve my_adapters --vllm": "--help",
    "llmlab build": "--help",
    "llmlab build book --only explore": "--help",
    "llmlab build vouch": "--help",
    "llmlab build vouch --close": "--help",
    "llmlab build --check": "",
    "llmlab bench": "--help",
    "llmlab doctor": "--quick",
}
STARTED = {"lab": "jupyterlab", "demo": "voila", "serve": "my_adapters"}  # command -> what it would start


def shown(file: Path) -> dict[str, str]:
    """Command -> comment, of the blocks without markers: those that show commands of llmlab."""
    blocks = re.findall(r"^```\n(llmlab .*?)^```", file.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line.partition("#") for block in blocks for line in block.splitlines()]
    return {command.strip(): comment.strip() for command, _, comment in lines}


README = shown(ROOT / "README.md")
SHOWN = README | shown(ROOT / "docs" / "commands.md")


def test_every_command_has_a_quick_form_and_a_comment():
    assert len(README) > 10, "the block under 'Five minutes' was not found"
    assert set(SHOWN) == set(QUICK), "give each new command a quick form in QUICK, and drop those that went"
    assert all(SHOWN.values())


@pytest.fixture
def place(tmp_path, home, monkeypatch):
    """A fresh home, a folder with the files that the commands name, and little that is read and said of the
    models. What would start a server only adds
    to the list that is returned.
    """
    folder, started = tmp_path / "folder", []
    (folder / "my_documents").mkdir(parents=True)
    (folder / "my_documents" / "act.txt").write_text(
        "".join(f"Clause {i}: the tenant of flat {i} pays {7 * i} crowns before noon. " for i in range(400))
    )
    say = lambda role, text: {"role": role, "content": text}
    chats = [{"messages": [say("user", f"What is {i}?"), say("assistant", f"It is {i}.")]} for i in range(40)]
    pairs = [{"prompt": f"Is {i} good?", "chosen": "Yes, it is.", "rejected": "No."} for i in range(40)]
    for name, rows in (("my_chats.jsonl", chats), ("my_pairs.jsonl", pairs)):
        (folder / name).write_text("\n".join(map(json.dumps, rows)))
    rooms = {"name": "rooms", "arguments": {"city": "Rome"}}
    said = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": rooms}]}
    calls = [{"messages": [say("user", f"Rooms in Rome on day {i}?"), said]} for i in range(20)]
    code = "def rooms(city: str) -> int:\n    'Free rooms.'\n    return len(city)"
    (folder / "my_tools.py").write_text(code)
    for name, rows in (
        ("my_questions.jsonl", [{"question": "Rooms?", "call": rooms}]),
        ("my_calls.jsonl", calls),
    ):
        (folder / name).write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.chdir(folder)
    for name in ("MAX_NEW", "WORKED"):
        monkeypatch.setattr(samples, name, 8)
    read = probes.read
    monkeypatch.setattr(
        probes, "read", lambda model, sets: read(model, {name: s[:1] for name, s in sets.items()})
    )
    monkeypatch.setattr(os, "execv", lambda program, arguments: started.append(" ".join(arguments)))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for name in ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH"):
        monkeypatch.setenv(name, "")
    return started


@pytest.fixture
def served(place, monkeypatch):
    """Serving, with tenants of two training steps."""
    from llmlab.serve import http, tenants

    train = tenants.train
    monkeypatch.setattr(tenants, "train", lambda *args: train(*args, steps=2))
    monkeypatch.setattr(http, "run", lambda folder, *_, **__: place.append(str(folder)))


@pytest.mark.parametrize("command", SHOWN)
def test_the_command_works(command, place, request, capsys):
    argv = shlex.split(command)[1:] + shlex.split(QUICK.get(command, "--help"))
    if argv[0] == "serve":
        request.getfixturevalue("served")
    if "FOLDER_OR_HUB_ID" in argv:
        save_family("qwen3", Path("FOLDER_OR_HUB_ID"))
    try:
        code = cli.main(argv)
    except SystemExit as e:  # --help
        code = e.code or 0
    out, err = capsys.readouterr()
    assert code in (0, None), err
    assert "Traceback" not in out + err
    if argv[0] in STARTED and "--help" not in argv:
        assert len(place) == 1 and STARTED[argv[0]] in place[0]
    else:
        assert out.strip() and not place


@pytest.mark.parametrize("command", [c for c, comment in SHOWN.items() if "--" in comment])
def test_the_options_in_a_comment_exist(command, capsys):
    words = [w for w in shlex.split(command)[1:] if not w.startswith("-")]
    name = words[:2] if words[0] in ("run", "demo", "serve") or words[1:2] == ["run"] else words[:1]
    with pytest.raises(SystemExit):
        cli.main([*name, "--help"])
    told = capsys.readouterr().out
    for option in re.findall(r"--[a-z]+", SHOWN[command]):
        assert option in told, option
