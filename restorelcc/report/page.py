"""A page of a report: HTML from plain parts, every foreign text in it letter by letter."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import LoadError

HERE = Path(__file__).parent
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
IN_FIGURE = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "%": "&#37;"}
"""What Plotly reads as tags, entities, formulas and templates."""
# Nothing is fetched, whatever a name or a remark holds.
POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {} 'unsafe-inline'"
Figure = dict[str, Any]
"""`data` and `layout`, as Plotly's JavaScript has them; colours by the names of page.js."""


@dataclass(frozen=True)
class Page:
    """What a file of a report shows."""

    title: str
    parts: tuple[str, ...]
    """HTML, in order."""

    def html(self, plotly: str | None = None) -> str:
        """The whole document. plotly: where the script is that draws, beside it; None: in the document itself."""
        script = f'<script src="{plotly}"></script>' if plotly else f"<script>{plotly_script()}</script>"
        style, own = _file("page.css"), _file("page.js")
        policy = POLICY.format("'self'" if plotly else "")
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
            f"<title>{said(self.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
            f"<h1>{said(self.title)}</h1>\n"
            + "\n".join(self.parts)
            + f"\n</main>\n{script}\n<script>\n{own}</script>\n"
            "</body>\n</html>\n"
        )


@cache
def plotly_script() -> str:
    """What draws figures in a browser, as the plotly package brings it. Raises LoadError where that is not there."""
    package = find_spec("plotly")
    try:
        if package is None or package.origin is None:
            raise FileNotFoundError("plotly")
        return (Path(package.origin).parent / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    except OSError as error:
        raise LoadError(f"A report draws with what the plotly package brings: pip install plotly ({error}).") from error


def said(text: object) -> str:
    """For HTML, inside and outside of quotes; signs that cannot be seen are written out."""
    return html.escape(UNSEEN.sub(lambda sign: repr(sign[0])[1:-1], str(text)))


def in_figure(text: object) -> str:
    """For what Plotly draws as text."""
    shown = UNSEEN.sub(lambda sign: repr(sign[0])[1:-1], str(text))
    return "".join(IN_FIGURE.get(sign, sign) for sign in shown)


def heading(text: str) -> str:
    """Of a section."""
    return f"<h2>{said(text)}</h2>"


def paragraph(text: str, note: bool = False) -> str:
    """A sentence or more."""
    return f'<p class="note">{said(text)}</p>' if note else f"<p>{said(text)}</p>"


def link(text: str, target: str) -> str:
    """To another page of the same folder."""
    return f'<a href="{said(target)}">{said(text)}</a>'


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], words: bool = False) -> str:
    """Text left and numbers right; words: all of it text."""
    head = "".join(f'<th scope="col">{said(name)}</th>' for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{said(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    kind = ' class="words"' if words else ""
    return f'<div class="wide"><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(values: Mapping[str, object]) -> str:
    """Names and what they are; what is not known is left out."""
    return table(("", ""), [(name, value) for name, value in values.items() if value not in (None, "")], words=True)


def commands(lines: Sequence[str]) -> str:
    """To be copied."""
    return f"<pre><code>{said_lines(lines)}</code></pre>" if lines else ""


def said_lines(lines: Sequence[str]) -> str:
    """Several lines, each as it is."""
    return "\n".join(said(part) for line in lines for part in line.splitlines())


def figure(drawn: Figure, alt: str, hidden: bool = False) -> str:
    """A figure that can be looked into; alt: what is seen in it, in words."""
    # A name may hold </script>.
    data = json.dumps(drawn, allow_nan=False).replace("<", "\\u003c")
    away = " hidden" if hidden else ""
    return (
        f'<figure class="plot"{away}><div role="img" aria-label="{said(alt)}"></div>'
        f'<script type="application/json">{data}</script><figcaption>{said(alt)}</figcaption></figure>'
    )


def choice(label: str, figures: Mapping[str, tuple[Figure, str]]) -> str:
    """One of several figures, chosen by name; each with its words."""
    options = "".join(f"<option>{said(name)}</option>" for name in figures)
    drawn = "".join(figure(one, alt, hidden=index > 0) for index, (one, alt) in enumerate(figures.values()))
    return f'<div class="choice"><label>{said(label)} <select>{options}</select></label>{drawn}</div>'


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
