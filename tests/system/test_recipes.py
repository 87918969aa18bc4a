"""Every recipe trains: made small, but with all that it chooses."""

import math
from pathlib import Path

import pytest
import torch
from shrink import Corpora, narrow, write_corpora

from seqlab.config import recipes
from seqlab.data.corpora.mathematics import MathematicsData
from seqlab.data.corpora.numbers import NumbersData
from seqlab.engine.distributed import ALONE
from seqlab.engine.loop import Budget, updates
from seqlab.experiment.assembly import assemble
from seqlab.experiment.config import load
from seqlab.models.hf.encoder import PretrainedConfig
from seqlab.runs.hf_folder import MINILM
from seqlab.tasks.pretraining.denoising import PretrainDenoise
from seqlab.tasks.pretraining.masked import PretrainMasked
from seqlab.tasks.question_answering.task import AnswerQuestions
from seqlab.tasks.sequence_classification.task import ClassifySequence
from seqlab.tasks.sequence_to_sequence.task import SequenceToSequence
from seqlab.tasks.task import Task
from seqlab.tasks.text_classification.task import ClassifyText
from seqlab.training.state import build_engine, seeded_assembly

DRAWN = [name for name in recipes.names() if isinstance(load(name).data, MathematicsData | NumbersData)]
"""The recipes that bring their data with them."""


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    """What stands in for the corpora of the recipes."""
    return write_corpora(tmp_path_factory.mktemp("corpora"))


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
    name: str, corpora: Corpora, tiny_encoder: Path, tiny_t5: Path, tiny_bart: Path
) -> None:
    whole = load(name)
    has_encoder = isinstance(whole.model, PretrainedConfig) or getattr(whole.model, "checkpoint", None) == MINILM
    checkpoint = tiny_encoder if has_encoder else tiny_bart if "bart" in name else tiny_t5
    experiment = narrow(whole, corpora, checkpoint)
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
