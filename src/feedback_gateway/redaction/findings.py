"""What a detector reports, and how reports that overlap become one; no detector lives here."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a finding is, in the order that decides between findings of one length: the most specific first."""

    API_KEY = "API_KEY"
    CARD = "CARD"
    IBAN = "IBAN"
    NATIONAL_ID = "NATIONAL_ID"
    EMAIL = "EMAIL"
    PHONE = "PHONE"
    IP = "IP"
    MAC = "MAC"
    URL = "URL"
    TOKEN = "TOKEN"  # noqa: S105 the name of a kind
    NAME = "NAME"


RANK = {kind: rank for rank, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Finding:
    """`text[start:end]` is of this kind; two spellings of one value have one `key`, such as a phone number's E.164."""

    start: int
    end: int
    kind: Kind
    key: str


def settled(findings: Iterable[Finding]) -> list[Finding]:
    """Findings in the order of the text, none overlapping.

    Of findings that overlap, the longest gives the kind; it grows over what it left of the others, so that no half of
    an address stays in the text.
    """
    chains: list[list[Finding]] = []
    reach = 0
    for finding in sorted(findings, key=lambda one: (one.start, -one.end, RANK[one.kind])):
        if chains and finding.start < reach:
            chains[-1].append(finding)
            reach = max(reach, finding.end)
        else:
            chains.append([finding])
            reach = finding.end
    return [joined(chain) for chain in chains]


def joined(chain: list[Finding]) -> Finding:
    """One finding over all that a chain of overlapping ones covers."""
    longest = max(chain, key=lambda one: (one.end - one.start, -RANK[one.kind], -one.start))
    return Finding(chain[0].start, max(one.end for one in chain), longest.kind, longest.key)
