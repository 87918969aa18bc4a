"""Text in, text out: the loss of teacher forcing, and what the model writes on its own.

Mathematics and translation are such problems. A corpus yields examples; vocabularies turn them into ids; any model with
the decoder contract learns them; `evaluation.py` scores its outputs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count, islice, zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from seqlab.config.settings import Config
from seqlab.data.batching.pairs import EncodedPairs, PairBatch
from seqlab.data.batching.stream import evaluation_batches
from seqlab.data.corpora.corpus import Example, ReferencedExample, TextCorpus
from seqlab.data.out_of_core.cache import StoredPairs
from seqlab.data.readers.languages import language_of, likely_language
from seqlab.data.readers.lines import read_lines
from seqlab.decode.contract import Hypothesis
from seqlab.decode.settings import GREEDY, DecodeConfig
from seqlab.engine.loop import LossSum
from seqlab.layers.functional import cross_entropy_sum
from seqlab.metrics.bleu import for_language
from seqlab.metrics.registry import MetricsConfig, build_metrics
from seqlab.runs import statistics
from seqlab.runs.folder import RunFolder, read_environment, write_json
from seqlab.runs.hf_folder import TransformersFiles
from seqlab.tasks.sequence_to_sequence.evaluation import (
    OutputEvaluation,
    TokenCounts,
    attention_maps,
    joined_evaluation,
)
from seqlab.tasks.sequence_to_sequence.outputs import check_copies, copied_words, different_texts
from seqlab.tasks.sequence_to_sequence.reading import SourceLimits
from seqlab.tasks.sequence_to_sequence.start import start_from_scratch, start_pretrained
from seqlab.tasks.task import Assembly, Autocast, LineResult, Once, Parts, Prediction, Sample, evaluating, write
from seqlab.text.sentences import joined, max_sentences_p99
from seqlab.text.tokenizer import Tokenizer
from seqlab.text.vocabularies import Vocabularies, mostly_tagged

EXACT = {"accuracy", "exact_match"}
"""Metrics that ask whether an output is right, not how near it is."""

EPOCHS = 1_000_000
"""More than any run has: epochs of runs with different seeds see different variants."""

SENTENCE_SAMPLE = 10_000
"""Training sources, at least, whose sentences are counted."""


TOGETHER = 20_000
"""Examples that are sorted by length and evaluated together; what has been searched for takes a few kB each."""


class SequenceToSequenceConfig(Config):
    """What is minimised and how it is scored."""

    kind: Literal["sequence-to-sequence"] = "sequence-to-sequence"
    """which task this is"""
    metrics: MetricsConfig = MetricsConfig()
    """what outputs are judged by; `metrics = ["bleu", "chrf"]` at the top of a recipe is short for its names"""
    normalize: bool = False
    """unit="pretrained": pass references through the tokenizer before comparing, for models that are uncased"""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """probability mass that is spread uniformly over the vocabulary"""
    evaluation_tokens: int = Field(default=8192, ge=1)
    """token budget of a batch in evaluation and prediction"""

    @property
    def measured(self) -> tuple[str, ...]:
        """The scores of a curve."""
        names = [metric.measure.name for metric in build_metrics(self.metrics)]
        nearness = not set(names) <= EXACT
        return ("loss", *names, *(("token_accuracy", "bits_per_character") if nearness else ()))

    @property
    def main_score(self) -> str:
        """The one that chooses the best checkpoint."""
        return build_metrics(self.metrics)[0].measure.name

    def complaints(self, experiment: Any) -> Iterator[str]:
        """See `Config`."""
        unit = experiment.text.unit
        if unit == "pretrained" and not getattr(experiment.model, "brings_vocabulary", False):
            yield 'text.unit="pretrained" needs model.kind="pretrained-encoder-decoder"'
        if self.normalize and unit != "pretrained":
            yield f'task.normalize has no effect with text.unit="{unit}": leave it out'
        if experiment.decode.replace_unk and unit not in ("word", "character"):
            yield f'decode.replace_unk needs text.unit="word" or "character", where outputs have <unk>, not "{unit}"'
        if experiment.decode.forbid_unk and unit in ("bpe", "unigram", "byte"):
            yield f'decode.forbid_unk has no effect with text.unit="{unit}", which has no <unk>: leave it out'


LANGUAGE_SAMPLE = 1000
"""Targets that are looked at where nothing else tells their language."""


def _target_language(corpus: TextCorpus) -> str | None:
    """The code of the language that the corpus names, or else of the one that its targets look like."""
    if corpus.languages is None:
        return None
    named = language_of(corpus.languages[1])
    if named is not None:
        return named[0]
    return likely_language(example.target for example in islice(iter(corpus.training(0)), LANGUAGE_SAMPLE))


class Numbered(NamedTuple):
    """A line of input and its number."""

    text: str
    number: int


class SequenceToSequence:
    """The task: a corpus, its vocabularies, and how to search for an output."""

    config_class = SequenceToSequenceConfig
    example = Example
    role = "encoder-decoder"
    reads = ("text", "decode", "auto_size")

    @classmethod
    def assemble(cls, parts: Parts) -> Assembly:
        """The task with vocabularies made from its training texts, or with those that the model brings along."""
        brings_vocabulary = getattr(parts.model, "brings_vocabulary", False)
        vocabularies, model, layout = (start_pretrained if brings_vocabulary else start_from_scratch)(parts)
        facts = {} if parts.trained is None else read_environment(parts.trained)
        usual, prefix = facts.get("max_sentences_p99"), parts.text.line_prefix(tagged=bool(facts.get("tagged_sources")))
        in_words = parts.text.unit != "character"
        corpus = parts.corpus
        language = _target_language(corpus) if parts.trained is None else facts.get("target_language")
        task = cls(
            parts.config, parts.decode, corpus, vocabularies, parts.seed, usual, layout, in_words, prefix, language
        )
        return Assembly(task, model)

    def __init__(
        self,
        config: SequenceToSequenceConfig,
        decode: DecodeConfig,
        corpus: TextCorpus,
        vocabularies: Vocabularies,
        seed: int = 0,
        max_sentences: int | None = None,
        layout: TransformersFiles | None = None,
        in_words: bool = True,
        line_prefix: str = "",
        target_language: str | None = None,
    ) -> None:
        """A new task, or that of a trained run.

        Args:
            config, decode: what is minimised, and how an output is searched for.
            corpus: where the examples come from.
            vocabularies: made from them.
            seed: that of the run decides what varying ids training sees.
            max_sentences: what nearly all training sources have at most, as a trained run knows it.
            layout: the files of a pretrained model that are kept with the run.
            in_words: the unit in which the statistics of the data count lengths; else characters.
            line_prefix: regular expression of what at the start of a line belongs to every sentence of it.
            target_language: what the targets are written in; BLEU finds words accordingly.
        """
        self.config, self.decode, self.corpus, self.vocabularies = config, decode, corpus, vocabularies
        self._seed, self._max_sentences_p99, self._layout, self._in_words = seed, max_sentences, layout, in_words
        self._line_prefix, self._target_language = line_prefix, target_language
        self._fixed = Once(self.encode)
        metrics = config.metrics
        if target_language is None and corpus.languages is not None:
            target_language = corpus.languages[1]
        if target_language is not None:
            metrics = metrics.model_copy(update={"bleu": for_language(metrics.bleu, target_language)})
        self._words, self._metrics = metrics.bleu, build_metrics(metrics)
        for metric in self._metrics:
            metric.signature()  # a tokenizer that is not there is missed now, not after an hour

    def save(self, folder: RunFolder) -> None:
        """Writes the vocabularies, what `transformers` needs to load a model of its own, and statistics of the data."""
        self.vocabularies.save(folder.tokenizers)
        if self._layout is not None:
            self._layout.save(folder.root)
        splits, remarks = self.corpus.splits(), self.corpus.remarks()
        described = statistics.describe(splits, words=self._in_words, remarks=remarks, sample=statistics.SAMPLE)
        write_json(folder.data, described.to_json())

    def facts(self) -> dict[str, Any]:
        """How many sentences a training source usually has, whether it begins with a tag, and the target language."""
        examples = self.corpus.training(0)
        some = range(0, len(examples), max(1, len(examples) // SENTENCE_SAMPLE))
        sources = [examples[number].source for number in some]
        return {
            "max_sentences_p99": max_sentences_p99(sources),
            "tagged_sources": mostly_tagged(sources),
            "target_language": self._target_language,
        }

    def training(self, epoch: int) -> EncodedPairs:
        """The encoded examples of an epoch. Examples that stay the same are encoded once, unless the ids vary."""
        examples = self.corpus.training(epoch)
        if any(tokenizer.varies for tokenizer in self.vocabularies):
            return self.encode(examples, variant=epoch + EPOCHS * self._seed)
        return self._fixed(examples)

    def encode(self, examples: Sequence[Example], variant: int | None = None) -> EncodedPairs:
        """Text to ids, kept beside texts that are stored; `variant` picks one of the ways training may see them."""

        def encoder(side: Tokenizer) -> Callable[[Sequence[str]], list[list[int]]]:
            if variant is None:
                return side.encode_batch
            seeds = count(variant << 32)  # texts come a chunk at a time; each has chances of its own
            return lambda texts: side.encode_varied(texts, next(seeds))

        folder = None
        if isinstance(examples, StoredPairs) and variant is None:
            folder = examples.derived_cache_dir(*(side.to_json() for side in self.vocabularies))
        ids = self.vocabularies.special
        return EncodedPairs.encode(
            examples, *map(encoder, self.vocabularies), pad_id=ids.pad, bos_id=ids.bos, eos_id=ids.eos, folder=folder
        )

    def loss(self, model: nn.Module, batch: PairBatch) -> LossSum:
        """Cross-entropy of the next token under teacher forcing, in nats."""
        logits = self._logits(model, batch)
        return LossSum(cross_entropy_sum(logits, batch.labels, self.config.label_smoothing), batch.tokens)

    def run_forward(self, model: nn.Module, source_length: int, target_length: int) -> None:
        """One row of so many tokens through a model on the device "meta", for one that does not count operations."""
        source = torch.zeros(1, source_length, dtype=torch.long, device="meta")
        target = torch.zeros(1, target_length, dtype=torch.long, device="meta")
        model(source, torch.ones_like(source, dtype=torch.bool), target, torch.arange(target_length, device="meta"))

    @torch.inference_mode()
    def evaluate(self, model: Any, examples: Sequence[Example], *, quick: bool, autocast: Autocast) -> OutputEvaluation:
        """Loss under teacher forcing, and what the model writes by itself.

        Args:
            model: meets the decoder contract.
            examples: what to score.
            quick: for curves: search greedily, and where only an exact match counts give up a row once it differs from
                its answer. The texts of wrong predictions are then cut where they went wrong.
            autocast: makes the context of the wanted precision.
        """
        if len(examples) <= TOGETHER:
            return self._evaluated(model, examples, quick, autocast)
        starts = range(0, len(examples), TOGETHER)
        return joined_evaluation(
            [self._evaluated(model, examples[start : start + TOGETHER], quick, autocast) for start in starts]
        )

    def _evaluated(self, model: Any, examples: Sequence[Example], quick: bool, autocast: Autocast) -> OutputEvaluation:
        """Of so few examples that the ids of all fit into memory."""
        encoded = self.encode(examples)
        decode = self.decode.model_copy(update=GREEDY) if quick else self.decode
        with evaluating(model):
            counts = self._counts(model, encoded, examples, autocast)
        found = self._written(model, encoded, autocast, decode, references=self._known(examples) if quick else None)
        unknown = {} if quick else self.vocabularies.unknown(examples)
        examples = self._compared(examples)
        best = [hypotheses[0] for hypotheses in found]
        copied = self._copied(model, encoded, [example.source for example in examples], best, autocast=autocast)
        predictions = [self._prediction(*one) for one in zip(best, copied, strict=True)]
        # The text is compared, not the ids: an unknown character in an output is never right.
        correct = [
            hypothesis.finished
            and self.corpus.scored_text(prediction.text) in map(self.corpus.scored_text, example.references)
            for hypothesis, prediction, example in zip(best, predictions, examples, strict=True)
        ]
        return OutputEvaluation(
            self._metrics,
            counts,
            correct,
            predictions,
            examples,
            self._words,
            unknown,
            self._outputs(found, decode),
        )

    @torch.inference_mode()
    def predict(
        self,
        model: Any,
        sources: Sequence[str],
        *,
        autocast: Autocast,
        progress: Callable[[int], None] = lambda rows: None,
    ) -> list[list[Prediction]]:
        """The n best texts for every source, in order; `progress` learns how many are done after every batch."""
        encoded = self.encode([Example(source, "") for source in sources])
        found = self._written(model, encoded, autocast, self.decode, progress=progress)
        ranks = [self._copied(model, encoded, sources, kth, autocast=autocast) for kth in zip_longest(*found)]
        return [
            [self._prediction(hypothesis, ranks[k][row]) for k, hypothesis in enumerate(hypotheses)]
            for row, hypotheses in enumerate(found)
        ]

    def samples(self, model: Any, examples: Sequence[Example], *, autocast: Autocast) -> list[Sample]:
        """What the model writes for examples."""
        predictions = self.predict(model, [example.source for example in examples], autocast=autocast)
        return [Sample(*example, best.text) for example, (best, *_) in zip(examples, predictions, strict=True)]

    def artifacts(self, model: Any, evaluation: OutputEvaluation, *, autocast: Autocast) -> dict[str, Any]:
        """Attention maps of a few examples."""
        return {"attention": attention_maps(self, model, evaluation.examples, autocast)}

    def inputs(self, path: Path) -> Iterable[str]:
        """The lines of a file."""
        return read_lines(path)

    def parse(self, line: str, number: int) -> Numbered:
        """The line as it is."""
        return Numbered(line, number)

    def predict_batch(
        self, model: Any, inputs: Sequence[Numbered], *, autocast: Autocast, progress: Callable[[float], None]
    ) -> list[LineResult]:
        """See `Task`. A source with more tokens than `decode.max_source` or more sentences than `decode.max_sentences`

        is cut, and its prediction put together from those for the pieces.
        """
        source, reading = self.vocabularies.source, self._reading(model.config.max_length)
        lengths = map(len, source.encode_batch([line for line, _ in inputs]))
        read = [
            reading.pieces(line, tokens, lambda text: len(source.encode(text)), number)
            for (line, number), tokens in zip(inputs, lengths, strict=True)
        ]
        texts = [text for pieces in read for text in pieces.texts]
        found = iter(self.predict(model, texts, autocast=autocast, progress=lambda rows: progress(rows / len(texts))))
        return [
            LineResult(
                self._joined(list(islice(found, len(pieces.texts)))),
                len(pieces.texts),
                pieces.remark,
                source.unknown(pieces.texts),
            )
            for pieces in read
        ]

    def _reading(self, readable: int) -> SourceLimits:
        """Answered whole is what training saw alike; a translation is about as long as its source."""
        decode, translates = self.decode, self.corpus.languages is not None
        tokens = decode.max_source or (decode.max_length if translates else readable)
        most = decode.max_sentences or (self._max_sentences_p99 if translates else None)
        cuts = translates or decode.max_source is not None or decode.max_sentences is not None
        return SourceLimits(min(tokens, readable), most, cuts, self._line_prefix)

    def _joined(self, parts: list[list[Prediction]]) -> list[Prediction]:
        """The k-th best output for a source joins the k-th best ones of its pieces."""
        found = [
            Prediction(joined(map(self.corpus.scored_text, texts)), sum(scores), any(capped), sum(unknown))
            for texts, scores, capped, unknown in (zip(*kth, strict=True) for kth in zip(*parts, strict=False))
        ]
        return found or [Prediction("", 0.0)]

    def _logits(self, model: nn.Module, batch: PairBatch) -> Tensor:
        """(N, V) at the real target tokens."""
        return model(*batch.inputs)

    def _counts(
        self, model: nn.Module, encoded: EncodedPairs, examples: Sequence[Example], autocast: Autocast
    ) -> TokenCounts:
        counts = TokenCounts(characters=sum(len(example.target) for example in examples))
        for batch in evaluation_batches(encoded, model, self.config.evaluation_tokens):
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
        """The ids of the references, where a row may be left as soon as it differs from them."""
        whole = all(self.corpus.scored_text(example.target) == example.target for example in examples)
        if not set(self.config.metrics.names) <= EXACT or not whole:
            return None
        return self.vocabularies.target.encode_batch([example.target for example in examples])

    def _written(
        self, model: Any, encoded: EncodedPairs, autocast: Autocast, decode: DecodeConfig, **options: Any
    ) -> list[list[Hypothesis]]:
        """See `write`; the n best of a beam have different texts."""
        target, tokens = self.vocabularies.target, self.config.evaluation_tokens

        def written(pairs: EncodedPairs, decode: DecodeConfig) -> list[list[Hypothesis]]:
            return write(
                model, pairs, target.special, decode, tokens=tokens, autocast=autocast, unk_id=target.unk_id, **options
            )

        if decode.method != "beam" or decode.n_best == 1:
            return written(encoded, decode)
        return different_texts(written, encoded, decode, target.decode)

    def _copied(
        self, model: Any, encoded: EncodedPairs, *outputs: Sequence[Any], autocast: Autocast
    ) -> list[list[str]]:
        """The words for the unknown tokens of each source and hypothesis, where these are to be replaced."""
        rows = enumerate(zip(*outputs, strict=True))
        if self.decode.replace_unk is None:
            return [[] for _ in rows]
        check_copies(model)
        return [
            copied_words(model, self.vocabularies, encoded, row, source, hypothesis, autocast)
            for row, (source, hypothesis) in rows
        ]

    def _compared(self, examples: Sequence[Example]) -> Sequence[Example]:
        """What outputs are compared with: the texts, or the texts as the model would spell them."""
        if not self.config.normalize:
            return examples
        spelled = self.vocabularies.target.spelled
        sides = map(spelled, zip(*examples, strict=True))
        others = [example.references[1:] for example in examples]
        return [
            ReferencedExample(source, target, spelled(more) if more else ())
            for (source, target), more in zip(zip(*sides, strict=True), others, strict=True)
        ]

    def _outputs(self, found: list[list[Hypothesis]], decode: DecodeConfig) -> list[list[str]]:
        """All texts for each source, where it is asked how they differ."""
        if "self_bleu" not in self.config.metrics.names or decode.n_best == 1:
            return []
        return [[self._prediction(hypothesis).text for hypothesis in hypotheses] for hypotheses in found]

    def _prediction(self, hypothesis: Hypothesis, copied: Sequence[str] = ()) -> Prediction:
        target, ids = self.vocabularies.target, hypothesis.ids
        text = target.decode_with(ids, iter(copied)) if copied else target.decode(ids)
        unknown = 0 if copied or target.unk_id is None else ids.count(target.unk_id)
        return Prediction(text, hypothesis.score, hypothesis.cut, unknown)
