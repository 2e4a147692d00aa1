"""The four topologies through one loop: each is clearly better than its start on its own probe; cpt forgets
without replay and less with it.
"""

import pytest

from llmlab.chapters.c02_continued_pretraining.cpt import CPT, Texts
from llmlab.cli.options import parse
from llmlab.cli.own import knobs_of, read_own
from llmlab.cli.run import options_of
from llmlab.lab import rehearsal
from llmlab.lab.experiment import BadKnob, Experiment
from llmlab.lab.registry import NAMES, get
from llmlab.models.load import load
from llmlab.world import corpora
from llmlab.lab.documents import NoText


def ends(experiment, model: str, texts=None):
    """First and last row; readings ask as little as in a rehearsal, and the effects are large."""
    with rehearsal._small(type(experiment)):
        rows = list(experiment.rows(load(model), 0, texts=texts))
    return rows[0], rows[-1]


def test_cpt_learns_the_domain_and_replay_protects_arithmetic():
    start, bare = ends(CPT(replay=0.0, steps=25, probe=25), "base")
    _, mixed = ends(CPT(replay=0.3, steps=25, probe=25), "base")
    assert (
        bare["domain_loss"] < 0.5 * start["domain_loss"] and mixed["domain_loss"] < 0.5 * start["domain_loss"]
    )
    assert bare["general_loss"] > start["general_loss"] + 0.3
    assert mixed["general_loss"] < bare["general_loss"] - 0.2
    assert mixed["arithmetic"] > bare["arithmetic"] + 0.2


def test_the_same_transcripts_teach_different_things_under_three_losses():
    found = {
        loss: ends(get("topology")(steps=60, probe=60, loss=loss), "base")
        for loss in ("assistant", "all", "dpo")
    }
    end = {loss: last for loss, (_, last) in found.items()}
    assert (
        end["assistant"]["answering"] > 0.6
        and end["all"]["answering"] > 0.6
        and end["dpo"]["answering"] < 0.1
    )
    assert end["all"]["asks_itself"] > 0.9 and end["assistant"]["asks_itself"] < 0.1
    assert end["all"]["user_loss"] < 1.0 < 5.0 < end["assistant"]["user_loss"]


def test_transcripts_are_disjoint_and_the_rejected_answer_is_wrong():
    from llmlab.chapters.c01_data_topology.topology import transcripts

    train, test = transcripts("train", 300), transcripts("test", 100)
    assert all(t.chosen != t.rejected for t in train + test)
    asked = {(t.messages[0]["content"], t.messages[2]["content"]) for t in train}
    assert {m["content"] for t in test for m in t.messages if m["role"] == "user"}.isdisjoint(
        {q for pair in asked for q in pair}
    )


def test_new_tokens_learn_first_and_alone_then_the_rest():
    import torch

    from llmlab.chapters.c03_tokenizer_extension.extend import Extend

    loaded = load("base")
    before = {n: p.detach().clone() for n, p in loaded.model.named_parameters()}
    rows = Extend(steps=10, warmup=3, batch=4, probe=500).rows(loaded, 0)
    [next(rows) for _ in range(4)]  # the reading before the first step, and three steps
    embedding = loaded.model.get_input_embeddings().weight
    assert all(torch.equal(p, before[n]) for n, p in loaded.model.named_parameters() if "embed" not in n)
    assert torch.equal(embedding[:1024], before["model.embed_tokens.weight"]) and len(embedding) == 1024 + 24
    next(rows)
    assert not torch.equal(embedding[:1024], before["model.embed_tokens.weight"])


def test_extension_without_tokens_is_plain_pretraining_with_the_old_tokenizer():
    loaded = load("base")
    rows = get("extend")(tokens=0, steps=10, batch=4, probe=500).rows(loaded, 0)
    start = next(rows)
    assert start["leak"] == start["norm"] == 0.0 and len(loaded.tok) == 1024
    next(rows)
    rows.close()


def test_sft_teaches_formats_and_refusals():
    start, end = ends(get("sft")(steps=100, probe=100), "base")
    assert (
        start["formats"] == 0.0 and end["formats"] > 0.02
    )  # the slowest: names inside quotes and tags are new tokens
    assert start["refusals"] < 0.1 and end["refusals"] > 0.8
    assert end["facts"] > start["facts"] + 0.3


def test_dpo_shifts_the_style():
    start, end = ends(get("dpo")(steps=30, probe=30), "chat")
    assert (
        start["preferred"] == 0.0 and end["preferred"] > 0.9
    )  # margins over the reference are zero at the start
    assert end["polite"] > start["polite"] + 0.5


def test_plain_dpo_orders_the_pairs_but_does_not_say_the_chosen_answer():
    _, end = ends(get("dpo")(steps=30, probe=30, nll=0.0), "chat")
    assert (
        end["preferred"] > 0.9 and end["polite"] < 0.1 and end["blunt"] < 0.5
    )  # both sides were pushed away: likelihood displacement


def test_the_first_dpo_loss_is_ln_2():
    rows = get("dpo")(steps=5, nll=0.0).rows(load("chat"), 0)
    next(rows)
    assert next(rows)["loss"] == pytest.approx(0.6931, abs=1e-3)


def test_grpo_improves_what_the_model_gets_right_sometimes():
    rows = list(get("grpo")(steps=30, probe=30).rows(load("chat"), 0))  # sixteen problems are too few here
    start, end = rows[0], rows[-1]
    assert 0.1 < start["accuracy"] < 0.7
    assert end["accuracy"] > start["accuracy"] + 0.1


@pytest.mark.parametrize("name", NAMES)
def test_every_knob_has_help_and_a_range_that_holds_its_default(name):
    for k in get(name).knobs():
        assert k.help and (k.default in k.choices if k.choices else k.low <= k.default <= k.high), k.name
    ranged = next(k for k in get(name).knobs() if k.low is not None)
    with pytest.raises(BadKnob, match="out of range"):
        get(name)(**{ranged.name: ranged.kind(10**9)})


def test_adaptive_mixing_reads_more_of_the_rare_sub_domain():
    def share(mixing):
        class Counting(CPT):
            seen: list = []

            def documents(self, seed, step, weights, texts):
                Counting.seen.append(weights["nerves"])
                return super().documents(seed, step, weights, texts)

        with rehearsal._small(CPT):
            list(Counting(mixing=mixing, steps=12, probe=4).rows(load("base"), 0))
        return Counting.seen[-1]

    assert share("adaptive") > 2 * share("fixed")


def test_annealing_keeps_the_total():
    flat, annealed = CPT(replay=0.3), CPT(replay=0.3, anneal=1.0)
    assert sum(map(flat.replay_at, range(151))) == pytest.approx(sum(map(annealed.replay_at, range(151))))
    assert annealed.replay_at(0) == pytest.approx(0.6) and annealed.replay_at(150) == pytest.approx(0.0)
    with pytest.raises(BadKnob, match="above 100 %"):
        CPT(replay=0.8, anneal=1.0)


def test_own_texts_are_split_and_learnt():
    texts = Texts.cut(corpora.python_texts())
    train, test = texts.train["all"], texts.test["all"]
    assert not set(train) & set(test) and 0.1 < len(test) / len(train + test) < 0.3
    start, end = ends(CPT(steps=20, probe=20), "base", texts)
    assert end["domain_loss"] < start["domain_loss"] - 0.5 and "domain_recall" not in end


def test_too_little_text_is_said():
    with pytest.raises(NoText, match="less than two pieces"):
        Texts.cut({"all": ["one short line"]})


@pytest.mark.parametrize("name", NAMES)
def test_no_knob_hides_what_an_experiment_does(name):
    """`tools` once had a knob `shown` in front of the method of that name, and `llmlab show tools` fell."""
    hidden = {k.name for k in get(name).knobs()} & {*dir(Experiment)}
    assert not hidden, hidden


@pytest.mark.parametrize("name", NAMES)
def test_a_run_with_its_defaults_has_no_data_of_the_users(name):
    """A knob may bear the name that is another experiment's option: `run sampling --problems 8` once looked
    for a file of problems, and `run raft` for a folder 60.
    """
    cls = get(name)
    options = parse(f"run {name}", knobs_of(cls) + options_of(cls), [])
    assert read_own(cls(), options) == (None, "")
