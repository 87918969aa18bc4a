"""Any text over any alphabet survives its way to ids and back, also through the files of a run."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from seqlab.text.characters import CharacterTokenizer
from seqlab.text.tokenizer import SPECIALS, UNK_ID
from seqlab.text.vocabularies import TextConfig, Vocabularies, build_vocabularies

# Surrogates are no text: they cannot be written as UTF-8.
characters = st.characters(exclude_categories=["Cs"])
alphabets = st.sets(characters, min_size=1, max_size=30)


@given(data=st.data(), alphabet=alphabets, reverse=st.booleans())
def test_known_text_comes_back(data: st.DataObject, alphabet: set[str], reverse: bool) -> None:
    tokenizer = CharacterTokenizer(alphabet, reverse=reverse)
    text = data.draw(st.text(st.sampled_from(sorted(alphabet)), max_size=50))
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert all(len(SPECIALS) <= index < tokenizer.vocab_size for index in ids)
    assert tokenizer.decode(ids) == text


@given(alphabet=alphabets, text=st.text(characters, max_size=50), reverse=st.booleans())
def test_unknown_characters_are_as_many_as_are_counted(alphabet: set[str], text: str, reverse: bool) -> None:
    tokenizer = CharacterTokenizer(alphabet, reverse=reverse)
    unknown = tokenizer.unknown([text])
    assert set(unknown) == set(text) - alphabet
    assert tokenizer.encode(text).count(UNK_ID) == unknown.total()
    assert tokenizer.decode(tokenizer.encode(text)) == "".join(c if c in alphabet else "<unk>" for c in text)


@given(alphabet=alphabets, ids=st.lists(st.integers(0, 3), max_size=6), reverse=st.booleans())
def test_special_ids_other_than_unknown_vanish(alphabet: set[str], ids: list[int], reverse: bool) -> None:
    tokenizer = CharacterTokenizer(alphabet, reverse=reverse)
    assert tokenizer.decode(ids) == "<unk>" * ids.count(UNK_ID)


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
        assert (after.characters, after.reverse) == (before.characters, before.reverse)
    if config.shared:
        assert made.source.vocab_size == made.target.vocab_size == len(SPECIALS) + len(source | target)
