"""From a config to task and model: the one place that knows which classes a kind of task is made of."""

import json
from typing import Any, NamedTuple

from seqlab.data.corpus import build_corpus
from seqlab.errors import UserError
from seqlab.experiment import Experiment
from seqlab.models.kinds import Model, build_model
from seqlab.paths import RunFolder
from seqlab.tasks.sequence_to_sequence import SequenceToSequence
from seqlab.tasks.task import Task
from seqlab.text.vocabularies import Vocabularies, build_vocabularies


class Assembly(NamedTuple):
    """What an experiment is made of."""

    task: Task
    model: Model


def assemble(experiment: Experiment, trained: RunFolder | None = None) -> Assembly:
    """The task, and a freshly initialised model.

    Args:
        experiment: the checked config.
        trained: a run that has been started; what it learned from its data is then not learned again.
    """
    return _sequence_to_sequence(experiment, trained)


def _sequence_to_sequence(experiment: Experiment, trained: RunFolder | None) -> Assembly:
    corpus = build_corpus(experiment.data)
    if trained is None:
        corpus.check_files()
        vocabularies, usual_sentences = build_vocabularies(experiment.text, *corpus.texts()), None
    else:
        vocabularies = Vocabularies.load(trained.tokenizers)
        usual_sentences = read_environment(trained).get("usual_sentences")
    seed = experiment.train.seed
    task = SequenceToSequence(experiment.task, experiment.decode, corpus, vocabularies, seed, usual_sentences)
    model = build_model(experiment.model, vocabularies.source.vocab_size, vocabularies.target.vocab_size)
    return Assembly(task, model)


def read_environment(paths: RunFolder) -> dict[str, Any]:
    """What the run knows of its machine and data; raises UserError when the file is missing or damaged."""
    try:
        facts = json.loads(paths.environment.read_text(encoding="utf-8"))
        if not {"precision", "matrix_flops"} <= facts.keys():
            raise ValueError
    except OSError as error:
        raise UserError(f"{paths.environment}: cannot be read ({error.strerror}); take it from the run again") from None
    except (ValueError, AttributeError):
        raise UserError(f"{paths.environment}: damaged; take it from the run again") from None
    return facts
