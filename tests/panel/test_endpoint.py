"""A chat endpoint asked with patience: a real server on this machine, and whatever can go wrong with one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from expound.errors import SettingsError, StoppedItself
from expound.panel.endpoint import (
    FURTHEST_APART,
    KEY_VARIABLE,
    LONGEST_TOLD,
    TRIES,
    Endpoint,
    Pace,
    Reply,
    read_key,
    run,
    seconds_told,
)
from expound.settings import JudgeSettings
from tests.support.judge_server import OPINION, RETRY_AFTER, JudgeServer, Plan, Trouble

FINE = '{"better": "A"}'


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def ask(address: str, time: Time, *, times: int = 1, key: str = "", seconds: float = 20.0) -> list[Reply]:
    """Ask the same question so many times, all at once."""
    settings = JudgeSettings(endpoint=address, model="m", seconds=seconds, per_minute=6e6)

    async def asking() -> list[Reply]:
        async with Endpoint(settings, key, sleep=time.sleep, clock=time.clock) as endpoint:
            return list(await asyncio.gather(*(endpoint.ask("system", "user") for _ in range(times))))

    return run(asking())


def first(*troubles: Trouble) -> Plan:
    """Let the first requests go wrong, each in its way."""
    return lambda question, before: troubles[before] if before < len(troubles) else None


def test_what_is_sent_is_a_chat_of_the_protocol() -> None:
    with JudgeServer(always=FINE) as server:
        assert ask(server.endpoint, Time()) == [Reply(FINE)]
        (asked,) = server.asked
    assert asked.path == "/v1/chat/completions"
    assert (asked.body["model"], asked.body["temperature"]) == ("m", 0)
    assert (asked.system, asked.user) == ("system", "user")
    assert asked.authorization is None


def test_failures_of_the_server_are_tried_again_later_and_later() -> None:
    time = Time()
    with JudgeServer(always=FINE, plan=first("failing", "failing", "failing")) as server:
        assert ask(server.endpoint, time) == [Reply(FINE)]
        assert len(server.asked) == 4
    waits = [seconds for seconds in time.slept if seconds > 0.1]
    assert [0.5 <= wait <= 1 for wait in waits[:1]] == [True]
    assert [low <= wait <= 2 * low for low, wait in zip((0.5, 1, 2), waits, strict=True)] == [True] * 3


@pytest.mark.parametrize("trouble", ["html", "wrong json", "empty", "lie", "hang up"])
def test_what_is_no_answer_of_the_protocol_is_tried_again(trouble: Trouble) -> None:
    with JudgeServer(always=FINE, plan=first(trouble)) as server:
        assert ask(server.endpoint, Time()) == [Reply(FINE)]
        assert [asked.trouble for asked in server.asked] == [trouble, None]


@pytest.mark.parametrize("trouble", ["hang", "drip"])
def test_a_request_as_a_whole_has_its_seconds(trouble: Trouble) -> None:
    with JudgeServer(always=FINE, plan=first(trouble)) as server:
        assert ask(server.endpoint, Time(), seconds=0.3) == [Reply(FINE)]
        assert len(server.asked) == 2


def test_an_endpoint_that_asks_for_time_is_left_alone_by_all() -> None:
    time = Time()
    with JudgeServer(always=FINE, plan=first("too many", "too many")) as server:
        assert ask(server.endpoint, time, times=3) == [Reply(FINE)] * 3
        assert len(server.asked) == 5
    assert time.now >= RETRY_AFTER


@pytest.mark.parametrize(
    ("trouble", "last"),
    [
        ("failing", "HTTP 500, 'out of order"),
        ("too many", "HTTP 429, 'slow down"),
        ("html", "no answer of the chat protocol: '<html>Welcome!"),
        ("hang", "nothing within 0.1 seconds"),
        ("hang up", "."),
    ],
)
def test_at_last_it_gives_up_and_says_why(trouble: Trouble, last: str) -> None:
    with JudgeServer(plan=lambda question, before: trouble) as server:
        with pytest.raises(StoppedItself, match=rf"gave no answer in {TRIES} tries \(the last: {last}") as raised:
            ask(server.endpoint, Time(), seconds=0.1)
        assert len(server.asked) == TRIES
    assert "same command again" in raised.value.remedy


def test_nobody_at_the_address() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        with pytest.raises(StoppedItself, match="gave no answer in 6 tries"):
            ask(address, Time())


def test_what_is_no_address_is_a_mistake_of_the_settings() -> None:
    with pytest.raises(SettingsError, match=r"\[judge\] endpoint = 'http://exa\\x00mple/v1' is no address"):
        ask("http://exa\0mple/v1", Time())


def test_a_message_without_words_is_no_answer_and_not_asked_for_again() -> None:
    with JudgeServer(plan=first("no words")) as server:
        (reply,) = ask(server.endpoint, Time())
        assert len(server.asked) == 1
    assert not reply.is_answer
    assert '"content": null' in reply.text


def test_a_refusal_of_this_request_alone_is_a_reply() -> None:
    with JudgeServer(plan=first("too long")) as server:
        (reply,) = ask(server.endpoint, Time())
    assert not reply.is_answer
    assert reply.text.startswith("HTTP 400: this is too long")


@pytest.mark.parametrize(("trouble", "code"), [("no key", 401), ("moved", 302)])
def test_an_endpoint_that_takes_nothing_is_a_mistake_of_the_settings(trouble: Trouble, code: int) -> None:
    """The server repeats the key that it got, and the message must not."""
    with JudgeServer(plan=first(trouble)) as server:
        with pytest.raises(SettingsError, match=rf"refused the request: HTTP {code}, .*\(key\)") as raised:
            ask(server.endpoint, Time(), key="sesame")
        assert server.asked[0].authorization == "Bearer sesame"
        assert len(server.asked) == 1
    assert "sesame" not in str(raised.value)
    assert KEY_VARIABLE in raised.value.remedy


def test_a_model_that_has_only_one_temperature_is_asked_without() -> None:
    with JudgeServer(always=FINE) as server:
        server.takes_temperature = False
        assert ask(server.endpoint, Time(), times=3) == [Reply(FINE)] * 3
        assert sum("temperature" not in asked.body for asked in server.asked) == 3


def test_halves_of_characters_become_question_marks() -> None:
    with JudgeServer(always="\ud83d is half") as server:
        assert ask(server.endpoint, Time()) == [Reply("? is half")]


def test_a_proxy_does_not_know_the_servers_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with JudgeServer(always=OPINION) as server:
        assert ask(server.endpoint, Time()) == [Reply(OPINION)]


def test_the_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert read_key() == ""
    monkeypatch.setenv(KEY_VARIABLE, " sesame\n")
    assert read_key() == "sesame"


@pytest.mark.parametrize("key", ["sésame", "ses\name"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(SettingsError, match=rf"{KEY_VARIABLE} holds a character") as raised:
        read_key()
    assert key not in str(raised.value)


def from_now(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("7", 7, 7),
        ("1.5", 1.5, 1.5),
        ("", 0, 0),
        ("soon", 0, 0),
        ("-3", 0, 0),
        ("nan", 0, 0),
        ("inf", LONGEST_TOLD, LONGEST_TOLD),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0, 0),
        pytest.param(from_now(-60), 0, 0, id="a minute ago"),
        pytest.param(from_now(90_000), LONGEST_TOLD, LONGEST_TOLD, id="tomorrow"),
    ],
)
def test_how_long_to_wait_is_a_number_or_a_date(header: str, low: float, high: float) -> None:
    assert low <= seconds_told(header) <= high


async def turns(pace: Pace, time: Time, count: int, then: Callable[[int], None] | None = None) -> list[float]:
    """Let so many wait for their turn at once, and return when each came."""
    came: list[float] = []

    async def one(place: int) -> None:
        await pace.turn()
        came.append(time.now)
        if then is not None:
            then(place)

    await asyncio.gather(*map(one, range(count)))
    return came


def test_all_share_one_pace() -> None:
    time = Time()
    assert run(turns(Pace(60, time.sleep, time.clock), time, 5)) == [0, 1, 2, 3, 4]


def test_a_hold_reaches_those_who_wait_already() -> None:
    time = Time()
    pace = Pace(60, time.sleep, time.clock)
    assert run(turns(pace, time, 4, lambda place: pace.hold(20) if place == 1 else None)) == [0, 1, 21, 23]


def test_whoever_is_held_goes_slower_and_then_faster_again_up_to_the_usual_pace() -> None:
    time = Time()
    pace = Pace(60, time.sleep, time.clock)

    async def held_and_hurried() -> tuple[list[float], list[float]]:
        for _ in range(20):
            pace.hold(0)
        slow = await turns(pace, time, 2)
        for _ in range(200):
            pace.hurry()
        await pace.turn()
        return slow, await turns(pace, time, 3)

    slow, fast = run(held_and_hurried())
    assert slow[1] - slow[0] == FURTHEST_APART
    assert [fast[1] - fast[0], fast[2] - fast[1]] == pytest.approx([1, 1])


def test_work_runs_where_a_loop_is_running_already_as_in_a_notebook() -> None:
    async def inside() -> int:
        await asyncio.sleep(0)
        return 7

    async def notebook() -> int:
        return run(inside())

    with ThreadPoolExecutor(1) as elsewhere:  # this thread may have a loop of Chromium's own
        assert elsewhere.submit(lambda: asyncio.run(notebook())).result() == 7


def test_an_error_of_the_work_comes_out_as_it_is() -> None:
    async def failing() -> None:
        raise StoppedItself("It stopped.", "Go.")

    with pytest.raises(StoppedItself, match="It stopped"):
        run(failing())
