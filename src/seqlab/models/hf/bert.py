"""A BERT that is trained from text alone: its sizes, and its two heads.

The network is `BertForPreTraining` of `transformers`, made from a config and never downloaded. Source: Devlin et al.
(2019), "BERT: pre-training of deep bidirectional transformers", section 3.1.

Shapes: `B` rows, `S` tokens of a row, `M` hidden tokens of the batch, `V` entries of the vocabulary.
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from seqlab.models.hf.encoder import PretrainedConfig, arguments, prepare_network
from seqlab.models.hf.stack import forward_flops
from seqlab.models.hf.untrained import UntrainedConfig
from seqlab.runs.hf_folder import quiet


class BertConfig(UntrainedConfig):
    """Sizes of a BERT with random weights, or the checkpoint that it starts from."""

    role: ClassVar = "masked-language-model"
    vocabulary: ClassVar = "wordpiece"
    head: ClassVar = "AutoModelForPreTraining"
    """the class of `transformers` that picks the network"""

    kind: Literal["bert"] = "bert"
    """a BERT with the heads that it is pretrained with"""
    layers: int = Field(default=4, ge=1)
    """layers of attention and feed-forward"""

    def network_config(self, tokenizer: Any) -> Any:
        """The config of the network as `transformers` has it."""
        with quiet() as transformers:
            return transformers.BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=self.width,
                num_hidden_layers=self.layers,
                num_attention_heads=self.num_heads,
                intermediate_size=self.feedforward,
                max_position_embeddings=self.max_length,
                hidden_dropout_prob=self.dropout,
                attention_probs_dropout_prob=self.dropout,
                pad_token_id=tokenizer.pad_token_id,
                architectures=["BertForPreTraining"],
            )


class MaskedLanguageModel(nn.Module):
    """A BERT that says what stood at hidden places, and whether the second text follows the first."""

    def __init__(self, network: Any) -> None:
        """`network` is a `BertForPreTraining`."""
        super().__init__()
        self.network = network
        prepare_network(self, PretrainedConfig())

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the hidden tokens (M, V), and of "follows" and "from elsewhere" (B, 2).

        ids, mask, types (B, S); places (M,) are numbers among the B * S places. Only there is the vocabulary asked:
        it is 15 % of the work of doing so everywhere.
        """
        found = self.network.bert(**arguments(self.network, ids, mask, types))
        hidden = found.last_hidden_state.flatten(0, 1)[places]
        logits = self.network.cls.predictions(hidden)
        return logits.float(), self.network.cls.seq_relationship(found.pooler_output).float()

    def forward_flops(self, source_lengths: Tensor, target_lengths: Tensor) -> float:
        """Floating-point operations of one forward pass over rows with so many tokens, of which so many are hidden."""
        config = self.network.config
        head = config.hidden_size * (config.hidden_size + config.vocab_size)
        return forward_flops(self.network, source_lengths) + 2.0 * head * float(torch.as_tensor(target_lengths).sum())
