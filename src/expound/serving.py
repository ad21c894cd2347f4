"""The rating site as a process: in the foreground for `serve`, as a child for `run`."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote

from expound.errors import PortInUse, SettingsError, StoppedItself
from expound.ports import Progress
from expound.project import Project
from expound.settings import SiteSettings

START_SECONDS = 60.0
STOP_SECONDS = 10.0
LAST_PORT = 65535
FIRST_RATER = "rater 1"
WHAT_COMES = (
    "What is to be judged appears there by itself; this command waits for the judgments, then goes on by itself."
)


def bind(settings: SiteSettings, port: int | None = None) -> socket.socket:
    """Return a listening socket. Errors: PortInUse; SettingsError for a host that is not this machine's."""
    wanted = settings.port if port is None else port
    if not 0 <= wanted <= LAST_PORT:
        raise SettingsError(f"there is no port {wanted}.", f"Give 0, which takes any free one, to {LAST_PORT}.")
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, wanted))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise SettingsError(
                f"[site] host = '{settings.host}' is no address of this machine ({error.strerror}).",
                "Set it to 127.0.0.1, or to this machine's address in the network of those who judge.",
            ) from error
        raise PortInUse(
            f"port {wanted} on {settings.host} cannot be used: {error.strerror}.",
            "Choose another with --port, or set [site] port in project.toml (0 takes any free one).",
        ) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """Return the address of a listening socket as a URL."""
    host, port = listener.getsockname()[:2]
    return _url(host, port)


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def serve_project(project: Project, listener: socket.socket, *, until_stdin_closes: bool = False) -> None:
    """Serve the rating site on a listening socket until interrupted, or until the parent is gone."""
    import uvicorn

    from expound.panel.people import PeopleQueue
    from expound.store.admission import Admission
    from expound.web.app import build

    admission = Admission(project.book)
    app = build(project.book, PeopleQueue(project.book, admission), admission, project.task, project.settings)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False))
    if until_stdin_closes:
        threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    server.run(sockets=[listener])


def _end_with_parent(server: object) -> None:
    sys.stdin.buffer.read()
    vars(server)["should_exit"] = True


def invite_link(project: Project, name: str, days: int, port: int | None = None) -> str:
    """Make an invitation and return its link. Errors: InputError for a name; SettingsError when no port is known."""
    from expound.store.admission import Admission

    site = project.settings.site
    if not (site.port if port is None else port):
        raise SettingsError(
            "[site] port is 0, so that the site's address is known only while it runs.",
            "Give --port with the number that 'expound run' or 'expound serve' shows.",
        )
    token = Admission(project.book).invite(name, days=days)
    return f"{_url(site.host, site.port if port is None else port)}/join/{token}"


@contextmanager
def site_child(project: Project, port: int | None, progress: Progress) -> Iterator[None]:
    """Serve the site from a child process while the block runs; for a panel without people, or no waiting, nothing.

    The child has its own session, so that Ctrl-C reaches only the parent, and ends when its standard input closes,
    so that it never outlives the parent.
    """
    if not project.needs_site:
        yield
        return
    listener = bind(project.settings.site, port)
    address = address_of(listener)
    child = _start(project, listener)
    try:
        _wait_until_up(child, address)
        announce(project, address, progress)
        progress.say(WHAT_COMES)
        project.is_served = lambda: child.poll() is None
        yield
    finally:
        _stop(child)


def _start(project: Project, listener: socket.socket) -> subprocess.Popen[bytes]:
    handle = listener.fileno()
    command = [sys.executable, "-m", "expound.cli", "serve-child", str(project.folder), str(handle)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[handle], start_new_session=True)
    listener.close()
    return child


def _wait_until_up(child: subprocess.Popen[bytes], address: str) -> None:
    here = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy does not know this machine's site
    deadline = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        try:
            with here.open(f"{address}/healthz", timeout=2):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.1)
    raise StoppedItself("the rating site did not start.", "Run 'expound serve' to see why.")


def announce(project: Project, address: str, progress: Progress) -> None:
    """Say where the site is and how to come in; the link is repeated until somebody has come in."""
    port = int(address.rsplit(":", 1)[1])
    progress.say(f"The rating site is at {address} as long as this command runs.")
    raters = [rater for rater in project.book.raters() if rater.source == "people"]
    if not any(rater.locale for rater in raters):
        progress.say("Open this link in a browser to judge; it works once:")
        progress.say(f"  {invite_link(project, FIRST_RATER, 14, port)}")
    else:
        progress.say(f"Whoever has come in before goes on at {address}/rate in the same browser.")
    progress.say(f"Invite others from another terminal: expound invite {quote(str(project.folder))} NAME --port {port}")


def _stop(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    child.stdin.close()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
