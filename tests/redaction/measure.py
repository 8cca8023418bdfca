"""Recall and precision by entity on rows with spans; without spans, what would be masked. `python -m … FILE [--show]`.

A span counts as found when one finding of its kind covers every character of it. A finding counts as right when it
touches a span of its kind. A type with no kind of ours is listed with what was masked of it anyway.
"""

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from feedback_gateway.redaction.findings import Finding
from feedback_gateway.redaction.redactor import Redactor

KINDS = {
    "CREDIT_CARD": "CARD",
    "EMAIL_ADDRESS": "EMAIL",
    "IBAN_CODE": "IBAN",
    "IP_ADDRESS": "IP",
    "PERSON": "NAME",
    "PHONE_NUMBER": "PHONE",
    "US_DRIVER_LICENSE": "NATIONAL_ID",
    "US_SSN": "NATIONAL_ID",
}


@dataclass
class Measure:
    """Counts over all rows: spans and found spans by type, findings and right findings by kind."""

    spans: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, str]] = field(default_factory=list)

    def add(self, text: str, spans: list[dict[str, Any]], findings: list[Finding]) -> None:
        """Count one row."""
        for span in spans:
            kind = KINDS.get(span["type"])
            covering = [one for one in findings if one.start <= span["start"] and span["end"] <= one.end]
            self.spans[span["type"]] += 1
            self.found[span["type"]] += any(kind in (one.kind, None) for one in covering)
        for one in findings:
            touching = [span for span in spans if span["start"] < one.end and one.start < span["end"]]
            right = any(KINDS.get(span["type"]) == one.kind for span in touching)
            self.findings[one.kind] += 1
            self.right[one.kind] += right
            if not right:
                self.wrong.append((one.kind, text[one.start : one.end]))

    def recall(self, span_type: str) -> float:
        """Found spans of a type by all of that type."""
        return self.found[span_type] / self.spans[span_type]

    def precision(self, kind: str) -> float:
        """Right findings of a kind by all of that kind."""
        return self.right[kind] / self.findings[kind]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file with one JSON object a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def measured(rows: list[dict[str, Any]], redactor: Redactor) -> Measure:
    """The counts over some rows."""
    measure = Measure()
    for row in rows:
        measure.add(row["text"], row.get("spans", []), redactor.find(row["text"]))
    return measure


def main(path: Path, *, show: bool) -> None:
    """Print the tables."""
    out = Console(highlight=False, markup=False, soft_wrap=True)
    rows = read_rows(path)
    redactor = Redactor()
    measured(rows[:50], redactor)
    started = time.perf_counter()
    measure = measured(rows, redactor)
    microseconds = (time.perf_counter() - started) / len(rows) * 1e6
    characters = sum(len(row["text"]) for row in rows) // len(rows)
    out.print(f"{len(rows)} rows, {characters} characters and {microseconds:.0f} µs a row")
    for span_type in sorted(measure.spans, key=lambda one: (one not in KINDS, one)):
        kind = KINDS.get(span_type, "not covered")
        out.print(f"{span_type:18} {kind:12} recall {measure.recall(span_type):.3f} of {measure.spans[span_type]}")
    for kind in sorted(measure.findings):
        known = f"precision {measure.precision(kind):.3f} of " if measure.spans else "masked "
        out.print(f"{kind:31} {known}{measure.findings[kind]}")
    for kind, text in measure.wrong if show else ():
        out.print(f"  {kind:12} {text!r}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), show="--show" in sys.argv)
