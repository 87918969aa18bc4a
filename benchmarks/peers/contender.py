"""What is measured, and what every contender offers for it; runs in the virtual environment of each of them.

A contender is a script with three measurements:

    python X_contender.py speed --data D --work W    # real target tokens per second of its training loop
    python X_contender.py learn --data D --work W    # validation loss and translations over the seconds of training
    python X_contender.py decode --data D --work W   # sentences per second of beam search with the model of `learn`

The last line that it prints is a JSON object. All see the same ids: a line of a file in D is a sentence, its words are
ids of one joint BPE vocabulary. Only the toolkit's own loop, batches, model and search are used; this file holds what
they share: the settings, the clock and the command line.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

VOCABULARY = 8000  # joint BPE; the ids 0 to 3 are padding, begin, end and unknown
PAD_ID, BOS_ID, EOS_ID, UNK_ID = range(4)
WIDTH, FEEDFORWARD, HEADS, LAYERS = 256, 1024, 8, 3  # layers of the encoder, and of the decoder
DROPOUT, LABEL_SMOOTHING = 0.2, 0.1
PEAK_RATE, WARMUP = 1e-3, 100  # linear warm-up, then down with the inverse square root of the update
BETAS, CLIP = (0.9, 0.98), 1.0  # Adam without weight decay
BATCH_TOKENS = 4096  # of the longer side, padding included, where the toolkit counts tokens
SHORT_S = 20.0  # a pass of decoding that is shorter is made twice: preparing kernels would count for much
FORCED_TOKENS = 16  # of every translation whose time is taken: about the mean of the references
LENGTH_RATIO = 1.5  # a translation is cut at this many times the longest source of its batch, end marks counted


@dataclass(frozen=True)
class Options:
    """The command line of a contender."""

    measure: str
    data: Path
    work: Path
    variant: str
    seed: int
    batch_tokens: int
    updates: int
    warmup: int
    minutes: float
    until_loss: float
    look_every: int
    beam: int
    cpu_time: bool

    def now(self) -> float:
        """The seconds that count: of the wall clock, or of this process on its core."""
        return time.process_time() if self.cpu_time else time.perf_counter()


class Contender(Protocol):
    """A toolkit with the model of this benchmark."""

    def parameters(self) -> int:
        """Number of trained values, each tied one once."""
        ...

    def train(self, clock: "Clock") -> None:
        """Runs the toolkit's training loop, telling the clock of every update, until the clock raises Finished."""
        ...

    def validation(self) -> Iterable[tuple[float, int]]:
        """For every validation batch the summed -log p of the targets, end marks included, and their number."""
        ...

    def translate(self, split: str, beam: int, length: int | None = None) -> list[list[int]]:
        """Ids of the translations of a file of D, in its order, without special ids; beam 1 is greedy.

        With `length`, each has that many tokens, whatever the model would end them at.
        """
        ...

    def save(self, path: Path) -> None:
        """Writes the weights."""
        ...

    def load(self, path: Path) -> None:
        """Reads what `save` wrote."""
        ...


class Finished(Exception):  # noqa: N818 - the way out of somebody else's training loop
    """Everything has been measured."""


class Clock:
    """Adds up the time of updates: forward, backward, optimizer, and loading the next batch.

    The first `warmup` updates do not count. Looking at the model does not count either.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        warmup: int = 0,
        updates: float = math.inf,
        seconds: float = math.inf,
        look_every: int | None = None,
        look: Callable[["Clock"], bool] = lambda clock: False,
    ) -> None:
        self.updates, self.seconds, self.tokens, self.real, self.slots = -warmup, 0.0, 0, 0, 0
        self._now = now
        self._most_updates, self._most_seconds = updates, seconds
        self._look_every, self._look, self._looks = look_every, look, 0
        self._batch: tuple[int, int, int] | None = None
        self._start = 0.0

    def begin(self, target_tokens: int, tokens: int, slots: int) -> None:
        """An update begins, hence the one before has ended.

        Args:
            target_tokens: real tokens of the targets of the new batch, end marks included.
            tokens: real tokens of both sides.
            slots: places of both sides, padding included.

        Raises:
            Finished: when all updates or seconds are spent, or what is looked at is good enough.
        """
        if self._batch is not None:
            self._count(self._now() - self._start)
            if self.updates >= self._most_updates or self.seconds >= self._most_seconds:
                raise Finished
            if self._look_every and self.tokens // self._look_every > self._looks:
                self._looks = self.tokens // self._look_every
                if self._look(self):
                    raise Finished
        self._batch = target_tokens, tokens, slots
        self._start = self._now()

    def _count(self, seconds: float) -> None:
        self.updates += 1
        if self.updates > 0:
            assert self._batch is not None
            target_tokens, tokens, slots = self._batch
            self.seconds += seconds
            self.tokens += target_tokens
            self.real += tokens
            self.slots += slots

    def result(self) -> dict[str, Any]:
        return {
            "tokens_per_s": self.tokens / self.seconds,
            "padding_share": 1 - self.real / self.slots,
            "updates": self.updates,
            "seconds": self.seconds,
            "target_tokens_per_update": self.tokens / self.updates,
        }


def run(build: Callable[[Options], Contender]) -> None:
    """The command line of a contender; prints the result of one measurement."""
    options = read_options()
    options.work.mkdir(parents=True, exist_ok=True)
    contender = build(options)
    result = {"speed": speed, "learn": learn, "decode": decode}[options.measure](contender, options)
    print(json.dumps({"parameters": contender.parameters(), **result, "peak_memory_mb": peak_memory_mb()}))


def speed(contender: Contender, options: Options) -> dict[str, Any]:
    """Tokens a second of `options.updates` updates."""
    clock = Clock(options.now, warmup=options.warmup, updates=options.updates)
    trained(contender, clock)
    return clock.result()


def learn(contender: Contender, options: Options) -> dict[str, Any]:
    """The curve of a training; the translations go to files for the driver to score."""
    curve: list[dict[str, Any]] = []

    def look(clock: Clock) -> bool:
        loss, tokens = map(sum, zip(*contender.validation(), strict=True))
        path = options.work / f"validation-{len(curve)}.txt"
        write_ids(path, contender.translate("val", beam=1))
        point = {"seconds": clock.seconds, "updates": clock.updates, "trained_tokens": clock.tokens}
        curve.append({**point, "loss": loss / tokens, "validation_tokens": tokens, "translations": str(path)})
        return loss / tokens <= options.until_loss

    clock = Clock(options.now, seconds=60 * options.minutes, look_every=options.look_every, look=look)
    trained(contender, clock)
    if not curve or curve[-1]["updates"] < clock.updates:
        look(clock)
    contender.save(weights(options))
    return {**clock.result(), "curve": curve}


def decode(contender: Contender, options: Options) -> dict[str, Any]:
    """Sentences a second over the test set; of two passes the faster one, where they are short."""
    contender.load(weights(options))
    seconds, translations = timed(contender, options)
    if seconds < SHORT_S:
        seconds = min(seconds, timed(contender, options)[0])
    path = options.work / "test.txt"
    write_ids(path, translations)
    return {
        "sentences_per_s": len(translations) / seconds,
        "tokens_per_sentence": sum(map(len, translations)) / len(translations),
        "seconds": seconds,
        "beam": options.beam,
        "translations": str(path),
    }


def timed(contender: Contender, options: Options) -> tuple[float, list[list[int]]]:
    start = options.now()
    translations = contender.translate("test", options.beam, FORCED_TOKENS)
    return options.now() - start, translations


def trained(contender: Contender, clock: Clock) -> None:
    try:
        contender.train(clock)
    except Finished:
        return
    raise RuntimeError("the training loop ended before the clock")


def weights(options: Options) -> Path:
    return options.work / "weights.pt"


def read_ids(path: Path) -> list[list[int]]:
    return [[int(word) for word in line.split()] for line in path.read_text().splitlines()]


def write_ids(path: Path, sentences: list[list[int]]) -> None:
    path.write_text("".join(" ".join(map(str, ids)) + "\n" for ids in sentences))


def length_limit(longest_source: int) -> int:
    """Tokens that a translation may have, for the longest source of a batch; both count the end mark."""
    return int(LENGTH_RATIO * longest_source)


def peak_memory_mb() -> float:
    """Most resident memory of this process so far, in MiB (Linux)."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def read_options() -> Options:
    parser = argparse.ArgumentParser()
    parser.add_argument("measure", choices=["speed", "learn", "decode"])
    parser.add_argument("--data", type=Path, required=True, help="folder with the ids of train, val and test")
    parser.add_argument("--work", type=Path, required=True, help="folder for what this contender writes")
    parser.add_argument("--variant", default="", help="one of several settings of the toolkit")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch-tokens", type=int, default=BATCH_TOKENS)
    parser.add_argument("--updates", type=int, default=27, help="speed: updates that count")
    parser.add_argument("--warmup", type=int, default=3, help="speed: updates before them")
    parser.add_argument("--minutes", type=float, default=6.0, help="learn: minutes of training")
    parser.add_argument("--until-loss", type=float, default=0.0, help="learn: validation loss to end at")
    parser.add_argument("--look-every", type=int, default=60_000, help="learn: target tokens between two looks")
    parser.add_argument("--beam", type=int, default=5, help="decode: width of the beam")
    parser.add_argument("--cpu-time", action="store_true", help="count seconds of the process, not of the wall clock")
    return Options(**vars(parser.parse_args()))
