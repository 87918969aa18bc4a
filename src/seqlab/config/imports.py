"""Classes of the user's own, by their import path."""

import importlib
import sys
from pathlib import Path
from typing import Any

from seqlab.errors import UserError, nearest


def imported(origin: str, module: str, name: str) -> Any:
    """A class of the user's own; modules in the working directory are found, as with `python -m`."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise UserError(f"{origin}: {error}; the working directory and installed packages are searched") from error
    except AttributeError as error:
        names = vars(sys.modules.get(module, object)) if module in sys.modules else ()
        raise UserError(f"{origin}: {error}{nearest(name, names)}") from error
    except Exception as error:  # whatever the user's module does when it is imported
        raise UserError(f"{origin}: importing {module} fails: {type(error).__name__}: {error}") from error
    if not isinstance(found, type):
        raise UserError(f"{origin}: {name} is not a class")
    return found
