"""Check the prompt files of the examples against their rules: one line a fault, then a summary.

Leaves out whether a text is true or well written. Run: PYTHONPATH=src python scripts/check_prompts.py [FILE...]
Without a FILE all examples of the package are checked together.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from expound.errors import PromptError
from expound.panel.order import Spelling, is_ordered
from expound.panel.utility import FACT_WEIGHTS, STOCK, Fact, Facts, gold_utility, is_found, pieces
from expound.text import is_ended, is_function_word, lower_words, names, ngrams, numbers, sentences, stems

EXAMPLES = Path(__file__).resolve().parent.parent / "src" / "expound" / "examples"
KEYS = ["id", "split", "text", "source", "meta"]
META = ["facts", "side", "wrong", "ideal"]
Row = dict[str, object]


@dataclass(frozen=True)
class Entry:
    """One prompt of an example with its facts."""

    example: str
    id: str
    question: str
    source: str
    facts: Facts

    def gold(self, text: str) -> float:
        """Return the gold utility of an answer to this prompt."""
        return gold_utility(text, question=self.question, source=self.source, facts=self.facts)


def load(path: Path) -> Iterator[tuple[str, Row | None]]:
    """Read the rows of a JSON Lines file, each with its place; None for a line that is no object."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        yield f"{path.name}:{number}", row if isinstance(row, dict) else None


def schema_faults(row: Row) -> Iterator[str]:
    """Find wrong keys, kinds and splits."""
    if list(row) != KEYS:
        yield f"keys {list(row)} are not {KEYS}"
    if not all(isinstance(row.get(key), str) for key in KEYS[:4]) or not isinstance(row.get("meta"), dict):
        yield "id, split, text and source must be texts and meta an object"
        return
    meta = row["meta"]
    if isinstance(meta, Mapping) and list(meta) != META:
        yield f"meta keys {list(meta)} are not {META}"
    if row["split"] not in ("train", "held_out"):
        yield f"split {row['split']!r} is neither train nor held_out"


def source_faults(entry: Entry) -> Iterator[str]:
    """Find faults of question and source."""
    count = len(entry.source.split())
    if not 55 <= count <= 65:
        yield f"source has {count} words, not 55 to 65"
    parts = sentences(entry.source)
    if not 4 <= len(parts) <= 6:
        yield f"source has {len(parts)} sentences, not 4 to 6"
    yield from question_faults(entry)
    spelling = Spelling.of(entry.source, entry.question)
    yield from (f"the utility takes this for shuffled: {part!r}" for part in parts if not is_ordered(part, spelling))


def question_faults(entry: Entry) -> Iterator[str]:
    """Find a question that is not of its example's kind: for `answer` one that asks why."""
    if entry.example == "answer" and not (entry.question.startswith("Why ") and entry.question.endswith("?")):
        yield "text is no why-question"
    if not is_ended(entry.question) or entry.question[0].islower():
        yield "text has no capital or no stop"


def _holds(fact: Fact, text: str, asked: Sequence[str] = ()) -> bool:
    return any(is_found(fact, pieces(one), asked) for one in sentences(text))


def _spread(fact: Fact, text: str, asked: Sequence[str]) -> bool:
    """Say whether neighbouring sentences of a text, two at most, hold the fact together."""
    parts = sentences(text)
    return any(is_found(fact, pieces(" ".join(parts[i : i + 2])), asked) for i in range(len(parts)))


def fact_faults(entry: Entry) -> Iterator[str]:
    """Find facts that are missing or too broad."""
    asked = pieces(entry.question)
    for name, fact in zip(FACT_WEIGHTS, (told for told, _ in entry.facts.weighted()), strict=True):
        if not 2 <= len(fact) <= 3:
            yield f"{name} has {len(fact)} groups, not 2 or 3"
        if not _holds(fact, entry.facts.ideal, asked):
            yield f"{name} is not found in one sentence of the ideal"
        if not _spread(fact, entry.source, asked):
            yield f"{name} is not found in the source (two neighbouring sentences at most)"
        if _holds(fact, entry.question):
            yield f"{name} is found in the question"
        yield from member_faults(fact)


def other_faults(entry: Entry) -> Iterator[str]:
    """Find faults of side facts and wrong wordings."""
    ideal, source = sentences(entry.facts.ideal), sentences(entry.source)
    if not entry.facts.side:
        yield "no side fact"
    if not 2 <= len(entry.facts.wrong) <= 4:
        yield f"{len(entry.facts.wrong)} wrong wordings, not 2 to 4"
    for side in entry.facts.side:
        yield from member_faults(side)
        if _holds(side, entry.facts.ideal):
            yield f"side fact {side} is found in the ideal"
        if not _holds(side, entry.source):
            yield f"side fact {side} is not found in a sentence of the source"
    for wrong in entry.facts.wrong:
        yield from member_faults(wrong)
        yield from (f"wrong {wrong} is found in {one!r}" for one in (*ideal, *source) if is_found(wrong, pieces(one)))


def member_faults(fact: Fact) -> Iterator[str]:
    """Find word starts that match too much."""
    for member in (member for group in fact for member in group):
        if len(member) < 2 and not member.isdigit():
            yield f"word start {member!r} is too short"
        if " " in member or not member.replace("-", "").replace("'", "").replace(".", "").isalnum():
            yield f"word start {member!r} is no single word"
    if all(member in STOCK or is_function_word(member) for group in fact for member in group):
        yield f"{fact} holds only small words"


def _words_starting(fact: Fact, asked: Sequence[str]) -> Iterator[str]:
    for group in fact:
        if all(any(word.startswith(member) for word in asked) for member in group):
            yield f"group {'|'.join(group)} stands wholly in the question"


def ideal_faults(entry: Entry) -> Iterator[str]:
    """Find faults of the ideal answer."""
    ideal, source, both = entry.facts.ideal, entry.source, f"{entry.source} {entry.question}"
    parts, count = sentences(ideal), len(ideal.split())
    if len(parts) != 2:
        yield f"ideal has {len(parts)} sentences, not 2"
    if not 18 <= count <= 45:
        yield f"ideal has {count} words, not 18 to 45"
    for part in parts:
        if not 5 <= len(part.split()) <= 45 or not part[0].isupper() or not is_ended(part):
            yield f"not a sentence of 5 to 45 words with capital and full stop: {part!r}"
    known = set(ngrams(lower_words(source), 8))
    yield from (f"ideal copies: {' '.join(gram)!r}" for gram in ngrams(lower_words(ideal), 8) if gram in known)
    told, there = stems(ideal), set(stems(both))
    share = sum(one in there for one in told) / len(told)
    if share < 0.75:
        missing = sorted({one for one in told if one not in there})
        yield f"only {share:.0%} of the ideal's content words stand in source or question; missing {missing}"
    spelling = Spelling.of(entry.source, entry.question)
    yield from (f"the utility takes this for shuffled: {part!r}" for part in parts if not is_ordered(part, spelling))
    strange = (numbers(ideal) - numbers(both) - {"1"}) | {
        n for n in names(ideal) if not set(pieces(n)) <= set(pieces(both))
    }
    if strange:
        yield f"ideal has numbers or names the source lacks: {sorted(strange)}"
    yield from _words_starting(entry.facts.reason, pieces(entry.question))


def value_faults(entry: Entry) -> Iterator[str]:
    """Find answers whose gold utility is out of its band."""
    ideal, first = entry.gold(entry.facts.ideal), entry.gold(sentences(entry.facts.ideal)[0])
    if ideal <= 0.7:
        yield f"ideal scores {ideal:.2f}, not above .70"
    if first < 0.4:
        yield f"first sentence of the ideal scores {first:.2f}, below .40 (does it hold the whole reason?)"
    parts = sentences(entry.source)
    poor = {"question echoed": entry.question.replace("?", "."), "whole source": entry.source, "empty": ""}
    poor |= {f"source sentences {n}-{n + 1}": " ".join(parts[n - 1 : n + 1]) for n in range(1, len(parts))}
    for place, side in enumerate(entry.facts.side):
        holding = [one for one in parts if is_found(side, pieces(one))]
        poor |= {f"side fact {place + 1} as cause": f"This is because {one[:1].lower() + one[1:]}" for one in holding}
    for name, text in poor.items():
        value = entry.gold(text)
        if value >= min(0.15, first):
            yield f"{name} scores {value:.2f}, not below .15"


def entry_faults(entry: Entry) -> Iterator[str]:
    """Find all faults of one prompt."""
    yield from source_faults(entry)
    yield from fact_faults(entry)
    yield from other_faults(entry)
    yield from ideal_faults(entry)
    yield from value_faults(entry)


def shared_runs(entries: Sequence[Entry]) -> Iterator[str]:
    """Find runs of six words that two sources share, whatever their examples, and ids used twice in an example."""
    runs = [(entry, set(ngrams(lower_words(entry.source), 6))) for entry in entries]
    for (one, here), (two, there) in combinations(runs, 2):
        if (one.example, one.id) == (two.example, two.id):
            yield f"{one.id}: id used twice"
        yield from (f"{one.id}, {two.id}: sources share {' '.join(gram)!r}" for gram in sorted(here & there)[:1])


def check(paths: Sequence[Path]) -> tuple[list[str], list[Entry]]:
    """Check files together and return the faults, one line each, and the readable prompts."""
    faults: list[str] = []
    entries: list[Entry] = []
    for example, place, row in ((_example(path), *item) for path in paths for item in load(path)):
        if row is None:
            faults.append(f"{place}: no JSON object")
            continue
        wrong = list(schema_faults(row))
        faults += [f"{place} {row.get('id')}: {fault}" for fault in wrong]
        meta = row.get("meta")
        if not isinstance(meta, dict):
            continue
        try:
            facts = Facts.parse(meta, str(row.get("id")))
        except PromptError as error:
            faults.append(f"{place}: {error}")
            continue
        entries.append(Entry(example, str(row.get("id")), str(row.get("text")), str(row.get("source")), facts))
        faults += [f"{place} {entries[-1].id}: {fault}" for fault in entry_faults(entries[-1])]
    return faults + list(shared_runs(entries)), entries


def _example(path: Path) -> str:
    """Return the example to which a file belongs: EXAMPLE/prompts/FILE."""
    return path.resolve().parent.parent.name


def main(arguments: Sequence[str]) -> int:
    """Print the faults and a summary; 1 where there is a fault."""
    paths = [Path(argument) for argument in arguments] or sorted(EXAMPLES.glob("*/prompts/*.jsonl"))
    faults, entries = check(paths)
    for fault in faults:
        sys.stdout.write(fault + "\n")
    for entry in entries:
        first = entry.gold(sentences(entry.facts.ideal)[0])
        sys.stdout.write(f"{entry.id:28} ideal {entry.gold(entry.facts.ideal):.2f}  first sentence {first:.2f}\n")
    sys.stdout.write(f"{len(entries)} prompts, {len(faults)} faults\n")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
