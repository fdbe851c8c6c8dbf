from pathlib import Path

import pytest
import yaml

import tornado_gateway
from tornado_gateway.config import ConfigError, Settings
from tornado_gateway.discovery import plugin_settings
from tornado_gateway.loading import load, load_settings

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "config.yaml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(text: str, folder: Path, **more: object) -> list[str]:
    (folder / "config.yaml").write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(**{"environ": {}, **more})  # type: ignore[arg-type]  # a test hands on what it was given
    return str(caught.value).splitlines()


def test_the_shipped_file_equals_the_built_in_defaults(folder: Path) -> None:
    assert load_settings(SHIPPED, environ={}) == load_settings(environ={}) == Settings()


def test_the_shipped_file_equals_the_defaults_whatever_the_environment_says(folder: Path) -> None:
    environ = {"PORT": "8080", "OLLAMA_API": "http://gpu:11434/api", "OPENAI_API": "sk-1"}

    shipped, built_in = load_settings(SHIPPED, environ=environ), load_settings(environ=environ)

    assert shipped == built_in
    assert (shipped.server.port, shipped.upstream.url) == (8080, "http://gpu:11434")
    assert plugin_settings(shipped) == plugin_settings(built_in)
    assert shipped.plugins[1].settings == {"keys": [{"name": "default", "key": "sk-1"}]}


@pytest.mark.parametrize(
    "entry", ["auth", "auth:", "{auth: {}}", "{auth: {keys: []}}", "{auth: {key_file: null}}", "{auth: {keys: '${UNSET}'}}"]
)
def test_the_key_of_the_environment_counts_where_the_file_is_silent_about_keys(folder: Path, entry: str) -> None:
    (folder / "config.yaml").write_text(f"plugins:\n  - cache\n  - {entry}")

    loaded = load(environ={"OPENAI_API": "sk-1"})

    assert [entry.name for entry in loaded.settings.plugins] == ["cache", "auth"]
    assert loaded.settings.plugins[1].settings["keys"] == [{"name": "default", "key": "sk-1"}]
    assert load(environ={}).settings.plugins[1].settings.get("keys", []) == []


@pytest.mark.parametrize("entry", ["{auth: {keys: [{name: a, key: '${UNSET}'}]}}", "{auth: {key_file: keys.txt}}"])
def test_the_key_of_the_environment_does_not_count_beside_others(folder: Path, entry: str) -> None:
    (folder / "config.yaml").write_text(f"plugins: [{entry}]")

    assert load_settings(environ={"OPENAI_API": "sk-1"}) == load_settings(environ={})


@pytest.mark.parametrize("entry", ["- auth:\n  keys: []", "- auth: 5", "- auth: {keys: null}", "- auth: {keis: []}"])
def test_the_key_of_the_environment_hides_no_mistake(folder: Path, entry: str) -> None:
    text = f"plugins:\n{entry}"

    assert told(text, folder, environ={"OPENAI_API": "sk-1"}) == told(text, folder)


def test_the_shipped_file_holds_every_key() -> None:
    values = yaml.safe_load(SHIPPED.read_text("utf-8"))

    for section in ("server", "upstream", "models", "limits"):
        assert list(values[section]) == list(type(getattr(Settings(), section)).model_fields)


def test_every_key_of_the_shipped_file_has_a_reason_to_change_it() -> None:
    for line in SHIPPED.read_text("utf-8").splitlines():
        if line.startswith("  ") and not line.strip().startswith("#") and not line.endswith(":"):
            assert "#" in line or "gpt-3.5-turbo" in line, line


def test_files_are_looked_up_in_order(folder: Path) -> None:
    for name, port in (("given.yaml", 1), ("named.yaml", 2), ("config.yaml", 3)):
        (folder / name).write_text(f"server: {{port: {port}}}")

    assert load_settings("given.yaml", environ={"TORNADO_GATEWAY_CONFIG": "named.yaml"}).server.port == 1
    assert load_settings(environ={"TORNADO_GATEWAY_CONFIG": "named.yaml"}).server.port == 2
    assert load_settings(environ={"TORNADO_GATEWAY_CONFIG": ""}).server.port == 3
    (folder / "config.yaml").unlink()
    assert load_settings(environ={}).server.port == 3000


@pytest.mark.parametrize("more", [{"path": "no.yaml"}, {"environ": {"TORNADO_GATEWAY_CONFIG": "no.yaml"}}])
def test_a_file_that_was_named_must_exist(folder: Path, more: dict[str, object]) -> None:
    assert told("", folder, **more) == ["no.yaml: cannot be read: No such file or directory"]


def test_what_is_not_text_is_no_configuration(folder: Path) -> None:
    (folder / "x.yaml").write_bytes(b"a: \xff\xfe")

    with pytest.raises(ConfigError, match=r"x\.yaml: is not UTF-8"):
        load_settings("x.yaml", environ={})


def test_overrides_beat_the_file_and_the_file_beats_the_defaults(folder: Path) -> None:
    (folder / "config.yaml").write_text("server: {port: 1, host: '::1'}\nupstream:\n")

    settings = load_settings(environ={"PORT": "9"}, overrides={"server.port": 2, "upstream.url": "http://x"})

    assert (settings.server.port, settings.server.host, settings.upstream.url) == (2, "::1", "http://x")
    assert settings.server.drain_seconds == 30


def test_a_reference_that_is_unset_counts_as_not_given(folder: Path) -> None:
    (folder / "config.yaml").write_text(
        "server: {host: '${H}', port: '${PORT}'}\nplugins: [{auth: {keys: [{name: a, key: '${K}'}]}}]"
    )

    settings = load_settings(environ={})

    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 3000)
    assert settings.plugins[0].settings == {"keys": [{"name": "a"}]}


def test_a_key_made_of_digits_stays_a_text(folder: Path) -> None:
    (folder / "config.yaml").write_text("plugins: [{auth: {keys: [{name: a, key: '${K}'}]}}]")

    assert load_settings(environ={"K": "007"}).plugins[0].settings["keys"][0]["key"] == "007"


def test_all_problems_of_core_and_plugins_are_told_with_their_lines(folder: Path) -> None:
    text = """\
server:
  port: abc
  port: 3
  hots: x
plugins:
  - auth:
      keys:
        - name: a
          modles: [x]
  - rate_limit:
      requests_per_minute: soon
  - cache
  - nonsense
  - {}
  - cache
"""
    lines = told(text, folder)

    assert [line.partition(" ")[0] for line in lines] == [f"config.yaml:{line}:" for line in (2, 3, 4, 9, 11, 13, 14, 15)]
    assert lines[0] == 'config.yaml:2: server.port: must be a number from 0 to 65535 (got "abc")'
    assert lines[3] == "config.yaml:9: plugins[0].auth.keys[0].modles: unknown key; did you mean `models`?"
    assert "tornado-gateway-nonsense" in lines[5]
    assert "Installed: auth, cache, logging, rate_limit" in lines[5]
    assert lines[7] == "config.yaml:15: plugins[5].cache: is on twice: plugins[2] is the same"


def test_what_came_from_elsewhere_is_told_with_where_from(folder: Path) -> None:
    lines = told("", folder, environ={"PORT": "x"}, overrides={"server.host": "", "upstream.url": "gpu"})

    assert lines == [
        'command line: server.host: must be a text that is not empty, without line breaks (got "")',
        '$PORT: server.port: must be a number from 0 to 65535 (got "x")',
        "command line: upstream.url: must begin with http:// or https:// and name a host, such as http://localhost:11434",
    ]


@pytest.mark.parametrize("text", ["", "plugins: [logging, auth]"])
def test_a_mistyped_key_of_the_environment_is_told_by_its_variable(folder: Path, text: str) -> None:
    (line,) = told(text, folder, environ={"OPENAI_API": "tg_canary"})

    assert line.startswith("$OPENAI_API: plugins[1].auth.keys[0].key: begins with tg_")
    assert "canary" not in line


def test_no_key_is_in_an_error(folder: Path) -> None:
    text = """\
upstream: {url: "http://u:canary@h", headers: {Host: [canary]}}
plugins: [{auth: {keys: [{name: a, key: canary, expires: canary, sha256: canary}, {name: b, key: [canary], kee: x}]}}]
"""
    assert "canary" not in "\n".join(told(text, folder))


def test_files_that_plugins_read_are_looked_at_only_when_asked(folder: Path) -> None:
    """A server that reads its settings again goes on with the keys that it has."""
    (folder / "config.yaml").write_text("plugins: [{auth: {key_file: gone.txt}}]")

    assert load(environ={}).settings.plugins
    with pytest.raises(ConfigError, match=r"^config\.yaml:1: plugins\[0\]\.auth: cannot read gone\.txt: No such file"):
        load(environ={}, files=True)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o644, True)])
def test_plain_keys_that_others_can_read_are_a_warning(folder: Path, mode: int, warned: bool) -> None:
    file = folder / "config.yaml"
    file.write_text("plugins: [{auth: {keys: [{name: a, key: canary}]}}]")
    file.chmod(mode)

    assert (
        load(environ={}).exposed()
        == "config.yaml holds plain keys and other people on this machine can read it: chmod 600 config.yaml"
    ) is warned


def test_a_file_that_is_gone_by_now_is_nothing_to_warn_of(folder: Path) -> None:
    file = folder / "config.yaml"
    file.write_text("plugins: [{auth: {keys: [{name: a, key: canary}]}}]")
    loaded = load(environ={})
    file.unlink()

    assert loaded.exposed() is None


def test_keys_from_the_environment_are_nothing_to_warn_of(folder: Path) -> None:
    (folder / "config.yaml").write_text("plugins: [{auth: {keys: [{name: a, key: '${K}'}]}}]")

    assert load(environ={"K": "canary"}).exposed() is None
    assert load(environ={}).exposed() is None


def test_the_package_offers_it() -> None:
    assert tornado_gateway.load_settings is load_settings
    with pytest.raises(AttributeError):
        tornado_gateway.nothing  # noqa: B018  # asking for it is the test
