"""Files and places as people have them: the right result, or one line that says what to do."""

import json
import shutil
from pathlib import Path

import pytest
from command_line import Command, Trained

import seqlab
from seqlab.data.corpora.parallel import ParallelCorpus, ParallelData
from seqlab.text.sentences import joined


def test_a_page_that_cannot_be_written_is_refused_before_the_work(command: Command, tmp_path: Path) -> None:
    for place, complaint in (
        (tmp_path, f"{tmp_path}: is a folder; name a file, such as {tmp_path / 'page.html'}"),
        (tmp_path / "no" / "x.html", f"{tmp_path / 'no' / 'x.html'}: there is no folder {tmp_path / 'no'}"),
    ):
        outcome = command("data", "math-sort", "--out", place)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.complaint.startswith(complaint)


def test_what_can_be_resumed_is_named(
    command: Command, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("finished", "stopped"):
        shutil.copytree(trained.folder, Path("runs") / name)
    outcome = command("train", "--resume", "runs/finished/checkpoints")
    assert outcome.complaint.endswith("(no config.toml in it)")
    Path("runs/stopped/model.safetensors").unlink()
    stopped = "unfinished, the newest first: runs/stopped"
    for arguments in (("train", "--resume", "runs"), ("train", "--resume", "runs/stoped"), ("train",)):
        outcome = command(*arguments)
        assert outcome.code == 2
        assert outcome.complaint.endswith(stopped), outcome.err
    shutil.rmtree("runs/stopped")
    assert command("train", "--resume", "runs").complaint.endswith("every run there has finished")


def test_settings_of_no_section_stand_first(command: Command) -> None:
    lines = command("show", "translate").out.splitlines()
    assert lines[0].startswith("* auto_size = true")
    assert lines[2] == "[about]"
    assert all(line.startswith(("[", "*", "  ")) for line in lines if line)


PAIRS = [(f"The cat {n} says hello.", f"Le chat {n} dit « ami », œuf.") for n in range(40)]
QUOTED = [(f'The cat {n} says "hello, friend".', f"Le chat {n} dit « ami », œuf.") for n in range(40)]
LANGUAGES = ("data.source=en", "data.target=fr")
LABELLED = ("cola", "data.validation=null", "data.test=null")


def cell(text: str) -> str:
    """As a spreadsheet writes it."""
    return '"' + text.replace('"', '""') + '"' if '"' in text or "," in text else text


def shown(command: Command, *arguments: str | Path) -> str:
    """What `seqlab data` says, on one line."""
    outcome = command("data", *arguments)
    assert outcome.code == 0, outcome.err
    return " ".join(outcome.out.split())


FILES = {
    "fra.txt": ("".join(f"{en}\t{fr}\tCC-BY 2.0 #{n}\n" for n, (en, fr) in enumerate(PAIRS)), PAIRS),
    "lines.json": ("".join(json.dumps({"translation": {"en": en, "fr": fr}}) + "\n" for en, fr in PAIRS), PAIRS),
    "array.json": (json.dumps([{"en": en, "fr": fr} for en, fr in PAIRS]), PAIRS),
    "pairs.csv": (
        "id,English,French,comment\n" + "".join(f"{n},{cell(en)},{cell(fr)},\n" for n, (en, fr) in enumerate(QUOTED)),
        QUOTED,
    ),
    "excel.tsv": ("\ufeffen\tfr\r\n" + "".join(f"{cell(en)}\t{cell(fr)}\r\n" for en, fr in QUOTED), QUOTED),
    "excel-semi.csv": ("\ufeffen;fr\r\n" + "".join(f"{cell(en)};{cell(fr)}\r\n" for en, fr in QUOTED), QUOTED),
    "entities.tmx": (
        '<?xml version="1.0"?><!DOCTYPE tmx SYSTEM "tmx14.dtd"><tmx version="1.4"><header/><body>'
        + "".join(
            f'<tu><tuv xml:lang="EN-us"><seg>the cafe {n}</seg></tuv>'
            f'<tuv xml:lang="fr"><seg>le caf&eacute; {n}</seg></tuv></tu>'
            for n in range(40)
        )
        + "</body></tmx>",
        [(f"the cafe {n}", f"le café {n}") for n in range(40)],
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_pairs_are_read_as_they_are(command: Command, tmp_path: Path, name: str) -> None:
    text, pairs = FILES[name]
    (tmp_path / name).write_bytes(text.encode())
    columns = ["data.columns={en=1,fr=2}"] if name == "fra.txt" else []
    out = shown(command, "translate", *LANGUAGES, *columns, f"data.train={tmp_path / name}")
    assert any(f'row 1: "{en}" -> "{fr}"' in out for en, fr in pairs)
    corpus = ParallelCorpus(
        ParallelData(
            train=(str(tmp_path / name),), source="en", target="fr", columns={"en": 1, "fr": 2} if columns else {}
        )
    )
    assert [tuple(example) for example in corpus.read(tmp_path / name)] == pairs


def test_a_file_in_another_encoding_is_one_line_that_names_the_setting(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "latin1.csv"
    path.write_bytes(("en,fr\n" + "".join(f"{cell(en)},{cell(fr)}\n" for en, fr in PAIRS)).encode("cp1252"))
    outcome = command("data", "translate", *LANGUAGES, f"data.train={path}")
    assert outcome.code == 2
    assert outcome.complaint.startswith(f"{path}: 40 bad lines: ")
    assert 'data.reading.encoding="cp1252"' in outcome.complaint
    out = shown(command, "translate", *LANGUAGES, f"data.train={path}", "data.reading.encoding=cp1252")
    assert any(f'row 1: "{en}" -> "{fr}"' in out for en, fr in PAIRS)


def test_labelled_lines_of_json_name_the_columns_to_give(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "glue.json"
    rows = [{"sentence": f"text number {n}", "label": "good" if n % 2 else "bad"} for n in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ("data.text=sentence", "data.label=label")
    assert 'row 1: "text number ' in shown(command, *LABELLED, *columns, f"data.train={path}")
    outcome = command("data", *LABELLED, "data.text=text", "data.label=label", f"data.train={path}")
    assert outcome.code == 2
    assert "the columns are sentence, label" in outcome.complaint


@pytest.mark.parametrize("name", ["train.json", "train.jsonl"])
def test_flat_questions_are_read(command: Command, tmp_path: Path, name: str) -> None:
    rows = [
        {
            "id": f"q{n}",
            "title": f"a{n}",
            "context": f"Ada {n} met Charles.",
            "question": f"Who met Charles {n}?",
            "answers": {"text": [f"Ada {n}"], "answer_start": [0]},
        }
        for n in range(12)
    ]
    text = json.dumps({"data": rows}) if name == "train.json" else "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / name).write_text(text)
    sizes = ("data.validation=null", "data.test=null", "data.validation_size=2", "data.test_size=2")
    out = shown(command, "squad", *sizes, f"data.train={tmp_path / name}")
    assert "training 8 " in out
    outcome = command("data", "squad", *sizes[:2], "data.test_size=20", f"data.train={tmp_path / name}")
    assert outcome.code == 2
    assert "20 (data.test_size)" in outcome.complaint


def test_labels_that_are_none_are_told_and_left_out(command: Command, tmp_path: Path) -> None:
    labels = ["entailment", "neutral", "contradiction", "-"]
    rows = "".join(f"{labels[n % 4]}\tA person {n} rides.\tSomebody {n} is out.\n" for n in range(80))
    (tmp_path / "snli.tsv").write_text("gold_label\tsentence1\tsentence2\n" + rows)
    columns = ("data.label=gold_label", "data.text=sentence1", "data.second=sentence2")
    arguments = (*LABELLED, *columns, f"data.train={tmp_path / 'snli.tsv'}")
    out = shown(command, *arguments)
    assert 'which looks like no label: data.drop_labels=["-"] leaves them out' in out
    out = shown(command, *arguments, 'data.drop_labels=["-"]')
    assert 'train: 20 texts with the label "-" left out (data.drop_labels)' in out
    assert "looks like no label" not in out
    assert "length" in out
    assert "target" not in out  # a class has no length


def test_all_bad_lines_are_told_together_or_left_out(command: Command, tmp_path: Path) -> None:
    lines = [f"{en}\t{fr}" for en, fr in PAIRS]
    lines[7] += "\textra"
    lines[21] = "no tab"
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(["en\tfr", *lines]) + "\n")
    outcome = command("data", "translate", *LANGUAGES, f"data.train={path}")
    assert outcome.code == 2
    assert outcome.complaint == (
        f"{path}: 2 bad lines: line 9: 3 columns, but the first line has 2; line 23: 1 columns, but the first line has "
        "2; data.on_error=skip leaves such lines out"
    )
    assert "2 bad lines" in shown(command, "translate", *LANGUAGES, "data.on_error=skip", f"data.train={path}")


SMALL = (
    *("text.unit=word", "text.min_frequency=1", "auto_size=false", "model.width=16", "model.feedforward=16"),
    *("model.num_heads=2", "model.encoder_layers=1", "model.decoder_layers=1", "decode.max_length=12"),
    *("train.max_steps=8", "train.max_minutes=null", "train.evaluate_every=8", "train.trackers=[]"),
    *("train.precision=fp32", "data.cleaning.max_ratio=null"),
)
LONGER = (
    "train.max_steps=200",
    "train.evaluate_every=200",
    "model.width=32",
    "model.feedforward=64",
    "optimizer.lr=1e-2",
)
NUMBERS = [("One", "Un", "Eins", "一"), ("Two", "Deux", "Zwei", "二"), ("Three", "Trois", "Drei", "三")]


def sentence(n: int, side: int, joint: str = " ") -> str:
    """Three number words, the n-th of 27."""
    return joint.join(NUMBERS[n // 3**place % 3][side] for place in range(3)) + ("。" if side == 3 else ".")


def test_a_tag_rules_every_sentence_of_its_line(command: Command, tmp_path: Path) -> None:
    rows = [
        f"<2{tag}> {sentence(n, 0)}\t{sentence(n, side)}\n" for n in range(27) for tag, side in (("fr", 1), ("de", 2))
    ]
    (tmp_path / "tagged.tsv").write_text("src\ttgt\n" + "".join(rows))
    columns = ("data.source=src", "data.target=tgt", 'text.protected=["<2fr>","<2de>"]')
    outcome = command(
        "train",
        "translate",
        f"data.train={tmp_path / 'tagged.tsv'}",
        *columns,
        *SMALL,
        *LONGER,
        "--out",
        tmp_path / "run",
    )
    assert outcome.code == 0, outcome.err
    run = seqlab.Run(tmp_path / "run")
    lines = ["<2de> One two. Three two. Two one.", "<2fr>One two. Three two."]
    apart = [["<2de> One two.", "<2de> Three two.", "<2de> Two one."], ["<2fr>One two.", "<2fr>Three two."]]
    outputs = run.predict(lines)
    assert outputs == [joined(run.predict(pieces)) for pieces in apart]
    assert {"Eins", "Zwei", "Drei"} >= {*outputs[0].replace(".", "").split()} != set()
    assert {"Un", "Deux", "Trois"} >= {*outputs[1].replace(".", "").split()} != set()
    source = run.task.vocabularies.source
    assert source.tokens(source.encode("<2de> One")) == ["<2de>", "One"]
    assert len(source.encode("<2de> One two.")) == 4


def test_a_language_without_spaces_is_told_by_its_texts(command: Command, tmp_path: Path) -> None:
    rows = "".join(f"{sentence(n, 0)}\t{sentence(n, 3, '')}\n" for n in range(27))
    (tmp_path / "zh.tsv").write_text("question\ttarget\n" + rows)
    columns = ("data.source=question", "data.target=target", "text.unit=character")
    outcome = command(
        "train",
        "translate",
        f"data.train={tmp_path / 'zh.tsv'}",
        *columns,
        *(setting for setting in SMALL if not setting.startswith("text.")),
        "--out",
        tmp_path / "run",
    )
    assert outcome.code == 0, outcome.err
    assert "Glyph" not in outcome.err
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["target_language"] == "zh"
    facts = json.loads(command("evaluate", tmp_path / "run", "--json").out)
    assert "tok:zh" in facts["signatures"]["bleu"]
    run = seqlab.Run(tmp_path / "run")
    assert run.predict("One two. Two one.") == joined(run.predict(["One two.", "Two one."]))


def test_the_line_of_column_names_is_no_example(tmp_path: Path) -> None:
    columns = ParallelData(train=("x.tsv",), source="en", target="fr", columns={"en": 1, "fr": 2})
    (tmp_path / "one.tsv").write_text("en\tfr\nOne.\tUn.\n")
    assert [tuple(example) for example in ParallelCorpus(columns).read(tmp_path / "one.tsv")] == [("One.", "Un.")]
