"""Predicting: one line out for each line in, whatever its length, whatever the size of the file, whatever stops it."""

import io
import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Command, Outcome, Start, Trained, outcome_of
from safetensors.torch import save_file

from seqlab import Run, UserError
from seqlab.display import LineCount
from seqlab.engine.checkpoint import load_weights
from seqlab.inference.batch_file import write_outputs
from seqlab.tasks.task import LineResult, Prediction
from seqlab.text.sentences import sentences

WORDS = ["ab", "fedc", "", "cab", "bead", "ff", "ab"]

SLOW_SCRIPT = """
import time
from seqlab import cli
from seqlab.inference import batch_file, run

answer = run.Run.predict_lines

def answer_slowly(*arguments):
    time.sleep(0.3)
    return answer(*arguments)

run.CHUNK = batch_file.CHUNK = 20
run.Run.predict_lines = answer_slowly
cli.main()
"""


def drawn_lines(number: int, seed: int = 0) -> list[str]:
    """Sentences of a few made-up words."""
    rng = random.Random(seed)

    def sentence() -> str:
        words = ["".join(rng.choices("abcde", k=rng.randint(2, 4))) for _ in range(rng.randint(1, 5))]
        return " ".join(words).capitalize() + rng.choice(".!?")

    return [sentence() for _ in range(number)]


@pytest.fixture(scope="session")
def translator(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has barely learnt to translate en into fr, character by character; its answers are nonsense."""
    folder = tmp_path_factory.mktemp("translator")
    pairs = zip(drawn_lines(400), drawn_lines(400, seed=1), strict=True)
    (folder / "pairs.tsv").write_text("en\tfr\n" + "".join(f"{source}\t{target}\n" for source, target in pairs))
    settings = (
        f"data.train={folder / 'pairs.tsv'}",
        "data.source=en",
        "data.target=fr",
        "data.cleaning.max_ratio=null",
        "sizes=given",
        "text.unit=character",
        "model.width=16",
        "model.feedforward=32",
        "model.num_heads=2",
        "model.encoder_layers=1",
        "model.decoder_layers=1",
        "model.max_length=200",
        "decode.beam_width=2",
        "decode.max_length=12",
        "decode.max_source=40",
        "optimizer.lr=5e-3",
        "train.max_minutes=null",
        "train.max_steps=60",
        "train.evaluate_every=60",
        "train.precision=fp32",
        "train.trackers=[]",
    )
    assert command("train", "translate", *settings, "--out", folder / "run").code == 0
    return folder / "run"


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks as small as those of `SLOW_SCRIPT`."""
    monkeypatch.setattr("seqlab.inference.run.CHUNK", 20)
    monkeypatch.setattr("seqlab.inference.batch_file.CHUNK", 20)


def input_file(folder: Path, lines: list[str]) -> Path:
    path = folder / "input.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def shift_weights(folder: Path) -> None:
    """Makes another model of the one in a run folder."""
    path = folder / "model.safetensors"
    (folder / "checksums.json").unlink()
    save_file({name: tensor + 1e-3 for name, tensor in load_weights(path).items()}, path)


class TestLines:
    def test_argument_file_and_standard_input_are_answered_alike(
        self, command: Command, copier: Path, tmp_path: Path
    ) -> None:
        file = input_file(tmp_path, WORDS)
        answers = "".join(f"{word}\n" for word in WORDS)  # in order, and an empty line for an empty line
        assert command("predict", copier, "--file", file) == (0, answers, "")
        assert command("predict", copier, stdin=file.read_bytes()) == (0, answers, "")
        for word in WORDS:
            assert command("predict", copier, word) == (0, f"{word}\n", "")

    def test_line_ends_of_windows_and_a_last_line_without_one(self, command: Command, copier: Path) -> None:
        assert command("predict", copier, stdin=b"fedc\r\nab") == (0, "fedc\nab\n", "")
        assert command("predict", copier, stdin=b"\n") == (0, "\n", "")
        assert command("predict", copier, stdin=b"") == (0, "", "")

    def test_blanks_are_answered_by_an_empty_line(self, command: Command, copier: Path) -> None:
        assert command("predict", copier, stdin=b"ab\n \t \nff\n") == (0, "ab\n\nff\n", "")

    def test_two_inputs_at_once_are_refused(self, command: Command, trained: Trained, tmp_path: Path) -> None:
        outcome = command("predict", trained.folder, "a question", "--file", tmp_path / "questions.txt")
        assert outcome.code == 2
        assert outcome.complaint == "give a text or --file, not both"

    def test_a_pipe_is_read_once(self, command: Command, copier: Path, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("ab\nff\n",))
        writer.start()
        assert command("predict", copier, "--file", tmp_path / "pipe") == (0, "ab\nff\n", "")
        writer.join()

    def test_whatever_the_model_writes_is_one_line(
        self, command: Command, copier: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        texts = ["a\nb\r\nc\u2028d", "e\tf"]

        def answer(*_: object) -> list[LineResult]:
            return [
                LineResult([Prediction(text, 0.0, False) for text in texts]),
                LineResult([Prediction("g\th", 0.0, False)]),
            ]

        monkeypatch.setattr(Run, "predict_lines", answer)
        assert command("predict", copier, stdin=b"1\n2\n").out == "a b c d\te f\ng\th\n"

    def test_answers_do_not_depend_on_the_chunk(self, translator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lines = [*drawn_lines(25, seed=2), "", "Ab? " * 15, "bc " * 40]
        together = Run(translator)
        expected = together.predict_lines(lines)
        monkeypatch.setattr("seqlab.inference.run.CHUNK", 3)
        assert together.predict(lines) == [answer.predictions[0].text for answer in expected]
        for line, answer in zip(lines, expected, strict=True):
            [alone] = together.predict_lines([line])
            assert alone.predictions[0].text == answer.predictions[0].text
            assert alone.predictions[0].score == pytest.approx(answer.predictions[0].score, abs=1e-3)

    def test_progress_comes_after_every_batch(self, translator: Path) -> None:
        captured: list[float] = []
        lines = ["", *drawn_lines(20, seed=2), "Ab? " * 15]
        small_batches = Run(translator)
        small_batches.task.config = small_batches.task.config.model_copy(update={"evaluation_tokens": 60})
        small_batches.predict_lines(lines, 101, captured.append)
        assert len(captured) > 3
        assert captured == sorted(captured)
        assert 100 < captured[0] < captured[-1] == 122

    def test_lines_are_read_as_they_are_needed(self, copier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("seqlab.inference.run.CHUNK", 3)
        ahead: list[int] = []
        out = io.StringIO()

        def lines() -> Iterator[str]:
            for number in range(10):
                ahead.append(number - out.getvalue().count("\n"))
                yield "ab"

        with LineCount(None) as shown:
            write_outputs(Run(copier), lines(), out, shown)
        assert out.getvalue() == "ab\n" * 10
        assert max(ahead) == 2


class TestLanguages:
    def test_the_right_one(self, command: Command, translator: Path) -> None:
        assert Run(translator).languages == ("en", "fr")
        assert command("predict", translator, "Abc.", "--to", "fr") == command("predict", translator, "Abc.")

    def test_a_wrong_one(self, command: Command, translator: Path) -> None:
        outcome = command("predict", translator, "Abc.", "--to", "de")
        assert (outcome.code, outcome.complaint) == (2, "this run translates en into fr, not into de")

    def test_none(self, command: Command, copier: Path) -> None:
        outcome = command("predict", copier, "ab", "--to", "fr")
        assert (outcome.code, outcome.complaint) == (2, "this run does not translate: leave out --to fr")


class TestSettings:
    def test_the_n_best_stand_on_one_line(self, command: Command, translator: Path) -> None:
        captured = command("predict", translator, "Abc de.", "decode.beam_width=4", "decode.n_best=3")
        [found] = Run(translator, settings={"decode.beam_width": 4, "decode.n_best": 3}).predict_lines(["Abc de."])
        assert len(found.predictions) == 3
        assert captured.out == "\t".join(prediction.text for prediction in found.predictions) + "\n"

    def test_they_may_stand_where_a_text_might(self, command: Command, translator: Path) -> None:
        captured = command("predict", translator, "decode.n_best=2", "decode.max_length=9", stdin=b"Ab.\nCd.\n")
        assert [line.count("\t") for line in captured.out.splitlines()] == [1, 1]
        assert max(map(len, captured.out.replace("\n", "\t").split("\t"))) <= 9

    def test_a_text_is_not_a_setting(self, command: Command, copier: Path) -> None:
        assert command("predict", copier, "a=b").code == 0
        assert command("predict", copier, "Solve a.b=2").code == 0

    def test_another_method_forgets_what_only_the_old_one_read(self, translator: Path) -> None:
        decode = Run(translator, settings=["decode.method=greedy"]).experiment.decode
        assert (decode.method, decode.max_length) == ("greedy", 12)

    @pytest.mark.parametrize(
        ("setting", "captured"),
        [
            ("decode.beam_widht=3", "did you mean"),
            ("decode.temperature=2", "temperature=2.0 has no effect"),
            ("decode.method=best", "not one of greedy, beam, sample"),
            ("train.seed=2", "settings of search and metrics only"),
            ("decode=2", "one text at a time"),
        ],
    )
    def test_what_cannot_be_set(self, command: Command, translator: Path, setting: str, captured: str) -> None:
        outcome = command("predict", translator, "Ab.", setting)
        assert outcome.code == 2
        assert captured in outcome.complaint


class TestLongLines:
    def test_a_long_line_is_answered_sentence_by_sentence(self, command: Command, translator: Path) -> None:
        line = " ".join(drawn_lines(12, seed=3))
        pieces = list(sentences(line))
        assert len(pieces) == 12
        answers = Run(translator).predict(pieces)
        captured = command("predict", translator, stdin=f"Ab.\n{line}\n".encode())
        assert captured.out.splitlines()[1] == " ".join(answers)
        remark = f"seqlab: line 2: {len(line)} tokens, over 40: cut into 12, at sentence ends"
        assert remark in captured.err.splitlines()

    def test_a_line_within_the_limit_stays_whole(self, translator: Path) -> None:
        line = "Ab c? " * 6 + "Abcd"
        assert len(line) == 40
        whole, longer = Run(translator, settings=["decode.max_sentences=9"]).predict_lines([line, line + "e"])
        assert (whole.remark, longer.remark) == ("", "line 2: 41 tokens, over 40: cut into 7, at sentence ends")

    def test_the_limit_is_that_of_outputs_unless_set(self, translator: Path) -> None:
        [answer] = Run(translator, settings=["decode.max_source=null"]).predict_lines(["Ab cd. Ef gh."])
        assert answer.remark == "line 1: 13 tokens, over 12: cut into 2, at sentence ends"

    def test_a_long_sentence_is_cut_inside(self, translator: Path) -> None:
        [at_spaces, anywhere] = Run(translator).predict_lines(["abcd " * 50, "a" * 500], first=7)
        assert at_spaces.remark == "line 7: 250 tokens, over 40: cut into 7, also inside sentences"
        assert anywhere.remark == "line 8: 500 tokens, over 40: cut into 13, also inside sentences"

    def test_the_limit_is_a_setting_that_the_model_bounds(self, translator: Path) -> None:
        line = "Ab. " * 24 + "Ab."
        [answer] = Run(translator, settings=["decode.max_source=99", "decode.max_sentences=99"]).predict_lines([line])
        assert (answer.pieces, answer.remark) == (1, "")
        [answer] = Run(translator, settings=["decode.max_source=1000"]).predict_lines([line * 3])
        assert "over 200" in answer.remark

    def test_the_n_best_of_the_pieces_make_those_of_the_line(self, translator: Path) -> None:
        two = Run(translator, settings=["decode.n_best=2"])
        line = "Abc de. " * 8
        [whole], [piece] = two.predict_lines([line]), two.predict_lines(["Abc de."])
        assert [p.text for p in whole.predictions] == [" ".join([p.text] * 8) for p in piece.predictions]
        scores = [8 * p.score for p in piece.predictions]
        assert [p.score for p in whole.predictions] == pytest.approx(scores, abs=1e-3)

    def test_a_question_is_never_cut(self, command: Command, trained: Trained) -> None:
        question = b"What is the units digit of " + b"7" * 3000 + b"?\n"
        outcome = command("predict", trained.folder, stdin=b"\n" + question)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.complaint == "line 2: 3,028 tokens, but the model reads 1,024 at most: shorten it"

    def test_it_is_said_how_many_answers_were_cut(self, command: Command, translator: Path) -> None:
        captured = command("predict", translator, "decode.max_length=1", stdin=b"Ab.\n\nAb.\n")
        assert captured.err == "seqlab: 2 of 3 outputs were cut at decode.max_length=1 or decode.max_ratio=2\n"


class TestSeveralSentences:
    LINE = "Ab cd. Ef gh? Ij."

    def test_more_of_them_than_training_sources_have_are_answered_one_by_one(
        self, command: Command, translator: Path
    ) -> None:
        environment = json.loads((translator / "environment.json").read_text())
        assert environment["max_sentences_p99"] == 1
        captured = command("predict", translator, stdin=f"{self.LINE}\nKl mn.\n".encode())
        assert captured.out.splitlines()[0] == " ".join(Run(translator).predict(["Ab cd.", "Ef gh?", "Ij."]))
        assert "seqlab: 1 of 2 lines were read sentence by sentence" in captured.err.splitlines()
        assert "line 1" not in captured.err  # nothing is wrong with it

    @pytest.mark.parametrize(("most", "pieces"), [(1, 3), (2, 3), (3, 1)])
    def test_how_many_is_a_setting(self, translator: Path, most: int, pieces: int) -> None:
        [answer] = Run(translator, settings={"decode.max_sentences": most}).predict_lines([self.LINE])
        assert answer.pieces == pieces

    def test_a_run_that_does_not_know_reads_whole(self, translator: Path, tmp_path: Path) -> None:
        shutil.copytree(translator, tmp_path / "run")
        path = tmp_path / "run" / "environment.json"
        facts = json.loads(path.read_text())
        del facts["max_sentences_p99"]
        path.write_text(json.dumps(facts))
        [answer] = Run(tmp_path / "run").predict_lines([self.LINE])
        assert answer.pieces == 1

    def test_questions_stay_whole_unless_it_is_asked_for(self, copier: Path) -> None:
        line = "ab! cd! ef!".title()
        assert Run(copier).predict_lines([line])[0].pieces == 1
        assert Run(copier, settings={"decode.max_sentences": 2}).predict_lines([line])[0].pieces == 3


class TestFile:
    LINES = (*drawn_lines(90, seed=4), "", "Ab c? " * 30, *drawn_lines(20, seed=5))

    @pytest.fixture
    def interrupted(self, small_chunks: None, translator: Path, tmp_path: Path, command: Command) -> Path:
        """The folder in which a command was interrupted after two chunks of six."""
        input_file(tmp_path, [*self.LINES])
        assert self.interrupt(command, translator, tmp_path).code == 1
        assert (tmp_path / "out.txt.partial").read_bytes().count(b"\n") == 40
        return tmp_path

    @staticmethod
    def interrupt(command: Command, translator: Path, folder: Path, chunks: int = 2) -> Outcome:
        answer = Run.predict_lines

        def answer_some(self: Run, sources: list[str], first: int = 1, *rest: object) -> list[LineResult]:
            if first > 20 * chunks:
                raise KeyboardInterrupt
            return answer(self, sources, first)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Run, "predict_lines", answer_some)
            return command("predict", translator, "--file", folder / "input.txt", "--out", folder / "out.txt")

    @staticmethod
    def go_on(command: Command, translator: Path, folder: Path, *more: str | Path, stdin: bytes = b"") -> Outcome:
        source = () if stdin else ("--file", folder / "input.txt")
        return command("predict", translator, *source, "--out", folder / "out.txt", *more, stdin=stdin)

    def expected(self, command: Command, translator: Path) -> str:
        return command("predict", translator, stdin="\n".join(self.LINES).encode()).out

    def test_it_holds_what_would_stand_on_standard_output(
        self, small_chunks: None, command: Command, translator: Path, tmp_path: Path
    ) -> None:
        input_file(tmp_path, [*self.LINES])
        captured = self.go_on(command, translator, tmp_path)
        assert (captured.code, captured.out) == (0, "")
        assert (tmp_path / "out.txt").read_text() == self.expected(command, translator)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["input.txt", "out.txt"]

    def test_it_is_replaced_only_on_demand(self, command: Command, copier: Path, tmp_path: Path) -> None:
        (tmp_path / "out.txt").write_text("mine")
        outcome = command("predict", copier, "ab", "--out", tmp_path / "out.txt")
        assert outcome.code == 2
        assert outcome.complaint == f"{tmp_path / 'out.txt'}: already exists; choose another --out, or --overwrite it"
        assert (tmp_path / "out.txt").read_text() == "mine"
        assert command("predict", copier, "ab", "--out", tmp_path / "out.txt", "--overwrite") == (0, "", "")
        assert (tmp_path / "out.txt").read_text() == "ab\n"

    def test_nothing_is_replaced_where_nothing_is_named(self, command: Command, copier: Path) -> None:
        outcome = command("predict", copier, "ab", "--overwrite")
        assert (outcome.code, outcome.complaint) == (2, "--overwrite replaces the file in --out: name it")

    def test_it_must_be_writable(self, command: Command, copier: Path, tmp_path: Path) -> None:
        outcome = command("predict", copier, "ab", "--out", tmp_path / "missing" / "out.txt")
        assert outcome.code == 2
        why = "cannot be written (No such file or directory): choose another --out"
        assert outcome.complaint == f"{tmp_path / 'missing' / 'out.txt.partial.json'}: {why}"

    def test_the_same_command_goes_on(self, interrupted: Path, command: Command, translator: Path) -> None:
        assert not (interrupted / "out.txt").exists()
        captured = self.go_on(command, translator, interrupted)
        assert captured.code == 0
        assert (interrupted / "out.txt").read_text() == self.expected(command, translator)
        assert sorted(path.name for path in interrupted.iterdir()) == ["input.txt", "out.txt"]
        assert (
            captured.err.splitlines().count("seqlab: line 92: 180 tokens, over 40: cut into 30, at sentence ends") == 1
        )

    def test_what_is_answered_is_not_asked_again(
        self, interrupted: Path, command: Command, translator: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        firsts: list[int] = []
        answer = Run.predict_lines

        def remember(self: Run, sources: list[str], first: int = 1, *rest: object) -> list[LineResult]:
            firsts.append(first)
            return answer(self, sources, first)

        monkeypatch.setattr(Run, "predict_lines", remember)
        assert self.go_on(command, translator, interrupted).code == 0
        assert firsts == [41, 61, 81, 101]

    def test_standard_input_goes_on_too(self, interrupted: Path, command: Command, translator: Path) -> None:
        assert self.go_on(command, translator, interrupted, stdin="\r\n".join(self.LINES).encode()).code == 0
        assert (interrupted / "out.txt").read_text() == self.expected(command, translator)

    def test_it_may_be_interrupted_again(self, interrupted: Path, command: Command, translator: Path) -> None:
        assert self.interrupt(command, translator, interrupted, chunks=4).code == 1
        assert (interrupted / "out.txt.partial").read_bytes().count(b"\n") == 80
        assert self.go_on(command, translator, interrupted).code == 0
        assert (interrupted / "out.txt").read_text() == self.expected(command, translator)

    def test_a_torn_end_is_made_anew(self, interrupted: Path, command: Command, translator: Path) -> None:
        with (interrupted / "out.txt.partial").open("ab") as file:
            file.write("whole line\ntorn é".encode()[:-1])
        assert self.go_on(command, translator, interrupted).code == 0
        assert (interrupted / "out.txt").read_text() == self.expected(command, translator)

    def test_a_stop_before_the_first_chunk_leaves_nothing_in_the_way(
        self, small_chunks: None, command: Command, translator: Path, tmp_path: Path
    ) -> None:
        input_file(tmp_path, ["Ab."])
        assert self.interrupt(command, translator, tmp_path, chunks=0).code == 1
        assert self.go_on(command, translator, tmp_path, "decode.max_length=5").code == 0

    def test_the_count_of_cut_answers_goes_on(
        self, interrupted: Path, command: Command, translator: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = json.loads((interrupted / "out.txt.partial.json").read_text())
        (interrupted / "out.txt.partial.json").write_text(json.dumps({**record, "capped": 1000}))
        assert " of 112 outputs were cut at decode.max_length=12" in self.go_on(command, translator, interrupted).err

    @pytest.mark.parametrize(
        ("change", "captured"),
        [
            ("settings", "was started with different settings of decode; remove it to start anew"),
            ("input", "the first 40 lines of the input changed since the interrupted run; remove it to start anew"),
            (
                "shorter input",
                "the first 40 lines of the input changed since the interrupted run; remove it to start anew",
            ),
            ("model", "was started with different weights; remove it to start anew"),
            (
                "no record",
                "out.txt.partial.json is missing or damaged, so it cannot be resumed; remove it to start anew",
            ),
            (
                "damaged record",
                "out.txt.partial.json is missing or damaged, so it cannot be resumed; remove it to start anew",
            ),
            (
                "lost answers",
                "out.txt.partial.json is missing or damaged, so it cannot be resumed; remove it to start anew",
            ),
        ],
    )
    def test_anything_else_is_refused(
        self, interrupted: Path, command: Command, translator: Path, change: str, captured: str
    ) -> None:
        partial, record = interrupted / "out.txt.partial", interrupted / "out.txt.partial.json"
        more: tuple[str, ...] = ()
        model = translator
        match change:
            case "settings":
                more = ("decode.beam_width=3",)
            case "input":
                lines = [*self.LINES]
                input_file(interrupted, [*lines[:38], lines[39], lines[38], *lines[40:]])
            case "shorter input":
                input_file(interrupted, [*self.LINES[:39]])
            case "model":
                model = interrupted / "other"
                shutil.copytree(translator, model)
                shift_weights(model)
            case "no record":
                record.unlink()
            case "damaged record":
                record.write_text(record.read_text()[:-9])
            case _:
                partial.write_bytes(partial.read_bytes()[:-1])
        outcome = self.go_on(command, model, interrupted, *more)
        assert outcome.code == 2
        assert outcome.complaint == f"{partial}: {captured}, or choose another --out"
        assert not (interrupted / "out.txt").exists()
        partial.unlink()  # which is what it said
        assert self.go_on(command, model, interrupted, *more).code == 0

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    def test_stopped_at_any_time_it_goes_on_to_the_same_bytes(
        self,
        small_chunks: None,
        command: Command,
        start: Start,
        translator: Path,
        tmp_path: Path,
        number: signal.Signals,
    ) -> None:
        input_file(tmp_path, drawn_lines(300, seed=6))
        (tmp_path / "slow.py").write_text(SLOW_SCRIPT)
        arguments = ("predict", translator, "--file", tmp_path / "input.txt", "--out", tmp_path / "out.txt")
        process = start(*arguments, script=tmp_path / "slow.py")
        record = tmp_path / "out.txt.partial.json"
        while not (record.exists() and json.loads(record.read_text())["lines"] >= 60):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        outcome = outcome_of(process)
        assert not (tmp_path / "out.txt").exists()
        if number == signal.SIGINT:
            said = outcome.err.splitlines()[-1]
            assert outcome.code == 1
            assert said == f"seqlab: interrupted; resume with: seqlab {' '.join(map(str, arguments))}"
        assert command(*arguments).code == 0
        whole = command("predict", translator, "--file", tmp_path / "input.txt")
        assert (tmp_path / "out.txt").read_bytes() == whole.out.encode()


def test_python_is_told_which_source_cannot_be_answered(copier: Path) -> None:
    with pytest.raises(UserError, match="line 3: 2,000 tokens"):
        Run(copier).predict(["ab", "", "a" * 2000])


def test_evaluate_takes_settings_of_the_search(command: Command, copier: Path) -> None:
    greedy, wide = (
        json.loads(command("evaluate", copier, "--json", *settings).out)["scores"]
        for settings in ([], ["decode.method=beam", "decode.beam_width=3"])
    )
    assert wide["loss"] == greedy["loss"]
    refused = command("evaluate", copier, "model.width=8")
    assert refused.code == 2
    assert "settings of search and metrics only" in refused.complaint
