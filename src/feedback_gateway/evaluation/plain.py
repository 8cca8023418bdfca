"""What was measured as JSON, for machines: every figure, without rounding; texts of rows only where they changed."""

from dataclasses import asdict
from typing import Any

from feedback_gateway.evaluation.calibrating import Finding
from feedback_gateway.evaluation.comparison import Comparison
from feedback_gateway.evaluation.figures import Report
from feedback_gateway.evaluation.runner import Run
from feedback_gateway.ledger.amounts import format_usd


def report_json(run: Run, report: Report) -> dict[str, Any]:
    """One run."""
    scores = report.scores
    return {
        "task": run.dataset.task,
        "data": run.dataset.name,
        "answered_by": run.name,
        "model": run.subject.model,
        "prompt_version": run.subject.version,
        "rows": scores.rows,
        "accuracy": scores.accuracy,
        "accuracy_interval": [report.accuracy.low, report.accuracy.high],
        "macro_f1": scores.macro_f1,
        "macro_f1_interval": [report.macro_f1.low, report.macro_f1.high],
        "majority": {"accuracy": report.majority.accuracy, "macro_f1": report.majority.macro_f1},
        "labels": {label: asdict(one) for label, one in scores.labels.items()},
        "confusion": [
            {"true": truth, "answered": said, "rows": count} for (truth, said), count in sorted_cells(scores.confusion)
        ],
        "calibration_error": report.calibration_error,
        "reliability": [asdict(one) for one in report.bins],
        "evidence": {
            "quotes": report.evidence,
            "valid": report.evidence_valid,
            "answers_without": report.without_evidence,
        },
        "review_share": report.review_share,
        "unreviewed_accuracy": report.unreviewed_accuracy,
        "failures": dict(report.failures),
        "schema_failures": report.schema_failures,
        "cost_usd": format_usd(report.cost_usd),
        "unpriced_rows": report.unpriced,
        "input_tokens": report.input_tokens,
        "output_tokens": report.output_tokens,
        "latency_ms": {"p50": report.p50_ms, "p95": report.p95_ms},
        "seconds": report.seconds,
    }


def sorted_cells(confusion: Any) -> list[tuple[tuple[str, str | None], int]]:
    """The cells of a confusion matrix in their order."""
    return sorted(confusion.items(), key=lambda one: (one[0][0], one[0][1] or ""))


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """What changed, row by row."""
    return {
        "improved": comparison.improved,
        "worsened": comparison.worsened,
        "p_value": comparison.p_value,
        "changes": [
            {
                "row": change.number,
                "kind": change.kind,
                "text": change.row.text,
                "true": change.row.label,
                "before": change.before,
                "after": change.after,
            }
            for change in comparison.changes
        ],
    }


def finding_json(finding: Finding) -> dict[str, Any]:
    """A calibration, and what it is worth."""
    certificate = finding.certificate
    return {
        "calibration": finding.calibration.model_dump(mode="json"),
        "rows_fitted": finding.fitted,
        "rows_tested": certificate.rows,
        "calibration_error": {"claimed": finding.claimed_error, "mapped": finding.mapped_error},
        "reliability": {
            "claimed": [asdict(one) for one in finding.claimed_bins],
            "mapped": [asdict(one) for one in finding.mapped_bins],
        },
        "target": certificate.target,
        "certified": certificate.certified and asdict(certificate.certified),
        "nearest": certificate.nearest and asdict(certificate.nearest),
        "labels_needed": certificate.labels_needed,
        "least_review_share": certificate.review_share,
    }
