"""The same from Python: a recipe's name and settings in, a run that answers out."""

from pathlib import Path

import pytest
from command_line import Command, Trained

import seqlab
from seqlab.data.corpora.question_files import read_questions


@pytest.fixture
def tiny_settings(small: tuple[str, ...], command: Command) -> dict[str, object]:
    """The small setting as a dict of dotted keys; `command` spares the measurement of the machine."""
    chosen: dict[str, object] = {"train.max_steps": 5, "train.evaluate_every": 3}
    return dict(setting.split("=", 1) for setting in small[1:]) | {"train.trackers": []} | chosen


def test_train_returns_a_run_that_predicts_and_evaluates(
    tiny_settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = seqlab.train("math-place-value", tiny_settings)
    assert run.folder.parent == Path("runs")
    assert run.folder.name.startswith("math-place-value-")
    assert (run.folder / "results.json").is_file()

    one = run.predict("What is the tens digit of 3917?")
    assert isinstance(one, str)
    assert run.predict(["What is the tens digit of 3917?", "", "What is the tens digit of 3917?"]) == [one, "", one]

    result = run.evaluate()
    assert len(result.examples) == 20
    accuracy = result.scores["accuracy"]
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.low <= accuracy.value <= accuracy.high
    assert result.loss > 0

    again = seqlab.Run(run.folder)
    assert again.predict("What is the tens digit of 3917?") == one
    assert again.evaluate().to_json() == result.to_json()
    assert capfd.readouterr() == ("", "")  # a library is silent


def test_settings_may_be_a_list_and_the_folder_may_be_given(
    small: tuple[str, ...], command: Command, tmp_path: Path
) -> None:
    run = seqlab.train(small[0], [*small[1:], "train.max_steps=1"], out=tmp_path / "run")
    assert run.folder == tmp_path / "run"
    assert run.experiment.train.max_steps == 1
    with pytest.raises(seqlab.UserError, match="already exists"):
        seqlab.train(small[0], [*small[1:], "train.max_steps=1"], out=tmp_path / "run")


def test_two_runs_in_one_second_have_two_folders(
    tiny_settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {**tiny_settings, "train.max_steps": 1}
    folders = {seqlab.train("math-place-value", settings).folder for _ in range(3)}
    assert len(folders) == 3
    assert {path.name for path in Path("runs").iterdir()} == {folder.name for folder in folders}


def test_evaluate_reads_a_file(trained: Trained, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("What is the tens digit of 3917?\n1\nWhat is the units digit of 3917?\n7\n")
    result = seqlab.Run(trained.folder).evaluate(file)
    assert list(result.examples) == read_questions(file)


def test_mistakes_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(seqlab.UserError, match="did you mean"):
        seqlab.train("math-plaice-value")
    with pytest.raises(seqlab.UserError, match=r"train\.max_stepz"):
        seqlab.train("math-place-value", {"train.max_stepz": 5})
    with pytest.raises(seqlab.UserError, match="not a run folder"):
        seqlab.Run(tmp_path)


def test_public_names() -> None:
    assert seqlab.__all__ == ["Run", "UserError", "__version__", "train"]
    assert all(hasattr(seqlab, name) for name in seqlab.__all__)

    assert callable(seqlab.train)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = seqlab.trian  # pyright: ignore[reportAttributeAccessIssue]
