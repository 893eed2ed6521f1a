from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, ValidationError, field_validator

from dance.config import ConfigError, Options, Plugin, check, load
from dance.types import InputError


class Inner(Options):
    strength: float = Field(0.5, ge=0, le=1)
    mode: Literal["limbs", "edn"] = "limbs"
    colour: str = "plate"


class Outer(Options):
    inner: Inner = Inner()
    maybe: Inner | None = None
    many: tuple[Inner, ...] = ()
    count: int = 3
    plugin: Plugin = Plugin(name="puppet")

    @field_validator("count")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd")
        return value


def write(folder: Path, text: str) -> Path:
    path = folder / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path | None, *sets: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(Outer, path, sets)
    assert isinstance(caught.value, InputError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nothing_given_is_the_defaults() -> None:
    assert load(Outer) == Outer()


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load(Outer, write(tmp_path, "# nothing yet\n")) == Outer()


def test_a_file_says_what_differs_and_a_setting_overrides_it(tmp_path: Path) -> None:
    path = write(tmp_path, "inner: {strength: 0.25}\ncount: 5\n")
    assert load(Outer, path).inner == Inner(strength=0.25)
    changed = load(Outer, path, ["inner.strength=0.75", "inner.mode=edn"])
    assert changed.inner == Inner(strength=0.75, mode="edn") and changed.count == 5


def test_the_later_of_two_settings_wins() -> None:
    assert load(Outer, None, ["count=5", "count=7"]).count == 7


def test_a_setting_may_hold_an_equals_sign_or_a_hash() -> None:
    assert load(Outer, None, ["inner.colour=a=b"]).inner.colour == "a=b"
    assert load(Outer, None, ["inner.colour=#00ff00"]).inner.colour == "#00ff00"


def test_a_section_left_empty_in_the_file_can_still_be_set(tmp_path: Path) -> None:
    assert load(Outer, write(tmp_path, "maybe:\n"), ["maybe.strength=1"]).maybe == Inner(strength=1)


def test_options_of_a_plugin_are_kept_for_the_plugin_to_check() -> None:
    config = load(Outer, None, ["plugin.options.height=256"])
    assert config.plugin.options == {"height": 256}


def test_options_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Outer().count = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("setting", "known"),
    [
        ("nmae=1", "inner, maybe, many, count, plugin"),
        ("inner.strenght=1", "strength, mode, colour"),
        ("maybe.strenght=1", "strength, mode, colour"),
        ("many=[{strenght: 1}]", "strength, mode, colour"),
        ("plugin.nmae=1", "name, options"),
    ],
)
def test_an_unknown_key_is_refused_with_the_known_ones_of_its_section(
    setting: str, known: str
) -> None:
    message = refusal(None, setting)
    assert message.startswith("--set: unknown key") and message.endswith(f"known: {known}")


def test_a_wrong_value_is_refused_with_its_key_and_what_is_allowed() -> None:
    assert "inner.strength = 3" in refusal(None, "inner.strength=3")
    assert "'limbs' or 'edn'" in refusal(None, "inner.mode=arms")
    assert "must be odd" in refusal(None, "count=4")


def test_a_setting_without_an_equals_sign_or_key_is_refused() -> None:
    assert "key=value" in refusal(None, "count")
    assert "key=value" in refusal(None, "=3")
    assert "key=value" in refusal(None, "inner..strength=3")


def test_a_setting_below_a_value_is_refused() -> None:
    assert "count is a value" in refusal(None, "count=3", "count.more=1")


def test_unreadable_yaml_is_refused_with_where_it_stands(tmp_path: Path) -> None:
    path = write(tmp_path, "inner: [1\n")
    assert str(path) in refusal(path)
    assert "--set count=[1" in refusal(None, "count=[1")


def test_a_file_that_is_not_a_mapping_is_refused(tmp_path: Path) -> None:
    assert "got a list" in refusal(write(tmp_path, "- 1\n"))


def test_keys_that_are_no_words_are_refused(tmp_path: Path) -> None:
    assert "7" in refusal(write(tmp_path, "7: 1\n"))


def test_a_missing_file_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    assert str(missing) in refusal(missing)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x80")
    assert str(binary) in refusal(binary)


def test_a_plugins_options_are_checked_under_their_own_name() -> None:
    with pytest.raises(
        ConfigError, match=r"generator.options of puppet: unknown key 'x'; known: stren"
    ):
        check(Inner, {"x": 1}, "generator.options of puppet")
    with pytest.raises(ConfigError, match="options of puppet"):
        check(Inner, 3, "generator.options of puppet")  # type: ignore[arg-type]
