"""How good results, poses and retargeting are: tables, JSON and contact sheets. python scripts/evaluate.py --help"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

# So that a checkout that has not been installed will do.
sys.path.insert(0, str(Path(__file__).parents[1]))

from dance import config, console, pipeline
from dance.devices import choose_device
from dance.evaluation import (
    benchmark,
    footage,
    mediapipe_runtime,
    pairs,
    poses,
    report,
    retargeting,
    singles,
    surface,
    trained,
)
from dance.types import InputError

DEFAULT = Path(__file__).parents[1] / "configs" / "video" / "puppet.yaml"

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Benchmark = Annotated[Path, typer.Argument(help="a folder of triplets with its score.py")]
Results = Annotated[Path, typer.Argument(help="where results, tables and contact sheets go")]
Tables = Annotated[
    Path, typer.Option("--results", help="where the table goes, as Markdown and JSON")
]
Config = Annotated[Path, typer.Option("--config", help="a YAML file of configs/video")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change one setting; may be repeated")]  # fmt: skip
Only = Annotated[list[str] | None, typer.Option("--only", help="only this one; may be repeated")]
Runtime = Annotated[Path | None, typer.Option(help="a Python that has mediapipe 0.10.21, to compare with")]  # fmt: skip
MakeRuntime = Annotated[Path | None, typer.Option(help="make that Python's environment in this folder, once")]  # fmt: skip


@app.command("benchmark")
def run_benchmark(
    folder: Benchmark,
    results: Results,
    config_file: Config = DEFAULT,
    settings: Settings = None,
    source: Annotated[benchmark.Source, typer.Option(help="the photo or the video of the person")] = "png",
    joints: Annotated[benchmark.Joints, typer.Option(help="true: draw the answer's exact joints, so that only drawing errs")] = "own",
    only: Only = None,
    score_only: Annotated[bool, typer.Option("--score-only", help="score what is in RESULTS already")] = False,
) -> None:  # fmt: skip
    """Makes every triplet's video and scores it with the benchmark's own program."""
    with console.exit_codes():
        console.log_to_stderr(quiet=False)
        options = _config(config_file, settings)
        folders = benchmark.triplets(folder, only or ())
        if not score_only:
            made = list(benchmark.run(options, folders, results, source=source, joints=joints))
            report.save(made, results, "runs")
        rows = benchmark.score(folder, results, folders)
        benchmark.sheet(folders, results, results / "sheet.png")
        facts: report.Row = {
            "config": config_file.name,
            "settings": " ".join(settings or []),
            "source": source,
            "joints": joints,
        }
        _show(rows, results, "benchmark", facts)


@app.command("poses")
def run_poses(
    folder: Benchmark,
    results: Tables = Path("results"),
    config_file: Config = DEFAULT,
    settings: Settings = None,
    only: Only = None,
    runtime: Runtime = None,
    make_runtime: MakeRuntime = None,
) -> None:
    """Poses of the drivers against the exact truth: raw, smoothed, and the mediapipe runtime's."""
    with console.exit_codes():
        options = _config(config_file, settings)
        folders = benchmark.triplets(folder, only or ())
        rows = poses.benchmark_rows(folders, options, _runtime(runtime, make_runtime))
        _show(list(rows), results, "poses", {"settings": " ".join(settings or [])})


@app.command("poses-parity")
def run_parity(
    clips: Annotated[list[Path], typer.Argument(help="videos of a person")],
    results: Tables = Path("results"),
    config_file: Config = DEFAULT,
    settings: Settings = None,
    runtime: Runtime = None,
    make_runtime: MakeRuntime = None,
) -> None:
    """How far our joints are from the mediapipe runtime's on any clips, in torso lengths."""
    with console.exit_codes():
        options = _config(config_file, settings)
        python = _runtime(runtime, make_runtime)
        if python is None:
            raise InputError("give --runtime PYTHON, or --make-runtime FOLDER to make one")
        rows = [poses.parity_row(clip, options, python) for clip in clips]
        _show(rows, results, "poses_parity", {}, digits=4)


@app.command("retarget")
def run_retarget(
    folder: Benchmark,
    results: Tables = Path("results"),
    config_file: Config = DEFAULT,
    settings: Settings = None,
    source: Annotated[benchmark.Source, typer.Option(help="the photo or the video of the person")] = "png",
    only: Only = None,
) -> None:  # fmt: skip
    """Retargeted joints against the exact answers, ours and what other systems do, in torso lengths."""
    with console.exit_codes():
        options = _config(config_file, settings)
        folders = benchmark.triplets(folder, only or ())
        rows = list(retargeting.table(folders, options, source=source))
        facts = {"source": source, "settings": " ".join(settings or [])}
        _show([*rows, *retargeting.means(rows)], results, "retarget", facts)


@app.command("surface")
def run_surface(
    folder: Benchmark,
    results: Results,
    config_file: Config = DEFAULT,
    settings: Settings = None,
    only: Only = None,
) -> None:
    """The fitted 3-D bodies against the exact truth: joints, silhouettes, parts of the body, retargeting."""
    with console.exit_codes():
        console.log_to_stderr(quiet=False)
        options = _config(config_file, settings)
        found = list(surface.compare(benchmark.triplets(folder, only or ()), options))
        rows, facts = [result.row for result in found], {"settings": " ".join(settings or [])}
        _show(rows, results, "surface", facts)
        surface.sheet(found, results / "surface.png")
        _show(surface.verdicts(rows), results, "surface_bars", facts)


@app.command("footage")
def run_footage(
    folder: Annotated[Path, typer.Argument(help="a folder with drivers, photos, sources, nasty and manifest.json")],
    results: Results,
    drivers: Annotated[list[str] | None, typer.Option("--driver", help="part of a driver's name; all unless said")] = None,
    sources: Annotated[list[str] | None, typer.Option("--source", help="part of a photo's or source video's name; all unless said")] = None,
    nasty: Annotated[bool, typer.Option(help="also the files that are meant to be difficult")] = True,
    only_nasty: Annotated[bool, typer.Option("--only-nasty", help="nothing but those")] = False,
    config_file: Config = DEFAULT,
    settings: Settings = None,
) -> None:  # fmt: skip
    """Real clips through the command: frames, times and sound against the driver's, and contact sheets."""
    with console.exit_codes():
        console.log_to_stderr(quiet=False)
        options = ["--config", str(config_file)]
        options += [part for setting in settings or [] for part in ("--set", setting)]
        photos = footage.files(folder / "photos")
        people = footage.chosen([*photos, *footage.files(folder / "sources")], sources or ())
        dances = footage.chosen(footage.files(folder / "drivers"), drivers or ())
        if not only_nasty:
            rows = list(footage.regular_rows(dances, people, results, options))
            _show(rows, results, "footage", {})
        if nasty or only_nasty:
            photo = next((path for path in people if path in photos), photos[0])
            rows = list(footage.nasty_rows(folder, photo, dances[0], results / "nasty", options))
            _show(rows, results, "nasty", {})


@app.command("pairs")
def run_pairs(
    folder: Annotated[Path, typer.Argument(metavar="FOOTAGE", help="a folder with pairs, their clips and manifest.json")],
    results: Results,
    generators: Annotated[list[str] | None, typer.Option("--generator", help="puppet and avatar unless said; may be repeated")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="part of a pair's name; may be repeated")] = None,
    config_file: Config = DEFAULT,
    settings: Settings = None,
) -> None:  # fmt: skip
    """Real people drawn in poses they truly took, from one picture and from a clip, against the true frames."""
    with console.exit_codes():
        console.log_to_stderr(quiet=False)
        options = _config(config_file, settings)
        drawn = list(
            pairs.compare(pairs.pairs(folder, only or ()), options, generators or pairs.GENERATORS)
        )
        _show(pairs.rows(drawn), results, "pairs", {"settings": " ".join(settings or [])})
        pairs.sheet(drawn, results / "pairs.png")


@app.command("heldout")
def run_heldout(
    results: Results,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="folders of scripts/train.py that learnt from one dataset")],
    data: Annotated[Path | None, typer.Option(metavar="DATASET", help="where the dataset is, if it has moved")] = None,
    height: Annotated[int, typer.Option(help="of the view everything is compared in; that of the networks, a multiple of 32")] = trained.HEIGHT,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
) -> None:  # fmt: skip
    """Trained runs on the frames they never learnt from, beside the nearest training frame and the puppet."""
    with console.exit_codes():
        console.log_to_stderr(quiet=False)
        rows, facts = trained.compare(
            runs, results / "heldout.png", data=data, height=height, device=_device(device)
        )
        _show(rows, results, "heldout", facts)


@app.command("singles")
def run_singles(
    data: Annotated[Path, typer.Argument(help="an album with mattes: synthetic people, or whatever training reads")],
    results: Results,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="folders of scripts/train.py, or files of weights")],
    pairs: Annotated[int, typer.Option(help="at most so many pairs, spread over all that nobody has learnt from")] = singles.PAIRS,
    clips: Annotated[int, typer.Option(help="at most so many clips, likewise; 0: no flicker")] = singles.CLIPS,
    avatar: Annotated[bool, typer.Option(help="also the avatar, which takes most of the time")] = True,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
) -> None:  # fmt: skip
    """Generators of single pictures on people they never learnt from, beside copying, the puppet and the avatar."""
    with console.exit_codes():
        console.log_to_stderr(quiet=False)
        drawers = (singles.PUPPET, singles.AVATAR)[: 1 + avatar]
        rows, facts = singles.compare(
            data, runs, results / "singles.png",
            pairs=pairs, clips=clips, drawers=drawers, device=_device(device),
        )  # fmt: skip
        _show(rows, results, "singles", facts)


def _device(name: str) -> str:
    return choose_device(config.check(pipeline.VideoConfig, {"device": name}, "--device").device)


def _config(path: Path, settings: list[str] | None) -> pipeline.VideoConfig:
    return config.load(pipeline.VideoConfig, path, settings or [])


def _runtime(python: Path | None, folder: Path | None) -> Path | None:
    return mediapipe_runtime.make(folder) if folder is not None else python


def _show(
    rows: list[report.Row], results: Path, name: str, facts: report.Row, *, digits: int = 3
) -> None:
    report.save(rows, results, name, facts=facts, digits=digits)
    print(report.table(rows, digits=digits))


if __name__ == "__main__":
    app()
