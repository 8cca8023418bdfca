"""API keys by their prefixes; tokens, headers, private keys and what a text itself calls a password or a secret."""

import math
import re
from collections import Counter
from collections.abc import Iterator

from feedback_gateway.redaction.findings import Finding, Kind

API_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-(?=[A-Za-z_-]{0,60}\d)[A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic, OpenRouter and those who copied them
    r"|gsk_[A-Za-z0-9]{20,}|xai-[A-Za-z0-9]{20,}|pplx-[A-Za-z0-9]{20,}|nvapi-[\w-]{20,}|r8_[A-Za-z0-9]{20,}"
    r"|csk-[a-z0-9]{20,}"
    r"|AIza[\w-]{30,}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}"
    r"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|gl(?:pat|dt|rt|cbt|ptt)-[\w.-]{16,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}"
    r"|hf_[A-Za-z0-9]{20,}|SG\.[\w-]{16,}\.[\w-]{16,}|(?:sk|rk|pk|whsec)_(?:live|test)_[A-Za-z0-9]{10,}"
    r"|whsec_[A-Za-z0-9+/=]{20,}"
    r"|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{30,}|dop_v1_[a-f0-9]{40,}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{20,}"
    r"|fg_[A-Za-z0-9_-]{43}|\d{8,10}:AA[\w-]{33}"
    r")(?![A-Za-z0-9])",
    re.ASCII,
)
JWT = re.compile(r"(?<![\w-])eyJ[\w-]{4,}+\.[\w-]{4,}+(?:\.[\w-]*+)?", re.ASCII)
PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY"
    r"(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
HEADER = re.compile(
    r"(?:(?<![a-z])(?:proxy-)?authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<scheme>bearer|basic|token|digest"
    r"|apikey|aws4-hmac-sha256|negotiate)?+\s{0,3}+"
    r"|(?<![a-z])bearer\s{1,3}(?=[a-z_-]*[\d.~+/=])"
    r"|(?:set-)?cookie[\"']?:\s{0,3}[\"']?(?=[^\s=;]{1,64}=)"
    r"|x-(?:api|auth|access|amz-security)-?(?:key|token)[\"']?\s{0,3}[:=]\s{0,3}[\"']?)"
    r"(?P<value>(?<=cookie: )[^\r\n\"'<>]{4,}|[^\s\"'<>,]{4,})",
    re.IGNORECASE | re.ASCII,
)
NAMES_OF_SECRETS = (
    r"pass(?:word|wort|wd|phrase|code)|pwd|contrase[nñ]a|mot de passe|wachtwoord|has[lł]o|senha|secret|token"
    r"|api[_ -]?key|apikey"
    r"|(?:access|private|secret|signing|encryption|account|client|shared|auth)[_ -]?(?:key|secret|token)"
    r"|credentials?|(?<![a-z])pin(?:[ -]?code)?|cvv2?|cvc|one[- ]time (?:code|password)|otp"
    r"|密码|パスワード|пароль"
)
ASSIGNMENT = re.compile(
    rf"(?:{NAMES_OF_SECRETS})(?:[_-]?(?:key|id|hash|value))?(?:\s(?:is|ist|est|es|was)(?=\s)"
    rf"|[\\\"'\])]{{0,3}}\s{{0,3}}(?:=>|:=|==?|:))(?P<space>\s{{0,3}})"
    r"(?P<quote>\\?[\"'`]?)(?P<value>(?<=[\"'`])[^\"'`<>\r\n\\]{3,200}(?=\\?[\"'`])|[^\s\"'`<>,;&\\{}。、]{3,200})",
    re.IGNORECASE,
)
HEADER_HINTS = ("authorization", "bearer", "cookie", "x-api", "x-auth", "x-access", "x-amz")
ASSIGNMENT_HINTS = (
    *("pass", "pwd", "contrase", "wachtwoord", "haslo", "hasło", "senha", "secret", "token", "key", "credential"),
    *("pin", "cvv", "cvc", "one-time", "one time", "otp", "密码", "パスワード", "пароль"),
)
"""One of these is in every match, in lower case: a cheap look first."""
NO_SECRET = re.compile(
    r"null|none|nil|true|false|undefined|empty|required|optional|string|str|int|\*+|x{3,}|\.+|•+|\$[\w({].*"
    r"|%[\w(].*|[\[(].*|bearer|basic",
    re.IGNORECASE,
)
NOT_A_WORD = re.compile(r"\d|[^\w\-./:'()]|^[A-Za-z]*[a-z][A-Z][A-Za-z]*$")
SECRET_FIELD = re.compile(rf"(?:[\w-]*[_-])?(?:{NAMES_OF_SECRETS}|authorization|cookie)", re.IGNORECASE)
OPAQUE = re.compile(r"(?<![\w/+=.-])[A-Za-z0-9+/_-]{32,512}={0,2}(?![\w/+=-])", re.ASCII)
WORDS = re.compile(r"[a-z]{7}|[A-Z]{7}|\d{9}")
ENOUGH_BITS = 4.2
"""Shannon entropy a character: words and hexadecimal stay below, random base64 of 32 and more characters above."""
FEWEST_OF_A_CLASS = 4


def find_api_keys(text: str) -> Iterator[Finding]:
    """Keys that say by their prefix whose they are."""
    for match in API_KEY.finditer(text):
        yield Finding(match.start(), match.end(), Kind.API_KEY, match[0])


def find_tokens(text: str) -> Iterator[Finding]:
    """JWTs, private keys, credentials of headers, assigned passwords, and strings too random to be words."""
    for match in JWT.finditer(text):
        yield token(text, match.start(), match.end())
    if "-----BEGIN" in text:
        for match in PEM.finditer(text):
            yield token(text, match.start(), match.end())
    lowered = text.lower()
    headers = HEADER.finditer(text) if any(hint in lowered for hint in HEADER_HINTS) else ()
    for match in headers:
        if match["scheme"] or not (match["value"].isalpha() or NO_SECRET.fullmatch(match["value"])):
            yield token(text, match.start("value"), match.end("value"))
    assignments = ASSIGNMENT.finditer(text) if any(hint in lowered for hint in ASSIGNMENT_HINTS) else ()
    for match in assignments:
        if is_assigned(text, match):
            yield token(text, match.start("value"), match.start("value") + len(match["value"].rstrip(".)]")))
    for match in OPAQUE.finditer(text):
        if is_random(match[0]):
            yield token(text, match.start(), match.end())


def token(text: str, start: int, end: int) -> Finding:
    """A secret is the same only where every character is."""
    return Finding(start, end, Kind.TOKEN, text[start:end])


def is_assigned(text: str, match: re.Match[str]) -> bool:
    """Whether the value is one, not the next word of a sentence such as `password: please reset it`."""
    value = match["value"].rstrip(".)]")
    if len(value) < 3 or NO_SECRET.fullmatch(value):  # noqa: PLR2004
        return False
    written = text[match.start() : match.start("value")].rstrip("\"'`\\ ")
    code = match["quote"] or written.endswith(("=", ">")) or (written.endswith(":") and not match["space"])
    if code:
        return True
    alone = written.endswith(":") and re.match(r"\s*(?:[\r\n,;}]|$)", text[match.end("value") : match.end("value") + 8])
    return bool(alone or NOT_A_WORD.search(value))


def is_random(text: str) -> bool:
    """Whether lower case, upper case and digits mix as only chance mixes them; hashes, GUIDs and paths do not."""
    body = text.rstrip("=")
    counts = (sum(map(str.islower, body)), sum(map(str.isupper, body)), sum(map(str.isdigit, body)))
    separators = sum(map(body.count, "/_-"))
    if min(counts) < FEWEST_OF_A_CLASS or body[0] == "/" or separators > len(body) // 10:
        return False
    if WORDS.search(body):
        return False
    shares = [count / len(body) for count in Counter(body).values()]
    return -sum(share * math.log2(share) for share in shares) >= ENOUGH_BITS
