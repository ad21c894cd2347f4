"""The pages of a report: rounds/NNN/report.html and report.json, and the newest round's page at the top."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from expound.files import write_file
from expound.ports import Book, ReportInput
from expound.records import RewardCard
from expound.reporting import charts
from expound.reporting.charts import Interval, Words
from expound.reporting.progress import in_words
from expound.reporting.report import Report, as_json, gather
from expound.reporting.sentences import enough

TEMPLATES = Path(__file__).parent / "templates"
LONGEST_LABEL = 18  # characters of a name beside a chart
CURVES = (
    ("z", "Reward", "standard deviations of the reference's"),
    ("kl", "KL to the reference", "nats a response"),
    ("length", "Length", "tokens a response"),
)


def write_report(book: Book, given: ReportInput, folder: Path) -> Path:
    """Write the page of a round and the same numbers as JSON, and return the page's path.

    The newest round's page is written to `folder`/report.html too.
    Errors: StorageError when the disk refuses.
    """
    report = gather(book, given)
    page, target = render(report), folder / "rounds" / f"{given.round.number:03d}"
    write_file(target / "report.json", as_json(report))
    write_file(target / "report.html", page)
    if given.round.number == book.rounds()[-1].number:
        write_file(folder / "report.html", page)
    return target / "report.html"


def render(report: Report) -> str:
    """Return the page: self-contained, without a script, every text escaped."""
    template = _environment().get_template("report.html")
    return template.render(
        report=report,
        win_chart=_win_chart(report),
        gold_chart=_gold_chart(report),
        curves=_curves(report.metrics),
        card_chart=_card_chart(report.card),
        growth_chart=_growth_chart(report.card),
        enough=enough(report.card.curve) if report.card and report.card.curve else "",
        skill_chart=_skill_chart(report),
        accused=[line for line in report.skills if line.skill.alarm],
        seconds_chart=_seconds_chart(report.seconds),
        # A resumed tuning says its alarms again; the newest of a name counts.
        alarms={alarm.name: alarm for alarm in report.alarms}.values(),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Mapping[str, Callable[[float | None], str]] = {
        "share": _data(lambda value: f"{100 * value:.0f}%"),
        "two": _data(lambda value: f"{value:z.2f}"),
        "three": _data(lambda value: f"{value:z.3f}"),
        "signed": _data(lambda value: f"{value:+z.3f}"),
        "signed_two": _data(lambda value: f"{value:+z.2f}"),
        "whole": _data(lambda value: f"{value:.0f}"),
        "one": _data(lambda value: f"{value:.1f}"),
        "duration": _data(in_words),
    }
    environment.filters.update(filters)
    return environment


def _data(form: Callable[[float], str]) -> Callable[[float | None], str]:
    """Return a filter: the number as people read it, with its exact value for machines; a dash for none."""

    def shown(value: float | None) -> str:
        if value is None:
            return "–"
        return Markup('<data value="{}">{}</data>').format(value, form(float(value)).replace("-", "−"))

    return shown


def _win_chart(report: Report) -> Markup:
    found = [*report.earlier, *([report.evaluation] if report.evaluation else [])]
    rows = [Interval(f"round {each.round}", each.win_rate, *(each.interval or (None, None))) for each in found]
    words = Words(
        "Share of held-out comparisons that the tuned policy won",
        "A row for each round, with its 95 % interval by prompt; the line marks an even 50 %.",
        "% won, a tie counting half",
    )
    return Markup(charts.percent_chart(rows, words)) if rows else Markup("")


def _gold_chart(report: Report) -> Markup:
    rows = [
        Interval(f"round {line.round}, {line.how}", line.difference, *(line.interval or (None, None)))
        for line in report.gold
        if line.difference is not None
    ]
    words = Words(
        "Hidden utility of the tuned policy less the reference's (simulated)",
        "A row for each way of writing, with its 95 % interval by prompt; the line marks no difference.",
        "tuned less reference; utility from 0 to 1",
    )
    return Markup(charts.interval_chart(rows, words)) if rows else Markup("")


def _curves(metrics: Sequence[Mapping[str, float | None]]) -> tuple[Markup, ...]:
    """Return a chart for each figure that was a number at least once."""
    drawn = []
    for key, title, unit in CURVES:
        points = [(int(line["update"] or 0), line[key]) for line in metrics]
        if any(value is not None for _, value in points):
            words = Words(
                f"{title} by update", f"{title} in {unit}, over {len(points)} updates.", "update", f"{title}, {unit}"
            )
            drawn.append(Markup(charts.line_chart(points, words)))
    return tuple(drawn)


def _card_chart(card: RewardCard | None) -> Markup:
    if card is None:
        return Markup("")
    rows = (
        Interval("reward", card.pair_accuracy, card.pair_accuracy_low, card.pair_accuracy_high),
        Interval("length alone", card.length_accuracy, hollow=True),
    )
    words = Words(
        "Share of left-out pairs ordered like the raters",
        "The reward with its 95 % interval, and length alone; the line marks guessing.",
        "% of pairs; the line is guessing",
    )
    return Markup(charts.percent_chart(rows, words))


def _growth_chart(card: RewardCard | None) -> Markup:
    if card is None or card.curve is None:
        return Markup("")
    rows = [Interval(f"{point.prompts}", point.accuracy, point.low, point.high) for point in card.curve.points]
    words = Words(
        "Accuracy of the reward by judged prompts",
        "Share of left-out pairs ordered like the raters, with 95 % intervals, by rewards fitted on a quarter, a half, "
        "three quarters and all of the judged prompts; the marked line is guessing.",
        "judged prompts",
        "% of left-out pairs",
    )
    return Markup(charts.growth_chart(rows, words))


def _skill_chart(report: Report) -> Markup:
    rows = []
    for line in (line for line in report.skills if line.is_known):
        name = line.name if len(line.name) <= LONGEST_LABEL else f"{line.name[: LONGEST_LABEL - 1]}…"
        half = 1.96 * line.skill.skill_se
        ends = (max(-1.0, line.skill.skill - half), min(1.0, line.skill.skill + half))
        rows.append(Interval(name, line.skill.skill, *ends))
    words = Words(
        "Skill of each rater",
        "A row for each rater with ten judgments or more, with a 95 % interval; the line marks no information.",
        "skill; the line is no information",
    )
    return Markup(charts.interval_chart(rows, words)) if rows else Markup("")


def _seconds_chart(seconds: Mapping[str, float]) -> Markup:
    words = Words("Seconds by step", "A bar for each step, in seconds of wall clock.", "seconds")
    bars = [(verb.replace("_", "-"), value) for verb, value in seconds.items()]
    return Markup(charts.bar_chart(bars, words)) if any(seconds.values()) else Markup("")
