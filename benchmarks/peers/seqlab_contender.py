"""seqlab: the recipe `multi30k-en-de` with the model, batch and schedule of this benchmark; precision is measured."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from contender import (
    BETAS,
    DROPOUT,
    FEEDFORWARD,
    HEADS,
    LABEL_SMOOTHING,
    LAYERS,
    PEAK_RATE,
    VOCABULARY,
    WARMUP,
    WIDTH,
    Clock,
    Options,
    length_limit,
    read_ids,
    run,
)

from seqlab.data.batching.stream import Group, Stream, in_order_of_length
from seqlab.engine import checkpoint
from seqlab.engine.distributed import connect
from seqlab.engine.loop import Budget, updates
from seqlab.engine.machine import prepare_cpu, seed_everything
from seqlab.experiment.assembly import Assembly, build_corpus
from seqlab.experiment.config import Experiment, load
from seqlab.layers.functional import cross_entropy_sum
from seqlab.models.transformer import Transformer
from seqlab.tasks.sequence_to_sequence.task import SequenceToSequence
from seqlab.text.vocabularies import Vocabularies
from seqlab.training.state import build_engine, choose_mode

ENDLESS = 1_000_000


class Seqlab:
    """What `seqlab train` assembles, with the vocabularies that all contenders share."""

    def __init__(self, options: Options) -> None:
        self.experiment = experiment(options)
        self.world = connect("cpu")
        self.task, self.model = self.assembly = self._assembled(options)
        mode = choose_mode(self.experiment, self.assembly, self.world).mode
        self.engine = build_engine(self.experiment, self.assembly, self.world, mode)
        corpus = self.task.corpus
        self.splits = {"val": corpus.validation(), "test": corpus.test()}

    def _assembled(self, options: Options) -> Assembly:
        prepare_cpu()
        seed_everything(options.seed)
        config, corpus = self.experiment, build_corpus(self.experiment.data)
        vocabularies = Vocabularies.load(options.data / "vocabularies")
        task = SequenceToSequence(config.task, config.decode, corpus, vocabularies, options.seed)
        return Assembly(task, Transformer(config.model, VOCABULARY, VOCABULARY))

    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    def train(self, clock: Clock) -> None:
        self.engine.stream = cast(Stream, ClockedStream(self.engine.stream, clock))
        for _ in updates(self.engine, Budget(ENDLESS, None, self.world)):
            pass

    def validation(self) -> Iterator[tuple[float, int]]:
        encoded = self.task.encode(self.splits["val"])
        self.model.eval()
        with torch.inference_mode():
            for bucket in in_order_of_length(encoded.shapes, self.task.config.evaluation_tokens):
                batch = encoded.batch(*bucket)
                yield cross_entropy_sum(self.model(*batch.inputs), batch.labels).item(), batch.tokens
        self.model.train()

    def translate(self, split: str, beam: int, length: int | None = None) -> list[list[int]]:
        method = {"method": "beam", "beam_width": beam} if beam > 1 else {"method": "greedy", "beam_width": 5}
        forced = {} if length is None else {"min_length": length, "max_length": length}
        self.task.decode = self.experiment.decode.model_copy(update=method | forced)
        sources = [example.source for example in self.splits[split]]
        found = self.task.predict(self.model, sources, autocast=self.engine.precision.autocast)
        return self.task.vocabularies.target.encode_batch([best[0].text for best in found])

    def save(self, path: Path) -> None:
        checkpoint.save_weights(path, self.model.state_dict(), {})

    def load(self, path: Path) -> None:
        checkpoint.load_into(self.model, checkpoint.load_weights(path), str(path))


class ClockedStream:
    """Tells the clock when an update begins."""

    def __init__(self, stream: Stream, clock: Clock) -> None:
        self.stream, self.clock = stream, clock

    def next_group(self) -> Group:
        group = self.stream.next_group()
        self.clock.begin(group.tokens, group.real, group.slots)
        return group


def experiment(options: Options) -> Experiment:
    """The recipe with what the benchmark fixes."""
    longest = max(map(len, read_ids(options.data / "test.en") + read_ids(options.data / "val.en")))
    return load(
        "multi30k-en-de",
        {
            "task.label_smoothing": LABEL_SMOOTHING,
            "data.train": str(options.data / "train.text"),
            "data.validation": str(options.data / "val.text"),
            "data.test": str(options.data / "test.text"),
            "data.cleaning": {"max_ratio": None, "drop_identical": False, "drop_duplicates": False},
            "text.vocab_size": VOCABULARY,
            "model.width": WIDTH,
            "model.feedforward": FEEDFORWARD,
            "model.num_heads": HEADS,
            "model.encoder_layers": LAYERS,
            "model.decoder_layers": LAYERS,
            "model.positions": "sinusoidal",
            "model.tying": "all",
            "model.dropout": DROPOUT,
            "batch.max_tokens": options.batch_tokens,
            "optimizer.lr": PEAK_RATE,
            "optimizer.betas": BETAS,
            "optimizer.weight_decay": 0.0,
            "schedule": {"kind": "inverse-sqrt", "warmup": WARMUP},
            "decode.max_length": length_limit(longest + 1),
            "train.max_steps": ENDLESS,
            "train.max_minutes": None,
            "train.seed": options.seed,
            "train.precision": options.variant or "auto",
        },
    )


if __name__ == "__main__":
    run(Seqlab)
