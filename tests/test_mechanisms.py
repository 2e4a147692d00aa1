"""Mechanisms: what the browser computes is what the library computes, the numbers of real matrices are right,
and there is a still picture for readers without a kernel.
"""

import inspect
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from helpers_browser import CHROMIUM, chromium
from scipy.integrate import quad
from scipy.stats import norm

from llmlab.errors import UserError
from llmlab.learn import figures
from llmlab.learn.widgets.mechanisms import PICTURES, Mechanism
from llmlab.methods import advantages, policy, preferences
from llmlab.models.forward import Out
from llmlab.models.load import load
from llmlab.models.quant import INT4, nf4_levels, rounded, to_codes
from llmlab.tokens.batch import Batch
from llmlab.train.loop import rate

NODE = shutil.which("node")
NEEDS_SCRIPT = pytest.mark.skipif(not NODE and not CHROMIUM, reason="neither node nor Chromium here")
ASK = "calls.map(([name, ...given]) => formulas[name](...given))"
MINIMA = """["forwardKL", "reverseKL"].map((name) => formulas.minimiser(formulas[name]))"""


def evaluated(expression: str, calls: list, folder):
    """A JavaScript expression over `formulas` and `calls`, in node or else in Chromium."""
    if not NODE:
        code = f"""async ([code, calls]) => {{
            const url = URL.createObjectURL(new Blob([code], {{type: 'text/javascript'}}));
            const {{ formulas }} = await import(url); return {expression}; }}"""
        with chromium() as browser:
            return browser.new_page().evaluate(code, [Mechanism._esm, calls])
    (folder / "mechanisms.mjs").write_text(Mechanism._esm, encoding="utf-8")
    asking = f"""import {{ readFileSync }} from "node:fs"; import {{ formulas }} from "./mechanisms.mjs";
        const calls = JSON.parse(readFileSync(0, "utf-8")); console.log(JSON.stringify({expression}));"""
    (folder / "ask.mjs").write_text(asking, encoding="utf-8")
    done = subprocess.run(
        [NODE, str(folder / "ask.mjs")], input=json.dumps(calls), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def ask(tmp_path):
    """Values of calls [name, *arguments] of the script's formulas."""
    return lambda calls: evaluated(ASK, calls, tmp_path)


# ---- formulas ----


@NEEDS_SCRIPT
@pytest.mark.parametrize("low, high", [(0.2, 0.2), (0.2, 0.28), (0.1, 0.5)])
def test_clip_is_the_librarys_with_its_gradient(ask, low, high):
    points = [(r, A) for r in np.linspace(0.013, 1.99, 40).tolist() for A in (-1.5, -1.0, 0.0, 0.7)]
    r, A = torch.tensor(points, dtype=torch.float64).T
    r.requires_grad_()
    gain, was_clipped = policy.clipped(r, A, low, high)
    gain.sum().backward()
    got = ask([["clipped", *p, low, high] for p in points])
    slopes = ask([["clippedGradient", *p, low, high] for p in points])
    np.testing.assert_allclose(got, gain.detach(), atol=1e-12)
    np.testing.assert_allclose(slopes, r.grad, atol=1e-12)
    assert was_clipped.any() and all(slope == 0 for slope, cut in zip(slopes, was_clipped) if cut)


RULES = {
    "no_baseline": "noBaseline",
    "group_mean": "groupMean",
    "group_norm": "groupNorm",
    "leave_one_out": "leaveOneOut",
}


@NEEDS_SCRIPT
def test_every_advantage_rule_is_the_librarys(ask):
    assert RULES.keys() == advantages.ADVANTAGES.keys()
    drawn = torch.rand(20, 8, generator=torch.Generator().manual_seed(0)).tolist()
    groups = [*drawn, [1.0] + [0.0] * 7, [0.0] * 7 + [0.01], [1.0] * 8, [0.0] * 8, [0.3] * 8, [0.5]]
    for name, mine in RULES.items():
        got = ask([[mine, rewards] for rewards in groups])
        for values, rewards in zip(got, groups):
            same = torch.zeros(len(rewards), dtype=torch.long)
            wanted = advantages.ADVANTAGES[name](torch.tensor(rewards), same)[:, 0]
            np.testing.assert_allclose(values, wanted, atol=1e-6, rtol=1e-6)
            if len(set(rewards)) == 1 and name != "no_baseline":
                assert set(values) == {0}  # no signal, exactly


@NEEDS_SCRIPT
@pytest.mark.parametrize("beta", [0.01, 0.1, 1.0])
def test_dpo_is_the_librarys_loss_and_its_gradient(ask, beta):
    for chosen, rejected in [(-20.0, -22.0), (-28.0, -52.0), (-40.0, -10.0), (-20.0, -60.0)]:
        logprobs = torch.tensor([[chosen], [rejected]], requires_grad=True)
        given = dict(pair=torch.tensor([0, 0]), ref_logprobs=torch.tensor([[-20.0], [-22.0]]))
        out = Out(torch.zeros(2, 1, 4), logprobs, torch.ones(2, 1))
        batch = Batch(torch.zeros(2, 2, dtype=torch.long), torch.ones(2, 2), given)
        loss, info = preferences.dpo(out, batch, beta=beta)
        loss.backward()
        h = ask([["logRatioMargin", chosen, rejected, -20, -22]])[0]
        got, weight = ask([["dpoLoss", h, beta], ["dpoWeight", h, beta]])
        assert beta * h == pytest.approx(float(info["margin"]), rel=1e-5)
        assert got == pytest.approx(float(loss.detach()), rel=1e-5, abs=1e-12)
        assert beta * weight == pytest.approx(float(logprobs.grad[1]), rel=1e-4, abs=1e-12)


def target(x):
    """The density with two peaks."""
    return 0.6 * norm.pdf(x, -2, 0.6) + 0.4 * norm.pdf(x, 2, 0.6)


def log_target(x):
    """Its logarithm, finite far away too."""
    return np.logaddexp(np.log(0.6) + norm.logpdf(x, -2, 0.6), np.log(0.4) + norm.logpdf(x, 2, 0.6))


def divergences(mean, width):
    """KL(p || q) and KL(q || p), integrated by scipy."""
    q = norm(mean, width)
    forward = lambda x: target(x) * (log_target(x) - q.logpdf(x))
    reverse = lambda x: q.pdf(x) * (q.logpdf(x) - log_target(x))
    return [quad(f, -20, 20, points=[-2, 0, 2, mean], limit=400)[0] for f in (forward, reverse)]


@NEEDS_SCRIPT
@pytest.mark.parametrize("mean, width", [(0.5, 1.0), (-4, 0.4), (4, 3), (-2, 0.6)])
def test_both_kls_are_scipys(ask, mean, width):
    got = ask([["forwardKL", mean, width], ["reverseKL", mean, width]])
    np.testing.assert_allclose(got, divergences(mean, width), rtol=1e-3, atol=1e-3)


@NEEDS_SCRIPT
def test_forward_kl_covers_both_modes_and_reverse_kl_seeks_one(tmp_path):
    forward, reverse = evaluated(MINIMA, [], tmp_path)
    mean, second = 0.6 * -2 + 0.4 * 2, 0.36 + 4  # forward KL is least where the moments are those of p
    assert forward["mean"] == pytest.approx(mean, abs=0.06)
    assert forward["width"] == pytest.approx((second - mean**2) ** 0.5, abs=0.03)
    assert (reverse["mean"], reverse["width"]) == pytest.approx((-2, 0.6), abs=0.06)  # the heavier peak
    assert reverse["value"] == pytest.approx(np.log(1 / 0.6), abs=0.01)


@NEEDS_SCRIPT
def test_weights_are_rounded_to_the_librarys_levels(ask):
    data = Mechanism("nf4").data
    assert data["levels"] == {"nf4": nf4_levels().tolist(), "int4": INT4.tolist()}
    assert [len(levels) for levels in data["levels"].values()] == [16, 15]
    x = torch.linspace(-1, 1, 64)
    for name, levels in (("nf4", nf4_levels()), ("int4", INT4)):
        codes, _ = to_codes(x, levels, 64)
        got = ask([["nearest", value, data["levels"][name]] for value in x.tolist()])
        np.testing.assert_allclose(got, levels[codes], atol=1e-6)


@NEEDS_SCRIPT
def test_the_rate_is_the_training_loops(ask):
    points = [(s, n, w, f) for n in (10, 150) for w in (0, 20, 200) for f in (0, 0.1, 1) for s in range(n)]
    np.testing.assert_allclose(ask([["rate", *p] for p in points]), [rate(*p) for p in points], rtol=1e-12)


@NEEDS_SCRIPT
def test_tokens_of_a_run_are_those_that_cpt_trains_on(ask):
    from llmlab.chapters.c02_continued_pretraining.cpt import CPT, LENGTH

    run = CPT()
    mixed = ask([["mixture", run.steps, run.replay, run.batch * (LENGTH - 1)]])[0]
    assert mixed["old"] + mixed["fresh"] == run.steps * run.batch * (LENGTH - 1)
    assert mixed["old"] == pytest.approx(0.2 * 307_200)
    said = re.search(r"const TOKENS = (\d+) \* (\d+);", Mechanism._esm)
    assert (int(said[1]), int(said[2])) == (run.batch, LENGTH - 1)


@NEEDS_SCRIPT
def test_low_rank_shares_are_those_of_the_truncated_matrix(ask):
    data = Mechanism("lora").data
    before, after = (load(name).model.model.layers[1].self_attn.q_proj.weight for name in ("base", "chat"))
    change = (after - before).detach()
    u, s, v = torch.linalg.svd(change)
    for r in (1, 8, 64):
        share = float(((u[:, :r] * s[:r]) @ v[:r]).square().sum() / change.square().sum())
        kept, parameters = ask([["kept", data["values"], r], ["loraParameters", r, data["shape"]]])
        assert kept == pytest.approx(share, rel=1e-4) and parameters == r * sum(change.shape)


# ---- numbers of real matrices ----


def test_quantisation_errors_are_those_of_the_matrix():
    data = Mechanism("nf4").data
    weight = load("base").model.model.layers[1].mlp.up_proj.weight.detach()
    assert [block["size"] for block in data["blocks"]] == [64, 128, 256]
    for block in data["blocks"]:
        assert sum(block["shares"]) == pytest.approx(1) and len(block["shares"]) == 200
        wanted = (rounded(weight, nf4_levels(), block["size"]) - weight).square().mean()
        assert block["mse"]["nf4"] == pytest.approx(float(wanted)) and 0 < block["mse"]["nf4"]
        assert block["mse"]["nf4"] < block["mse"]["int4"]
    errors = [block["mse"]["nf4"] for block in data["blocks"]]
    assert errors == sorted(errors)  # larger blocks, larger error


# ---- the widget ----


def test_an_unknown_kind_is_one_sentence_with_the_kinds():
    with pytest.raises(UserError, match="no mechanism 'klip'; there are clip, group, dpo, kl, nf4, lora"):
        Mechanism("klip")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", PICTURES)
def test_every_kind_has_plain_data_a_still_picture_and_a_line_of_meaning(kind):
    widget = Mechanism(kind)
    json.dumps(widget.data, allow_nan=False)
    assert bool(widget.data) == (kind in ("nf4", "lora"))
    data, _ = widget._repr_mimebundle_()
    assert data.keys() == {"text/plain", "image/png", "application/vnd.jupyter.widget-view+json"}
    picture = widget.picture()
    assert isinstance(picture, figures.Drawing) and picture._repr_png_().startswith(b"\x89PNG")
    assert f"\n{kind}: " in inspect.cleandoc(Mechanism.__doc__)  # 3.13 cleans it itself


@NEEDS_SCRIPT
def test_the_script_draws_the_kinds_that_python_knows():
    known = re.search(r"export const KINDS = \{(.*)\}", Mechanism._esm)[1]
    assert re.findall(r"(\w+): [A-Z]", known) == list(PICTURES)


def test_the_script_writes_text_only_and_names_no_address():
    code = Mechanism._esm.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", code)
    assert not re.search(r"https?:|//cdn|\bimport\b|fetch\(|XMLHttpRequest|WebSocket", code)
