"""Shows what `prompts eval` measured: one set in full, many in one table."""

from collections.abc import Mapping, Sequence

from feedback_gateway.cli.terminal import format_table, line_width, printable
from feedback_gateway.evaluation.comparison import Comparison
from feedback_gateway.evaluation.figures import Report
from feedback_gateway.evaluation.intervals import Interval
from feedback_gateway.evaluation.metrics import Bin, Scores, most_confused
from feedback_gateway.evaluation.page import verdict
from feedback_gateway.evaluation.runner import Run
from feedback_gateway.ledger.amounts import format_usd

MOST_CONFUSED = 10
MATRIX_LABELS = 10
MOST_CHANGES = 20
BAR = 20
CHANGES_WIDTH = 120


def report_lines(run: Run, report: Report) -> list[str]:
    """Everything about one set."""
    dataset, scores, majority = run.dataset, report.scores, report.majority
    lines = [
        f"{dataset.task} on {printable(dataset.name)}: {scores.rows} rows, {len(scores.labels)} labels",
        printable(run.name),
        "",
        score_line("accuracy", scores.accuracy, report.accuracy, majority.accuracy),
        score_line("macro-F1", scores.macro_f1, report.macro_f1, majority.macro_f1),
    ]
    if report.calibration_error is not None:
        lines.append(f"expected calibration error  {report.calibration_error:.3f}")
    if report.review_share:
        others = f"accuracy of the others {report.unreviewed_accuracy:.3f}" if report.review_share < 1 else "no others"
        lines.append(f"marked for review  {report.review_share:.1%}; {others}")
    if report.evidence or report.without_evidence:
        stands = f"{report.evidence_valid} of {report.evidence} quotes stand in the text at their place"
        lines.append(f"evidence  {stands}; {report.without_evidence} answers have none")
    lines += [
        f"cost  {cost(report)}; tokens {report.input_tokens} in, {report.output_tokens} out",
        f"latency  p50 {report.p50_ms:.1f} ms, p95 {report.p95_ms:.1f} ms a call; {report.seconds:.1f} s in all",
        f"failed rows  {sum(report.failures.values())}, {report.schema_failures} of them without valid output",
        *(f"  {count} of them: {printable(detail)}" for detail, count in report.failures.items()),
        "",
        label_table(scores),
        "",
        confusion_table(scores),
    ]
    if report.bins:
        lines += ["", reliability_table(report.bins)]
    return lines


def score_line(name: str, value: float, interval: Interval, majority: float) -> str:
    """A figure with its interval, beside what knowing nothing gets."""
    between = f"95 %: {interval.low:.3f} to {interval.high:.3f}"
    return f"{name}  {value:.3f}   {between}   (always the most frequent label: {majority:.3f})"


def reliability_table(bins: Sequence[Bin]) -> str:
    """How often answers of each confidence are right, as a bar whose end should be where the number is."""
    rows = [
        [f"{one.confidence:.3f}", f"{one.accuracy:.3f}", "█" * round(one.accuracy * BAR), str(one.rows)] for one in bins
    ]
    return format_table(["confidence", "right", "", "rows"], rows, right=("confidence", "right", "rows"))


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
    rows = [[truth, said or "—", str(count)] for truth, said, count in most_confused(scores, MOST_CONFUSED)]
    return format_table(["true", "answered", "rows"], rows, right=["rows"])


def comparison_lines(report: Report, other: Report, comparison: Comparison, *, name: str) -> list[str]:
    """How the measured version or model differs from the baseline, and the first of the rows that changed."""
    rows = [
        [str(one.number), one.kind, one.row.label, one.before or "—", one.after or "—", one.row.text]
        for one in comparison.changes[:MOST_CHANGES]
    ]
    more = len(comparison.changes) - len(rows)
    return [
        "",
        f"{printable(name)} on the same rows (and what is gained over it):",
        f"accuracy  {other.scores.accuracy:.3f}   ({report.scores.accuracy - other.scores.accuracy:+.3f})",
        f"macro-F1  {other.scores.macro_f1:.3f}   ({report.scores.macro_f1 - other.scores.macro_f1:+.3f})",
        f"cost  {cost(other)}; latency p50 {other.p50_ms:.1f} ms",
        verdict(comparison),
        *(["", changes_table(rows)] if rows else []),
        *([f"and {more} more: --html FILE and --format json have them all"] if more else []),
    ]


def changes_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows that were answered otherwise."""
    names = ["row", "", "true", "baseline", "now", "text"]
    return format_table(names, rows, right=("row",), width=line_width() or CHANGES_WIDTH)


def overview(results: Sequence[tuple[Run, Report]]) -> str:
    """One line for each set."""
    figures = (
        "rows",
        "labels",
        "accuracy",
        "macro-F1",
        "95 %",
        "majority",
        "measured before",
        "ECE",
        "failed",
        "p50 ms",
    )
    rows = []
    for run, report in results:
        dataset = run.dataset
        error = "" if report.calibration_error is None else f"{report.calibration_error:.3f}"
        rows.append(
            [
                dataset.task,
                dataset.name,
                str(report.scores.rows),
                str(len(report.scores.labels)),
                f"{report.scores.accuracy:.3f}",
                f"{report.scores.macro_f1:.3f}",
                f"{report.macro_f1.low:.3f} to {report.macro_f1.high:.3f}",
                f"{report.majority.accuracy:.3f} / {report.majority.macro_f1:.3f}",
                dataset.figures,
                error,
                str(sum(report.failures.values())),
                f"{report.p50_ms:.1f}",
            ]
        )
    return format_table(["task", "set", *figures], rows, right=figures)
