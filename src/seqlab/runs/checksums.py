"""Checksums of files: what they held when a run was written, and whether they still do."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from seqlab.errors import UserError
from seqlab.runs.folder import RunFolder, write_json
from seqlab.runs.schema import checked


@dataclass(frozen=True)
class Checksum:
    """Size in bytes and SHA-256 of a file."""

    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "Checksum":
        """Of a file on disk, read block by block."""
        return cls(path.stat().st_size, sha256(path))

    def fault(self, path: Path) -> str | None:
        """What is wrong with a file that had this checksum: missing, of another size, changed; None when nothing is."""
        if not path.is_file():
            return "missing"
        if (size := path.stat().st_size) != self.size:
            return f"{size} bytes instead of {self.size}"
        return None if sha256(path) == self.sha256 else "its content was changed or damaged"


def sha256(path: Path) -> str:
    """SHA-256 of the bytes of a file as they are on disk, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_checksums(paths: RunFolder, files: Iterable[Path]) -> None:
    """Adds files of a run folder to its checksums."""
    found = {file.relative_to(paths.root).as_posix(): Checksum.of(file) for file in files}
    write_json(paths.checksums, {name: asdict(known) for name, known in (_recorded(paths) | found).items()})


def verify_checksums(paths: RunFolder) -> None:
    """Raises UserError that names the first file that is not what the run wrote; older runs have no checksums.

    Final weights without results belong to no finished run: its checkpoints count.
    """
    for name, checksum in _recorded(paths).items():
        if name == paths.weights.name and not paths.results.is_file():
            continue
        if fault := checksum.fault(paths.root / name):
            raise UserError(
                f"{paths.root / name}: {fault}: restore it from a copy of the run; if you changed it yourself, delete "
                f"{paths.checksums}"
            )


def _recorded(paths: RunFolder) -> dict[str, Checksum]:
    if not paths.checksums.is_file():
        return {}
    advice = "; restore it from a copy of the run, or delete it to do without"
    try:
        value = json.loads(paths.checksums.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{paths.checksums}: damaged{advice}") from None
    return checked(dict[str, Checksum], value, str(paths.checksums), advice)
