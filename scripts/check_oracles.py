"""Rebuilds every network, loss, pose and drawing function an oracle describes and compares all its results.

    python scripts/check_oracles.py FOLDER [NAME...]

Prints for each its largest difference, the tolerance and whether it holds, then `N of M hold`: M counts the oracles
of systems that are built. Exit code 0: all M hold; 1: one does not; 2: bad input.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

# So that a checkout that has not been installed will do.
sys.path.insert(0, str(Path(__file__).parents[1]))

from dance import console
from dance.evaluation import oracles

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="the oracles: NAME.json and their tensors")],
    names: Annotated[list[str] | None, typer.Argument(help="only these")] = None,
) -> None:
    """Compares this project's systems with recorded results of the published code."""
    with console.exit_codes():
        verdicts = []
        for verdict in oracles.run(folder, names or ()):
            print(verdict.line(), flush=True)
            verdicts.append(verdict)
        print(oracles.summary(verdicts))
        if any(verdict.holds is False for verdict in verdicts):
            raise SystemExit(1)


if __name__ == "__main__":
    app()
