"""JoeyNMT 2.3: its TrainManager with token batches, and its beam search. On a CPU it trains in fp32 only."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from contender import (
    BETAS,
    CLIP,
    DROPOUT,
    FEEDFORWARD,
    HEADS,
    LABEL_SMOOTHING,
    LAYERS,
    PEAK_RATE,
    WARMUP,
    WIDTH,
    Clock,
    Options,
    run,
)
from joeynmt.batch import Batch
from joeynmt.config import parse_global_args
from joeynmt.prediction import predict, prepare
from joeynmt.training import TrainManager


class JoeyNMT:
    """The Transformer of a JoeyNMT config, with layer norms before the sublayers."""

    def __init__(self, options: Options) -> None:
        self.args = parse_global_args(config(options), mode="train")
        self.args.model_dir.mkdir(parents=True, exist_ok=True)
        self.model, self.train_data, valid, test = prepare(self.args, rank=0, mode="train")
        self.splits = {"val": valid, "test": test}

    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)

    def train(self, clock: Clock) -> None:
        manager = ClockedManager(
            rank=0,
            model=self.model,
            model_dir=self.args.model_dir,
            device=self.args.device,
            autocast=self.args.autocast,
            seed=self.args.seed,
            train_args=self.args.train,
            dev_args=self.args.test,
        )
        manager.clock = clock
        manager.train_and_validate(train_data=self.train_data, valid_data=self.splits["val"])

    def validation(self) -> Iterator[tuple[float, int]]:
        self.model.eval()
        self.model.loss_function = ("crossentropy", 0.0)
        batches = self.splits["val"].make_iter(
            batch_size=self.args.test.batch_size,
            batch_type="token",
            pad_index=self.model.pad_index,
            eos_index=self.model.eos_index,
        )
        with torch.no_grad():
            for batch in batches:
                yield self.model(return_type="loss", **vars(batch))[0].item(), batch.ntokens
        self.model.loss_function = ("crossentropy", LABEL_SMOOTHING)

    def translate(self, split: str, beam: int, length: int | None = None) -> list[list[int]]:
        forced = {} if length is None else {"min_output_length": length, "max_output_length": length}
        lines = predict(
            model=self.model,
            data=self.splits[split],
            device=self.args.device,
            n_gpu=0,
            args=self.args.test._replace(beam_size=beam, **forced),
            autocast=self.args.autocast,
        )[2]
        return [[int(word) for word in line.split() if word.isdigit()] for line in lines]

    def save(self, path: Path) -> None:
        torch.save(self.model.state_dict(), path)

    def load(self, path: Path) -> None:
        self.model.load_state_dict(torch.load(path))


class ClockedManager(TrainManager):
    """Tells the clock when an update begins."""

    clock: Clock

    def _train_step(self, batch: Batch) -> tuple[float, int]:
        tokens = int(batch.src_length.sum()) + batch.ntokens
        self.clock.begin(batch.ntokens, tokens, batch.src.numel() + batch.trg.numel())
        return super()._train_step(batch)


def config(options: Options) -> dict[str, Any]:
    """What a user would write in YAML. Every dropout of a layer has the one number that JoeyNMT allows."""
    side = {"level": "word", "voc_file": str(options.data / "pieces.txt"), "max_length": 500}
    stack = {
        "type": "transformer",
        "num_layers": LAYERS,
        "num_heads": HEADS,
        "embeddings": {"embedding_dim": WIDTH, "scale": True, "dropout": DROPOUT},
        "hidden_size": WIDTH,
        "ff_size": FEEDFORWARD,
        "dropout": DROPOUT,
        "layer_norm": "pre",
    }
    return {
        "name": "peers",
        "model_dir": str(options.work / "joeynmt"),
        "use_cuda": False,
        "random_seed": options.seed,
        "data": {
            "train": str(options.data / "train"),
            "dev": str(options.data / "val"),
            "test": str(options.data / "test"),
            "dataset_type": "plain",
            "src": {"lang": "en", **side},
            "trg": {"lang": "de", **side},
        },
        "model": {
            "initializer": "xavier_uniform",
            "embed_initializer": "xavier_uniform",
            "init_gain": 1.0,
            "tied_embeddings": True,
            "tied_softmax": True,
            "encoder": dict(stack),
            "decoder": dict(stack),
        },
        "training": {
            "optimizer": "adam",
            "adam_betas": list(BETAS),
            "learning_rate": PEAK_RATE,
            "learning_rate_min": 1e-7,
            "learning_rate_warmup": WARMUP,
            "scheduling": "warmupinversesquareroot",
            "clip_grad_norm": CLIP,
            "normalization": "tokens",
            "label_smoothing": LABEL_SMOOTHING,
            "batch_size": options.batch_tokens,
            "batch_type": "token",
            "epochs": 1000,
            "logging_freq": 1_000_000,
            "validation_freq": 1_000_000,  # the clock decides when to look
        },
        "testing": {
            "batch_size": 1024,  # 256 to 4096 are equally fast
            "batch_type": "token",
            "max_output_length": -1,  # 1.5 times the longest source of the batch
            "beam_alpha": 1.0,
            "eval_metrics": [],
        },
    }


if __name__ == "__main__":
    run(JoeyNMT)
