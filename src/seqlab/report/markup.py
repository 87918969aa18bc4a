"""How is a page put together? Pieces of HTML, escaped where text from outside enters, and one file on the disk."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from seqlab import __version__
from seqlab.errors import UserError
from seqlab.report.drawing import Plot

# no scripts, nothing loaded from anywhere: a browser enforces what the page promises
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def save_page(path: Path, title: str, body: str) -> Path:
    """Writes one self-contained page. Raises UserError when the place cannot be written."""
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
<footer>Written by seqlab {__version__}. This page loads nothing from elsewhere.</footer>
</body>
</html>
"""
    return save_text(path, page)


def save_text(path: Path, text: str) -> Path:
    """Writes a text file. Raises UserError when the place cannot be written."""
    try:
        # a lone surrogate in somebody's data must not cost the report
        path.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def section(heading: str, *parts: str) -> str:
    """A section with its heading; nothing at all when it would be empty."""
    content = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(heading)}</h2>\n{content}\n</section>" if content else ""


def paragraph(text: str, css: str = "") -> str:
    """Plain text."""
    return f"<p{_css(css)}>{escape(text)}</p>" if text else ""


def bullets(lines: Sequence[str], css: str) -> str:
    """A list of plain texts."""
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="{css}">\n{items}\n</ul>' if items else ""


def definitions(rows: Mapping[str, str], css: str = "pairs", marked: Iterable[str] = ()) -> str:
    """Two columns, name and value, that stay two columns on a phone; `marked` names stand out."""
    marked = set(marked)
    lines = [
        f"<div{_css('marked' if name in marked else '')}><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in rows.items()
    ]
    return f'<dl class="{css}">{"".join(lines)}</dl>' if lines else ""


def figures(plots: Sequence[Plot], css: str) -> str:
    """Plots with their captions in a grid."""
    items = [
        f"<figure>\n<h3>{escape(plot.title)}</h3>\n{plot.svg}\n<figcaption>{escape(plot.caption)}</figcaption>\n</figure>"
        for plot in plots
    ]
    return f'<div class="figures {css}">\n{"".join(items)}\n</div>' if items else ""


def code(text: str) -> str:
    """A command to copy; long ones wrap."""
    return f'<pre class="command"><code>{escape(text)}</code></pre>'


def details(summary: str, preview: str, content: str, *, is_open: bool = False) -> str:
    """Content that opens on a click; `preview` hints at it while it is closed."""
    line = f"<b>{escape(summary)}</b> <span>{escape(preview)}</span>"
    return f"<details{' open' if is_open else ''}><summary>{line}</summary>\n{content}\n</details>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls sideways on a narrow page; its cells are HTML already, the first names the row."""
    header = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "\n".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>' for row in rows
    )
    table = f"<table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Table">\n{table}\n</div>'


def block(css: str, *parts: str) -> str:
    """A division that holds the parts that are not empty."""
    return f'<div class="{css}">\n' + "\n".join(part for part in parts if part) + "\n</div>"


def _css(name: str) -> str:
    return f' class="{name}"' if name else ""
