"""Whatever is typed behind a command: exit code 0 or 2, one sentence where it is 2, and never a traceback.
Heavy work is replaced; what is tried is everything before it.
"""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmlab import cli
from llmlab.cli import bench, build, claims, doctor, drill, run, serve
from llmlab.lab import registry

STRANGE = [
    *("", "-", "--", "---", "=", "--=", "0", "-1", "1e400", "nan", "inf", "-inf", "9" * 400, "9" * 5000),
    *(
        "a" * 5000,
        "../" * 300,
        "~nosuchuser/x",
        "/dev/zero",
        "/dev/null",
        "/proc/self/mem",
        "\0",
        "\ud800",
        "ü😀",
    ),
    *(
        "[" * 1000,
        "{}",
        "C008",
        "C008,C009",
        "../*",
        "*",
        "%s%n",
        "$(id)",
        "; rm",
        "chat",
        "base",
        "none",
        "true",
    ),
    *("cpu", "cuda", "cuda:99", "slurm", "http://example.org", "C:\\con", "a b", "\n", "\u202e", "１２"),
]
FLAGS = [
    "--steps",
    "--lr",
    "--seed",
    "--model",
    "--device",
    "--domain",
    "--out",
    "--json",
    "--again",
    "--chapter",
]
FLAGS += [
    "--verdict",
    "--most",
    "--workers",
    "--executor",
    "--level",
    "--mock",
    "--list",
    "--port",
    "--keys",
    "--mask",
]
FLAGS += [
    "--length",
    "--kl_penalty",
    "--leash",
    "--method",
    "--skip_bad",
    "--only",
    "--changed",
    "--check",
    "--quick",
]
WORDS = st.sampled_from([*STRANGE, *FLAGS, *registry.NAMES, "run", "book", "vouch", "C016"]) | st.text(
    max_size=8
)
PAIRS = st.tuples(st.sampled_from(FLAGS), st.sampled_from(STRANGE) | st.text(max_size=8))
ARGV = st.lists(WORDS.map(lambda w: [w]) | PAIRS.map(list), max_size=6).map(
    lambda ws: [w for part in ws for w in part]
)


@pytest.fixture
def light(monkeypatch, home, tmp_path):
    """Nothing is trained, served, opened or executed; only that it would be."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "show", lambda experiment, options: read_only(experiment, options))
    monkeypatch.setattr(run, "translation", lambda experiment: None)
    for module, name in (
        (build, "make"),
        (build, "rehearse"),
        (build, "migrate"),
        (bench, "run"),
        (doctor, "examine"),
    ):
        monkeypatch.setattr(module, name, lambda *a, **k: {} if a and a[0] is None else [])
    monkeypatch.setattr(build, "stale", lambda name: [])
    monkeypatch.setattr(serve, "make_tenants", lambda *a: None)
    monkeypatch.setattr("llmlab.serve.http.run", lambda *a, **k: None)
    monkeypatch.setattr("llmlab.ledger.runner.run", lambda *a, **k: {})
    monkeypatch.setattr("os.execv", lambda *a: sys.exit(0))
    monkeypatch.setattr("llmlab.learn.demo.serve", lambda *a: None)
    monkeypatch.setattr(drill, "prepare_input", lambda: None)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    return tmp_path


def read_only(experiment, options) -> int:
    """In place of a run: the user's data is read, and the device looked at."""
    run.read_own(experiment, options)
    run.check_device(options.device)
    return 0


def called(argv: list[str]) -> tuple[object, str]:
    """(exit code, stderr)."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code: object = cli.main(argv)
        except SystemExit as e:  # --help
            code = e.code or 0
    return code, err.getvalue()


COMMANDS = [
    "run",
    "claims",
    "drill",
    "serve",
    "build",
    "lab",
    "demo",
    "show",
    "doctor",
    "bench",
    "nothing",
    "",
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(argv=ARGV)
@pytest.mark.parametrize("command", COMMANDS)
def test_any_words_end_in_a_sentence(light, command, argv):
    code, err = called([command, *argv])
    assert code in (0, 2), (code, err)
    if code == 2:
        assert err.startswith("llmlab: ") and err.strip().count("\n") == 0 and len(err) < 6000, err


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(argv=ARGV)
@pytest.mark.parametrize("name", ["chats", "pairs", "cpt", "policy"])
def test_any_words_behind_an_experiment_end_in_a_sentence(light, name, argv):
    code, err = called(["run", name, *argv])
    assert code in (0, 2), (code, err)
    if code == 2:
        assert err.startswith("llmlab: ") and err.strip().count("\n") == 0, err


@pytest.mark.parametrize("path", [p for p in STRANGE if p and not p.startswith("--")])
@pytest.mark.parametrize("name", ["chats", "pairs", "cpt"])
def test_any_path_as_data_ends_in_a_sentence(light, name, path):
    code, err = called(["run", name, f"--domain={path}"])
    assert code == 2 and err.startswith("llmlab: ") and err.strip().count("\n") == 0


@pytest.mark.parametrize(
    "raw", [b"", b"[", b"[" * 100_000, b"{}", b"\xff\xfe", b'{"cpt": 5}', b'{"cpt": {"seconds": "x"}}']
)
def test_times_of_any_content_are_no_traceback(light, home, raw):
    home.mkdir(exist_ok=True)
    (home / "times.json").write_bytes(raw)
    code, err = called(["run"])
    assert code in (0, 2) and err.count("\n") <= 1


def test_a_shell_that_hangs_is_no_way_out(light):
    """Negative control: a command that raises what nobody foresaw is seen by these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "command", lambda argv: json.loads("{"))
        with pytest.raises(ValueError):
            called(["claims"])
