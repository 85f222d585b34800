"""What `mkdocs build` does beside Markdown: tables from the code, files of the repository, MathML.

Formulas become MathML while the site is built, so a browser needs neither scripts nor fonts from
elsewhere, and nothing is fetched when the site is read offline.
"""

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

_DOCS = Path(__file__).parent
_ROOT = _DOCS.parent
sys.path.insert(0, str(_DOCS))

import reference  # noqa: E402  (beside this file, which is no package)

_TABLES = {
    "run fields": reference.run_fields,
    "all model fields": reference.all_model_fields,
    "models": reference.models_table,
    "official files": reference.official_files_table,
    "protocols": reference.protocols_table,
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replaces the markers `<!-- fields: MODEL -->`, `<!-- objective: MODEL -->`, `<!-- include: FILE -->`
    and `<!-- TABLE -->`.
    """
    markdown = re.sub(
        r"<!-- fields: (\w+) -->", lambda m: reference.model_fields(m.group(1)), markdown
    )
    markdown = re.sub(
        r"<!-- objective: (\w+) -->", lambda m: reference.objective_fields(m.group(1)), markdown
    )
    markdown = re.sub(r"<!-- include: (\S+) -->", lambda m: _included(m.group(1)), markdown)
    for name, table in _TABLES.items():
        marker = f"<!-- {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, table())
    return markdown


def on_page_content(html: str, **_: Any) -> str:
    """Turns marked formulas into MathML, and lets long names in tables break."""
    html = re.sub(r"<td.*?</td>", _breakable, html, flags=re.DOTALL)
    html = re.sub(
        r'<div class="arithmatex">\\\[(.*?)\\\]</div>',
        lambda m: f'<div class="formula">{_mathml(m.group(1), "block")}</div>',
        html,
        flags=re.DOTALL,
    )
    return re.sub(
        r'<span class="arithmatex">\\\((.*?)\\\)</span>',
        lambda m: _mathml(m.group(1), "inline"),
        html,
        flags=re.DOTALL,
    )


def _breakable(cell: re.Match[str]) -> str:
    """A table cell whose code may break behind its signs."""
    return re.sub(
        r"<code>([^<]*)</code>",
        lambda m: "<code>" + re.sub(r"([._/=,])", r"\1<wbr>", m.group(1)) + "</code>",
        cell.group(0),
    )


def _mathml(formula: str, display: str) -> str:
    plain = formula.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return convert(plain.strip(), display=display)


def _included(name: str) -> str:
    """A file of the repository without its title; links to files that the site lacks become code."""
    text = (_ROOT / name).read_text()
    text = re.sub(r"\A# .*\n", "", text)
    folder = Path(name).parent

    def link(match: re.Match[str]) -> str:
        label, target = match.groups()
        if "://" in target or target.startswith("#"):
            return match.group(0)
        path = posixpath.normpath(folder / target)
        if path.startswith("docs/"):
            return f"[{label}]({'../' * _depth.get(name, 0)}{path.removeprefix('docs/')})"
        return f"`{path}`"

    return re.sub(r"\[([^\]]+)\]\(([^)]+)\)", link, text)


_depth = {"configs/README.md": 1}  # folders between the including page and docs/
