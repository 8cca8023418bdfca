"""Shows what `prompts eval` measured: one set in full, many in one table."""

from collections.abc import Mapping, Sequence

from feedback_gateway.cli.terminal import format_table, printable
from feedback_gateway.evaluation.datasets import Dataset
from feedback_gateway.evaluation.metrics import Scores
from feedback_gateway.evaluation.runner import Report
from feedback_gateway.ledger.amounts import format_usd

MOST_CONFUSED = 10
MATRIX_LABELS = 10


def report_lines(dataset: Dataset, report: Report) -> list[str]:
    """Everything about one set."""
    scores, majority = report.scores, report.majority
    lines = [
        f"{dataset.task} on {printable(dataset.name)}: {scores.rows} rows, {len(scores.labels)} labels",
        "",
        f"accuracy  {scores.accuracy:.3f}   (always the most frequent label: {majority.accuracy:.3f})",
        f"macro-F1  {scores.macro_f1:.3f}   (always the most frequent label: {majority.macro_f1:.3f})",
    ]
    if report.calibration_error is not None:
        lines.append(f"expected calibration error  {report.calibration_error:.3f}")
    if report.review_share:
        others = f"accuracy of the others {report.unreviewed_accuracy:.3f}" if report.review_share < 1 else "no others"
        lines.append(f"marked for review  {report.review_share:.1%}; {others}")
    if report.evidence:
        lines.append(f"evidence  {report.evidence_valid} of {report.evidence} quotes stand in the text at their place")
    lines += [
        f"cost  {cost(report)}",
        f"latency  p50 {report.p50_ms:.1f} ms, p95 {report.p95_ms:.1f} ms a call; {report.seconds:.1f} s in all",
        f"failed rows  {sum(report.failures.values())}",
        *(f"  {count} of them: {printable(detail)}" for detail, count in report.failures.items()),
        "",
        label_table(scores),
        "",
        confusion_table(scores),
    ]
    return lines


def cost(report: Report) -> str:
    """Exact, and honest about rows without a price."""
    known = f"{format_usd(report.cost_usd)} USD"
    return f"{known} and {report.unpriced} rows of unknown price" if report.unpriced else known


def label_table(scores: Scores) -> str:
    """Precision, recall and F1 of each label."""
    rows = [
        [label, f"{one.precision:.3f}", f"{one.recall:.3f}", f"{one.f1:.3f}", str(one.support)]
        for label, one in scores.labels.items()
    ]
    figures = ("precision", "recall", "F1", "rows")
    return format_table(["label", *figures], rows, right=figures)


def confusion_table(scores: Scores) -> str:
    """The confusion matrix, true labels as rows; for many labels the pairs most often confused."""
    columns = sorted({prediction or "—" for _, prediction in scores.confusion} | set(scores.labels))
    if len(columns) <= MATRIX_LABELS:
        counts: Mapping[tuple[str, str | None], int] = scores.confusion
        rows = [
            [truth, *(str(counts.get((truth, None if name == "—" else name), 0)) for name in columns)]
            for truth in scores.labels
        ]
        return format_table(["true \\ answered", *columns], rows, right=columns)
    wrong = [(count, truth, said) for (truth, said), count in scores.confusion.items() if truth != said]
    wrong.sort(key=lambda one: (-one[0], one[1], one[2] or ""))
    rows = [[truth, said or "—", str(count)] for count, truth, said in wrong[:MOST_CONFUSED]]
    return format_table(["true", "answered", "rows"], rows, right=["rows"])


def comparison_lines(report: Report, other: Report, *, baseline: int) -> list[str]:
    """How the measured version differs from the baseline."""
    return [
        "",
        f"version {baseline} on the same rows (and what is gained over it):",
        f"accuracy  {other.scores.accuracy:.3f}   ({report.scores.accuracy - other.scores.accuracy:+.3f})",
        f"macro-F1  {other.scores.macro_f1:.3f}   ({report.scores.macro_f1 - other.scores.macro_f1:+.3f})",
        f"cost  {cost(other)}; latency p50 {other.p50_ms:.1f} ms",
    ]


def overview(results: Sequence[tuple[Dataset, Report]]) -> str:
    """One line for each set."""
    figures = ("rows", "labels", "accuracy", "macro-F1", "majority", "measured before", "ECE", "failed", "p50 ms", "s")
    rows = []
    for dataset, report in results:
        error = "" if report.calibration_error is None else f"{report.calibration_error:.3f}"
        rows.append(
            [
                dataset.task,
                dataset.name,
                str(report.scores.rows),
                str(len(report.scores.labels)),
                f"{report.scores.accuracy:.3f}",
                f"{report.scores.macro_f1:.3f}",
                f"{report.majority.accuracy:.3f} / {report.majority.macro_f1:.3f}",
                dataset.figures,
                error,
                str(sum(report.failures.values())),
                f"{report.p50_ms:.1f}",
                f"{report.seconds:.1f}",
            ]
        )
    return format_table(["task", "set", *figures], rows, right=figures)
