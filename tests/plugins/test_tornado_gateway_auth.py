"""The auth plugin as the gateway uses it: hooks with real contexts."""

import asyncio
import logging
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from tornado_gateway.hookspecs import AuthenticationFailed, Context, Principal, ServerFacts, StartupRefused
from tornado_gateway_auth import Auth, presented_key
from tornado_gateway_auth_keys import KeyEntry, is_mistyped, new_key

ALICE = {"name": "alice", "key": "My API Key"}
TYPED = new_key()


def server(said: list[str] | None = None, *, loopback: bool = True) -> ServerFacts:
    host = "127.0.0.1" if loopback else "0.0.0.0"
    return ServerFacts(host, 3000, loopback, (said if said is not None else []).append)


def settings(*keys: Mapping[str, object], **more: object) -> Auth.Settings:
    return Auth.Settings.model_validate({"keys": list(keys), **more})


async def started(*keys: Mapping[str, object], said: list[str] | None = None, **more: object) -> Auth:
    auth = Auth(settings(*keys, **more))
    await auth.startup(server(said))
    return auth


def request(**headers: str) -> Context:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Context("id", time.time(), time.monotonic(), "127.0.0.1", "POST", "/v1/chat/completions", named)


async def ask(auth: Auth, **headers: str) -> Principal | None:
    try:
        return await auth.authenticate(request(**headers))
    except AuthenticationFailed:
        return None


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer My API Key"},
        {"authorization": "bearer My API Key"},
        {"authorization": "BEARER   My API Key \t"},
        {"api_key": "My API Key"},
        {"x_api_key": " My API Key "},
        {"authorization": "Bearer My API Key", "x_api_key": "My API Key", "api_key": "My API Key"},
        {"authorization": "Bearer ", "x_api_key": "My API Key"},
    ],
)
async def test_a_right_key_is_known_in_every_header(headers: dict[str, str]) -> None:
    principal = await ask(await started(ALICE), **headers)

    assert principal == Principal("alice")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "My API Key"},
        {"authorization": "Basic My API Key"},
        {"authorization": "BearerMy API Key"},
        {"authorization": "Bearer my api key"},
        {"authorization": "Bearer My API Key,Bearer My API Key"},
        {"authorization": "Bearer My API Key\x00"},
        {"authorization": "Bearer " + "k" * 200_000},
        {"authorization": "Bearer schl\u00fcssel \u0142 \udc80"},
        {"authorization": "Bearer My API Key", "x_api_key": "another"},
        {"api_key": "another", "x_api_key": "My API Key"},
        {"x_api_key": "My API Key,My API Key"},
        {"cookie": "key=My API Key", "x_forwarded_authorization": "Bearer My API Key"},
    ],
)
async def test_c07_missing_and_wrong_keys_are_refused_alike(headers: dict[str, str]) -> None:
    auth = await started(ALICE, {"name": "other", "key": "another"})

    with pytest.raises(AuthenticationFailed) as caught:
        await auth.authenticate(request(**headers))

    with pytest.raises(AuthenticationFailed) as missing:
        await auth.authenticate(request())
    assert caught.value.body() == missing.value.body()
    assert caught.value.headers == missing.value.headers == {"WWW-Authenticate": "Bearer"}
    assert caught.value.body()["code"] == "invalid_api_key"


async def test_c02_keys_that_begin_and_end_alike_are_told_apart() -> None:
    first, second = ("x" * 20 + middle + "y" * 20 for middle in ("1", "2"))
    auth = await started({"name": "one", "key": first}, {"name": "two", "key": second})

    assert await ask(auth, authorization=f"Bearer {first}") == Principal("one")
    assert await ask(auth, authorization=f"Bearer {second}") == Principal("two")
    assert await ask(auth, authorization=f"Bearer {first[:20]}") is None


async def test_expired_and_disabled_keys_are_refused_like_wrong_ones() -> None:
    auth = await started(
        {"name": "old", "key": "old", "expires": "2020-01-31"},
        {"name": "off", "key": "off", "disabled": True},
        {"name": "new", "key": "new", "expires": "2999-01-31"},
    )

    assert [await ask(auth, authorization=f"Bearer {key}") for key in ("old", "off", "new")] == [None, None, Principal("new")]


@pytest.mark.parametrize("keys", [[], [{"name": "lab", "key": None}], [{"name": "lab"}]])
async def test_without_a_key_one_is_made_for_the_run_and_shown_once(keys: list[dict[str, object]]) -> None:
    said: list[str] = []

    auth = await started(*keys, said=said)

    assert len(said) == 1
    key = said[0].rpartition(" ")[2]
    assert key.startswith("tg_")
    assert not is_mistyped(key)
    assert await ask(auth, authorization=f"Bearer {key}") == Principal("lab" if keys else "default")
    assert key not in repr(vars(auth))


async def test_two_gateways_make_different_keys_for_their_runs() -> None:
    said: list[str] = []
    await asyncio.gather(started(said=said), started(said=said))

    assert len(set(said)) == 2


async def test_without_a_key_other_machines_get_no_server() -> None:
    with pytest.raises(StartupRefused, match=r"no key is given, and 0\.0\.0\.0 can be reached") as caught:
        await Auth(settings({"name": "default"})).startup(server(loopback=False))

    assert "\n" not in str(caught.value)


async def test_keys_that_are_all_expired_make_no_key_for_the_run() -> None:
    said: list[str] = []

    auth = await started({"name": "old", "key": "old", "expires": "2020-01-31"}, said=said)

    assert not said
    assert await ask(auth, authorization="Bearer old") is None


async def test_an_entry_that_is_not_given_is_named_beside_those_that_are(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    await started(ALICE, {"name": "bob"})

    assert [(record.msg, record.__dict__["facts"]) for record in caplog.records] == [("keys_not_given", {"names": ["bob"]})]


async def test_a_key_whose_words_are_logged_is_announced() -> None:
    said: list[str] = []

    auth = await started({**ALICE, "log_content": True}, said=said)

    assert said == ["Prompts and answers of these tenants may be logged: alice"]
    assert await ask(auth, api_key="My API Key") == Principal("alice", log_content=True)


async def test_new_settings_count_for_the_next_request() -> None:
    auth = await started(ALICE)

    await auth.reconfigure(settings({"name": "bob", "key": "new"}))

    assert await ask(auth, authorization="Bearer My API Key") is None
    assert await ask(auth, authorization="Bearer new") == Principal("bob")


async def test_the_key_of_the_run_outlives_new_settings_without_a_key() -> None:
    said: list[str] = []
    auth = await started(said=said)

    await auth.reconfigure(settings({"name": "default"}))

    assert len(said) == 1
    assert await ask(auth, authorization=f"Bearer {said[0].rpartition(' ')[2]}")


async def test_the_key_of_the_run_ends_when_a_key_is_given() -> None:
    said: list[str] = []
    auth = await started(said=said)

    await auth.reconfigure(settings(ALICE))

    assert await ask(auth, authorization=f"Bearer {said[0].rpartition(' ')[2]}") is None
    assert await ask(auth, authorization="Bearer My API Key")


async def test_taking_away_the_last_key_before_other_machines_changes_nothing() -> None:
    auth = Auth(settings(ALICE))
    await auth.startup(server(loopback=False))

    with pytest.raises(StartupRefused):
        await auth.reconfigure(settings())

    assert await ask(auth, authorization="Bearer My API Key")


def key_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "keys"
    path.write_text(text)
    path.chmod(mode)
    return path


async def test_keys_of_the_file_and_of_the_settings_count_together(tmp_path: Path) -> None:
    auth = await started(ALICE, key_file=key_file(tmp_path, "bob: two\n"))

    assert await ask(auth, authorization="Bearer My API Key")
    assert await ask(auth, authorization="Bearer two") == Principal("bob")


async def test_with_a_file_no_key_is_made_for_the_run(tmp_path: Path) -> None:
    said: list[str] = []

    await started(said=said, key_file=key_file(tmp_path, "bob: two\n"))

    assert not said


@pytest.mark.parametrize(("text", "mode"), [("bob: two\n", 0o644), ("", 0o600), ("bob\n", 0o600), ("bob: My API Key\n", 0o600)])
async def test_a_file_that_cannot_be_used_refuses_the_start(tmp_path: Path, text: str, mode: int) -> None:
    auth = Auth(settings(ALICE, key_file=key_file(tmp_path, text, mode)))

    with pytest.raises(StartupRefused, match=r"^auth: ") as caught:
        await auth.startup(server())

    assert "My API Key" not in str(caught.value)


async def test_a_missing_file_refuses_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupRefused, match="cannot read"):
        await started(ALICE, key_file=tmp_path / "nowhere")


async def test_c06_a_file_is_read_again_with_new_settings(tmp_path: Path) -> None:
    path = key_file(tmp_path, "bob: two\n")
    auth = await started(key_file=path)

    path.write_text("carol: three\n")
    await auth.reconfigure(settings(key_file=path))

    assert await ask(auth, authorization="Bearer two") is None
    assert await ask(auth, authorization="Bearer three") == Principal("carol")


@pytest.mark.parametrize("text", ["", "carol: th", "garbage\n", "carol: tg_wrong1\n", "- name: carol\n  key: 'x", None, "mode"])
async def test_c06_a_broken_file_leaves_the_last_good_keys(
    tmp_path: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = key_file(tmp_path, "bob: two\n")
    auth = await started(key_file=path)

    if text is None:
        path.unlink()
    elif text == "mode":
        path.chmod(0o644)
    else:
        path.write_text(text)
    await auth.reconfigure(settings(ALICE, key_file=path))

    assert await ask(auth, authorization="Bearer two") == Principal("bob")
    assert await ask(auth, authorization="Bearer My API Key") == Principal("alice")
    assert await ask(auth, authorization="Bearer garbage") is None
    assert [record.msg for record in caplog.records] == ["key_file_kept"]


async def test_c06_a_file_that_was_broken_and_is_whole_again_is_taken(tmp_path: Path) -> None:
    path = key_file(tmp_path, "bob: two\n")
    auth = await started(key_file=path)

    for text in ("", "carol: three\n"):
        path.write_text(text)
        await auth.reconfigure(settings(key_file=path))

    assert await ask(auth, authorization="Bearer three") == Principal("carol")


async def test_another_file_is_no_half_written_version_of_the_first(tmp_path: Path) -> None:
    auth = await started(key_file=key_file(tmp_path, "bob: two\n"))
    other = tmp_path / "other"
    other.write_text("carol: three")
    other.chmod(0o600)

    await auth.reconfigure(settings(key_file=other))

    assert await ask(auth, authorization="Bearer three") == Principal("carol")
    assert await ask(auth, authorization="Bearer two") is None


async def test_a_right_key_is_never_delayed_while_wrong_ones_are() -> None:
    auth = await started(ALICE)
    for _ in range(100):
        assert await ask(auth, authorization="Bearer wrong") is None
    guess = asyncio.ensure_future(ask(auth, authorization="Bearer wrong"))
    await asyncio.sleep(0)

    assert await ask(auth, authorization="Bearer My API Key")

    assert not guess.done()
    assert await guess is None


async def test_c09_keys_are_in_no_message_log_or_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    auth = await started({"name": "one", "key": "canary-configured"}, {"name": "two", "key": TYPED})

    with pytest.raises(AuthenticationFailed) as caught:
        await auth.authenticate(request(authorization="Bearer canary-presented"))

    told = f"{caplog.text} {caught.value!r} {caught.value.body()} {auth!r} {vars(auth)!r} {auth._settings!r}"
    assert "canary" not in told
    assert TYPED not in told


@pytest.mark.parametrize(
    "keys", [[ALICE, {**ALICE, "name": "bob"}], [{"name": "a", "key": "tg_canary"}], [{"key": "canary"}], "canary"]
)
def test_wrong_settings_are_told_without_the_keys(keys: object) -> None:
    with pytest.raises(ValidationError) as caught:
        Auth.Settings.model_validate({"keys": keys})

    assert "canary" not in str(caught.value)
    assert "My API Key" not in str(caught.value)


async def test_a_key_made_by_the_plugin_is_known_by_its_digest() -> None:
    key = Auth.new_key()

    auth = await started({"name": "new", "sha256": Auth.digest(key)})

    assert await ask(auth, authorization=f"Bearer {key}") == Principal("new")


def test_a_mistyped_key_is_still_one_key() -> None:
    assert presented_key({"authorization": "Bearer tg_x", "x-api-key": "tg_x"}) == "tg_x"


def test_the_settings_have_a_schema_for_editors() -> None:
    schema = Auth.Settings.model_json_schema()

    assert set(schema["properties"]) == {"keys", "key_file"}
    assert schema["$defs"]["KeyEntry"]["properties"]["expires"]["examples"] == ["2027-01-31"]


def test_the_page_shows_every_setting() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "auth.md").read_text("utf-8")
    shown = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])["plugins"][0]["auth"]

    assert set(shown) == set(Auth.Settings.model_fields)
    assert {name for entry in shown["keys"] for name in entry} == set(KeyEntry.model_fields)
    assert Auth.Settings.model_validate(shown)
