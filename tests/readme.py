"""The README's console examples: finds them, runs them against the application, and writes their answers back.

`python -m tests.readme` brings the answers in the README up to date.
"""

import asyncio
import json
import re
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from feedback_gateway.app import create_app
from feedback_gateway.settings import Settings

README = Path(__file__).parents[1] / "README.md"
EXAMPLE = re.compile(r"```console\n\$ (curl [^\n]*)\n(.*?)```", re.DOTALL)
VOLATILE = ("call_id", "latency_ms")


@dataclass(frozen=True, slots=True)
class Example:
    """A command and the answer that stands below it."""

    command: str
    answer: str


def examples(text: str) -> list[Example]:
    """Every console example of the README."""
    return [Example(match[1], match[2].rstrip("\n")) for match in EXAMPLE.finditer(text)]


async def answers(commands: Sequence[str]) -> list[str]:
    """What the application answers to each curl command, as JSON for reading."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(database_url=f"sqlite:///{folder}/readme.db"))
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, timeout=60) as client:
            await app.state.services.warm_up()
            return [await answer(client, shlex.split(command)) for command in commands]


async def answer(client: httpx.AsyncClient, words: Sequence[str]) -> str:
    """The answer to one command of the form `curl -s URL [--json BODY] [| jq .result]`."""
    url = next(word for word in words if word.startswith("http"))
    if "--json" not in words:
        return formatted((await client.get(url)).json())
    body = words[words.index("--json") + 1].encode()
    response = await client.post(url, content=body, headers={"content-type": "application/json"})
    answered = response.json()
    return formatted(answered["result"] if list(words[-3:]) == ["|", "jq", ".result"] else answered)


def formatted(value: object) -> str:
    """JSON with what fits on a line on a line."""
    return layout(value, indent="")


def layout(value: object, *, indent: str) -> str:
    """`value` on one line where it has at most 110 characters, else member by member."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(flat) <= 110 or not isinstance(value, dict | list):
        return flat
    deeper = indent + "  "
    if isinstance(value, list):
        return "[\n" + ",\n".join(deeper + layout(item, indent=deeper) for item in value) + f"\n{indent}]"
    members = (f"{deeper}{json.dumps(name)}: {layout(item, indent=deeper)}" for name, item in value.items())
    return "{\n" + ",\n".join(members) + f"\n{indent}}}"


def agrees(shown: Any, given: Any) -> bool:
    """Whether two answers are the same but for ids and times, and for 0.05 in a probability (processors differ)."""
    if isinstance(shown, float) and isinstance(given, float):
        return abs(shown - given) <= 0.05
    if isinstance(shown, dict) and isinstance(given, dict):
        steady = [name for name in shown if name not in VOLATILE]
        return list(shown) == list(given) and all(agrees(shown[name], given[name]) for name in steady)
    if isinstance(shown, list) and isinstance(given, list):
        return len(shown) == len(given) and all(map(agrees, shown, given))
    return bool(shown == given)


def main() -> None:
    """Write the present answers into the README."""
    text = README.read_text(encoding="utf-8")
    fresh = iter(asyncio.run(answers([example.command for example in examples(text)])))
    README.write_text(
        EXAMPLE.sub(lambda match: f"```console\n$ {match[1]}\n{next(fresh)}\n```", text), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
