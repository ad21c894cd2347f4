"""A chat endpoint that speaks the OpenAI protocol, asked with patience.

A request is tried again after a time-out, a failure of the server and a refusal for being too many. All that are under
way share one pace. The key comes from the environment and goes into no message, no file and no other host.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from types import TracebackType
from typing import TypeVar
from urllib.parse import urlsplit

import httpx2

from expound.errors import SettingsError, StoppedItself
from expound.settings import ADDED, JudgeSettings

KEY_VARIABLE = "EXPOUND_JUDGE_KEY"
TRIES = 6
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds between two tries: twice as long each time
LONGEST_TOLD = 600.0  # seconds that an endpoint may ask to be left alone
SLOWER, FASTER, FURTHEST_APART = 2.0, 0.9, 60.0
AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
UNFIT = frozenset({400, 413, 422})  # may be about this one request: too long, say, or filtered
TOO_MANY = 429
MOST_SHOWN = 200

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Reply:
    """What came back; `is_answer` is False when the model itself said nothing, and `text` then tells why."""

    text: str
    is_answer: bool = True


class Pace:
    """Says when the next request may be sent, to all that are to share it; slower while the endpoint complains."""

    def __init__(self, per_minute: float, sleep: Sleep, clock: Clock) -> None:
        self._sleep, self._clock = sleep, clock
        self._usual = self._apart = 60.0 / per_minute
        self._next = clock()
        self._lock = asyncio.Lock()

    async def turn(self) -> None:
        """Wait until a request may be sent."""
        async with self._lock:
            while (wait := self._next - self._clock()) > 0:
                await self._sleep(wait)
            self._next = self._clock() + self._apart

    def hold(self, seconds: float) -> None:
        """Let nobody send for so long, and all less often from then on."""
        self._apart = max(self._usual, min(FURTHEST_APART, SLOWER * self._apart))
        self._next = max(self._next, self._clock() + seconds)

    def hurry(self) -> None:
        """Let all send a little more often again, up to the usual pace."""
        self._apart = max(self._usual, FASTER * self._apart)


class Endpoint:
    """A chat endpoint; use it in `async with`."""

    def __init__(
        self, settings: JudgeSettings, key: str, *, sleep: Sleep = asyncio.sleep, clock: Clock = time.monotonic
    ) -> None:
        self._settings, self._key, self._sleep = settings, key, sleep
        self._address = _address(settings.endpoint)
        self._pace = Pace(settings.per_minute, sleep, clock)
        self._knows_temperature = True
        self._client = httpx2.AsyncClient(
            timeout=None,  # each request as a whole has its seconds, however slowly its bytes drip
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx2.Limits(max_connections=settings.at_once),
            trust_env=not _is_here(settings.endpoint),  # a proxy does not know this machine's servers
        )

    async def __aenter__(self) -> Endpoint:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def ask(self, system: str, user: str) -> Reply:
        """Return what the model says, or why the endpoint did not take this request.

        Errors: SettingsError when it takes none; StoppedItself when it cannot be reached.
        """
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1))
                await self._sleep(longest * random.uniform(0.5, 1))  # so that those who failed together part
            await self._pace.turn()
            found = await self._try(system, user)
            if isinstance(found, Reply):
                return found
            problem = found
        raise StoppedItself(
            f"the judge at {self._settings.endpoint} gave no answer in {TRIES} tries (the last: {problem}).",
            "Run the same command again when it can be reached; what it has said is kept.",
        )

    async def _try(self, system: str, user: str) -> Reply | str:
        """Return a reply, or the problem of a try that may go better next time."""
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        body: dict[str, object] = {"model": self._settings.model, "messages": messages}
        if is_cold := self._knows_temperature:
            body["temperature"] = 0
        try:
            async with asyncio.timeout(self._settings.seconds):
                found = await self._client.post(self._address, json=body)
        except TimeoutError:
            return f"nothing within {self._settings.seconds:g} seconds"
        except httpx2.HTTPError as error:
            return str(error) or type(error).__name__
        return self._read(found, is_cold=is_cold)

    def _read(self, found: httpx2.Response, *, is_cold: bool) -> Reply | str:
        code, told = found.status_code, self._without_key(found.text)
        shown = f"HTTP {code}, {told[:MOST_SHOWN]!r}"
        if code in AGAIN:
            wait = seconds_told(found.headers.get("Retry-After", ""))
            if wait or code == TOO_MANY:
                self._pace.hold(wait)
            return shown
        if code in UNFIT and is_cold and "temperature" in told:
            self._knows_temperature = False  # some models have only one
            return shown
        if code in UNFIT:
            return Reply(f"HTTP {code}: {told}", is_answer=False)
        if code != httpx2.codes.OK:
            raise SettingsError(
                f"the judge at {self._settings.endpoint} refused the request: {shown}.",
                f"Check [judge] endpoint and model, and the key in the environment variable {KEY_VARIABLE}.",
            )
        self._pace.hurry()
        said = _said(found.content)
        return f"no answer of the chat protocol: {told[:MOST_SHOWN]!r}" if said is None else said

    def _without_key(self, text: str) -> str:
        """Return what a server told without the key, which some repeat."""
        return text.replace(self._key, "(key)") if self._key else text


def read_key() -> str:
    """Return the key of the environment, or an empty string. Errors: SettingsError for what no header can hold."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise SettingsError(
            f"the environment variable {KEY_VARIABLE} holds a character that no key has.", "Set it to the key alone."
        )
    return key


def seconds_told(header: str) -> float:
    """Return the seconds that a Retry-After asks for, as a number or a date; 0 for anything else."""
    try:
        seconds = float(header)
    except ValueError:
        seconds = _seconds_until(header)
    return min(LONGEST_TOLD, seconds) if seconds > 0 else 0.0


def _seconds_until(date: str) -> float:
    try:
        return (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return 0.0


def _said(body: bytes) -> Reply | None:
    """Return what a chat completion says; None where the body is none. A message without words is no answer.

    Halves of characters, which JSON can spell and no file can hold, become question marks.
    """
    try:
        message = json.loads(body)["choices"][0]["message"]
        content = message["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if not isinstance(content, str):
        return Reply(json.dumps(message), is_answer=False)
    return Reply(content.encode("utf-8", "replace").decode("utf-8"))


def _address(endpoint: str) -> httpx2.URL:
    try:
        return httpx2.URL(f"{endpoint.rstrip('/')}{ADDED}")
    except httpx2.InvalidURL as error:
        raise SettingsError(
            f"[judge] endpoint = {endpoint!r} is no address: {error}.", "Write it like http://127.0.0.1:8080/v1."
        ) from error


def _is_here(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def run(work: Coroutine[None, None, T]) -> T:
    """Run asynchronous work to its end and return what it returns; Ctrl-C cancels it, and waits for its clearing up.

    It has a thread of its own, since the thread of a notebook has a loop running already.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="judge", daemon=True)
    thread.start()
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result()
    finally:
        future.cancel()
        asyncio.run_coroutine_threadsafe(_others_end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _others_end() -> None:
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
