"""The HTML report, in a browser: whole, offline, and deaf to what labels and texts say."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from feedback_gateway.evaluation.comparison import compare
from feedback_gateway.evaluation.figures import report_on
from feedback_gateway.evaluation.page import Against, render_page
from tests.evaluation.runs import answered, failed, run_of

HOSTILE = (
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "</text></svg><script>document.title='owned'</script>",
    "$\\frac{x$ {{ 7 * 7 }} '\"&",
    "日本語 \u202e🦜\x00\x07",
)
VOID = {"meta", "br", "img", "input", "link"}


@pytest.fixture
def page() -> str:
    """A report over rows whose labels and texts are all hostile, against a baseline that changed."""
    rows = [(f"{one} text {number}", one) for number in range(6) for one in HOSTILE]
    labels = [label for _, label in rows]
    results = [{"category": label, "confidence": 0.8, "needs_review": False} for label in labels]
    run = run_of(rows, [*map(answered, results[:-1]), failed()])
    turned = [answered(result | {"category": labels[-number]}) for number, result in enumerate(results)]
    baseline = run_of(rows, turned, version=2)
    against = Against(run=baseline, report=report_on(baseline), comparison=compare(baseline, run))
    return render_page(run, report_on(run), against=against)


def in_browser(page: str, folder: Path) -> str:
    """The document as it stands after everything that would run has run."""
    file = folder / "report.html"
    file.write_text(page, encoding="utf-8")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "the tests need chromium"
    done = subprocess.run(
        [
            browser,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=2000"),
            *(f"--user-data-dir={folder}/profile", "--dump-dom", file.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def title(document: str) -> str:
    """What stands in the tab."""
    found = re.search(r"<title>(.*?)</title>", document, re.DOTALL)
    return found[1] if found else ""


def test_no_script_of_a_label_runs(page: str, tmp_path: Path) -> None:
    """In the browser, where the same script does run when nobody escaped it."""
    control = f"<!doctype html><title>still</title>{HOSTILE[0]}"
    (tmp_path / "control").mkdir()

    assert title(in_browser(control, tmp_path / "control")) == "owned"
    document = in_browser(page, tmp_path)
    assert title(document) == "categorize on rows"
    assert document.count("<svg") == 3


class Tags(HTMLParser):
    """Which elements and attributes a page has, and whether they are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_loads_nothing_runs_nothing_and_is_closed_in_order(page: str) -> None:
    """No script, no handler, no address but those inside the page itself."""
    tags = Tags()
    tags.feed(page)

    assert tags.open == []
    assert not tags.names & {"script", "img", "link", "iframe", "object", "embed", "base"}
    assert not [name for name in tags.attributes if name.startswith("on")]
    assert [address for address in tags.addresses if not address.startswith("#")] == []
    assert "default-src 'none'" in page


def test_the_page_has_every_figure(page: str) -> None:
    """Intervals, failures, the test's verdict, changed rows and labels."""
    for said in ("macro-F1", "95 %", "calibration error", "1 without valid output", "McNemar", "improved", "0.29 USD"):
        assert said in page
    assert "{{ 7 * 7 }}" in page


def test_a_page_is_the_same_every_time(page: str) -> None:
    """Of the same run: identifiers in pictures do not change."""
    rows = [("text", "a"), ("text", "b")]
    run = run_of(rows, [answered({"category": "a"})] * 2)

    assert render_page(run, report_on(run)) == render_page(run, report_on(run))
    assert "Against" not in render_page(run, report_on(run))
