"""Answer: a model answers from numbered passages, and what it cites is looked up."""

import re
from dataclasses import dataclass

from ..errors import UserError
from ..models.load import Loaded
from ..tokens import chat
from ..tokens.special import TEMPLATE
from ..train.sample import sample
from ..world.base import same
from ..world.leaflets import ABSENT, CITE, marked

LONGEST = {True: 24, False: 256}  # tokens of an answer: of a lab model, of another
ASKED = (
    "Answer the question from the numbered passages alone. Behind each statement give the number of the"
    f" passage that it is from, such as [1]. If the passages do not tell it, answer: {ABSENT}"
)


@dataclass(frozen=True)
class Answer:
    """What a model said, and how many of the passages it was shown."""

    text: str
    shown: int
    ended: bool

    @property
    def cited(self) -> list[int]:
        """Numbers of shown passages, in the order of their first citation."""
        return [n for n in self._numbers() if 0 < n <= self.shown]

    @property
    def remarks(self) -> list[str]:
        """What to know of it before it is believed."""
        found = []
        if strange := [n for n in self._numbers() if not 0 < n <= self.shown]:
            numbers = ", ".join(f"[{n}]" for n in strange)
            found.append(f"The answer cites {numbers}, and only 1 to {self.shown} were shown.")
        if same(self.text, ABSENT):
            found.append("The model says that the passages do not tell it.")
        elif not self._numbers():
            found.append("The answer cites no passage: check it against those above.")
        if not self.ended:
            found.append("The answer was cut off: it is longer than a model may write here.")
        return found

    def _numbers(self) -> list[int]:
        found = re.findall(r"\d+", " ".join(re.findall(r"\[([\d,; ]{1,40})\]", self.text)))
        return list(dict.fromkeys(int(n) for n in found))


def prompt(tok, question: str, passages: list[str]) -> list[int]:
    """Ids of numbered passages and the question: for a model of the lab in the form that it was trained on,
    for another one with what is expected of it.
    """
    passages = [" ".join(p.split()) for p in passages]
    question = " ".join(question.split())
    if tok.chat_template == TEMPLATE:
        text = " ".join(marked(p, n) for n, p in enumerate(passages, 1)) + f"\n{question} {CITE}"
    else:
        lines = [f"[{n}] {p}" for n, p in enumerate(passages, 1)]
        text = "\n\n".join([ASKED, *lines]) + f"\n\n{question}"
    return chat.prompt(tok, ({"role": "user", "content": text},))


def answer(loaded: Loaded, question: str, passages: list[str]) -> Answer:
    """Greedy, from as many of the passages as the model has room for, the first ones first. Raises
    UserError.
    """
    tok = loaded.tok
    longest = LONGEST[tok.chat_template == TEMPLATE]
    most = room(loaded.model) - longest
    shown = list(passages)
    while len(ids := prompt(tok, question, shown)) > most and shown:
        shown.pop()
    if not shown:
        raise UserError(
            f"the question and one passage have no room in the {room(loaded.model):,} tokens of"
            f" '{loaded.name}'; ask more briefly, or make chunks shorter (--length)"
        )
    done = sample(loaded.model, [ids], max_new=longest, temperature=0.0, stop=chat.stop_ids(tok))
    ended = done.stopped[0]
    said = tok.decode(done.ids[0][:-1] if ended else done.ids[0], skip_special_tokens=True).strip()
    return Answer(said, len(shown), ended)


def room(model) -> int:
    """Tokens that a model can read and write."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2048
