"""The data of all contenders: Multi30k en-de as ids of one joint BPE, made once with the tokenizer of seqlab."""

import gzip
from pathlib import Path

from contender import VOCABULARY, write_ids

from seqlab.text.tokenizer import SPECIALS
from seqlab.text.vocabularies import TextConfig, Vocabularies, build_vocabularies

FILES = {"train": "train", "val": "val", "test": "test_2016_flickr"}


def prepare(corpus: Path, data: Path) -> None:
    """Writes ids (`train.en`), texts (`train.text.en`), the ids that are pieces of words, and the vocabularies.

    Validation and test sentences are sorted by the length of their source, longest first: then every toolkit
    translates batches with little padding, whether or not it sorts.
    """
    data.mkdir(parents=True, exist_ok=True)
    texts = {
        split: list(zip(*(read_lines(corpus / f"{stem}.{side}.gz") for side in ("en", "de")), strict=True))
        for split, stem in FILES.items()
    }
    config = TextConfig(unit="bpe", vocab_size=VOCABULARY, shared=True)
    vocabularies = build_vocabularies(config, *(list(side) for side in zip(*texts["train"], strict=True)))
    vocabularies.save(data / "vocabularies")
    tokenizer = vocabularies.source
    assert tokenizer.vocab_size == VOCABULARY
    (data / "pieces.txt").write_text("".join(f"{word}\n" for word in range(len(SPECIALS), VOCABULARY)))
    for split, pairs in texts.items():
        if split != "train":
            pairs.sort(key=lambda pair: len(tokenizer.encode(pair[0])), reverse=True)
        for side, lines in zip(("en", "de"), zip(*pairs, strict=True), strict=True):
            (data / f"{split}.text.{side}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            write_ids(data / f"{split}.{side}", tokenizer.encode_batch(lines))


def read_lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file]


def texts_of(data: Path, sentences: list[list[int]]) -> list[str]:
    """Ids back to text."""
    tokenizer = Vocabularies.load(data / "vocabularies").target
    return [tokenizer.decode(ids) for ids in sentences]
