"""Damaged text in, what was damaged out: how a BART or a T5 is made from text alone.

Sources: Lewis et al. (2020), "BART: denoising sequence-to-sequence pre-training", section 2.2; Raffel et al. (2020),
"Exploring the limits of transfer learning with a unified text-to-text Transformer", sections 3.1.4 and 3.3.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from seqlab.config.settings import Config
from seqlab.data.batching.pairs import EncodedPairs, PairBatch, Ragged
from seqlab.data.batching.stream import evaluation_batches
from seqlab.data.corpora.corpus import Corpus
from seqlab.data.corpora.passages import Document
from seqlab.data.readers.lines import read_lines
from seqlab.decode.contract import Hypothesis
from seqlab.decode.settings import DecodeConfig
from seqlab.engine.loop import LossSum
from seqlab.errors import UserError
from seqlab.layers.functional import cross_entropy_sum
from seqlab.models.hf.encoder_decoder import PretrainedEncoderDecoder, PretrainedEncoderDecoderConfig
from seqlab.models.hf.untrained import init_output_bias
from seqlab.runs.folder import RunFolder
from seqlab.runs.hf_folder import TransformersFiles
from seqlab.tasks.pretraining.denoising_scores import MEASURED, DamagedRows, DenoisingEvaluation
from seqlab.tasks.pretraining.fresh_rows import FreshRows
from seqlab.tasks.pretraining.noising import (
    Damaged,
    SpanCorruption,
    TextInfilling,
    restored,
    span_corruption,
    text_infilling,
)
from seqlab.tasks.pretraining.packing import SPECIAL_TOKENS, Sentences, encode_documents, fill_rows
from seqlab.tasks.pretraining.start import tokenizer_and_network
from seqlab.tasks.task import Assembly, Autocast, LineResult, Parts, Prediction, Sample, evaluating, write
from seqlab.text.hf.pretrained import special_ids, special_tokens_around

SENTINEL = re.compile(r"<extra_id_(\d+)>")

SAMPLE_TOKENS = 48
"""Of a sample: what fits into a few lines."""


class PretrainDenoiseConfig(Config):
    """How rows are filled and damaged."""

    kind: Literal["pretrain-denoise"] = "pretrain-denoise"
    """denoising: restore corrupted text, as in BART and T5"""
    noise: Annotated[TextInfilling | SpanCorruption, Field(discriminator="kind")] = TextInfilling()
    """how a row is corrupted"""
    longest: int = Field(default=128, ge=16)
    """tokens of a row, which sentences of one document fill"""
    evaluation_tokens: int = Field(default=8192, ge=1)
    """token budget of a batch in evaluation and prediction"""

    @property
    def measured(self) -> tuple[str, ...]:
        """The scores of a curve."""
        return MEASURED

    @property
    def main_score(self) -> str:
        """The one that chooses the best checkpoint."""
        return "hidden_accuracy"


class PretrainDenoise:
    """The task: documents, and the tokenizer that was learned from them or came with a checkpoint."""

    config_class = PretrainDenoiseConfig
    example = Document
    role = "denoiser"
    reads = ()

    @classmethod
    def assemble(cls, parts: Parts) -> Assembly:
        """The task, and a network whose output starts with the frequencies of the tokens that it has to write."""
        config, model, trained = parts.config, parts.model, parts.trained
        tokenizer, network = tokenizer_and_network(model, parts.corpus, config.longest, trained)
        start_id = network.config.decoder_start_token_id
        special = special_ids(tokenizer, start_id)
        settings = PretrainedEncoderDecoderConfig(checkpoint=model.checkpoint or model.kind)
        adapter = PretrainedEncoderDecoder(settings, network, special.decoder_prefix)
        adapter.check_reads(config.longest)
        layout = None if trained else TransformersFiles.of(network, tokenizer, special.bos, config.longest - 1)
        task = cls(config, parts.corpus, tokenizer, start_id, parts.seed, layout)
        if trained is None and model.checkpoint is None:
            init_output_bias(network, task.counts())
        return Assembly(task, adapter)

    def __init__(
        self,
        config: PretrainDenoiseConfig,
        corpus: Corpus[Document],
        tokenizer: Any,
        start_id: int | None,
        seed: int,
        layout: TransformersFiles | None = None,
    ) -> None:
        """A new task, or that of a trained run.

        Args:
            config: how rows are filled and damaged.
            corpus: the documents.
            tokenizer: one of `transformers`.
            start_id: the id that the decoder starts from.
            seed: of the run; with the epoch it decides the damage.
            layout: the files that are kept with a new run.
        """
        self.config, self.corpus, self._tokenizer, self._layout = config, corpus, tokenizer, layout
        self.special = special_ids(tokenizer, start_id)
        self._before, self._after = special_tokens_around(tokenizer)
        self._blanks = _blanks_of(config, tokenizer)
        self._rows = FreshRows(self._encode, self._draw, seed)

    def save(self, folder: RunFolder) -> None:
        """Writes what `transformers` needs beside the weights."""
        if self._layout is not None:
            self._layout.save(folder.root)

    def facts(self) -> dict[str, Any]:
        """Nothing but what is saved."""
        return {}

    def training(self, epoch: int) -> EncodedPairs:
        """Rows that are damaged anew: a pure function of seed and epoch."""
        return self._rows.training(self.corpus.training(epoch), epoch).pairs

    def counts(self) -> Tensor:
        """How often each token occurs in the training rows, (V,), each of which has an end."""
        encoded = self._rows.encoded(self.corpus.training(0))
        counts = torch.from_numpy(np.bincount(encoded.ids, minlength=self.vocab_size))
        counts[self.special.eos] += len(fill_rows(encoded, self.config.longest - SPECIAL_TOKENS))
        return counts

    def loss(self, model: nn.Module, batch: PairBatch) -> LossSum:
        """Cross-entropy of the next token under teacher forcing, in nats."""
        return LossSum(cross_entropy_sum(model(*batch.inputs), batch.labels), batch.tokens)

    @torch.inference_mode()
    def evaluate(
        self, model: Any, examples: Sequence[Document], *, quick: bool, autocast: Autocast
    ) -> DenoisingEvaluation:
        """Every sentence once, damaged in the same way each time."""
        rows = self._rows.evaluation(examples)
        targets = rows.pairs.targets
        predicted, nats = np.zeros_like(targets.ids), np.zeros(len(targets.ids))
        with evaluating(model):
            for batch in evaluation_batches(rows.pairs, model, self.config.evaluation_tokens):
                with autocast():
                    logits = model(*batch.inputs)
                places = targets.places(batch.rows)
                predicted[places] = logits.argmax(1).cpu().numpy()
                nats[places] = F.cross_entropy(logits.float(), batch.labels, reduction="none").cpu().numpy()
        return DenoisingEvaluation(rows, predicted, nats, self._spelled)

    @torch.inference_mode()
    def samples(self, model: Any, examples: Sequence[Document], *, autocast: Autocast) -> list[Sample]:
        """The first sentences of each document damaged, what is to be written for them, and what the model writes."""
        longest = min(SAMPLE_TOKENS, self.config.longest) - SPECIAL_TOKENS
        encoded = [encode_documents([document], self._tokenizer, longest) for document in examples]
        rows = [_row(found, *fill_rows(found, longest)[0]) for found in encoded if len(found.ids)]
        generator = np.random.default_rng(1)
        damaged = [self._damage(*row, generator) for row in rows]
        written = self._written(model, [self._with_special_tokens(row.source) for row in damaged], autocast)
        return [
            Sample(self._spelled(row.source), self._spelled(row.target), self._spelled(found.ids))
            for row, found in zip(damaged, written, strict=True)
        ]

    def artifacts(self, model: Any, evaluation: DenoisingEvaluation, *, autocast: Autocast) -> dict[str, Any]:
        """Nothing beside the predictions."""
        return {}

    def inputs(self, path: Path) -> Iterable[str]:
        """A damaged text on each line."""
        return read_lines(path)

    def parse(self, line: str, number: int) -> list[int]:
        """The ids of a line in which a user has left something out; other special tokens are dropped."""
        backend = self._tokenizer.backend_tokenizer
        backend.encode_special_tokens = False
        others = set(self._tokenizer.all_special_ids) - set(self._blanks)
        ids = [token for token in backend.encode(line, add_special_tokens=False).ids if token not in others]
        if isinstance(self.config.noise, SpanCorruption):
            found = [token for token in ids if token in self._blanks]
            if not found or found != self._blanks[: len(found)]:
                raise UserError(
                    f"line {number}: mark the gaps with <extra_id_0>, <extra_id_1> and so on, in this order"
                )
        if len(ids) + SPECIAL_TOKENS > self.config.longest:
            raise UserError(
                f"line {number}: has {len(ids):,} tokens; {self.config.longest - SPECIAL_TOKENS:,} can be read "
                "(task.longest in training): shorten it"
            )
        return ids

    @torch.inference_mode()
    def predict_batch(
        self, model: Any, inputs: Sequence[list[int]], *, autocast: Autocast, progress: Callable[[float], None]
    ) -> list[LineResult]:
        """Each text repaired by greedy search; what T5 writes for a sentinel is put in its place."""
        written = self._written(model, [self._with_special_tokens(ids) for ids in inputs], autocast)
        return [LineResult([self._repaired(ids, found)]) for ids, found in zip(inputs, written, strict=True)]

    @property
    def vocab_size(self) -> int:
        """Among how many tokens the next one is."""
        return len(self._tokenizer)

    def _encode(self, documents: Sequence[Document]) -> Sentences:
        return encode_documents(documents, self._tokenizer, self.config.longest - SPECIAL_TOKENS)

    def _draw(self, encoded: Sentences, random: Random) -> DamagedRows:
        """All rows, and what is damaged of them."""
        generator = np.random.default_rng(random.getrandbits(128))
        filled = fill_rows(encoded, self.config.longest - SPECIAL_TOKENS)
        if not len(filled):
            raise UserError("the documents contain no sentences: give running text")
        damaged = [self._damage(*_row(encoded, start, end), generator) for start, end in filled]
        sources = Ragged.of([self._with_special_tokens(row.source) for row in damaged])
        targets = Ragged.of([[*row.target.tolist(), self.special.eos] for row in damaged])
        pairs = EncodedPairs(sources, targets, self.special.pad, self.special.bos)
        return DamagedRows(pairs, np.concatenate([np.append(row.hidden, False) for row in damaged]))

    def _damage(self, ids: np.ndarray, starts: np.ndarray, generator: np.random.Generator) -> Damaged:
        match self.config.noise:
            case TextInfilling() as noise:
                return text_infilling(ids, starts, noise, self._blanks[0], generator)
            case SpanCorruption() as noise:
                return span_corruption(ids, noise, np.array(self._blanks), generator)

    def _with_special_tokens(self, ids: Iterable[int]) -> list[int]:
        """A source as the encoder reads it."""
        return [*self._before, *map(int, ids), *self._after]

    def _written(self, model: Any, sources: Sequence[list[int]], autocast: Autocast) -> list[Hypothesis]:
        """What greedy search writes for each source."""
        if not sources:
            return []
        ends = Ragged.of([[self.special.eos]] * len(sources))
        pairs = EncodedPairs(Ragged.of(sources), ends, self.special.pad, self.special.bos)
        decode, tokens = DecodeConfig(max_length=self.config.longest - 1), self.config.evaluation_tokens
        found = write(model, pairs, self.special, decode, tokens=tokens, autocast=autocast)
        return [best for best, *_ in found]

    def _repaired(self, ids: list[int], written: Hypothesis) -> Prediction:
        whole = written.ids
        if isinstance(self.config.noise, SpanCorruption):
            whole = restored(ids, whole, self._blanks)
        text = self._tokenizer.decode(whole, skip_special_tokens=True).strip()
        return Prediction(text, written.score, capped=not written.finished)

    def _spelled(self, ids: Iterable[int]) -> str:
        """The text with its masks or sentinels, and without begin and end of sequence."""
        ends = {*self._before, *self._after, self.special.pad}
        text = self._tokenizer.decode([int(token) for token in ids if token not in ends], skip_special_tokens=False)
        return re.sub(rf"\s*({self._blank_names})", r" \1", text).strip()

    @property
    def _blank_names(self) -> str:
        names = self._tokenizer.convert_ids_to_tokens(self._blanks)
        return "|".join(map(re.escape, names))


def _row(encoded: Sentences, start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of some sentences that follow each other, and where each of them starts."""
    offsets = encoded.offsets[start : end + 1]
    return encoded.ids[offsets[0] : offsets[-1]], offsets[:-1] - offsets[0]


def _blanks_of(config: PretrainDenoiseConfig, tokenizer: Any) -> list[int]:
    """The mask, or all sentinels in order; UserError where the tokenizer has none."""
    kind = f'task.noise.kind="{config.noise.kind}"'
    if isinstance(config.noise, TextInfilling):
        if tokenizer.mask_token_id is None:
            raise UserError(f'{kind} needs a tokenizer with a mask token, such as that of model.kind="bart"')
        return [tokenizer.mask_token_id]
    pieces = tokenizer.get_vocab().items()
    found = {int(match[1]): number for piece, number in pieces if (match := SENTINEL.fullmatch(piece))}
    if len(found) < 2:
        raise UserError(f'{kind} needs a tokenizer with sentinel tokens, such as that of model.kind="t5"')
    return [found[number] for number in sorted(found)]
