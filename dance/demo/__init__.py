"""A built-in dance and person, rendered for this project, so that everything can be tried at once."""

from __future__ import annotations

from pathlib import Path

from dance.types import InputError

DRIVER = Path(__file__).with_name("driver.mp4")
SOURCE = Path(__file__).with_name("source.png")


def arguments(
    driver: Path | None, source: Path | None, output: Path | None, demo: Path | None
) -> tuple[Path, Path, Path]:
    """Driver, source and output of a command line: all three given, or the demo's with its output."""
    if demo is not None:
        if driver is not None:
            raise InputError("--demo brings its own driver and source; leave them out")
        return DRIVER, SOURCE, demo
    if driver is None or source is None or output is None:
        raise InputError("give DRIVER SOURCE OUTPUT, or --demo OUTPUT; --help shows everything")
    return driver, source, output
