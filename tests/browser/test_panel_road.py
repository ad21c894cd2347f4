"""Two people at the real site and a model judge at a real endpoint, one panel: each with the skill that it has."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from expound import api
from expound.panel.judge import rater_of
from expound.records import Skip
from tests.browser.conftest import Seen
from tests.browser.test_people_road import (
    ADDRESS,
    LINK,
    PATIENCE_SECONDS,
    assert_clean,
    browsing,
    judge_one,
    opened,
    running,
)
from tests.support.judge_server import JudgeServer, shares
from tests.support.projects import Shape, make_project

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

MODEL = "a-judge"
COUNT = 30
LIMIT_SECONDS = 500.0


def project_at(folder: Path, model: Path, server: JudgeServer) -> Path:
    make_project(folder, model, Shape(panel="people", updates=1, count=COUNT))
    settings = folder / "project.toml"
    text = settings.read_text(encoding="utf-8").replace('kinds = ["people"]', 'kinds = ["people", "judge"]')
    judge = f'[judge]\nmodel = "{MODEL}"\nendpoint = "{server.endpoint}"\nseconds = 1\nper_minute = 60000\n'
    settings.write_text(text + judge, encoding="utf-8")
    return folder


def share_work(people: list[Seen]) -> list[int]:
    """Let all judge in turn until nothing is left for anybody; return how many each judged."""
    judged = [0] * len(people)
    while any(seen.page.locator("form.judge").count() for seen in people):
        for place, seen in enumerate(people):
            if seen.page.locator("form.judge").count():
                judge_one(seen, tie=False)
                judged[place] += 1
    return judged


def test_two_people_and_a_judge_are_each_weighed(chromium: Browser, tiny_llama_folder: Path, tmp_path: Path) -> None:
    """A tenth of what the judge says is malformed, and a twentieth of the requests hangs."""
    plan = shares({"malformed": 0.1, "hang": 0.05}, seed=4)
    with JudgeServer(plan=plan) as server, ExitStack() as stack:
        folder = project_at(tmp_path / "project", tiny_llama_folder, server)
        run = stack.enter_context(running(folder, LIMIT_SECONDS))
        address, link = run.until(ADDRESS), run.until(LINK)
        people = [stack.enter_context(browsing(chromium)) for _ in range(2)]
        run.until("Prompts and responses go to http://127.0.0.1:")
        run.until(f"{COUNT} comparisons to judge")
        for seen, way_in in zip(
            people, (link, api.invite(folder, "Ben", port=int(address.rsplit(":", 1)[1]))), strict=True
        ):
            seen.come_in(way_in)
        train = share_work(people)
        people[0].page.wait_for_selector("form.judge", timeout=PATIENCE_SECONDS * 1000)
        held_out = share_work(people)
        for seen in people:
            assert_clean(seen, address)
        said = run.end()
        malformed = sum(asked.trouble == "malformed" for asked in server.asked)
        assert server.hanging
    assert run.process.returncode == 0, run.said
    assert (sum(train), sum(held_out)) == (COUNT, 6)
    assert min(train) > COUNT / 4
    assert "a model judge and people preferred" in said
    with opened(folder) as project:
        book = project.book
        names = {rater.id: rater.name for rater in book.raters()}
        skills = {names[skill.rater]: skill for skill in book.settlements()[0].skills}
        skips = [one for one in book.judgments() if isinstance(one, Skip)]
        assert len(skips) == malformed > 0
        assert {one.rater for one in skips} == {rater_of(MODEL).id}
        assert book.evaluations()[0].sources == ("judge", "people")
    assert set(skills) == {"rater 1", "Ben", MODEL}
    assert [skills["rater 1"].n, skills["Ben"].n] == train
    assert all(skill.skill > 0 for skill in skills.values()), "they agree that more is better"
    assert '<strong class="tag">model judge</strong>' in (folder / "report.html").read_text(encoding="utf-8")
