"""What a person sees while a training goes on, and what an error looks like."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dance import console
from dance.training.loop import Progress
from dance.types import InputError


def shown(*, terminal: bool, quiet: bool = False) -> str:
    out = io.StringIO()
    screen = Console(file=out, force_terminal=terminal, width=160)
    with console.TrainingBar(screen, quiet=quiet) as bar:
        bar(Progress("coarse", 1, 0.001, 3.0, None, {"gan": 0.5}))
        bar(Progress("fine", 1234, 0.62, 4.25, 754.0, {"gan": 0.51, "l1": 7.128}))
    return out.getvalue()


def test_training_shows_stage_losses_speed_and_time_left() -> None:
    line = shown(terminal=True)
    for told in ("fine", "step 1234", "gan 0.51", "l1 7.13", "4.2 pictures/s", "13 min left"):
        assert told in line, line


@pytest.mark.parametrize(("terminal", "quiet"), [(False, False), (True, True)])
def test_no_bar_goes_into_files_or_where_quiet_is_wanted(terminal: bool, quiet: bool) -> None:
    assert "step" not in shown(terminal=terminal, quiet=quiet)


def test_bad_input_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, console.exit_codes():
        raise InputError("a.mp4: is\n too short")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: a.mp4: is too short\n"


@pytest.mark.parametrize("left", [None, "what is ready stays"])
def test_ctrl_c_says_what_is_left_of_the_results(
    left: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    saying = console.exit_codes() if left is None else console.exit_codes(left)
    with pytest.raises(SystemExit) as ended, saying:
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr().err == f"stopped; {left or 'nothing was written'}\n"
