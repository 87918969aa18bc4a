"""A sequence in, a class out: images that are read pixel by pixel or row by row."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from seqlab.config.settings import Config
from seqlab.data.batching.pixels import EncodedImages, Facts, ImageBatch, ReadingOrder
from seqlab.data.corpora.images import ImageCorpus, Images, permutation
from seqlab.data.readers.idx import read_idx
from seqlab.data.readers.lines import read_lines
from seqlab.engine.loop import LossSum
from seqlab.errors import UserError
from seqlab.runs.folder import RunFolder
from seqlab.tasks.class_scores import ClassEvaluation
from seqlab.tasks.sequence_classification.pictures import pictures
from seqlab.tasks.task import Assembly, Autocast, LineResult, Parts, Prediction, Sample, evaluating

SCORES = ("loss", "accuracy", "macro_f1")
"""What is measured during training; the second counts most."""

FACTS = "images"
"""What a run folder calls what was learned of the training images."""


class ClassifySequenceConfig(Config):
    """What is minimised."""

    kind: Literal["classify-sequence"] = "classify-sequence"
    """which task this is"""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """probability mass that is spread uniformly over the classes"""
    evaluation_rows: int = Field(default=256, ge=1)
    """images of a batch in evaluation and prediction"""

    @property
    def measured(self) -> tuple[str, ...]:
        """The scores of a curve."""
        return SCORES

    @property
    def main_score(self) -> str:
        """The one that chooses the best checkpoint."""
        return SCORES[1]


class ClassifySequence:
    """The task: images, and how they are read as sequences."""

    config_class = ClassifySequenceConfig
    example = Images
    role = "sequence-classifier"
    reads = ()

    def __init__(self, config: ClassifySequenceConfig, corpus: ImageCorpus, learned: Facts) -> None:
        """`learned` are the facts of the training images: a trained run needs no images."""
        self.config, self.corpus, self.learned = config, corpus, learned
        self.reading = ReadingOrder.of(corpus.config, learned)

    @classmethod
    def assemble(cls, parts: Parts) -> Assembly:
        """The task, and a classifier of its steps."""
        corpus, trained = parts.corpus, parts.trained
        learned = (
            Facts.of(corpus.training(0), corpus.classes) if trained is None else Facts.load(trained.artifact(FACTS))
        )
        task = cls(parts.config, corpus, learned)
        reading = task.reading
        return Assembly(task, parts.model_class(parts.model, reading.width, reading.steps, learned.num_classes))

    def save(self, folder: RunFolder) -> None:
        """Writes classes, size and shades of the training images."""
        self.learned.save(folder.artifact(FACTS))

    def facts(self) -> dict[str, Any]:
        """Nothing beside what `save` writes."""
        return {}

    def training(self, epoch: int) -> EncodedImages:
        """The same images every epoch."""
        return EncodedImages.encode(self.corpus.training(epoch), self.reading)

    def loss(self, model: nn.Module, batch: ImageBatch) -> LossSum:
        """Cross-entropy of the classes, in nats."""
        logits = model(batch.inputs).float()
        smoothing = self.config.label_smoothing
        return LossSum(F.cross_entropy(logits, batch.labels, reduction="sum", label_smoothing=smoothing), batch.tokens)

    def evaluate(self, model: Any, examples: Images, *, quick: bool, autocast: Autocast) -> ClassEvaluation:
        """Loss without label smoothing, and the most probable class of every image."""
        self.learned.check(examples, "images to score")
        found = self._log_probabilities(model, examples, autocast)
        return ClassEvaluation(self.learned.classes, examples.labels, found, SCORES)

    def samples(self, model: Any, examples: Sequence[Any], *, autocast: Autocast) -> list[Sample]:
        """None: a line of text shows no image."""
        return []

    def artifacts(self, model: Any, evaluation: ClassEvaluation, *, autocast: Autocast) -> dict[str, Any]:
        """The most confident mistakes, and how an image of each class is read."""
        images, data = self.corpus.test()[: len(evaluation.labels)], self.corpus.config
        order = permutation(images.height * images.width, data.permutation_seed)
        shown = pictures(images, evaluation.predicted, evaluation.probabilities, self.learned.classes, order)
        return {"pictures": shown}

    def inputs(self, path: Path) -> Iterable[str]:
        """The images of an idx file, or the lines of a text, as lines of shades."""
        if "idx3-ubyte" not in path.name:
            return read_lines(path)
        images = read_idx(path, dimensions=3)
        return (" ".join(map(str, image.ravel())) for image in images)

    def parse(self, line: str, number: int) -> np.ndarray:
        """The shades of an image: whole numbers, row by row, with spaces or commas between them."""
        return _shades(line, self.learned.height * self.learned.width, number)

    def predict_batch(
        self, model: Any, inputs: Sequence[np.ndarray], *, autocast: Autocast, progress: Callable[[float], None]
    ) -> list[LineResult]:
        """The most probable class of each image."""
        pixels = np.stack(inputs).reshape(-1, self.learned.height, self.learned.width)
        images = Images(pixels, np.zeros(len(pixels), dtype=np.int64))
        found = self._log_probabilities(model, images, autocast, lambda rows: progress(rows / len(images)))
        return [LineResult([Prediction(self.learned.classes[row.argmax()], float(row.max()))]) for row in found]

    @torch.inference_mode()
    def _log_probabilities(
        self, model: Any, images: Images, autocast: Autocast, progress: Callable[[int], None] = lambda rows: None
    ) -> np.ndarray:
        """(N, K)."""
        encoded = EncodedImages.encode(images, self.reading)
        device = next(model.parameters()).device
        found = []
        with evaluating(model):
            for start in range(0, len(images), self.config.evaluation_rows):
                rows = np.arange(start, min(start + self.config.evaluation_rows, len(images)))
                batch = encoded.batch(rows, self.reading.steps, 1).to(device)
                with autocast():
                    logits = model(batch.inputs)
                found.append(logits.float().log_softmax(1).cpu().numpy())
                progress(start + len(rows))
        return np.concatenate(found)


def _shades(line: str, size: int, number: int) -> np.ndarray:
    """(`size`,) bytes; UserError with the line's number unless there are as many numbers from 0 to 255."""
    words = line.replace(",", " ").split()
    if len(words) != size:
        raise UserError(f"line {number}: {len(words):,} numbers, but the images of this run have {size:,} pixels")
    try:
        return np.frombuffer(bytes(int(word) for word in words), dtype=np.uint8)
    except ValueError:
        raise UserError(f"line {number}: pixel values are integers from 0 to 255") from None
