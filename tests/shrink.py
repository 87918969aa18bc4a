"""Any experiment made so small that it trains in a moment, and files that stand in for the corpora it names."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seqlab.config.settings import Tree
from seqlab.data.corpora.images import ImagesData
from seqlab.data.corpora.labelled import LabelledData
from seqlab.data.corpora.numbers import Numbers, NumbersData
from seqlab.data.corpora.parallel import ParallelData
from seqlab.data.corpora.passages import PassagesData
from seqlab.data.corpora.squad import SquadData
from seqlab.experiment.config import Experiment, check
from seqlab.models.hf.bert import BertConfig
from seqlab.models.hf.denoisers import BartConfig, T5Config
from seqlab.models.hf.encoder import PretrainedConfig
from seqlab.models.hf.encoder_decoder import PretrainedEncoderDecoderConfig
from seqlab.models.transformer import TransformerConfig
from seqlab.tools.checks import shrunk


class Corpora(NamedTuple):
    """A file of each sort that recipes name and do not bring with them."""

    pairs: Path
    """a table without a header, English and French"""
    questions: Path
    """in the layout of SQuAD"""
    labels: Path
    """a table without a header, text and class"""
    book: Path
    """running text"""


def write_corpora(folder: Path) -> Corpora:
    """Writes the files into an existing folder."""
    corpora = Corpora(folder / "pairs.tsv", folder / "questions.json", folder / "labels.tsv", folder / "book.txt")
    drawn = Numbers(NumbersData(epoch_size=300, validation_size=5, test_size=5)).training(0)
    corpora.pairs.write_text("".join(f"{source}\t{target}\n" for source, target in drawn), encoding="utf-8")
    asked = [
        {"id": f"{n}", "question": "Who wrote?", "answers": [{"text": f"ada {n}", "answer_start": 0}]}
        for n in range(40)
    ]
    articles = [
        {"title": f"T{n}", "paragraphs": [{"context": f"ada {n} wrote notes.", "qas": [qa]}]}
        for n, qa in enumerate(asked)
    ]
    corpora.questions.write_text(json.dumps({"data": articles}), encoding="utf-8")
    corpora.labels.write_text("".join(f"ada wrote {n}\t{n % 2}\n" for n in range(60)), encoding="utf-8")
    corpora.book.write_text("\n\n".join(f"Ada wrote {n}. Bob read {n}." for n in range(200)), encoding="utf-8")
    return corpora


def narrow(experiment: Experiment, corpora: Corpora, checkpoint: Path | None) -> Experiment:
    """A few updates of a narrow model on little data; depth, sharing, batching and optimizer are the recipe's.

    `checkpoint` is the pretrained model that takes the place of the recipe's, where it has one.
    """
    small = shrunk(experiment, max_steps=2).model_dump()
    if isinstance(experiment.data, ParallelData):
        small["data"] = {"kind": "parallel", "source": "en", "target": "fr", "train": str(corpora.pairs)}
    if isinstance(experiment.data, ImagesData):
        small["data"] |= {"source": "digits"}
        small["model"] |= {"strides": [min(stride, 4) for stride in small["model"]["strides"]]}
    if isinstance(experiment.data, SquadData):
        files = {"train": str(corpora.questions), "test": str(corpora.questions)}
        small["data"] |= {**files, "validation_size": 5}
        small["task"] |= {"window": 48, "stride": 8, "longest_question": 16}
    if isinstance(experiment.data, LabelledData):
        files = {name: str(corpora.labels) for name in ("train", "validation", "test")}
        small["data"] |= {**files, "text": 1, "label": 2}
    if isinstance(experiment.data, PassagesData):
        small["data"] |= {"train": str(corpora.book), "document_words": 20}
    small["model"] |= _narrow_model(experiment, checkpoint)
    if experiment.batch.batch_size is not None:
        small["batch"] |= {"batch_size": 8, "max_tokens": None}
    return check(small, experiment.about.name)


def _narrow_model(experiment: Experiment, checkpoint: Path | None) -> Tree:
    """What changes in the settings of the model."""
    model = experiment.model
    if isinstance(model, PretrainedConfig | PretrainedEncoderDecoderConfig):
        changed: Tree = {"checkpoint": str(checkpoint)}
        if isinstance(model, PretrainedEncoderDecoderConfig):
            changed |= {"decoder_layers": model.decoder_layers and 1}
        return changed
    changed = {"width": 16}
    if isinstance(model, BertConfig):
        changed |= {"vocab_size": 100}
    if isinstance(model, BartConfig | T5Config):
        changed |= {"vocab_size": 300}
    if isinstance(model, TransformerConfig):
        changed |= {"feedforward": 32, "num_heads": 2}
    return changed


def narrowing(experiment: Experiment, corpora: Corpora, checkpoint: Path | None) -> list[str]:
    """What `narrow` changes, as settings of the command line."""
    before, after = (
        dict(_leaves(tree.model_dump(mode="json"))) for tree in (experiment, narrow(experiment, corpora, checkpoint))
    )
    changed = {key: value for key, value in after.items() if key not in before or before[key] != value}
    return [f"{key}={'null' if value is None else json.dumps(value)}" for key, value in changed.items()]


def _leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted keys and their values."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
