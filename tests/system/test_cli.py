"""What a person or a script at the command line can rely on: verbs, streams, exit codes, files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Command, Start, Trained, losses, outcome_of

import seqlab
from seqlab import cli
from seqlab.config import recipes

VERBS = sorted(str(verb.name or getattr(verb.callback, "__name__", "")) for verb in cli.app.registered_commands)

WORDS = ["ab", "fedc", "", "cab", "bead", "ff", "ab"]


def test_the_verbs_are_all_there() -> None:
    verbs = "ablate check compare data evaluate find-lr new predict recipes report show train"
    assert verbs.split() == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_has_an_example(command: Command, verb: str) -> None:
    captured = command(verb, "--help")
    assert captured.code == 0
    assert re.search(rf"Example: seqlab {verb}\b", captured.out)
    assert not captured.err


def test_the_bare_command_shows_its_verbs(command: Command) -> None:
    captured = command()
    assert captured.code == 0
    assert all(f"  {verb} " in captured.out for verb in VERBS)


def test_version(command: Command) -> None:
    assert command("--version") == (0, f"{seqlab.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "captured"),
    [
        (["trian"], "trian"),
        (["train", "--sede", "3"], "--sede"),
        (["train", "math-sort", "--seed", "three"], "--seed"),
        (["train", "math-sort", "--device", "tpu"], "'cpu', 'cuda', 'mps'"),
        (["predict"], "RUN"),
        (["report", "a", "b"], "b"),
    ],
)
def test_a_wrong_command_line_is_one_line(command: Command, arguments: list[str], captured: str) -> None:
    outcome = command(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert captured in outcome.complaint
    assert "--help" in outcome.complaint


def test_debug_shows_where_it_went_wrong(command: Command, start: Start) -> None:
    assert "did you mean" in command("show", "math-srot").complaint
    outcome = outcome_of(start("show", "math-srot", "--debug"))
    assert "Traceback (most recent call last)" in outcome.err
    assert "UserError: no recipe" in outcome.err
    assert outcome.code == 1


def test_recipes_lists_every_recipe_unbroken(command: Command) -> None:
    captured = command("recipes")
    assert captured.code == 0
    assert [line.split()[0] for line in captured.out.splitlines()[1:] if line[0] != " "] == recipes.names()
    assert (
        "comparison__sort" in captured.out.replace("\n", "") or "comparison__so" in captured.out
    )  # long cells are folded


def test_show_prints_settings_with_their_docs_and_marks_what_the_recipe_sets(command: Command) -> None:
    captured = command("show", "math-place-value", "model.width=48", "text.reverse_target=true")
    assert captured.code == 0
    lines = captured.out.splitlines()
    assert any(re.match(r"\* width = 48 +size of the vector", line) for line in lines)
    assert any(re.match(r"\* reverse_target = true +reverse the ids", line) for line in lines)
    assert any(re.match(r"  label_smoothing = 0\.0 +probability mass", line) for line in lines)
    assert [line for line in lines if line.startswith("[")][:3] == ["[about]", "[task]", "[data]"]


def test_data_counts_the_questions_and_their_lengths(command: Command) -> None:
    sizes = ("data.epoch_size=90", "data.validation_size=12", "data.test_size=15")
    captured = command("data", "math-sort", *sizes)
    assert captured.code == 0

    from seqlab.data.corpora.mathematics import Mathematics
    from seqlab.experiment.config import load

    splits = Mathematics(load("math-sort", list(sizes)).data).splits()
    rows = {row[0]: row[1:] for row in map(str.split, captured.out.splitlines()) if row and row[0] in splits}
    assert list(rows) == ["train-easy", "train-medium", "train-hard", "validation", "test"]
    assert [rows[split][0] for split in rows] == ["30", "30", "30", "12", "15"]
    for split, examples in splits.items():
        sources, targets = zip(*examples, strict=True)
        lengths = [len(text) for text in sources], [len(text) for text in targets]
        distinct = len(set("".join((*sources, *targets))))
        expected = [f"{len(examples)}", f"{sum(map(sum, lengths)):,}", f"{distinct}"]
        for side in lengths:
            expected += [f"{sum(side) / len(side):.1f}", f"{max(side)}"]
        assert rows[split] == expected
    assert all(len(line) <= 80 for line in captured.out.splitlines())
    assert "█" in captured.out  # the histograms


def test_train_prints_its_folder_and_nothing_else_on_standard_output(trained: Trained) -> None:
    code, out, err = trained.outcome
    assert code == 0
    assert out == f"{trained.folder}\n"
    assert "step 8  validation: loss" in err
    assert re.search(r"accuracy +\d", err)
    assert str(trained.folder / "report.html") in err
    written = {path.relative_to(trained.folder).as_posix() for path in trained.folder.rglob("*") if path.is_file()}
    assert {
        "config.toml",
        "environment.json",
        "events.jsonl",
        "model.safetensors",
        "predictions/test.jsonl",
        "report.html",
        "results.json",
        "tokenizers/source.json",
        "tokenizers/target.json",
    } <= written
    assert not [name for name in written if "partial" in name]


def test_train_names_its_folder_after_recipe_and_time(
    command: Command, small: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    captured = command("train", *small, "train.max_steps=1")
    assert captured.code == 0
    assert re.fullmatch(r"runs/math-place-value-\d{8}-\d{6}\n", captured.out)
    assert (tmp_path / captured.out.strip() / "results.json").is_file()


def test_evaluate_repeats_the_score_of_the_run(command: Command, trained: Trained) -> None:
    captured = command("evaluate", trained.folder, "--json")
    assert (captured.code, captured.err) == (0, "")
    scores, results = json.loads(captured.out), json.loads((trained.folder / "results.json").read_text())
    assert scores == {key: results[key] for key in scores}
    assert scores["examples"] == 20
    assert 0 <= scores["scores"]["accuracy"]["low"] <= scores["scores"]["accuracy"]["value"]

    in_words = command("evaluate", trained.folder)
    assert in_words.code == 0
    assert re.search(r"examples +20\n", in_words.out)
    assert re.search(rf"loss +{scores['scores']['loss']['value']:.4f}\n", in_words.out)


@pytest.mark.parametrize(("suffix", "between"), [(".txt", "\n"), (".tsv", "\t")])
def test_evaluate_scores_a_file(command: Command, copier: Path, tmp_path: Path, suffix: str, between: str) -> None:
    file = tmp_path / f"mine{suffix}"
    pairs = [("fedc", "fedc"), ("ab", "ba"), ("cab", "cab"), ("bead", "be!d")]
    file.write_text("".join(f"{word}{between}{answer}\n" for word, answer in pairs), encoding="utf-8")
    captured = command("evaluate", copier, "--data", file, "--json")
    scores = json.loads(captured.out)
    assert scores["examples"] == 4
    assert scores["scores"]["accuracy"]["value"] == 0.5
    assert scores["unknown"] == {"target": {"!": 1}}


@pytest.mark.usefixtures("drawn_figures")
def test_report_writes_the_page_again(command: Command, trained: Trained) -> None:
    page = trained.folder / "report.html"
    page.unlink()
    assert command("report", trained.folder) == (0, f"{page}\n", "")
    assert page.stat().st_size > 10_000


@pytest.mark.usefixtures("drawn_figures")
def test_compare_puts_runs_side_by_side(
    command: Command, trained: Trained, small: tuple[str, ...], tmp_path: Path
) -> None:
    other = tmp_path / "slower"
    assert command("train", *small, "train.max_steps=8", "optimizer.lr=1e-4", "--out", other).code == 0
    page = tmp_path / "comparison.html"
    captured = command("compare", trained.folder, other, "--out", page)
    assert (captured.code, captured.err) == (0, "")
    assert captured.out.splitlines()[-1] == str(page)
    assert re.search(r"optimizer\.lr +0\.002 +(0\.0001|1e-04)", captured.out)
    assert re.search(r"updates +20 +8", captured.out)
    assert page.stat().st_size > 10_000


def test_compare_wants_two_runs(command: Command, trained: Trained) -> None:
    outcome = command("compare", trained.folder)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.complaint == "name at least two runs to compare"


@pytest.mark.usefixtures("drawn_figures")
def test_find_lr_prints_a_setting_to_use(command: Command, small: tuple[str, ...], tmp_path: Path) -> None:
    page = tmp_path / "lr.html"
    captured = command("find-lr", *small, "--steps", "15", "--lowest", "1e-4", "--out", page)
    assert captured.code == 0
    suggested = re.fullmatch(r"optimizer\.lr=(\S+)\n", captured.out)
    assert suggested is not None
    assert 1e-4 <= float(suggested[1]) <= 1
    assert page.stat().st_size > 1000


def test_check_keeps_its_promises(command: Command, small: tuple[str, ...]) -> None:
    captured = command("check", *small)
    lines = captured.out.splitlines()
    assert captured.code == 0
    assert len(lines) == 5
    assert all(line.startswith("ok  ") for line in lines)
    assert "resume is exact" in captured.out


def test_a_reader_who_goes_away_is_left_in_peace(copier: Path) -> None:
    # More than a pipe holds, so that the writer notices.
    words = b"fedc\n" * 40_000
    pipeline = f'"{sys.executable}" -m seqlab predict "{copier}" | head -1'
    captured = subprocess.run(["bash", "-c", pipeline], input=words, capture_output=True, timeout=300, check=False)
    assert captured.stdout == b"fedc\n"
    assert captured.stderr == b""


def test_until_stops_at_the_first_evaluation_that_reaches_it(
    command: Command, small: tuple[str, ...], tmp_path: Path
) -> None:
    captured = command("train", *small, "--until", "loss<=50", "--out", tmp_path / "run")
    assert captured.code == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["step"] == 8
    assert results["stopped_because"] == "reached loss<=50"
    assert results["time_to_target"]["step"] == 8


def test_max_minutes_fits_the_schedule_to_the_clock(command: Command, small: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    limits = ("train.max_steps=1000000", "train.evaluate_every=100000", "train.log_every=1")
    assert command("train", *small, *limits, "--max-minutes", "0.02", "--out", folder).code == 0
    results = json.loads((folder / "results.json").read_text())
    assert 1.2 <= results["train_s"] < 30
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    rates = [event["learning_rate"] for event in events if event["kind"] == "update"]
    assert results["step"] == len(rates)


def test_seed_decides_the_run(command: Command, small: tuple[str, ...], tmp_path: Path) -> None:
    def train(name: str, seed: str) -> list[tuple[int, float]]:
        assert command("train", *small, "train.max_steps=4", "--seed", seed, "--out", tmp_path / name).code == 0
        return losses(tmp_path / name)

    first = train("first", "7")
    assert len(first) == 4
    assert train("again", "7") == first
    assert train("other", "8") != first
