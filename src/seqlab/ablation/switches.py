"""The techniques that can be switched, and what on and off mean for a recipe.

Off is the plain way of doing it. On is what the recipe itself has, where it has the technique, else the default below.
A switch touches no other setting than its own.
"""

import math
from typing import Any, NamedTuple

from seqlab.ablation.plan import Settings, Switch, words
from seqlab.config.settings import settings
from seqlab.errors import UserError, nearest
from seqlab.experiment.config import Experiment, load
from seqlab.layers.blocks import SCHEMES_WITH_DISTINCT_LAYERS


class Technique(NamedTuple):
    """A switch before it meets a recipe."""

    doc: str
    off: Settings
    on: Settings
    has_degrees: bool = False
    """whatever a recipe has in place of `off` is the technique too: a smoothing of 0.05 as well as one of 0.1"""


SIMPLE = {
    "one-cycle": Technique(
        "the learning rate rises to its peak and decays to almost 0; off: constant at half the peak, the same mean",
        {"schedule.kind": "constant", "schedule.warmup": 0, "schedule.level": 0.5},
        {"schedule.kind": "one-cycle"},
    ),
    "dynamic-padding": Technique(
        "a batch is padded to its own longest row; off: to the longest of the epoch, so that fewer rows fit its budget",
        {"batch.padding": "fixed"},
        {"batch.padding": "dynamic"},
    ),
    "buckets": Technique(
        "batches of similar lengths; off: random order (with fixed padding, order changes no width)",
        {"batch.order": "random"},
        {"batch.order": "buckets"},
    ),
    "mixed-precision": Technique(
        "matrix products in a 16-bit format, with auto only where one is measured to be faster; off: fp32",
        {"train.precision": "fp32"},
        {"train.precision": "auto"},
        has_degrees=True,
    ),
    "fused-optimizer": Technique(
        "one fused kernel updates all weights; off: torch's default, which is one tensor at a time on a CPU",
        {"optimizer.fused": False},
        {"optimizer.fused": True},
    ),
    "compile": Technique(
        "the model runs through torch.compile, and compiling counts as training time; off: eager mode",
        {"train.compile": False},
        {"train.compile": True},
    ),
    "label-smoothing": Technique(
        "probability mass is spread uniformly over the vocabulary; off: none; losses here are without it",
        {"task.label_smoothing": 0.0},
        {"task.label_smoothing": 0.1},
        has_degrees=True,
    ),
    "bpe-dropout": Technique(
        "merges are skipped at random, so words are split anew each epoch; off: always split alike",
        {"text.dropout": 0.0},
        {"text.dropout": 0.1},
        has_degrees=True,
    ),
    "ema": Technique(
        "a moving average of the weights is evaluated; off: the weights themselves",
        {"train.average": None},
        {"train.average": 0.999},
        has_degrees=True,
    ),
    "clipping": Technique(
        "large gradients are scaled down; off: no clipping",
        {"train.clip.by": "nothing"},
        {"train.clip.by": "norm"},
        has_degrees=True,
    ),
    "pre-norm": Technique(
        "a norm before each sublayer; off: after each sum, as in Vaswani et al. 2017",
        {"model.norm_placement": "post"},
        {"model.norm_placement": "pre"},
    ),
    "rotary": Technique(
        "positions rotate queries and keys; off: sinusoidal embeddings are added",
        {"model.positions": "sinusoidal"},
        {"model.positions": "rotary"},
    ),
}
"""Switches whose settings do not depend on the recipe."""

NAMES = (*SIMPLE, "dropout", "sharing", "tied-embeddings", "muon")
"""All switches."""

OF_TRANSFORMERS = ("pre-norm", "rotary", "sharing")
"""Switches whose settings other models do not have."""

DROPOUTS = ("model.dropout", "model.attention_dropout", "model.activation_dropout")
"""Wherever a model may drop units."""

CARRIED = ("lr", "betas", "weight_decay", "fused")
"""Settings that mean the same to Muon and to the optimizer that it replaces."""


class BaseConfig(NamedTuple):
    """A recipe with the changes that apply to all configurations."""

    recipe: str
    changes: list[str]
    """key=value words"""
    experiment: Experiment
    """both, resolved"""

    def value(self, key: str) -> Any:
        """The value of a setting; raises UserError where there is none of that name."""
        for setting in settings(self.experiment):
            if setting.key == key:
                return setting.value
        raise UserError(f"recipe {self.recipe} has no setting {key}")

    def overrides(self, position: Settings) -> list[str]:
        """The changes and these settings as `key=value` words.

        A change to a table that gives way to one of another kind, such as `schedule.shape=linear` where the schedule
        becomes constant, goes with it.
        """
        kinds = {key: value for key, value in position.items() if key.endswith(".kind")}
        replaced = tuple(key.removesuffix("kind") for key, value in kinds.items() if value != self.value(key))
        kept = [word for word in self.changes if not word.startswith(replaced)]
        return [*kept, *words(position)]


def find_switch(text: str, base: BaseConfig) -> Switch:
    """The switch that the user named, such as `buckets` or `sharing=cycle`, for one recipe.

    Raises UserError when there is no such switch, or when it means nothing to the recipe.
    """
    name, _, argument = text.partition("=")
    if name not in NAMES:
        raise UserError(f'no switch "{name}"{nearest(name, NAMES) or "; the switches are " + ", ".join(NAMES)}')
    if argument and name != "sharing":
        raise UserError(f'"{text}": only sharing takes a value, as in sharing=cycle')
    try:
        technique = _technique(name, argument, base)
        current = {key: base.value(key) for key in technique.off} if technique.has_degrees else technique.off
        on = current if current != technique.off else technique.on
        for position in (technique.off, on):
            load(base.recipe, base.overrides(position))
    except UserError as error:
        raise UserError(f'the switch "{text}" does not apply: {error}') from None
    return Switch(name=text, doc=technique.doc, off=technique.off, on=on)


def sharing_settings(base: BaseConfig, scheme: str) -> Settings:
    """A sharing scheme with the number of distinct layers that it needs: the recipe's, else half the depth.

    Half the depth is the largest common divisor of both depths that is below the smaller one: 3 for 6 + 6 layers, 1 for
    3 + 3.
    """
    distinct = None
    if scheme in SCHEMES_WITH_DISTINCT_LAYERS:
        depths = base.value("model.encoder_layers"), base.value("model.decoder_layers")
        divisors = [number for number in range(1, min(depths)) if math.gcd(*depths) % number == 0]
        distinct = base.value("model.distinct_layers") or max(divisors, default=1)
    return {"model.sharing": scheme, "model.distinct_layers": distinct}


def _technique(name: str, argument: str, base: BaseConfig) -> Technique:
    kind = base.value("model.kind")
    if name in OF_TRANSFORMERS and kind != "transformer":
        raise UserError(f"it needs model.kind=transformer, and the recipe has {kind}")
    match name:
        case "dropout":
            return _dropout(base)
        case "sharing":
            return _sharing(base, argument)
        case "tied-embeddings":
            return _tied_embeddings(base)
        case "muon":
            return _muon(base)
        case _:
            return SIMPLE[name]


def _dropout(base: BaseConfig) -> Technique:
    known = {setting.key for setting in settings(base.experiment)}
    return Technique(
        "units are dropped at random in training; off: no dropout anywhere in the model",
        {key: 0.0 for key in DROPOUTS if key in known},
        {"model.dropout": 0.1},
        has_degrees=True,
    )


def _sharing(base: BaseConfig, scheme: str) -> Technique:
    if base.value("model.encoder_layers") == base.value("model.decoder_layers") == 1:
        raise UserError("both stacks have one layer: there is nothing to share")
    current = base.value("model.sharing")
    scheme = scheme or (current if current != "none" else "cycle")
    return Technique(
        "several depths of a stack use the same layer; off: every depth has its own",
        sharing_settings(base, "none"),
        sharing_settings(base, scheme),
    )


def _tied_embeddings(base: BaseConfig) -> Technique:
    return Technique(
        "one matrix for embeddings and output; off: each has its own",
        {"model.tying": "none"},
        {"model.tying": "all" if base.value("text.shared") else "decoder"},
        has_degrees=True,
    )


def _muon(base: BaseConfig) -> Technique:
    kind = base.value("optimizer.kind")
    if kind not in ("adamw", "adam", "muon"):
        raise UserError(f"optimizer.kind is {kind}, whose learning rate does not suit Muon: use adamw")
    carried = {f"optimizer.{key}": base.value(f"optimizer.{key}") for key in CARRIED}
    return Technique(
        "orthogonalised momentum for hidden matrices, at the same peak rate; off: Adam's update for all weights",
        {"optimizer.kind": "adamw" if kind == "muon" else kind, **carried},
        {"optimizer.kind": "muon", **carried},
    )
