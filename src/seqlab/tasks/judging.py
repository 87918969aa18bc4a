"""In which batches does a model look at encoded rows to be judged, or to answer?"""

from collections.abc import Iterator
from typing import Any

from torch import nn

from seqlab.data.buckets import in_order_of_length
from seqlab.data.stream import Encoded


def batches(rows: Encoded, model: nn.Module, tokens: int) -> Iterator[Any]:
    """All rows, the longest first, in batches of at most so many tokens; on the device of the model."""
    device = next(model.parameters()).device
    for bucket in in_order_of_length(rows.shapes, tokens):
        yield rows.batch(*bucket).to(device)
