"""Claims of chapter 05: what adapters of a low rank can do, what they cost, and a base of 4 bits under them."""


from .claims import Arm

from .rates import Trials

FEW, MANY = 100, 400  # names with codes: 1.3 and 5.3 kbit to learn
ALIKE = dict(attention=15, mlp=10, both=6)  # ranks at which the three have the same 61,440 parameters
LENGTH = {"sft": 100, "dpo": 40, "grpo": 30}  # steps
# The best of each arm's trials, as data/sweeps/rates.json has them (a test holds the two together).
RATES: dict[str, float] = {}


def codes(label: str, people: int, **knobs) -> Arm:
    """An arm of learning codes by heart."""
    return _tuned(label, "codes", {"people": people, "probe": 400} | knobs)


def taught(label: str, task: str, **knobs) -> Arm:
    """An arm of one of the three tasks."""
    return _tuned(label, "lora", {"task": task, "steps": LENGTH[task], "probe": 500} | knobs)


def _tuned(label: str, experiment: str, knobs: dict) -> Arm:
    return Arm(label, experiment, knobs | ({"lr": RATES[label]} if label in RATES else {}))


FULL_FEW, FULL_MANY = codes("all weights, 100 codes", FEW, method="full"), codes("all weights, 400 codes", MANY, method="full")
ONE_MANY = codes("rank 1, 400 codes", MANY, rank=1)
EIGHT_FEW, EIGHT_MANY = codes("rank 8, 100 codes", FEW), codes("rank 8, 400 codes", MANY)
AT = {where: codes(f"adapters on {where}, rank {r}, 400 codes", MANY, targets=where, rank=r) for where, r in ALIKE.items()}
FULL = {task: taught(f"{task}, all weights", task, method="full") for task in LENGTH}
LORA = {task: taught(f"{task}, rank {r}", task, rank=r) for task, r in (("sft", 8), ("dpo", 8), ("grpo", 1))}
NF4 = {task: taught(f"{task}, rank {LORA[task].knobs['rank']} on NF4", task, method="qlora", rank=LORA[task].knobs["rank"]) for task in LENGTH}

TRIALS = (
    Trials("kilobits", (5e-4, 1e-3, 2e-3, 4e-3), (FULL_FEW, FULL_MANY, ONE_MANY, EIGHT_FEW, EIGHT_MANY, *AT.values())),
    Trials("skill", (3e-4, 1e-3, 3e-3, 1e-2), (*FULL.values(), *LORA.values(), *NF4.values())),
)
