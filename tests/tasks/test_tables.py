"""A CSV file that is written comes back cell for cell, and no spreadsheet runs it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expound.errors import JudgmentError
from expound.records import Json
from expound.tasks.tables import cell_of, csv_rows, escape, table, unescape, value_of

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30) | st.text("'=+-@\t\r\n\",;1 ", max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(TEXT)
def test_an_escaped_cell_comes_back(cell: str) -> None:
    assert unescape(escape(cell)) == cell


@pytest.mark.parametrize("cell", ["=SUM(A1)", "+1+1", "-1+1", "@x", "\t=1", "\r=1", "-", "'=x", "--5", "-5kg"])
def test_what_a_spreadsheet_would_run_is_escaped(cell: str) -> None:
    assert escape(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-5", "-0.5", "-1.5e-3", "5", "'tis", "a=b", "", "so-so"])
def test_a_number_and_a_text_are_left_alone(cell: str) -> None:
    assert escape(cell) == cell


@given(VALUES)
def test_the_cell_of_a_value_comes_back(value: Json) -> None:
    assert value_of(cell_of(value)) == value


@given(st.lists(st.tuples(TEXT, TEXT), max_size=4))
def test_a_table_comes_back(rows: list[tuple[str, str]]) -> None:
    text = table(("a", "b"), [{"a": one, "b": two} for one, two in rows])
    cells = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert cells[0] == ["a", "b"]
    assert [tuple(unescape(cell) for cell in line) for line in cells[1:]] == rows


def test_rows_are_numbered_by_the_line_on_which_they_begin(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,"x\ny"\n\n2,\n', encoding="utf-8")
    assert list(csv_rows(path, JudgmentError)) == [(2, {"a": "1", "b": "x\ny"}), (5, {"a": "2"})]
