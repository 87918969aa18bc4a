"""The vocabularies of both sides of a sequence-to-sequence task: how they are made, kept and found again."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from seqlab.config.settings import Config
from seqlab.errors import UserError
from seqlab.text.hf.pretrained import PretrainedTokenizer
from seqlab.text.subwords import Merges, SubwordTokenizer, UnigramPieces, train_bpe, train_unigram
from seqlab.text.tokenizer import (
    SPECIALS,
    ByteTokenizer,
    CharacterTokenizer,
    Protected,
    Reversed,
    SpecialIds,
    Tokenizer,
    any_of,
    normalized,
    split_at,
)
from seqlab.text.words import WordTokenizer, train_words

Unit = Literal["character", "word", "bpe", "unigram", "byte", "pretrained"]

UNITS_OF: dict[str, tuple[Unit, ...]] = {
    "vocab_size": ("word", "bpe", "unigram"),
    "min_frequency": ("word", "bpe"),
    "dropout": ("bpe",),
    "shared": ("character", "word", "bpe", "unigram", "byte"),
    "reverse_source": ("character", "word", "bpe", "unigram", "byte"),
    "reverse_target": ("character", "word", "bpe", "unigram", "byte"),
    "prefix": ("pretrained",),
}
"""The settings that only some units read; all others matter to every unit."""

TAG = r"<[^<>\s]{1,30}>|>>[^<>\s]{1,30}<<|__[^_\s]{1,30}__|\[[^\[\]\s]{1,30}\]|\{[^{}\s]{1,30}\}"
"""Regular expression of what people put in front of a source to say what is wanted: `<2de>`, `>>deu<<`, `__de__`."""

SMALLEST = {"word": len(SPECIALS) + 1, "bpe": len(SPECIALS) + 256, "unigram": len(SPECIALS) + 256}
"""Ids that a vocabulary has at least: the special ones and one word, or all bytes."""


class TextConfig(Config):
    """How text becomes ids."""

    unit: Unit = "character"
    """unit of the vocabulary; bpe, unigram: subwords, down to bytes; pretrained: the tokenizer of the checkpoint"""
    vocab_size: int = 8000
    """word, bpe, unigram: largest vocabulary, with the four special tokens"""
    min_frequency: int = Field(default=2, ge=1)
    """word, bpe: smallest count in the training texts of a word, or of a pair to be merged"""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """bpe: BPE-dropout, the probability that a merge is skipped, drawn anew each epoch"""
    shared: bool = False
    """one vocabulary for both sides; tying all embeddings needs it"""
    reverse_source: bool = False
    """reverse the ids of the source"""
    reverse_target: bool = False
    """reverse the ids of the target"""
    protected: tuple[str, ...] = ()
    """symbols that are never split, such as ["<2de>", "<2fr>"]"""
    prefix_pattern: str | None = None
    """regular expression of what at a line's start belongs to each sentence; absent: protected symbols, learned tags"""
    prefix: str = ""
    """pretrained: prefix of every source that names the task, such as "translate German to English: " for T5"""

    @model_validator(mode="after")
    def _settings_fit_together(self) -> "TextConfig":
        for name, units in UNITS_OF.items():
            default = type(self).model_fields[name].default
            if self.unit not in units and getattr(self, name) != default:
                readers = " or ".join(f'unit="{unit}"' for unit in units)
                raise ValueError(
                    f'{name}={getattr(self, name)} has no effect with unit="{self.unit}": '
                    f"choose {readers}, or leave {name} at {default!r}"
                )
        if blank := [symbol for symbol in self.protected if not symbol.strip() or symbol != symbol.strip()]:
            raise ValueError(f"protected symbols have no white space at their ends, not {blank[0]!r}")
        if known := {*SPECIALS} & {*self.protected}:
            raise ValueError(f"{sorted(known)[0]} is a special token of every vocabulary: protect another symbol")
        if len({*self.protected}) < len(self.protected):
            raise ValueError("protected lists a symbol twice")
        try:
            re.compile(self.prefix_pattern or "")
        except re.error as error:
            raise ValueError(f"prefix_pattern is not a regular expression ({error})") from None
        if self.vocab_size < (smallest := SMALLEST.get(self.unit, 0)):
            raise ValueError(f'vocab_size={self.vocab_size} is too small: unit="{self.unit}" needs {smallest} or more')
        return self

    def line_prefix(self, *, tagged: bool) -> str:
        """The regular expression of what belongs to every sentence of a line; `tagged`: training sources have tags."""
        if self.prefix_pattern is not None:
            return self.prefix_pattern
        symbols = "|".join(filter(None, (any_of(self.protected), TAG if tagged else "")))
        return rf"(?:(?:{symbols})\s*)+" if symbols else ""


class Vocabularies(NamedTuple):
    """One tokenizer a side."""

    source: Tokenizer
    target: Tokenizer

    def save(self, folder: Path) -> None:
        """Writes source.json and target.json."""
        folder.mkdir(parents=True, exist_ok=True)
        for side, tokenizer in self._asdict().items():
            (folder / f"{side}.json").write_text(tokenizer.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Vocabularies":
        """Reads what `save` wrote; raises UserError that names a missing or damaged file."""
        return cls(*(_read(folder / f"{side}.json") for side in cls._fields))

    @property
    def special(self) -> SpecialIds:
        """Those of the targets; a source needs none but padding, which is the same."""
        return self.target.special

    def unknown(self, pairs: Sequence[tuple[str, str]]) -> dict[str, Counter[str]]:
        """Per side, how often each piece without an id occurs; empty when all are known."""
        found = {
            "source": self.source.unknown(source for source, _ in pairs),
            "target": self.target.unknown(target for _, target in pairs),
        }
        return {side: counts for side, counts in found.items() if counts}


def mostly_tagged(sources: Sequence[str]) -> bool:
    """Whether nearly all sources begin with a tag."""
    tagged = sum(re.match(TAG, source) is not None for source in sources)
    return tagged > 0 and tagged >= 0.9 * len(sources)


def build_vocabularies(config: TextConfig, source: Iterable[str], target: Iterable[str]) -> Vocabularies:
    """Vocabularies made from the training texts of each side, or of both together.

    The same texts give the same vocabularies in every process. The texts are read once and never held together.

    Raises:
        UserError: if a side has no text, or no word that is frequent enough.
    """
    source, target = _some(source, "source"), _some(target, "target")
    if config.shared:
        first = second = _trained(config, chain(source, target))
    else:
        first, second = _trained(config, source), _trained(config, target)
    return Vocabularies(
        Reversed(first) if config.reverse_source else first,
        Reversed(second) if config.reverse_target else second,
    )


def tokenizer_from_json(text: str) -> Tokenizer:
    """The tokenizer that wrote this; raises ValueError, TypeError or LookupError if the text is damaged."""
    fields = json.loads(text)
    match fields:
        case {"kind": "characters", "characters": str(characters)}:
            tokenizer = CharacterTokenizer(characters)
        case {"kind": "bytes"}:
            tokenizer = ByteTokenizer()
        case {"kind": "words", "entries": list(entries)} if all(isinstance(entry, str) for entry in entries):
            tokenizer = WordTokenizer(entries)
        case {"kind": "bpe", "merges": list(merges), "dropout": float(dropout)}:
            pairs = (str.split(merge, " ") for merge in merges)
            tokenizer = SubwordTokenizer(Merges(tuple((left, right) for left, right in pairs), dropout))
        case {"kind": "unigram", "pieces": dict(pieces)}:
            tokenizer = SubwordTokenizer(UnigramPieces({piece: float(score) for piece, score in pieces.items()}))
        case {"kind": "pretrained"}:
            tokenizer = PretrainedTokenizer.from_fields(fields)
        case _:
            raise ValueError("no kind of vocabulary looks like this")
    if symbols := fields.get("protected"):
        tokenizer = Protected(tokenizer, map(str, symbols))
    return Reversed(tokenizer) if fields.get("reverse") else tokenizer


def _trained(config: TextConfig, texts: Iterator[str]) -> Tokenizer:
    if not config.protected:
        return _learned(config, texts)
    symbols = tuple(map(normalized, config.protected))
    plain = (part for text in texts for part in split_at(normalized(text), symbols) if part not in symbols)
    return Protected(_learned(config, plain), symbols)


def _learned(config: TextConfig, texts: Iterator[str]) -> Tokenizer:
    match config.unit:
        case "character":
            return CharacterTokenizer(character for text in texts for character in normalized(text))
        case "byte":
            return ByteTokenizer()
        case "word":
            return train_words(texts, config.vocab_size, config.min_frequency)
        case "bpe":
            return train_bpe(texts, config.vocab_size, config.min_frequency, config.dropout)
        case "unigram":
            return train_unigram(texts, config.vocab_size)
        case "pretrained":
            raise AssertionError("a checkpoint brings its own vocabulary")


def _some(texts: Iterable[str], side: str) -> Iterator[str]:
    """The texts that are not empty; raises UserError if there is none."""
    found = filter(None, texts)
    first = next(found, None)
    if first is None:
        raise UserError(f"the {side} side of the training texts is empty: there is nothing to make a vocabulary of")
    return chain([first], found)


def _read(path: Path) -> Tokenizer:
    try:
        return tokenizer_from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot read the vocabulary of this run ({error.strerror})") from None
    except (ValueError, TypeError, LookupError) as error:
        raise UserError(f"{path}: not a vocabulary ({error}); restore it from a copy of the run") from None
