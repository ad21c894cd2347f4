"""Whether an answer fits the ballot that it answers; what does not is refused before it reaches the log."""

from __future__ import annotations

import re

from expound.errors import JudgmentError
from expound.records import Answer, Ballot, Comparison, Judgment, Ranking, Rating, Skip

KEY = re.compile(r"[A-Za-z0-9_.-]{1,128}")
AGAIN = "Open the ballot again and answer what it shows."


def check_answer(answer: Answer, ballot: Ballot | None) -> None:
    """Refuse an answer that no page made from this ballot could have posted. Errors: JudgmentError."""
    if ballot is None:
        raise JudgmentError(f"there is no ballot '{answer.ballot}'.", "Answer a ballot of this project.")
    if not KEY.fullmatch(answer.key):
        raise JudgmentError(
            f"'{answer.key[:40]}' cannot be the key of an answer.", "Use 1 to 128 letters, digits, '_', '-' and '.'."
        )
    skips = sum(isinstance(judgment, Skip) for judgment in answer.judgments)
    if not answer.judgments or (skips and len(answer.judgments) > 1):
        raise JudgmentError(f"the answer to ballot '{ballot.id}' is empty, or skips and judges at once.", AGAIN)
    for judgment in answer.judgments:
        for problem in (_of_the_row(judgment, answer), _of_the_ballot(judgment, ballot), _of_the_value(judgment)):
            if problem:
                raise JudgmentError(f"the answer to ballot '{ballot.id}' {problem}.", AGAIN)


def _of_the_row(judgment: Judgment, answer: Answer) -> str:
    if (judgment.rater, judgment.ballot, judgment.revision) == (answer.rater, answer.ballot, answer.revision):
        return ""
    return f"names the rater '{judgment.rater}', the ballot '{judgment.ballot}' and the revision {judgment.revision}"


def _of_the_ballot(judgment: Judgment, ballot: Ballot) -> str:
    if judgment.split != ballot.split or judgment.round != ballot.round:
        return f"is of split '{judgment.split}' and round {judgment.round}, not '{ballot.split}' and {ballot.round}"
    if judgment.prompt not in (None, ballot.prompt):
        return f"names the prompt '{judgment.prompt}', not '{ballot.prompt}'"
    if isinstance(judgment, Comparison) and (judgment.left, judgment.right) != ballot.responses:
        return f"compares '{judgment.left}' and '{judgment.right}', which it did not show so"
    if isinstance(judgment, Rating) and judgment.response not in ballot.responses:
        return f"rates '{judgment.response}', which it did not show"
    if isinstance(judgment, Rating) and ballot.criteria and judgment.criterion not in ballot.criteria:
        return f"rates '{judgment.criterion}', which it did not ask about"
    if isinstance(judgment, Ranking):
        placed = [response for tier in judgment.tiers for response in tier]
        if not set(placed) <= set(ballot.responses) or len(placed) != len(set(placed)) or len(placed) < 2:
            return f"ranks {placed}, of which it showed {list(ballot.responses)}"
    return ""


def _of_the_value(judgment: Judgment) -> str:
    if isinstance(judgment, Comparison):
        if abs(judgment.choice) > judgment.strength or (judgment.choice == 0 and not judgment.ties):
            return f"has the choice {judgment.choice}, of strength {judgment.strength}, ties {judgment.ties}"
    elif isinstance(judgment, Rating) and not judgment.scale[0] <= judgment.value <= judgment.scale[1]:
        return f"has the value {judgment.value}, outside {judgment.scale}"
    return ""
