"""`llmlab show`: which tokens of your own data are trained, in two colours or as JSON."""

import json

from ..errors import UserError
from ..learn.pieces import pieces
from .options import Option, nearest, parse
from .own import Seen, addressed, draw, knobs_of, read_own

FEW = 3  # examples that are shown in a terminal


def command(argv: list[str]) -> int:
    """`llmlab show NAME --domain FILE`: what of each example is trained."""
    from ..lab import registry
    from ..lab.experiment import Experiment

    able = [n for n in registry.NAMES if registry.get(n).preview is not Experiment.preview]
    if not argv or argv[0].startswith("-"):
        raise UserError(f"say whose view of your data: llmlab show {' | '.join(able)} --domain FILE")
    cls = registry.get(argv[0])
    if argv[0] not in able:
        raise UserError(f"{argv[0]} reads no data of yours{nearest(argv[0], able)}")
    more: list[Option] = [
        ("domain", str, "", f"{cls.reads} (empty: the lab's own)"),
        ("skip_bad", bool, False, "leave out records that cannot be read, and count them"),
        ("model", str, "", f"base, chat, a folder, or a hub id (empty: {cls.default_model})"),
        ("json", bool, False, "every example, as one JSON object a line"),
    ]
    options = parse(f"show {argv[0]}", knobs_of(cls) + more, argv[1:])
    experiment = cls(**{k.name: getattr(options, k.name) for k in cls.knobs()})
    texts, said = read_own(experiment, options)
    loaded = addressed(experiment, options.model or experiment.default_model)
    every = experiment.preview(loaded, texts)
    if options.json:
        for example in every:
            print(
                json.dumps(
                    example.told | {"pieces": pieces(loaded.tok, example.ids, example.mask)},
                    ensure_ascii=False,
                )
            )
        return 0
    if said:
        print(said)
    seen = Seen()
    for example in seen.of(every):
        if seen.examples <= FEW:
            draw(loaded.tok, example)
    print(seen.told())
    return 0
