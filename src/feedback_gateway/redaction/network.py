"""IP and MAC addresses, and addresses of pages that carry credentials."""

import ipaddress
import re
from collections.abc import Iterator

from feedback_gateway.redaction.findings import Finding, Kind

IPV4 = re.compile(r"(?<![\w.])(?<!\d-)(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d|-[A-Za-z])", re.ASCII)
VERSION = re.compile(
    r"(?:(?:version|ver|release|build|firmware|v)[.:= ]{0,3}|==|(?:chrome|safari|firefox|edge?|opr|version"
    r"|webkit|agent)/)$",
    re.IGNORECASE,
)
IPV6 = re.compile(
    r"(?<![\w.])(?<![0-9a-f:]:)(?:[0-9a-f]{0,4}:){2,7}(?:[0-9a-f]{1,4}|(?:\d{1,3}\.){3}\d{1,3})?(?!\w|:[\w:])",
    re.IGNORECASE | re.ASCII,
)
IPV6_GATE = re.compile(r":[0-9a-f]{0,4}:", re.IGNORECASE | re.ASCII)
"""In every IPv6 address: a cheap look first."""
MAC = re.compile(
    r"(?<![\w:.-])(?:[0-9a-f]{2}(?::[0-9a-f]{2}){5}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5}"
    r"|[0-9a-f]{4}(?:\.[0-9a-f]{4}){2})(?![\w:-])",
    re.IGNORECASE | re.ASCII,
)
SCHEME_BACKWARDS = re.compile(r"[a-z0-9+.-]{0,20}[a-z]", re.IGNORECASE)
ADDRESS = re.compile(r"://[^\s<>\"'`\\^{}|\u2e80-\U0003ffff]+")
USERINFO = re.compile(r"://[^/?#@:]*:[^/?#@]+@|://[^/?#@:]{16,}@")
SECRET_PARAMETER = re.compile(
    r"[?&;#](?:amp;)?(?:[\w.-]{0,40}[_.-])?(?:token|key|apikey|sig|sign|signature|secret|passw(?:or)?d|pwd|pass"
    r"|code|otp|pin|auth|authorization"
    r"|credentials?|session|sessionid|sid|jwt|ticket|jsessionid|phpsessid|accesstoken|authtoken|assertion|state"
    r"|nonce|hmac)=[^&;#]",
    re.IGNORECASE | re.ASCII,
)
SECRET_PATH = re.compile(
    r"://(?:hooks\.slack\.com/services/|[\w.-]*discord(?:app)?\.com/api/webhooks/|api\.telegram\.org/bot\d)"
    r"|://[^?#]*/(?:reset|reset-password|password-reset|magic|magic-link|invite|unsubscribe|verify|confirm"
    r"|activate)/[\w.~-]{16,}",
    re.IGNORECASE | re.ASCII,
)


def find_ips(text: str) -> Iterator[Finding]:
    """IPv4 and IPv6 addresses, private ones too; four numbers that the text calls a version are none."""
    if text.count(".") > 2:  # noqa: PLR2004 - between four numbers
        for match in IPV4.finditer(text):
            if not VERSION.search(text, max(0, match.start() - 12), match.start()) and is_ip(match[0]):
                yield Finding(match.start(), match.end(), Kind.IP, match[0])
    if IPV6_GATE.search(text):
        for match in IPV6.finditer(text):
            groups = [group for group in match[0].split(":") if group]
            telling = any(character.isdigit() for character in match[0]) and (len(groups) > 1 or match[0] == "::1")
            if telling and is_ip(match[0]):
                yield Finding(match.start(), match.end(), Kind.IP, match[0].casefold())


def is_ip(text: str) -> bool:
    """Whether it is an address as the standards write it."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def find_macs(text: str) -> Iterator[Finding]:
    """Hardware addresses with colons, or with dashes or dots and a letter: without one it is any number."""
    if text.count(":") < 5 and text.count("-") < 5 and text.count(".") < 2:  # noqa: PLR2004 - between six pairs, or three fours
        return
    for match in MAC.finditer(text):
        if ":" in match[0] or not re.sub(r"\W", "", match[0]).isdigit():
            yield Finding(match.start(), match.end(), Kind.MAC, re.sub(r"\W", "", match[0]).casefold())


def carries_credentials(address: str) -> bool:
    """Whether who has the address, from `://` on, has what it protects."""
    return bool(USERINFO.match(address) or SECRET_PATH.match(address) or SECRET_PARAMETER.search(address))


def find_urls(text: str) -> Iterator[Finding]:
    """Addresses with a password, a secret parameter or a secret path, whole; the others stay readable."""
    for match in ADDRESS.finditer(text):
        address = match[0].rstrip(".,;:!?)]*_")
        scheme = SCHEME_BACKWARDS.match(text[max(0, match.start() - 21) : match.start()][::-1])
        if scheme and carries_credentials(address):
            start = match.start() - len(scheme[0])
            yield Finding(start, match.start() + len(address), Kind.URL, text[start : match.start()] + address)
