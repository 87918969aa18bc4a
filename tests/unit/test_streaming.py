"""What does not fit in memory becomes the same sets, is kept on disk whole or not at all, and is encoded once."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqlab.data.batching.pairs import EncodedPairs
from seqlab.data.corpora.corpus import Example
from seqlab.data.corpora.parallel import ParallelCorpus, ParallelData
from seqlab.data.corpora.splitting import Cleaning, Order, Pair, Sets, sets_in_memory
from seqlab.data.out_of_core import rows, streaming
from seqlab.data.out_of_core.cache import Interleaved, StoredPairs, key_of, made_once
from seqlab.data.out_of_core.streaming import sets_on_disk
from seqlab.errors import UserError
from seqlab.runs.lock import cache_folder

TEXTS = st.text("aé\0", max_size=3)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few pairs are many blocks."""
    monkeypatch.setattr(rows, "BLOCK", 7)


def outcome(make: Any) -> Sets | str:
    try:
        return make()
    except UserError as error:
        return str(error)


@settings(max_examples=200)
@given(
    texts=st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from(["", "x", "y", "z"])), min_size=5, max_size=60),
    sizes=st.dictionaries(st.sampled_from(["test", "validation"]), st.none() | st.integers(1, 3)),
    seed=st.integers(0, 3),
    epoch_size=st.integers(1, 20),
    drop_duplicates=st.booleans(),
)
def test_the_sets_are_those_of_memory(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[tuple[str, str, str]],
    sizes: dict[str, int | None],
    seed: int,
    epoch_size: int,
    drop_duplicates: bool,
) -> None:
    """Some pairs belong to a group; for the others the unit is the source."""
    pairs = [Pair(Example(*both), "\0" + group if group else both[0]) for *both, group in texts]
    given_sets = {"given": [Example(source, "") for source, *_ in texts[:4]]}
    cleaning = Cleaning(drop_duplicates=drop_duplicates)
    order = Order(lambda: iter(pairs), cleaning, given_sets, sizes, seed)
    expected = outcome(lambda: sets_in_memory(order))
    folder = tmp_path_factory.mktemp("cache") / "sets"
    found = outcome(lambda: sets_on_disk(order, folder, epoch_size))
    if isinstance(expected, str) or isinstance(found, str):
        assert found == expected
        return
    assert found._replace(parts=[]) == expected._replace(parts=[])
    assert list(Interleaved(found.parts)) == list(expected.parts[0])
    assert max(map(len, found.parts)) <= epoch_size
    assert max(map(len, found.parts)) - min(map(len, found.parts)) <= 1
    assert sets_on_disk(order, folder, epoch_size).held_out == expected.held_out


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A thousand pairs, a tenth of them twice."""
    random = Random(1)
    lines = [f"{random.choice('abc') * 3} source {n}\t{n} cible é" for n in range(900)]
    lines += random.sample(lines, 100)
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def corpus(table: Path, **changes: Any) -> ParallelCorpus:
    return ParallelCorpus(
        ParallelData.model_validate(
            {"source": "en", "target": "fr", "train": str(table), "cache": table.parent / "cache", "epoch_size": 300}
            | {"streaming": True, **changes}
        )
    )


def test_a_corpus_that_streams_equals_one_in_memory(table: Path) -> None:
    streamed, plain = corpus(table), corpus(table, streaming=False, cache=None, epoch_size=500_000)
    assert {n: list(examples) for n, examples in streamed.splits().items()} == plain.splits()
    assert streamed.remarks() == plain.remarks()
    assert [list(side) for side in streamed.texts()] == [list(side) for side in plain.texts()]


def test_parts_take_turns(table: Path) -> None:
    some = corpus(table)
    parts = [some.training(epoch) for epoch in range(3)]
    assert [len(part) for part in parts] == [270, 270, 270]
    assert some.training(3) is parts[0]
    assert len({example for part in parts for example in part}) == 810
    whole = some.splits()["training"]
    assert [whole[0], whole[1], whole[2], whole[3]] == [parts[0][0], parts[1][0], parts[2][0], parts[0][1]]
    assert whole[-1] == list(whole)[-1]
    assert whole[5:400:7] == list(whole)[5:400:7]
    assert [parts[0][place] for place in (0, -1)] == [whole[0], whole[807]]
    assert parts[0][5:2] == [] == parts[0][300:]
    assert parts[0][::-9] == list(parts[0])[::-9]
    for pairs in (whole, parts[0]):
        with pytest.raises(IndexError):
            pairs[len(pairs)]


def test_vocabularies_see_evenly_spaced_pairs(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqlab.data.corpora.parallel.VOCABULARY_PAIRS", 100)
    some = corpus(table)
    sources, targets = map(list, some.texts())
    assert list(zip(sources, targets, strict=True)) == list(some.splits()["training"])[::9]


def test_the_second_start_reads_the_cache(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = corpus(table)
    before = list(first.training(0))
    monkeypatch.setattr(streaming, "_make", None)
    moved = table.rename(table.with_name("moved.tsv"))
    again = corpus(moved.rename(table))
    assert list(again.training(0)) == before
    assert again.remarks() == first.remarks()
    with pytest.raises(TypeError, match="not callable"):
        corpus(table, seed=2).training(0)
    table.write_text(table.read_text(encoding="utf-8") + "one\tmore\n", encoding="utf-8")
    with pytest.raises(TypeError, match="not callable"):
        corpus(table).training(0)


def test_what_fails_halfway_is_made_anew(table: Path) -> None:
    good = table.read_bytes()
    table.write_bytes(good + b"only one column\n")
    with pytest.raises(UserError, match=r"pairs\.tsv:1001: 1 columns"):
        corpus(table).training(0)
    (cache,) = [path for path in (table.parent / "cache").iterdir() if path.is_dir()]
    assert cache.name.endswith(".unfinished")
    table.write_bytes(good)
    assert len(corpus(table).splits()["training"]) == 810


def test_a_killed_process_leaves_nothing_that_is_believed(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "folder"
    script = f"""
import os, signal
from pathlib import Path
from seqlab.data.out_of_core.cache import made_once

def make(unfinished):
    (unfinished / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

made_once(Path({str(folder)!r}), make)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode < 0
    assert not folder.exists()
    made_once(folder, lambda unfinished: (unfinished / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]
    made_once(folder, lambda unfinished: pytest.fail("it was there"))


def test_processes_that_start_together_make_it_once(tmp_path: Path) -> None:
    script = f"""
import time
from pathlib import Path
from seqlab.data.out_of_core.cache import made_once

def make(unfinished):
    with (Path({str(tmp_path)!r}) / "log").open("a") as log:
        log.write("made\\n")
    time.sleep(0.5)
    (unfinished / "whole").touch()

assert (made_once(Path({str(tmp_path)!r}) / "folder", make) / "whole").exists()
"""
    started = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "made\n"


def test_stored_ids_are_those_of_memory(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqlab.data.batching.pairs.CHUNK", 100)
    part = corpus(table).training(0)
    assert isinstance(part, StoredPairs)
    calls: list[int] = []

    def encode(texts: Sequence[str]) -> list[list[int]]:
        calls.append(len(texts))
        return [[*text.encode()] for text in texts]

    special = {"pad_id": 0, "bos_id": 1, "eos_id": 2}
    plain = EncodedPairs.encode(list(part), encode, encode, **special)
    assert calls == [100, 100, 100, 100, 70, 70]
    for _ in range(2):
        stored = EncodedPairs.encode(part, encode, encode, **special, folder=part.derived_cache_dir("bytes"))
        assert len(calls) == 12
        assert stored.sources.ids.tolist() == plain.sources.ids.tolist()
        assert stored.targets.offsets.tolist() == plain.targets.offsets.tolist()
        batch, other = (some.batch(np.array([3, 269, 0]), 24, 24) for some in (stored, plain))
        assert batch.source.tolist() == other.source.tolist()
        assert batch.labels.tolist() == other.labels.tolist()
    assert part.derived_cache_dir("a", "bc") != part.derived_cache_dir("ab", "c")


def test_where_caches_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/seqlab")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "seqlab"


def test_buckets_hold_every_row_once_in_order(tmp_path: Path) -> None:
    pairs = [Pair(Example(f"{n}", f"{n}"), f"{n}") for n in range(100)]
    table = rows.Rows(tmp_path, seed=1)
    table.add(pairs)
    table.drop(next(table.blocks())[2:4])
    assert len(table) == 98
    kept = [n for n in range(100) if n not in (2, 3)]

    def numbers(blocks: Iterator[np.ndarray]) -> list[int]:
        return [number for block in blocks for number in block["row"].tolist()]

    assert numbers(table.blocks()) == kept
    assert sorted(numbers(table.buckets("unit"))) == kept
    hashes = np.concatenate([*table.buckets("unit")])["unit"] >> np.uint64(56)
    assert hashes.tolist() == sorted(hashes.tolist())
    middle = int(np.sort(np.concatenate([*table.buckets("unit")])["unit"])[50])
    first = np.concatenate([*table.buckets("unit", until=middle)])["unit"]
    assert (first <= middle).sum() == 51
    assert key_of("a") != key_of("b")
