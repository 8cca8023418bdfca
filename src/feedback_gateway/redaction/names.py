"""Names of persons where the text announces them: a title, a greeting, a sign-off, `my name is`.

No list of names and no model: a name in the middle of a sentence is not found.
"""

import re
from collections.abc import Iterator

from feedback_gateway.redaction.findings import Finding, Kind

UPPER = r"A-ZÀ-ÞĀ-Ž\u0391-\u03a9\u0410-\u042f"
LOWER = r"a-zà-ÿā-ž'\-\u03b1-\u03c9\u0430-\u044f"
WORD = rf"[{UPPER}](?:[{LOWER}]|(?<=[a-z'-])[A-ZÀ-Þ]){{1,24}}"
INITIAL = r"[A-ZÀ-Þ]\."
PARTICLE = r"(?:de|da|di|del|della|van|von|den|der|le|la|bin|al|ter|zu)"
NAME = (
    rf"(?P<name>(?:{INITIAL}[ ]?){{0,2}}{WORD}(?:[ \t]{{1,2}}(?:{PARTICLE}[ ]){{0,2}}(?:{WORD}|{INITIAL})){{0,3}})"
    r"(?![\w@])"
)
TITLED = re.compile(rf"(?<!\w)(?:Mr|Mrs|Ms|Mx|Dr|Prof|Herr|Frau|Sig|Sra|Mme)\.?[ ]{{1,2}}(?:Dr\.?[ ])?{NAME}")
INTRODUCED = re.compile(
    r"(?i:\bmy (?:full )?name(?:'s| is)|\bich hei(?:ß|ss)e|\bmein name ist|\bje m'appelle|\bmon nom est"
    r"|\bme llamo|\bmi nombre es"
    rf"|\bmi chiamo|\bmeu nome é|\bmijn naam is|\bnazywam się)[ :]{{1,3}}{NAME}"
)
FIELD = re.compile(rf"(?m)^[ \t]*(?i:(?:full |first |last |user|customer )?name)[ \t]*:[ \t]*{NAME}(?=[ \t]*$)")
GREETED = re.compile(rf"(?m)^[ \t]*(?i:dear|hi|hello|hallo|liebe[r]?|cher|chère|hola|ciao)[ ]{NAME}(?=[ \t]*[,!:\n])")
SIGNED = re.compile(
    r"(?i:(?:best|kind|warm|many|with) (?:regards|wishes|thanks)|regards|sincerely(?: yours)?"
    r"|yours (?:sincerely|truly|faithfully)|cheers"
    r"|mit freundlichen gr(?:ü|ue)(?:ß|ss)en|viele grüße|cordialement|saludos|cordiali saluti|atenciosamente"
    r"|met vriendelijke groet)"
    rf"[ \t]*+(?:,[ \t]*+)?\n\s{{0,4}}{NAME}(?=[ \t]*(?:\n|$))"
)
NO_NAME = re.compile(
    r"service|support|team|kunden|client|customer|devs\b|developer|\b(?:admin\w*|agents?|all|any(?:body|one)"
    r"|bot|colleagues?|company"
    r"|community|department|desk|every(?:body|one)|friends?|folks|group|guys|help|helpdesk|it|ladies|madam"
    r"|ma'am|managers?|management"
    r"|maintainers?|miss|office|please|sirs?|system|tech|there?|users?|world|you|again|and|not|mrs?|ms|dr|prof"
    r"|damen|herren|herr|frau"
    r"|se[nñ]ore?s?|messieurs|madame|monsieur|equipo|équipe)\b",
    re.IGNORECASE,
)
TITLES = ("Mr", "Ms", "Mx", "Dr", "Prof", "Herr", "Frau", "Sig", "Sra", "Mme")
INTRODUCTIONS = ("name", "ich hei", "appelle", "mon nom", "llamo", "nombre", "chiamo", "nome", "naam", "nazywam")
"""One of these is in every match of `TITLED`, or in lower case of `INTRODUCED`: a cheap look first."""


def find_names(text: str) -> Iterator[Finding]:
    """Names after a cue; never what is written in place of one, such as `Dear Support Team`."""
    for match in announced(text):
        if not NO_NAME.search(match["name"]):
            yield Finding(match.start("name"), match.end("name"), Kind.NAME, " ".join(match["name"].casefold().split()))


def announced(text: str) -> Iterator[re.Match[str]]:
    """Where a name may stand."""
    lowered = text.lower()
    if any(title in text for title in TITLES):
        yield from TITLED.finditer(text)
    if any(words in lowered for words in INTRODUCTIONS):
        yield from INTRODUCED.finditer(text)
    if "\n" in text:
        for pattern in (FIELD, GREETED, SIGNED):
            yield from pattern.finditer(text)
    else:
        yield from filter(None, (FIELD.match(text), GREETED.match(text)))
