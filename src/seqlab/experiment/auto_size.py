"""How large should vocabulary and model be for a corpus of so many pairs? The rule behind `sizes = "by-corpus"`.

Few pairs want few entries, so that each is seen often (Gowda and May 2020 find about 1,000 best for 30,000 pairs and
4,000 to 16,000 for 500,000), a narrower model and more dropout (Araabi and Monz 2020: up to 7 BLEU over the defaults of
large corpora). What a recipe or a command line sets itself is never changed, nor is a model that is no Transformer.
"""

from typing import Any, NamedTuple

from seqlab.data.corpora.kinds import build_corpus
from seqlab.experiment.config import Experiment, check
from seqlab.models.transformer import TransformerConfig


class Sizes(NamedTuple):
    """What suits a corpus of at most `pairs` training pairs."""

    pairs: float
    vocab_size: int
    width: int
    layers: int
    """of the encoder, and of the decoder"""
    dropout: float

    def settings(self) -> dict[str, dict[str, Any]]:
        """By section and key of the config."""
        model = {
            "width": self.width,
            "feedforward": 4 * self.width,
            "num_heads": self.width // 32,
            "encoder_layers": self.layers,
            "decoder_layers": self.layers,
            "dropout": self.dropout,
        }
        return {"text": {"vocab_size": self.vocab_size}, "model": model}


RULE = (
    Sizes(10_000, 2_000, 128, 2, 0.3),
    Sizes(50_000, 6_000, 256, 3, 0.3),
    Sizes(300_000, 8_000, 256, 4, 0.2),
    Sizes(2_000_000, 16_000, 512, 6, 0.1),
    Sizes(float("inf"), 32_000, 512, 6, 0.1),
)
"""The first row that is large enough counts."""


def fitted(experiment: Experiment) -> Experiment:
    """The experiment with sizes that suit its corpus, if it asks for them; what is set stays as it is."""
    if experiment.sizes == "given":
        return experiment
    corpus = build_corpus(experiment.data)
    corpus.check_files()
    pairs = len(corpus.training(0))
    sizes = next(row for row in RULE if pairs <= row.pairs)
    tree: dict[str, Any] = experiment.model_dump() | {"sizes": "given"}
    for section, settings in sizes.settings().items():
        if section == "model" and not isinstance(experiment.model, TransformerConfig):
            continue
        chosen = getattr(experiment, section).model_fields_set
        tree[section] |= {key: value for key, value in settings.items() if key not in chosen}
    return check(tree, f"sizes for {pairs:,} pairs")
