"""Claims of chapter 03: tokenizer extension."""

from ...ledger.claims import Arm, Claim, contrast
from . import checks

EXAM = ("copies", "drug_facts")
CHARS, WORD = "nats per character", "nats per word"
MATCHED = (
    "optimiser steps, tokens a step, documents by seed; losses per character or per word, so that tokenizers"
    " can be compared"
)


def extend(label: str, **knobs) -> Arm:
    """An arm of tokenizer extension; the probes read every ten steps."""
    return Arm(label, "extend", knobs, EXAM)


PIECES, OLD = extend("24 new tokens, mean of their pieces"), extend("the old tokenizer", tokens=0)
MEAN, RANDOM, SMALL = (extend(f"24 new tokens, {init}", init=init) for init in ("mean", "random", "small"))
PLAIN, UNPHASED = extend("not oversampled", oversample=1.0), extend("no first phase", warmup=0)

CLAIMS = (
    Claim(
        "C024",
        "Terms that fall into five tokens and more waste context and compute.",
        "A 1.2.1",
        "exact",
        "03",
        "Counting.",
        check=checks.tokens_saved,
    ),
    Claim(
        "C025",
        "A model mangles terms that its tokenizer shatters; tokens of their own help.",
        "A 1.2.1",
        "measured",
        "03",
        "Reported for rare names and identifiers.",
        ("dobler_2025",),
        contrasts=(
            contrast("names copied from the context", "more", PIECES("copies"), OLD("copies"), 0.1),
            contrast(
                "drug facts recalled", "more", PIECES("drug_facts"), OLD("drug_facts"), 0.05, counts=False
            ),
            contrast(
                "loss on domain text",
                "less",
                PIECES("domain_loss"),
                OLD("domain_loss"),
                0.01,
                CHARS,
                counts=False,
            ),
        ),
        matched=MATCHED,
    ),
    Claim(
        "C026",
        "A new token should start as the mean of its pieces.",
        "A 1.2.2",
        "measured",
        "03",
        "Hewitt: the mean of all rows bounds the change of the model's distribution; Mundra et al.: simple"
        " convex means do as well as fancy ones.",
        ("hewitt_2021", "mundra_2024"),
        contrasts=(
            contrast(
                "loss on domain text early, pieces against random",
                "less",
                PIECES("domain_loss", "early"),
                RANDOM("domain_loss", "early"),
                0.02,
                CHARS,
            ),
            contrast(
                "loss on domain text early, pieces against the mean of all",
                "less",
                PIECES("domain_loss", "early"),
                MEAN("domain_loss", "early"),
                0.02,
                CHARS,
            ),
            contrast(
                "loss on domain text at the end, pieces against random",
                "less",
                PIECES("domain_loss"),
                RANDOM("domain_loss"),
                0.02,
                CHARS,
            ),
            contrast(
                "probability of new tokens in general text at the start, small norm against pieces",
                "more",
                SMALL("leak", "start"),
                PIECES("leak", "start"),
                0.01,
                "probability",
                counts=False,
            ),
        ),
        matched=MATCHED,
        knob="early or at the end, and against which other start",
    ),
    Claim(
        "C027",
        "Oversampling documents with the new tokens in a first phase trains them.",
        "A 1.2.2",
        "measured",
        "03",
        "Practice.",
        contrasts=(
            contrast(
                "loss on the terms after the first phase",
                "less",
                PIECES("term_loss", "early"),
                PLAIN("term_loss", "early"),
                0.2,
                WORD,
            ),
            contrast(
                "loss on the terms at the end", "less", PIECES("term_loss"), PLAIN("term_loss"), 0.1, WORD
            ),
            contrast(
                "names copied from the context", "more", PIECES("copies"), PLAIN("copies"), 0.1, counts=False
            ),
        ),
        matched=MATCHED,
        knob="after the first phase or at the end",
    ),
    Claim(
        "C028",
        "New tokens behave like noise at first; a first phase for them alone mitigates it.",
        "A 1.2.3",
        "measured",
        "03",
        "Hewitt: a badly started row can take probability from everything.",
        ("hewitt_2021",),
        contrasts=(
            contrast(
                "loss on the terms at the start: new tokens against their pieces",
                "more",
                UNPHASED("term_loss", "start"),
                OLD("term_loss", "start"),
                0.2,
                WORD,
            ),
            contrast(
                "loss on the terms after 150 steps: new tokens against their pieces",
                "more",
                UNPHASED("term_loss"),
                OLD("term_loss"),
                0.2,
                WORD,
            ),
            contrast(
                "loss on the terms after 150 steps: with a first phase against without",
                "less",
                PIECES("term_loss"),
                UNPHASED("term_loss"),
                0.2,
                WORD,
            ),
            contrast(
                "loss on the terms, steps 10 to 40: new tokens against their pieces",
                "more",
                UNPHASED("term_loss", "early"),
                OLD("term_loss", "early"),
                0.2,
                WORD,
                counts=False,
            ),
            contrast(
                "loss on the terms, steps 10 to 40: with a first phase against without",
                "less",
                PIECES("term_loss", "early"),
                UNPHASED("term_loss", "early"),
                0.2,
                WORD,
                counts=False,
            ),
            contrast(
                "names copied at the end: with a first phase against without",
                "more",
                PIECES("copies"),
                UNPHASED("copies"),
                0.1,
                counts=False,
            ),
        ),
        matched=MATCHED,
        knob="when one looks",
        first=30,
    ),
    Claim(
        "C029",
        "Whatever tokenizes text afterwards must use the new tokenizer.",
        "A 1.2.3",
        "exact",
        "03",
        "Counting.",
        check=checks.old_tokenizer,
    ),
    Claim(
        "C030",
        "New tokens change token counts and how much fits into a row.",
        "A 1.2.3",
        "exact",
        "03",
        "Counting.",
        check=checks.rows_saved,
    ),
)
