"""What the reward learns from: a response and what the panel thinks of it."""

from __future__ import annotations

from collections.abc import Mapping

from expound.records import OVERALL, Example, Response, Settlement


def build_examples(settlement: Settlement, responses: Mapping[str, Response]) -> tuple[Example, ...]:
    """Return the overall verdicts of the responses as examples, in the order of the settlement.

    Verdicts of other responses, and of single criteria, are left out.
    """
    return tuple(
        Example(verdict.response, responses[verdict.response].prompt, verdict.value, verdict.sd)
        for verdict in settlement.verdicts
        if verdict.criterion == OVERALL and verdict.response in responses
    )
