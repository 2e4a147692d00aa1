"""Heads: a model that also says a number at every token, a value (PPO's critic) or a reward (a reward
model).
"""

from types import SimpleNamespace

from torch import nn


class Valued(nn.Module):
    """A causal LM with a linear head on its last hidden state. The result carries logits and values [B,T].

    The head is fp32 and starts at zero: every value is 0 until it learns. Whatever else is asked of it
    (config, device) is the model's.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.head = nn.Linear(model.config.get_text_config().hidden_size, 1).to(
            next(model.parameters()).device
        )
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @property
    def config(self):
        """The model's."""
        return self.model.config

    @property
    def device(self):
        """Where the model lies."""
        return next(self.model.parameters()).device

    def forward(self, **inputs):
        """logits as the model gives them; values at every token that was put in."""
        result = self.model(**inputs, output_hidden_states=True)
        values = self.head(result.hidden_states[-1].float())[..., 0]
        return SimpleNamespace(logits=result.logits, values=values)
