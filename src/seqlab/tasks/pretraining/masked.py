"""Running text in, hidden words out: how a BERT is made from text alone.

Source: Devlin et al. (2019), "BERT: pre-training of deep bidirectional transformers", section 3.1: masked language
model and next sentence prediction.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from seqlab.config.settings import Config
from seqlab.data.batching.masked_rows import MaskedBatch, MaskedRows
from seqlab.data.batching.stream import evaluation_batches
from seqlab.data.corpora.corpus import Corpus
from seqlab.data.corpora.passages import Document
from seqlab.data.readers.lines import read_lines
from seqlab.engine.loop import LossSum
from seqlab.errors import UserError
from seqlab.models.hf.bert import MaskedLanguageModel
from seqlab.models.hf.untrained import init_output_bias
from seqlab.runs.hf_folder import TransformersFolder
from seqlab.tasks.pretraining.fresh_rows import FreshRows
from seqlab.tasks.pretraining.masked_scores import MEASURED, MaskedEvaluation
from seqlab.tasks.pretraining.masking import SpecialTokens, hidden_tokens, masked_rows
from seqlab.tasks.pretraining.packing import SPECIAL_TOKENS, Sentences, draw_pairs, encode_documents
from seqlab.tasks.pretraining.start import tokenizer_and_network
from seqlab.tasks.task import Assembly, Autocast, LineResult, Parts, Prediction, Sample, evaluating
from seqlab.text.hf.pretrained import text_encoder
from seqlab.text.hf.wordpieces import CONTINUES
from seqlab.text.sentences import sentences

MASK = re.compile(r"\[MASK\]")


class PretrainMaskedConfig(Config):
    """How rows are filled, and how much of them is hidden."""

    kind: Literal["pretrain-masked"] = "pretrain-masked"
    """masked language modelling and next-sentence prediction, as in BERT"""
    longest: int = Field(default=128, ge=16)
    """tokens of a row, which sentences fill"""
    hidden: float = Field(default=0.15, gt=0, lt=1)
    """share of the words of a row that are masked"""
    evaluation_tokens: int = Field(default=8192, ge=1)
    """token budget of a batch in evaluation and prediction"""

    @property
    def measured(self) -> tuple[str, ...]:
        """The scores of a curve."""
        return MEASURED

    @property
    def main_score(self) -> str:
        """The one that chooses the best checkpoint."""
        return "masked_accuracy"


class Gaps(NamedTuple):
    """A text in which words are missing."""

    parts: list[str]
    """what stands before, between and after the gaps"""
    ids: list[int]
    """all of it, with a mask for each gap"""


class PretrainMasked(TransformersFolder):
    """The task: documents, and the tokenizer that was learned from them or came with a checkpoint."""

    config_class = PretrainMaskedConfig
    example = Document
    role = "masked-language-model"
    reads = ()

    @classmethod
    def assemble(cls, parts: Parts) -> Assembly:
        """The task, and a network whose output starts with the frequencies of the tokens that it has to fill in."""
        tokenizer, network = tokenizer_and_network(parts.model, parts.corpus, parts.config.longest, parts.trained)
        task = cls(parts.config, parts.corpus, tokenizer, network.config, parts.seed)
        if parts.trained is None and parts.model.checkpoint is None:
            init_output_bias(network, task.counts())
        return Assembly(task, MaskedLanguageModel(network))

    def __init__(
        self, config: PretrainMaskedConfig, corpus: Corpus[Document], tokenizer: Any, network_config: Any, seed: int
    ) -> None:
        """`tokenizer` and `network_config` are those of `transformers`, and saved with the run."""
        super().__init__(tokenizer, network_config)
        self.config, self.corpus = config, corpus
        self.special = SpecialTokens.of(tokenizer)
        self._rows = FreshRows(self._encode, self._draw, seed)

    def training(self, epoch: int) -> MaskedRows:
        """Rows with fresh pairs and fresh hidden words: a pure function of seed and epoch."""
        return self._rows.training(self.corpus.training(epoch), epoch)

    def counts(self) -> Tensor:
        """How often each token occurs in the training texts, (V,): as often it has to be filled in."""
        encoded = self._rows.encoded(self.corpus.training(0))
        return torch.from_numpy(np.bincount(encoded.ids, minlength=self.vocab_size))

    def loss(self, model: nn.Module, batch: MaskedBatch) -> LossSum:
        """Cross-entropy of the hidden tokens, and for each of them once more that of the second text of its row.

        The loop divides by the number of hidden tokens. So next sentence prediction is a mean over rows, in which a row
        counts as often as it has hidden tokens: a sum over tokens, which any accumulation leaves as it is.
        """
        nats, nsp_nats = _cross_entropies(batch, *model(*batch.inputs))
        return LossSum(nats.sum() + (nsp_nats * batch.hidden).sum(), batch.tokens)

    @torch.inference_mode()
    def evaluate(
        self, model: Any, examples: Sequence[Document], *, quick: bool, autocast: Autocast
    ) -> MaskedEvaluation:
        """Every sentence about once, with the same words hidden each time."""
        rows = self._rows.evaluation(examples)
        predicted = np.zeros(len(rows.labels.ids), dtype=np.int32)
        nats, nsp_nats, nsp_predicted = np.zeros(len(rows)), np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
        with evaluating(model):
            for batch in evaluation_batches(rows, model, self.config.evaluation_tokens):
                with autocast():
                    logits, nsp_logits = model(*batch.inputs)
                found = [part.cpu().numpy() for part in _cross_entropies(batch, logits, nsp_logits)]
                hidden = rows.labels.lengths_of(batch.rows)
                predicted[rows.labels.places(batch.rows)] = logits.argmax(1).cpu().numpy()
                nats[batch.rows] = np.bincount(np.repeat(np.arange(len(hidden)), hidden), found[0])
                nsp_nats[batch.rows], nsp_predicted[batch.rows] = found[1], nsp_logits.argmax(1).cpu().numpy()
        return MaskedEvaluation(rows, predicted, nats, nsp_nats, nsp_predicted, self._tokenizer.decode)

    def samples(self, model: Any, examples: Sequence[Document], *, autocast: Autocast) -> list[Sample]:
        """A sentence of each document with hidden words, these words, and what the model fills in."""
        return [self._sample(model, document, autocast) for document in examples]

    def artifacts(self, model: Any, evaluation: MaskedEvaluation, *, autocast: Autocast) -> dict[str, Any]:
        """Nothing beside the predictions."""
        return {}

    def inputs(self, path: Path) -> Iterable[str]:
        """A text on each line."""
        return read_lines(path)

    def parse(self, line: str, number: int) -> Gaps:
        """A text with [MASK] wherever a word is to be filled in."""
        parts = MASK.split(line)
        if len(parts) == 1:
            raise UserError(f"line {number}: has no [MASK] token to fill in")
        backend = text_encoder(self._tokenizer)
        pieces = [backend.encode(part, add_special_tokens=False).ids for part in parts]
        ids = [*pieces[0], *(id for piece in pieces[1:] for id in (self.special.mask, *piece))]
        if len(ids) + 2 > self._longest:
            raise UserError(f"line {number}: has {len(ids) + 2:,} tokens; {self._longest:,} can be read")
        return Gaps(parts, ids)

    def predict_batch(
        self, model: Any, inputs: Sequence[Gaps], *, autocast: Autocast, progress: Callable[[float], None]
    ) -> list[LineResult]:
        """Each text with its gaps filled, every one with what is most probable there if the others stay hidden."""
        results = []
        for gaps in inputs:
            results.append(LineResult([self._filled(model, gaps, autocast)]))
            progress(len(results) / len(inputs))
        return results

    def _encode(self, documents: Sequence[Document]) -> Sentences:
        """Sentences so short that two fit into a row."""
        return encode_documents(documents, self._tokenizer, (self.config.longest - SPECIAL_TOKENS) // 2)

    def _draw(self, encoded: Sentences, random: Random) -> MaskedRows:
        pairs = draw_pairs(encoded, self.config.longest, random)
        generator = np.random.default_rng(random.getrandbits(128))
        return masked_rows(encoded, pairs, self.special, self.config.hidden, generator)

    def _sample(self, model: Any, document: Document, autocast: Autocast) -> Sample:
        """Of a sentence that fits; the longest of the first paragraph."""
        text = max(sentences(document.paragraphs[0]), key=len)
        alone = Document(document.name, (text,))
        encoded = self._encode([alone])
        if not len(encoded.ids):
            return Sample(text, "", "")
        end = encoded.offsets[1]  # a sentence that is too long was cut
        ids, starts = encoded.ids[:end].astype(np.int64), encoded.starts_word[:end]
        places = hidden_tokens(starts, np.zeros(end, dtype=np.int64), self.config.hidden, np.random.default_rng(1))
        hidden = ids[places]
        ids[places] = self.special.mask
        found = self._logits(model, ids.tolist(), autocast).argmax(1)
        decode = self._tokenizer.decode
        return Sample(decode(ids), _listed(hidden, decode), _listed(found, decode))

    def _filled(self, model: Any, gaps: Gaps, autocast: Autocast) -> Prediction:
        log_probabilities = self._logits(model, gaps.ids, autocast).log_softmax(1)
        text, score = gaps.parts[0], 0.0
        for chances, part in zip(log_probabilities, gaps.parts[1:], strict=True):
            starts = not text or text[-1].isspace()
            chosen = int(chances.masked_fill(~self._allowed(starts, chances.device), -torch.inf).argmax())
            text += self._tokenizer.convert_ids_to_tokens(chosen).removeprefix(CONTINUES) + part
            score += float(chances[chosen])
        return Prediction(text, score)

    @torch.inference_mode()
    def _logits(self, model: Any, ids: list[int], autocast: Autocast) -> Tensor:
        """Logits (M, V) at the hidden places of one text without its special tokens."""
        device = next(model.parameters()).device
        row = torch.tensor([[self.special.cls, *ids, self.special.sep]], device=device)
        places = (row[0] == self.special.mask).nonzero()[:, 0]
        with evaluating(model), autocast():
            return model(row, torch.ones_like(row, dtype=torch.bool), torch.zeros_like(row), places)[0]

    @property
    def vocab_size(self) -> int:
        """Among how many tokens a hidden one is."""
        return self._network_config.vocab_size

    @property
    def _longest(self) -> int:
        return self._network_config.max_position_embeddings

    def _allowed(self, starts_word: bool, device: torch.device) -> Tensor:
        """(V,), which tokens may fill a place: no special tokens, and no end of a word where one starts."""
        allowed = torch.zeros(self.vocab_size, dtype=torch.bool)
        allowed[torch.from_numpy(self.special.ordinary)] = True
        if starts_word:
            ends = [number for piece, number in self._tokenizer.get_vocab().items() if piece.startswith(CONTINUES)]
            allowed[ends] = False
        return allowed.to(device)


def _cross_entropies(batch: MaskedBatch, logits: Tensor, nsp_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Of hidden tokens (M,), and of second texts (B,)."""
    return (
        F.cross_entropy(logits, batch.labels, reduction="none"),
        F.cross_entropy(nsp_logits, batch.elsewhere, reduction="none"),
    )


def _listed(ids: Iterable[Any], decode: Callable[[Sequence[int]], str]) -> str:
    """The words that these pieces make, with commas between them."""
    words: list[str] = []
    for id in ids:
        piece = decode([int(id)])
        if piece.startswith(CONTINUES) and words:
            words[-1] += piece.removeprefix(CONTINUES)
        else:
            words.append(piece)
    return ", ".join(words)
