"""The token strip shows what autograd gives: closed forms agree, masked tokens get exactly nothing; no
token's text becomes markup.
"""

import json
import math
import re
import shutil
import subprocess
from functools import partial
from itertools import islice

import pytest
import torch

from llmlab.errors import UserError
from llmlab.learn import figures
from llmlab.learn.strips import PADDING, PLAIN, SPECIAL, Layer, measure, piece, visible
from llmlab.learn.widgets import TokenStrip
from llmlab.learn.widgets import strip as drawn
from llmlab.methods import distillation, imitation, preferences
from llmlab.methods.policy import Dials
from llmlab.models.forward import forward
from llmlab.models.frozen import frozen_copy
from llmlab.models.load import load
from llmlab.tokens import chat, pack
from llmlab.tokens.batch import Batch, MissingColumn, pad
from llmlab.tokens.pairs import answers
from llmlab.train import loop
from llmlab.train.collect import Collector
from llmlab.world import Sums, Talk, corpora, talk

GRPO = Dials().objective(10)


@pytest.fixture(scope="module")
def chatty():
    return load("chat")


@pytest.fixture(scope="module")
def packed(shipped):
    documents = pack.encode_documents(shipped.tok, corpora.general(0), 0)
    return next(pack.pack(islice(documents, 40), rows=3, length=64, how="reset"))


@pytest.fixture(scope="module")
def dialogues(chatty):
    rows = [
        chat.example(chatty.tok, p.messages, Talk().solution(p)) for p in Talk(("fact",)).problems(3, seed=1)
    ]
    return Batch(
        pad([ids for ids, _ in rows], chatty.tok.pad_token_id), pad([mask for _, mask in rows], 0).float()
    )


@pytest.fixture(scope="module")
def pairs(chatty):
    batch = answers(chatty.tok, talk.pairs(3, split="train", seed=0, kinds="style"))
    return loop.add_logprobs(frozen_copy(chatty.model), batch, "ref_logprobs")


@pytest.fixture(scope="module")
def rollouts(chatty):
    settings = dict(prompts=4, group=4, seed=3, max_new=10)
    return next(Collector(chatty.model, chatty.tok, Sums(("add",), digits=3), Dials(), **settings)(0))


def values(strip, name):
    return strip.layers[name].values


def pushed_nothing(strip, batch):
    """Masked tokens: weights and gradient exactly 0."""
    masked = batch.mask == 0
    assert masked.any()
    return all((values(strip, name)[masked] == 0).all() for name in ("weights", "gradient"))


# ---- closed forms ----


def test_packing_gradient_is_softmax_minus_onehot_over_the_number_of_tokens(shipped, packed):
    strip = measure(shipped.tok, packed, shipped.model, imitation.nll)
    out = forward(shipped.model, packed)
    n = float(out.mask.sum())
    onehot = torch.nn.functional.one_hot(packed.ids[:, 1:], out.logits.shape[-1])
    wanted = (out.logits.softmax(-1) - onehot).norm(dim=-1) / n * out.mask
    torch.testing.assert_close(values(strip, "gradient")[:, 1:], wanted.detach(), atol=1e-8, rtol=1e-4)
    torch.testing.assert_close(values(strip, "weights")[:, 1:], -out.mask / n)
    torch.testing.assert_close(values(strip, "loss")[:, 1:], -out.logprobs.detach())
    assert values(strip, "loss")[:, 0].isnan().all()  # nothing predicts the first token of a row
    assert torch.equal(values(strip, "positions"), packed["positions"].float())


def test_reset_packing_gives_the_first_token_of_every_document_exactly_nothing(shipped, packed):
    strip = measure(shipped.tok, packed, shipped.model, imitation.nll)
    first = packed["positions"] == 0
    assert first[:, 1:].any() and pushed_nothing(strip, packed)
    assert (values(strip, "gradient")[first] == 0).all() and (values(strip, "gradient")[~first] > 0).all()
    assert strip.labels == ["row 0", "row 1", "row 2"]


def test_masking_gives_the_prompt_exactly_nothing_and_the_answer_all(chatty, dialogues):
    strip = measure(chatty.tok, dialogues, chatty.model, imitation.nll)
    trained = dialogues.mask > 0
    assert pushed_nothing(strip, dialogues) and (values(strip, "gradient")[trained] > 0).all()
    assert float(values(strip, "weights").sum()) == pytest.approx(-1)
    assert (
        values(strip, "loss")[:, 1:][~trained[:, 1:]] > 0
    ).any()  # a masked token has a loss all the same: it just pushes nothing


def test_pairs_are_pushed_apart_by_half_of_beta_before_the_first_step(chatty, pairs):
    strip = measure(chatty.tok, pairs, chatty.model, partial(preferences.dpo, beta=0.2))
    push = 0.2 / 2 / 3 * pairs.mask  # sigmoid(0) = 1/2, three pairs
    torch.testing.assert_close(values(strip, "weights")[0::2], -push[0::2])
    torch.testing.assert_close(values(strip, "weights")[1::2], push[1::2])
    assert pushed_nothing(strip, pairs)
    assert strip.labels == [f"pair {i} · {side}" for i in range(3) for side in ("chosen", "rejected")]


def test_rollouts_are_pushed_by_their_advantage(chatty, rollouts):
    strip = measure(chatty.tok, rollouts, chatty.model, GRPO)
    lengths = rollouts.mask.sum(1, keepdim=True)
    wanted = -rollouts["advantages"] * rollouts.mask / lengths / len(rollouts)
    torch.testing.assert_close(values(strip, "weights"), wanted, atol=1e-6, rtol=1e-3)
    assert pushed_nothing(strip, rollouts) and (rollouts["advantages"] != 0).any()
    shown = values(strip, "advantages")
    assert shown[rollouts.mask == 0].isnan().all() and not shown[rollouts.mask > 0].isnan().any()
    assert re.fullmatch(r"prompt 0 · reward [01]", strip.labels[0]) and strip.labels[4].startswith("prompt 1")


@pytest.mark.parametrize("name", ["packed", "dialogues", "pairs", "rollouts"])
def test_the_gradient_on_the_logits_is_the_push_times_the_distance_to_certainty(chatty, request, name):
    batch = request.getfixturevalue(name)
    objective = {"pairs": preferences.dpo, "rollouts": GRPO}.get(name, imitation.nll)
    strip = measure(chatty.tok, batch, chatty.model, objective)
    out = forward(chatty.model, batch)
    onehot = torch.nn.functional.one_hot(batch.ids[:, 1:], out.logits.shape[-1])
    wanted = values(strip, "weights")[:, 1:].abs() * (onehot - out.logits.softmax(-1)).norm(dim=-1)
    torch.testing.assert_close(values(strip, "gradient")[:, 1:], wanted.detach(), atol=1e-7, rtol=1e-3)


def test_the_gradient_is_the_one_that_reaches_the_model(tiny, packed):
    """A step of backward() through the model itself: gradient at its logits, from a hook."""
    caught = {}
    out = forward(tiny.model, packed)
    out.logits.register_hook(lambda g: caught.update(g=g))
    imitation.nll(out, packed)[0].backward()
    strip = measure(tiny.tok, packed, tiny.model, imitation.nll)
    torch.testing.assert_close(values(strip, "gradient")[:, 1:], caught["g"].norm(dim=-1))


def test_an_objective_over_the_vocabulary_has_a_gradient_but_no_weights(chatty, dialogues):
    batch = dialogues.add(
        teacher_logits=torch.randn(
            *dialogues.ids[:, 1:].shape, 1024, generator=torch.Generator().manual_seed(0)
        )
    )
    strip = measure(chatty.tok, batch, chatty.model, distillation.forward_kl)
    assert "weights" not in strip.layers
    assert (values(strip, "gradient")[batch.mask == 0] == 0).all() and (
        values(strip, "gradient")[batch.mask > 0] > 0
    ).all()


def test_layers_are_those_that_can_be_measured(chatty, dialogues, packed, rollouts):
    assert list(measure(chatty.tok, dialogues).layers) == ["mask"]
    assert list(measure(chatty.tok, packed).layers) == ["mask", "positions"]
    assert list(measure(chatty.tok, dialogues, chatty.model).layers) == ["mask", "loss"]
    assert list(measure(chatty.tok, rollouts, chatty.model, GRPO).layers) == [
        "mask",
        "weights",
        "gradient",
        "loss",
        "advantages",
    ]
    with pytest.raises(UserError, match="an objective needs a model"):
        measure(chatty.tok, dialogues, objective=imitation.nll)
    with pytest.raises(MissingColumn, match="ref_logprobs"):
        measure(
            chatty.tok,
            answers(chatty.tok, talk.pairs(1, split="train", seed=0)),
            chatty.model,
            preferences.dpo,
        )


def test_measuring_changes_nothing(tiny, packed):
    tiny.model.train()
    before, state = {k: v.clone() for k, v in tiny.model.state_dict().items()}, torch.get_rng_state()
    with torch.no_grad():  # also where gradients are switched off
        measure(tiny.tok, packed, tiny.model, imitation.nll)
    assert tiny.model.training and all(p.grad is None for p in tiny.model.parameters())
    assert all(torch.equal(before[k], v) for k, v in tiny.model.state_dict().items()) and torch.equal(
        state, torch.get_rng_state()
    )


# ---- colours ----


def test_only_nothing_is_uncoloured_and_blue_is_what_gets_likelier():
    layer = Layer("x", torch.tensor([[-4.0, -1.0, 0.0, 1.0, math.nan, math.inf]]), "sign", "", blue=-1)
    assert layer.largest == 4 and layer.shades.tolist() == [[1.0, 0.5, 0.0, -0.5, 0.0, -1.0]]
    assert Layer("x", torch.zeros(1, 2), "size", "").shades.tolist() == [[0.0, 0.0]]
    assert drawn._ends(layer) == ["+4", "−4"]  # orange left, blue right


# ---- what is written ----


@pytest.mark.parametrize(
    "text, seen",
    [(" the", "·the"), ("\n", "⏎"), ("a\tb", "a⇥b"), ("\u202e", "\\u202e"), ("\x00", "\\u0000"), ("é", "é")],
)
def test_what_does_not_show_is_made_visible(text, seen):
    assert visible(text) == seen


def test_every_piece_of_the_vocabulary_is_shown_as_something(shipped, foreign):
    tokenizers = [shipped.tok, load(foreign[1]).tok]
    for tok in tokenizers:
        pieces = [piece(tok, i) for i in range(len(tok))]
        assert all(p and p.isprintable() and " " not in p for p in pieces)
        assert any(p.startswith("·") for p in pieces)


def test_special_tokens_and_padding_are_told_apart(chatty, dialogues):
    strip = measure(chatty.tok, dialogues)
    for row, (kinds, pieces) in enumerate(zip(strip.kinds, strip.pieces)):
        assert kinds[0] == SPECIAL and pieces[0] == "<|im_start|>" and PLAIN in kinds
        end = kinds.index(PADDING) if PADDING in kinds else len(kinds)
        assert set(kinds[end:]) <= {PADDING} and dialogues.mask[row, end:].sum() == 0
    assert any(PADDING in kinds for kinds in strip.kinds)


# ---- the widget ----


def test_the_front_end_gets_plain_lists_of_the_shown_rows(chatty, rollouts):
    strip = TokenStrip(chatty.tok, rollouts, chatty.model, GRPO, rows=3)
    data = json.loads(json.dumps(strip.data, allow_nan=False))
    assert (
        len(data["rows"]) == 3
        and data["rest"] == "13 more rows were measured and are not shown."
        and strip.layer == "gradient"
    )
    for r, row in enumerate(data["rows"]):
        shapes = {len(layer[what][r]) for layer in data["layers"] for what in ("values", "shades")}
        assert (
            shapes == {len(row["pieces"])} == {len(row["kinds"])}
            and len(row["pieces"]) + row["padding"] == rollouts.ids.shape[1]
        )
    gradient = next(layer for layer in data["layers"] if layer["name"] == "gradient")
    assert gradient["values"][0][0] == "0" and "predicted" in gradient["legend"]


def test_rows_beyond_the_first_are_measured_with_them(chatty, dialogues):
    all_, one = (TokenStrip(chatty.tok, dialogues, chatty.model, imitation.nll, rows=n) for n in (8, 1))
    assert one.data["layers"][1]["values"][0] == all_.data["layers"][1]["values"][0] and all_.rows == 3


def test_a_layer_is_chosen_by_name(chatty, dialogues):
    strip = TokenStrip(chatty.tok, dialogues)
    assert strip.layer == "mask"
    with pytest.raises(UserError, match="no layer 'weight'; it has mask"):
        strip.picture("weight")
    with pytest.raises(UserError, match="it has mask"):
        TokenStrip(chatty.tok, dialogues, layer="loss")


def test_where_there_is_no_front_end_the_table_stands(chatty, dialogues):
    strip = TokenStrip(chatty.tok, dialogues, chatty.model, imitation.nll)
    data, _ = strip._repr_mimebundle_()
    assert data["text/plain"] == str(strip) and "application/vnd.jupyter.widget-view+json" in data
    lines = str(strip).splitlines()
    assert lines[0].startswith("row 0") and [line.split()[0] for line in lines[2:6]] == [
        "mask",
        "weights",
        "gradient",
        "loss",
    ]
    assert max(map(len, lines)) <= 110 and len({len(line) for line in lines[1:6]}) == 1  # aligned
    assert "-0 " not in strip.text() and all(p in strip.text() for p in ("<|im_start|>", "·is", "⏎"))


def test_a_long_table_is_cut_and_says_so(shipped, packed):
    strip = TokenStrip(shipped.tok, packed, shipped.model, imitation.nll)
    assert len(str(strip).splitlines()) <= drawn.LINES + 1
    assert ("more lines" in str(strip)) == (len(strip.text().splitlines()) > drawn.LINES)


@pytest.mark.filterwarnings("error")
def test_the_picture_is_a_figure_for_print(chatty, pairs):
    strip = TokenStrip(chatty.tok, pairs, chatty.model, preferences.dpo)
    picture = strip.picture("weights")
    assert isinstance(picture, figures.Drawing) and picture._repr_png_().startswith(b"\x89PNG")
    faces = {
        tuple(round(c, 2) for c in p.get_facecolor()[:3])
        for p in picture.axes[0].patches
        if p.get_facecolor()[3] > 0
    }
    assert faces == {(0.0, 0.45, 0.7), (0.84, 0.37, 0.0)}  # blue and orange
    assert "weights" in picture.axes[0].texts[0].get_text()


class Spelling:
    """A tokenizer whose pieces are whatever the test wants."""

    all_special_ids, added_tokens_decoder, pad_token_id = [], {}, None

    def __init__(self, *pieces):
        self.pieces = pieces

    def convert_ids_to_tokens(self, i):
        return self.pieces[i]

    def decode(self, ids):
        return self.pieces[ids[0]]


NASTY = ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "$\\frac{1}", "漢字", "&amp;", "`${1}`")


@pytest.mark.filterwarnings("error")
def test_pieces_that_look_like_markup_stay_text():
    batch = Batch(torch.tensor([[0, 1, 2, 3, 4, 5]]), torch.ones(1, 6))
    strip = TokenStrip(Spelling(*NASTY), batch)
    assert [p.replace("·", " ") for p in strip.data["rows"][0]["pieces"]] == list(NASTY)
    assert strip.picture()._repr_png_().startswith(b"\x89PNG")  # no mathtext, no missing glyphs
    assert strip._repr_mimebundle_()[0].keys() == {
        "text/plain",
        "image/png",
        "application/vnd.jupyter.widget-view+json",
    }


def test_the_script_writes_text_only_and_names_no_address():
    code = TokenStrip._esm.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", code)
    assert not re.search(r"https?:|//cdn|\bimport\b|fetch\(", code)


NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="no node here")
def test_the_script_parses(tmp_path):
    file = tmp_path / "strip.mjs"
    file.write_text(TokenStrip._esm, encoding="utf-8")
    done = subprocess.run([NODE, "--check", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_script_is_installed_with_the_package():
    import tomllib
    from pathlib import Path

    settings = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert "learn/widgets/*.js" in settings["tool"]["setuptools"]["package-data"]["llmlab"]
