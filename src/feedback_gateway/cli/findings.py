"""What a check of `doctor` found."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found at one part, and how to mend it where it needs that."""

    state: State
    part: str
    message: str
    mend: str = ""
