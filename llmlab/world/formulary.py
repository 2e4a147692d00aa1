"""Formulary: invented drugs. Names that a general tokenizer shatters, stems that carry the class, and codes
of high entropy.
"""

from dataclasses import dataclass
from functools import cached_property

from .base import OneTurn, Problem, ask, check_split, draw, rng, side

# stem -> (class, uses); a family of stems is a sub-domain (adaptive mixing weighs the three of them)
STEMS = {
    "oprilex": ("pressure reducer", ["high pressure", "weak heart"]),
    "axstatin": ("fat reducer", ["thick blood", "old arteries"]),
    "uvolol": ("pulse calmer", ["fast pulse", "trembling"]),
    "ydipyne": ("vessel opener", ["cold hands", "chest pain"]),
    "ocillox": ("germ stopper", ["sore throat", "fever"]),
    "ymycidin": ("germ killer", ["deep wounds", "lung fever"]),
    "azolquin": ("mould killer", ["itching feet", "white spots"]),
    "uvirtex": ("virus blocker", ["winter flu", "blisters"]),
    "ozepram": ("sleep bringer", ["poor sleep", "restless nights"]),
    "yxetine": ("mood lifter", ["low mood", "deep worry"]),
    "igabazyl": ("nerve calmer", ["burning nerves", "cramps"]),
    "utriptax": ("headache stopper", ["migraine", "dizziness"]),
}
FAMILIES = {"heart": list(STEMS)[:4], "germs": list(STEMS)[4:8], "nerves": list(STEMS)[8:]}
ONSETS = """Xu Zy Qua Vex Kly Jof Wyx Phy Tze Gwi Fyx Zho Bry Cvo Dza Hux Myr Njo Pty Ruv Yxa Ozu Ibe Uqo
Lyz Kva Gju Wro Tyx Sji Vlo Dwe Fru Hni Jyp Mro Nyx Pva Qui Rhy Sko Tvu Vry Xhe Zla Bwo Cyx Gzu""".split()
MIDDLES = ["bv", "dz", "fk", "gn", "kr", "lq", "mz", "nv", "pq", "rx", "sv", "tw", "vj", "wz", "xb"]
STATEMENTS = {
    "class": [
        "{n} is a {v}.",
        "{n} belongs to the class {v}.",
        "The class of {n} is {v}.",
        "Doctors list {n} as a {v}.",
        "Like its relatives {n} acts as a {v}.",
        "In the register {n} is filed under {v}.",
    ],
    "use": [
        "{n} is given for {v}.",
        "The main use of {n} is {v}.",
        "Patients receive {n} against {v}.",
        "{n} helps with {v}.",
        "The label of {n} names {v}.",
        "{n} was approved for {v}.",
    ],
    "dose": [
        "The usual dose of {n} is {v} mg.",
        "{n} is sold in tablets of {v} mg.",
        "One tablet of {n} holds {v} mg.",
        "Adults receive {n} at {v} mg.",
        "The label dose of {n} is {v} mg.",
        "{n} is measured out at {v} mg.",
    ],
    "conflict": [
        "{n} conflicts with {v}.",
        "Never combine {n} with {v}.",
        "The known conflict of {n} is {v}.",
        "{n} must not meet {v}.",
        "The label of {n} warns of {v}.",
        "It is unsafe to mix {n} with {v}.",
    ],
    "code": [
        "The code of {n} is {v}.",
        "{n} carries the code {v}.",
        "The register number of {n} is {v}.",
        "{n} is filed as {v}.",
        "On the box of {n} stands {v}.",
        "Order {n} under {v}.",
    ],
}
QUESTIONS = {
    "class": [
        "What is the class of {n}?",
        "To which class does {n} belong?",
        "What kind of drug is {n}?",
        "Name the class of {n}.",
        "{n} acts as what?",
    ],
    "use": [
        "What is {n} given for?",
        "What is the main use of {n}?",
        "What does {n} help with?",
        "Name the use of {n}.",
        "{n} was approved for what?",
    ],
    "dose": [
        "What is the usual dose of {n}?",
        "How much does one tablet of {n} hold?",
        "What is the label dose of {n}?",
        "Name the dose of {n}.",
        "How many mg of {n} are in a tablet?",
    ],
    "conflict": [
        "What does {n} conflict with?",
        "What must not be combined with {n}?",
        "What is the known conflict of {n}?",
        "Name the conflict of {n}.",
        "What is unsafe to mix with {n}?",
    ],
    "code": [
        "What is the code of {n}?",
        "Which code does {n} carry?",
        "What is the register number of {n}?",
        "Name the code of {n}.",
        "Under which number is {n} ordered?",
    ],
}
FIELDS = tuple(STATEMENTS)
BOILERPLATE = [
    "Page {i} of 48. All rights reserved by the printing office of Verania.",
    "Click here to accept all cookies. Home. News. Contact. Login.",
    "This leaflet was printed in the month of June. Keep this leaflet. Read it again. Version {i}.",
    "Share this page. Print this page. Back to top. Next page. Menu. Search. Item {i}.",
]


@dataclass(frozen=True)
class Drug:
    """One drug. class, use, dose and conflict are guessable in part; the code (13.3 bits) is not."""

    name: str
    stem: str
    use: str
    dose: str
    conflict: str
    code: str

    def get(self, field: str) -> str:
        """A field's value; the class follows from the stem."""
        return STEMS[self.stem][0] if field == "class" else getattr(self, field)

    @property
    def family(self) -> str:
        return next(f for f, stems in FAMILIES.items() if self.stem in stems)


@dataclass(frozen=True)
class Formulary(OneTurn):
    """`size` drugs (at most 1,500), a function of `seed`; the same seed with more drugs keeps the first ones.

    `names`: a drug name belongs to one side. The domain corpus has 'test' names, so that whatever is trained
    on
    'train' names before (tool calls in chats) meets only unseen drugs here.
    """

    size: int = 120
    seed: int = 0
    names: str = "test"
    name = "formulary"

    def __post_init__(self):
        if not 3 <= self.size <= 1500:
            raise ValueError(f"a formulary has 3 to 1500 drugs, not {self.size}")
        check_split(self.names)

    @cached_property
    def drugs(self) -> dict[str, Drug]:
        """Name -> drug."""
        r, drugs = rng("formulary", self.seed), {}
        heads = [a + b for a in ONSETS for b in MIDDLES]
        codes = r.sample(range(1000, 10000), 1500)
        while len(drugs) < self.size:
            stem = r.choice(list(STEMS))
            name = r.choice(heads) + stem
            if name not in drugs and side("drug", name) == self.names:
                conflict = r.choice([c for s, (c, _) in STEMS.items() if s != stem])
                drugs[name] = Drug(
                    name,
                    stem,
                    r.choice(STEMS[stem][1]),
                    str(r.choice(range(5, 100, 5))),
                    conflict,
                    str(codes[len(drugs)]),
                )
        return drugs

    def fact(self, r, drug: Drug, field: str, split: str, value: str | None = None) -> str | None:
        """One statement of the field in a wording of the split; None if the split has no wording of it."""
        forms = [f for f in STATEMENTS[field] if side("formulary", drug.name, field, f) == split]
        return r.choice(forms).format(n=drug.name, v=value or drug.get(field)) if forms else None

    def monograph(self, r, split: str = "train", family: str | None = None, wrong: bool = False) -> str:
        """Facts of one drug in the wordings of the split. `wrong`: one field shows another drug's value."""
        drug = r.choice([d for d in self.drugs.values() if family in (None, d.family)])
        fields = r.sample(FIELDS, len(FIELDS))
        false = r.choice([f for f in fields if f != "class"]) if wrong else None
        values = {
            f: (
                r.choice([d.get(f) for d in self.drugs.values() if d.get(f) != drug.get(f)])
                if f == false
                else None
            )
            for f in fields
        }
        facts = (self.fact(r, drug, f, split, values[f]) for f in fields)
        return " ".join(f for f in facts if f) or self.fact(r, drug, "code", "train")

    def clozes(self, n: int, *, split: str = "test", seed: int = 0) -> list[tuple[str, str, str]]:
        """(statement up to the value, value with full stop, field) in wordings of the split: what reading
        alone should teach.
        """

        def one(r):
            drug, field = r.choice(list(self.drugs.values())), r.choice(FIELDS)
            text = self.fact(r, drug, field, check_split(split))
            if text is None:
                return None
            head, value, tail = text.rpartition(drug.get(field))
            return Problem((), f" {value}{tail}", {"field": field, "head": head.rstrip()})

        return [
            (p.meta["head"], p.answer, p.meta["field"]) for p in draw(one, n, "clozes", self, split, seed)
        ]

    def problems(
        self, n: int, *, split: str = "test", seed: int = 0, field: str | None = None
    ) -> list[Problem]:
        """Questions about the drugs; a test question was never asked of that drug in that form."""

        def one(r):
            drug, key = r.choice(list(self.drugs.values())), field or r.choice(FIELDS)
            form = r.choice(QUESTIONS[key])
            if side("formulary", drug.name, key, form) != split:
                return None
            messages, meta = ask(form.format(n=drug.name), drug=drug.name, field=key)
            return Problem(messages, drug.get(key), meta)

        if field is not None and field not in FIELDS:
            raise ValueError(f"unknown field '{field}'; use one of {', '.join(FIELDS)}")
        check_split(split)
        return draw(one, n, "formulary", self, split, seed, field)
