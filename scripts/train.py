"""Trains a generator: python scripts/train.py CONFIG --set data=DATASET --set output=RUN"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

# So that a checkout that has not been installed will do.
sys.path.insert(0, str(Path(__file__).parents[1]))

from dance import config, console
from dance.training import loop

STOPPED = 143  # what a shell calls an end by SIGTERM


def main(
    config_file: Annotated[Path, typer.Argument(metavar="CONFIG", help="a YAML file of configs/train")],
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change one setting; may be repeated")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in the output folder")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="say nothing but errors and warnings")] = False,
) -> None:  # fmt: skip
    """Trains until the budget is used; SIGTERM or Ctrl-C save and end it, --resume goes on."""
    with console.exit_codes():
        options = config.load(loop.TrainConfig, config_file, settings or [])
        with console.TrainingBar(console.log_to_stderr(quiet=quiet), quiet=quiet) as bar:
            report = loop.train(options, resume=resume, on_progress=bar)
        if report.main and not quiet:
            score = "" if report.best is None else f", best held-out L1 {report.best:.2f} of 255"
            print(f"{report.output}: {report.steps} steps in {report.seconds / 60:.1f} min{score}")
    if report.stopped:
        raise typer.Exit(STOPPED)


if __name__ == "__main__":
    typer.run(main)
