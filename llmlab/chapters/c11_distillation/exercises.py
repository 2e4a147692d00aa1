"""Chapter 11: the divergence between forward and reverse KL, temperature and its T², the reward of a sampled
token, the teacher's top k with a tail, a teacher behind another prompt, rounding in groups, and three models
merged into one.
"""

import math

import torch

from ...learn.exercise import Exercise, case


def _random(seed):
    return torch.Generator().manual_seed(seed)


def _kl(p, q):
    return (p * (p.clamp_min(1e-30).log() - q.clamp_min(1e-30).log())).sum(-1)


# ---- from forward to reverse KL ----


def generalised_jsd(teacher, student, beta):
    """teacher, student: logits [N,V] of both at N tokens. beta as in TRL: 0 is the forward KL, KL(teacher ||
    student); 1 is the reverse KL, KL(student || teacher); between them the generalised Jensen-Shannon
    divergence of GKD: with the mixture M = beta · teacher + (1 - beta) · student of the probabilities, beta ·
    KL(teacher || M) + (1 - beta) · KL(student || M). Returns the mean over the tokens.
    """
    t, s = teacher.log_softmax(-1), student.log_softmax(-1)
    kl = lambda a, b: (a.exp() * (a - b)).sum(-1)
    if beta == 0:
        return kl(t, s).mean()
    if beta == 1:
        return kl(s, t).mean()
    m = (beta * t.exp() + (1 - beta) * s.exp()).log()
    return (beta * kl(t, m) + (1 - beta) * kl(s, m)).mean()


def _generalised_jsd_by_token(teacher, student, beta):
    def kl(p, q):
        total = 0.0
        for a, b in zip(p, q):
            total += a * math.log(a / b)
        return total

    total = 0.0
    for t, s in zip(teacher.softmax(-1).tolist(), student.softmax(-1).tolist()):
        m = [beta * a + (1 - beta) * b for a, b in zip(t, s)]
        mixed = beta * kl(t, m) + (1 - beta) * kl(s, m)
        total += kl(t, s) if beta == 0 else kl(s, t) if beta == 1 else mixed
    return total / len(teacher)


def ends_swapped(teacher, student, beta):
    """Your ends are the wrong way round. The forward KL, at 0, expects under the teacher: it punishes what
    the teacher says and the student does not. The reverse KL, at 1, expects under the student.
    """
    return (
        generalised_jsd(student, teacher, beta) if beta in (0, 1) else generalised_jsd(teacher, student, beta)
    )


def mixture_swapped(teacher, student, beta):
    """In your mixture the teacher has the weight 1 - beta. It has beta: M = beta · teacher + (1 - beta) ·
    student.
    """
    if beta in (0, 1):
        return generalised_jsd(teacher, student, beta)
    t, s = teacher.softmax(-1), student.softmax(-1)
    m = (1 - beta) * t + beta * s
    return (beta * _kl(t, m) + (1 - beta) * _kl(s, m)).mean()


def weights_swapped(teacher, student, beta):
    """Your two KLs have each other's weight. That form would tend to the forward KL at 0 and to the reverse
    KL at 1, but it is another divergence: in GKD's and TRL's, KL(teacher || M) has the weight beta.
    """
    if beta in (0, 1):
        return generalised_jsd(teacher, student, beta)
    t, s = teacher.softmax(-1), student.softmax(-1)
    m = beta * t + (1 - beta) * s
    return ((1 - beta) * _kl(t, m) + beta * _kl(s, m)).mean()


def ends_by_the_formula(teacher, student, beta):
    """You use the mixture at the ends as well. There M is one of the two and its KL is multiplied by 0, so
    the result is 0 for any pair of models. The ends need their own KL.
    """
    if beta not in (0, 1):
        return generalised_jsd(teacher, student, beta)
    return teacher.sum() * 0.0


def logits_mixed(teacher, student, beta):
    """You mix logits. The mixture is one of probabilities: a token that one model calls impossible keeps half
    of the other's probability, while a mean of logits takes it away.
    """
    if beta in (0, 1):
        return generalised_jsd(teacher, student, beta)
    t, s, m = (x.softmax(-1) for x in (teacher, student, beta * teacher + (1 - beta) * student))
    return (beta * _kl(t, m) + (1 - beta) * _kl(s, m)).mean()


def summed_over_tokens(teacher, student, beta):
    """You add up the tokens. Take their mean; otherwise a long text pulls harder than a short one."""
    return generalised_jsd(teacher, student, beta) * len(teacher)


def _jsd_cases():
    g = _random(1101)
    some = lambda n, v: (torch.randn(n, v, generator=g) * 2, torch.randn(n, v, generator=g) * 2)
    fork = torch.tensor([[0.495, 0.495, 0.01]]).log(), torch.tensor([[0.35, 0.35, 0.30]]).log()
    return [
        case("a fork, forward", *fork, 0.0),
        case("a fork, reverse", *fork, 1.0),
        case("a fork, half way", *fork, 0.5),
        case("near the forward end", *some(1, 3), 0.1),
        case("both models agree", torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]]), 0.5),
        *(
            case(f"{n} tokens, beta {b}", *some(n, v), b)
            for n, v, b in ((2, 4, 0.0), (3, 5, 1.0), (4, 6, 0.3), (5, 4, 0.8))
        ),
    ]


GENERALISED_JSD = Exercise(
    generalised_jsd,
    "Write the divergence that leads from forward to reverse KL, in TRL's convention.",
    _jsd_cases,
    (
        "Under whose probabilities does each KL take its mean? The first name in KL(a || b) says it.",
        "log_softmax both, exponentiate to mix: M = beta · t.exp() + (1 - beta) · s.exp(), then its log.",
        "At 0 and at 1 the mixture gives 0: return KL(teacher || student) and KL(student || teacher) there.",
    ),
    (_generalised_jsd_by_token,),
    (ends_swapped, mixture_swapped, weights_swapped, ends_by_the_formula, logits_mixed, summed_over_tokens),
)

# ---- temperature ----


def softened_kl(teacher, student, temperature):
    """teacher, student: logits [N,V]. Both are divided by the temperature T. Returns (loss, gradient): the
    loss T² · mean over N of KL(teacher || student) at that temperature, and its gradient at the student's
    logits [N,V] as they came in.
    """
    p, q = (teacher / temperature).softmax(-1), (student / temperature).softmax(-1)
    loss = temperature**2 * (p * (p.log() - q.log())).sum(-1).mean()
    return loss, temperature * (q - p) / len(p)


def _softened_kl_autograd(teacher, student, temperature):
    with torch.enable_grad():
        z = student.clone().requires_grad_(True)
        p = (teacher / temperature).log_softmax(-1)
        q = (z / temperature).log_softmax(-1)
        loss = temperature**2 * torch.nn.functional.kl_div(q, p, log_target=True, reduction="batchmean")
        (gradient,) = torch.autograd.grad(loss, z)
    return loss.detach(), gradient


def square_forgotten(teacher, student, temperature):
    """You leave out T². The gradient then shrinks about like 1/T² as the temperature rises, and a second
    term, such as the labels, takes over.
    """
    loss, gradient = softened_kl(teacher, student, temperature)
    return loss / temperature**2, gradient / temperature**2


def factor_not_squared(teacher, student, temperature):
    """You multiply by T. Two things shrink the gradient: the logits are divided by T, and the probabilities
    of both models come closer together. So the factor is T².
    """
    loss, gradient = softened_kl(teacher, student, temperature)
    return loss / temperature, gradient / temperature


def inner_derivative_forgotten(teacher, student, temperature):
    """Your gradient is the one at the divided logits. The student's logits are divided by T, and the chain
    rule brings a factor 1/T: what is left of T² is T.
    """
    loss, gradient = softened_kl(teacher, student, temperature)
    return loss, gradient * temperature


def teacher_stays_sharp(teacher, student, temperature):
    """You soften the student only. Equal models would then have a loss above 0, and the student would learn
    to be T times as sharp. Divide both by T.
    """
    return softened_kl(teacher * temperature, student, temperature)


def gradient_uphill(teacher, student, temperature):
    """The sign of your gradient is wrong. A step goes against the gradient, and it must raise the logits
    where the teacher is above the student: the gradient there is below 0.
    """
    loss, gradient = softened_kl(teacher, student, temperature)
    return loss, -gradient


def _softened_cases():
    g = _random(1102)
    some = lambda n, v: (torch.randn(n, v, generator=g) * 3, torch.randn(n, v, generator=g) * 3)
    return [
        case("three tokens at 4", torch.tensor([[4.0, 2.0, 0.0]]), torch.tensor([[2.0, 2.0, 0.0]]), 4.0),
        case("temperature 1", torch.tensor([[4.0, 2.0, 0.0]]), torch.tensor([[2.0, 2.0, 0.0]]), 1.0),
        case("equal models", torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 3.0]]), 2.0),
        case("sharper than they are", *some(2, 3), 0.5),
        *(case(f"{n} rows at {t}", *some(n, v), t) for n, v, t in ((2, 3, 2.0), (3, 5, 3.0), (4, 4, 8.0))),
    ]


SOFTENED_KL = Exercise(
    softened_kl,
    "Distil at a temperature, and keep the size of the gradient.",
    _softened_cases,
    (
        "What is the gradient of KL(p || softmax(z)) at z? It has two terms, one for each model.",
        "It is q - p. Here z is the student's logit divided by T, so the chain rule adds 1/T.",
        "loss = T² · mean KL; gradient = T² · (1/T) · (q - p) / N.",
    ),
    (_softened_kl_autograd,),
    (
        square_forgotten,
        factor_not_squared,
        inner_derivative_forgotten,
        teacher_stays_sharp,
        gradient_uphill,
    ),
)

# ---- the reward of a sampled token ----


def token_rewards(student, teacher, mask):
    """student, teacher: log-probs [B,T] of tokens that the student sampled. mask [B,T]: 1 where a token is
    the student's own. Returns (rewards, reverse): rewards [B,T], for each token how much more the teacher
    likes it than the student does, in nats, 0 outside the mask; and the estimate of the reverse KL that
    these rewards give, in nats per sampled token, 0.0 if there is none.
    """
    rewards = (teacher - student) * mask
    return rewards, float(-rewards.sum() / mask.sum().clamp_min(1))


def _token_rewards_where(student, teacher, mask):
    own = mask > 0
    rewards = torch.zeros_like(student)
    rewards[own] = teacher[own] - student[own]
    return rewards, -float(rewards[own].mean()) if own.any() else 0.0


def sign_flipped(student, teacher, mask):
    """Your rewards have the wrong sign: you reward what the teacher likes less than the student does. The
    run then maximises the KL. A token that the teacher likes more has a reward above 0.
    """
    rewards, reverse = token_rewards(student, teacher, mask)
    return -rewards, reverse


def mean_reward_returned(student, teacher, mask):
    """You return the mean reward. The reverse KL is minus that: under the student, log student - log teacher
    has the KL as its mean, which is never below 0, though one sample can be.
    """
    rewards, reverse = token_rewards(student, teacher, mask)
    return rewards, -reverse


def probabilities_subtracted(student, teacher, mask):
    """You subtract probabilities. The reverse KL is a mean of log ratios; a token to which the teacher gives
    almost no chance has to cost much, and a difference of probabilities is at most 1.
    """
    rewards = (teacher.exp() - student.exp()) * mask
    return rewards, float(-rewards.sum() / mask.sum().clamp_min(1))


def every_token_judged(student, teacher, mask):
    """You judge tokens outside the mask as well. The student did not choose the prompt or a tool's reply, so
    there is nothing to reward.
    """
    rewards = teacher - student
    return rewards, float(-rewards.mean())


def divided_by_width(student, teacher, mask):
    """You divide by the size of the tensor. Padding then lowers the KL: divide by the number of tokens under
    the mask.
    """
    rewards = (teacher - student) * mask
    return rewards, float(-rewards.mean())


def rewards_whitened(student, teacher, mask):
    """You subtract the mean and divide by the spread, as for rewards of a group. These rewards have a
    natural zero, agreement, and a natural size. Whitened, they blow up noise when both models agree.
    """
    rewards, reverse = token_rewards(student, teacher, mask)
    own = mask > 0
    if own.sum() > 1:
        rewards = (rewards - rewards[own].mean()) / rewards[own].std().clamp_min(1e-6) * mask
    return rewards, reverse


def _reward_cases():
    g = _random(1103)

    def some(b, t):
        """Log-probs of both, and a mask."""
        student, teacher = (-torch.rand(b, t, generator=g) * 3 for _ in range(2))
        mask = (torch.rand(b, t, generator=g) < 0.6).float()
        mask[0, 0] = 1.0
        return student, teacher, mask

    s, t = torch.tensor([[0.6, 0.3, 0.1]]).log(), torch.tensor([[0.3, 0.6, 0.1]]).log()
    return [
        case("liked less, more, equally", s, t, torch.ones(1, 3)),
        case("the prompt is not judged", s, t, torch.tensor([[0.0, 1.0, 1.0]])),
        case("only the first was sampled", s, t, torch.tensor([[1.0, 0.0, 0.0]])),
        case("nothing sampled", s, t, torch.zeros(1, 3)),
        *(case(f"{b} texts of {n}", *some(b, n)) for b, n in ((2, 3), (2, 5), (3, 6), (4, 8))),
    ]


TOKEN_REWARDS = Exercise(
    token_rewards,
    "Turn the teacher's verdict on sampled tokens into rewards, and read the reverse KL from them.",
    _reward_cases,
    (
        "The teacher gives a sampled token twice the student's probability. Should the reward be above 0?",
        "log teacher - log student, times the mask. KL(student || teacher) is the mean of the opposite under"
        " the student.",
        "rewards = (teacher - student) * mask; reverse = -rewards.sum() / mask.sum(), or 0.0 without tokens.",
    ),
    (_token_rewards_where,),
    (
        sign_flipped,
        mean_reward_returned,
        probabilities_subtracted,
        every_token_judged,
        divided_by_width,
        rewards_whitened,
    ),
)

# ---- top k with a tail ----


def top_k_kl(teacher, student, k):
    """teacher, student: logits [N,V]. Compare k + 1 events: the teacher's k likeliest tokens, and all others
    together, the tail. Returns the forward KL, KL(teacher || student), of these events for each of the N
    tokens: [N]. It is never above the KL on all V tokens, and equal to it for k = V.
    """
    p, q = teacher.softmax(-1), student.softmax(-1)
    ids = p.topk(k).indices
    chosen = (p.gather(-1, ids) * (p.gather(-1, ids) / q.gather(-1, ids)).log()).sum(-1)
    p_tail, q_tail = p.scatter(-1, ids, 0.0).sum(-1), q.scatter(-1, ids, 0.0).sum(-1)
    tail = p_tail * (p_tail.clamp_min(1e-30) / q_tail.clamp_min(1e-30)).log()
    return chosen + tail


def _top_k_kl_sorted(teacher, student, k):
    order = teacher.argsort(-1, descending=True)
    events = []
    for probs in (teacher.softmax(-1).gather(-1, order), student.softmax(-1).gather(-1, order)):
        events.append(torch.cat([probs[:, :k], probs[:, k:].sum(-1, keepdim=True)], -1).clamp_min(1e-30))
    p, q = events
    return (p * (p.log() - q.log())).sum(-1)


def renormalised(teacher, student, k):
    """You leave the tail out and rescale the k tokens to sum up to 1. A student that puts most of its mass
    elsewhere can then have a KL of 0, and the result is no bound of anything. Keep the tail as one event.
    """
    ids = teacher.topk(k).indices
    return _kl(teacher.gather(-1, ids).softmax(-1), student.gather(-1, ids).softmax(-1))


def tail_dropped(teacher, student, k):
    """You add up the k tokens and forget the rest. The sum can fall below 0, and it rewards a student that
    gives the k tokens too much. The tail is an event too: p_tail · log(p_tail / q_tail).
    """
    p, q = teacher.softmax(-1), student.softmax(-1)
    ids = p.topk(k).indices
    return _kl(p.gather(-1, ids), q.gather(-1, ids))


def students_own_top_k(teacher, student, k):
    """You take the student's likeliest tokens. Forward KL asks where the teacher has its mass, so these are
    the teacher's k.
    """
    p, q = teacher.softmax(-1), student.softmax(-1)
    ids = q.topk(k).indices
    events = [
        torch.cat([x.gather(-1, ids), x.scatter(-1, ids, 0.0).sum(-1, keepdim=True)], -1) for x in (p, q)
    ]
    return _kl(*events)


def each_its_own_top_k(teacher, student, k):
    """You take each model's own k likeliest tokens, so you compare different tokens with each other. Take the
    teacher's ids for both.
    """
    events = []
    for logits in (teacher, student):
        top = logits.softmax(-1).topk(k).values
        events.append(torch.cat([top, (1 - top.sum(-1, keepdim=True)).clamp_min(0)], -1))
    return _kl(*events)


def reverse_direction(teacher, student, k):
    """You compute KL(student || teacher). The forward KL takes its mean under the teacher: p · log(p / q)
    with p of the teacher.
    """
    p, q = teacher.softmax(-1), student.softmax(-1)
    ids = p.topk(k).indices
    events = [
        torch.cat([x.gather(-1, ids), x.scatter(-1, ids, 0.0).sum(-1, keepdim=True)], -1) for x in (p, q)
    ]
    return _kl(events[1], events[0])


def mean_over_tokens(teacher, student, k):
    """You return one number. Wanted is the KL at each of the N tokens."""
    return top_k_kl(teacher, student, k).mean()


def _top_k_cases():
    g = _random(1104)
    some = lambda n, v: (torch.randn(n, v, generator=g) * 2, torch.randn(n, v, generator=g) * 2)
    t, s = torch.tensor([[0.5, 0.3, 0.1, 0.1]]).log(), torch.tensor([[0.1, 0.2, 0.6, 0.1]]).log()
    return [
        case("two of four", t, s, 2),
        case("one of four: two events", t, s, 1),
        case("all tokens: the whole KL", t, s, 4),
        case("the student's mass is elsewhere", t, torch.tensor([[0.05, 0.03, 0.46, 0.46]]).log(), 2),
        *(
            case(f"{k} of {v}, {n} tokens", *some(n, v), k)
            for n, v, k in ((2, 5, 2), (3, 6, 3), (2, 8, 1), (4, 10, 4))
        ),
    ]


TOP_K_KL = Exercise(
    top_k_kl,
    "Compare teacher and student on the teacher's k likeliest tokens, without losing the rest.",
    _top_k_cases,
    (
        "Why must the compared probabilities of each model sum up to 1 without being rescaled?",
        "topk on the teacher gives the ids. gather both models' probabilities there; the tail is what is"
        " left of each.",
        "p.scatter(-1, ids, 0.0).sum(-1) is the teacher's tail. Guard its logarithm: for k = V it is 0.",
    ),
    (_top_k_kl_sorted,),
    (renormalised, tail_dropped, students_own_top_k, each_its_own_top_k, reverse_direction, mean_over_tokens),
)

# ---- a teacher behind another prompt ----


def columns_behind_hints(said, hints, prompts, answers, width):
    """said [B,S,V]: the teacher's logits for rows that are a hint and an answer, padded on the right. The
    student reads the same answers behind other prompts, in rows of `width` tokens, padded on the right.
    hints, prompts, answers: for each row, how many tokens the hint, the prompt and the answer have. The
    logits at position i predict token i + 1. Returns [B,width-1,V]: at each position where the student
    predicts a token of the answer, the teacher's logits for that token; 0 elsewhere.
    """
    found = torch.zeros(len(said), width - 1, said.shape[-1])
    for row, (h, p, a) in enumerate(zip(hints, prompts, answers)):
        found[row, p - 1 : p - 1 + a] = said[row, h - 1 : h - 1 + a]
    return found


def _columns_by_masks(said, hints, prompts, answers, width):
    b, s, v = said.shape
    place = lambda n, starts: torch.tensor(
        [[start - 1 <= i < start - 1 + a for i in range(n)] for start, a in zip(starts, answers)]
    )
    found = torch.zeros(b, width - 1, v)
    found[place(width - 1, prompts)] = said[place(s, hints)]
    return found


def _shifted(said, hints, prompts, answers, width, read, write):
    """The columns with a shift where they are read and where they are written."""
    found = torch.zeros(len(said), width - 1, said.shape[-1])
    for row, (h, p, a) in enumerate(zip(hints, prompts, answers)):
        for i in range(a):
            there, here = h + i + read, p + i + write
            if 0 <= there < said.shape[1] and 0 <= here < width - 1:
                found[row, here] = said[row, there]
    return found


def one_token_late(said, hints, prompts, answers, width):
    """You read the teacher one position late. The first token of the answer is predicted by the last token
    of the hint: begin at hint - 1. With this shift the loss falls and the student learns the next token but
    one.
    """
    return _shifted(said, hints, prompts, answers, width, 0, -1)


def written_one_late(said, hints, prompts, answers, width):
    """You write the teacher's logits at the position of the token itself. The student predicts it one
    position earlier: begin at prompt - 1.
    """
    return _shifted(said, hints, prompts, answers, width, -1, 0)


def first_token_untaught(said, hints, prompts, answers, width):
    """Both sides begin one position late, so they agree, but nobody teaches the first token of the answer,
    and the last column is a prediction of what follows the answer.
    """
    return _shifted(said, hints, prompts, answers, width, 0, 0)


def same_place_in_both(said, hints, prompts, answers, width):
    """You read the teacher at the student's positions. The hint and the prompt have different lengths, so
    the answer is elsewhere in the teacher's row: begin at hint - 1 there.
    """
    return _shifted(said, prompts, prompts, answers, width, -1, -1)


def written_where_read(said, hints, prompts, answers, width):
    """You write the columns where the teacher has them. The student's row begins with its own prompt, so
    the answer is at prompt - 1 there.
    """
    return _shifted(said, hints, hints, answers, width, -1, -1)


def prompts_taught_too(said, hints, prompts, answers, width):
    """You copy columns of the prompt as well. Only the answer is common to both rows; before it the two
    models read different texts.
    """
    found = columns_behind_hints(said, hints, prompts, answers, width)
    for row, (h, p) in enumerate(zip(hints, prompts)):
        n = min(h, p) - 1
        found[row, p - 1 - n : p - 1] = said[row, h - 1 - n : h - 1]
    return found


def _column_cases():
    g = _random(1106)

    def some(lengths, v=2):
        """Rows of (hint, prompt, answer) tokens; logits are one decimal."""
        hints, prompts, answers = (list(x) for x in zip(*lengths))
        s = max(h + a for h, _, a in lengths)
        said = torch.randint(1, 90, (len(lengths), s, v), generator=g) / 10
        return said, hints, prompts, answers, max(p + a for _, p, a in lengths) + 1

    return [
        case("hint of 3, prompt of 2, answer of 2", *some([(3, 2, 2)])),
        case("the hint is as long as the prompt", *some([(2, 2, 3)])),
        case("the hint is shorter", *some([(2, 4, 2)])),
        case("two rows", *some([(4, 2, 2), (3, 3, 1)])),
        case("no answer in the second row", *some([(3, 2, 2), (2, 3, 0)])),
        *(
            case(f"{len(x)} rows", *some(x))
            for x in ([(5, 2, 3), (4, 3, 2)], [(3, 5, 2), (6, 2, 4), (4, 4, 1)])
        ),
    ]


COLUMNS_BEHIND_HINTS = Exercise(
    columns_behind_hints,
    "The teacher reads a hint, the student does not: put its logits where the student predicts.",
    _column_cases,
    (
        "Which position predicts the first token of the answer, in the teacher's row and in the student's?",
        "hint - 1 in the teacher's, prompt - 1 in the student's; from there as many columns as the answer has"
        " tokens.",
        "found[row, p - 1 : p - 1 + a] = said[row, h - 1 : h - 1 + a], and zeros elsewhere.",
    ),
    (_columns_by_masks,),
    (
        one_token_late,
        written_one_late,
        first_token_untaught,
        same_place_in_both,
        written_where_read,
        prompts_taught_too,
    ),
)

# ---- rounding in groups ----


def rounded_in_groups(weights, bits, group):
    """weights [out,in]. Each `group` neighbours of a row share a scale: their largest size divided by
    2^(bits-1) - 1. Every weight becomes the nearest whole number of scales. Returns (rounded, cost): the
    weights that this gives back [out,in], and how many bits a weight takes if a scale takes 16. Groups of
    zeros stay 0; `group` divides the row.
    """
    rows = weights.view(len(weights), -1, group)
    scale = rows.abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1)
    codes = (rows / scale.clamp_min(1e-12)).round()
    return (codes * scale).view_as(weights), bits + 16 / group


def _rounded_in_groups_one_by_one(weights, bits, group):
    found = torch.zeros_like(weights)
    for row in range(weights.shape[0]):
        for start in range(0, weights.shape[1], group):
            part = weights[row, start : start + group]
            scale = float(part.abs().max()) / (2 ** (bits - 1) - 1)
            if scale:
                found[row, start : start + group] = torch.round(part / scale) * scale
    return found, bits + 16 / group


def _with_scale(weights, bits, group, largest, steps=None):
    scale = (largest / (steps or 2 ** (bits - 1) - 1)).clamp_min(1e-12)
    rows = weights.view(len(weights), -1, group)
    return ((rows / scale).round() * scale).view_as(weights), bits + 16 / group


def scales_for_free(weights, bits, group):
    """You count the codes only. The scales have to be stored, too: 16 bits for each group, that is 16 / group
    more a weight.
    """
    return rounded_in_groups(weights, bits, group)[0], float(bits)


def one_scale_a_row(weights, bits, group):
    """You use one scale a row. A single large weight then makes the grid coarse for all others; each group
    has its own scale.
    """
    rows = weights.view(len(weights), -1, group)
    return _with_scale(weights, bits, group, rows.abs().amax((-1, -2), keepdim=True))


def one_scale_for_all(weights, bits, group):
    """You use one scale for the whole matrix. Take the largest size within each group of a row."""
    return _with_scale(weights, bits, group, weights.abs().max().view(1, 1, 1))


def one_step_too_many(weights, bits, group):
    """You divide by 2^(bits-1). Whole numbers of that many bits reach 2^(bits-1) - 1 above zero, 7 for four
    bits, so the largest weight of a group would not fit.
    """
    rows = weights.view(len(weights), -1, group)
    return _with_scale(weights, bits, group, rows.abs().amax(-1, keepdim=True), 2 ** (bits - 1))


def cut_towards_zero(weights, bits, group):
    """You cut off the fraction. All weights then shrink; the nearest whole number errs as often upwards as
    downwards.
    """
    rows = weights.view(len(weights), -1, group)
    scale = (rows.abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1)).clamp_min(1e-12)
    return ((rows / scale + 1e-4 * rows.sign()).trunc() * scale).view_as(weights), bits + 16 / group


def codes_returned(weights, bits, group):
    """You return the whole numbers. Multiply them by their scale: wanted are the weights that a layer
    computes with.
    """
    rows = weights.view(len(weights), -1, group)
    scale = (rows.abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1)).clamp_min(1e-12)
    return (rows / scale).round().view_as(weights), bits + 16 / group


def _rounding_cases():
    g = _random(1105)
    some = lambda out, n: torch.randn(out, n, generator=g)
    loud = torch.tensor([[0.1, -0.05, 0.08, 3.0, 0.1, -0.05, 0.08, 0.02]])
    return [
        case("a loud weight in the first group", loud, 4, 4),
        case("the same with one group", loud, 4, 8),
        case("three bits", torch.tensor([[0.3, -0.2, 0.1, 0.05]]), 3, 4),
        case("a group of zeros", torch.tensor([[0.0, 0.0, 0.5, -0.2]]), 4, 2),
        case("two bits: -1, 0 and 1", torch.tensor([[0.6, 0.2, -0.4, 0.1]]), 2, 4),
        *(
            case(f"{o} rows of {n}, {b} bits, groups of {k}", some(o, n), b, k)
            for o, n, b, k in ((2, 8, 4, 4), (3, 8, 3, 2), (2, 16, 8, 8), (2, 12, 5, 4))
        ),
    ]


ROUNDED_IN_GROUPS = Exercise(
    rounded_in_groups,
    "Round a matrix to few bits with a scale for each group, and count what a weight costs.",
    _rounding_cases,
    (
        "Which weight of a group decides the scale, and which whole number does it become?",
        "view the rows as [out, groups, group]; scale = amax of the sizes / (2^(bits-1) - 1).",
        "(rows / scale).round() * scale, with a guard for scale 0; bits + 16 / group.",
    ),
    (_rounded_in_groups_one_by_one,),
    (
        scales_for_free,
        one_scale_a_row,
        one_scale_for_all,
        one_step_too_many,
        cut_towards_zero,
        codes_returned,
    ),
)

# ---- three models into one ----


def merged(base, models, keep):
    """base [n]: weights of the base. models [M,n]: weights of models trained from it; a model's change is its
    weights minus the base. Returns (average, added, ties), merged weights [n] each. average: the base plus
    the mean change. added: the base plus all changes (task arithmetic with the factor 1). ties: of each
    change keep the `keep` entries of largest size and set the others to 0; at each weight take the sign of
    the sum of what is left; add to the base the mean of the kept changes that have this sign, or nothing if
    there is none.
    """
    changes = models - base
    sizes = changes.abs()
    least = sizes.topk(keep, dim=1).values[:, -1:]
    left = torch.where(sizes >= least, changes, torch.zeros_like(changes))
    agree = (left.sign() == left.sum(0).sign()) & (left != 0)
    ties = (left * agree).sum(0) / agree.sum(0).clamp_min(1)
    return base + changes.mean(0), base + changes.sum(0), base + ties


def _merged_by_weight(base, models, keep):
    changes = [(m - base).tolist() for m in models]
    left = []
    for change in changes:
        order = sorted(range(len(change)), key=lambda i: -abs(change[i]))[:keep]
        left.append([c if i in order else 0.0 for i, c in enumerate(change)])
    ties = []
    for column in zip(*left):
        total = sum(column)
        agree = [c for c in column if c * total > 0]
        ties.append(sum(agree) / len(agree) if agree else 0.0)
    total = torch.tensor(changes).sum(0)
    return base + total / len(changes), base + total, base + torch.tensor(ties)


def _ties(base, models, keep, trim=None, sign=None, mean=None):
    """TIES with a part of it changed."""
    changes = models - base
    order = changes.abs() if trim is None else trim(changes)
    kept = torch.zeros_like(changes).scatter(1, order.topk(keep, dim=1).indices, 1.0)
    left = changes * kept
    elected = left.sum(0).sign() if sign is None else sign(left)
    agree = (left.sign() == elected) & (left != 0)
    count = agree.sum(0) if mean is None else mean(left, agree)
    return base + (left * agree).sum(0) / count.clamp_min(1)


def weights_summed(base, models, keep):
    """You add up the models' weights. Then the base is in the sum several times. Add their changes: the
    model's weights minus the base.
    """
    average, _, ties = merged(base, models, keep)
    return average, models.sum(0), ties


def base_forgotten(base, models, keep):
    """You return the changes. The merged model is the base plus the merged change."""
    average, added, ties = merged(base, models, keep)
    return average - base, added - base, ties - base


def nothing_trimmed(base, models, keep):
    """Your TIES trims nothing. First, each model keeps only its `keep` largest changes; the many small ones
    would otherwise take part in the vote and dilute the mean.
    """
    return *merged(base, models, keep)[:2], _ties(base, models, len(base))


def trimmed_by_value(base, models, keep):
    """You keep the largest values. A change of -0.9 is as large as one of 0.9: compare sizes."""
    return *merged(base, models, keep)[:2], _ties(base, models, keep, trim=lambda c: c)


def sign_by_heads(base, models, keep):
    """You elect the sign by counting models. In TIES the sum of the changes decides, so one large change
    outweighs two small ones.
    """
    return *merged(base, models, keep)[:2], _ties(base, models, keep, sign=lambda x: x.sign().sum(0).sign())


def divided_by_all_models(base, models, keep):
    """You divide by the number of models. The mean is over those that kept a change of the elected sign;
    otherwise a change that only one model needs is divided by all.
    """
    n = torch.tensor(float(len(models)))
    return *merged(base, models, keep)[:2], _ties(base, models, keep, mean=lambda left, agree: n)


def losers_in_the_mean(base, models, keep):
    """Changes of the other sign are still in your mean. Elected means that the others are left out at this
    weight.
    """
    changes = models - base
    kept = torch.zeros_like(changes).scatter(1, changes.abs().topk(keep, dim=1).indices, 1.0)
    left = changes * kept
    mean = left.sum(0) / (left != 0).sum(0).clamp_min(1)
    return *merged(base, models, keep)[:2], base + mean


def _merge_cases():
    g = _random(1107)

    def some(n, m):
        """A base and m models."""
        base = torch.randn(n, generator=g)
        return base, base + torch.randn(m, n, generator=g)

    one = torch.tensor([1.0, 1.0, 1.0])
    three = one + torch.tensor([[0.9, 0.1, 0.0], [-0.6, 0.2, 0.1], [0.3, 0.05, -0.5]])
    against = one + torch.tensor([[-0.9, 0.1, 0.3], [0.2, 0.4, 0.1], [0.3, -0.2, 0.1]])
    return [
        case("0.9, -0.6 and 0.3 on the first weight", one, three, 1),
        case("two kept of three", one, three, 2),
        case("one large change against two small ones", one, against, 3),
        case("one model", one, three[:1], 2),
        *(
            case(f"{m} models of {n} weights, {k} kept", *some(n, m), k)
            for n, m, k in ((5, 2, 3), (6, 3, 3), (8, 4, 5))
        ),
    ]


MERGED = Exercise(
    merged,
    "Merge models of one base by averaging, by adding, and by TIES.",
    _merge_cases,
    (
        "What do three models of one base have in common, and what is each one's own?",
        "changes = models - base. mean(0) and sum(0) give the first two.",
        "TIES: topk of the sizes in each row, sign of the sum over the rows, mean over the rows that kept a"
        " change of this sign.",
    ),
    (_merged_by_weight,),
    (
        weights_summed,
        base_forgotten,
        nothing_trimmed,
        trimmed_by_value,
        sign_by_heads,
        divided_by_all_models,
        losers_in_the_mean,
    ),
)

EXERCISES = (
    GENERALISED_JSD,
    SOFTENED_KL,
    TOKEN_REWARDS,
    TOP_K_KL,
    COLUMNS_BEHIND_HINTS,
    ROUNDED_IN_GROUPS,
    MERGED,
)
