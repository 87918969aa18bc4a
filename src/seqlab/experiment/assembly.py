"""From a config to corpus, sizes, task and model, by what the registry knows of their kinds."""

from typing import Any, NamedTuple

from seqlab.experiment import registry
from seqlab.experiment.config import Experiment, check
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


class Sizes(NamedTuple):
    """What suits a corpus of at most `pairs` training pairs."""

    pairs: float
    vocab_size: int
    width: int
    layers: int
    """of the encoder, and of the decoder"""
    dropout: float

    def settings(self) -> dict[str, dict[str, Any]]:
        """By section and key of the config."""
        model = {
            "width": self.width,
            "feedforward": 4 * self.width,
            "num_heads": self.width // 32,
            "encoder_layers": self.layers,
            "decoder_layers": self.layers,
            "dropout": self.dropout,
        }
        return {"text": {"vocab_size": self.vocab_size}, "model": model}


RULE = (
    Sizes(10_000, 2_000, 128, 2, 0.3),
    Sizes(50_000, 6_000, 256, 3, 0.3),
    Sizes(300_000, 8_000, 256, 4, 0.2),
    Sizes(2_000_000, 16_000, 512, 6, 0.1),
    Sizes(float("inf"), 32_000, 512, 6, 0.1),
)
"""The first row that is large enough counts.

Few pairs want few entries, so that each is seen often (Gowda and May 2020 find about 1,000 best for 30,000 pairs and
4,000 to 16,000 for 500,000), a narrower model and more dropout (Araabi and Monz 2020: up to 7 BLEU over the defaults of
large corpora).
"""


def fitted(experiment: Experiment, corpus: Any = None) -> Experiment:
    """The experiment with sizes that suit its corpus, if it asks for them.

    What a recipe or a command line sets is never changed, nor a model whose settings do not say `sized_by_data`.

    `corpus` is that of the experiment, where the caller has it: it is read once then.
    """
    if not experiment.auto_size:
        return experiment
    corpus = build_corpus(experiment.data) if corpus is None else corpus
    corpus.check_files()
    pairs = len(corpus.training(0))
    sizes = next(row for row in RULE if pairs <= row.pairs)
    tree: dict[str, Any] = experiment.model_dump() | {"auto_size": False}
    for section, settings in sizes.settings().items():
        own = getattr(experiment, section)
        if section == "model" and not getattr(own, "sized_by_data", False):
            continue
        tree[section] |= {key: value for key, value in settings.items() if key not in own.model_fields_set}
    return check(tree, f"sizes for {pairs:,} pairs")
