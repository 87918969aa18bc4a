"""From a config to task and model, by what the registry knows of their kinds."""

from typing import Any

from seqlab.experiment import registry
from seqlab.experiment.config import Experiment
from seqlab.runs.folder import RunFolder
from seqlab.tasks.task import Assembly, Parts


def build_corpus(settings: Any) -> Any:
    """The corpus that the section `data` describes; files are read when they are needed, not here."""
    return registry.find("data", settings.kind)(settings)


def assemble(experiment: Experiment, trained: RunFolder | None = None, corpus: Any = None) -> Assembly:
    """The task, and a freshly initialised model.

    Args:
        experiment: the checked config.
        trained: a run that has been started; what it learned from its data is then not learned again.
        corpus: that of the experiment, where it has been read already.
    """
    corpus = build_corpus(experiment.data) if corpus is None else corpus
    if trained is None:
        corpus.check_files()
    parts = Parts(
        config=experiment.task,
        corpus=corpus,
        model=experiment.model,
        model_class=registry.find("model", experiment.model.kind),
        text=experiment.text,
        decode=experiment.decode,
        seed=experiment.train.seed,
        trained=trained,
    )
    return registry.find("task", experiment.task.kind).assemble(parts)
