"""The architecture: who may import whom, read from the code itself."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dance

ROOT = Path(dance.__file__).parent

# A part of `dance` (a module or a folder directly in it) may import parts of lower layers, never of its own.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"types"}),
    frozenset(
        {
            "config",
            "_inpaint_loops",
            "console",
            "demo",
            "devices",
            "networks",
            "plugins",
            "progress",
            "skeleton",
            "stream",
            "weights",
        }
    ),
    frozenset({"draw", "geometry", "inpaint", "joint_files", "joint_maps", "labels"}),
    frozenset({"matte", "surface"}),
    frozenset({"picture", "plate", "video"}),
    frozenset({"finish", "generators", "person", "pose"}),
    frozenset({"bodies", "dataset", "person_files", "render", "sheets", "takes"}),
    frozenset({"sources", "synthetic"}),
    frozenset({"pipeline", "training"}),
    frozenset({"prepare"}),
    frozenset({"cluster", "convert", "evaluation", "explore", "release", "web"}),
)
# Layers alone would allow these.
FORBIDDEN = {
    "training": {"pose", "person", "person_files", "finish", "sheets", "video", "picture"},
    **{
        part: {"video", "picture"} for part in ("finish", "generators", "person", "pose", "surface")
    },
}

# A package from outside and the only modules that may import it.
ONLY_IN = {
    "anny": {"dance.surface._reduce"},
    "av": {"dance.video"},
    "ai_edge_litert": {"dance.networks"},
    "onnxruntime": {"dance.networks"},
    "openvino": {"dance.networks"},
    "mmpose": {"dance.pose.estimators.mmpose"},
    "mmengine": {"dance.pose.estimators.mmpose"},
    "mmcv": {"dance.pose.estimators.mmpose"},
    "scenedetect": {"dance.pose.cuts"},
    "filterpy": {"dance.pose.kalman"},
    "imageio_ffmpeg": {"dance.sheets"},
    "ffmpeg": {"dance.sheets"},
    "accelerate": {"dance.training"},
    "kornia": {"dance.training", "dance.generators._softgate_match"},
    "tensorboard": {"dance.training"},
    "rich": {"dance.console"},
    "typer": set(),
    "ray": {"dance.cluster"},
    "gradio": {"dance.web"},
}
PLAIN = {"numpy", "pydantic", "yaml"}
PLAIN_PARTS = {"types", "config", "stream", "plugins"}
WITHOUT_TORCH = ("types", "config", "stream", "video", "skeleton")


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("dance", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
each_module = pytest.mark.parametrize("name", MODULES)


def part(name: str) -> str:
    """'dance.pose.smooth' belongs to the part 'pose'."""
    return name.split(".")[1] if "." in name else ""


def imports(path: Path, *, run_time_only: bool = False) -> Iterator[str]:
    """Dotted names of everything the file imports, wherever in it; `from a import b` gives a and a.b."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if run_time_only and id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_parts(name: str) -> set[str]:
    """The other parts of `dance` a module imports."""
    found = {n for n in imports(MODULES[name]) if n.startswith("dance.")}
    # `from dance.types import Pose` names types.Pose, `from dance import video` names video.
    parts = {part(n) for n in found if part(n) in {part(m) for m in MODULES}}
    return parts - {part(name), ""}


def layer(of: str) -> int:
    for depth, parts in enumerate(LAYERS):
        if of in parts:
            return depth
    raise AssertionError(f"dance/{of} is in no layer: say in LAYERS where it belongs")


def test_there_is_something_to_look_at() -> None:
    assert {"dance", "dance.types", "dance.pipeline", "dance.pose.estimators"} <= set(MODULES)


@each_module
def test_imports_go_downwards_only(name: str) -> None:
    if name == "dance":
        assert not any(n.startswith("dance") for n in imports(MODULES[name]))
        return
    here = part(name)
    upwards = {other for other in imported_parts(name) if layer(other) >= layer(here)}
    assert not upwards, f"{name} may not import dance.{', dance.'.join(upwards)}"
    never = imported_parts(name) & FORBIDDEN.get(here, set())
    assert not never, f"{name} may not import dance.{', dance.'.join(never)}"


@each_module
def test_outside_packages_stay_in_their_place(name: str) -> None:
    for package in {n.split(".")[0] for n in imports(MODULES[name])}:
        allowed = ONLY_IN.get(package)
        at_home = allowed is None or any(
            name == home or name.startswith(f"{home}.") for home in allowed
        )
        assert at_home, f"{name} imports {package}, which belongs to {allowed or 'the commands'}"


@each_module
def test_the_foundation_needs_nearly_nothing(name: str) -> None:
    if part(name) in PLAIN_PARTS:
        outside = {n.split(".")[0] for n in imports(MODULES[name], run_time_only=True)}
        assert outside - set(sys.stdlib_module_names) - {"dance"} <= PLAIN


@each_module
def test_no_module_prints_or_changes_the_import_path(name: str) -> None:
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in {"print", "sys.path.append", "sys.path.insert"}


@each_module
def test_every_module_can_be_imported(name: str) -> None:
    importlib.import_module(name)


def test_every_module_is_found_by_walking_the_package() -> None:
    # A folder without __init__.py would be left out of an installation without a word.
    walked = {m.name for m in pkgutil.walk_packages(dance.__path__, "dance.")}
    assert walked | {"dance"} == set(MODULES)


def test_importing_the_foundation_does_not_import_torch_or_print() -> None:
    code = f"import sys, {', '.join(f'dance.{m}' for m in WITHOUT_TORCH)}; assert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT.parent
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_commands_only_parse_and_call() -> None:
    """Scripts and run_video hold no numbers' work: nothing that computes is imported there."""
    for path in (ROOT.parent / "run_video.py", *sorted((ROOT.parent / "scripts").glob("*.py"))):
        packages = {n.split(".")[0] for n in imports(path)}
        assert packages - set(sys.stdlib_module_names) <= {"dance", "typer", "rich"}, path
