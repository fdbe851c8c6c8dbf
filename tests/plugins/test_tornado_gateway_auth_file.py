"""The file of keys is used whole or not at all."""

from pathlib import Path

import pytest

from tornado_gateway_auth_file import KeyFile, KeyFileBroken
from tornado_gateway_auth_keys import digest_of

HEX = digest_of("two").hex()


def write(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "keys"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "text",
    [
        f"# ours\nalice: one\n\nbob:sha256:{HEX}\n",
        f"keys:\n  - name: alice\n    key: one\n  - {{name: bob, sha256: {HEX}}}\n",
        f"# ours\n- name: alice\n  key: one\n- name: bob\n  sha256: {HEX}\n",
        f'\ufeff[{{"name": "alice", "key": "one"}}, {{"name": "bob", "sha256": "{HEX}"}}]',
    ],
)
def test_lines_yaml_and_json_say_the_same(tmp_path: Path, text: str) -> None:
    file = KeyFile.read(write(tmp_path, text))

    assert [entry.name for entry in file.entries] == ["alice", "bob"]
    assert [entry.digest() for entry in file.entries] == [digest_of("one"), digest_of("two")]


def test_a_key_on_a_line_may_hold_spaces_and_colons(tmp_path: Path) -> None:
    file = KeyFile.read(write(tmp_path, "the lab: My: API Key \n"))

    assert file.entries[0].name == "the lab"
    assert file.entries[0].digest() == digest_of("My: API Key")


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o666])
def test_a_file_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path, "alice: one\n", mode)

    with pytest.raises(KeyFileBroken, match="chmod 640"):
        KeyFile.read(path)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640])
def test_a_file_for_owner_and_group_is_read(tmp_path: Path, mode: int) -> None:
    assert KeyFile.read(write(tmp_path, "alice: one\n", mode)).entries


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "canary\n",
        "alice:\n",
        ": canary\n",
        b"alice: \xff\xfe\n",
        "alice: tg_canary\n",
        "alice: canary\nbob: canary\n",
        "keys:\n",
        "keys: []\n",
        "keys:\n  - name: alice\n    key: canary\n  - name: bo",
        "keys:\n  - name: alice\n    key: 'canary",
        "keys:\n  - name: alice\n    key: canary\n    key: other\n",
        "keys:\n  - {name: alice, key: canary}\nkeys:\n  - {name: bob, key: other}\n",
        "keys:\n  - {name: alice, key: canary}\nmore: 1\n",
        "keys:\n  - canary\n",
        "- name: alice\n  key: 5\n",
        "- name: alice\n  kez: canary\n",
        "[[[[",
    ],
)
def test_a_broken_file_is_refused_in_one_line_that_holds_no_key(tmp_path: Path, text: str | bytes) -> None:
    path = write(tmp_path, text)

    with pytest.raises(KeyFileBroken) as caught:
        KeyFile.read(path)

    assert "\n" not in str(caught.value)
    assert "canary" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileBroken, match=r"cannot read .*nowhere: No such file"):
        KeyFile.read(tmp_path / "nowhere")
    with pytest.raises(KeyFileBroken, match="cannot read"):
        KeyFile.read(tmp_path)


def test_a_version_that_ends_in_the_middle_of_a_line_is_no_successor(tmp_path: Path) -> None:
    whole = KeyFile.read(write(tmp_path, "alice: one\nbob: second\n"))
    cut = KeyFile.read(write(tmp_path, "alice: one\nbob: sec"))

    with pytest.raises(KeyFileBroken, match="still being written"):
        cut.check_successor_of(whole)
    whole.check_successor_of(cut)
    cut.check_successor_of(cut)
