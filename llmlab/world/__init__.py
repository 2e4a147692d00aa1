"""A small invented country whose every fact and skill has exact ground truth. Text only: nothing here imports
torch.
"""

from .base import Message, Problem, Score, World
from .census import Census
from .desk import Desk
from .formulary import Formulary
from .records import Records
from .strings import Strings
from .sums import Sums
from .talk import Talk

__all__ = [
    "Census",
    "Desk",
    "Formulary",
    "Message",
    "Problem",
    "Records",
    "Score",
    "Strings",
    "Sums",
    "Talk",
    "World",
]
