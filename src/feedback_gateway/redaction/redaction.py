"""The placeholders of one call: masks what is found in JSON values and restores it; finds nothing itself."""

import itertools
import re
from collections.abc import Callable, Iterable
from typing import Any

from feedback_gateway.redaction.findings import Finding, Kind

PLACEHOLDER = re.compile(rf"<(?:{'|'.join(Kind)})_[0-9]+(?:\.[0-9]+)?>")
NUMERIC_KINDS = (Kind.CARD, Kind.PHONE, Kind.NATIONAL_ID)


class Redaction:
    """The placeholders of one call, such as `<EMAIL_1>`; never shared between calls, not safe in threads.

    One value has one number, and another spelling of it says so: `<EMAIL_1.2>`. Text of the caller that looks like a
    placeholder stays what it is if it was `reserved` or is in the value masked first; later it would be taken for one
    of ours, so mask all texts of a call at once or reserve them.
    """

    def __init__(self, find: Callable[[str, str], list[Finding]], reserved: Iterable[str] = ()) -> None:
        self._find = find
        self._reserved: set[str] = set()
        self._originals: dict[str, str | int] = {}
        self._placeholders: dict[tuple[Kind, type, str], str] = {}
        self._spellings: dict[tuple[Kind, str], list[str]] = {}
        self._highest: dict[Kind, int] = {}
        self._reserve(list(reserved))

    def mask(self, value: Any) -> Any:
        """The JSON value with every finding in its strings, keys and whole numbers replaced by its placeholder."""
        self._reserve(value)
        return self._masked(value, "")

    def restore(self, value: Any) -> Any:
        """The JSON value with every placeholder of this call replaced by the very text it stood for."""
        if isinstance(value, str):
            whole = self._originals.get(value)
            return whole if isinstance(whole, int) else self._restored(value)
        if isinstance(value, dict):
            return {self._restored(key): self.restore(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self.restore(one) for one in value]
        return value

    def _restored(self, text: str) -> str:
        if "<" not in text:
            return text
        return PLACEHOLDER.sub(lambda match: str(self._originals.get(match[0], match[0])), text)

    def _masked(self, value: Any, field: str) -> Any:
        if isinstance(value, str):
            return self._masked_text(value, field)
        if isinstance(value, int) and not isinstance(value, bool):
            return self._masked_number(value, field)
        if isinstance(value, dict):
            return {self._masked_text(key, ""): self._masked(one, key) for key, one in value.items()}
        if isinstance(value, list):
            return [self._masked(one, field) for one in value]
        return value

    def _masked_text(self, text: str, field: str) -> str:
        findings = self._find(text, field)
        if not findings:
            return text
        parts: list[str] = []
        place = 0
        for finding in findings:
            parts += (text[place : finding.start], self._placeholder(finding, text[finding.start : finding.end]))
            place = finding.end
        return "".join([*parts, text[place:]])

    def _masked_number(self, number: int, field: str) -> int | str:
        """A card or a phone number may be written without quotes; any other number stays."""
        digits = str(number)
        for finding in self._find(digits, field):
            if finding.end - finding.start == len(digits) and finding.kind in NUMERIC_KINDS:
                return self._placeholder(finding, number)
        return number

    def _placeholder(self, finding: Finding, original: str | int) -> str:
        """The placeholder of this spelling: the one it has in this call, or the next one free."""
        spelling = (finding.kind, type(original), str(original))
        if spelling not in self._placeholders:
            placeholder = self._next(finding.kind, finding.key)
            self._placeholders[spelling] = placeholder
            self._originals[placeholder] = original
        return self._placeholders[spelling]

    def _next(self, kind: Kind, key: str) -> str:
        """A new number for a new value, a new spelling for a known one; what is reserved is passed over."""
        spellings = self._spellings.setdefault((kind, key), [])
        if spellings:
            stem = spellings[0].rstrip(">")
            candidates = (f"{stem}.{count}>" for count in itertools.count(len(spellings) + 1))
        else:
            candidates = (f"<{kind}_{count}>" for count in itertools.count(self._highest.get(kind, 0) + 1))
        placeholder = next(one for one in candidates if one not in self._reserved and one not in spellings)
        if not spellings:
            self._highest[kind] = int(placeholder.rstrip(">").rpartition("_")[2])
        spellings.append(placeholder)
        return placeholder

    def _reserve(self, value: Any) -> None:
        """Never give out what a text already holds, unless it holds it because it was masked here before."""
        if isinstance(value, str):
            if "<" in value:
                self._reserved.update(one for one in PLACEHOLDER.findall(value) if one not in self._originals)
        elif isinstance(value, dict):
            self._reserve([*value, *value.values()])
        elif isinstance(value, list):
            for one in value:
                self._reserve(one)
