"""Makes a person dance: python run_video.py DRIVER SOURCE OUTPUT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dance import config, console, demo, pipeline

DEFAULT = Path(__file__).parent / "configs" / "video" / "puppet.yaml"


def main(
    driver: Annotated[Path | None, typer.Argument(help="the dance: any video file")] = None,
    source: Annotated[Path | None, typer.Argument(help="the person: a photo, a video or a trained run")] = None,
    output: Annotated[Path | None, typer.Argument(help="the result: .mp4 .mov .mkv .webm")] = None,
    demo_output: Annotated[Path | None, typer.Option("--demo", metavar="OUTPUT", help="try it on the built-in clip and person")] = None,
    config_file: Annotated[Path, typer.Option("--config", help="a YAML file of configs/video")] = DEFAULT,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change one setting; may be repeated")] = None,
    poses: Annotated[Path | None, typer.Option(help="draw this retargeted track instead of estimating one")] = None,
    save_poses: Annotated[Path | None, typer.Option(help="keep the retargeted track (.npz, or OpenPose .json / folder)")] = None,
    preview: Annotated[Path | None, typer.Option(help="sticks over both people, before anything is rendered")] = None,
    compare: Annotated[Path | None, typer.Option(help="driver | skeleton | result, side by side")] = None,
    live: Annotated[bool, typer.Option("--live", help="one pass with a bounded lag")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace files that exist")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="say nothing but errors and warnings")] = False,
) -> None:  # fmt: skip
    """Makes the person of SOURCE dance the dance of DRIVER, with its sound, into OUTPUT."""
    with console.exit_codes():
        driver, source, output = demo.arguments(driver, source, output, demo_output)
        options = config.load(pipeline.VideoConfig, config_file, settings or [])
        extras = pipeline.Extras(poses, save_poses, preview, compare)
        with console.ProgressBars(console.log_to_stderr(quiet=quiet), quiet=quiet) as bars:
            report = pipeline.make_video(
                options, driver, source, output,
                extras=extras, live=live, overwrite=overwrite, on_progress=bars,
            )  # fmt: skip
        if not quiet:
            console.summary(report)


if __name__ == "__main__":
    typer.run(main)
