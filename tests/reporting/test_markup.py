"""Markup is escaped by construction; words and numbers read as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.reporting.markup import Markup, element, joined, prose
from cloudchamber.reporting.words import number, parsed


@given(st.text())
def test_text_never_becomes_markup(text):
    shown = element("p", text, title_=text)
    inside = shown.removeprefix("<p").removesuffix("</p>")
    assert "<" not in inside
    assert inside.count(">") == 1
    assert inside.count('"') == 2


@given(st.text())
def test_prose_escapes_on_both_sides_of_a_backtick(text):
    assert "<" not in prose(text).replace("<code>", "").replace("</code>", "")


def test_markup_is_kept():
    assert joined([Markup("<b>"), "<b>"]) == "<b>&lt;b&gt;"
    assert element("input", disabled=True, hidden=False, value=None) == "<input disabled>"


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "0"), (1234.0, "1234"), (12345.0, "12\u202f345"), (-0.25, "−0.25"), (1e-7, "1e−07"), (1e12, "1e+12")],
)
def test_numbers_as_people_write_them(value, words):
    assert number(value) == words


@given(st.text())
def test_any_recipe_is_parsed_or_left_alone(text):
    assert isinstance(parsed(text), dict)
