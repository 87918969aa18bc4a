"""Rows of text from a data set of the hub, by its name there, or from a folder of files that `datasets` knows."""

from collections.abc import Callable
from typing import Any

from seqlab.data.readers.columns import Columns
from seqlab.data.readers.tables import Records, record_texts
from seqlab.errors import UserError


def hub_splits(name: str, subset: str | None) -> list[str]:
    """Its splits, such as `train` and `test`. UserError when there is no such data set, no network or no `datasets`."""
    return ask(name, lambda datasets: datasets.get_dataset_split_names(name, subset))


def read_hub(name: str, subset: str | None, split: str, columns: Columns) -> Records:
    """The wanted columns of a split, read from the copy that `datasets` keeps on disk.

    Raises UserError: a column that is not there, a value that is no text, and what `hub_splits` raises.
    """
    rows = ask(name, lambda datasets: datasets.load_dataset(name, subset, split=split))
    for number, record in enumerate(rows, start=1):
        yield number, record_texts(record, columns, f"{name} ({split}), row {number}")


def hub_fingerprint(name: str, subset: str | None, split: str) -> str:
    """What the library `datasets` tells the contents of a split by."""
    return ask(name, lambda datasets: datasets.load_dataset(name, subset, split=split)._fingerprint)


def ask(name: str, question: Callable[[Any], Any]) -> Any:
    """What the library `datasets` answers; UserError when it is not installed, or fails for the data set `name`."""
    try:
        import datasets  # pyright: ignore[reportMissingImports] - in the extra "hf"
    except ModuleNotFoundError:
        raise UserError(f"data.dataset={name} needs the library datasets: pip install datasets") from None
    try:
        return question(datasets)
    except Exception as error:  # the library has no exception of its own: missing names and networks come as any of ten
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"data.dataset={name} cannot be loaded: {reason}") from None
