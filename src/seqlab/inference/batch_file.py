"""Prediction for files of any size: a chunk of lines at a time, resumed after a stop.

A text is never in memory as a whole. FILE is called FILE.partial until it is complete, and FILE.partial.json records
after every chunk how much of it counts and what it was made from. An interrupted command that is given again reads the
lines that are done once more, checks that they are the same, and continues with the next chunk: the file is then, byte
for byte, the one that no interruption would have changed.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import torch
from torch import nn

from seqlab.data.readers.lines import opened, read_lines
from seqlab.display import LineCount
from seqlab.errors import UserError
from seqlab.inference.run import CHUNK, Run, chunks
from seqlab.runs.folder import unwritable, write_json
from seqlab.runs.lock import locked
from seqlab.tasks.task import LineResult

WAY_OUT = "remove it to start anew, or choose another --out"


def write_outputs(run: Run, lines: Iterable[str], out: TextIO, shown: LineCount) -> None:
    """Writes an output for every line, in order; n best ones on one line with tabs between them."""
    done = Done()
    for text in _predicted(run, lines, shown, done):
        out.write(text)
        out.flush()
    _report(run, done, shown)


def write_output_file(run: Run, lines: Iterable[str], path: Path, overwrite: bool, shown: LineCount) -> None:
    """The same into a file that appears when it is complete. Resumes what an interrupted call left.

    Raises:
        UserError: the file exists, and is not to be overwritten; it cannot be written; or what was left comes from
            another run, other settings or other lines.
    """
    with locked(path, "choose another --out"):
        if path.exists() and not overwrite:
            raise UserError(f"{path}: already exists; choose another --out, or --overwrite it")
        _write_output_file(run, lines, path, shown)


def _write_output_file(run: Run, lines: Iterable[str], path: Path, shown: LineCount) -> None:
    partial, record = (path.with_name(path.name + suffix) for suffix in (".partial", ".partial.json"))
    decode = run.experiment.decode.model_dump(mode="json")
    made_by = {"weights": _digest(run.model), "settings of decode": decode, "chunks": CHUNK}
    lines = iter(lines)
    done = _done_before(partial, record, made_by)
    _skip(lines, done, partial)
    saved = done.lines
    try:
        with _going_on(partial, record, done) as file:
            for text in _predicted(run, lines, shown, done):
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())  # the record must not promise what a failing machine has not kept
                write_json(record, asdict(done))
                saved = done.lines
        partial.replace(path)
        record.unlink()
    except OSError as error:
        kept = f"the outputs of {saved:,} lines are saved; the same command resumes"
        raise unwritable(error, partial, kept if saved else "choose another --out") from None
    _report(run, done, shown)


def read_context(path: Path) -> str:
    """The text that questions are about, as it is but for white space around it. UserError when there is none."""
    text = "\n".join(read_lines(path)).strip()
    if not text:
        raise UserError(f"{path}: is blank: there is no text to answer from")
    return text


def with_context(questions: Iterable[str], context: str) -> Iterator[str]:
    """Each question with the text behind a tab; an empty line stays empty. UserError when a line has a tab already."""
    for number, question in enumerate(questions, start=1):
        if "\t" in question:
            raise UserError(f"line {number}: has a tab, so it has its own text: leave out --context")
        yield f"{question}\t{context}" if question.strip() else question


def count_lines(path: Path) -> int | None:
    """The lines of a text file, plain or compressed; None for a pipe, which can be read only once."""
    if not path.is_file():
        return None
    with opened(path) as file:
        return sum(1 for _ in file)


@dataclass
class Done:
    """How far a text is done."""

    made_by: dict[str, Any] = field(default_factory=dict)
    """all that outputs depend on"""
    lines: int = 0
    read: str = ""
    """digest of these lines"""
    size: int = 0
    """bytes of the outputs"""
    in_pieces: int = 0
    """lines that were read in pieces"""
    capped: int = 0
    """outputs that were cut at `decode.max_length` or `decode.max_ratio`"""
    unknown: int = 0
    """best outputs with an `<unk>`"""
    cut_at: dict[str, int] = field(default_factory=dict)
    """by the setting that bounds them, how many inputs were read in part only"""

    def add(self, sources: list[str], results: list[LineResult], text: str) -> None:
        """A chunk has these results, as lines of text."""
        self.read_on(sources)
        self.lines += len(sources)
        self.size += len(text.encode())
        self.in_pieces += sum(result.pieces > 1 for result in results)
        self.capped += sum(result.predictions[0].capped for result in results)
        self.unknown += sum(result.predictions[0].unknown > 0 for result in results)
        self.cut_at = dict(Counter(self.cut_at) + Counter(result.cut_at for result in results if result.cut_at))

    def read_on(self, sources: list[str]) -> None:
        """The digest of a chunk follows from the one before it, so that it can be made of a text in any state."""
        self.read = hashlib.sha256("\n".join([self.read, *sources]).encode()).hexdigest()


def _predicted(run: Run, lines: Iterable[str], shown: LineCount, done: Done) -> Iterator[str]:
    """The outputs of a chunk as lines of text; it is by then added to what is done."""
    shown.start(done.lines)
    for sources in chunks(lines):
        results = run.predict_lines(sources, done.lines + 1, shown.update)
        for result in results:
            if result.remark:
                shown.note(f"seqlab: {result.remark}")
        text = "".join(f"{_line(result)}\n" for result in results)
        done.add(sources, results, text)
        yield text
        shown.update(done.lines)


def _line(result: LineResult) -> str:
    """The n best with tabs between them; whatever the model wrote, it is one line."""
    texts = [" ".join(prediction.text.splitlines()) for prediction in result.predictions]
    return texts[0] if len(texts) == 1 else "\t".join(text.replace("\t", " ") for text in texts)


def _report(run: Run, done: Done, shown: LineCount) -> None:
    if done.in_pieces:
        shown.note(f"seqlab: {done.in_pieces:,} of {done.lines:,} lines were read sentence by sentence")
    for setting, number in done.cut_at.items():
        shown.note(f"seqlab: {number:,} of {done.lines:,} inputs are longer than {setting} and were cut")
    if done.capped:
        decode = run.experiment.decode
        by_source = "" if decode.max_ratio is None else f" or decode.max_ratio={decode.max_ratio:g}"
        cut = f"seqlab: {done.capped:,} of {done.lines:,} outputs were cut at decode.max_length={decode.max_length}"
        shown.note(cut + by_source)
    if done.unknown:
        others = "decode.forbid_unk=true never writes it, decode.replace_unk=copy copies a word of the source"
        shown.note(f"seqlab: {done.unknown:,} of {done.lines:,} outputs have <unk>: {others}")


# Resuming


def _done_before(partial: Path, record: Path, made_by: dict[str, Any]) -> Done:
    """What an interrupted call recorded, if anything; UserError if something else made it."""
    if not partial.exists():
        return Done(made_by)
    try:
        done = Done(**json.loads(record.read_text(encoding="utf-8")))
        if partial.stat().st_size < done.size:
            raise ValueError
    except (OSError, ValueError, TypeError):
        raise UserError(f"{partial}: {record.name} is missing or damaged, so it cannot be resumed; {WAY_OUT}") from None
    if done.lines == 0:
        return Done(made_by)
    if differs := [name for name, value in made_by.items() if done.made_by.get(name) != value]:
        raise UserError(f"{partial}: was started with different {' and '.join(differs)}; {WAY_OUT}")
    return done


def _skip(lines: Iterator[str], done: Done, partial: Path) -> None:
    """Reads over the lines that are done already; UserError if they are others than before."""
    again = Done()
    for sources in chunks(islice(lines, done.lines)):
        again.read_on(sources)
    if again.read != done.read:
        raise UserError(
            f"{partial}: the first {done.lines:,} lines of the input changed since the interrupted run; {WAY_OUT}"
        )


def _going_on(partial: Path, record: Path, done: Done) -> BinaryIO:
    """The file behind the outputs that count; what comes after them was not recorded, and is made anew."""
    write_json(record, asdict(done))  # first: without it, the file would be somebody else's
    file = partial.open("ab")
    file.truncate(done.size)
    return file


def _digest(model: nn.Module) -> str:
    """Of all weights: that of a run, wherever its folder is."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
