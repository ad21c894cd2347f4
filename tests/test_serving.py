"""What the rating site says of itself, and the sockets it stands on; its processes are tested in tests/browser."""

from __future__ import annotations

import io
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from expound.errors import FolderBusy, PortInUse, SettingsError
from expound.files import held
from expound.project import Project, open_project
from expound.records import Rater
from expound.reporting.progress import PlainProgress
from expound.serving import (
    EVERYWHERE,
    NOTE,
    Door,
    address_of,
    announce,
    bind,
    invite_link,
    is_here,
    link_code,
    own_address,
    running_site,
    serve_here,
    site_child,
)
from expound.settings import SiteSettings
from expound.store.admission import Admission
from tests.support.projects import Shape, make_project
from tests.support.terminal import terminal

ADDRESS = "http://127.0.0.1:4711"
TOKEN = re.compile(rf"^ *{ADDRESS}/join/(\S+)$", re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    folder = make_project(tmp_path / "my project", "none", Shape(panel="people"))
    with open_project(folder, PlainProgress(), lock=False) as opened:
        yield opened


@pytest.fixture
def admission(project: Project) -> Admission:
    return Admission(project.book)


def announced(project: Project, host: str = "127.0.0.1", address: str = ADDRESS) -> str:
    said = io.StringIO()
    project.progress = PlainProgress(said)
    announce(project, SiteSettings(host=host), address)
    return said.getvalue()


def test_the_link_is_offered_until_its_rater_has_come_in(project: Project, admission: Admission) -> None:
    first, second = (TOKEN.findall(announced(project)) for _ in range(2))
    assert len(first) == len(second) == 1
    assert all(admission.look(token) for token in first + second)
    assert len(project.book.raters()) == 1
    redeemed = admission.redeem(second[0])
    assert redeemed is not None
    admission.start(redeemed[1], "en")
    assert TOKEN.findall(announced(project)) == []
    assert f"{ADDRESS}/rate" in announced(project)


def test_a_judge_is_nobody_who_has_come_in(project: Project) -> None:
    project.book.add(Rater("judge-m", "m", "judge"))
    assert len(TOKEN.findall(announced(project))) == 1


def test_the_command_that_invites_can_be_pasted(project: Project) -> None:
    assert f"expound invite '{project.folder}' NAME\n" in announced(project)


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_an_invitation_leads_to_the_address_of_the_site(host: str, shown: str, project: Project) -> None:
    site = SiteSettings(host=host, port=8800)
    project.settings = project.settings.model_copy(update={"site": site})
    assert invite_link(project, "Ana", 1, Door()).startswith(f"http://{shown}:8800/join/")
    assert invite_link(project, "Ana", 1, Door(port=4711)).startswith(f"http://{shown}:4711/join/")
    assert invite_link(project, "Ana", 1, Door("office-pc")).startswith("http://office-pc:8800/join/")


def test_an_invitation_leads_to_the_site_that_is_running(project: Project) -> None:
    with pytest.raises(SettingsError, match="the site is not running"):
        invite_link(project, "Ana", 1, Door())
    assert running_site(project.folder) is None
    with held(project.folder / NOTE, ADDRESS):
        assert running_site(project.folder) == ADDRESS
        assert invite_link(project, "Ana", 1, Door()).startswith(f"{ADDRESS}/join/")
        assert invite_link(project, "Ana", 1, Door("10.0.0.7")).startswith("http://10.0.0.7:4711/join/")
    assert (project.folder / NOTE).read_text(encoding="utf-8") == ADDRESS, "as after a kill"
    assert running_site(project.folder) is None


def test_a_second_site_of_a_folder_is_refused(project: Project) -> None:
    with held(project.folder / NOTE, ADDRESS), pytest.raises(FolderBusy, match=f"running already, at {ADDRESS}"):
        serve_here(project, Door(port=0))


def test_a_run_uses_the_site_that_is_up_already(project: Project) -> None:
    said = io.StringIO()
    project.progress = PlainProgress(said)
    with held(project.folder / NOTE, ADDRESS):
        with site_child(project, Door(port=0)):
            assert project.is_served()
        assert said.getvalue().startswith(f"The rating site is running already, at {ADDRESS}. What is to be judged")
    assert not project.is_served()


# --- where the site listens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["no.such.host.example", "192.0.2.1"])
def test_a_host_that_is_not_this_machine_is_no_matter_of_ports(host: str) -> None:
    with pytest.raises(SettingsError, match=rf"cannot listen on '{host}', which is no address of this machine"):
        bind(SiteSettings(host=host, port=0))


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_links_to_a_site_on_every_address_carry_one_that_a_browser_can_use(host: str) -> None:
    address, own = address_of(SiteSettings(host=host, port=80)), own_address(EVERYWHERE[host])
    shown = f"[{own}]" if own and ":" in own else own
    assert address == f"http://{shown or '127.0.0.1'}:80"
    if own is not None:
        with socket.socket(socket.AF_INET6 if ":" in own else socket.AF_INET, socket.SOCK_DGRAM) as here:
            here.bind((own, 0))  # refused for an address that is not this machine's


def test_a_machine_without_a_network_has_no_address_in_one(project: Project) -> None:
    assert own_address(("255.255.255.255", "::ffff:255.255.255.255")) is None  # what no datagram may be sent to
    assert "No address of this machine in a network was found" in announced(project, "0.0.0.0")


def test_plain_http_is_told_where_others_reach_it(project: Project) -> None:
    assert "plain HTTP" not in announced(project)
    assert "a network that you trust" in announced(project, "0.0.0.0", "http://192.168.1.20:8800")


@pytest.mark.parametrize(
    ("address", "here"),
    [("127.0.0.9", True), ("[::1]", True), ("localhost", True), ("192.168.1.20", False), ("office-pc", False)],
)
def test_an_address_of_this_machine_alone_is_known(address: str, here: bool) -> None:
    assert is_here(f"http://{address}:8800/join/x") == here


def test_a_code_of_this_machines_own_address_helps_no_telephone() -> None:
    with terminal() as stream:
        assert link_code("http://192.168.1.20:8800/join/x", stream)
        assert link_code(f"{ADDRESS}/join/x", stream) == []


def test_the_owners_link_stays_until_somebody_has_come_in(project: Project, admission: Admission) -> None:
    """Inviting others closes no door: nobody has come in yet."""
    admission.invite("Dora")
    assert TOKEN.search(announced(project))
    assert TOKEN.search(announced(project)), "nor does saying it once"
    redeemed = admission.redeem(admission.invite("Dora"))
    assert redeemed is not None
    admission.start(redeemed[1], "en")
    assert not TOKEN.search(announced(project))


def test_a_taken_port_is_named(project: Project) -> None:
    with bind(SiteSettings(port=0)) as listener:
        port = listener.getsockname()[1]
        assert address_of(SiteSettings(port=0), listener) == f"http://127.0.0.1:{port}"
        with pytest.raises(PortInUse, match=f"port {port} on 127.0.0.1 cannot be used"):
            bind(SiteSettings(port=port))
