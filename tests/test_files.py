"""Files and folders appear whole or not at all; broken lines are named."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from expound.errors import JudgmentError, PromptError, StorageError
from expound.files import clear_staging, json_lines, sha256_of, staged_folder, write_file

SOURCE = Path(__file__).resolve().parent.parent / "src"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_and_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    write_file(path, "äh")
    assert path.read_bytes() == b"\xc3\xa4h"
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["a.txt"]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with staged_folder(target) as staging:
        (staging / "inside").mkdir()
        (staging / "inside" / "a").write_text("1")
        assert not target.exists()
    assert (target / "inside" / "a").read_text() == "1"
    assert names(tmp_path) == ["made"]


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with staged_folder(tmp_path / "made") as staging:
            (staging / "a").write_text("1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fill()
    assert names(tmp_path) == []


def test_who_comes_second_uses_the_first(tmp_path: Path) -> None:
    target = tmp_path / "made"
    for text in ("first", "second"):
        with staged_folder(target) as staging:
            (staging / "a").write_text(text)
    assert (target / "a").read_text() == "first"
    with staged_folder(target, replaces=True) as staging:
        (staging / "b").write_text("third")
    assert names(target) == ["b"]
    assert names(tmp_path) == ["made"]


def test_a_refusing_disk_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not be written"):
        write_file(tmp_path / "file" / "below", "x")
    with pytest.raises(StorageError, match="could not be written"), staged_folder(tmp_path / "file" / "below"):
        pass
    with pytest.raises(StorageError, match="No space"), staged_folder(tmp_path / "made"):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == ["file"]


def test_a_kill_while_filling_leaves_only_a_staging_name(tmp_path: Path) -> None:
    code = """
    import os, signal, sys
    from pathlib import Path
    from expound.files import staged_folder
    with staged_folder(Path(sys.argv[1]) / "made") as staging:
        (staging / "a").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(SOURCE)}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [name[:9] for name in names(tmp_path)] == [".staging-"]
    (tmp_path / ".staging-file").write_text("x")
    clear_staging(tmp_path)
    assert names(tmp_path) == []
    clear_staging(tmp_path / "nowhere")


def test_the_hash_is_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    write_file(tmp_path / "a", content)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_lines_come_with_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('\ufeff{"a": 1}\n\n  \n{"b": [1, {"c": null}]}\r\n{"d": "ü"}'.encode())
    assert list(json_lines(path, JudgmentError)) == [(1, {"a": 1}), (4, {"b": [1, {"c": None}]}), (5, {"d": "ü"})]


DEEP = "[" * 40 + "]" * 40
VERY_DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON at column"),
        (b"[1]", "not a JSON object"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": 1, "a": 2}', "the key 'a' is given twice"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        (b'{"a": ' + DEEP.encode() + b"}", "nested deeper than 32"),
        (b'{"a": ' + VERY_DEEP.encode() + b"}", "nested deeper than 32"),
        (json.dumps({"a": "x" * 1_000_000}).encode(), "longer than 1000000 bytes"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"fine": 1}\n' + line + b"\n")
    lines = json_lines(path, PromptError)
    assert next(lines) == (1, {"fine": 1})
    with pytest.raises(PromptError, match=f"a.jsonl: line 2: {reason}"):
        next(lines)
