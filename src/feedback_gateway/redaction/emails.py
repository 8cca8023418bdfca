"""E-mail addresses, also written as `name [at] host [dot] com`."""

import re
from collections.abc import Iterator

from feedback_gateway.redaction.findings import Finding, Kind

LONGEST_LOCAL = 254
LETTERS = "A-Za-z0-9\u00c0-\u024f\u0370-\u052f"
"""Letters of addresses: of scripts that part words by spaces, so that no sentence around is taken for a name."""
AT = re.compile(r"@|%40|&#0*64;|&commat;", re.IGNORECASE)
LOCAL_BACKWARDS = re.compile(rf'"[^"\r\n]{{1,64}}"|[{LETTERS}._%+\'~-]+|[^\W\d_]{{1,32}}')
DOMAIN = re.compile(
    rf"(?:[{LETTERS}](?:[{LETTERS}-]{{0,62}})\.){{1,8}}(?:xn--[a-z0-9-]{{2,59}}"
    rf"|[a-z\u00c0-\u024f\u0370-\u052f]{{2,24}})"
    r"|(?:[^\W_]{1,63}\.){1,8}[^\W\d_]{2,24}",
    re.IGNORECASE,
)
IMAGE_SCALE = re.compile(r"\dx\.[a-z]{2,4}$", re.IGNORECASE)
"""`logo@2x.png` is a file."""
SPELLED = re.compile(
    r"(?<![\w.+-])([a-z0-9][\w.+-]{0,63})"
    r"(?:\s?[\[({<]\s?(?:at|@)\s?[\])}>]\s?|\s(?:at|@)\s(?=[\w-]{1,63}(?:\s|\s?[\[({<]\s?)dot\b)"
    r"|\s@\s|@\s)"
    r"([a-z0-9-]{1,63}(?:(?:\s?[\[({<]\s?(?:dot|\.)\s?[\])}>]\s?|\sdot\s|\.)[a-z0-9-]{1,63}){0,4}"
    r"(?:\s?[\[({<]\s?(?:dot|\.)\s?[\])}>]\s?|\sdot\s|\.)[a-z]{2,24})(?![\w-])",
    re.IGNORECASE | re.ASCII,
)
SPELLED_AT = re.compile(r"@|\bat\b", re.IGNORECASE)
SPELLED_HINT = re.compile(r"[\[({<]|dot", re.IGNORECASE)
"""Without an at sign, one of these is in every match."""
SPELLED_DOT = re.compile(r"\s?[\[({<]?\s?(?:\bdot\b|\.)\s?[\])}>]?\s?", re.IGNORECASE)


def find_emails(text: str) -> Iterator[Finding]:
    """Every address with a name, an at sign and a host of two or more labels; compared without regard to case."""
    for at in AT.finditer(text):
        domain = DOMAIN.match(text, at.end())
        local = LOCAL_BACKWARDS.match(text[max(0, at.start() - LONGEST_LOCAL) : at.start()][::-1])
        if domain is None or local is None or IMAGE_SCALE.fullmatch(domain[0]):
            continue
        name = local[0][::-1].lstrip("'._%+~-")
        if name:
            yield Finding(at.start() - len(name), domain.end(), Kind.EMAIL, f"{name}@{domain[0]}".casefold())
    if SPELLED_AT.search(text) and ("@" in text or SPELLED_HINT.search(text)):
        yield from spelled_emails(text)


def spelled_emails(text: str) -> Iterator[Finding]:
    """Addresses whose at sign or dots are words or stand apart."""
    for match in SPELLED.finditer(text):
        if text.startswith(" @ ", match.end(1)) and match[1].isalpha():
            continue  # `stuck @ example.com` is a sentence, `jane.doe @ example.com` is not
        host = SPELLED_DOT.sub(".", match[2])
        yield Finding(match.start(), match.end(), Kind.EMAIL, f"{match[1]}@{host}".casefold())
