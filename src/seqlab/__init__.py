"""seqlab trains sequence models fast on the hardware you have, and measures what each technique buys.

    import seqlab

    run = seqlab.train("math-place-value", {"train.max_steps": 500})
    run.predict("What is the tens digit of 3917?")
    run.evaluate().scores["accuracy"]
    run.folder

Everything else is imported from the module that it stands in.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqlab.api import train as train
    from seqlab.errors import UserError as UserError
    from seqlab.inference.run import Run as Run

__version__ = "0.1.0"

_HOMES = {"train": "seqlab.api", "Run": "seqlab.inference.run", "UserError": "seqlab.errors"}
__all__ = ["Run", "UserError", "__version__", "train"]


def __getattr__(name: str) -> Any:
    """Public names load on first use: importing torch takes a second that `seqlab --help` does not have."""
    if name not in _HOMES:
        raise AttributeError(f"module 'seqlab' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
