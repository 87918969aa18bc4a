"""Our corpus scores are those of sacreBLEU, and our ROUGE-L is that of rouge-score."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from judging import quick_scores, translation_scores
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

import seqlab.metrics
from seqlab.metrics.bleu import SUMS, Bleu, BleuConfig
from seqlab.metrics.chrf import Chrf, sentence_scores
from seqlab.metrics.metric import Outputs
from seqlab.metrics.rouge import rouge_l

ENGLISH = [
    "Three hundred and ninety-one ships (of 1,200) left the harbour at 6:30 a.m., didn't they?",
    'The old captain said: "We sail at dawn," and nobody answered.',
    "A small dog runs through the snow; a small dog runs through the snow, again.",
    "Prices rose by 3.5% -- to $12.40 -- while wages & rents stayed where they were.",
    "state-of-the-art machines_and_tools don't cost £5",
    "Yes.",
    "The girl in the red coat, whom I had seen before, was reading a very long letter from her mother.",
    "It isn't the first time that the bridge over the river has been closed in winter.",
]
OTHERS = [
    "Trois cent quatre-vingt-onze navires sont partis ; l’été fut très, très chaud.",
    "Die Straßenbahn fährt um 7 Uhr 15 über die große Brücke.",
    "Старый капитан молча смотрел на море.",
    "जहाज़ सुबह बंदरगाह से निकला।",
    "老船长看着大海,没有人回答。",
    "",
]


def damaged(references: list[str]) -> list[str]:
    """Words lost, doubled and swapped; some outputs empty, one perfect."""
    generator = random.Random(7)
    predictions = []
    for reference in references:
        words = [word for word in reference.split(" ") for _ in range(generator.choice((0, 1, 1, 1, 1, 2)))]
        if len(words) > 2:
            place = generator.randrange(len(words) - 1)
            words[place : place + 2] = reversed(words[place : place + 2])
        predictions.append(" ".join(words))
    predictions[1], predictions[3] = "", references[3]
    return predictions


REFERENCES = (ENGLISH + OTHERS) * 3
PREDICTIONS = damaged(REFERENCES)


@pytest.mark.parametrize("tokenize", ["13a", "intl", "zh", "char", "none"])
def test_corpus_scores_equal_sacrebleu(tokenize: str) -> None:
    bleu = BLEU(tokenize=tokenize).corpus_score(PREDICTIONS, [REFERENCES])
    ours = translation_scores(PREDICTIONS, REFERENCES, resamples=5, tokenize=tokenize)
    assert 20 < bleu.score < 90, "the example says something"
    assert ours["bleu"].value == pytest.approx(bleu.score, abs=1e-9)
    assert ours["chrf"].value == pytest.approx(CHRF().corpus_score(PREDICTIONS, [REFERENCES]).score, abs=1e-9)
    assert ours["length_ratio"].value == pytest.approx(bleu.ratio, abs=1e-9)
    for order in (1, 2):
        shorter = BLEU(tokenize=tokenize, max_ngram_order=order).corpus_score(PREDICTIONS, [REFERENCES])
        assert ours[f"bleu{order}"].value == pytest.approx(shorter.score / 100, abs=1e-9)


@pytest.mark.parametrize(
    ("predictions", "references"),
    [
        ([""], ["a b c d"]),
        (["", ""], ["", ""]),
        (["a b c d"], [""]),
        (["x y z"], ["a b c"]),
        (["a b c"], ["a b c"]),  # no 4-grams: BLEU is 0 although all is right
        (["a x b y c z d"], ["a b c d e f g"]),  # 1-grams only: the higher orders are smoothed
    ],
)
def test_odd_corpora_equal_sacrebleu(predictions: list[str], references: list[str]) -> None:
    ours = translation_scores(predictions, references, resamples=5)
    bleu, chrf = (metric.corpus_score(predictions, [references]).score for metric in (BLEU(), CHRF()))
    assert ours["bleu"].value == pytest.approx(bleu, abs=1e-9)
    assert ours["chrf"].value == pytest.approx(chrf, abs=1e-9)
    assert quick_scores(predictions, references) == pytest.approx({"bleu": bleu, "chrf": chrf})


@pytest.mark.parametrize("part", [slice(None), slice(1, 9), slice(4, 5)])
def test_scores_of_sums_are_those_of_the_corpus(part: slice) -> None:
    ours, outputs = (Bleu(), Chrf()), Outputs(PREDICTIONS, [REFERENCES])
    sums = [metric.statistics(outputs)[part].sum(0) for metric in ours]
    assert len(sums[0]) == SUMS
    expected = [metric.corpus_score(PREDICTIONS[part], [REFERENCES[part]]).score for metric in (BLEU(), CHRF())]
    found = [metric.score(part_sums, 1) for metric, part_sums in zip(ours, sums, strict=True)]
    assert found == pytest.approx(expected, abs=1e-9)


def test_only_two_files_use_private_names_of_sacrebleu() -> None:
    private = re.compile(r"\._(extract_corpus_statistics|compute_\w+|aggregate_and_compute)\b")
    metrics = Path(seqlab.metrics.__file__).parent
    users = sorted(path.name for path in metrics.glob("*.py") if private.search(path.read_text(encoding="utf-8")))
    assert users == ["bleu.py", "chrf.py"]


def test_quick_scores_are_the_same_scores() -> None:
    scores = translation_scores(PREDICTIONS, REFERENCES, resamples=5)
    quick = quick_scores(PREDICTIONS, REFERENCES)
    assert quick == pytest.approx({name: scores[name].value for name in ("bleu", "chrf")})


def test_intervals_are_as_wide_as_those_of_sacrebleu() -> None:
    scores = translation_scores(PREDICTIONS, REFERENCES)
    for name, metric in {"bleu": BLEU(), "chrf": CHRF()}.items():
        half = metric.corpus_score(PREDICTIONS, [REFERENCES], n_bootstrap=1000)._ci
        low, high = scores[name].low, scores[name].high
        assert low is not None
        assert high is not None
        assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_sentence_scores_equal_sacrebleu() -> None:
    chrf = CHRF()
    expected = [chrf.sentence_score(ours, [theirs]).score for ours, theirs in zip(PREDICTIONS, REFERENCES, strict=True)]
    assert sentence_scores(PREDICTIONS, REFERENCES) == pytest.approx(expected)


def test_signatures_and_scores_are_those_of_its_command_line(tmp_path: Path) -> None:
    outputs, answers = tmp_path / "outputs", tmp_path / "answers"
    outputs.write_text("\n".join(PREDICTIONS) + "\n", encoding="utf-8")
    answers.write_text("\n".join(REFERENCES) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", answers, "-i", outputs, "-m", "bleu", "chrf", "-w", "6"]
    captured = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert [metric["signature"] for metric in captured] == [Bleu().signature(), Chrf().signature()]
    scores = quick_scores(PREDICTIONS, REFERENCES)
    assert [metric["score"] for metric in captured] == pytest.approx([scores["bleu"], scores["chrf"]], abs=1e-6)


def test_signature_names_the_tokenizer() -> None:
    assert "tok:zh" in str(Bleu(BleuConfig(tokenize="zh")).signature())


def test_rouge_l_equals_rouge_score_on_english() -> None:
    scorer = RougeScorer(["rougeL"])
    predictions = damaged(ENGLISH)
    expected = [scorer.score(r, p)["rougeL"].fmeasure for r, p in zip(ENGLISH, predictions, strict=True)]
    assert len(set(expected)) > 4, "the example says something"
    found = [rouge_l(prediction, reference) for prediction, reference in zip(predictions, ENGLISH, strict=True)]
    assert found == pytest.approx(expected)
    scores = translation_scores(predictions, ENGLISH, resamples=5)
    assert scores["rouge_l"].value == pytest.approx(sum(expected) / len(expected))
