"""The run folder: the name of every file in it, and how one is written."""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqlab.errors import UserError
from seqlab.runs.compatibility import FACTS, FORMAT
from seqlab.runs.schema import Environment, checked


@dataclass(frozen=True)
class RunFolder:
    """Everything that a run leaves behind; enough to evaluate, resume, serve and report it on another machine."""

    root: Path

    @property
    def config(self) -> Path:
        """The resolved config, every default written out."""
        return self.root / "config.toml"

    @property
    def environment(self) -> Path:
        """Versions, machine, git commit, command line, measured matrix rate, decision on precision."""
        return self.root / "environment.json"

    @property
    def tokenizers(self) -> Path:
        """Folder with one JSON file a vocabulary."""
        return self.root / "tokenizers"

    @property
    def data(self) -> Path:
        """How much data there is, and how long it is, in numbers."""
        return self.root / "data.json"

    @property
    def data_files(self) -> Path:
        """Checksums of the files that the run is trained on, and of its test set."""
        return self.root / "data-files.json"

    @property
    def test_set(self) -> Path:
        """The test examples, one JSON object a line, where they come from files and are few enough."""
        return self.root / "test-set.jsonl"

    @property
    def events(self) -> Path:
        """One JSON object a line: updates, evaluations, samples, notes."""
        return self.root / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        """One folder a checkpoint, `step-00000500`."""
        return self.root / "checkpoints"

    def checkpoint(self, step: int) -> Path:
        """The checkpoint after `step` updates."""
        return self.checkpoints / f"step-{step:08d}"

    @property
    def weights(self) -> Path:
        """The weights that evaluate, predict and serve use."""
        return self.root / "model.safetensors"

    @property
    def checksums(self) -> Path:
        """Size and SHA-256 of the final weights, and of what the task learned from its data."""
        return self.root / "checksums.json"

    @property
    def predictions(self) -> Path:
        """One JSON object a test example: source, target, predicted, correct."""
        return self.root / "predictions" / "test.jsonl"

    def artifact(self, name: str) -> Path:
        """What the task shows of the trained model: `attention`, `pictures`, `answers` or `sentences`."""
        return self.root / f"{name}.json"

    @property
    def results(self) -> Path:
        """Scores, time, memory: what tables are made of."""
        return self.root / "results.json"

    @property
    def report(self) -> Path:
        """The offline page."""
        return self.root / "report.html"

    @property
    def tensorboard(self) -> Path:
        """Event files of TensorBoard, where it is installed."""
        return self.root / "tensorboard"

    @property
    def bad_batch(self) -> Path:
        """The batch whose loss was not finite."""
        return self.root / "bad-batch.safetensors"


def check_links(paths: RunFolder) -> None:
    """Raises UserError for a symbolic link that leads out of the run folder: it may come from anybody.

    What is read or written through it would be a file of the user's that has nothing to do with the run. The folder
    itself may be reached by a link.
    """
    root = paths.root.resolve()
    for folder, folders, files in os.walk(root):  # does not follow links
        for link in (Path(folder) / name for name in (*folders, *files)):
            if link.is_symlink() and not Path(os.path.realpath(link)).is_relative_to(root):
                place = paths.root / link.relative_to(root)
                raise UserError(f"{place}: a link that leads out of the run folder: put the file itself in its place")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write the file that is to stand at `path`: hidden beside it, forced to disk and renamed at the end.

    A crash leaves the old file or the new one, and so does an error.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        to_disk(partial)
        partial.replace(path)
        to_disk(path.parent)
    except Exception:
        with suppress(OSError):
            partial.unlink()
        raise


FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def unwritable(error: OSError, path: Path, advice: str) -> UserError:
    """What is said when the system refuses to write: the file that it names, else `path`; why; and what to do."""
    is_full = error.errno in FULL
    reason = "the disk is full, or a quota is" if is_full else (error.strerror or str(error))
    visible = re.sub(r"(^|[/\\])\.([^/\\]+)\.partial$", r"\1\2", str(error.filename or path))  # what `replacing` writes
    return UserError(f"{visible}: cannot be written ({reason}): {'free some space; ' * is_full}{advice}")


def atomic_write(path: Path, text: str) -> None:
    """Writes a file whole or not at all: a crash leaves the old file or the new one."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def to_disk(path: Path) -> None:
    """Returns when the system has written the file or folder to the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes a JSON object, whole or not at all."""
    atomic_write(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_environment(paths: RunFolder) -> dict[str, Any]:
    """What the run knows of its machine and data; raises UserError when the file is missing or damaged."""
    try:
        facts = json.loads(paths.environment.read_text(encoding="utf-8"))
        if not {"precision", "matrix_flops"} <= facts.keys():
            raise ValueError
        checked(Environment, facts, str(paths.environment), "; restore it from a copy of the run")
        written_in = int(facts.get("format", 1))
        facts = {FACTS.get(name) or name: value for name, value in facts.items()}
    except OSError as error:
        raise UserError(
            f"{paths.environment}: cannot be read ({error.strerror}); restore it from a copy of the run"
        ) from None
    except (ValueError, TypeError, AttributeError):
        raise UserError(f"{paths.environment}: damaged; restore it from a copy of the run") from None
    if written_in > FORMAT:
        raise UserError(
            f"{paths.root}: written by a newer seqlab (format {written_in}, known is {FORMAT}): update seqlab"
        )
    return facts
