"""Extractive question answering: the answer is a span of the text.

A pretrained encoder reads question and text in windows and points to the first and to the last token of the answer.
Source: Devlin et al. (2019), "BERT: pre-training of deep bidirectional transformers", sections 4.2 and 4.3.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.config.settings import Config
from seqlab.data.batching.stream import evaluation_batches
from seqlab.data.batching.token_rows import TokenBatch, TokenRows
from seqlab.data.corpora.corpus import Corpus
from seqlab.data.corpora.squad import Question, asked
from seqlab.data.readers.lines import format_suffix, read_lines
from seqlab.engine.loop import LossSum
from seqlab.errors import UserError
from seqlab.models.hf.encoder import SpanModel, build_network
from seqlab.runs.hf_folder import TransformersFolder, check_fits, checkpoint_of, load_tokenizer, read_network_config
from seqlab.tasks.frozen_states import with_frozen_states
from seqlab.tasks.question_answering.scores import AnswerEvaluation, BestSpan, FoundAnswer
from seqlab.tasks.question_answering.spans import Candidate, best_spans, log_probabilities, merged
from seqlab.tasks.question_answering.windows import NOWHERE, Windows, WindowSize, encode_windows
from seqlab.tasks.task import Assembly, Autocast, LineResult, Once, Parts, Prediction, Sample, evaluating

SPECIALS = 8
"""Tokens of a window that are neither question nor text, at most."""


class AnswerConfig(Config):
    """How texts are cut into windows, and how answers are chosen."""

    adjustable: ClassVar = frozenset({"longest_answer", "n_best", "no_answer_threshold"})

    kind: Literal["question-answering"] = "question-answering"
    """questions are answered by a passage of a text"""
    window: int = Field(default=384, ge=32)
    """tokens of a window, including the question"""
    stride: int = Field(default=128, ge=0)
    """tokens that two neighbouring windows share"""
    longest_question: int = Field(default=64, ge=1)
    """tokens of a question; the rest of a longer one is not read"""
    longest_answer: int = Field(default=30, ge=1)
    """tokens of an answer, at most"""
    n_best: int = Field(default=1, ge=1, le=20)
    """number of answers per question"""
    no_answer: bool = False
    """whether "the text does not say" is an answer, as in SQuAD 2.0"""
    no_answer_threshold: float = 0.0
    """"no answer" is predicted if its score exceeds that of the best answer by more than this"""
    evaluation_tokens: int = Field(default=8192, ge=1)
    """token budget of a batch in evaluation and prediction"""

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        if self.window <= self.stride + self.longest_question + SPECIALS:
            raise ValueError(
                f"window={self.window} leaves no room for new text beside stride={self.stride} and "
                f"longest_question={self.longest_question}: make the window larger"
            )
        if self.no_answer_threshold and not self.no_answer:
            raise ValueError("no_answer_threshold has no effect without no_answer=true")
        return self

    @property
    def measured(self) -> tuple[str, ...]:
        """The scores of a curve."""
        return "loss", "f1", "exact_match"

    @property
    def main_score(self) -> str:
        """The one that chooses the best checkpoint."""
        return "f1"


class AnswerQuestions(TransformersFolder):
    """The task: questions with texts, and a tokenizer that knows where its tokens stand."""

    config_class = AnswerConfig
    example = Question
    role = "encoder"
    reads = ()
    reads_context = True
    own_formats = (".json", ".jsonl")

    @classmethod
    def assemble(cls, parts: Parts) -> Assembly:
        """The task, and an encoder with a head that points to spans."""
        config, model = parts.config, parts.model
        if model.pooling != "first":
            raise UserError(f"model.pooling={model.pooling} has no effect with the task {config.kind}: leave it out")
        checkpoint = checkpoint_of(model.checkpoint, parts.trained)
        tokenizer = load_tokenizer(checkpoint)
        network = build_network(model, checkpoint, read_network_config(checkpoint), SpanModel.HEAD)
        check_fits(checkpoint, tokenizer, network.config, config.window)
        built = SpanModel(model, network)
        return Assembly(cls(config, parts.corpus, tokenizer, network.config, partial(with_frozen_states, built)), built)

    def __init__(
        self,
        config: AnswerConfig,
        corpus: Corpus[Question],
        tokenizer: Any,
        network_config: Any,
        with_states: Callable[[TokenRows], TokenRows] = lambda rows: rows,
    ) -> None:
        """`tokenizer` and `network_config` are those of `transformers`, and saved with the run.

        `with_states` adds to the windows of training what the model knows of them.
        """
        super().__init__(tokenizer, network_config)
        self.config, self.corpus = config, corpus
        self._training: Once[Sequence[Question], TokenRows] = Once(
            lambda examples: with_states(self._windows(examples))
        )

    def training(self, epoch: int) -> TokenRows:
        """The windows of an epoch; questions that stay the same are encoded once."""
        return self._training(self.corpus.training(epoch))

    def loss(self, model: nn.Module, batch: TokenBatch) -> LossSum:
        """Cross-entropy of the first and of the last token of the answer, halved, in nats, added up over windows."""
        start, end = model(*batch.inputs)
        return LossSum(_cross_entropy(start, end, batch.labels).sum(), batch.tokens)

    @torch.inference_mode()
    def evaluate(
        self, model: Any, examples: Sequence[Question], *, quick: bool, autocast: Autocast
    ) -> AnswerEvaluation:
        """Loss, and the best answers; of the logits nothing is kept but the best spans of a window."""
        windows = self._encode(examples)
        nats, number = 0.0, 0
        found: list[list[Candidate]] = [[] for _ in range(len(windows))]
        nulls = [0.0] * len(windows)
        with evaluating(model):
            for batch in evaluation_batches(windows.rows, model, self.config.evaluation_tokens):
                with autocast():
                    start, end = model(*batch.inputs)
                known = batch.labels[:, 0] != NOWHERE
                nats += _cross_entropy(start[known], end[known], batch.labels[known]).sum().item()
                number += int(known.sum())
                self._collect(windows, batch, start, end, found, nulls)
        spans: list[BestSpan] = []
        answers = list(self._answers(examples, windows, found, nulls, spans))
        return AnswerEvaluation(examples, answers, nats / max(number, 1), len(windows), windows.is_cut, spans)

    def samples(self, model: Any, examples: Sequence[Question], *, autocast: Autocast) -> list[Sample]:
        """The question, the answer of a person, and that of the model."""
        evaluation = self.evaluate(model, examples, quick=True, autocast=autocast)
        return [
            Sample(
                example.question,
                example.answers[0].text if example.answers else "(no answer)",
                best[0].text or "(no answer)",
            )
            for example, best in zip(examples, evaluation.found, strict=True)
        ]

    def artifacts(self, model: Any, evaluation: AnswerEvaluation, *, autocast: Autocast) -> dict[str, Any]:
        """A few questions with their texts."""
        return {"answers": evaluation.artifact()}

    def inputs(self, path: Path) -> Iterable[str]:
        """A question, a tab and its text on each line; or the questions of a file in the layout of SQuAD."""
        if format_suffix(path) not in self.own_formats:
            return read_lines(path)
        pairs = ((" ".join(question.split()), " ".join(context.split())) for question, context in asked(path))
        return (f"{question}\t{context}" if question and context else "" for question, context in pairs)

    def parse(self, line: str, number: int) -> Question:
        """A question, a tab and the text that answers it."""
        question, tab, context = line.partition("\t")
        if not tab or not question.strip() or not context.strip():
            raise UserError(f"line {number}: write the question, a tab and the text that answers it")
        return Question(str(number), "", question, context, ())

    def predict_batch(
        self, model: Any, inputs: Sequence[Question], *, autocast: Autocast, progress: Callable[[float], None]
    ) -> list[LineResult]:
        """The n best answers to each question."""
        found = self.evaluate(model, inputs, quick=True, autocast=autocast)
        return [
            LineResult(
                [Prediction(answer.text, answer.score) for answer in answers],
                cut_at="task.longest_question" if is_cut else "",
            )
            for answers, is_cut in zip(found.found, found.is_cut, strict=True)
        ]

    def _windows(self, examples: Sequence[Question]) -> TokenRows:
        """Those of training; UserError for a question without an answer where each must have one."""
        if not self.config.no_answer and (row := next((q for q in examples if not q.answers), None)):
            raise UserError(f"question {row.id} has no answer, as in SQuAD 2.0: set task.no_answer=true")
        return self._encode(examples).rows

    def _encode(self, examples: Sequence[Question]) -> Windows:
        size = WindowSize(self.config.window, self.config.stride, self.config.longest_question)
        return encode_windows(self._tokenizer, examples, size)

    def _collect(
        self,
        windows: Windows,
        batch: TokenBatch,
        start: Tensor,
        end: Tensor,
        found: list[list[Candidate]],
        nulls: list[float],
    ) -> None:
        """Puts the best spans of each window of a batch where they belong, as characters."""
        text = torch.from_numpy(windows.text_mask(batch.rows, start.shape[1])).to(start.device)
        spans = best_spans(start, end, text, self.config.longest_answer)
        columns = zip(batch.rows.tolist(), *(column.tolist() for column in spans), strict=True)
        for window, firsts, lasts, scores, null in columns:
            nulls[window] = null
            found[window] = [
                Candidate(*windows.characters(window, first, last), score)
                for first, last, score in zip(firsts, lasts, scores, strict=True)
                if score != -torch.inf
            ]

    def _answers(
        self,
        examples: Sequence[Question],
        windows: Windows,
        found: list[list[Candidate]],
        nulls: list[float],
        spans: list[BestSpan],
    ) -> Iterator[list[FoundAnswer]]:
        """The n best answers to each question; what would be said if there had to be one is added to `spans`."""
        of_question: list[list[int]] = [[] for _ in examples]
        for window, question in enumerate(windows.question.tolist()):
            of_question[question].append(window)
        for example, rows in zip(examples, of_question, strict=True):
            candidates = merged(found[row] for row in rows)
            if self.config.no_answer:
                null = min(nulls[row] for row in rows)
                best = candidates[0] if candidates else Candidate(0, 0, -math.inf)
                spans.append(BestSpan(example.context[best.start : best.end], null - best.score))
                null -= self.config.no_answer_threshold
                # it wins only if it is better than all of them, so it stands before none of the same score
                candidates = sorted([*candidates, Candidate(0, 0, null)], key=lambda candidate: -candidate.score)
            scored = zip(candidates, log_probabilities(candidates), strict=True)
            answers = [FoundAnswer(example.context[c.start : c.end], c.start, c.end, score) for c, score in scored]
            yield answers[: self.config.n_best] or [FoundAnswer("", 0, 0, 0.0)]


def _cross_entropy(start: Tensor, end: Tensor, labels: Tensor) -> Tensor:
    """(B,), the mean of both ends; logits (B, S), labels (B, 2)."""
    return (
        F.cross_entropy(start, labels[:, 0], reduction="none") + F.cross_entropy(end, labels[:, 1], reduction="none")
    ) / 2
