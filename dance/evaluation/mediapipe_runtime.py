"""The mediapipe runtime's own poses and speed, for comparison; a script for another Python.

    PYTHON dance/evaluation/mediapipe_runtime.py CLIP OUT.npz [unsmoothed]

PYTHON belongs to an environment of its own, because mediapipe 0.10.21 wants other versions of numpy
and protobuf than this project (`make` builds one). `run` calls the script and reads OUT back.
"""

import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

VERSION = "0.10.21"
UNSMOOTHED = "unsmoothed"
NEEDS = (
    "numpy<2.5", "protobuf>=4.25.3,<5", "absl-py", "attrs", "flatbuffers", "matplotlib",
    "opencv-contrib-python",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RuntimePoses:
    """What the runtime says of a clip.

    landmarks: (T, 33, 4) float32: x and y in pixels, depth in pixels, visibility in [0, 1].
    found: (T,) bool.  seconds: of decoding and estimating.  pose_seconds: of estimating alone.
    """

    landmarks: np.ndarray
    found: np.ndarray
    seconds: float
    pose_seconds: float


def make(folder: Path) -> Path:
    """Makes a virtual environment with the runtime in a folder, unless it is there; its Python's path."""
    windows = sys.platform == "win32"
    python = folder / ("Scripts/python.exe" if windows else "bin/python")
    done = folder / "made"
    if not done.exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *NEEDS], check=True)
        # Its own list of needs would force an old numpy and pull jax.
        subprocess.run([*pip, "--no-deps", f"mediapipe=={VERSION}"], check=True)
        done.touch()
    return python


def run(python: Path, clip: Path, *, smoothed: bool = True) -> RuntimePoses:
    """The runtime's poses of a clip, computed by another Python (`solutions.pose`, complexity 1, tracking).

    smoothed: with its own filter over time, which is how it comes; False: as its network says.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "poses.npz"
        # -I: this file's folder must not be on the other Python's path.
        command = [str(python), "-I", str(Path(__file__).resolve()), str(clip.resolve()), str(out)]
        command += [] if smoothed else [UNSMOOTHED]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise RuntimeError(f"{python}: the mediapipe runtime failed on {clip}: {last[0]}")
        values = np.load(out)
        return RuntimePoses(
            values["landmarks"],
            values["found"],
            float(values["seconds"]),
            float(values["pose_seconds"]),
        )


def main(clip: str, out: str, *how: str) -> None:
    import mediapipe

    smoothed = UNSMOOTHED not in how

    landmarks, found, pose_seconds = [], [], 0.0
    with mediapipe.solutions.pose.Pose(model_complexity=1, smooth_landmarks=smoothed) as pose:
        began = time.perf_counter()
        capture = cv2.VideoCapture(clip)
        while (picture := capture.read())[0]:
            rgb = cv2.cvtColor(picture[1], cv2.COLOR_BGR2RGB)
            height, width = rgb.shape[:2]
            before = time.perf_counter()
            result = pose.process(rgb).pose_landmarks
            pose_seconds += time.perf_counter() - before
            found.append(result is not None)
            points = [] if result is None else result.landmark
            rows = [(p.x * width, p.y * height, p.z * width, p.visibility) for p in points]
            landmarks.append(rows or np.zeros((33, 4)))
        seconds = time.perf_counter() - began
    np.savez(
        out, landmarks=np.array(landmarks, np.float32), found=np.array(found),
        seconds=seconds, pose_seconds=pose_seconds,
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
