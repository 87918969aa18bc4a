"""The kinds there are of tasks, data, models, optimizers and schedules: the one place that names them.

A kind is the import path of a class, and the class declares the rest itself:

- every one: `config_class`, its settings; a class of settings is its own.
- a task: `example`, the type of what it learns from; `role`, the part that its model plays; `reads`, the tables of
  settings that it reads beside those of every task; `assemble(parts)`.
- data: `example`, the type of what it yields; called with its settings.
- a model: `role`; how it is built is agreed on between the tasks and models of a role.
- an optimizer: `build(roles)`; a schedule: `rates(step, total)`.

A class of the user's own needs no entry here: `model.kind = "mypkg.gru:GRU"` names it.
"""

import importlib
import os
import sys
from typing import Any

from seqlab.config.imports import imported
from seqlab.config.settings import Config, Tree
from seqlab.errors import UserError, nearest
from seqlab.runs.compatibility import upgraded

BUILT_IN: dict[str, dict[str, str]] = {
    "task": {
        "sequence-to-sequence": "seqlab.tasks.sequence_to_sequence.task:SequenceToSequence",
        "classify-sequence": "seqlab.tasks.sequence_classification.task:ClassifySequence",
        "question-answering": "seqlab.tasks.question_answering.task:AnswerQuestions",
        "classify-text": "seqlab.tasks.text_classification.task:ClassifyText",
        "pretrain-masked": "seqlab.tasks.pretraining.masked:PretrainMasked",
        "pretrain-denoise": "seqlab.tasks.pretraining.denoising:PretrainDenoise",
    },
    "data": {
        "mathematics": "seqlab.data.corpora.mathematics:Mathematics",
        "numbers": "seqlab.data.corpora.numbers:Numbers",
        "parallel": "seqlab.data.corpora.parallel:ParallelCorpus",
        "images": "seqlab.data.corpora.images:ImageCorpus",
        "squad": "seqlab.data.corpora.squad:Squad",
        "labelled": "seqlab.data.corpora.labelled:LabelledCorpus",
        "passages": "seqlab.data.corpora.passages:Passages",
    },
    "model": {
        "transformer": "seqlab.models.transformer:Transformer",
        "recurrent": "seqlab.models.recurrent:RecurrentEncoderDecoder",
        "pretrained-encoder-decoder": "seqlab.models.hf.encoder_decoder:PretrainedEncoderDecoder",
        "sequence-classifier": "seqlab.models.classifier:SequenceClassifier",
        "pretrained": "seqlab.models.hf.encoder:PretrainedConfig",
        "bert": "seqlab.models.hf.bert:BertConfig",
        "bart": "seqlab.models.hf.denoisers:BartConfig",
        "t5": "seqlab.models.hf.denoisers:T5Config",
    },
    "optimizer": {
        "adamw": "seqlab.engine.optimizers:AdamW",
        "adam": "seqlab.engine.optimizers:Adam",
        "sgd": "seqlab.engine.optimizers:SGD",
        "adafactor": "seqlab.engine.optimizers:Adafactor",
        "muon": "seqlab.engine.optimizers:Muon",
    },
    "schedule": {
        "one-cycle": "seqlab.engine.schedules:OneCycle",
        "linear": "seqlab.engine.schedules:Linear",
        "cosine": "seqlab.engine.schedules:Cosine",
        "inverse-sqrt": "seqlab.engine.schedules:InverseSqrt",
        "wsd": "seqlab.engine.schedules:WarmupStableDecay",
        "constant": "seqlab.engine.schedules:Constant",
        "exponential": "seqlab.engine.schedules:Exponential",
    },
}
"""Import paths by section of the config and by kind."""

DEFAULTS = {"task": "sequence-to-sequence", "model": "transformer", "optimizer": "adamw", "schedule": "one-cycle"}
"""The kinds that are meant where a recipe names none."""

DEFAULT_TREE: Tree = {section: {"kind": kind} for section, kind in DEFAULTS.items()}
"""The same as settings."""

TRUSTED = "SEQLAB_TRUSTED_MODULES"
"""Environment variable: modules, comma-separated, that run folders may import."""


def find(section: str, kind: str) -> Any:
    """The class of a kind, built in or the user's own (`package.module:Class`); UserError where there is none."""
    known = BUILT_IN[section]
    if kind in known:
        module, _, name = known[kind].partition(":")
        return getattr(importlib.import_module(module), name)
    if ":" in kind:
        return imported(f'{section}.kind="{kind}"', *kind.split(":", 1))
    raise UserError(
        f'{section}.kind is "{kind}", not one of {", ".join(known)}{nearest(kind, known)}; '
        "a class of your own is named by its import path, package.module:Class"
    )


def config_class(section: str, kind: str) -> type[Config]:
    """The settings of a kind; UserError where its class names none."""
    found = find(section, kind)
    settings = getattr(found, "config_class", found)
    if not issubclass(settings, Config):
        raise UserError(
            f'{section}.kind="{kind}": {found.__name__} has no settings: set config_class to a subclass of KindConfig'
        )
    return settings


def suiting(section: str, task: Any) -> list[str]:
    """The built-in kinds of data or models that a task works with."""
    return [kind for kind in BUILT_IN[section] if suits(section, find(section, kind), task)]


def suits(section: str, found: Any, task: Any) -> bool:
    """Whether the examples of a corpus, or the role of a model, are those of a task."""
    shared = {"data": "example", "model": "role"}[section]
    return getattr(found, shared, None) == getattr(task, shared)


def check_trusted(tree: Tree, origin: str) -> None:
    """Raises UserError where the config of a run folder would import a module that the user has not named.

    A run folder may come from anybody, and importing a module runs its code. A module that is imported already was
    named by the user; others are named in the environment variable SEQLAB_TRUSTED_MODULES.
    """
    named = {*filter(None, os.environ.get(TRUSTED, "").split(",")), *sys.modules}
    kinds = [(f"{section}.kind", _table(tree, section).get("kind")) for section in BUILT_IN]
    metrics = _table(_table(upgraded(tree), "task"), "metrics").get("names")
    kinds += [("metrics.names", name) for name in (metrics if isinstance(metrics, list | tuple) else ())]
    for key, kind in kinds:
        module, colon, _ = str(kind).partition(":")
        if colon and module not in named:
            raise UserError(
                f'{origin}: {key}="{kind}" runs the code of the module {module}: '
                f"add --trust-code if you trust it, or name it in {TRUSTED}"
            )


def _table(tree: Tree, name: str) -> Tree:
    table = tree.get(name)
    return table if isinstance(table, dict) else {}
