"""Parity with TRL 1.16, in value and in gradient, on a tiny real Qwen3: TRL's own methods, called unbound
with a stand-in for `self`.

Both sides start from the same weights and token ids and go through their own forward pass (TRL: fused head,
attention mask; ours: `forward`, no attention mask), so a difference in shift, mask or temperature shows up as
well. The stand-in holds only what the method reads: a renamed attribute fails loudly.
"""

import os

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TRL_EXPERIMENTAL_SILENCE="1")

from collections import defaultdict
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import pytest
import reference_family as family
import torch

trl = pytest.importorskip("trl")

from datasets import Dataset
from reference_family import BY_DIALS
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from trl import (
    DistillationConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    RewardTrainer,
    RLOOConfig,
    RLOOTrainer,
    SFTTrainer,
)
from trl.experimental.gkd import GKDConfig, GKDTrainer
from trl.experimental.orpo import ORPOTrainer
from trl.rewards import get_soft_overlong_punishment
from trl.trainer.distillation_trainer import _chunked_divergence_loss
from trl.trainer.utils import add_fused_lm_head

from llmlab.chapters.c11_distillation.distill import Distill
from llmlab.methods import advantages as adv
from llmlab.methods import distillation, imitation, parts, policy, preferences
from llmlab.models.forward import Out, forward
from llmlab.tokens.batch import Batch

pytestmark = pytest.mark.parity

# Float32 through two layers by two routes: relative error of value, and of the whole gradient as one vector.
TOLERANCE = 1e-4
VOCAB, PROMPT, LENGTHS = 32, 3, (6, 4, 5, 2)


def tiny_model(seed, temperature=1.0):
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        tie_word_embeddings=True,
        initializer_range=0.3,  # far from uniform, so that masks and shifts matter
        pad_token_id=0,
        eos_token_id=1,
    )
    model = Qwen3ForCausalLM(config)
    add_fused_lm_head(
        model, temperature=temperature, outputs=("log_probs", "entropy", "mean_logits", "is_top1")
    )
    return model


def tiny_batch(prompt=PROMPT, hole=True, seed=0, temperature=1.0):
    """Four rows, two pairs, answers of different length; one row with a hole in the mask (the words of a
    tool).
    """
    g = torch.Generator().manual_seed(seed)
    width = prompt + max(LENGTHS)
    ids = torch.randint(2, VOCAB, (4, width), generator=g)
    position = torch.arange(width)
    attention = (position < prompt + torch.tensor(LENGTHS)[:, None]).long()
    mask = attention * (position >= prompt)
    if hole:
        mask[0, prompt + 2] = 0
    batch = Batch(ids * attention, mask, {"pair": torch.tensor([0, 0, 1, 1])}, temperature)
    return batch, attention


def result(loss, model):
    """The loss and its gradient with respect to all parameters, as one vector."""
    grads = torch.autograd.grad(loss, list(model.parameters()))
    return loss.item(), torch.cat([g.flatten() for g in grads])


def assert_same_gradient(ours, theirs):
    assert theirs.norm() > 1e-3, "nothing to compare"
    assert (ours - theirs).norm() <= TOLERANCE * theirs.norm()


def assert_same(ours, theirs):
    assert ours[0] == pytest.approx(theirs[0], rel=TOLERANCE)
    assert_same_gradient(ours[1], theirs[1])


def trainer(model, **attributes):
    """What TRL's methods read from `self` on one process."""

    def same(x, **_):
        return x

    accelerator = SimpleNamespace(
        autocast=nullcontext,
        gather=same,
        gather_for_metrics=same,
        reduce=same,
        device=torch.device("cpu"),
        num_processes=1,
        is_main_process=True,
        parallelism_config=None,
    )
    common = {
        "model": model,
        "accelerator": accelerator,
        "aux_loss_enabled": False,
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    return SimpleNamespace(**common, _metrics={"train": defaultdict(list)}, **attributes)


# ---- supervised ----


def test_nll_is_sft():
    model, (batch, attention) = tiny_model(1), tiny_batch()
    args = SimpleNamespace(loss_type="nll", average_tokens_across_devices=True)
    this = trainer(model, args=args, compute_loss_func=None, label_smoother=None, get_tp_size=lambda: 1)
    inputs = {
        "input_ids": batch.ids,
        "attention_mask": attention,
        "labels": batch.ids.masked_fill(batch.mask == 0, -100),
    }
    for num_items in (None, batch.mask.sum()):
        theirs = SFTTrainer.compute_loss(this, model, dict(inputs), num_items_in_batch=num_items)
        assert_same(result(imitation.nll(forward(model, batch), batch)[0], model), result(theirs, model))


@pytest.mark.parametrize(
    "beta, ours",
    [
        (0.0, distillation.forward_kl),
        (1.0, distillation.reverse_kl),
        (0.3, partial(distillation.js, beta=0.3)),
        (0.5, distillation.js),
    ],
)
def test_distillation_is_gkd(beta, ours):
    student, teacher, (batch, _) = tiny_model(1), tiny_model(2), tiny_batch()
    teacher_logits = forward(teacher, batch).logits.detach()
    labels = batch.ids.masked_fill(batch.mask == 0, -100)[:, 1:]
    theirs = GKDTrainer.generalized_jsd_loss(
        forward(student, batch).logits, teacher_logits, labels, beta=beta
    )
    mine = ours(forward(student, batch), batch.add(teacher_logits=teacher_logits))[0]
    assert_same(result(mine, student), result(theirs, student))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_distillation_is_that_of_the_distillation_trainer(beta, temperature):
    """Its loss works on hidden states and both heads; ours carries Hinton's factor T² more."""
    model, teacher, (batch, attention) = tiny_model(1), tiny_model(2), tiny_batch()
    hidden = [
        m.model(input_ids=batch.ids, attention_mask=attention).last_hidden_state[:, :-1]
        for m in (model, teacher)
    ]
    theirs, _, n = _chunked_divergence_loss(
        hidden[0], hidden[1].detach(), model.lm_head.weight, teacher.lm_head.weight.detach(),
        batch.mask[:, 1:], beta, temperature=temperature,
    )  # fmt: skip
    assert n == batch.mask[:, 1:].sum()
    with torch.no_grad():
        taught = batch.add(teacher_logits=forward(teacher, batch).logits)
    objective = distillation.objective(beta, temperature=temperature)
    ours = objective(forward(model, taught), taught)[0] / temperature**2
    assert_same(result(ours, model), result(theirs, model))


def test_what_beta_means_there_and_here():
    """0 forward and 1 reverse in all three; the defaults differ: TRL's stable trainer begins at reverse KL,
    its experimental one at the middle, so a recipe without beta is another method in each.
    """
    assert DistillationConfig(output_dir="x", use_cpu=True, bf16=False).beta == 1.0
    assert GKDConfig(output_dir="x", use_cpu=True, bf16=False).beta == 0.5
    ends = {0.0: distillation.forward_kl, 1.0: distillation.reverse_kl}
    assert all(distillation.objective(beta).func is end for beta, end in ends.items())
    assert Distill().beta == 1.0


# ---- preferences ----

CHOSEN, REJECTED = [0, 2], [1, 3]  # ours: neighbours; TRL: first all chosen, then all rejected


def test_dpo():
    model, reference, (batch, attention) = tiny_model(1), tiny_model(2), tiny_batch()
    this = trainer(
        model,
        ref_model=reference,
        precompute_ref_logps=False,
        args=SimpleNamespace(gradient_checkpointing_kwargs=None),
        beta=0.3,
        loss_types=["sigmoid"],
        loss_weights=[1.0],
        f_divergence_type="reverse_kl",
        ld_alpha=None,
        use_weighting=False,
    )
    rows = CHOSEN + REJECTED
    inputs = {
        "input_ids": batch.ids[rows],
        "attention_mask": attention[rows],
        "completion_mask": batch.mask[rows],
    }
    theirs = DPOTrainer._compute_loss(this, model, inputs, return_outputs=False)
    batch = batch.add(ref_logprobs=forward(reference, batch).logprobs)
    mine, info = preferences.dpo(forward(model, batch), batch, beta=0.3)
    assert_same(result(mine, model), result(theirs, model))
    names = {
        "rewards/chosen": "chosen_reward",
        "rewards/rejected": "rejected_reward",
        "rewards/margins": "margin",
        "rewards/accuracies": "accuracy",
        "logps/chosen": "chosen_logprob",
        "logps/rejected": "rejected_logprob",
    }
    for name, key in names.items():
        assert info[key].item() == pytest.approx(this._metrics["train"][name][0], rel=TOLERANCE), name


def trl_orpo(model, batch, attention, beta):
    this = trainer(model, is_encoder_decoder=False, padding_value=0, beta=beta)
    for name in ("concatenated_forward", "odds_ratio_loss"):
        setattr(this, name, partial(getattr(ORPOTrainer, name), this))
    this.concatenated_inputs, this.get_batch_logps = (
        ORPOTrainer.concatenated_inputs,
        ORPOTrainer.get_batch_logps,
    )
    labels = batch.ids.masked_fill(batch.mask == 0, -100)
    inputs = {
        f"{side}_{name}": x[rows]
        for side, rows in (("chosen", CHOSEN), ("rejected", REJECTED))
        for name, x in (("input_ids", batch.ids), ("attention_mask", attention), ("labels", labels))
    }
    return ORPOTrainer.get_batch_loss_metrics(this, model, inputs)[0]


def test_orpo_after_a_prompt_of_one_token():
    """The first token is never predicted, so here TRL's nll over prompt and answer is the paper's nll over
    the answer.
    """
    model, (batch, attention) = tiny_model(1), tiny_batch(prompt=1, hole=False)
    mine = preferences.orpo(forward(model, batch), batch, beta=0.3)[0]
    assert_same(result(mine, model), result(trl_orpo(model, batch, attention, beta=0.3), model))


def test_orpo_after_a_longer_prompt_differs_by_the_nll_of_the_prompt():
    model, (batch, attention) = tiny_model(1), tiny_batch(hole=False)
    out, everything = forward(model, batch), forward(model, Batch(batch.ids, attention, batch.given))
    mine, theirs = preferences.orpo(out, batch, beta=0.3)[0], trl_orpo(model, batch, attention, beta=0.3)
    prompt_too = preferences.nll_chosen(everything, batch)[0] - preferences.nll_chosen(out, batch)[0]
    assert abs(prompt_too.item()) > 0.01
    assert_same(result(mine + prompt_too, model), result(theirs, model))


def test_bradley_terry_is_the_reward_trainer():
    rewards = torch.tensor([0.4, -1.0, 0.2, 0.9], requires_grad=True)
    batch, attention = tiny_batch()
    this = trainer(SimpleNamespace(training=True), args=SimpleNamespace(center_rewards_coefficient=None))
    scored = SimpleNamespace(logits=rewards[CHOSEN + REJECTED][:, None])
    theirs = RewardTrainer.compute_loss(this, lambda **_: scored, {"attention_mask": attention})
    mask = batch.mask[:, 1:].float()
    values = torch.zeros_like(mask).scatter(1, adv.last_token(mask)[:, None], rewards[:, None])
    mine = preferences.bradley_terry(
        Out(torch.zeros(*mask.shape, 1), torch.zeros_like(mask), mask, values), batch
    )[0]
    model = SimpleNamespace(parameters=lambda: [rewards])
    assert_same(result(mine, model), result(theirs, model))


# ---- policy gradients ----

MAX_LEN = 8
FAMILY = {  # name -> (ours, what TRL calls it)
    "grpo": (
        partial(family.grpo, low=0.1, high=0.3),
        {"loss_type": "grpo", "epsilon_low": 0.1, "epsilon_high": 0.3},
    ),
    "dr_grpo": (partial(family.dr_grpo, max_len=MAX_LEN), {"loss_type": "dr_grpo"}),
    "dapo": (family.dapo, {"loss_type": "dapo", "epsilon_high": 0.28}),
    "cispo": (partial(family.cispo, cap=1.1), {"loss_type": "cispo", "epsilon_high": 1.1}),
    "gspo": (
        partial(family.gspo, low=0.2, high=0.25),
        {
            "loss_type": "grpo",
            "importance_sampling_level": "sequence",
            "epsilon_low": 0.2,
            "epsilon_high": 0.25,
        },
    ),
    "ppo_policy": (family.ppo_policy, {"loss_type": "bnpo"}),
}
FAMILY |= {
    f"{name} by dials": (partial(BY_DIALS[name], **getattr(ours, "keywords", {})), settings)
    for name, (ours, settings) in FAMILY.items()
}


def stale_batch(model, temperature=1.0):
    """Samples of an older policy and a reference, both some way off. Row 0 (A > 0) became likelier and row 1
    (A < 0) less likely as a whole, so that clips bind on both sides, also on the level of answers.
    """
    batch, attention = tiny_batch(temperature=temperature)
    now = forward(model, batch).logprobs.detach()
    g = torch.Generator().manual_seed(3)
    noise = 0.3 * torch.randn(2, *now.shape, generator=g)
    answer_shift = torch.tensor([[0.4], [-0.4], [0.0], [0.0]])
    columns = {
        "old_logprobs": now - answer_shift + noise[0],
        "ref_logprobs": now + noise[1],
        "advantages": torch.tensor([[1.0], [-0.5], [0.8], [-1.3]]),
    }
    return batch.add(**columns), attention


def trl_grpo(model, batch, attention, *, beta=0.0, bias_correction=False, **settings):
    settings = {"importance_sampling_level": "token", "epsilon_low": 0.2, "epsilon_high": 0.2} | settings
    this = trainer(
        model,
        args=SimpleNamespace(use_bias_correction_kl=bias_correction, delta=None, steps_per_generation=1),
        beta=beta,
        max_completion_length=MAX_LEN,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=False,
        **settings,
    )
    this._get_per_token_logps_and_entropies = partial(GRPOTrainer._get_per_token_logps_and_entropies, this)
    prompt, answer = slice(0, PROMPT), slice(PROMPT, None)
    columns = slice(PROMPT - 1, None)  # column t of [B,T-1] belongs to token t+1
    inputs = {
        "prompt_ids": batch.ids[:, prompt],
        "prompt_mask": attention[:, prompt],
        "completion_ids": batch.ids[:, answer],
        "completion_mask": attention[:, answer],
        "tool_mask": batch.mask[:, answer],
        "advantages": batch["advantages"][:, 0],
        "old_per_token_logps": batch["old_logprobs"][:, columns],
        "ref_per_token_logps": batch["ref_logprobs"][:, columns],
        "num_items_in_batch": batch.mask.sum(),
    }
    return GRPOTrainer._compute_loss(this, model, inputs), this._metrics["train"]


@pytest.mark.parametrize(
    "name, beta",
    [(name, beta) for name in FAMILY for beta in (0.0, 0.2) if not ("ppo_policy" in name and beta)],
)
def test_family(name, beta):  # PPO's KL is part of its reward
    ours, settings = FAMILY[name]
    model = tiny_model(1)
    batch, attention = stale_batch(model)
    theirs, metrics = trl_grpo(model, batch, attention, beta=beta, **settings)
    mine, info = (partial(ours, beta=beta) if beta else ours)(forward(model, batch), batch)
    assert_same(result(mine, model), result(theirs, model))
    assert 0 < info["clip_fraction"] < 1
    assert info["entropy"].item() == pytest.approx(metrics["entropy"][0], rel=TOLERANCE)
    if name.split()[0] not in ("gspo", "cispo"):  # TRL counts these per answer, and for A > 0 only
        assert info["clip_fraction"].item() == pytest.approx(
            metrics["clip_ratio/region_mean"][0], rel=TOLERANCE
        )
    if beta:
        assert info["kl"].item() == pytest.approx(metrics["kl"][0], rel=TOLERANCE)


@pytest.mark.parametrize("grpo", [family.grpo, BY_DIALS["grpo"]])
def test_temperature(grpo):
    """Both divide the logits by the sampling temperature before taking log-probs."""
    model = tiny_model(1, temperature=0.7)
    batch, attention = stale_batch(model, temperature=0.7)
    theirs, _ = trl_grpo(model, batch, attention, loss_type="grpo")
    assert_same(result(grpo(forward(model, batch), batch)[0], model), result(theirs, model))


def test_trl_default_kl_is_k3_times_the_ratio():
    """TRL's default use_bias_correction_kl=True is not the KL of the GRPO paper: it multiplies k3 by the
    differentiable ratio.
    """
    model = tiny_model(1)
    batch, attention = stale_batch(model)
    theirs, _ = trl_grpo(model, batch, attention, loss_type="grpo", beta=0.2, bias_correction=True)
    out = forward(model, batch)
    corrected = parts.sequence_mean(policy.token_ratio(out, batch) * policy.k3(out, batch), out.mask)
    mine = family.grpo(out, batch)[0] + 0.2 * corrected
    assert_same(result(mine, model), result(theirs, model))


def test_rloo_on_fresh_samples():
    """TRL clips the ratio of whole answers; on fresh samples that ratio is 1 and the gradient is REINFORCE
    per answer.
    """
    model = tiny_model(1)
    batch, attention = tiny_batch(hole=False)
    batch = batch.add(advantages=torch.tensor([[1.0], [-0.5], [0.8], [-1.3]]))
    out = forward(model, batch)
    this = trainer(model, epsilon_low=0.2, epsilon_high=0.2)
    this._get_per_token_logps_and_entropies = partial(RLOOTrainer._get_per_token_logps_and_entropies, this)
    inputs = {
        "prompt_ids": batch.ids[:, :PROMPT],
        "prompt_mask": attention[:, :PROMPT],
        "completion_ids": batch.ids[:, PROMPT:],
        "completion_mask": batch.mask[:, PROMPT:],
        "advantages": batch["advantages"][:, 0],
        "old_logps": parts.sequence_logprob(out).detach(),
    }
    theirs = RLOOTrainer._compute_loss(this, model, inputs)
    theirs = result(theirs, model)[1]
    assert_same_gradient(result(family.rloo(out, batch)[0], model)[1], theirs)
    fresh = batch.add(old_logprobs=out.logprobs)
    assert_same_gradient(result(BY_DIALS["rloo"](forward(model, batch), fresh)[0], model)[1], theirs)


# ---- advantages: real tiny trainers, whose reward function hands out known rewards ----

REWARDS = [1.0, 0.0, 0.25, 1.0, 3.0, 5.0, 3.0, 3.0]
GROUP = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])


def tiny_tokenizer():
    vocab = {"<pad>": 0, "<eos>": 1, **{f"w{i}": i for i in range(2, VOCAB)}}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="w2"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


def trl_advantages(trainer_class, config_class, folder, **settings):
    config = config_class(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        report_to="none",
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=2,
        beta=0.0,
        **settings,
    )
    rows = [{"prompt": prompt} for prompt in ("w3 w4", "w5 w6") for _ in range(4)]
    known_rewards = lambda completions, **_: REWARDS
    this = trainer_class(
        tiny_model(1), known_rewards, config, Dataset.from_list(rows), processing_class=tiny_tokenizer()
    )
    this.model.train()
    return this._generate_and_score_completions(rows)["advantages"]


@pytest.mark.parametrize(
    "rule, trainer_class, config_class, settings",
    [
        (adv.group_norm, GRPOTrainer, GRPOConfig, {"scale_rewards": "group"}),
        (adv.group_mean, GRPOTrainer, GRPOConfig, {"scale_rewards": "none"}),
        (adv.leave_one_out, RLOOTrainer, RLOOConfig, {}),
    ],
)
def test_advantages(rule, trainer_class, config_class, settings, tmp_path):
    theirs = trl_advantages(trainer_class, config_class, tmp_path, **settings)
    torch.testing.assert_close(rule(torch.tensor(REWARDS), GROUP)[:, 0], theirs, rtol=TOLERANCE, atol=0)


def test_overlong_penalty():
    lengths = [0, 80, 81, 99, 100, 101]
    theirs = get_soft_overlong_punishment(max_completion_len=100, soft_punish_cache=20)(
        [[1] * n for n in lengths]
    )
    assert adv.overlong_penalty(torch.tensor(lengths), 100, 20).tolist() == pytest.approx(theirs)


# ---- negative controls: the comparison can fail ----


def reversed_k3(out, batch):
    d = policy.k1(out, batch)
    return torch.expm1(d) - d


def shifted(out, batch, column):
    return (out.logprobs - batch[column].roll(1, 1)).masked_fill(out.mask == 0, 0.0)


@pytest.mark.parametrize(
    "name, parts",
    [
        ("grpo", {"k3": reversed_k3}),
        ("grpo", {"log_ratio": shifted}),
        ("grpo", {"sequence_mean": parts.token_mean}),
        ("dapo", {"token_mean": parts.sequence_mean}),
        (
            "dr_grpo",
            {"clipped": lambda r, a, low, high: (torch.max(r * a, r.clamp(1 - low, 1 + high) * a), r > 0)},
        ),
        ("gspo", {"sequence_ratio": policy.token_ratio}),
        ("cispo", {"capped_weight": lambda r, a, logprobs, cap: (r.clamp(max=cap) * a * logprobs, r > cap)}),
        ("grpo by dials", {"log_ratio": shifted}),
        (
            "dr_grpo by dials",
            {"clipped": lambda r, a, low, high: (torch.max(r * a, r.clamp(1 - low, 1 + high) * a), r > 0)},
        ),
    ],
)
def test_a_wrong_part_is_noticed(name, parts, monkeypatch):
    ours, settings = FAMILY[name]
    model = tiny_model(1)
    batch, attention = stale_batch(model)
    theirs, _ = trl_grpo(model, batch, attention, beta=0.2, **settings)
    family.put(monkeypatch, **parts)
    mine, _ = partial(ours, beta=0.2)(forward(model, batch), batch)
    with pytest.raises(AssertionError):
        assert_same(result(mine, model), result(theirs, model))
