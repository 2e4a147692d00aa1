"""`llmlab run rag --domain FOLDER --ask "…"`: an answer from your own documents, with its file and line."""

import json
from functools import partial
from pathlib import Path

from .. import paths
from ..errors import UserError
from .options import Option
from .screen import progress

OPTIONS: list[Option] = [
    (
        "domain",
        str,
        "",
        (
            "file or folder of your own documents (.txt, .md, .jsonl with 'text'): an index of it is kept and"
            " brought up to date. --retriever bm25, states or hybrid (words and the model's own states),"
            " --length, --overlap, --weight, --header and --rerank apply to it, and --steps says how many"
            " chunks are shown; nothing is measured"
        ),
    ),
    ("ask", str, "", "a question about the documents of --domain, answered with file and line"),
    (
        "ann",
        bool,
        False,
        "--domain: search the vectors approximately (IVF_FLAT) instead of comparing them all",
    ),
    ("skip_bad", bool, False, "--domain: leave out files and records that cannot be read, and count them"),
]
APPLIES = ("retriever", "rerank", "length", "overlap", "weight", "header", "steps")
VERSION = 1  # of the way in which documents are cut and read: another one is another index


def is_asked(options) -> bool:
    """Is the run about the user's own documents? Raises UserError for a question about none."""
    if getattr(options, "ask", "") and not options.domain:
        raise UserError("--ask needs documents to answer from; add --domain FOLDER")
    if getattr(options, "ann", False) and not options.domain:
        raise UserError("--ann is about your own documents; add --domain FOLDER, or leave it out")
    return hasattr(options, "ask") and bool(options.domain)


def refuse_what_is_not_read(experiment, options) -> None:
    """What changes the lab's own leaflets, or how a run is made. Raises UserError."""
    for k in experiment.knobs():
        if k.name not in APPLIES and getattr(experiment, k.name) != k.default:
            raise UserError(f"--{k.name} is about the lab's own leaflets, not about --domain; leave it out")
    if experiment.retriever == "encoder":
        raise UserError(
            "--retriever encoder is trained on questions about the lab's own leaflets, not about your"
            " documents; choose bm25, states or hybrid"
        )
    if experiment.overlap >= experiment.length:
        raise UserError(f"--overlap {experiment.overlap} must be below --length {experiment.length}")
    for name, value in (("engine", "lab"), ("seed", 0)):
        if getattr(options, name) != value:
            raise UserError(f"--{name} changes nothing with --domain; leave it out")


def run(experiment, options) -> int:
    """Bring the index up to date; with a question: passages, answer, citations."""
    from ..lab.folder import Folder
    from ..retrieval.index import Index

    refuse_what_is_not_read(experiment, options)
    folder = Folder(
        options.domain, experiment.length, experiment.overlap, experiment.header == "on", options.skip_bad
    )
    vectors = experiment.retriever != "bm25"
    loaded = experiment.load(options.model, options.device) if vectors or options.ask else None
    if loaded is not None:
        experiment.address(loaded)
    place = kept_at(experiment, folder.root, loaded.fingerprint if vectors else "")
    if options.again:
        remove(place)
    width = loaded.model.config.get_text_config().hidden_size if vectors else 0
    index = Index(place, folder.documents(), partial(embed, loaded) if vectors else None, width)
    with paths.alone(place.with_suffix(".lock"), "llmlab run rag --domain"):
        with progress() as bar:
            task = bar.add_task("chunks", total=None, last="")
            changes = index.update(lambda n: bar.update(task, completed=n))
        told = tell(folder, index, changes, place)
        if not options.ask:
            if options.json:
                print(json.dumps(told))
            return 0
        hits = search(experiment, index, loaded, options)
    if vectors:
        print(
            "search     "
            + ("approximate (IVF_FLAT)" if options.ann else "exact: every vector is compared")
            + ("; words by BM25, both fused by reciprocal rank" if experiment.retriever == "hybrid" else "")
        )
    if experiment.rerank != "off":
        print("rerank     the best again by how likely the question is behind each of them")
    found = show(folder, loaded, options.ask, hits)
    if options.json:
        print(json.dumps(told | found))
    return 0


def search(experiment, index, loaded, options) -> list:
    """The best chunks for the question, best first."""
    from ..retrieval.rank import best
    from ..retrieval.rerank import DEPTH, likelihood

    again = experiment.rerank != "off"
    k = max(experiment.steps, DEPTH) if again else experiment.steps
    hits = index.search(options.ask, k, experiment.retriever, experiment.weight, options.ann)
    if not again or not hits:
        return hits
    scores = likelihood(loaded.model, loaded.tok, options.ask, [h.text for h in hits])
    return [hits[i] for i in best(scores, experiment.steps)]


def kept_at(experiment, root: Path, fingerprint: str) -> Path:
    """Where the index of a folder lies: one for each way of cutting it, and each model that makes vectors."""
    cut = (VERSION, experiment.length, experiment.overlap, experiment.header, fingerprint)
    key = paths.hash_bytes(str(root.absolute()).encode("utf-8", "surrogateescape"), repr(cut).encode())
    return paths.writable(paths.cache() / "documents") / key


def remove(place: Path) -> None:
    """Take an index away, when nobody writes it."""
    import shutil

    with paths.alone(place.with_suffix(".lock"), "llmlab run rag --domain"):
        shutil.rmtree(place, ignore_errors=True)


def embed(loaded, texts: list[str]):
    """Vectors of texts; what is longer than the model can read is cut."""
    from ..lab.answer import room
    from ..retrieval.dense import vectors

    tok = partial(loaded.tok, truncation=True, max_length=room(loaded.model))
    return vectors(loaded.model, tok, texts)


def tell(folder, index, changes, place: Path) -> dict:
    """What was found and what the index holds, in two lines."""
    print(f"documents  {folder.told()}")
    if index.mended:
        print(f"The kept index was damaged ({index.mended}), so it was built again.")
    n = len(index)
    print(
        f"index      {n:,} chunk{'s' * (n != 1)}, {changes.added:,} of them added now, {changes.removed:,}"
        f" others removed; kept in {place}"
    )
    return dict(chunks=n, added=changes.added, removed=changes.removed, index=str(place))


def show(folder, loaded, question: str, hits) -> dict:
    """Passages with their places, the answer, and where it says that it is from."""
    from ..lab.answer import answer
    from ..lab.folder import shown

    files = {mark: shown(found[0]) for mark, found in folder.by_mark.items()}
    places = [printable(f"{files[h.mark]}:{h.line}") for h in hits]
    for n, (hit, place) in enumerate(zip(hits, places), 1):
        until = f"–{hit.last}" * (hit.last > hit.line)
        print(f"\n[{n}] {place}{until}\n    {short(hit.text)}")
    if not hits:
        print("\nNo passage shares a word with the question, so the model was not asked.")
        return dict(question=question, answer=None, citations=[], passages=[])
    said = answer(loaded, question, [h.text for h in hits])
    print(f"\nanswer     {printable(said.text)}")
    for n in said.cited:
        print(f"from       [{n}] {places[n - 1]}")
    if said.shown < len(hits):
        print(f"Only the first {said.shown} of {len(hits)} passages had room in the model's context.")
    print(*said.remarks, sep="\n", end="\n" * bool(said.remarks))
    passages = [
        dict(file=files[h.mark], line=h.line, last=h.last, text=h.text, shown=n < said.shown)
        for n, h in enumerate(hits)
    ]
    citations = [dict(number=n, at=places[n - 1]) for n in said.cited]
    return dict(
        question=question,
        answer=said.text,
        citations=citations,
        remarks=said.remarks,
        passages=passages,
    )


def short(text: str, most: int = 600) -> str:
    """A passage in one paragraph."""
    plain = printable(" ".join(text.split()))
    return plain if len(plain) <= most else plain[:most] + " …"


def printable(text: str) -> str:
    """Without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)
