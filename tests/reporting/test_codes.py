"""Links as QR codes for the terminal, read back by a reader of pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
import zxingcpp

from expound.reporting.codes import AS_BEFORE, BLACK_ON_WHITE, terminal_code
from tests.support.terminal import terminal

LINK = "http://192.168.1.20:8800/join/7pkvBRlE6LxsS_kUE8pCNp19nP0vcIaMenQkVNXn5ZQ"
HALVES = {" ": (0, 0), "▀": (255, 0), "▄": (0, 255), "█": (255, 255)}
"""The light of the upper and the lower half of a character."""


@pytest.mark.parametrize("link", [LINK, "http://[2001:db8::7]:80/join/x", f"http://office-pc:65535/join/{'-_' * 21}a"])
def test_what_stands_in_the_terminal_is_read_as_the_link(link: str) -> None:
    with terminal() as stream:
        lines = terminal_code(link, stream)
    rows = [line.removeprefix(BLACK_ON_WHITE).removesuffix(AS_BEFORE) for line in lines]
    pixels = [[HALVES[character][half] for character in row] for row in rows for half in (0, 1)]
    picture = np.repeat(np.repeat(np.array(pixels, np.uint8), 4, axis=0), 4, axis=1)
    assert [found.text for found in zxingcpp.read_barcodes(picture)] == [link]


def test_no_code_where_it_would_be_cut_or_unreadable() -> None:
    with terminal(columns=42) as stream:
        width = len(terminal_code(LINK, stream)[0]) - len(BLACK_ON_WHITE + AS_BEFORE)
    with terminal(columns=width) as stream:
        assert terminal_code(LINK, stream) == []
    with terminal(encoding="ascii") as stream:
        assert terminal_code(LINK, stream) == []
    assert terminal_code(LINK, io.StringIO()) == []
