"""The demonstration on a tiny model: two rounds are walked and told, and walking again finds everything done."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from expound.demonstration import walk
from expound.panel.simulated import gold_of
from expound.project import open_project
from expound.reporting.progress import PlainProgress
from tests.support.projects import make_project


def test_two_rounds_are_walked_and_told_once(tiny_llama_folder: Path, tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project", tiny_llama_folder)
    shown = walk(folder, 0, PlainProgress())
    told = [(line.policy, line.round, line.how) for line in shown.gold]
    assert told == [
        *((policy, round_, "sampled") for policy, round_ in (("reference", 0), ("tuned", 1))),
        *((policy, round_, "tails cut") for policy, round_ in (("reference", 0), ("tuned", 1))),
        ("tuned", 2, "sampled"),
        ("tuned", 2, "tails cut"),
        ("reference", 0, "greedy"),
        ("tuned", 2, "greedy"),
    ]
    means = {line.how: line.mean for line in shown.gold if line.policy == "reference"}
    for line in shown.gold:
        if line.difference is not None and line.interval is not None:
            assert line.difference == pytest.approx(line.mean - means[line.how])
            assert line.interval[0] <= line.difference <= line.interval[1]
    with open_project(folder, PlainProgress(), lock=False) as project:
        prompts = {prompt.id: prompt for prompt in project.book.prompts("held_out")}
        reference = project.book.responses("held_out", policy=project.book.policies()[0].id)
        golds = [gold_of(prompts[one.prompt], one.text, finished=one.finished) for one in reference]
        assert means["sampled"] == pytest.approx(fmean(golds))
    assert f"Report: {folder / 'report.html'}" in shown.text
    assert "Hidden utility" in (folder / "report.html").read_text(encoding="utf-8")
    assert walk(folder, 0, PlainProgress()) == shown
