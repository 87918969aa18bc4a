"""Metrics as a recipe names them: settings, languages, former names, one of the user's own with a model folder."""

import json
import sys
from pathlib import Path

import pytest

from seqlab.errors import UserError
from seqlab.experiment import registry
from seqlab.experiment.config import load
from seqlab.metrics.bleu import Bleu, BleuConfig, for_language
from seqlab.metrics.metric import Measure, Outputs, quick_scores, scores
from seqlab.metrics.registry import BUILT_IN, MetricsConfig, build_metrics, measure
from seqlab.metrics.warnings import warnings

OUTPUTS = Outputs(["the cat sat", "a dog"], [["the cat sat down", "The dog"], ["the cat sat", "dogs"]], ["x", "a dog"])

LEARNED = '''
"""Similarity by a model in a folder, as COMET is one."""
import json
from pathlib import Path
import numpy as np
from seqlab.metrics.metric import Measure, Outputs

class Learned:
    measure = Measure("learned", "Learned", "fraction")

    def __init__(self, folder: str) -> None:
        self.weights = json.loads((Path(folder) / "weights.json").read_text())

    def statistics(self, outputs: Outputs) -> np.ndarray:
        vector = lambda text: np.array([text.count(letter) * weight for letter, weight in self.weights.items()])
        rows = zip(outputs.predictions, outputs.references[0], outputs.sources, strict=True)
        return np.array([[float(vector(p) @ vector(r) > vector(s).sum())] for p, r, s in rows])

    def score(self, sums: np.ndarray, n: int) -> float:
        return float(sums[0]) / n

    def signature(self) -> str:
        return f"letters:{len(self.weights)}"
'''


def test_every_metric_has_a_measure_of_its_name(tiny_encoder: Path) -> None:
    settings = {"names": tuple(BUILT_IN), "similarity": {"encoder": str(tiny_encoder)}}
    metrics = build_metrics(MetricsConfig.model_validate(settings))
    assert [metric.measure.name for metric in metrics] == list(BUILT_IN)
    assert all(measure(metric.measure.name) == metric.measure for metric in metrics)
    found = quick_scores(metrics, OUTPUTS)
    assert found["accuracy"] == found["exact_match"] == 0.5
    assert found["copied"] == 0.5
    assert found["bleu1"] == pytest.approx(0.8)  # the, cat, sat of three; dog of two


def test_of_several_references_the_nearest_counts() -> None:
    one, both = (Outputs(OUTPUTS.predictions, OUTPUTS.references[:n]) for n in (1, 2))
    metrics = build_metrics(MetricsConfig(names=("exact_match", "rouge_l", "bleu1")))
    assert quick_scores(metrics, one)["exact_match"] == 0
    assert quick_scores(metrics, both)["exact_match"] == 0.5
    assert quick_scores(metrics, both)["rouge_l"] > quick_scores(metrics, one)["rouge_l"]


def test_scores_of_parts_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = build_metrics(MetricsConfig(names=("bleu", "chrf", "ibleu", "rouge_l", "length_ratio")))
    outputs = Outputs(
        ["the cat sat", "a dog", "", "it rains and rains", "no"],
        [["the cat sat down", "The dog", "x", "it rains", "no"], ["the cat", "a dog", "y y", "rain", "yes"]],
        ["x", "a dog", "z", "it rains", "no"],
    )
    whole = scores(metrics, outputs)
    monkeypatch.setattr("seqlab.metrics.metric.PART", 2)
    monkeypatch.setattr("seqlab.metrics.intervals.ROWS", 2)
    parts = scores(metrics, outputs)
    assert {name: score.value for name, score in parts.items()} == {name: score.value for name, score in whole.items()}
    for name, score in whole.items():
        assert parts[name] == pytest.approx(score)


def test_lower_case_is_a_setting() -> None:
    outputs = Outputs(["the dog runs far away"], [["The Dog runs far away"]])
    assert quick_scores([Bleu(BleuConfig(lowercase=True))], outputs)["bleu"] == pytest.approx(100)
    assert quick_scores([Bleu()], outputs)["bleu"] < 70


@pytest.mark.parametrize(
    ("language", "tokenize"), [("zh", "zh"), ("zh-CN", "zh"), ("Chinese", "zh"), ("thai", "char"), ("fr", None)]
)
def test_the_tokenizer_follows_the_target_language(language: str, tokenize: str | None) -> None:
    assert for_language(BleuConfig(), language).tokenize == tokenize
    assert for_language(BleuConfig(tokenize="intl"), language).tokenize == "intl"


def test_chinese_outputs_that_are_nearly_right_have_a_bleu() -> None:
    outputs = Outputs(["我们明天早上去海边散步"], [["我们明天早上去海边跑步"]])
    assert quick_scores([Bleu(for_language(BleuConfig(), "zh"))], outputs)["bleu"] > 70
    assert quick_scores([Bleu()], outputs)["bleu"] == 0


def test_a_list_at_the_top_of_a_recipe_names_the_metrics(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('extends = "translate-numbers"\nmetrics = ["chrf", "bleu"]\n')
    config = load(str(recipe), ["metrics.bleu.tokenize=zh"]).task
    assert config.metrics.names == ("chrf", "bleu")
    assert config.metrics.bleu.tokenize == "zh"
    assert config.main_score == "chrf"
    assert config.measured == ("loss", "chrf", "bleu", "token_accuracy", "bits_per_character")


def test_former_names_are_read_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    config = load("translate-numbers", ["task.metrics=translation", "task.tokenize=zh", "batch.tokens=512"])
    assert config.task.metrics.names[:2] == ("bleu", "chrf")
    assert config.task.metrics.bleu.tokenize == "zh"
    assert config.batch.max_tokens == 512
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "seqlab: batch.tokens=512 is called batch.max_tokens=512 now" in lines


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["bleuu"], 'no metric "bleuu"; did you mean "bleu"'),
        (["bleu", "bleu"], "none twice"),
        ([], "at least one metric"),
    ],
)
def test_names_that_are_none(names: list[str], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        load("translate-numbers", {"task.metrics.names": names})


class TestOneOfYourOwn:
    @pytest.fixture(autouse=True)
    def learned(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "learned.py").write_text(LEARNED)
        (tmp_path / "weights.json").write_text(json.dumps({"a": 1.0, "t": 2.0}))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.delitem(sys.modules, "learned", raising=False)

    def test_is_one_file_and_its_model_a_folder(self) -> None:
        settings = MetricsConfig(names=("learned:Learned", "bleu"), own={"learned:Learned": {"folder": "."}})
        metrics = build_metrics(settings)
        assert metrics[0].measure == Measure("learned", "Learned", "fraction")
        found = scores(metrics, OUTPUTS, resamples=10)
        assert list(found) == ["learned", "bleu"]
        assert found["learned"].value == 0.5
        assert (found["learned"].low, found["learned"].high) == (0, 1)
        assert metrics[0].signature() == "letters:2"

    def test_wrong_settings_and_names_are_the_users(self) -> None:
        for name, complaint in (
            ("learned:Learned", "missing .* 'folder'"),
            ("learned:Lerned", 'did you mean "Learned"'),
        ):
            with pytest.raises(UserError, match=complaint):
                build_metrics(MetricsConfig(names=(name,)))

    def test_a_foreign_run_does_not_import_it(self) -> None:
        tree = {"task": {"metrics": {"names": ["learned:Learned"]}}}
        with pytest.raises(UserError, match="runs the code of the module learned"):
            registry.check_trusted(tree, "config.toml")


def test_a_bleu_of_0_beside_right_outputs_is_a_warning() -> None:
    right, wrong = ["ja gut", "nein", "oh doch"], ["x", "y", "z"]
    found = [text for text in warnings(right, right, 0) if text.startswith("BLEU is 0.0")]
    assert found[0].startswith("BLEU is 0.0 although 3 of 3 outputs are exactly right")
    assert not [text for text in warnings(wrong, right, 0) if text.startswith("BLEU is")]
