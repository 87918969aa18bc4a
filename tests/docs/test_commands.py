"""Every command that README, tour and the page on data show does what the page says, shrunk to a moment.

A command that the tables below do not know fails: it is to be mapped, or named in `NOT_RUN` with the reason.
"""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from command_line import Command, Outcome
from page_blocks import REPOSITORY, commands
from shrink import Corpora, narrowing, write_corpora

from seqlab.ablation import queue
from seqlab.config import recipes
from seqlab.data.readers.lines import zstd
from seqlab.experiment import registry
from seqlab.experiment.config import load
from seqlab.report.figures import Canvas

PAGES = ("README.md", "docs/tour.md", "docs/data.md")
DATA = REPOSITORY / "tests" / "data"

NOT_RUN = {
    "make demo": "is half a minute of training; Makefile",
    "make test": "is this suite",
    "pip install": "needs a network",
    "torchrun ": "tests/system/test_distributed.py starts several processes",
    "tensorboard ": "is a server of another project; tests/unit/test_trackers.py reads what it reads",
    "seqlab train translate data.dataset=Helsinki-NLP/opus_books": "downloads",
    "seqlab new ": "tests/system/test_new.py writes, trains and uses every skeleton",
    "seqlab train gru.toml": "tests/system/test_new.py trains it",
    "seqlab predict RUN --trust-code": "tests/system/test_new.py predicts with it",
}
"""Beginnings of commands, and why they are not run here."""

WORDS = {"RECIPE": "math-place-value", "VERB": "train", "$run": "RUN"}
"""What a reader puts in the place of a word."""


def typed_by_a_reader(command: str) -> str:
    for word, meant in WORDS.items():
        command = command.replace(word, meant)
    return command


COMMANDS = {
    typed_by_a_reader(command): page
    for page in reversed(PAGES)
    for command in commands((REPOSITORY / page).read_text(encoding="utf-8"))
}
"""Each once, with a page that shows it."""

RUN_FOLDERS = ("RUN", "runs/a", "runs/b")
"""Names that pages give to a finished run."""

INTERRUPTED = ("runs/math-sort-20260101-120000",)
"""Names that pages give to a run that was interrupted."""

STORED = {
    "--to": "translation",
    "other.tsv": "translation",
    "other.jsonl": "translation",
    "--context": "answers",
    "asked.tsv": "answers",
}
"""The family of the stored run that a command is meant for, by a word in it; mathematics where there is none."""

ONE_SEED = ("--seeds", "1")

LIMITS = {
    "train": ("train.max_steps=2",),
    "ablate": ("--steps", "2", *ONE_SEED),
    "find-lr": ("--steps", "12"),
}
"""What follows a command, so that it ends soon."""

SHRUNK = frozenset({"train", "data", "ablate", "find-lr", "check"})
"""Verbs that build data and model of a recipe."""

DRAWS = frozenset({"report", "compare", "data", "find-lr"})
"""Verbs whose figures are drawn; for the others that would take longer than all else."""


class Workplace(NamedTuple):
    """An empty folder in which commands run, and what stands in for data and pretrained models."""

    folder: Path
    corpora: Corpora
    checkpoint: Callable[[], Path]


def word_list(command: str) -> tuple[list[str], Path | None]:
    """The words after `seqlab` and the file of `<`; where output goes with `>` is dropped."""
    words, stdin = shlex.split(command)[1:], None
    if ">" in words:
        del words[(at := words.index(">")) : at + 2]
    if "<" in words:
        stdin = Path(words[(at := words.index("<")) + 1])
        del words[at : at + 2]
    return words, stdin


def shrunk(words: list[str], place: Workplace) -> list[str]:
    """The command with settings that make it small before its own, which therefore hold, and limits behind them."""
    verb, *rest = words
    if verb in SHRUNK and rest and not rest[0].startswith("-"):
        name, *rest = rest
        experiment = load(name, [word for word in rest if "=" in word and not is_value(word, rest)])
        checkpoint = place.checkpoint() if hasattr(experiment.model, "checkpoint") else None
        short = ["decode.max_length=8"] if "decode" in registry.find("task", experiment.task.kind).reads else []
        rest = [name, *narrowing(experiment, place.corpora, checkpoint), *short, *rest]
    return [verb, *rest, *(() if "--resume" in rest or "--help" in rest else LIMITS.get(verb, ()))]


def is_value(word: str, words: list[str]) -> bool:
    """Is it what an option such as --until takes?"""
    at = words.index(word)
    return at > 0 and words[at - 1].startswith("--")


def run_command(command: str, seqlab: Command, place: Workplace) -> tuple[list[str], Outcome]:
    """Runs it in the current folder; the words that it had on the page, and how it ended."""
    assert command.startswith("seqlab "), f"{command}: neither a command of seqlab nor named in NOT_RUN"
    words, stdin = word_list(command)
    family = next((family for word, family in STORED.items() if word in words), "mathematics")
    if family == "answers":
        pytest.importorskip("transformers", reason="pretrained models need transformers")
    for name in set(words) & {*RUN_FOLDERS, *INTERRUPTED}:
        shutil.copytree(DATA / "runs" / family, name, dirs_exist_ok=True)
        if name in INTERRUPTED:
            (Path(name) / "results.json").unlink()
            (Path(name) / "model.safetensors").unlink()
    done = seqlab(*shrunk(words, place), stdin=stdin.read_bytes() if stdin else b"")
    return words, done


def last_line(done: Outcome) -> Path:
    return Path(done.out.splitlines()[-1])


def option(words: list[str], name: str) -> Path | None:
    return Path(words[words.index(name) + 1]) if name in words else None


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def prove(words: list[str], stdin: Path | None, done: Outcome) -> None:
    """Each verb left behind what it is for."""
    verb, out = words[0], option(words, "--out")
    if "--help" in words:
        assert f"seqlab {verb} [OPTIONS]" in done.out
        return
    match verb:
        case "recipes":
            assert all(name in done.out for name in recipes.names())
        case "show":
            assert "\n[model]\n" in done.out
            for key, _, value in (word.rpartition(".")[2].partition("=") for word in words[2:]):
                assert f"\n* {key} = {value} " in done.out
        case "train":
            assert json.loads((last_line(done) / "results.json").read_text(encoding="utf-8"))["scores"]
            assert (last_line(done) / "report.html").is_file()
        case "predict":
            asked = option(words, "--file") or stdin
            given = lines(out) if out else done.out.splitlines()
            assert len(given) == (len(lines(asked)) if asked else 1)
        case "evaluate":
            assert json.loads(done.out)["scores"] if "--json" in words else "examples  " in done.out
        case "report" | "compare" | "ablate":
            assert last_line(done).suffix == ".html"
            assert last_line(done).is_file()
        case "data":
            assert "examples  characters" in done.out
            assert out is None or out.is_file()
        case "find-lr":
            assert done.out.startswith("optimizer.lr=")
            assert list(Path().glob("lr-*.html"))
        case "check":
            assert done.out
            assert all(line.startswith("ok ") for line in done.out.splitlines())
        case _:
            pytest.fail(f"{verb}: nothing says what this verb leaves behind")


def write_files(corpora: Corpora) -> None:
    """The files that the pages suppose the reader has, into the current folder."""
    shutil.copytree(DATA / "corpora", ".", dirs_exist_ok=True)  # the stored runs name them
    table = Path("pairs.tsv").read_text(encoding="utf-8")
    pairs = [line.split("\t")[:2] for line in table.splitlines()[1:]]
    sentences = [english for english, _ in pairs[:5]]
    questions = ["What is the tens digit of 110?", "", "What is the units digit of 777?"]
    written = {
        "my.tsv": ["en\tfr", *("\t".join(pair) for pair in pairs)],
        "other.tsv": ["en\tfr", *("\t".join(pair) for pair in pairs[:9])],
        "other.jsonl": [json.dumps({"en": english, "fr": french}) for english, french in pairs[:9]],
        "pairs.csv": ["English,French", *(",".join(pair) for pair in pairs)],
        "english.txt": sentences,
        "questions.txt": questions,
        "article.txt": ["Mia read the book in Oslo.", "Tom lost the letter in Paris."],
        "asked.tsv": ["who read it ?\tmia read the book in oslo .", "where ?\ttom lost the letter in paris ."],
        "mine.toml": ['extends = "math-sort"'],
    }
    for name, rows in written.items():
        Path(name).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    for name in ("mine-train.json", "mine-dev.json"):
        shutil.copy(corpora.questions, name)
    Path("huge.tsv.zst").write_bytes(zstd.compress(Path("my.tsv").read_bytes()))


def mine(command: str, corpora: Corpora) -> list[str]:
    """`mine.tsv` is labelled sentences where a column says so, else questions and answers."""
    if "data.label" in command:
        return ["sentence\tclass", *lines(corpora.labels)]
    return ["What is the tens digit of 110?\t1", "What is the units digit of 777?\t7"]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    return write_corpora(tmp_path_factory.mktemp("corpora"))


@pytest.fixture
def place(
    corpora: Corpora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Workplace:
    """The folder is the current one; nothing outside of it is read or written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_files(corpora)
    return Workplace(tmp_path, corpora, lambda: request.getfixturevalue("tiny_encoder"))


@pytest.fixture
def one_training(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ablation trains its first configuration in this process, and takes the others, all checked, to be like it."""
    finished: list[str] = []

    def run(trainings: object, words: list[str], log: Path) -> int:
        log.parent.mkdir(exist_ok=True)
        folder = words[words.index("--out") + 1]
        if finished:
            shutil.copytree(finished[0], folder)
            return 0
        done = command(*words[words.index("train") :])
        log.write_text(done.err, encoding="utf-8")
        finished.append(folder)
        return done.code

    monkeypatch.setattr(queue._Trainings, "run", run)


@pytest.mark.usefixtures("one_training")
@pytest.mark.parametrize("typed", COMMANDS, ids=[f"{page}: {command}" for command, page in COMMANDS.items()])
def test_the_command_does_what_the_page_says(
    typed: str, command: Command, place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = next((reason for start, reason in NOT_RUN.items() if typed.startswith(start)), None)
    if reason is not None:
        pytest.skip(reason)
    Path("mine.tsv").write_text("".join(f"{row}\n" for row in mine(typed, place.corpora)), encoding="utf-8")
    if typed.split()[1] not in DRAWS:
        monkeypatch.setattr(Canvas, "svg", lambda canvas, label: "")
    words, done = run_command(typed, command, place)
    assert done.code == 0, done.err
    prove(words, word_list(typed)[1], done)
