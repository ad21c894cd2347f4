"""Ratings and rankings on the pages: what is shown, what is stored, and what comes back when something is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from expound.panel.people import PeopleQueue
from expound.records import Judgment, Ranking, Rating, Settlement, Skip
from expound.web.app import MAX_FIELDS, build
from tests.support.browsing import Shown, Visitor
from tests.support.site import CRITERIA, FERRY, KILN, RUBRIC, Several, TestSite, make_site, settings_of

NAMES = [criterion.name for criterion in CRITERIA]
POINTS = {f"rate-{place}": str(5 - place) for place in range(len(CRITERIA))}


def rating_site() -> TestSite:
    site = make_site()
    site.ask_points(FERRY)
    return site


def ranking_site(several: Several = KILN) -> TestSite:
    site = make_site()
    site.ask_order(several)
    return site


def shorter(responses: int) -> Several:
    return Several(KILN.question, KILN.source, KILN.texts[:responses])


def visitor(site: TestSite, name: str = "Ana", language: str = "en") -> Visitor:
    return Visitor(site.app, language=language).come_in(site.admission.invite(name))


def judgments(site: TestSite) -> list[Judgment]:
    return list(site.book.judgments())


def points(site: TestSite) -> dict[str, int]:
    return {said.criterion: said.value for said in judgments(site) if isinstance(said, Rating)}


def tiers(site: TestSite, several: Several = KILN) -> list[str]:
    """Return the tiers of the one ranking in letters, as shown: ["B", "AC"]."""
    (said,) = judgments(site)
    assert isinstance(said, Ranking)
    letters = {one: "ABCDE"[place] for place, one in enumerate(site.book.ballots()[0].responses)}
    return ["".join(letters[response] for response in tier) for tier in said.tiers]


def placed(*values: str | int) -> dict[str, str]:
    return {f"place-{number}": str(value) for number, value in enumerate(values)}


# --- ratings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_rating_asks_for_every_criterion_and_says_what_each_point_means(language: str) -> None:
    ana = visitor(rating_site(), language=language)
    shown = ana.get("/rate")
    assert shown.texts == [FERRY.question, FERRY.source, FERRY.left]
    assert shown.checked == {"comment": ""}, "nothing is chosen for the rater"
    for place, criterion in enumerate(CRITERIA):
        (asked,) = re.findall(rf'<fieldset id="q-rate-{place}".*?</fieldset>', ana.page, re.DOTALL)
        assert criterion.question[language] in asked
        labels = re.findall(r'<label class="point">(.*?)</label>', asked)
        for label, point in zip(labels, criterion.points, strict=True):
            assert f'name="rate-{place}" value="{point.value}"' in label
            words = " ".join(re.sub(r"<[^>]+>", "", label).split())
            assert words == f"{point.value} {point.label[language]}: {point.meaning[language]}"


def test_the_points_of_every_criterion_are_stored() -> None:
    site = rating_site()
    (ballot,) = site.book.ballots()
    assert visitor(site).send({**POINTS, "comment": "fine", "seconds": "7.5"}) == "/rate"
    assert points(site) == dict(zip(NAMES, (5, 4, 3, 2), strict=True))
    for said in judgments(site):
        assert isinstance(said, Rating)
        assert (said.response, said.scale, said.seconds) == (ballot.responses[0], (1, 5), 7.5)
        assert (said.ballot, said.prompt, said.split, said.round) == (ballot.id, ballot.prompt, "train", 1)
    assert [said.comment for said in judgments(site)] == ["fine", None, None, None]


def test_only_the_criteria_of_the_ballot_are_asked() -> None:
    site = make_site()
    site.ask_points(FERRY, (CRITERIA[3], CRITERIA[1]))
    ana = visitor(site)
    ana.get("/rate")
    asked = [criterion.name for criterion in CRITERIA if criterion.question["en"] in ana.page]
    assert asked == ["clarity", "overall"], "in the order of the rubric"
    assert ana.send({"rate-0": "2", "rate-1": "4", "rate-2": "5"}) == "/rate"
    assert points(site) == {"clarity": 2, "overall": 4}


@pytest.mark.parametrize(
    ("language", "sentence"), [("en", "Choose a point: Would you rely"), ("zh", "请选择一个分值：你会信赖")]
)
def test_what_is_missing_is_named_and_what_is_there_comes_back(language: str, sentence: str) -> None:
    site = rating_site()
    ana = visitor(site, language=language)
    assert ana.send({"rate-0": "5", "rate-1": "1", "rate-3": "3", "comment": "half done"}) == ""
    assert (ana.status, judgments(site)) == (422, [])
    (summary,) = re.findall(r'<div class="faults" role="alert".*?</div>', ana.page, re.DOTALL)
    assert re.findall(r'href="#([^"]+)">([^<]+)', summary)[0][0] == "q-rate-2"
    assert sentence in summary
    assert summary.count("href") == 1
    assert re.findall(r'<fieldset id="([^"]+)"[^>]* aria-invalid="true"', ana.page) == ["q-rate-2"]
    checked = Shown(ana.page).checked
    assert checked == {"rate-0": "5", "rate-1": "1", "rate-3": "3", "comment": "half done"}


def test_every_missing_criterion_has_its_own_line() -> None:
    ana = visitor(rating_site())
    ana.send({})
    assert re.findall(r'<li><a href="#(q-rate-\d)">', ana.page) == [f"q-rate-{place}" for place in range(4)]


@pytest.mark.parametrize(
    "value", ["", "0", "6", "-1", "1.0", "1e0", " 1", "１", "5" * 5000, "reason", "1\x00", "<b>", "None"]
)
def test_a_point_that_is_not_on_the_scale_is_refused(value: str) -> None:
    site = rating_site()
    ana = visitor(site)
    ana.send({**POINTS, "rate-1": value})
    assert (ana.status, judgments(site)) == (422, [])
    assert 'href="#q-rate-1"' in ana.page
    assert "rate-1" not in Shown(ana.page).checked


def test_a_rating_is_changed_from_what_was_chosen_before() -> None:
    site = rating_site()
    ana = visitor(site)
    where = ana.ballot()
    ana.post(where, {**ana.fields(), "do": "judge", **POINTS, "comment": "first thought"})
    shown = ana.get(where)
    assert shown.checked == {**POINTS, "comment": "first thought"}
    assert "You are changing an answer" in ana.page
    assert ana.post(where, {**ana.fields(), "do": "judge", **POINTS, "rate-3": "1"}) == "/rate"
    assert points(site) == dict(zip(NAMES, (5, 4, 3, 1), strict=True))
    rater = site.book.raters()[0].id
    assert [answer.revision for answer in site.book.answers(rater)] == [1, 0]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_two_tabs_that_rate_differently_end_in_a_page_that_keeps_both(language: str) -> None:
    site = rating_site()
    ana = visitor(site, language=language)
    where = ana.ballot()
    fields = {**ana.fields(), "do": "judge"}
    ana.post(where, {**fields, **POINTS})
    assert ana.post(where, {**fields, **POINTS, "rate-0": "1", "comment": "<later>"}) == ""
    assert ana.status == 409
    question, (first, *_, last) = CRITERIA[0].question[language], CRITERIA[0].points
    texts = Shown(ana.page).texts
    assert texts[0] == f"{question} 5, {last.label[language]}"
    assert texts[4] == f"{question} 1, {first.label[language]}"
    assert texts[-1] == "<later>"
    assert points(site)["reason"] == 5
    assert ana.post(where, {**ana.fields(), "do": "judge"}) == "/rate"
    assert points(site) == dict(zip(NAMES, (1, 4, 3, 2), strict=True))
    assert judgments(site)[0].comment == "<later>"


def test_a_rating_can_be_skipped_and_taken_up_again() -> None:
    site = rating_site()
    ana = visitor(site)
    where = ana.ballot()
    assert ana.send({"reason": "subject", **POINTS}, do="skip") == "/rate"
    assert [type(said) for said in judgments(site)] == [Skip]
    ana.get(where)
    assert ana.post(where, {**ana.fields(), "do": "judge", **POINTS}) == "/rate"
    assert len(points(site)) == 4


def test_a_scale_with_another_range_is_stored_with_it() -> None:
    site = make_site()
    lowered = CRITERIA[1].model_copy(
        update={"points": tuple(p.model_copy(update={"value": p.value - 3}) for p in CRITERIA[1].points)}
    )
    site.ask_points(FERRY, (lowered,))
    rubric = RUBRIC.model_copy(update={"criteria": (lowered,)})
    app = build(site.book, site.queue, site.admission, rubric, settings_of())
    ana = Visitor(app).come_in(site.admission.invite("Ana"))
    ana.get("/rate")
    assert re.findall(r'value="(-?\d)"(?: data-key="(\d)")? required', ana.page) == [
        ("-2", ""),
        ("-1", ""),
        ("0", "0"),
        ("1", "1"),
        ("2", "2"),
    ], "a digit chooses the point that shows it, and no other"
    assert ana.send({"rate-0": "-2"}) == "/rate"
    (said,) = judgments(site)
    assert isinstance(said, Rating)
    assert (said.value, said.scale) == (-2, (-2, 2))


# --- rankings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("responses", [2, 3, 4, 5])
def test_a_ranking_shows_all_texts_in_order_and_a_place_under_each(responses: int) -> None:
    several = shorter(responses)
    ana = visitor(ranking_site(several))
    shown = ana.get("/rate")
    assert shown.texts == [several.question, several.source, *several.texts]
    assert shown.checked == {"comment": ""}, "an untouched ballot is no ranking"
    cards = re.findall(r'<section class="response".*?</section>', ana.page, re.DOTALL)
    for number, card in enumerate(cards):
        assert f"Place of {'ABCDE'[number]}" in card
        offered = re.findall(rf'name="place-{number}" value="([^"]+)"', card)
        assert offered == [*map(str, range(1, responses + 1)), "none"]
    assert len(cards) == responses


@pytest.mark.parametrize("responses", [2, 3, 4, 5])
def test_a_whole_order_is_stored_best_first(responses: int) -> None:
    site = ranking_site(shorter(responses))
    assert visitor(site).send(placed(*range(responses, 0, -1))) == "/rate"
    assert tiers(site) == list("ABCDE"[:responses][::-1])


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ((2, 1, 2, 3, 3), ["B", "AC", "DE"]),
        ((1, 1, 1, 1, 1), ["ABCDE"]),
        ((5, "none", 3, "none", "none"), ["C", "A"]),
        ((4, 4, "", "none", 2), ["E", "AB"]),
        ((1, 5, 3), ["A", "C", "B"]),
    ],
    ids=["ties", "all the same", "partial", "partial with ties", "gaps"],
)
def test_ties_gaps_and_missing_places(places: tuple[int | str, ...], expected: list[str]) -> None:
    site = ranking_site()
    assert visitor(site).send(placed(*places)) == "/rate"
    assert tiers(site) == expected


def test_a_ranking_is_stored_with_its_ballot() -> None:
    site = ranking_site()
    (ballot,) = site.book.ballots()
    visitor(site).send({**placed(1, 2), "comment": "hard", "seconds": "40"})
    (said,) = judgments(site)
    assert (said.ballot, said.prompt, said.split, said.round) == (ballot.id, ballot.prompt, "train", 1)
    assert (said.criterion, said.comment, said.seconds, said.source) == ("overall", "hard", 40.0, "people")


@pytest.mark.parametrize("places", [(), (1,), ("none",) * 5, ("none", 3, "", "none")])
@pytest.mark.parametrize(
    ("language", "sentence"), [("en", "Give at least two explanations a place."), ("zh", "请至少给两个解释排出名次。")]
)
def test_fewer_than_two_placed_is_no_ranking(places: tuple[int | str, ...], language: str, sentence: str) -> None:
    site = ranking_site()
    ana = visitor(site, language=language)
    ana.send({**placed(*places), "comment": "kept"})
    assert (ana.status, judgments(site)) == (422, [])
    assert f'<a href="#q-place-0">{sentence}</a>' in ana.page
    entered = {name: value for name, value in placed(*places).items() if value}
    assert Shown(ana.page).checked == {**entered, "comment": "kept"}


@pytest.mark.parametrize("place", ["0", "6", "-1", "1.5", " 1", "１", "9" * 5000, "first", "None", "1\n", "<b>"])
def test_a_strange_place_is_refused(place: str) -> None:
    site = ranking_site()
    ana = visitor(site)
    ana.send(placed(1, 2, place))
    assert (ana.status, judgments(site)) == (422, [])
    assert '<a href="#q-place-2">Choose one of the places shown.</a>' in ana.page


def test_a_place_beyond_the_number_of_texts_is_strange() -> None:
    site = ranking_site(shorter(2))
    ana = visitor(site)
    ana.send(placed(1, 3))
    assert (ana.status, judgments(site)) == (422, [])


def test_a_ranking_is_changed_from_its_closed_places() -> None:
    site = ranking_site()
    ana = visitor(site)
    where = ana.ballot()
    ana.post(where, {**ana.fields(), "do": "judge", **placed(5, 2, 2)})
    checked = ana.get(where).checked
    assert checked == {**placed(2, 1, 1, "none", "none"), "comment": ""}
    assert ana.post(where, {**ana.fields(), "do": "judge", **placed(1, 1, 1, 2, "none")}) == "/rate"
    assert tiers(site) == ["ABC", "D"]


def test_two_tabs_that_rank_differently_end_in_a_page_that_keeps_both() -> None:
    site = ranking_site()
    ana = visitor(site)
    where = ana.ballot()
    fields = {**ana.fields(), "do": "judge"}
    ana.post(where, {**fields, **placed(2, 1, 2)})
    assert ana.post(where, {**fields, **placed(1, 2)}) == ""
    assert ana.status == 409
    assert Shown(ana.page).texts == ["B › A = C", "A › B"]
    assert ana.post(where, {**ana.fields(), "do": "judge"}) == "/rate"
    assert tiers(site) == ["A", "B"]


def test_the_same_ranking_with_other_gaps_is_the_same_answer() -> None:
    site = ranking_site()
    ana = visitor(site)
    where = ana.ballot()
    fields = {**ana.fields(), "do": "judge"}
    ana.post(where, {**fields, **placed(1, 2)})
    head = site.book.head()
    assert ana.post(where, {**fields, **placed(3, 5)}) == "/rate"
    assert site.book.head() == head


# --- all kinds --------------------------------------------------------------------------------------------------


def test_a_round_of_all_kinds_is_answered_to_its_end() -> None:
    site = make_site(FERRY)
    site.ask_points(FERRY)
    site.ask_order(KILN)
    ana = visitor(site)
    answer: Mapping[str, Mapping[str, str]] = {
        "comparison": {"choice": "b"},
        "rating": POINTS,
        "ranking": placed(1, 2, 3, 4, 5),
    }
    seen = []
    for _ in range(3):
        ana.get("/rate")
        kind = re.findall(r'<body class="ballot (\w+)">', ana.page)[0]
        seen.append(kind)
        assert ana.send(answer[kind]) == "/rate"
    assert sorted(seen) == ["comparison", "ranking", "rating"]
    ana.get("/rate")
    assert "You have judged 3 times in this round" in ana.page
    assert len(judgments(site)) == 1 + len(CRITERIA) + 1


@pytest.mark.parametrize("kind", ["rating", "ranking"])
def test_a_form_with_fields_of_other_questions_is_judged_by_its_own(kind: str) -> None:
    site = rating_site() if kind == "rating" else ranking_site()
    own = POINTS if kind == "rating" else placed(1, 2)
    strange = {"choice": "a", "rate-9": "5", "rate-": "1", "place-9": "1", "place-x": "y", "rate-0.5": "1" * 999}
    assert visitor(site).send({**strange, **own}) == "/rate"
    assert points(site) or tiers(site) == ["A", "B"]


@pytest.mark.parametrize("kind", ["rating", "ranking"])
def test_a_doubled_field_counts_as_its_last(kind: str) -> None:
    """No page of ours sends a name twice; what does is read in one way, never in two."""
    site = rating_site() if kind == "rating" else ranking_site()
    name, own = ("rate-0", POINTS) if kind == "rating" else ("place-0", placed(1, 2))
    ana = visitor(site)
    where = ana.ballot()
    doubled: dict[str, str | list[str]] = {**ana.fields(), "do": "judge", **own, name: ["1", "3"]}
    answer = ana.client.post(where, data=doubled, headers={"Origin": "http://127.0.0.1:8800"})
    assert answer.headers["location"] == "/rate"
    assert points(site)["reason"] == 3 if kind == "rating" else tiers(site) == ["B", "A"]


def test_a_form_with_too_many_fields_is_not_read() -> None:
    site = rating_site()
    ana = visitor(site)
    ana.send({**POINTS, **{f"rate-{number}": "1" for number in range(MAX_FIELDS + 1)}})
    assert (ana.status, judgments(site)) == (400, [])
    assert "This was not understood" in ana.page


def test_markup_in_a_form_comes_back_as_text() -> None:
    site = rating_site()
    ana = visitor(site)
    where = ana.ballot()
    fields = {**ana.fields(), "do": "judge", **POINTS}
    ana.post(where, fields)
    hostile = '"><script>alert(1)</script>'
    ana.post(where, {**fields, "rate-0": "1", f"rate-{hostile}": hostile})
    assert ana.status == 409
    assert "<script>alert" not in ana.page
    assert ana.fields()[f"rate-{hostile}"] == hostile


def test_what_was_entered_is_shown_where_it_can_not_be_stored_any_more() -> None:
    """Once the round is settled, the ballot is closed; what was chosen is not simply gone."""
    site = rating_site()
    ana = visitor(site)
    where = ana.ballot()
    ana.post(where, {**ana.fields(), "do": "judge", **POINTS})
    ana.get(where)
    fields = ana.fields()
    site.book.add(Settlement(1, (), (), (), 1, "h"))
    app = build(site.book, PeopleQueue(site.book, site.admission), site.admission, RUBRIC, settings_of())
    again = ana.moved_to(app)
    again.post(where, {**fields, "do": "judge", **POINTS, "rate-1": "5"})
    assert again.status == 404
    assert Shown(again.page).texts[1] == "How easy is the answer to follow? 5, Very easy"


@pytest.mark.parametrize("kind", ["rating", "ranking"])
def test_nothing_on_a_page_names_policy_split_or_response(kind: str) -> None:
    site = rating_site() if kind == "rating" else ranking_site()
    ana = visitor(site)
    ana.get("/rate")
    for word in ("tuned", "reference", "train", "policy", "reward"):
        assert word not in ana.page, word
    for response in site.book.responses():
        assert response.id not in ana.page


def test_the_guidelines_say_what_the_points_mean_where_there_are_ratings() -> None:
    site = rating_site()
    ana = visitor(site)
    ana.get("/guide")
    for criterion in CRITERIA:
        assert criterion.question["en"] in ana.page
        assert all(point.meaning["en"] in ana.page for point in criterion.points)
    assert "leave an explanation without a place" in ana.page
    settings = settings_of()
    only = settings.model_copy(update={"asking": settings.asking.model_copy(update={"ballots": ("comparison",)})})
    app = build(site.book, site.queue, site.admission, RUBRIC, only)
    again = ana.moved_to(app)
    again.get("/guide")
    assert CRITERIA[0].question["en"] not in again.page
    assert "without a place" not in again.page
