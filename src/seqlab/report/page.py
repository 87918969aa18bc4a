"""What does a person want to know about a run? One offline page: the score, how it came about, and how to go on."""

import shlex
from collections.abc import Mapping
from html import escape
from pathlib import Path

from seqlab.config.settings import Tree
from seqlab.report import figures, markup, wording
from seqlab.report.folder import RunRecord, Score, load_run
from seqlab.report.sections import answers, attention, classification, lengths, passages, sentences
from seqlab.runs.folder import RunFolder

NUM_UNKNOWN = 8
"""Pieces that the vocabulary lacks and the page names."""


def write_report(run: RunFolder) -> Path:
    """Writes `report.html` into the run folder. Raises UserError when it is no run folder or cannot be written."""
    record = load_run(run.root)
    body = "\n".join(
        [
            _header(record),
            _results(record),
            _remarks(record),
            markup.section(
                "How it learned", markup.figures(figures.learning_plots(record), "large"), answers.on_the_way(record)
            ),
            _outcome(record),
            attention.section(record),
            lengths.section(record.data) if record.data else "",
            markup.section("How it ran", markup.figures(figures.machine_plots(record), "small"), _log(record)),
            _settings(record),
            _reproduction(record),
        ]
    )
    return markup.save_page(run.report, f"{record.recipe} · seqlab", body)


def _header(record: RunRecord) -> str:
    about = record.about
    promise = [str(about.get("expected") or ""), str(about.get("time") or "")]
    lines = {"setting from": str(about.get("source") or ""), "expected": ", ".join(part for part in promise if part)}
    return "\n".join(
        [
            "<header>",
            markup.paragraph(record.name, "eyebrow"),
            f"<h1>{escape(record.recipe)}</h1>",
            markup.paragraph(str(about.get("summary") or ""), "lede"),
            markup.definitions({name: text for name, text in lines.items() if text}, "origin"),
            "</header>",
        ]
    )


def _results(record: RunRecord) -> str:
    facts = {name: value for name, value in wording.measures(record).items() if value != wording.ABSENT}
    reached = (record.results or {}).get("time_to_target")
    if reached:
        facts[f"time to {reached['target']}"] = (
            f"{wording.duration(reached['train_s'])}, update {wording.number(reached['step'])}"
        )
    return f'<section class="result">\n{_headline(record)}\n{markup.definitions(facts, "facts")}\n</section>'


def _headline(record: RunRecord) -> str:
    if not record.scores:
        return _provisional(record)
    first, *others = record.scores
    results = record.results or {}
    signatures = results.get("signatures", {})  # what others need to compute the same scores
    examples = f"{wording.number(results.get('examples'))} {results.get('split', 'test')} examples"
    lines = [
        f'<p class="big">{escape(wording.score_value(first.name, first.value))}</p>',
        markup.paragraph(f"{wording.title(first.name)} on {examples}", "what"),
        markup.paragraph(f"95 % interval {wording.interval(first)}" if wording.interval(first) else "", "interval"),
        *(markup.paragraph(f"{name}: {scores}", "interval") for name, scores in wording.baselines(record).items()),
        _scale(first),
        markup.definitions({wording.title(score.name): wording.with_interval(score) for score in others}),
        *(markup.paragraph(f"{wording.title(name)} {text}", "signature") for name, text in signatures.items()),
    ]
    return markup.block("headline", *lines)


def _provisional(record: RunRecord) -> str:
    """What can be said of a run that has no test score: its last validation score."""
    lines = ['<p class="big">no result yet</p>']
    for name in [*record.score_names, "loss"]:
        curve = record.evaluations("validation", name)
        if curve.y:
            latest = wording.score_value(name, curve.y[-1])
            lines = [
                f'<p class="big">{escape(latest)}</p>',
                markup.paragraph(
                    f"validation {wording.title(name)} at update {curve.x[-1]:,}, no test score yet", "what"
                ),
            ]
            break
    return markup.block("headline", *lines)


def _scale(score: Score) -> str:
    """A share or points on a ruler from 0 to 100, its interval as a band."""
    if score.low is None or score.high is None or score.name not in wording.SHARES | wording.POINTS:
        return ""
    value, low, high = (
        (100 if score.name in wording.SHARES else 1) * end for end in (score.value, score.low, score.high)
    )
    return (
        '<div class="scale" aria-hidden="true">'
        f'<div class="bar" style="width:{value:.2f}%"></div>'
        f'<div class="band" style="left:{low:.2f}%;width:{max(high - low, 0.4):.2f}%"></div></div>'
    )


def _outcome(record: RunRecord) -> str:
    """What the task answers, in its own form."""
    if record.classifies:
        return f"{sentences.section(record)}\n{classification.section(record)}"
    return passages.section(record) if record.answers_questions else answers.section(record)


def _remarks(record: RunRecord) -> str:
    """What the reader should know before believing the numbers."""
    return markup.section("Before you read on", markup.bullets([*_missing(record), *_warnings(record)], "remarks"))


def _log(record: RunRecord) -> str:
    """What the training itself found worth a line."""
    known = record.data.remarks if record.data else []  # they stand in a section of their own
    notes = [event for event in record.of_kind("note") if event["text"] not in known]
    lines = [f"Update {event['step']:,}: {event['text']}" for event in notes]
    if record.results:
        lines.append(f"End: {record.results.get('stopped_because', 'unknown reason')}")
    return f"<h3>Log</h3>\n{markup.bullets(lines, 'notes')}" if lines else ""


def _missing(record: RunRecord) -> list[str]:
    folder, remarks = record.folder, []
    if record.results is None:
        remarks.append(
            f"{folder.results.name} is missing: the run is still going, or was stopped before its final evaluation."
        )
    if not record.events:
        remarks.append(f"{folder.events.name} is missing or empty: there are no curves to draw.")
    if not (record.predictions or record.label_predictions):
        remarks.append("predictions/test.jsonl is missing or empty: there are no answers to show.")
    if not record.environment:
        remarks.append(f"{folder.environment.name} is missing: the machine and the command are not known.")
    return remarks


def _warnings(record: RunRecord) -> list[str]:
    results = record.results or {}
    remarks = list(results.get("warnings", []))
    if results.get("capped") and not remarks:
        remarks.append(
            f"{results['capped']:,} answers were cut off at the maximum length; "
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


def _settings(record: RunRecord) -> str:
    """Every table of the config, closed, with a preview; what the command line changed stands out."""
    overridden = _overridden(record.environment)
    blocks = [
        _settings_table(name, table, overridden)
        for name, table in record.config.items()
        if name != "about" and isinstance(table, dict) and table
    ]
    changed = any(f"{name}.{key}" in overridden for name, table in record.config.items() for key in wording.flat(table))
    note = "Settings in bold were given on the command line." if changed else ""
    return markup.section("What was trained", markup.paragraph(note, "note"), *blocks)


def _settings_table(name: str, table: Tree, overridden: set[str]) -> str:
    values = {key: wording.setting(value) for key, value in wording.flat(table).items()}
    preview = " · ".join(value if key == "kind" else f"{key} {value}" for key, value in values.items())
    marked = [key for key in values if f"{name}.{key}" in overridden]
    content = markup.definitions(values, "pairs settings", marked)
    return markup.details(name, preview, content)


FLAGS = {"--seed": "train.seed", "--until": "train.until", "--max-minutes": "train.max_minutes"}
"""Options of `seqlab train` that are settings."""


def _overridden(environment: Tree) -> set[str]:
    """The settings that the command line gave: its `key=value` words and its flags."""
    words = str(environment.get("command") or "").split()
    keys = {word.strip("'\"").partition("=")[0] for word in words if "=" in word}
    return {FLAGS.get(key, key) for key in [*keys, *words]}


def _reproduction(record: RunRecord) -> str:
    environment = wording.flat(record.environment)
    command = str(environment.pop("command", None) or "")
    run = shlex.quote(record.folder.root.name if record.folder.root.is_absolute() else record.folder.root.as_posix())
    further = {
        "Train it again": command,
        "Ask it something": f"seqlab predict {run}{' --context FILE QUESTION' if record.answers_questions else ''}",
        "Score it on other data": f"seqlab evaluate {run} --data FILE",
        "Go on from the last checkpoint": "" if record.results else f"seqlab train --resume {run}",
        "Set it beside another run": f"seqlab compare {run} OTHER_RUN",
    }
    steps = "\n".join(f"<h3>{name}</h3>\n{markup.code(text)}" for name, text in further.items() if text)
    facts = {wording.title(key): wording.fact(key, value) for key, value in environment.items() if value is not None}
    machine = f"<h3>Environment</h3>\n{markup.definitions(facts)}" if facts else ""
    return markup.section(
        "Again, and further", markup.block("again", markup.block("steps", steps), markup.block("machine", machine))
    )
