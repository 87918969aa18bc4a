"""The vocabulary of a T5: unigram pieces learned from texts, with sentinels.

The pieces are found by `text.unigram`, whose results are always the same, and used by the library `tokenizers`. Text is
brought into the normal form NFKC first. A piece never joins letters with digits or with punctuation; `▁` stands for the
space before a word. Source: Kudo (2018), "Subword regularization", for unigram; Raffel et al. (2020) for the sentinels.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from seqlab.errors import UserError
from seqlab.runs.hf_folder import quiet
from seqlab.text.unigram import learn_pieces

SPECIALS = ("<pad>", "</s>", "<unk>")
SPACE = "▁"

SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))
"""Each stands for a span of text. They have the ids behind all pieces."""

ALPHABET = 500
"""Characters that are known, the most frequent ones."""

WORD = r"▁?(?:[\p{L}\p{M}]+|\p{N}+|[^\p{L}\p{M}\p{N}▁]+)|▁+"
"""Letters, digits, or other characters; the space before them belongs to them."""


def learn_t5_pieces(texts: Iterable[str], vocab_size: int, max_length: int) -> Any:
    """A tokenizer of `transformers` whose pieces make the texts most probable; the same texts give the same one.

    Args:
        texts: what is trained on.
        vocab_size: pieces at most, special ones, sentinels and single characters among them.
        max_length: tokens that the model can read.

    Raises UserError where the vocabulary is too small for special tokens and the characters of the texts.
    """
    words = _words(texts)
    counts = Counter[str]()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    known = dict.fromkeys([SPACE, *sorted(counts, key=lambda character: (-counts[character], character))[:ALPHABET]])
    room = vocab_size - len(SPECIALS) - len(SENTINELS)
    if room < len(known):
        raise UserError(
            f"model.vocab_size={vocab_size:,}: special tokens, sentinels and characters alone are "
            f"{vocab_size - room + len(known):,}: make it larger"
        )
    spelled = {word: count for word, count in words.items() if known.keys() >= set(word)}
    return _tokenizer(learn_pieces(spelled, list(known), room), max_length)


def _words(texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs, in the order in which they first do."""
    normalizer, splitter = _normalizer(), _splitter()
    spaced = Counter[str]()
    for text in texts:
        spaced.update(normalizer.normalize_str(text).split())
    words = Counter[str]()
    for found, count in spaced.items():
        for word, _ in splitter.pre_tokenize_str(SPACE + found):
            words[word] += count
    return words


def _tokenizer(pieces: dict[str, float], max_length: int) -> Any:
    """The tokenizer with these pieces and their log-probabilities."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    entries = [*((name, 0.0) for name in SPECIALS), *pieces.items()]
    tokenizer = Tokenizer(models.Unigram(entries, unk_id=SPECIALS.index("<unk>")))
    tokenizer.normalizer = _normalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(prepend_scheme="first"), _splitter()])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", SPECIALS.index("</s>"))]
    )
    with quiet() as transformers:
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token="<pad>",
            eos_token="</s>",
            unk_token="<unk>",
            extra_special_tokens=list(SENTINELS),
            model_max_length=max_length,
            clean_up_tokenization_spaces=False,
        )


def _normalizer() -> Any:
    from tokenizers import Regex, normalizers

    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    # What stands behind a sentinel begins with a space, or continues a word.
    return normalizers.Sequence([normalizers.NFKC(), spaces, normalizers.Strip(left=False)])


def _splitter() -> Any:
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Split(Regex(WORD), behavior="isolated")
