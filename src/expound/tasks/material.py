"""Prompt files become prompts: JSON Lines or CSV with the columns below, or text files with one prompt each.

Nothing is guessed and nothing is dropped: a line that is not understood is an error that names file and line.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from expound.errors import PromptError, nearest
from expound.files import MAX_LINE_BYTES, json_lines, parse_object, read_text
from expound.records import Json, Prompt, Split, Text, content_id
from expound.tasks.tables import csv_rows

COLUMNS = ("text", "source", "id", "reference", "gold", "group", "split", "meta")
SPLITS: tuple[Split, ...] = get_args(Split)
SUFFIXES = (".jsonl", ".csv", ".txt")
TRAIN_SHARE = 0.6

Place = tuple[str, Prompt]
Line = tuple[str, Mapping[str, Json], str]


def read_prompts(folder: Path, pattern: str, settled: Sequence[Prompt] = ()) -> tuple[Prompt, ...]:
    """Return the prompts of the files that match the pattern below the folder, each in its split.

    Files are read in the order of their names. `settled` are prompts that have their split already: see
    `assign_splits`. Errors: PromptError with file and line.
    """
    found = [place for path in _files(folder, pattern) for place in _read(path)]
    _check_unique(found)
    return assign_splits([prompt for _, prompt in found], settled)


def prompt_of(text: str, source: str = "", *, name: str = "") -> Prompt:
    """Return a prompt whose id is the hash of question and source, and of nothing else."""
    question, passage = text.strip(), source.strip()
    parts = (Text("question", question), Text("source", passage)) if passage else (Text("question", question),)
    return Prompt(content_id("prompt", question, passage), parts, name=name)


def parse_prompt(columns: Mapping[str, Json], where: str, name: str) -> Prompt:
    """Return the prompt of one line; `where` names the line in errors, `name` is used when it gives no id.

    Errors: PromptError for an unknown column (with the nearest name), a missing text, a value of a wrong type.
    """
    for column in columns:
        if column not in COLUMNS:
            raise PromptError(f"{where}: there is no column '{column[:80]}'.", nearest(column[:80], COLUMNS))
    words = {column: _text(columns, column, where) for column in COLUMNS if column != "meta"}
    if not words["text"]:
        raise PromptError(f"{where}: 'text' is missing or empty.", "Say in 'text' what is asked.")
    given, split = words["split"], next((split for split in SPLITS if split == words["split"]), None)
    if given is not None and split is None:
        raise PromptError(f"{where}: there is no split '{given[:80]}'.", nearest(given[:80], SPLITS))
    meta = columns.get("meta")
    if meta is not None and not isinstance(meta, Mapping):
        raise PromptError(f"{where}: 'meta' is {meta!r}.", "Give an object, or leave it out.")
    return replace(
        prompt_of(words["text"], words["source"] or "", name=words["id"] or name),
        reference=words["reference"],
        gold=words["gold"],
        group=words["group"],
        split=split,
        meta=meta or {},
    )


def check_splits(prompts: Sequence[Prompt]) -> None:
    """Errors: PromptError when there is nothing to learn from, or nothing to measure on."""
    if len(prompts) < len(SPLITS):
        raise PromptError(
            f"a project needs at least two prompts, and there {'is 1' if prompts else 'are none'}.",
            "Add prompts: one to learn from and one to measure on, at the least. A .txt file is one prompt.",
        )
    for split in SPLITS:
        if all(prompt.split != split for prompt in prompts):
            raise PromptError(
                f"none of the {len(prompts)} prompts is of split '{split}'.",
                "Add prompts: the model learns from some (train) and is measured on others (held_out).",
            )


def assign_splits(prompts: Sequence[Prompt], settled: Sequence[Prompt] = ()) -> tuple[Prompt, ...]:
    """Return the prompts, each with its split: the given one, else what a stable hash of its group says.

    Train 60 % and held_out 40 %, neither of them empty. A group (a prompt without one is its own) is never divided.
    Prompts that are `settled`, those of their groups, and prompts whose words were mended under the same name stay
    where they are.
    Errors: PromptError when a group is given two splits.
    """
    known = _given_splits(prompts, settled)
    names = dict.fromkeys(_group(prompt) for prompt in prompts)
    fallen: dict[str, Split] = {name: "train" if _hash(name) < TRAIN_SHARE else "held_out" for name in names}
    splits = fallen | {name: split for name, split in known.items() if name in fallen}
    _leave_neither_empty(splits, sorted((name for name in names if name not in known), key=_hash))
    return tuple(replace(prompt, split=splits[_group(prompt)]) for prompt in prompts)


def _files(folder: Path, pattern: str) -> Sequence[Path]:
    matches = (folder / name for name in sorted(glob.glob(pattern, root_dir=folder, recursive=True)))
    paths = [path for path in matches if path.is_file()]
    if not paths:
        raise PromptError(
            f"no prompt file matches '{pattern}' in {folder}.",
            "Put a .jsonl, .csv or .txt file there, or change [project] prompts.",
        )
    strange = next((path for path in paths if path.suffix.lower() not in SUFFIXES), None)
    if strange is not None:
        raise PromptError(
            f"{strange} is no prompt file.", f"Prompt files end in {', '.join(SUFFIXES)}; rename it or move it away."
        )
    return paths


def _read(path: Path) -> Sequence[Place]:
    match path.suffix.lower():
        case ".jsonl":
            lines = [_line(path, number, columns) for number, columns in json_lines(path, PromptError)]
        case ".csv":
            lines = [
                _line(path, number, _columns(cells, path, number))
                for number, cells in csv_rows(path, PromptError, COLUMNS)
            ]
        case _:
            if path.stat().st_size > MAX_LINE_BYTES:
                raise PromptError(f"{path} is longer than {MAX_LINE_BYTES} bytes.", "A .txt file is one prompt.")
            text = read_text(path, PromptError)
            lines = [(str(path), {"text": text}, path.stem)] if text.strip() else []
    if not lines:
        raise PromptError(f"{path} is empty.", "Put a prompt into it, or remove it.")
    return [(where, parse_prompt(columns, where, name)) for where, columns, name in lines]


def _line(path: Path, number: int, columns: Mapping[str, Json]) -> Line:
    return f"{path}: line {number}", columns, f"{path.stem}-{number}"


def _columns(cells: Mapping[str, str], path: Path, number: int) -> Mapping[str, Json]:
    """Return the columns of a row of a CSV file: texts, and `meta` as the object that its cell spells."""
    if "meta" not in cells:
        return cells
    try:
        return {**cells, "meta": parse_object(cells["meta"])}
    except ValueError as error:
        raise PromptError(
            f"{path}: line {number}: 'meta' is no JSON object: {error}.", 'Give one, such as {"topic": "rain"}.'
        ) from error


def _check_unique(found: Sequence[Place]) -> None:
    ids: dict[str, str] = {}
    names: dict[str, str] = {}
    for where, prompt in found:
        if prompt.id in ids:
            raise PromptError(f"{where} asks the same as {ids[prompt.id]}.", "Remove one of the two.")
        if prompt.name in names:
            raise PromptError(
                f"{where} has the id '{prompt.name}' like {names[prompt.name]}.", "Give one of the two another id."
            )
        ids[prompt.id] = names[prompt.name] = where


def _text(columns: Mapping[str, Json], column: str, where: str) -> str | None:
    value = columns.get(column)
    if value is None:
        return None
    if not isinstance(value, str):
        raise PromptError(f"{where}: '{column}' is {value!r}.", "Give a text in quotes.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise PromptError(f"{where}: '{column}' holds half of a character.", "Mend the text.")
    if "\0" in value:
        raise PromptError(f"{where}: '{column}' holds a zero byte.", "Save the file as UTF-8, or mend the text.")
    return value.strip() or None


def _group(prompt: Prompt) -> str:
    return prompt.id if prompt.group is None else f"group {prompt.group}"


def _hash(name: str) -> float:
    """Return where a group falls on the line from 0 to 1."""
    return int.from_bytes(hashlib.sha256(f"split\n{name}".encode()).digest()[:6], "big") / 2**48


def _given_splits(prompts: Sequence[Prompt], settled: Sequence[Prompt]) -> dict[str, Split]:
    known = {_group(prompt): prompt.split for prompt in settled if prompt.split is not None}
    ids, named = {prompt.id for prompt in settled}, {prompt.name: prompt.split for prompt in settled}
    for prompt in prompts:
        split = named.get(prompt.name)
        if prompt.id not in ids and split is not None:
            known.setdefault(_group(prompt), split)
    given: dict[str, Split] = {}
    for prompt in prompts:
        if prompt.split is not None and given.setdefault(_group(prompt), prompt.split) != prompt.split:
            raise PromptError(
                f"the group '{prompt.group}' is given the splits '{given[_group(prompt)]}' and '{prompt.split}'.",
                "A group belongs to one split: what is learnt from one member tells too much about another.",
            )
    return given | known


def _leave_neither_empty(splits: dict[str, Split], free: Sequence[str]) -> None:
    """Give a split that has nothing the group that fell nearest to it, where the other can spare one."""
    cases: tuple[tuple[Split, Split, int], ...] = (("held_out", "train", -1), ("train", "held_out", 0))
    for empty, full, place in cases:
        found = list(splits.values())
        if free and empty not in found and found.count(full) > 1:
            splits[free[place]] = empty
