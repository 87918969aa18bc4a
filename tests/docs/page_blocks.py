"""What a page of Markdown asks its reader to run: shell commands, and blocks of Python."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]

FENCED = re.compile(r"^```([\w.+-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(seqlab\s+[^`]*\s[^`]*)`")
CAPTURED = re.compile(r"\w+=\$\((.+)\)")

NOT_COMMANDS = frozenset({"python", "toml", "text"})
"""Languages of blocks that hold something else; a block without a language holds commands."""


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    return [Block(*match.groups()) for match in FENCED.finditer(page)]


def commands(page: str) -> Iterator[str]:
    """Every command of the page, as it is typed: those of blocks, then those within sentences."""
    for block in blocks(page):
        if block.language not in NOT_COMMANDS:
            for line in block.text.replace("\\\n", " ").splitlines():
                if command := re.sub(r"(^|\s+)#.*", "", line).strip():
                    captured = CAPTURED.fullmatch(command)
                    yield captured[1] if captured else command
    for command in INLINE.findall(FENCED.sub("", page)):
        yield " ".join(command.split())
