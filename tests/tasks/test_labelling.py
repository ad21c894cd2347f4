"""What a task shows for each kind of judgment."""

from __future__ import annotations

from expound.records import Comparison, Highlight, Ranking, Score, Skip
from expound.tasks.labelling import about, criterion_of, fields_of, id_of, scales_of


def test_what_a_task_shows() -> None:
    assert about(Comparison(rater="r", left="b", right="a", choice=0)) == ("comparison", ("b", "a"))
    assert about(Ranking(rater="r", tiers=(("b",), ("c", "a")))) == ("ranking", ("a", "b", "c"))
    assert about(Score(rater="r", response="a", value=0.5)) == ("response", ("a",))
    assert about(Highlight(rater="r", response="a", start=0, end=1, type="t")) == ("response", ("a",))
    assert about(Skip(rater="r", reason="")) == ("skip", ())
    assert fields_of("comparison", 2) == ("left", "right")
    assert fields_of("ranking", 3) == ("response-1", "response-2", "response-3")


def test_ids_questions_and_stars() -> None:
    assert [id_of(value) for value in (7, "a", {"id": 3}, {"email": "b"}, {}, "", True, None, 1.5)] == [
        *("7", "a", "3", "b"),
        *[None] * 5,
    ]
    assert [criterion_of(question) for question in ("", "preference", "clarity")] == ["overall", "overall", "clarity"]
    stars = [("a", 2), ("b", 3), ("c", 9), ("b", 0)]
    assert scales_of(stars) == {"a": (1, 5), "b": (0, 5), "c": (1, 9)}
