"""Files of a run that are damaged or of a wrong type: one line that names the file and the key."""

import json
import math
import shutil
from pathlib import Path

import pytest

from seqlab.errors import UserError
from seqlab.report.folder import load_run
from seqlab.report.page import write_report
from seqlab.runs.folder import RunFolder, read_environment
from seqlab.runs.schema import Pixels, checked

OLD = Path(__file__).parents[1] / "data" / "runs" / "translation"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "run"))


@pytest.mark.parametrize(
    ("name", "key", "value", "complaint"),
    [
        ("results.json", "scores", 3, "scores: Input should be a valid dictionary"),
        ("results.json", "scores", {"bleu": 3}, "scores.bleu: Input should be a valid dictionary"),
        ("results.json", "step", "many", "step: Input should be a valid integer"),
        ("results.json", "train_s", math.nan, "train_s: Input should be a finite number"),
        ("results.json", "time_to_target", {"step": 3}, "time_to_target.target: Field required"),
        ("environment.json", "precision", "fp99", "precision: Input should be 'fp32', 'bf16' or 'fp16'"),
        ("environment.json", "matrix_flops", [], "matrix_flops: Input should be a valid number"),
    ],
)
def test_a_wrong_value_is_named(run: Path, name: str, key: str, value: object, complaint: str) -> None:
    path = run / name
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(UserError) as error:
        load_run(run)
    assert str(error.value).startswith(f"{path}: damaged ({complaint}")


def test_what_is_null_was_not_measured(run: Path) -> None:
    path = run / "results.json"
    path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()))))
    record = load_run(run)
    assert record.results == {}
    assert record.scores == []
    assert record.last_step == 60
    page = write_report(RunFolder(run)).read_text(encoding="utf-8")
    assert "no test score yet" in page


def test_predictions_need_a_precision_that_exists(run: Path) -> None:
    path = run / "environment.json"
    path.write_text(path.read_text().replace('"fp32"', '"fp99"'))
    with pytest.raises(UserError, match=r"environment\.json: damaged \(precision: .*restore it from a copy of the run"):
        read_environment(RunFolder(run))


def test_a_run_of_a_newer_version_is_refused(run: Path) -> None:
    path = run / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(UserError, match="written by a newer seqlab"):
        read_environment(RunFolder(run))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"heads": []}, "0.heads: List should have at least 1 item"),
        ({"heads": [[[0.5]]]}, "predicted by source tokens"),
        ({"source": None}, "0.source: Input should be a valid array"),
    ],
)
def test_attention_without_its_weights(run: Path, change: dict[str, object], complaint: str) -> None:
    path = run / "attention.json"
    first, *others = json.loads(path.read_text())
    path.write_text(json.dumps([first | change, *others]))
    with pytest.raises(UserError) as error:
        load_run(run)
    assert str(path) in str(error.value)
    assert complaint in str(error.value)


@pytest.mark.parametrize(
    ("pixels", "complaint"),
    [
        ([], "should have at least 1 item"),
        ([[0, 255], [0]], "rows of pixels differ in length"),
        ([[0, 256]], "should be less than or equal to 255"),
    ],
)
def test_pixels_that_are_no_picture(pixels: list[list[int]], complaint: str) -> None:
    with pytest.raises(UserError, match=f"pictures.json: damaged .*{complaint}"):
        checked(Pixels, pixels, "pictures.json")


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        ({"kind": "sample", "step": 3}, "source: Field required"),
        ({"kind": "note", "step": 3}, "text: Field required"),
        ({"kind": "evaluation", "step": 3}, "split: Field required"),
        ({"kind": "update", "step": "x"}, "not an event of a run"),
    ],
)
def test_an_event_that_lacks_something(run: Path, event: dict[str, object], complaint: str) -> None:
    path = run / "events.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, json.dumps(event), lines[-1]]) + "\n")
    with pytest.raises(UserError) as error:
        load_run(run)
    assert f"{path}, line {len(lines) + 1}: " in str(error.value)
    assert complaint in str(error.value)


def test_a_section_of_the_config_that_is_no_table(run: Path) -> None:
    path = run / "config.toml"
    path.write_text("about = 3\n" + path.read_text().replace("[about]", "[train.extra]", 1))
    with pytest.raises(UserError, match=r"config\.toml, about: damaged"):
        load_run(run)
