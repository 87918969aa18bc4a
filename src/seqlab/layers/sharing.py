"""Which layer stands at which depth: parameter sharing over the depth of a stack.

A stack of depth N may have only M distinct layers; a layer then stands at several depths. Key/value caches belong to
depths, never to layers.
"""

from typing import Literal

Sharing = Literal["none", "albert", "universal", "sequence", "cycle", "cycle-rev"]

SCHEMES_WITH_DISTINCT_LAYERS = ("sequence", "cycle", "cycle-rev")


def layer_order(sharing: Sharing, depth: int, distinct: int | None = None) -> list[int]:
    """The index of the layer that stands at each depth, `depth` numbers in 0..M-1.

    `distinct` (M, a divisor of `depth`) is needed by the three schemes of Takase & Kiyono 2021 ("Lessons on Parameter
    Sharing across Layers in Transformers"), and by no other: "none" has M = N, "albert" (Lan et al. 2020) and
    "universal" (Dehghani et al. 2019) have M = 1. Raises ValueError when `distinct` does not fit.
    """
    if sharing not in SCHEMES_WITH_DISTINCT_LAYERS:
        if distinct is not None:
            raise ValueError(f'distinct_layers means nothing with sharing "{sharing}": leave it out')
        return list(range(depth)) if sharing == "none" else [0] * depth
    if distinct is None:
        raise ValueError(f'sharing "{sharing}" needs distinct_layers, the number of layers with weights of their own')
    if distinct < 1 or depth % distinct:
        raise ValueError(f"distinct_layers {distinct} does not divide the {depth} layers of a stack")

    repeats = depth // distinct
    cycle = list(range(distinct))
    if sharing == "sequence":
        return [layer for layer in cycle for _ in range(repeats)]
    if sharing == "cycle" or repeats == 1:
        return cycle * repeats
    return cycle * (repeats - 1) + cycle[::-1]
