"""Guards: what must be true of a design before its numbers decide anything. A claim that a guard refuses
says so and waits for its redesign.
"""

from statistics import fmean

from . import rates
from .claims import Claim


def refused(claim: Claim, record: dict) -> str:
    """Why there is no verdict, in one sentence; empty where every guard lets the claim pass."""
    return next((said for guard in GUARDS if (said := guard(claim, record))), "")


def floor_or_ceiling(claim: Claim, record: dict) -> str:
    """A difference cannot show where both sides lie within the smallest effect of 0 %, or of 100 %. (That two
    arms both keep 100 % is something; that both keep 0 % is not.)
    """
    for c in record["contrasts"]:
        if not c["counts"] or c["unit"] != "share" or len(c["terms"]) != 2:
            continue
        one, other = (fmean(t["values"][: c["n"]]) for t in c["terms"])
        if max(one, other) <= c["least"]:
            return f"{c['label']}: both sides are near 0 %, untestable at this difficulty"
        if min(one, other) >= 1 - c["least"] and c["direction"] != "same":
            return f"{c['label']}: both sides are near 100 %, untestable at this difficulty"
    return ""


def declared(claim: Claim, record: dict) -> str:
    """What the claim itself asks for first."""
    failed = [c["label"] for c in record.get("guards", ()) if c["verdict"] != "as claimed"]
    return f"a condition of its own fails, {failed[0]}" if failed else ""


def few_items(claim: Claim, record: dict) -> str:
    """The smallest effect is at least twice the standard error of a share over so many questions,
    sqrt(p (1 − p) / items).
    """
    for c in record["contrasts"]:
        if not claim.items or not c["counts"] or c["unit"] != "share":
            continue
        share = fmean([v for t in c["terms"] for v in t["values"][: c["n"]]])
        error = (max(0.0, share * (1 - share)) / claim.items) ** 0.5
        if c["least"] < 2 * error:
            return (
                f"{c['label']}: over {claim.items} questions a share has a standard error of"
                f" {100 * error:.1f} points, too much for an effect of {100 * c['least']:.0f}"
            )
    return ""


def edge_of_the_grid(claim: Claim, record: dict) -> str:
    """Where two arms are compared, each at the best of the rates tried for it: that is not the lowest or the
    highest.
    """
    compared = [c.arms for c in claim.contrasts if c.counts and len(c.arms) > 1]
    for arm in (arm for arms in compared for arm in arms):
        lowest, highest, best = rates.tried(arm) or (0.0, 1.0, 0.5)
        if best in (lowest, highest):
            end = "lowest" if best == lowest else "highest"
            return f"{arm.label}: its rate, {best:g}, is the {end} of those that were tried"
    return ""


GUARDS = (floor_or_ceiling, declared, few_items, edge_of_the_grid)
