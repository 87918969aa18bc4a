"""How to search for an output: the method, its width, its limits."""

from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from seqlab.config.settings import Config

Method = Literal["greedy", "beam", "sample"]

METHODS_OF: dict[str, tuple[Method, ...]] = {
    "beam_width": ("beam",),
    "length_penalty": ("beam",),
    "n_best": ("beam", "sample"),
    "temperature": ("sample",),
    "top_k": ("sample",),
    "top_p": ("sample",),
}
"""The settings that only some methods read; all others matter to every method."""

ALLOWANCE = 10
"""Tokens that `max_ratio` grants to every output: the shortest sources vary most."""

GREEDY = {"method": "greedy", "beam_width": 5, "length_penalty": 1.0, "n_best": 1}
"""What turns the settings of any search into those of the quick one for curves."""


class DecodeConfig(Config):
    """Settings of `search`, and of what is given to it. Lengths count tokens, without beginning and end of sequence."""

    method: Method = "greedy"
    """greedy: the most probable token each step; beam: the best sequence of a few; sample: drawn at random"""

    beam_width: int = Field(default=5, ge=1)
    """beam: live hypotheses of a row at each step"""

    length_penalty: float = Field(default=1.0, ge=-10, le=10)
    """beam: alpha of log p / ((5 + tokens) / 6)^alpha; 0 compares plain log p, more favours longer outputs"""

    n_best: int = Field(default=1, ge=1)
    """beam: best hypotheses returned for a row; sample: independent draws"""

    max_length: int = Field(default=128, ge=1)
    """longest output, in tokens; a longer one is cut"""

    max_ratio: float | None = Field(default=None, gt=0)
    """tighter limit on the output: this times the source tokens, plus 10; it makes a beam faster"""

    max_source: int | None = Field(default=None, ge=1)
    """a line with more tokens is cut at sentence ends, or inside sentences; when absent, max_length in translation"""

    max_sentences: int | None = Field(default=None, ge=1)
    """a line with more is translated sentence by sentence; when absent, the 99th percentile in training sources"""

    min_length: int = Field(default=0, ge=0)
    """shortest output, in tokens"""

    no_repeat_ngram: int = Field(default=0, ge=0)
    """no sequence of this many tokens occurs twice in an output; 0 is off"""

    forbid_unk: bool = False
    """never write `<unk>`: write the most probable known token instead"""

    replace_unk: Literal["copy"] | None = None
    """copy: replace each `<unk>` of the output by the source word with the most attention"""

    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """sample: logits are divided by it; below 1 sharpens the distribution, above 1 flattens it"""

    top_k: int = Field(default=0, ge=0)
    """sample: draw only from this many most probable tokens; 0 is off"""

    top_p: float = Field(default=1.0, gt=0, le=1)
    """sample: draw only from the fewest tokens that together have this probability; 1 is off"""

    def limits(self, source_tokens: Tensor) -> Tensor:
        """At how many tokens the output for each source is cut, whose numbers of tokens are given (B,)."""
        most = torch.full_like(source_tokens, self.max_length)
        if self.max_ratio is None:
            return most
        by_source = (self.max_ratio * source_tokens).long() + ALLOWANCE
        return most.minimum(by_source).clamp(min=self.min_length)

    @model_validator(mode="after")
    def _settings_fit_together(self) -> "DecodeConfig":
        for name, methods in METHODS_OF.items():
            if self.method not in methods and getattr(self, name) != _default(name):
                readers = " or ".join(f'method="{method}"' for method in methods)
                raise ValueError(
                    f'{name}={getattr(self, name)} has no effect with method="{self.method}": '
                    f"choose {readers}, or leave {name} at {_default(name)}"
                )
        if self.method == "beam" and self.n_best > self.beam_width:
            raise ValueError(f"n_best={self.n_best} is more than beam_width={self.beam_width}: widen the beam")
        if self.forbid_unk and self.replace_unk is not None:
            raise ValueError(f"replace_unk={self.replace_unk} has no effect with forbid_unk=true: leave one out")
        if self.min_length > self.max_length:
            raise ValueError(f"min_length={self.min_length} is more than max_length={self.max_length}")
        return self


def _default(name: str) -> Any:
    return DecodeConfig.model_fields[name].default
