"""The run folder: the name of every file in it, and nothing else."""

from dataclasses import dataclass
from pathlib import Path


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
    def predictions(self) -> Path:
        """One JSON object a test example: source, target, predicted, correct."""
        return self.root / "predictions" / "test.jsonl"

    def exhibit(self, name: str) -> Path:
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
