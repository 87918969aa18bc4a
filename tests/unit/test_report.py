"""Report pages, figures and tables of small invented runs."""

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
import tomli_w
from matplotlib.image import imread
from rich.console import Console

from seqlab.errors import UserError
from seqlab.report import compare, figures, wording
from seqlab.report.figures import COLOURS, canvas, score_axis
from seqlab.report.folder import Curve, Score, load_run
from seqlab.report.page import results_table, write_report
from seqlab.report.sections import attention, samples
from seqlab.runs.events import EventLog
from seqlab.runs.folder import RunFolder
from seqlab.runs.schema import TextPrediction
from seqlab.runs.statistics import describe
from seqlab.tools import lr_range

pytestmark = pytest.mark.usefixtures("drawn_figures")

HOSTILE = """<script>alert("&'")</script>"""
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects what a test asks about."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.references += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset", "action", "data")]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read_page(path) -> Page:
    page = Page(path.read_text(encoding="utf-8"))
    assert not page.open, f"never closed: {page.open}"
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(reference.startswith(("#", "data:image/png")) for reference in page.references)
    assert not re.search(r"url\((?!#)|@import", path.read_text(encoding="utf-8"))
    assert len(page.ids) == len(set(page.ids)), "an id stands twice"
    return page


def write_run(root, *, steps=40, lr=0.001, source=HOSTILE, seed=1) -> RunFolder:
    """A finished run: `steps` updates, an evaluation every 10, 30 test examples of which 24 are right."""
    folder = RunFolder(root)
    folder.predictions.parent.mkdir(parents=True)
    config = {
        "about": {"name": "place-value", "summary": f"Reads {HOSTILE}", "expected": "accuracy 0.9", "time": "1 minute"},
        "model": {"kind": "transformer", "width": 64, "sharing": {"kind": "none"}},
        "optimizer": {"kind": "adamw", "lr": lr, "betas": [0.9, 0.98]},
        "train": {"seed": seed, "max_steps": steps},
    }
    folder.config.write_text(tomli_w.dumps(config), encoding="utf-8")
    command = f"seqlab train place-value optimizer.lr={lr} --seed {seed}"
    environment = {"seqlab": "0.1.0", "cpu": "Some CPU", "threads": 2, "gpu": None, "command": command, "cores": 4}
    folder.environment.write_text(json.dumps(environment), encoding="utf-8")
    log = EventLog(folder.events)
    for step in range(1, steps + 1):
        write_update(log, step)
        if step % 10 == 0:
            for split in ("training", "validation"):
                log.write("evaluation", step, time_s=step * 0.5, split=split, loss=1 / step, accuracy=step / 50)
            log.write("sample", step, source=source, target="12", predicted="1" if step < 20 else "12")
    log.write("note", 3, text="the machine was busy")
    results = {
        "recipe": "place-value",
        "task": "sequence-to-sequence",
        "step": steps,
        "train_s": 75.0,
        "parameters": 1234567,
        "peak_memory_mb": 300.0,
        "stopped_because": "trained to the end of its budget",
        "split": "test",
        "examples": 30,
        "scores": {"accuracy": {"value": 0.8, "low": 0.6269, "high": 0.9050}, "loss": {"value": 0.5}},
        "time_to_target": {"target": "accuracy>=0.5", "step": 30, "train_s": 15.0},
        "capped": 2,
        "unknown": {"source": {"é": 3}, "target": {}},
    }
    folder.results.write_text(json.dumps(results), encoding="utf-8")
    rows = [
        {
            "source": source,
            "target": "123",
            "predicted": "123" if i >= 6 else "129",
            "correct": i >= 6,
            "score": -0.1 * i,
        }
        for i in range(30)
    ]
    folder.predictions.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def write_translations(root) -> RunFolder:
    """A finished run of translations: 9 test sentences, of which 2 are stuck."""
    folder = write_run(root, source="a small dog")
    with folder.config.open("a", encoding="utf-8") as file:
        file.write('[task]\nmetrics = "translation"\n')
    results = json.loads(folder.results.read_text(encoding="utf-8"))
    results |= {
        "scores": {
            "bleu": {"value": 41.23, "low": 39.96, "high": 42.5},
            "chrf": {"value": 62.0},
            "rouge_l": {"value": 0.6789},
            "exact_match": {"value": 0.1},
            "loss": {"value": 1.5},
        },
        "signatures": {"bleu": "nrefs:1|tok:13a"},
        "baselines": {"copy of the source": {"bleu": 4.123, "chrf": 18.0}},
        "warnings": ["2 of 9 outputs were cut at <length>"],
        "unknown": {"source": {}, "target": {f"w{i}": i for i in range(1, 12)}},
    }
    folder.results.write_text(json.dumps(results), encoding="utf-8")
    texts = [
        ("un petit chien", "un petit chien"),
        ("un chat", "un chat"),
        ("un petit chien dort", "un petit chat dort"),
    ]
    texts += [("la fille", "le garçon")] * 4
    texts += [("la petite fille", "la petite petite petite petite fille"), ("elle rit", "elle rit ha ha ha ha")]
    rows = [
        {"source": f"s{i}", "target": target, "predicted": predicted, "correct": target == predicted, "score": -1.0}
        for i, (target, predicted) in enumerate(texts)
    ]
    folder.predictions.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def attention_map(layers: int = 2, heads: int = 3) -> dict[str, object]:
    """Two written tokens, three of the source."""
    row = [[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]
    return {
        "text": "High class <b>",
        "source": ["▁H", "igh", "▁class"],
        "predicted": ["▁Hohe", "<eos>"],
        "layers": layers,
        "heads": [row] * heads,
        "all_layers": row,
    }


def write_update(log: EventLog, step: int) -> None:
    log.write(
        "update",
        step,
        time_s=step * 0.5,
        loss=2 / step,
        learning_rate=1e-3 * step,
        grad_norm=None if step == 5 else 1.0,
        tokens_per_s=1000.0 + step,
        padding_share=0.04,
        memory_mb=250.0,
        mfu=0.5,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "place-value-1")


@pytest.fixture(scope="module")
def record(finished):
    return load_run(finished.root)


@pytest.fixture(scope="module")
def html(finished):
    return write_report(finished).read_text(encoding="utf-8")


# The page


@pytest.mark.parametrize(
    ("values", "share", "bottom", "top"),
    [
        ([0.1, 0.9], True, (0, 0), (1.02, 1.02)),
        ([12.0, 39.0], False, (0, 0), (39, 50)),
        ([0.958, 0.986], True, (0.95, 0.958), (0.986, 1)),
        ([0.986, 0.986], True, (0.93, 0.94), (1.02, 1.02)),
        ([0.094, 0.094], True, (0.08, 0.09), (0.098, 0.1)),
        ([-0.2, 0.4], False, (-0.3, -0.2), (0.4, 0.5)),
        ([0.0, 0.0], True, (0, 0), (1.02, 1.02)),
        ([], True, (0, 0), (1.02, 1.02)),
    ],
)
def test_the_axis_of_a_score_shows_what_changes(
    values: list[float], share: bool, bottom: tuple[float, float], top: tuple[float, float]
) -> None:
    with canvas("score") as drawing:
        drawing.axes.plot(range(len(values)), values)
        score_axis(drawing.axes, values, share=share)
        low, high = drawing.axes.get_ylim()
    assert bottom[0] <= low <= bottom[1]
    assert top[0] <= high <= top[1]


def test_page_tells_the_run_offline_and_well_formed(finished):
    path = write_report(finished)
    assert path == finished.report
    text = read_page(path).text
    for expected in (
        "80.0 %",
        "95 % interval 62.7 to 90.5 %",
        "accuracy on 30 test examples",
        "1 min 15 s",
        "1.23 million",
        "300 MB",
        "Some CPU, 2 threads",
        "seqlab train place-value optimizer.lr=0.001 --seed 1",
        "Update 3: the machine was busy",
        "trained to the end of its budget",
        "2 outputs were cut off at the maximum length",
        "Sources of the test have what the vocabulary lacks: é (3).",
        "time to accuracy>=0.5",
        "betas",
        "0.9, 0.98",
    ):
        assert expected in text


def test_text_of_others_stays_text(html):
    assert HOSTILE in Page(html).text
    assert "<script" not in html


def test_every_figure_is_on_the_page_with_a_caption(html):
    page = Page(html)
    assert page.tags.count("svg") == page.tags.count("figure") == page.tags.count("figcaption") == 8
    for title in ("Loss", "Accuracy", "Learning rate", "Gradient norm", "Tokens per second", "Padding", "Utilisation"):
        assert title in page.text


def test_the_same_run_gives_the_same_page(finished, html):
    assert write_report(finished).read_text(encoding="utf-8") == html


def test_settings_of_the_command_line_stand_out(html):
    assert re.findall(r'<div class="marked"><dt>(\w+)</dt>', html) == ["lr", "seed"]


def test_differing_characters_are_marked(html):
    assert "12<mark>3</mark>" in html
    assert "12<mark>9</mark>" in html


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("results", "results.json is missing"),
        ("events", "events.jsonl is missing"),
        ("predictions", "predictions/test.jsonl is missing"),
        ("environment", "environment.json is missing"),
    ],
)
def test_what_is_missing_is_said(tmp_path, missing, said):
    folder = write_run(tmp_path / "run")
    getattr(folder, missing).unlink()
    assert said in read_page(write_report(folder)).text


def test_run_that_has_only_begun(tmp_path):
    folder = RunFolder(tmp_path)
    folder.config.write_text('[about]\nname = "early"\n', encoding="utf-8")
    text = read_page(write_report(folder)).text
    assert "no result yet" in text
    assert "seqlab train --resume" in text


def test_run_that_was_killed_while_writing(tmp_path):
    folder = write_run(tmp_path / "run")
    folder.results.unlink()
    for path in (folder.events, folder.predictions):
        path.write_bytes(path.read_bytes() + b'{"kind": "upda')
    record = load_run(folder.root)
    assert len(list(record.of_kind("update"))) == 40
    assert record.predictions is not None
    assert len(record.predictions) == 30
    text = read_page(write_report(folder)).text
    assert "validation accuracy at update 40, no test score yet" in text


def test_lone_surrogates_do_not_cost_the_page(tmp_path):
    folder = RunFolder(tmp_path)
    folder.predictions.parent.mkdir()
    folder.config.write_text("", encoding="utf-8")
    row = {"source": "\ud800?", "target": "a", "predicted": "b", "correct": False, "score": 0.0}
    folder.predictions.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert "??" in read_page(write_report(folder)).text


def test_an_unwritable_place_is_a_user_error(finished, tmp_path, record):
    with pytest.raises(UserError, match="cannot be written"):
        compare.write_comparison([record, record], tmp_path / "no" / "such" / "folder.html")


# Tasks that nobody here knows


def test_the_files_of_a_run_decide_on_its_sections_not_the_name_of_its_task(tmp_path):
    folder = write_translations(tmp_path / "run")
    config = folder.config.read_text(encoding="utf-8").replace('metrics = "translation"', 'kind = "mine:Task"')
    folder.config.write_text(config, encoding="utf-8")
    html = write_report(folder).read_text(encoding="utf-8")
    assert "<h3>Repeating itself</h3>" in html
    assert "un petit <mark>chien</mark> dort" in html
    assert "Tokens per second" in html


def test_rows_with_other_columns_have_a_page_without_samples(tmp_path):
    folder = write_run(tmp_path / "run")
    row = {"tokens": ["a", "b"], "tags": ["X", "Y"], "predicted": ["X", "X"], "correct": False}
    folder.predictions.write_text(json.dumps(row) + "\n", encoding="utf-8")
    text = read_page(write_report(folder)).text
    assert "80.0 %" in text
    assert "What it answers" not in text
    assert "predictions/test.jsonl is missing" not in text
    assert rendered(samples.samples_table(load_run(folder.root), 3)).strip() == ""


# Translations


@pytest.fixture(scope="module")
def translated(tmp_path_factory):
    folder = write_translations(tmp_path_factory.mktemp("runs") / "translations")
    described = describe({"training": [("a b", "c d")], "test": [("a e", "c")]}, words=True, remarks=["1 leak"])
    folder.data.write_text(json.dumps(described.to_json()), encoding="utf-8")
    folder.artifact("attention").write_text(
        json.dumps([attention_map(), attention_map(layers=1, heads=1)]), encoding="utf-8"
    )
    EventLog(folder.events).write("note", 0, text="1 leak")
    return folder


def test_page_of_translations(translated):
    path = write_report(translated)
    text = read_page(path).text
    for expected in (
        "41.2 BLEU on 30 test examples 95 % interval 40.0 to 42.5",
        "copy of the source: BLEU 4.1, chrF 18.0",
        "chrF 62.0 ROUGE-L 0.679 exact match 10.0 % loss 1.5",
        "BLEU nrefs:1|tok:13a",
        "2 of 9 outputs were cut at <length>",
        "Targets of the test have what the vocabulary lacks: w11 (11), w10 (10)",
        "w4 (4) and 3 more.",
        "2 translations with a phrase three times in a row",
        "What it looked at",
        "50.0 %",
    ):
        assert expected in text
    assert text.count("1 leak") == 1
    assert "outputs were cut off" not in text
    html = path.read_text(encoding="utf-8")
    assert "un petit <mark>chien</mark> dort" in html
    assert "la <mark>petite petite petite petite</mark> fille" in html


def test_scores_keep_the_order_of_the_results(translated):
    names = [score.name for score in load_run(translated.root).scores]
    assert names == ["bleu", "chrf", "rouge_l", "exact_match", "loss"]


def test_translations_in_the_terminal(translated):
    record = load_run(translated.root)
    results = rendered(results_table(record))
    assert re.search(r"BLEU +41\.2 \(40\.0 to 42\.5\)", results)
    assert re.search(r"copy of the source +BLEU 4\.1, chrF 18\.0", results)
    assert re.search(r"warning +2 of 9 outputs were cut at <length>", results)
    assert "chrF 100" in rendered(samples.samples_table(record, 9))


def test_best_and_worst_translations_and_those_that_repeat_themselves(translated):
    predictions = load_run(translated.root).predictions
    assert predictions is not None
    choice = samples.choose(predictions, 2, translations=True)
    assert [answer.source for answer in choice.best] == ["s0", "s1"]  # both right, the longer one first
    assert {answer.target for answer in choice.worst} == {"la fille"}
    assert [answer.source for answer in choice.repeating] == ["s7", "s8"]
    assert len({id(answer) for group in choice for answer in group}) == 8


@pytest.mark.parametrize(
    ("target", "predicted", "marked"),
    [
        ("a small dog runs.", "the big dog runs!", (["a small", "."], ["the big", "!"])),
        ("a dog", "a dog sleeps", ([], ["sleeps"])),
        ("dreihundertzwei", "dreihundertdrei", (["zw"], ["dr"])),
        ("我爱你", "我恨你", (["爱"], ["恨"])),
        ("a b", "", (["a b"], [])),
    ],
)
def test_translations_differ_by_words_or_where_there_are_none_by_characters(target, predicted, marked):
    found = samples.differences(target, predicted, by_words=True)
    assert tuple("".join(piece.text for piece in side) for side in found) == (target, predicted)
    assert tuple([piece.text for piece in side if piece.marked] for side in found) == marked


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("la petite Petite, petite fille", ["petite Petite, petite"]),
        ("in in in einem einem einem einemer.", ["in in in", "einem einem einem"]),
        ("de la vie de la vie de la vie.", ["de la vie de la vie de la vie"]),
        ("er sagt blablablabla und geht", ["blablablabla"]),
        ("oh! ! ! !", ["! ! ! !"]),
        ("nothing here", []),
    ],
)
def test_repetitions_are_marked_as_long_as_they_go_on(text, marked):
    pieces = samples.repetitions(text)
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.text for piece in pieces if piece.marked] == marked


def test_attention_maps_have_both_axes_and_no_drawing_twice(translated):
    several, alone = load_run(translated.root).attention
    plots = attention.plots(several, "map")
    assert [plot.title for plot in plots] == ["Last layer", "All layers"]
    labels = [element.text for element in ElementTree.fromstring(plots[0].svg).iter() if element.tag.endswith("text")]
    assert labels == ["H", "·igh", "class", "Hohe", "<eos>"]
    assert "The strongest field is 1.00." in plots[0].caption
    assert len(attention.plots(alone, "map")) == 1


def test_attention_fields_are_as_dark_as_the_weights(translated):
    (plot, _) = attention.plots(load_run(translated.root).attention[0], "map")
    data = re.findall(r'href="data:image/png;base64,\s*([^"]+)"', plot.svg)
    assert len(data) == 1
    picture = imread(io.BytesIO(base64.b64decode(data[0])), format="png")
    assert picture.shape == (2, 3, 4)
    assert np.rint(255 * picture[..., 3]).tolist() == [[128, 64, 64], [0, 0, 255]]


# The folder


def test_folder_that_is_no_run(tmp_path):
    with pytest.raises(UserError, match=r"not a run folder: config\.toml is missing"):
        load_run(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        load_run(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("results", "{", "results.json: not valid JSON"),
        ("results", "[]", "results.json: expected one JSON object"),
        ("events", '{"kind"\n{}\n', "events.jsonl, line 1"),
        ("predictions", '{"source": "a"}\n', "test.jsonl, line 1: not a prediction (predicted: Field required)"),
        ("predictions", "[1]\n", "test.jsonl, line 1: not a JSON object"),
        (
            "predictions",
            '{"source": "a", "target": 3, "predicted": "b", "correct": true}\n',
            "test.jsonl, line 1: not a prediction (target: Input should be a valid string)",
        ),
        ("results", '{"scores": {"bleu": {"value": "high"}}}', "results.json: damaged (scores.bleu.value: "),
        ("environment", '{"threads": "two"}', "environment.json: damaged (threads: "),
        ("data", '{"unit": "words"}', "data.json: damaged (splits: "),
        ("attention", '[{"text": "a", "source": 3}]', "attention.json: damaged (0.source: "),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, said):
    folder = write_run(tmp_path / "run")
    path = getattr(folder, name, folder.artifact(name))
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(said)):
        load_run(folder.root)


def test_curves_leave_out_what_was_not_measured(record):
    norms = record.updates("grad_norm")
    assert len(norms.x) == 39
    assert 5 not in norms.x
    assert record.evaluations("validation", "accuracy") == Curve([10, 20, 30, 40], [0.2, 0.4, 0.6, 0.8])
    assert record.evaluations("validation", "accuracy", "time_s").x == [5.0, 10.0, 15.0, 20.0]
    assert record.median("tokens_per_s") == pytest.approx(np.median(1000.0 + np.arange(1, 41)))
    assert record.scores == [Score("accuracy", 0.8, 0.6269, 0.9050), Score("loss", 0.5, None, None)]


# Figures


def svg_group(svg: str, suffix: str) -> ElementTree.Element:
    """The group of a figure whose id ends with `suffix`."""
    root = ElementTree.fromstring(svg)
    found = [group for group in root.iter() if group.get("id", "").endswith(suffix)]
    assert len(found) == 1
    return found[0]


def test_loss_figure_holds_every_point(record):
    plot = figures.loss(record)
    assert plot is not None
    path = next(e for e in svg_group(plot.svg, "loss-every-update").iter() if e.tag.endswith("path"))
    assert len(re.findall("[ML]", path.get("d", ""))) == 40
    for split in ("training", "validation"):
        markers = [e for e in svg_group(plot.svg, f"loss-{split}").iter() if e.tag.endswith("use")]
        assert len(markers) == 4
    assert plot.title == "Loss"
    assert ">validation</text>" in plot.svg


def test_score_figure_names_the_best_value(record):
    plot = figures.score(record, "accuracy")
    assert plot is not None
    assert plot.caption.endswith("80.0 % at update 40.")
    assert ">100%</text>" in plot.svg


def test_colours_are_variables_of_the_page(record):
    plot = figures.loss(record)
    assert plot is not None
    bare = re.sub(r"var\(--[\w-]+, #\w{6}\)", "", plot.svg)
    assert not any(colour in bare for colour in COLOURS)
    assert "var(--series-2, #d55e00)" in plot.svg


def test_nothing_measured_no_figure(tmp_path):
    folder = RunFolder(tmp_path)
    folder.config.write_text("", encoding="utf-8")
    record = load_run(tmp_path)
    assert figures.learning_plots(record) == []
    assert figures.machine_plots(record) == []


def test_smoothing_is_a_centred_mean():
    values = np.random.default_rng(0).normal(size=50)
    smooth = figures.smooth(values.tolist(), 5)
    assert smooth[20] == pytest.approx(values[18:23].mean())
    assert smooth[0] == pytest.approx(values[:3].mean())
    assert figures.smooth(values.tolist(), 1) == pytest.approx(values.tolist())


def test_thinning_keeps_the_extremes_and_the_order():
    y = np.random.default_rng(0).normal(size=5000)
    y[1234], y[4321] = 50, -50
    thinned = figures.thin(Curve(list(range(5000)), y.tolist()), 400)
    assert len(thinned.x) <= 400
    assert thinned.x == sorted(thinned.x)
    assert (1234, 50) in zip(*thinned, strict=True)
    assert (4321, -50) in zip(*thinned, strict=True)


# Samples


def prediction(target: str, predicted: str, score: float) -> TextPrediction:
    return TextPrediction("q", target, predicted, target == predicted, score)


def test_best_worst_and_random_samples_are_different_answers():
    answers = [prediction("abcd", "abcd", -0.1 * i) for i in range(20)]
    answers += [prediction("abcd", "abzz", -1.0), prediction("abcd", "zzzz", -3.0), prediction("abcd", "zzzz", -2.0)]
    choice = samples.choose(answers, 3, translations=False)
    assert choice.best == answers[:3]
    assert choice.worst == [answers[22], answers[21], answers[20]]
    assert len(choice.drawn) == 3
    assert len({id(answer) for group in choice for answer in group}) == 9
    assert samples.choose(answers, 3, translations=False) == choice


def test_few_answers_make_few_samples():
    only = [prediction("a", "a", 0.0)]
    assert samples.choose(only, 5, translations=False) == ([], only, [], [])
    assert samples.draw(only, 5) == only


def test_differences_cover_both_texts():
    left, right = samples.differences("-12.5", "12.75", by_words=False)
    assert "".join(piece.text for piece in left) == "-12.5"
    assert "".join(piece.text for piece in right) == "12.75"
    assert [piece.text for piece in left if piece.marked] == ["-"]
    assert [piece.text for piece in right if piece.marked] == ["7"]


def test_samples_on_the_way_follow_one_question(record):
    assert [(step, answer.correct) for step, answer in samples.on_the_way(record, 3)] == [
        (10, False),
        (30, True),
        (40, True),
    ]


# Comparison and terminal tables


def rendered(table) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(table)
    console.file.close()
    return console.export_text()


def test_comparison_shows_what_differs(tmp_path, record):
    other = load_run(write_run(tmp_path / "place-value-2", lr=0.002, steps=20).root)
    rows = {row.name: row.cells for row in compare.comparison_rows([record, other])}
    assert rows["optimizer.lr"] == ["0.001", "0.002"]
    assert rows["train.max_steps"] == ["40", "20"]
    assert "model.width" not in rows
    assert rows["test accuracy"] == ["80.0 % (62.7 to 90.5 %)"] * 2
    assert rows["best validation accuracy"] == ["80.0 %", "40.0 %"]
    assert rows["tokens per second"] == ["1,020", "1,010"]
    page = read_page(compare.write_comparison([record, other], tmp_path / "comparison.html"))
    assert "place-value-2" in page.text
    assert page.tags.count("svg") == 6  # accuracy, validation loss, training loss; by updates and by time
    terminal = rendered(compare.compare_table([record, other]))
    assert re.search(r"optimizer\.lr +0\.001 +0\.002", terminal)


def test_a_run_alone_is_no_comparison(tmp_path, record):
    with pytest.raises(UserError, match="at least two"):
        compare.write_comparison([record], tmp_path / "comparison.html")


def test_comparison_curves_hold_the_points_of_every_run(tmp_path, record):
    other = load_run(write_run(tmp_path / "run", steps=20).root)
    plots = {plot.title: plot.svg for plot in compare.comparison_plots([record, other])}
    for run, points in (("run-1", 4), ("run-2", 2)):
        path = next(e for e in svg_group(plots["Validation accuracy"], run).iter() if e.tag.endswith("path"))
        assert len(re.findall("[ML]", path.get("d", ""))) == points


def test_results_and_samples_in_the_terminal(record):
    results = rendered(results_table(record))
    assert re.search(r"accuracy +80\.0 % \(62\.7 to 90\.5 %\)", results)
    assert re.search(r"training time +1 min 15 s", results)
    shown = rendered(samples.samples_table(record, 4))
    assert shown.count(HOSTILE) == 4
    assert shown.count("right") + shown.count("wrong") == 4


def test_square_brackets_are_not_markup(tmp_path):
    record = load_run(write_run(tmp_path / "run", source="[bold]x[/nope]").root)
    assert "[bold]x[/nope]" in rendered(samples.samples_table(record, 1))


# Learning-rate range test


def test_range_test_page_and_drawing(tmp_path):
    points = [(10**power, 3.0 - power, 3.1 - power) for power in range(-6, 0)]
    page = read_page(lr_range.write_page(points, 2e-3, tmp_path / "lr.html"))
    assert "optimizer.lr=0.002" in page.text
    drawing = lr_range.write_page(points, 2e-3, tmp_path / "lr.svg").read_text(encoding="utf-8")
    path = next(e for e in svg_group(drawing, "lr-range-smoothed").iter() if e.tag.endswith("path"))
    assert len(re.findall("[ML]", path.get("d", ""))) == 6
    assert svg_group(drawing, "lr-range-suggestion") is not None


def test_range_test_without_a_suggestion(tmp_path):
    page = read_page(lr_range.write_page([(1e-3, 1.0, 1.0), (1e-2, 1.0, 1.0)], None, tmp_path / "lr.html"))
    assert "No learning rate stands out" in page.text
    with pytest.raises(UserError, match="no update"):
        lr_range.write_page([], None, tmp_path / "lr.html")


# Wording


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (wording.score_value("accuracy", 0.9995), "99.95 %"),
        (wording.score_value("accuracy", 0.99999), "99.99 %"),
        (wording.score_value("accuracy", 1.0), "100 %"),
        (wording.score_value("accuracy", 0.0), "0 %"),
        (wording.score_value("bleu", 31.456), "31.5"),
        (wording.interval(Score("chrf", 60.0, 58.96, 61.04)), "59.0 to 61.0"),
        (wording.score_value("rouge_l", 0.6), "0.600"),
        (wording.score_value("perplexity", 12.3456), "12.35"),
        (wording.title("rouge_l"), "ROUGE-L"),
        (wording.heading("chrf"), "chrF"),
        (wording.heading("token_accuracy"), "Token accuracy"),
        (wording.counted(1, "thread"), "1 thread"),
        (wording.counted(1200, "pair"), "1,200 pairs"),
        (wording.best("bits_per_character", [2.0, 1.5, 1.6]), 1.5),
        (wording.best("bleu", [2.0, 1.5]), 2.0),
        (wording.best("bleu", []), None),
        (wording.interval(Score("accuracy", 0.99, 0.979, 0.9951)), "97.90 to 99.51 %"),
        (wording.duration(3.21), "3.2 s"),
        (wording.duration(59.7), "1 min 00 s"),
        (wording.duration(7500), "2 h 05 min"),
        (wording.memory(2048), "2.0 GB"),
        (wording.parameters(99_999), "99,999"),
        (wording.number(None), "–"),
        (wording.setting([True, 0.001, "x"]), "true, 0.001, x"),
    ],
)
def test_numbers_are_written_for_people(written, expected):
    assert written == expected


def test_what_reads_runs_imports_neither_torch_nor_what_writes_pages():
    packages = ("torch", "matplotlib", "jinja2", "PIL")
    code = f"import sys, seqlab.report.page, seqlab.report.compare; print([name in sys.modules for name in {packages}])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str([False] * len(packages))


@pytest.mark.parametrize(
    ("name", "train", "heading"),
    [
        ("math-place-value", ["train-easy", "train-medium"], "math-place-value"),  # splits of drawn questions, no files
        ("cola", "reviews/sentiment.tsv.gz", "sentiment, with the settings of cola"),
        ("cola", "cola/in_domain_train.tsv", "cola"),
        ("translate", ["mine.tsv", "more.tsv"], "mine, with the settings of translate"),
        ("translate", [{"path": "mine.tsv"}], "mine, with the settings of translate"),
        ("my-recipe", "sentiment.tsv", "my-recipe"),
    ],
)
def test_a_report_on_data_of_ones_own_is_not_titled_like_other_data(tmp_path, name, train, heading):
    folder = write_run(tmp_path / "run")
    about = {"name": name, "summary": "About CoLA.", "expected": "0.36"}
    folder.config.write_text(tomli_w.dumps({"about": about, "data": {"kind": "labelled", "train": train}}))
    page = read_page(write_report(folder)).text
    assert f"{heading} · seqlab" in page
    assert ("About CoLA." in page) == (heading == name)
