"""Scorers, on cases whose answers their reference implementations give."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantroll.api.spec import ScorerName, Scoring
from quantroll_jobs import scorers
from quantroll_jobs.datafiles import DataError, Item
from quantroll_jobs.scorers import ScoringError, make

OF_ITEMS = [name for name in ScorerName if name is not ScorerName.LM_EVAL]


def item(expected="x", choices=()):
    return Item("i", "?", (), expected, 7, choices=tuple(choices))


def score(name, answer, expected="x", choices=(), **scoring):
    return make(ScorerName(name), Scoring.model_validate(scoring)).score(answer, item(expected, choices))


def refused(name, *, match, expected="x", choices=()):
    with pytest.raises(DataError, match=match):
        make(ScorerName(name), None).check(item(expected, choices))


@pytest.mark.parametrize(
    ("answer", "right"), [("yes", 1), (" yes\n", 1), ("Yes", 0), ("yes.", 0), ("ye s", 0), ("", 0)]
)
def test_exact_match(answer, right):
    assert score("ExactMatch", answer, "yes ") == right


# SQuAD 2.0's evaluation script: compute_f1
SQUAD = [
    ("Denver Broncos", "Denver Broncos", 1.0),
    ("the Denver Broncos!", "Denver  broncos", 1.0),  # articles, case, punctuation, white space
    ("The quick brown fox", "a quick fox", 0.8),
    ("cat", "dog", 0.0),
    ("cat cat", "cat", 2 / 3),  # a word counts as often as both have it
    ("in the year 1976, of course", "1976", 1 / 3),
    ("don't", "dont", 1.0),
    ("the", "a", 1.0),  # nothing is left of either
    ("the", "cat", 0.0),
    ("", "cat", 0.0),
    ("theory", "ory", 0.0),  # articles are words of their own
    ("Ä-b", "äb", 1.0),
]


@pytest.mark.parametrize(("answer", "expected", "f1"), SQUAD)
def test_f1_is_that_of_squad(answer, expected, f1):
    assert score("F1", answer, expected) == pytest.approx(f1, abs=1e-12)


def test_only_f1_is_graded_by_itself():
    settings = Scoring.model_validate({"regex": {"pattern": "x"}, "jsonSchema": {"schema": "{}"}})
    assert [name for name in OF_ITEMS if make(name, settings).graded] == [ScorerName.F1]
    assert [scorers.is_right(value) for value in (0, 0.49, 0.5, 1)] == [False, False, True, True]


# what lm-eval's gsm8k takes out of an answer (the last number: flexible-extract), and a few that it leaves open
@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("18", "18"),
        ("Janet sells 16 - 3 - 4 = 9 eggs. She makes 9 * 2 = $18.\n#### 18", "18"),
        ("It costs $1,234.50.", "1234.5"),
        ("-3", "-3"),
        ("\N{MINUS SIGN}3 degrees", "-3"),
        ("x=-3", "-3"),
        ("+3", "3"),
        ("7-3", "3"),
        ("COVID-19", "19"),
        ("(1)-2", "2"),
        ("6.02e23", "6.02e23"),
        (".5", "0.5"),
        ("a.5", "0.5"),
        ("12.", "12"),
        ("1,2,3", "3"),
        ("1,234,56", "56"),
        ("1.2.3", "1.2"),
        ("0007", "7"),
        ("50%", "50"),
        ("5,", "5"),
    ],
)
def test_the_last_number_of_an_answer(answer, number):
    assert score("NumericTolerance", answer, number) == 1
    assert score("NumericTolerance", answer, f"{2 * float(number) + 1}") == 0


@pytest.mark.parametrize("answer", ["", "no number", "12 or 13", "1e999999", f"{'9' * 40}e999999", "9" * 9999])
def test_no_such_number(answer):
    assert score("NumericTolerance", answer, "12") == 0


@pytest.mark.parametrize(
    ("answer", "tolerance", "right"),
    [
        ("1.1", {"absolute": 0.1}, 1),  # as decimals; in binary it is farther away
        ("1.11", {"absolute": 0.1}, 0),
        ("101", {"relative": 0.01}, 0),
        ("1.01", {"relative": 0.01}, 1),
        ("1.05", {"absolute": 0.1, "relative": 0.001}, 1),  # the wider of the two
        ("0.9", {"absolute": 0.05, "relative": 0.1}, 1),
    ],
)
def test_tolerance(answer, tolerance, right):
    assert score("NumericTolerance", answer, "1", numericTolerance=tolerance) == right


SMALL = st.integers(-1000, 1000)


@given(SMALL, SMALL, st.integers(0, 500), st.integers(0, 64))
def test_tolerance_is_that_of_pytest(said, wanted, absolute, relative):
    tolerance = {"absolute": absolute, "relative": relative / 64}
    approximately = pytest.approx(wanted, abs=absolute, rel=relative / 64)
    assert score("NumericTolerance", f"so {said}", str(wanted), numericTolerance=tolerance) == (said == approximately)


@pytest.mark.parametrize("expected", ["none", "1 or 2"])
def test_an_expected_text_without_one_number(expected):
    refused("NumericTolerance", expected=expected, match="line 7: expected must hold one number")


GSM8K = r"#### (\-?[0-9\.\,]+)"


# lm-eval's RegexFilter with group_select 0: the first match, of it the first group that is not empty
@pytest.mark.parametrize(
    ("pattern", "answer", "expected", "right"),
    [
        (GSM8K, "so\n#### 18", "18", 1),
        (GSM8K, "so 18", "18", 0),
        (GSM8K, "#### 17\n#### 18", "18", 0),
        (GSM8K, "#### 17\n#### 18", " 17 ", 1),
        (r"[a-z]+\d", "... ab1 cd2", "ab1", 1),
        (r"(?:A: (\w+))|(?:B: (\w+))", "B: yes", "yes", 1),
        (r"answer is (.*)\.", "The answer is  no .", "no", 1),
        (r"(?i)ANSWER: (x)", "answer: X", "X", 1),
        (r"x*", "aaa", "x", 0),
    ],
)
def test_regex(pattern, answer, expected, right):
    assert score("Regex", answer, expected, regex={"pattern": pattern}) == right


@pytest.mark.parametrize("pattern", ["(", r"(?=x)", r"\1"])
def test_a_pattern_that_is_none_is_named(pattern, capfd):
    with pytest.raises(ScoringError, match=r"qualityGate\.scoring\.regex\.pattern: "):
        make(ScorerName.REGEX, Scoring.model_validate({"regex": {"pattern": pattern}}))
    assert capfd.readouterr().err == ""


def test_no_answer_holds_a_pattern_up():
    """Python's own engine takes exponential time for this one."""
    started = time.process_time()
    assert score("Regex", "a" * 5000, regex={"pattern": "^(a|aa)+$|b"}) == 0
    schema = '{"type": "string", "pattern": "^(a|aa)+$"}'
    assert score("JSONSchema", '"' + "a" * 5000 + '!"', jsonSchema={"schema": schema}) == 0
    settings = Scoring.model_validate({"regex": {"pattern": "(a|aa)+b"}, "jsonSchema": {"schema": schema}})
    for answer in (f"```\n{chr(10) * 200_000}", "1," * 100_000, "1" * 200_000, "answer " * 30_000, "[" * 100_000):
        for name in OF_ITEMS:
            assert make(name, settings).score(answer, item("7", ["7", "8"])) == 0
    assert time.process_time() - started < 5


ORDER = """{"type": "object", "required": ["id"], "additionalProperties": false,
            "properties": {"id": {"type": "integer"}, "tag": {"$ref": "#/$defs/tag"}},
            "$defs": {"tag": {"type": "string", "pattern": "^a+$", "minLength": 2}}}"""


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ('{"id": 1}', 1),
        (' {"id": 1.0, "tag": "aaa"}\n', 1),  # 1.0 is an integer since draft 6
        ('{"id": 1, "tag": "aab"}', 0),
        ('{"id": 1, "tag": "a"}', 0),
        ('{"id": true}', 0),
        ('{"id": 1, "more": 1}', 0),
        ("{}", 0),
        ("[]", 0),
        ("1", 0),
        ('Here it is: {"id": 1}', 0),
        ('```json\n{"id": 1}\n```', 1),
        ('```\n{"id": 1}\n```', 1),
        ('```json\n{"id": 1}', 0),
        ('{"id": NaN}', 0),
        ("", 0),
        ("[" * 100_000, 0),
    ],
)
def test_json_schema(answer, right):
    assert score("JSONSchema", answer, jsonSchema={"schema": ORDER}) == right


# of the JSON Schema test suite, draft 2020-12
@pytest.mark.parametrize(
    ("schema", "instance", "valid"),
    [
        ('{"const": 1}', "1.0", 1),
        ('{"const": false}', "0", 0),
        ('{"maxLength": 2}', '"\U0001f4a9\U0001f4a9"', 1),
        ('{"pattern": "a+"}', '"xxaayy"', 1),
        ('{"pattern": "^a*$"}', "true", 1),
        ('{"multipleOf": 0.01}', "0.0075", 0),
        ('{"uniqueItems": true}', "[1, true]", 1),
        ('{"type": "integer", "multipleOf": 0.123456789}', "1e308", 0),
        ('{"multipleOf": 0.5}', "1e400", 0),
        ('{"enum": [[false]]}', "[0]", 0),
        ("false", "{}", 0),
        ('{"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": true}', "1", 0),
    ],
)
def test_json_schema_as_its_test_suite(schema, instance, valid):
    assert score("JSONSchema", instance, jsonSchema={"schema": schema}) == valid


def test_a_schema_that_refers_to_itself_without_end():
    assert score("JSONSchema", "{}", jsonSchema={"schema": '{"$ref": "#"}'}) == 0


@pytest.mark.parametrize(
    ("schema", "cause"),
    [
        ("{]", "not JSON"),
        ('{"type": "text"}', "'text' is not valid under any of the given schemas"),
        ('{"pattern": "(?=x)"}', "invalid perl operator"),
        ('{"patternProperties": {}}', "patternProperties is not supported"),
        ('{"$ref": "https://example.com/a.json"}', "is outside of the schema"),
        ('{"$ref": "#/$defs/none"}', "nothing is at"),
    ],
)
def test_a_schema_that_is_none_is_named(schema, cause):
    with pytest.raises(ScoringError, match=rf"(?s)qualityGate\.scoring\.jsonSchema\.schema: .*{cause}"):
        make(ScorerName.JSON_SCHEMA, Scoring.model_validate({"jsonSchema": {"schema": schema}}))


@pytest.mark.parametrize("name", [ScorerName.REGEX, ScorerName.JSON_SCHEMA])
def test_settings_that_are_missing(name):
    with pytest.raises(ScoringError, match="needs a"):
        make(name)


CAPITALS = ["Berlin", "New Rome", "Rome", "a town"]


# the forms that simple-evals' "Answer: X" and lm-eval's multi_choice_regex understand
@pytest.mark.parametrize(
    "answer",
    [
        "C", "c", "(C)", "C.", "c)", "**C**", "C) Rome", "(C) Rome", "C: Rome", "C. It was the capital.", "rome.",
        "Rome", '"Rome"', "Answer: C", "answer:c", "The answer is C.", "The answer is (C).", "The right answer is: C",
        "The answer: Rome",
        "A is wrong. Answer: B? No.\nAnswer: C", "Let me think.\n\nAnswer: **C**", "C\n\nBecause it was.",
        "ANSWER: $C$",
    ],
)  # fmt: skip
def test_the_choice_that_an_answer_names(answer):
    assert score("MultipleChoice", answer, "C", CAPITALS) == 1
    assert score("MultipleChoice", answer, " rome", CAPITALS) == 1
    assert score("MultipleChoice", answer, "A", CAPITALS) == 0


@pytest.mark.parametrize(
    "answer", ["", "E", "Berlin or Rome", "It is new rome", "The answer is a city", "I do not know", "Romeo", "C++"]
)
def test_answers_that_do_not_name_it(answer):
    assert score("MultipleChoice", answer, "C", CAPITALS) == 0


@pytest.mark.parametrize("answer", ["a town", "A town.", "The answer is a town", "D", "I would say a town, yes"])
def test_a_choice_that_begins_like_a_letter(answer):
    assert score("MultipleChoice", answer, "D", CAPITALS) == 1


def test_numbers_as_choices_keep_their_sign():
    assert score("MultipleChoice", "-5", "-5", ["5", "-5"]) == 1
    assert score("MultipleChoice", "5", "-5", ["5", "-5"]) == 0


@pytest.mark.parametrize(
    ("expected", "choices", "match"),
    [
        ("A", (), "line 7: MultipleChoice needs choices, a list of 2 to 26 texts"),
        ("A", ["x"] * 27, "a list of 2 to 26"),
        ("A", ["x", "X."], "two choices are the same"),
        ("A", ["x", "?"], "has neither letters nor digits"),
        ("C", ["x", "y"], "neither one of the choices nor the letter"),
        ("z", ["x", "y"], "neither one of the choices nor the letter"),
    ],
)
def test_items_that_are_no_choice(expected, choices, match):
    refused("MultipleChoice", expected=expected, choices=choices, match=match)


# patterns on which RE2 and Python's engine have to agree, on ASCII text
SAFE = [
    r"(\d+)", r"answer is (\w+)", r"(?i)ANSWER: *([a-d])", r"[-+]?\d+(?:\.\d+)?", r"^(yes|no)\b", r"(a|ab)(c|bcd)?",
    r"x*?y", r"(?:foo|(bar))+", r"[^,]*,\s*(\S+)", r"(?s)<(.*?)>", r"(b*)(a)",
]  # fmt: skip


@given(
    st.sampled_from(SAFE), st.text("abcdxy01.,-+: <>\nfooANSWERisyes", max_size=40), st.text("abcd01 yes", max_size=4)
)
def test_a_regex_finds_what_pythons_engine_finds(pattern, answer, expected):
    found = re.search(pattern, answer, re.ASCII)
    text = None if found is None else next((group for group in found.groups() if group), found.group())
    reference = float(text is not None and text.strip() == expected.strip())
    assert score("Regex", answer, expected, regex={"pattern": pattern}) == reference
    if text is not None:
        assert score("Regex", answer, text, regex={"pattern": pattern}) == 1


def test_lm_eval_judges_no_single_item():
    with pytest.raises(scorers.ScoringError, match="LMEval judges whole tasks"):
        make(ScorerName.LM_EVAL)


@given(st.text(max_size=60))
def test_no_text_is_an_error(answer):
    settings = Scoring.model_validate({"regex": {"pattern": "(.)"}, "jsonSchema": {"schema": ORDER}})
    for name in OF_ITEMS:
        assert 0 <= make(name, settings).score(answer, item("1", ["1", "2"])) <= 1
