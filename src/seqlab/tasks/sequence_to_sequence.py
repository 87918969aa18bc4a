"""Text in, text out: the loss of teacher forcing, and the exact match of what the model writes on its own.

Mathematics is the first such problem. A corpus yields examples; vocabularies turn them into ids; any model with the
decoder contract learns them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import nn

from seqlab.config import Config
from seqlab.data.buckets import in_order_of_length
from seqlab.data.examples import Example
from seqlab.data.pairs import Batch, EncodedPairs
from seqlab.decode.search import Hypothesis, search
from seqlab.decode.settings import DecodeConfig
from seqlab.layers.loss import cross_entropy_sum
from seqlab.text.tokenizer import BOS_ID, EOS_ID, PAD_ID
from seqlab.text.vocabularies import Vocabularies
from seqlab.train.loop import LossSum

SAMPLING_SEED = 0
"""Sampled outputs are drawn from this, so that the same question twice gets the same answer."""

SCORES = ("loss", "accuracy")
"""What an evaluation measures, by the names that `--until` and the curves use."""


class SequenceToSequenceConfig(Config):
    """What is minimised and how it is scored."""

    kind: Literal["sequence-to-sequence"] = "sequence-to-sequence"
    """which task this is"""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """share of the target probability that is spread over the whole vocabulary"""
    evaluation_tokens: int = Field(default=8192, ge=1)
    """token budget of a batch in evaluation and prediction"""


class Corpus(Protocol):
    """Where the examples come from."""

    def training(self, epoch: int) -> Sequence[Example]:
        """The examples of an epoch, a pure function of its number."""
        ...

    def validation(self) -> Sequence[Example]:
        """Examples for curves and for choosing a checkpoint."""
        ...

    def test(self) -> Sequence[Example]:
        """Examples for the final score."""
        ...

    def answer(self, text: str) -> str:
        """The part of a target, or of what a model wrote, that is scored."""
        ...

    def shown(self, examples: list[Example]) -> list[Example]:
        """Examples of a user's file as the model is to see them."""
        ...


class Prediction(NamedTuple):
    """What the model writes for one source."""

    text: str
    score: float
    """log-probability of the text"""
    capped: bool
    """cut off at the maximum length"""


@dataclass(frozen=True)
class Evaluation:
    """Scores of a set of examples, and what was predicted for each."""

    loss: float
    """mean over the real target tokens, without label smoothing, in nats"""
    correct: np.ndarray
    """(N,) whether the whole text is right"""
    predictions: list[Prediction]

    @property
    def accuracy(self) -> float:
        """Share of examples whose every character is right."""
        return float(self.correct.mean())

    @property
    def scores(self) -> dict[str, float]:
        """By the names that `--until` and the curves use."""
        return dict(zip(SCORES, (self.loss, self.accuracy), strict=True))


class SequenceToSequence:
    """The task: a corpus, its vocabularies, and how to search for an answer."""

    main_score = "accuracy"

    def __init__(
        self, config: SequenceToSequenceConfig, decode: DecodeConfig, corpus: Corpus, vocabularies: Vocabularies
    ) -> None:
        self.config, self.decode, self.corpus, self.vocabularies = config, decode, corpus, vocabularies

    def training(self, epoch: int) -> EncodedPairs:
        """The encoded examples of an epoch."""
        return self.encode(self.corpus.training(epoch))

    def encode(self, examples: Sequence[Example]) -> EncodedPairs:
        """Text to ids."""
        source, target = self.vocabularies
        return EncodedPairs.encode(examples, source.encode, target.encode, pad_id=PAD_ID, bos_id=BOS_ID, eos_id=EOS_ID)

    def loss(self, model: nn.Module, batch: Batch) -> LossSum:
        """Cross-entropy of the next token under teacher forcing, in nats."""
        return self._loss(model, batch, self.config.label_smoothing)

    @torch.inference_mode()
    def evaluate(
        self, model: Any, examples: Sequence[Example], *, answers_known: bool = True, autocast: Callable[[], Any]
    ) -> Evaluation:
        """Loss and exact match.

        Args:
            model: meets the decoder contract.
            examples: what to score.
            answers_known: let the greedy search give up a row once it differs from its answer. Scores stay the same,
                but the texts of wrong predictions are cut where they went wrong.
            autocast: makes the context of the wanted precision.
        """
        encoded = self.encode(examples)
        total, tokens = 0.0, 0
        with _evaluating(model):
            for batch in self._batches(encoded, model):
                with autocast():
                    part = self._loss(model, batch, label_smoothing=0.0)
                total, tokens = total + part.sum.item(), tokens + part.tokens
            answers = [self.vocabularies.target.encode(example.target) for example in examples]
            only_answers = all(self.corpus.answer(example.target) == example.target for example in examples)
            stop_early = answers_known and only_answers and self.decode.method == "greedy"
            found = self._search(model, encoded, autocast, answers if stop_early else None)
        best = [hypotheses[0] for hypotheses in found]
        predictions = [self._prediction(hypothesis) for hypothesis in best]
        # The text is compared, not the ids: an unknown character in an answer is never right.
        correct = [
            hypothesis.finished and self.corpus.answer(prediction.text) == self.corpus.answer(example.target)
            for hypothesis, prediction, example in zip(best, predictions, examples, strict=True)
        ]
        return Evaluation(total / tokens, np.array(correct, dtype=bool), predictions)

    @torch.inference_mode()
    def predict(self, model: Any, sources: Sequence[str], *, autocast: Callable[[], Any]) -> list[list[Prediction]]:
        """The n best texts for every source, in order."""
        encoded = self.encode([Example(source, "") for source in sources])
        with _evaluating(model):
            found = self._search(model, encoded, autocast, answers=None)
        return [[self._prediction(hypothesis) for hypothesis in hypotheses] for hypotheses in found]

    def _loss(self, model: nn.Module, batch: Batch, label_smoothing: float) -> LossSum:
        logits = model(batch.source, batch.source_mask, batch.target, batch.target_mask)
        return LossSum(cross_entropy_sum(logits, batch.labels, label_smoothing), batch.tokens)

    def _batches(self, encoded: EncodedPairs, model: nn.Module) -> Iterator[Batch]:
        device = next(model.parameters()).device
        for bucket in in_order_of_length(encoded.shapes, self.config.evaluation_tokens):
            yield encoded.batch(*bucket).to(device)

    def _search(
        self,
        model: Any,
        encoded: EncodedPairs,
        autocast: Callable[[], Any],
        answers: list[list[int]] | None,
    ) -> list[list[Hypothesis]]:
        found: dict[int, list[Hypothesis]] = {}
        generator = torch.Generator(next(model.parameters()).device).manual_seed(SAMPLING_SEED)
        for batch in self._batches(encoded, model):
            known = None if answers is None else [answers[row] for row in batch.rows]
            with autocast():
                rows = search(
                    model,
                    batch.source,
                    batch.source_mask,
                    self.decode,
                    bos_id=BOS_ID,
                    eos_id=EOS_ID,
                    answers=known,
                    generator=generator if self.decode.method == "sample" else None,
                )
            found.update(zip(batch.rows.tolist(), rows, strict=True))
        return [found[row] for row in range(len(encoded))]

    def _prediction(self, hypothesis: Hypothesis) -> Prediction:
        capped = not hypothesis.finished and len(hypothesis.ids) == self.decode.max_length
        return Prediction(self.vocabularies.target.decode(hypothesis.ids), hypothesis.score, capped)


class _evaluating:  # noqa: N801 - a context manager that reads like a word
    """Dropout off inside, and as it was afterwards."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.was_training = model, model.training

    def __enter__(self) -> None:
        self.model.eval()

    def __exit__(self, *exc: object) -> None:
        self.model.train(self.was_training)
