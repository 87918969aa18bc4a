"""The one exception that stands for a mistake of the user, reported in one line."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can put right; the message names the file, line or key and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean "X"?` for the known name closest to `word`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f'; did you mean "{close[0]}"?' if close else ""
