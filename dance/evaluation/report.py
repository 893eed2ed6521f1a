"""Tables for people and JSON for programs, made from the same rows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

Value = str | int | float | bool | None
Row = Mapping[str, Value]


def measured(
    what: str, value: float | str, unit: str, bar: str = "", met: bool | None = None
) -> Row:
    """A row of one figure, or of why there is none; bar: what it has to reach, met: whether it does."""
    shown = value if isinstance(value, str) else round(value, 3)
    return {"what": what, "value": shown, "unit": unit, "bar": bar, "met": met}


def table(rows: Sequence[Row], *, digits: int = 3) -> str:
    """The rows as a Markdown table; its columns are the rows' keys in the order they first appear."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([_text(row.get(key), digits) for key in columns] for row in rows)]
    numeric = [all(_is_number(row.get(key)) for row in rows) for key in columns]
    widths = [max(3, *(len(line[i]) for line in cells)) for i in range(len(columns))]
    lines = [_line(line, widths, numeric) for line in cells]
    rule = "|".join(
        "-" * (w + 1) + ":" if n else "-" * (w + 2) for w, n in zip(widths, numeric, strict=True)
    )
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def save(
    rows: Sequence[Row], folder: Path, name: str, *, facts: Row | None = None, digits: int = 3
) -> tuple[Path, Path]:
    """Writes NAME.md and NAME.json into the folder (made if need be) and says where they are.

    facts: what the figures depend on (the command, versions, the clip), kept beside them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text, data = folder / f"{name}.md", folder / f"{name}.json"
    facts = facts or {}
    said = "".join(f"- {key}: {value}\n" for key, value in facts.items())
    text.write_text(table(rows, digits=digits) + "\n" + (said and "\n" + said), encoding="utf-8")
    data.write_text(as_json(rows, facts, indent=1) + "\n", encoding="utf-8")
    return text, data


def as_json(rows: Sequence[Row], facts: Row | None = None, *, indent: int | None = None) -> str:
    """The rows and facts as one JSON document; NaN and infinity, which JSON has not, become null."""
    tidy = [{key: _finite(value) for key, value in row.items()} for row in rows]
    return json.dumps({"facts": dict(facts or {}), "rows": tidy}, indent=indent, ensure_ascii=False)


def _text(value: Value, digits: int) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def _is_number(value: Value) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _finite(value: Value) -> Value:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = [
        c.rjust(w) if n else c.ljust(w) for c, w, n in zip(cells, widths, numeric, strict=True)
    ]
    return "| " + " | ".join(padded) + " |"
