"""The one way to make a file or a folder appear, and the one reader of JSON Lines.

Whatever appears under its name is whole and on the disk: it is written under another name, fsynced, renamed, and the
folder that holds it is fsynced too. A process that dies in between leaves a name that begins with `.staging-`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from expound.errors import FolderBusy, InputError, StorageError
from expound.records import Json

STAGING = ".staging-"
LOCK = "expound.lock"
GLANCES, GLANCE_SECONDS = 4, 0.05
MAX_LINE_BYTES = 1_000_000
MAX_NESTING = 32


def write_file(path: Path, content: bytes | str) -> None:
    """Make `path` hold `content` (text as UTF-8), or leave it as it was.

    Errors: StorageError when the disk refuses.
    """
    staging = _staging_name(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(staging, content.encode() if isinstance(content, str) else content)
            os.replace(staging, path)
        finally:
            staging.unlink(missing_ok=True)
        _sync(path.parent)


@contextmanager
def staged_folder(target: Path, *, replaces: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill; when the block ends well it appears as `target`, whole.

    When `target` is there by then, it stays and the new folder is dropped (two processes that make the same thing both
    succeed), unless `replaces`: then the old one is moved away just before and removed just after, so that for an
    instant there is neither. An exception in the block leaves nothing.
    Errors: StorageError when the disk refuses.
    """
    staging = _staging_name(target)
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
        try:
            yield staging
            for parent, _, names in os.walk(staging, topdown=False):
                for name in (*names, "."):
                    _sync(Path(parent) / name)
            _appear(staging, target, replaces=replaces)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        _sync(target.parent)


def clear_staging(folder: Path) -> None:
    """Remove what dead processes left half-made directly below `folder`; for one who knows that nobody writes there."""
    for path in folder.glob(f"{STAGING}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Tell what the disk refuses as a StorageError."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path} could not be written: {error.strerror or error}.",
            "Free space, mend the disk or give yourself the right to write, then run the same command again.",
        ) from error


def read_text(path: Path, error: type[InputError]) -> str:
    """Return the text of a UTF-8 file without its byte-order mark.

    Errors: `error` for a folder, and for another encoding, with the byte that is no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except IsADirectoryError as refused:
        raise error(f"{path} is a folder, and a file is needed.", "Move it away and put the file there.") from refused
    except UnicodeDecodeError as refused:
        raise error(f"{path} is not UTF-8 at byte {refused.start}.", "Save it as UTF-8.") from refused


def json_lines(path: Path, error: type[InputError]) -> Iterator[tuple[int, dict[str, Json]]]:
    """Yield line number (from 1) and object of every line of a UTF-8 file that is not blank.

    Refuses, as `error` with file, line and reason: what is no JSON object, NaN and infinities, a key given twice, a
    line over 1 MB, nesting over 32, another encoding (with the offset). A byte-order mark is accepted.
    """
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(MAX_LINE_BYTES + 1):
            number += 1
            try:
                value = _object(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
            except ValueError as trouble:
                is_encoding = isinstance(trouble.__cause__, UnicodeDecodeError)
                remedy = "Save the file as UTF-8." if is_encoding else "Mend or remove that line."
                raise error(f"{path}: line {number}: {trouble}.", remedy) from trouble
            if value is not None:
                yield number, value


def parse_object(text: str) -> dict[str, Json]:
    """Return a JSON object; ValueError for what `parse_json` refuses and for other values."""
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def parse_json(text: str) -> Json:
    """Return a JSON value; ValueError for what is none, NaN, infinities, a key given twice and nesting over 32."""
    try:
        value: Json = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        is_deep = _depth_exceeds(value, MAX_NESTING)
    except RecursionError:
        is_deep = True
    if is_deep:
        raise ValueError(f"nested deeper than {MAX_NESTING}")
    return value


def _object(line: bytes) -> dict[str, Json] | None:
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"longer than {MAX_LINE_BYTES} bytes")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from error
    if not text.strip():
        return None
    try:
        return parse_object(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON at column {error.colno}: {error.msg}") from error


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key '{key}' is given twice")
        found[key] = value
    return found


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is no number here")


def _depth_exceeds(value: Json, limit: int) -> bool:
    if isinstance(value, dict | list):
        inside = value.values() if isinstance(value, dict) else value
        return limit == 0 or any(_depth_exceeds(item, limit - 1) for item in inside)
    return False


def _staging_name(path: Path) -> Path:
    return path.parent / f"{STAGING}{uuid.uuid4().hex}"


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _appear(staging: Path, target: Path, *, replaces: bool) -> None:
    if replaces and target.exists():
        old = _staging_name(target)
        target.rename(old)
        staging.rename(target)
        shutil.rmtree(old)
        return
    try:
        staging.rename(target)
    except OSError:
        if not target.exists():
            raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. The kernel lets go of it when the process ends, however it ends. Errors: FolderBusy."""
    with held(folder / LOCK, str(os.getpid())) as holder:
        if holder is not None:
            raise FolderBusy(
                f"process {holder or 'unknown'} is working in {folder}.",
                "Wait for it, or end it; nothing that it stored is lost.",
            )
        yield


@contextmanager
def held(path: Path, line: str) -> Iterator[str | None]:
    """Hold a file with a line in it while the block runs; yield None, or the line of another process that holds it."""
    with storage_errors(path):
        opened = path.open("a+", encoding="utf-8")
    with opened as handle:
        holder = _line_of_holder(handle, fcntl.LOCK_EX)
        for _ in range(GLANCES):  # whoever only looks holds it for a moment
            if holder is None:
                break
            time.sleep(GLANCE_SECONDS)
            holder = _line_of_holder(handle, fcntl.LOCK_EX)
        if holder is None:
            handle.truncate(0)
            handle.write(line)
            handle.flush()
        yield holder


def holder_of(path: Path) -> str | None:
    """Return the line of the process that holds a file, or None."""
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as handle:
        return _line_of_holder(handle, fcntl.LOCK_SH)


def _line_of_holder(handle: IO[str], kind: int) -> str | None:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        return handle.read().strip()
    return None
