"""Turns an official checkpoint into this project's weights file, strictly. python scripts/convert_weights.py --help

python scripts/convert_weights.py edn latest_net_G.pth PERSON.safetensors --face latest_net_Gface.pth
python scripts/convert_weights.py xing latest_net_netG.pth XING.safetensors
python scripts/convert_weights.py nted epoch_00200_iteration_000495400_checkpoint.pt NTED.safetensors
python scripts/convert_weights.py softgate best_pascal_checkpoint_adam_tps_grid_loss_PAMI.pth.tar MATCHER.safetensors
python scripts/convert_weights.py vgg19 vgg19.pth VGG19.safetensors
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

# So that a checkout that has not been installed will do.
sys.path.insert(0, str(Path(__file__).parents[1]))

from dance import console
from dance import convert as conversion

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def main(
    name: Annotated[str, typer.Argument(help="what it is: a generator's name, or vgg19")],
    checkpoint: Annotated[Path, typer.Argument(help="the official .pth or .safetensors file")],
    output: Annotated[Path, typer.Argument(help="the .safetensors file to write")],
    face: Annotated[Path | None, typer.Option(help="the checkpoint of its face network")] = None,
    size: Annotated[
        tuple[int, int] | None, typer.Option(metavar="HEIGHT WIDTH", help="what it draws")
    ] = None,
) -> None:
    """Converts a checkpoint; missing and unexpected tensors are listed and then nothing is written."""
    with console.exit_codes():
        metadata = conversion.convert(name, checkpoint, output, face=face, size=size)
        print(f"{output}: {', '.join(f'{key} {value}' for key, value in metadata.items())}")


if __name__ == "__main__":
    app()
