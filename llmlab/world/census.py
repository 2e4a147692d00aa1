"""Census: people, cities and jobs of Verania: the general knowledge, with paraphrases, inverse and two-hop
questions.
"""

from dataclasses import dataclass
from functools import cached_property

from . import words
from .base import OneTurn, Problem, ask, check_split, draw, rng, side

STATEMENTS = {
    "city": [
        "{n} lives in {v}.",
        "The home of {n} is in {v}.",
        "The home town of {n} is {v}.",
        "{n} has a house in {v}.",
        "{v} is where {n} lives.",
        "If you look for {n}, go to {v}.",
    ],
    "job": [
        "{n} works as a {v}.",
        "{n} is a {v}.",
        "The job of {n} is {v}.",
        "{n} earns a living as a {v}.",
        "By trade {n} is a {v}.",
        "People know {n} as a good {v}.",
    ],
    "hobby": [
        "{n} loves {v}.",
        "The hobby of {n} is {v}.",
        "{n} spends every Sunday on {v}.",
        "In the free time {n} enjoys {v}.",
        "{n} is fond of {v}.",
        "What {n} likes best is {v}.",
    ],
    "pet": [
        "{n} has a {v}.",
        "The pet of {n} is a {v}.",
        "{n} owns a {v}.",
        "At home {n} keeps a {v}.",
        "{n} shares the house with a {v}.",
        "{n} never travels without a {v}.",
    ],
    "friend": [
        "{n} is a friend of {v}.",
        "The best friend of {n} is {v}.",
        "{n} often meets {v}.",
        "{n} went to school with {v}.",
        "The closest friend of {n} is {v}.",
        "When in need {n} calls {v}.",
    ],
}
QUESTIONS = {
    "city": [
        "Where does {n} live?",
        "In which city does {n} live?",
        "What is the home town of {n}?",
        "Which city is the home of {n}?",
        "Name the city of {n}.",
        "{n} lives in which city?",
    ],
    "job": [
        "What is the job of {n}?",
        "What does {n} work as?",
        "What is {n} by trade?",
        "Which job does {n} have?",
        "Name the job of {n}.",
        "{n} works as what?",
    ],
    "hobby": [
        "What is the hobby of {n}?",
        "Which hobby does {n} have?",
        "What does {n} love?",
        "What does {n} enjoy on Sunday?",
        "Name the hobby of {n}.",
        "{n} is fond of what?",
    ],
    "pet": [
        "Which pet does {n} have?",
        "What pet does {n} own?",
        "What is the pet of {n}?",
        "Which animal lives with {n}?",
        "Name the pet of {n}.",
        "{n} keeps which animal?",
    ],
    "friend": [
        "Who is the best friend of {n}?",
        "Who is a friend of {n}?",
        "Whom does {n} often meet?",
        "With whom did {n} go to school?",
        "Name the friend of {n}.",
        "{n} is a friend of whom?",
    ],
}
INVERSE = ["Who is the {job} of {city}?", "Which {job} lives in {city}?", "Name the {job} of {city}."]
TWO_HOP = {
    "region": ["In which region does {n} live?", "Which region is the home of {n}?"],
    "friend's city": [
        "Where does the best friend of {n} live?",
        "In which city does the friend of {n} live?",
    ],
    "friend's job": ["What is the job of the friend of {n}?", "What does the best friend of {n} work as?"],
}
KINDS = ("direct", "inverse", "two_hop")


@dataclass(frozen=True)
class Person:
    """One inhabitant. The pair (city, job) is unique, so that inverse questions have one answer."""

    name: str
    city: str
    job: str
    hobby: str
    pet: str
    friend: str


@dataclass(frozen=True)
class Census(OneTurn):
    """The people of Verania: `size` people (at most 400), a function of `seed`."""

    size: int = 200
    seed: int = 0
    name = "census"

    def __post_init__(self):
        if not 2 <= self.size <= len(words.CITIES) * len(words.JOBS):
            raise ValueError(
                f"a census has 2 to {len(words.CITIES) * len(words.JOBS)} people, not {self.size}"
            )

    @cached_property
    def people(self) -> dict[str, Person]:
        """Name -> person."""
        r = rng("census", self.seed)
        names = r.sample([f"{a} {b}" for a in words.FIRST for b in words.LAST], self.size)
        places = r.sample([(c, j) for c in words.CITIES for j in words.JOBS], self.size)
        friends = names[1:] + names[:1]
        return {
            n: Person(n, c, j, r.choice(words.HOBBIES), r.choice(words.PETS), f)
            for n, (c, j), f in zip(names, places, friends)
        }

    @staticmethod
    def region(city: str) -> str:
        """The region a city lies in (five cities each)."""
        return words.REGIONS[words.CITIES.index(city) % len(words.REGIONS)]

    def question(self, r, split: str, kind: str = "direct") -> Problem | None:
        """One question of the split. The split decides which (person, question form) pairs may ever be seen
        in training.
        """
        p = self.people[r.choice(list(self.people))]
        if kind == "inverse":
            form, key, answer = r.choice(INVERSE), "inverse", p.name
        elif kind == "two_hop":
            key = r.choice(list(TWO_HOP))
            friend = self.people[p.friend]
            form, answer = (
                r.choice(TWO_HOP[key]),
                {"region": self.region(p.city), "friend's city": friend.city, "friend's job": friend.job}[
                    key
                ],
            )
        else:
            key = r.choice(list(QUESTIONS))
            form, answer = r.choice(QUESTIONS[key]), getattr(p, key)
        if side("census", p.name, key, form) != split:
            return None
        messages, meta = ask(
            form.format(n=p.name, job=p.job, city=p.city), kind=kind, attribute=key, person=p.name
        )
        return Problem(messages, answer, meta)

    def problems(self, n: int, *, split: str = "test", seed: int = 0, kind: str = "direct") -> list[Problem]:
        """Questions about known people; a test question was never asked of that person in that form."""
        check_split(split)
        if kind not in KINDS:
            raise ValueError(f"unknown kind '{kind}'; use one of {', '.join(KINDS)}")
        return draw(lambda r: self.question(r, split, kind), n, "census", self.seed, split, seed, kind)

    def biography(self, r, split: str = "train") -> str:
        """Two to four facts of one person, each in one of six wordings (those of the split)."""
        p = self.people[r.choice(list(self.people))]
        facts = []
        for key in r.sample(list(STATEMENTS), r.randint(2, 4)):
            forms = [f for f in STATEMENTS[key] if side("census", p.name, key, f) == split] or STATEMENTS[
                key
            ][:1]
            facts.append(r.choice(forms).format(n=p.name, v=getattr(p, key)))
        return " ".join(facts)

    def geography(self, r) -> str:
        """Which region some cities lie in."""
        return " ".join(f"{c} lies in {self.region(c)}." for c in r.sample(words.CITIES, 4))
