"""The vocabulary of a BERT: lower-cased WordPiece learned from texts, in the format of `transformers`.

The pieces are found by the library `tokenizers`. Its learner numbers the characters in the order in which a hash table
gives them out, which differs from run to run, and with it the choice between pairs that are equally frequent. Here the
characters get their numbers first, in order of frequency: the same texts then always make the same vocabulary.

Source: Wu et al. (2016), "Google's neural machine translation system", section 4.1, for WordPiece; Devlin et al.
(2019) for the special tokens.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from seqlab.errors import UserError
from seqlab.runs.hf_folder import quiet

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUES = "##"
"""Stands before a piece that continues a word."""

ALPHABET = 500
"""Characters that are known, the most frequent ones; a word with another one is unknown."""


def learn_wordpieces(texts: Sequence[str], vocab_size: int, max_length: int) -> Any:
    """A tokenizer of `transformers` whose pieces are frequent in the texts; the same texts give the same one.

    Args:
        texts: what is trained on.
        vocab_size: pieces at most, special ones and single characters among them.
        max_length: tokens that the model can read.

    Raises UserError where the vocabulary is too small for the characters of the texts.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    normalizer = normalizers.BertNormalizer(lowercase=True)
    plain = [normalizer.normalize_str(text) for text in texts]
    counts = Counter[str]()
    for text in plain:
        counts.update(text)
    known = sorted((character for character in counts if not character.isspace()), key=lambda c: (-counts[c], c))
    first = [*SPECIALS, *known[:ALPHABET], *(CONTINUES + character for character in known[:ALPHABET])]
    if len(first) > vocab_size:
        raise UserError(
            f"model.vocab_size={vocab_size:,}: special tokens and characters alone need {len(first):,} entries: "
            "make it larger"
        )
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=first, show_progress=False)
    learner.train_from_iterator(_without(known[ALPHABET:], plain), trainer)
    return _tokenizer(learner.get_vocab(with_added_tokens=False), max_length)


def _without(characters: Iterable[str], texts: Iterable[str]) -> Iterable[str]:
    """The texts with spaces for some characters."""
    table = str.maketrans(dict.fromkeys(characters, " "))
    return (text.translate(table) for text in texts)


def _tokenizer(vocabulary: dict[str, int], max_length: int) -> Any:
    """The tokenizer with these pieces, and none of the special tokens that its learning needed."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUES)
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    with quiet() as transformers:
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            unk_token="[UNK]",
            pad_token="[PAD]",
            cls_token="[CLS]",
            sep_token="[SEP]",
            mask_token="[MASK]",
            model_max_length=max_length,
            model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        )
