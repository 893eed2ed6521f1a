"""Checks against recorded results of the published code: one file per system, and the folder is the registry.

A system's file says which oracles are its own (`PREFIXES`) and gives, for one of them, every result again:
`results(oracle) -> Iterator[Result]`. Add a system by adding its file; `run` finds it.
"""

from dance.evaluation.oracles._run import Verdict, run, summary

__all__ = ["Verdict", "run", "summary"]
