"""Makes what people and systems are trained on. python scripts/prepare_data.py --help"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

# So that a checkout that has not been installed will do.
sys.path.insert(0, str(Path(__file__).parents[1]))

from dance import config, console, prepare

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def commands() -> None:
    """Makes what people and systems are trained on."""


@app.command("person")
def run_person(
    source: Annotated[Path, typer.Argument(help="a video of the person")],
    dataset: Annotated[Path, typer.Argument(help="the folder to make; a stopped run is finished")],
    config_file: Annotated[Path | None, typer.Option("--config", help="a YAML file of settings")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change one setting; may be repeated")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="say nothing but errors and warnings")] = False,
) -> None:  # fmt: skip
    """Pictures, smoothed poses, mattes and face boxes of the person in a video, to learn them from."""
    with console.exit_codes():
        options = config.load(prepare.PrepareConfig, config_file, settings or [])
        with console.ProgressBars(console.log_to_stderr(quiet=quiet), quiet=quiet) as bars:
            facts = prepare.prepare_person(options, source, dataset, on_progress=bars)
        if not quiet:
            height, width = facts.size
            print(
                f"{dataset}: {facts.usable} of {facts.frames} frames to learn from, {width}x{height}"
            )
            print(f"look at {dataset / 'sheet.png'}, then: python scripts/train.py "
                  f"configs/train/edn_cpu.yaml --set data={dataset} --set output=RUN")  # fmt: skip


if __name__ == "__main__":
    app()
