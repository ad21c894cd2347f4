"""Rows say exactly what was meant: canonical on the way in, strict on the way out."""

from __future__ import annotations

import json
from types import MappingProxyType

import pytest

from expound.errors import StorageError
from expound.records import Prompt, Rater, Text
from expound.store.codec import KINDS, answer_id, decode, decode_answer, encode, encode_answer
from tests.support.log import compare, make_ballot, make_prompt

ROW = {"id": "r1", "name": "Ada", "source": "people", "locale": "", "active": True}


def test_a_payload_is_canonical() -> None:
    assert encode(Rater("r1", "阿达")) == '{"active":true,"id":"r1","locale":"","name":"阿达","source":"people"}'


def test_any_mapping_is_written() -> None:
    prompt = Prompt("p", (Text("question", "Why?"),), meta=MappingProxyType({"b": 1, "a": None}))
    assert json.loads(encode(prompt))["meta"] == {"a": None, "b": 1}


def test_fields_with_defaults_may_be_missing() -> None:
    assert decode("rater", '{"id":"r1","name":"Ada"}', "row 1") == Rater("r1", "Ada")


@pytest.mark.parametrize(
    ("kind", "payload", "sentence"),
    [
        ("rater", "{", "Rater: Invalid JSON"),
        ("rater", "[]", "Rater: Input should be an object"),
        ("rater", '{"id":"r1"}', "name: Field required"),
        ("rater", json.dumps(ROW | {"extra": 1}), "extra: Unexpected keyword argument"),
        ("rater", json.dumps(ROW | {"active": 1}), "active: Input should be a valid boolean"),
        ("rater", json.dumps(ROW | {"source": "martians"}), "source: Input should be 'people'"),
        ("rater", json.dumps(ROW | {"name": None}), "name: Input should be a valid string"),
        ("verdict", "{}", "unknown kind 'verdict'"),
        ("decision", '{"round":1,"outcome":"better","sentence":"a","next_step":"b","x":{}}', "x: Unexpected"),
        ("prompt", '{"id":"p","parts":{}}', "parts: Input should be a valid array"),
        ("prompt", '{"id":"p","parts":[],"meta":[]}', "meta: Input should be an object"),
    ],
)
def test_what_was_never_written_so_is_refused(kind: str, payload: str, sentence: str) -> None:
    with pytest.raises(StorageError, match=sentence) as caught:
        decode(kind, payload, "row 7")
    assert "row 7" in caught.value.what


def test_an_evaluation_keeps_its_pair_a_pair() -> None:
    payload = (
        '{"round":1,"prompts":1,"comparisons":1,"wins":1,"losses":0,"ties":0,"win_rate":1,"interval":[0.1,0.2,0.3],'
        '"length_ratio":1.0,"sources":[]}'
    )
    with pytest.raises(StorageError, match="interval: Tuple should have at most 2"):
        decode("evaluation", payload, "row 7")
    with pytest.raises(StorageError, match=r"interval\.1: Input should be a valid number"):
        decode("evaluation", payload.replace("0.1,0.2,0.3", "0.1,true"), "row 7")


def test_an_answer_s_lines_leave_out_what_the_row_holds() -> None:
    answer = compare(make_ballot(make_prompt()), "r1")
    row = json.loads(encode_answer(answer))
    assert (row["id"], row["rater"], row["object"]) == (answer_id(answer), "r1", answer.ballot)
    (line,) = row["lines"]
    assert line["kind"] == "comparison"
    assert not {"rater", "ballot", "revision"} & line.keys()


def test_a_line_of_an_unknown_kind_is_refused() -> None:
    payload = encode_answer(compare(make_ballot(make_prompt()), "r1")).replace("comparison", "duel")
    with pytest.raises(StorageError, match="unknown kind 'duel'"):
        decode_answer("k", payload, "row 7")


def test_every_kind_of_record_has_its_name() -> None:
    assert len(KINDS) == 10
