"""The vocabularies of both sides of a sequence-to-sequence task: how they are made, kept and found again."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from seqlab.config import Config
from seqlab.errors import UserError
from seqlab.text.characters import CharacterTokenizer
from seqlab.text.tokenizer import Tokenizer


class TextConfig(Config):
    """How text becomes ids."""

    unit: Literal["character"] = "character"
    """what an id stands for"""
    shared: bool = False
    """one vocabulary for both sides, as tying all embeddings needs"""
    reverse_source: bool = False
    """read the source last character first"""
    reverse_target: bool = False
    """write the target last character first"""


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

    def unknown(self, pairs: Sequence[tuple[str, str]]) -> dict[str, Counter[str]]:
        """Per side, how often each character without an id occurs; empty when all are known."""
        found = {
            "source": self.source.unknown(source for source, _ in pairs),
            "target": self.target.unknown(target for _, target in pairs),
        }
        return {side: counts for side, counts in found.items() if counts}


def build_vocabularies(config: TextConfig, source: Iterable[str], target: Iterable[str]) -> Vocabularies:
    """Vocabularies over the characters of each side."""
    source, target = set(source), set(target)
    if config.shared:
        source = target = source | target
    return Vocabularies(
        CharacterTokenizer(source, reverse=config.reverse_source),
        CharacterTokenizer(target, reverse=config.reverse_target),
    )


def _read(path: Path) -> CharacterTokenizer:
    try:
        return CharacterTokenizer.from_json(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise UserError(f"{path}: cannot read the vocabulary of this run ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a character vocabulary (not UTF-8 text); take it from the run again") from None
