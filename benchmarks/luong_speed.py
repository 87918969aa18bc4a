"""How much time does it save that an LSTM decoder runs over whole sequences, and attention after it?

    python benchmarks/luong_speed.py [--rounds 8] [--threads N] [--out FILE]

A model of width 256: one layer, the encoder bidirectional, general score over the whole source, vocabulary 8000 tied
three ways, no dropout, fp32. Batches are those of benchmarks/step.py, and the first 64 rows of each. Contenders take
turns in one process on the same batches. What is compared is CPU time, round by round.

Decoders:

    whole         torch's kernel over all target places, attention for all of them at once
    step_by_step  the same model with input feeding, where a step needs the one before; what tokens give is made ahead
    plain         an LSTMCell and attention for every target place, in an update also the output layer and the loss. It
                  has the weights of `whole` and makes the same logits, which is checked first
    tutorial      the same, but each step multiplies all source states by the matrix of the score again, as in the
                  chatbot tutorial of PyTorch and its kin

in two measures: `update` is a whole update of the model, of which encoder, fused AdamW and clipping are the same for
all; `decoder` is forward and backward of the decoder with attention, from an encoded source to attentional states. Then

    nets          embeddings, encoder, decoder and attention of `whole`, forward and backward
    pure          nothing but nn.LSTM, of the same sizes and over the same padded places; `pure decoder` over the target
                  only, which no decoder that uses torch's kernel can be faster than
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.data.batching.pairs import PairBatch
from seqlab.engine.machine import describe, prepare_cpu
from seqlab.engine.optimizers import AdamW, build_optimizer
from seqlab.engine.precision import Clip, Precision
from seqlab.layers.alignment import AttendedSource
from seqlab.layers.functional import cross_entropy_sum
from seqlab.layers.recurrent import Recurrence
from seqlab.models.recurrent import RecurrentConfig, RecurrentEncoderDecoder, RecurrentMemory
from step import VOCABULARY, sentence_batches, spread
from timing import rounds_within

WIDTH, SMOOTHING, BATCHES, FEW_ROWS = 256, 0.1, 3, 64
DEVICE = torch.device("cpu")

RATIOS = (
    ("plain update", "whole update"),
    ("step_by_step update", "whole update"),
    ("tutorial update", "whole update"),
    ("plain decoder", "whole decoder"),
    ("tutorial decoder", "whole decoder"),
    ("step_by_step decoder", "whole decoder"),
    ("plain decoder", "pure decoder"),
    ("nets", "pure"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    prepare_cpu()
    if options.threads:
        torch.set_num_threads(options.threads)
    batches = sentence_batches()[0][:BATCHES]
    contenders = build_contenders(batches[0])
    result = {
        "batches of 4096 tokens": measured(contenders, batches, options.rounds),
        f"batches of {FEW_ROWS} rows": measured(contenders, [first_rows(each) for each in batches], options.rounds),
    }
    print(json.dumps(result, indent=1))
    if options.out:
        options.out.write_text(json.dumps({"machine": describe(DEVICE), **result}, indent=1) + "\n")


def measured(
    contenders: dict[str, Callable[[PairBatch], None]], batches: list[PairBatch], rounds: int
) -> dict[str, Any]:
    """CPU time of each contender in milliseconds, and ratios of a round."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in rounds_within(len(batches), limit_s=300):  # kernels are prepared for every shape
        for run in contenders.values():
            run(batches[number])
    for number in rounds_within(rounds, limit_s=300):
        for name, run in contenders.items():
            start = time.process_time()
            run(batches[number % len(batches)])
            times[name].append(1000 * (time.process_time() - start))
    ratios = {
        f"{over} / {under}": spread([a / b for a, b in zip(times[over], times[under], strict=True)])
        for over, under in RATIOS
    }
    return {
        "rows": statistics.median(len(batch.source) for batch in batches),
        "target_tokens": statistics.median(batch.tokens for batch in batches),
        "cpu_ms": {name: spread(found) for name, found in times.items()},
        "ratio": ratios,
    }


def build_contenders(batch: PairBatch) -> dict[str, Callable[[PairBatch], None]]:
    """All of them by name; each takes a batch."""
    whole, step_by_step = build_model(input_feeding=False), build_model(input_feeding=True)
    plain, tutorial = (PlainDecoder(build_model(input_feeding=False), keys_each_step=each) for each in (False, True))
    for decoder in (plain, tutorial):
        assert_same_logits(whole, decoder, batch)
    return {
        "whole update": updater(whole, lambda batch: model_loss(whole, batch)),
        "step_by_step update": updater(step_by_step, lambda batch: model_loss(step_by_step, batch)),
        "plain update": updater(plain, plain.loss),
        "tutorial update": updater(tutorial, tutorial.loss),
        "whole decoder": decoder_of(whole, lambda *given: whole.decode(*given).states),
        "step_by_step decoder": decoder_of(step_by_step, lambda *given: step_by_step.decode(*given).states),
        "plain decoder": decoder_of(plain.model, lambda *given: torch.stack([*plain.states(*given)], dim=1)),
        "tutorial decoder": decoder_of(tutorial.model, lambda *given: torch.stack([*tutorial.states(*given)], dim=1)),
        "pure decoder": PureNets("decoder"),
        "nets": lambda batch: nets_of(whole, batch),
        "pure": PureNets("encoder", "decoder"),
    }


def build_model(input_feeding: bool) -> RecurrentEncoderDecoder:
    """Always the same weights for the same setting."""
    torch.manual_seed(0)
    config = RecurrentConfig(
        width=WIDTH, num_layers=1, bidirectional=True, dropout=0.0, tying="all", input_feeding=input_feeding
    )
    return RecurrentEncoderDecoder(config, VOCABULARY, VOCABULARY)


class PlainDecoder(nn.Module):
    """One target place after the other; weights and encoder are those of a model."""

    def __init__(self, model: RecurrentEncoderDecoder, keys_each_step: bool) -> None:
        super().__init__()
        self.keys_each_step = keys_each_step
        (layer,) = model.decoder.layers
        assert isinstance(layer, Recurrence)
        self.cell = nn.LSTMCell(WIDTH, WIDTH)
        with torch.no_grad():
            self.cell.weight_ih.copy_(layer.input_matrix[:, :-1])
            self.cell.weight_hh.copy_(layer.recurrent_matrix)
            self.cell.bias_ih.copy_(layer.input_matrix[:, -1])
            self.cell.bias_hh.zero_()
        self.model = model

    def states(self, memory: RecurrentMemory, target: Tensor) -> Iterator[Tensor]:
        """The attentional state (B, D) of each target place."""
        assert memory.source is not None
        assert self.model.attention is not None
        assert self.model.combine is not None
        encoded, keys, mask = memory.source
        hidden, cell = memory.states[0]
        embedded = self.model.embed(target, self.model.target_table)
        for place in range(target.shape[1]):
            hidden, cell = self.cell(embedded[:, place], (hidden, cell))
            if self.keys_each_step:
                keys = self.model.attention.score.keys(encoded)
            scores = torch.bmm(keys, hidden.unsqueeze(2)).squeeze(2)
            weights = torch.softmax(scores.masked_fill(~mask, float("-inf")), dim=1)
            context = torch.bmm(weights.unsqueeze(1), encoded).squeeze(1)
            yield torch.tanh(self.model.combine(torch.cat([context, hidden], dim=1)))

    def logits(self, batch: PairBatch) -> Iterator[Tensor]:
        """(B, V) of each target place."""
        memory = self.model.encode(batch.source, batch.source_mask)
        for state in self.states(memory, batch.target):
            yield F.linear(state, self.model.target_table)

    def loss(self, batch: PairBatch) -> Tensor:
        """The mean over real tokens, summed up place by place."""
        labels = torch.full(batch.target.shape, -100)
        labels[batch.target_mask] = batch.labels
        total = torch.zeros(())
        for logits, wanted in zip(self.logits(batch), labels.unbind(1), strict=True):
            total = total + F.cross_entropy(
                logits, wanted, ignore_index=-100, reduction="sum", label_smoothing=SMOOTHING
            )
        return total / batch.tokens


class PureNets(nn.Module):
    """torch's LSTM over as many padded places as the model's encoder and decoder read; padding is read like words."""

    def __init__(self, *parts: Literal["encoder", "decoder"]) -> None:
        super().__init__()
        self.parts = parts
        self.encoder = nn.LSTM(WIDTH, WIDTH // 2, bidirectional=True, batch_first=True)
        self.decoder = nn.LSTM(WIDTH, WIDTH, batch_first=True)

    def forward(self, batch: PairBatch) -> None:
        """Forward and backward, to the inputs too, where embeddings would be."""
        for part in self.parts:
            net, ids = (self.encoder, batch.source) if part == "encoder" else (self.decoder, batch.target)
            states, _ = net(torch.ones(*ids.shape, WIDTH, requires_grad=True))
            states.sum().backward()
        self.zero_grad()


def model_loss(model: RecurrentEncoderDecoder, batch: PairBatch) -> Tensor:
    """As in a training of seqlab."""
    return cross_entropy_sum(model(*batch.inputs), batch.labels, SMOOTHING) / batch.tokens


def updater(module: nn.Module, loss: Callable[[PairBatch], Tensor]) -> Callable[[PairBatch], None]:
    """Makes one update of a call."""
    optimizer, precision = build_optimizer(module, AdamW()), Precision("fp32", DEVICE)

    def update(batch: PairBatch) -> None:
        precision.backward(loss(batch))
        norm = precision.unscale_and_clip(module.parameters(), optimizer, Clip())
        precision.step(optimizer, norm)
        optimizer.zero_grad()

    return update


def decoder_of(
    model: RecurrentEncoderDecoder, decode: Callable[[RecurrentMemory, Tensor], Tensor]
) -> Callable[[PairBatch], None]:
    """Makes forward and backward of a call, to the encoded source, which is random: its values cost nothing."""

    def run(batch: PairBatch) -> None:
        rows, length = batch.source.shape
        hidden, cell = (torch.randn(rows, WIDTH, requires_grad=True) for _ in range(2))
        encoded, keys = (torch.randn(rows, length, WIDTH, requires_grad=True) for _ in range(2))
        decode(
            RecurrentMemory(((hidden, cell),), AttendedSource(encoded, keys, batch.source_mask)), batch.target
        ).sum().backward()
        model.zero_grad()

    return run


def nets_of(model: RecurrentEncoderDecoder, batch: PairBatch) -> None:
    """Forward and backward of all but the output layer."""
    model.decode(model.encode(batch.source, batch.source_mask), batch.target).states.sum().backward()
    model.zero_grad()


def assert_same_logits(model: RecurrentEncoderDecoder, plain: PlainDecoder, batch: PairBatch) -> None:
    """Both have the same weights before their first update."""
    with torch.no_grad():
        ours, theirs = model(*batch.inputs), torch.stack([*plain.logits(batch)], dim=1)[batch.target_mask]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def first_rows(batch: PairBatch) -> PairBatch:
    """A batch of few rows, as wide as the whole one."""
    real = batch.target_mask[:FEW_ROWS]
    sides = {name: getattr(batch, name)[:FEW_ROWS] for name in ("source", "source_mask", "target", "target_mask")}
    index = real.flatten().nonzero().squeeze(1)
    return replace(batch, **sides, target_index=index, labels=batch.labels[: len(index)], rows=batch.rows[:FEW_ROWS])


if __name__ == "__main__":
    main()
