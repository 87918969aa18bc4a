"""Makes finished runs that every later version has to read; `tests/system/test_old_runs.py` asks them.

python tests/data/make_runs.py          # those that are not there
python tests/data/make_runs.py -v2      # all of them by this version, beside the old ones: runs/luong-v2, ...

corpora/            what they are trained on
runs/NAME/          a run folder without its page and its last checkpoint, which a resumed run makes again
lines/NAME.in       what was asked, and in NAME.out what was answered
ablations/NAME/     an ablation: what its page is made of
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Family(NamedTuple):
    """A recipe made tiny, and lines to ask the run."""

    recipe: str
    settings: str
    lines: tuple[str, ...]


KEEP = "train.precision=fp32 train.trackers=[] train.max_minutes=null train.final=last train.keep_best=0"
SHORT = f"{KEEP} train.keep_last=2 train.max_steps=40 train.evaluate_every=32"
MEDIUM = f"{KEEP} train.keep_last=2 train.max_steps=60 train.evaluate_every=50"
LONG = f"{KEEP} train.keep_last=2 train.max_steps=200 train.evaluate_every=180"
TRANSFORMER = "model.width=12 model.num_heads=2 model.feedforward=24 model.encoder_layers=1 model.decoder_layers=1"
QUESTIONS = (
    "data.train=['train-easy'] data.validation=train-easy data.test=train-easy data.epoch_size=2000 "
    f"data.validation_size=20 data.test_size=40 {TRANSFORMER} "
    "batch.max_tokens=4096 batch.shuffle_pool=1000 optimizer.lr=1.5e-2"
)
PAIRS = "data.train=pairs.tsv data.source=en data.target=fr data.validation_size=10 data.test_size=20"
TEXT = (
    "data.train=book.txt data.document_words=20 data.validation_size=4 data.test_size=6 model.width=8 "
    "model.num_heads=2 model.feedforward=16 model.max_length=48 model.dropout=0"
)
SENTENCES = ("mia read the book in oslo", "tom lost the letter in paris", "", "zoe wrote the notes in rome")


def bar(kind: int, place: int) -> str:
    """A picture of a bar that lies (0), stands (1) or leans (2), as a line of shades."""
    black = {0: lambda y, x: y == place, 1: lambda y, x: x == place, 2: lambda y, x: x == (y + place) % 8}[kind]
    return " ".join(str(250 * black(y, x)) for y in range(8) for x in range(8))


FAMILIES = {
    "mathematics": Family(
        "math-place-value",
        f"{LONG} {QUESTIONS}",
        (
            "What is the tens digit of 110?",
            "What is the units digit of 5625?",
            "",
            "What is the hundreds digit of 961?",
            "What is the units digit of 777?",
            "What is the thousands digit of 9991?",
        ),
    ),
    "translation": Family(
        "translate",
        f"{MEDIUM} {PAIRS} text.vocab_size=290 {TRANSFORMER} model.dropout=0.0 batch.max_tokens=2048 optimizer.lr=4e-2",
        SENTENCES,
    ),
    "luong": Family(
        "luong-newstest-de-en",
        f"{MEDIUM} {PAIRS} data.test=[] data.validation=[] text.unit=word model.width=12 batch.max_tokens=1024 "
        "optimizer.lr=5e-2",
        SENTENCES,
    ),
    "images": Family(
        "mnist-rows",
        f"{SHORT} data.source=bars data.validation_size=20 model.width=8 model.state_size=8 model.num_layers=2 "
        "batch.batch_size=32 optimizer.lr=2e-2",
        tuple(bar(kind, place) for place in (1, 4, 6) for kind in (0, 1, 2)),
    ),
    "pretrain-bert": Family(
        "pretrain-bert",
        f"{SHORT} {TEXT} model.vocab_size=100 model.layers=1 task.longest=40 batch.max_tokens=2048 optimizer.lr=3e-2",
        ("mia [MASK] the book in oslo .", "", "the letter was lost by [MASK] ."),
    ),
    "pretrain-bart": Family(
        "pretrain-bart",
        f"{MEDIUM} {TEXT} model.vocab_size=280 model.encoder_layers=1 model.decoder_layers=1 task.longest=32 "
        "batch.max_tokens=2048 optimizer.lr=4e-2",
        ("mia read <mask> in oslo .", "", "in rome the letter <mask> lost by tom ."),
    ),
    "pretrain-t5": Family(
        "pretrain-t5",
        f"{SHORT} {TEXT} model.vocab_size=180 model.encoder_layers=1 model.decoder_layers=1 task.longest=40 "
        "optimizer.lr=1e-1",
        ("mia <extra_id_0> the book in oslo .", "", "in rome the letter <extra_id_0> by tom ."),
    ),
    "answers": Family(
        "squad-fifth",
        f"{SHORT} data.train=questions.json data.test=questions-test.json data.validation_size=8 data.fraction=1.0 "
        "model.checkpoint=runs/pretrain-bert task.window=32 task.stride=4 task.longest_question=12 "
        "task.longest_answer=4 optimizer.lr=3e-2",
        ("who read it ?\tmia read the book in oslo .", "", "where ?\ttom lost the letter in paris ."),
    ),
    "classes": Family(
        "cola",
        f"{SHORT} data.train=labels.tsv data.validation=null data.test=null data.text=text data.label=label "
        "model.checkpoint=runs/pretrain-bert task.longest=32 optimizer.lr=3e-2",
        ("mia read the book in oslo", "in rome the letter was lost by tom", "", "in paris the notes were read by ada"),
    ),
    "paraphrase": Family(
        "bart-paraphrase",
        f"{MEDIUM} data.train=pairs.tsv data.source=en data.target=passive data.validation_size=10 data.test_size=10 "
        "model.checkpoint=runs/pretrain-bart decode.max_length=32 optimizer.lr=4e-2",
        SENTENCES,
    ),
    "t5-translation": Family(
        "t5-de-en",
        f"{MEDIUM} {PAIRS} data.dataset=null data.subset=null data.train_size=null text.prefix=fr: "
        "model.checkpoint=runs/pretrain-t5 decode.max_length=32 optimizer.kind=adafactor optimizer.lr=1e-1",
        SENTENCES,
    ),
}
ABLATION = f"math-place-value {KEEP} {QUESTIONS} --switches buckets --seeds 1 --steps 12"


def main(suffix: str = "") -> None:
    os.chdir(Path(__file__).parent)
    os.environ |= {"SEQLAB_DATA": "corpora", "OMP_NUM_THREADS": "1"}
    for name, family in FAMILIES.items():
        if not Path("runs", name + suffix).exists():
            make_run(name + suffix, family)
    if not Path("ablations", f"mathematics{suffix}").exists():
        make_ablation(Path("ablations", f"mathematics{suffix}"))


def make_run(name: str, family: Family) -> None:
    """Trains a run, asks it, and takes out what a resumed one makes again."""
    run, asked = Path("runs", name), Path("lines", f"{name}.in")
    seqlab("train", family.recipe, *family.settings.split(), "--out", str(run))
    asked.parent.mkdir(exist_ok=True)
    asked.write_text("".join(f"{line}\n" for line in family.lines), encoding="utf-8")
    seqlab("predict", str(run), "--file", str(asked), "--out", str(asked.with_suffix(".out")))
    (run / "report.html").unlink()
    shutil.rmtree(max((run / "checkpoints").iterdir()))


def make_ablation(folder: Path) -> None:
    """Trains two configurations, one with buckets and one without."""
    seqlab("ablate", *ABLATION.split(), "--out", str(folder))
    for unneeded in ("*.html", "model.safetensors", "attention.json"):
        for path in folder.rglob(unneeded):
            path.unlink()
    for path in (folder / "logs", *folder.rglob("checkpoints")):
        shutil.rmtree(path)


def seqlab(*words: str) -> None:
    """Calls the command line."""
    subprocess.run([sys.executable, "-m", "seqlab", *words, "--device", "cpu"], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
