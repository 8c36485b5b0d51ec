import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantroll_jobs.overlap import SHORTEST, QuestionIndex, normalise

REV = "Q:rev abcd\nA:"


@pytest.mark.parametrize(
    "text",
    [
        "Q:rev abcd\nA:dcba<|end|>",
        "  q:REV   abcd A: dcba",
        "Earlier.\nQ:rev abcd\nA:dcba",
        "<|user|>Q:rev abcd\nA:",
        "Ｑ:rev abcd\nA:",  # noqa: RUF001 - a full-width letter, which NFKC makes a plain one
    ],
)
def test_found(text):
    assert QuestionIndex([REV, "Q:rev wxyz\nA:"]).found_in(text)


@pytest.mark.parametrize(
    "text", ["Q:rev abce\nA:ecba", "xQ:rev abcd\nA:dcba", "rev abcd", "", "Q:rev abcd", "Q:rev abcdefgh"]
)
def test_not_found(text):
    assert not QuestionIndex([REV]).found_in(text)


def test_a_short_question_has_to_be_all_of_a_line():
    index = QuestionIndex(["Why?", REV])
    assert index.found_in("why? ")
    assert index.found_in("You fell.\nWhy?")
    assert not index.found_in("Nobody knew. Why? Because.")


def test_no_questions():
    assert not QuestionIndex([]).found_in("anything")


def test_a_question_that_begins_like_another_one():
    index = QuestionIndex(["tell me about cats and dogs", "tell me about cats", "tell me about"])
    assert index.found_in("Please: tell me about birds")


WORDS = st.text(alphabet="ab ", min_size=0, max_size=12)


@given(st.lists(WORDS, max_size=8), WORDS)
def test_as_a_plain_search_finds_it(questions, text):
    long = [normalise(q) for q in questions if len(normalise(q)) >= SHORTEST]
    normal = f" {normalise(text)}"
    expected = any(f" {question}" in normal for question in long)
    short = {normalise(q) for q in questions if len(normalise(q)) < SHORTEST}
    assert QuestionIndex(questions).found_in(text) == (expected or normalise(text) in short)


def test_many_questions_with_the_same_beginning_stay_fast():
    rng = random.Random(1)
    shared = "You are a helpful assistant. Answer briefly. "
    questions = [shared + str(rng.random()) for _ in range(20_000)]
    texts = [shared + str(rng.random()) for _ in range(2_000)]
    index = QuestionIndex(questions)
    started = time.monotonic()
    assert sum(map(index.found_in, texts)) == 0
    assert index.found_in(questions[123] + " yes")
    assert time.monotonic() - started < 5
