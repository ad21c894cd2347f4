"""The command line: parses and prints, nothing else. Heavy modules are loaded by the verb that needs them."""

from __future__ import annotations

import errno
import io
import os
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
from expound.errors import ExpoundError, InputError, Interrupted, StorageError, WaitingForPeople
from expound.files import read_text
from expound.reporting.progress import progress_for
from expound.reporting.sentences import enough

if TYPE_CHECKING:
    from expound.records import Settlement

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
HERE = Path()
KINDS = "answer, diagnosis, recommendation or summary"
LONGEST_NAME = 255
FILES_OF_JUDGMENTS = (".jsonl", ".json", ".csv")
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM)
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
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 0,
) -> None:
    """Walk an example through two rounds with a simulated panel, to its report."""
    typer.echo(expound.demo(folder, seed=seed, progress=progress_for(sys.stderr)).text)


@app.command()
def run(
    folder: Folder = HERE,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to walk.")] = 1,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="End with exit code 3 instead of waiting.")] = False,
    port: PortOption = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say how much a round asks of people and of this machine.")
    ] = False,
) -> None:
    """Walk the whole road: sample, ask, settle, fit, tune, measure. Continues where it was interrupted."""
    if plan:
        typer.echo(str(expound.plan(folder, progress=progress_for(sys.stderr))))
        return
    done = expound.run(folder, rounds=rounds, wait=not no_wait, port=port, progress=progress_for(sys.stderr))
    if isinstance(done, expound.Waiting):
        raise WaitingForPeople(done.what, done.remedy)
    typer.echo(f"{done.sentence}\n{done.next_step}\nReport: {folder / 'report.html'}")


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
def serve(folder: Folder = HERE, port: PortOption = None) -> None:
    """Serve the rating site until Ctrl-C."""
    expound.serve(folder, port=port, progress=progress_for(sys.stderr))


@app.command("serve-child", hidden=True)
def serve_child(folder: Path, handle: int) -> None:
    """Serve the rating site on an inherited socket until standard input closes."""
    from expound.project import open_project
    from expound.serving import serve_project

    with open_project(folder, progress_for(sys.stderr), lock=False) as project:
        serve_project(project, socket.socket(fileno=handle), until_stdin_closes=True)


@app.command()
def invite(
    folder: Folder,
    name: Annotated[str, typer.Argument(help="What the rater is called in reports.")],
    days: Annotated[int, typer.Option(min=1, help="Days until the link expires.")] = 14,
    port: PortOption = None,
) -> None:
    """Invite a rater; prints a link that works once."""
    typer.echo(expound.invite(folder, name, days=days, port=port))


@app.command()
def settle(folder: Folder = HERE, round_: RoundOption = None) -> None:
    """Weigh the raters and say what the panel thinks of each response."""
    settlement = expound.settle(folder, round_=round_, progress=progress_for(sys.stderr))
    raters = expound.raters(folder)
    names = {one.id: one.name if one.source == "people" else f"{one.name} ({one.source})" for one in raters}
    typer.echo(f"{len(settlement.verdicts)} verdicts after {settlement.iterations} iterations.")
    typer.echo(_skills(settlement, names))
    typer.echo(expound.status(folder))


def _skills(settlement: Settlement, names: dict[str, str]) -> str:
    shown = [(names.get(skill.rater, skill.rater), skill) for skill in settlement.skills]
    width = max((len(name) for name, _ in shown), default=0)
    lines = ["How far each rater is to be trusted (1: always right, 0: no information, below 0: inverted):"]
    for name, skill in shown:
        alarm = f"  {skill.alarm}" if skill.alarm else ""
        count = f"{skill.n} judgment{'' if skill.n == 1 else 's'}"
        lines.append(f"  {name:{width}}  {skill.skill:+.2f} ± {skill.skill_se:.2f}  {count}{alarm}")
    return "\n".join(lines)


@app.command()
def fit(
    folder: Annotated[Path, typer.Argument(help="Project folder, or a file of preference pairs.")] = HERE,
    round_: RoundOption = None,
    held_out: Annotated[
        Path | None,
        typer.Option("--held-out", metavar="FILE", help="With a file: what is measured on; else a fifth of it."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="With a file: whose states are read; SmolLM2-135M by default.")
    ] = None,
) -> None:
    """Fit the reward model: to a project's settlement, or to a file of preference pairs."""
    is_file = folder.is_file() or (folder.suffix in FILES_OF_JUDGMENTS and not folder.is_dir())
    if is_file or held_out is not None or model is not None:
        if round_ is not None:
            raise InputError(f"{folder} has no rounds.", "Leave --round out, or name a project folder alone.")
        typer.echo(str(expound.fit_file(folder, held_out=held_out, model=model, progress=progress_for(sys.stderr))))
        return
    card = expound.fit(folder, round_=round_, progress=progress_for(sys.stderr))
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
    decision = expound.measure(folder, round_=round_, progress=progress_for(sys.stderr))
    typer.echo(f"{decision.sentence}\n{decision.next_step}\nReport: {folder / 'report.html'}")


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
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 is greedy.")] = 0.0,
) -> None:
    """Explain something with the tuned policy."""
    shown = progress_for(sys.stderr)
    passage = _passage(source)
    said = expound.explain(folder, text, source=passage, reference=reference, temperature=temperature, progress=shown)
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
def export(folder: Folder, out: Annotated[Path, typer.Argument(help="Folder to make.")]) -> None:
    """Write the tuned policy as a plain Hugging Face folder."""
    typer.echo(f"Wrote {expound.export(folder, out, progress=progress_for(sys.stderr))}")


def main() -> NoReturn:
    """Run the command line with the exit codes of the errors."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an explanation may hold what the terminal cannot show
    try:
        code = _run()
    except KeyboardInterrupt:
        code = _tell(Interrupted("Interrupted.", "Run the same command again to go on where it stopped."))
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever presses it again while this ends sees no traceback
    sys.exit(code)


def _run() -> int:
    try:
        # Typer turns Ctrl-C and typer.Exit into the number that it returns.
        ended: object = app(prog_name="expound", standalone_mode=False)
        sys.stdout.flush()
    except ExpoundError as error:
        return _tell(error)
    except typer.TyperException as error:
        sys.stderr.write(f"{error.format_message()}\nSee 'expound --help', or 'expound VERB --help'.\n")
        return error.exit_code
    except SystemExit:  # Typer's answer where whoever read the output has left
        return BROKEN_PIPE
    except OSError as error:
        return _tell(_disk_failed(error)) if error.errno in DISK_ERRORS else _keep_traceback(error)
    except Exception as error:  # noqa: BLE001 - the last resort: a bug is told in one sentence, its traceback kept
        return _keep_traceback(error)
    if ended == Interrupted.exit_code:
        raise KeyboardInterrupt
    return ended if isinstance(ended, int) else 0


def _disk_failed(error: OSError) -> StorageError:
    what = f"{error.filename or 'a file'} cannot be read or written: {error.strerror}."
    return StorageError(what, "Free space or mend the rights, then run the same command again; nothing stored is lost.")


def _tell(error: ExpoundError) -> int:
    kind = "" if isinstance(error, Interrupted) else f"{type(error).__name__}: "
    sys.stderr.write(f"{kind}{error.what}\n{error.remedy}\n")
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
    sys.stderr.write(f"This is a bug in expound: {type(error).__name__}: {said}\nThe traceback is in {path}.\n")
    return ExpoundError.exit_code


if __name__ == "__main__":
    main()
