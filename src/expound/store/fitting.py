"""Whether an answer fits the ballot that it answers; what does not is refused before it reaches the log."""

from __future__ import annotations

import re
from collections.abc import Mapping

from expound.errors import JudgmentError
from expound.records import Answer, Ballot, BallotKind, Check, Comparison, Judgment, Ranking, Rating, Score, Skip

KEY = re.compile(r"[A-Za-z0-9_.-]{1,128}")
AGAIN = "Open the ballot again and answer what it shows."
ASKED: Mapping[BallotKind, type[Judgment]] = {"comparison": Comparison, "rating": Rating, "ranking": Ranking}
FEWEST_PLACED = 2


def check_answer(answer: Answer, ballot: Ballot | None) -> None:
    """Refuse an answer that no page made from this ballot could have posted. Errors: JudgmentError."""
    if ballot is None:
        raise JudgmentError(f"there is no ballot '{answer.ballot}'.", "Answer a ballot of this project.")
    if not KEY.fullmatch(answer.key):
        raise JudgmentError(
            f"'{answer.key[:40]}' cannot be the key of an answer.", "Use 1 to 128 letters, digits, '_', '-' and '.'."
        )
    problems = [_of_the_whole(answer)]
    for judgment in answer.judgments:
        problems += [_of_the_row(judgment, answer), _of_the_ballot(judgment, ballot), _of_the_kind(judgment, ballot)]
    wrong = next(filter(None, problems), None)
    if wrong:
        raise JudgmentError(f"the answer to ballot '{ballot.id}' {wrong}.", AGAIN)


def _of_the_whole(answer: Answer) -> str:
    said = answer.judgments
    if not said or (len(said) > 1 and any(isinstance(judgment, Skip) for judgment in said)):
        return "is empty, or skips and judges at once"
    about = [(type(one), one.response, one.criterion) for one in said if isinstance(one, Rating | Score | Check)]
    whole = sum(isinstance(one, Comparison | Ranking) for one in said)
    return "says something twice" if whole > 1 or len(about) != len(set(about)) else ""


def _of_the_row(judgment: Judgment, answer: Answer) -> str:
    if (judgment.rater, judgment.ballot, judgment.revision) == (answer.rater, answer.ballot, answer.revision):
        return ""
    return f"names the rater '{judgment.rater}', the ballot '{judgment.ballot}' and the revision {judgment.revision}"


def _of_the_ballot(judgment: Judgment, ballot: Ballot) -> str:
    if judgment.split != ballot.split or judgment.round != ballot.round:
        return f"is of split '{judgment.split}' and round {judgment.round}, not '{ballot.split}' and {ballot.round}"
    if judgment.prompt not in (None, ballot.prompt):
        return f"names the prompt '{judgment.prompt}', not '{ballot.prompt}'"
    if not isinstance(judgment, (ASKED[ballot.kind], Score, Check, Skip)):
        return f"is a {type(judgment).__name__.lower()}, where a {ballot.kind} was asked for"
    criteria = ballot.criteria or (ballot.criterion,)
    if judgment.criterion not in criteria and not isinstance(judgment, Skip):
        return f"is about '{judgment.criterion}', which was not asked about"
    return ""


def _of_the_kind(judgment: Judgment, ballot: Ballot) -> str:
    match judgment:
        case Comparison():
            return _of_a_comparison(judgment, ballot)
        case Rating() | Score() | Check():
            return _of_a_response(judgment, ballot)
        case Ranking():
            return _of_a_ranking(judgment, ballot)
        case _:
            return ""


def _of_a_comparison(said: Comparison, ballot: Ballot) -> str:
    if (said.left, said.right) != ballot.responses:
        return f"compares '{said.left}' and '{said.right}', which it did not show so"
    if abs(said.choice) > said.strength or (said.choice == 0 and not said.ties):
        return f"has the choice {said.choice}, of strength {said.strength}, ties {said.ties}"
    return ""


def _of_a_response(said: Rating | Score | Check, ballot: Ballot) -> str:
    if said.response not in ballot.responses:
        return f"is about '{said.response}', which it did not show"
    if isinstance(said, Rating) and not said.scale[0] <= said.value <= said.scale[1]:
        return f"has the value {said.value}, outside {said.scale}"
    return ""


def _of_a_ranking(said: Ranking, ballot: Ballot) -> str:
    placed = [response for tier in said.tiers for response in tier]
    known = set(placed) <= set(ballot.responses)
    if not known or len(placed) != len(set(placed)) or len(placed) < FEWEST_PLACED or not all(said.tiers):
        return f"ranks {[list(tier) for tier in said.tiers]}, of which it showed {list(ballot.responses)}"
    return ""
