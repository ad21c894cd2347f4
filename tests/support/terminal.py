"""A terminal of a given width to write to."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def terminal(columns: int = 80, encoding: str = "utf-8") -> Iterator[TextIO]:
    """Give a stream that is a terminal; what is written to it is read by nobody."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with open(slave, "w", encoding=encoding) as stream:
        yield stream
    os.close(master)
