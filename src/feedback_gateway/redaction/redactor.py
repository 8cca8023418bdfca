"""Finds personal data and secrets in a text by every detector of this folder; swaps nothing."""

import re
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from hashlib import blake2b
from operator import itemgetter

from feedback_gateway.redaction.accounts import find_cards, find_ibans
from feedback_gateway.redaction.credentials import SECRET_FIELD, find_api_keys, find_tokens
from feedback_gateway.redaction.emails import find_emails
from feedback_gateway.redaction.findings import Finding, Kind, settled
from feedback_gateway.redaction.folding import fold
from feedback_gateway.redaction.names import find_names
from feedback_gateway.redaction.national_ids import NationalIdDetector
from feedback_gateway.redaction.network import find_ips, find_macs, find_urls
from feedback_gateway.redaction.phones import PhoneDetector
from feedback_gateway.redaction.redaction import PLACEHOLDER, Redaction

DEFAULT_REGIONS = ("US", "GB", "DE", "FR", "IT", "ES", "NL", "AU", "IN", "BR")
"""Whose national phone formats are known; numbers with a country code are known wherever they are from."""

SHORT, MOST_KNOWN = 80, 16_384
"""Characters of a text that is remembered as it is, such as a field's name or a label; how many texts are at most."""
DIGEST_BYTES = 16

Detector = Callable[[str], Iterator[Finding]]


class Redactor:
    """What to look for; built once a process and safe in threads: all it writes down is which texts are clean.

    A longer one, such as a prompt that comes with every call, by its digest.

    `regions` are ISO 3166 codes, such as `US`, whose national phone formats are understood. `names` also looks for
    names after a cue (`Dear …`, `my name is …`).
    """

    def __init__(self, *, regions: Sequence[str] = DEFAULT_REGIONS, names: bool = True) -> None:
        self._names = names
        self._clean: set[Hashable] = set()
        self._gated: tuple[tuple[re.Pattern[str], tuple[Detector, ...]], ...] = (
            (re.compile(""), (find_api_keys, find_tokens)),
            (re.compile(r"\d"), (find_cards, find_ibans, NationalIdDetector(), PhoneDetector(regions))),
            (re.compile(r"\.| dot|[(\[{]dot", re.IGNORECASE), (find_emails,)),
            (re.compile(r"[.:-]"), (find_ips, find_macs)),
            (re.compile("://"), (find_urls,)),
        )

    def session(self, reserved: Iterable[str] = ()) -> Redaction:
        """The placeholders of one call; what looks like one in the `reserved` texts is never given out."""
        return Redaction(self.find, reserved)

    def find(self, text: str, field: str = "") -> list[Finding]:
        """What is personal or secret in a text, in its order, none overlapping.

        `field` is the key that the text has in its object: `{"phone": "467 3395"}` and `{"password": "hunter"}` are
        read as the text `phone: 467 3395` would be.
        """
        known_as = known(text, field)
        if known_as in self._clean:
            return []
        found = self._look(text, field)
        if not found:
            if len(self._clean) >= MOST_KNOWN:
                self._clean.clear()
            self._clean.add(known_as)
        return found

    def _look(self, text: str, field: str) -> list[Finding]:
        if field and SECRET_FIELD.fullmatch(field):
            whole = text.strip() and not PLACEHOLDER.fullmatch(text)
            return [Finding(0, len(text), Kind.TOKEN, text)] if whole else []
        folded = fold(text)
        prefix = f"{field}: " if field else ""
        found = [
            Finding(*folded.original(max(one.start - len(prefix), 0), one.end - len(prefix)), one.kind, one.key)
            for one in untouched(prefix + folded.text, self._reports(prefix + folded.text))
            if one.end > len(prefix)
        ]
        if self._names:
            named = untouched(folded.text, find_names(folded.text))
            found += [Finding(*folded.original(one.start, one.end), one.kind, one.key) for one in named]
        return settled(found)

    def _reports(self, text: str) -> Iterator[Finding]:
        """What every detector that can find anything in this text says."""
        for gate, detectors in self._gated:
            if gate.search(text):
                for detector in detectors:
                    yield from detector(text)


def known(text: str, field: str) -> Hashable:
    """What a text in a field is remembered by."""
    if len(text) + len(field) <= SHORT:
        return text, field
    return blake2b(f"{field}\0{text}".encode(errors="surrogatepass"), digest_size=DIGEST_BYTES).digest()


def untouched(text: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings that begin and end outside of every placeholder; one that holds a whole placeholder stands."""
    taken = [match.span() for match in PLACEHOLDER.finditer(text)] if "<" in text else []
    return (one for one in findings if not (is_inside(one.start, taken) or is_inside(one.end, taken)))


def is_inside(place: int, spans: list[tuple[int, int]]) -> bool:
    """Whether a place is between the ends of one of the spans, which are in order."""
    before = bisect_left(spans, place, key=itemgetter(0)) - 1
    return before >= 0 and place < spans[before][1]
