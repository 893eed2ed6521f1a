"""The one place that knows inference runtimes: ai-edge-litert for .tflite files, OpenVINO for our own networks.

`invoke` of ai-edge-litert 2.3 releases the interpreter lock: on two idle cores two threads with an
interpreter each ran the pose network 2.0 times as often a second as one, exactly like two processes.
(Its newer CompiledModel holds the lock.) Therefore concurrency is threads of the caller, and nothing
has to be started, fed or ended here.
"""

from __future__ import annotations

import os
import queue
import tempfile
import threading
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from dance.types import Array, InputError

if TYPE_CHECKING:
    import torch

_CHATTER = threading.Lock()
_MAGIC = b"TFL3"


class Network:
    """A network: `network(*inputs)` gives the tuple of its outputs, in the file's order. Thread-safe.

    path: a .tflite file.  workers: how many calls may run at the same time, each on one core; further
    calls wait for their turn. An interpreter is made only when that many calls are really under way.
    without: shapes of outputs nobody will look at; they are left out, and so is what only they need.
    Raises InputError where the file is missing or no such network.
    """

    def __init__(
        self, path: Path, *, workers: int = 1, without: Collection[tuple[int, ...]] = ()
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be 1 or more, got {workers}")
        self._path = path
        self._content = _content(path, without)
        # Last in, first out: a lone caller always meets the same, warm interpreter.
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(workers - 1):
            self._idle.put(None)
        first = _interpreter(path, self._content)
        self._idle.put(first)
        self._workers = workers
        self._closed = False
        self.inputs = tuple(tuple(map(int, i["shape"])) for i in first.get_input_details())
        """The shapes of the inputs."""
        self.outputs = tuple(tuple(map(int, o["shape"])) for o in first.get_output_details())
        """The shapes of the outputs."""

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """The outputs, as arrays of their own, for inputs of the shapes `inputs` (float32)."""
        given = tuple(value.shape for value in inputs)
        if given != self.inputs:
            raise ValueError(f"{self._path.name} takes inputs of shapes {self.inputs}, got {given}")
        interpreter = self._idle.get()
        try:
            if self._closed:
                raise ValueError(f"the network {self._path.name} has been closed")
            if interpreter is None:
                interpreter = _interpreter(self._path, self._content)
            for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
                interpreter.set_tensor(
                    detail["index"], np.ascontiguousarray(value, detail["dtype"])
                )
            interpreter.invoke()
            return tuple(
                interpreter.get_tensor(detail["index"])
                for detail in interpreter.get_output_details()
            )
        finally:
            self._idle.put(interpreter)

    def close(self) -> None:
        """Waits for the calls under way and frees the memory; a later call raises ValueError."""
        self._closed = True
        for _ in range(self._workers):
            self._idle.get()
        for _ in range(self._workers):
            self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _content(path: Path, without: Collection[tuple[int, ...]]) -> bytes:
    """The file's bytes, or those of the same network without these outputs and what only they need."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give a .tflite network")
    content = path.read_bytes()
    # The file's identifier, which the format keeps behind the first offset.
    if not without or content[4:8] != _MAGIC:
        return content
    import flatbuffers
    from ai_edge_litert.schema_py_generated import ModelT

    model = ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    outputs = [o for o in graph.outputs if tuple(graph.tensors[o].shape) not in without]
    needed = {int(o) for o in outputs}
    operators = []
    # Stored in the order they run, so that from the end all that needs a tensor comes before what makes it.
    for operator in reversed(graph.operators):
        if needed.intersection(map(int, operator.outputs)):
            operators.append(operator)
            needed.update(map(int, operator.inputs))
    graph.operators, graph.outputs = operators[::-1], np.array(outputs, np.int32)
    # Signatures name all outputs; nothing here calls by them.
    model.signatureDefs = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), _MAGIC)
    return bytes(builder.Output())


def _interpreter(path: Path, content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    try:
        # One thread: for these small networks another call on the other core gains more than a second thread.
        with _without_chatter():
            interpreter = Interpreter(model_content=content, num_threads=1)
    except ValueError as error:
        raise InputError(f"{path}: is no whole .tflite network ({error})") from error
    with _without_chatter():
        interpreter.allocate_tensors()
    return interpreter


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keeps the runtime's INFO lines, which no setting of it silences, off the user's stderr.

    They come from C++, so that the file descriptor itself is turned aside; every other line is passed on.
    """
    with _CHATTER, tempfile.TemporaryFile() as aside:
        stderr = os.dup(2)
        os.dup2(aside.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            aside.seek(0)
            for line in aside:
                if not line.startswith(b"INFO: "):
                    os.write(2, line)


def check_device(runtime: str, device: str) -> None:
    """Raises InputError where the runtime a generator is to draw with cannot use the device."""
    if runtime == "openvino" and device != "cpu":
        raise InputError(f"runtime=openvino draws on the CPU: device={device} needs runtime=torch")


def openvino(
    module: torch.nn.Module, shape: tuple[int, ...]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The module compiled by OpenVINO for this CPU, in float32: a function of a tensor of that shape, without gradients.

    It takes as many threads as torch would; the function is not safe to call from several. Raises InputError where OpenVINO is not installed.
    """
    import torch

    try:
        from openvino import Core
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    except ImportError as error:
        raise InputError(
            "runtime=openvino needs OpenVINO, which is not installed: pip install openvino, "
            "or take runtime=torch"
        ) from error
    # openvino.convert_model does just this, but reports every use over the network unless told not to.
    frontend = FrontEndManager().load_by_framework("pytorch")
    with torch.no_grad(), warnings.catch_warnings():
        # Of tracing, which torch is to replace and which takes the sizes, fixed here, for constants.
        warnings.simplefilter("ignore")
        decoder = TorchScriptPythonDecoder(module, example_input=(torch.zeros(shape),))
        model = frontend.convert(frontend.load(decoder))
    model.reshape(shape)
    # Left to itself it takes bfloat16 on CPUs that have it.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    request = _core(Core).compile_model(model, "CPU", settings).create_infer_request()

    def run(given: torch.Tensor) -> torch.Tensor:
        if tuple(given.shape) != shape:
            raise ValueError(f"this network takes {shape}, got {tuple(given.shape)}")
        outputs = request.infer([given.detach().contiguous().numpy()])
        return torch.from_numpy(outputs[0].copy())

    return run


@cache
def _core(make: Callable[[], Any]) -> Any:
    """OpenVINO's core, one for the life of the process.

    Its CPU plug-in changes the stack that signals are handled on, and puts back what it found when it is freed:
    the second of two cores would put back the first one's, freed by then, and the next signal would kill the process.
    """
    return make()
