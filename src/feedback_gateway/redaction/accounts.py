"""Payment cards and IBANs, by issuer, length and checksum."""

import re
from collections.abc import Iterator
from functools import lru_cache

from feedback_gateway.redaction.findings import Finding, Kind
from feedback_gateway.redaction.libraries import stdnum

CARD_RUN = re.compile(r"(?<!\w)(?<!\d[.,:/])\d(?:[\s.\-_]{0,2}+\d)*+", re.ASCII)
GROUP = re.compile(r"(?<!\d)\d++(?!\w)", re.ASCII)
ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}"
    r"|3(?:0[0-59]|[689]\d)\d{11}(?:\d{2})?"
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12}(?:\d{3})?"
    r"|35\d{14}(?:\d{3})?|(?:2131|1800)\d{11}"
    r"|62\d{14,17}|81\d{14}"
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{8,15}"
    r"|220[0-4]\d{12,15}|(?:60|65|81|82|508)\d{13,14}|9792\d{12}"
)
"""Visa, Mastercard, American Express, Diners, Discover, JCB, UnionPay, Maestro, Mir, RuPay, Troy: prefix and length."""
UNUSUAL_LENGTHS = (12, 13, 17, 18, 19)
"""Lengths that article numbers, timestamps and row ids have too, as pages do: only where a text says card."""
CARD_CUE = re.compile(
    r"card|visa|master ?card|amex|maestro|karte|carte|tarjeta|cart[aã]o|kaart|karta|pan\b|卡|カード", re.IGNORECASE
)
CUE_REACH = 60
SHORTEST, LONGEST = 12, 19
SMALL_GROUP, PRINTED_GROUP = 2, 4
"""Single digits and pairs are a card only if it is all that stands there: in the middle of such a row anything fits."""
IBAN_HEAD = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[\s.-]?\d[\s.-]?\d(?=[\s.\-_]{0,2}[A-Z0-9])", re.IGNORECASE | re.ASCII)
IBAN_REST = re.compile(r"[\s.\-_]{0,2}[A-Z0-9]", re.IGNORECASE | re.ASCII)


def find_cards(text: str) -> Iterator[Finding]:
    """Numbers that pass Luhn's check and are a known issuer's or called a card, grouped as on cards or not at all."""
    runs = [run for run in CARD_RUN.finditer(text) if run.end() - run.start() >= SHORTEST]
    cued = bool(runs) and CARD_CUE.search(text) is not None
    for run in runs:
        groups = [group.span() for group in GROUP.finditer(text, run.start(), run.end())]
        first = 0
        while first < len(groups):
            last, finding = card_from(text, groups, first, cued=cued)
            first = last + 1
            if finding:
                yield finding


def card_from(text: str, groups: list[tuple[int, int]], first: int, *, cued: bool) -> tuple[int, Finding | None]:
    """The longest card that starts with a group, and the index of the last group that was used up."""
    best: tuple[int, Finding | None] = first, None
    if first > 0 and groups[first][1] - groups[first][0] <= SMALL_GROUP:
        return best
    digits = ""
    lengths: tuple[int, ...] = ()
    for last in range(first, min(len(groups), first + LONGEST)):
        start, end = groups[last]
        digits += text[start:end]
        lengths += (end - start,)
        if len(digits) > LONGEST or not begins_like_a_card(lengths):
            break
        possible = len(digits) >= SHORTEST and is_grouped_like_a_card(lengths) and len(set(digits)) > 1
        if possible and is_meant(text, groups[first][0], end, digits, cued=cued) and stdnum("luhn").is_valid(digits):
            best = last, Finding(groups[first][0], end, Kind.CARD, digits)
    return best


def begins_like_a_card(lengths: tuple[int, ...]) -> bool:
    """Whether groups of these lengths can be the beginning of a card as people write it."""
    even = len(set(lengths)) == 1 and lengths[0] <= SMALL_GROUP
    return len(lengths) == 1 or lengths[0] == PRINTED_GROUP or even


def is_grouped_like_a_card(lengths: tuple[int, ...]) -> bool:
    """Whether groups of these lengths are all of a card."""
    fours = all(length == PRINTED_GROUP for length in lengths[:-1]) and lengths[-1] <= PRINTED_GROUP
    return len(lengths) == 1 or fours or lengths in ((4, 6, 5), (4, 6, 4)) or len(set(lengths)) == 1


def is_meant(text: str, start: int, end: int, digits: str, *, cued: bool) -> bool:
    """Whether the number is a known issuer's, of a usual length and no page's; or the text speaks of a card nearby.

    `cued` says whether the text speaks of cards at all.
    """
    usual = len(digits) not in UNUSUAL_LENGTHS and not text.endswith("/", 0, start)
    if usual and ISSUERS.fullmatch(digits):
        return True
    return cued and CARD_CUE.search(text, max(0, start - CUE_REACH), end + CUE_REACH) is not None


def find_ibans(text: str) -> Iterator[Finding]:
    """Account numbers of the length that their country has, with a right checksum, spaced or not."""
    for head in IBAN_HEAD.finditer(text):
        number = re.sub(r"[\s.-]", "", head[0]).upper()
        end = head.end()
        for _ in range(iban_length(number[:2]) - len(number)):
            following = IBAN_REST.match(text, end)
            if following is None:
                break
            number += following[0][-1].upper()
            end = following.end()
        cut = text[end : end + 1]
        if (
            len(number) == iban_length(number[:2])
            and not is_alphanumeric(cut)
            and stdnum("iban").is_valid(number, check_country=False)
        ):
            yield Finding(head.start(), end, Kind.IBAN, number)


def is_alphanumeric(text: str) -> bool:
    """Whether a number written before it would go on with it."""
    return text.isascii() and text.isalnum()


@lru_cache(maxsize=1_024)
def iban_length(country: str) -> int:
    """How long the IBANs of a country are; 0 where there are none."""
    properties = stdnum("numdb").get("iban").info(country)[0][1]
    lengths = re.findall(r"(\d+)!", properties.get("bban", ""))
    return sum(map(int, lengths)) + 4 if lengths else 0
