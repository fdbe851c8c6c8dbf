"""Models that come, go and are found."""

import pytest

from tornado_gateway.testing import FakeModel, Ledger
from tornado_gateway.testing.house import House
from tornado_gateway.testing.refusals import Refusal
from tornado_gateway.testing.runners import Runners


@pytest.fixture
def house() -> House:
    ledger = Ledger()
    made = House(ledger, Runners(ledger, None, 512, 300.0))
    made.add(FakeModel("Own/Model:Q4"))
    return made


def test_a_model_is_found_whatever_its_case(house: House) -> None:
    assert house.find("own/model:q4", "/api/chat").name == "Own/Model:Q4"


def test_a_removed_model_is_unknown(house: House) -> None:
    house.remove("OWN/model:q4")

    with pytest.raises(Refusal, match="not found"):
        house.find("own/model:q4", "/api/chat")


def test_a_relayed_model_is_refused_while_the_cloud_is_off(house: House) -> None:
    house.add(FakeModel("relayed", remote_host="https://ollama.com:443"))

    with pytest.raises(Refusal, match="cloud is disabled"):
        house.find("relayed", "/api/chat")
    house.cloud = True
    assert house.find("relayed", "/api/chat").remote_host
