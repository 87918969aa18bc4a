"""What do whole updates of the recipe squad-fifth cost, and how many real tokens do they train on?"""

from typing import Any, NamedTuple

import numpy as np

from seqlab.data.batching.stream import BatchConfig, Bucket, Position, plan
from seqlab.data.batching.token_rows import TokenRows
from seqlab.engine.distributed import ALONE
from seqlab.engine.loop import Budget, updates
from seqlab.engine.precision import Mode
from seqlab.experiment.assembly import Assembly
from seqlab.experiment.config import Experiment, load
from seqlab.training.state import build_engine, seeded_assembly
from timing import Stopwatch, evenly_spaced

RECIPE = "squad-fifth"


class Recipe(NamedTuple):
    """The recipe, what it is made of, and its windows."""

    experiment: Experiment
    assembly: Assembly
    windows: TokenRows

    @classmethod
    def made(cls) -> "Recipe":
        experiment = load(RECIPE)
        assembly = seeded_assembly(experiment, ALONE)
        windows: Any = assembly.task.training(0)
        return cls(experiment, assembly, windows)

    def buckets(self, **changes: Any) -> list[Bucket]:
        """The batches of the first epoch; with other settings of `batch` if there are any."""
        config = BatchConfig(**{**self.experiment.batch.model_dump(), **changes})
        return plan(self.windows.shapes, config, np.random.default_rng((self.experiment.train.seed, 0)))

    def timed(self, mode: Mode, number: int, share: float) -> dict[str, float]:
        """Windows, real tokens, places and seconds of some updates of the first epoch, after one that warms up.

        They are evenly spaced over all lengths, as `share` says in `evenly_spaced`.
        """
        places = evenly_spaced([bucket.source_width for bucket in self.buckets()], number, share)
        engine = build_engine(self.experiment, self.assembly, ALONE, mode)
        trained = updates(engine, Budget(number + 1, None, ALONE))
        groups = []
        stopwatch = Stopwatch()
        for place in (places[-1], *places):
            engine.stream.position = Position(0, place)
            groups.append(next(trained).group)
            if len(groups) == 1:  # the first one also prepares kernels, and the next epoch
                stopwatch = Stopwatch()
        seconds = stopwatch.seconds()
        engine.stream.close()
        return {
            "updates": number,
            "windows": sum(len(group.shapes) for group in groups[1:]),
            "tokens": sum(int(group.shapes[:, 0].sum()) for group in groups[1:]),
            "places": sum(batch.ids.numel() for group in groups[1:] for batch in group.batches),
            **seconds,
        }
