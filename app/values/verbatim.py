"""Text that others wrote, shown letter by letter: tokens, names of runs, models and components, paths, messages.

Whatever draws it reads some signs as markup: Markdown in messages, headings, captions and labels, tags and entities in
figures and HTML. Every such text goes through the function of the place where it is drawn. Where text stays text, in
options of a select box and in placeholders, `visible` is enough; tables and values of inputs show it as it is.
"""

from __future__ import annotations

import html
import re

# Signs that no eye tells apart or that reorder what stands after them: escapes as in Python's strings.
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
SIGNS = {"\n": "↵", "\t": "⇥"}

MARKDOWN = re.compile(r"[\\`*_\[\]<>#|~$:&]|^(?:[-+=]|\d+(?=[.)](?:\s|$)))")
# Streamlit replaces these in the text that is left once Markdown is read, where no backslash reaches: arrows and dashes
# between spaces, emoji and icons between colons, addresses that become links.
ARROW = re.compile(r"(?<!\S)(?:<->|->|<-|--|>=|<=|~=)(?!\S)")
REPLACED = re.compile(r":(?=[\w+-]+:|material/)|https?:(?=//)|www(?=\.)|[-.\w+](?=@[-\w]+\.)", re.IGNORECASE)
APART = ":small[]"
"""Small text of no letters: it draws nothing, and what stands on either side of it is read apart."""

FIGURE = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "%": "&#37;"}
"""Beside tags and entities: formulas where MathJax is loaded, and templates such as %{x}."""


def visible(text: str) -> str:
    """On one line; signs that cannot be seen are written out."""
    return UNSEEN.sub(lambda sign: SIGNS.get(sign[0], repr(sign[0])[1:-1]), text)


def shortened(text: str, most: int) -> str:
    """At most so many letters, with the middle left out: what tells names apart is as often at the end."""
    kept = most - 1
    return text if len(text) <= most else f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"


def in_markdown(text: str) -> str:
    """For markdown, captions, headings, and labels of buttons, pills, tabs and bars; one line."""
    return _escaped(visible(text).strip())


def in_message(text: str) -> str:
    """For errors and other messages, whose lines stay lines."""
    return "\\\n".join(_escaped(visible(line.strip())) for line in text.splitlines() if line.strip())


def in_figure(text: str) -> str:
    """For whatever Plotly draws: ticks, names of traces, annotations, and what hover templates fill in."""
    return "".join(FIGURE.get(sign, sign) for sign in visible(text))


def in_html(text: str) -> str:
    """For HTML, inside and outside of quotes."""
    return html.escape(visible(text))


def lines_in_html(text: str, end: str = "\n") -> str:
    """For HTML that keeps lines, each ended by `end`."""
    return end.join(in_html(line) for line in text.split("\n"))


def _escaped(line: str) -> str:
    line = ARROW.sub(lambda arrow: "\0".join(arrow[0]), line)  # no line has a \0 of its own
    line = REPLACED.sub("\\g<0>\0", line)
    # A number needs its sign escaped, not itself: 1\. is no item of a list.
    line = MARKDOWN.sub(lambda sign: f"{sign[0]}\\" if sign[0].isdigit() else f"\\{sign[0]}", line)
    return line.replace("\0", APART)
