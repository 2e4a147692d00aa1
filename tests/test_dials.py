"""The dials: each named setting is the named function of reference_family.py, in value and gradient; the
table says what separates two methods.
"""

from dataclasses import replace
from functools import partial

import pytest
import reference_family as family
import torch
from test_objectives import batch_like
from test_objectives import case as made

from llmlab.methods import advantages as rules
from llmlab.methods import parts, policy
from llmlab.methods.policy import METHODS, BadDial, Dials
from llmlab.models.forward import Out

LENGTH = 5
BETA = 0.04
NAMED = {  # method -> (the function of reference_family.py, length for fixed_length)
    "REINFORCE": (family.reinforce, LENGTH),
    "REINFORCE with baseline": (family.reinforce, LENGTH),
    "RLOO": (family.rloo, 1),
    "PPO": (family.ppo, LENGTH),
    "GRPO": (partial(family.grpo, beta=BETA), LENGTH),
    "Dr. GRPO": (partial(family.dr_grpo, max_len=LENGTH), LENGTH),
    "DAPO": (family.dapo, LENGTH),
    "GSPO": (family.gspo, LENGTH),
    "CISPO": (family.cispo, LENGTH),
}


def case(seed, **sizes):
    """(logits, make_out, batch), random."""
    logits, _, make_out, batch = made(seed, **sizes)
    return logits, make_out, batch


def step(objective, seed, **columns):
    """(loss, gradient) on the same random batch; `columns` replace those of the batch."""
    logits, make_out, batch = case(seed)
    loss, info = objective(make_out(), batch.add(**columns))
    return loss, torch.autograd.grad(loss, logits)[0], info


def same(one, other):
    torch.testing.assert_close(one[0], other[0])
    torch.testing.assert_close(one[1], other[1])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", METHODS)
def test_a_named_setting_is_the_named_function(name, seed):
    function, length = NAMED[name]
    same(step(METHODS[name].objective(length), seed), step(function, seed))


@pytest.mark.parametrize("name", METHODS)
def test_another_dial_is_another_function(name):
    """A mutant of every method, one dial off, is told apart."""
    function, length = NAMED[name]
    setting = METHODS[name]
    for other in (
        replace(
            setting, aggregation={"sequence_mean": "token_mean"}.get(setting.aggregation, "sequence_mean")
        ),
        replace(setting, kl_penalty="k3", beta=0.5),
        replace(setting, ratio={"token": "sequence"}.get(setting.ratio, "token")),
    ):
        assert not torch.allclose(step(other.objective(length), 0)[1], step(function, 0)[1], rtol=1e-4)


def test_every_method_of_the_family_has_its_dials():
    assert {n.lower().replace(". ", "_") for n in METHODS} >= {
        n for n, m in family.OBJECTIVES.items() if m.advantage
    }
    for name, setting in METHODS.items():
        if method := family.OBJECTIVES.get(name.lower().replace(". ", "_")):
            assert {"critic": "gae"}.get(setting.advantage, setting.advantage) == method.advantage


DIFFERENCES = [
    ("GRPO", "Dr. GRPO", {"aggregation", "advantage", "KL"}),  # arXiv 2503.20783: no 1/length, no std; beta 0
    (
        "GRPO",
        "DAPO",
        {"clip", "aggregation", "KL"},
    ),  # arXiv 2503.14476: clip-higher, one mean over tokens, no KL
    (
        "GRPO",
        "GSPO",
        {"ratio", "clip", "KL"},
    ),  # arXiv 2507.18071: the answer's ratio, with a far smaller range
    ("DAPO", "CISPO", {"clip"}),  # arXiv 2506.13585: the weight is capped
    ("REINFORCE", "REINFORCE with baseline", {"advantage"}),
    (
        "PPO",
        "RLOO",
        {"ratio", "clip", "aggregation", "advantage"},
    ),  # arXiv 2402.14740: no critic, no ratio, no clip, the answer as one action
]


@pytest.mark.parametrize("one, other, named", DIFFERENCES)
def test_the_table_says_what_separates_two_methods(one, other, named):
    assert set(policy.between(one, other)) == named


def test_the_table_has_a_row_a_method_and_no_two_are_alike():
    rows = policy.table()
    assert [r["method"] for r in rows] == list(METHODS)
    assert len({tuple(list(r.values())[1:]) for r in rows}) == len(METHODS)
    text = policy.markdown().splitlines()
    assert (
        len(text) == len(METHODS) + 2
        and "| GRPO | token | symmetric 0.2 | sequence_mean | k3 in the loss | group_norm |" in text
    )
    assert all(line.count("|") == 7 for line in text)


def test_nothing_to_clip_is_one_sentence():
    with pytest.raises(BadDial, match="choose --ratio token or sequence, or --clip none"):
        Dials("none", "symmetric")


# ---- on samples of the present policy (μ = 1) ----


def on_policy(objective, seed):
    """The same batch, as if it had been sampled from the policy as it is."""
    _, make_out, _ = case(seed)
    return step(objective, seed, old_logprobs=make_out().logprobs.detach())


@pytest.mark.parametrize("aggregation", policy.AGGREGATIONS)
@pytest.mark.parametrize("clip", ["none", "symmetric", "higher", "capped"])
@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_at_ratio_one_no_dial_of_ratio_or_clip_matters(aggregation, clip, ratio):
    """Not even whether the ratio is a token's or an answer's: the answer's spreads the same gradient over its
    tokens.
    """
    plain = on_policy(Dials("none", "none", aggregation=aggregation).objective(LENGTH), 3)
    turned = on_policy(Dials(ratio, clip, high=0.28, aggregation=aggregation).objective(LENGTH), 3)
    torch.testing.assert_close(turned[1], plain[1])
    assert turned[2]["clip_fraction"] == 0.0


@pytest.mark.parametrize("aggregation", policy.AGGREGATIONS)
@pytest.mark.parametrize("kl_penalty", ["none", "reward"])
def test_equal_rewards_move_nothing(aggregation, kl_penalty):
    """Exactly: AdamW would blow rounding up to a whole step. (With k1 in the reward: where the policy is
    still its own reference.)
    """
    logits, make_out, batch = case(1, B=6)
    old = make_out().logprobs.detach()
    batch = batch.add(
        rewards=torch.full((6,), 0.7), group=torch.arange(6) // 3, old_logprobs=old, ref_logprobs=old
    )
    batch = replace(batch, mask=torch.cat([torch.zeros(6, 1), make_out().mask.float()], 1))
    for rule in ("group_mean", "group_norm", "leave_one_out"):
        setting = Dials(aggregation=aggregation, kl_penalty=kl_penalty, advantage=rule)
        loss, _ = setting.objective(LENGTH)(make_out(), setting.columns(batch))
        assert not torch.autograd.grad(loss, logits)[0].any()


# ---- what is computed before the update ----


def rewarded(seed=0, beta=1.0, **settings):
    _, make_out, batch = case(seed, B=6)
    mask = torch.cat([torch.zeros(6, 1), make_out().mask.float()], 1)
    batch = replace(batch, mask=mask).add(
        rewards=torch.rand(6, generator=torch.Generator().manual_seed(seed)), group=torch.arange(6) // 3
    )
    return Dials(beta=beta, **settings).columns(batch), batch


def test_the_kl_penalty_in_the_reward_subtracts_beta_log_ratio_to_the_reference():
    with_penalty, batch = rewarded(beta=0.3, kl_penalty="reward", advantage="no_baseline")
    drift = ((batch["old_logprobs"] - batch["ref_logprobs"]) * batch.mask[:, 1:]).sum(1)
    torch.testing.assert_close(with_penalty["advantages"][:, 0], (batch["rewards"] - 0.3 * drift).float())


def test_a_critic_gets_the_kl_penalty_token_by_token():
    found, batch = rewarded(beta=0.3, kl_penalty="reward", advantage="critic", lam=1.0)
    mask = batch.mask[:, 1:]
    drift = (batch["old_logprobs"] - batch["ref_logprobs"]) * mask
    ahead = drift.flip(1).cumsum(1).flip(1)  # what is still to be paid from this token on
    torch.testing.assert_close(
        found["returns"], ((batch["rewards"][:, None] - 0.3 * ahead) * mask).to(found["returns"].dtype)
    )
    torch.testing.assert_close(
        (found["advantages"] * mask).sum(),
        torch.zeros((), dtype=found["advantages"].dtype),
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize("rule", rules.ADVANTAGES)
def test_without_a_kl_penalty_the_advantages_are_the_rules(rule):
    found, batch = rewarded(advantage=rule)
    torch.testing.assert_close(found["advantages"], rules.ADVANTAGES[rule](batch["rewards"], batch["group"]))


# ---- the direction of the KL penalty ----


def pulled(kl_penalty, sign=1.0, steps=60):
    """(KL to the reference at the start, after `steps` steps of nothing but the penalty) of a policy over 6
    tokens that began elsewhere.
    """
    g = torch.Generator().manual_seed(0)
    reference = torch.randn(6, generator=g).log_softmax(0)
    logits = torch.randn(6, generator=g).requires_grad_()
    setting = Dials(
        "none", "none", aggregation="token_mean", kl_penalty=kl_penalty, beta=sign, advantage="no_baseline"
    )
    optimizer = torch.optim.SGD([logits], lr=0.5)

    def kl():
        return float(parts.kl(logits.log_softmax(0), reference).detach())

    began = kl()
    for _ in range(steps):
        logprobs = logits.log_softmax(0)
        token = torch.multinomial(logprobs.detach().exp(), 512, replacement=True, generator=g)
        out = Out(logits.expand(512, 1, 6), logprobs[token][:, None], torch.ones(512, 1))
        batch = replace(batch_like(out.mask), mask=torch.ones(512, 2)).add(
            rewards=torch.zeros(512),
            group=torch.zeros(512, dtype=torch.long),
            old_logprobs=out.logprobs,
            ref_logprobs=reference[token][:, None],
        )
        loss, _ = setting.objective(1)(out, setting.columns(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return began, kl()


@pytest.mark.parametrize("kl_penalty", ["reward", "k2", "k3"])
def test_a_kl_penalty_pulls_back_to_the_reference(kl_penalty):
    began, ended = pulled(kl_penalty)
    assert ended < 0.1 * began


@pytest.mark.parametrize("kl_penalty", ["reward", "k2", "k3"])
def test_a_kl_penalty_of_the_wrong_sign_is_noticed(kl_penalty):
    began, ended = pulled(kl_penalty, sign=-1.0, steps=20)
    assert ended > began


def test_k1_in_the_loss_does_not_pull():
    """Its gradient averages to nothing: the trap of the family."""
    began, ended = pulled("k1")
    assert ended > 0.5 * began
