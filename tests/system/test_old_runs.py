"""Finished runs that earlier versions left behind still evaluate, predict, resume and report what they did then.

`tests/data/make_runs.py` made them. Outputs have margins: none changes, nor does a score that counts them, when every
weight is disturbed by 1e-4 of itself, a hundred times what rounding does.
"""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Command, checkpoints, losses
from safetensors.torch import load_file
from torch import Tensor

from seqlab.ablation.page import write_ablation
from seqlab.ablation.plan import AblationFolder

DATA = Path(__file__).parents[1] / "data"
RUNS = sorted(path.name for path in (DATA / "runs").iterdir())
ABLATIONS = sorted(path.name for path in (DATA / "ablations").iterdir())

SCORE = 1e-3
"""Relative. Losses of another instruction set differ by 1e-5 at most, and one wrong token is more than this."""

LOSS = 1e-4
"""Relative, of a resumed update. With another instruction set it is 1e-5 at most; without the optimizer's state, with
other dropout or in another place of the data it was 1e-3 to 0.8."""

ASTRAY = 0.2
"""Share of the way from the checkpoint to the end. Gradients that would be zero but for rounding, as those of the
biases of keys, send AdamW anywhere: 0.024 with another instruction set. Without the optimizer's state it is 0.8 to 2.4.
"""


@pytest.fixture(autouse=True)
def _data(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs name their files by paths that start here."""
    monkeypatch.setenv("SEQLAB_DATA", str(DATA / "corpora"))


@pytest.fixture(params=RUNS)
def stored(request: pytest.FixtureRequest) -> Path:
    """A run folder as it was made."""
    folder = DATA / "runs" / request.param
    if (folder / "config.json").is_file():
        pytest.importorskip("transformers", reason="pretrained models need transformers")
    return folder


@pytest.fixture
def run(stored: Path, tmp_path: Path) -> Path:
    """A copy of it, far from the files that it was made with."""
    return Path(shutil.copytree(stored, tmp_path / stored.name))


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Between all weights of two models; the means of tokens had a head and a stack of other names in version 0.1."""
    if "mean_classifier.weight" in {*one, *other}:
        one, other = (
            {
                name.removeprefix("bert.").removeprefix("mean_"): tensor
                for name, tensor in weights.items()
                if "pooler" not in name
            }
            for weights in (one, other)
        )
    assert one.keys() == other.keys()
    return sum((one[name] - other[name]).double().square().sum().item() for name in one) ** 0.5


def shown(value: float) -> Iterator[str]:
    """The ways to write a score."""
    yield from (f"{value:.1f}", f"{value:.3f}", f"{value:.4g}", f"{100 * value:.0f} %")
    yield from (f"{100 * value:.1f} %", f"{100 * value:.2f} %")


def test_evaluate_gives_the_scores_of_then(command: Command, run: Path) -> None:
    captured = command("evaluate", run, "--json", "--device", "cpu")
    assert captured.code == 0, captured.err
    now, then = json.loads(captured.out), results(run)
    assert now["examples"] == then["examples"]
    assert now["scores"].keys() == then["scores"].keys()
    for name, score in then["scores"].items():
        assert now["scores"][name] == pytest.approx(score, rel=SCORE, abs=1e-6), name
    assert now.get("confusion") == then.get("confusion")


def test_predict_gives_the_outputs_of_then(command: Command, run: Path) -> None:
    asked = DATA / "lines" / f"{run.name}.in"
    captured = command("predict", run, "--file", asked, "--device", "cpu")
    assert captured.code == 0, captured.err
    assert captured.out.splitlines() == asked.with_suffix(".out").read_text(encoding="utf-8").splitlines()
    assert len(captured.out.splitlines()) == len(asked.read_text(encoding="utf-8").splitlines())


def test_resume_ends_where_it_ended_then(command: Command, stored: Path, run: Path) -> None:
    (run / "results.json").unlink()
    (run / "model.safetensors").unlink()
    (last,) = checkpoints(run)  # but one: that of the end is not kept
    captured = command("train", "--resume", run, "--device", "cpu")
    assert (captured.code, captured.out) == (0, f"{run}\n"), captured.err

    assert results(run)["step"] == results(stored)["step"] == losses(stored)[-1][0]
    assert [step for step, _ in losses(run)] == [step for step, _ in losses(stored)]
    assert [loss for _, loss in losses(run)] == pytest.approx([loss for _, loss in losses(stored)], rel=LOSS)
    end, start = (load_file(path / "model.safetensors") for path in (stored, stored / "checkpoints" / last))
    assert distance(load_file(run / "model.safetensors"), end) <= ASTRAY * distance(start, end)


def test_the_report_names_the_scores_of_then(command: Command, run: Path) -> None:
    captured = command("report", run)
    assert captured.code == 0, captured.err
    page = Path(captured.out.removesuffix("\n")).read_text(encoding="utf-8")
    for name, score in results(run)["scores"].items():
        assert any(f">{text}{end}" in page for text in shown(score["value"]) for end in ("<", " (")), name


@pytest.mark.parametrize("name", ABLATIONS)
def test_the_page_of_an_ablation_says_the_same(name: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DATA / "ablations" / name, tmp_path / name))
    write_ablation(AblationFolder(folder))
    then, now = (table(path / "ablation.csv") for path in (DATA / "ablations" / name, folder))
    assert now == then
    page = (folder / "ablation.html").read_text(encoding="utf-8")
    for row in now:
        assert row["state"] == "finished"
        score = next(iter(results(folder / row["folder"])["scores"].values()))
        assert any(text in page for text in shown(score["value"]))


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("answers", "AutoModelForQuestionAnswering"),
        ("paraphrase", "AutoModelForSeq2SeqLM"),
        ("t5-translation", "AutoModelForSeq2SeqLM"),
        ("pretrain-bert", "AutoModelForPreTraining"),
        ("pretrain-bart", "AutoModelForSeq2SeqLM"),
        ("pretrain-t5", "AutoModelForSeq2SeqLM"),
    ],
)
def test_transformers_finds_every_weight_of_a_pretrained_run(name: str, head: str) -> None:
    transformers = pytest.importorskip("transformers", reason="pretrained models need transformers")
    _, report = getattr(transformers, head).from_pretrained(DATA / "runs" / name, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
