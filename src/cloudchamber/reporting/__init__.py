"""Reporting: a record and its findings in, one self-contained HTML file out."""

from cloudchamber.reporting.report import write_report

__all__ = ["write_report"]
