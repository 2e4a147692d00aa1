"""What the models of this chapter are asked where a run shows their words."""

from ..c09_reasoning.samples import problems

ASKED = {"scale": problems, "budget": problems}
