"""Renders people that do not exist, with everything known of them. python scripts/make_synthetic.py --help"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

# So that a checkout that has not been installed will do.
sys.path.insert(0, str(Path(__file__).parents[1]))

from dance import console
from dance.synthetic import make


def main(
    assets: Annotated[Path, typer.Argument(help="a folder of clothes, hair, skins, photos and motion; dance/synthetic/assets.py says where from")],
    output: Annotated[Path, typer.Argument(help="the folder to make; a stopped run is finished, a larger order goes on")],
    pairs: Annotated[int, typer.Option(help="how many pairs: somebody twice, in two poses")] = 1024,
    clips: Annotated[int, typer.Option(help="how many clips, each danced by two people")] = 0,
    size: Annotated[int, typer.Option(help="pixels of a side")] = 128,
    frames: Annotated[int, typer.Option(help="pictures of a clip, 25 a second")] = 32,
    seed: Annotated[int, typer.Option(help="the same seed makes the same bytes")] = 0,
    workers: Annotated[int | None, typer.Option(help="processes; one a core by default")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="say nothing but errors and warnings")] = False,
) -> None:  # fmt: skip
    """Pairs and clips of computer-made people as WebDataset shards, with joints, masks, labels and surface."""
    with console.exit_codes("the shards that are ready stay; the same command goes on"):
        order = make.Order(pairs, clips, size, frames, seed)
        with console.ProgressBars(console.log_to_stderr(quiet=quiet), quiet=quiet) as bars:
            made = make.make(
                assets, output, order, workers=workers or os.cpu_count() or 1, on_progress=bars
            )
    if not quiet:
        count = sum(len(entries) for entries in made["shards"].values())
        print(f"{output}: {pairs} pairs, {clips} clips, {count} shards, {size}x{size}")


if __name__ == "__main__":
    typer.run(main)
