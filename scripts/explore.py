"""What is inside the single-picture generators, as pictures. python scripts/explore.py --help"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

# So that a checkout that has not been installed will do.
sys.path.insert(0, str(Path(__file__).parents[1]))

from dance import console, explore

Who = Annotated[Path, typer.Argument(metavar="PERSON", help="a photo or video of somebody")]
Folder = Annotated[Path, typer.Argument(metavar="OUT", help="the folder for the pictures")]
Other = Annotated[Path | None, typer.Option("--other", metavar="PERSON", help="a photo or video of somebody else")]  # fmt: skip
Poses = Annotated[list[Path] | None, typer.Option("--pose", metavar="FILE", help="a photo or video whose poses are drawn; may be repeated; without it PERSON's own")]  # fmt: skip
Frames = Annotated[int, typer.Option(help="poses taken of a video, spread over it")]
Weights = Annotated[Path | None, typer.Option(help="trained weights (.safetensors); else those that come with the project")]  # fmt: skip
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="what computes")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace pictures in OUT")]
Quiet = Annotated[bool, typer.Option("--quiet", help="say nothing but errors and warnings")]

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def commands() -> None:
    """What is inside the single-picture generators, as pictures: one command for each."""


@app.command("nted")
def run_nted(
    person: Who, output: Folder, other: Other = None, poses: Poses = None, frames: Frames = 4,
    textures: Annotated[int, typer.Option(help="shown alone, of every set")] = 6,
    garment: Annotated[str, typer.Option(help="taken from --other: upper, lower, shoes, hair or face")] = "upper",
    vgg: Annotated[Path | None, typer.Option(help="weights of VGG-19 (scripts/convert_weights.py vgg19): finds how far each texture is exchanged")] = None,
    steps: Annotated[int, typer.Option(help="of that search")] = 200,
    weights: Weights = None, device: Device = "auto", overwrite: Overwrite = False, quiet: Quiet = False,
) -> None:  # fmt: skip
    """What each texture is gathered from and where it goes; with --other, a garment of theirs on PERSON.

    Makes textures_1.png and so on, one for each pose, and garment.png.
    """
    options = {"textures": textures, "garment": garment, "vgg": vgg, "steps": steps}
    _make("nted", options, person, output, other, poses, frames, weights, device, overwrite, quiet)


@app.command("dpig")
def run_dpig(
    person: Who, output: Folder, other: Other = None, poses: Poses = None, frames: Frames = 4,
    samples: Annotated[int, typer.Option(help="drawn at random, of each kind")] = 7,
    steps: Annotated[int, typer.Option(help="from PERSON to --other")] = 7,
    seed: Annotated[int, typer.Option(help="the same seed draws the same")] = 0,
    spread: Annotated[float, typer.Option(help="deviation of the noise that codes are made from")] = 0.2,
    weights: Weights = None, device: Device = "auto", overwrite: Overwrite = False, quiet: Quiet = False,
) -> None:  # fmt: skip
    """Foregrounds, backgrounds and poses at random; with --other, from one person to the other, and clothes exchanged.

    Makes samples.png, interpolation.png and .mp4 (to the second pose, else to the other's own), clothes.png.
    """
    options = {"samples": samples, "steps": steps, "seed": seed, "spread": spread}
    _make("dpig", options, person, output, other, poses, frames, weights, device, overwrite, quiet)


@app.command("dense_transfer")
def run_dense_transfer(
    person: Who, output: Folder, poses: Poses = None, frames: Frames = 4,
    atlas: Annotated[Path | None, typer.Option(help="draw with this atlas too: atlas.png of an earlier run, painted")] = None,
    weights: Weights = None, device: Device = "auto", overwrite: Overwrite = False, quiet: Quiet = False,
) -> None:  # fmt: skip
    """The atlas of PERSON's surface, as seen and made whole, to paint and give back; and what is drawn with it.

    Makes atlas.png, which is to be painted, atlas_seen.png, charts.png, which says where each part is, and drawn.png.
    """
    _make("dense_transfer", {"atlas": atlas}, person, output, None, poses, frames, weights, device, overwrite, quiet)  # fmt: skip


@app.command("xing")
def run_xing(
    person: Who, output: Folder, poses: Poses = None, frames: Frames = 4,
    weights: Weights = None, device: Device = "auto", overwrite: Overwrite = False, quiet: Quiet = False,
) -> None:  # fmt: skip
    """The candidates of both streams, where each is seen, and the picture they add up to.

    Makes candidates_1.png and so on, one for each pose.
    """
    _make("xing", {}, person, output, None, poses, frames, weights, device, overwrite, quiet)


@app.command("pg2")
def run_pg2(
    person: Who, output: Folder, poses: Poses = None, frames: Frames = 4,
    weights: Weights = None, device: Device = "auto", overwrite: Overwrite = False, quiet: Quiet = False,
) -> None:  # fmt: skip
    """The coarse picture, the refined one, and their difference.

    Makes stages.png.
    """
    _make("pg2", {}, person, output, None, poses, frames, weights, device, overwrite, quiet)


@app.command("softgate")
def run_softgate(
    person: Who, output: Folder, poses: Poses = None, frames: Frames = 4,
    parsing: Annotated[Path | None, typer.Option(help="PERSON's parsing: parsing.png of an earlier run, corrected")] = None,
    weights: Weights = None, device: Device = "auto", overwrite: Overwrite = False, quiet: Quiet = False,
) -> None:  # fmt: skip
    """PERSON's parsing and the one predicted for the pose, how the picture is warped into it, and the gates.

    Makes parsing.png, which may be corrected, and steps.png.
    """
    _make("softgate", {"parsing": parsing}, person, output, None, poses, frames, weights, device, overwrite, quiet)  # fmt: skip


def _make(
    name: str, options: dict[str, Any], person: Path, output: Path, other: Path | None, poses: list[Path] | None,
    frames: int, weights: Path | None, device: Literal["auto", "cpu", "cuda", "mps"], overwrite: bool, quiet: bool,
) -> None:  # fmt: skip
    with console.exit_codes():
        with console.ProgressBars(console.log_to_stderr(quiet=quiet), quiet=quiet) as bars:
            made = explore.make(
                name, person, output, other=other, poses=poses or (), frames=frames, weights=weights,
                options=options, device=device, overwrite=overwrite, on_progress=bars,
            )  # fmt: skip
        for path in made if not quiet else ():
            print(path)


if __name__ == "__main__":
    app()
