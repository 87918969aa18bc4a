"""A run folder that `transformers` loads: with the weights, it holds the network's config and the tokenizer."""

from typing import Any

from seqlab.paths import RunFolder


class TransformersFolder:
    """What tasks with a network of `transformers` have in common."""

    def __init__(self, tokenizer: Any, network_config: Any) -> None:
        self._tokenizer, self._network_config = tokenizer, network_config

    def save(self, folder: RunFolder) -> None:
        """Writes both beside the weights."""
        self._network_config.save_pretrained(folder.root)
        self._tokenizer.save_pretrained(folder.root)

    def facts(self) -> dict[str, Any]:
        """Nothing but what is saved."""
        return {}
