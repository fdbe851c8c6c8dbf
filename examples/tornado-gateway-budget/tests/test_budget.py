"""Through a real gateway, in front of a simulated Ollama."""

import sqlite3
from datetime import UTC, datetime

import pytest

from tornado_gateway.cli import run
from tornado_gateway.testing import GatewayThread, fail, say

AUTH = {"auth": {"keys": [{"name": name, "key": name} for name in ("alice", "bob")]}}
FORTY = say("An answer.", prompt_tokens=30, eval_tokens=10)


@pytest.fixture
def configured(tmp_path):
    def plugins(**settings):
        return [AUTH, {"budget": {"file": str(tmp_path / "budget.sqlite"), **settings}}]

    return plugins


def test_who_has_used_up_the_budget_is_refused_until_next_month(gateway, fake_ollama, configured):
    fake_ollama.next(FORTY, FORTY)
    served = gateway(plugins=configured(tokens_per_month=50))

    answers = [served.chat("Hello", key="alice") for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-budget-remaining-tokens"] for answer in answers] == ["50", "10", "0"]
    assert 0 < int(answers[2].headers["retry-after"]) <= 31 * 86400
    assert answers[2].headers["x-should-retry"] == "false"
    assert served.chat("Hello", key="bob").status == 200


def test_a_tenant_may_have_a_budget_of_its_own(gateway, configured):
    served = gateway(plugins=configured(tokens_per_month=0, tenants={"bob": 1000}))

    assert (served.chat("Hello", key="alice").status, served.chat("Hello", key="bob").status) == (429, 200)


def test_spending_is_shown_to_its_tenant_and_to_admins(gateway, fake_ollama, configured):
    fake_ollama.next(FORTY, FORTY, FORTY)
    served = gateway(plugins=configured(admins=["bob"], tenants={"alice": 500}))
    for key in ("alice", "bob", "alice"):
        served.chat("Hello", key=key)

    own = served.get("/plugins/budget/spending", key="alice").json()
    all_ = served.get("/plugins/budget/spending", key="bob").json()

    alice = {"tenant": "alice", "tokens": 80, "requests": 2, "budget": 500}
    assert own["spending"] == [alice]
    assert all_["spending"] == [alice, {"tenant": "bob", "tokens": 40, "requests": 1, "budget": None}]
    assert served.get("/plugins/budget/spending?month=2020-01", key="bob").json() == {"month": "2020-01", "spending": []}
    assert served.get("/plugins/budget/spending").status == 401


def test_spending_outlives_a_restart(gateway, fake_ollama, configured, tmp_path):
    fake_ollama.next(FORTY)
    plugins = configured(tokens_per_month=40)
    with GatewayThread(fake_ollama.url, plugins=plugins) as served:
        assert served.chat("Hello", key="alice").status == 200

    assert gateway(plugins=plugins).chat("Hello", key="alice").status == 429


def test_what_failed_costs_nothing(gateway, fake_ollama, configured):
    fake_ollama.next(fail())
    served = gateway(plugins=configured(tokens_per_month=10))

    assert served.chat("Hello", key="alice").status == 502
    assert served.get("/plugins/budget/spending", key="alice").json()["spending"] == []


def test_spending_that_cannot_be_written_is_told_and_written_later(gateway, fake_ollama, configured, tmp_path):
    served = gateway(plugins=configured())
    fake_ollama.next(FORTY, FORTY)
    locked = sqlite3.connect(tmp_path / "budget.sqlite", isolation_level=None)
    locked.execute("BEGIN IMMEDIATE")
    served.chat("Hello", key="alice")

    during = served.get("/plugins/budget/spending", key="alice").json()["spending"]
    unready = served.get("/readyz")
    locked.execute("ROLLBACK")
    locked.close()
    served.chat("Hello", key="alice")

    assert during == []
    assert (unready.status, unready.json()["reason"]) == (503, "budget: spending cannot be written: database is locked")
    assert served.get("/plugins/budget/spending", key="alice").json()["spending"][0]["tokens"] == 80
    assert served.get("/readyz").status == 200


def test_a_file_that_cannot_be_used_stops_the_start(gateway, tmp_path):
    file = tmp_path / "budget.sqlite"
    file.write_text("not a database" * 100)

    with pytest.raises(Exception, match=r"budget: .*budget.sqlite cannot be opened: file is not a database"):
        gateway(plugins=[{"budget": {"file": str(file)}}])


def test_the_command_shows_what_was_spent(gateway, fake_ollama, configured, tmp_path, monkeypatch, capsys):
    fake_ollama.next(FORTY)
    served = gateway(plugins=configured())
    served.chat("Hello", key="alice")
    served.get("/plugins/budget/spending", key="alice")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("plugins: [{budget: {tenants: {alice: 99}}}]")

    assert run(["budget-spending"]) == 0
    assert capsys.readouterr().out == "alice\t40 tokens\t1 requests\tof 99\n"


def test_the_budget_begins_anew_on_the_first(gateway, fake_ollama, configured):
    fake_ollama.next(FORTY)
    served = gateway(plugins=configured(tokens_per_month=40))
    budget = served.plugin("budget")
    now = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    budget._now = lambda: now
    served.chat("Hello", key="alice")

    last = served.chat("Hello", key="alice")
    now = datetime(2027, 1, 1, tzinfo=UTC)
    first = served.chat("Hello again", key="alice")

    assert (last.status, last.headers["retry-after"]) == (429, "60")
    assert first.status == 200


def test_processes_on_one_file_see_each_others_spending(gateway, fake_ollama, configured):
    fake_ollama.next(FORTY, FORTY)
    one, two = gateway(plugins=configured(tokens_per_month=80)), gateway(plugins=configured(tokens_per_month=80))

    for served in (one, two):
        served.chat("Hello", key="alice")
        served.get("/plugins/budget/spending", key="alice")

    assert two.chat("Hello", key="alice").status == 429
