import sys
from pathlib import Path

import pytest

from dance import plugins
from dance.types import InputError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of plug-ins: two public modules, one private, one that must not be imported by chance."""
    folder = tmp_path / "gadgets_under_test" / "generators"
    folder.mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "second": "NAME = 'second'",
        "first": "NAME = 'first'",
        "_blocks": "",
        "broken": "raise RuntimeError('imported without being chosen')",
    }.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    (folder.parent / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return "gadgets_under_test.generators"


def test_the_folder_is_the_registry(package: str) -> None:
    assert plugins.names(package) == ["broken", "first", "second"]


def test_only_the_chosen_module_is_imported(package: str) -> None:
    assert plugins.load(package, "first").NAME == "first"
    assert f"{package}.second" not in sys.modules


@pytest.mark.parametrize("name", ["third", "_blocks", "first.more", "", "../first"])
def test_an_unknown_name_lists_those_there_are(package: str, name: str) -> None:
    with pytest.raises(InputError, match=r"no generator named .*there are: broken, first, second"):
        plugins.load(package, name)


def test_an_error_inside_a_plugin_is_not_taken_for_a_wrong_name(package: str) -> None:
    with pytest.raises(RuntimeError, match="imported without being chosen"):
        plugins.load(package, "broken")
