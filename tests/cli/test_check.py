from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

from tornado_gateway.cli import run
from tornado_gateway.cli.check import check_upstream
from tornado_gateway.config import Settings
from tornado_gateway.testing import FakeOllama

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "my.yaml"


def test_a_valid_file_says_so(file: Path, capsys: Capture) -> None:
    file.write_text("server: {port: 1}")

    assert run(["check", "-c", str(file)]) == 0
    assert capsys.readouterr() == (f"{file} is valid\n", "")


def test_all_problems_are_lines_on_standard_error(file: Path, capsys: Capture) -> None:
    file.write_text("server:\n  port: abc\n  host: ''\nplugins: [nope]\n")

    assert run(["check", "-c", str(file)]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.splitlines()[0] == f'{file}:2: server.port: must be a number from 0 to 65535 (got "abc")'
    assert len(written.err.splitlines()) == 3


def test_plain_keys_that_others_can_read_are_warned_of_with_the_command_to_type(file: Path, capsys: Capture) -> None:
    file.write_text("plugins: [{auth: {keys: [{name: a, key: canary}]}}]")
    file.chmod(0o644)

    assert run(["check", "-c", str(file)]) == 0
    errors = capsys.readouterr().err
    assert errors.startswith("warning: ")
    assert f"chmod 600 {file}" in errors
    assert "canary" not in errors


def test_a_certificate_that_cannot_be_used_is_a_problem(file: Path, capsys: Capture) -> None:
    file.write_text("server: {tls: {certificate: no.pem, key: no.pem}}")

    assert run(["check", "-c", str(file)]) == 2
    assert f"{file}: server.tls: the certificate or its key cannot be used" in capsys.readouterr().err


def test_an_encrypted_key_is_a_problem_and_no_question(file: Path, capsys: Capture) -> None:
    issued = trustme.CA().issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(file.with_name("server.pem"))
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"canary"))
    file.with_name("server.key").write_bytes(secret)
    file.write_text(f"server: {{tls: {{certificate: {file.parent}/server.pem, key: {file.parent}/server.key}}}}")

    assert run(["check", "-c", str(file)]) == 2
    assert "is encrypted; give one that is not" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        (None, 0o600, "cannot read {keys}: No such file or directory"),
        ("bob: canary", 0o644, "others can read or change {keys}: chmod 640 {keys}"),
        ("canary", 0o600, "{keys}: line 1 is not `NAME: KEY`"),
        ("bob: canary of alice", 0o600, "'bob' has the same key as 'alice': give each key once"),
    ],
)
def test_a_file_of_keys_that_cannot_be_used_is_a_problem(
    file: Path, capsys: Capture, text: str | None, mode: int, reason: str
) -> None:
    keys = file.with_name("keys.txt")
    if text is not None:
        keys.write_text(text)
        keys.chmod(mode)
    file.write_text(
        f"server: {{port: x}}\nplugins:\n  - auth:\n      keys: [{{name: alice, key: canary of alice}}]\n      key_file: {keys}\n"
    )

    assert run(["check", "-c", str(file)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f'{file}:1: server.port: must be a number from 0 to 65535 (got "x")',
        f"{file}:3: plugins[0].auth: {reason.format(keys=keys)}",
    ]


def test_a_file_of_keys_that_can_be_used_is_none(file: Path, capsys: Capture) -> None:
    keys = file.with_name("keys.txt")
    keys.write_text("bob: canary")
    keys.chmod(0o600)
    file.write_text(f"plugins: [{{auth: {{key_file: {keys}}}}}]")

    assert run(["check", "-c", str(file)]) == 0


def test_what_the_server_would_refuse_is_told_at_once(file: Path, capsys: Capture) -> None:
    file.write_text("server: {host: 0.0.0.0, tls: {certificate: no.pem, key: no.pem}}\nplugins: [logging]")

    assert run(["check", "-c", str(file)]) == 2
    certificate, door = capsys.readouterr().err.splitlines()
    assert certificate.startswith(f"{file}: server.tls: ")
    assert door.startswith(f"{file}: server.host is 0.0.0.0 and no plugin authenticates")


async def test_ollama_is_asked_for_version_and_models(capsys: Capture) -> None:
    async with FakeOllama() as ollama:
        assert await check_upstream(Settings.model_validate({"upstream": {"url": ollama.url}})) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"upstream {ollama.url}: Ollama ")
    assert len(lines) > 1


def test_an_ollama_that_is_down_is_exit_code_1(file: Path, capsys: Capture) -> None:
    file.write_text("upstream: {url: 'http://127.0.0.1:9'}")

    assert run(["check", "--upstream", "-c", str(file)]) == 1
    assert capsys.readouterr().err.startswith("tornado-gateway: upstream http://127.0.0.1:9: ")
