"""What a format says that it holds comes back equal; what it does not hold is counted, by a name on its page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expound.records import Judgment, Skip
from expound.tasks.formats import ENDINGS, WRITERS, Format, export, import_file
from expound.tasks.imported import Feedback, Reading
from tests.support.feedback import FROST, GRASS, LAZY, NAME, PROMPTS, RESPONSES, SUGAR
from tests.support.strategies import judgments

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
BOTH_WAYS = [one for one in WRITERS if one != "label-studio"]
IDS = (GRASS.id, SUGAR.id, LAZY.id)


def documented(format_: Format) -> set[str]:
    """Return the losses that the page lists for a format, as its table of losses names them."""
    found = re.search(
        rf"^\| `{format_}` \| (.*) \|$", PAGE.read_text(encoding="utf-8").split("## What is lost")[1], re.M
    )
    assert found is not None
    return {name.replace(" ", "_") for name in re.findall(r"`([^`]+)`", found[1])}


def plain(said: Judgment) -> Judgment:
    """Return the judgment as JSON holds it, and about the prompt of its responses."""
    gold = json.loads(json.dumps(said.gold))
    return replace(said, gold=gold, prompt=None if isinstance(said, Skip) else FROST.id)


def bare(said: Judgment) -> Judgment:
    """Return the judgment without the circumstances that most formats do not hold."""
    kept = replace(said, ballot=None, revision=0, round=1, shown_at=None, gold=None, meta={})
    return replace(kept, seconds=None, comment=None)


@pytest.mark.parametrize("format_", BOTH_WAYS)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)
@given(told=st.lists(judgments(responses=IDS).map(plain), min_size=1, max_size=2))
def test_what_is_held_comes_back(
    tmp_path_factory: pytest.TempPathFactory, format_: Format, told: list[Judgment]
) -> None:
    alike = [replace(one, split=told[0].split) for one in told]
    path = tmp_path_factory.getbasetemp() / f"round-{format_}{ENDINGS.get(format_, '.jsonl')}"
    for said in (alike, *([bare(one)] for one in alike)):
        exported = export(Feedback(PROMPTS, RESPONSES, said), format_, names=True)
        assert set(exported.lost.counts) <= documented(format_)
        if not exported.lost:
            path.write_bytes(exported.text.encode())
            assert sorted(map(repr, import_file(path, Reading(NAME))[1].judgments)) == sorted(map(repr, said))
