"""The atlas: stages of a model's life, and the decision flow "which knob would you turn?", each leaf with
evidence read from stored runs.
"""

from dataclasses import dataclass
from statistics import median
from typing import Callable

from ..lab import runs


@dataclass(frozen=True)
class Stage:
    """One stage of the life cycle: what it needs, what it changes, what it risks, and where it is taught."""

    name: str
    needs: str
    changes: str
    risks: str
    chapter: str


STAGES = (
    Stage(
        "pretraining",
        "very much text, very much compute",
        "grammar, facts, skills: everything later stages can build on",
        "what the corpus lacks, the model lacks",
        "",
    ),
    Stage(
        "tokenizer extension",
        "a list of words that shatter into many tokens",
        "fewer tokens for the same text; new rows that must be learnt",
        "undertrained rows; every tool that tokenizes must change with it",
        "03",
    ),
    Stage(
        "continued pretraining",
        "documents of the domain, and old texts to replay",
        "knowledge and fluency in the domain",
        "forgetting: general skills dip, and without replay stay down",
        "02",
    ),
    Stage(
        "supervised fine-tuning",
        "conversations with good answers, a template, a mask",
        "behaviour: format, role, when to refuse, how to call a tool",
        "template mismatch, over-refusal, made-up facts",
        "04",
    ),
    Stage(
        "preferences (DPO)",
        "pairs: a better and a worse answer to the same question",
        "style, and small choices between answers the model already gives",
        "both answers become less likely; nothing beyond the data is found",
        "06",
    ),
    Stage(
        "reinforcement learning",
        "prompts, and a reward that can be trusted",
        "success where the model succeeds sometimes",
        "reward hacking, loss of variety",
        "07",
    ),
    Stage(
        "release gate",
        "a regression suite over everything that must not get worse",
        "nothing in the model: it decides whether the model may be used",
        "what is not measured is not guarded",
        "02",
    ),
    Stage(
        "test-time scaling",
        "several samples an answer, and a way to choose",
        "reliability, without touching a weight",
        "latency and cost with every request",
        "10",
    ),
    Stage(
        "distillation",
        "a good teacher, and prompts like those to come",
        "cost: a smaller model does most of it",
        "the teacher's faults are copied too",
        "11",
    ),
)


@dataclass(frozen=True)
class Reading:
    """A number with its origin: median of a metric before and after, over the stored seeds of one setting."""

    what: str
    start: float
    final: float
    seeds: int
    command: str

    def __str__(self) -> str:
        if not self.seeds:
            return f"{self.what}: no run is stored; `{self.command}` makes one"
        return (
            f"{self.what}: {self.start:.2g} → {self.final:.2g} (median of {self.seeds} seeds;"
            f" `{self.command}`)"
        )


def reading(experiment, metric: str, seeds=(0, 1, 2)) -> Reading:
    """Start and final value of a metric in the stored runs of one setting; nothing is trained for it."""
    found = [run.metrics()[metric] for seed in seeds if (run := runs.stored(experiment, seed))]
    turned = [
        f"--{k.name} {getattr(experiment, k.name)}"
        for k in experiment.knobs()
        if getattr(experiment, k.name) != k.default
    ]
    return Reading(
        experiment.curves[metric],
        median(f["start"] for f in found) if found else float("nan"),
        median(f["final"] for f in found) if found else float("nan"),
        len(found),
        " ".join(["llmlab run", experiment.name, *turned]),
    )


def _of(name: str, metric: str, **knobs) -> Callable[[], Reading]:
    """Evidence that is read when somebody gets there."""
    from ..lab import registry

    return lambda: reading(registry.get(name)(**knobs), metric)


@dataclass(frozen=True)
class Leaf:
    """A lever: what to do, why, what it risks, how one would know, where it is taught, and what our own runs
    say.
    """

    lever: str
    why: str
    risk: str
    measure: str
    chapter: str
    evidence: tuple[Callable[[], Reading], ...] = ()


@dataclass(frozen=True)
class Question:
    """A question of the flow with its answers: text -> the next question, or a leaf."""

    text: str
    answers: dict[str, "Question | Leaf"]


PROMPT = Leaf(
    "Write a better prompt",
    "The model can do it when it is asked well, so nothing has to be trained.",
    "Long prompts cost tokens with every request and break silently when the model changes.",
    "The same evaluation as for a training run, with the prompt as the only change.",
    "",
)
CPT = Leaf(
    "Continued pretraining, with replay",
    "A model learns a domain's language by reading it. Reading teaches it to continue documents; you may"
    " still have to show it how to answer (SFT). Keep retrieval for the single facts.",
    "Forgetting. Mix old texts in, and stop by a regression suite.",
    "Loss and recall on held-out domain text, and the old skills at every gate.",
    "02",
    (_of("cpt", "domain_recall"), _of("cpt", "general_recall", replay=0.0), _of("cpt", "general_recall")),
)
EXTEND = Leaf(
    "Tokenizer extension, then continued pretraining",
    "Words that shatter into many tokens waste context and are easily misspelt.",
    "New rows start without meaning; every pipeline must use the new tokenizer.",
    "Loss per character (not per token), copying of the terms, tokens per document.",
    "03",
    (_of("extend", "copying"), _of("extend", "domain_loss"), _of("extend", "domain_loss", tokens=0)),
)
RETRIEVAL = Leaf(
    "Retrieval: put the passage into the prompt",
    "Facts that are written down are better looked up than learnt: nothing is trained, an update takes effect"
    " at once, and the answer can cite its source.",
    "An answer is only as good as the passage that was found; long prompts cost with every request.",
    "Share right with the passage in the prompt, share of questions for which the right passage was found.",
    "08",
    (
        _of("knowledge", "recall", way="retrieval"),
        _of("knowledge", "leak", way="retrieval"),
        _of("knowledge", "leak"),
    ),
)
SFT = Leaf(
    "Supervised fine-tuning",
    "Format, role and refusals are behaviour: a few hundred shown examples move them.",
    "A template that differs from the one used in service; too many refusals; facts it never knew are"
    " made up.",
    "Share of answers in the asked-for form, refusals on safe and unsafe requests, old facts.",
    "04",
    (_of("sft", "refusals"), _of("topology", "answering")),
)
DPO = Leaf(
    "Preferences: DPO or a relative",
    "The model can already give both answers, and people can say which one is better.",
    "It cannot find an answer that no pair contains, and it can make both answers less likely.",
    "Held-out pairs that moved the right way, log-probs of both sides, what the model really says.",
    "06",
    (_of("dpo", "preferred"), _of("dpo", "polite")),
)
JUDGE = Leaf(
    "Reward model or judge: score fresh samples, then pick the best or reinforce",
    "No program can check the answers, but people or a strong model can. A reward model learns from their"
    " comparisons and then scores what the model writes today.",
    "The score keeps rising while the answers get worse. A judge also favours length, position or its own"
    " style.",
    "Agreement with people on fresh pairs, a second judge that was not trained on, ratings by people during"
    " the run.",
    "06",
    (
        _of("reward", "accuracy"),
        _of("overopt", "proxy", probe=2),
        _of("overopt", "gold", probe=2),
    ),
)
RL = Leaf(
    "Reinforcement learning with a verifier",
    "The model succeeds sometimes and a program can tell when: sample, score, reinforce.",
    "It learns what is paid for, not what is meant. Without any success there is nothing to reinforce.",
    "Accuracy on held-out problems, a second verifier that was not trained on, variety of answers.",
    "07",
    (_of("grpo", "accuracy"),),
)
TEST_TIME = Leaf(
    "Test-time scaling",
    "Several samples and somebody who picks well (a check or a well trained verifier; less surely a vote) are"
    " right more often than one sample, without training.",
    "Every request costs several times as much, for ever.",
    "Accuracy against samples per request, and the cost of both.",
    "10",
    (_of("scale", "voted"), _of("scale", "verified"), _of("scale", "pass_hat_k")),
)
DISTIL = Leaf(
    "Distillation",
    "A smaller model can learn what the large one does on your requests.",
    "What the teacher gets wrong is learnt as well; rare skills are lost first.",
    "Quality of the student beside the teacher's on the same held-out requests, cost of each.",
    "11",
)
FLOW = Question(
    "A good prompt with a few examples: does the model do it then?",
    {
        "yes": PROMPT,
        "no": Question(
            "What is missing?",
            {
                "knowledge: it does not know the facts or the words": Question(
                    "Can the passage that it needs be looked up for each request?",
                    {
                        "yes, one document or a whole collection": RETRIEVAL,
                        "no, or it misreads the domain even with the passage in the prompt": Question(
                            "Do many important words fall into five tokens and more, and is there much text"
                            " to train new ones on (a new language, say)?",
                            {"yes": EXTEND, "no": CPT},
                        ),
                    },
                ),
                "behaviour: it knows, but answers in the wrong form, or when it should not": SFT,
                "preference: it gives several answers, and people prefer some of them": DPO,
                "reliability: it is right sometimes": Question(
                    "Can a program tell a right answer from a wrong one, and may the weights be trained?",
                    {
                        "yes, both": RL,
                        "a program can tell, but nothing may be trained": TEST_TIME,
                        "no program can tell": Question(
                            "Who can tell a good answer from a bad one?",
                            {
                                "people or a strong model, for every new sample": JUDGE,
                                "people, and they have compared a fixed set of answers": DPO,
                            },
                        ),
                    },
                ),
                "cost: it is right, but too slow or too expensive": DISTIL,
            },
        ),
    },
)


def leaves(at: "Question | Leaf" = FLOW) -> list[Leaf]:
    """All leaves of the flow."""
    return (
        [at] if isinstance(at, Leaf) else [leaf for answer in at.answers.values() for leaf in leaves(answer)]
    )


GLOSSARY = {
    "advantage": "how much better a sampled answer was than expected",
    "arm": "one setting of the knobs in a comparison, run over several seeds",
    "assistant turn": "the part of a conversation that the model writes, its end token included",
    "base model": "a model that has only been pretrained: it continues text",
    "batch": "the rows of tokens of one optimiser step",
    "chat template": "the rule that turns messages into one text with control tokens",
    "checkpoint": "the weights of a model, saved",
    "CPT": "continued pretraining: next-token training on new texts",
    "DPO": "direct preference optimisation: learning from pairs without a reward model",
    "forgetting": "old skills get worse while new ones are learnt",
    "gate": "a regression suite that decides whether training may go on",
    "gradient": "how much the loss grows with each number; training moves against it",
    "GRPO": "reinforcement learning whose baseline is the mean of a group of samples for the same prompt",
    "held out": "never trained on, so that it can be used to measure",
    "interval": "the range in which an effect lies with 95 % confidence, over seeds (in the ledger 98 %)",
    "KL divergence": "how far one distribution is from another, in nats; it has a direction",
    "learning rate (lr)": "how far the weights move a step",
    "log-prob": "logarithm of a probability; 0 is certain, −∞ impossible",
    "logits": "a model's raw scores for every possible next token",
    "loss": "what training makes small, here mostly in nats per token",
    "mask": "which tokens the objective may push",
    "mid-training": "continued pretraining on a chosen mixture, between pretraining and post-training",
    "nats": "the unit of information with the natural logarithm; 1 nat is 1.44 bits",
    "on-policy": "trained on samples of the model as it is now",
    "packing": "filling rows with several documents",
    "pair": "two answers to one question, the chosen one better than the rejected",
    "over-refusal": "declining what should have been answered",
    "perplexity": "e to the loss: among how many equally likely tokens the model seems to choose",
    "policy": "the model, seen as something that acts",
    "probe": "a number read off a model without changing it",
    "replay": "old texts mixed into the new ones",
    "retrieval": "looking a passage up and putting it into the prompt",
    "reward": "the score of an answer",
    "reward hacking": "being paid for something else than was meant",
    "rollout": "an answer sampled from the model, from prompt to end",
    "seed": "the number that fixes all that is random in a run",
    "SFT": "supervised fine-tuning: imitation of shown answers",
    "smallest effect of interest": "the size below which an effect would not matter; fixed before the runs",
    "stability gap": "the dip of old skills at the start of continued pretraining, before they recover",
    "tied embeddings": "one matrix both reads tokens in and scores them at the end",
    "token": "a piece of text with a number; what the model reads and writes",
    "verifier": "a program that tells whether an answer is right",
    "warm-up": "the first steps, over which the learning rate climbs to its peak",
}
