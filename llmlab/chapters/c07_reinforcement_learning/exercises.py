"""Chapter 07: baselines of a group, the clip, looking ahead with a critic, the weight of a token, the KL
penalty in the reward, and memory.
"""

import random

import torch

from ...learn.exercise import Exercise, case


def _draws(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator)


# ---- baselines ----


def leave_one_out(rewards):
    """rewards [p, k]: k answers to each of p problems, k at least 2. Returns [p, k]: each answer's reward
    minus the mean reward of the *other* answers to the same problem.
    """
    k = rewards.shape[1]
    return rewards - (rewards.sum(1, keepdim=True) - rewards) / (k - 1)


def _leave_one_out_shrunk(rewards):
    k = rewards.shape[1]
    return (rewards - rewards.mean(1, keepdim=True)) * k / (k - 1)


def _leave_one_out_loop(rewards):
    found = torch.zeros_like(rewards)
    for i, row in enumerate(rewards):
        for j in range(len(row)):
            found[i, j] = row[j] - torch.cat([row[:j], row[j + 1 :]]).mean()
    return found


def own_reward_in_it(rewards):
    """The answer's own reward is in your baseline. It then holds part of what it is compared with: the result
    is (k-1)/k of what it should be.
    """
    return rewards - rewards.mean(1, keepdim=True)


def over_the_batch(rewards):
    """You compare with answers to *other* problems too. A hard problem would then look like bad answers: stay
    inside the row.
    """
    return rewards - (rewards.sum() - rewards) / (rewards.numel() - 1)


def in_standard_deviations(rewards):
    """You divide by the spread of the row, as GRPO does. Here the advantage stays in the unit of the
    reward.
    """
    return leave_one_out(rewards) / (rewards.std(1, keepdim=True) + 1e-4)


def others_only(rewards):
    """That is the baseline. The advantage is the reward minus it."""
    return (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)


def divided_by_all(rewards):
    """You sum the k - 1 others and divide by k. Divide by how many there are."""
    return rewards - (rewards.sum(1, keepdim=True) - rewards) / rewards.shape[1]


def _loo_cases():
    draw = _draws(71)
    return [
        case("one of three is right", torch.tensor([[1.0, 0.0, 0.0]])),
        case("all right, all wrong, one right", torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])),
        *(case(f"{p} problems, {k} answers", draw(p, k)) for p, k in ((2, 4), (3, 8), (5, 2), (4, 5))),
    ]


LEAVE_ONE_OUT = Exercise(
    leave_one_out,
    "Write the advantage of RLOO: better than the other answers to this problem?",
    _loo_cases,
    (
        "For each answer, which rewards may the baseline hold?",
        "The sum of the others is the sum of the row minus the own reward.",
        "rewards - (rewards.sum(1, keepdim=True) - rewards) / (k - 1)",
    ),
    (_leave_one_out_shrunk, _leave_one_out_loop),
    (own_reward_in_it, over_the_batch, in_standard_deviations, others_only, divided_by_all),
)

# ---- the clip ----


def clipped_gain(ratio, advantage, low, high):
    """ratio, advantage [n]: for each token how much likelier it has become, and its advantage. Returns [n]:
    what PPO makes larger, ratio · advantage, held where the ratio has left the range from 1 - low to 1 + high
    in the direction that the advantage asks for.
    """
    return torch.minimum(ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage)


def _clipped_gain_by_sign(ratio, advantage, low, high):
    held = torch.where(advantage > 0, ratio.clamp(max=1 + high), ratio.clamp(min=1 - low))
    return held * advantage


def always_clamped(ratio, advantage, low, high):
    """You hold the ratio on both sides. A good token that has become rarer must still be pulled back up: take
    the smaller of both gains.
    """
    return ratio.clamp(1 - low, 1 + high) * advantage


def the_larger_one(ratio, advantage, low, high):
    """You take the larger gain, so that nothing is ever held back. PPO is the pessimist: the smaller one
    counts.
    """
    return torch.maximum(ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage)


def never_held(ratio, advantage, low, high):
    """Nothing is held: this is the plain ratio times the advantage."""
    return ratio * advantage


def same_range(ratio, advantage, low, high):
    """You use `low` on both sides. Above the range ends at 1 + high, so that rare tokens get more room
    (DAPO).
    """
    return torch.minimum(ratio * advantage, ratio.clamp(1 - low, 1 + low) * advantage)


def clamped_advantage(ratio, advantage, low, high):
    """The range is one of the *ratio*; you clamp the product."""
    return torch.minimum(ratio * advantage, (ratio * advantage).clamp(1 - low, 1 + high))


def _clip_cases():
    draw, r = _draws(72), random.Random(72)
    return [
        case("good and bad, moved too far", torch.tensor([1.5, 0.5]), torch.tensor([1.0, -1.0]), 0.2, 0.2),
        case(
            "good and bad, moved the wrong way", torch.tensor([0.5, 1.5]), torch.tensor([1.0, -1.0]), 0.2, 0.2
        ),
        case("fresh samples", torch.ones(3), torch.tensor([1.0, -2.0, 0.0]), 0.2, 0.2),
        case("more room above", torch.tensor([1.25, 0.75]), torch.tensor([2.0, -2.0]), 0.2, 0.28),
        *(
            case("random", (0.5 * draw(n)).exp(), draw(n), 0.2 + 0.1 * r.random(), 0.3 + 0.2 * r.random())
            for n in (6, 9, 12)
        ),
    ]


CLIPPED_GAIN = Exercise(
    clipped_gain,
    "Write the clip of PPO, with its two ends apart.",
    _clip_cases,
    (
        "Two candidates: the plain product, and the product with the ratio held inside the range.",
        "Which one is the careful choice, whatever the sign of the advantage?",
        "torch.minimum of both.",
    ),
    (_clipped_gain_by_sign,),
    (always_clamped, the_larger_one, never_held, same_range, clamped_advantage),
)

# ---- a critic ----


def look_ahead(reward, values, gamma, lam):
    """reward: a number, given after the last token. values [n]: what the critic expected at each token, n at
    least 1. Returns [n], the advantages of GAE: the TD error delta at a token plus gamma · lam times the
    advantage of the next one. delta is the reward there, plus gamma times the next value (0 after the last
    token), minus the own value.
    """
    found, following, value_ahead, reward_here = [], 0.0, 0.0, reward
    for value in reversed(values.tolist()):
        following = reward_here + gamma * value_ahead - value + gamma * lam * following
        found.append(following)
        value_ahead, reward_here = value, 0.0
    return torch.tensor(found[::-1])


def _look_ahead_sum(reward, values, gamma, lam):
    n = len(values)
    rewards, ahead = torch.zeros(n), torch.cat([values[1:], torch.zeros(1)])
    rewards[-1] = reward
    delta = rewards + gamma * ahead - values
    return torch.stack([sum((gamma * lam) ** (s - t) * delta[s] for s in range(t, n)) for t in range(n)])


def rewarded_everywhere(reward, values, gamma, lam):
    """You give the reward at every token. It is given once, after the last one."""
    ahead = torch.cat([values[1:], torch.zeros(1)])
    delta = reward + gamma * ahead - values
    n = len(values)
    return torch.stack([sum((gamma * lam) ** (s - t) * delta[s] for s in range(t, n)) for t in range(n)])


def reward_minus_value(reward, values, gamma, lam):
    """That is the end lam = 1 (with gamma = 1), whatever lam is: the critic's later values are not used."""
    return reward - values


def one_step_only(reward, values, gamma, lam):
    """That is the TD error alone, the end lam = 0: the advantages that follow are missing."""
    return look_ahead(reward, values, gamma, 0.0)


def from_the_front(reward, values, gamma, lam):
    """You run forward, so that each token carries what happened *before* it. Go from the last token to the
    first.
    """
    ahead = torch.cat([values[1:], torch.zeros(1)])
    rewards = torch.zeros(len(values))
    rewards[-1] = reward
    delta, found = rewards + gamma * ahead - values, []
    for x in delta.tolist():
        found.append(x + gamma * lam * (found[-1] if found else 0.0))
    return torch.tensor(found)


def without_lam(reward, values, gamma, lam):
    """The advantage of the next token is multiplied by gamma · lam; you multiply by gamma alone."""
    return look_ahead(reward, values, gamma, 1.0)


def own_value_ahead(reward, values, gamma, lam):
    """After the last token nothing more is to be expected: the next value there is 0, and you take the last
    value again.
    """
    n = len(values)
    rewards, ahead = torch.zeros(n), torch.cat([values[1:], values[-1:]])
    rewards[-1] = reward
    delta = rewards + gamma * ahead - values
    return torch.stack([sum((gamma * lam) ** (s - t) * delta[s] for s in range(t, n)) for t in range(n)])


def _gae_cases():
    draw, r = _draws(73), random.Random(73)
    return [
        case("two tokens", 1.0, torch.tensor([0.5, 0.25]), 1.0, 0.5),
        case("a critic that expects nothing", 1.0, torch.zeros(4), 1.0, 0.95),
        case("one token", 0.0, torch.tensor([0.6]), 1.0, 0.95),
        *(
            case("random", r.random(), draw(n), 0.9 + 0.1 * r.random(), 0.3 + 0.5 * r.random())
            for n in (3, 5, 8, 4)
        ),
    ]


LOOK_AHEAD = Exercise(
    look_ahead,
    "Write generalised advantage estimation, the half of PPO that reads the critic.",
    _gae_cases,
    (
        "The advantage of a token needs that of the next one: begin at the end.",
        "delta = reward + gamma · next value - value; advantage = delta + gamma · lam · next advantage.",
        "After the last token the next value and the next advantage are 0, and only there is a reward.",
    ),
    (_look_ahead_sum,),
    (rewarded_everywhere, reward_minus_value, one_step_only, from_the_front, without_lam, own_value_ahead),
)

# ---- aggregation ----


def token_weights(mask, how, longest):
    """mask [b, t]: 1 on the tokens of b answers, each of at least one token. Returns [b, t]: the weight that
    every token has in the loss, 0 where the mask is 0. how "token_mean": one mean over all tokens of the
    batch. "sequence_mean": a mean inside each answer, then the mean over answers. "fixed_length": a sum,
    divided by b times the longest answer allowed.
    """
    if how == "token_mean":
        return mask / mask.sum()
    if how == "sequence_mean":
        return mask / mask.sum(1, keepdim=True) / len(mask)
    return mask / (len(mask) * longest)


def _token_weights_gradient(mask, how, longest):
    x = torch.zeros_like(mask).requires_grad_()
    inside = (x * mask).sum(1)
    value = {
        "token_mean": inside.sum() / mask.sum(),
        "sequence_mean": (inside / mask.sum(1)).mean(),
        "fixed_length": inside.sum() / (len(mask) * longest),
    }[how]
    return torch.autograd.grad(value, x)[0]


def padding_counted(mask, how, longest):
    """You divide by the width of the batch, padding included. Then the weight of an answer depends on its
    neighbours: count tokens with mask 1.
    """
    if how == "sequence_mean":
        return mask / mask.shape[1] / len(mask)
    return mask / mask.numel() if how == "token_mean" else token_weights(mask, how, longest)


def rows_summed(mask, how, longest):
    """In "sequence_mean" the mean over the answers is missing: divide by how many there are."""
    return token_weights(mask, how, longest) * (len(mask) if how == "sequence_mean" else 1)


def one_for_both(mask, how, longest):
    """You give "sequence_mean" the weights of "token_mean". They agree only where all answers are equally
    long.
    """
    return token_weights(mask, "token_mean" if how == "sequence_mean" else how, longest)


def longest_of_the_batch(mask, how, longest):
    """For "fixed_length" you divide by the longest answer of this batch. It changes from batch to batch; the
    limit does not.
    """
    return token_weights(mask, how, int(mask.sum(1).max()))


def rows_forgotten(mask, how, longest):
    """For "fixed_length" the number of answers is missing in the divisor: twice the batch would mean twice
    the step.
    """
    return mask / longest if how == "fixed_length" else token_weights(mask, how, longest)


def _weights_cases():
    r, ways = random.Random(74), ("token_mean", "sequence_mean", "fixed_length")
    mask = torch.tensor([[0.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0]])
    found = [case(f"answers of 3 and 1 tokens, {how}", mask, how, 8) for how in ways]
    for how in ways * 2:
        b, t = r.randrange(2, 5), r.randrange(4, 8)
        lengths = torch.tensor([r.randrange(1, t) for _ in range(b)])
        found.append(case(f"random, {how}", (torch.arange(t) < lengths[:, None]).float().roll(1, 1), how, 10))
    return found


TOKEN_WEIGHTS = Exercise(
    token_weights,
    "How much does a token count? Give its weight under the three aggregations, and see what a long wrong"
    " answer pays under each.",
    _weights_cases,
    (
        "What would a 1 at this token, and 0 everywhere else, add to the loss?",
        "mask.sum() tokens in the batch, mask.sum(1, keepdim=True) in each answer, len(mask) answers.",
        "mask divided by: all tokens · the answer's tokens times the answers · answers times the limit.",
    ),
    (_token_weights_gradient,),
    (padding_counted, rows_summed, one_for_both, longest_of_the_batch, rows_forgotten),
)

# ---- the KL penalty ----


def kl_penalised_rewards(rewards, logprobs, ref_logprobs, mask, beta):
    """rewards [b]: what the verifier pays for b answers. logprobs, ref_logprobs [b, t]: log-probs of the
    tokens under the policy that sampled them and under the reference. mask [b, t]: 1 on the answer's tokens.
    Returns [b]: the rewards minus beta times the estimate of the KL from the sampled tokens (k1), summed over
    each answer.
    """
    return rewards - beta * ((logprobs - ref_logprobs) * mask).sum(1)


def _kl_penalised_rewards_rows(rewards, logprobs, ref_logprobs, mask, beta):
    found = []
    for reward, new, old, used in zip(rewards, logprobs, ref_logprobs, mask):
        found.append(reward - beta * (new[used > 0].sum() - old[used > 0].sum()))
    return torch.stack(found)


def rewarded_for_leaving(rewards, logprobs, ref_logprobs, mask, beta):
    """The sign is wrong: the policy is rewarded for moving *away* from the reference, and nothing stops
    it.
    """
    return rewards + beta * ((logprobs - ref_logprobs) * mask).sum(1)


def prompt_counted(rewards, logprobs, ref_logprobs, mask, beta):
    """You sum over all positions. Prompt and padding are not chosen by the policy: only tokens with mask 1
    count.
    """
    return rewards - beta * (logprobs - ref_logprobs).sum(1)


def mean_over_tokens(rewards, logprobs, ref_logprobs, mask, beta):
    """You take the mean over an answer's tokens. The KL of whole answers is a sum: as a mean, a long way off
    is cheap for a long answer.
    """
    return rewards - beta * ((logprobs - ref_logprobs) * mask).sum(1) / mask.sum(1)


def only_upwards(rewards, logprobs, ref_logprobs, mask, beta):
    """You drop the tokens that have become rarer. A single estimate may be negative, and without those terms
    their mean is no KL.
    """
    return rewards - beta * ((logprobs - ref_logprobs).clamp_min(0) * mask).sum(1)


def probabilities_subtracted(rewards, logprobs, ref_logprobs, mask, beta):
    """You subtract probabilities. The estimate is the logarithm of their ratio: the difference of the
    log-probs.
    """
    return rewards - beta * ((logprobs.exp() - ref_logprobs.exp()) * mask).sum(1)


def _kl_penalty_cases():
    draw = _draws(75)
    one = torch.tensor([[-1.0, -0.5, -2.0]]), torch.tensor([[-1.0, -1.5, -1.0]])
    found = [
        case(
            "three tokens, the first is the prompt's",
            torch.tensor([1.0]),
            *one,
            torch.tensor([[0.0, 1.0, 1.0]]),
            0.1,
        ),
        case(
            "still the reference",
            torch.tensor([1.0, 0.0]),
            -torch.ones(2, 3),
            -torch.ones(2, 3),
            torch.ones(2, 3),
            0.5,
        ),
        case(
            "a reference that disagrees",
            torch.tensor([1.0]),
            torch.tensor([[-0.1, -0.1]]),
            torch.tensor([[-3.0, -0.2]]),
            torch.ones(1, 2),
            0.5,
        ),
    ]
    for b, t in ((2, 5), (3, 4), (4, 6)):
        mask = (torch.arange(t) > torch.arange(b)[:, None] % (t - 1)).float()
        found.append(case("random", draw(b), -draw(b, t).abs(), -draw(b, t).abs(), mask, 0.2))
    return found


KL_PENALISED_REWARDS = Exercise(
    kl_penalised_rewards,
    "Put the KL penalty into the reward, as RLHF did.",
    _kl_penalty_cases,
    (
        "How much likelier than under the reference is the sampled answer, in nats?",
        "log(pi / ref) of a token is a difference of two log-probs; sum it over the answer's tokens.",
        "rewards - beta * ((logprobs - ref_logprobs) * mask).sum(1)",
    ),
    (_kl_penalised_rewards_rows,),
    (rewarded_for_leaving, prompt_counted, mean_over_tokens, only_upwards, probabilities_subtracted),
)

# ---- memory ----


def rl_bytes(parameters, critic, reward_model, reference):
    """Bytes of all models that a method keeps, each of the policy's size; activations are not counted. A
    trained parameter takes 16 (AdamW in mixed precision), a frozen one 2 (bf16). The policy is trained.
    critic, reward_model, reference: is there one (True or False)? Returns a whole number.
    """
    return parameters * (16 + 16 * critic + 2 * reward_model + 2 * reference)


def _rl_bytes_roles(parameters, critic, reward_model, reference):
    each = [16] + [16] * critic + [2] * (int(reward_model) + int(reference))
    return sum(parameters * b for b in each)


def frozen_critic(parameters, critic, reward_model, reference):
    """The critic learns beside the policy: it has gradients, a master copy and moments too, 16 bytes a
    parameter.
    """
    return parameters * (16 + 2 * critic + 2 * reward_model + 2 * reference)


def reward_model_trained(parameters, critic, reward_model, reference):
    """The reward model was trained *before*. During the RL it only scores: 2 bytes a parameter."""
    return parameters * (16 + 16 * critic + 16 * reward_model + 2 * reference)


def weights_only(parameters, critic, reward_model, reference):
    """You count weights alone. Training needs gradients, a master copy and two moments beside them: 16 bytes
    and not 2.
    """
    return parameters * 2 * (1 + critic + reward_model + reference)


def always_a_reference(parameters, critic, reward_model, reference):
    """You count a reference in any case. With beta = 0 nothing reads it, and it need not be there."""
    return parameters * (18 + 16 * critic + 2 * reward_model)


def _rl_bytes_cases():
    r, flags = random.Random(76), (False, True)
    named = {
        "PPO": (True, True, True),
        "GRPO with a KL penalty and a verifier": (False, False, True),
        "GRPO without a KL penalty": (False, False, False),
    }
    return [
        *(case(f"{name}, a million parameters", 10**6, *roles) for name, roles in named.items()),
        case("PPO, 70 billion parameters", 70 * 10**9, True, True, True),
        *(
            case("random", r.randrange(1, 10**9), r.choice(flags), r.choice(flags), r.choice(flags))
            for _ in range(6)
        ),
    ]


RL_BYTES = Exercise(
    rl_bytes,
    "Compute what PPO and GRPO keep in memory. What does the missing critic save?",
    _rl_bytes_cases,
    (
        "For each model ask: does it learn during this stage, or does it only read?",
        "16 bytes for policy and critic, 2 for reference and reward model.",
        "True counts as 1: parameters * (16 + 16 * critic + 2 * reward_model + 2 * reference).",
    ),
    (_rl_bytes_roles,),
    (frozen_critic, reward_model_trained, weights_only, always_a_reference),
)

EXERCISES = (LEAVE_ONE_OUT, CLIPPED_GAIN, LOOK_AHEAD, TOKEN_WEIGHTS, KL_PENALISED_REWARDS, RL_BYTES)
