"""What recipes have in common: stages, updates, and how they are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from torch import Tensor, nn

from dance.generators._placed import COLOURS

if TYPE_CHECKING:
    from accelerate import Accelerator

Optimisers = Mapping[str, torch.optim.Optimizer]

_SURE = 1e-4  # how near to 0 and 1 a drawn matte counts


def place(lengths: Mapping[str, float], share: float) -> tuple[str, float]:
    """The stage at this share of the budget, and the share of the stage; stages of length 0 are left out."""
    total, begun = sum(lengths.values()), 0.0
    name = ""
    for name, length in lengths.items():
        inside = (share * total - begun) / length if length else 1.0
        if inside < 1:
            return name, max(0.0, inside)
        begun += length
    return name, 1.0


def falling(inside: float, start: float) -> float:
    """How much of the learning rate is left: from the share `start` of a stage on it falls to 0."""
    return 1.0 if inside <= start or start >= 1 else (1 - inside) / (1 - start)


def set_rate(optimisers: Optimisers, rate: float) -> None:
    """Gives all of them that learning rate."""
    for optimiser in optimisers.values():
        for group in optimiser.param_groups:
            group["lr"] = rate


def adam(
    taught: Mapping[str, nn.Module], rate: float, betas: tuple[float, float] = (0.5, 0.999)
) -> dict[str, torch.optim.Optimizer]:
    """An Adam for each network, by the same names."""
    return {part: torch.optim.Adam(net.parameters(), rate, betas) for part, net in taught.items()}


def update(accelerator: Accelerator, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of an optimiser; the gradients are the mean of all processes'."""
    optimiser.zero_grad(set_to_none=True)
    accelerator.backward(loss)
    if accelerator.num_processes > 1:
        for group in optimiser.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad = accelerator.reduce(p.grad, "mean")
    optimiser.step()


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Gradients flow through the module, but none are made for it."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


def taken(stage: str, networks: Mapping[str, nn.Module], optimisers: Optimisers) -> dict[str, Any]:
    """All that changes, as `types.Recipe.state_dict` gives it."""
    return {
        "stage": stage,
        "networks": {name: net.state_dict() for name, net in networks.items()},
        "optimisers": {name: optimiser.state_dict() for name, optimiser in optimisers.items()},
    }


def restore(
    state: Mapping[str, Any], networks: Mapping[str, nn.Module], optimisers: Optimisers
) -> None:
    """Puts back what `taken` gave; the recipe must be in that stage already."""
    for name, net in networks.items():
        net.load_state_dict(state["networks"][name], strict=True)
    for name, optimiser in optimisers.items():
        optimiser.load_state_dict(state["optimisers"][name])


def matte(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross entropy of a drawn matte's logits with the true one in [0, 1]: a scalar.

    L1 would be content with no matte at all, the person filling less than half of a picture, and its gradient dies
    there.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), wanted)


def drawn_matte(picture: Tensor, wanted: Tensor) -> Tensor:
    """`matte` of a drawn picture (B, 4, H, W) whose fourth channel is a matte in [0, 1] already."""
    return matte(torch.logit(picture[:, COLOURS:].float(), _SURE), wanted)


def on_grey(picture: Tensor) -> Tensor:
    """A network's picture (B, 3 or 4, H, W) whose fourth channel is a matte in [0, 1], as it is seen on plain grey."""
    if picture.shape[1] == COLOURS:
        return picture
    return picture[:, :COLOURS] * picture[:, COLOURS:]
