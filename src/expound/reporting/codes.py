"""A link as a QR code for the terminal."""

from __future__ import annotations

import io
import os
from typing import TextIO

BLOCKS = "▀▄█"
BLACK_ON_WHITE = "\x1b[97;40m"  # the blocks are what is light
AS_BEFORE = "\x1b[0m"


def terminal_code(link: str, stream: TextIO) -> list[str]:
    """Return the lines to print: two rows of the code a line; none where no terminal would show them whole."""
    import segno

    if not stream.isatty() or not _can_show(BLOCKS, stream):
        return []
    drawn = io.StringIO()
    segno.make(link, micro=False).terminal(drawn, compact=True)
    lines = drawn.getvalue().splitlines()
    if len(lines[0]) >= os.get_terminal_size(stream.fileno()).columns:
        return []
    return [f"{BLACK_ON_WHITE}{line}{AS_BEFORE}" for line in lines]


def _can_show(text: str, stream: TextIO) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
