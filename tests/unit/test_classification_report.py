"""What a page and a terminal show of a classification run: tables, the confusion matrix, pictures."""

import io
import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tomli_w
from matplotlib.image import imread

from seqlab.data.corpora.images import Images, permutation
from seqlab.errors import UserError
from seqlab.metrics.classification import class_table as class_rows
from seqlab.report.folder import RunRecord, load_run
from seqlab.report.page import render
from seqlab.report.sections import classification
from seqlab.runs.folder import RunFolder
from seqlab.tasks.sequence_classification.pictures import NUM_MISTAKES, pictures

HOSTILE = """<script>alert("&'")</script>"""
SVG = "{http://www.w3.org/2000/svg}"
CLASSES = ["0", "1", "2"]


def judged(n: int = 60, brightest: int = 16) -> tuple[Images, np.ndarray, np.ndarray]:
    """Images, predicted classes and their probabilities; a third is wrong."""
    generator = np.random.default_rng(0)
    labels = np.arange(n) % 3
    pixels = generator.integers(brightest + 1, size=(n, 4, 5)).astype(np.uint8)
    predicted = np.where(generator.random(n) < 0.5, generator.integers(3, size=n), labels)
    return Images(pixels, labels), predicted, generator.uniform(0.4, 1, size=n)


def made(order: np.ndarray | None = None, classes: list[str] = CLASSES) -> dict[str, Any]:
    return pictures(*judged(), classes, permutation(20, 1) if order is None else order)


def pairs(classes: list[str] = CLASSES) -> list[tuple[str, str]]:
    images, predicted, _ = judged()
    return [(classes[true], classes[guess]) for true, guess in zip(images.labels, predicted, strict=True)]


def run(
    tmp_path: Path, content: Any = None, data: dict[str, Any] | None = None, found: list[tuple[str, str]] | None = None
) -> RunRecord:
    """A run folder, as far as the section reads it; `found` are its true and predicted classes."""
    folder = RunFolder(tmp_path)
    config = {"task": {"kind": "classify-sequence"}, "data": data or {}}
    folder.config.write_text(tomli_w.dumps(config))
    folder.predictions.parent.mkdir(exist_ok=True)
    lines = [
        {"row": row, "label": label, "predicted": predicted, "correct": label == predicted, "probability": 0.5}
        for row, (label, predicted) in enumerate(found or pairs())
    ]
    folder.predictions.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    if content is not None:
        folder.artifact("pictures").write_text(json.dumps(content))
    return load_run(tmp_path)


def section_of(record: RunRecord) -> str:
    values = classification.section(record)
    return "" if values is None else render("report/sections/classification.html.jinja", section=values)


def svg_of(tmp_path: Path, matrix: np.ndarray, names: list[str]) -> ElementTree.Element:
    """The confusion matrix of a page."""
    found = [(names[i], names[j]) for i, j in np.argwhere(matrix) for _ in range(matrix[i, j])]
    html = section_of(run(tmp_path, found=found))
    return ElementTree.fromstring(html[html.index("<svg") : html.index("</svg>") + len("</svg>")])


def images_of(html: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [np.rint(imread(io.BytesIO(b64decode(data))) * 255).astype(int) for data in found]


# Pictures


def test_pictures_are_the_surest_mistakes_and_one_image_a_class() -> None:
    images, predicted, probabilities = judged()
    order = permutation(20, 1)
    found = pictures(images, predicted, probabilities, CLASSES, order)
    assert (found["height"], found["width"]) == (4, 5)
    wrong = [row for row in range(60) if predicted[row] != images.labels[row]]
    assert len(wrong) > NUM_MISTAKES
    surest = sorted(wrong, key=lambda row: -probabilities[row])[:NUM_MISTAKES]
    assert [mistake["row"] for mistake in found["mistakes"]] == surest
    first = found["mistakes"][0]
    assert (first["label"], first["predicted"]) == (str(images.labels[surest[0]]), str(predicted[surest[0]]))
    assert first["probability"] == pytest.approx(probabilities[surest[0]], abs=1e-6)
    np.testing.assert_array_equal(first["pixels"], images.pixels[surest[0]].astype(int) * 255 // 16)
    assert [orders["label"] for orders in found["orders"]] == CLASSES
    for orders in found["orders"]:
        np.testing.assert_array_equal(np.ravel(orders["permuted"]), np.ravel(orders["sequential"])[order])
    assert json.loads(json.dumps(found)) == found


def test_pictures_without_mistakes() -> None:
    images, _, probabilities = judged()
    assert pictures(images, images.labels, probabilities, CLASSES, permutation(20, 1))["mistakes"] == []


def test_an_image_is_a_png_that_others_read() -> None:
    shades = np.random.default_rng(0).integers(256, size=(28, 17))
    found = classification.picture(shades.tolist(), "an image")
    np.testing.assert_array_equal(images_of(f'src="{found.uri}"'), [shades])
    assert (found.width, found.height, found.label) == (17, 28, "an image")


# The page


def confused(labels: list[tuple[str, str]]) -> classification.Confusion:
    found = classification.confusion_of(labels)
    assert found is not None
    return found


def test_the_section_shows_classes_mistakes_and_orders(tmp_path: Path) -> None:
    html = section_of(run(tmp_path, made(), {"by": "rows", "order": "permuted"}))
    assert re.findall("<h2>(.*)</h2>", html) == ["Class by class", "Sure and wrong", "What it reads"]
    drawn = images_of(html)
    expected = [mistake["pixels"] for mistake in made()["mistakes"]]
    expected += [orders[name] for orders in made()["orders"] for name in ("sequential", "permuted")]
    assert len(drawn) == len(expected) == NUM_MISTAKES + 6
    for picture, shades in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(picture, shades)
    assert "This run read the lower ones, row by row, in 4 steps of 5." in html
    wrong = sum(true != predicted for true, predicted in pairs())
    assert f"{wrong} mistakes in 60 test examples" in html
    first = made()["mistakes"][0]
    assert f"<b>{first['label']}</b> taken for <b>{first['predicted']}</b>" in html
    assert f"image {first['row']}<" in html
    read = section_of(run(tmp_path, made(), {"by": "pixels", "order": "sequential"}))
    assert "This run read the upper ones, pixel by pixel, in 20 steps." in read


def test_the_table_has_every_class_and_the_averages(tmp_path: Path) -> None:
    html = section_of(run(tmp_path))
    table = html[html.index("<table>") : html.index("</table>")]
    rows = [re.sub("<[^>]+>", " ", row).split() for row in table.split("<tr>")[1:]]
    assert rows[0] == ["class", "precision", "recall", "F1", "support"]
    expected = class_rows(confused(pairs()).matrix, CLASSES)
    assert len(rows) == 1 + len(expected)
    for row, scores in zip(rows[1:], expected, strict=True):
        assert row == [*scores.name.split(), *(f"{score:.3f}" for score in scores[1:4]), str(scores.support)]


def test_a_run_of_texts_has_no_pictures_and_other_runs_no_section(tmp_path: Path) -> None:
    record = run(tmp_path)
    assert re.findall("<h2>(.*)</h2>", section_of(record)) == ["Class by class"]
    record.folder.predictions.unlink()
    assert section_of(load_run(tmp_path)) == ""


def test_damaged_pictures_are_told_in_one_line(tmp_path: Path) -> None:
    content = made()
    del content["mistakes"][1]["label"]
    with pytest.raises(UserError, match=r"pictures.json: damaged \(mistakes.1.label: .*delete it to do without"):
        classification.section(run(tmp_path, content))


def test_names_of_classes_are_never_markup(tmp_path: Path) -> None:
    classes = ["a", HOSTILE, "c"]
    parts = section_of(run(tmp_path, made(classes=classes), found=pairs(classes))).split("<section>")[1:]
    assert len(parts) == 3  # classes, mistakes, orders
    assert "<script>" not in "".join(parts)
    assert all("&lt;script&gt;" in part for part in parts)


def test_classes_that_are_numbers_stand_in_their_order() -> None:
    found = confused([("10", "9"), ("9", "9"), ("2", "10"), ("none", "2")])
    assert found.names == ["2", "9", "10", "none"]
    assert found.matrix.tolist() == [[0, 0, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]]


# The matrix


def test_the_matrix_has_a_field_and_a_number_for_every_count(tmp_path: Path) -> None:
    matrix = np.array([[1200, 0, 3], [0, 7, 0], [1, 0, 0]])
    svg = svg_of(tmp_path, matrix, ["x", "y", "z"])
    titles = [title.text for title in svg.iter(f"{SVG}title")]
    assert titles == [
        "true x, predicted x: 1,200 (99.8 %)",
        "true x, predicted z: 3 (0.2 %)",
        "true y, predicted y: 7 (100 %)",
        "true z, predicted x: 1 (100 %)",
    ]
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert texts == ["predicted", "true", *"xyz", *"xyz", "1,200", "3", "7", "1"]
    fields = [field for field in svg.iter(f"{SVG}rect") if field.get("class") != "ground"]
    assert [field.get("fill") for field in fields] == ["var(--accent)", "var(--bad)", "var(--accent)", "var(--bad)"]
    strength = [float(field.get("fill-opacity", "")) for field in fields]
    assert strength[1] > strength[3]  # three mistakes stand out more than one


def test_the_matrix_stays_within_its_frame_and_drops_numbers_that_nobody_could_read() -> None:
    for num_classes in (1, 2, 26, 300):
        names = [f"a class with a long name {i}" for i in range(num_classes)]
        drawing = classification.matrix_drawing(np.diag(np.full(num_classes, 1234)), names)
        left, top, side = drawing.ground
        assert (left + side, top + side) == pytest.approx((drawing.width, drawing.height))
        for field in drawing.fields:
            assert left <= field.x < field.x + field.side <= drawing.width
            assert top <= field.y < field.y + field.side <= drawing.height
        assert len(drawing.fields) == num_classes
        numbers = [label for label in drawing.labels if label.text == "1,234"]
        assert len(numbers) == (num_classes if num_classes < 300 else 0)


def test_the_most_frequent_mistakes_are_named(tmp_path: Path) -> None:
    matrix = np.array([[9, 5, 0], [1, 9, 0], [0, 2, 9]])
    named = "a taken for b (5 times), c for b (2 times), b for a (1 time)"
    assert classification.confusions(matrix, list("abc")) == named
    assert classification.confusions(np.eye(3, dtype=int), list("abc")) == ""
    assert "There are no mistakes." in section_of(run(tmp_path, found=[("a", "a"), ("b", "b")]))


def test_the_table_of_many_classes_opens_on_a_click(tmp_path: Path) -> None:
    many = section_of(run(tmp_path, found=[(str(i), str(i)) for i in range(30)]))
    assert "<details><summary><b>Scores of each class</b> <span>30 classes</span></summary>" in many
    assert "<details>" not in section_of(run(tmp_path))
