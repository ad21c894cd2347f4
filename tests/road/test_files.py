"""A round reads what another tool's file brought beside what its own panel said, but for what is held out."""

from __future__ import annotations

import io
import json
from pathlib import Path

from expound import api
from expound.project import open_project
from expound.records import OVERALL
from expound.reporting.progress import PlainProgress
from tests.support.projects import Shape, make_project

ANNA = {"rater": "anna", "source": "simulated"}
LINES = [
    {"prompt": f"Why is {what} so?", "chosen": f"{what} is made so.", "rejected": "It is.", **ANNA, **split}
    for what, split in (("snow", {}), ("salt", {}), ("moss", {"split": "held_out"}))
]


def test_a_round_learns_from_a_file_beside_its_own_panel(tiny_llama_folder: Path, tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project", tiny_llama_folder, Shape(updates=1))
    path = tmp_path / "pairs.jsonl"
    long = {"prompt": "Why?", "chosen": "long " * 3000, "rejected": "Short.", **ANNA}
    path.write_text("".join(f"{json.dumps(line)}\n" for line in [*LINES, long]), encoding="utf-8")
    told = io.StringIO()
    assert api.ingest(folder, path).judgments == 4
    api.run(folder, progress=PlainProgress(told))
    assert "1 responses of files do not fit the model: left out." in told.getvalue()
    with open_project(folder, PlainProgress(told), lock=False) as project:
        book = project.book
        (settlement,), (card,) = book.settlements(), book.rewards()
        judged = {one.response for one in settlement.verdicts if one.criterion == OVERALL}
        from_file = {one.id for one in book.responses("train", round_=0)}
        assert from_file < judged
        assert len(from_file) == 6
        assert card.examples == len(judged) - 1
        assert not judged & {one.id for one in book.responses("held_out")}
        (anna,) = [one for one in settlement.skills if one.rater == "named:simulated:anna"]
        assert (anna.n, anna.side_bias) == (3, None)
        assert {one.source for one in book.judgments() if one.round} == {"simulated"}
        assert book.ballots("train", round_=1)
        assert {one.id for one in project.prompts("train", project.round(1))}.isdisjoint(
            one.prompt for one in book.responses(round_=0)
        )
    out = api.export(folder, tmp_path / "settled.jsonl", format_="scalar", settled=True)
    assert {json.loads(line)["source"] for line in out.read_text(encoding="utf-8").splitlines()} == {"simulated"}
