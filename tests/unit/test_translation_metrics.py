"""Scores by hand, intervals that behave, and the failures that a user should hear of."""

import gzip
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import quick_scores, translation_scores

from seqlab.errors import UserError
from seqlab.metrics.chrf import sentence_scores
from seqlab.metrics.metric import bits_per_character, perplexity
from seqlab.metrics.rouge import common_length, rouge_l, words
from seqlab.metrics.warnings import repeated_ngram, warnings

REFERENCES = [f"the man number {i} walks slowly through the old town" for i in range(40)]


def value(name: str, predictions: Sequence[str], references: Sequence[str]) -> float:
    return translation_scores(predictions, references, resamples=2)[name].value


def test_bleu_1_and_2_by_hand() -> None:
    predictions, references = ["the cat sat on the mat"], ["the cat is on the mat"]
    assert value("bleu1", predictions, references) == pytest.approx(5 / 6)
    assert value("bleu2", predictions, references) == pytest.approx(math.sqrt(5 / 6 * 3 / 5))


def test_bleu_1_and_2_of_a_corpus_add_up_counts_and_lengths() -> None:
    predictions = ["the cat sat on the mat", "a dog"]
    references = ["the cat is on the mat", "a dog runs home"]
    brevity = math.exp(1 - 10 / 8)
    assert value("bleu1", predictions, references) == pytest.approx(brevity * 7 / 8)
    assert value("bleu2", predictions, references) == pytest.approx(brevity * math.sqrt(7 / 8 * 4 / 6))
    assert value("length_ratio", predictions, references) == pytest.approx(0.8)


def test_a_word_counts_as_often_as_it_stands_in_the_reference() -> None:
    assert value("bleu1", ["the the the"], ["the cat"]) == pytest.approx(1 / 3)


def test_rouge_l_of_the_examples_in_its_paper() -> None:
    assert rouge_l("police kill the gunman", "police killed the gunman") == pytest.approx(3 / 4)
    assert rouge_l("the gunman kill police", "police killed the gunman") == pytest.approx(2 / 4)


def test_rouge_l_knows_every_script() -> None:
    assert words("L’été, à Noël: ÉTÉ!") == ["l", "été", "à", "noël", "été"]
    assert words("हिन्दी") == ["हिन्दी"], "a vowel sign is no gap"
    assert rouge_l("Старый капитан", "старый, капитан!") == 1


def test_rouge_l_of_chinese_counts_characters_with_its_tokenizer() -> None:
    scores = translation_scores(["我看海"], ["我看大海"], resamples=2, tokenize="zh")
    assert scores["rouge_l"].value == pytest.approx(2 * 3 / 7)


@pytest.mark.parametrize(("prediction", "reference"), [("", "a"), ("a", ""), ("", ""), ("...", "!")])
def test_rouge_l_without_words_is_zero(prediction: str, reference: str) -> None:
    assert rouge_l(prediction, reference) == 0


@given(st.lists(st.sampled_from("abcd"), max_size=80), st.lists(st.sampled_from("abcd"), max_size=80))
def test_common_length_equals_the_table(first: list[str], second: list[str]) -> None:
    above = [0] * (len(second) + 1)
    for a in first:
        row = [0]
        for j, b in enumerate(second):
            row.append(above[j] + 1 if a == b else max(above[j + 1], row[j]))
        above = row
    assert common_length(first, second) == above[-1]


def test_a_system_equal_to_the_reference_gets_everything() -> None:
    scores = {name: interval.value for name, interval in translation_scores(REFERENCES, REFERENCES).items()}
    assert scores == pytest.approx(
        {"bleu": 100, "chrf": 100, "bleu1": 1, "bleu2": 1, "rouge_l": 1, "length_ratio": 1, "exact_match": 1}
    )
    assert quick_scores(REFERENCES, REFERENCES) == pytest.approx({"bleu": 100, "chrf": 100})
    assert sentence_scores(REFERENCES, REFERENCES) == pytest.approx([100] * 40)


def test_a_system_that_says_nothing_gets_nothing() -> None:
    assert {interval.value for interval in translation_scores([""] * 40, REFERENCES, resamples=9).values()} == {0}


def test_intervals_hold_the_value_and_are_the_same_again() -> None:
    predictions = [text.replace("slowly", "fast") if i % 3 else text for i, text in enumerate(REFERENCES)]
    scores = translation_scores(predictions, REFERENCES, seed=5)
    assert scores == translation_scores(predictions, REFERENCES, seed=5)
    assert scores != translation_scores(predictions, REFERENCES, seed=6)
    for name, (score, low, high) in scores.items():
        assert low is not None
        assert high is not None
        assert low <= score <= high, name
    assert scores["exact_match"].value == pytest.approx(14 / 40)


def test_sentence_scores_find_the_worst() -> None:
    scores = sentence_scores(["the old town", "the odd town", "elsewhere", ""], ["the old town"] * 4)
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4


@pytest.mark.parametrize("score", [translation_scores, quick_scores])
@pytest.mark.parametrize(("predictions", "references"), [([], []), (["a"], ["a", "b"])])
def test_nothing_to_score_is_an_error(score, predictions: list[str], references: list[str]) -> None:
    with pytest.raises(ValueError, match=f"{len(predictions)} predictions by {len(references)} references"):
        score(predictions, references)


def test_an_unknown_tokenizer_is_the_users_to_put_right() -> None:
    with pytest.raises(UserError, match='no tokenizer "ja-mecap"; did you mean "ja-mecab"'):
        quick_scores(["a"], ["a"], tokenize="ja-mecap")


def test_a_tokenizer_that_is_not_installed_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(UserError, match=r'"flores200": Please install .* pip install sentencepiece'):
        quick_scores(["a"], ["a"], tokenize="flores200")


def test_perplexity_of_a_uniform_guess_is_the_number_of_choices() -> None:
    assert perplexity(20 * math.log(50), 20) == pytest.approx(50)
    assert perplexity(1e6, 10) == math.inf


def test_bits_per_character_do_not_depend_on_the_vocabulary() -> None:
    """ "abab" by characters at 1 bit each, or as two tokens "ab" at 2 bits each."""
    assert bits_per_character(4 * 1 * math.log(2), 4) == bits_per_character(2 * 2 * math.log(2), 4) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("une petite petite petite fille", "petite"),
        ("«Petite, petite petite.»", "Petite"),
        ("he said no and no and no and no", "no and"),
        ("in the old town in the old town in the old town", "in the old town"),
        (". . . .", "."),
        ("好的好的好的", "好的"),
        ("我看看看", "看"),
        ("die Schwarzwarzwarzwarz", "warz"),
        ("très très petit", None),
        ("a b c d e a b c d e a b c d e", None),  # five words are more than four
        ("im jüngst erschienenen Buch über Schifffahrt", None),
        ("1000000 and 0.3333 ... -----", None),
        ("the a the b the", None),
        ("a a b b a a b b c", None),
        ("", None),
        ("one", None),
    ],
)
def test_repeated_ngram(text: str, phrase: str | None) -> None:
    assert repeated_ngram(text) == phrase


def test_repeated_ngram_of_longer_phrases() -> None:
    assert repeated_ngram("a b c d e a b c d e a b c d e", max_n=5) == "a b c d e"


@given(st.lists(st.sampled_from("ab"), max_size=20), st.integers(1, 4))
def test_repeated_ngram_equals_brute_force(letters: list[str], max_n: int) -> None:
    runs = [
        (n, start)
        for n in range(1, max_n + 1)
        for start in range(len(letters) - 3 * n + 1)
        if letters[start : start + n] * 3 == letters[start : start + 3 * n]
    ]
    expected = " ".join(letters[runs[0][1] :][: runs[0][0]]) if runs else None
    assert repeated_ngram(" ".join(letters), max_n) == expected


def test_good_outputs_have_no_warnings() -> None:
    assert warnings(REFERENCES, REFERENCES, 0, [text.upper() for text in REFERENCES]) == []


@pytest.mark.parametrize(
    ("outputs", "captured"),
    [
        ([text[:20] for text in REFERENCES], "outputs have 0.50 of the words of the references"),
        ([*REFERENCES[:-1], " "], "1 of 40 outputs are empty"),
        (
            [*REFERENCES[5:], *["so so so old a town it is in the end"] * 5],
            '5 of 40 outputs repeat a phrase, such as "so"',
        ),
        (
            [*REFERENCES[3:], *["a man walks slowly through the old town"] * 3],
            '3 different sentences have the same output "a',
        ),
        ([*REFERENCES[3:], *["SOURCE is long enough to be no problem here"] * 3], "3 of 40 outputs are copies"),
    ],
)
def test_warnings(outputs: list[str], captured: str) -> None:
    sources = ["SOURCE is long enough to be no problem here"] * 40
    found = warnings(outputs, REFERENCES, 0, sources)
    assert any(captured in warning for warning in found), found


def test_warning_of_outputs_that_were_cut() -> None:
    assert "2 of 40 outputs were cut at decode.max_length" in warnings(REFERENCES, REFERENCES, 2)[0]


def test_the_same_answer_to_the_same_reference_is_no_collapse() -> None:
    assert warnings(["Thank you very much ."] * 9, ["Thank you so much"] * 9, 0) == []


def test_repetition_that_the_reference_has_too_is_no_failure() -> None:
    assert warnings(["ha ha ha he said"], ["ha ha ha he said"], 0) == []


def test_warning_of_references_that_look_tokenised() -> None:
    assert "look tokenised" in warnings(["the old town ."], ["the old town ."], 0)[0]


def captions(folder: Path, name: str) -> list[str]:
    return gzip.decompress((folder / "multi30k" / name).read_bytes()).decode().splitlines()


def test_no_caption_of_a_human_counts_as_repeated(reference_data: Path) -> None:
    written = [text for language in ("en", "de", "fr") for text in captions(reference_data, f"train.{language}.gz")]
    assert [text for text in written if repeated_ngram(text)] == []


def test_copying_the_input_earns_the_points_that_the_page_of_metrics_names(reference_data: Path) -> None:
    english, german = (captions(reference_data, f"test_2016_flickr.{language}.gz") for language in ("en", "de"))
    assert quick_scores(english, german) == pytest.approx({"bleu": 0.5, "chrf": 16.3}, abs=0.05)
