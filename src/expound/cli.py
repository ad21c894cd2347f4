"""The command line: parses and prints, nothing else. Heavy modules are loaded by the verb that needs them."""

from __future__ import annotations

import errno
import io
import os
import shlex
import signal
import socket
import sys
import tempfile
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

import expound
from expound.errors import ExpoundError, InputError, Interrupted, StorageError, WaitingForPeople, with_folder
from expound.files import read_text
from expound.reporting.progress import progress_for
from expound.reporting.sentences import enough, is_known

if TYPE_CHECKING:
    from expound.records import Decision, Settlement

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Close the human-feedback loop for explanations: sample, ask, settle, fit, tune, measure, go round again.",
)
Folder = Annotated[Path, typer.Argument(help="Project folder.")]
RoundOption = Annotated[int | None, typer.Option("--round", help="Round; the newest by default.")]
PortOption = Annotated[
    int | None, typer.Option("--port", min=0, max=65535, help="Port of the rating site; 0 takes a free one.")
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", metavar="NAME", help="Format of the file of judgments; told by its keys or its suffix."),
]
PromptOption = Annotated[
    str | None, typer.Option("--prompt", metavar="NAME", help="Of a labelling tool's file: the field with the prompt.")
]
LeftOption = Annotated[
    str | None, typer.Option("--left", metavar="NAME", help="The field with the left response; 'left' by default.")
]
RightOption = Annotated[
    str | None, typer.Option("--right", metavar="NAME", help="The field with the right one; 'right' by default.")
]
ResponseOption = Annotated[
    str | None, typer.Option("--response", metavar="NAME", help="The field with a response that is shown alone.")
]
HostOption = Annotated[
    str | None,
    typer.Option("--host", metavar="ADDRESS", help="Address of the rating site; 0.0.0.0 opens it to your network."),
]
HERE = Path()
KINDS = "answer, diagnosis, recommendation or summary"
LONGEST_NAME = 255
MOST_RATERS = 30
NO_SUCH_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENOTDIR)
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM)
SHORT_SPIN = "1000"
"""How long torch's threads wait awake for one another: the usual wait costs a third more beside a busy process."""
BROKEN_PIPE = 128 + signal.SIGPIPE


@app.callback(invoke_without_command=True)
def begin(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Show the version, or the help where no verb is given."""
    if show_version:
        typer.echo(f"expound {_version()}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _version() -> str:
    try:
        return version("expound")
    except PackageNotFoundError:
        return "of an unknown version (not installed as a package)"


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    example: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Copy a finished example, with its prompts: {KINDS}.")
    ] = None,
    task: Annotated[
        str,
        typer.Option(
            metavar="NAME", help=f"Kind of explanation: {KINDS}; a new name begins one of your own (task.toml)."
        ),
    ] = "answer",
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="package:MODULE/FILE, a folder, a .gguf file or a Hugging Face name; SmolLM2-135M by default.",
        ),
    ] = None,
    prompts: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Prompt file (.jsonl, .csv or .txt) to copy into the project; repeatable."),
    ] = None,
) -> None:
    """Make a project folder."""
    handle = expound.init(folder, task=task, model=model, prompts=[*(prompts or [])], example=example)
    typer.echo(handle.preview())


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder of the demonstration.")] = Path("expound-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Everything random follows from it.")] = 0,
) -> None:
    """Walk an example through two rounds with a simulated panel, to its report."""
    typer.echo(expound.demo(folder, seed=seed, progress=progress_for(sys.stderr)).text)


@app.command()
def run(
    folder: Folder = HERE,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to walk.")] = 1,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="End with exit code 3 instead of waiting.")] = False,
    host: HostOption = None,
    port: PortOption = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say how much a round asks of people and of this machine.")
    ] = False,
) -> None:
    """Walk the whole road: sample, ask, settle, fit, tune, measure. Continues where it was interrupted."""
    if plan:
        typer.echo(str(expound.plan(folder, progress=progress_for(sys.stderr))))
        return
    shown = progress_for(sys.stderr)
    done = expound.run(folder, rounds=rounds, wait=not no_wait, host=host, port=port, progress=shown)
    if isinstance(done, expound.Waiting):
        raise WaitingForPeople(done.what, done.remedy)
    _tell_decision(done, folder)


def _tell_decision(decision: Decision, folder: Path) -> None:
    typer.echo(f"{decision.sentence}\n{with_folder(decision.next_step, folder)}\nReport: {folder / 'report.html'}")


@app.command()
def sample(folder: Folder = HERE) -> None:
    """Sample the open round's responses to the train prompts."""
    expound.sample(folder, progress=progress_for(sys.stderr))
    typer.echo(expound.status(folder))


@app.command()
def ask(folder: Folder = HERE) -> None:
    """Make the open round's ballots; samples first where responses are missing."""
    count = expound.ask(folder, progress=progress_for(sys.stderr))
    typer.echo(f"{count} ballots.\n{expound.status(folder)}")


@app.command()
def serve(folder: Folder = HERE, host: HostOption = None, port: PortOption = None) -> None:
    """Serve the rating site until Ctrl-C."""
    expound.serve(folder, host=host, port=port, progress=progress_for(sys.stderr))


@app.command("serve-child", hidden=True)
def serve_child(folder: Path, handle: int, host: str) -> None:
    """Serve the rating site on an inherited socket until standard input closes."""
    from expound.project import open_project
    from expound.serving import Door, serve_project

    with open_project(folder, progress_for(sys.stderr), lock=False) as project:
        serve_project(project, socket.socket(fileno=handle), Door(host).of(project), until_stdin_closes=True)


@app.command()
def invite(
    folder: Folder,
    name: Annotated[str, typer.Argument(help="What the rater is called in reports.")],
    days: Annotated[int, typer.Option(min=1, help="Days until the link expires.")] = 14,
    host: HostOption = None,
    port: PortOption = None,
) -> None:
    """Invite a rater; prints a link that works once, in a terminal also as a QR code."""
    from expound.serving import link_code

    link = expound.invite(folder, name, days=days, host=host, port=port)
    typer.echo("\n".join([link, *link_code(link, sys.stdout)]))


@app.command()
def settle(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER|FILE", help="Project folder, or a file of judgments.")
    ] = HERE,
    round_: RoundOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of a file: write the verdicts, as JSON Lines.")
    ] = None,
    format_: FormatOption = None,
    prompt: PromptOption = None,
    left: LeftOption = None,
    right: RightOption = None,
    response: ResponseOption = None,
) -> None:
    """Weigh the raters and say what the panel thinks of each response."""
    shown, fields = progress_for(sys.stderr), _fields(prompt, left, right, response)
    if _is_file(folder, round_, out or format_ or fields):
        found = expound.settle_file(folder, out=out, format_=format_, fields=fields, progress=shown)
        typer.echo(str(found))
        typer.echo(_skills(found.settlement, {}))
        typer.echo(f"Verdicts: {out}" if out else "What each response is worth: the same command with --out FILE.")
        return
    settlement = expound.settle(folder, round_=round_, progress=shown)
    raters = expound.raters(folder)
    names = {one.id: one.name if one.source == "people" else f"{one.name} ({one.source})" for one in raters}
    typer.echo(f"{len(settlement.verdicts)} verdicts after {settlement.iterations} iterations.")
    typer.echo(_skills(settlement, names))
    typer.echo(expound.status(folder))


def _is_file(path: Path, round_: int | None, of_files: object) -> bool:
    """Say whether a verb that takes both was given a file; refuse the options of the other."""
    from expound.filing import is_file_of_judgments

    if is_file_of_judgments(path):
        if round_ is not None:
            raise InputError("a file has no rounds.", "Leave --round out.")
        return True
    if of_files:
        raise InputError(f"{path} is no file of judgments.", "Name a file, or leave out all options but --round.")
    return False


def _fields(prompt: str | None, left: str | None, right: str | None, response: str | None) -> dict[str, str]:
    given = {"prompt": prompt, "left": left, "right": right, "response": response}
    return {name: field for name, field in given.items() if field is not None}


def _skills(settlement: Settlement, names: dict[str, str]) -> str:
    ordered = settlement.skills
    if len(ordered) > MOST_RATERS:  # then whoever needs a look comes first
        ordered = tuple(sorted(ordered, key=lambda one: (one.alarm is None, -one.n))[:MOST_RATERS])
    shown = [(names.get(skill.rater, skill.rater), skill) for skill in ordered]
    width = max((len(name) for name, _ in shown), default=0)
    lines = ["How far each rater is to be trusted (1: always right, 0: no information, below 0: inverted):"]
    for name, skill in shown:
        alarm = f"  {skill.alarm}" if skill.alarm else ""
        count = f"{skill.n} judgment{'' if skill.n == 1 else 's'}"
        told = f"{skill.skill:+.2f} ± {skill.skill_se:.2f}" if is_known(skill) else "too few to tell"
        lines.append(f"  {name:{width}}  {told:15}  {count}{alarm}")
    if len(settlement.skills) > MOST_RATERS:
        lines.append(f"  and {len(settlement.skills) - MOST_RATERS} more")
    return "\n".join(lines)


@app.command()
def fit(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER|FILE", help="Project folder, or a file of preference pairs.")
    ] = HERE,
    round_: RoundOption = None,
    held_out: Annotated[
        Path | None,
        typer.Option("--held-out", metavar="FILE", help="With a file: what is measured on; else a fifth of it."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="With a file: whose states are read; SmolLM2-135M by default.")
    ] = None,
    format_: FormatOption = None,
    prompt: PromptOption = None,
    left: LeftOption = None,
    right: RightOption = None,
    response: ResponseOption = None,
) -> None:
    """Fit the reward model: to a project's settlement, or to a file of preference pairs."""
    shown, fields = progress_for(sys.stderr), _fields(prompt, left, right, response)
    if _is_file(folder, round_, held_out or model or format_ or fields):
        told = expound.fit_file(folder, held_out=held_out, model=model, format_=format_, fields=fields, progress=shown)
        typer.echo(str(told))
        return
    card = expound.fit(folder, round_=round_, progress=shown)
    typer.echo(
        f"The reward orders {card.pair_accuracy:.0%} [{card.pair_accuracy_low:.0%}, {card.pair_accuracy_high:.0%}] of "
        f"{card.pairs} left-out pairs like the panel; length alone {card.length_accuracy:.0%}."
    )
    if card.curve is not None:
        typer.echo(enough(card.curve))
    typer.echo(expound.status(folder))


@app.command()
def tune(folder: Folder = HERE, round_: RoundOption = None) -> None:
    """Update the policy with PPO; resumes from the last checkpoint."""
    record = expound.tune(folder, round_=round_, progress=progress_for(sys.stderr))
    typer.echo(f"Tuned policy {record.id}: {record.ended}.")
    typer.echo(expound.status(folder))


@app.command()
def measure(folder: Folder = HERE, round_: RoundOption = None) -> None:
    """Have tuned and reference compared on held-out prompts, blind, and decide."""
    _tell_decision(expound.measure(folder, round_=round_, progress=progress_for(sys.stderr)), folder)


@app.command()
def report(folder: Folder = HERE, round_: RoundOption = None) -> None:
    """Write the self-contained page of a round."""
    typer.echo(str(expound.report(folder, round_=round_)))


@app.command()
def status(folder: Folder = HERE) -> None:
    """Say where the project stands and what to do next."""
    typer.echo(expound.status(folder))


@app.command()
def explain(
    folder: Folder,
    text: Annotated[str, typer.Argument(help="What is asked, or the id of one of the project's prompts.")],
    source: Annotated[str, typer.Option(metavar="TEXT", help="The passage, or a file that holds it.")] = "",
    reference: Annotated[bool, typer.Option("--reference", help="Ask the policy before any tuning.")] = False,
    temperature: Annotated[
        float | None, typer.Option(min=0, max=2, help="0, the default, is greedy; [sampling] temperature of several.")
    ] = None,
    best_of: Annotated[int, typer.Option(metavar="N", min=1, max=64, help="Draw N; give the reward's best.")] = 1,
) -> None:
    """Explain something with the tuned policy."""
    said = expound.explain(
        folder,
        text,
        source=_passage(source),
        reference=reference,
        temperature=temperature,
        best_of=best_of,
        progress=progress_for(sys.stderr),
    )
    typer.echo(said)
    if not said:
        typer.echo("The model ended at once: its explanation is empty.", err=True)


def _passage(source: str) -> str:
    if not source or len(source) > LONGEST_NAME or not Path(source).is_file():
        if source and Path(source).suffix and not any(map(str.isspace, source)):
            typer.echo(f"There is no file {source}: these words are taken as the passage.", err=True)
        return source
    return read_text(Path(source), InputError)


@app.command()
def export(
    folder: Folder,
    out: Annotated[Path, typer.Argument(help="Folder to make; or a file (.jsonl, .json, .csv) for the judgments.")],
    format_: FormatOption = None,
    names: Annotated[bool, typer.Option("--names", help="Of judgments: name the people, no pseudonyms.")] = False,
    settled: Annotated[
        bool, typer.Option("--settled", help="Of judgments: what the panel thinks, not what each rater said.")
    ] = False,
) -> None:
    """Write the tuned policy as a plain Hugging Face folder, or the judgments as a file."""
    shown = progress_for(sys.stderr)
    path = expound.export(folder, out, format_=format_, names=names, settled=settled, progress=shown)
    typer.echo(f"Wrote {path}")


@app.command()
def ingest(
    folder: Folder,
    file: Annotated[Path, typer.Argument(help="File of judgments, of this or another tool.")],
    format_: FormatOption = None,
    prompt: PromptOption = None,
    left: LeftOption = None,
    right: RightOption = None,
    response: ResponseOption = None,
) -> None:
    """Take judgments of another tool into the project, with the prompts and responses that they speak of."""
    shown, fields = progress_for(sys.stderr), _fields(prompt, left, right, response)
    typer.echo(str(expound.ingest(folder, file, format_=format_, fields=fields, progress=shown)))


def main() -> NoReturn:
    """Run the command line with the exit codes of the errors."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an explanation may hold what the terminal cannot show
    os.environ.setdefault("GOMP_SPINCOUNT", SHORT_SPIN)
    try:
        code = _run()
    except KeyboardInterrupt:
        again = shlex.join(["expound", *sys.argv[1:]])
        code = _tell(Interrupted("Interrupted.", f"Run the same command again ({again}) to go on where it stopped."))
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever presses it again while this ends sees no traceback
    sys.exit(code)


def _run() -> int:
    try:
        # Typer turns Ctrl-C and typer.Exit into the number that it returns.
        ended: object = app(prog_name="expound", standalone_mode=False)
        typer.echo(nl=False)  # what waits to be written fails here, where it can be told
    except ExpoundError as error:
        return _tell(error)
    except typer.TyperException as error:
        typer.echo(f"{_misused(error)}\nSee 'expound --help', or 'expound VERB --help'.", err=True)
        return error.exit_code
    except SystemExit:  # Typer's answer where whoever read the output has left
        return BROKEN_PIPE
    except OSError as error:
        told = _no_file(error)
        return _keep_traceback(error) if told is None else _tell(told)
    except Exception as error:  # noqa: BLE001 - the last resort: a bug is told in one sentence, its traceback kept
        return _keep_traceback(error)
    if ended == Interrupted.exit_code:
        raise KeyboardInterrupt
    return ended if isinstance(ended, int) else 0


def _misused(error: typer.TyperException) -> str:
    from pydantic import ValidationError

    from expound.settings import must

    message, cause = error.format_message(), error.__cause__
    if isinstance(cause, ValidationError):
        message = f"{message.partition(': ')[0]}: it {must(cause.errors())}."
    return message


def _no_file(error: OSError) -> ExpoundError | None:
    what = f"{error.filename or 'a file'} cannot be read or written: {error.strerror}."
    if error.errno in NO_SUCH_PATH:
        return InputError(what, "Check the path and give another.")
    if error.errno in DISK_ERRORS:
        remedy = "Free space or mend the rights, then run the same command again; nothing stored is lost."
        return StorageError(what, remedy)
    return None


def _tell(error: ExpoundError) -> int:
    kind = "" if isinstance(error, Interrupted) else f"{type(error).__name__}: "
    typer.echo(f"{kind}{error.what}\n{error.remedy}", err=True)
    return error.exit_code


def _keep_traceback(error: Exception) -> int:
    name, text = f"error-{os.getpid()}.txt", "".join(traceback.format_exception(error))
    try:
        from platformdirs import user_log_path

        path = user_log_path("expound", ensure_exists=True) / name
        path.write_text(text, encoding="utf-8")
    except OSError:
        path = Path(tempfile.gettempdir()) / f"expound-{name}"
        path.write_text(text, encoding="utf-8")
    said = str(error).partition("\n")[0]
    typer.echo(f"This is a bug in expound: {type(error).__name__}: {said}\nThe traceback is in {path}.", err=True)
    return ExpoundError.exit_code


if __name__ == "__main__":
    main()
