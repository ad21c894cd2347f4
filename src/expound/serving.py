"""The rating site as a process: in the foreground for `serve`, as a child for `run`."""

from __future__ import annotations

import errno
import ipaddress
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from expound.errors import FolderBusy, PortInUse, SettingsError, StoppedItself, command
from expound.files import held, holder_of
from expound.project import Project
from expound.reporting.codes import terminal_code
from expound.settings import SiteSettings

NOTE = "expound.site"
EVERYWHERE = {"0.0.0.0": ("192.0.2.1",), "::": ("192.0.2.1", "2001:db8::1")}
"""Hosts that mean every address, with addresses of no machine, kept for documents, that lie beyond the network."""

HERE = "127.0.0.1"

START_SECONDS = 60.0
STOP_SECONDS = 10.0
LAST_PORT = 65535
FIRST_RATER = "rater 1"
WHAT_COMES = (
    "What is to be judged appears there by itself; this command waits for the judgments, then goes on by itself."
)


@dataclass(frozen=True)
class Door:
    """Where the site is to listen: what a call asked for; None: as in project.toml."""

    host: str | None = None
    port: int | None = None

    def of(self, project: Project) -> SiteSettings:
        """Return the settings of the project's site with what was asked for. Errors: SettingsError for the port."""
        site = project.settings.site
        port = site.port if self.port is None else self.port
        if not 0 <= port <= LAST_PORT:
            raise SettingsError(f"there is no port {port}.", f"Give 0, which takes any free one, to {LAST_PORT}.")
        return SiteSettings(host=self.host or site.host, port=port)


def bind(settings: SiteSettings) -> socket.socket:
    """Return a listening socket. Errors: PortInUse; SettingsError for a host that is not this machine's."""
    try:
        listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    except OSError as error:
        raise _no_address(settings, error) from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if settings.host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((settings.host, settings.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise _no_address(settings, error) from error
        raise PortInUse(
            f"port {settings.port} on {settings.host} cannot be used: {error.strerror}.",
            "Choose another with --port, or set [site] port in project.toml (0 takes any free one).",
        ) from error
    return listener


def _no_address(settings: SiteSettings, error: OSError) -> SettingsError:
    return SettingsError(
        f"the site cannot listen on '{settings.host}', which is no address of this machine ({error.strerror}).",
        "Give --host or [site] host 0.0.0.0 for the network of this machine, 127.0.0.1 for this machine alone.",
    )


def address_of(site: SiteSettings, listener: socket.socket | None = None) -> str:
    """Return the address that a browser needs, as a URL; a listener knows its port where the settings leave it open."""
    port = site.port if listener is None else listener.getsockname()[1]
    host = (own_address(EVERYWHERE[site.host]) or HERE) if site.host in EVERYWHERE else site.host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def own_address(beyond: Sequence[str]) -> str | None:
    """Return this machine's address on the way to others, or None; a datagram socket that connects sends nothing."""
    for other in beyond:
        try:
            with socket.socket(socket.AF_INET6 if ":" in other else socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect((other, 9))
                return str(probe.getsockname()[0])
        except OSError:
            continue
    return None


def is_here(address: str) -> bool:
    """Return whether an address leads every browser to its own machine."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def running_site(folder: Path) -> str | None:
    """Return the address of the site that is running for a project folder, or None."""
    return holder_of(folder / NOTE) or None


def serve_project(
    project: Project, listener: socket.socket, site: SiteSettings, *, until_stdin_closes: bool = False
) -> None:
    """Serve the rating site on a listening socket until interrupted, or until the parent is gone."""
    import uvicorn

    from expound.panel.people import PeopleQueue
    from expound.store.admission import Admission
    from expound.web.app import build

    admission = Admission(project.book)
    settings = project.settings.model_copy(update={"site": site})
    app = build(project.book, PeopleQueue(project.book, admission), admission, project.task, settings)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False))
    if until_stdin_closes:
        threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    server.run(sockets=[listener])


def _end_with_parent(server: object) -> None:
    sys.stdin.buffer.read()
    vars(server)["should_exit"] = True


def serve_here(project: Project, door: Door) -> None:
    """Serve the rating site until interrupted. Errors: FolderBusy when the project's site is running already."""
    _refuse_second(project, running_site(project.folder))
    site = door.of(project)
    listener = bind(site)
    address = address_of(site, listener)
    with listener, held(project.folder / NOTE, address) as other:
        _refuse_second(project, other)
        announce(project, site, address)
        project.progress.say("Ctrl-C ends it.")
        serve_project(project, listener, site)


def _refuse_second(project: Project, running: str | None) -> None:
    if running is not None:
        what = f"the rating site of {project.folder} is running already, at {running}."
        raise FolderBusy(what, "Use it, or end it first.")


def invite_link(project: Project, name: str, days: int, door: Door) -> str:
    """Make an invitation and return its link. Errors: InputError for a name; SettingsError when no port is known."""
    from expound.store.admission import Admission

    running = running_site(project.folder)
    if running is not None:
        found = urlsplit(running)
        door = Door(door.host or found.hostname, found.port if door.port is None else door.port)
    site = door.of(project)
    if not site.port:
        raise SettingsError(
            "[site] port is 0 and the site is not running, so that its address is not known yet.",
            "Start it with 'expound run' or 'expound serve', or give --port.",
        )
    return f"{address_of(site)}/join/{Admission(project.book).invite(name, days=days)}"


@contextmanager
def site_child(project: Project, door: Door) -> Iterator[None]:
    """Have the site served while the block runs; for a panel without people, or no waiting, nothing.

    The child has its own session, so that Ctrl-C reaches only the parent, and ends when its standard input closes,
    so that it never outlives the parent. Where `serve` has the site up already, that one is used.
    """
    if not project.needs_site:
        yield
        return
    if (running := running_site(project.folder)) is not None:
        project.progress.say(f"The rating site is running already, at {running}. {WHAT_COMES}")
        if door.host or door.port:
            project.progress.say("It keeps its address: end it and start it again for another host or port.")
        project.is_served = lambda: running_site(project.folder) is not None
        yield
        return
    site = door.of(project)
    listener = bind(site)
    address = address_of(site, listener)
    with listener, held(project.folder / NOTE, address) as other:
        _refuse_second(project, other)
        child = _start(project, listener, site)
        try:
            _wait_until_up(child, address)
            announce(project, site, address)
            project.progress.say(WHAT_COMES)
            project.is_served = lambda: child.poll() is None
            yield
        finally:
            _stop(child)


def _start(project: Project, listener: socket.socket, site: SiteSettings) -> subprocess.Popen[bytes]:
    handle = listener.fileno()
    command_line = [sys.executable, "-m", "expound.cli", "serve-child", str(project.folder), str(handle), site.host]
    child = subprocess.Popen(command_line, stdin=subprocess.PIPE, pass_fds=[handle], start_new_session=True)
    listener.close()
    return child


def _wait_until_up(child: subprocess.Popen[bytes], address: str) -> None:
    here = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy does not know this machine's site
    deadline = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        try:
            with here.open(f"{address}/healthz", timeout=2):
                return
        except OSError:  # refused, reset, too late: URLError and TimeoutError are among them
            time.sleep(0.1)
    raise StoppedItself("the rating site did not start.", "Run 'expound serve' to see why.")


def announce(project: Project, site: SiteSettings, address: str) -> None:
    """Say where the site is and how to come in; the link is repeated until somebody has come in."""
    from expound.store.admission import Admission

    say = project.progress.say
    say(f"The rating site is at {address} as long as this command runs.")
    for line in _about_network(site, address):
        say(line)
    if not any(rater.locale for rater in project.book.raters() if rater.source == "people"):
        link = f"{address}/join/{Admission(project.book).invite(FIRST_RATER)}"
        say("Open this link in a browser to judge yourself; it works once:")
        say(f"  {link}")
        for line in link_code(link, sys.stderr):
            say(line)
    else:
        say(f"Whoever has come in before goes on at {address}/rate in the same browser.")
    say(f"Invite others from another terminal: {command('invite NAME', project.folder)}")


def _about_network(site: SiteSettings, address: str) -> list[str]:
    """Return what there is to know of a site that other machines reach, or are to reach."""
    if not is_here(address):
        return ["It is plain HTTP, which others in the network can read: use it in a network that you trust."]
    if site.host in EVERYWHERE:
        return [f"No address of this machine in a network was found; for others, put its name in place of {HERE}."]
    return []


def link_code(link: str, stream: TextIO) -> list[str]:
    """Return a link as a QR code in lines for a terminal; none where it leads every browser to its own machine."""
    return [] if is_here(link) else terminal_code(link, stream)


def _stop(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    child.stdin.close()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
