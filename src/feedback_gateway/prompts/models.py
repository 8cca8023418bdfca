"""What a prompt file says, once it was read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from jinja2 import Template

from feedback_gateway.llm.models import Role


@dataclass(frozen=True, slots=True)
class Section:
    """One message of a prompt; sections are split in the file, so no text that is rendered can open another.

    `names` are the inputs that it really uses.
    """

    role: Role
    template: Template = field(repr=False, compare=False)
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One version of one task's prompt.

    The schemas are JSON Schemas (draft 2020-12) of one item's own inputs and of the model's answer. `batch` is the
    most items that share one model call, `cache_ttl` is None where the configured time holds, `digest` is the
    SHA-256 of the file, and `variables` are the names that its templates may use.
    """

    name: str
    version: int
    description: str
    model: str
    temperature: float | None
    max_tokens: int
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any]
    batch: int
    cache_ttl: timedelta | None
    path: Path
    digest: str
    variables: frozenset[str]
    sections: tuple[Section, ...] = field(repr=False)
