"""YAML and --set into frozen, strict models: unknown keys are refused with the known ones listed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from dance.types import InputError


class ConfigError(InputError):
    """A config file or a --set value cannot be used."""


class Options(BaseModel):
    """Base of every options model: frozen, and unknown keys are refused. Defaults live in the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Plugin(Options):
    """Which plug-in, by the name of its file, and its own options (checked by the plug-in's `Config`)."""

    name: str
    options: dict[str, Any] = {}


OptionsT = TypeVar("OptionsT", bound=BaseModel)


def load(model: type[OptionsT], path: Path | None = None, sets: Sequence[str] = ()) -> OptionsT:
    """The model filled from a YAML file, then from `key.sub=value` settings (values are YAML too).

    Raises ConfigError naming the file or setting, the key, and what is allowed.
    """
    values: dict[str, Any] = {} if path is None else _read(path)
    origin = "--set" if path is None else str(path)
    for text in sets:
        key, equals, value = text.partition("=")
        keys = [part.strip() for part in key.split(".")]
        if not equals or not all(keys):
            raise ConfigError(
                f"--set {text}: write it as key=value, for example retarget.mode=limbs"
            )
        try:
            # A colour such as #00ff00 would be a comment to YAML.
            parsed = value.strip() if value.lstrip().startswith("#") else yaml.safe_load(value)
            _put(values, keys, parsed, text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text}: the value is not readable YAML") from error
    return check(model, values, origin if not sets else f"{origin} with --set" if path else "--set")


def check(model: type[OptionsT], values: dict[str, Any], origin: str) -> OptionsT:
    """The values as a model. Raises ConfigError with one line that starts with `origin`."""
    try:
        return model.model_validate(_completed(model, values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(_known(model, first["loc"][:-1]))
            raise ConfigError(f"{origin}: unknown key {where!r}; known: {known}") from error
        message = str(first["msg"]).removeprefix("Value error, ")
        what = f"{where} = {first['input']!r}: " if where else ""
        raise ConfigError(f"{origin}: {what}{message}") from error


def _completed(model: type[BaseModel], values: Any) -> Any:
    """The values, their sections completed from the model's own default sections.

    So that `generator.options.height=256` keeps the name that the default generator has.
    """
    if not isinstance(values, dict):
        return values
    out = dict(values)
    for key, field in model.model_fields.items():
        default = field.default
        if isinstance(default, BaseModel) and isinstance(out.get(key), dict):
            out[key] = default.model_dump(exclude_unset=True) | _completed(type(default), out[key])
    return out


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not readable YAML") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold `key: value` lines, got a {type(values).__name__}")
    return values


def _put(values: dict[str, Any], keys: list[str], value: Any, text: str) -> None:
    for key in keys[:-1]:
        if values.get(key) is None:
            values[key] = {}
        values = values[key]
        if not isinstance(values, dict):
            raise ConfigError(f"--set {text}: {key} is a value, not a section")
    values[keys[-1]] = value


def _known(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys a (nested) model knows; unions and lists on the way are looked through."""
    for part in path:
        found = model.model_fields.get(str(part))
        if found is None:
            continue
        for kind in (found.annotation, *get_args(found.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
                break
    return list(model.model_fields)
