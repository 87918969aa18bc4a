"""Which sizes does a network have that is trained from text alone, or which checkpoint does it go on from?"""

from typing import Self

from pydantic import Field, model_validator

from seqlab.config import Config


class UntrainedConfig(Config):
    """What the config of any such network has; those of its layers are its own."""

    checkpoint: str | None = None
    """a network of this kind to go on from, with its own sizes and tokenizer: a folder, or a name on the hub"""
    vocab_size: int = Field(default=8000, ge=100)
    """pieces of words, at most, that are learned from the training texts"""
    width: int = Field(default=256, ge=1)
    """numbers that stand for a token"""
    num_heads: int = Field(default=4, ge=1)
    """heads of attention; the width is divided among them"""
    feedforward: int = Field(default=1024, ge=1)
    """width inside the feed-forward nets"""
    max_length: int = Field(default=512, ge=16)
    """tokens that can be read at once; those behind task.longest stay untrained"""
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
