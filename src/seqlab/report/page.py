"""The report of a run as one offline page: the score, how it came about, and what to do next.

Pages are Jinja2 templates beside the code that fills them; every value is escaped but drawings of matplotlib.
"""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table
from rich.text import Text

from seqlab import __version__
from seqlab.config.settings import Tree
from seqlab.errors import UserError
from seqlab.metrics.registry import measure
from seqlab.report import figures, wording
from seqlab.report.folder import RunRecord, Score, load_run
from seqlab.report.sections import attention, classification, epochs, lengths, passages, samples
from seqlab.runs.folder import RunFolder, atomic_write, unwritable
from seqlab.runs.statistics import Statistics

if TYPE_CHECKING:
    from jinja2 import Environment


class Section(NamedTuple):
    """A part of the page, with its template `sections/NAME.html.jinja`. No section asks which task it was."""

    values: Callable[[RunRecord], Mapping[str, Any] | None]
    """What the template shows; None where the run folder lacks it."""
    reads: Sequence[str]
    """Files of the run folder, without `.json`, and keys of results.json: without any of them there is no section."""


SECTIONS = {
    "passages": Section(passages.section, ["answers", "by_question_word", "by_answer_length"]),
    "samples": Section(samples.section, ["predictions"]),
    "classification": Section(classification.section, ["sentences", "pictures", "batch_matthews", "confusion"]),
    "attention": Section(attention.section, ["attention"]),
    "epochs": Section(epochs.section, ["events.jsonl"]),
    "lengths": Section(lengths.section, ["data"]),
}
"""What a run predicts, attends to and learned from, in the order of the page."""

NUM_UNKNOWN = 8
"""Out-of-vocabulary tokens and the page names."""

FLAGS = {
    "--seed": "train.seed",
    "--until": "train.until",
    "--max-minutes": "train.max_minutes",
    "--epochs": "train.epochs",
}
"""Options of `seqlab train` that are settings."""


class Headline(NamedTuple):
    """The most important score, as large as it can be, and what belongs to it."""

    big: str
    what: str = ""
    notes: Sequence[str] = ()
    scale: tuple[float, float, float] | None = None
    """value, low and high end from 0 to 100"""
    others: Mapping[str, str] | None = None
    signatures: Sequence[str] = ()


class SettingsTable(NamedTuple):
    """One table of the config; `marked` settings were given on the command line."""

    name: str
    preview: str
    settings: dict[str, str]
    marked: list[str]


# Pages


def write_report(run: RunFolder) -> Path:
    """Writes `report.html` into the run folder. Raises UserError when it is no run folder or cannot be written."""
    record = load_run(run.root)
    about = record.about if record.own_data is None else {}  # it speaks of other data
    found = {name: section.values(record) for name, section in SECTIONS.items() if record.has_any(section.reads)}
    page = render(
        "report/page.html.jinja",
        title=f"{record.heading} · seqlab",
        name=record.name,
        recipe=record.heading,
        summary=str(about.get("summary") or ""),
        origin=_origin(about),
        headline=_headline(record),
        facts=_facts(record),
        remarks=[*_missing(record), *_warnings(record)],
        learning=figures.learning_plots(record),
        course=samples.course(record),
        course_is_prose=samples.compares_words(record),
        sections={f"report/sections/{name}.html.jinja": values for name, values in found.items() if values},
        machine=figures.machine_plots(record),
        log=_log(record),
        settings=_settings(record),
        commands=_commands(record),
        environment=_environment(record),
    )
    try:
        # whole or not at all: a run that has a page needs none; a lone surrogate in somebody's data must not cost it
        atomic_write(run.report, page.encode("utf-8", "replace").decode("utf-8"))
    except OSError as error:
        command = f"seqlab report {shlex.quote(str(run.root))}"
        raise unwritable(error, run.report, f"the rest of the run is saved; write the page with: {command}") from None
    return run.report


def write_data_page(title: str, statistics: Statistics, path: Path) -> Path:
    """The statistics of a corpus as a page. Raises UserError when the place cannot be written."""
    return write_page(path, "report/data.html.jinja", title=title, section=lengths.contents(statistics))


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Fills a template, named by its path below the package. Raises UserError when the place cannot be written."""
    return write_text(path, render(template, **values))


def render(template: str, **values: Any) -> str:
    """What a template makes of the values."""
    return _templates().get_template(template).render(version=__version__, **values)


def check_writable(path: Path) -> None:
    """Raises UserError now where `write_text` would after hours of work."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file, such as {path / 'page.html'}")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}; create it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UserError(f"{path}: cannot be written: permission denied")


def write_text(path: Path, text: str) -> Path:
    """Writes a text file. Raises UserError when the place cannot be written."""
    try:
        # a lone surrogate in somebody's data must not cost the report
        path.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    except OSError as error:
        raise unwritable(error, path, "nothing else is lost") from None
    return path


@lru_cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("seqlab", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


# Terminal


def epochs_table(record: RunRecord) -> Table | None:
    """Losses, score and times by epoch; None where the log has no epochs."""
    head, rows = epochs.table(record)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, name in enumerate(head):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*map(Text, row))
    return table if rows else None


def results_table(record: RunRecord) -> Table:
    """Scores with their intervals, time, size and machine of one run; texts of others are never read as markup."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column(record.heading, style="dim", overflow="fold")
    table.add_column("", overflow="fold")
    for score in record.scores:
        table.add_row(Text(wording.title(score.name)), Text(wording.with_interval(score)))
    for name, value in (wording.baselines(record.results or {}) | wording.measures(record)).items():
        if value != wording.ABSENT:
            table.add_row(Text(name), Text(value))
    results = record.results or {}
    for warning in [*results.get("warnings", []), *results.get("leaks", [])]:
        table.add_row(Text("warning", style="yellow"), Text(warning))
    return table


# What a page says


def _origin(about: Tree) -> dict[str, str]:
    """Where the setting of the recipe is from, and what it promises."""
    promise = ", ".join(str(about[key]) for key in ("expected", "time") if about.get(key))
    lines = {"setting from": str(about.get("source") or ""), "expected": promise}
    return {name: text for name, text in lines.items() if text}


def _headline(record: RunRecord) -> Headline:
    if not record.scores:
        return _provisional(record)
    first, *others = record.scores
    results = record.results or {}
    ends = wording.interval(first)
    baselines = [f"{name}: {scores}" for name, scores in wording.baselines(record.results or {}).items()]
    examples = f"{wording.number(results.get('examples'))} {results.get('split', 'test')} examples"
    return Headline(
        wording.score_value(first.name, first.value),
        f"{wording.title(first.name)} on {examples}",
        [f"95 % interval {ends}", *baselines] if ends else baselines,
        _scale(first),
        {wording.title(score.name): wording.with_interval(score) for score in others},
        # what others need to compute the same scores
        [f"{wording.title(name)} {text}" for name, text in results.get("signatures", {}).items()],
    )


def _provisional(record: RunRecord) -> Headline:
    """What can be said of a run that has no test score: its last validation score."""
    for name in [*record.score_names, "loss"]:
        curve = record.evaluations("validation", name)
        if curve.y:
            what = f"validation {wording.title(name)} at update {curve.x[-1]:,}, no test score yet"
            return Headline(wording.score_value(name, curve.y[-1]), what)
    return Headline("no result yet")


def _scale(score: Score) -> tuple[float, float, float] | None:
    """A share or points on a ruler from 0 to 100, with the interval."""
    if score.low is None or score.high is None or measure(score.name).unit not in ("share", "points"):
        return None
    factor = 100 if wording.is_share(score.name) else 1
    return factor * score.value, factor * score.low, factor * score.high


def _facts(record: RunRecord) -> dict[str, str]:
    facts = {name: value for name, value in wording.measures(record).items() if value != wording.ABSENT}
    reached = (record.results or {}).get("time_to_target")
    if reached:
        update = wording.number(reached["step"])
        facts[f"time to {reached['target']}"] = f"{wording.duration(reached['train_s'])}, update {update}"
    return facts


def _log(record: RunRecord) -> list[str]:
    """What the training itself found worth a line."""
    known = record.data.remarks if record.data else []  # they stand in a section of their own
    notes = [event for event in record.of_kind("note") if event["text"] not in known]
    lines = [f"Update {event['step']:,}: {event['text']}" for event in notes]
    if record.results:
        lines.append(f"End: {record.results.get('stopped_because', 'unknown reason')}")
    return lines


def _missing(record: RunRecord) -> list[str]:
    folder, remarks = record.folder, []
    if record.results is None:
        remarks.append(
            f"{folder.results.name} is missing: the run is still going, or was stopped before its final evaluation."
        )
    if not record.events:
        remarks.append(f"{folder.events.name} is missing or empty: there are no curves to draw.")
    elif cut := record.cut:
        remarks.append(f"{cut}: curves are incomplete.")
    if not record.judged:
        remarks.append("predictions/test.jsonl is missing or empty: there are no predictions to show.")
    if not record.environment:
        remarks.append(f"{folder.environment.name} is missing: the machine and the command are not known.")
    return remarks


def _warnings(record: RunRecord) -> list[str]:
    results = record.results or {}
    remarks = list(results.get("warnings", []))
    if results.get("capped") and not remarks:
        remarks.append(
            f"{results['capped']:,} outputs were cut off at the maximum length; "
            "a higher limit in the decode settings may raise the score."
        )
    for side, counts in results.get("unknown", {}).items():
        if counts:
            remarks.append(f"{side.capitalize()}s of the test have what the vocabulary lacks: {_listed(counts)}.")
    return remarks + results.get("leaks", [])


def _listed(counts: Mapping[str, int]) -> str:
    """The most frequent pieces with their counts."""
    frequent = sorted(counts.items(), key=lambda entry: -entry[1])
    shown = ", ".join(f"{piece} ({number:,})" for piece, number in frequent[:NUM_UNKNOWN])
    return shown if len(frequent) <= NUM_UNKNOWN else f"{shown} and {len(frequent) - NUM_UNKNOWN:,} more"


def _settings(record: RunRecord) -> list[SettingsTable]:
    """Every table of the config, with a preview."""
    overridden = _overridden(record.environment)
    tables = []
    for name, table in record.config.items():
        if name != "about" and isinstance(table, dict) and table:
            values = {key: wording.setting(value) for key, value in wording.flat(table).items()}
            preview = " · ".join(value if key == "kind" else f"{key} {value}" for key, value in values.items())
            marked = [key for key in values if f"{name}.{key}" in overridden]
            tables.append(SettingsTable(name, preview, values, marked))
    return tables


def _overridden(environment: Tree) -> set[str]:
    """The settings that the command line gave: its `key=value` words and its flags."""
    words = str(environment.get("command") or "").split()
    keys = {word.strip("'\"").partition("=")[0] for word in words if "=" in word}
    return {FLAGS.get(key, key) for key in [*keys, *words]}


def _commands(record: RunRecord) -> dict[str, str]:
    """What to do next, by what it is good for."""
    root = record.folder.root
    run = shlex.quote(root.name if root.is_absolute() else root.as_posix())
    commands = {
        "Train it again": str(record.environment.get("command") or ""),
        "Ask it something": f"seqlab predict {run}{' --context FILE QUESTION' if record.finds_passages else ''}",
        "Score it on other data": f"seqlab evaluate {run} --data FILE",
        "Resume from the last checkpoint": "" if record.results else f"seqlab train --resume {run}",
        "Set it beside another run": f"seqlab compare {run} OTHER_RUN",
    }
    return {purpose: command for purpose, command in commands.items() if command}


def _environment(record: RunRecord) -> dict[str, str]:
    facts = wording.flat(record.environment)
    return {
        wording.title(key): wording.fact(key, value)
        for key, value in facts.items()
        if key != "command" and value is not None
    }
