"""Word valences (VADER's, MIT) and what they say about a text: features for the sentiment head and for clauses."""
# ruff: noqa: SIM905  a list of words reads best as words

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import numpy.typing as npt

NEGATIONS = frozenset(
    "not no never none nobody nothing neither nor cannot cant can't wont won't dont don't didnt didn't doesnt doesn't "
    "isnt isn't wasnt wasn't arent aren't werent weren't couldnt couldn't wouldnt wouldn't shouldnt shouldn't hasnt "
    "hasn't havent haven't hadnt hadn't aint ain't without hardly barely lack lacks lacking unable".split(),
)
BOOSTERS = frozenset(
    "very really so extremely absolutely totally completely super too incredibly most highly such especially".split(),
)
DAMPERS = frozenset("slightly somewhat kinda kind little bit barely hardly almost fairly partly".split())
AMBIGUOUS = frozenset("no like so please help support ticket share solution credit security alert".split())
"""Words whose valence misleads in feedback: they name a thing or a request more often than a feeling."""

_TOKEN = re.compile(
    r"[a-z]+(?:'[a-z]+)?|[:;=8][\-o*']?[)\](\[dp/\\|@3<>]+|<3|[!?]+|[\U0001F300-\U0001FAFF\u2600-\u27BF]",
)
_CAPITALS = re.compile(r"\b[A-Z]{3,}\b")
FEATURES = 18
CLEAR = 0.3
"""Polarity from which a text is clearly one or the other."""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Mean human valence of a token, -4 to 4."""

    valences: Mapping[str, float]

    @classmethod
    def load(cls) -> "Lexicon":
        """Read the bundled table, 7,500 words and the emoji."""
        table = files(__package__).joinpath("data", "valence.tsv").read_text(encoding="utf-8")
        rows = (line.split("\t") for line in table.splitlines() if not line.startswith("# "))
        return cls({token: float(valence) for token, valence in rows})

    def hits(self, text: str) -> tuple[list[float], int | None, list[str]]:
        """Valences in order after negation and boosting, how many stand before the last "but", all tokens."""
        tokens = _TOKEN.findall(text.replace("’", "'").lower())  # noqa: RUF001
        found: list[float] = []
        turn = None
        for index, token in enumerate(tokens):
            if token in {"but", "however"}:
                turn = len(found)
            valence = 0.0 if token in AMBIGUOUS else self.valences.get(token, 0.0)
            if valence:
                before = tokens[max(0, index - 3) : index]
                found.append(valence * _factor(before))
        return found, turn, tokens

    def polarity(self, text: str) -> float:
        """Sum of valences squeezed into -1…1."""
        found, _, _ = self.hits(text)
        return _squeeze(sum(found))

    def features(self, text: str) -> npt.NDArray[np.float32]:
        """What the sentiment head reads beside the vector, shape (18,), each about -1…1."""
        found, turn, tokens = self.hits(text)
        weighted = [v * (1.0 if turn is None else 0.5 if i < turn else 1.5) for i, v in enumerate(found)]
        up = sum(v for v in weighted if v > 0)
        down = -sum(v for v in weighted if v < 0)
        total = up - down
        last = found[-1] if found else 0.0
        count = max(1, len(tokens))
        return np.array(
            [
                _squeeze(total), _squeeze(up), _squeeze(down), total / math.sqrt(count) * 0.5,
                max(found, default=0.0) / 4 if max(found, default=0.0) > 0 else 0.0,
                -min(found, default=0.0) / 4 if min(found, default=0.0) < 0 else 0.0,
                float(not found), min(sum(t in NEGATIONS for t in tokens), 3) / 3,
                min(text.count("!"), 3) / 3, min(text.count("?"), 3) / 3, min(len(_CAPITALS.findall(text)), 3) / 3,
                float(up > 0 and down > 0), last / 4, float(last > 0), float(last < 0), math.log1p(count) / 5,
                float(_squeeze(total) > CLEAR), float(_squeeze(total) < -CLEAR),
            ],
            dtype=np.float32,
        )  # fmt: skip


def _factor(before: list[str]) -> float:
    factor = -0.7 if any(token in NEGATIONS for token in before) else 1.0
    if any(token in BOOSTERS for token in before[-2:]):
        factor *= 1.3
    if any(token in DAMPERS for token in before[-2:]):
        factor *= 0.7
    return factor


def _squeeze(total: float) -> float:
    return total / math.sqrt(total * total + 15)
