"""How fast and how large a run is: a table and JSON. python scripts/bench.py --help"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Annotated

import typer

# So that a checkout that has not been installed will do.
sys.path.insert(0, str(Path(__file__).parents[1]))

from dance import config, console, demo, pipeline
from dance.evaluation import mediapipe_runtime, report, speed
from dance.types import InputError

CONFIGS = Path(__file__).parents[1] / "configs"
DEFAULT = CONFIGS / "video" / "puppet.yaml"
PRESETS = CONFIGS / "train"


def main(
    rows: Annotated[list[str] | None, typer.Argument(help=f"which of {', '.join(speed.ROWS)}; all unless said")] = None,
    clip: Annotated[Path, typer.Option(help="the driver; the demo's unless said")] = demo.DRIVER,
    source: Annotated[Path, typer.Option(help="the person or a trained run; the demo's unless said")] = demo.SOURCE,
    config_file: Annotated[Path, typer.Option("--config", help="a YAML file of configs/video")] = DEFAULT,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change one setting; may be repeated")] = None,
    preset: Annotated[Path | None, typer.Option(help="a YAML file of configs/train, for the row of its generator; its NAME_cpu.yaml unless said")] = None,
    runtime: Annotated[Path | None, typer.Option(help="a Python that has mediapipe 0.10.21, to compare with")] = None,
    make_runtime: Annotated[Path | None, typer.Option(help="make that Python's environment in this folder, once")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="how often each timing is taken; medians are shown")] = 3,
    results: Annotated[Path, typer.Option(help="where bench.md and bench.json go")] = Path("results"),
) -> None:  # fmt: skip
    """Times the passes and stages of a run and its memory, each beside what it is compared with."""
    with console.exit_codes():
        console.log_to_stderr(quiet=True)
        chosen = rows or list(speed.ROWS)
        unknown = [name for name in chosen if name not in speed.ROWS]
        if unknown:
            raise InputError(f"no row named {unknown[0]!r}; there are: {', '.join(speed.ROWS)}")
        if make_runtime is not None:
            runtime = mediapipe_runtime.make(make_runtime)
        options = config.load(pipeline.VideoConfig, config_file, settings or [])
        options = pipeline.for_source(options, source)
        subject = speed.Subject(clip, source, options, PRESETS, preset, rounds, runtime)
        facts: report.Row = {
            "clip": clip.name,
            "source": source.name,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
            "load before": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
            "python": platform.python_version(),
        }
        found: list[report.Row] = []
        for name in chosen:
            found += speed.ROWS[name](subject)
            # Some take minutes: what was measured stays if the next is stopped.
            report.save(found, results, "bench", facts=facts, digits=2)
        print(report.table(found, digits=2))
        print(report.as_json(found, facts))


if __name__ == "__main__":
    typer.run(main)
