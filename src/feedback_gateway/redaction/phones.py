"""Phone numbers: international ones, national ones of given regions, and what a text itself calls a phone number.

The numbering plans are those of libphonenumber. What is neither written like a phone number nor announced as one stays.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from feedback_gateway.redaction.findings import Finding, Kind
from feedback_gateway.redaction.libraries import phonenumbers

FEWEST_DIGITS, MOST_DIGITS = 7, 17
FEWEST_ABROAD, MOST_ABROAD = 9, 15
"""Digits after a `+` that make a number of a country, also one that no plan of today has."""
RUN = re.compile(
    r"(?<![\w$€£¥])(?<!\d[.,:/=])(?<![0-9a-f]-)(?:\+\s?)?\(?\+?\d(?:[ .\-·()\t\n/]{0,3}+\d)*+(?:\s?(?:x|ext\.?"
    r"|extension)\s?\d{1,6}(?!\w))?",
    re.IGNORECASE | re.ASCII,
)
DIGITS, BETWEEN = "0123456789", " .-·()\t\n/"
LINE_END = re.compile(r"\s*[\n/]\s+|\s*\n")
SPACE = re.compile(r"\s+")
NOT_A_NUMBER = re.compile(
    r"(?:19|20)\d\d([-./ ])[01]?\d\1[0-3]?\d(?: \d{1,2})?"
    r"|[0-3]?\d([-./])[01]?\d\2(?:19|20)?\d\d(?: \d{1,2})?"
    r"|[01]?\d([-./])[0-3]?\d\3(?:19|20)?\d\d(?: \d{1,2})?"
    r"|\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}"
    r"|[0-3]?\d [01]?\d (?:19|20)\d\d"
    r"|(?!\d{3,4}\.\d{4}$)\d+\.\d+"
    r"|(?:19|20)\d\d ?- ?(?:19|20)\d\d"
    r"|97[89][- ]?\d[-\d ]{8,13}",
)
"""Dates, internet addresses, decimal numbers, spans of years, and books (ISBN-13)."""
NANP = re.compile(r"(?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])\d{3}[ .-]\d{4}")
TRUNK = re.compile(r"\(?0\d{1,5}\)?(?:[ .\-/]{1,3}\d{1,8}){1,5}|0[1-9]\d{8,9}")
BEGINNING = re.compile(r"\(?(?:\+|0|[2-9]\d\d(?!\d))|1[ .-]\(?[2-9]")
EXTENSION = re.compile(r"\s?[xe]", re.IGNORECASE)
INTERNATIONAL = re.compile(r"\(?(?:\+|00[1-9])")
CUE = re.compile(
    r"(?:phone|(?<![a-z])(?:tel|cell|fax|desk|t[eé]l[eé]fono?|handy|mobil|mobile|hotline|landline|reach|contact"
    r"|msisdn|portable)(?![a-z])"
    r"|(?<![a-z])(?:calls?|text|ring|dial|sms)\s|messages? (?:to|from|at)\s|whats ?app|telef[oô]n|telefoon"
    r"|rufnummer|anrufen"
    r"|appele[rz]|m[oó]vil|celular|cellulare|ll[aá]m[ae]|chiama|numer|电话|手机|電話|携帯|전화|тел)"
    r"[^\d<>\n]{0,25}(?:\n[^\d<>\n]{0,6})?$",
    re.IGNORECASE,
)
NOT_CUED = re.compile(
    r"(?<![a-z])(?:order|ticket|invoice|case|booking|reservation|confirmation|ref(?:erence)?|version|build"
    r"|flight|account|model"
    r"|error|code|id|serial|imei|row|line|pid|port|seat|gate|item|sku|policy|claim|zip|date|since|about|times"
    r"|count|total|cost"
    r"|price|tokens|ms|at least|card)(?![a-z])[^\d<>]*$|#\s*$",
    re.IGNORECASE,
)
CUE_REACH = 60


class PhoneDetector:
    """Finds the phone numbers of a text; `regions` are the ISO 3166 codes whose national formats are known."""

    def __init__(self, regions: Sequence[str]) -> None:
        self._regions = tuple(regions)

    def __call__(self, text: str) -> Iterator[Finding]:
        """Every number, with its extension; the key is E.164 where a plan knows it, else its digits."""
        for run in RUN.finditer(text):
            start, end = span_of(run)
            if count_digits(run[0]) >= FEWEST_DIGITS:
                for line_start, line_end in lines_of(text, start, end):
                    yield from self._in_line(text, line_start, line_end)

    def _in_line(self, text: str, start: int, end: int) -> Iterator[Finding]:
        """The numbers of a row of digits: from each space on, the longest that a plan knows, else what is announced."""
        if count_digits(text[start:end]) < FEWEST_DIGITS:
            return
        gaps = [gap.span() for gap in SPACE.finditer(text, start, end)]
        starts, stops = [start, *(gap[1] for gap in gaps)], [*(gap[0] for gap in gaps), end]
        first = 0
        while first < len(starts):
            announced = first == 0 and is_announced(text, start)
            if announced or BEGINNING.match(text, starts[first]):
                finding = self._longest(text, starts[first], stops[first : first + MOST_DIGITS], announced=announced)
                if finding:
                    yield finding
                    first = stops.index(finding.end, first)
            first += 1

    def _longest(self, text: str, start: int, stops: list[int], *, announced: bool) -> Finding | None:
        """The longest number from `start` to one of the `stops` that a plan knows; unknown ones only if announced."""
        unknown = None
        for stop in reversed(stops):
            number = text[start:stop]
            if not is_possible(number):
                continue
            known = self._e164(number) if announced or is_written_like_one(number) else None
            if known:
                return Finding(start, stop, Kind.PHONE, known)
            unknown = unknown or Finding(start, stop, Kind.PHONE, re.sub(r"\D", "", number))
        return unknown if announced else None

    def _e164(self, number: str) -> str | None:
        """The number in E.164 if it is one in any numbering plan that applies."""
        dialled = re.sub(r"^\(?00", "+", SPACE.sub(" ", number).replace("(0)", ""))
        plain = re.sub(r"\D", "", EXTENSION.split(dialled, maxsplit=1)[0])
        if dialled.lstrip("(").startswith("+"):
            plausible = FEWEST_ABROAD <= len(plain) <= MOST_ABROAD and not plain.startswith("0")
            return e164(dialled, "ZZ") or (f"+{plain}" if plausible else None)
        fitting = (region for region in self._regions if national_pattern(region).fullmatch(plain))
        return next(filter(None, (e164(dialled, region) for region in fitting)), None)


def e164(number: str, region: str) -> str | None:
    """The number as it is dialled from anywhere, with its extension; None if the plan has no such number."""
    library = phonenumbers()
    try:
        parsed = library.parse(number, region)
    except library.NumberParseException:
        return None
    if not library.is_valid_number(parsed):
        return None
    return f"{library.format_number(parsed, library.PhoneNumberFormat.E164)}{parsed.extension or ''}"


@lru_cache(maxsize=256)
def national_pattern(region: str) -> re.Pattern[str]:
    """What all numbers of a region have in common: a cheap look before the library's long one."""
    metadata = phonenumbers().PhoneMetadata.metadata_for_region(region)
    return re.compile(rf"(?:{metadata.national_prefix or ''})?(?:{metadata.general_desc.national_number_pattern})")


def span_of(run: re.Match[str]) -> tuple[int, int]:
    """The run less an opening parenthesis that nothing closes, and less digits that a word goes on from."""
    text, end = run[0], run.end()
    lone = text.startswith("(") and text.count("(") > text.count(")")
    following = run.string[end : end + 1]
    if following == "_" or (following.isascii() and following.isalnum()):
        end = run.start() + len(text.rstrip(DIGITS).rstrip(BETWEEN))
    return min(run.start() + lone, end), end


def lines_of(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span by lines; a number with a country code may go on in the next line."""
    if text.startswith(("+", "(+"), start) and count_digits(text[start:end]) <= MOST_DIGITS:
        yield start, end
        return
    place = start
    for gap in LINE_END.finditer(text, start, end):
        yield place, gap.start()
        place = gap.end()
    yield place, end


def is_possible(number: str) -> bool:
    """Whether it has as many digits as a phone number, closes what it opens, and is no date and the like."""
    balanced = number.count("(") == number.count(")")
    digits = count_digits(EXTENSION.split(number, maxsplit=1)[0])
    return balanced and FEWEST_DIGITS <= digits <= MOST_DIGITS and not NOT_A_NUMBER.fullmatch(number)


def is_announced(text: str, start: int) -> bool:
    """Whether the words before call what follows a phone number."""
    before = text[max(0, start - CUE_REACH) : start]
    return CUE.search(before) is not None and not NOT_CUED.search(before)


def is_written_like_one(number: str) -> bool:
    """With a country code, in the North American pattern, or with a trunk zero."""
    national = EXTENSION.split(number, maxsplit=1)[0]
    return bool(INTERNATIONAL.match(number) or NANP.fullmatch(national) or TRUNK.fullmatch(national))


def count_digits(text: str) -> int:
    """How many of its characters are digits."""
    return sum(map(text.count, DIGITS))
