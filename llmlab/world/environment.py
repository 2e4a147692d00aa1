"""A world part as a packaged environment: reset and step, the contract of gymnasium, OpenEnv and
verifiers.
"""

from .base import Message, World
from .desk import parse


class Environment:
    """One conversation at a time. An observation is the whole conversation so far, in the chat format; an
    action is the text that the model writes next.

    world   any part of the world: Desk(), Errands(), Mishaps(), ToolWorld(…)
    turns   assistant turns after which an episode is truncated
    """

    def __init__(self, world: World, *, turns: int = 6, split: str = "train"):
        self.world, self.turns, self.split, self.seed, self.left = world, turns, split, -1, 0

    def reset(self, seed: int | None = None) -> tuple[list[Message], dict]:
        """(observation, info) of the seed's problem; without a seed: of the next one. info: tools, answer."""
        self.seed = self.seed + 1 if seed is None else seed
        (self.problem,) = self.world.problems(1, split=self.split, seed=self.seed)
        self.messages, self.left = list(self.problem.messages), self.turns
        return list(self.messages), {"tools": self.problem.meta.get("tools"), "answer": self.problem.answer}

    def step(self, action: str) -> tuple[list[Message], float, bool, bool, dict]:
        """(observation, reward, terminated, truncated, info). The reward comes with the last turn; info:
        parts of the score. Raises RuntimeError where no episode is open.
        """
        if not self.left:
            raise RuntimeError("this episode is over; call reset")
        self.messages.append(parse(action))
        reply, self.left = self.world.reply(self.problem, self.messages), self.left - 1
        self.messages += [reply] if reply else []
        terminated, truncated = reply is None, reply is not None and not self.left
        self.left *= not terminated
        score = self.world.score(self.problem, action) if terminated or truncated else None
        info = {"parts": score.parts} if score else {}
        return list(self.messages), score.reward if score else 0.0, terminated, truncated, info
