"""How many mathematics examples per second does one core draw? `python benchmarks/generator.py [--out FILE]`."""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

from seqlab.data.synthetic.questions import MODULES, SPLITS, draw
from timing import rounds_within

REPEATS = 5


def rates(module: str, split: str, count: int) -> list[float]:
    """Examples a second of each repeat, every one with its own seed."""
    measured = []
    for seed in rounds_within(REPEATS, limit_s=60):
        start = time.perf_counter()
        draw(module, split, count, seed)
        measured.append(count / (time.perf_counter() - start))
    return measured


def machine() -> dict[str, object]:
    """What the numbers were measured on."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="examples a repeat")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()

    results = []
    print(f"{'module':<22} {'split':<13} {'examples/s':>10}  (median of {REPEATS}, min - max)")
    for module in MODULES:
        for split in SPLITS:
            measured = rates(module, split, arguments.count)
            median, low, high = statistics.median(measured), min(measured), max(measured)
            print(f"{module:<22} {split:<13} {median:>10,.0f}  ({low:,.0f} - {high:,.0f})", flush=True)
            results.append(
                {"module": module, "split": split, "median": round(median), "min": round(low), "max": round(high)}
            )
    if arguments.out:
        report = {"unit": "examples/s", "count": arguments.count, "machine": machine(), "results": results}
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
