"""Text in, text out: the loss of teacher forcing, and what the model writes on its own.

Mathematics and translation are such problems. A corpus yields examples; vocabularies turn them into ids; any model with
the decoder contract learns them; `tasks.scores` says how good it is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.config import Config
from seqlab.data.buckets import in_order_of_length
from seqlab.data.cache import StoredPairs
from seqlab.data.corpus import Corpus
from seqlab.data.examples import Example
from seqlab.data.pairs import Batch, EncodedPairs
from seqlab.decode.search import Hypothesis, search
from seqlab.decode.settings import DecodeConfig
from seqlab.layers.loss import cross_entropy_sum
from seqlab.metrics.translation import bleu_signature
from seqlab.tasks.scores import Counts, Evaluation, Metrics, Prediction
from seqlab.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, Tokenizer
from seqlab.text.vocabularies import Vocabularies
from seqlab.train.loop import LossSum

SAMPLING_SEED = 0
"""Sampled outputs are drawn from this, so that the same question twice gets the same answer."""

EPOCHS = 1_000_000
"""More than any run has: epochs of runs with different seeds see different variants."""

GREEDY = {"method": "greedy", "beam_width": 5, "length_penalty": 1.0, "n_best": 1}
"""What turns the settings of any search into those of the quick one for curves."""


class SequenceToSequenceConfig(Config):
    """What is minimised and how it is scored."""

    kind: Literal["sequence-to-sequence"] = "sequence-to-sequence"
    """which task this is"""
    metrics: Metrics = "exact"
    """what outputs are judged by: exact (is the whole answer right?) or translation (BLEU, chrF and others)"""
    tokenize: str = "13a"
    """how sacreBLEU finds words: 13a for languages with spaces; zh, ja-mecab, ko-mecab or char for others"""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """share of the target probability that is spread over the whole vocabulary"""
    evaluation_tokens: int = Field(default=8192, ge=1)
    """token budget of a batch in evaluation and prediction"""

    @model_validator(mode="after")
    def _settings_are_used(self) -> Self:
        if self.metrics != "translation" and self.tokenize != type(self).model_fields["tokenize"].default:
            raise ValueError(f'tokenize={self.tokenize} has no effect with metrics="{self.metrics}"')
        return self


class SequenceToSequence:
    """The task: a corpus, its vocabularies, and how to search for an answer."""

    def __init__(
        self,
        config: SequenceToSequenceConfig,
        decode: DecodeConfig,
        corpus: Corpus,
        vocabularies: Vocabularies,
        seed: int = 0,
    ) -> None:
        """`seed` is that of the run: it decides what varying ids training sees."""
        self.config, self.decode, self.corpus, self.vocabularies = config, decode, corpus, vocabularies
        self._seed = seed
        self._fixed: tuple[Sequence[Example], EncodedPairs] | None = None
        if config.metrics == "translation":
            bleu_signature(config.tokenize)  # a tokenizer that is not there is missed now, not after an hour

    def training(self, epoch: int) -> EncodedPairs:
        """The encoded examples of an epoch. Examples that stay the same are encoded once, unless the ids vary."""
        examples = self.corpus.training(epoch)
        if any(tokenizer.varies for tokenizer in self.vocabularies):
            return self.encode(examples, variant=epoch + EPOCHS * self._seed)
        if self._fixed is None or self._fixed[0] is not examples:
            self._fixed = examples, self.encode(examples)
        return self._fixed[1]

    def encode(self, examples: Sequence[Example], variant: int | None = None) -> EncodedPairs:
        """Text to ids, kept beside texts that are stored; `variant` picks one of the ways training may see them."""

        def encoder(side: Tokenizer) -> Callable[[Sequence[str]], list[list[int]]]:
            if variant is None:
                return side.encode_batch
            seeds = count(variant << 32)  # texts come a chunk at a time; each has chances of its own
            return lambda texts: side.encode_varied(texts, next(seeds))

        folder = None
        if isinstance(examples, StoredPairs) and variant is None:
            folder = examples.made_of_it(*(side.to_json() for side in self.vocabularies))
        return EncodedPairs.encode(
            examples, *map(encoder, self.vocabularies), pad_id=PAD_ID, bos_id=BOS_ID, eos_id=EOS_ID, folder=folder
        )

    def loss(self, model: nn.Module, batch: Batch) -> LossSum:
        """Cross-entropy of the next token under teacher forcing, in nats."""
        logits = self._logits(model, batch)
        return LossSum(cross_entropy_sum(logits, batch.labels, self.config.label_smoothing), batch.tokens)

    @torch.inference_mode()
    def evaluate(
        self, model: Any, examples: Sequence[Example], *, quick: bool, autocast: Callable[[], Any]
    ) -> Evaluation:
        """Loss under teacher forcing, and what the model writes by itself.

        Args:
            model: meets the decoder contract.
            examples: what to score.
            quick: for curves: search greedily, and where only an exact match counts give up a row once it differs from
                its answer. The texts of wrong predictions are then cut where they went wrong.
            autocast: makes the context of the wanted precision.
        """
        encoded = self.encode(examples)
        decode = self.decode.model_copy(update=GREEDY) if quick else self.decode
        with _evaluating(model):
            counts = self._counts(model, encoded, examples, autocast)
            found = self._search(model, encoded, autocast, decode, self._known(examples) if quick else None)
        best = [hypotheses[0] for hypotheses in found]
        predictions = [self._prediction(hypothesis) for hypothesis in best]
        # The text is compared, not the ids: an unknown character in an answer is never right.
        correct = [
            hypothesis.finished and self.corpus.answer(prediction.text) == self.corpus.answer(example.target)
            for hypothesis, prediction, example in zip(best, predictions, examples, strict=True)
        ]
        return Evaluation(self.config.metrics, counts, correct, predictions, examples, self.config.tokenize)

    @torch.inference_mode()
    def predict(
        self,
        model: Any,
        sources: Sequence[str],
        *,
        autocast: Callable[[], Any],
        progress: Callable[[int], None] = lambda rows: None,
    ) -> list[list[Prediction]]:
        """The n best texts for every source, in order; `progress` learns how many are done after every batch."""
        encoded = self.encode([Example(source, "") for source in sources])
        with _evaluating(model):
            found = self._search(model, encoded, autocast, self.decode, progress=progress)
        return [[self._prediction(hypothesis) for hypothesis in hypotheses] for hypotheses in found]

    def _logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """(N, V) at the real target tokens."""
        return model(*batch.inputs)

    def _counts(
        self, model: nn.Module, encoded: EncodedPairs, examples: Sequence[Example], autocast: Callable[[], Any]
    ) -> Counts:
        counts = Counts(characters=sum(len(example.target) for example in examples))
        for batch in self._batches(encoded, model):
            with autocast():
                logits = self._logits(model, batch)
                loss = cross_entropy_sum(logits, batch.labels)
                smoothed = cross_entropy_sum(logits, batch.labels, self.config.label_smoothing)
            right = (logits.argmax(1) == batch.labels).sum()
            counts = replace(
                counts,
                tokens=counts.tokens + batch.tokens,
                right=counts.right + int(right),
                nats=counts.nats + loss.item(),
                smoothed_nats=counts.smoothed_nats + smoothed.item(),
            )
        return counts

    def _known(self, examples: Sequence[Example]) -> list[list[int]] | None:
        """The ids of the answers, where a row may be left as soon as it differs from them."""
        whole = all(self.corpus.answer(example.target) == example.target for example in examples)
        if self.config.metrics != "exact" or not whole:
            return None
        return self.vocabularies.target.encode_batch([example.target for example in examples])

    def _batches(self, encoded: EncodedPairs, model: nn.Module) -> Iterator[Batch]:
        device = next(model.parameters()).device
        for bucket in in_order_of_length(encoded.shapes, self.config.evaluation_tokens):
            yield encoded.batch(*bucket).to(device)

    def _search(
        self,
        model: Any,
        encoded: EncodedPairs,
        autocast: Callable[[], Any],
        decode: DecodeConfig,
        answers: list[list[int]] | None = None,
        progress: Callable[[int], None] = lambda rows: None,
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
                    decode,
                    bos_id=BOS_ID,
                    eos_id=EOS_ID,
                    answers=known,
                    generator=generator if decode.method == "sample" else None,
                )
            found.update(zip(batch.rows.tolist(), rows, strict=True))
            progress(len(found))
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
