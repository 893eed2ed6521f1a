"""Networks read plainly, layer by layer as the papers and the released code order them: what ours are timed against.

The same weights give the same pictures; nothing is turned round, cut into parts or kept for the next picture.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from torch import Tensor, nn

from dance.generators import dpig, nted, xing
from dance.generators._pg2_nets import UNet, flat


def reading(network: nn.Module) -> nn.Module:
    """A copy of one of the single-picture generators' networks with every such part read plainly.

    Its forward takes the picture, what is known of it, and the wanted pose, and makes everything anew.
    """
    found = copy.deepcopy(network)
    for name, part in list(found.named_modules()):
        read = _READ.get(type(part))
        if read is not None:
            _put(found, name, read(part))
    return Whole(found) if isinstance(found, dpig.Networks) else found


def _put(network: nn.Module, name: str, part: nn.Module) -> None:
    above, _, last = name.rpartition(".")
    setattr(network.get_submodule(above), last, part)


class Attention(nn.Module):
    """XingGAN's two attentions, each with the whole matrix of all positions by all positions."""

    def __init__(self, inner: xing.Crossing) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, image: Tensor, poses: Tensor) -> tuple[Tensor, Tensor]:
        return self._added(image, poses), self._added(poses, image)

    def _added(self, own: Tensor, other: Tensor) -> Tensor:
        at = self.inner
        query, key, value = at.query(own).flatten(2), at.key(other).flatten(2), at.value(own).flatten(2)  # fmt: skip
        shares = torch.bmm(query.transpose(1, 2), key).softmax(-1)
        out: Tensor = at.gamma * torch.bmm(value, shares.transpose(1, 2)).view_as(own) + own
        return out


class Gathering(nn.Module):
    """NTED's extraction: all positions are convolved, then their weighted mean is taken."""

    def __init__(self, inner: nted.Extraction) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, plain: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.inner.filter(plain).flatten(2).softmax(-1)
        return self.inner.value(x).flatten(2) @ weights.transpose(1, 2), weights


class Doubling(nn.Module):
    """The network PG2 and DPIG share: pictures are doubled first, then have fewer channels."""

    def __init__(self, inner: UNet) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        net: Any = self.inner
        skips = net.down(F.relu(net.stem(x)))
        code = net.squeeze(flat(skips[-1]))
        x = net.spread(code).view(len(x), *skips[-1].shape[-2:], -1).movedim(-1, 1)
        for part in net.up:
            x = part["body"](torch.cat([x, skips.pop()], 1))
            if "narrow" in part:
                x = F.relu(part["narrow"](F.interpolate(x, scale_factor=2.0, mode="nearest")))
        out: Tensor = net.out(x)
        return out


class Whole(nn.Module):
    """DPIG's first stage: the code is made for every picture, and tiled over it beside the pose."""

    def __init__(self, inner: dpig.Networks) -> None:
        super().__init__()
        self.encoder = inner.appearance.encoder
        self.decoder = inner.appearance.decoder

    def forward(self, image: Tensor, at: dpig.Places, pose: Tensor) -> Tensor:
        code = self.encoder(image, at)
        tiled = code[..., None, None].expand(-1, -1, *pose.shape[-2:])
        out: Tensor = self.decoder(torch.cat([tiled, pose], 1))
        return out


ATTENTION: dict[type[nn.Module], type[nn.Module]] = {
    xing.Crossing: Attention,
    nted.Extraction: Gathering,
}
"""Modules that attend over positions, and how they are read plainly."""
_READ: dict[type[nn.Module], type[nn.Module]] = {**ATTENTION, UNet: Doubling}
