"""A trained run as a small file of weights that can come with the project: half as precise, and it says what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dance import dataset, plugins, sources, takes, weights
from dance.config import check
from dance.generators import _single as single
from dance.training import checkpoint, loop
from dance.types import InputError

LARGEST = 5_000_000
"""Bytes that a file of weights which comes with the project may have."""
_OWN_LICENCE = "Apache-2.0"
_MOCAP = (
    "The data used in this project was obtained from mocap.cs.cmu.edu. The database was created with funding from "
    "NSF EIA-0196217."
)
# What of a training's settings is told: nothing that says where it was, or what machine it was on.
_TRAINING = ("seed", "batch", "precision", "average", "held_out")


def release(
    run: Path, output: Path | None = None, *, data: Path | None = None, licence: str | None = None
) -> tuple[Path, dict[str, str]]:
    """Writes the run's best weights into a file in float16; gives the file and its metadata.

    output: the file; without it the project's own folder, where generators find it.  data: where the training's data is,
    if no longer where it was.  licence: of the weights, where the data does not tell its own.
    Raises InputError where the run has no weights yet, or they are too many, or something is not known of them.
    """
    found = sources.open_run(run)
    told = json.loads((run / dataset.RUN).read_text(encoding="utf-8"))
    state = _weights(found)
    best = _best(run)
    facts = _data(told["dataset"], data or Path(str(found.settings["data"])))
    metadata = {
        "generator": found.generator,
        "config": weights.read_metadata(found.weights)["config"],
        "version": told["versions"]["dance"],
        "data": json.dumps({k: v for k, v in facts.items() if k != "assets"}),
        "recipe": json.dumps(_recipe(found)),
        "training": json.dumps({key: found.settings[key] for key in _TRAINING}),
        "steps": str(best["step"]),
        "minutes": f"{best['seconds'] / 60:.1f}",
        "held_out": json.dumps({key: best[key] for key in ("stage", "l1", "psnr")}),
        "licence": licence or _licence(facts, run),
    }
    halved = halves(state)
    size = sum(t.numel() * t.element_size() for t in halved.values()) + len(json.dumps(metadata))
    if size > LARGEST:
        raise InputError(
            f"{found.weights}: has {size / 1e6:.1f} MB in float16; weights that come with the project have at most "
            f"{LARGEST / 1e6:g}"
        )
    path = output or weights.SHIPPED / f"{found.generator}.safetensors"
    weights.save_safetensors(path, halved, metadata)
    if output is None:
        _note(path)
    return path, metadata


def halves(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, those of floating point in float16. One with numbers too large for that stays as it is."""
    out = {}
    for key, value in state.items():
        half = value.half() if value.is_floating_point() else value
        out[key] = half if torch.equal(half.isfinite(), value.isfinite()) else value
    return out


def _weights(run: sources.Run) -> dict[str, Tensor]:
    """The run's tensors, which fit its generator. Raises InputError where they do not, or it draws one person only."""
    module = plugins.load("dance.generators", run.generator)
    if not run.anybody:
        raise InputError(
            f"{run.folder}: has taught {run.generator} one person; what comes with the project draws anybody"
        )
    if not run.weights.is_file():
        raise InputError(f"{run.folder}: has no {dataset.GENERATOR} yet")
    single.load(run.weights, run.generator, module.Architecture, module.body)
    return weights.read_tensors(run.weights)


def _best(run: Path) -> dict[str, Any]:
    """What history.json said of the weights that scored best: step, seconds, stage, l1 (of 255) and psnr (dB)."""
    tree = checkpoint.load(run / loop.BEST)
    row: dict[str, Any] = tree["history"][-1]
    assert row["step"] == tree["step"]
    return row


def _recipe(run: sources.Run) -> dict[str, Any]:
    """The recipe's options that were given; of files only their names."""
    recipes = plugins.load(loop.RECIPES, run.generator)
    given = run.settings["recipe"]["options"]
    options = check(recipes.Config, given, f"recipe.options of {run.folder / dataset.RUN}")
    files = {
        name: value.name
        for name, value in options.model_dump(exclude_unset=True).items()
        if isinstance(value, Path)
    }
    set_ones: dict[str, Any] = options.model_dump(mode="json", exclude_unset=True)
    return {"name": run.generator, "options": set_ones | files}


def _data(facts: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the run learnt from; of synthetic people also how they were made and from which parts."""
    found = {key: facts[key] for key in ("reader", "sha256", "pictures", "has")}
    if facts["reader"] != "synthetic":
        return found
    path = folder / takes.MANIFEST
    if not path.is_file() or weights.sha256(path) != facts["sha256"]:
        raise InputError(
            f"{folder}: what the run has learnt from is not there, or is another now; say where it is: --data FOLDER"
        )
    manifest = takes.read_manifest(folder)
    known = ("seed", "pairs", "clips", "frames", "size", "assets")
    return found | {key: manifest[key] for key in known if key in manifest}


def _licence(facts: Mapping[str, Any], run: Path) -> str:
    """What the weights may be used for, by what they were taught with. Raises InputError where that is not known."""
    assets = facts.get("assets", ())
    terms = sorted({asset["licence"] for asset in assets})
    if not terms or "not told" in terms:
        raise InputError(
            f"{run}: the licence of what it learnt from is not told; say what the weights' is: --licence TEXT"
        )
    captured = any(Path(asset["path"]).parts[0] == "motion" for asset in assets)
    return (
        f"{_OWN_LICENCE}. Taught with computer-made people alone, rendered from parts under: {'; '.join(terms)}."
        + (f" {_MOCAP}" if captured and _MOCAP not in "".join(terms) else "")
    )


def _note(path: Path) -> None:
    """Writes down the hash of a file in the project's own folder."""
    sums = weights.released() | {path.name: weights.sha256(path)}
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    aside = path.with_name(f".{weights.SUMS}.part")
    aside.write_text(text, encoding="ascii", newline="\n")
    aside.replace(path.with_name(weights.SUMS))
