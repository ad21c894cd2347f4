"""What the rating site says of itself, and the sockets it stands on; its processes are tested in tests/browser."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from expound.errors import PortInUse, SettingsError
from expound.project import Project, open_project
from expound.records import Rater
from expound.reporting.progress import PlainProgress
from expound.serving import address_of, announce, bind, invite_link
from expound.settings import SiteSettings
from expound.store.admission import Admission
from tests.support.projects import Shape, make_project

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


def announced(project: Project) -> str:
    said = io.StringIO()
    announce(project, ADDRESS, PlainProgress(said))
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
    assert f"expound invite '{project.folder}' NAME --port 4711\n" in announced(project)


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_an_invitation_leads_to_the_address_of_the_site(host: str, shown: str, project: Project) -> None:
    site = SiteSettings(host=host, port=8800)
    project.settings = project.settings.model_copy(update={"site": site})
    assert invite_link(project, "Ana", 1).startswith(f"http://{shown}:8800/join/")
    assert invite_link(project, "Ana", 1, 4711).startswith(f"http://{shown}:4711/join/")


@pytest.mark.parametrize("host", ["no.such.host.example", "192.0.2.1"])
def test_a_host_that_is_not_this_machine_is_no_matter_of_ports(host: str) -> None:
    with pytest.raises(SettingsError, match=rf"\[site\] host = '{host}' is no address of this machine"):
        bind(SiteSettings(host=host, port=0))


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
        assert address_of(listener) == f"http://127.0.0.1:{port}"
        with pytest.raises(PortInUse, match=f"port {port} on 127.0.0.1 cannot be used"):
            bind(SiteSettings(), port)
