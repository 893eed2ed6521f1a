"""Makes of a trained run a small file of weights that comes with the project. python scripts/release_weights.py --help

python scripts/release_weights.py RUN                    into the project, where the run's generator finds it
python scripts/release_weights.py RUN FILE.safetensors   into a file to give away
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

# So that a checkout that has not been installed will do.
sys.path.insert(0, str(Path(__file__).parents[1]))

from dance import console
from dance import release as releasing

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def main(
    run: Annotated[Path, typer.Argument(help="the folder scripts/train.py has written")],
    output: Annotated[Path | None, typer.Argument(help="the .safetensors file to write; the project's own unless said")] = None,
    data: Annotated[Path | None, typer.Option(help="where the training's data is now, if it was moved")] = None,
    licence: Annotated[str | None, typer.Option(help="of the weights, where the data does not tell its own")] = None,
) -> None:  # fmt: skip
    """Writes the run's best weights in float16, with what they were taught with and may be used for."""
    with console.exit_codes():
        path, metadata = releasing.release(run, output, data=data, licence=licence)
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
        for key, value in metadata.items():
            print(f"  {key}: {value}")


if __name__ == "__main__":
    app()
