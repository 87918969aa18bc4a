"""A run that is broken off goes on as if nothing had happened, and never on top of something damaged."""

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_line import (
    PATIENCE_S,
    Command,
    Outcome,
    Start,
    Trained,
    checkpoints,
    differing,
    losses,
    outcome_of,
    signal_after,
)

from seqlab import api
from seqlab.engine import checkpoint
from seqlab.engine.checkpoint import load_weights
from seqlab.text.vocabularies import Vocabularies

RANDOM = (
    "model.dropout=0.2",
    "model.attention_dropout=0.1",
    "batch.accumulate=2",
    "train.average=0.9",
    "train.keep_last=5",
)
"""Everything that a resumed run could get wrong, added to length buckets: 20 updates of it are an epoch and a half."""

DIE_AT_UPDATE_11 = """
import os, signal
from seqlab import cli
from seqlab.runs import events

write = events.EventLog.write

def write_and_die(log, kind, step, **values):
    write(log, kind, step, **values)
    if (kind, step) == ("update", 11):
        os.kill(os.getpid(), signal.SIGKILL)

events.EventLog.write = write_and_die
cli.main()
"""


def contents(folder: Path) -> dict[str, str]:
    """A digest of every file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def without_times(scores: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in scores.items() if name not in ("train_s", "peak_memory_mb")}


def assert_same_run(folder: Path, straight: Path) -> None:
    """Weights, averaged weights and losses are equal bit for bit, and every update is on record once."""
    last = "checkpoints/step-00000020"
    for name in (f"{last}/model.safetensors", f"{last}/average.safetensors", "model.safetensors"):
        assert differing(straight / name, folder / name) == []
    assert [step for step, _ in losses(folder)] == list(range(1, 21))
    assert losses(folder) == losses(straight)
    results = [json.loads((run / "results.json").read_text()) for run in (folder, straight)]
    assert without_times(results[0]) == without_times(results[1])


@pytest.fixture(scope="module")
def straight(command: Command, small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing ever stopped."""
    folder = tmp_path_factory.mktemp("resume") / "straight"
    assert command("train", *small, *RANDOM, "--out", folder).code == 0
    return folder


@pytest.fixture(scope="module")
def stopped(small: tuple[str, ...], straight: Path) -> Path:
    """A run that was stopped after update 12."""
    folder = straight.with_name("stopped")
    with pytest.raises(api.Interrupted), signal_after(12):
        api.train(small[0], [*small[1:], *RANDOM], out=folder)
    return folder


@pytest.fixture
def broken(stopped: Path, tmp_path: Path) -> Path:
    """A copy of the stopped run, to be damaged."""
    return Path(shutil.copytree(stopped, tmp_path / "broken"))


def test_a_killed_run_goes_on_bit_for_bit(
    command: Command, start: Start, small: tuple[str, ...], straight: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    script = tmp_path / "die_at_update_11.py"
    script.write_text(DIE_AT_UPDATE_11)
    killed = start("train", *small, *RANDOM, "--out", folder, script=script)
    assert outcome_of(killed).code == -signal.SIGKILL
    assert checkpoints(folder) == ["step-00000008"]
    assert losses(folder)[-1][0] == 11  # three updates were lost, in the middle of the first epoch
    assert not (folder / "results.json").exists()

    captured = command("train", "--resume", folder)
    assert (captured.code, captured.out) == (0, f"{folder}\n")
    assert_same_run(folder, straight)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_goes_on_bit_for_bit(
    command: Command, small: tuple[str, ...], straight: Path, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "a run"
    with (
        pytest.raises(api.Interrupted, match=r"resume with: seqlab train --resume '.*/a run'"),
        signal_after(15, number),
    ):
        api.train(small[0], [*small[1:], *RANDOM], out=folder)
    assert checkpoints(folder)[-1] == "step-00000015"
    assert losses(folder)[-1][0] == 15
    assert command("train", "--resume", folder).code == 0
    assert_same_run(folder, straight)


def test_a_run_can_be_stopped_again_and_again(
    command: Command, small: tuple[str, ...], straight: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    settings = [*small[1:], *RANDOM]
    with pytest.raises(api.Interrupted), signal_after(3):
        api.train(small[0], settings, out=folder)
    with pytest.raises(api.Interrupted), signal_after(9):
        api.train(small[0], settings, resume=folder)
    assert command("train", *small, *RANDOM, "--resume", folder).code == 0
    assert_same_run(folder, straight)


@pytest.mark.parametrize("final", ["best", "last", "average"])
def test_final_weights_do_not_depend_on_interruptions(small: tuple[str, ...], tmp_path: Path, final: str) -> None:
    settings = [*small[1:], "train.evaluate_every=4", "train.keep_last=3", "train.keep_best=1", f"train.final={final}"]
    straight = api.train(small[0], settings, out=tmp_path / "straight").folder
    folder = tmp_path / "stopped"
    with pytest.raises(api.Interrupted), signal_after(14):
        api.train(small[0], settings, out=folder)
    assert checkpoints(folder)[-4:] == ["step-00000004", "step-00000008", "step-00000012", "step-00000014"]
    with pytest.raises(api.Interrupted), signal_after(19):
        api.train(small[0], settings, resume=folder)
    api.train(small[0], settings, resume=folder)
    assert differing(straight / "model.safetensors", folder / "model.safetensors") == []
    assert checkpoints(folder) == checkpoints(straight)


def test_a_run_killed_before_it_removed_a_checkpoint_has_the_same_mean(
    small: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [*small[1:], "train.evaluate_every=4", "train.keep_last=2", "train.keep_best=0", "train.final=average"]
    straight = api.train(small[0], settings, out=tmp_path / "straight").folder
    monkeypatch.setattr(checkpoint, "keep", lambda folder, steps: None)
    all_kept = api.train(small[0], settings, out=tmp_path / "all-kept").folder
    assert len(checkpoints(all_kept)) == 5
    assert differing(straight / "model.safetensors", all_kept / "model.safetensors") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_from_outside_saves_and_says_how_to_go_on(
    command: Command, start: Start, small: tuple[str, ...], tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "run"
    endless = ("train.max_steps=1000000", "train.evaluate_every=1000000", "train.log_every=1")
    process = start("train", *small, *endless, "--out", folder)
    wait_for_updates(process, folder, 5)
    process.send_signal(number)
    outcome = outcome_of(process)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.complaint == f"interrupted; resume with: seqlab train --resume {folder}"
    last = losses(folder)[-1][0]
    assert checkpoints(folder) == [f"step-{last:08d}"]

    captured = command("train", "--resume", folder, f"train.max_steps={last + 2}")
    assert (captured.code, captured.out) == (0, f"{folder}\n")
    assert [step for step, _ in losses(folder)] == list(range(1, last + 3))


def wait_for_updates(process: subprocess.Popen[str], folder: Path, updates: int) -> None:
    """Returns when the run has this many updates on record."""
    end = time.monotonic() + PATIENCE_S
    events = folder / "events.jsonl"
    while not events.exists() or events.read_bytes().count(b'"kind": "update"') < updates:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_another_config_is_refused_by_name(command: Command, broken: Path, small: tuple[str, ...]) -> None:
    before = contents(broken)
    outcome = command("train", "--resume", broken, "optimizer.lr=0.5", "--seed", "3", "train.max_steps=30")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.complaint.startswith(f"{broken}: was trained with different settings")
    assert "optimizer.lr: 0.002 became 0.5" in outcome.complaint
    assert "train.seed: 1 became 3" in outcome.complaint
    assert "max_steps" not in outcome.complaint  # that one may change

    outcome = command("train", "math-sort", "--resume", broken)
    assert outcome.code == 2
    assert "data.module: numbers__place_value became comparison__sort" in outcome.complaint
    assert contents(broken) == before


def test_a_finished_run_is_finished(command: Command, trained: Trained) -> None:
    before = contents(trained.folder)
    outcome = command("train", "--resume", trained.folder)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.complaint.startswith(f"{trained.folder}: is already finished; ")
    assert contents(trained.folder) == before


def test_an_older_run_is_only_replaced_when_asked(command: Command, small: tuple[str, ...], broken: Path) -> None:
    before = contents(broken)
    outcome = command("train", *small, "--out", broken)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.complaint.startswith(f"{broken}: already exists")
    assert all(option in outcome.complaint for option in ("--out", "--resume", "--overwrite"))

    # Even then not before the new one is known to work.
    assert command("train", *small, "--out", broken, "--overwrite", "train.precision=fp16").code == 2
    assert contents(broken) == before

    assert command("train", *small, "train.max_steps=2", "--out", broken, "--overwrite").code == 0
    assert checkpoints(broken) == ["step-00000002"]
    assert [step for step, _ in losses(broken)] == [1, 2]


@pytest.mark.parametrize("name", ["thesis.tex", "config.toml"])
def test_a_folder_that_is_no_run_is_never_replaced(
    command: Command, small: tuple[str, ...], tmp_path: Path, name: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text('title = "years of work"\n')
    outcome = command("train", *small, "--out", tmp_path / "mine", "--overwrite")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.complaint == f"{tmp_path / 'mine'}: is not empty and not a run folder; choose another --out"
    assert (tmp_path / "mine" / name).read_text() == 'title = "years of work"\n'


def test_a_run_killed_before_its_report_gets_it(command: Command, trained: Trained, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    page = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    weights = contents(folder)
    assert command("train", "--resume", folder, "optimizer.lr=0.5").code == 2
    outcome = command("train", "--resume", folder)
    assert (outcome.code, outcome.out) == (0, f"{folder}\n")
    assert len((folder / "report.html").read_bytes()) == len(page)
    (folder / "report.html").unlink()
    assert command("report", folder).out == f"{folder / 'report.html'}\n"
    (folder / "report.html").unlink()
    assert contents(folder) == weights


# Damaged runs


def refused(command: Command, folder: Path) -> Outcome:
    """Resuming fails with one line, and changes nothing."""
    before = contents(folder)
    outcome = command("train", "--resume", folder)
    assert (outcome.code, outcome.out) == (2, "")
    assert contents(folder) == before
    return outcome


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "name", "captured"),
    [
        (cut, "model.safetensors", "bytes instead of"),
        (cut, "state.pt", "bytes instead of"),
        (cut, "manifest.json", "its content was changed or damaged"),
        (Path.unlink, "average.safetensors", "missing"),
        (flip_a_bit, "model.safetensors", "its content was changed or damaged"),
        (flip_a_bit, "state.pt", "its content was changed or damaged"),
        (flip_a_bit, "random-0.pt", "its content was changed or damaged"),
    ],
)
def test_a_damaged_checkpoint_is_named(
    command: Command, broken: Path, damage: Callable[[Path], None], name: str, captured: str
) -> None:
    file = broken / "checkpoints" / "step-00000012" / name
    damage(file)
    complaint = refused(command, broken).complaint
    assert complaint.startswith(f"{file}: ")
    assert captured in complaint
    assert f"delete the folder {file.parent} and resume" in complaint


def test_the_advice_for_a_damaged_checkpoint_works(command: Command, broken: Path, straight: Path) -> None:
    cut(broken / "checkpoints" / "step-00000012" / "state.pt")
    shutil.rmtree(broken / "checkpoints" / "step-00000012")
    assert command("train", "--resume", broken).code == 0
    assert_same_run(broken, straight)


def test_a_run_without_any_checkpoint_cannot_go_on(command: Command, broken: Path) -> None:
    shutil.rmtree(broken / "checkpoints")
    assert refused(command, broken).complaint.startswith(f"{broken}: no checkpoint to resume from")


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


def pickled(bomb: Bomb, file: Path) -> None:
    file.write_bytes(pickle.dumps({"optimizer": bomb}))


def saved_by_torch(bomb: Bomb, file: Path) -> None:
    torch.save({"optimizer": bomb}, file)


@pytest.mark.parametrize("name", ["state.pt", "random-0.pt"])
@pytest.mark.parametrize("write", [pickled, saved_by_torch])
def test_code_in_a_checkpoint_is_never_run(
    command: Command, broken: Path, tmp_path: Path, write: Callable[[Bomb, Path], None], name: str
) -> None:
    crater = tmp_path / "crater"
    file = broken / "checkpoints" / "step-00000012" / name
    write(Bomb(crater), file)
    sealed_anew(file)  # whoever can write the checkpoint can write its manifest too
    complaint = refused(command, broken).complaint
    assert complaint.startswith(f"{file}: cannot be read safely")
    assert not crater.exists()

    with contextlib.suppress(RuntimeError):
        torch.load(file, weights_only=False)  # and the bomb was live
    assert crater.exists()


def sealed_anew(file: Path) -> None:
    manifest = json.loads((file.parent / "manifest.json").read_text())
    manifest["files"][file.name] = {
        "size": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    (file.parent / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "name", ["events.jsonl", "checkpoints", "tokenizers/source.json", "config.toml", "results.json"]
)
def test_links_out_of_a_run_are_not_followed(command: Command, broken: Path, tmp_path: Path, name: str) -> None:
    outside, link = tmp_path / "outside", broken / name
    if link.exists():
        link.rename(outside)
    else:
        outside.write_text("{}")
    link.symlink_to(outside)
    before = contents(outside.parent)
    for words in (("train", "--resume", broken), ("evaluate", broken), ("predict", broken, "What?")):
        outcome = command(*words)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.complaint == f"{link}: a link that leads out of the run folder: put the file itself in its place"
    assert contents(outside.parent) == before


def test_links_that_stay_in_a_run_or_lead_to_it_are_followed(
    command: Command, trained: Trained, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    (folder / "model.safetensors").symlink_to("weights.safetensors")
    (tmp_path / "link").symlink_to(folder)
    assert command("predict", tmp_path / "link", "What is the units digit of 37?").code == 0


def test_a_cut_log_is_reported(command: Command, broken: Path, trained: Trained, tmp_path: Path) -> None:
    """Nothing but curves depends on it: the run resumes, and says so."""
    log = broken / "events.jsonl"
    log.write_text("".join(f"{line}\n" for line in log.read_text().splitlines() if '"step": 5' not in line))
    missing = "1 of 12 updates are missing, from update 5 to 5"
    outcome = command("train", "--resume", broken)
    assert outcome.code == 0
    assert f"{log}: {missing}; the weights are not affected" in outcome.err

    folder = Path(shutil.copytree(trained.folder, tmp_path / "finished"))
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    seventh = next(number for number, line in enumerate(lines) if b'"update", "step": 7' in line)
    (folder / "events.jsonl").write_bytes(b"".join(lines[:seventh]) + lines[seventh][:20])
    outcome = command("report", folder)
    missing = "14 of 20 updates are missing, from update 7 to 20"
    assert (outcome.code, outcome.err) == (0, f"seqlab: {folder}: events.jsonl: {missing}\n")
    assert f"events.jsonl: {missing}: curves are incomplete." in (folder / "report.html").read_text()


@pytest.mark.parametrize("damage", [flip_a_bit, Path.unlink])
@pytest.mark.parametrize("name", ["tokenizers/target.json", "model.safetensors"])
def test_files_that_training_did_not_write_are_not_loaded(
    command: Command, trained: Trained, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    assert {"tokenizers/source.json", name} <= json.loads((folder / "checksums.json").read_text()).keys()
    damage(folder / name)
    fault = "its content was changed or damaged" if damage is flip_a_bit else "missing"
    for verb in ("evaluate", "predict"):
        outcome = command(verb, folder, stdin=b"What is the units digit of 37?\n")
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.complaint == (
            f"{folder / name}: {fault}: restore it from a copy of the run; if you changed it yourself, delete "
            f"{folder / 'checksums.json'}"
        )


def test_a_run_without_checksums_loads(command: Command, trained: Trained, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    (folder / "checksums.json").unlink()
    assert command("predict", folder, "What is the units digit of 37?").code == 0


def test_weights_and_vocabulary_of_different_runs(command: Command, trained: Trained, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    file = folder / "tokenizers" / "target.json"
    target = json.loads(file.read_text())
    file.write_text(json.dumps({**target, "characters": target["characters"] + "x"}))
    (folder / "checksums.json").unlink()
    assert Vocabularies.load(folder / "tokenizers").target.vocab_size == 4 + len(target["characters"]) + 1
    for verb in ("evaluate", "predict"):
        outcome = command(verb, folder, stdin=b"What is the units digit of 37?\n")
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.complaint.startswith(f"{folder / 'model.safetensors'}: ")
        assert "they were trained with another vocabulary" in outcome.complaint


@pytest.mark.parametrize("name", ["tokenizers/source.json", "model.safetensors", "environment.json", "config.toml"])
def test_a_damaged_run_is_named(command: Command, trained: Trained, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    cut(folder / name)
    outcome = command("predict", folder, "What is the units digit of 37?")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.complaint.startswith(f"{folder / name}: ")


def test_weights_are_those_that_were_trained(stopped: Path, straight: Path) -> None:
    """The tests above compare something: twelve updates and twenty differ."""
    early = load_weights(stopped / "checkpoints" / "step-00000012" / "model.safetensors")
    late = load_weights(straight / "checkpoints" / "step-00000020" / "model.safetensors")
    assert all(not torch.equal(early[name], late[name]) for name in early)
