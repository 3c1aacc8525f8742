"""``python -m fastnn`` and ``fastnn``: the command line."""

import sys


def main() -> int:
    """Run the command line, or say what it needs; return the exit code."""
    try:
        from fastnn._cli.commands import main as run
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return run()


if __name__ == "__main__":
    sys.exit(main())
