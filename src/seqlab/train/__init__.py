"""The training engine; knows no task and no model.

The package can be called: `seqlab.train(...)` is the function of `seqlab.api`, and importing anything from this folder
binds its name in `seqlab` to the folder.
"""

import sys
from types import ModuleType
from typing import Any

import seqlab


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **named: Any) -> Any:
        return seqlab.__getattr__("train")(*args, **named)


sys.modules[__name__].__class__ = _CallablePackage
