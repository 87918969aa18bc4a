"""The engine learns: a small Transformer copies and reverses strings that it has never seen."""

import random
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from seqlab.data.corpora.corpus import Example
from seqlab.engine import machine
from seqlab.engine.distributed import ALONE
from seqlab.engine.loop import Budget, updates
from seqlab.experiment.assembly import Assembly
from seqlab.experiment.config import load
from seqlab.models.transformer import Transformer
from seqlab.tasks.sequence_to_sequence.task import SequenceToSequence
from seqlab.text.vocabularies import build_vocabularies
from seqlab.training.state import build_engine

LETTERS = "abcdefgh"
UPDATES = 400
SETTINGS: dict[str, object] = {
    "model.width": 32,
    "model.feedforward": 64,
    "model.num_heads": 4,
    "model.encoder_layers": 1,
    "model.decoder_layers": 1,
    "text.reverse_source": False,
    "batch.batch_size": 64,
    "batch.max_tokens": None,
    "model.qk_norm": False,
    "optimizer.lr": 5e-3,
    "schedule.kind": "one-cycle",
    "decode.max_length": 8,
}


class Strings:
    """Random strings of three to six letters, and what is to be written for each."""

    languages = None

    def __init__(self, wanted: Callable[[str], str]) -> None:
        self.wanted = wanted
        drawn = self._draw(random.Random("held out"), 400)
        self.held_out = {example.source: example for example in drawn}

    def training(self, epoch: int) -> list[Example]:
        drawn = self._draw(random.Random(epoch), 4000)
        return [example for example in drawn if example.source not in self.held_out]

    def validation(self) -> list[Example]:
        return list(self.held_out.values())

    test = validation

    def scored_text(self, text: str) -> str:
        return text

    def _draw(self, rng: random.Random, number: int) -> list[Example]:
        sources = ("".join(rng.choices(LETTERS, k=rng.randint(3, 6))) for _ in range(number))
        return [Example(source, self.wanted(source)) for source in sources]


@pytest.mark.parametrize("wanted", [lambda text: text, lambda text: text[::-1]], ids=["copy", "reverse"])
def test_a_small_transformer_learns(wanted: Callable[[str], str]) -> None:
    experiment = load("math-place-value", SETTINGS)
    corpus = Strings(wanted)
    vocabularies = build_vocabularies(experiment.text, LETTERS, LETTERS)
    task = SequenceToSequence(experiment.task, experiment.decode, corpus, vocabularies)
    machine.seed_everything(1)
    model = Transformer(experiment.model, vocabularies.source.vocab_size, vocabularies.target.vocab_size)
    engine = build_engine(experiment, Assembly(task, model), ALONE, "fp32")
    before = task.evaluate(model, corpus.test(), quick=True, autocast=nullcontext)
    assert before.quick_scores["accuracy"] == 0
    for _ in updates(engine, Budget(UPDATES, None, ALONE)):
        pass
    engine.stream.close()
    after = task.evaluate(model, corpus.test(), quick=True, autocast=nullcontext)
    assert after.quick_scores["accuracy"] >= 0.95
    written = task.predict(model, ["hgfeda"], autocast=nullcontext)[0][0]
    assert written.text == wanted("hgfeda")
