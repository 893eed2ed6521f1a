"""DeepFashion In-shop in the parts of PATN and GFLA: 256 x 176 pictures, or the 256 x 256 ones they are cut from.

Liu et al., DeepFashion (CVPR 2016); Zhu et al., PATN (CVPR 2019); Ren et al., GFLA (CVPR 2020).
"""

from __future__ import annotations

import re
from pathlib import Path

from dance.training.album import number
from dance.training.readers import _listed

LAYOUT = (
    "DeepFashion In-shop (train/, test/, fasion-resize-pairs-train.csv, fasion-resize-annotation-train.csv "
    "and those of test)"
)


def person(name: str) -> int | None:
    """Who is in a picture, by the item's number in its name (id00000012 or id_00000012)."""
    found = re.search(r"(WOMEN|MEN)?.*?id_?(\d{8})", name)
    return None if found is None else number(f"{found[1]} {found[2]}")


# The published files are spelt like that.
_SPELT = ("fasion-resize", "fasion", "fashion-resize", "fashion")
LISTS = _listed.Lists(
    "fashion",
    tuple(f"{name}-pairs-{{part}}.csv" for name in _SPELT),
    tuple(f"{name}-annotation-{{part}}.csv" for name in _SPELT),
    (256, 176),
    person,
)


def recognises(folder: Path) -> bool:
    """Whether any of its lists is there."""
    return _listed.recognised(folder, LISTS)


def read(folder: Path) -> _listed.Album:
    """Raises InputError where a list, a picture or the joints of one are missing."""
    return _listed.read(folder, LISTS)
