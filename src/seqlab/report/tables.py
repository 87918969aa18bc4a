"""What does a terminal show of a run? Small tables; texts of others are never read as markup."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from seqlab.report import wording
from seqlab.report.compare import comparison_rows
from seqlab.report.folder import LabelPrediction, Prediction, RunRecord
from seqlab.report.sections import samples


def results_table(record: RunRecord) -> Table:
    """Scores with their intervals, time, size and machine of one run."""
    table = _table()
    table.add_column(record.recipe, style="dim")
    table.add_column("", overflow="fold")
    for score in record.scores:
        table.add_row(_plain(wording.title(score.name)), _plain(wording.with_interval(score)))
    for name, value in (wording.baselines(record) | wording.measures(record)).items():
        if value != wording.ABSENT:
            table.add_row(_plain(name), _plain(value))
    results = record.results or {}
    for warning in [*results.get("warnings", []), *results.get("leaks", [])]:
        table.add_row(Text("warning", style="yellow"), _plain(warning))
    return table


def samples_table(record: RunRecord, n: int) -> Table:
    """`n` test examples drawn at random, with what was predicted; what is wrong stands out. None of images."""
    table = _table()
    classified = [row for row in record.label_predictions or [] if row.source is not None]
    if record.classifies and not classified:
        return table
    for title in ("source", "target", "predicted", ""):
        table.add_column(title, overflow="fold")
    for row in samples.draw(classified, n):
        sure = wording.per_cent(row.probability)
        table.add_row(_plain(row.source or ""), _plain(row.label), _plain(f"{row.predicted} ({sure})"), _right(row))
    for prediction in samples.draw(record.predictions or [], n):
        _, pieces = samples.differences(prediction.target, prediction.predicted, by_words=record.compares_words)
        predicted = Text.assemble(*((text, "bold red" if marked else "") for text, marked in pieces))
        table.add_row(_plain(prediction.source), _plain(prediction.target), predicted, _verdict(record, prediction))
    return table


def _verdict(record: RunRecord, prediction: Prediction) -> Text:
    if record.is_translation:
        return Text(f"chrF {samples.chrf(prediction):.0f}")
    if prediction.f1 and not prediction.correct:
        return Text(f"F1 {wording.per_cent(prediction.f1, digits=0)}")
    return _right(prediction)


def _right(prediction: Prediction | LabelPrediction) -> Text:
    return Text("right", style="green") if prediction.correct else Text("wrong", style="red")


def compare_table(records: Sequence[RunRecord]) -> Table:
    """One column a run: the settings that differ, the scores, and what they cost."""
    table = _table()
    table.add_column("", style="dim", overflow="fold")
    for record in records:
        table.add_column(_plain(record.name), overflow="fold")
    for row in comparison_rows(records):
        table.add_row(_plain(row.name), *map(_plain, row.cells))
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")


def _plain(text: str) -> Text:
    return Text(text)
