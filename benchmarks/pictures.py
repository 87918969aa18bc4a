"""The pictures of the README and of docs/bert.md, docs/bart.md and docs/t5.md, drawn by our code from real runs.

    python benchmarks/pictures.py answer RUN "Who wrote the notes?" "Ada wrote the notes." docs/images/bert-answer.svg
    python benchmarks/pictures.py masks RUN "Ada [MASK] the notes." docs/images/bert-masks.svg
    python benchmarks/pictures.py noise docs/images/noise.svg
    python benchmarks/pictures.py ablation FOLDER docs/images/ablation.svg

`answer` takes a run of the task answer, and draws for every token how probable it is as the first and as the last one
of the answer. `masks` takes a run of pretrain-bert, and draws what may stand in the place of each [MASK]. `noise` draws
what BERT, BART and T5 make of the same two sentences in pretraining. `ablation` takes the folder of an ablation, and
draws quality against training time for all of its configurations, as its page does.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from seqlab import Run
from seqlab.ablation.figures import quality_plots
from seqlab.ablation.measured import read_ablation
from seqlab.ablation.plan import AblationFolder
from seqlab.report.figures import GRID, INK, MUTED, SERIES, canvas
from seqlab.tasks.pretraining.masking import hidden_tokens
from seqlab.tasks.pretraining.noising import SpanCorruption, TextInfilling, span_corruption, text_infilling

SHOWN = 5
"""Candidates for the place of a mask."""

SENTENCES = ("the cat sat on the mat and looked at the rain .", "it slept until the sun came back .")
"""What `noise` damages; a word is a token."""

BLANK = -1
"""The id of a mask, where ids number the words of `SENTENCES`; sentinels are the negative numbers."""

SEED = 6
"""Of the damage in `noise`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", choices=["answer", "masks", "noise", "ablation"])
    parser.add_argument("inputs", nargs="*", help="the run or ablation, and the texts")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    match options.picture, options.inputs:
        case "noise", []:
            drawing = noise()
        case "ablation", [folder]:
            drawing = quality_plots(read_ablation(AblationFolder(Path(folder))))[0].svg
        case "answer", [run, question, text]:
            drawing = answer(Run(run, "cpu"), question, text)
        case "masks", [run, text]:
            drawing = masks(Run(run, "cpu"), text)
        case _:
            parser.error(f"{options.picture} is drawn from something else: --help shows from what")
    options.out.write_text(drawing, encoding="utf-8")


@torch.inference_mode()
def answer(run: Run, question: str, text: str) -> str:
    """Two bars for each token of the text: the first of the answer, and the last."""
    task: Any = run.task
    asked = task._tokenizer(question, text, return_tensors="pt")
    types = asked["token_type_ids"]
    start, end = run.model(asked["input_ids"], asked["attention_mask"].bool(), types)
    of_text = types[0].bool()
    tokens = task._tokenizer.convert_ids_to_tokens(asked["input_ids"][0][of_text])
    chances = [logits[0].softmax(0)[of_text].numpy() for logits in (start, end)]
    return two_bars(tokens, *chances)


def two_bars(tokens: Sequence[str], first: np.ndarray, last: np.ndarray) -> str:
    """The drawing of `answer`."""
    places = np.arange(len(tokens))
    with canvas("answer", 7.2, 2.6) as drawing:
        axes = drawing.axes
        axes.bar(places - 0.2, first, width=0.4, color=SERIES[0], label="first token of the answer")
        axes.bar(places + 0.2, last, width=0.4, color=SERIES[1], label="last token")
        axes.set_xticks(places, tokens, rotation=90)
        axes.tick_params(axis="x", labelcolor=INK)
        axes.set_ylim(0, 1)
        axes.set_ylabel("probability")
        return drawing.svg("Probability of each token to be the first and the last one of the answer")


def masks(run: Run, text: str) -> str:
    """For each mask the few most probable tokens, one column of bars beside the other."""
    task: Any = run.task
    pieces = task._tokenizer(text)["input_ids"][1:-1]
    chances = task._logits(run.model, pieces, torch.no_grad).softmax(1)
    best = chances.topk(SHOWN, dim=1)
    columns = [
        [(task._tokenizer.convert_ids_to_tokens(int(id)), float(chance)) for id, chance in zip(ids, row, strict=True)]
        for ids, row in zip(best.indices, best.values, strict=True)
    ]
    return candidates(columns)


def candidates(columns: Sequence[Sequence[tuple[str, float]]]) -> str:
    """The drawing of `masks`."""
    with canvas("masks", 7.2, 1.9) as drawing:
        axes = drawing.axes
        for number, column in enumerate(columns):
            left = 1.5 * number
            for row, (token, chance) in enumerate(column):
                axes.barh(row, chance, left=left, height=0.7, color=SERIES[0] if row == 0 else SERIES[7])
                axes.text(left + chance + 0.02, row, f"{token}  {chance:.0%}", va="center", color=INK)
            axes.text(left, -0.9, f"[MASK] {number + 1}", color=MUTED)
        axes.set_ylim(SHOWN - 0.4, -1.4)
        axes.set_xlim(0, 1.5 * len(columns))
        axes.set_axis_off()
        return drawing.svg("The most probable tokens for each mask")


class Token(NamedTuple):
    """A box in the drawing of `noise`."""

    text: str
    is_mark: bool = False
    """stands for what was hidden"""
    was_hidden: bool = False
    """can be read nowhere else"""


def noise() -> str:
    """What each of the three reads, and what it is to write."""
    return boxes(dict(damaged_rows(np.random.default_rng(SEED))))


def damaged_rows(generator: np.random.Generator) -> Iterator[tuple[str, list[Token]]]:
    """The rows of the drawing by their names."""
    words = " ".join(SENTENCES).split()
    ids = np.arange(len(words))
    starts = np.array([0, len(SENTENCES[0].split())])
    yield "text", [Token(word) for word in words]

    hidden = hidden_tokens(np.ones(len(ids), dtype=bool), np.zeros(len(ids), dtype=np.int64), 0.15, generator)
    yield "BERT reads", [Token("[MASK]", is_mark=True) if id in hidden else Token(words[id]) for id in ids]
    yield "and fills in", [Token(words[id], was_hidden=True) for id in hidden]

    bart = text_infilling(ids, starts, TextInfilling(), BLANK, generator)
    yield "BART reads", [Token("<mask>", is_mark=True) if id == BLANK else Token(words[id]) for id in bart.source]
    yield "and writes", [Token(words[id], was_hidden=new) for id, new in zip(bart.target, bart.hidden, strict=True)]

    sentinels = -np.arange(1, 10)
    t5 = span_corruption(ids, SpanCorruption(share=0.3), sentinels, generator)  # twice its share: two spans are seen
    for name, row, is_new in (("T5 reads", t5.source, False), ("and writes ", t5.target, True)):
        yield name, [Token(f"<{-id - 1}>", True) if id < 0 else Token(words[id], was_hidden=is_new) for id in row]


def boxes(rows: dict[str, list[Token]]) -> str:
    """The drawing of `noise`: a line of boxes for each row."""
    character, gap, height = 0.062, 0.09, 0.26  # inches
    width = 1.0 + max(sum(len(token.text) * character + gap for token in row) for row in rows.values())
    with canvas("noise", width, height * (len(rows) + 1)) as drawing:
        axes = drawing.axes
        axes.set_position((0, 0, 1, 1))
        for line, (name, row) in enumerate(rows.items()):
            axes.text(0.0, line, name, va="center", color=MUTED)
            left = 0.95
            for token in row:
                wide = len(token.text) * character + 0.05
                fill = SERIES[0] if token.is_mark else GRID if token.was_hidden else "none"
                axes.barh(line, wide, left=left, height=0.74, color=fill, edgecolor=GRID, linewidth=0.8)
                ink = "#ffffff" if token.is_mark else INK
                axes.text(left + wide / 2, line, token.text, ha="center", va="center", color=ink, fontsize=7)
                left += wide + 0.04
        axes.set_xlim(0, width)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_axis_off()
        return drawing.svg("The same text as BERT, BART and T5 read it in pretraining, and what each is to write")


if __name__ == "__main__":
    main()
