"""National ids by a table: the form, the module of python-stdnum that checks it, the words that a bare number needs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from feedback_gateway.redaction.findings import Finding, Kind
from feedback_gateway.redaction.libraries import stdnum


@dataclass(frozen=True, slots=True)
class NationalId:
    """One kind of id: `form` as written, `module` that checks it, `cue` that must stand before it."""

    form: str
    module: str | None = None
    cue: str | None = None

    def pattern(self) -> re.Pattern[str]:
        """The form, never inside a longer word or number, after its cue with no other number between."""
        cue = rf"(?<![a-z])(?i:{self.cue})(?![a-z])[^\d<>\n]{{0,24}}?" if self.cue else ""
        return re.compile(rf"{cue}(?<![\w@+-])(?<!\d[.,:])(?P<id>{self.form})(?![\w@-])(?![.,:]\d)", re.ASCII)


NINE = r"\d{3}[ .-]?\d{3}[ .-]?\d{3}"
ELEVEN = r"\d(?:[ .-]?\d){10}"
TELLING = (
    NationalId(r"(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}"),  # US social security number
    NationalId(r"\d{8}-?[A-Z]|[XYZ]-?\d{7}-?[A-Z]", "es.nif"),
    NationalId(
        r"[A-Za-z]{6}[\dLMNPQRSTUV]{2}[A-Za-z][\dLMNPQRSTUV]{2}[A-Za-z][\dLMNPQRSTUV]{3}[A-Za-z]", "it.codicefiscale"
    ),
    NationalId(r"[A-Z]{2}[ -]?\d\d[ -]?\d\d[ -]?\d\d[ -]?[A-D]"),  # GB NINO
    NationalId(r"[12][ .-]?\d\d[ .-]?[0-9]\d[ .-]?(?:\d\d|2[ABab])[ .-]?\d{3}[ .-]?\d{3}[ .-]?\d\d", "fr.nir"),
    NationalId(r"\d{3}\.\d{3}\.\d{3}-\d\d", "br.cpf"),
    NationalId(r"[2-9]\d{3}[ -]\d{4}[ -]\d{4}", "in_.aadhaar"),
    NationalId(r"[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]", "in_.pan"),
    NationalId(r"\d\d\.\d\d\.\d\d-\d{3}\.\d\d", "be.nn"),
    NationalId(r"(?:19|20)?\d{6}[-+]\d{4}", "se.personnummer"),
    NationalId(r"\d{6}[-+ABCDEFYXWVU]\d{3}[0-9A-FHJ-NPR-Y]", "fi.hetu"),
    NationalId(r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d\d", "ch.ssn"),
    NationalId(r"[A-Z][AEIOUX][A-Z]{2}\d{6}[HM][A-Z]{5}[0-9A-Z]\d", "mx.curp"),
    NationalId(r"\d{1,2}\.\d{3}\.\d{3}-[\dkK]", "cl.rut"),
    NationalId(r"(?:20|23|24|27|30|33)-\d{8}-\d", "ar.cuit"),
    NationalId(r"[1-9]\d{5}(?:19|20)\d\d[01]\d[0-3]\d{4}[\dXx]", "cn.ric"),
    NationalId(r"\d{6}-[1-8]\d{6}", "kr.rrn"),
)
"""The form or a strong checksum is enough."""
TELLING_GATE = re.compile(r"(?:\d[ .+-]?){5}\d|\b(?:[A-Z]{5}\d{4}|[A-Za-z]{6}[\dL-V]{2}[A-Za-z][\dL-V]{2})", re.ASCII)
"""What every one of them has: a cheap look before nineteen dear ones."""
AMBIGUOUS = (
    NationalId(r"\d{3}[- .]?\d{2}[- .]?\d{4}", None, r"ssn|itin|social security(?: number)?|soc\.? sec\.?"),
    NationalId(r"\d{3}[ -]?\d{3}[ -]?\d{4}", "gb.nhs", r"nhs(?: ?(?:no|number))?"),
    NationalId(
        r"[A-Za-z]{2}[ -]?\d\d[ -]?\d\d[ -]?\d\d[ -]?[A-Da-d]", None, r"nino|national insurance(?: number)?|ni number"
    ),
    NationalId(ELEVEN, "de.idnr", r"steuer\S*|id-?nr\.?|tax ?id\S*|tin"),
    NationalId(r"\d{8}[ -]?[a-z]|[xyz][ -]?\d{7}[ -]?[a-z]", "es.nif", r"dni|nif|nie"),
    NationalId(NINE, "nl.bsn", r"bsn|burgerservicenummer|sofi-?nummer"),
    NationalId(ELEVEN, "pl.pesel", r"pesel"),
    NationalId(ELEVEN, "br.cpf", r"cpf"),
    NationalId(r"\d{12}", "in_.aadhaar", r"aadh?aa?r|uidai"),
    NationalId(ELEVEN, "be.nn", r"rijksregister\S*|registre national|national number|numéro national|nn"),
    NationalId(r"(?:19|20)?\d{6}[- ]?\d{4}", "se.personnummer", r"person(?:nummer|al number)"),
    NationalId(r"\d{6}[- ]?\d{4}", "dk.cpr", r"cpr\S*|personnummer"),
    NationalId(r"\d{6} ?\d{5}", "no.fodselsnummer", r"f[øo]dselsnummer|personnummer|fnr"),
    NationalId(r"\d{7}[A-Wa-w][A-IWa-iw]?", "ie.pps", r"pps(?:n|\s?(?:no|number))?"),
    NationalId(NINE, "pt.nif", r"nif|contribuinte"),
    NationalId(NINE, "ca.sin", r"sin|social insurance(?: number)?|nas"),
    NationalId(NINE, "au.tfn", r"tfn|tax file(?: number)?"),
    NationalId(r"\d{4}[ -]?\d{4}[ -]?\d{4}", "jp.in_", r"my ?number|マイナンバー|個人番号"),
    NationalId(r"\d{13}", "za.idnr", r"(?:sa )?id(?:entity)? ?(?:no|number)"),
    NationalId(r"\d{11}", "tr.tckimlik", r"t\.?c\.?|kimlik\S*"),
    NationalId(r"\d{8,9}", "il.idnr", r"teudat zehut|tz|id number"),
    NationalId(r"\d{7,8}-?[\dkK]", "cl.rut", r"rut|run"),
    NationalId(
        r"\d(?:[ -]?\d){3,14}[A-Za-z]?|[A-Za-z]{1,3}[- ]?\d[\dA-Za-z]{4,16}",
        None,
        r"passport(?: ?(?:no|number|nr))?|driv(?:er'?s?|ing) licen[cs]e(?: ?(?:no|number|nr))?|reisepass\S*"
        r"|passeport|pasaporte|führerschein\S*",
    ),
)
"""Numbers that could be anything: only after the word that names them."""
AMBIGUOUS_GATE = re.compile(r"(?:\d[ .-]?){3}\d|\d[\dA-Za-z]{4}", re.ASCII)
"""What every one of them has: a cheap look before the dear one for all those words."""


class NationalIdDetector:
    """Finds ids of persons; its expressions are compiled when it is built."""

    def __init__(self) -> None:
        self._telling = [(one, one.pattern()) for one in TELLING]
        self._ambiguous = [(one, one.pattern()) for one in AMBIGUOUS]
        cues = "|".join(f"(?:{one.cue})" for one in AMBIGUOUS)
        self._any_cue = re.compile(rf"(?<![a-z])(?:{cues})(?![a-z])", re.IGNORECASE)

    def __call__(self, text: str) -> Iterator[Finding]:
        """Every id; compared without spaces, dashes and dots."""
        rows = [
            *(self._telling if TELLING_GATE.search(text) else ()),
            *(self._ambiguous if AMBIGUOUS_GATE.search(text) and self._any_cue.search(text) else ()),
        ]
        for one, pattern in rows:
            for match in pattern.finditer(text):
                key = re.sub(r"[ .-]", "", match["id"]).upper()
                check = stdnum(one.module).is_valid if one.module else bool
                if check(match["id"]) or check(key):
                    yield Finding(match.start("id"), match.end("id"), Kind.NATIONAL_ID, key)
