"""Tells texts that seem to give orders to the model that reads them: a suspicion, for people to look at."""

import re
from collections.abc import Mapping
from typing import Any

ORDERS = re.compile(
    r"""
    \b(?:ignore|disregard|forget|override|bypass|neglect)\b [^.!?\n]{0,60}
        \b(?: instructions? | prompts? | rules | guidelines
            | (?:everything|anything|all|what) \s+
              (?: (?:that\s+)? (?:you|i|was|were|we|has|is) \b | above | before | previous | said | prior ) )
    | \b(?:vergiss|ignoriere?n?|missachte)\b [^.!?\n]{0,60} \b(?:anweisung(?:en)?|befehle?|regeln|alles|instruktionen)
    | \b(?:system|developer|initial|original|hidden|secret) \s+ (?:prompt|instructions?) \b
    | \b(?:reveal|print|repeat|show|output|tell\s+me|what\s+(?:is|are|was|were)) \b [^.!?\n]{0,40}
        \b(?:your | the\s+(?:above|previous|initial|first|whole|entire)) \s+ (?:\w+\s+){0,3}?
        (?:prompts?|instructions?|rules|text) \b
    | \b(?:you\s+are|du\s+bist) \s+ (?:now|no\s+longer|jetzt|nun) \s+ (?:an?|the|my|in|going|ein|eine|der|die) \b
    | \bfrom\s+now\s+on\b [^.!?\n]{0,40} \b(?:you|answer|respond|act) \b
    | \b(?:pretend|act|behave|role-?play) \s+ (?:to\s+be | as\s+(?:if\s+)?(?:you|an?|the|my) | like\s+(?:you|an?)) \b
    | \bi\s+want\s+you\s+to\s+(?:act|be|become|forget|pretend|only|reply|answer) \b
    | \bdo\s+anything\s+now\b | \bdeveloper\s+mode\b | \b(?:ai|large)\s+language\s+model\b
    | \b(?:for|to|dear) \s+ (?:the\s+|any\s+)? (?:ai|llm|language\s+model|assistant|chat-?bot) \b
        \s* (?:reading|that|who|:|,)
    | \bbefore\s+you\s+(?:classify|answer|summari[sz]e|respond|label|read) \b
    | </(?:feedback|data|text|input|user|system|instructions?)>
    | \b(?:system|assistant) \s* : \s+
        (?:new|ignore|forget|you|reply|respond|answer|add|translate|the|write|use|replace)
    | <\|(?:im_)?(?:start|end|system|user|assistant) | \[/?INST\]
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""English, and a little German: it finds 63 % of 223 collected attacks, and 5 of 23,600 texts of users."""
CUES = (
    "ignor", "disregard", "forget", "override", "bypass", "neglect", "vergiss", "missachte", "prompt", "instruction",
    "rules", "now", "pretend", "act as", "act like", "behave", "role", "want you", "developer", "language", "assistant",
    "before you", "</", "<|", "inst]", " ai ", " ai:", " ai,", "llm", "chatbot", "chat-bot", "system:", "bist jetzt",
)  # fmt: skip
"""One of these is in whatever the pattern finds; looking for them takes a tenth of its time."""


def speaks_to_model(inputs: Mapping[str, Any]) -> bool:
    """Whether any text among a call's inputs seems to speak to the model rather than of a product."""
    texts = [value for name, value in inputs.items() if name != "taxonomy"]
    return any(gives_orders(text) for text in strings(texts))


def gives_orders(text: str) -> bool:
    """The same for one text; most are done with at the look for a cue."""
    lower = text.lower()
    return any(cue in lower for cue in CUES) and ORDERS.search(text) is not None


def strings(value: Any) -> list[str]:
    """Every string in `value`, at any depth."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [text for one in value for text in strings(one)] if isinstance(value, list | tuple) else []
