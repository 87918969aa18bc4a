"""Config of networks that are pretrained here from text: their sizes, or the checkpoint to start from."""

from typing import Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from seqlab.config.settings import Config


class UntrainedConfig(Config):
    """What the config of any such network has; those of its layers are its own."""

    vocabulary: ClassVar[str]
    """which kind of vocabulary is learned for it"""
    head: ClassVar[str]
    """the class of `transformers` that picks the network"""

    checkpoint: str | None = None
    """a network of this kind to start from, with its own sizes and tokenizer: a folder, or a name on the hub"""
    vocab_size: int = Field(default=8000, ge=100)
    """largest vocabulary, learned from the training texts"""
    width: int = Field(default=256, ge=1)
    """size of the vector of a token"""
    num_heads: int = Field(default=4, ge=1)
    """attention heads; must divide the width"""
    feedforward: int = Field(default=1024, ge=1)
    """width inside the feed-forward nets"""
    max_length: int = Field(default=512, ge=16)
    """positions of the network, in tokens; those above task.longest stay untrained"""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """dropout everywhere"""

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(f"width={self.width} cannot be divided among num_heads={self.num_heads}")
        if self.checkpoint is not None:
            for name, field in type(self).model_fields.items():
                if name not in ("kind", "checkpoint") and getattr(self, name) != field.default:
                    raise ValueError(f"{name} has no effect with a checkpoint, which has its own: leave it out")
        return self

    def network_config(self, tokenizer: Any) -> Any:
        """The config of the network as `transformers` has it."""
        raise NotImplementedError


@torch.no_grad()
def init_output_bias(network: Any, counts: Tensor) -> None:
    """Lets a network with random weights say how frequent each token is, whatever it reads.

    Frequencies are the first thing that a language model learns. With a bias of 0 at the output they have to come from
    its states, and the quickest way is to make all of them alike; norms behind the sublayers then leave nothing of the
    tokens, and training stays there (docs/pretraining.md). Here the bias is the logarithm of the frequencies, and the
    states are free to say what differs. A network without a bias at its output, such as T5, is left as it is.

    Args:
        network: one of `transformers`.
        counts: (V,), how often each token is to be written; each is taken as seen once more.
    """
    bias = getattr(network, "final_logits_bias", network.get_output_embeddings().bias)  # BART's is no part of its layer
    if bias is not None:
        bias.copy_((counts + 1).log().log_softmax(0))
