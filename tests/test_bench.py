"""The bench is no test, but what it measures with must be right: tokens counted as they are sent, ratios compared as they are recorded."""

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Modules of the bench, by name."""
    monkeypatch.syspath_prepend(str(ROOT))

    def module(name: str) -> ModuleType:
        return importlib.import_module(f"bench.{name}")

    return module


@pytest.fixture
def upstream(bench: Any, tmp_path: Path) -> Iterator[int]:
    """The port of a running `bench.upstream`."""
    processes = bench("processes")
    port = processes.free_port()
    command = [sys.executable, "-m", "bench.upstream", str(port)]
    with processes.Program("upstream", command, tmp_path / "log", {"PYTHONPATH": str(ROOT)}) as program:
        processes.wait_for_answer(program, port, "/api/chat", b"{}", {}, 10)
        yield port


def test_the_driver_counts_every_token_of_every_stream(bench: Any, upstream: int) -> None:
    streams, prompts = bench("streams"), bench("prompts")
    spec = streams.Spec(upstream, "/v1/chat/completions", 2, 0.3, prompts.Plan(10), ramp_seconds=0.01)

    done = subprocess.run(streams.command(spec), cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)

    begin, end, found = done.stdout.splitlines()
    found = json.loads(found)
    assert (begin, end, found["errors"]) == ("begin", "end", [])
    assert found["answers"] > 0
    assert abs(found["tokens"] - 10 * found["answers"]) <= 2 * 10  # the streams that the two lines cut


def test_the_simulated_upstream_answers_in_both_dialects(bench: Any, upstream: int) -> None:
    processes, prompts = bench("processes"), bench("prompts")
    body = prompts.chat_body(prompts.Plan(3), "1", stream=False)

    native = json.loads(processes.post(upstream, "/api/chat", body, {})[1])
    openai = json.loads(processes.post(upstream, "/v1/chat/completions", body, {})[1])

    assert native["message"]["content"] == openai["choices"][0]["message"]["content"] == " token token token"
    assert native["done"] is True


def test_a_plan_survives_what_gateways_do_to_a_body(bench: Any) -> None:
    prompts = bench("prompts")
    plan = prompts.Plan(1000, 100, 50)
    body = json.loads(prompts.chat_body(plan, "7", stream=True, filler="word " * 10_000))

    assert prompts.plan_of(json.dumps(body, indent=1).encode()) == plan
    assert prompts.plan_of(b"{}") == prompts.WHOLE


def test_a_ratio_that_is_worse_by_more_than_15_percent_is_reported(bench: Any) -> None:
    budget, samples = bench("budget"), bench("figures").Samples()
    samples.add("shipped", "burst_us", 4.0)
    samples.add("ferrogw", "burst_us", 16.0)
    entries = [budget.Entry("shipped.burst_us", 0.35, "ferrogw.burst_us", recorded) for recorded in (0.2, 0.22, None)]

    verdicts = budget.compare(entries, samples)

    assert [verdict.value for verdict in verdicts] == [0.25, 0.25, 0.25]
    assert [verdict.met for verdict in verdicts] == [True, True, True]
    assert [verdict.worse for verdict in verdicts] == [True, False, False]


def test_a_budget_names_only_peers_and_figures_that_exist(bench: Any) -> None:
    peers = {peer.name for peer in bench("peers").PEERS}
    figures = {figure.key for figure in bench("figures").FIGURES}

    places = [place for entry in bench("budget").read() for place in (entry.of, entry.to) if place]

    assert {place.partition(".")[0] for place in places} <= peers
    assert {place.partition(".")[2] for place in places} <= figures


def test_cpu_time_is_that_of_a_program_and_its_children(bench: Any, tmp_path: Path) -> None:
    processes, log = bench("processes"), tmp_path / "log"
    work = "import time\nwhile time.process_time() < %s: pass\nprint(time.process_time(), flush=True)\n"
    child = work % 0.3 + "time.sleep(60)"
    parent = work % 0.2 + f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"

    with processes.Program("parent", [sys.executable, "-c", parent], log) as program:
        deadline = time.monotonic() + 20
        while len(said := log.read_text().split()) < 2:
            assert time.monotonic() < deadline
        spent = program.cpu_seconds()

    said_seconds = sum(map(float, said))
    assert said_seconds <= spent < said_seconds + 0.1  # what starting a child and going to sleep take


def test_programs_are_ended_with_all_their_children(bench: Any, tmp_path: Path) -> None:
    psutil, processes = pytest.importorskip("psutil"), bench("processes")
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"

    with processes.Program("parent", [sys.executable, "-c", child], tmp_path / "log") as program:
        deadline = time.monotonic() + 10
        while not (children := psutil.Process(program._popen.pid).children()):
            assert time.monotonic() < deadline

    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in children)


def test_a_token_alone_is_measured_in_the_gateways_own_code(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    monkeypatch.setattr("bench.report.publish", lambda console, name, grids, notes, data: shown.append((name, data)))

    bench("cold").run_cold(None, tmp_path, streams=2, rounds=1)

    ((name, data),) = shown
    assert name == "cold"
    assert data["hot_us"] > 0
    assert data["cold_us"] > 0
