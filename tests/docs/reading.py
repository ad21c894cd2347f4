"""The documents as the tests read them: fences, code in running text, headings, links."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
READMES = ("README.md", "README.zh-CN.md")
PAGES = (
    *READMES,
    "CONTRIBUTING.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
)
FENCE = re.compile(
    r"^(?P<mark>```+)(?P<language>\w*)(?P<info>[^\n]*)\n(?P<body>.*?)^(?P=mark)$", re.MULTILINE | re.DOTALL
)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"(?<!\\)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
MAIN = "import sys; from expound.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Fence:
    """A fenced block: its language, the words behind that, and what stands in it."""

    language: str
    words: tuple[str, ...]
    body: str

    @property
    def runs(self) -> bool:
        """Say whether the block promises to run in under a minute."""
        return "run" in self.words

    @property
    def is_shell(self) -> bool:
        """Say whether the block holds commands."""
        return self.language in ("console", "bash", "sh")

    @property
    def commands(self) -> tuple[str, ...]:
        """Give the command lines, continued lines joined and comments left out; in a console those behind a `$`."""
        lines = self.body.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))


@dataclass(frozen=True)
class Link:
    """A link: its text, the file it leads to (None: elsewhere in the same page) and the anchor there."""

    text: str
    file: str
    anchor: str


def text_of(page: str) -> str:
    path = ROOT / page
    assert path.exists(), f"{page} is missing"
    return path.read_text(encoding="utf-8")


def fences_of(page: str) -> tuple[Fence, ...]:
    return tuple(
        Fence(found["language"], tuple(found["info"].split()), found["body"]) for found in FENCE.finditer(text_of(page))
    )


def prose_of(page: str) -> str:
    """Give a page without its fenced blocks."""
    return FENCE.sub("", text_of(page))


def spans_of(page: str) -> tuple[str, ...]:
    """Give what stands between backticks in the running text."""
    return tuple(SPAN.findall(prose_of(page)))


def commands_named(page: str) -> tuple[str, ...]:
    """Give the command lines of a page's blocks, and the code in its text that begins with `expound`."""
    lines = [line for fence in fences_of(page) if fence.is_shell for line in fence.commands]
    return (*lines, *(span for span in spans_of(page) if span.split()[0] == "expound"))


def links_of(page: str) -> tuple[Link, ...]:
    """Give the links of a page that stay in the repository."""
    targets = [(text, target) for text, target in LINK.findall(prose_of(page)) if "://" not in target]
    return tuple(Link(text, target.partition("#")[0], target.partition("#")[2]) for text, target in targets)


def anchors_of(page: str) -> set[str]:
    """Give the anchors of a page's headings, as GitHub makes them."""
    anchors: set[str] = set()
    for heading in HEADING.findall(prose_of(page)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        base = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        again = sum(anchor == base or re.fullmatch(rf"{re.escape(base)}-\d+", anchor) is not None for anchor in anchors)
        anchors.add(f"{base}-{again}" if again else base)
    return anchors


def names_in(path: Path) -> set[str]:
    """Give the functions, classes and constants of a Python file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=[*targets]):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


# --- running ------------------------------------------------------------------------------------------------------


def shell_environment(folder: Path) -> dict[str, str]:
    """Put an `expound` of this source tree and this interpreter first on the path."""
    script = folder / "expound"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{MAIN}" "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    path = f"{folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src")}


def run_shell(text: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run commands one after another, as a reader would paste them, until one fails."""
    command = ["bash", "-e", "-u", "-c", text]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def run_python(text: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script."""
    script = folder / "script.py"
    script.write_text(text, encoding="utf-8")
    command = [sys.executable, "-W", "error", str(script)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def with_model(text: str, model: Path) -> str:
    """Give a script the tiny model where it leaves the choice: `MODEL = None` means the default one."""
    return re.sub(r"^MODEL = None\b.*$", f"MODEL = {str(model)!r}", text, flags=re.MULTILINE)
