"""What becomes of several sentences on one line? BLEU of lines that are read whole, and sentence by sentence.

python benchmarks/long_lines.py RUN test.en test.de [--sentences 400] [--out FILE]
"""

import argparse
import json
from pathlib import Path
from typing import Any

from generator import machine
from seqlab import Run
from seqlab.data.readers.lines import read_lines
from seqlab.metrics.bleu import Bleu
from seqlab.metrics.metric import Outputs, quick_scores

A_LINE = (1, 2, 3, 4, 8)
"""Sentences on a line."""

WHOLE = {"decode.max_sentences": 1000, "decode.max_source": 1000, "decode.max_length": 400}
APART = {"decode.max_sentences": 1}


def joined(texts: list[str], number: int) -> list[str]:
    """So many neighbours on each line."""
    return [" ".join(texts[start : start + number]) for start in range(0, len(texts), number)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--sentences", type=int, default=400)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()

    sources, targets = (
        [line.strip() for line in read_lines(path)][: arguments.sentences]
        for path in (arguments.source, arguments.target)
    )
    whole, apart = Run(arguments.run, settings=WHOLE), Run(arguments.run, settings=APART)
    results: dict[str, Any] = {}
    print("| sentences on a line | read whole, BLEU | sentence by sentence, BLEU |")
    print("|---|---|---|")
    for number in A_LINE:
        lines, references = joined(sources, number), joined(targets, number)
        scores = [quick_scores([Bleu()], Outputs(run.predict(lines), [references]))["bleu"] for run in (whole, apart)]
        results[str(number)] = dict(zip(("whole", "apart"), scores, strict=True))
        print(f"| {number} | " + " | ".join(f"{score:.1f}" for score in scores) + " |")
    if arguments.out:
        facts = {"sentences": len(sources), "machine": machine(), "results": results}
        arguments.out.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
