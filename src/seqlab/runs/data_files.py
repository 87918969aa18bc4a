"""The data of a run: checksums of the files that it was trained on, and the examples that it is judged by.

A resumed run has the same weights as an uninterrupted one only if its files are the same. The test set is kept in the
run folder, so that a copy of the folder can be evaluated where the files are not.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from seqlab.errors import UserError
from seqlab.runs.checksums import Checksum
from seqlab.runs.folder import RunFolder, atomic_write, write_json
from seqlab.runs.schema import checked

LARGEST_TEST_SET = 16 << 20
"""Bytes of JSON; a larger test set is read from its files again."""


@dataclass(frozen=True)
class DataFile:
    """A file that examples are read from."""

    path: str
    checksum: Checksum


@dataclass(frozen=True)
class DataFiles:
    """What `data-files.json` holds."""

    files: list[DataFile]
    test_set: Checksum | None = None
    """of test-set.jsonl; None where it is drawn anew, or too large to be kept"""


def record_data(paths: RunFolder, files: Sequence[Path], example: Any, test: Sequence[Any]) -> None:
    """Writes down what the run is trained on, and keeps the test set where examples are named tuples of JSON values.

    Args:
        paths: the run folder; it exists.
        files: every file that examples are read from; none where they are drawn.
        example: the type of an example.
        test: the test set.
    """
    kept = _lines(test) if files and hasattr(example, "_fields") else None
    if kept is None:
        paths.test_set.unlink(missing_ok=True)
    else:
        atomic_write(paths.test_set, kept)
    found = DataFiles(
        [DataFile(str(file), _checksum(file)) for file in files],
        None if kept is None else Checksum.of(paths.test_set),
    )
    write_json(paths.data_files, asdict(found))


def changed_data(paths: RunFolder, files: Sequence[Path]) -> str | None:
    """Which of the data files are others than when training began, in words; None: none, or the run does not know."""
    recorded = _read(paths)
    if recorded is None:
        return None
    then, now = [Path(file.path).name for file in recorded.files], [file.name for file in files]
    for path, name in zip(files, now, strict=True):
        if name not in then:
            return f"{path}: was not there when training began"
    for file, name in zip(recorded.files, then, strict=True):
        if name not in now:
            return f"{file.path}: was there when training began, and is missing"
    for file, path in zip(recorded.files, files, strict=False):  # folders may be others on another machine
        if (checksum := _checksum(path)) != file.checksum:
            sizes = f"{file.checksum.size:,} bytes then, {checksum.size:,} now"
            return f"{path}: changed since training began ({sizes})"
    return None


def kept_test_set(paths: RunFolder, example: Any) -> Sequence[Any] | None:
    """The test set that the run keeps; None where it keeps none. UserError when it is damaged."""
    recorded = _read(paths)
    if recorded is None or recorded.test_set is None:
        return None
    advice = "restore the file from a copy of the run, or score a file of your own with --data"
    if fault := recorded.test_set.fault(paths.test_set):
        raise UserError(f"{paths.test_set}: {fault}: {advice}")
    try:
        lines = paths.test_set.read_text(encoding="utf-8").split("\n")
        known: TypeAdapter[Any] = TypeAdapter(example)
        return [known.validate_python(json.loads(line)) for line in lines if line]
    except (ValueError, ValidationError):
        raise UserError(f"{paths.test_set}: its examples do not fit this kind of data: {advice}") from None


def _lines(test: Sequence[Any]) -> str | None:
    """A JSON object for each example; None when they are too many."""
    lines: list[str] = []
    size = 0
    for example in test:
        line = json.dumps(_plain(example), ensure_ascii=False) + "\n"
        size += len(line.encode())
        if size > LARGEST_TEST_SET:
            return None
        lines.append(line)
    return "".join(lines)


def _plain(value: Any) -> Any:
    """Named tuples as objects, whatever lies in them."""
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _checksum(file: Path) -> Checksum:
    try:
        return Checksum.of(file)
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error})") from None


def _read(paths: RunFolder) -> DataFiles | None:
    """None for runs of versions that did not write it."""
    if not paths.data_files.is_file():
        return None
    try:
        value = json.loads(paths.data_files.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{paths.data_files}: damaged; restore it from a copy of the run") from None
    return checked(DataFiles, value, str(paths.data_files), "; restore it from a copy of the run")
