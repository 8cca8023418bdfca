"""The severity task: the team's examples where there are any, else words for outage, data loss, security and so on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from feedback_gateway.embedded.labelling import ChooserCache
from feedback_gateway.embedded.reading import Reading
from feedback_gateway.embedded.taxonomy import LabelSet

PRIORITIES = {"critical": "P1", "major": "P2", "minor": "P3", "enhancement": "P4"}
REVIEW_UNDER = 0.5
IMPACTS = {
    "critical": "Users may be unable to work, lose data or be exposed.",
    "major": "An important function does not work for those who report it.",
    "minor": "A limited fault, or one with a way around it.",
    "enhancement": "Nothing is broken; something is wished for or praised.",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """Words that speak for a severity, and what they are about."""

    severity: str
    about: str
    pattern: re.Pattern[str]


def load_rules() -> tuple[Rule, ...]:
    """The bundled rules in the order in which they are tried."""
    table = files(__package__).joinpath("data", "severity-rules.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in table.splitlines() if not line.startswith("# "))
    return tuple(Rule(name, about, re.compile(rf"\b(?:{words})\b", re.IGNORECASE)) for name, about, words in rows)


@dataclass(frozen=True, slots=True)
class SeverityReader:
    """Applies the rules, or the examples of the taxonomy's `severities`."""

    choosers: ChooserCache
    rules: tuple[Rule, ...]

    def read(self, reading: Reading, taxonomy: Mapping[str, Any] | None) -> tuple[dict[str, Any], bool]:
        """The task's answer, and whether it wants a person: always, unless learned and probable."""
        entries = [
            entry
            for entry in (taxonomy or {}).get("severities") or ()
            if str(entry.get("name") or "").strip() in PRIORITIES
        ]
        if any(entry.get("examples") for entry in entries):
            return self._learned(reading, LabelSet.read(entries))
        for rule in self.rules:
            match = rule.pattern.search(reading.text[:20_000])
            if match:
                said = " ".join(match[0].split())[:80]
                return _answer(rule.severity, f'The text says "{said}", which speaks of {rule.about}.'), True
        return _answer("minor", "No word of the text speaks of an outage, a loss, a failure or a wish."), True

    def _learned(self, reading: Reading, labels: LabelSet) -> tuple[dict[str, Any], bool]:
        choice = self.choosers.get(labels).choose(reading)
        reason = f"Closest to the team's examples of {choice.label} (probability {choice.probability:.2f})."
        return _answer(choice.label, reason), not choice.learned or choice.probability < REVIEW_UNDER


def _answer(severity: str, reason: str) -> dict[str, Any]:
    return {"severity": severity, "priority": PRIORITIES[severity], "impact": IMPACTS[severity], "reason": reason}
