"""The architecture as rules: who imports whom, how long things are, and what stands nowhere."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "feedback_gateway"
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(file.relative_to(PACKAGE)) for file in FILES]

# Each row may import only rows below it, and its own folder; sideways only `models.py` of a neighbour.
LAYERS = [
    ["__main__"],
    ["cli"],
    ["app"],
    ["api"],
    ["evaluation"],
    ["services"],
    ["books"],
    ["taxonomies"],
    ["deployments"],
    ["jobs"],
    ["feedback"],
    ["tasks", "passthrough"],
    ["llm", "prompts", "calls", "consumers", "observability"],
    ["ledger"],
    ["embedded", "storage", "settings", "ratelimits", "redaction", "cache"],
    ["redis_link", "configuration"],
    ["errors", "clock", "memo", "environment", "background"],
]
RANK = {name: len(LAYERS) - row for row, names in enumerate(LAYERS) for name in names}
ONE_IMPORTER = {
    "tenacity": ["llm/retrying.py"],
    "litellm": ["llm/litellm_client.py"],
    "aiohttp": ["llm/openai_http.py"],
    "redis": ["redis_link/*"],
    "fastapi": ["app.py", "api/*"],
    "starlette": ["app.py", "api/*"],
    "typer": ["cli/*", "__main__.py"],
    "sqlalchemy": [
        "*/repository.py",
        "*/corrections.py",
        "calls/*",
        "feedback/examples.py",
        "*/tables.py",
        "storage/*",
        "books.py",
    ],
    "alembic": ["storage/*"],
    "dbos": ["jobs/*"],
    "psycopg": ["storage/*"],
    "prometheus_client": ["observability/figures.py", "observability/metrics.py"],
    "opentelemetry": ["observability/traces.py"],
}
MAY_CATCH_EVERYTHING = [
    "api/error_handlers.py",
    "calls/payloads.py",
    "calls/writer.py",
    "jobs/analysis.py",
    "llm/embedded_client.py",
    "tasks/service.py",
]
FORBIDDEN_NAMES = re.compile(r"utils?$|helpers?$|managers?$|^handle_|^process_", re.IGNORECASE)


def tree(name: str) -> ast.Module:
    """The syntax tree of one file of the package."""
    return ast.parse((PACKAGE / name).read_text(encoding="utf-8"))


def imports(name: str) -> Iterator[str]:
    """Every module that a file imports, for type checking only or not."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part(module: str) -> str:
    """The folder or top-level file of the package that a dotted name belongs to."""
    return module.split(".")[1]


def is_owner(name: str, owners: list[str]) -> bool:
    """Whether a file is one of those that `owners` describe."""
    return any(Path(name).match(owner) or (owner.endswith("/*") and name.startswith(owner[:-1])) for owner in owners)


@pytest.mark.parametrize("name", NAMES)
def test_imports_point_downwards(name: str) -> None:
    """A file imports only what stands below it; its neighbours' models are the one exception."""
    own = name.split("/", maxsplit=1)[0].removesuffix(".py")
    ours = [module for module in imports(name) if module.startswith("feedback_gateway.")]
    upwards = [
        module
        for module in ours
        if own != "__init__"
        and part(module) not in (own, "__version__")
        and RANK[part(module)] >= RANK[own]
        and not (RANK[part(module)] == RANK[own] and ".models" in module)
    ]

    assert upwards == []


@pytest.mark.parametrize("library", ONE_IMPORTER)
def test_library_has_its_importers_only(library: str) -> None:
    """What may be exchanged later is imported in one place."""
    importers = [
        name for name in NAMES for module in imports(name) if module == library or module.startswith(f"{library}.")
    ]

    assert [name for name in importers if not is_owner(name, ONE_IMPORTER[library])] == []


def test_only_the_settings_read_the_environment() -> None:
    """Configuration is read where it is kept, not where it is needed."""
    read = re.compile(r"os\.environ(?!\[\"ORT_DISABLE_TELEMETRY\"\] = )|getenv")
    readers = [name for name in NAMES if read.search((PACKAGE / name).read_text(encoding="utf-8"))]

    assert [name for name in readers if name not in ("settings.py", "environment.py")] == []


def test_only_the_embedded_client_knows_the_student() -> None:
    """A better student replaces it in one file."""
    outside = [name for name in NAMES if not name.startswith("embedded/")]
    importers = {name for name in outside for module in imports(name) if module.startswith("feedback_gateway.embedded")}

    assert importers <= {"llm/embedded_client.py"}


@pytest.mark.parametrize("name", NAMES)
def test_file_is_at_most_400_lines_and_says_what_it_is_for(name: str) -> None:
    """A docstring of one to four lines opens every file."""
    docstring = ast.get_docstring(tree(name))

    assert len((PACKAGE / name).read_text(encoding="utf-8").splitlines()) <= 400
    assert docstring
    assert len(docstring.splitlines()) <= 4


@pytest.mark.parametrize("name", NAMES)
def test_functions_are_at_most_50_lines(name: str) -> None:
    """What is longer has a part that wants a name."""
    functions = [node for node in ast.walk(tree(name)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    assert [one.name for one in functions if (one.end_lineno or 0) - one.lineno + 1 > 50] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_global_no_star_import_and_no_vague_name(name: str) -> None:
    """State has an owner, and a name says what a thing is (methods may be named by the library they serve)."""
    nodes = list(ast.walk(tree(name)))
    named = [
        node.name for node in tree(name).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]

    assert not any(isinstance(node, ast.Global | ast.Nonlocal) for node in nodes)
    assert not any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in nodes)
    assert [one for one in [*named, Path(name).stem] if FORBIDDEN_NAMES.search(one)] == []


@pytest.mark.parametrize("name", NAMES)
def test_only_the_outermost_places_catch_everything(name: str) -> None:
    """`except Exception` hides a fault anywhere but in the error handler, the writer, and the loop over a batch."""
    handlers = [node for node in ast.walk(tree(name)) if isinstance(node, ast.ExceptHandler)]
    broad = [one for one in handlers if one.type is None or ast.unparse(one.type) in ("Exception", "BaseException")]

    assert not broad or is_owner(name, MAY_CATCH_EVERYTHING)


def test_readme_map_names_every_folder_and_top_level_file() -> None:
    """The map in the README is true."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Where things live")[1].split("\n## ")[0]
    parts = {name.split("/")[0] for name in NAMES} - {"__init__.py", "__main__.py"}

    named = {name.strip("/") for name in re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)}

    assert named == parts


def test_lock_pins_everything_with_hashes_and_names_no_index() -> None:
    """What is installed is what was locked, from wherever it comes."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    packages = re.split(r"\n(?=[a-z0-9])", re.sub(r"^# development\n", "", lock, flags=re.MULTILINE))

    assert [one for one in packages if "==" not in one.split("\n")[0] or "--hash=sha256:" not in one] == []
    assert "://" not in lock
    assert "--index" not in lock


@pytest.mark.parametrize("release", ["1.82.7", "1.82.8", "1.107.0"])
def test_compromised_releases_of_litellm_are_refused_by_name(release: str) -> None:
    """Neither the lock nor the declared dependency lets them in."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    assert f"litellm=={release}" not in lock
    assert f"!={release}" in project


def test_environment_runs_no_code_at_start_that_is_not_known() -> None:
    """A stealer came as a `.pth` file once: each one in the environment is expected."""
    expected = re.compile(
        r"distutils-precedence|_?virtualenv|_editable_impl_feedback_gateway|_?feedback_gateway|a1_coverage"
    )
    site_packages = [Path(path) for path in sys.path if path.endswith("site-packages")]
    found = [file.name for folder in site_packages for file in folder.glob("*.pth")]

    assert [name for name in found if not expected.match(name)] == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_built_opened_or_read_at_import(name: str) -> None:
    """A module's body defines; it does not do."""
    busy = ("open", "read_text", "read_bytes", "create_engine", "connect", "load", "getenv", "run")
    calls = [
        node.func
        for statement in tree(name).body
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.If)
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
    ]
    called = [one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in calls]

    assert [one for one in called if one in busy] == []
