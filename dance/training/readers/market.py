"""Market-1501 in the parts of PATN: 128 x 64 pictures of pedestrians.

Zheng et al., Scalable Person Re-identification (ICCV 2015); Zhu et al., PATN (CVPR 2019).
"""

from __future__ import annotations

import re
from pathlib import Path

from dance.training.readers import _listed

LAYOUT = "Market-1501 (train/, test/, market-pairs-train.csv, market-annotation-train.csv and those of test)"


def person(name: str) -> int | None:
    """The number a picture's name begins with (0002_c1s1_000451_03.jpg)."""
    found = re.match(r"(\d{4})_", Path(name).name)
    return None if found is None else int(found[1])


LISTS = _listed.Lists(
    "market",
    ("market-pairs-{part}.csv",),
    ("market-annotation-{part}.csv",),
    (128, 64),
    person,
)


def recognises(folder: Path) -> bool:
    """Whether any of its lists is there."""
    return _listed.recognised(folder, LISTS)


def read(folder: Path) -> _listed.Album:
    """Raises InputError where a list, a picture or the joints of one are missing."""
    return _listed.read(folder, LISTS)
