"""The command line: what goes wrong is one line that names the fix, what goes right ends in one JSON
object.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest
from helpers_families import save_family
from helpers_ledger import data_folder

from llmlab import cli
from llmlab.cli import run
from llmlab.lab import code as lab_code
from llmlab.lab import registry, sweeps
from llmlab.ledger import TRIALS

KNOBS = {name: [k.name for k in registry.get(name).knobs()] for name in registry.NAMES}
DOMAIN = ("domain_loss", "domain_recall", "general_loss", "general_recall", "arithmetic")


def call(argv, capsys):
    """(exit code, lines on stdout, lines on stderr) of `llmlab …`, in this process."""
    try:
        code = cli.main([str(a) for a in argv])
    except SystemExit as e:
        code = e.code or 0
    out, err = capsys.readouterr()
    return code, out.splitlines(), err.splitlines()


def complaint(argv, capsys) -> str:
    """The one line on stderr of a command that must fail with 2 and nothing else."""
    code, out, err = call(argv, capsys)
    assert (code, len(err)) == (2, 1) and not out, (code, out, err)
    assert err[0].startswith("llmlab: ") and "Traceback" not in err[0]
    return err[0]


# --- wrong words
# ------------------------------------------------------------------------------------------------------

WRONG = {
    "unknown command": (["rnu"], "there is no command 'rnu'; did you mean run?"),
    "command like nothing": (
        ["xyzzy"],
        "choose one of lab, run, show, claims, drill, interview, demo, tools, audit, desk, serve, build,",
    ),
    "unknown experiment": (
        ["run", "xyzzy"],
        "there is no experiment 'xyzzy'; choose one of topology, cpt, burst",
    ),
    "misspelt experiment": (["run", "gpro"], "did you mean grpo?"),
    "experiment after its flags": (
        ["run", "--steps", "10", "cpt"],
        "the experiment's name comes first: llmlab run topology | cpt",
    ),
    "unknown flag": (
        ["run", "cpt", "--xyzzy", "1"],
        "unknown option '--xyzzy'; choose one of --replay, --lr",
    ),
    "misspelt flag": (["run", "cpt", "--repaly", "0.2"], "unknown option '--repaly'; did you mean --replay?"),
    "flag of another experiment": (["run", "sft", "--replay", "0.2"], "unknown option '--replay'"),
    "single dash": (["run", "cpt", "-replay", "0.2"], "unknown option '-replay'; did you mean --replay?"),
    "stray word": (["run", "cpt", "fast"], "unknown option 'fast'"),
    "no- before a number": (["run", "cpt", "--no-lr", "5"], "unknown option '--no-lr'; did you mean --lr?"),
    "value for a switch": (["run", "cpt", "--json=5"], "--json takes no value; leave '=5' out"),
    "word after a switch": (["run", "cpt", "--json", "5"], "unknown option '5'"),
    "too high": (["run", "cpt", "--replay", "2"], "--replay 2 is out of range; choose 0 to 0.9 share"),
    "too low": (["run", "grpo", "--temperature=-1"], "--temperature -1 is out of range; choose 0.3 to 2"),
    "infinite": (["run", "cpt", "--lr", "inf"], "--lr inf is out of range; choose 1e-05 to 0.01"),
    "not a number at all": (["run", "cpt", "--lr", "nan"], "--lr nan is out of range"),
    "word for a number": (["run", "cpt", "--lr", "fast"], "--lr takes a number, not 'fast'"),
    "fraction for a whole number": (["run", "cpt", "--steps=1.5"], "--steps takes a whole number, not '1.5'"),
    "missing value at the end": (["run", "cpt", "--steps"], "--steps needs a value"),
    "missing value before a flag": (["run", "cpt", "--model", "--json"], "--model needs a value"),
    "bad choice": (
        ["run", "cpt", "--packing", "tight"],
        "--packing is one of none, plain, reset, not 'tight'",
    ),
    "seed below zero": (["run", "cpt", "--seed", "-1"], "--seed -1 is out of range; choose 0 to 2147483647"),
    "seed beyond the generator": (
        ["run", "grpo", "--seed", "99999999999999999999"],
        "is out of range; choose 0 to 2147483647",
    ),
    "knobs that do not fit": (["run", "cpt", "--gate", "15"], "--gate 15 is not a multiple of --probe 10"),
    "unknown device": (["run", "cpt", "--device", "tpu"], "there is no device 'tpu' here; use --device cpu"),
    "domain is no folder": (
        ["run", "cpt", "--domain", "/nowhere"],
        "'/nowhere' does not exist; give a file of .jsonl",
    ),
    "domain where there is none": (["run", "grpo", "--domain", "python"], "unknown option '--domain'"),
    "model folder that is not there": (
        ["run", "cpt", "--model", "/nowhere"],
        "there is no model '/nowhere'; give base, chat, reader, reasoner, student_l",
    ),
    "model like nothing": (
        ["run", "cpt", "--model", "bsae"],
        "there is no model 'bsae'; give base, chat, reader, reasoner, student_l",
    ),
    "hub model without network": (
        ["run", "cpt", "--model", "nobody/nothing"],
        "check the folder, or your network for a hub id",
    ),
    "unknown thing to build": (
        ["build", "bse"],
        "there is nothing to build called 'bse'; did you mean base?",
    ),
    "unknown flag of build": (["build", "base", "--frce"], "unknown option '--frce'; did you mean --force?"),
    "unknown flag of doctor": (["doctor", "--quik"], "unknown option '--quik'; did you mean --quick?"),
    "experiments of another benchmark": (["bench", "--only", "sft", "--of", "cpt"], "add --only defaults"),
    "unknown benchmark": (["bench", "--only", "xyzzy"], "there is no benchmark 'xyzzy'; choose one of"),
    "unknown chapter": (["lab", "--chapter", "99"], "there is no chapter '99'"),
    "word for a port": (["lab", "--port", "x"], "--port takes a whole number, not 'x'"),
}


@pytest.mark.parametrize("argv, fix", WRONG.values(), ids=WRONG)
def test_wrong_words_get_one_line(argv, fix, capsys, home):
    assert fix in complaint(argv, capsys)
    assert not list(home.rglob("*.state"))


def test_no_gpu(capsys, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "there is no device 'cuda' here; use --device cpu" in complaint(
        ["run", "cpt", "--device", "cuda"], capsys
    )


# --- wrong files
# ------------------------------------------------------------------------------------------------------


def only_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncated(folder):
    body = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(body[: len(body) // 2])


def rewrite(name, text):
    return lambda folder: (folder / name).write_text(text)


def without(*names):
    return lambda folder: [(folder / n).unlink() for n in names]


FOLDERS = {
    "truncated weights": (truncated, "is truncated or not a safetensors file"),
    "weights that are none": (
        rewrite("model.safetensors", "hello"),
        "is truncated or not a safetensors file",
    ),
    "empty weights": (rewrite("model.safetensors", ""), "is truncated or not a safetensors file"),
    "pickle only": (
        only_pickle,
        "has no *.safetensors; other weight files are not read (they can run code): convert them first",
    ),
    "no config": (without("config.json"), "has no config.json; give a folder saved with save_pretrained"),
    "broken config": (rewrite("config.json", "{"), "cannot be loaded"),
    "config of nothing": (rewrite("config.json", "{}"), "cannot be loaded"),
    "broken tokenizer": (rewrite("tokenizer.json", "{"), "has no usable tokenizer"),
}


@pytest.fixture(params=["qwen3"])
def folder(request, tmp_path):
    """A model folder that may be spoilt."""
    return save_family(request.param, tmp_path / "model")


@pytest.mark.parametrize("spoil, fix", FOLDERS.values(), ids=FOLDERS)
def test_a_bad_model_folder_gets_one_line(spoil, fix, folder, capsys, home):
    spoil(folder)
    assert fix in complaint(["run", "cpt", "--steps", 10, "--model", folder], capsys)


@pytest.mark.parametrize("folder", ["llama", "qwen3", "gemma3"], indirect=True)
def test_a_model_folder_without_tokenizer_gets_one_line(folder, capsys, home):
    without("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")(folder)
    assert "has no usable tokenizer" in complaint(["run", "cpt", "--steps", 10, "--model", folder], capsys)


@pytest.mark.parametrize("name", ["base", "chat"])
def test_a_missing_lab_checkpoint_names_its_build(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path))
    assert f"the lab checkpoint '{name}' is missing; run: llmlab build {name}" in complaint(
        ["run", "cpt", "--model", name], capsys
    )


@pytest.fixture
def other_code(tmp_path, monkeypatch):
    """All that is shipped, made by other code than today's; nothing is vouched for."""
    folder = data_folder(tmp_path / "data")
    (folder / "vouched.json").unlink(missing_ok=True)
    monkeypatch.setenv("LLMLAB_DATA", str(folder))
    monkeypatch.setattr(lab_code, "version", lambda file: "other code")
    return folder


def test_what_other_code_made_is_named_and_nothing_is_built(other_code, capsys):
    made = sorted(p for p in other_code.rglob("*"))
    exit_code, out, err = call(["build", "rates", "sweeps", "--check"], capsys)
    assert (exit_code, err) == (0, []) and sorted(other_code.rglob("*")) == made
    assert out == [
        f"rates: stale or missing: {', '.join(TRIALS)}",
        f"sweeps: stale or missing: {', '.join(sweeps.GRIDS)}",
    ]


def test_a_damaged_list_of_what_is_vouched_for_is_told_before_anything_is_called_stale(other_code, capsys):
    (other_code / "vouched.json").write_text("[")
    assert "vouched.json' is damaged" in complaint(["build", "rates", "--check"], capsys)


def test_a_truncated_lab_checkpoint_names_its_build(tmp_path, capsys, monkeypatch):
    from llmlab import paths

    shutil.copytree(paths.data() / "checkpoints" / "base", tmp_path / "checkpoints" / "base")
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path))
    truncated(tmp_path / "checkpoints" / "base")
    assert "llmlab build base" in complaint(["run", "cpt"], capsys)


TEXTS = {
    "empty folder": ({}, "holds no text; it needs .txt or .md files"),
    "no known file": ({"a.pdf": b"x"}, "holds no text; it needs"),
    "empty file": ({"a.txt": b" \n"}, "holds no text"),
    "too little text": ({"a.txt": b"one two three"}, "add text"),
    "not UTF-8": (
        {"a.txt": "Grüße".encode("latin1")},
        "a.txt, line 1 is not UTF-8; convert it, for example with: iconv -f latin1 -t utf-8",
    ),
    "broken jsonl": (
        {"a.jsonl": b'{"text": "x"}\n{"text": '},
        "a.jsonl, line 2: it is no JSON",
    ),
    "jsonl without text": (
        {"a.jsonl": b'{"body": "x"}'},
        "line 1: it has no field 'text' with a text (its fields: body)",
    ),
    "jsonl of a number": (
        {"a.jsonl": b'{"text": 3}'},
        "line 1: it has no field 'text' with a text",
    ),
}


@pytest.mark.parametrize("files, fix", TEXTS.values(), ids=TEXTS)
def test_bad_documents_get_one_line(files, fix, tmp_path, capsys):
    for name, body in files.items():
        (tmp_path / name).write_bytes(body)
    assert fix in complaint(["run", "cpt", "--domain", tmp_path], capsys)


def test_an_unwritable_cache_gets_one_line(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LLMLAB_HOME", str(tmp_path / "file" / "home"))
    assert "make it writable, or set LLMLAB_HOME to another folder" in complaint(
        ["run", "cpt", "--steps", 10], capsys
    )


def test_divergence_gets_one_line(capsys, home, monkeypatch):
    from llmlab.methods import imitation

    original = imitation.nll
    monkeypatch.setattr(imitation, "nll", lambda out, batch: (original(out, batch)[0] * float("nan"), {}))
    assert "the loss is nan at step 1; lower --lr or raise --warmup" in complaint(
        ["run", "cpt", "--steps", 10, "--batch", 2], capsys
    )


def test_stopping_by_keyboard_tells_how_to_go_on(capsys, home, monkeypatch):
    def stop(experiment, row):
        raise KeyboardInterrupt

    from llmlab.cli import run

    monkeypatch.setattr(run, "brief", stop)
    code, out, err = call(["run", "cpt", "--steps", 10, "--batch", 2], capsys)
    assert (code, err) == (130, ["llmlab: stopped; the same command goes on from the last checkpoint"])


# --- right
# ------------------------------------------------------------------------------------------------------------


def test_help_names_every_command(capsys):
    for argv in ([], ["--help"], ["-h"]):
        code, out, err = call(argv, capsys)
        assert code == 0 and not err and [line.split()[0] for line in out[1:]] == list(cli.COMMANDS)


@pytest.mark.parametrize("name", KNOBS)
def test_help_of_an_experiment_names_every_knob(name, capsys):
    code, out, _ = call(["run", name, "--help"], capsys)
    assert code == 0 and all(
        f"--{k}" in "\n".join(out) for k in [*KNOBS[name], "seed", "model", "device", "json"]
    )


def test_version(capsys):
    assert call(["--version"], capsys)[1] == ["0.1.0"]


def test_the_list_of_experiments_shows_every_knob_with_default_range_and_help(capsys):
    code, out, err = call(["run"], capsys)
    assert code == 0 and not err
    for name in KNOBS:
        start = next(i for i, line in enumerate(out) if line.startswith(f"{name}  "))
        for knob, line in zip(registry.get(name).knobs(), out[start + 2 :]):
            assert (
                line.split()[0] == f"--{knob.name}"
                and str(knob.default) in line
                and knob.range in line
                and knob.help in line
            )


def test_the_list_as_json(capsys):
    told = json.loads(call(["run", "--json"], capsys)[1][-1])
    assert {n: list(e["knobs"]) for n, e in told.items()} == KNOBS and all(
        k["range"] for e in told.values() for k in e["knobs"].values()
    )


def check_summary(line, steps=10):
    told = json.loads(line)
    assert {"experiment", "knobs", "seed", "model", "key", "seconds", "metrics", "curves"} <= set(told)
    assert (
        told["experiment"] == "cpt"
        and told["knobs"]["steps"] == steps
        and told["seed"] == 0
        and told["model"] == "base"
        and told["seconds"] > 0
    )
    for metric in DOMAIN:
        curve = told["curves"][metric]
        assert told["metrics"][metric] == {"start": curve["0"], "final": curve[str(steps)]}
    assert list(told["curves"]["loss"]) == [str(s) for s in range(1, steps + 1)]
    assert told["metrics"]["domain_loss"]["final"] < told["metrics"]["domain_loss"]["start"]
    return told


def llmlab(*argv, home):
    """The real command in a process of its own."""
    env = os.environ | {"LLMLAB_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "llmlab.cli", *argv], capture_output=True, text=True, env=env, timeout=240
    )


def test_a_run_in_a_process_of_its_own_then_the_same_from_the_store(home, capsys):
    done = llmlab("run", "cpt", "--steps", "10", "--batch", "4", "--json", home=home)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    told = check_summary(done.stdout.splitlines()[-1])
    record, figure = (
        home / "runs" / "cpt" / f"{told['key']}.json",
        home / "runs" / "cpt" / f"{told['key']}.png",
    )
    assert f"record  {record}" in done.stdout and record.exists() and figure.read_bytes()[:4] == b"\x89PNG"
    before = record.stat().st_mtime_ns
    code, out, err = call(["run", "cpt", "--steps", "10", "--batch=4", "--json"], capsys)
    assert (code, err) == (0, []) and json.loads(out[-1]) == told and record.stat().st_mtime_ns == before


@pytest.mark.parametrize("knobs, told", [
    ({}, ""),
    (dict(clip="higher"), "its ratio is 1 and --clip cannot act; --epochs 4"),
    (dict(clip="none", epsilon=0.1), "its ratio is 1 and --clip and --epsilon cannot act; --epochs 4"),
    (dict(clip="higher", epochs=2), ""),
    (dict(epsilon=0.1, staleness=1), ""),
])  # fmt: skip
def test_a_clip_that_cannot_act_is_told(knobs, told, capsys):
    run.tell_what_binds_nowhere(registry.get("policy")(**knobs))
    out = capsys.readouterr().out
    assert told in out if told else not out


def test_a_mistake_in_a_process_of_its_own(home):
    done = llmlab("run", "cpt", "--model", "/nowhere", home=home)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("llmlab: there is no model '/nowhere'") and done.stderr.count("\n") == 1


def test_importing_the_command_line_does_not_import_torch():
    code = (
        "import sys, llmlab.cli, llmlab.lab.registry; llmlab.cli.main([]); assert not {'torch',"
        " 'transformers', 'rich'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


# --- your own documents, your own model
# -------------------------------------------------------------------------------


@pytest.fixture
def documents(tmp_path):
    """Three sub-folders: text, Markdown, JSON lines; umlauts and all."""
    folder = tmp_path / "documents"
    for name in ("law", "letters", "notes"):
        (folder / name).mkdir(parents=True)
    sentences = [
        f"Clause {i}: the tenant of flat {i} pays {7 * i} crowns before noon – «early» is best. "
        for i in range(400)
    ]
    (folder / "law" / "act.txt").write_text("".join(sentences), encoding="utf-8")
    (folder / "letters" / "one.md").write_text(
        "# Dear Zoë\n\n" + "We met in Tarsk, didn't we? " * 200, encoding="utf-8"
    )
    (folder / "notes" / "all.jsonl").write_text(
        "\n".join(json.dumps({"text": f"Note {i}. " + "Buy milk. " * i}) for i in range(60))
    )
    return folder


def test_your_own_documents_on_any_model(foreign, documents, capsys, home):
    settings = ["--steps", 10, "--batch", 3, "--mixing", "adaptive", "--packing", "reset"]
    code, out, err = call(
        ["run", "cpt", "--model", foreign[1], "--domain", documents, *settings, "--json"], capsys
    )
    assert (code, err) == (0, []), err
    told = json.loads(out[-1])
    assert {"domain_loss.law", "domain_loss.letters", "domain_loss.notes"} <= set(
        told["metrics"]
    ) and "domain_recall" not in told["metrics"]
    assert told["metrics"]["domain_loss"]["final"] < told["metrics"]["domain_loss"]["start"]


def test_the_texts_that_every_python_has(capsys, home):
    code, out, err = call(["run", "cpt", "--domain", "python", "--steps", 10, "--batch", 2, "--json"], capsys)
    assert (code, err) == (0, []) and json.loads(out[-1])["metrics"]["domain_loss"]["start"] > 3


def test_other_documents_are_another_run(documents, capsys, home):
    argv = ["run", "cpt", "--domain", documents, "--steps", 10, "--batch", 2, "--json"]
    first = json.loads(call(argv, capsys)[1][-1])["key"]
    (documents / "notes" / "more.txt").write_text("One more note about milk and honey.")
    assert json.loads(call(argv, capsys)[1][-1])["key"] != first


NO_CALLS = {"llama", "gemma3"}  # families whose templates write no tool call


@pytest.mark.parametrize(
    "name, settings",
    [
        ("sft", ["--steps", 10, "--batch", 2, "--held", 16]),
        ("dpo", ["--steps", 5, "--batch", 2]),
        ("grpo", ["--steps", 5, "--prompts", 2, "--group", 2]),
    ],
)
def test_every_experiment_runs_on_any_model_or_says_what_its_template_hides(
    foreign, name, settings, capsys, home
):
    code, out, err = call(["run", name, "--model", foreign[1], *settings, "--json"], capsys)
    # the lessons of sft hold calls, of which these templates show nothing
    if name == "sft" and foreign[0] in NO_CALLS:
        assert code == 2 and len(err) == 1 and "does not show the whole of message" in err[0]
        return
    told = json.loads(out[-1]) if code == 0 else err
    assert code == 0 and err == [] and set(registry.get(name).curves) <= set(told["curves"]) | {"reward"}


def test_times_of_some_default_runs_leave_the_others(tmp_path, monkeypatch):
    from llmlab.cli import bench
    from llmlab.lab import times

    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path))
    words = {"goal": 1.0, "what": "default runs"}
    bench.keep({"sft": {"ratio": 2.0}, "defaults": {"cpt_s": 20.0, "sft_s": 30.0, "ratio": 2.0} | words})
    bench.keep({"defaults": {"cpt_s": 50.0, "ratio": 1.2} | words})
    kept = json.loads((tmp_path / "bench.json").read_text())["figures"]
    assert kept["sft"] == {"ratio": 2.0}
    assert kept["defaults"] == {"cpt_s": 50.0, "sft_s": 30.0, "ratio": 1.2} | words
    assert {n: t["seconds"] for n, t in times.read(tmp_path).items()} == {"cpt": 50.0, "sft": 30.0}
