"""Objects from JSON: a line each, an array of them, or an array inside a document."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from seqlab.data.readers.columns import Column
from seqlab.data.readers.lines import opened, read_all, scan_lines
from seqlab.data.readers.reading import DEFAULT, Fault, Faults, ReadingConfig
from seqlab.errors import UserError


def parse(text: str | bytes) -> Any:
    """What JSON text says. Raises ValueError, also where it is nested too deep or is no Unicode."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def read_document(path: Path, config: ReadingConfig = DEFAULT) -> Any:
    """What a whole file says; UserError when it is not JSON."""
    try:
        return parse(read_all(path, config))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None


def holds_lines(path: Path, config: ReadingConfig = DEFAULT) -> bool:
    """Whether a file has an object on its first line and more below: JSON lines, whatever its name says."""
    with opened(path) as file:
        head = file.read(config.max_line_bytes).lstrip(b"\xef\xbb\xbf \t\r\n")
    first, _, rest = head.partition(b"\n")
    try:
        return isinstance(parse(first), dict) and bool(rest.strip())
    except ValueError:
        return False


def read_json_lines(
    path: Path, wanted: Sequence[Column], config: ReadingConfig, faults: Faults
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The line and the object of every line that is not blank; another is a bad line, told with the `wanted` keys.

    Whether an object has these keys is left to the caller.
    """
    with closing(scan_lines(path, config)) as lines:
        for number, line in enumerate(lines, start=1):
            if isinstance(line, Fault):
                faults.add(number, line)
                continue
            if not line.strip():
                continue
            try:
                record = parse(line)
            except ValueError as error:
                faults.add(number, f"not valid JSON ({error})")
                continue
            if isinstance(record, dict):
                yield number, record
            else:
                faults.add(number, _not_an_object(wanted))


def read_json_array(
    path: Path, wanted: Sequence[Column], config: ReadingConfig, faults: Faults
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number and the object of every element of an array: the document, or the only array in it."""
    document = read_document(path, config)
    if isinstance(document, dict):
        arrays = [value for value in document.values() if isinstance(value, list)]
        document = arrays[0] if len(arrays) == 1 else [document]
    if not isinstance(document, list):
        raise UserError(f"{path}: {_not_an_object(wanted)}, in an array or on a line each")
    for number, record in enumerate(document, start=1):
        if isinstance(record, dict):
            yield number, record
        else:
            faults.add(number, _not_an_object(wanted))


def _not_an_object(wanted: Sequence[Column]) -> str:
    return f"not a JSON object: write for example {json.dumps({str(column): '...' for column in wanted})}"
