"""A local chat endpoint that judges by a rule of its own, keeps what it was sent, and gives trouble on demand.

It reads a question as a model would: material is what stands between the delimiters, and what is asked stands below.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal

Trouble = Literal[
    "malformed",  # an opinion in words, where JSON was asked for
    "no words",  # a message without content
    "hang",  # nothing, until the server is closed
    "drip",  # a byte now and then, for ever
    "too many",  # 429 with Retry-After
    "failing",  # 500
    "html",  # a page instead of an answer
    "wrong json",  # JSON, but no chat completion
    "empty",  # nothing at all, and 200
    "lie",  # plain text that claims to be compressed
    "hang up",  # the connection is closed without an answer
    "too long",  # 400, about this request alone
    "no key",  # 401, with the key that was sent
    "moved",  # 302
]
Plan = Callable[[str, int], Trouble | None]
"""What goes wrong, by the question and how often it was asked before."""

PART = re.compile(r"^(Question|Text|Explanation [A-Z]):\n<<<\n(.*?)\n>>>$", re.DOTALL | re.MULTILINE)
SCALE = re.compile(r'^- "(.+?)": (.*)$', re.MULTILINE)
POINT = re.compile(r"(-?\d+) = ")
OPINION = "Both have their merits, but on the whole explanation A is better."
RETRY_AFTER = 7


def by_words(text: str) -> float:
    """Judge a text by its number of words."""
    return len(text.split())


def no_trouble(question: str, before: int) -> Trouble | None:
    """Let nothing go wrong."""
    return None


def shares(of: Mapping[Trouble, float], seed: int = 0) -> Plan:
    """Let a share of the requests go wrong; which do depends on the question and the try alone."""

    def plan(question: str, before: int) -> Trouble | None:
        digest = hashlib.sha256(f"{seed} {before} {question}".encode()).digest()
        drawn, reached = int.from_bytes(digest[:6]) / 2**48, 0.0
        for trouble, share in of.items():
            reached += share
            if drawn < reached:
                return trouble
        return None

    return plan


@dataclass(frozen=True)
class Asked:
    """A request as it came, and what went wrong with it."""

    path: str
    authorization: str | None
    body: Mapping[str, object]
    system: str
    user: str
    trouble: Trouble | None

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """Return the material: what each part is called, and its text."""
        return tuple((found[1], found[2]) for found in PART.finditer(self.user))

    @property
    def question(self) -> str:
        """Return what stands below the material."""
        return PART.split(self.user)[-1].strip()


class JudgeServer:
    """The endpoint; use it in `with`. `worth` says how good a text is; `always` is said whatever the texts are."""

    def __init__(
        self, worth: Callable[[str], float] = by_words, *, plan: Plan = no_trouble, always: str | None = None
    ) -> None:
        self.worth, self.plan, self.always = worth, plan, always
        self.asked: list[Asked] = []
        self.hanging = 0
        self.takes_temperature = True
        self.closing = threading.Event()
        self._before: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> JudgeServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        """Return the address that a project names."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def take(self, path: str, authorization: str | None, body: Mapping[str, object]) -> Asked:
        """Keep a request and decide what goes wrong with it."""
        messages = body["messages"]
        assert isinstance(messages, list)
        system, user = (message["content"] for message in messages)
        with self._lock:
            before = self._before[user]
            self._before[user] += 1
            trouble = self.plan(user, before)
            self.asked.append(Asked(path, authorization, body, system, user, trouble))
            return self.asked[-1]

    def answer(self, asked: Asked) -> str:
        """Return what the judge says."""
        if self.always is not None:
            return self.always
        worth = {name[-1]: self.worth(text) for name, text in asked.parts if name.startswith("Explanation")}
        if '"better"' in asked.question:
            better = "same" if worth["A"] == worth["B"] else max(worth, key=worth.__getitem__)
            return json.dumps({"better": better})
        if '"tiers"' in asked.question:
            levels = sorted(set(worth.values()), reverse=True)
            return json.dumps({"tiers": [[one for one in worth if worth[one] == level] for level in levels]})
        points = {name: [int(point) for point in POINT.findall(text)] for name, text in SCALE.findall(asked.question)}
        return json.dumps({name: _on(scale, worth["A"]) for name, scale in points.items()})


def _on(scale: list[int], worth: float) -> int:
    return max(scale[0], min(scale[-1], round(worth)))


ERRORS: dict[Trouble | None, tuple[int, str]] = {
    "too many": (429, "slow down"),
    "failing": (500, "out of order"),
    "too long": (400, "this is too long"),
    "no key": (401, "wrong key"),
    "moved": (302, "over there"),
}
SPOILT: dict[Trouble | None, bytes] = {
    "html": b"<html>Welcome!</html>",
    "wrong json": b'{"answer": {"better": "A"}}',
    "empty": b"",
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, judge: JudgeServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.judge = judge

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that have left."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def judge(self) -> JudgeServer:
        assert isinstance(self.server, _Server)
        return self.server.judge

    def do_POST(self) -> None:
        """Answer a request, or spoil it."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = self.judge.take(self.path, self.headers["Authorization"], body)
        if asked.trouble in ("hang", "hang up", "drip"):
            self._leave(asked.trouble)
        elif not self.judge.takes_temperature and "temperature" in body:
            self._send(400, b'{"error": {"message": "unsupported parameter: temperature"}}')
        elif asked.trouble in ERRORS:
            status, text = ERRORS[asked.trouble]
            self._send(status, f"{text} {self.headers['Authorization']}".encode())
        else:
            self._send(200, SPOILT.get(asked.trouble, self._said(asked)), asked.trouble)

    def _said(self, asked: Asked) -> bytes:
        opinions: dict[Trouble | None, str | None] = {"malformed": OPINION, "no words": None}
        said = opinions[asked.trouble] if asked.trouble in opinions else self.judge.answer(asked)
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        whole = {"id": "1", "object": "chat.completion", "model": asked.body["model"], "choices": [choice]}
        return json.dumps(whole).encode()

    def _send(self, status: int, body: bytes, trouble: Trouble | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if trouble == "html" else "application/json")
        self.send_header("Content-Length", str(len(body)))
        if trouble == "lie":
            self.send_header("Content-Encoding", "gzip")
        if status == 429:
            self.send_header("Retry-After", str(RETRY_AFTER))
        if status == 302:
            self.send_header("Location", f"{self.judge.endpoint}/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    def _leave(self, trouble: Trouble) -> None:
        """Give no answer: at once, or not before the server is closed."""
        self.close_connection = True
        if trouble == "drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        if trouble != "hang up":
            self.judge.hanging += 1
            while not self.judge.closing.wait(0.05):
                if trouble == "drip":
                    self.wfile.write(b" ")
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""
