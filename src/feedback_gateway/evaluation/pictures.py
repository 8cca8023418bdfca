"""Draws figures as SVG that stands inside a page and takes its colours; labels are text in it, whatever they hold."""

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from feedback_gateway.evaluation.metrics import Bin, Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT, ACCENT, OTHER = "#010203", "#040506", "#070809", "#0a0b0c"
COLOURS = {INK: "var(--ink)", FAINT: "var(--faint)", ACCENT: "var(--accent)", OTHER: "var(--other)"}
"""Colours that nobody sees: each is replaced by one of the page, so that a picture is light where the page is."""
INCHES = 4.8
MOST_LABEL = 22
MOST_CELLS = 12
MOST_BARS = 20
STYLE: Mapping[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
}


class Picture:
    """A figure that is being drawn; `svg` is there once it is."""

    def __init__(self, axes: "Axes") -> None:
        self.axes = axes
        self.svg = ""


@contextmanager
def drawing(name: str, *, height: float) -> Iterator[Picture]:
    """A figure `height` inches high; `name` keeps its identifiers apart from those of others on the page."""
    import matplotlib as mpl  # noqa: PLC0415 only a report needs it
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415 likewise
    from matplotlib.figure import Figure  # noqa: PLC0415 likewise

    with mpl.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a label in a script that the measuring font lacks is still written as text
        figure = Figure(figsize=(INCHES, height), layout="constrained")
        FigureCanvasSVG(figure)
        picture = Picture(figure.add_subplot())
        yield picture
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    picture.svg = recoloured(written.getvalue())


def recoloured(svg: str) -> str:
    """The element alone, in the page's colours."""
    svg = svg[svg.index("<svg") :]
    for drawn, wanted in COLOURS.items():
        svg = svg.replace(drawn, wanted)
    return svg


def reliability_picture(series: Mapping[str, Sequence[Bin]]) -> str:
    """The share of right answers over the confidence, with the diagonal where they agree; areas grow with the rows."""
    with drawing("reliability", height=3.6) as picture:
        axes = picture.axes
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
        most = max((one.rows for bins in series.values() for one in bins), default=1)
        for (name, bins), colour in zip(series.items(), (ACCENT, OTHER), strict=False):
            claimed, right = [one.confidence for one in bins], [one.accuracy for one in bins]
            axes.plot(claimed, right, color=colour, linewidth=1.2, label=name)
            axes.scatter(claimed, right, s=[12 + 110 * one.rows / most for one in bins], color=colour, alpha=0.75)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel="confidence", ylabel="share that is right")
        if len(series) > 1:
            axes.legend(loc="upper left")
    return picture.svg


def label_picture(scores: Scores) -> str:
    """F1 of each label, the worst ones where there are too many to show."""
    worst = sorted(scores.labels.items(), key=lambda one: (one[1].f1, one[0]))[:MOST_BARS]
    with drawing("labels", height=0.9 + 0.24 * len(worst)) as picture:
        axes = picture.axes
        axes.barh(range(len(worst)), [one.f1 for _, one in worst], color=ACCENT, height=0.7)
        axes.set_yticks(range(len(worst)), [shown(label) for label, _ in worst])
        axes.set(xlim=(0, 1), xlabel="F1")
        axes.invert_yaxis()
    return picture.svg


def confusion_picture(scores: Scores) -> str:
    """Shares of each true label's rows by what was answered; none where there are too many labels to read."""
    answers = sorted({said or "—" for _, said in scores.confusion} | set(scores.labels))
    truths = list(scores.labels)
    if not truths or len(answers) > MOST_CELLS:
        return ""
    counts = [[scores.confusion.get((truth, None if one == "—" else one), 0) for one in answers] for truth in truths]
    with drawing("confusion", height=1.4 + 0.34 * len(truths)) as picture:
        axes = picture.axes
        for row, line in enumerate(counts):
            for column, count in enumerate(line):
                share = count / max(1, sum(line))
                axes.barh(row, 1, left=column - 0.5, height=1, color=ACCENT, alpha=0.04 + 0.7 * share, linewidth=0)
                axes.text(column, row, str(count), ha="center", va="center", fontsize=8)
        axes.set_xticks(range(len(answers)), [shown(one) for one in answers], rotation=35, ha="right")
        axes.set_yticks(range(len(truths)), [shown(one) for one in truths])
        axes.set(xlim=(-0.5, len(answers) - 0.5), ylim=(len(truths) - 0.5, -0.5), xlabel="answered", ylabel="true")
        axes.tick_params(length=0)
    return picture.svg


def shown(label: str) -> str:
    """A label as it fits beside an axis, in one line."""
    plain = " ".join("".join(one if one.isprintable() else " " for one in label).split())
    return plain if len(plain) <= MOST_LABEL else plain[: MOST_LABEL - 1] + "…"
