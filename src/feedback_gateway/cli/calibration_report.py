"""Shows what `prompts calibrate` found."""

from feedback_gateway.cli.eval_report import reliability_table
from feedback_gateway.cli.terminal import format_table, printable
from feedback_gateway.evaluation.calibrating import Finding
from feedback_gateway.evaluation.intervals import LEVEL, rows_needed
from feedback_gateway.evaluation.runner import Run
from feedback_gateway.evaluation.thresholds import Accepted, Certificate


def finding_lines(run: Run, finding: Finding) -> list[str]:
    """The mapping's worth, and the threshold or what it would take."""
    calibration, certificate = finding.calibration, finding.certificate
    version = f"prompt version {calibration.prompt_version}"
    known = f"{version}, {calibration.deployment}, taxonomy {calibration.taxonomy_version}"
    return [
        f"{run.dataset.task} on {printable(run.dataset.name)}: {printable(known)}",
        f"{finding.fitted} rows fit the mapping and order the thresholds, {certificate.rows} others test both",
        "",
        f"expected calibration error  {finding.claimed_error:.3f} as claimed, {finding.mapped_error:.3f} mapped",
        "",
        reliability_table(finding.mapped_bins),
        "",
        *threshold_lines(certificate),
    ]


def threshold_lines(certificate: Certificate) -> list[str]:
    """What the labels prove about the target."""
    target = f"{certificate.target:.1%}"
    lines = []
    if certificate.certified is not None:
        lines.append(f"threshold for {target}  {certificate.certified.threshold:.4f}")
        lines.append(accepted_line(certificate.certified, certificate.rows))
    else:
        lines.append(f"threshold for {target}  none: the labels prove none")
        if certificate.nearest is not None:
            lines.append(accepted_line(certificate.nearest, certificate.rows))
        lines.append(needed_line(certificate))
    beyond = "what even a perfect confidence leaves to people: (error rate - allowed) / (1 - allowed)"
    names = [str(count) for count in range(3)]
    cells = [str(rows_needed(certificate.target, errors=count)) for count in range(3)]
    return [
        *lines,
        f"least review share  {certificate.review_share:.1%}: {beyond}",
        "",
        "answers to check for a proof, by errors among them:",
        format_table(names, [cells], right=names),
    ]


def accepted_line(accepted: Accepted, rows: int) -> str:
    """What a threshold lets through."""
    share = accepted.rows / rows if rows else 0.0
    return (
        f"  at {accepted.threshold:.4f}: {accepted.rows} of {rows} answers without a person ({share:.1%}), "
        f"{accepted.right} right, {LEVEL:.0%} bound {accepted.bound:.4f}"
    )


def needed_line(certificate: Certificate) -> str:
    """How many more labels it takes."""
    if certificate.labels_needed is None:
        return "  more labels of this kind will not do: the surest answers are not right often enough"
    return f"  about {certificate.labels_needed} more labelled rows will do, if they come out like these"
