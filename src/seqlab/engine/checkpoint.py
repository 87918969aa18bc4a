"""Checkpoints: written so that no crash loses one, and read without trusting the files.

A checkpoint is a folder:

    step-00000500/
        model.safetensors      weights
        average.safetensors    averaged weights, if the run keeps them
        state.pt               optimizer, loss scale, data position, ...: a plain dict
        random-0.pt            random states, one file per process
        manifest.json          size and SHA-256 of every other file

It is written under a hidden name, forced to disk and renamed, so a folder named `step-*` is always whole. Hidden
leftovers of a crash are cleared by the next save. Nothing is ever unpickled: weights are safetensors, the rest is read
with `weights_only=True`.
"""

import errno
import json
import re
import shutil
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from seqlab.engine.distributed import ALONE, World
from seqlab.errors import UserError
from seqlab.runs.checksums import Checksum
from seqlab.runs.folder import FULL, replacing, to_disk

FORMAT = 1
"""Version of the layout above; newer ones are refused."""
MANIFEST = "manifest.json"
SAME_AS = "same_as"
"""Key of the metadata that lists tied tensors: {"output.weight": "embedding.weight"}."""

Weights = dict[str, Tensor]


@dataclass
class Snapshot:
    """Everything that the next update depends on, after `step` updates."""

    step: int
    model: Weights
    """`model.state_dict()`; tied tensors are stored once"""
    average: Weights | None
    """averaged weights under the same names"""
    state: dict[str, Any]
    """optimizer, loss scale, data position, elapsed time, ...: tensors and plain values only"""
    random: dict[str, Any] | None
    """random states of this process; None for a process that the saved run did not have"""


def step_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint after `step` updates stands."""
    return folder / f"step-{step:08d}"


def save(folder: Path, snapshot: Snapshot, world: World = ALONE) -> Path:
    """Writes `folder/step-NNNNNNNN`, whole or not at all; every process of the run calls this.

    Returns the checkpoint. Raises UserError, in every process, when the disk is full or the folder not writable.
    """
    final = step_folder(folder, snapshot.step)
    partial = _hidden(final, "partial")
    stages: list[Callable[[], None]] = [
        lambda: _prepare(folder, partial) if world.is_main else None,
        lambda: _write_parts(partial, snapshot, world),
        lambda: _publish(partial, final, snapshot.step) if world.is_main else None,
    ]
    for stage in stages:
        _all_or_none(stage, partial, world)
    return final


def latest(folder: Path) -> Path | None:
    """The checkpoint with the most updates, or None."""
    found = _checkpoints(folder)
    return found[max(found)] if found else None


def load(path: Path, map_location: torch.device | str = "cpu", rank: int = 0) -> Snapshot:
    """Reads the checkpoint `path` as process `rank`, after checking every file against the manifest.

    Raises UserError that names the first file that is missing or not what was saved.
    """
    step = _verify(path)
    average, random = path / "average.safetensors", path / f"random-{rank}.pt"
    return Snapshot(
        step=step,
        model=load_weights(path / "model.safetensors", map_location),
        average=load_weights(average, map_location) if average.exists() else None,
        state=_load_plain(path / "state.pt", map_location),
        random=_load_plain(random, "cpu") if random.exists() else None,
    )


def keep(folder: Path, steps: Collection[int]) -> None:
    """Removes all checkpoints but those of these `steps` and the newest one, from which a run resumes."""
    found = _checkpoints(folder)
    for step in sorted(found)[:-1]:
        if step in steps:
            continue
        doomed = _hidden(found[step], "removed")  # a crash in the middle leaves nothing that looks like a checkpoint
        found[step].rename(doomed)
        shutil.rmtree(doomed)


def save_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes one safetensors file, whole or not at all. Tied tensors are stored once and come back tied by name.

    Raises UserError when the disk is full or the folder not writable.
    """
    try:
        with replacing(path) as partial:
            _write_weights(partial, tensors, metadata or {})
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(_explain(error, path)) from error


def load_weights(path: Path, device: torch.device | str = "cpu") -> Weights:
    """The tensors that `save_weights` was given, by name. Raises UserError when `path` is no whole safetensors file."""
    try:
        with safetensors.safe_open(path, framework="pt", device=str(device)) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            same_as = json.loads((file.metadata() or {}).get(SAME_AS, "{}"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, safetensors.SafetensorError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not a complete safetensors file ({error})") from None
    return tensors | {name: tensors[original] for name, original in same_as.items()}


def load_into(model: nn.Module, tensors: Mapping[str, Tensor], origin: Path | str) -> None:
    """Puts `tensors` into `model`. Raises UserError that names the first tensor that does not fit, and why."""
    with_present_names = getattr(model, "with_present_names", None)
    tensors = tensors if with_present_names is None else with_present_names(tensors)
    wanted = model.state_dict()
    for name, here in wanted.items():
        if name not in tensors:
            raise UserError(f"{origin}: has no tensor {name}: the weights belong to a model with other settings")
        there = tensors[name]
        if here.shape != there.shape:
            sizes = f"{tuple(there.shape)}, but the model wants {tuple(here.shape)}"
            raise UserError(f"{origin}: {name} is {sizes}: {_likely_cause(name, here, there)}")
    extra = next((name for name in tensors if name not in wanted), None)
    if extra is not None:
        raise UserError(f"{origin}: the model has no tensor {extra}: the weights belong to a model with other settings")
    model.load_state_dict(dict(tensors))


def _likely_cause(name: str, here: Tensor, there: Tensor) -> str:
    only_rows_differ = here.shape[1:] == there.shape[1:]
    if only_rows_differ and re.search(r"embed|output|head|shared", name):
        return "they were trained with another vocabulary"
    return "they belong to a model with other settings (width, layers, ...)"


def _checkpoints(folder: Path) -> dict[int, Path]:
    """Whole checkpoints by step. One that was being replaced when the process died counts under its hidden name."""
    names = re.compile(r"step-(\d{8,})|\.step-(\d{8,})\.replaced")
    found: dict[int, Path] = {}
    for path in sorted(folder.glob("*step-*"), reverse=True):  # "." sorts before "s": plain names come first
        if match := names.fullmatch(path.name):
            found.setdefault(int(match[1] or match[2]), path)
    return found


def _hidden(path: Path, purpose: str) -> Path:
    return path.with_name(f".{path.name}.{purpose}")


def _all_or_none(stage: Callable[[], None], partial: Path, world: World) -> None:
    """Runs one stage of a save; when it fails in one process it fails in all, so that none waits for ever."""
    problem = None
    try:
        stage()
    except (OSError, safetensors.SafetensorError) as error:
        problem = _explain(error, partial.parent)
    problems = [found for found in world.gather_objects(problem) if found is not None]
    if problems:
        if world.is_main:
            shutil.rmtree(partial, ignore_errors=True)
        raise UserError(problem or f"another process could not save its part of the checkpoint: {problems[0]}")


def _explain(error: Exception, path: Path) -> str:
    # safetensors reports errors of the system as text: "I/O error: No space left on device (os error 28)"
    match = re.search(r"os error (\d+)|code: (\d+)", str(error))
    code = getattr(error, "errno", None) or (int(match[1] or match[2]) if match else None)
    if code in FULL:
        return f"{path}: cannot save: the disk is full (or a quota is): free some space and resume"
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path}: cannot save: no permission to write there: choose another folder with --out"
    return f"{path}: cannot save: {error}"


def _prepare(folder: Path, partial: Path) -> None:
    """An empty hidden folder, and no leftovers of a save or removal that was cut off."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = set(_checkpoints(folder).values())
    for leftover in folder.glob(".step-*"):
        if leftover in whole:
            leftover.rename(folder / leftover.name.removeprefix(".").removesuffix(".replaced"))
        else:
            shutil.rmtree(leftover)
    partial.mkdir()


def _write_parts(partial: Path, snapshot: Snapshot, world: World) -> None:
    if snapshot.random is not None:
        _save_plain(partial / f"random-{world.rank}.pt", snapshot.random)
    if not world.is_main:
        return
    _write_weights(partial / "model.safetensors", snapshot.model, {})
    if snapshot.average is not None:
        _write_weights(partial / "average.safetensors", snapshot.average, {})
    _save_plain(partial / "state.pt", snapshot.state)


def _publish(partial: Path, final: Path, step: int) -> None:
    """Seals the folder with its manifest and gives it its name."""
    files = {path.name: asdict(Checksum.of(path)) for path in sorted(partial.iterdir())}
    manifest = partial / MANIFEST
    manifest.write_text(json.dumps({"format": FORMAT, "step": step, "files": files}, indent=1) + "\n")
    to_disk(manifest)
    to_disk(partial)
    replaced = _hidden(final, "replaced")
    if final.exists():
        final.rename(replaced)  # a folder cannot be renamed over another one
    partial.rename(final)
    to_disk(final.parent)
    if replaced.exists():
        shutil.rmtree(replaced)


def _verify(path: Path) -> int:
    """Checks every file; returns the step."""
    advice = f"delete the folder {path} and resume: the run resumes from the checkpoint before it"
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        version, step, files = int(manifest["format"]), int(manifest["step"]), dict(manifest["files"])
        expected = {name: Checksum(int(entry["size"]), str(entry["sha256"])) for name, entry in files.items()}
    except FileNotFoundError:
        raise UserError(f"{path / MANIFEST}: missing: {advice}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path / MANIFEST}: its content was changed or damaged: {advice}") from None
    if version > FORMAT:
        raise UserError(f"{path}: written by a newer seqlab (format {version}, known: {FORMAT}): update seqlab")
    for name, checksum in expected.items():
        if fault := checksum.fault(path / name):
            raise UserError(f"{path / name}: {fault}: {advice}")
    for file in path.iterdir():
        if file.name != MANIFEST and file.name not in expected:
            raise UserError(f"{file}: does not belong to this checkpoint: remove the file")
    return step


def _write_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    distinct, same_as = _distinct(tensors)
    notes = {"format": "pt", **metadata}  # "format" is what transformers looks for
    if same_as:
        notes[SAME_AS] = json.dumps(same_as)
    safetensors.torch.save_file(distinct, path, metadata=notes)
    to_disk(path)


def _distinct(tensors: Mapping[str, Tensor]) -> tuple[Weights, dict[str, str]]:
    """Every tensor once, with memory of its own, and which names mean the tensor of another name."""
    distinct: Weights = {}
    same_as: dict[str, str] = {}
    first: dict[tuple[object, ...], str] = {}
    for name, tensor in tensors.items():
        place = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and place in first:
            same_as[name] = first[place]
            continue
        first[place] = name
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        plain = tensor.detach().contiguous()
        distinct[name] = plain if whole else plain.clone()
    return distinct, same_as


def _save_plain(path: Path, value: dict[str, Any]) -> None:
    _check_plain(value, path.stem)
    with path.open("wb") as file:
        try:
            torch.save(value, file)
        except RuntimeError as error:
            # When a write fails, torch's clean-up fails too and hides the reason: bring it back.
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None
    to_disk(path)


def _load_plain(path: Path, map_location: torch.device | str) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about versions of pickle: what cannot be read is an error anyway
            return torch.load(path, map_location=map_location, weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception:  # torch's careful unpickler fails in many ways on what was never a checkpoint
        raise UserError(
            f"{path}: cannot be read safely: it is damaged, or contains more than tensors and plain values"
        ) from None


def _check_plain(value: object, where: str) -> None:
    """Raises TypeError for what `weights_only=True` refuses to read back: named tuples, NumPy numbers, ..."""
    if isinstance(value, Tensor) or value is None or type(value) in (str, int, float, bool):
        return
    if isinstance(value, dict) and type(value) is dict:
        for key, item in value.items():
            _check_plain(key, f"{where} key")
            _check_plain(item, f"{where}.{key}")
    elif isinstance(value, list | tuple) and type(value) in (list, tuple):
        for index, item in enumerate(value):
            _check_plain(item, f"{where}[{index}]")
    else:
        raise TypeError(f"{where} is a {type(value).__name__}: a checkpoint holds tensors and plain values only")
