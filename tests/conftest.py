"""What all tests share: one thread, reproducible examples, tiny experiments, and where the corpora are."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch starts its threads; child processes take it over

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Command, run_here
from hypothesis import settings

from seqlab.engine.machine import usable_cores
from seqlab.experiment.config import Experiment, load
from seqlab.report.figures import Canvas
from seqlab.training import state as training_state

torch.set_num_threads(1)

# derandomize: the same examples on every machine, so that a red test is red for everybody.
settings.register_profile("seqlab", deadline=None, derandomize=True, database=None)
settings.load_profile("seqlab")

REPOSITORY = Path(__file__).parents[1]

TINY: dict[str, object] = {
    "data.epoch_size": 200,
    "data.validation_size": 20,
    "data.test_size": 20,
    "model.width": 16,
    "model.feedforward": 32,
    "model.num_heads": 2,
    "model.encoder_layers": 1,
    "model.decoder_layers": 1,
    "batch.max_tokens": 512,
    "batch.shuffle_pool": 100,
    "train.max_steps": 4,
    "train.precision": "fp32",
    "train.log_every": 2,
    "train.evaluate_every": 2,
    "train.evaluate_examples": 10,
    "train.trackers": [],
}
"""Settings that make an experiment of a recipe train in a moment."""

MakeExperiment = Callable[..., Experiment]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="Write the golden curves anew from this machine.")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """A process for every core that may be used; each takes up to 1 GB, so there are not many."""
    return min(usable_cores(), 16)


draw = Canvas.svg


@pytest.fixture(scope="session", autouse=True)
def _quick_runs() -> Iterator[None]:
    """Runs neither measure the machine nor draw their figures: either takes longer than the training of a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_state, "matrix_rate", lambda device, dtype: 1e11)
        patch.setattr(Canvas, "svg", lambda canvas, label: '<svg viewBox="0 0 1 1"></svg>')
        yield


@pytest.fixture(scope="module")
def drawn_figures() -> Iterator[None]:
    """From here to the end of the test file, figures are drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Canvas, "svg", draw)
        yield


@pytest.fixture(autouse=True)
def _cpu_as_it_was() -> None:
    """Training sets threads, and flushes denormals, which hypothesis cannot draw floats without."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def tiny() -> MakeExperiment:
    """`tiny({"train.max_steps": 9})`: math-place-value made small, with these settings laid over it."""

    def make(changes: dict[str, object] | None = None, recipe: str = "math-place-value") -> Experiment:
        return load(recipe, {**TINY, **(changes or {})})

    return make


@pytest.fixture(scope="session")
def command() -> Iterator[Command]:
    """The command line, called in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_state, "matrix_rate", lambda device, dtype: 1e11)  # measuring takes longer than training
        yield run_here


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of the reference corpora; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get("SEQLAB_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the reference corpora are not in {folder}; set SEQLAB_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a BERT of two layers and random weights, in the layout of transformers; letters are its tokens."""
    transformers = pytest.importorskip("transformers", reason="pretrained models need transformers")
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyzéß0123456789.,?!'-"
    entries = [*specials, *letters, *(f"##{letter}" for letter in letters), "who", "wrote", "the", "notes", "##s"]
    vocabulary = {entry: number for number, entry in enumerate(dict.fromkeys(entries))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=140,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    folder = tmp_path_factory.mktemp("tiny-encoder")
    fast.save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=140,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a T5 of two layers and random weights, in the layout of transformers; letters are its tokens."""
    transformers = pytest.importorskip("transformers", reason="pretrained models need transformers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    letters = "▁abcdefghijklmnopqrstuvwxyzéß0123456789.,?!:'-"
    words = ["▁the", "▁notes", "en", "er", "in"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((piece, -2.0) for piece in (*letters, *words))]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="</s>"
    )
    config = transformers.T5Config(
        vocab_size=64,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
    )
    return _saved(transformers.T5ForConditionalGeneration, config, fast, tmp_path_factory.mktemp("tiny-t5"))


@pytest.fixture(scope="session")
def tiny_bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a BART of two layers and random weights, in the layout of transformers; bytes are its tokens."""
    transformers = pytest.importorskip("transformers", reason="pretrained models need transformers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    entries = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet()), "Ġt", "he", "Ġthe"]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[("Ġ", "t"), ("h", "e"), ("Ġt", "he")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        mask_token="<mask>",
    )
    config = transformers.BartConfig(
        vocab_size=len(entries),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=140,
    )
    return _saved(transformers.BartForConditionalGeneration, config, fast, tmp_path_factory.mktemp("tiny-bart"))


def _saved(network: Any, config: Any, tokenizer: Any, folder: Path) -> Path:
    """The folder with a network whose weights are drawn here."""
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network(config).save_pretrained(folder)
    return folder
