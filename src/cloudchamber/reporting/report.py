"""One HTML file from a record: read offline, sent by mail, opened in ten years."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

import xarray as xr
from plotly.offline import get_plotlyjs

from cloudchamber._core.citations import cite
from cloudchamber._core.errors import InvalidInput
from cloudchamber._core.files import write_text
from cloudchamber._core.finding import Findings
from cloudchamber.diagnosis import diagnose
from cloudchamber.reporting import cards, facts, figures, images, panels, tables, words
from cloudchamber.reporting.markup import Markup, element, joined

_SCRIPTS = ("charts.js", "legends.js", "images.js", "page.js")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"


def write_report(record: xr.Dataset, path: Path | str, *, findings: Findings | None = None) -> Path:
    """Write a record and its findings as one HTML file that needs nothing else.

    The file asks the network for nothing: its scripts, styles and numbers are inside, and its content security
    policy forbids any request and any script but its own. It is written whole or not at all.

    Args:
        record: a record, as `Monitor.record` or `open_record` gives it; whatever it lacks, the report says so.
        path: where to write; folders are made.
        findings: what to report; the diagnosis of the record without it.

    Returns:
        The path of the file.

    Raises:
        FileAccess: if the file cannot be written.

    >>> from tempfile import TemporaryDirectory
    >>> record = xr.Dataset({"probe_loss": ("step", [2.3, 1.1])}, coords={"step": [0, 10]})
    >>> with TemporaryDirectory() as folder:
    ...     write_report(record, f"{folder}/report.html").stat().st_size > 100_000
    True
    """
    target = Path(path)
    write_text(target, page(record, diagnose(record) if findings is None else findings))
    return target


def page(record: xr.Dataset, findings: Findings) -> str:
    """Return the report as HTML."""
    charts = panels.payload(record)
    shown = images.payload(record)
    scripts = {
        "theme_script": _asset("theme.js"),
        "plotly": get_plotlyjs(),
        "page_script": "\n".join(_asset(name) for name in _SCRIPTS),
    }
    content = {
        **_words(record, findings),
        **figures.figures(record, charts, shown),
        "findings": cards.cards(findings, record),
        "facts": facts.strip(record),
        "layer_table": tables.layer_table(record),
        "coverage": tables.coverage_table(record),
        "guide": tables.guide(record),
        "environment": tables.environment_table(record),
    }
    escaped = {name: joined([value]) for name, value in content.items()}
    return Template(_asset("page.html")).substitute(
        escaped, **_shell(), **scripts, policy=_policy(scripts), data=_json({**charts, "images": shown})
    )


def _words(record: xr.Dataset, findings: Findings) -> dict[str, str]:
    recipe = str(record.attrs.get("recipe", "")).strip()
    return {
        "title": f"{words.verdict(findings)} – cloudchamber",
        "verdict": words.verdict(findings),
        "tally": words.tally(findings),
        "run": words.run_in_words(record),
        "recipe": recipe or "The recipe was not recorded: the training loop was the user's own.",
        "bibtex": _citations(record),
        "version": version("cloudchamber"),
        "copy_recipe": _copy("recipe", "Copy the recipe"),
        "copy_bibtex": _copy("bibtex", "Copy the BibTeX entries"),
    }


def _shell() -> dict[str, str]:
    logo = _asset("logo.svg").strip()
    return {"style": _asset("style.css"), "logo": logo, "icon": f"data:image/svg+xml,{quote(logo)}"}


def _citations(record: xr.Dataset) -> str:
    try:
        return cite(record)
    except InvalidInput as error:
        return f"The citations cannot be written: {error}"


def _copy(target: str, label: str) -> Markup:
    return element("button", "Copy", class_="copy", type="button", data_copy=target, aria_label=label)


def _asset(name: str) -> str:
    return files("cloudchamber.reporting").joinpath("assets", name).read_text(encoding="utf-8")


def _policy(scripts: dict[str, str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts.values())
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"{_POLICY}; script-src {allowed}"


def _json(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
