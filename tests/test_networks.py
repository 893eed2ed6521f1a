"""The runtime of .tflite networks. These tests fetch the networks once, as the program does."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dance import weights
from dance.networks import Network
from dance.types import InputError


@pytest.fixture(scope="module")
def path() -> Path:
    try:
        return weights.mediapipe("face_landmark.tflite")
    except InputError as error:
        pytest.skip(str(error))


def test_shapes_are_known_and_checked(path: Path) -> None:
    with Network(path) as network:
        assert network.inputs == ((1, 192, 192, 3),)
        outputs = network(np.zeros((1, 192, 192, 3), np.float32))
        assert tuple(o.shape for o in outputs) == network.outputs
        with pytest.raises(ValueError, match="takes inputs of shapes"):
            network(np.zeros((1, 64, 64, 3), np.float32))


def test_results_of_earlier_calls_stay_as_they_were(path: Path) -> None:
    with Network(path) as network:
        first = network(np.zeros(network.inputs[0], np.float32))
        kept = [o.copy() for o in first]
        network(np.ones(network.inputs[0], np.float32))
        assert all(np.array_equal(a, b) for a, b in zip(first, kept, strict=True))


@pytest.mark.parametrize("workers", [1, 3])
def test_calls_from_many_threads_give_each_its_own_result(path: Path, workers: int) -> None:
    random = np.random.default_rng(0)
    with Network(path, workers=workers) as network:
        inputs = [random.random(network.inputs[0], np.float32) for _ in range(12)]
        alone = [network(value)[0] for value in inputs]
        before = threading.active_count()
        with ThreadPoolExecutor(6) as pool:
            together = [o[0] for o in pool.map(network, inputs)]
        assert threading.active_count() == before
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_closed_network_says_so(path: Path) -> None:
    network = Network(path, workers=2)
    network.close()
    network.close()
    with pytest.raises(ValueError, match="has been closed"):
        network(np.zeros((1, 192, 192, 3), np.float32))


@pytest.mark.parametrize("content", [None, b"no network"])
def test_a_file_that_is_no_network_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mine.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"mine\.tflite"):
        Network(path)


def test_outputs_nobody_wants_are_left_out_and_the_others_stay_the_same() -> None:
    path = weights.mediapipe("pose_landmark_full.tflite")
    picture = np.random.default_rng(0).random((1, 256, 256, 3), np.float32)
    mask = (1, 256, 256, 1)
    with Network(path) as whole, Network(path, without=[mask]) as less:
        assert mask in whole.outputs
        assert less.outputs == tuple(shape for shape in whole.outputs if shape != mask)
        kept = [o for o in whole(picture) if o.shape != mask]
        assert all(np.array_equal(a, b) for a, b in zip(kept, less(picture), strict=True))


@pytest.mark.skipif(os.name != "posix", reason="signal stacks are POSIX's")
def test_signals_survive_networks_of_openvino_that_were_freed() -> None:
    pytest.importorskip("openvino")
    program = """
import os, signal, torch
from dance import networks
caught = []
signal.signal(signal.SIGTERM, lambda *_: caught.append(True))
network = torch.nn.Conv2d(3, 3, 3).eval()
first = networks.openvino(network, (1, 3, 8, 8))
second = networks.openvino(network, (1, 3, 8, 8))
del first
del second
os.kill(os.getpid(), signal.SIGTERM)
assert caught
"""
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, timeout=120)
    assert done.returncode == 0
