"""What a sequence-to-sequence run starts from: vocabularies and a model with random or with pretrained weights."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from seqlab.models.hf.encoder import random_network
from seqlab.models.hf.encoder_decoder import PretrainedEncoderDecoder, load_encoder_decoder, with_settings
from seqlab.runs.hf_folder import TransformersFiles, checkpoint_of, read_network_config
from seqlab.tasks.task import Parts
from seqlab.text.hf.pretrained import sides
from seqlab.text.vocabularies import Vocabularies, build_vocabularies


class Start(NamedTuple):
    """What is there before the first update, or belongs to a run that has been started."""

    vocabularies: Vocabularies
    model: Any
    layout: TransformersFiles | None = None
    """the files of a pretrained model that are kept with a new run"""


def start_from_scratch(parts: Parts) -> Start:
    """Vocabularies made from the training texts, or those of the run, and a model of their sizes."""
    if parts.trained is None:
        vocabularies = build_vocabularies(parts.text, *parts.corpus.texts())
    else:
        vocabularies = Vocabularies.load(parts.trained.tokenizers)
    source, target = vocabularies
    return Start(vocabularies, parts.model_class(parts.model, source.vocab_size, target.vocab_size))


def start_pretrained(parts: Parts) -> Start:
    """Vocabularies and network of a checkpoint, or of the run."""
    model, trained, longest = parts.model, parts.trained, parts.decode.max_length
    checkpoint, layout = checkpoint_of(model.checkpoint, trained), None
    if trained is not None:
        vocabularies = Vocabularies.load(trained.tokenizers)
        settings = with_settings(model, read_network_config(checkpoint))
        network = random_network(settings, PretrainedEncoderDecoder.HEAD)
    else:
        tokenizer, network = load_encoder_decoder(model, checkpoint)
        _protect(parts.text.protected, tokenizer, network)
        start_id = network.config.decoder_start_token_id
        vocabularies = Vocabularies(*sides(tokenizer, start_id, parts.text.prefix))
        layout = TransformersFiles.of(network, tokenizer, vocabularies.special.bos, longest)
    adapter = PretrainedEncoderDecoder(model, network, vocabularies.special.decoder_prefix)
    adapter.check_writes(longest)
    return Start(vocabularies, adapter, layout)


def _protect(symbols: Sequence[str], tokenizer: Any, network: Any) -> None:
    """Makes each symbol one token, with a row of its own in the tables of the network."""
    if symbols:
        tokenizer.add_tokens(list(symbols))
    if len(tokenizer) > network.config.vocab_size:  # some checkpoints have rows to spare
        network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
