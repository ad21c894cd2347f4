"""Files of judgments in and out: settled by themselves, taken into a project, written from one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import get_args

from expound.errors import InputError, JudgmentError, nearest
from expound.feedback.evidence import Graded
from expound.feedback.plain import Beside, Difference, beside, count_plainly
from expound.feedback.verdicts import settle
from expound.files import write_file
from expound.ports import Progress
from expound.project import Project, first
from expound.records import SIDES, Check, Comparison, Judgment, Rater, Settlement, Source
from expound.store.admission import Admission
from expound.tasks.adopted import NAMED, Known, adopt
from expound.tasks.formats import SETTLED, Format, export, format_for, import_file, named
from expound.tasks.imported import FILE, Feedback, Imported, Lost, Reading, has_odds, newest
from expound.tasks.judgments import NAMES, verdict_lines
from expound.tasks.material import read_prompts
from expound.tasks.rows import SUFFIXES, short

MOST_SHOWN, LONGEST_NAME = 5, 60
"""Verdicts unlike plain counting that are listed of each kind, and characters of what they are about."""

FEWEST_ON_ONE_SIDE = 6
ONE_SIDED = (
    "In all {} comparisons the {} response was preferred, which cannot be told from a leaning to that side, and counts "
    "as one. If the file puts the better response there, give pairs (chosen, rejected)."
)

Fields = Mapping[str, str]
FIELDS = tuple(one.name for one in fields(Reading) if one.name != "name")


def is_file_of_judgments(path: Path) -> bool:
    """Say whether a path names a file of judgments, there or not, rather than a folder."""
    return path.is_file() or (path.suffix.lower() in SUFFIXES and not path.is_dir())


def read_file(path: Path, format_: str | None, fields_: Fields | None) -> tuple[Format, Imported]:
    """Return the format of a file and what it gives; `fields_` are as in `settle_file`. Errors: JudgmentError."""
    given = fields_ or {}
    for name in given:
        if name not in FIELDS:
            raise JudgmentError(f"no field is asked for as '{name}'.", nearest(name, FIELDS))
    reading = replace(Reading(path.stem), **given)
    return import_file(path, reading, None if format_ is None else named(format_))


# --- settled ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FileSettlement:
    """What the raters of a file think, beside what plain counting says.

    `left_out` are held-out judgments, which never teach, and what says nothing that could be weighed. `one_sided` are
    how many comparisons all chose the same side, and which: None where both sides were chosen, or too few. `unread` are
    the columns that are kept and not read, where no line names a rater: one of them may.
    """

    format: Format
    judgments: int
    kinds: Mapping[str, int]
    settlement: Settlement
    beside: tuple[Beside, ...]
    left_out: Lost
    one_sided: tuple[int, str] | None
    unread: tuple[str, ...]

    @property
    def aggregation(self) -> str:
        """Return in one sentence how the judgments were weighed."""
        ways = {
            "each rater weighed by how reliable they prove to be": any(name != "check" for name in self.kinds),
            "checks by each rater's own confusions, drawn to those of all": "check" in self.kinds,
        }
        how = "; ".join(way for way, is_used in ways.items() if is_used)
        tempered = " Chances of checks are tempered by left-out votes, and still too sure where raters err alike."
        sure = tempered if "check" in self.kinds else ""
        return f"Aggregation: {how}. The way is fixed, not chosen by left-out judgments.{sure}"

    def __str__(self) -> str:
        """Return all but the raters in words."""
        kinds = ", ".join(f"{count} {name}{'s' if count != 1 else ''}" for name, count in self.kinds.items())
        lines = [f"{kinds}, read as {self.format}."]
        if self.left_out:
            lines.append(f"Left out: {self.left_out.sentence}.")
        lines.append(self.aggregation)
        if len(self.settlement.skills) < 2 and len(self.kinds) - ("check" in self.kinds):
            lines.append("One rater: nothing tells how reliable they are.")
        if self.unread:
            lines.append(
                f"No line has a 'rater', and nothing reads {', '.join(self.unread)}: rename what says who judged."
            )
        if self.one_sided:
            lines.append(ONE_SIDED.format(*self.one_sided))
        for found in self.beside:
            lines += [found.sentence, *_table(found.differences)]
        return "\n".join(lines)


def _table(differences: Sequence[Difference]) -> Iterator[str]:
    shown = [(short(one.about, LONGEST_NAME), one) for one in differences[:MOST_SHOWN]]
    width = max((len(about) for about, _ in shown), default=0)
    yield from (f"  {about:{width}}  {one.settled}, {one.plain}" for about, one in shown)
    if len(differences) > MOST_SHOWN:
        yield f"  and {len(differences) - MOST_SHOWN} more"


def settle_file(
    path: Path, out: Path | None, format_: str | None, fields_: Fields | None, progress: Progress
) -> FileSettlement:
    """Weigh the raters of a file, and write the verdicts into `out`, where that is given.

    Errors: JudgmentError for what is no file of judgments, holds none to weigh, or when `out` is there already;
    DidNotConverge; StorageError.
    """
    _refuse_existing(out)
    progress.say(f"Reading {path}.")
    kind, found = read_file(path, format_, fields_)
    told, lost = newest(found.judgments)
    lost.update(found.lost.counts)
    lost.update(filter(None, map(_unweighed, told)))
    weighed = [one for one in told if isinstance(one, Graded | Check) and not _unweighed(one)]
    if not weighed:
        raise JudgmentError(
            f"{path} holds nothing to weigh{_listed(lost)}.", "Give comparisons, ratings, rankings or checks."
        )
    progress.say(f"Weighing the raters of {len(weighed)} judgments.")
    settlement, plain = settle(weighed, 1), count_plainly(weighed)
    if out is not None:
        write_file(out, "".join(f"{text}\n" for text in verdict_lines(settlement, plain.of)))
    counts = Counter(NAMES[type(one)] for one in weighed)
    odd = _one_sided(weighed), _unread(weighed)
    return FileSettlement(kind, len(weighed), counts, settlement, beside(settlement, plain), _lost(lost), *odd)


def _one_sided(judgments: Sequence[Judgment]) -> tuple[int, str] | None:
    """Return how many comparisons chose the same side, and which, where all did; it takes enough of them to be odd."""
    chosen = [one.choice > 0 for one in judgments if isinstance(one, Comparison) and one.has_sides and one.choice]
    if len(chosen) < FEWEST_ON_ONE_SIDE or len(set(chosen)) > 1:
        return None
    return len(chosen), "right" if chosen[0] else "left"


def _unread(judgments: Sequence[Judgment]) -> tuple[str, ...]:
    """Return the columns that nothing reads, where all judgments are nobody's in particular."""
    if not all(one.rater.startswith(FILE) for one in judgments):
        return ()
    return tuple(sorted({name for one in judgments for name in one.meta} - {SIDES}))


def _unweighed(one: Judgment) -> str:
    """Return why a judgment is not weighed, or an empty string."""
    if one.split != "train":
        return "held-out judgments"
    if has_odds(one):
        return "pairs with odds"
    return "" if isinstance(one, Graded | Check) else f"{NAMES[type(one)]}s"


# --- taken in -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ingested:
    """What a file brought into a project: how many were new of each, and how many were `known` already.

    `held_out` of the judgments are about held-out prompts, and never teach; `left_out` says what has no place here.
    """

    format: Format
    prompts: int
    responses: int
    raters: int
    judgments: int
    held_out: int
    known: int
    left_out: Lost

    def __str__(self) -> str:
        """Return it in words."""
        new = ((self.judgments, "judgment"), (self.responses, "response"), (self.prompts, "prompt"))
        told = ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in (*new, (self.raters, "rater")))
        lines = [f"New, read as {self.format}: {told}."]
        if self.known:
            lines.append(f"Here already: {self.known} of the file's judgments.")
        if self.held_out:
            lines.append(f"Of the new judgments {self.held_out} about held-out prompts: nothing learns from those.")
        if self.left_out:
            lines.append(f"Left out: {self.left_out.sentence}.")
        if self.judgments > self.held_out:
            lines.append(
                "From the first round on, 'settle' and 'fit' read them beside those of the project's own rounds."
            )
        return "\n".join(lines)


def ingest_file(project: Project, path: Path, format_: str | None, fields_: Fields | None) -> Ingested:
    """Take the judgments of a file, with the prompts and responses that they speak of, into a project's book.

    Errors: JudgmentError for what is no file of judgments, or when none of them has a place in the project.
    """
    book = project.book
    project.progress.say(f"Reading {path}.")
    kind, found = read_file(path, format_, fields_)
    files = read_prompts(project.folder, project.settings.project.prompts, book.prompts())
    adopted = adopt(
        found,
        Known(
            prompts=(*book.prompts(), *files),
            responses=book.responses(),
            raters=book.raters(),
            judgments=book.judgments(),
            key=Admission(book).pseudonym_key(),
            takes=_sources(project),
        ),
    )
    if not adopted.answers and not adopted.known:
        raise JudgmentError(
            f"{path} holds no judgment that has a place in {project.folder}{_listed(Counter(adopted.lost.counts))}.",
            "Give judgments of texts that stand in the file, or of responses of this project.",
        )
    prompts, responses, raters = (book.add(one) for one in (adopted.prompts, adopted.responses, adopted.raters))
    project.progress.say(f"Storing {len(adopted.answers)} judgments.")
    book.add(adopted.ballots)
    book.answer(adopted.answers)
    held_out = sum(one.split == "held_out" for one in adopted.ballots)
    return Ingested(kind, prompts, responses, raters, len(adopted.answers), held_out, adopted.known, adopted.lost)


def _sources(project: Project) -> tuple[Source, ...]:
    """Return whose judgments a project may hold: what is simulated is never mixed with others."""
    if "simulated" in project.in_force.panel.kinds:
        return ("simulated",)
    return tuple(one for one in get_args(Source) if one != "simulated")


# --- written ------------------------------------------------------------------------------------------------------


def export_judgments(project: Project, out: Path, format_: str | None, *, names: bool, settled: bool) -> Lost:
    """Write the judgments of a project into a file and return what it could not hold.

    People stand in it under pseudonyms unless `names`; with `settled` it holds what the panel thinks.
    Errors: JudgmentError for a format that cannot be written so, and when the file is there; StorageError.
    """
    _refuse_existing(out)
    kind = format_for(out, format_)
    if settled and kind not in SETTLED:
        raise JudgmentError(f"the format {kind} holds what raters said.", f"Verdicts go into {', '.join(SETTLED)}.")
    book = project.book
    judgments = book.judgments("train" if settled else None)
    if not judgments:
        raise JudgmentError(f"{project.folder} holds no judgment yet.", first("run"))
    settlements = book.settlements()
    if settled and not settlements:
        raise InputError(f"{project.folder} is not settled yet.", first("settle"))
    feedback = Feedback(
        prompts=book.prompts(),
        responses=book.responses(),
        judgments=_named(judgments, book.raters()) if names else judgments,
        settlement=settlements[-1] if settled else None,
    )
    written = export(feedback, kind, names=names, key=Admission(book).pseudonym_key())
    write_file(out, written.text)
    return written.lost


def _named(judgments: Sequence[Judgment], raters: Sequence[Rater]) -> list[Judgment]:
    """Return the judgments under the names by which the owner knows their people."""
    names = {
        rater.id: rater.id.removeprefix(NAMED) if rater.id.startswith(NAMED) else rater.name
        for rater in raters
        if rater.source == "people"
    }
    return [replace(one, rater=names.get(one.rater, one.rater)) for one in judgments]


# --- all ----------------------------------------------------------------------------------------------------------


def _refuse_existing(out: Path | None) -> None:
    if out is not None and out.exists():
        raise JudgmentError(f"{out} is there already.", "Name a file that does not exist yet.")


def _lost(counts: Counter[str]) -> Lost:
    return Lost({name: number for name, number in counts.items() if number})


def _listed(counts: Counter[str]) -> str:
    return f" ({_lost(counts).sentence})" if _lost(counts) else ""
