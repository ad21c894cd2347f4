"""Files as accidents leave them: bytes changed, cut, doubled, and values put where others belong."""

from __future__ import annotations

import random
from collections.abc import Iterator

STRANGE = (
    b"\x00", b"\xff", b"\xed\xa0\x80", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b";", b"\n", b"\r", b"null", b"true",
    b"NaN", b"Infinity", b"1e999", b"-1", b"0", b"9" * 30, b"9" * 5000, b'"\\ud800"', b"[" * 2000, b'{"a":' * 50, b"'",
    b"=", b"\xef\xbb\xbf", b"{}", b"[]", b'""',
)  # fmt: skip


def damaged(content: bytes, count: int) -> Iterator[bytes]:
    """Yield that many files, each the content with one to three accidents; the same ones at every call."""
    for seed in range(count):
        chance = random.Random(seed)
        found = content
        for _ in range(chance.randint(1, 3)):
            found = _accident(found, chance)
        yield found


def _accident(content: bytes, chance: random.Random) -> bytes:
    start = chance.randint(0, len(content))
    end = min(len(content), start + chance.choice((0, 1, 1, 4, 20)))
    match chance.randrange(5):
        case 0:
            return content[:start] + chance.choice(STRANGE) + content[end:]
        case 1:
            return content[:start] + content[end:]
        case 2:
            return content[:start]
        case 3:
            return content[:start] + content[start:end] * 2 + content[end:]
    lines = content.split(b"\n")
    place, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[place], lines[other] = lines[other], lines[place]
    return b"\n".join(lines)
