"""Print the size of the house: lines by folder, sizes of functions, long files, import cycles.

Exits with 1 when the median function is longer than 10 lines, one in ten is longer than 40, any is longer
than 80, a file is longer than 500 or modules import one another in a circle. A function runs from its `def`
line to its last, docstring included. Run as `python scripts/figures.py [FOLDER]`; FOLDER is `src/expound`.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections import Counter
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

MEDIAN_LIMIT = 10
NINETIETH_LIMIT = 40
LONGEST_LIMIT = 80
FILE_LIMIT = 500


@dataclass(frozen=True)
class Function:
    """A function and where it stands."""

    place: str
    lines: int


@dataclass(frozen=True)
class Figures:
    """What was counted in one package: lines by folder, functions by size, long files, one cycle if there is any."""

    folders: dict[str, int]
    functions: tuple[Function, ...]
    long_files: tuple[str, ...]
    cycle: tuple[str, ...]


def count(package: Path) -> Figures:
    """Read every Python file below `package` and count."""
    files = sorted(package.rglob("*.py"))
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    trees = {path: ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in files}
    folders: Counter[str] = Counter()
    for path, number in lines.items():
        folders[path.relative_to(package).parts[0]] += number
    return Figures(
        folders=dict(folders),
        functions=tuple(function for path, tree in trees.items() for function in functions_of(path, tree)),
        long_files=tuple(f"{path} ({number} lines)" for path, number in lines.items() if number > FILE_LIMIT),
        cycle=find_cycle({module_name(path, package): tree for path, tree in trees.items()}),
    )


def functions_of(path: Path, tree: ast.Module) -> list[Function]:
    """List the functions and methods of a file, nested ones too."""
    return [
        Function(f"{path}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def module_name(path: Path, package: Path) -> str:
    """Name the module that `path` is, as an import statement would."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def find_cycle(trees: dict[str, ast.Module]) -> tuple[str, ...]:
    """Return the modules of one circle of imports, or nothing. Imports inside functions and for types count."""
    try:
        TopologicalSorter({name: imports_of(name, tree, set(trees)) for name, tree in trees.items()}).prepare()
    except CycleError as error:
        return tuple(reversed(error.args[1]))
    return ()


def imports_of(name: str, tree: ast.Module, modules: set[str]) -> set[str]:
    """Name the modules among `modules` that a file imports, itself left out."""
    named: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            named |= (inner & modules) or {node.module}
    return (named & modules) - {name}


def ninetieth(sizes: list[int]) -> int:
    """Return the size that nine in ten do not exceed (nearest rank)."""
    return sorted(sizes)[-(-9 * len(sizes) // 10) - 1]


def complaints(figures: Figures) -> list[str]:
    """Say in a line each which limit does not hold."""
    sizes = [function.lines for function in figures.functions] or [0]
    long = [function for function in figures.functions if function.lines > LONGEST_LIMIT]
    found = [f"longer than {LONGEST_LIMIT}: {function.place} ({function.lines} lines)" for function in long]
    found += [f"longer than {FILE_LIMIT}: {place}" for place in figures.long_files]
    if statistics.median(sizes) > MEDIAN_LIMIT:
        found.append(f"the median function has {statistics.median(sizes):g} lines, allowed are {MEDIAN_LIMIT}")
    if ninetieth(sizes) > NINETIETH_LIMIT:
        found.append(f"one function in ten is longer than {ninetieth(sizes)} lines, allowed are {NINETIETH_LIMIT}")
    if figures.cycle:
        found.append("imports in a circle: " + " -> ".join(figures.cycle))
    return found


def table(figures: Figures) -> str:
    """Write the figures as text: a line a folder, then the functions."""
    rows = [f"{number:7,}  {name}" for name, number in sorted(figures.folders.items(), key=lambda item: -item[1])]
    sizes = [function.lines for function in figures.functions] or [0]
    longest = max(figures.functions, key=lambda function: function.lines, default=Function("none", 0))
    return "\n".join(
        [
            *rows,
            f"{sum(figures.folders.values()):7,}  lines in all",
            f"{len(figures.functions):7,}  functions: median {statistics.median(sizes):g} lines, "
            f"90 % at most {ninetieth(sizes)}, longest {longest.lines} ({longest.place})",
        ]
    )


def main(arguments: list[str]) -> int:
    """Count, print, and say by the exit code whether every limit holds."""
    package = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent / "src" / "expound"
    figures = count(package)
    print(table(figures))
    found = complaints(figures)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
