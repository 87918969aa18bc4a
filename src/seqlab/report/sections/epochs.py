"""The table of epochs: losses, score, and the times of training and evaluation."""

from collections.abc import Mapping
from typing import Any

from seqlab.report import wording
from seqlab.report.folder import RunRecord


def section(record: RunRecord) -> Mapping[str, Any] | None:
    """The table; None where the log has no epochs."""
    head, rows = table(record)
    return {"head": head, "rows": rows} if rows else None


def table(record: RunRecord) -> tuple[list[str], list[list[str]]]:
    """Heading and rows; the last row may be a part of an epoch."""
    epochs = list(record.of_kind("epoch"))
    scores = dict.fromkeys(key for event in epochs for key in event if key.startswith("validation_"))
    names = [key.removeprefix("validation_") for key in scores]
    head = ["epoch", "training loss", *(f"validation {wording.title(name)}" for name in names)]
    rows = [
        [
            f"{event['epoch']:.3g}",
            wording.number(event.get("loss")),
            *(wording.score_value(name, event.get(f"validation_{name}")) for name in names),
            wording.duration(event.get("train_s")),
            wording.duration(event.get("evaluation_s")),
            wording.number(event.get("updates")),
        ]
        for event in epochs
    ]
    return [*head, "training time", "evaluation time", "updates"], rows
