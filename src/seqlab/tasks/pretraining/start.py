"""What pretraining starts from: vocabulary and network, made from text or loaded from a checkpoint or a run."""

from typing import Any

from seqlab.data.corpora.passages import Passages
from seqlab.models.hf.encoder import load_network, random_network
from seqlab.models.hf.untrained import UntrainedConfig
from seqlab.runs.folder import RunFolder
from seqlab.runs.hf_folder import Checkpoint, check_fits, find_checkpoint, load_tokenizer, read_network_config
from seqlab.text.hf.bart_pieces import learn_bart_pieces
from seqlab.text.hf.t5_pieces import learn_t5_pieces
from seqlab.text.hf.wordpieces import learn_wordpieces

LEARN = {"wordpiece": learn_wordpieces, "byte-level-bpe": learn_bart_pieces, "unigram": learn_t5_pieces}
"""How the vocabulary of a network is learned from texts, by its kind."""


def tokenizer_and_network(
    model: UntrainedConfig, corpus: Passages, longest: int, trained: RunFolder | None
) -> tuple[Any, Any]:
    """By what there is: a run, a checkpoint to continue from, or the training texts alone.

    Raises UserError where the network cannot read `longest` tokens, or something is missing or damaged.
    """
    checkpoint = Checkpoint(str(model.checkpoint), "", is_local=True)
    if trained is not None:
        checkpoint = Checkpoint.of_run(trained.root)
        tokenizer = load_tokenizer(checkpoint)
        network = random_network(read_network_config(checkpoint), model.head)
    elif model.checkpoint is not None:
        checkpoint = find_checkpoint(model.checkpoint)
        tokenizer = load_tokenizer(checkpoint)
        network = load_network(checkpoint, read_network_config(checkpoint), model.head)
    else:
        texts = [paragraph for document in corpus.training(0) for paragraph in document.paragraphs]
        tokenizer = LEARN[model.vocabulary](texts, model.vocab_size, model.max_length)
        network = random_network(model.network_config(tokenizer), model.head)
    check_fits(checkpoint, tokenizer, network.config, longest)
    return tokenizer, network
