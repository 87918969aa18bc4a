"""From the settings of a recipe to training, validation and test pairs."""

import gzip
import json
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seqlab.config.settings import Config, Tree, build, merge, parse_override, to_toml
from seqlab.data.corpora.corpus import Example
from seqlab.data.corpora.parallel import ParallelCorpus, ParallelData
from seqlab.data.readers.lines import read_lines
from seqlab.errors import UserError
from seqlab.experiment.assembly import build_corpus
from seqlab.experiment.config import load


def write(path: Path, *rows: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return str(path)


class Recipe(Config):
    """What a recipe has, as far as it matters here."""

    data: ParallelData
    """where the examples come from"""


def config(**settings: Any) -> ParallelData:
    return build(Recipe, {"data": {"source": "en", "target": "fr", **settings}}, "recipe").data


def corpus(**settings: Any) -> ParallelCorpus:
    return ParallelCorpus(config(**settings))


def complaint(**settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        corpus(**settings).check_files()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def multi30k(tmp_path: Path) -> Path:
    """Line-aligned files in three languages; the second test source is also trained on."""
    for language in ("en", "de", "fr"):
        write(tmp_path / "m" / f"val.{language}", f"val 1 {language}")
        write(tmp_path / "m" / f"test.{language}", f"  test 1 {language}\t", f"train 2 {language}", "")
        lines = "".join(f"train {n} {language}\n" for n in range(3))
        (tmp_path / "m" / f"train.{language}.gz").write_bytes(gzip.compress(lines.encode()))
    return tmp_path


def given_files(folder: Path, **settings: Any) -> ParallelCorpus:
    return corpus(folder=folder, train="m/train", validation=["m/val"], test="m/test", **settings)


def test_line_aligned_files_in_both_directions(multi30k: Path) -> None:
    there, back = given_files(multi30k, source="en", target="de"), given_files(multi30k, source="de", target="en")
    there.check_files()
    assert there.training(0) == [Example(f"train {n} en", f"train {n} de") for n in range(3)]
    assert there.validation() == [Example("val 1 en", "val 1 de")]
    assert there.test() == [Example("test 1 en", "test 1 de"), Example("train 2 en", "train 2 de")]
    assert tuple(map(list, there.texts())) == ([f"train {n} en" for n in range(3)], [f"train {n} de" for n in range(3)])
    assert list(there.splits()) == ["training", "validation", "test"]
    for name, examples in back.splits().items():
        assert examples == [example[::-1] for example in there.splits()[name]]


def test_the_same_object_every_epoch(multi30k: Path) -> None:
    """So that it is encoded once."""
    some = given_files(multi30k)
    assert some.training(0) is some.training(1)


def test_leaks_are_told(multi30k: Path) -> None:
    assert given_files(multi30k).remarks()[2:] == given_files(multi30k).leaks()
    assert given_files(multi30k).remarks() == [
        "training: 3 pairs read, none left out",
        "test: 1 pairs with an empty side left out",
        'test: 1 of 2 sources are also trained on: its scores will be optimistic (leakage); one is "train 2 en"',
    ]


def test_a_pattern_for_the_language(tmp_path: Path) -> None:
    for language in ("de", "en"):
        write(tmp_path / f"newstest.de-en.{language}.txt", language)
        write(tmp_path / language / "b", language)
    some = corpus(folder=tmp_path, train=["newstest.de-en.{lang}.txt", "{lang}/b"], target="de")
    some.check_files()
    assert some.read(tmp_path / "newstest.de-en.{lang}.txt") == [Example("en", "de")]


def test_held_out_of_training_by_source(tmp_path: Path) -> None:
    rows = [f"source {number // 2}\ttarget {number}" for number in range(200)]
    some = corpus(train=write(tmp_path / "a.tsv", "en\tfr", *rows), validation_size=7)
    assert [len(examples) for examples in some.splits().values()] == [2 * (100 - 12), 7, 5]
    assert some.remarks() == [
        "training: 200 pairs read, none left out",
        "held out of training by distinct source: 5 for test and 7 for validation (data.seed=1); "
        "12 other pairs with these sources left out",
    ]
    sources = [{example.source for example in examples} for examples in some.splits().values()]
    assert sum(map(len, sources)) == len(set().union(*sources)) == 100
    other = corpus(train=str(tmp_path / "a.tsv"), validation_size=7, seed=2)
    assert other.test() != some.test()


@pytest.mark.parametrize("streaming", [False, True])
def test_a_sample_to_train_on(tmp_path: Path, streaming: bool) -> None:
    """The same in memory and on disk; a smaller one is part of a larger one, and nothing else depends on its size."""
    rows = [f"source {number // 2}\ttarget {number}" for number in range(200)]
    train = write(tmp_path / "a.tsv", "en\tfr", *rows)

    def of(size: int | None, **settings: Any) -> ParallelCorpus:
        on_disk = {"streaming": True, "cache": tmp_path / "cache", "epoch_size": 20} if streaming else {}
        return corpus(train=train, train_size=size, **on_disk, **settings)

    whole, small, large, more = (list(of(size).splits()["training"]) for size in (None, 10, 50, 1000))
    assert (len(whole), len(small), len(large)) == (180, 10, 50)
    assert more == whole
    assert set(small) < set(large) < set(whole)
    assert [example for example in whole if example in large] == large
    assert corpus(train=train, train_size=50).training(0) == large
    assert set(of(50, seed=2).splits()["training"]) != set(large)
    assert [of(50).validation(), of(50).test()] == [of(None).validation(), of(None).test()]
    assert of(50).remarks() == [
        *of(None).remarks(),
        "training: a sample of 50 of 180 pairs (data.train_size=50, data.seed=1)",
    ]
    assert of(1000).remarks()[-1] == "training: all of 180 pairs (data.train_size=1000, data.seed=1)"


def test_a_sample_knows_equal_pairs_and_its_own_leaks(tmp_path: Path) -> None:
    """Ten equal pairs have equal hashes, and only what is in the sample can leak."""
    train = write(tmp_path / "a.tsv", "en\tfr", *["same\tautre"] * 10, *[f"{n}\tnombre {n}" for n in range(10)])
    test = write(tmp_path / "b.tsv", "en\tfr", *[f"{n}\tnombre {n}" for n in range(10)])
    settings = {"train": train, "test": test, "validation": test, "cleaning": {"drop_duplicates": False}}
    for size in range(1, 20):
        plain = corpus(train_size=size, **settings)
        stored = corpus(train_size=size, streaming=True, cache=tmp_path / "cache", **settings)
        assert list(stored.training(0)) == plain.training(0)
        assert stored.remarks() == plain.remarks()
        leaked = {example.source for example in plain.training(0)} - {"same"}
        assert any(f"test: {len(leaked)} of 10 sources" in remark for remark in plain.remarks()) == bool(leaked)


def test_files_of_different_kinds_in_one_list(tmp_path: Path) -> None:
    """The Bible by chapter: numbered columns, a group and its key, beside files that need none of it."""
    verses = [f"GEN {chapter}:{verse}\tverse {chapter} {verse}\tverset" for chapter in range(9) for verse in range(9)]
    write(tmp_path / "bible.tsv", *verses)
    write(tmp_path / "aligned.en", *(f"line {n}" for n in range(20)))
    write(tmp_path / "aligned.fr", *(f"ligne {n}" for n in range(20)))
    write(tmp_path / "named.jsonl", *(json.dumps({"en": f"name {n}", "fr": f"nom {n}"}) for n in range(20)))
    bible = {"path": "bible.tsv", "columns": {"en": 2, "fr": 3}, "group": {"column": 1, "key": r"^\w+ \d+"}}
    some = corpus(folder=tmp_path, train=["aligned", bible, "named.jsonl"], test_size=30)
    some.check_files()
    sets = some.splits().values()
    assert sum(map(len, sets)) == 20 + 81 + 20
    chapters = [{e.source.split()[1] for e in examples if e.source.startswith("verse")} for examples in sets]
    assert sum(map(len, chapters)) == 9
    assert {e.source.split()[0] for e in some.training(0)} == {"line", "verse", "name"}
    bible["group"]["key"] = "EXO"
    with pytest.raises(
        UserError, match=r"bible.tsv:1: the pattern of data.group, \"EXO\", matches nothing in \"GEN 0:0\""
    ):
        corpus(folder=tmp_path, train=bible).training(0)


def test_columns_and_group_of_all_training_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", *(f"{n // 5}\tfr {n}\ten {n}" for n in range(40)))
    some = corpus(train=path, columns={"fr": 2, "en": 3}, group={"column": 1})
    assert some.training(0)[0].source.startswith("en ")
    assert [len(examples) for examples in some.splits().values()] == [30, 5, 5]
    exchanged = corpus(train=path, columns={"fr": 2, "en": 3}, group={"column": 1}, source="fr", target="en")
    assert {example[::-1] for example in exchanged.training(0)} == set(some.training(0))


def test_where_relative_paths_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("here", "there", "named"):
        write(tmp_path / folder / "a.tsv", *(f"{folder}\tx{n}" for n in range(5)), "en\tfr")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    settings = {"train": "a.tsv", "validation": "a.tsv", "test": "a.tsv"}
    assert corpus(**settings).training(0)[0].source == "here"
    monkeypatch.setenv("SEQLAB_DATA", str(tmp_path / "there"))
    assert corpus(**settings).training(0)[0].source == "there"
    assert corpus(**settings, folder=tmp_path / "named").training(0)[0].source == "named"
    assert corpus(**settings).read(Path("a.tsv"))[0].source == "here"
    assert complaint(train="b.tsv") == f"{tmp_path}/there/b.tsv: no such file"


def test_line_breaks_inside_texts_become_spaces(tmp_path: Path) -> None:
    """Predictions and logs have a text a line; French keeps its narrow spaces."""
    path = write(tmp_path / "a.jsonl", json.dumps({"en": " a\r\nb\n", "fr": "b\u202f\xa0c\u2028d"}))
    assert corpus().read(Path(path)) == [Example("a b", "b\u202f\xa0c\u2028d")]


def test_files_to_evaluate(multi30k: Path) -> None:
    assert corpus().read(multi30k / "m" / "val") == [Example("val 1 en", "val 1 fr")]
    with pytest.raises(UserError, match=r"test: pair 3 has an empty side: it cannot be scored"):
        corpus().read(multi30k / "m" / "test")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "data.train names no files: give the training files, for example data.train=my.tsv"),
        ({"train": "a.tsv"}, "a.tsv: no such file"),
        ({"train": "none"}, "none.en: no such file (nor with .gz, .xz, .zst)"),
        ({"train": "b.tsv", "test": "half"}, "half.fr: no such file (nor with"),
        ({"train": "{lang}/a"}, "en/a: no such file"),
        (
            {"train": "plain.txt"},
            "plain.txt: unknown format, by its name and its first line: name the format (tsv, csv, ...), for "
            'example data.train=[{path="plain.txt", format="csv"}]; as the stem of line-aligned files it lacks ',
        ),
        (
            {"train": {"path": "half", "columns": {"en": 1}}},
            "half: line-aligned files have no columns, groups or labels",
        ),
        ({"train": "half", "group": {"column": 1}}, "half: line-aligned files have no columns, groups or labels"),
        ({"train": "b.tsv", "source": "fr"}, "recipe: data: source and target are both fr"),
        (
            {"train": "b.tsv", "test": "b.tsv", "test_size": 3},
            "recipe: data: test_size is for a set taken from",
        ),
        ({"train": "b.tsv", "dataset": "books"}, "recipe: data: train names files and dataset is books"),
        ({"train": "b.tsv", "subset": "en-fr"}, "recipe: data: subset is en-fr, but no dataset is named"),
        ({"train": "b.tsv", "columns": {"eng": 1}}, "recipe: data: columns are for eng, but source is en, target fr"),
        ({"train": {"path": "b.tsv", "columns": {"de": 1}}}, "recipe: data: columns are for de, but source is en"),
        ({"train": "b.tsv", "cache": "c"}, "recipe: data: cache has no effect without streaming"),
        ({"train": 3}, "recipe: data.train: "),
        (
            {"train": ["b.tsv", {"path": "x", "colums": {}}]},
            "recipe: unknown setting data.train.1.colums; did you",
        ),
        ({"train": ["b.tsv", {"columns": {}}]}, "recipe: data.train.1.path is required"),
        (
            {"train": {"path": "x", "group": {"column": 1, "key": "("}}},
            "recipe: data.train.group.key: not a reg",
        ),
        ({"columns": {"en": 0}}, "recipe: data.columns.en: "),
        ({"train": {"path": "half.{lang}", "versions": ["en", "de"]}}, "half.de: no such file"),
        ({"train": {"path": "half.{lang}", "versions": ["en"]}}, "recipe: data.train.versions: "),
        ({"train": {"path": "half.{lang}", "versions": [1, "1"]}}, "recipe: data.train: versions names a file twice"),
        ({"train": {"path": "half", "versions": [1, 2]}}, "recipe: data.train: versions stand for {lang} in the path"),
        ({"train": {"path": "half.{lang}", "pairs": "one"}}, "recipe: data.train: pairs=one has no effect without"),
        (
            {"train": {"path": "{lang}", "versions": [1, 2], "label": {"column": 1}}},
            "recipe: data.train: versions are line-aligned files, which have no columns, group, label or format",
        ),
        (
            {"train": {"path": "{lang}", "versions": [1, 2]}, "group": {"column": 1}},
            "{lang}: each line of versions is already a group",
        ),
    ],
)
def test_faults_of_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Tree, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    for name in ("b.tsv", "half.en"):
        write(tmp_path / name, "en\tfr", "a\tb")
    write(tmp_path / "plain.txt", "en,fr")
    assert complaint(**settings).startswith(message)


def test_nothing_left(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "en\tfr", "same\tsame")
    with pytest.raises(UserError, match="no pairs are left to train on: 1 pairs read, 1 left out: 1 with identical"):
        corpus(train=path).training(0)
    write(tmp_path / "b.en", "")
    write(tmp_path / "b.fr", "x")
    with pytest.raises(UserError, match=r"the files of data.test have no pairs with text on both sides"):
        corpus(train=write(tmp_path / "c.tsv", "a\tb", "c\td"), validation_size=1, test=str(tmp_path / "b")).test()


def test_settings_on_the_command_line_and_in_a_run_folder() -> None:
    """`data.train=my.tsv` needs no list, and what a run stores reads back the same."""
    tree: Tree = {"source": "en", "target": "fr"}
    for text in ("train=my.tsv", "columns.en=1", "columns.fr=two", 'test=[{path="b", columns={en=2}}]'):
        tree = merge(tree, parse_override(text))
    made = build(ParallelData, tree, "recipe")
    assert made.train == ("my.tsv",)
    assert made.columns == {"en": 1, "fr": "two"}
    assert build(ParallelData, tomllib.loads(to_toml(made)), "stored") == made


class FakeHub:
    """What is used of the library `datasets`."""

    splits = ("train", "test")

    def get_dataset_split_names(self, name: str, subset: str | None) -> list[str]:
        if name != "opus_books":
            raise ConnectionError(f"Couldn't reach '{name}' on the Hub\nmore")
        assert subset == "en-fr"
        return list(self.splits)

    def load_dataset(self, name: str, subset: str | None, split: str) -> list[Tree]:
        assert split in self.get_dataset_split_names(name, subset)
        texts = [(f"{split} {n}", f"{split} {n} fr") for n in range(60)]
        return [{"id": str(n), "translation": {"en": en, "fr": fr}} for n, (en, fr) in enumerate(texts)]


def test_a_data_set_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", FakeHub())
    some = corpus(dataset="opus_books", subset="en-fr", validation_size=5)
    some.check_files()
    assert [len(examples) for examples in some.splits().values()] == [55, 5, 60]
    assert some.test()[7] == Example("test 7", "test 7 fr")
    assert len(corpus(dataset="opus_books", subset="en-fr", validation_size=5, test_size=6).test()) == 6
    with pytest.raises(UserError, match=r"opus_books .*, row 1: no column de; the columns are id, trans"):
        corpus(dataset="opus_books", subset="en-fr", target="de").training(0)
    assert complaint(dataset="book") == "data.dataset=book cannot be loaded: Couldn't reach 'book' on the Hub"
    monkeypatch.setattr(FakeHub, "splits", ("all",))
    message = complaint(dataset="opus_books", subset="en-fr")
    assert message == "data.dataset=opus_books: no split train; there are all"
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert complaint(dataset="book") == "data.dataset=book needs the library datasets: pip install datasets"


class HubSplit(list[Tree]):
    """Rows of one language pair, and what `datasets` tells contents by."""

    _fingerprint = "1"

    def __init__(self, name: str, size: int) -> None:
        super().__init__({"translation": {"de": f"{name} {n}", "en": f"{name} {n} en"}} for n in range(size))


def test_the_recipe_of_a_sample_of_wmt16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"train": 60, "validation": 5, "test": 7}
    fake = SimpleNamespace(
        get_dataset_split_names=lambda name, subset: [*sizes],
        load_dataset=lambda name, subset, split: HubSplit(f"{name} {subset} {split}", sizes[split]),
    )
    monkeypatch.setitem(sys.modules, "datasets", fake)
    changes: dict[str, object] = {"data.cache": str(tmp_path), "data.train_size": 20}
    whole = load("luong-wmt16-de-en").data
    assert isinstance(whole, ParallelData)
    assert whole.train_size == 22_744
    some = build_corpus(load("luong-wmt16-de-en", changes).data)
    some.check_files()
    assert {name: len(examples) for name, examples in some.splits().items()} == {
        "training": 20,
        "validation": 5,
        "test": 7,
    }
    assert some.test()[3] == Example("wmt/wmt16 de-en test 3", "wmt/wmt16 de-en test 3 en")
    assert "training: a sample of 20 of 60 pairs (data.train_size=20, data.seed=1)" in some.remarks()


def test_the_hub_library_itself(tmp_path: Path) -> None:
    """A folder of files is a data set too, so this needs no network."""
    pytest.importorskip("datasets", reason="the library datasets (extra hf) is not installed")
    for split in ("train", "validation"):
        write(
            tmp_path / f"{split}.jsonl", *(json.dumps({"translation": {"en": f"{n}", "fr": split}}) for n in range(9))
        )
    some = corpus(dataset=str(tmp_path))
    assert [len(examples) for examples in some.splits().values()] == [8, 9, 1]
    assert "cannot be loaded" in complaint(dataset=str(tmp_path / "none"))


def test_reference_files(reference_data: Path) -> None:
    """Counts of the published Multi30k files, and of the Bible split by chapter."""
    multi30k = corpus(
        folder=reference_data,
        target="de",
        train="multi30k/train",
        validation="multi30k/val",
        test="multi30k/test_2016_flickr",
    )
    multi30k.check_files()
    assert [len(examples) for examples in multi30k.splits().values()] == [28_995, 1014, 1000]
    assert multi30k.training(0)[0].source == "Two young, White males are outside near many bushes."
    assert multi30k.remarks()[0] == (
        "training: 29,000 pairs read, 5 left out: 3 duplicates, 2 with a length ratio over 4"
    )


class TestLabels:
    def test_only_rows_with_the_label_are_pairs(self, tmp_path: Path) -> None:
        (tmp_path / "a.tsv").write_text("1\tone\teins\t1\n2\ttwo\tdrei\t0\n3\tsix\tsechs\t1\n", encoding="utf-8")
        text = '\ufeffQuality\t#1 ID\t#1 String\t#2 String\r\n1\t7\ta "b\t"c"\r\n0\t8\td\te\r\n'
        (tmp_path / "b.txt").write_bytes(text.encode())
        data = ParallelData.model_validate(
            {
                "source": "x",
                "target": "y",
                "folder": tmp_path,
                "train": [
                    {"path": "a.tsv", "columns": {"x": 2, "y": 3}, "label": {"column": 4}},
                    {
                        "path": "b.txt",
                        "format": "tsv",
                        "columns": {"x": "#1 String", "y": "#2 String"},
                        "label": {"column": "Quality"},
                    },
                ],
                "validation": {"path": "a.tsv", "columns": {"x": 2, "y": 3}, "label": {"column": 4, "value": "0"}},
                "test": {"path": "a.tsv", "columns": {"x": 2, "y": 3}},
            }
        )
        corpus = ParallelCorpus(data)
        corpus.check_files()
        assert [tuple(pair) for pair in corpus.training(0)] == [("one", "eins"), ("six", "sechs"), ('a "b', '"c"')]
        assert corpus.validation() == [("two", "drei")]
        assert len(corpus.test()) == 3

    def test_line_aligned_files_have_none(self, tmp_path: Path) -> None:
        data = ParallelData.model_validate(
            {"source": "x", "target": "y", "train": {"path": str(tmp_path / "half"), "label": {"column": 1}}}
        )
        with pytest.raises(UserError, match="groups or labels"):
            ParallelCorpus(data).check_files()


class TestVersions:
    @pytest.fixture
    def captions(self, tmp_path: Path) -> Path:
        """Three files of 40 lines; the last line has only one text, and the line before it two."""
        for version in "abc":
            lines = [f"{version} {number}" for number in range(40)]
            write(
                tmp_path / f"train.{version}.txt",
                *lines[:38],
                lines[38] * (version != "c"),
                lines[39] * (version == "a"),
            )
        return tmp_path

    def of(self, folder: Path, **settings: Any) -> ParallelCorpus:
        sets = {name: settings.pop(name, {}) for name in ("train", "test")}
        files = {"path": "train.{lang}.txt", "versions": ["a", "b", "c"]}
        made = corpus(folder=folder, **{name: {**files, **more} for name, more in sets.items()}, **settings)
        made.check_files()
        return made

    def test_every_two_texts_of_a_line_are_pairs(self, captions: Path) -> None:
        whole = self.of(captions, test={"pairs": "one"}, validation_size=6)
        pairs = [*whole.test(), *self.of(captions, validation="train.{lang}.txt", source="a", target="b").training(0)]
        wanted = {Example(f"{x} {n}", f"{y} {n}") for n in range(38) for x in "abc" for y in "abc" if x != y}
        wanted |= {Example("a 38", "b 38"), Example("b 38", "a 38")}
        assert len(pairs) == 39 + len(wanted)
        assert {*pairs[39:]} == wanted
        assert {*pairs[:39]} < wanted
        assert [pair.source[2:] for pair in pairs[:39]] == [f"{n}" for n in range(39)]
        assert len({(pair.source[0], pair.target[0]) for pair in pairs[:39]}) == 6
        assert whole.test() == self.of(captions, test={"pairs": "one"}).test()

    def test_a_line_stays_together(self, captions: Path) -> None:
        some = self.of(captions, validation_size=6, test={"path": "train.{lang}.txt"})
        held_out = {pair.source[2:] for pair in some.validation()}
        assert len(held_out) == 2
        assert held_out.isdisjoint({text[2:] for pair in some.training(0) for text in pair})
        assert sorted(pair.source for pair in some.validation()) == sorted(f"{v} {n}" for v in "abc" for n in held_out)
        assert sorted(pair.target for pair in some.validation()) == sorted(f"{v} {n}" for v in "abc" for n in held_out)

    def test_of_different_lengths_are_refused(self, captions: Path) -> None:
        write(captions / "train.b.txt", "x")
        with pytest.raises(UserError, match=r"train\.a\.txt has 40 lines, but .*train\.b\.txt has 1: "):
            self.of(captions).training(0)

    def test_from_disk_they_are_the_same(self, captions: Path) -> None:
        stored = self.of(captions, validation_size=6, streaming=True, cache=captions / "cache")
        plain = self.of(captions, validation_size=6)
        assert {name: [*pairs] for name, pairs in stored.splits().items()} == {
            name: [*pairs] for name, pairs in plain.splits().items()
        }

    def test_captions_of_a_picture_stay_together(self, reference_data: Path) -> None:
        """In the recipe: 200 pictures to watch, and one pair of each of 1,014 others to be judged by."""
        captions = ParallelCorpus(load("paraphrase-captions", {"data.folder": str(reference_data)}).data)
        captions.check_files()
        training, validation, test = captions.splits().values()
        assert (len(training), len(validation), len(test)) == (100_000, 1000, 1014)
        assert {pair.source for pair in training}.isdisjoint({pair.source for pair in validation})
        assert captions.remarks()[0].startswith("training: 580,000 pairs read, 1,618 left out")
        texts = [set(read_lines(reference_data / f"multi30k/captions/val.{n}.en.gz")) for n in range(1, 6)]
        assert all(sum(pair.source in version for pair in test) > 100 for version in texts)
        assert all(any(pair.target in version for version in texts) for pair in test[:50])
