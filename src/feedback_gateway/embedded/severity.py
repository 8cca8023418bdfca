"""The severity task: the team's examples where there are enough, else words for outage, loss, failure and so on."""

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
FEWEST_EXAMPLES = 8
"""Examples that each given severity needs before they are learned from; of fewer, the rare severity wins too often."""
PRAISE_FROM = 0.25
"""Sentiment score, -1 to 1, from which a text without a word of failure counts as praise."""
WARM_PRAISE_FROM = 0.5
"""The same for a text that asks something."""
READ_CHARACTERS = 20_000
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
    """Applies the examples of the taxonomy's `severities` where there are enough, but the rules for critical first."""

    choosers: ChooserCache
    rules: tuple[Rule, ...]

    def read(self, reading: Reading, taxonomy: Mapping[str, Any] | None, score: float) -> tuple[dict[str, Any], bool]:
        """The task's answer, and whether it wants a person: always, unless learned and probable.

        `score` is the text's sentiment, -1 to 1.
        """
        entries = [
            entry
            for entry in (taxonomy or {}).get("severities") or ()
            if str(entry.get("name") or "").strip() in PRIORITIES
        ]
        text = " ".join(reading.text[:READ_CHARACTERS].replace("’", "'").split())  # noqa: RUF001
        found = self._rule(text, score)
        if entries and all(len(entry.get("examples") or ()) >= FEWEST_EXAMPLES for entry in entries):
            labels = LabelSet.read(entries)
            if found is None or found[0].severity != "critical" or "critical" not in labels.names:
                return self._learned(reading, labels)
        if found:
            rule, said = found
            return _answer(rule.severity, f'The text says "{said}", which speaks of {rule.about}.'), True
        asks = "?" in text
        if score >= (WARM_PRAISE_FROM if asks else PRAISE_FROM):
            return _answer("enhancement", "The tone is positive, and no word speaks of a failure."), True
        if asks:
            return _answer("minor", "It asks something, and no word speaks of a failure."), True
        return _answer("minor", "No word of the text speaks of an outage, a loss, a failure or a wish."), True

    def _rule(self, text: str, score: float) -> tuple[Rule, str] | None:
        """The first rule that holds and the words that it found; praise has no blemish."""
        for rule in self.rules:
            match = rule.pattern.search(text)
            if match and not (rule.severity == "minor" and score >= PRAISE_FROM):
                return rule, match[0][:80]
        return None

    def _learned(self, reading: Reading, labels: LabelSet) -> tuple[dict[str, Any], bool]:
        choice = self.choosers.get(labels).choose(reading)
        reason = f"Closest to the team's examples of {choice.label} (probability {choice.probability:.2f})."
        return _answer(choice.label, reason), not choice.learned or choice.probability < REVIEW_UNDER


def _answer(severity: str, reason: str) -> dict[str, Any]:
    return {"severity": severity, "priority": PRIORITIES[severity], "impact": IMPACTS[severity], "reason": reason}
