"""What share of the answers is right, every character of them?"""

from collections.abc import Sequence


def exact_match(predicted: Sequence[str], targets: Sequence[str]) -> float:
    """Share of `predicted` equal to their targets, in [0, 1]. Raises ValueError on no or unequally many answers."""
    if not targets:
        raise ValueError("exact match of no answers is undefined")
    return sum(answer == target for answer, target in zip(predicted, targets, strict=True)) / len(targets)
