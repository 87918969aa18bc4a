"""In which batches does a model look at encoded rows to be judged, or to answer?"""

from collections.abc import Iterator

from torch import nn

from seqlab.data.buckets import in_order_of_length
from seqlab.data.token_rows import TokenBatch, TokenRows


def batches(rows: TokenRows, model: nn.Module, tokens: int) -> Iterator[TokenBatch]:
    """All rows, the longest first, in batches of at most so many tokens; on the device of the model."""
    device = next(model.parameters()).device
    for bucket in in_order_of_length(rows.shapes, tokens):
        yield rows.batch(*bucket).to(device)
