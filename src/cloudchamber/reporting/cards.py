"""The findings in words."""

from __future__ import annotations

import xarray as xr

from cloudchamber._core.finding import Evidence, Finding, Findings
from cloudchamber.reporting.markup import Markup, element, joined, prose
from cloudchamber.reporting.words import SEVERITY, number, title

_RING = "M8 1.6a6.4 6.4 0 1 1 0 12.8 6.4 6.4 0 0 1 0-12.8Z"
_ICONS = {
    "problem": "M8 2.2 14.6 13.8H1.4ZM8 6.4v3.4M8 11.6v.4",
    "notice": f"{_RING}M8 7.3v4M8 4.7v.4",
    "good": f"{_RING}M5 8.2l2.1 2.1L11 6.3",
    "unknown": f"{_RING}M6.2 6.4a1.8 1.8 0 1 1 2.5 1.7c-.5.2-.7.6-.7 1.1M8 11.3v.3",
}
_STRENGTH = {"high": 3, "medium": 2, "low": 1}


def cards(findings: Findings, record: xr.Dataset) -> Markup:
    """Return one article per finding, in their order."""
    if not len(findings):
        return element("p", "The diagnosis has nothing to say about this record.", class_="missing")
    return joined(_card(finding, record) for finding in findings)


def _card(finding: Finding, record: xr.Dataset) -> Markup:
    body = element(
        "div",
        element("h3", prose(finding.title)),
        element("p", prose(finding.explanation)) if finding.explanation else "",
        _where(finding),
        _evidence(finding.evidence, record),
        _advice(finding.advice),
        element("p", "Source: ", finding.source, class_="source") if finding.source else "",
    )
    return element("article", _side(finding), body, class_=f"finding {finding.severity}")


def _side(finding: Finding) -> Markup:
    path = element("path", d=_ICONS[finding.severity])
    icon = element("svg", path, viewBox="0 0 16 16", aria_hidden="true")
    bars = [element("i", class_="on" if step < _STRENGTH[finding.confidence] else None) for step in range(3)]
    return element(
        "div",
        element("p", icon, SEVERITY[finding.severity], class_="severity"),
        element("p", element("span", *bars, class_="bars", aria_hidden="true"), f"{finding.confidence} confidence"),
        element("p", prose(finding.because), class_="because") if finding.because else "",
        class_="side",
    )


def _where(finding: Finding) -> Markup:
    layers = [element("code", name) for name in finding.layers]
    spaced = [part for layer in layers for part in (", ", layer)][1:]
    when = "" if finding.steps is None else f"steps {number(finding.steps[0])} to {number(finding.steps[1])}"
    parts = [joined(spaced)] if spaced else []
    parts += [when] if when else []
    return element("p", *[part for each in parts for part in (" · ", each)][1:], class_="where") if parts else Markup()


def _evidence(evidence: tuple[Evidence, ...], record: xr.Dataset) -> Markup:
    if not evidence:
        return Markup()
    return element("dl", *(_measured(item, record) for item in evidence), class_="evidence")


def _measured(item: Evidence, record: xr.Dataset) -> Markup:
    name = item.quantity.partition(" ")[0]
    words = record[name].attrs.get("long_name", "") if name in record else ""
    against = "" if item.reference is None else f"against {number(item.reference, 4)}"
    meaning = " ".join(part for part in (against, f"({item.meaning})" if item.meaning else "") if part)
    value = element("dd", element("b", number(item.value, 4)), element("span", meaning))
    return element("div", element("dt", title(item.quantity), title_=words or None), value)


def _advice(advice: tuple[str, ...]) -> Markup:
    if not advice:
        return Markup()
    if len(advice) == 1:
        return element("div", element("h4", "What to do"), element("p", prose(advice[0]), class_="advice"))
    steps = element("ol", *(element("li", prose(step)) for step in advice))
    return element("div", element("h4", "What to do, the least invasive first"), steps)
