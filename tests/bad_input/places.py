"""Commands, folders, ports, disks and databases."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.bad_input.row import USAGE, Given, Row, edited, wrote

BACKUP = "Restore it from a backup; keep the damaged file, most of it can be read."
SAFE = "Nothing acknowledged is lost."
MAKE = "Name a project folder, or make one with 'expound init FOLDER --example answer'."
FIRST = "Run 'expound run project' first."
HOST = "Give --host or [site] host 0.0.0.0 for the network of this machine, 127.0.0.1 for this machine alone."
PORT = "Choose another with --port, or set [site] port in project.toml (0 takes any free one)."
TOML, DATABASE = "people/project.toml", "project/expound.db"
ROUND = "Restore expound.db from a backup, or use the version of expound that wrote it."
OLDER = "Update expound, or restore the file from a backup."


def usage(does: str, command: str, what: str) -> Row:
    return Row(does, command, what, USAGE)


def number(command: str, option: str, must: str) -> Row:
    return usage(f"{option} {command.split()[-1]}", command, f"Invalid value for '{option}': it must be {must}.")


COMMANDS = (
    usage("a command that does not exist", "frobnicate", "No such command 'frobnicate'."),
    usage("a slip in a command", "statsu project", "No such command 'statsu'. Did you mean 'status'?"),
    usage("an option that does not exist", "status --frob", "No such option: --frob"),
    usage("no folder for init", "init", "Missing argument 'folder'."),
    usage("no folder for export", "export project", "Missing argument 'out'."),
    number("run project --rounds 0", "--rounds", "at least 1"),
    number("run project --rounds many", "--rounds", "a whole number"),
    number("settle project --round one", "--round", "a whole number"),
    number("serve people --port 65536", "--port", "at most 65535"),
    number("serve people --port http", "--port", "a whole number"),
    number("invite people Ann --days 0", "--days", "at least 1"),
    number("demo new --seed -1", "--seed", "at least 0"),
    Row("a folder that does not exist", "run nowhere", "ProjectNotFound: …nowhere has no project.toml.", MAKE),
    Row("a folder without a project", "status", "ProjectNotFound: … has no project.toml.", MAKE),
    Row("a file for a folder", "status project/project.toml",
        "ProjectNotFound: …project.toml has no project.toml.", MAKE),
    Row("a link that leads to itself", "status loop",
        "InputError: loop/project.toml cannot be read or written: Too many levels of symbolic links.",
        "Check the path and give another.", given=lambda here: (here / "loop").symlink_to("loop")),
    Row("a round that does not exist", "settle project --round 3",
        "ProjectNotFound: there is no round 3 in project.", FIRST),
    Row("a report before any round", "report project", "ProjectNotFound: no round has begun yet.", FIRST),
    Row("fit before settle", "fit people", "InputError: round 1 is not settled yet.",
        "Run 'expound settle people' first.", given=lambda here: begun(here, "people")),
    Row("judgments that nobody has given", "settle people",
        "WaitingForPeople: 12 of 12 judgments of round 1 are missing…",
        "…expound serve…", code=3, given=lambda here: begun(here, "people")),
    Row("a run that does not wait for people", "run people --no-wait",
        "WaitingForPeople: 12 of 12 judgments of round 1 are missing…", "…expound serve…", code=3),
    Row("the demonstration in a project with people", "demo people",
        "ProjectNotFound: people holds a project with people.", "Name another folder."),
    Row("the demonstration with another seed", "demo project --seed 7",
        "InputError: project was begun with seed 0, not 7.", "Give --seed 0 to go on, or another folder."),
    Row("an invitation without a port", "invite people Ann",
        "SettingsError: [site] port is 0 and the site is not running, so that its address is not known yet.",
        "Start it with 'expound run people' or 'expound serve people', or give --port."),
    Row("a rater without a name", "invite people ' ' --port 80", "InputError: '' cannot be the name of a rater.",
        "Give 1 to 80 characters on one line."),
    Row("an invitation for a million days", "invite people Ann --days 1000000 --port 80",
        "InputError: an invitation cannot last 1000000 days.", "Give 1 to 3650."),
)  # fmt: skip


def begun(here: Path, name: str) -> None:
    """Sample the first round and make its ballots, so that what follows needs no model."""
    import expound

    expound.ask(here / name)


@contextmanager
def taken(here: Path) -> Iterator[None]:
    """Listen on the port of the project `people`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        edited(TOML, "port = 0", f"port = {listener.getsockname()[1]}")(here)
        yield


def host(does: str, address: str) -> Row:
    what = f"SettingsError: the site cannot listen on '{address}', which is no address of this machine (…)."
    return Row(does, "serve people", what, HOST, given=edited(TOML, "port = 0", f'port = 0\nhost = "{address}"'))


def serve_beyond(here: Path) -> object:
    import expound

    return expound.serve(here / "people", port=99_999)


PORTS = (
    Row("a port that is taken", "serve people",
        "PortInUse: port … on 127.0.0.1 cannot be used: Address already in use.", PORT, given=taken),
    Row("a port that is taken, while people are waited for", "run people",
        "PortInUse: port … on 127.0.0.1 cannot be used: Address already in use.", PORT, given=taken),
    Row("a port beyond all", 'serve("people", port=99999)', "SettingsError: there is no port 99999.",
        "Give 0, which takes any free one, to 65535.", call=serve_beyond),
    host("an address of another machine", "192.0.2.1"),
    host("a name of no machine", "nowhere.invalid"),
    host("a URL for a host", "http://127.0.0.1"),
    host("half of an address", "::zz"),
)  # fmt: skip


# --- the database ---------------------------------------------------------------------------------------------------


def stored(spoil: Callable[[Path], object]) -> Given:
    """Begin the first round, then spoil its database."""

    def given(here: Path) -> None:
        begun(here, "project")
        spoil(here / DATABASE)

    return given


def sql(statement: str) -> Callable[[Path], object]:
    def run(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(statement)
            connection.commit()

    return run


def cut(size: int) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes()[:size])


def overwritten(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: 3 * 4096] + b"\x5a" * (len(content) - 3 * 4096))


@contextmanager
def held(here: Path) -> Iterator[None]:
    """Keep the database locked as another program would; the lock is let go of when its holder is collected."""
    begun(here, "people")
    with closing(sqlite3.connect(here / "people" / "expound.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def worked_in(here: Path) -> Iterator[None]:
    """Hold the lock of the project as another run does."""
    from expound.files import locked

    with locked(here / "project"):
        yield


def damaged(does: str, given: Given, what: str, remedy: str) -> Row:
    return Row(does, "status project", f"StorageError: {what}", remedy, code=4, given=given)


BROKEN = f"{DATABASE}: it is damaged (database disk image is malformed)."
STRANGE = f"{DATABASE}: it is not a SQLite database (file is not a database)."
MOVE = "Move that file away, or restore it from a backup."
BOOKS = (
    damaged("another file for the database", wrote(DATABASE, b"not a database " * 100), STRANGE, MOVE),
    damaged("a folder for the database", lambda here: (here / DATABASE).mkdir(),
            f"{DATABASE} cannot be opened: Is a directory.", "Check that the folder is there and yours to write in."),
    damaged("a database of 50 bytes", stored(cut(50)), BROKEN, BACKUP),
    damaged("a database cut after a page", stored(cut(6000)), BROKEN, BACKUP),
    damaged("a database cut in half", stored(cut(40_000)), BROKEN, BACKUP),
    damaged("a database with pages of another file", stored(overwritten), BROKEN, BACKUP),
    damaged("a database of another program", lambda here: sql("CREATE TABLE stamps (id)")(here / DATABASE),
            f"{DATABASE} belongs to another program: it holds the tables stamps.",
            "Move that file away, or use another folder."),
    damaged("a database of a newer version", stored(sql("UPDATE alembic_version SET version_num = '0999'")),
            f"{DATABASE} has the format 0999, and this version of expound knows formats up to 0001.", OLDER),
    damaged("a database of no version", stored(sql("DELETE FROM alembic_version")),
            f"{DATABASE} has the format none, and this version of expound knows formats up to 0001.", OLDER),
    damaged("a row of the database edited by hand",
            stored(sql("UPDATE entry SET payload = '{broken' WHERE kind = 'round'")),
            "row … of the log cannot be read: Round: …", ROUND),
    damaged("a row of a kind that is not known", stored(sql("UPDATE entry SET kind = 'zzz' WHERE sequence = 3")),
            "row 3 of the log is of the unknown kind 'zzz'.", ROUND),
    damaged("a table of the database without a column", stored(sql("ALTER TABLE entry DROP COLUMN payload")),
            f"{DATABASE}: the database failed (no such column: entry.payload).",
            f"{SAFE} Run 'expound status project' to see what is."),
    Row("a database that another program keeps locked", "invite people Ann --port 80",
        "StorageError: people/expound.db: another program keeps it locked (database is locked).",
        "End that program, then run the same command again.", code=4, given=held, patient=True),
    Row("a second run in the same folder", "run project", "FolderBusy: process … is working in project.",
        "Wait for it, or end it; nothing that it stored is lost.", given=worked_in),
)  # fmt: skip

# --- the disk, the streams and Ctrl-C --------------------------------------------------------------------------------

# A disk of so many kilobytes with the project on it.
MOUNT = "mkdir disk && mount -t tmpfs -o size={}k none disk && cp -r project disk/"
FREE = "Free space, mend the disk or give yourself the right to write, then run the same command again."


def on_disk(does: str, command: str, what: str, remedy: str, disk: str) -> Row:
    return Row(does, command, f"StorageError: {what}", remedy, code=4, disk=disk)


FULL, READ_ONLY = MOUNT.format(100), f"{MOUNT.format(3000)} && mount -o remount,ro disk"
DISKS = (
    on_disk("a disk too full for the database", "run disk/project",
            "disk/project/expound.db: the disk is full (database or disk is full).",
            f"{SAFE} Free some space, then run the same command again.", FULL),
    on_disk("a disk too full for the weights", "run disk/project",
            "disk/project/rounds/001/policy/checkpoints/… could not be written: No space left on device.", FREE,
            MOUNT.format(700)),
    on_disk("a disk too full for the example", "init disk/new --example answer",
            "disk/… could not be written: No space left on device.", FREE, MOUNT.format(40)),
    on_disk("a disk that is read-only", "status disk/project",
            "disk/project/expound.db cannot be opened: Read-only file system.",
            "Check that the folder is there and yours to write in.", READ_ONLY),
    on_disk("a run on a disk that is read-only", "run disk/project",
            "disk/project/expound.lock could not be written: Read-only file system.", FREE, READ_ONLY),
    on_disk("a new project on a disk that is read-only", "init disk/new --example answer",
            "disk/new could not be written: Read-only file system.", FREE, READ_ONLY),
    Row("output to a full disk", "status project", "StorageError: a file cannot be read or written: No space left on "
        "device.", "Free space or mend the rights, then run the same command again; nothing stored is lost.", code=4,
        stdout="/dev/full"),
    Row("Ctrl-C while people are waited for", "run people", "Interrupted.",
        "Run the same command again (expound run people) to go on where it stopped.", code=130,
        given=lambda here: begun(here, "people"), interrupted_at="The rating site is at"),
)  # fmt: skip
ROWS = (*COMMANDS, *PORTS, *BOOKS, *DISKS)
