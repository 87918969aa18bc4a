"""The task of images read as sequences: what it minimises, scores, keeps with a run and answers."""

import gzip
import math
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.data.batching.pixels import Facts
from seqlab.data.corpora.images import ImageCorpus, Images, ImagesData
from seqlab.errors import UserError
from seqlab.runs.folder import RunFolder
from seqlab.tasks.sequence_classification.task import FACTS, ClassifySequence, ClassifySequenceConfig
from seqlab.tasks.task import predict_lines

CONFIG = ClassifySequenceConfig(evaluation_rows=7)


class Brightest(nn.Module):
    """Takes an image for the class whose number its first value is nearest to."""

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(1.0))

    def forward(self, inputs: Tensor) -> Tensor:
        return -self.sharpness * (inputs[:, 0, :1] - torch.arange(10)) ** 2


@pytest.fixture(scope="module")
def task() -> ClassifySequence:
    corpus = ImageCorpus(ImagesData(values="raw"))
    return ClassifySequence(CONFIG, corpus, Facts.of(corpus.training(0), corpus.classes))


@pytest.fixture
def images() -> Images:
    """Twenty images; the first pixel is the class, but for the last five, whose class is one more."""
    pixels = np.zeros((20, 8, 8), dtype=np.uint8)
    pixels[:, 0, 0] = np.arange(20) % 9
    labels = pixels[:, 0, 0].astype(np.int64)
    labels[15:] += 1
    return Images(pixels, labels)


def test_loss_is_the_cross_entropy_summed_over_images(task: ClassifySequence, images: Images) -> None:
    batch = task.training(0).batch(np.arange(6), 64, 1)
    model = Brightest()
    expected = -model(batch.inputs).log_softmax(1)[torch.arange(6), batch.labels].sum()
    found = task.loss(model, batch)
    assert found.tokens == 6
    assert found.sum.item() == pytest.approx(expected.item(), rel=1e-5)
    smooth = ClassifySequence(CONFIG.model_copy(update={"label_smoothing": 0.1}), task.corpus, task.learned)
    reference = F.cross_entropy(model(batch.inputs), batch.labels, label_smoothing=0.1, reduction="sum")
    assert smooth.loss(model, batch).sum.item() == pytest.approx(reference.item(), rel=1e-5)


def test_evaluation_by_hand(task: ClassifySequence, images: Images) -> None:
    found = task.evaluate(Brightest(), images, quick=False, autocast=nullcontext)
    assert found.predicted.tolist() == [label % 9 for label in range(20)]
    assert found.quick_scores["accuracy"] == found.scores["accuracy"].value == 0.75
    logits = torch.tensor([[-float((label % 9 - k) ** 2) for k in range(10)] for label in range(20)])
    assert found.loss == pytest.approx(F.cross_entropy(logits, torch.from_numpy(images.labels)).item(), rel=1e-5)
    assert set(CONFIG.measured) == set(found.quick_scores)
    assert next(iter(found.scores)) == CONFIG.main_score
    rows = list(found.records())
    assert [row["correct"] for row in rows] == [True] * 15 + [False] * 5
    assert rows[-1] | {"probability": 0} == {
        "row": 19,
        "label": "2",
        "predicted": "1",
        "correct": False,
        "probability": 0,
    }
    assert rows[-1]["probability"] == pytest.approx(math.exp(logits[19].log_softmax(0)[1]), abs=1e-6)
    assert found.to_json()["baselines"] == {"always the most frequent class": {"accuracy": 3 / 20}}
    assert found.notes() == ["never predicted: 9"]


def test_a_trained_run_needs_no_images(task: ClassifySequence, images: Images, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    task.save(folder)
    elsewhere = ImagesData(source="/nowhere", values="raw")
    again = ClassifySequence(CONFIG, ImageCorpus(elsewhere), Facts.load(folder.artifact(FACTS)))
    assert again.learned == task.learned
    found = again.evaluate(Brightest(), images, quick=False, autocast=nullcontext)
    assert found.scores["accuracy"].value == 0.75
    with pytest.raises(UserError, match="nowhere"):
        ImageCorpus(elsewhere).check_files()


def test_images_of_another_size_are_refused(task: ClassifySequence) -> None:
    wide = Images(np.zeros((2, 8, 9), dtype=np.uint8), np.zeros(2, dtype=np.int64))
    with pytest.raises(UserError, match="8 x 9"):
        task.evaluate(Brightest(), wide, quick=False, autocast=nullcontext)


def test_lines_of_shades_are_answered_in_order(task: ClassifySequence, images: Images) -> None:
    lines = [" ".join(map(str, image.ravel())) for image in images.pixels[:9]]
    lines[3] = lines[3].replace(" ", ",")
    lines[5] = "  "
    seen: list[float] = []
    answers = predict_lines(task, Brightest(), lines, autocast=nullcontext, progress=seen.append)
    texts = [answer.predictions[0].text for answer in answers]
    assert texts == ["0", "1", "2", "3", "4", "", "6", "7", "8"]
    assert seen == [7 / 8 * 9, 9, 9]  # of nine lines, one of them blank; seven images are a batch
    assert predict_lines(task, Brightest(), [" "], autocast=nullcontext)[0].predictions[0].text == ""


@pytest.mark.parametrize(
    ("line", "captured"),
    [
        ("1 2 3", "line 6: 3 numbers, but the images of this run have 64 pixels"),
        (" ".join(["256", *["0"] * 63]), "line 6: pixel values are integers from 0 to 255"),
        (" ".join(["0.5", *["0"] * 63]), "line 6: pixel values are integers from 0 to 255"),
        (" ".join(["-1", *["0"] * 63]), "line 6: pixel values are integers from 0 to 255"),
    ],
)
def test_a_line_that_is_no_image_is_named(task: ClassifySequence, line: str, captured: str) -> None:
    good = " ".join(["0"] * 64)
    with pytest.raises(UserError, match=captured):
        predict_lines(task, Brightest(), [good, line], autocast=nullcontext, first=5)


def test_inputs_are_the_images_of_an_idx_file_or_the_lines_of_a_text(
    task: ClassifySequence, images: Images, tmp_path: Path
) -> None:
    idx = tmp_path / "my-images-idx3-ubyte.gz"
    header = bytes([0, 0, 8, 3]) + np.array(images.pixels.shape, dtype=">u4").tobytes()
    idx.write_bytes(gzip.compress(header + images.pixels.tobytes()))
    lines = list(task.inputs(idx))
    assert [line.split()[0] for line in lines[:3]] == ["0", "1", "2"]
    text = tmp_path / "images.txt"
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert list(task.inputs(text)) == lines
