from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ValidationError

from tornado_gateway.config.values import FilledIn, Flag, HostName, Origin, UpstreamURL, retyped, seconds, whole


class Sample(BaseModel):
    port: Annotated[int, whole(0, 65535)] = 0
    maybe: Annotated[int | None, whole(1)] = None
    time: Annotated[float, seconds()] = 1
    flag: Flag = False
    url: UpstreamURL = "http://localhost"
    origin: Origin = "*"
    name: HostName = "localhost"


def filled(text: str) -> FilledIn:
    return FilledIn.of(text, whole=True)


def message(**values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Sample(**values)
    return str(caught.value.errors()[0]["msg"]).removeprefix("Value error, ")


@pytest.mark.parametrize("value", ["3000", True, 3.0, None, -1, 65536, [], "abc"])
def test_a_whole_number_is_nothing_else(value: Any) -> None:
    assert message(port=value) == "must be a number from 0 to 65535"


@pytest.mark.parametrize("value", [0, -1, True, "5", float("inf"), float("nan"), 1e300, None])
def test_seconds_are_a_finite_number_above_zero(value: Any) -> None:
    assert message(time=value) == "must be a number of seconds above 0 to 31536000"


def test_null_is_taken_only_where_it_means_something() -> None:
    assert Sample(maybe=None).maybe is None
    assert message(maybe=0) == "must be a whole number of at least 1, or null"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3000", 3000),
        (" 7 ", 7),
        ("-1", -1),
        ("2.5", 2.5),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("abc", "abc"),
        ("1_0", "1_0"),
    ],
)
def test_a_text_from_the_environment_is_typed_as_yaml_would(text: str, value: object) -> None:
    assert retyped(filled(text)) == value
    assert type(retyped(filled(text))) is type(value)


def test_a_text_in_the_file_is_never_typed() -> None:
    assert retyped("3000") == "3000"
    assert retyped(FilledIn.of("3000", whole=False)) == "3000"
    assert Sample.model_validate({"port": filled("80")}).port == 80


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://localhost:11434", "http://localhost:11434"),
        ("http://localhost:11434/", "http://localhost:11434"),
        ("http://LocalHost:11434/api", "http://localhost:11434"),
        ("http://h:1/api/chat", "http://h:1"),
        ("http://h:1/api/generate/", "http://h:1"),
        ("https://h/ollama", "https://h/ollama"),
        ("https://h/ollama/api/", "https://h/ollama"),
        ("https://h/apiary", "https://h/apiary"),
        ("http://[::1]:11434", "http://[::1]:11434"),
    ],
)
def test_ollamas_address_is_kept_without_what_is_added_to_it(given: str, kept: str) -> None:
    assert Sample(url=given).url == kept


@pytest.mark.parametrize(
    "value",
    [
        "",
        "localhost:11434",
        "ftp://h",
        "http://",
        "http://u:p@h",
        "http://h?x=1",
        "http://h/#x",
        "http://h:99999",
        "http://h h",
        "http://[x",
        3,
        "/run/x.sock",
    ],
)
def test_what_is_no_address_of_ollama_is_refused(value: Any) -> None:
    assert message(url=value).startswith("must")


@pytest.mark.parametrize("value", ["chat.example.org", "https://a.example/path", "null", "https://u@h", ""])
def test_an_origin_is_a_scheme_and_a_host(value: str) -> None:
    assert message(origin=value).startswith("must be")


def test_origins_and_host_names_are_kept_as_browsers_send_them() -> None:
    sample = Sample(origin="https://Chat.Example.org/", name="GPU.local")

    assert (sample.origin, sample.name) == ("https://chat.example.org", "gpu.local")
    assert message(name="http://gpu") == "must be a host name, without scheme and path"
