"""Findings: what a diagnosis says, with the evidence, how sure it is, and what to change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from textwrap import fill
from typing import Literal, overload

Confidence = Literal["high", "medium", "low"]
Severity = Literal["good", "notice", "problem", "unknown"]

_SEVERITIES: tuple[Severity, ...] = ("problem", "unknown", "notice", "good")
_CONFIDENCES: tuple[Confidence, ...] = ("high", "medium", "low")


@dataclass(frozen=True)
class Evidence:
    """One measured number behind a finding, beside what it is compared with."""

    quantity: str
    value: float
    reference: float | None = None
    meaning: str = ""

    def __str__(self) -> str:
        against = "" if self.reference is None else f" against {self.reference:.4g}"
        meaning = f" ({self.meaning})" if self.meaning else ""
        return f"{self.quantity} {self.value:.4g}{against}{meaning}"


@dataclass(frozen=True)
class Finding:
    """One diagnosis.

    Attributes:
        code: stable name for programs ("stuck", "first_phase_over").
        title: the finding in one sentence.
        severity: "good", "notice", "problem", or "unknown" when the record cannot tell.
        explanation: what it means and why it happens, for somebody who has not read the papers.
        confidence: how sure, and `because` says why it is not surer.
        layers: the layers it is about; empty for the whole network.
        steps: first and last step it is about, or None.
        evidence: the numbers.
        advice: what to change, least invasive first; empty if nothing needs to change.
        source: where the papers treat it.
    """

    code: str
    title: str
    severity: Severity
    confidence: Confidence
    because: str = ""
    explanation: str = ""
    layers: tuple[str, ...] = ()
    steps: tuple[int, int] | None = None
    evidence: tuple[Evidence, ...] = ()
    advice: tuple[str, ...] = ()
    source: str = ""

    @property
    def urgency(self) -> tuple[int, int]:
        """Sorts findings: what is most urgent, and of that what is surest, comes first."""
        return _SEVERITIES.index(self.severity), _CONFIDENCES.index(self.confidence)

    def __str__(self) -> str:
        sure = f"{self.confidence} confidence" + (f": {self.because}" if self.because else "")
        rows = [
            ("meaning", self.explanation),
            ("how sure", sure),
            ("where", ", ".join(self.layers)),
            ("when", "" if self.steps is None else f"steps {self.steps[0]} to {self.steps[1]}"),
            *(("evidence", str(item)) for item in self.evidence),
            *(("advice", item) for item in self.advice),
            ("source", self.source),
        ]
        return "\n".join([f"[{self.severity}] {self.title}", *(_row(name, text) for name, text in rows if text)])

    def _repr_html_(self) -> str:
        def items(name: str, rows: Sequence[object]) -> str:
            if not rows:
                return ""
            return f"<p>{name}</p><ul>" + "".join(f"<li>{escape(str(row))}</li>" for row in rows) + "</ul>"

        return (
            f"<h4>{escape(self.title)}</h4>"
            f"<p>{escape(self.explanation)}</p>"
            f"<p>{escape(self.severity)}, {escape(self.confidence)} confidence {escape(self.because)}</p>"
            + items("Where", self.layers)
            + items("Evidence", self.evidence)
            + items("Advice", self.advice)
            + (f"<p><small>{escape(self.source)}</small></p>" if self.source else "")
        )


def _row(name: str, text: str) -> str:
    """Wrap a field so that it reads well in a terminal: its name stands alone on the left."""
    return fill(text, 110, initial_indent=f"    {name:<10} ", subsequent_indent=" " * 15, break_on_hyphens=False)


class Findings(Sequence[Finding]):
    """The findings of one record, worst first; prints well in a terminal and in a notebook."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self._findings = tuple(findings)

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> Findings: ...
    def __getitem__(self, index: int | slice) -> Finding | Findings:
        if isinstance(index, slice):
            return Findings(self._findings[index])
        return self._findings[index]

    def __len__(self) -> int:
        return len(self._findings)

    def __str__(self) -> str:
        return "\n\n".join(str(finding) for finding in self._findings)

    def __repr__(self) -> str:
        return f"<Findings: {', '.join(self.codes)}>"

    def _repr_html_(self) -> str:
        return "".join(finding._repr_html_() for finding in self._findings)

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the findings, in order."""
        return tuple(finding.code for finding in self._findings)
