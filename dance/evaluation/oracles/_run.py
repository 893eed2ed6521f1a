"""Goes through a folder of oracles and says of each whether it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from dance import plugins
from dance.evaluation.oracles._oracle import Oracle, Result
from dance.types import InputError

_INDEX = "index"  # lists the others


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one oracle.

    holds: every recorded result was made again within its tolerance; None where the system is not built.
    difference, tolerance: of the result that is worst, its difference taken as a share of its tolerance.
    worst: that result's name.  note: why it does not hold, where numbers do not say so.
    """

    name: str
    holds: bool | None
    difference: float = 0.0
    tolerance: float = 0.0
    worst: str = ""
    results: int = 0
    note: str = ""

    def line(self) -> str:
        """The verdict as one line: name, largest difference, tolerance, whether it holds."""
        if self.holds is None:
            return f"{self.name:<52} not built"
        word = "holds" if self.holds else "DOES NOT HOLD"
        if self.note:
            return f"{self.name:<52} {word}: {self.note}"
        numbers = f"{self.difference:10.2e} {self.tolerance:10.2e}"
        return f"{self.name:<52} {numbers}  {word}  ({self.results} results, worst {self.worst})"


def run(folder: Path, names: Sequence[str] = ()) -> Iterator[Verdict]:
    """The verdict of every oracle in the folder, or of those named, in the order of their names.

    Raises InputError for a folder without oracles and for a name that is none of them.
    """
    there = sorted(path.stem for path in folder.glob("*.json") if path.stem != _INDEX)
    if not there:
        raise InputError(f"{folder}: there are no oracles (NAME.json) in it")
    unknown = sorted(set(names) - set(there))
    if unknown:
        raise InputError(f"{folder}: has no {', '.join(unknown)}; there are: {', '.join(there)}")
    systems = [
        plugins.load("dance.evaluation.oracles", name)
        for name in plugins.names("dance.evaluation.oracles")
    ]
    for name in names or there:
        system = next((s for s in systems if name.startswith(s.PREFIXES)), None)
        yield verdict(folder / f"{name}.json", system)


def verdict(path: Path, system: ModuleType | None) -> Verdict:
    """What comes of one oracle, given by its NAME.json, and its system's file (None: not built)."""
    if system is None:
        return Verdict(path.stem, None)
    oracle = Oracle.read(path)
    try:
        results: list[Result] = list(system.results(oracle))
    except (InputError, ValueError, KeyError, RuntimeError) as error:
        # Other facts or weights than the networks take: the other oracles are still to be told.
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        return Verdict(oracle.name, False, note=" ".join(f"{kind}{error}".split()))
    return compared(oracle, results)


def compared(oracle: Oracle, results: Sequence[Result]) -> Verdict:
    """The verdict on an oracle whose results these are; one that is missing does not hold."""
    missing = sorted(set(oracle.outputs) - {result.output for result in results})
    if missing or not results:
        what = ", ".join(missing) or "anything"
        return Verdict(oracle.name, False, note=f"not made again: {what}")
    rows = []
    for result in results:
        recorded = result.recorded
        if recorded is None:
            recorded = oracle.arrays[f"out.{result.output}"]
        difference = result.difference(recorded)
        rows.append((_share(difference, result.tolerance), difference, result))
    share, difference, worst = max(rows, key=lambda row: row[0])
    return Verdict(oracle.name, share <= 1, difference, worst.tolerance, worst.output, len(results))


def _share(difference: float, tolerance: float) -> float:
    if difference == 0:
        return 0.0
    return difference / tolerance if tolerance > 0 else float("inf")


def summary(verdicts: Iterable[Verdict]) -> str:
    """`N of M hold`; M counts those whose system is built, the others are named behind it."""
    found = list(verdicts)
    built = [v for v in found if v.holds is not None]
    holding = sum(v.holds is True for v in built)
    others = len(found) - len(built)
    rest = f" ({others} more are of systems not built)" if others else ""
    return f"{holding} of {len(built)} hold{rest}"
