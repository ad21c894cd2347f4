"""Verdicts become examples."""

from __future__ import annotations

from expound.records import Example, Response, Settlement, Verdict
from expound.reward.examples import build_examples


def response(id_: str, prompt: str) -> Response:
    return Response(id_, prompt, "text", "policy", 1, 0, True)


def test_overall_verdicts_of_known_responses_are_examples() -> None:
    verdicts = (
        Verdict("b", "overall", 0.5, 0.2, 3),
        Verdict("a", "overall", -0.5, 0.3, 3),
        Verdict("a", "clarity", 2.0, 0.3, 3),
        Verdict("elsewhere", "overall", 1.0, 0.3, 3),
    )
    settlement = Settlement(1, verdicts, (), (), 7, "hash")
    responses = {"a": response("a", "p"), "b": response("b", "q")}
    assert build_examples(settlement, responses) == (Example("b", "q", 0.5, 0.2), Example("a", "p", -0.5, 0.3))
