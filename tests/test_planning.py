"""A plan beside the round that follows it: the same ballots, and nothing stored before."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from expound import api
from expound.planning import Plan, reading_seconds
from expound.ppo.sizes import Sizes
from expound.project import open_project
from expound.reporting.progress import PlainProgress
from tests.support.projects import Shape, make_project

QUIET = PlainProgress(io.StringIO())


@pytest.fixture
def project(tiny_llama_folder: Path, tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", tiny_llama_folder)


def made(folder: Path, round_: int) -> tuple[Counter[str], int]:
    """Return the ballots of a round by what the plan calls them, and the judgments of the round."""
    with open_project(folder, QUIET, lock=False) as opened:
        names = {"train": "", "held_out": "held-out "}
        ballots = opened.book.ballots(round_=round_)
        judgments = len(opened.book.judgments(round_=round_))
        return Counter(f"{names[ballot.split]}{ballot.kind}s" for ballot in ballots), judgments


def test_a_plan_stores_nothing_and_chooses_no_model(project: Path) -> None:
    found = api.plan(project, progress=QUIET)
    assert (found.round, found.train, found.held_out) == (1, 5, 3)
    assert not (project / "rounds").exists()
    with open_project(project, QUIET, lock=False) as opened:
        assert (opened.book.head(), opened.latest_round(), opened.book.policies()) == (0, None, ())
    assert "No round has begun" in api.status(project)


def test_the_round_makes_the_ballots_of_its_plan_and_the_next_plan_reads_its_log(project: Path) -> None:
    before = api.plan(project, progress=QUIET)
    assert before.source == "20 responses tried just now"
    api.run(project, progress=QUIET)
    ballots, judgments = made(project, 1)
    assert {one.what: one.ballots for one in before.asked} == ballots
    assert (before.ballots, before.judgments) == (ballots.total(), judgments)
    after = api.plan(project, progress=QUIET)
    assert (after.round, after.source) == (2, "the log of round 1")
    lines = [json.loads(line) for line in (project / "rounds/001/metrics.jsonl").read_text().splitlines()]
    tuning = [sum(value for name, value in line.items() if name.startswith("seconds_")) for line in lines]
    assert after.seconds["tune"] == pytest.approx(2 * fmean(tuning))
    api.run(project, progress=QUIET)
    assert {one.what: one.ballots for one in after.asked} == made(project, 2)[0]


def test_an_open_round_is_planned_as_a_whole(tiny_llama_folder: Path, tmp_path: Path) -> None:
    people = make_project(tmp_path / "people", tiny_llama_folder, Shape(panel="people"))
    api.ask(people, progress=QUIET)
    found = api.plan(people, progress=QUIET)
    assert found.round == 1
    assert (found.asked[0].what, found.asked[0].ballots) == ("comparisons", made(people, 1)[0]["comparisons"])
    assert found.people
    assert found.reading > 0


def test_sizes_are_those_of_the_settings_or_of_the_pace(project: Path) -> None:
    assert api.plan(project, progress=QUIET).sizes == Sizes(2, 8)
    path = project / "project.toml"
    path.write_text(path.read_text().replace("updates = 2", 'updates = "auto"').replace("episodes = 8\n", ""))
    found = api.plan(project, progress=QUIET)
    assert 8 <= found.sizes.updates <= 80
    assert found.sizes.episodes == 20  # of five prompts with four responses each


def test_words_and_chinese_characters_are_read_at_their_own_pace() -> None:
    assert reading_seconds("The lamp flickers when the lift starts again.") == pytest.approx(8 / 4)
    assert reading_seconds("河水上涨,是因为山上的雪在融化") == pytest.approx(14 / 7)
    assert reading_seconds("") == 0


def test_the_text_says_what_a_person_needs_to_decide(project: Path) -> None:
    found = api.plan(project, progress=QUIET)
    text = str(found)
    assert text.splitlines()[0] == "Round 1 as it is planned; nothing is stored and nothing begins."
    assert "5 train, 3 held out" in text
    assert "nobody is asked: no people are in the panel" in text
    assert "2 updates of 8 responses" in text
    assert "3 held-out prompts are too few for an interval; bring 20 or more" in text
    asked = str(replace(found, people=True, reading=7200.0))
    assert "about 2 h 0 min of reading for all people together, 4 words or 7 Chinese characters a second" in asked


@pytest.mark.parametrize(
    ("each", "said"),
    [
        (1, "a win rate of 64% or more is found out four times in five (95 % interval), one comparison a prompt"),
        (4, "4 independent comparisons a prompt, without ties; 76% where those of a prompt always agree"),
    ],
)
def test_the_smallest_effect_names_what_it_assumes(project: Path, each: int, said: str) -> None:
    found: Plan = replace(api.plan(project, progress=QUIET), held_out=24, each=each, effect=0.142, effect_alone=0.255)
    assert said in str(found)
