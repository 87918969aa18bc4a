"""Every recipe trains: made small, but with all that it chooses."""

import json
import math
from pathlib import Path

import pytest
import torch

from seqlab.config import recipes
from seqlab.data.corpora.images import ImagesData
from seqlab.data.corpora.labelled import LabelledData
from seqlab.data.corpora.mathematics import MathematicsData
from seqlab.data.corpora.numbers import Numbers, NumbersData
from seqlab.data.corpora.parallel import ParallelData
from seqlab.data.corpora.passages import PassagesData
from seqlab.data.corpora.squad import SquadData
from seqlab.engine.distributed import ALONE
from seqlab.engine.loop import Budget, updates
from seqlab.experiment.assembly import assemble
from seqlab.experiment.config import Experiment, check, load
from seqlab.models.hf.bert import BertConfig
from seqlab.models.hf.denoisers import BartConfig, T5Config
from seqlab.models.hf.encoder import PretrainedConfig
from seqlab.models.hf.encoder_decoder import PretrainedEncoderDecoderConfig
from seqlab.models.transformer import TransformerConfig
from seqlab.runs.hf_folder import MINILM
from seqlab.tasks.pretraining.denoising import PretrainDenoise
from seqlab.tasks.pretraining.masked import PretrainMasked
from seqlab.tasks.question_answering.task import AnswerQuestions
from seqlab.tasks.sequence_classification.task import ClassifySequence
from seqlab.tasks.sequence_to_sequence.task import SequenceToSequence
from seqlab.tasks.task import Task
from seqlab.tasks.text_classification.task import ClassifyText
from seqlab.tools.checks import shrunk
from seqlab.training.prepare import build_engine, seeded_assembly

DRAWN = [name for name in recipes.names() if isinstance(load(name).data, MathematicsData | NumbersData)]
"""The recipes that bring their data with them."""


@pytest.fixture(scope="module")
def sentence_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table that stands in for the corpora of recipes that have none with them."""
    drawn = Numbers(NumbersData(epoch_size=300, validation_size=5, test_size=5)).training(0)
    path = tmp_path_factory.mktemp("corpus") / "pairs.tsv"
    path.write_text("".join(f"{source}\t{target}\n" for source, target in drawn), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that stands in for SQuAD."""
    asked = [
        {"id": f"{n}", "question": "Who wrote?", "answers": [{"text": f"ada {n}", "answer_start": 0}]}
        for n in range(40)
    ]
    articles = [
        {"title": f"T{n}", "paragraphs": [{"context": f"ada {n} wrote notes.", "qas": [qa]}]}
        for n, qa in enumerate(asked)
    ]
    path = tmp_path_factory.mktemp("questions") / "questions.json"
    path.write_text(json.dumps({"data": articles}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table that stands in for labelled sentences."""
    path = tmp_path_factory.mktemp("labels") / "labels.tsv"
    path.write_text("".join(f"ada wrote {n}\t{n % 2}\n" for n in range(60)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that stands in for running text."""
    path = tmp_path_factory.mktemp("book") / "book.txt"
    path.write_text("\n\n".join(f"Ada wrote {n}. Bob read {n}." for n in range(200)), encoding="utf-8")
    return path


def narrow(
    experiment: Experiment,
    pairs: Path,
    questions: Path,
    labels: Path,
    book: Path,
    encoder: Path,
    encoder_decoder: Path,
) -> Experiment:
    """A few updates of a narrow model on little data; depth, sharing, batching and optimizer are the recipe's."""
    small = shrunk(experiment, max_steps=2).model_dump()
    if isinstance(experiment.data, ParallelData):
        small["data"] = {"kind": "parallel", "source": "en", "target": "fr", "train": str(pairs)}
    if isinstance(experiment.data, ImagesData):
        small["data"] |= {"source": "digits"}
        small["model"] |= {"strides": [min(stride, 4) for stride in small["model"]["strides"]]}
    if isinstance(experiment.data, SquadData):
        small["data"] |= {"train": str(questions), "test": str(questions), "validation_size": 5}
        small["task"] |= {"window": 48, "stride": 8, "longest_question": 16}
    if isinstance(experiment.data, LabelledData):
        small["data"] |= {"train": str(labels), "validation": str(labels), "test": str(labels), "text": 1, "label": 2}
    if isinstance(experiment.data, PassagesData):
        small["data"] |= {"train": str(book), "document_words": 20}
    if isinstance(experiment.model, BertConfig):
        small["model"] |= {"vocab_size": 100}
    if isinstance(experiment.model, BartConfig | T5Config):
        small["model"] |= {"vocab_size": 300}
    if isinstance(experiment.model, PretrainedConfig):
        small["model"] |= {"checkpoint": str(encoder)}
    elif isinstance(experiment.model, PretrainedEncoderDecoderConfig):
        small["model"] |= {"checkpoint": str(encoder_decoder), "decoder_layers": experiment.model.decoder_layers and 1}
    else:
        small["model"] |= {"width": 16}
    if isinstance(experiment.model, TransformerConfig):
        small["model"] |= {"feedforward": 32, "num_heads": 2}
    if experiment.batch.rows is not None:
        small["batch"] |= {"rows": 8, "tokens": None}
    return check(small, experiment.about.name)


def _choices(task: Task) -> int:
    """Among how many a model that knows nothing guesses."""
    match task:
        case SequenceToSequence():
            return task.vocabularies.target.vocab_size
        case ClassifySequence():
            return task.learned.num_classes
        case ClassifyText():
            return len(task.classes)
        case PretrainMasked() | PretrainDenoise():
            return task.vocab_size
        case AnswerQuestions():
            return task.config.window
    raise AssertionError(task)


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_makes_two_updates(
    name: str,
    sentence_pairs: Path,
    questions: Path,
    labels: Path,
    book: Path,
    tiny_encoder: Path,
    tiny_t5: Path,
    tiny_bart: Path,
) -> None:
    whole = load(name)
    is_warm = getattr(whole.model, "checkpoint", None) == MINILM
    encoder_decoder = tiny_encoder if is_warm else tiny_bart if "bart" in name else tiny_t5
    experiment = narrow(whole, sentence_pairs, questions, labels, book, tiny_encoder, encoder_decoder)
    assembly = seeded_assembly(experiment, ALONE)
    before = {key: tensor.clone() for key, tensor in assembly.model.state_dict().items()}
    engine = build_engine(experiment, assembly, ALONE, "fp32")
    done = list(updates(engine, Budget(experiment.train.max_steps, None, ALONE)))
    engine.stream.close()
    assert [update.step for update in done] == [1, 2]
    uniform = math.log(_choices(assembly.task))
    assert all(0.3 * uniform < update.loss.item() < 3 * uniform for update in done)
    assert all(math.isfinite(update.grad_norm.item()) and update.grad_norm.item() > 0 for update in done)
    parameters = assembly.model.named_parameters()
    trained = [name.removeprefix("network.") for name, parameter in parameters if parameter.requires_grad]
    after = assembly.model.state_dict()
    assert [name for name in trained if torch.equal(after[name], before[name])] == []


@pytest.mark.parametrize("name", DRAWN)
def test_every_recipe_can_ask_and_hold_its_longest_texts(name: str) -> None:
    """The model's positions reach as far as the questions, and an answer may be as long as the longest is."""
    experiment = load(name, {"data.epoch_size": 3000, "data.validation_size": 500, "data.test_size": 500})
    task, _ = assemble(experiment)
    examples = [*task.corpus.training(0), *task.corpus.validation(), *task.corpus.test()]
    shapes = task.encode(examples).shapes
    assert shapes.max() <= experiment.model.max_length
    assert shapes[:, 1].max() - 1 <= experiment.decode.max_length  # the end mark does not count
    assert task.vocabularies.unknown(examples) == {}
