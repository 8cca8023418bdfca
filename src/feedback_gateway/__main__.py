"""Starts the command line."""

from feedback_gateway.cli import app


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    app()


if __name__ == "__main__":
    main()
