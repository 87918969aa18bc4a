"""Questions of a mathematics module: training, validation and test sets that share none.

Questions are drawn by `seqlab.data.synthetic.questions`, or read from the files of the published v1.0 release.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from seqlab.config.settings import Config
from seqlab.data.corpora.corpus import Example, Overview
from seqlab.data.corpora.question_files import read_pairs, read_questions
from seqlab.data.corpora.splitting import set_seed, take_distinct
from seqlab.data.readers.columns import Columns
from seqlab.data.readers.lines import COMPRESSED, find
from seqlab.data.synthetic.questions import Module, Split, alphabet, questions
from seqlab.data.synthetic.working import CHARACTERS, with_working, without_working
from seqlab.errors import UserError


class MathematicsData(Config):
    """Questions of one module of the DeepMind Mathematics data set."""

    kind: Literal["mathematics"] = "mathematics"
    """questions and answers of a mathematics module"""
    module: Module
    """which problems: linear equations, sorting, or the digit at a place"""
    train: tuple[Split, ...] = Field(default=("train-easy", "train-medium", "train-hard"), min_length=1)
    """splits to train on; drawn questions are mixed in equal parts"""
    validation: Split = "interpolate"
    """split that is evaluated while training"""
    test: Split = "interpolate"
    """split of the final score"""
    folder: Path | None = None
    """folder of the published v1.0 release (train-easy/, ..., interpolate/ with MODULE.txt); drawn when absent"""
    working: bool = False
    """linear equations: targets show running sums of the terms before the answer; only the answer is scored"""
    epoch_size: int = Field(default=20_000, ge=1)
    """fresh examples per epoch, when they are drawn"""
    validation_size: int = Field(default=1000, ge=1)
    """number of validation examples"""
    test_size: int = Field(default=2000, ge=1)
    """number of test examples"""
    seed: int = 1
    """picks the drawn questions"""

    @model_validator(mode="after")
    def _splits_make_sense(self) -> Self:
        for split in self.train:
            if self.train.count(split) > 1:
                raise ValueError(f"train names {split} twice")
        if self.working and self.module != "algebra__linear_1d":
            raise ValueError(f"working is shown for algebra__linear_1d only, not for {self.module}")
        if self.folder is not None:
            for name, split in (("validation", self.validation), ("test", self.test)):
                if split in self.train:
                    raise ValueError(f"{name} is {split}, which is also trained on: published files would leak")
        return self


class Mathematics:
    """Training, validation and test examples, drawn or read from published files.

    No drawn question stands in two of them, and none twice in validation or test. Each set has its own seed: a hash of
    the config's seed, the name of the set and the epoch. When validation and test are the same published split, the
    validation examples are the first of its file and the test examples follow them.

    Raises UserError when a published file is missing or not as it should be, when it is read.
    """

    config_class = MathematicsData
    example = Example

    def __init__(self, config: MathematicsData):
        self.config = config

    def check_files(self) -> None:
        """Raises UserError when a published file is missing, before training starts.

        A trained run answers questions without them, on machines that do not have them.
        """
        self.files()

    def files(self) -> list[Path]:
        """The published files; none when questions are drawn."""
        config = self.config
        splits = dict.fromkeys((*config.train, config.validation, config.test))
        return [_published_file(config.folder, split, config.module) for split in splits] if config.folder else []

    def training(self, epoch: int) -> list[Example]:
        """Drawn: `epoch_size` fresh examples, a pure function of (config, epoch), the splits taking turns.

        Published files: all examples, the same every epoch.
        """
        if self.config.folder is not None:
            return self._shown(list(chain.from_iterable(self._published_training.values())))
        parts = self._drawn_training(epoch)
        return self._shown(list(islice(chain.from_iterable(zip(*parts.values(), strict=True)), self.config.epoch_size)))

    def validation(self) -> list[Example]:
        """Examples to watch while training."""
        return self._shown(self._held_out[0])

    def test(self) -> list[Example]:
        """Examples of the final score."""
        return self._shown(self._held_out[1])

    def scored_text(self, text: str) -> str:
        """The part of a target, or of what a model wrote, that is scored."""
        return without_working(text) if self.config.working else text

    def splits(self) -> dict[str, Sequence[Example]]:
        """Every training split by name (when drawn: its part of epoch 0), then `validation` and `test`."""
        training = self._drawn_training(0) if self.config.folder is None else self._published_training
        return {**training, "validation": self.validation(), "test": self.test()}

    def alphabet(self) -> tuple[set[str], set[str]]:
        """The characters of sources and of targets: all that can be drawn, or all that stand in the training files."""
        if self.config.folder is None:
            source, target = alphabet(self.config.module)
            return source, target | CHARACTERS if self.config.working else target
        examples = self.training(0)
        return set().union(*(e.source for e in examples)), set().union(*(e.target for e in examples))

    @property
    def languages(self) -> None:
        """Questions are answered, not translated."""
        return None

    def texts(self) -> tuple[Iterable[str], Iterable[str]]:
        """What vocabularies are made from: every character that can occur, and the examples of an epoch."""
        examples, (source, target) = self.training(0), self.alphabet()
        return [*sorted(source), *(e.source for e in examples)], [*sorted(target), *(e.target for e in examples)]

    def overview(self) -> Overview:
        """The lengths of both sides."""
        return Overview(texts=self.splits(), remarks=self.remarks())

    def remarks(self) -> list[str]:
        """Nothing to say: drawn questions are clean and shared by no two sets."""
        return []

    def leaks(self) -> list[str]:
        """None: no two sets share an example."""
        return []

    def read(self, path: Path) -> list[Example]:
        """The examples of a user's file: tab-separated, or a question and its answer on lines that alternate."""
        return self._shown(read_pairs(path))

    def input_columns(self) -> list[Columns]:
        """The question; in a table without a header, the first of two columns."""
        both = Columns(("question", "answer"), guessed=True, names=("question", "answer"), are_languages=False)
        return [Columns(("question",), names=("question",), are_languages=False), both]

    def _shown(self, examples: list[Example]) -> list[Example]:
        """The examples as the model sees them: with the working, if it is asked for."""
        if not self.config.working:
            return examples
        return [Example(e.source, with_working(e.source, e.target)) for e in examples]

    @cached_property
    def _held_out(self) -> tuple[list[Example], list[Example]]:
        return self._draw_held_out() if self.config.folder is None else self._read_held_out(self.config.folder)

    @cached_property
    def _held_out_questions(self) -> set[str]:
        return {example.source for example in chain(*self._held_out)}

    def _drawn_training(self, epoch: int) -> dict[str, list[Example]]:
        size = -(-self.config.epoch_size // len(self.config.train))
        return {split: self._draw_training(split, size, epoch) for split in self.config.train}

    def _draw_training(self, split: str, size: int, epoch: int) -> list[Example]:
        drawn = questions(self.config.module, split, set_seed(self.config.seed, f"training/{split}", epoch))
        return list(islice((e for e in drawn if e.source not in self._held_out_questions), size))

    def _draw_held_out(self) -> tuple[list[Example], list[Example]]:
        config = self.config
        drawn = questions(config.module, config.validation, set_seed(config.seed, "validation", 0))
        validation = take_distinct(drawn, config.validation_size, exclude=set())
        drawn = questions(config.module, config.test, set_seed(config.seed, "test", 0))
        test = take_distinct(drawn, config.test_size, exclude={e.source for e in validation})
        return validation, test

    @cached_property
    def _published_training(self) -> dict[str, list[Example]]:
        config = self.config
        assert config.folder is not None
        return {split: read_questions(_published_file(config.folder, split, config.module)) for split in config.train}

    def _read_held_out(self, folder: Path) -> tuple[list[Example], list[Example]]:
        config = self.config
        if config.validation == config.test:
            needed = config.validation_size + config.test_size
            examples = _read_first(folder, config.test, config.module, needed, "validation_size + test_size")
            return examples[: config.validation_size], examples[config.validation_size :]
        return (
            _read_first(folder, config.validation, config.module, config.validation_size, "validation_size"),
            _read_first(folder, config.test, config.module, config.test_size, "test_size"),
        )


def _read_first(folder: Path, split: str, module: str, size: int, setting: str) -> list[Example]:
    path = _published_file(folder, split, module)
    examples = read_questions(path)
    if len(examples) < size:
        raise UserError(f"{path}: holds {len(examples)} questions, but {setting} asks for {size}: lower it")
    return examples[:size]


def _published_file(folder: Path, split: str, module: str) -> Path:
    plain = folder / split / f"{module}.txt"
    if path := find(plain):
        return path
    raise UserError(
        f"{plain}: no such file (nor with {' or '.join(COMPRESSED)}); "
        f"data.folder is the unpacked v1.0 release, with {split}/{module}.txt in it"
    )
