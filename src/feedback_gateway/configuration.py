"""Strict YAML as plain data, and values set in it by their path: what it means is for `settings.py`."""

from pathlib import Path
from typing import Any

import yaml

from feedback_gateway.errors import ConfigurationError


def read_yaml(file: Path) -> dict[str, Any]:
    """One YAML mapping; an empty file is an empty one."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file}: is no UTF-8 text") from None
    data = parse_yaml(text, where=str(file))
    if data is not None and not isinstance(data, dict):
        raise ConfigurationError(f"{file}: must hold settings as `name: value`, not a {type(data).__name__}")
    return data or {}


class StrictLoader(yaml.SafeLoader):
    """Reads plain YAML and refuses a key that stands twice in one mapping: nobody knows which one was meant."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 theirs
        """One mapping."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem="a key stands twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, *, where: str) -> Any:
    """What `text` says. Raises ConfigurationError with the line, and never with the text, which may hold a key."""
    try:
        return yaml.load(text, Loader=StrictLoader)  # noqa: S506 a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{where}{line}: no valid YAML: {error.problem or 'cannot be read'}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigurationError(f"{where}: no valid YAML") from None


def override(data: dict[str, Any], path: list[str], value: Any) -> None:
    """Set one value from the environment, section by section."""
    for part in path[:-1]:
        if not isinstance(data.get(part), dict):
            data[part] = {}
        data = data[part]
    data[path[-1]] = value
