"""Text of others is shown letter by letter, whatever of it would be markup; in a real browser in `tests/browser`."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markup import NASTY

from app.values.verbatim import APART, in_figure, in_html, in_markdown, in_message, shortened, visible

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
# What Streamlit's front end does to the text that Markdown leaves (StreamlitMarkdown, of 1.67).
TRANSFORMS = [
    re.compile(r"(^|\s)(<->|->|<-|--|>=|<=|~=)(\s|$)"),
    re.compile(r":material_(\w+):"),
    re.compile(r":streamlit:"),
    re.compile(r":\+1:|:-1:|:[\w-]+:"),
    re.compile(r"(https?://|www(?=\.))([-.\w]+)([^ \t\r\n]*)", re.IGNORECASE),
    re.compile(r"([-.\w+]+)@([-\w]+(?:\.[-\w]+)+)"),
]
texts = st.text() | st.sampled_from(NASTY) | st.lists(st.sampled_from(NASTY)).map(" ".join)
texts |= st.text(alphabet="<>&;#$*_`[]()~:!|-+=\\/@.1a \n", max_size=30)


def drawn(source: str) -> list[str]:
    """The lines that a paragraph of this source shows. It holds nothing but text, of which nothing is replaced."""
    assert ":material/" not in source  # replaced before Markdown is read
    lines = [""]
    blocks = READER.parse(source)
    assert [block.type for block in blocks] in ([], ["paragraph_open", "inline", "paragraph_close"])
    for token in [token for block in blocks for token in block.children or ()]:
        if token.type in ("hardbreak", "softbreak"):
            lines.append("")
        else:
            assert token.type in ("text", "text_special")
            lines[-1] += token.content
    for line in lines:
        for part in line.split(APART):
            assert not any(pattern.search(part) for pattern in TRANSFORMS)
    return [line.replace(APART, "") for line in lines]


def directives(source: str) -> list[str]:
    """Names of text directives that are not escaped."""
    return re.findall(r"(?<!\\):([a-z][\w-]*)\[", re.sub(r"\\\\", "", source))


@pytest.mark.parametrize("text", NASTY)
def test_markdown_shows_every_letter_of_what_is_markup(text):
    in_markdown_is_the_text(text)


@given(texts)
def test_markdown_shows_every_letter(text):
    in_markdown_is_the_text(text)


def in_markdown_is_the_text(text):
    source = in_markdown(text)
    assert set(directives(source)) <= {"small"}
    # Space around a paragraph is not drawn, and inside of it runs of it are one.
    assert drawn(f"x {source} x") == [f"x {visible(text).strip()} x"]
    assert drawn(source)[0].split() == visible(text).split()


@given(texts)
def test_a_message_keeps_its_lines(text):
    lines = [visible(line.strip()) for line in text.splitlines() if line.strip()]
    assert [line.split() for line in drawn(in_message(text))] == [line.split() for line in lines or [""]]


@given(texts)
def test_a_figure_shows_every_letter(text):
    source = in_figure(text)
    assert not re.search(r"[<>$]|%\{", source)
    assert html.unescape(source) == visible(text)


@given(texts)
def test_html_shows_every_letter(text):
    source = in_html(text)
    assert not re.search("[<>\"']", source)
    assert html.unescape(source) == visible(text)


@given(texts)
def test_what_cannot_be_seen_is_written_out(text):
    assert visible(text).splitlines() in ([], [visible(text)])
    assert visible(visible(text)) == visible(text)
    assert visible(text).encode() is not None
    assert visible("\u202eabc\x00\n\t\ud800") == r"\u202eabc\x00↵⇥\ud800"


@given(texts, st.integers(3, 40))
def test_a_long_text_keeps_both_ends(text, most):
    short = shortened(text, most)
    assert len(short) <= most
    assert short == text or (text.startswith(short.split("…")[0]) and len(short) == most)
