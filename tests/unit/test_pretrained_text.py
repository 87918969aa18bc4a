"""Tokenizers of pretrained models: the ids of `transformers`, kept with the run; special tokens in a text are text."""

from pathlib import Path
from typing import Any

import pytest

from seqlab.errors import UserError
from seqlab.runs.hf_folder import find_checkpoint, load_tokenizer
from seqlab.text.hf.pretrained import sides, text_encoder
from seqlab.text.tokenizer import SpecialIds
from seqlab.text.vocabularies import TextConfig, Vocabularies

pytest.importorskip("transformers", reason="pretrained models need transformers")

TEXTS = ["the notes, 12 of them", "café and cafe\u0301", "", "x\ud800y", "a<pad>b"]


def both(folder: Path, start_id: int, prefix: str = "") -> tuple[Any, Vocabularies]:
    tokenizer = load_tokenizer(find_checkpoint(str(folder)))
    return tokenizer, Vocabularies(*sides(tokenizer, start_id, prefix))


def test_t5_starts_from_padding_and_reads_the_prefix(tiny_t5: Path, tmp_path: Path) -> None:
    tokenizer, vocabularies = both(tiny_t5, 0, "say: ")
    assert vocabularies.special == SpecialIds(pad=0, bos=0, eos=1)
    for text in TEXTS[:3]:
        assert vocabularies.source.encode(text) == tokenizer("say: " + text)["input_ids"]
        assert vocabularies.target.encode(text) == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert vocabularies.source.encode("a")[-1] == 1
    assert vocabularies.target.unknown(["the Ж and Ж"]) == {"Ж": 2}
    _kept(vocabularies, tmp_path)


def test_bart_starts_from_its_end_and_then_its_begin(tiny_bart: Path, tmp_path: Path) -> None:
    tokenizer, vocabularies = both(tiny_bart, 2)
    assert vocabularies.special == SpecialIds(pad=1, bos=0, eos=2, decoder_prefix=(2,))
    for text in TEXTS[:3]:
        assert vocabularies.source.encode(text) == tokenizer(text)["input_ids"]
        assert vocabularies.target.decode(vocabularies.target.encode(text)) == text  # no other form of é
    assert vocabularies.target.tokens(vocabularies.target.encode("a the é"))[:3] == ["a", "▁the", "▁"]
    assert vocabularies.target.unknown(TEXTS) == {}
    assert vocabularies.special.pad not in vocabularies.target.encode("a<pad>b")
    _kept(vocabularies, tmp_path)


@pytest.mark.parametrize("fixture", ["tiny_t5", "tiny_bart", "tiny_encoder"])
def test_special_tokens_in_a_text_are_text(fixture: str, request: pytest.FixtureRequest) -> None:
    tokenizer = load_tokenizer(find_checkpoint(str(request.getfixturevalue(fixture))))
    encoder = text_encoder(tokenizer)
    unknown = tokenizer.unk_token_id
    for name in tokenizer.all_special_tokens:
        # "</s>" is among the pieces of a unigram model itself
        ids = encoder.encode(f"the {name} notes{name}a", add_special_tokens=False).ids
        assert not ({*tokenizer.all_special_ids} - {unknown}) & {*ids}
        assert len(ids) > len(encoder.encode("the notes a", add_special_tokens=False).ids) + 2
    for text in TEXTS[:3]:
        assert encoder.encode(text).ids == tokenizer(text)["input_ids"]
    assert encoder is not tokenizer.backend_tokenizer  # which is saved with the run


def test_the_end_of_a_t5_in_a_text_does_not_end_it(tiny_t5: Path) -> None:
    _, vocabularies = both(tiny_t5, 0)
    assert vocabularies.target.encode("a</s>b") == [3, 4, 2, 2, 22, 2, 5]  # <, / and > are unknown to it
    assert vocabularies.source.encode("</s>").count(1) == 1  # its own end


def _kept(vocabularies: Vocabularies, folder: Path) -> None:
    """Nothing but the folder of the run is needed to make them again."""
    vocabularies.save(folder)
    again = Vocabularies.load(folder)
    assert again.special == vocabularies.special
    for old, new in zip(vocabularies, again, strict=True):
        assert new.encode_batch(TEXTS) == old.encode_batch(TEXTS)
        assert new.to_json() == old.to_json()
    (folder / "target.json").write_text('{"kind": "pretrained", "special": {}}', encoding="utf-8")
    with pytest.raises(UserError, match="not a vocabulary"):
        Vocabularies.load(folder)


def test_a_checkpoint_that_cannot_start_an_output_is_refused(tiny_t5: Path) -> None:
    tokenizer = load_tokenizer(find_checkpoint(str(tiny_t5)))
    with pytest.raises(UserError, match="decoder_start_token_id"):
        sides(tokenizer, None)


def test_settings_of_other_vocabularies_have_no_effect() -> None:
    for settings in ({"shared": True}, {"reverse_source": True}, {"dropout": 0.1}):
        with pytest.raises(ValueError, match="no effect"):
            TextConfig(unit="pretrained", **settings)
    with pytest.raises(ValueError, match='choose unit="pretrained"'):
        TextConfig(prefix="say: ")
