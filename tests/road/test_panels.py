"""The whole loop with a model judge: alone, and beside people. The judge is a real server that speaks the protocol."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from expound import api, cli
from expound.errors import SettingsError
from expound.panel.judge import rater_of
from expound.project import Project, open_project
from expound.records import Answer, Ballot, Comparison, Decision, Ranking, Rater, Rating, Skip, Split, on_ballot
from expound.reporting.progress import PlainProgress
from tests.support.judge_server import JudgeServer, no_trouble, shares
from tests.support.projects import Shape, make_project

MODEL = "local/judge"
JUDGE = rater_of(MODEL).id
PATIENCE = 600.0


def with_judge(folder: Path, model: Path, server: JudgeServer, kinds: str, ballots: str = '["comparison"]') -> Path:
    """Make a project whose panel has the judge."""
    make_project(folder, model, Shape(panel="people", updates=1))
    settings = folder / "project.toml"
    text = settings.read_text(encoding="utf-8").replace('kinds = ["people"]', f"kinds = {kinds}")
    text = text.replace('ballots = ["comparison"]', f"ballots = {ballots}")
    judge = f'[judge]\nmodel = "{MODEL}"\nendpoint = "{server.endpoint}"\nseconds = 0.5\nper_minute = 60000\n'
    settings.write_text(text + judge, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def spoilt() -> Iterator[JudgeServer]:
    """Give a judge of which a tenth of the answers is malformed, and a twentieth of the requests hangs."""
    with JudgeServer(plan=shares({"malformed": 0.1, "hang": 0.05}, seed=5)) as server:
        yield server


@pytest.fixture(scope="module")
def alone(tiny_llama_folder: Path, tmp_path_factory: pytest.TempPathFactory, spoilt: JudgeServer) -> Path:
    """Give a project that has walked a round with the judge alone, asked in all three ways."""
    asked = '["comparison", "rating", "ranking"]'
    folder = tmp_path_factory.mktemp("alone") / "project"
    with_judge(folder, tiny_llama_folder, spoilt, '["judge"]', asked)
    decision = api.run(folder)
    assert isinstance(decision, Decision)
    return folder


@pytest.fixture
def project(alone: Path) -> Iterator[Project]:
    with open_project(alone, PlainProgress(), lock=False) as opened:
        yield opened


# --- a judge alone --------------------------------------------------------------------------------------------------


def test_a_judge_alone_walks_the_whole_road(project: Project) -> None:
    book = project.book
    assert [record.round for record in book.policies()] == [0, 1]
    assert [decision.round for decision in book.decisions()] == [1]
    train = {type(one) for one in book.judgments("train")}
    assert {Comparison, Rating, Ranking} <= train
    assert {one.source for one in book.judgments()} == {"judge"}
    assert [(rater.id, rater.name, rater.source) for rater in book.raters()] == [(JUDGE, MODEL, "judge")]


def test_what_it_could_not_say_blocks_nothing_and_is_kept(project: Project, spoilt: JudgeServer) -> None:
    """Every ballot has an answer or a skip, and skips are those of which the answer was malformed."""
    book = project.book
    assert {*book.answered(), *book.skipped()} == {ballot.id for ballot in book.ballots()}
    skips = [one for one in book.judgments() if isinstance(one, Skip)]
    assert skips
    assert {one.reason for one in skips} == {"malformed"}
    assert len(skips) == sum(asked.trouble == "malformed" for asked in spoilt.asked)
    assert spoilt.hanging


def test_the_skill_of_the_judge_is_found(project: Project) -> None:
    (settlement,) = project.book.settlements()
    (skill,) = settlement.skills
    judged = [one for one in project.book.judgments("train") if not isinstance(one, Skip)]
    assert skill.rater == JUDGE
    assert skill.n == len(judged)
    assert skill.skill > 0


def test_a_judge_is_called_a_judge_everywhere(project: Project, alone: Path) -> None:
    (evaluation,) = project.book.evaluations()
    assert evaluation.sources == ("judge",)
    asked = project.book.ballots("held_out")
    assert evaluation.comparisons == sum(ballot.id in project.book.answered() for ballot in asked) > 0
    (decision,) = project.book.decisions()
    assert "a model judge preferred" in decision.sentence
    page = (alone / "report.html").read_text(encoding="utf-8")
    assert "Model judge: too few held-out prompts to say; tuned preferred in" in page
    assert "No person judged anything: a model did" in page
    assert '<strong class="tag">model judge</strong>' in page
    assert "people preferred" not in page
    told = json.loads((alone / "rounds" / "001" / "report.json").read_text(encoding="utf-8"))
    assert [rater["source"] for rater in told["skills"]] == ["judge"]
    assert "is decided" in api.status(alone)


def test_everything_that_is_asked_again_was_asked_before_in_vain(alone: Path, spoilt: JudgeServer) -> None:
    again = [asked.user for asked in spoilt.asked if asked.trouble != "hang"]
    assert len(again) == len(set(again))


# --- people and a judge ---------------------------------------------------------------------------------------------


def judge_as_people(folder: Path, split: Split) -> None:
    """Have Ann, who likes many words, and Ben, who likes few, share the ballots of a split."""
    with open_project(folder, PlainProgress(), lock=False) as project:
        project.book.add([Rater("ann", "Ann"), Rater("ben", "Ben")])
        words = {one.id: len(one.text.split()) for one in project.book.responses(split)}
        ballots = enumerate(project.book.ballots(split))
        project.book.answer([answer(ballot, "ann" if place % 3 else "ben", words) for place, ballot in ballots])


def answer(ballot: Ballot, rater: str, words: dict[str, int]) -> Answer:
    left, right = ballot.responses
    more = (words[right] > words[left]) - (words[right] < words[left])
    said = Comparison(rater=rater, left=left, right=right, choice=more if rater == "ann" else -more)
    return Answer(f"{rater}-{ballot.id}", ballot.id, rater, (on_ballot(said, ballot),))


def test_people_and_a_judge_are_weighed_each_by_their_own_skill(tiny_llama_folder: Path, tmp_path: Path) -> None:
    with JudgeServer(plan=shares({"malformed": 0.1}, seed=2)) as server:
        folder = with_judge(tmp_path / "both", tiny_llama_folder, server, '["people", "judge"]')
        text = (folder / "project.toml").read_text(encoding="utf-8")
        (folder / "project.toml").write_text(text.replace("count = 12", "count = 40"), encoding="utf-8")
        waiting = api.run(folder, wait=False)
        assert isinstance(waiting, api.Waiting)
        assert "(answered: none)" in waiting.what
        assert "nobody is invited yet" in api.status(folder)
        judge_as_people(folder, "train")
        asked = len(server.asked)
        waiting = api.run(folder, wait=False)
        assert isinstance(waiting, api.Waiting)
        assert len(server.asked) - asked <= 2 * 6, "the judge is asked about the held-out pairs alone"
        judge_as_people(folder, "held_out")
        decision = api.run(folder, wait=False)
    assert isinstance(decision, Decision)
    assert "a model judge and people preferred" in decision.sentence
    with open_project(folder, PlainProgress(), lock=False) as project:
        skills = {skill.rater: skill for skill in project.book.settlements()[0].skills}
        assert {one.source for one in project.book.judgments()} == {"people", "judge"}
        (evaluation,) = project.book.evaluations()
    assert set(skills) == {JUDGE, "ann", "ben"}
    assert skills[JUDGE].skill > skills["ben"].skill
    assert skills["ann"].skill > 0 > skills["ben"].skill
    assert evaluation.sources == ("judge", "people")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count('<strong class="tag">model judge</strong>') == 1
    assert "Only 2 people judged" in page


# --- as a command -----------------------------------------------------------------------------------------------


def running(folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    words = [sys.executable, "-m", "expound.cli", "run", str(folder)]
    return subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def test_ctrl_c_while_the_judge_is_asked_keeps_what_it_said(
    tiny_llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real process, a real SIGINT while requests hang; the same command goes on with what is missing."""
    with JudgeServer(plan=lambda question, before: "hang" if hash_of(question) else None) as server:
        folder = with_judge(tmp_path / "project", tiny_llama_folder, server, '["judge"]')
        text = (folder / "project.toml").read_text(encoding="utf-8")
        (folder / "project.toml").write_text(text.replace("seconds = 0.5", "seconds = 3600"), encoding="utf-8")
        process = running(folder)
        guard = threading.Timer(PATIENCE, process.kill)
        guard.start()
        while process.poll() is None and server.hanging < 4:
            server.closing.wait(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        guard.cancel()
        assert process.returncode == 130, said
        assert "Prompts and responses go to http://127.0.0.1:" in said
        assert "Run the same command again" in said
        assert "Traceback" not in said
        assert server.hanging == 4, "they were still waited for"
        with open_project(folder, PlainProgress(), lock=False) as project:
            kept = set(project.book.answered())
        server.plan = no_trouble
        monkeypatch.setattr(sys, "argv", ["expound", "settle", str(folder)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        assert f"{MODEL} (judge)" in capsys.readouterr().out
        with open_project(folder, PlainProgress(), lock=False) as project:
            assert kept <= set(project.book.answered())
            assert len(project.book.answered()) == len(project.book.ballots("train"))


def hash_of(question: str) -> bool:
    return "Why did the train wait" in question or "Why did the bees leave" in question


def test_a_judge_that_takes_no_request_ends_the_run_and_leaves_all_open(
    tiny_llama_folder: Path, tmp_path: Path
) -> None:
    with JudgeServer(plan=lambda question, before: "no key") as server:
        folder = with_judge(tmp_path / "project", tiny_llama_folder, server, '["judge"]')
        with pytest.raises(SettingsError, match=r"the judge at http://127\.0\.0\.1:.*HTTP 401") as raised:
            api.run(folder)
        assert "EXPOUND_JUDGE_KEY" in raised.value.remedy
        server.plan = no_trouble
        assert api.settle(folder).skills[0].rater == JUDGE


def test_settling_again_asks_nothing(alone: Path, spoilt: JudgeServer) -> None:
    before = len(spoilt.asked)
    api.settle(alone)
    assert len(spoilt.asked) == before
