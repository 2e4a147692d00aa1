"""Caveats: what a reader must know of a design before quoting its verdict. They travel with the verdict
wherever it is shown. Words only: what decides a verdict stands in guards.py.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Caveat:
    """quote: may the verdict be quoted with these words beside it, or not at all until the design is
    mended?
    """

    words: str
    quote: bool = True


def _not(words: str) -> Caveat:
    return Caveat(words, quote=False)


CAVEATS = {
    "C001": Caveat("The arms answer different problems, and no price is compared."),
    "C004": Caveat(
        "The methods differ in task, steps and distance moved, and statements are asked in a plain"
        " form that chat training unlearns."
    ),
    "C005": Caveat(
        "The rival is the greedy answer. Against one sample at temperature 1 a vote gains, and so does an"
        " oracle's pick (the rows in brackets). The verifier has learnt for sixty steps."
    ),
    "C006": Caveat("The base model has never seen the chat's control tokens, so part of the gap is form."),
    "C010": Caveat(
        "The first part is arithmetic: one of 16 is right at least as often as one alone. The second reads"
        " what training on the chosen ones brings, not the choosing."
    ),
    "C013": Caveat("The wrong facts have no system: they average out, as label noise at scale may not."),
    "C014": Caveat("The dose is extreme, and verbatim memorisation is not read."),
    "C015": Caveat("The exam shows each document alone, which is what only the reset arm trains."),
    "C017": Caveat("The high rate is twice the peak of pretraining, and learning is not matched."),
    "C018": Caveat(
        "A third drop stops the run, and after each rollback the rate is halved: the protected model reads"
        " less of the domain."
    ),
    "C025": Caveat("The end point is arbitrary: the old tokenizer copies better early in training."),
    "C026": Caveat(
        "A first phase in which only the new rows learn washes the start out before the first reading."
    ),
    "C031": Caveat(
        "Guo et al. read task performance; here it is loss on general text, and the recovery coincides"
        " with the decay of the rate."
    ),
    "C032": Caveat("The effect is about as large as the smallest effect of interest."),
    "C034": Caveat("One wording is soon memorised, and then its gradients vanish."),
    "C035": Caveat("Without replay the highest loss is the last reading, so this is not a dip."),
    "C036": Caveat("One fluent wrong value about a drug can hardly reach other knowledge."),
    "C037": Caveat("KL is taken on the domain's own text only."),
    "C041": Caveat("There is no other method to compare with."),
    "C042": Caveat("The two parts are read with different rulers."),
    "C050": Caveat(
        "Weight on the prompt also dilutes the answer's gradient; rates were not tuned for each arm."
    ),
    "C051": Caveat("The JSON span lacks the end of the turn, so stopping is not trained."),
    "C054": Caveat("'Any' means that about half of the labels are wrong."),
    "C055": Caveat("The parts that count are near the floor."),
    "C057": Caveat("'Whatever the traces' is our wording, and an absolute."),
    "C058": Caveat("Random codes that fill a small part of what rank 8 has room for."),
    "C059": Caveat(
        "Speed, not capacity, of which the source speaks: rank 1 has room for all codes, too, and is still"
        " learning."
    ),
    "C060": _not("Speed, not capacity, in a regime that Schulman et al. do not speak of."),
    "C062": Caveat("The margin is one standard error of the exam."),
    "C064": Caveat("Few requests a tenant, and timed on one machine."),
    "C065": Caveat("An adapter that is taught a form fails an exam that asks for another form."),
    "C069": Caveat("Most of the variance lies between problems, which no baseline touches."),
    "C070": Caveat(
        "Most of the variance lies between problems, and with 0/1 rewards the best baseline weighs"
        " samples by their squared score."
    ),
    "C071": Caveat("Every sample is used four times, half of them a batch old, at one rate for both arms."),
    "C077": Caveat(
        "Every sample is used four times, half of them a batch old, at one rate for both arms. The paper's"
        " range is for answers of thousands of tokens; most of these, of a few tokens, are clipped."
    ),
    "C078": Caveat("Every sample is used four times, half of them a batch old, at one rate for both arms."),
    "C079": Caveat("The exam has 48 problems, and the smallest effect is 3 points."),
    "C081": Caveat("The answer is a name, one word in a few sentences: there is nothing else to learn."),
    "C084": Caveat("Pretraining contained such strings: a task outside it, and k above 16, are not tested."),
    "C087": Caveat("The exam has 48 problems, and the smallest effect is 3 points."),
    "C091": Caveat("One rate, and no neutral pairs: how targeted it is depends on the dose."),
    "C092": Caveat("On sums and decisions one of the two never beats the start, so the start stands for it."),
    "C093": Caveat("40 steps at one rate on fresh pairs: over-optimisation cannot appear."),
    "C094": Caveat("40 steps at one rate on fresh pairs: over-optimisation cannot appear."),
    "C095": Caveat(
        "One task and two exams, at the best of six rates: the brackets show five times that rate."
    ),
    "C097": Caveat("32 tasks, and where there is no reward there is no gradient."),
    "C099": Caveat(
        "The stages are of unequal length, and reinforcement learning alone starts without the chat form."
    ),
    "C103": Caveat(
        "Half of the tasks need a word that only the error names, so that no fresh try can succeed at them;"
        " all seeds are asked the same questions."
    ),
    "C143": Caveat(
        "Under masked errors the traces that are imitated try once more, so the double orders are taught;"
        " all seeds are asked the same questions."
    ),
    "C107": Caveat("Chains of two did not lead to chains of three: a length that is never shown is not met."),
    "C113": Caveat(
        "One family of problems, at one rate, and confidence is the share of eight samples that agree."
    ),
    "C116": Caveat(
        "One family of problems, at one rate, and the first effect is about as large as the smallest of"
        " interest; the learned verifier is not trained again."
    ),
    "C117": Caveat("One family of problems, at one rate; what is read at equal checks does not count."),
    "C134": Caveat(
        "The parts test that training gains something, and less than eight checked samples do; the number of"
        " requests from which it pays is computed from these readings, for one family of problems."
    ),
    "C142": Caveat(
        "At this size there are no fewer right answers under the grammar than free: no tax was found."
    ),
    "C149": Caveat(
        "That a deleted document is not found any more is by construction; the test measures how much a"
        " trained model still tells, and the reader's own errors."
    ),
    "C150": Caveat("That a passage costs tokens is by construction; no minutes are compared."),
    **dict.fromkeys(
        ("C140", "C164", "C165"),
        Caveat("One checkpoint is rounded: the seeds differ only in the questions that are asked of it."),
    ),
    "C163": Caveat(
        "One checkpoint is rounded: the seeds differ only in the questions that are asked of it. 'Hardly' is"
        " anything below 0.3 nats, and general text contains no tool calls and no refusals."
    ),
    "C160": Caveat("The students begin close to their teacher, of which they are pruned copies."),
    "C168": Caveat("At three times the rate, the truncated ratio makes up less than half of the distance."),
}

# What the cited work says in another regime than ours; elsewhere the regime is alike, or no number is
# compared.
REGIMES = {
    "C005": (
        "Wang et al. vote over sampled reasoning paths of large models and gain on their greedy answers too;"
        " here a small model adds columns of numbers, or multiplies."
    ),
    "C013": "LIMA compares a thousand chosen conversations with many more; here both read the same facts.",
    "C031": "Guo et al. read task performance of models of a billion parameters.",
    "C050": "Shi et al. instruct large models on many tasks, with short answers among long prompts.",
    "C059": "Schulman et al. train to convergence on large models.",
    "C060": (
        "Schulman et al. train to convergence on large models, where the MLP alone does as well as"
        " all layers."
    ),
    "C070": "Textbook variance reduction assumes rewards that are not 0 or 1 around a rare success.",
    "C072": "Critics of the textbooks are trained along with the policy; this one is the best linear fit.",
    "C078": "DAPO trains large models for thousands of steps.",
    "C079": "DAPO trains large models for thousands of steps.",
    "C093": "Published online DPO runs for long on a learned judge.",
    "C095": "Shenfeld et al. compare at equal accuracy over a whole grid of rates.",
}
