"""Epochs of a run: what a person reads when training starts and when an epoch ends."""

from collections.abc import Mapping
from typing import Any

from seqlab.data.batching.stream import Stream
from seqlab.report.wording import duration, heading, parameters, score_value
from seqlab.training.state import TrainingState


def header(state: TrainingState) -> list[str]:
    """What is trained on what, and for how long: lines at the start of a training."""
    experiment, stream = state.experiment, state.engine.stream
    batch, train = experiment.batch, experiment.train
    size = f"{batch.batch_size:,} rows" if batch.batch_size else f"at most {batch.max_tokens:,} tokens"
    group = f" x {batch.accumulate}" if batch.accumulate > 1 else ""
    weights = sum(parameter.numel() for parameter in state.assembly.model.parameters())
    return [
        f"model: {parameters(weights)} parameters, on {state.world.device}{_vocabularies(state)}",
        f"data: {_sizes(stream)}",
        f"batches: {size}{group}; {stream.updates_per_epoch:,} updates per epoch, {_length(state)}"
        f"; evaluation every {'epoch' if train.evaluate_every == 'epoch' else f'{train.evaluate_every:,} updates'}",
    ]


def _vocabularies(state: TrainingState) -> str:
    sides = getattr(state.assembly.task, "vocabularies", None)
    if sides is None:
        return ""
    return f", vocabulary of {sides.source.vocab_size:,} (source) and {sides.target.vocab_size:,} (target) tokens"


def _sizes(stream: Stream) -> str:
    shapes = stream.first_shapes
    longest_source, longest_target = shapes.max(axis=0).tolist()
    return (
        f"{len(shapes):,} training examples, longest source {longest_source:,} tokens, "
        f"longest target {longest_target:,} tokens"
    )


def _length(state: TrainingState) -> str:
    train, per_epoch = state.experiment.train, state.engine.stream.updates_per_epoch
    if train.epochs is not None:
        return f"{train.epochs:g} epochs, {state.engine.stream.updates_of(train.epochs):,} updates in all"
    limits = [f"{train.max_steps:,} updates ({train.max_steps / per_epoch:.3g} epochs)"] if train.max_steps else []
    limits += [f"{train.max_minutes:g} minutes"] if train.max_minutes else []
    return f"at most {' or '.join(limits)}"


def end_epoch(state: TrainingState, scores: Mapping[str, float] | None, *, partial: bool = False) -> None:
    """Writes down an epoch, or the part of one that a training ends with.

    Args:
        state: after the last update of the epoch, all of them recorded.
        scores: of validation, where it was just evaluated.
        partial: whether the training ends here, so that a resumed one takes the event back.
    """
    sums, recorder = state.recorder.epoch, state.recorder
    if not sums.updates:
        return
    values: dict[str, Any] = {
        "epoch": state.engine.stream.epochs_done,
        "loss": sums.mean_loss,
        "tokens": sums.tokens,
        "updates": sums.updates,
        "train_s": sums.train_s,
        "evaluation_s": sums.evaluation_s,
    }
    main = state.experiment.task.main_score
    if scores is not None:
        values |= {f"validation_{name}": scores[name] for name in dict.fromkeys(("loss", main)) if name in scores}
    recorder.end_epoch(state.step, values, partial=partial)
    recorder.display.note(epoch_line(values, main))


def epoch_line(values: Mapping[str, float], main: str) -> str:
    """`epoch 2  training loss 1.2345  validation loss 1.3456  BLEU 31.2  training 2 min 03 s  evaluation 4.1 s`."""
    parts = [f"epoch {values['epoch']:.3g}", f"training loss {values['loss']:.4f}"]
    if "validation_loss" in values:
        parts.append(f"validation loss {values['validation_loss']:.4f}")
    if main != "loss" and f"validation_{main}" in values:
        parts.append(f"{heading(main)} {score_value(main, values[f'validation_{main}'])}")
    parts += [f"training {duration(values['train_s'])}", f"evaluation {duration(values['evaluation_s'])}"]
    return "  ".join(parts)
