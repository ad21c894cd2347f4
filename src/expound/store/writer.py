"""One thread owns the only connection that writes, and acknowledges after the commit.

Competing writers wait seconds for SQLite's lock; one that takes along whatever waits needs a fsync for many requests.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from expound.errors import ExpoundError, StorageError
from expound.store.failures import explain, is_fatal

T = TypeVar("T")
MAX_REQUESTS = 256
MAX_ROWS = 2000


@dataclass(frozen=True)
class Request:
    """Work that waits for its commit."""

    work: Callable[[Connection], None]
    rows: int
    done: Future[None] = field(default_factory=Future)


class Writer:
    """The writing thread. `connection` begins its transactions with the write lock taken."""

    def __init__(self, connection: Connection, path: Path) -> None:
        self._connection, self._path = connection, path
        self._queue: queue.Queue[Request | None] = queue.Queue()
        self._lock = threading.Lock()
        self._ended: StorageError | None = None
        self._broken: StorageError | None = None
        self._thread = threading.Thread(target=self._run, name="expound writer", daemon=True)
        self._thread.start()

    def write(self, work: Callable[[Connection], T], rows: int = 1) -> T:
        """Run `work` in a transaction, perhaps with others', and return what it returned, after the commit.

        `work` may be run twice, the first time being rolled back. What it raises of ours comes back, and then nothing
        that it did is kept. Errors: StorageError when disk or database fail.
        """
        results: list[T] = []
        request = Request(lambda connection: results.append(work(connection)), rows)
        with self._lock:
            if self._ended is not None:
                raise self._ended
            self._queue.put(request)
        request.done.result()
        return results[-1]

    def close(self) -> None:
        """Finish what waits and end the thread."""
        self._end(StorageError(f"{self._path} is closed.", "Open the project again."))
        self._queue.put(None)
        self._thread.join()

    def _end(self, why: StorageError) -> None:
        with self._lock:
            self._ended = self._ended or why

    def _run(self) -> None:
        group: Sequence[Request] = ()
        stopped = StorageError(f"the writer of {self._path} stopped.", "Run the same command again.")
        try:
            while group := self._next_group():
                self._commit(group)
        finally:
            self._end(stopped)
            left = [*group, *(self._queue.get() for _ in range(self._queue.qsize()))]
            _refuse([request for request in left if request is not None and not request.done.done()], stopped)

    def _next_group(self) -> Sequence[Request]:
        first = self._queue.get()
        if first is None:
            return ()
        group, rows = [first], first.rows
        while len(group) < MAX_REQUESTS and rows < MAX_ROWS and not self._queue.empty():
            following = self._queue.get()
            if following is None:
                self._queue.put(None)
                break
            group.append(following)
            rows += following.rows
        return group

    def _commit(self, group: Sequence[Request]) -> None:
        try:
            if self._broken is not None:
                raise self._broken
            with self._connection.begin():
                for request in group:
                    request.work(self._connection)
        except (ExpoundError, IntegrityError) as error:
            self._one_by_one(group, error)
        except DBAPIError as error:
            self._fail(group, error)
        except BaseException as error:
            _refuse(group, error)
            raise
        else:
            for request in group:
                request.done.set_result(None)

    def _one_by_one(self, group: Sequence[Request], error: Exception) -> None:
        """Give each request of a group of which one was refused its own transaction and its own result."""
        if len(group) > 1:
            for request in group:
                self._commit([request])
        else:
            _refuse(group, error if isinstance(error, ExpoundError) else explain(error, self._path))

    def _fail(self, group: Sequence[Request], error: DBAPIError) -> None:
        failure = explain(error, self._path)
        if is_fatal(error):
            # After a failed fsync the pages may be gone and the next fsync may lie: never try again.
            self._broken = failure
            self._end(failure)
        _refuse(group, failure)


def _refuse(group: Sequence[Request], error: BaseException) -> None:
    for request in group:
        request.done.set_exception(error)
