import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tornado_gateway.config import ConfigError, Settings
from tornado_gateway.config.values import FilledIn
from tornado_gateway.discovery import available, build_plugins, implemented_hooks, plugin_settings

BUNDLED = ["auth", "cache", "logging", "rate_limit"]

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Lays a distribution on the path, as pip would: its metadata with an entry point, and its module."""
    monkeypatch.syspath_prepend(tmp_path)

    def lay(name: str, code: str, *, distribution: str = "stranger", value: str = "") -> None:
        module = f"stranger_{name}"
        monkeypatch.delitem(sys.modules, module, raising=False)
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[tornado_gateway]\n{name} = {value or module + ':Plugin'}\n")

    return lay


PLUGIN = '''
from pydantic import BaseModel

class Plugin:
    """Says hello.

    And more."""
    class Settings(BaseModel):
        word: str = "hello"
        times: int = 1

    def __init__(self, settings):
        self.settings = settings
        if settings.word == "fail":
            raise OSError("no disk")
'''


def told(*plugins: object) -> str:
    with pytest.raises(ConfigError) as caught:
        build_plugins(Settings.model_validate({"plugins": plugins}))
    return str(caught.value)


def test_all_bundled_plugins_are_found() -> None:
    found = {plugin.name: plugin for plugin in available()}

    assert set(BUNDLED) <= set(found)
    for name in BUNDLED:
        assert found[name].distribution == "tornado-gateway"
        assert found[name].doc


def test_a_strangers_plugin_is_found_and_built_in_order(install: Install) -> None:
    install("greet", PLUGIN)

    built = build_plugins(Settings.model_validate({"plugins": ["cache", {"greet": {"word": "hi"}}]}))

    assert [name for name, _ in built] == ["cache", "greet"]
    assert built[1][1].settings.word == "hi"  # type: ignore[attr-defined]  # the class is the test's own
    (found,) = [plugin for plugin in available() if plugin.name == "greet"]
    assert (found.distribution, found.version, found.doc) == ("stranger", "1.2", "Says hello.")


def test_each_build_is_a_new_instance() -> None:
    settings = Settings.model_validate({"plugins": ["cache"]})

    assert build_plugins(settings)[0][1] is not build_plugins(settings)[0][1]


def test_settings_of_each_plugin_are_given_by_name(install: Install) -> None:
    install("greet", PLUGIN)

    assert plugin_settings(Settings.model_validate({"plugins": [{"greet": {"times": 3}}]}))["greet"].model_dump() == {
        "word": "hello",
        "times": 3,
    }


@pytest.mark.parametrize(
    ("plugin", "key", "value"),
    [
        ("rate_limit", "burst", True),
        ("rate_limit", "requests_per_minute", "60"),
        ("rate_limit", "max_concurrent", 3.0),
        ("cache", "coalesce", "off"),
        ("logging", "max_bytes", True),
        ("logging", "log_content", "yes"),
    ],
)
def test_the_bundled_plugins_guess_no_types(plugin: str, key: str, value: object) -> None:
    assert told({plugin: {key: value}}).startswith(f"plugins[0].{plugin}.{key}: must be ")


def test_a_text_from_the_environment_may_become_a_number_or_a_truth_where_one_is_wanted() -> None:
    def filled(text: str) -> FilledIn:
        return FilledIn.of(text, whole=True)

    keys = [{"name": "a", "key": filled("12345"), "requests_per_minute": filled("5"), "disabled": filled("true")}]
    settings = Settings.model_validate({"plugins": [{"auth": {"keys": keys}}, {"cache": {"ttl_seconds": filled("1.5")}}]})

    found = plugin_settings(settings)

    (key,) = found["auth"].model_dump()["keys"]
    assert (key["key"].get_secret_value(), key["requests_per_minute"], key["disabled"]) == ("12345", 5, True)
    assert found["cache"].model_dump()["ttl_seconds"] == 1.5
    assert "must be a whole number" in told({"rate_limit": {"burst": filled("many")}})


def test_an_unknown_key_is_an_error_though_the_plugin_did_not_say_so(install: Install) -> None:
    install("greet", PLUGIN)

    assert told({"greet": {"wrod": "x"}}) == "plugins[0].greet.wrod: unknown key; did you mean `word`?"


def test_a_plugin_that_takes_any_key_is_let_have_them(install: Install) -> None:
    install("greet", PLUGIN.replace("class Settings(BaseModel):", "class Settings(BaseModel, extra='allow'):"))

    assert build_plugins(Settings.model_validate({"plugins": [{"greet": {"more": 1}}]}))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise RuntimeError('two\\nlines')", "cannot be imported: RuntimeError: two lines"),
        ("Plugin = 3", "is not a class"),
        ("class Plugin: pass", "Plugin has no nested pydantic model `Settings`"),
        (PLUGIN.replace("BaseModel)", "dict)"), "Plugin has no nested pydantic model `Settings`"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_an_error_with_the_reason(install: Install, code: str, reason: str) -> None:
    install("greet", code)

    assert told("greet").startswith("plugins[0].greet: ")
    assert told("greet").endswith(reason)


def test_a_plugin_that_cannot_be_built_is_an_error_with_the_reason(install: Install) -> None:
    install("greet", PLUGIN)

    assert told({"greet": {"word": "fail"}}) == "plugins[0].greet: cannot be built: OSError: no disk"


def test_what_is_not_installed_is_told_with_its_usual_name() -> None:
    message = told("token_budget")

    assert message.startswith(
        "plugins[0].token_budget: is not installed; on PyPI it is usually called tornado-gateway-token-budget."
    )
    assert message.endswith(f"Installed: {', '.join(BUNDLED)}")


def test_the_same_plugin_twice_is_an_error() -> None:
    assert told("cache", "cache") == "plugins[1].cache: is on twice: plugins[0] is the same"


def test_a_name_that_two_packages_offer_is_nobodys(install: Install) -> None:
    install("cache", PLUGIN)

    assert (
        told("cache") == "plugins[0].cache: more than one package offers it, uninstall all but one: stranger, tornado-gateway"
    )


def test_the_hooks_of_a_class_are_those_that_it_marks() -> None:
    (auth,) = [plugin for plugin in available() if plugin.name == "auth"]

    assert "authenticate" in implemented_hooks(auth.load(), ["admit", "authenticate"])
    assert not list(implemented_hooks(str, ["admit"]))
