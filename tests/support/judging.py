"""Somebody who judges a project on the disk, without a browser."""

from __future__ import annotations

import io
from pathlib import Path

from expound.project import open_project
from expound.records import Answer, Comparison, Split, content_id
from expound.reporting.progress import PlainProgress

QUIET = PlainProgress(io.StringIO())


def judge(folder: Path, split: Split, name: str = "Ann", limit: int | None = None) -> None:
    """Have somebody answer every ballot of a split; who wins differs from ballot to ballot."""
    with open_project(folder, QUIET, lock=False) as project:
        ballots = [ballot for ballot in project.book.ballots(split) if ballot.id not in project.book.answered()]
        answers = []
        for ballot in ballots[:limit]:
            said = Comparison(
                rater=name,
                ballot=ballot.id,
                prompt=ballot.prompt,
                split=ballot.split,
                round=ballot.round,
                left=ballot.responses[0],
                right=ballot.responses[1],
                choice=1 if ballot.responses[0] < ballot.responses[1] else -1,
            )
            answers.append(Answer(content_id("key", ballot.id), ballot.id, name, (said,)))
        project.book.answer(answers)
