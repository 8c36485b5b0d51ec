import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantroll_jobs.overlap import PASSAGE, SHORTEST, PassageIndex, QuestionIndex, normalise

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
    assert QuestionIndex([REV, "Q:rev wxyz\nA:"]).find(text)


@pytest.mark.parametrize(
    "text", ["Q:rev abce\nA:ecba", "xQ:rev abcd\nA:dcba", "rev abcd", "", "Q:rev abcd", "Q:rev abcdefgh"]
)
def test_not_found(text):
    assert not QuestionIndex([REV]).find(text)


def test_a_short_question_has_to_be_all_of_a_line():
    index = QuestionIndex(["Why?", REV])
    assert index.find("why? ")
    assert index.find("You fell.\nWhy?")
    assert not index.find("Nobody knew. Why? Because.")


def test_no_questions():
    assert not QuestionIndex([]).find("anything")


def test_a_question_that_begins_like_another_one():
    index = QuestionIndex(["tell me about cats and dogs", "tell me about cats", "tell me about"])
    assert index.find("Please: tell me about birds")


WORDS = st.text(alphabet="ab ", min_size=0, max_size=12)


@given(st.lists(WORDS, max_size=8), WORDS)
def test_as_a_plain_search_finds_it(questions, text):
    long = [normalise(q) for q in questions if len(normalise(q)) >= SHORTEST]
    normal = f" {normalise(text)}"
    expected = any(f" {question}" in normal for question in long)
    short = {normalise(q) for q in questions if len(normalise(q)) < SHORTEST}
    assert bool(QuestionIndex(questions).find(text)) == (expected or normalise(text) in short - {""})


def test_many_questions_with_the_same_beginning_stay_fast():
    rng = random.Random(1)
    shared = "You are a helpful assistant. Answer briefly. "
    questions = [shared + str(rng.random()) for _ in range(20_000)]
    texts = [shared + str(rng.random()) for _ in range(2_000)]
    index = QuestionIndex(questions)
    started = time.process_time()
    assert not any(map(index.find, texts))
    assert index.find(questions[123] + " yes")
    assert time.process_time() - started < 5


def test_an_empty_question_is_in_no_text():
    assert QuestionIndex(["", REV]).find("two\n\nlines") is None


TEXT = (
    "Alice was beginning to get very tired of sitting by her sister on the bank and of having nothing to do once or"
    " twice she had peeped into the book her sister was reading"
)
STORY = TEXT.split()


def story(first, last):
    return " ".join(STORY[first:last])


def test_a_passage_of_thirteen_words_is_shared():
    index = PassageIndex([f"Who wrote this? {' '.join(STORY)}", "Something else."])
    assert index.find(f"Once upon a time {story(3, 3 + PASSAGE)} and so on") == story(3, 3 + PASSAGE).lower()
    assert index.find(story(3, 2 + PASSAGE)) is None
    assert index.find(story(0, 12) + " not " + story(12, 24)) is None


def test_case_punctuation_and_white_space_do_not_hide_a_passage():
    index = PassageIndex([story(0, 14)])
    assert index.find(story(0, 14).upper().replace(" ", " -\n")) is not None


def test_a_shared_instruction_is_no_overlap():
    instruction = "You are a careful clerk. Read the ticket below, and answer with one word out of the list: "
    items = [f"{instruction}ticket {n} about {'printers' if n % 2 else 'doors'} number {n * n}" for n in range(100)]
    index = PassageIndex(items)
    assert index.find(f"{instruction}a ticket that no item has") is None
    assert index.find(f"{instruction}ticket 7 about printers, but none of these") is None
    assert index.find(items[7]) is None, "what is its own is shorter than a passage: a matter for QuestionIndex"


def test_an_instruction_that_few_items_share_is_their_own():
    instruction = "Translate the following sentence into French, then explain each of the words that you chose: "
    items = [f"{instruction}{n}" for n in range(5)] + [f"nothing {n}" for n in range(95)]
    assert PassageIndex(items).find(f"{instruction}cat") is not None, "5 of 100"
    assert PassageIndex([*items, f"{instruction}6"]).find(f"{instruction}cat") is None, "6 of 101"


def test_an_instruction_does_not_hide_a_leak():
    items = [f"Continue the story in your own words: {story(0, 20)} {n}" for n in range(1)] + [
        f"Continue the story in your own words: {n} times {n}" for n in range(50)
    ]
    found = PassageIndex(items).find(f"Continue the story in your own words: {story(0, 20)}")
    assert found == story(0, PASSAGE).lower()


def test_a_small_eval_set_has_its_boilerplate_too():
    items = [f"{story(0, 16)} one", f"{story(0, 16)} two", "three"]
    assert PassageIndex(items).find(story(0, 16)) is None
    assert PassageIndex(items[1:]).find(story(0, 16)) is not None, "nobody shares it"


def test_passages_of_many_items_stay_fast():
    rng = random.Random(1)
    vocabulary = [f"w{n}" for n in range(5_000)]
    items = [" ".join(rng.choices(vocabulary, k=60)) for _ in range(2_000)]
    texts = [" ".join(rng.choices(vocabulary, k=200)) for _ in range(500)]
    started = time.process_time()
    index = PassageIndex(items)
    assert not any(map(index.find, texts))
    assert index.find(f"{texts[0]} {items[77]}") == " ".join(items[77].split()[:PASSAGE])
    assert time.process_time() - started < 10


@pytest.mark.parametrize("texts", [[], ["", "two words"]])
def test_nothing_to_share(texts):
    assert PassageIndex(texts).find(" ".join(STORY)) is None
