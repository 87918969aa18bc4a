"""Any text survives its way to ids and back, also through the files of a run."""

import tempfile
from functools import cache
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqlab.text.tokenizer import SPECIALS, UNK_ID, CharacterTokenizer, Reversed, Tokenizer
from seqlab.text.vocabularies import TextConfig, Unit, Vocabularies, build_vocabularies

# Surrogates are no text: they cannot be written as UTF-8.
characters = st.characters(exclude_categories=["Cs"])
texts = st.text(characters, max_size=50)
alphabets = st.sets(characters.map(lambda character: normalize("NFC", character)[0]), min_size=1, max_size=30)
TRAINING = [
    "der Hund und die Hündin",
    "  the dog,  the dogs",
    "l'homme n'est pas là\n",
    "犬と犬",
    "2014 <pad> <eos>",
] * 3


def reversed_or_not(tokenizer: Tokenizer, reverse: bool) -> Tokenizer:
    return Reversed(tokenizer) if reverse else tokenizer


@cache
def trained(unit: Unit) -> Tokenizer:
    """A small vocabulary that knows some pieces of words, and drops merges where it can."""
    dropout = 0.3 if unit == "bpe" else 0.0
    return build_vocabularies(TextConfig(unit=unit, dropout=dropout, shared=True), TRAINING, TRAINING).source


@given(data=st.data(), alphabet=alphabets, reverse=st.booleans())
def test_known_characters_come_back(data: st.DataObject, alphabet: set[str], reverse: bool) -> None:
    text = normalize("NFC", data.draw(st.text(st.sampled_from(sorted(alphabet)), max_size=50)))
    tokenizer = reversed_or_not(CharacterTokenizer({*alphabet, *text}), reverse)
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert all(len(SPECIALS) <= index < tokenizer.vocab_size for index in ids)
    assert tokenizer.decode(ids) == text


@given(alphabet=alphabets, text=texts, reverse=st.booleans())
def test_unknown_characters_are_as_many_as_are_counted(alphabet: set[str], text: str, reverse: bool) -> None:
    tokenizer = reversed_or_not(CharacterTokenizer(alphabet), reverse)
    unknown, text = tokenizer.unknown([text]), normalize("NFC", text)
    assert set(unknown) == set(text) - alphabet
    assert tokenizer.encode(text).count(UNK_ID) == unknown.total()
    assert tokenizer.decode(tokenizer.encode(text)) == "".join(c if c in alphabet else "<unk>" for c in text)


@pytest.mark.parametrize("unit", ["bpe", "unigram", "byte"])
@given(text=texts, reverse=st.booleans(), seed=st.integers(0, 2**32))
def test_units_made_of_bytes_bring_back_any_text(unit: Unit, text: str, reverse: bool, seed: int) -> None:
    tokenizer = reversed_or_not(trained(unit), reverse)
    for ids in (tokenizer.encode(text), tokenizer.encode_varied([text], seed)[0]):
        assert all(len(SPECIALS) <= index < tokenizer.vocab_size for index in ids)
        assert tokenizer.decode(ids) == normalize("NFC", text)


@given(text=texts)
def test_words_come_back_from_what_was_decoded(text: str) -> None:
    """Decoding keeps all but the kind and number of spaces, so that doing it again changes nothing."""
    known = build_vocabularies(TextConfig(unit="word", min_frequency=1), [text, "a"], ["a"]).source
    once = known.decode(known.encode(text))
    assert once.split() == "".join(normalize("NFC", text)).replace("￭", " ").split()
    assert known.decode(known.encode(once)) == once


@pytest.mark.parametrize("unit", ["character", "word", "bpe", "unigram", "byte"])
@given(ids=st.lists(st.integers(0, 3), max_size=6), reverse=st.booleans())
def test_special_ids_other_than_unknown_vanish(unit: Unit, ids: list[int], reverse: bool) -> None:
    tokenizer = reversed_or_not(trained(unit), reverse)
    assert tokenizer.decode(ids).replace(" ", "") == "<unk>" * ids.count(UNK_ID)
    assert tokenizer.tokens(ids) == [SPECIALS[index] for index in ids]


@given(
    source=alphabets,
    target=alphabets,
    config=st.builds(TextConfig, shared=st.booleans(), reverse_source=st.booleans(), reverse_target=st.booleans()),
)
def test_vocabularies_come_back_from_their_files(source: set[str], target: set[str], config: TextConfig) -> None:
    made = build_vocabularies(config, source, target)
    with tempfile.TemporaryDirectory() as folder:
        made.save(Path(folder) / "tokenizers")
        again = Vocabularies.load(Path(folder) / "tokenizers")
    for before, after, text in zip(made, again, ("".join(source), "".join(target)), strict=True):
        assert after.encode(text) == before.encode(text)
        assert after.to_json() == before.to_json()
    if config.shared:
        assert made.source.vocab_size == made.target.vocab_size == len(SPECIALS) + len(source | target)


@pytest.mark.parametrize("unit", ["bpe", "unigram"])
@settings(max_examples=25)
@given(training=st.lists(texts, min_size=1, max_size=4).filter(any), size=st.integers(260, 300), text=texts)
def test_any_training_texts_make_a_vocabulary(unit: Unit, training: list[str], size: int, text: str) -> None:
    config = TextConfig(unit=unit, vocab_size=size)
    tokenizer, _ = build_vocabularies(config, training, training)
    assert 260 <= tokenizer.vocab_size <= size
    assert tokenizer.decode(tokenizer.encode(text)) == normalize("NFC", text)
