"""What tasks write into a run folder and reports read: one typed description of every file of JSON.

A file that does not fit its description is one line for the user, with the key that is wrong. No torch here.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from seqlab.errors import UserError

# Predictions, one line each


@dataclass(frozen=True)
class Judged:
    """One test example, as every task writes it: what was predicted, and whether that is right."""

    predicted: Any
    correct: bool


@dataclass(frozen=True)
class TextPrediction:
    """A text and the text that the run made of it; `score` is its log-probability."""

    source: str
    target: str
    predicted: str
    correct: bool
    score: float = 0.0
    f1: float | None = None
    """words that an answer to a question shares with those of people, as a share"""


ClassName = Annotated[str, BeforeValidator(str)]
"""Numbers are names of classes too."""


@dataclass(frozen=True)
class LabelPrediction:
    """The class of an example and the one that the run took it for, with its probability."""

    label: ClassName
    predicted: ClassName
    correct: bool
    probability: float
    source: str | None = None
    """the text, where texts are classified"""


# Artifacts, one file each


@dataclass(frozen=True)
class AttentionMap:
    """What a model looked at while it wrote one answer; all weights are shares."""

    text: str
    """the source"""
    source: list[str]
    """S tokens"""
    predicted: list[str]
    """T tokens"""
    layers: int
    heads: Annotated[list[list[list[float]]], Field(min_length=1)]
    """(H, T, S), the weights of the last layer"""
    all_layers: list[list[float]]
    """(T, S), the mean over heads and layers"""
    centres: list[float] | None = None
    """(T), the place in the source, counted from 1, around which each row looked; None: it could look everywhere"""
    window_radius: int | None = None
    """places on either side of a centre that could be seen"""

    def __post_init__(self) -> None:
        shape = len(self.predicted), len(self.source)
        for weights in (*self.heads, self.all_layers):
            if (len(weights), *{len(row) for row in weights}) != shape:
                raise ValueError(f"weights are not {shape[0]} x {shape[1]}, predicted by source tokens")


@dataclass(frozen=True)
class Gold:
    """The answer of a person; `start` is its first character in the text, if it occurs there."""

    text: str
    start: int | None


@dataclass(frozen=True)
class FoundSpan:
    """A passage that the model chose, from `start` to before `end`; from 0 to 0 it says that there is no answer."""

    text: str
    start: int
    end: int
    score: float
    """log-probability among the candidates"""


@dataclass(frozen=True)
class Asked:
    """A question about a text, with what people and the model answer."""

    question: str
    context: str
    answers: list[Gold]
    predicted: Annotated[list[FoundSpan], Field(min_length=1)]
    """the best first"""
    f1: float
    exact_match: bool


@dataclass(frozen=True)
class Classified:
    """A text, or two with a tab between them, its class, and the one that the model gave it."""

    source: str
    label: str
    predicted: str
    correct: bool
    probability: float
    """of the predicted class"""


def _even_rows(rows: list[list[int]]) -> list[list[int]]:
    if len({len(row) for row in rows}) > 1:
        raise ValueError("rows of pixels differ in length")
    return rows


PixelRow = Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=1)]
Pixels = Annotated[list[PixelRow], Field(min_length=1), AfterValidator(_even_rows)]
"""(H, W), shades from 0, black, to 255, white."""


@dataclass(frozen=True)
class Mistake:
    """An image that was taken for another class; `row` is its number among the test images, from 0."""

    row: int
    pixels: Pixels
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Orders:
    """An image with its pixels in their places, and in those of the permutation."""

    label: str
    sequential: Pixels
    permuted: Pixels


@dataclass(frozen=True)
class Pictures:
    """What `pictures.json` holds."""

    height: int
    width: int
    mistakes: list[Mistake]
    """the surest first"""
    orders: list[Orders]


# Results and machine


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class TimeToTarget:
    """When the score of `--until` was reached."""

    target: str
    """as it was given: `accuracy>=0.99`"""
    step: int
    train_s: Seconds


@dataclass(frozen=True)
class Results:
    """What the report reads of `results.json`; tasks write more."""

    step: int | None = None
    train_s: Seconds | None = None
    parameters: int | None = None
    peak_memory_mb: float | None = None
    stopped_because: str | None = None
    examples: int | None = None
    scores: dict[str, dict[str, float | None]] | None = None
    baselines: dict[str, dict[str, float]] | None = None
    signatures: dict[str, str] | None = None
    time_to_target: TimeToTarget | None = None
    capped: int | None = None
    unknown: dict[str, dict[str, int]] | None = None
    outputs_with_unk: int | None = None
    warnings: list[str] | None = None
    leaks: list[str] | None = None
    by_question_word: dict[str, dict[str, float]] | None = None
    by_answer_length: dict[str, dict[str, float]] | None = None
    batch_matthews: list[float] | None = None


@dataclass(frozen=True)
class Environment:
    """What the report reads of `environment.json`; the rest is shown as it is."""

    command: str | None = None
    threads: int | None = None
    precision: Literal["fp32", "bf16", "fp16"] | None = None
    matrix_flops: float | None = None


# Events, one line each


@dataclass(frozen=True)
class UpdateEvent:
    """An update; tasks and engine write more measures of it."""

    step: int
    time_s: Seconds | None = None
    loss: float | None = None


@dataclass(frozen=True)
class EvaluationEvent:
    """Scores of a split, each under its name."""

    step: int
    split: str
    time_s: Seconds | None = None
    loss: float | None = None


@dataclass(frozen=True)
class EpochEvent:
    """The end of an epoch, or of the training inside one; validation scores are beside these."""

    step: int
    epoch: float
    loss: float | None = None
    tokens: int | None = None
    updates: int | None = None
    train_s: Seconds | None = None
    evaluation_s: Seconds | None = None


@dataclass(frozen=True)
class SampleEvent:
    """What the model made of an example."""

    step: int
    source: str
    target: str
    predicted: str


@dataclass(frozen=True)
class NoteEvent:
    """Something worth a line."""

    step: int
    text: str


EVENTS = {
    "update": TypeAdapter(UpdateEvent),
    "evaluation": TypeAdapter(EvaluationEvent),
    "epoch": TypeAdapter(EpochEvent),
    "sample": TypeAdapter(SampleEvent),
    "note": TypeAdapter(NoteEvent),
}
"""By the kind of an event."""

ARTIFACTS: dict[str, Any] = {
    "attention": list[AttentionMap],
    "answers": list[Asked],
    "sentences": list[Classified],
    "pictures": Pictures,
}
"""What a task shows of the trained model, by the name of its file without .json."""


def checked(kind: Any, value: Any, origin: str, advice: str = "") -> Any:
    """The value as its description has it; UserError that names the origin and the first key that is wrong."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise UserError(f"{origin}: damaged ({first_fault(error)}){advice}") from None


def first_fault(error: ValidationError) -> str:
    """The first complaint: `scores.accuracy.value: Input should be a valid number`."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else str(first["msg"])
