"""What an oracle is: recorded inputs, weights and results of published code, with the facts to build it again.

NAME.json: the facts.  NAME.safetensors or NAME.npz: `in.*`, `out.*` and for networks `state.*`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from dance import weights
from dance.types import Array, InputError

Kind = Literal["absolute", "relative", "pixels", "grey"]


@dataclass(frozen=True, slots=True)
class Oracle:
    """One recorded run.  arrays: everything of its file by name, tensors or numpy arrays as they are stored."""

    name: str
    facts: Mapping[str, Any]
    arrays: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Oracle:
        """The oracle of a NAME.json and the file beside it. Raises InputError where they cannot be read."""
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            tensors, arrays = path.with_suffix(".safetensors"), path.with_suffix(".npz")
            if tensors.is_file():
                stored: Mapping[str, Any] = safetensors.torch.load_file(tensors)
            elif arrays.is_file():
                with np.load(arrays) as opened:
                    stored = dict(opened)
            else:
                stored = {}
        except (OSError, ValueError, safetensors.SafetensorError) as error:
            raise InputError(f"{path}: is no readable oracle ({error})") from error
        return cls(path.stem, facts, stored)

    @property
    def outputs(self) -> list[str]:
        """The names of all results, without `out.`."""
        return [key.removeprefix("out.") for key in self.arrays if key.startswith("out.")]

    @property
    def atol(self) -> float:
        """The largest difference that the recorded run's own numerical noise explains."""
        return float(self.facts["numerics"]["suggested_atol"])

    def given(self, name: str) -> Any:
        """An input."""
        return self.arrays[f"in.{name}"]

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        """The stored weights whose published keys start with `prefix`, without it."""
        whole = f"state.{prefix}"
        return {k.removeprefix(whole): v for k, v in self.arrays.items() if k.startswith(whole)}


@dataclass(frozen=True, slots=True)
class Result:
    """One result made again.

    output: its name in the oracle, without `out.`.  tolerance: the largest difference that holds.
    scale: of kind relative, what each number is a share of, instead of the number itself.
    recorded: what it is compared with, where that is not stored as `out.` and the output's name.
    kind: what is compared with it. absolute: the largest difference; relative: the same as a share of the recorded
    numbers, where those are larger than 1; pixels: the share of pixels that differ; grey: the mean difference.
    """

    output: str
    value: Any
    tolerance: float
    kind: Kind = "absolute"
    scale: Array | None = None
    recorded: Any = None

    def difference(self, recorded: Any) -> float:
        """How far it is from the record; infinite for another shape, or where only one is not a number."""
        ours, theirs = (_array(value) for value in (self.value, recorded))
        if theirs.shape == (1,) and ours.shape == ():
            ours = ours[None]
        if ours.shape != theirs.shape or not np.array_equal(np.isnan(ours), np.isnan(theirs)):
            return float("inf")
        apart = np.abs(np.nan_to_num(ours) - np.nan_to_num(theirs))
        if not apart.size:
            return 0.0
        if self.kind == "relative":
            scale = np.abs(np.nan_to_num(theirs)) if self.scale is None else self.scale
            apart = apart / np.maximum(1.0, scale)
        elif self.kind == "pixels":
            return float(apart.any(-1).mean())
        elif self.kind == "grey":
            return float(apart.mean())
        return float(apart.max())


def plain(oracle: Oracle) -> dict[str, Any]:
    """Everything of a file that may not say by `in.` and `out.` what is given and what came out."""
    return {k.removeprefix("in.").removeprefix("out."): v for k, v in oracle.arrays.items()}


def _array(value: Any) -> Array:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    return np.asarray(value, np.float64)


def recipe_weights(
    recipe: Mapping[str, Any], shapes: Mapping[str, tuple[Sequence[int], torch.dtype]]
) -> dict[str, Tensor]:
    """The weights an oracle was made with and does not store: from its recipe, for published keys and shapes.

    Every tensor has a random generator of its own, seeded by its key, so that their order does not matter.
    Fixed kernels are not made.
    """
    return {
        key: _recipe_weight(recipe, key, tuple(shape), dtype)
        for key, (shape, dtype) in shapes.items()
        if key.rpartition(".")[2] != "kernel"
    }


def _recipe_weight(
    recipe: Mapping[str, Any], key: str, shape: tuple[int, ...], dtype: torch.dtype
) -> Tensor:
    last = key.rpartition(".")[2]
    if not dtype.is_floating_point:
        return torch.full(shape, 7, dtype=dtype)
    seed = (zlib.crc32(key.encode()) + int(recipe["seed"])) % 2**32
    count = int(np.prod(shape))
    drawn = np.random.RandomState(seed).standard_normal(count).reshape(shape)
    if last == "running_var":
        drawn = 0.5 + np.abs(drawn)
    elif last == "running_mean":
        drawn *= 0.3
    elif last == "gamma":
        drawn = 0.7 + 0.1 * drawn
    elif len(shape) >= 2:
        equalised = recipe.get("profile") == "equalised"
        gain = 1.0 if equalised else float(recipe["gain"])
        for part, special in recipe.get("gain_overrides_by_substring", {}).items():
            gain = float(special) if part in key else gain
        drawn *= gain if equalised else gain / np.sqrt(count / shape[0])
    elif last == "weight":
        drawn = 1 + 0.3 * drawn
    else:
        drawn *= 0.2
    return torch.from_numpy(drawn.astype(np.float32))


@dataclass(frozen=True, slots=True)
class Published:
    """How a system's published networks are built: its generator file's functions.

    network: facts -> network.  rename: published state -> ours.  keys: (network, facts) -> published keys.
    place: (published module, published keys) -> our module's name, None where there is none.
    """

    network: Callable[[Mapping[str, Any]], nn.Module]
    rename: Callable[[Mapping[str, Any]], dict[str, Any]]
    keys: Callable[[Any, Mapping[str, Any]], list[str]]
    place: Callable[[str, Iterable[str]], str | None]


def filled(
    published: Published, facts: Mapping[str, Any], state: Mapping[str, Tensor]
) -> nn.Module:
    """The network of these facts with a published state, strictly loaded."""
    module = published.network(facts)
    wanted = module.state_dict()
    ours = {
        # Stored scalars have one dimension.
        key: value.reshape(()) if key in wanted and wanted[key].dim() == 0 else value
        for key, value in published.rename(state).items()
    }
    weights.fill(module, ours, "the recorded weights")
    return module


Derive = Callable[[nn.Module, Mapping[str, Sequence[Any]]], Mapping[str, Tensor]]
Run = Callable[[nn.Module, Mapping[str, Tensor]], dict[str, Tensor]]


def network_results(
    oracle: Oracle,
    published: Published,
    also: Mapping[str, str] | None = None,
    *,
    main: str | None = None,
    listen: Iterable[str] = (),
    derive: Derive | None = None,
    run: Run | None = None,
) -> Iterator[Result]:
    """Every result of a network's oracle: outputs, what sub-modules give, and gradients.

    also: further outputs, each with the name of our module that gives it.  main: the output that is what the
    network gives, where there are others.  derive: (network, what the modules `listen` gave, call by call) ->
    further outputs.  run: (network, inputs by name) -> outputs by name, the one gradients are taken of first, where
    the network is not simply called.
    """
    state = oracle.state()
    if not oracle.facts["weights_recipe"].get("stored", True):
        state = _made_state(oracle, published)
    module = filled(published, oracle.facts["constructor"], state)
    module.train(oracle.facts.get("mode") == "train")
    inputs = {
        key.removeprefix("in."): value
        for key, value in oracle.arrays.items()
        if key.startswith("in.") and key != "in.probe"
    }
    for name in inputs:
        if f"grad_in.{name}" in oracle.outputs:
            inputs[name] = inputs[name].clone().requires_grad_()
    places = {
        name: published.place(name.removeprefix("hook.").partition("#")[0], state)
        for name in oracle.outputs
        if name.startswith("hook.")
    } | dict(also or {})
    with (
        torch.set_grad_enabled("in.probe" in oracle.arrays),
        _listening(module, {*filter(None, places.values()), *listen}) as heard,
    ):
        if run is not None:
            values = run(module, inputs)
        else:
            # In the order of the file's names: picture before instances.
            out = module(*(inputs[name] for name in sorted(inputs)))
            values = {main: out} if main is not None else _named(out, oracle)
        values.update(derive(module, heard) if derive is not None else {})
    for name, place in places.items():
        call = int(name.partition("#")[2] or 1) - 1
        if place is not None and call < len(heard[place]):
            values[name] = heard[place][call]
    for name, value in values.items():
        yield Result(name, value, oracle.atol)
    if "in.probe" in oracle.arrays:
        target = oracle.facts.get("gradient_target", next(iter(values)))
        loss = (values[target] * oracle.given("probe")).sum()
        renamed = {key: place for place, key in published.rename({k: k for k in state}).items()}
        yield from _gradients(oracle, loss, inputs, dict(module.named_parameters()), renamed)


def _made_state(oracle: Oracle, published: Published) -> dict[str, Tensor]:
    """The published state of a network whose weights are not stored, by their recipe."""
    facts = oracle.facts["constructor"]
    with torch.device("meta"):
        bare = published.network(facts)
    tensors = bare.state_dict()
    places = published.rename({key: key for key in published.keys(bare, facts)})
    shapes = {key: (tensors[place].shape, tensors[place].dtype) for place, key in places.items()}
    return recipe_weights(oracle.facts["weights_recipe"], shapes)


def _gradients(
    oracle: Oracle,
    loss: Tensor,
    inputs: Mapping[str, Tensor],
    parameters: Mapping[str, Tensor],
    renamed: Mapping[str, str],
) -> Iterator[Result]:
    """The gradient of every input that is recorded, and the norms of all parameters' gradients."""
    graded = [name for name in inputs if f"grad_in.{name}" in oracle.outputs]
    keys = list(oracle.facts["grad_l2_keys"])
    wanted = [inputs[name] for name in graded] + [parameters[renamed[key]] for key in keys]
    gradients = torch.autograd.grad(loss, wanted)
    # Gradients are not of the size of pictures: their noise is a share of them.
    for name, gradient in zip(graded, gradients, strict=False):
        yield Result(f"grad_in.{name}", gradient, oracle.atol, "relative")
    norms = torch.stack([gradient.norm() for gradient in gradients[len(graded) :]])
    # A bias in front of an instance norm has a gradient of nothing but rounding, of the same sums as its
    # weight's: so each norm is judged by the largest of its module.
    recorded = dict(zip(keys, _array(oracle.arrays["out.grad_l2"]), strict=True))
    modules = [key.rpartition(".")[0] for key in keys]
    scale = [
        max(size for key, size in recorded.items() if key.rpartition(".")[0] == module)
        for module in modules
    ]
    yield Result("grad_l2", norms, oracle.atol, "relative", np.array(scale))


def _named(out: Any, oracle: Oracle) -> dict[str, Tensor]:
    """What a network gives under the names of the oracle: y, or y.0.1 for lists in lists."""
    main = [name for name in oracle.outputs if not name.startswith(("hook.", "grad_"))]
    if isinstance(out, Tensor):
        return {main[0]: out} if len(main) == 1 else {"pooled": out}
    if main == ["y"]:
        return {"y": out[-1]}
    values: dict[str, Tensor] = {}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, Tensor):
            values[name] = value
        else:
            for i, part in enumerate(value):
                walk(part, f"{name}.{i}")

    walk(out, "y")
    return values


@contextmanager
def _listening(module: nn.Module, places: Iterable[str]) -> Iterator[dict[str, list[Any]]]:
    """What each of these sub-modules gives, a tensor or a tuple of them, call by call, while the context lasts."""
    heard: dict[str, list[Any]] = {place: [] for place in places}

    def keeper(place: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            # A copy: activations behind it work in place.
            if isinstance(output, tuple):
                heard[place].append(tuple(part.detach().clone() for part in output))
            else:
                heard[place].append(output.detach().clone())

        return keep

    hooks = [module.get_submodule(p).register_forward_hook(keeper(p)) for p in heard]
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()
