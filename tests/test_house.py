"""The rules of the house, read from the source: who may import whom, how long things may be, and that each module has its test."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
CORE = ROOT / "tornado_gateway"
PLUGINS = ROOT / "plugins"
TESTS = ROOT / "tests"
SOURCES = sorted([*CORE.rglob("*.py"), *PLUGINS.rglob("*.py")])

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40

ROOMS = (
    ("__main__",),
    ("cli",),
    ("testing",),
    ("workers",),
    ("places",),
    ("server", "child"),
    ("listener", "downstream", "systemd", "mainloop", "signals", "daemon", "tls", "worker", "channel", "keepers"),
    ("app",),
    ("handlers",),
    ("exchange",),
    ("delivery", "fanout", "models", "presence", "hooks", "loading", "lag", "restart"),
    ("discovery", "upstream", "binding", "transforms", "answering"),
    ("hookspecs",),
    ("budget", "context", "wire", "log", "lastresort", "names", "memory"),
    ("config", "errors", "headers"),
)
"""From the roof to the cellar: a module imports from floors below its own, and from its own room."""

ALONE = {"config", "testing"}
"""Import nothing else of ours."""

KNOWS_THE_GATEWAY = ("testing/served.py",)
"""Of `testing`: the module that starts a gateway. All else there says what it says of Ollama independently."""

IMPURE = (
    "logging",
    "os",
    "random",
    "secrets",
    "select",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "asyncio",
    "tornado",
    "pathlib",
)
"""What `wire/` must not import: clock, sockets, chance, files, logs."""

ABOUT_THE_WHOLE = {"conformance", "installed", "faults", "third_party"}
"""Folders of tests that look at the whole, not at a module."""

NO_MODULE = {
    "tests/cli/test_cli.py": "the package `cli` as a program",
    "tests/test_contract.py": "the hooks, their pages, tests and users",
    "tests/test_bench.py": "what the benchmarks measure with",
    "tests/test_docs.py": "the documentation",
    "tests/test_house.py": "the source as text",
    "tests/test_misbehaving_plugins.py": "the table of outcomes in the documentation",
    "tests/test_older_program.py": "what the program before got wrong",
    "tests/test_openai_client.py": "the official client against a gateway",
    "tests/test_openai_routes.py": "the addresses of a gateway",
    "tests/test_typing.py": "the public API as type checkers see it",
    "tests/test_reliability_page.py": "the page about reliability",
    "tests/test_plugin_surface.py": "what plugins may do, through a gateway",
}
"""Other tests without a module of the same name, and what they are about."""

NO_TEST_YET = (
    "tornado_gateway/context.py",
    "tornado_gateway/exchange.py",
    "tornado_gateway/handlers/facts.py",
    "tornado_gateway/handlers/models.py",
    "tornado_gateway/handlers/openai.py",
    "tornado_gateway/handlers/plugins.py",
    "tornado_gateway/handlers/probes.py",
    "tornado_gateway/handlers/reply.py",
    "tornado_gateway/handlers/services.py",
    "tornado_gateway/log.py",
    "tornado_gateway/wire/dialect.py",
    "tornado_gateway/wire/sse.py",
)
"""Modules that are tested only through others. This list shrinks: one that has its test must leave it."""


def modules(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*.py"))


def floor(room: str) -> int:
    for number, rooms in enumerate(ROOMS):
        if room in rooms:
            return number
    raise AssertionError(f"{room} has no place in the house: add it to ROOMS")


def room_of(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Full names of what a module imports, wherever the import stands, but for what only type checkers see."""
    tree = ast.parse(path.read_text("utf-8"))
    ignored = {id(inner) for node in ast.walk(tree) if _is_for_types(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def ours(path: Path) -> Iterator[str]:
    """The rooms from which a module imports."""
    for name in imported(path):
        head, *rest = name.split(".")
        if head == "tornado_gateway" and rest and not rest[0].startswith("__"):
            yield rest[0]


def test_arrows_point_down() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path in modules(CORE)
        for other in ours(path)
        if not _downward(room_of(path), other) and path.relative_to(CORE).as_posix() not in KNOWS_THE_GATEWAY
    ]

    assert wrong == []


def _downward(room: str, other: str) -> bool:
    """Rooms of one floor may know each other as long as it goes one way: the next test sees to that."""
    if room == "__init__" or other == room:
        return True  # the package itself imports what it offers when it is asked for
    if room == "wire":
        return other in ("errors", "names")
    return room not in ALONE and floor(other) >= floor(room)


def test_no_two_rooms_import_each_other() -> None:
    arrows = {(room_of(path), other) for path in modules(CORE) for other in ours(path)}

    assert not [(one, other) for one, other in arrows if one != other and (other, one) in arrows]


def test_plugins_know_the_contract_and_themselves_only() -> None:
    wrong = [
        f"{path.stem} imports {name}" for path in modules(PLUGINS) for name in imported(path) if not _open_to(path.stem, name)
    ]

    assert wrong == []


def _open_to(module: str, name: str) -> bool:
    if name.startswith("tornado_gateway."):
        return name.startswith("tornado_gateway.hookspecs")
    plugin = max((known for known in _plugin_names() if module.startswith(known)), key=len)
    return not name.startswith("tornado_gateway_") or name.startswith(plugin)


def _plugin_names() -> list[str]:
    setup = (ROOT / "setup.py").read_text("utf-8")
    return [path.stem for path in modules(PLUGINS) if f"= {path.stem}:" in setup]


def test_the_wire_knows_neither_clock_nor_socket_nor_chance() -> None:
    wrong = [
        f"{path.stem} imports {name}"
        for path in modules(CORE / "wire")
        for name in imported(path)
        if name.split(".")[0] in IMPURE
    ]

    assert wrong == []


def test_the_core_knows_no_plugin() -> None:
    for path in modules(CORE):
        assert not [name for name in imported(path) if name.startswith("tornado_gateway_")], path


def test_files_stay_short() -> None:
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in SOURCES}

    assert {name: length for name, length in lengths.items() if length > MAX_FILE_LINES} == {}


def test_functions_stay_short() -> None:
    lengths = {
        f"{path.name}: {node.name}": (node.end_lineno or 0) - node.lineno + 1 for path in SOURCES for node in _functions(path)
    }

    assert {name: length for name, length in lengths.items() if length > MAX_FUNCTION_LINES} == {}


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_every_module_says_what_it_is() -> None:
    assert [path.name for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text("utf-8")))] == []


def test_every_module_has_its_test() -> None:
    tests = set(places_of_tests())
    missing = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.stem not in ("__init__", "__main__") and place_of(path) not in tests
    ]

    assert sorted(missing) == sorted(NO_TEST_YET)


def test_every_test_has_its_module() -> None:
    """`test_NAME.py`, or `test_NAME_and_more.py` where one file would be too long."""
    places = {place_of(path) for path in SOURCES}
    stray = [
        str(path.relative_to(ROOT))
        for place, path in places_of_tests().items()
        if not any(place == known or place.startswith(f"{known}_") for known in places)
    ]

    assert sorted(set(stray) - set(NO_MODULE)) == []


def place_of(source: Path) -> str:
    """Where the tree of tests has the tests of a module: its path there, without `test_` and suffix."""
    if source.is_relative_to(PLUGINS):
        return f"plugins/{source.stem}"
    return source.relative_to(CORE).with_suffix("").as_posix()


def places_of_tests() -> dict[str, Path]:
    found = [path for path in TESTS.rglob("test_*.py") if path.relative_to(TESTS).parts[0] not in ABOUT_THE_WHOLE]
    return {(path.relative_to(TESTS).parent / path.stem.removeprefix("test_")).as_posix(): path for path in found}
