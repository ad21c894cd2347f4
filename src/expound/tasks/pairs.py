"""Preference pairs: prompt, chosen and rejected, in texts or lists of messages, with the prompt apart or within both.

In: a comparison of strength 1 without ties; which side was left is not known and drawn by hash. Out: a line for every
comparison that prefers one, or, with a settlement, for every pair that the panel prefers one of.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from expound.records import (
    DRAWN,
    OVERALL,
    SIDES,
    Comparison,
    Json,
    PairVerdict,
    Prompt,
    Response,
    Settlement,
    content_id,
)
from expound.tasks.imported import (
    Exported,
    Feedback,
    Piece,
    Reading,
    beside,
    dressed,
    exported,
    newest,
    prompt_in,
    rater_in,
    response_in,
    source_of,
    texts_of,
    whole_text,
)
from expound.tasks.judgments import NAMES, line
from expound.tasks.rows import Row, as_row

USED = ("prompt", "chosen", "rejected", "prompt_id", "chosen_id", "rejected_id")

# How some files write a conversation into one text.
_TURN = re.compile(r"(?:\A|\n\n)\s*(Human|Assistant|User): ?")
_UNSPACED = re.compile(r"[\u3000-\u9fff\uff00-\uffef]")


@dataclass(frozen=True)
class Message:
    """A turn of a conversation."""

    role: str
    content: str


# --- in ---------------------------------------------------------------------------------------------------------


def read_pairs(rows: Iterable[Row], reading: Reading) -> Iterator[Piece]:
    """Yield the piece of each row. Errors: JudgmentError with the row's place."""
    return (_piece(row, reading) for row in rows)


def _piece(row: Row, reading: Reading) -> Piece:
    asked, better, worse = _texts(row)
    if better.strip() == worse.strip():
        return Piece(row.where, lost=("equal_texts",))
    prompt = prompt_in(row, asked, row.name("prompt_id"))
    chosen = response_in(row, prompt, better, reading.name, row.name("chosen_id"))
    rejected = response_in(row, prompt, worse, reading.name, row.name("rejected_id"))
    first, second = sorted((chosen.id, rejected.id))
    left, right = (second, first) if int(content_id("side", first, second), 16) % 2 else (first, second)
    said = Comparison(
        rater=rater_in(row, reading.name),
        left=left,
        right=right,
        choice=-1 if left == chosen.id else 1,
        ties=False,
        meta={SIDES: DRAWN},
    )
    return Piece(row.where, (prompt,), (chosen, rejected), (dressed(said, row, prompt, USED),))


def _texts(row: Row) -> tuple[str, str, str]:
    """Return what was asked, the better and the worse answer."""
    chosen, rejected, prompt = (row.columns.get(key) for key in ("chosen", "rejected", "prompt"))
    if isinstance(chosen, str) and isinstance(rejected, str):
        if prompt is not None:
            return words_in(row, "prompt"), chosen, rejected
        if _TURN.match(chosen) and _TURN.match(rejected):
            return _conversations(row, (), _turns(chosen), _turns(rejected))
        return _cut(row, chosen, rejected)
    before = () if prompt is None or isinstance(prompt, str) else messages_in(row, "prompt")
    return _conversations(row, before, messages_in(row, "chosen"), messages_in(row, "rejected"), prompt)


def _conversations(
    row: Row, before: Sequence[Message], chosen: Sequence[Message], rejected: Sequence[Message], asked: Json = None
) -> tuple[str, str, str]:
    """Return the three texts of conversations: what both begin with was asked."""
    common = _common(chosen, rejected)
    if common == len(chosen) == len(rejected):
        common -= 1  # the same twice: counted, not refused
    shared, same = tuple(chosen[:common]), tuple(before)
    whole = shared if shared[: len(same)] == same else (*same, *shared)
    if common >= min(len(chosen), len(rejected)):
        raise row.error("one conversation ends where the two part", "Give both a last answer.")
    if isinstance(asked, str) and asked and all(asked != message.content for message in whole):
        whole = (Message("user", asked), *whole)
    return render(whole), render(chosen[common:]), render(rejected[common:])


def _turns(text: str) -> tuple[Message, ...]:
    """Return the turns of a conversation in one text."""
    _, *parts = _TURN.split(text)
    roles = ("assistant" if role == "Assistant" else "user" for role in parts[::2])
    return tuple(Message(role, content.strip()) for role, content in zip(roles, parts[1::2], strict=True))


def _cut(row: Row, chosen: str, rejected: str) -> tuple[str, str, str]:
    """Return the longest common beginning that ends with a word, and what follows it in each."""
    if chosen == rejected:
        return "", chosen, rejected
    shared = chosen[: _common(chosen, rejected)]
    place = min(len(shared), len(chosen.rstrip()) - 1, len(rejected.rstrip()) - 1)
    while place > 0 and not (shared[place - 1].isspace() or _UNSPACED.match(shared[place - 1])):
        place -= 1
    if place <= 0 or not shared[:place].strip():
        raise row.error("'chosen' and 'rejected' begin with different words", "Give what was asked in 'prompt'.")
    return shared[:place], chosen[place:], rejected[place:]


def _common(one: Sequence[object], other: Sequence[object]) -> int:
    """Return how many items two sequences begin with alike."""
    differ = (place for place, (mine, theirs) in enumerate(zip(one, other, strict=False)) if mine != theirs)
    return next(differ, min(len(one), len(other)))


def words_in(row: Row, key: str) -> str:
    """Return a text that is given as such or as messages. Errors: JudgmentError."""
    if isinstance(row.columns.get(key), str):
        return row.text(key)
    return render(messages_in(row, key))


def messages_in(row: Row, key: str) -> tuple[Message, ...]:
    """Return the messages of a list of objects with role and content. Errors: JudgmentError."""
    value = row.columns.get(key)
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise row.wrong(key, "a text, or a list of messages with 'role' and 'content'")
    parts = [as_row(item, f"{row.where}: {key} {number}") for number, item in enumerate(value, start=1)]
    return tuple(Message(part.text("role"), part.text("content")) for part in parts)


def render(messages: Sequence[Message]) -> str:
    """Return messages as one text: one as it is, several each behind its role."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"{message.role.capitalize()}: {message.content}" for message in messages)


# --- out --------------------------------------------------------------------------------------------------------


def write_pairs(feedback: Feedback) -> Exported:
    """Return JSON Lines of preference pairs.

    With a settlement a line has `p` (that chosen is the better one), `margin` (difference of the two values, in prior
    standard deviations) and `weight` 1 − 2·min(p, 1 − p). Ties and "both bad" are left out and counted.
    """
    judgments, lost = newest(feedback.judgments)
    comparisons = [one for one in judgments if isinstance(one, Comparison)]
    texts = texts_of(feedback)
    if feedback.settlement is None:
        lost += Counter(f"{NAMES[type(one)]}s" for one in judgments if not isinstance(one, Comparison))
        found = [_said(one, texts) for one in comparisons]
    else:
        settled, source = _settled(feedback.settlement, comparisons, texts), source_of(feedback)
        found = [({**columns, **source} if columns else columns, missing) for columns, missing in settled]
    lost += sum((missing for _, missing in found), Counter())
    return exported("".join(f"{line(columns)}\n" for columns, _ in found if columns), lost)


Line = tuple[Mapping[str, object], Counter[str]]
Texts = Mapping[str, tuple[Prompt, Response]]


def _said(one: Comparison, texts: Texts) -> Line:
    """Return the line of a comparison and what it does not hold."""
    if one.choice == 0:
        return {}, Counter({"both_bad" if one.both_bad else "ties": 1})
    chosen, rejected = (one.left, one.right) if one.choice < 0 else (one.right, one.left)
    columns, lost = beside(one, (*USED, SIDES))
    lost.update({"sides": one.has_sides, "ties_offered": one.ties, "degrees": one.strength > 1})
    lost.subtract({"meta": SIDES in one.meta})
    return _told(chosen, rejected, texts, columns, +lost)


def _settled(settlement: Settlement, comparisons: Sequence[Comparison], texts: Texts) -> list[Line]:
    """Return the line of each pair that the panel prefers one of."""
    values = {(verdict.response, verdict.criterion): verdict.value for verdict in settlement.verdicts}
    votes: dict[tuple[frozenset[str], str], Counter[str]] = {}
    for one in comparisons:
        count = votes.setdefault((frozenset((one.left, one.right)), one.criterion), Counter())
        count.update({"votes": 1, "ties": one.choice == 0, "both_bad": one.both_bad})
    asked = [(frozenset((pair.left, pair.right)), pair.criterion) for pair in settlement.pairs]
    return [_judged(pair, values, votes.get(key), texts) for pair, key in zip(settlement.pairs, asked, strict=True)]


def _judged(
    pair: PairVerdict, values: Mapping[tuple[str, str], float], votes: Counter[str] | None, texts: Texts
) -> Line:
    """Return the line of a pair, or why it has none: most of its votes are ties, or the panel is at one half."""
    undecided = [name for name in ("both_bad", "ties") if votes is not None and 2 * votes[name] > votes["votes"]]
    if undecided or pair.p_left == 0.5:
        return {}, Counter({undecided[0] if undecided else "ties": 1})
    chosen, rejected = (pair.left, pair.right) if pair.p_left > 0.5 else (pair.right, pair.left)
    p = max(pair.p_left, 1 - pair.p_left)
    said: dict[str, object] = {"p": p, "weight": 2 * p - 1}
    better, worse = (values.get((name, pair.criterion)) for name in (chosen, rejected))
    if better is not None and worse is not None:
        said["margin"] = better - worse
    if pair.criterion != OVERALL:
        said["criterion"] = pair.criterion
    return _told(chosen, rejected, texts, said, Counter())


def _told(chosen: str, rejected: str, texts: Texts, columns: Mapping[str, object], lost: Counter[str]) -> Line:
    if chosen not in texts or rejected not in texts:
        return {}, Counter({"without_text": 1})
    (prompt, better), (_, worse) = texts[chosen], texts[rejected]
    return {"prompt": whole_text(prompt), "chosen": better.text, "rejected": worse.text, **columns}, lost
