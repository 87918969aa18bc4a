"""Is the unigram trainer of `sentencepiece` better than ours? Both learn from the same words, into the same tokenizer.

python -m pip install sentencepiece
python benchmarks/unigram.py train.en train.de --held-out val.en val.de [--out FILE]

`sentencepiece` gets what `text/unigram.py` gets: the words of a text in byte characters, which no piece crosses. Its
pieces and scores then stand in our tokenizer, so that only the training differs. In the last row it works as it comes,
on text, with its own normal form and its own rules of what a word is; an unknown character there becomes bytes.
"""

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Callable
from importlib.metadata import files, version
from pathlib import Path
from typing import Any

import sentencepiece

from generator import machine
from seqlab.text.subwords import CHARACTERS, SubwordTokenizer, UnigramPieces, _prefixed, _splitter, train_unigram
from seqlab.text.tokenizer import SPECIALS
from seqlab.text.unigram import LONGEST_PIECE
from vocabularies import lines

VOCAB_SIZE = 8000
REPEATS = 3
SPACE, THEIR_SPACE = CHARACTERS[ord(" ")], "▁"
MARK = "\t"
COMMON: dict[str, Any] = {
    "model_type": "unigram",
    "character_coverage": 1.0,
    "max_sentence_length": 1_000_000,
    "num_threads": 1,
    "minloglevel": 2,
}


def spelled(texts: list[str]) -> list[str]:
    """Each text in byte characters: words with a space before them are apart by that, others by a mark."""
    words = ([word for word, _ in _splitter().pre_tokenize_str(_prefixed(text))] for text in texts)
    return ["".join(word.replace(SPACE, " ") if word[0] == SPACE else MARK + word for word in line) for line in words]


def trained(sentences: list[str], **options: Any) -> bytes:
    """A model of sentencepiece."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, **(COMMON | options)
    )
    return model.getvalue()


def drop_in(texts: list[str]) -> SubwordTokenizer:
    """Our tokenizer with the pieces of sentencepiece."""
    model = trained(
        spelled(texts),
        vocab_size=VOCAB_SIZE - len(SPECIALS) + 1,  # one of them is <unk>, which cannot be left out
        pretokenization_delimiter=MARK,
        required_chars="".join(CHARACTERS).replace(SPACE, THEIR_SPACE),
        max_sentencepiece_length=LONGEST_PIECE,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        split_by_unicode_script=False,
        split_by_number=False,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        unk_id=0,
    )
    found = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [found.id_to_piece(number).replace(THEIR_SPACE, SPACE) for number in range(1, found.vocab_size())]
    scores = dict(zip(pieces, map(found.get_score, range(1, found.vocab_size())), strict=True))
    return SubwordTokenizer(UnigramPieces({character: scores[character] for character in CHARACTERS} | scores))


def measure(
    train: Callable[[], Any], encode: Callable[[Any, list[str]], list[list[int]]], held_out: list[str]
) -> tuple[Any, dict[str, Any]]:
    """What was learned; CPU seconds, lengths of held-out text, and whether every training gives the same."""
    learned, taken = [], []
    for _ in range(REPEATS):
        start = time.process_time()
        learned.append(train())
        taken.append(time.process_time() - start)
    ids = encode(learned[0], held_out)
    return learned[0], {
        "train_cpu_s": {"median": statistics.median(taken), "min": min(taken), "max": max(taken)},
        "held_out_ids_per_sentence": sum(map(len, ids)) / len(held_out),
        "held_out_ids_per_word": sum(map(len, ids)) / sum(len(text.split()) for text in held_out),
        "same_every_time": all(_content(each) == _content(learned[0]) for each in learned),
    }


def _content(trained: Any) -> Any:
    return trained.to_json() if isinstance(trained, SubwordTokenizer) else trained


def encode_as_it_comes(model: bytes, texts: list[str]) -> list[list[int]]:
    return sentencepiece.SentencePieceProcessor(model_proto=model).encode(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--held-out", type=Path, nargs=2, required=True)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # CPU time of threads that wait for each other says nothing

    texts = lines(arguments.source) + lines(arguments.target)
    held_out = [line for path in arguments.held_out for line in lines(path)]
    start = time.process_time()
    spelled(texts)
    results: dict[str, Any] = {"finding_words_cpu_s": time.process_time() - start}

    def through_ours(tokenizer: SubwordTokenizer, texts: list[str]) -> list[list[int]]:
        return tokenizer.encode_batch(texts)

    ours, results["ours"] = measure(lambda: train_unigram(texts, VOCAB_SIZE), through_ours, held_out)
    theirs, results["sentencepiece, same words"] = measure(lambda: drop_in(texts), through_ours, held_out)
    _, results["sentencepiece, as it comes"] = measure(
        lambda: trained(texts, vocab_size=VOCAB_SIZE, byte_fallback=True), encode_as_it_comes, held_out
    )
    pieces = [set(tokenizer.learned.entries()) - set(CHARACTERS) for tokenizer in (ours, theirs)]
    results["pieces"] = [len(each) for each in pieces]
    results["pieces_in_common"] = len(pieces[0] & pieces[1])
    results["sentencepiece_installed_mb"] = (
        sum(Path(file.locate()).stat().st_size for file in files("sentencepiece") or []) / 1e6
    )
    report = {
        "lines": len(texts),
        "held_out_lines": len(held_out),
        "vocab_size": VOCAB_SIZE,
        "repeats": REPEATS,
        "sentencepiece": version("sentencepiece"),
        "machine": machine(),
        "results": results,
    }
    print(json.dumps(report, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
