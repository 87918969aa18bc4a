"""The vocabulary of a BART: byte-level BPE learned from texts, in the format of `transformers`.

Every word has the space before it, the first one of a text too: sentences then have the same ids in any order. Pieces
go down to single bytes, so no text has an unknown one. Source: Radford et al. (2019), "Language models are unsupervised
multitask learners", for pieces of bytes; Lewis et al. (2020), "BART", for the special tokens.
"""

from collections.abc import Iterable
from typing import Any

from seqlab.errors import UserError
from seqlab.runs.hf_folder import quiet

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")

BYTES = 256


def learn_bart_pieces(texts: Iterable[str], vocab_size: int, max_length: int) -> Any:
    """A tokenizer of `transformers` that joins frequent pairs of pieces; the same texts give the same one.

    Args:
        texts: what is trained on.
        vocab_size: pieces at most, special ones and single bytes among them.
        max_length: tokens that the model can read.

    Raises UserError where the vocabulary is too small for special tokens and bytes.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    if vocab_size < len(SPECIALS) + BYTES:
        raise UserError(
            f"model.vocab_size={vocab_size:,}: special tokens and bytes alone need {len(SPECIALS) + BYTES} entries: "
            "make it larger"
        )
    tokenizer = Tokenizer(models.BPE())
    # ByteLevel itself would put a space behind every mask, too.
    first_space = pre_tokenizers.Metaspace(replacement=" ", prepend_scheme="first", split=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([first_space, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        # The space before a mask is part of it.
        special_tokens=[AddedToken(name, lstrip=name == "<mask>", special=True) for name in SPECIALS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    ends = [(name, SPECIALS.index(name)) for name in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ends
    )
    with quiet() as transformers:
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            bos_token="<s>",
            pad_token="<pad>",
            eos_token="</s>",
            unk_token="<unk>",
            mask_token=AddedToken("<mask>", lstrip=True, special=True),
            model_max_length=max_length,
            clean_up_tokenization_spaces=False,
        )
