"""What becomes of a request, or of the server, when a plugin misbehaves: printed into docs/hooks.md, proven by tests/test_misbehaving_plugins.py."""

from __future__ import annotations

from enum import Enum

MISBEHAVIOURS = ("raises", "waits for ever", "blocks 5 s", "answers nonsense", "changes what it is given")


class Fate(Enum):
    """The value is what the table says."""

    NO_START = "the server does not start, and names the plugin"
    STARTS_LATE = "the server starts when the hook returns; a warning names the plugin after 5 s"
    KEEPS = "logged; the plugin keeps the settings that it had"
    REPORTED = "its commands are left out; one line names the plugin"
    NOT_READY = "`/readyz` is 503 and names the plugin; requests are served"
    NO_DOOR = "503 `auth_unavailable`: nobody comes in"
    NOT_ADMITTED = "503: the request is not admitted"
    UNKNOWN = "logged; counts as None: Ollama is asked, or the next plugin"
    UNCHANGED = "logged; the record goes on as it was"
    LOGGED = "logged; the caller sees nothing of it"
    QUEUED = "the caller waits, with heartbeats, and may leave"
    IGNORED = "ignored"
    SLOW = "everybody waits; then its answer counts, and a warning names the plugin"
    STALLS = "everybody waits"
    LATE = "the server, or the command, is late"
    ISOLATED = "impossible, or a copy: nobody else sees it"
    OWN = "counts for this caller; other readers and the cache have copies"
    FAULT = "500 `internal_error`; logged"
    BROKEN_OFF = "Ollama is asked instead; once a part is out, the stream ends with an error"
    FREED = "logged; the place and all others are given back"
    NONE = "–"


def _row(*fates: Fate) -> dict[str, Fate]:
    return dict(zip(MISBEHAVIOURS, fates, strict=True))


F = Fate
OUTCOMES: dict[str, dict[str, Fate]] = {
    "startup": _row(F.NO_START, F.STARTS_LATE, F.SLOW, F.IGNORED, F.ISOLATED),
    "reconfigure": _row(F.KEEPS, F.KEEPS, F.SLOW, F.IGNORED, F.NONE),
    "routes": _row(F.NO_START, F.NONE, F.LATE, F.NO_START, F.NONE),
    "commands": _row(F.REPORTED, F.NONE, F.LATE, F.REPORTED, F.NONE),
    "ready": _row(F.NOT_READY, F.NOT_READY, F.SLOW, F.NOT_READY, F.NONE),
    "shutdown": _row(F.LOGGED, F.LOGGED, F.SLOW, F.IGNORED, F.NONE),
    "keeper": _row(F.NO_START, F.NONE, F.LATE, F.NO_START, F.NONE),
    "authenticate": _row(F.NO_DOOR, F.NO_DOOR, F.SLOW, F.NO_DOOR, F.ISOLATED),
    "admit": _row(F.NOT_ADMITTED, F.NOT_ADMITTED, F.SLOW, F.NOT_ADMITTED, F.ISOLATED),
    "answer": _row(F.UNKNOWN, F.UNKNOWN, F.SLOW, F.UNKNOWN, F.ISOLATED),
    "dispatch": _row(F.NOT_ADMITTED, F.QUEUED, F.SLOW, F.NOT_ADMITTED, F.ISOLATED),
    "transform": _row(F.UNCHANGED, F.UNCHANGED, F.SLOW, F.UNCHANGED, F.ISOLATED),
    "answered": _row(F.LOGGED, F.LOGGED, F.SLOW, F.IGNORED, F.ISOLATED),
    "finished": _row(F.LOGGED, F.LOGGED, F.SLOW, F.IGNORED, F.ISOLATED),
}
"""By hook."""

PARTS: dict[str, dict[str, Fate]] = {
    "the records of `answer`": _row(F.BROKEN_OFF, F.QUEUED, F.STALLS, F.BROKEN_OFF, F.NONE),
    "the function of `transform`": _row(F.UNCHANGED, F.NONE, F.SLOW, F.UNCHANGED, F.OWN),
    "the function of `dispatch`": _row(F.FREED, F.NONE, F.STALLS, F.IGNORED, F.NONE),
    "the handler of a route": _row(F.FAULT, F.QUEUED, F.STALLS, F.FAULT, F.ISOLATED),
}
"""Of what a hook gave."""


def table() -> str:
    """The table as Markdown."""
    lines = [f"| | {' | '.join(MISBEHAVIOURS)} |", "|---" * (len(MISBEHAVIOURS) + 1) + "|"]
    for name, fates in {**{f"`{hook}`": row for hook, row in OUTCOMES.items()}, **PARTS}.items():
        lines.append(f"| {name} | {' | '.join(fates[misbehaviour].value for misbehaviour in MISBEHAVIOURS)} |")
    return "\n".join(lines) + "\n"
