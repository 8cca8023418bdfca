"""The language of a text by py3langid; `und` where there is too little to tell."""

import unicodedata
from dataclasses import dataclass

from feedback_gateway.embedded.languagemodel import LanguageModel
from feedback_gateway.embedded.text import clean

UNDETERMINED = "und"
FEWEST_LETTERS = 15
FEWEST_IDEOGRAPHS = 5
"""Letters of scripts that write a word in one or two signs say more each."""
READ_CHARACTERS = 2_000
FIRST_IDEOGRAPH = "\u2e80"


@dataclass(frozen=True, slots=True)
class LanguageDetector:
    """Wraps one loaded model; safe in threads, it only reads."""

    model: LanguageModel

    @classmethod
    def load(cls) -> "LanguageDetector":
        """Read the packaged model."""
        return cls(LanguageModel.load())

    def detect(self, text: str) -> str:
        """ISO 639-1 code, or `und` under about 15 letters."""
        prose = clean(text)[:READ_CHARACTERS]
        letters = [character for character in prose if unicodedata.category(character)[0] == "L"]
        dense = sum(character >= FIRST_IDEOGRAPH for character in letters)
        if len(letters) < FEWEST_LETTERS and dense < FEWEST_IDEOGRAPHS:
            return UNDETERMINED
        code = self.model.classify(prose)
        return code if len(code) == 2 else UNDETERMINED  # noqa: PLR2004 the length of an ISO 639-1 code
