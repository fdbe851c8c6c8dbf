"""Tables of a run: on the terminal, in Markdown for the documentation, and everything in JSON."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results")
NOTHING = "–"
_PACKAGES = ("tornado-gateway", "tornado", "uvloop", "httptools", "msgspec", "pluggy", "structlog")


@dataclass
class Grid:
    """A table: a name, a line of headings, and lines of text."""

    name: str
    headings: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)

    def markdown(self) -> str:
        lines = [f"| {' | '.join(self.headings)} |", "|---|" + "---:|" * (len(self.headings) - 1)]
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        return f"**{self.name}**\n\n" + "\n".join(lines) + "\n"

    def shown(self) -> Table:
        table = Table(title=self.name, title_justify="left", header_style="bold")
        for index, heading in enumerate(self.headings):
            table.add_column(heading, justify="right" if index else "left", no_wrap=not index, overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}{' ' + unit if unit else ''}"


def machine() -> dict[str, Any]:
    """What a figure depends on besides the code."""
    return {
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "load_before": [round(load, 2) for load in psutil.getloadavg()],
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def publish(console: Console, name: str, grids: Sequence[Grid], notes: Sequence[str], data: dict[str, Any]) -> Path:
    """Show the tables and write them beside each other; the path of the JSON file."""
    for grid in grids:
        console.print(grid.shown())
    for note in notes:
        console.print(f"- {note}", highlight=False)
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    text = json.dumps(data, indent=1, default=str)
    file.write_text(text, "utf-8")
    (RESULTS / f"{name}.json").write_text(text, "utf-8")
    markdown = "\n".join(grid.markdown() for grid in grids) + "".join(f"\n- {note}" for note in notes) + "\n"
    (RESULTS / f"{name}.md").write_text(markdown, "utf-8")
    return file


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
