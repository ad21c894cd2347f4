"""Laws of the log: what was acknowledged is there, once, whoever wrote at the same time and whoever was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from expound.records import Rater
from expound.store.book import open_book
from tests.support.log import compare, make_ballot, make_prompt

ROOT = Path(__file__).resolve().parent.parent.parent

# Answers its ballots one by one and says so after each; `acknowledged KEY` is printed after the commit only.
WRITER = """
import sys
from expound.store.book import open_book
from tests.support.log import compare
folder, rater, revision = sys.argv[1:]
with open_book(folder) as book:
    print("ready", flush=True)
    for ballot in book.ballots():
        (stored,) = book.answer([compare(ballot, rater, revision=int(revision))])
        print("acknowledged", stored.key, flush=True)
"""


def start(folder: Path, rater: str, revision: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), rater, str(revision)]
    environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)


def fill(folder: Path, number: int) -> None:
    prompts = [make_prompt(f"Why {place}?") for place in range(number)]
    with open_book(folder) as book:
        book.add([*prompts, *(make_ballot(prompt) for prompt in prompts)])


def test_two_processes_write_at_once_and_a_third_reads_along(tmp_path: Path) -> None:
    fill(tmp_path, 150)
    with open_book(tmp_path) as book:
        writers = [start(tmp_path, rater) for rater in ("r1", "r2")]
        heads = [book.head()]
        while any(writer.poll() is None for writer in writers):
            for writer in writers:
                assert writer.stdout is not None
                writer.stdout.readline()
            heads.append(book.head())
        outputs = [writer.communicate(timeout=30)[0] for writer in writers]
        assert [writer.returncode for writer in writers] == [0, 0], outputs
        assert heads == sorted(heads)
        assert len(book.judgments()) == 300
        assert all(sorted(raters) == ["r1", "r2"] for raters in book.answered().values())
        assert book.head() == 600


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    fill(tmp_path, 400)
    acknowledged: list[str] = []
    for attempt in range(10):
        writer = start(tmp_path, "r1", revision=attempt)
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(1 + 7 * attempt)]
        writer.kill()
        said += writer.stdout.read().splitlines(keepends=True)
        writer.stdout.close()
        assert writer.wait(timeout=30) == -signal.SIGKILL
        acknowledged += [line.split()[1] for line in said if line.startswith("acknowledged") and line.endswith("\n")]
    assert len(acknowledged) >= 7 * sum(range(10))
    with open_book(tmp_path) as book, book.database.read() as connection:
        stored = [key for (key,) in connection.exec_driver_sql("SELECT key FROM entry WHERE kind = 'judgment'")]
        assert len(set(stored)) == len(stored)
        assert set(acknowledged) <= set(stored)
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


def test_thousands_of_answers_in_one_call_are_all_there_and_in_order(tmp_path: Path) -> None:
    prompts = [make_prompt(f"Why {place}?") for place in range(1000)]
    ballots = [make_ballot(prompt) for prompt in prompts]
    answers = [compare(ballot, f"r{number}") for number in range(5) for ballot in ballots]
    with open_book(tmp_path) as book:
        assert book.add([*(Rater(f"r{number}", "x") for number in range(5)), *prompts, *ballots]) == 2005
        stored = book.answer(answers)
        assert [one.sequence for one in stored] == list(range(2006, 7006))
        assert not any(one.repeated for one in stored)
        again = book.answer(answers)
        assert all(one.repeated for one in again)
        assert [one.sequence for one in again] == [one.sequence for one in stored]
        assert book.judgments() == tuple(judgment for answer in answers for judgment in answer.judgments)
    with open_book(tmp_path) as book:
        assert len(book.judgments()) == 5000
