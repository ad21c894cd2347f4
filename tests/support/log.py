"""Small records that fit together, for tests of the log."""

from __future__ import annotations

from expound.records import Answer, Ballot, Comparison, Judgment, Prompt, Response, Skip, Split, Text, content_id


def make_prompt(question: str = "Why?", split: Split = "train") -> Prompt:
    return Prompt(content_id("prompt", question, ""), (Text("question", question),), name=question, split=split)


def make_response(prompt: Prompt, sample: int = 0, policy: str = "reference", round_: int = 1) -> Response:
    text = f"Because of {sample}."
    id_ = Response.make_id(prompt.id, policy, round_, sample, text)
    return Response(id_, prompt.id, text, policy, round_, sample, True, (1, 2, sample))


def make_ballot(prompt: Prompt, copy: int = 0, round_: int = 1) -> Ballot:
    pair = tuple(make_response(prompt, sample, round_=round_).id for sample in (0, 1))
    split = prompt.split or "train"
    return Ballot(
        Ballot.make_id("comparison", prompt.id, pair, round_, copy), "comparison", prompt.id, pair, round_, split, copy
    )


def compare(ballot: Ballot, rater: str, choice: int = -1, revision: int = 0, seconds: float = 3.5) -> Answer:
    judgment = Comparison(
        rater=rater,
        ballot=ballot.id,
        prompt=ballot.prompt,
        split=ballot.split,
        round=ballot.round,
        revision=revision,
        seconds=seconds,
        left=ballot.responses[0],
        right=ballot.responses[1],
        choice=choice,
    )
    return wrap(judgment, key=f"{rater}-{ballot.id}-{revision}")


def skip(ballot: Ballot, rater: str, revision: int = 0) -> Answer:
    judgment = Skip(
        rater=rater,
        ballot=ballot.id,
        split=ballot.split,
        round=ballot.round,
        revision=revision,
        reason="not my field",
    )
    return wrap(judgment, key=f"{rater}-{ballot.id}-{revision}")


def wrap(*judgments: Judgment, key: str) -> Answer:
    first = judgments[0]
    return Answer(key, first.ballot or "", first.rater, judgments, first.revision)
