"""Which number formats are worth timing on this CPU?"""

import sys

from seqlab.engine.precision import TOO_SLOW, Mode, bf16_slowdown


def timed_modes() -> tuple[Mode, ...]:
    """fp32 and, unless it crawls on this CPU, bf16: without instructions for it, one step can take many minutes."""
    if (slowdown := bf16_slowdown()) <= TOO_SLOW:
        return "fp32", "bf16"
    print(f"bf16: too slow, skipped: a small product takes {slowdown:.0f} times as long as in fp32", file=sys.stderr)
    return ("fp32",)
