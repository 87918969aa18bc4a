"""A text in, or a pair of texts, a class out: a pretrained encoder with a new head.

Source: Devlin et al. (2019), "BERT: pre-training of deep bidirectional transformers", section 4.1.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from seqlab.config.settings import Config
from seqlab.data.batching.stream import evaluation_batches
from seqlab.data.batching.token_rows import TokenBatch, TokenRows
from seqlab.data.corpora.corpus import Corpus
from seqlab.data.corpora.labelled import Labelled
from seqlab.data.readers.lines import read_lines
from seqlab.engine.loop import LossSum
from seqlab.errors import UserError
from seqlab.metrics.classification import confusion_matrix, quick_scores
from seqlab.metrics.intervals import Interval
from seqlab.models.hf.encoder import SentenceModel, build_network
from seqlab.runs.hf_folder import TransformersFolder, check_fits, checkpoint_of, load_tokenizer, read_network_config
from seqlab.tasks.class_scores import ClassEvaluation
from seqlab.tasks.frozen_states import with_frozen_states
from seqlab.tasks.task import Assembly, Autocast, LineResult, Once, Parts, Prediction, Sample, evaluating
from seqlab.text.hf.pretrained import text_encoder

CHUNK = 2000
"""Texts that are encoded at once."""

SHOWN = 5
"""Texts that a report shows."""

BATCH = 32
"""Texts of a batch in the correlations batch by batch, which a well-known tutorial on BERT and CoLA draws."""


class ClassifyTextConfig(Config):
    """How much of a text is read, and what counts."""

    kind: Literal["classify-text"] = "classify-text"
    """texts, or pairs of texts, are put into classes"""
    longest: int = Field(default=128, ge=3)
    """tokens of a text, or of both of a pair; the rest is not read"""
    score: Literal["accuracy", "macro_f1", "matthews"] = "accuracy"
    """metric that selects the best checkpoint"""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """probability mass that is spread uniformly over the classes"""
    evaluation_tokens: int = Field(default=8192, ge=1)
    """token budget of a batch in evaluation and prediction"""

    @property
    def measured(self) -> tuple[str, ...]:
        """The scores of a curve."""
        others = (name for name in ("accuracy", "macro_f1", "matthews") if name != self.score)
        return "loss", self.score, *others

    @property
    def main_score(self) -> str:
        """The one that chooses the best checkpoint."""
        return self.score


@dataclass(frozen=True)
class TextEvaluation:
    """A set of texts, and what the model takes them for."""

    found: ClassEvaluation
    examples: Sequence[Labelled]
    is_cut: Sequence[bool]
    """which texts were too long to be read whole"""

    @property
    def cut(self) -> int:
        """How many were too long."""
        return sum(self.is_cut)

    @property
    def quick_scores(self) -> Mapping[str, float]:
        """The scores of a curve."""
        return self.found.quick_scores

    @property
    def scores(self) -> Mapping[str, Interval]:
        """Every score, with its 95 % interval where there is one; the most important first."""
        return self.found.scores

    def to_json(self) -> dict[str, Any]:
        """The part of results.json that a set of texts decides."""
        return {**self.found.to_json(), "texts_cut": self.cut, "batch_matthews": self.batch_matthews()}

    def batch_matthews(self) -> list[float]:
        """Matthews correlation of each batch of 32 texts in the order of the file; their mean is not that of all."""
        labels, predicted, classes = self.found.labels, self.found.predicted, len(self.found.classes)
        starts = range(0, len(labels), BATCH)
        return [
            quick_scores(confusion_matrix(labels[s : s + BATCH], predicted[s : s + BATCH], classes))["matthews"]
            for s in starts
        ]

    def records(self) -> Iterator[dict[str, Any]]:
        """One line of JSON a text."""
        for example, record in zip(self.examples, self.found.records(), strict=True):
            yield {"source": example.source, **record}

    def notes(self) -> list[str]:
        """What the log should say."""
        cut = [f"{self.cut} texts are longer than task.longest and were cut"] if self.cut else []
        return [*self.found.notes(), *cut]

    def artifact(self) -> list[dict[str, Any]]:
        """A few texts with their classes."""
        records = list(self.records())
        return [records[row] for row in sorted(random.Random(1).sample(range(len(records)), min(SHOWN, len(records))))]


class ClassifyText(TransformersFolder):
    """The task: texts with labels, and the tokenizer of a pretrained encoder."""

    config_class = ClassifyTextConfig
    example = Labelled
    role = "encoder"
    reads = ()

    @classmethod
    def assemble(cls, parts: Parts) -> Assembly:
        """The task, and an encoder with a head for the classes of the training texts."""
        config, model, trained = parts.config, parts.model, parts.trained
        checkpoint = checkpoint_of(model.checkpoint, trained)
        classes: dict[str, Any] = {}  # those of a run stand in the config of its network
        if trained is None:
            names = dict(enumerate(parts.corpus.classes))
            classes = {"num_labels": len(names), "id2label": names, "label2id": {names[n]: n for n in names}}
        tokenizer = load_tokenizer(checkpoint)
        settings = read_network_config(checkpoint, **classes)
        network = build_network(model, checkpoint, settings, SentenceModel.head(model))
        check_fits(checkpoint, tokenizer, network.config, config.longest)
        network.config.architectures = [type(network).__name__]  # which class of transformers loads the run
        built = SentenceModel(model, network)
        return Assembly(cls(config, parts.corpus, tokenizer, network.config, partial(with_frozen_states, built)), built)

    def __init__(
        self,
        config: ClassifyTextConfig,
        corpus: Corpus[Labelled],
        tokenizer: Any,
        network_config: Any,
        with_states: Callable[[TokenRows], TokenRows] = lambda rows: rows,
    ) -> None:
        """`tokenizer` and `network_config`, which knows the classes, are those of `transformers`.

        `with_states` adds to the rows of training what the model knows of them.
        """
        super().__init__(tokenizer, network_config)
        self.config, self.corpus = config, corpus
        self.classes = [network_config.id2label[number] for number in range(network_config.num_labels)]
        self._training: Once[Sequence[Labelled], TokenRows] = Once(
            lambda examples: with_states(self.encode(examples)[0])
        )

    def training(self, epoch: int) -> TokenRows:
        """The texts of an epoch; those that stay the same are encoded once."""
        return self._training(self.corpus.training(epoch))

    def encode(self, examples: Sequence[Labelled]) -> tuple[TokenRows, list[bool]]:
        """Texts to ids, and which of them were cut."""
        backend = text_encoder(self._tokenizer)
        backend.enable_truncation(self.config.longest)
        texts = [example.text if example.second is None else (example.text, example.second) for example in examples]
        found = [
            row for start in range(0, len(texts), CHUNK) for row in backend.encode_batch(texts[start : start + CHUNK])
        ]
        backend.no_truncation()
        types = [row.type_ids for row in found] if "token_type_ids" in self._tokenizer.model_input_names else None
        number = {label: place for place, label in enumerate(self.classes)}
        if strange := next((example for example in examples if example.label not in number), None):
            raise UserError(f'the label "{strange.label}" of "{strange.text[:40]}" is not one of {", ".join(number)}')
        labels = np.array([number[example.label] for example in examples], dtype=np.int64)
        rows = TokenRows.of([row.ids for row in found], types, labels, self._tokenizer.pad_token_id)
        return rows, [bool(row.overflowing) for row in found]

    def loss(self, model: nn.Module, batch: TokenBatch) -> LossSum:
        """Cross-entropy of the classes, in nats."""
        smoothing = self.config.label_smoothing
        logits = model(*batch.inputs)
        return LossSum(F.cross_entropy(logits, batch.labels, reduction="sum", label_smoothing=smoothing), batch.tokens)

    @torch.inference_mode()
    def evaluate(self, model: Any, examples: Sequence[Labelled], *, quick: bool, autocast: Autocast) -> TextEvaluation:
        """Loss without label smoothing, and the most probable class of every text."""
        rows, is_cut = self.encode(examples)
        found = np.zeros((len(rows), len(self.classes)), dtype=np.float32)
        with evaluating(model):
            for batch in evaluation_batches(rows, model, self.config.evaluation_tokens):
                with autocast():
                    logits = model(*batch.inputs)
                found[batch.rows] = logits.log_softmax(1).cpu().numpy()
        return TextEvaluation(ClassEvaluation(self.classes, rows.labels, found, self.config.measured), examples, is_cut)

    def samples(self, model: Any, examples: Sequence[Labelled], *, autocast: Autocast) -> list[Sample]:
        """The text, its class, and that of the model."""
        evaluation = self.evaluate(model, examples, quick=True, autocast=autocast)
        return [Sample(record["source"], record["label"], record["predicted"]) for record in evaluation.records()]

    def artifacts(self, model: Any, evaluation: TextEvaluation, *, autocast: Autocast) -> dict[str, Any]:
        """A few texts."""
        return {"sentences": evaluation.artifact()}

    def inputs(self, path: Path) -> Iterable[str]:
        """A text on each line, or two with a tab between them."""
        return read_lines(path)

    def parse(self, line: str, number: int) -> Labelled:
        """A text, or two with a tab between them; the label is not looked at."""
        text, tab, second = line.partition("\t")
        if bool(tab) != getattr(self.corpus, "reads_pairs", bool(tab)):
            known = "two texts with a tab between them" if not tab else "one text; --column picks a column of a table"
            raise UserError(
                f"line {number}: {'has no tab' if not tab else 'has a tab'}, but this run classifies {known}"
            )
        return Labelled(text, second if tab else None, self.classes[0])

    def predict_batch(
        self, model: Any, inputs: Sequence[Labelled], *, autocast: Autocast, progress: Callable[[float], None]
    ) -> list[LineResult]:
        """The most probable class of each text."""
        found = self.evaluate(model, inputs, quick=True, autocast=autocast)
        scored = ((record["predicted"], math.log(max(record["probability"], 1e-9))) for record in found.records())
        return [
            LineResult([Prediction(*prediction)], cut_at="task.longest" if is_cut else "")
            for prediction, is_cut in zip(scored, found.is_cut, strict=True)
        ]
