"""Labelled images: idx files and what can be wrong with them, sets that are held out, and sequences of pixels."""

import gzip
import json
import struct
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqlab.config.settings import build
from seqlab.data.batching.pixels import EncodedImages, Facts, ReadingOrder
from seqlab.data.batching.stream import BatchConfig, Stream
from seqlab.data.corpora.images import ImageCorpus, Images, ImagesData, LabelledImage, permutation
from seqlab.data.readers.idx import read_idx
from seqlab.data.readers.images import digits
from seqlab.errors import UserError

NAMES = {
    ("train", 3): "train-images-idx3-ubyte",
    ("train", 1): "train-labels-idx1-ubyte",
    ("test", 3): "t10k-images-idx3-ubyte",
    ("test", 1): "t10k-labels-idx1-ubyte",
}


def idx(values: np.ndarray, kind: int = 8) -> bytes:
    head = struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape)
    return head + values.astype(np.uint8).tobytes()


def drawn(n: int, height: int = 4, width: int = 3, num_classes: int = 3, seed: int = 0) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(seed)
    return generator.integers(256, size=(n, height, width)), np.arange(n) % num_classes


def write_folder(folder: Path, *, packed: bool = False, **parts: tuple[np.ndarray, ...]) -> Path:
    parts = {"train": drawn(50), "test": drawn(20, seed=1)} | parts
    folder.mkdir(exist_ok=True)
    for part, arrays in parts.items():
        for values in arrays:
            path = folder / NAMES[part, values.ndim]
            content = idx(values)
            path.with_name(path.name + ".gz" * packed).write_bytes(gzip.compress(content) if packed else content)
    return folder


def corpus(folder: Path, **settings: Any) -> ImageCorpus:
    return ImageCorpus(ImagesData(source=str(folder), **settings))


def images(n: int = 12, **shape: int) -> Images:
    pixels, labels = drawn(n, **shape)
    return Images(pixels.astype(np.uint8), labels)


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


# Files


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_of_idx_files_is_read_as_it_was_written(tmp_path: Path, packed: bool) -> None:
    found = corpus(write_folder(tmp_path, packed=packed))
    found.check_files()
    pixels, labels = drawn(20, seed=1)
    np.testing.assert_array_equal(found.test().pixels, pixels)
    np.testing.assert_array_equal(found.test().labels, labels)
    assert found.test().pixels.dtype == np.uint8
    assert found.classes == ["0", "1", "2"]


def test_names_with_a_dot_and_files_in_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "fashion")
    for path in (tmp_path / "fashion").iterdir():
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    monkeypatch.setenv("SEQLAB_DATA", str(tmp_path))
    assert len(ImageCorpus(ImagesData(source="fashion")).test()) == 20
    assert len(ImageCorpus(ImagesData(source="fashion", folder=tmp_path)).test()) == 20


def damaged(content: bytes, kind: str) -> bytes:
    match kind:
        case "truncated":
            return content[:-5]
        case "ends within its header":
            return content[:9]
        case "longer":
            return content + b"\0"
        case "is a gzip archive":
            return gzip.compress(content)
        case "the file is empty":
            return b""
        case "holds nothing":
            return content[:4] + bytes(12)
        case "08 03, not":
            return b"\x08\x03" + content[2:]
    raise ValueError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        *("truncated", "ends within its header", "longer", "is a gzip archive"),
        *("the file is empty", "holds nothing", "08 03, not"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path: Path, kind: str) -> None:
    path = write_folder(tmp_path) / NAMES["train", 3]
    path.write_bytes(damaged(path.read_bytes(), kind))
    with pytest.raises(UserError, match=kind) as error:
        corpus(tmp_path).training(0)
    assert one_line(error).startswith(f"{path}: ")


def test_a_cut_off_file_tells_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(idx(np.zeros((3, 4, 5)))[:-7])
    with pytest.raises(UserError, match="3 x 4 x 5 values need 60 bytes after the header, found 53"):
        read_idx(path, 3)


def test_a_header_that_promises_everything_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3) + bytes(100))
    with pytest.raises(UserError, match="its header says 4294967295 x 4294967295 x 4294967295, more than"):
        read_idx(path, 3)


@pytest.mark.parametrize(
    ("change", "message"), [(lambda b: b[:-20], "truncated"), (lambda b: b"no" + b, "not a valid")]
)
def test_a_damaged_archive_is_told(tmp_path: Path, change: Any, message: str) -> None:
    path = write_folder(tmp_path, packed=True) / f"{NAMES['train', 3]}.gz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=message) as error:
        corpus(tmp_path).training(0)
    assert str(path) in one_line(error)


def test_labels_in_the_place_of_images_are_told_by_their_first_bytes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / NAMES["test", 1]).rename(folder / NAMES["test", 3])
    with pytest.raises(UserError, match=r"not an idx file of images: it begins with the bytes 00 00 08 01, not"):
        corpus(folder).test()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"test": drawn(20, height=5)}, r"t10k: images of 5 x 3 pixels, but those of training have 4 x 3"),
        ({"test": (drawn(20)[0], np.arange(20) % 7)}, r"t10k: label 3 of image 4 is out of range: .* 0 to 2"),
        ({"train": (drawn(50)[0], np.arange(49) % 3)}, r"train-labels-idx1-ubyte: 49 labels, but .* has 50 images"),
        ({"train": (drawn(50)[0], np.full(50, 2))}, r'all 40 training images have the label "2"'),
    ],
)
def test_files_that_do_not_fit_together(tmp_path: Path, parts: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        corpus(write_folder(tmp_path, **parts)).training(0)
    one_line(error)


def test_missing_files_are_found_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    folder = write_folder(tmp_path / "mnist")
    (folder / NAMES["test", 1]).unlink()
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte: no such file"):
        corpus(folder).check_files()
    with pytest.raises(UserError, match=r"nowhere: no such folder.*set data.folder or SEQLAB_DATA"):
        ImageCorpus(ImagesData(source="nowhere")).check_files()
    ImageCorpus(ImagesData()).check_files()


def test_a_users_file_has_its_labels_beside_it(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, packed=True)
    found = ImageCorpus(ImagesData()).read(folder / f"{NAMES['train', 3]}.gz")
    assert (len(found), found.height, found.width) == (50, 4, 3)
    assert len(ImageCorpus(ImagesData()).read(folder)) == 20
    facts = Facts(["0", "1"], 4, 3, 0.0, 1.0)
    with pytest.raises(UserError, match=r"mine: label 2 of image 3 is out of range"):
        facts.check(found, "mine")
    (folder / f"{NAMES['train', 1]}.gz").unlink()
    with pytest.raises(UserError, match="its labels are missing"):
        ImageCorpus(ImagesData()).read(folder / f"{NAMES['train', 3]}.gz")


# The hub


class ClassLabel:
    def __init__(self, names: list[str]):
        self.names = names


class Image:
    pass


class Rows(list[dict[str, Any]]):
    def __init__(self, n: int, features: dict[str, Any]):
        from PIL.Image import fromarray

        super().__init__({"image": fromarray(pixels), "kind": label} for pixels, label in images(n, height=8))
        self.features = features

    def __getitem__(self, column: Any) -> Any:
        return [row[column] for row in self]


def fake_datasets(splits: list[str], features: dict[str, Any]) -> Any:
    return SimpleNamespace(
        get_dataset_split_names=lambda name, subset: splits,
        load_dataset=lambda name, subset, split: Rows(30, features),
    )


def test_a_data_set_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    features = {"image": Image(), "kind": ClassLabel(["cat", "dog", "cow"])}
    monkeypatch.setitem(sys.modules, "datasets", fake_datasets(["train", "test"], features))
    found = ImageCorpus(ImagesData(dataset="animals"))
    found.check_files()
    assert [len(part) for part in found.splits().values()] == [24, 6, 30]
    assert found.classes == ["cat", "dog", "cow"]
    np.testing.assert_array_equal(found.test().pixels, images(30, height=8).pixels)
    monkeypatch.setitem(sys.modules, "datasets", fake_datasets(["train"], features))
    assert [len(part) for part in ImageCorpus(ImagesData(dataset="animals")).splits().values()] == [20, 4, 6]
    monkeypatch.setitem(sys.modules, "datasets", fake_datasets(["train"], {"image": Image()}))
    with pytest.raises(UserError, match="has no column of type ClassLabel, only image"):
        ImageCorpus(ImagesData(dataset="animals")).test()


def test_without_the_library_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs the library datasets: pip install datasets"):
        ImageCorpus(ImagesData(dataset="mnist")).check_files()


# Sets


def test_digits_are_those_of_the_repository_in_its_order() -> None:
    found = digits()
    assert (found.test, found.classes) == (None, list("0123456789"))
    assert found.training.pixels.shape == (1797, 8, 8)
    assert (found.training.pixels.dtype, found.training.labels.dtype) == (np.uint8, np.int64)
    # of what load_digits of scikit-learn 1.9.1 gives, as unsigned bytes
    sums = [
        sha256(array.astype(np.uint8).tobytes()).hexdigest() for array in (found.training.pixels, found.training.labels)
    ]
    assert sums == [
        "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3",
        "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0",
    ]


def test_digits_are_held_out_by_seed_and_the_test_does_not_depend_on_validation() -> None:
    sets = ImageCorpus(ImagesData()).splits()
    assert {name: len(part) for name, part in sets.items()} == {"training": 1151, "validation": 287, "test": 359}
    seen = [image.tobytes() for part in sets.values() for image in part.pixels]
    assert len(set(seen)) == 1797
    assert sets["training"].pixels.max() == 16
    again = ImageCorpus(ImagesData(validation_size=10))
    np.testing.assert_array_equal(again.test().pixels, sets["test"].pixels)
    assert len(again.training(0)) == 1428
    assert again.training(0) is again.training(1)
    other = ImageCorpus(ImagesData(seed=2)).test()
    assert not np.array_equal(other.labels, sets["test"].labels)
    assert again.remarks() == ["held out of training: 359 for test and 10 for validation (data.seed=1)"]


def test_mnist(reference_data: Path) -> None:
    found = ImageCorpus(ImagesData(source="mnist", folder=reference_data))
    found.check_files()
    assert {name: part.pixels.shape for name, part in found.splits().items()} == {
        "training": (48_000, 28, 28),
        "validation": (12_000, 28, 28),
        "test": (10_000, 28, 28),
    }
    assert found.remarks() == ["held out of training: 12,000 for validation (data.seed=1)"]
    facts = Facts.of(found.training(0), found.classes)
    # 33.318 and 78.567 over all 60,000 images: 0.1307 and 0.3081 of 255, as is often quoted
    assert facts.mean / 255 == pytest.approx(0.1307, abs=5e-4)
    assert facts.std / 255 == pytest.approx(0.3081, abs=5e-4)


def test_copies_of_held_out_images_are_not_trained_on(tmp_path: Path) -> None:
    pixels, labels = drawn(50)
    pixels[25:] = pixels[:25]
    found = corpus(write_folder(tmp_path, train=(pixels, labels), test=(pixels[:5], labels[:5])))
    held_out = {image.tobytes() for image in found.validation().pixels}
    assert not held_out & {image.tobytes() for image in found.training(0).pixels}
    first, leak = found.remarks()
    assert f"{50 - len(found.training(0)) - 10} copies of them left out" in first
    assert leak.startswith("test: ")
    assert "images are also trained on" in leak


def test_a_class_without_training_images_is_remarked(tmp_path: Path) -> None:
    pixels, labels = drawn(50)
    labels = np.where(labels == 1, 2, labels)
    found = corpus(write_folder(tmp_path, train=(pixels, labels)))
    assert found.remarks()[1] == 'class "1" has no training images: it cannot be learned'


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"source": "mnist", "test_size": 5}, "test_size has no effect"),
        ({"source": "mnist", "dataset": "mnist"}, "leave one of them out"),
        ({"subset": "de"}, "no dataset is named"),
        ({"order": "random"}, "not one of sequential, permuted"),
    ],
)
def test_settings_that_make_no_sense(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(ImagesData, tree, "recipe")


def test_more_held_out_than_there_are() -> None:
    with pytest.raises(UserError, match=r"data.validation_size=1,438 leaves nothing to train on: there are 1,438"):
        ImageCorpus(ImagesData(validation_size=1438)).training(0)


def test_images_are_a_sequence_whose_slices_are_images() -> None:
    found = images(12)
    assert isinstance(found[3], LabelledImage)
    assert found[3].label == 0
    assert isinstance(found[2:5], Images)
    assert [image.label for image in found[2:5]] == [2, 0, 1]


# Sequences


def reading(**settings: Any) -> ReadingOrder:
    return ReadingOrder.of(ImagesData(**settings), Facts(["0", "1", "2"], 4, 3, mean=100.0, std=50.0))


def test_pixels_in_order_are_the_image_line_by_line() -> None:
    found = images(5)
    batch = EncodedImages.encode(found, reading(values="raw")).batch(np.array([3, 1]), 12, 1)
    assert batch.inputs.dtype == torch.float32
    assert batch.inputs.shape == (2, 12, 1)
    np.testing.assert_array_equal(batch.inputs[0, :, 0].numpy(), found.pixels[3].ravel())
    assert batch.labels.tolist() == [0, 1]
    assert (batch.tokens, batch.slots) == (2, 26)
    assert batch.to(torch.device("cpu")) is batch


def test_rows_are_the_image_itself() -> None:
    found = images(5)
    encoded = EncodedImages.encode(found, reading(values="raw", by="rows"))
    assert encoded.shapes.tolist() == [[4, 1]] * 5
    np.testing.assert_array_equal(encoded.batch(np.arange(5), 4, 1).inputs.numpy(), found.pixels)


@pytest.mark.parametrize("by", ["pixels", "rows"])
def test_permuted_pixels_change_places_in_the_same_way_in_every_image(by: Any) -> None:
    found = images(5)
    order = permutation(12, 7)
    chosen = reading(by=by, order="permuted", permutation_seed=7)
    inputs = EncodedImages.encode(found, chosen).batch(np.arange(5), 0, 0).inputs
    expected = (found.pixels.reshape(5, 12)[:, order].astype(float) - 100) / 50
    np.testing.assert_allclose(inputs.reshape(5, 12).numpy(), expected, rtol=1e-6)


@given(size=st.integers(1, 100), seed=st.integers(0, 2**40))
def test_a_permutation_is_decided_by_size_and_seed(size: int, seed: int) -> None:
    order = permutation(size, seed)
    np.testing.assert_array_equal(np.sort(order), np.arange(size))
    np.testing.assert_array_equal(order, permutation(size, seed))


def test_permutations_stay_as_they_were() -> None:
    assert permutation(8, 1).tolist() == PERMUTED
    assert permutation(784, 1).tolist() != permutation(784, 2).tolist()


PERMUTED = [0, 3, 5, 4, 6, 2, 7, 1]
"""A trained model is worth nothing with another permutation."""


def test_facts_are_those_of_numpy_and_survive_a_file(tmp_path: Path) -> None:
    found = images(500)
    facts = Facts.of(found, ["a", "b", "c"])
    assert facts.mean == pytest.approx(found.pixels.mean(), rel=1e-12)
    assert facts.std == pytest.approx(found.pixels.std(), rel=1e-12)
    facts.save(tmp_path / "images.json")
    assert Facts.load(tmp_path / "images.json") == facts
    assert json.loads((tmp_path / "images.json").read_text())["classes"] == ["a", "b", "c"]
    normalised = (
        EncodedImages.encode(found, ReadingOrder.of(ImagesData(), facts)).batch(np.arange(500), 0, 0).inputs.double()
    )
    assert normalised.mean().item() == pytest.approx(0, abs=1e-5)
    assert normalised.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    (tmp_path / "images.json").write_text("{}")
    with pytest.raises(UserError, match=r"images.json: damaged"):
        Facts.load(tmp_path / "images.json")
    with pytest.raises(UserError, match="there is nothing to learn"):
        Facts.of(Images(np.full((3, 2, 2), 9, dtype=np.uint8), np.arange(3)), ["a"])


def test_a_stream_gives_every_image_once_an_epoch_without_padding() -> None:
    encoded = EncodedImages.encode(images(20), reading())
    stream = Stream(lambda epoch: encoded, BatchConfig(batch_size=5, pad_to_multiple_of=1), seed=1)  # pyright: ignore
    groups = [stream.next_group() for _ in range(4)]
    stream.close()
    assert sorted(row for group in groups for batch in group.batches for row in batch.rows) == list(range(20))
    assert [(group.tokens, group.real, group.slots) for group in groups] == [(5, 65, 65)] * 4


def test_reading_images_does_without_torch() -> None:
    script = "import sys, seqlab.data.corpora.images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
