"""`python -m bench.soak`: ten minutes in all, one with `QUICK=1`; the names of runs (`L2 L7`) choose. Exit 1 if a target is missed."""

from __future__ import annotations

import os
import sys

from bench.soak.runs import Row, l2_streams, l4_mixed, l7_churn, l8_attacks, l9_chaos

RUNS = {"L2": (l2_streams, 120), "L4": (l4_mixed, 180), "L7": (l7_churn, 90), "L8": (l8_attacks, 90), "L9": (l9_chaos, 90)}
"""Seconds of each; they do not count the start and the end of the processes."""


def main(*names: str) -> int:
    quick = os.environ.get("QUICK", "") not in ("", "0")
    rows: list[Row] = []
    for name in names or RUNS:
        run, seconds = RUNS[name]
        rows += run(max(8.0, seconds / 10) if quick else float(seconds))
        for row in (row for row in rows if row.run == name):
            print(f"{row.run}  {row.what:<52} {row.measured:>14}   {row.target:<22} {'' if row.met else 'MISSED'}", flush=True)
    missed = [row for row in rows if not row.met]
    print(
        f"the machine's load in the last five minutes: {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores, the clients' own included"
    )
    print(f"{len(rows) - len(missed)} of {len(rows)} targets met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
