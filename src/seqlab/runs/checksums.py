"""Checksums of files: what they held when a run was written, and whether they still do."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


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
