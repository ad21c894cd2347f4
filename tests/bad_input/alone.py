"""Make the rows that need a disk of their own, in a process whose mounts nobody else sees; tell how they ended.

`python -m tests.bad_input.alone FOLDER MODEL` prints a JSON list: exit code, standard output and standard error.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from expound import cli
from tests.bad_input.row import Row
from tests.bad_input.table import ROWS
from tests.support.projects import make_project


def made(row: Row, here: Path, model: Path) -> tuple[int, str, str]:
    """Make the disk, run the command beside it, and return how it ended."""
    make_project(here / "project", model)
    os.chdir(here)
    subprocess.run(["sh", "-c", row.disk], check=True)
    sys.argv = ["expound", *shlex.split(row.command)]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    folder, model = map(Path, sys.argv[1:])
    rows = [row for row in ROWS if row.disk]
    sys.stdout.write(json.dumps([made(row, folder / str(number), model) for number, row in enumerate(rows)]))
