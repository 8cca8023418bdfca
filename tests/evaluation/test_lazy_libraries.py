"""What measuring needs is loaded by who measures, and by nobody else."""

import subprocess
import sys


def test_serving_loads_no_library_of_measuring() -> None:
    """Its memory and start are promised; calibrations are applied without what fitted them."""
    code = (
        "import sys, feedback_gateway.app, feedback_gateway.cli, feedback_gateway.tasks.calibration\n"
        "import feedback_gateway.cli.prompts\n"
        "print([name for name in ('scipy', 'sklearn', 'matplotlib') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "[]\n"
