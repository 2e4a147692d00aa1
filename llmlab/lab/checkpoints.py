"""`llmlab build`: the shipped checkpoints, each a function of its recipe; killed at any moment, the next call
goes on.

pre    the lab model pretrained on the general corpus (kept in the cache, not shipped)
base   pre after a short last phase with more to be read in context, the learning rate warming up once more
chat   base after supervised fine-tuning on conversations with tools, formats, refusals and personas
reader chat after more of it: questions behind look-alike passages, answered with a citation
reasoner
       chat after more of it: problems solved step by step, wrong steps found, attempts revised
student_l, student_m, student_s
       the reasoner with fewer layers, heads and neurons (plans.SHAPES), trained again on the same problems
"""

import json
import platform
import shutil
import time
from dataclasses import asdict
from functools import lru_cache, partial
from itertools import count, islice
from pathlib import Path
from typing import Callable, Iterable, Iterator

import torch
import transformers

from .. import paths
from ..methods import imitation
from ..models import prune
from ..models import load as models
from ..tokens import chat, pack, special, tokenizer
from ..tokens.batch import Batch
from ..train import loop, probes
from ..train.recipe import Read, Recipe
from ..world import corpora
from ..world.base import rng
from . import record
from .plans import BEFORE, CONVERSATIONS, PLANS, SHAPES, SKILLS, Plan
from .record import Seal


@lru_cache(maxsize=1)
def lab_tokenizer():
    """The lab tokenizer, trained once a process."""
    return tokenizer.train()


def text_stream(tok, plan: Plan, start: int, shares: dict[str, float] | None = None) -> Iterator[Batch]:
    """Pretraining batches from number `start`; batch i is a function of (recipe, i): documents i·1000, i·1000
    + 1, … packed.
    """
    for i in count(start):
        documents = pack.encode_documents(
            tok,
            corpora.general(plan.seed, start=i * 1000, shares=shares),
            special.document_end(tok),
            chunk=32,
        )
        yield next(pack.pack(documents, rows=plan.rows, length=plan.length))


def conversation(r, name: str = "chat"):
    """One training conversation of a checkpoint: (messages, tools)."""
    parts = CONVERSATIONS[name]
    part = r.choices(list(parts), list(parts.values()))[0]
    problem = None
    while problem is None:
        problem = part.problem(r, "train")
    return [*problem.messages, *part.solution(problem)], problem.meta.get("tools")


def chat_stream(tok, plan: Plan, start: int, name: str = "chat") -> Iterator[Batch]:
    """SFT batches from number `start`; batch i is a function of (recipe, i).

    `rows` conversations and `replay` general documents each, packed with attention reset.
    """
    for i in count(start):
        examples = [
            chat.encode(tok, *conversation(rng(name, plan.seed, i, j), name)) for j in range(plan.rows)
        ]
        texts = islice(corpora.general(plan.seed + 2, start=i * 1000), plan.replay)
        examples += [
            (ids, [1] * len(ids)) for ids in pack.encode_documents(tok, texts, special.document_end(tok))
        ]
        yield pack.pack_examples(examples, length=plan.length, fill=tok.pad_token_id)


def measure(model, tok, name: str, n: int = 512) -> dict[str, float]:
    """Share of n held-out problems per skill that greedy decoding answers exactly."""
    prepared = {
        k: probes.batches(probes.question_rows(tok, world, world.problems(n, split="test", seed=1, **kw)))
        for k, (world, kw, _) in SKILLS[name].items()
    }
    return {k: probes.exact(model, b) for k, b in prepared.items()}


def recipe_hash(name: str) -> str:
    """Hash of everything the checkpoint depends on: recipe, model sizes, tokenizer, sample texts of its
    corpus, and what it starts from.
    """
    if name == "pre":
        texts = list(islice(corpora.general(PLANS[name].seed), 500))
        before = json.dumps(models.SIZES, sort_keys=True) + lab_tokenizer().backend_tokenizer.to_str()
    elif name == "base":
        texts, before = (
            list(islice(corpora.general(PLANS[name].seed, shares=corpora.ANNEAL), 500)),
            recipe_hash("pre"),
        )
    else:
        texts = [json.dumps(conversation(rng(name, PLANS[name].seed, 0, j), name)) for j in range(500)]
        base = (
            paths.data() / "checkpoints" / BEFORE[name]
        )  # its weights and tokenizer: the rest of the folder follows
        before = paths.hash_files([base / "model.safetensors", base / "tokenizer.json"]) + special.TEMPLATE
        before += f", {SHAPES[name]}" if name in SHAPES else ""
    plan = repr(PLANS[name]).replace("Plan(", "Recipe(", 1)  # its name when the shipped checkpoints were made
    plan += f", replay {PLANS[name].replay}" if PLANS[name].replay else ""
    return paths.hash_bytes(plan.encode(), before.encode(), "\n".join(texts).encode())


def folder(name: str) -> Path:
    """Where a checkpoint lies: shipped in data/, or (pre) in the cache under its recipe's hash."""
    return (
        paths.cache() / "build" / f"pre-{recipe_hash('pre')}"
        if name == "pre"
        else paths.data() / "checkpoints" / name
    )


def seals(names: Iterable[str] = paths.LAB) -> Iterator[tuple[str, Seal | None, Seal]]:
    """(checkpoint, seal that is there, seal that is wanted) of shipped checkpoints."""
    for name in names:
        yield name, _found(name), Seal(recipe_hash(name))


def is_current(name: str) -> bool:
    """Does the checkpoint come from today's recipe?"""
    return record.is_current(_found(name), Seal(recipe_hash(name)))


def _found(name: str) -> Seal | None:
    """The recipe that the card names, if the card belongs to the weights and the tokenizer that lie there."""
    place = folder(name)
    card = models.read_card(place)
    whole = card.get("fingerprint") == models.fingerprint(place, name)
    return Seal(card.get("recipe", "")) if whole else None


def start(name: str):
    """(model, tokenizer) that the build begins with."""
    if name == "pre":
        tok = lab_tokenizer()
        return models.new_lab_model(tok, PLANS["pre"].seed), tok
    loaded = models.load(str(folder("pre")) if name == "base" else BEFORE[name])
    if name == "chat":
        loaded.tok.chat_template = special.TEMPLATE
    model = prune.pruned(loaded.model, *SHAPES[name]) if name in SHAPES else loaded.model
    return model, loaded.tok


STREAMS: dict[str, Callable] = {
    "pre": text_stream,
    "base": partial(text_stream, shares=corpora.ANNEAL),
    "chat": chat_stream,
    "reader": partial(chat_stream, name="reader"),
    "reasoner": partial(chat_stream, name="reasoner"),
    **{name: partial(chat_stream, name=name) for name in SHAPES},
}


def build(name: str, plan: Plan | None = None) -> Iterator[dict]:
    """Train one checkpoint and store it; yields the loop's rows and at the end a row with the card. Resumes
    by itself.
    """
    with paths.alone(paths.cache() / "build" / f"{name}.lock", f"llmlab build {name}"):
        yield from _build(name, plan or PLANS[name])


def _build(name: str, plan: Plan) -> Iterator[dict]:
    made = recipe_hash(name)
    model, tok = start(name)
    checkpoint = loop.Checkpoint(
        paths.writable(paths.cache() / "build")
        / f"{name}-{made}-{paths.hash_bytes(repr(plan).encode())}.state"
    )
    began, opts = time.time(), loop.optimizers(model, "muon", plan.lr)
    recipe = Recipe(
        model,
        partial(STREAMS[name], tok, plan),
        imitation.nll,
        Read(lambda step: {}),
        plan.steps,
        plan.lr,
        warmup=plan.warmup,
        final=plan.final,
        opts=opts,
    )
    yield from loop.train(recipe, checkpoint)
    model = model.to(torch.bfloat16).float()  # the figures are those of the weights that are shipped
    card = {
        "name": name,
        "recipe": made,
        "settings": asdict(plan),
        "seconds_this_call": round(time.time() - began),
        "skills": measure(model, tok, name),
        "targets": {k: least for k, (_, _, least) in SKILLS[name].items() if least is not None},
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    store(name, model, tok, card)
    checkpoint.clear()
    yield {"step": plan.steps, "card": card}


def store(name: str, model, tok, card: dict) -> None:
    """Put the checkpoint in place: written beside the old one, then swapped."""
    place = folder(name)
    fresh = place.with_name(f".{name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    models.save(fresh, model, tok)
    card |= {"fingerprint": models.fingerprint(fresh, name)}
    paths.write_atomic(fresh / "card.json", json.dumps(card, indent=1).encode())
    if place.exists():
        shutil.rmtree(place)
    fresh.rename(place)
