"""What a user is captured who got something wrong: one line that names it, exit code 2, and nothing lost."""

import json
import re
from pathlib import Path

import pytest
from command_line import Command, Trained, losses
from safetensors.torch import load_file


@pytest.mark.parametrize(
    ("arguments", "captured"),
    [
        (["math-sotr"], ['no recipe "math-sotr"', 'did you mean "math-sort"?']),
        (["math-sort", "model.widht=64"], ["model.widht", 'did you mean "width"?']),
        (["math-sort", "modle.width=64"], ["modle", 'did you mean "model"?']),
        (["math-sort", "optimizer.kind=adamww"], ["optimizer.kind", '"adamww"', 'did you mean "adamw"?']),
        (["math-sort", "model.norm=lyer"], ["model.norm", '"lyer"', 'did you mean "layer"?']),
        (["math-sort", "train.max_steps=many"], ["train.max_steps", "'many'", "integer"]),
        (["math-sort", "train.max_steps=0"], ["train.max_steps", "greater than or equal to 1"]),
        (["math-sort", "model.width=30"], ["model", "30", "num_heads"]),
        (["math-sort", "train.seed"], ['"train.seed" is not a setting', "key=value"]),
        (["math-sort", "model.tying=all"], ["model.tying", "text.shared=true"]),
        (["math-sort", "train.keep_best=0"], ["train.final", "train.keep_best=1"]),
        (["math-sort", "--until", "acuracy>=0.9"], ["acuracy>=0.9", "loss, accuracy"]),
        (["math-sort", "--until", "accuracy"], ["train.until", "accuracy>=0.99"]),
        (["math-sort", "--max-minutes", "-3"], ["train.max_minutes", "greater than 0"]),
        ([], ["name a recipe", "seqlab recipes"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_setting_that_makes_no_sense(
    command: Command, arguments: list[str], captured: list[str], tmp_path: Path
) -> None:
    outcome = command("train", *arguments, "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (2, "")
    assert all(part in outcome.complaint for part in captured), outcome.complaint
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_is_no_toml(command: Command, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('[data]\nkind = "mathematics"\nmodule = comparison__sort\n', encoding="utf-8")
    outcome = command("train", recipe, "--out", tmp_path / "run")
    assert outcome.code == 2
    assert outcome.complaint.startswith(f"{recipe}: not valid TOML")
    assert "line 3" in outcome.complaint


def test_a_recipe_that_is_not_there(command: Command, tmp_path: Path) -> None:
    outcome = command("train", tmp_path / "mine.toml", "--out", tmp_path / "run")
    assert outcome.code == 2
    assert outcome.complaint == f"{tmp_path / 'mine.toml'}: no such file"


@pytest.mark.parametrize(
    ("name", "content", "captured"),
    [
        ("empty.txt", b"", ": the file is empty"),
        ("latin.txt", "What?\n1\nWo ist der K\u00e4se?\n2\n".encode("latin-1"), ":3: not UTF-8 text (byte 0xe4)"),
        ("unanswered.txt", b"What?\n1\nWhere?\n", ":3: the question has no answer"),
        ("blank.txt", b"What?\n\nWhere?\n2\n", ":2: the answer is blank"),
        ("columns.tsv", b"What?\t1\nWhere? 2\n", ":2: 0 tabs, not one"),
        ("cut.tsv.gz", b"\x1f\x8b\x08\x00", ": the archive is truncated"),
        ("plain.tsv.xz", b"What?\t1\n", ": not a valid .xz archive"),
    ],
)
def test_a_file_that_cannot_be_scored(
    command: Command, trained: Trained, tmp_path: Path, name: str, content: bytes, captured: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    outcome = command("evaluate", trained.folder, "--data", file)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.complaint.startswith(f"{file}{captured}")


def test_a_file_that_is_not_there(command: Command, trained: Trained, tmp_path: Path) -> None:
    missing = tmp_path / "missing.txt"
    for arguments in (("evaluate", trained.folder, "--data", missing), ("predict", trained.folder, "--file", missing)):
        outcome = command(*arguments)
        assert (outcome.code, outcome.out, outcome.complaint) == (2, "", f"{missing}: no such file")


def test_input_in_another_encoding(command: Command, trained: Trained) -> None:
    outcome = command("predict", trained.folder, stdin=b"What?\nWo ist der K\xe4se?\n")
    assert (outcome.code, outcome.complaint) == (2, "standard input, line 2: not UTF-8 text")


@pytest.mark.parametrize("verb", ["evaluate", "predict", "report", "train"])
def test_a_folder_that_is_no_run(command: Command, tmp_path: Path, verb: str) -> None:
    outcome = command(verb, *(["--resume"] if verb == "train" else []), tmp_path, stdin=b"What?\n")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.complaint.startswith(f"{tmp_path}: not a run folder")
    assert "config.toml" in outcome.complaint
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_nothing_can_be_written(command: Command, small: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    below = command("train", *small, "--out", tmp_path / "file" / "run")
    assert (below.code, below.out) == (2, "")
    assert below.complaint.startswith(f"{tmp_path / 'file' / 'run'}: cannot write the run folder (Not a directory)")
    itself = command("train", *small, "--out", tmp_path / "file", "--overwrite")
    assert (itself.code, itself.complaint) == (2, f"{tmp_path / 'file'}: is a file; choose another --out")
    assert (tmp_path / "file").read_text() == "mine"


def test_characters_that_the_model_never_saw(command: Command, trained: Trained, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("What is the units digit of \u0663\u0663?\nthree\n", encoding="utf-8")
    captured = command("evaluate", trained.folder, "--data", file)
    assert captured.code == 0
    source, target = (line for line in captured.err.splitlines() if "out-of-vocabulary" in line)
    assert re.search(r"source .* out-of-vocabulary.*\u0663\W+2\b", source)
    assert re.search(r"target .* out-of-vocabulary.*\be\W+2\b", target)
    scores = json.loads(command("evaluate", trained.folder, "--data", file, "--json").out)
    assert scores["unknown"]["source"] == {"\u0663": 2}
    assert scores["scores"]["accuracy"]["value"] == 0


@pytest.mark.parametrize("updates", ["4", "20"], ids=["found at the end", "found on the way"])
def test_a_loss_that_is_no_number(command: Command, small: tuple[str, ...], tmp_path: Path, updates: str) -> None:
    folder = tmp_path / "run"
    absurd = ("optimizer.lr=1e30", "schedule.kind=one-cycle", "train.clip.by=nothing", "train.log_every=6")
    outcome = command("train", *small, *absurd, f"train.max_steps={updates}", "--out", folder)
    assert (outcome.code, outcome.out) == (2, "")
    said = outcome.complaint
    step = 1 + max((step for step, _ in losses(folder)), default=0)  # what came before is on record
    assert f"is not finite at update {step}, learning rate " in said
    assert "e+29" in said or "e+30" in said
    assert all(key in said for key in ("optimizer.lr", "schedule.warmup", "train.clip.limit"))
    assert str(folder / "bad-batch.safetensors") in said
    batch = load_file(folder / "bad-batch.safetensors")
    assert batch["0.source"].shape == batch["0.source_mask"].shape
    assert len(batch["0.labels"]) == batch["0.target_mask"].sum()
    assert not (folder / "results.json").exists()
