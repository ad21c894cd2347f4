"""The table of bad input, written from the rows that the tests make: docs/reference/mistakes.md.

`python scripts/bad_input.py` writes the page and prints it; with `--check` it writes nothing and ends with 1 when the
page is not what the rows say.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from tests.bad_input.table import page  # noqa: E402 - the rows lie beside the tests

PAGE = ROOT / "docs" / "reference" / "mistakes.md"


def main(arguments: Sequence[str]) -> int:
    """Write and print the page, or say whether it is stale."""
    text = page()
    if "--check" not in arguments:
        PAGE.write_text(text, encoding="utf-8")
        print(text)
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print("docs/reference/mistakes.md is stale. Run: python scripts/bad_input.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
