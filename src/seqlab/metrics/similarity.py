"""Similarity of meaning by a sentence encoder, and ParaScore, which also rewards words that the input does not have.

Sources: Reimers and Gurevych (2019), "Sentence-BERT: sentence embeddings using Siamese BERT-networks"; Shen et al.
(2022), "On the evaluation metrics for paraphrase generation". ParaScore takes its similarity from BERTScore there; here
it is the cosine of two sentence embeddings, so that values compare with those of the same encoder only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from seqlab.config.settings import Config
from seqlab.metrics.metric import Measure, Outputs
from seqlab.runs.hf_folder import MINILM, find_checkpoint, load_tokenizer, readable_errors

BATCH_SIZE = 64

OMEGA, GAMMA = 0.05, 0.35
"""Weight of the divergence in ParaScore, and the edit distance from which on more of it earns nothing."""


class SimilarityConfig(Config):
    """How texts become vectors."""

    encoder: str = MINILM
    """a sentence encoder of the type of BERT: `minilm` (in a package), a folder, or a name on the hub"""


@dataclass(frozen=True)
class Similarity:
    """The mean cosine of the embeddings of output and reference, of several references the nearest: -1 to 1."""

    settings: SimilarityConfig = field(default_factory=SimilarityConfig)

    @property
    def measure(self) -> Measure:
        """A fraction."""
        return Measure("similarity", "Similarity", "fraction")

    def statistics(self, outputs: Outputs) -> np.ndarray:
        """(N, 1)."""
        return nearest_cosine(self.settings.encoder, outputs.predictions, outputs.references)[:, None]

    def score(self, sums: np.ndarray, n: int) -> float:
        """The mean."""
        return float(sums[0]) / n

    def signature(self) -> str:
        """The encoder."""
        return f"encoder:{self.settings.encoder}|pooling:mean"


@dataclass(frozen=True)
class ParaScore:
    """max(similarity to input, to reference) + 0.05 * divergence from the input; a copy of the input has 0.95."""

    settings: SimilarityConfig = field(default_factory=SimilarityConfig)

    @property
    def measure(self) -> Measure:
        """A fraction."""
        return Measure("parascore", "ParaScore", "fraction")

    def statistics(self, outputs: Outputs) -> np.ndarray:
        """(N, 1)."""
        near = nearest_cosine(self.settings.encoder, outputs.predictions, [outputs.sources, *outputs.references])
        rows = zip(outputs.predictions, outputs.sources, strict=True)
        return (near + OMEGA * np.array([divergence(prediction, source) for prediction, source in rows]))[:, None]

    def score(self, sums: np.ndarray, n: int) -> float:
        """The mean."""
        return float(sums[0]) / n

    def signature(self) -> str:
        """The encoder, and how far an output is from its input."""
        return f"encoder:{self.settings.encoder}|pooling:mean|distance:words|omega:{OMEGA}|gamma:{GAMMA}"


def divergence(prediction: str, source: str) -> float:
    """-1 for a copy, rising to `GAMMA` where that share of the words differs, and constant from there on."""
    distance = edit_distance(prediction.split(), source.split())
    share = distance / max(len(prediction.split()), len(source.split()), 1)
    return GAMMA if share > GAMMA else share * (GAMMA + 1) / GAMMA - 1


def edit_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """Fewest insertions, deletions and replacements that turn one sequence into the other (Levenshtein 1966)."""
    row = list(range(len(second) + 1))
    for i, ours in enumerate(first, start=1):
        diagonal, row[0] = row[0], i
        for j, theirs in enumerate(second, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (ours != theirs))
    return row[-1]


def nearest_cosine(encoder: str, texts: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """(N,): the cosine of each text with the nearest of its references, which are (R, N)."""
    known = embed(encoder, sorted({*texts, *(text for side in references for text in side)}))
    ours = np.stack([known[text] for text in texts])
    return np.max([(ours * np.stack([known[text] for text in side])).sum(1) for side in references], axis=0)


def embed(encoder: str, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """A vector of length 1 for each text: the mean of the last hidden states over its tokens.

    Texts longer than the encoder reads are cut. Raises UserError where the encoder cannot be loaded.
    """
    import torch

    tokenizer, network = _load(encoder)
    longest = min(tokenizer.model_max_length, network.config.max_position_embeddings)
    ordered, found = sorted(texts, key=len), {}
    for start in range(0, len(ordered), BATCH_SIZE):
        batch = ordered[start : start + BATCH_SIZE]
        inputs = tokenizer(
            batch,
            padding=True,
            truncation=True,
            max_length=longest,
            return_tensors="pt",
            split_special_tokens=True,  # "[SEP]" in a text is text
        )
        with torch.inference_mode():
            states = network(**inputs).last_hidden_state  # (B, T, D)
        real = inputs["attention_mask"][..., None].to(states.dtype)
        means = (states * real).sum(1) / real.sum(1)
        found |= dict(zip(batch, torch.nn.functional.normalize(means).numpy(), strict=True))
    return found


@lru_cache(maxsize=1)
def _load(encoder: str) -> tuple[Any, Any]:
    """Tokenizer and network, kept for the next evaluation."""
    checkpoint = find_checkpoint(encoder, "metrics.similarity.encoder")
    tokenizer = load_tokenizer(checkpoint)
    with readable_errors(checkpoint) as transformers:
        network = transformers.AutoModel.from_pretrained(
            checkpoint.location, use_safetensors=True, **checkpoint.arguments
        )
    return tokenizer, network.eval()
