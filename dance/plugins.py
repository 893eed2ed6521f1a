"""A plug-in by the name of its file: the folder is the registry."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from dance.types import InputError


def names(package: str) -> list[str]:
    """The plug-ins of a package such as 'dance.generators': its public modules, sorted."""
    folder = importlib.import_module(package).__path__
    return sorted(m.name for m in pkgutil.iter_modules(folder) if not m.name.startswith("_"))


def load(package: str, name: str) -> ModuleType:
    """The plug-in's module, imported only now.

    Raises InputError for a name that is no file of the package, listing those there are.
    """
    if name not in names(package):
        kind = package.rsplit(".", 1)[-1].removesuffix("s")
        raise InputError(f"no {kind} named {name!r}; there are: {', '.join(names(package))}")
    return importlib.import_module(f"{package}.{name}")
