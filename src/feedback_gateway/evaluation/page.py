"""Writes a report as one HTML page that needs nothing else and runs nothing; every text in it is escaped."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from feedback_gateway.evaluation.comparison import Change, Comparison
from feedback_gateway.evaluation.figures import Report
from feedback_gateway.evaluation.metrics import most_confused
from feedback_gateway.evaluation.pictures import confusion_picture, label_picture, reliability_picture
from feedback_gateway.evaluation.runner import Run
from feedback_gateway.ledger.amounts import format_usd

MOST_CONFUSED = 20
MOST_CHANGES = 500
MOST_TEXT = 400
NONE = "—"


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """What a report is set beside."""

    run: Run
    report: Report
    comparison: Comparison


def render_page(run: Run, report: Report, *, against: Against | None = None) -> str:
    """The whole page."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 only a report needs it

    source = resources.files(__package__).joinpath("report.html.jinja").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    return environment.from_string(source).render(
        title=f"{run.dataset.task} on {run.dataset.name}",
        subtitle=f"{run.name}; {report.scores.rows} rows, {len(report.scores.labels)} labels, {report.seconds:.1f} s",
        figures=figures_of(report),
        failures=sorted(report.failures.items(), key=lambda one: (-one[1], one[0])),
        pictures=pictures_of(report),
        labels=[
            (label, f"{one.precision:.3f}", f"{one.recall:.3f}", f"{one.f1:.3f}", one.support)
            for label, one in report.scores.labels.items()
        ],
        confused=[(truth, said or NONE, count) for truth, said, count in most_confused(report.scores, MOST_CONFUSED)],
        comparison=None if against is None else comparison_of(report, against),
    )


def figures_of(report: Report) -> list[tuple[str, str, str]]:
    """The figures that stand first: name, value, and what it is to be read with."""
    majority = report.majority
    found = [
        (
            "accuracy",
            f"{report.scores.accuracy:.3f}",
            f"95 %: {report.accuracy.low:.3f} to {report.accuracy.high:.3f}; majority {majority.accuracy:.3f}",
        ),
        (
            "macro-F1",
            f"{report.scores.macro_f1:.3f}",
            f"95 %: {report.macro_f1.low:.3f} to {report.macro_f1.high:.3f}; majority {majority.macro_f1:.3f}",
        ),
    ]
    if report.calibration_error is not None:
        found.append(("calibration error", f"{report.calibration_error:.3f}", "expected, of the returned confidence"))
    if report.evidence or report.without_evidence:
        note = f"of {report.evidence} quotes; {report.without_evidence} answers without one"
        found.append(("valid evidence", str(report.evidence_valid), note))
    others = f"accuracy of the others {report.unreviewed_accuracy:.3f}" if report.review_share < 1 else "no others"
    cost = f"{report.unpriced} rows of unknown price" if report.unpriced else "exact"
    return [
        *found,
        ("marked for review", f"{report.review_share:.1%}", others),
        ("failed rows", str(sum(report.failures.values())), f"{report.schema_failures} without valid output"),
        ("cost", f"{format_usd(report.cost_usd)} USD", cost),
        ("tokens", f"{report.input_tokens} in", f"{report.output_tokens} out"),
        ("latency", f"{report.p50_ms:.1f} ms", f"p50 a call; p95 {report.p95_ms:.1f} ms"),
    ]


def pictures_of(report: Report) -> list[tuple[str, Any]]:
    """Captions with their pictures, which are escaped where they are drawn."""
    from markupsafe import Markup  # noqa: PLC0415 comes with jinja2

    drawn = [
        ("F1 of each label, the lowest first", label_picture(report.scores)),
        ("What was answered for each true label", confusion_picture(report.scores)),
    ]
    if report.bins:
        drawn.append(("Confidence and the share that is right", reliability_picture({"returned": report.bins})))
    return [(caption, Markup(picture)) for caption, picture in drawn if picture]  # noqa: S704 drawn by us


def comparison_of(report: Report, against: Against) -> dict[str, Any]:
    """How the run differs from its baseline."""
    comparison, before = against.comparison, against.report
    return {
        "name": against.run.name,
        "verdict": verdict(comparison),
        "figures": [
            ("accuracy", f"{before.scores.accuracy:.3f}", f"{report.scores.accuracy:.3f}"),
            ("macro-F1", f"{before.scores.macro_f1:.3f}", f"{report.scores.macro_f1:.3f}"),
            ("cost in USD", format_usd(before.cost_usd), format_usd(report.cost_usd)),
            ("latency p50 in ms", f"{before.p50_ms:.1f}", f"{report.p50_ms:.1f}"),
        ],
        "changes": changes_of(comparison.changes),
        "more": max(0, len(comparison.changes) - MOST_CHANGES),
    }


def changes_of(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """The rows that were answered otherwise, as far as a page takes them."""
    return [
        {
            "number": change.number,
            "kind": change.kind,
            "text": change.row.text if len(change.row.text) <= MOST_TEXT else change.row.text[:MOST_TEXT] + "…",
            "label": change.row.label,
            "before": change.before or NONE,
            "after": change.after or NONE,
        }
        for change in changes[:MOST_CHANGES]
    ]


def verdict(comparison: Comparison) -> str:
    """What the paired test says, in a sentence."""
    counted = f"{comparison.improved} rows improved and {comparison.worsened} worsened of {comparison.rows}"
    if not comparison.improved + comparison.worsened:
        return f"{counted}."
    chance = f"chance alone splits them as unevenly with p = {comparison.p_value:.2g} (McNemar, exact)"
    if comparison.p_value >= 0.05:  # noqa: PLR2004 the usual level
        return f"{counted}; {chance}: no difference is shown."
    better = "better" if comparison.improved > comparison.worsened else "worse"
    return f"{counted}; {chance}: it is {better}."
