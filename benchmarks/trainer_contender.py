"""`transformers.Trainer` on windows of SQuAD, as `run_qa` trains; `trainer.py` starts this and asks for measurements.

    python benchmarks/trainer_contender.py --windows FILE.npz --checkpoint FOLDER --folder FOLDER

Runs in the virtual environment of transformers. Each line of the standard input is a measurement that is asked for, a
JSON object; its result is a line of the standard output, another one.
"""

import argparse
import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

from timing import Stopwatch, evenly_spaced

LONGEST = 384
"""What `run_qa` pads every window to, unless it is told to pad to the longest of the batch."""
Example = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=Path, required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--folder", type=Path, required=True, help="for what the Trainer writes")
    options = parser.parse_args()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    sys.stdout = sys.stderr  # whatever the libraries print
    windows = Windows(options.windows)
    tokenizer = AutoTokenizer.from_pretrained(options.checkpoint, local_files_only=True)
    for line in sys.stdin:
        result = measured(windows, tokenizer, options, **json.loads(line))
        print(json.dumps(result), file=answers, flush=True)


class Windows:
    """The windows of the recipe, as arrays."""

    def __init__(self, path: Path) -> None:
        arrays = np.load(path)
        self.offsets, self.labels = arrays["offsets"], arrays["labels"]
        self.ids, self.types = (np.split(arrays[name], self.offsets[1:-1]) for name in ("ids", "types"))
        self.lengths = np.diff(self.offsets).tolist()

    @cache  # noqa: B019 - there is one such object
    def examples(self, padded_to: int) -> Dataset:
        """As `run_qa` has them: lists, padded already where all have one length."""
        columns: dict[str, list[Any]] = {name: [] for name in ("input_ids", "token_type_ids", "attention_mask")}
        for ids, types in zip(self.ids, self.types, strict=True):
            padding = [0] * (padded_to - len(ids))  # BERT's padding has the id 0
            columns["input_ids"].append([*ids.tolist(), *padding])
            columns["token_type_ids"].append([*types.tolist(), *padding])
            columns["attention_mask"].append([*[1] * len(ids), *padding])
        first, last = self.labels.T.tolist()
        return Dataset.from_dict({**columns, "start_positions": first, "end_positions": last})


def measured(
    windows: Windows,
    tokenizer: Any,
    options: argparse.Namespace,
    *,
    precision: str,
    padding: str,
    attention: str,
    rows: int,
    rate: float,
    updates: int,
    share: float,
    seed: int,
) -> Example:
    """Windows, real tokens, places and seconds of so many updates, after one that warms up."""
    fixed = padding == "fixed"
    model = AutoModelForQuestionAnswering.from_pretrained(
        options.checkpoint, local_files_only=True, attn_implementation=attention, dtype=torch.float32
    )
    clock = Clock()
    trainer = SomeBatches(
        model=model,
        args=TrainingArguments(
            output_dir=str(options.folder),
            use_cpu=True,
            bf16=precision == "bf16",
            per_device_train_batch_size=rows,
            train_sampling_strategy="group_by_length" if padding == "grouped" else "random",
            learning_rate=rate,
            warmup_steps=1,
            max_steps=updates + 1,
            seed=seed,
            dataloader_pin_memory=False,
            logging_strategy="no",
            save_strategy="no",
            eval_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=windows.examples(LONGEST if fixed else 0),
        data_collator=default_data_collator if fixed else DataCollatorWithPadding(tokenizer),
        callbacks=[clock],
    )
    trainer.lengths, trainer.fixed, trainer.updates, trainer.share = windows.lengths, fixed, updates, share
    trainer.train()
    return {**trainer.counts, **clock.seconds}


class SomeBatches(Trainer):
    """Trains on batches that its own sampler makes, evenly spaced over all lengths; the first one only warms up."""

    lengths: list[int]
    fixed: bool
    updates: int
    share: float
    counts: dict[str, int]

    def _get_train_sampler(self, train_dataset: Any = None) -> list[int]:  # pyright: ignore
        rows, order = self.args.train_batch_size, list(self._sampler())
        batches = [order[start : start + rows] for start in range(0, len(order), rows)]
        widths = [LONGEST if self.fixed else max(self.lengths[row] for row in batch) for batch in batches]
        places = evenly_spaced(widths, self.updates, self.share)
        trained = [row for place in places for row in batches[place]]
        self.counts = {
            "updates": self.updates,
            "windows": len(trained),
            "tokens": sum(self.lengths[row] for row in trained),
            "places": sum(len(batches[place]) * widths[place] for place in places),
        }
        return batches[places[-1]] + trained

    def _sampler(self) -> Any:
        """That of the Trainer, which is told the lengths so that it need not look at every window for them."""
        lengths = Dataset.from_dict({"length": self.lengths})
        return super()._get_train_sampler(lengths)


class Clock(TrainerCallback):
    """Time from the end of the first update to that of the last one: fetching the next batch is part of it."""

    seconds: dict[str, float]

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        if state.global_step == 1:
            self.stopwatch = Stopwatch()
        self.seconds = self.stopwatch.seconds()


if __name__ == "__main__":
    main()
