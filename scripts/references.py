"""The reference pages, written from the code: docs/reference/settings.md, errors.md and commands.md.

`python scripts/references.py` writes them; with `--check` it writes nothing and ends with 1 when one is not what the
code says.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import get_args, get_type_hints

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

from expound import cli, errors
from expound.settings import FUNCTIONS, Section, Settings

Parameter = TyperArgument | TyperOption
FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
WRITTEN = "<!-- Written by scripts/references.py from {}: change that file and run the script again. -->"
TYPES = {"Path": "path", "int": "whole number", "float": "number", "str": "text", "bool": ""}
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or say which of them are stale."""
    pages = {"settings.md": settings_page(), "errors.md": errors_page(), "commands.md": commands_page()}
    stale = [name for name, text in pages.items() if _text_of(FOLDER / name) != text]
    if "--check" in arguments:
        for name in stale:
            print(f"docs/reference/{name} is stale. Run: python scripts/references.py", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (FOLDER / name).write_text(pages[name], encoding="utf-8")
        print(f"wrote docs/reference/{name}")
    return 0


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _first_paragraph(documented: object) -> str:
    return " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split())


# --- settings -----------------------------------------------------------------------------------------------------


def settings_page() -> str:
    """Return every table and key of project.toml with type, default and description."""
    lines = [
        WRITTEN.format("src/expound/settings.py"),
        "",
        "# Settings",
        "",
        "Every table and key of `project.toml`. An unknown one is refused with the nearest name. A round keeps the "
        "settings with which it began; a change counts from the next round on, except for `[project] name` and `model` "
        "and the table `[site]`, which no round freezes.",
    ]
    for name in Settings.model_fields:
        lines += ["", *_section(name, section_of(name))]
    return "\n".join(lines) + "\n"


def section_of(name: str) -> type[Section]:
    """Return the class of a table of project.toml."""
    annotation = Settings.model_fields[name].annotation
    candidates = (annotation, *get_args(annotation))
    return next(one for one in candidates if isinstance(one, type) and issubclass(one, Section))


def _section(name: str, section: type[Section]) -> list[str]:
    schema = section.model_json_schema()
    required = schema.get("required", [])
    rows = [
        [
            f"`{key}`",
            _values(told),
            "required" if key in required else f"`{json.dumps(told['default'])}`",
            told["description"],
        ]
        for key, told in schema["properties"].items()
    ]
    optional = "" if Settings.model_fields[name].default is not None else " The table may be left out."
    return [
        f"## [{name}]",
        "",
        _first_paragraph(section) + optional,
        "",
        *_table(["key", "value", "default", ""], rows),
    ]


def _values(schema: Mapping[str, object]) -> str:
    """Return in words what a JSON schema allows; a function of the user's cannot stand in a file."""
    match schema:
        case {"anyOf": [*kinds]}:
            return " or ".join(_values(kind) for kind in kinds)
        case {"const": value}:
            return f"`{json.dumps(value)}`"
        case {"enum": [*values]}:
            return " or ".join(f"`{json.dumps(value)}`" for value in values if value not in FUNCTIONS)
        case {"type": "array", "items": items}:
            return f"list of {_values(items)}"
    name = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`"}
    limits = [words.format(schema[limit]) for limit, words in LIMITS.items() if limit in schema]
    return ", ".join([name[str(schema["type"])], *limits])


# --- errors -------------------------------------------------------------------------------------------------------


def errors_page() -> str:
    """Return every error with its exit code and meaning."""
    found = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.ExpoundError)]
    rows = [[_named(one), str(one.exit_code), _kind_of(one), _first_paragraph(one)] for one in found]
    lines = [
        WRITTEN.format("src/expound/errors.py"),
        "",
        "# Errors and exit codes",
        "",
        "The command line writes what happened and what to do, and ends with the exit code; a command that did what "
        "was asked ends with 0. In Python the same is raised, with `what` and `remedy` as texts. An error is also an "
        "error of the kind it belongs to.",
        "",
        *_table(["error", "exit code", "a kind of", "meaning"], rows),
    ]
    return "\n".join(lines) + "\n"


def _named(error: type[errors.ExpoundError]) -> str:
    name = error.__name__
    return f"[`{name}`](../troubleshooting.md#{name.lower()})"


def _kind_of(error: type[errors.ExpoundError]) -> str:
    parent = error.__bases__[0].__name__
    return "" if parent == "Exception" else f"`{parent}`"


# --- commands -----------------------------------------------------------------------------------------------------


def commands_page() -> str:
    """Return every command with its arguments, options and help."""
    functions = functions_by_name()
    lines = [
        WRITTEN.format("src/expound/cli.py"),
        "",
        "# Commands",
        "",
        "`expound VERB --help` says the same. `expound --version` shows the version.",
    ]
    for name, command in typer.main.get_command(cli.app).commands.items():
        if not command.hidden:
            lines += ["", *_command(name, command, get_type_hints(functions[name]))]
    return "\n".join(lines) + "\n"


def functions_by_name() -> Mapping[str, Callable[..., object]]:
    """Return the function of each command."""
    functions = [(info.name, info.callback) for info in cli.app.registered_commands if info.callback is not None]
    return {name or function.__name__.replace("_", "-"): function for name, function in functions}


def _command(name: str, command: TyperCommand, hints: Mapping[str, object]) -> list[str]:
    usage = ["expound", name, *(_usage(one) for one in command.params if _is_argument(one)), "[OPTIONS]"]
    rows = [[_written(one, hints), _default_of(one), one.help or ""] for one in command.params]
    more = f"{' '.join((command.help or '').split())} More: [{name}](../verbs/{name}.md)."
    return [f"## expound {name}", "", more, "", f"    {' '.join(usage)}", "", *_table(["", "default", ""], rows)]


def _is_argument(parameter: Parameter) -> bool:
    return not parameter.opts[0].startswith("-")


def _usage(parameter: Parameter) -> str:
    return parameter.name.upper() if parameter.required else f"[{parameter.name.upper()}]"


def _written(parameter: Parameter, hints: Mapping[str, object]) -> str:
    if _is_argument(parameter):
        return f"`{parameter.name.upper()}`"
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    return " ".join([names, parameter.metavar or _type_name(hints[parameter.name]), _limits(parameter)]).rstrip()


def _type_name(hint: object) -> str:
    names = [TYPES[one.__name__] for one in (hint, *get_args(hint)) if isinstance(one, type) and one.__name__ in TYPES]
    return next(iter(names), "")


def _limits(parameter: Parameter) -> str:
    match parameter.min, parameter.max:
        case None, None:
            return ""
        case low, None:
            return f"(at least {low})"
        case None, high:
            return f"(at most {high})"
        case low, high:
            return f"({low} to {high})"


def _default_of(parameter: Parameter) -> str:
    match parameter.default:
        case None | bool() | "" | []:
            return "required" if parameter.required else ""
        case Path() as folder if folder == Path():
            return "the folder you are in"
        case default:
            return f"`{default}`"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
