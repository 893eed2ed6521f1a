"""Any top-down estimator of mmpose 1.x, from the user's config and checkpoint.

mmpose is no part of the default installation: scripts/install_mmpose.py installs it. Two gaps of what
it needs are filled here, before it is imported: the lite build of mmcv has no operators, and torchvision
cannot load its own beside another build of torch. Neither is used by top-down estimators.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import pickle
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from pydantic import Field

from dance import geometry, skeleton
from dance.config import Options
from dance.pose.estimators import blazepose
from dance.pose.estimators._blaze_landmarks import region_of
from dance.types import JOINTS, Box, Frame, InputError, Pose

INSTALL = "python scripts/install_mmpose.py"
_MARGIN = 0.1  # the person reaches so much further than their joints, in shares of the joints' box
_LIMB_JOINTS = range(skeleton.LEFT_SHOULDER, skeleton.RIGHT_ANKLE + 1)


class Config(Options):
    """config, checkpoint: mmpose's files of a top-down estimator, of COCO's 17 joints or more.

    Only joints ours knows by name are used, and all of COCO-WholeBody's 133.  people: at most so many;
    where people are is found by BlazePose.  sure: a pose whose mean score is lower is nobody.
    """

    config: Path
    checkpoint: Path
    people: int = Field(default=4, ge=1)
    sure: float = Field(default=0.3, ge=0, le=1)


def build(config: Config, device: str) -> MMPose:
    """The estimator on that device. Raises InputError where mmpose is absent or a file does not fit."""
    for path in (config.config, config.checkpoint):
        if not path.is_file():
            raise InputError(f"{path}: there is no such file; give mmpose's config and checkpoint")
    if importlib.util.find_spec("mmpose") is None:
        raise InputError(f"mmpose is not installed; run: {INSTALL}")
    _fill_torchvision()
    _fill_mmcv()
    apis = importlib.import_module("mmpose.apis")
    try:
        model = apis.init_model(str(config.config), None, device=device)
    except (SyntaxError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{config.config}: is no config of a pose estimator ({error})") from error
    _load(model, config.checkpoint)
    return MMPose(config, model, apis.inference_topdown, _joints(model, config.config))


class MMPose:
    """See `types.Estimator`."""

    def __init__(self, config: Config, model: Any, infer: Any, joints: dict[int, int]) -> None:
        self._config = config
        self._model = model
        self._infer = infer
        self._joints = joints
        self._finder = blazepose.build(blazepose.Config(people=config.people), "cpu")
        # Nothing says that mmpose's models may be called from several threads.
        self._lock = threading.Lock()

    def __call__(self, frame: Frame, near: Pose | None) -> list[Pose]:
        """All people, surest first, or with `near` whoever is in the box around its joints."""
        around = self._finder(frame, None) if near is None else [near]
        boxes = [box for box in map(_box, around) if box is not None]
        if not boxes:
            return []
        corners = np.array([[b.left, b.top, b.right, b.bottom] for b in boxes], np.float32)
        with self._lock:
            # mmpose takes pictures as OpenCV reads them: blue first.
            results = self._infer(self._model, np.ascontiguousarray(frame.rgb[..., ::-1]), corners)
        return [pose for pose in map(self._pose, results) if pose is not None]

    def close(self) -> None:
        """Frees the networks."""
        self._finder.close()
        self._model = None

    def _pose(self, result: Any) -> Pose | None:
        found = result.pred_instances
        points, scores = (
            np.asarray(values, np.float32)[0] for values in (found.keypoints, found.keypoint_scores)
        )
        xy, score = np.zeros((JOINTS, 2), np.float32), np.zeros(JOINTS, np.float32)
        ours, theirs = list(self._joints.values()), list(self._joints)
        # Scores of classified coordinates may exceed 1 a little.
        xy[ours], score[ours] = points[theirs], np.clip(scores[theirs], 0, 1)
        if score[skeleton.BODY_SLICE].mean() < self._config.sure:
            return None
        pose = Pose(xy, score)
        return Pose(xy, score, region=region_of(pose))


def _box(pose: Pose) -> Box | None:
    """The box around a person, a little larger than the one around their surely seen joints."""
    box = geometry.joints_box(pose.xy, pose.score, threshold=0.3)
    return None if box is None else geometry.grow(box, _MARGIN)


def _joints(model: Any, path: Path) -> dict[int, int]:
    """For the model's joints that are ours too: their place in ours. Raises InputError without limbs."""
    names: Sequence[str] = [
        name for _, name in sorted(model.dataset_meta["keypoint_id2name"].items())
    ]
    if len(names) == JOINTS:
        return {i: i for i in range(JOINTS)}
    joints = {i: skeleton.INDEX[name] for i, name in enumerate(names) if name in skeleton.INDEX}
    if not set(_LIMB_JOINTS) <= set(joints.values()):
        raise InputError(
            f"{path}: its {len(names)} joints ({', '.join(names[:4])} ...) lack some of COCO's"
        )
    return joints


def _load(model: Any, path: Path) -> None:
    """Fills the model from a checkpoint, strictly, without running any code a pickle may hold."""
    import torch

    # What mmengine stores beside the weights: arrays of the data set's description.
    multiarray = importlib.import_module("numpy._core.multiarray")
    harmless: list[Any] = [
        np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "u1")),
        multiarray._reconstruct, multiarray.scalar,
        (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
        (multiarray.scalar, "numpy.core.multiarray.scalar"),
        importlib.import_module("mmengine.logging.history_buffer").HistoryBuffer,
    ]  # fmt: skip
    try:
        with torch.serialization.safe_globals(harmless):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: is no checkpoint of plain weights ({reason})") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict):
        raise InputError(f"{path}: holds no weights but a {type(state).__name__}")
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        lines = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: does not fit the config ({lines})") from error


def _fill_torchvision() -> None:
    """Declares the operators torchvision asks for by name while it is imported, if it has not its own."""
    import torch

    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{operator}",
                "(Tensor boxes, Tensor scores, float threshold) -> Tensor",
            )
        importlib.import_module("torchvision")


def _fill_mmcv() -> None:
    """Makes `mmcv.ops` and what is below it importable; whatever is taken from it fails when used."""
    if importlib.util.find_spec("mmcv._ext") is None and "mmcv.ops" not in sys.modules:
        # Before the others: the lite build has a package mmcv.ops, but it cannot be imported.
        sys.meta_path.insert(0, _NoOperators())


class _NoOperators(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds mmcv.ops and its parts, as modules of which every attribute is a class that cannot be made."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == "mmcv.ops" or fullname.startswith("mmcv.ops."):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Missing(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Has nothing to run."""


class _Missing(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        where = self.__name__

        def refuse(*_: Any, **__: Any) -> None:
            raise RuntimeError(f"{where}.{name} is not in the lite build of mmcv")

        return type(name, (), {"__init__": refuse})
