"""What the gateway may cost: the targets and the recorded ratios of budget.json, compared with a run.

A *place* is `PEER.FIGURE`. An entry compares one place with another of the same run, or, without `to`, with a plain number.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.figures import FIGURES, Samples

FILE = Path(__file__).with_name("budget.json")
WORSE_BY = 0.15
_UNITS = {figure.key: figure.unit for figure in FIGURES}


@dataclass(frozen=True)
class Entry:
    of: str
    at_most: float
    to: str | None = None
    recorded: float | None = None
    """The value of the run that the documentation shows. Of plain times none is kept: they are the machine's as much as ours."""

    @property
    def unit(self) -> str:
        return "×" if self.to else _UNITS[self.of.partition(".")[2]]


@dataclass(frozen=True)
class Verdict:
    entry: Entry
    value: float | None
    """None: one side was not measured."""

    @property
    def met(self) -> bool | None:
        return None if self.value is None else self.value <= self.entry.at_most

    @property
    def worse(self) -> bool:
        """Worse by more than 15 % than what was recorded."""
        recorded = self.entry.recorded
        return self.value is not None and recorded is not None and self.value > recorded * (1 + WORSE_BY)


def read(file: Path = FILE) -> list[Entry]:
    return [Entry(**entry) for entry in json.loads(file.read_text("utf-8"))]


def compare(entries: list[Entry], samples: Samples) -> list[Verdict]:
    return [Verdict(entry, _value(entry, samples)) for entry in entries]


def record(verdicts: list[Verdict], file: Path = FILE) -> None:
    """Keep the values of this run as those that later runs are compared with."""
    entries = [_recorded(verdict) for verdict in verdicts]
    file.write_text(json.dumps([_written(entry) for entry in entries], indent=2) + "\n", "utf-8")


def _value(entry: Entry, samples: Samples) -> float | None:
    mine = samples.median(*_place(entry.of))
    if mine is None or entry.to is None:
        return mine
    other = samples.median(*_place(entry.to))
    return mine / other if other else None


def _place(place: str) -> tuple[str, str]:
    peer, _, figure = place.partition(".")
    return peer, figure


def _recorded(verdict: Verdict) -> Entry:
    entry = verdict.entry
    if verdict.value is None or entry.unit in ("s", "ms", "us"):
        return entry
    return replace(entry, recorded=round(verdict.value, 4))


def _written(entry: Entry) -> dict[str, Any]:
    return {name: value for name, value in asdict(entry).items() if value is not None}
