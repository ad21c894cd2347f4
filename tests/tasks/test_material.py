"""Every line of a prompt file becomes a prompt or an error that names the line; no prompt and no group is divided."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from expound.errors import InputError, PromptError
from expound.records import Prompt
from expound.tasks.material import assign_splits, check_splits, prompt_of, read_prompts
from tests.support.fuzz import damaged


def write(folder: Path, name: str, *lines: object) -> Path:
    path = folder / "prompts" / name
    path.parent.mkdir(exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def read(folder: Path) -> tuple[Prompt, ...]:
    return read_prompts(folder, "prompts/*")


def test_a_line_with_every_column(tmp_path: Path) -> None:
    line = {
        "text": " Why? ",
        "source": "Because.",
        "id": "first",
        "reference": "an older answer",
        "gold": "the wind",
        "group": "g",
        "split": "held_out",
        "meta": {"facts": {"reason": ["wind"]}, "n": 1.5},
    }
    write(tmp_path, "a.jsonl", line)
    (prompt,) = read(tmp_path)
    assert (prompt.text, prompt.source, prompt.name) == ("Why?", "Because.", "first")
    assert (prompt.reference, prompt.gold, prompt.group, prompt.split) == (
        "an older answer",
        "the wind",
        "g",
        "held_out",
    )
    assert prompt.meta == line["meta"]


def test_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    write(tmp_path, "b.jsonl", {"text": "two"}, "", {"text": "three", "id": "named"})
    write(tmp_path, "a.txt", "one", "and a half", "")
    write(tmp_path, ".hidden.md", "no prompt")
    (tmp_path / "prompts" / "folder").mkdir()
    prompts = read(tmp_path)
    assert [(prompt.text, prompt.name) for prompt in prompts] == [
        ("one\nand a half", "a"),
        ("two", "b-1"),
        ("three", "named"),
    ]
    assert {prompt.split for prompt in prompts} == {"train", "held_out"}


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "\ufeffWhy?")
    write(tmp_path, "b.jsonl", '\ufeff{"text": "What?"}')
    assert [prompt.text for prompt in read(tmp_path)] == ["Why?", "What?"]


def test_an_absolute_pattern_and_folders_below(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "Why?")
    (found,) = read_prompts(tmp_path / "elsewhere", str(tmp_path / "**" / "*.txt"))
    assert found.text == "Why?"


def test_the_id_is_of_question_and_source_alone() -> None:
    plain = prompt_of("Why?", "Because.")
    assert len(plain.id) == 20
    assert prompt_of(" Why?\n", "Because.", name="x").id == plain.id
    others = [prompt_of("Why?"), prompt_of("Why", "Because."), prompt_of("Because.", "Why?"), prompt_of("Why?Because.")]
    assert len({plain.id, *(other.id for other in others)}) == 5


def test_meta_split_group_and_gold_do_not_enter_the_id(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", {"text": "Why?"})
    (bare,) = read(tmp_path)
    full = {"text": "Why?", "id": "x", "meta": {"a": 1}, "group": "g", "gold": "b", "split": "train", "reference": "r"}
    write(tmp_path, "a.jsonl", full)
    (dressed,) = read(tmp_path)
    assert dressed.id == bare.id
    assert dressed != bare


# --- CSV ----------------------------------------------------------------------------------------------------------


def test_a_csv_file_gives_the_prompts_that_json_lines_give(tmp_path: Path) -> None:
    rows = [
        {"text": 'Why "so"?', "id": "one", "gold": "=wind", "split": "train", "meta": {"facts": ["a", 1]}},
        {"text": "Two, and\nthree", "source": "'Tis -so", "group": "g", "reference": "-1"},
    ]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write(tmp_path / "a", "p.jsonl", *rows)
    columns = ("text", "source", "id", "reference", "gold", "group", "split", "meta")
    lines = [
        ",".join(columns),
        '"Why ""so""?",,one,,\'=wind,,train,"{""facts"": [""a"", 1]}"',
        ",,,,,,,",
        '"Two, and\nthree",\'Tis -so,,-1,,g,,',
    ]
    write(tmp_path / "b", "p.csv", "\ufeff" + "\n".join(lines))
    (mine, other), (also, second) = read(tmp_path / "b"), read(tmp_path / "a")
    assert mine == also
    assert replace(other, name="") == replace(second, name="")
    assert other.name == "p-4"  # the line on which it begins


# --- splits -------------------------------------------------------------------------------------------------------


def many(number: int, first: int = 0) -> list[Prompt]:
    return [prompt_of(f"Why {place}?") for place in range(first, first + number)]


def shares(prompts: tuple[Prompt, ...]) -> dict[str | None, float]:
    return {split: count / len(prompts) for split, count in Counter(prompt.split for prompt in prompts).items()}


def test_three_fifths_are_for_training() -> None:
    assert shares(assign_splits(many(900))) == {
        "train": pytest.approx(0.6, abs=0.05),
        "held_out": pytest.approx(0.4, abs=0.05),
    }


def test_more_prompts_move_none_that_were_there() -> None:
    few, more = assign_splits(many(100)), assign_splits(many(250))
    assert more[:100] == few
    assert assign_splits(many(250)[::-1])[::-1] == more


def test_a_given_split_is_kept_and_its_group_follows() -> None:
    prompts = [replace(prompt, group=f"g{place % 10}") for place, prompt in enumerate(many(100))]
    other = {"train": "held_out", "held_out": "train"}[str(assign_splits(prompts)[13].split)]
    prompts[13] = replace(prompts[13], split="train" if other == "train" else "held_out")
    split = assign_splits(prompts)
    assert {prompt.split for prompt in split if prompt.group == "g3"} == {other}
    assert all(len({prompt.split for prompt in split if prompt.group == f"g{place}"}) == 1 for place in range(10))


def test_settled_prompts_and_their_groups_stay_where_they_are() -> None:
    grouped = [replace(prompt, group=f"g{place % 50}") for place, prompt in enumerate(many(400))]
    other = {"train": "held_out", "held_out": "train"}
    turned = [replace(one, split=other[str(one.split)]) for one in assign_splits(grouped[:200])]  # type: ignore[arg-type]
    after = assign_splits(grouped, turned)
    assert [prompt.split for prompt in after] == [prompt.split for prompt in turned * 2]


def test_mended_words_leave_a_prompt_in_its_split() -> None:
    """Else what was trained on would be measured on, under words that differ by a letter."""
    named = [replace(prompt, name=f"n{place}") for place, prompt in enumerate(many(60))]
    settled = assign_splits(named)
    mended = [replace(prompt_of(f"{prompt.text} Say it briefly."), name=prompt.name) for prompt in named]
    assert [prompt.split for prompt in assign_splits(mended, settled)] == [prompt.split for prompt in settled]
    renamed = [replace(prompt, name="") for prompt in mended]
    assert [prompt.split for prompt in assign_splits(renamed, settled)] != [prompt.split for prompt in settled]


def test_there_must_be_something_to_learn_from_and_something_to_measure_on() -> None:
    for number in (0, 1):
        with pytest.raises(PromptError, match=r"needs at least two prompts"):
            check_splits(assign_splits(many(number)))
    check_splits(assign_splits(many(2)))
    with pytest.raises(PromptError, match="is of split 'held_out'"):
        check_splits([replace(prompt, split="train") for prompt in many(5)])


@pytest.mark.parametrize("number", range(2, 12))
def test_neither_train_nor_held_out_is_empty(number: int) -> None:
    for first in range(0, 200, 20):
        assert {prompt.split for prompt in assign_splits(many(number, first))} == {"train", "held_out"}


def test_one_prompt_alone_is_split_somehow_and_none_is_nothing() -> None:
    assert assign_splits(many(1))[0].split in ("train", "held_out")
    assert assign_splits([]) == ()
    for number in range(20):
        held = replace(prompt_of("a"), split="held_out")
        assert {prompt.split for prompt in assign_splits([held, *many(1, number)])} == {"train", "held_out"}


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_a_damaged_file_is_read_whole_or_refused(tmp_path: Path, name: str) -> None:
    """Of 500 damaged files none ends in anything but its prompts or a sentence."""
    contents = {
        "a.jsonl": '{"text": "Why?", "id": "a", "split": "train", "meta": {"n": 1}}\n{"text": "How?"}\n',
        "a.csv": 'text,source,id,split,meta\nWhy?,,a,train,"{""n"": 1}"\n"How, and\nwhen?",So.,,,\n',
        "a.txt": "Why did the fête end early?\nThe rain came at three – and stayed.\n",
    }
    content = contents[name].encode()
    ends = [_end(write(tmp_path, name), damage) for damage in damaged(content, 500)]
    assert ends.count("read") + ends.count("refused") == 500
    assert min(ends.count("read"), ends.count("refused")) > (20 if name == "a.txt" else 50)


def _end(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    try:
        prompts = read(path.parents[1])
    except InputError as error:
        return "refused" if error.remedy else "unclear"
    return "read" if prompts else "unclear"
