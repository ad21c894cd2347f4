"""The command line: parses and prints, nothing else. Heavy modules are loaded by the verb that needs them."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from expound.errors import ExpoundError, Interrupted
from expound.reporting.progress import progress_for

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Close the human-feedback loop for explanations: sample, ask, settle, fit, tune, measure, go round again.",
)
Folder = Annotated[Path, typer.Argument(help="Project folder.")]
RoundOption = Annotated[int | None, typer.Option("--round", help="Round; the newest by default.")]
PortOption = Annotated[int | None, typer.Option("--port", help="Port of the rating site; 0 takes a free one.")]
HERE = Path()


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    example: Annotated[str | None, typer.Option(help="Copy a finished example: answer.")] = None,
    task: Annotated[str, typer.Option(help="Kind of explanation.")] = "answer",
    model: Annotated[str | None, typer.Option(help="Model reference: package:MODULE/FILE, folder, hub name.")] = None,
    prompts: Annotated[
        list[Path] | None, typer.Option(help="Prompt file to copy into the project; repeatable.")
    ] = None,
) -> None:
    """Make a project folder."""
    from expound import api

    handle = api.init(folder, task=task, model=model or api.DEFAULT_MODEL, prompts=[*(prompts or [])], example=example)
    _say(handle.preview())


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder of the demonstration.")] = Path("expound-demo"),
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 0,
) -> None:
    """Walk an example through two rounds with a simulated panel, to its report."""
    from expound import api

    _say(api.demo(folder, seed=seed, progress=progress_for(sys.stderr)).text)


@app.command()
def run(
    folder: Folder = HERE,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to walk.")] = 1,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="End with exit code 3 instead of waiting.")] = False,
    port: PortOption = None,
) -> None:
    """Walk the whole road: sample, ask, settle, fit, tune, measure. Continues where it was interrupted."""
    from expound import api

    done = api.run(folder, rounds=rounds, wait=not no_wait, port=port, progress=progress_for(sys.stderr))
    if isinstance(done, api.Waiting):
        _say(f"Waiting: {done.what}\n{done.remedy}")
        raise typer.Exit(3)
    _say(f"{done.sentence}\n{done.next_step}\nReport: {folder / 'report.html'}")


@app.command()
def sample(folder: Folder = HERE) -> None:
    """Sample the open round's responses to the train prompts."""
    from expound import api

    count = api.sample(folder, progress=progress_for(sys.stderr))
    _say(f"{count} responses to train prompts. Next: expound ask {folder}")


@app.command()
def ask(folder: Folder = HERE) -> None:
    """Make the open round's ballots."""
    from expound import api

    count = api.ask(folder, progress=progress_for(sys.stderr))
    _say(f"{count} ballots. Next: expound serve {folder} (people), or expound settle {folder} (simulated)")


@app.command()
def serve(folder: Folder = HERE, port: PortOption = None) -> None:
    """Serve the rating site until Ctrl-C."""
    from expound import api

    api.serve(folder, port=port, progress=progress_for(sys.stderr))


@app.command("serve-child", hidden=True)
def serve_child(folder: Path, handle: int) -> None:
    """Serve the rating site on an inherited socket until standard input closes."""
    import socket

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
    from expound import api

    _say(api.invite(folder, name, days=days, port=port))


@app.command()
def settle(folder: Folder = HERE, round_: RoundOption = None) -> None:
    """Weigh the raters and say what the panel thinks of each response."""
    from expound import api

    settlement = api.settle(folder, round_=round_, progress=progress_for(sys.stderr))
    _say(f"{len(settlement.verdicts)} verdicts after {settlement.iterations} iterations.")
    for skill in settlement.skills:
        alarm = f"  {skill.alarm}" if skill.alarm else ""
        _say(f"{skill.rater:16} skill {skill.skill:+.2f} ± {skill.skill_se:.2f}  {skill.n} judgments{alarm}")


@app.command()
def fit(folder: Folder = HERE, round_: RoundOption = None) -> None:
    """Fit the reward model to the settlement."""
    from expound import api

    card = api.fit(folder, round_=round_, progress=progress_for(sys.stderr))
    _say(
        f"The reward orders {card.pair_accuracy:.0%} [{card.pair_accuracy_low:.0%}, {card.pair_accuracy_high:.0%}] of "
        f"{card.pairs} left-out pairs like the panel; length alone {card.length_accuracy:.0%}."
    )


@app.command()
def tune(folder: Folder = HERE, round_: RoundOption = None) -> None:
    """Update the policy with PPO; resumes from the last checkpoint."""
    from expound import api

    record = api.tune(folder, round_=round_, progress=progress_for(sys.stderr))
    _say(f"Tuned policy {record.id}: {record.ended}")


@app.command()
def measure(folder: Folder = HERE, round_: RoundOption = None) -> None:
    """Have tuned and reference compared on held-out prompts, blind, and decide."""
    from expound import api

    decision = api.measure(folder, round_=round_, progress=progress_for(sys.stderr))
    _say(f"{decision.sentence}\n{decision.next_step}")


@app.command()
def report(folder: Folder = HERE, round_: RoundOption = None) -> None:
    """Write the self-contained page of a round."""
    from expound import api

    _say(str(api.report(folder, round_=round_)))


@app.command()
def status(folder: Folder = HERE) -> None:
    """Say where the project stands and what to do next."""
    from expound import api

    _say(api.status(folder))


@app.command()
def explain(
    folder: Folder,
    text: Annotated[str, typer.Argument(help="What is asked, or the name of one of the project's prompts.")],
    source: Annotated[str, typer.Option(help="The passage, or a file that holds it.")] = "",
    reference: Annotated[bool, typer.Option("--reference", help="Ask the policy before any tuning.")] = False,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 is greedy.")] = 0.0,
) -> None:
    """Explain something with the tuned policy."""
    from expound import api

    passage = (
        Path(source).read_text(encoding="utf-8") if source and len(source) < 256 and Path(source).is_file() else source
    )
    shown = progress_for(sys.stderr)
    _say(api.explain(folder, text, source=passage, reference=reference, temperature=temperature, progress=shown))


@app.command()
def export(folder: Folder, out: Annotated[Path, typer.Argument(help="Folder to make.")]) -> None:
    """Write the tuned policy as a plain Hugging Face folder."""
    from expound import api

    _say(f"Wrote {api.export(folder, out, progress=progress_for(sys.stderr))}")


def _say(text: str) -> None:
    typer.echo(text)


def main() -> NoReturn:
    """Run the command line with the exit codes of the errors."""
    try:
        # Typer turns Ctrl-C and typer.Exit into the number that it returns.
        ended: object = app(standalone_mode=False)
        code = ended if isinstance(ended, int) else 0
        if code == Interrupted.exit_code:
            raise KeyboardInterrupt
    except ExpoundError as error:
        code = _tell(error)
    except KeyboardInterrupt:
        code = _tell(Interrupted("Interrupted.", "Run the same command again to go on where it stopped."))
    except typer.TyperException as error:
        sys.stderr.write(f"{error.format_message()}\nSee 'expound --help', or 'expound VERB --help'.\n")
        code = error.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort: a bug is told in one sentence, its traceback kept
        code = _keep_traceback(error)
    sys.stdout.flush()
    sys.exit(code)


def _tell(error: ExpoundError) -> int:
    kind = "" if isinstance(error, Interrupted) else f"{type(error).__name__}: "
    sys.stderr.write(f"{kind}{error.what}\n{error.remedy}\n")
    return error.exit_code


def _keep_traceback(error: Exception) -> int:
    path = Path.home() / f"expound-error-{os.getpid()}.txt"
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    sys.stderr.write(f"This is a bug in expound: {type(error).__name__}: {error}\nThe traceback is in {path}.\n")
    return ExpoundError.exit_code


if __name__ == "__main__":
    main()
