"""The example plugins, each as a stranger gets it: installed by pip into an environment without the source tree, and its own tests run there."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = sorted(path.parent for path in (Path(__file__).parents[2] / "examples").glob("*/setup.py"))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_issue_6_an_example_is_a_package_whose_tests_pass(
    environment: Path, pip: Callable[[Path, Path], None], tmp_path: Path, example: Path
) -> None:
    source = tmp_path / example.name
    shutil.copytree(example, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__", ".hypothesis"))
    pip(environment, source)
    for module in source.glob("*.py"):
        module.unlink()  # what is tested is what was installed

    done = subprocess.run(
        [environment / "bin" / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:randomly"],
        cwd=source, capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


def test_issue_6_there_are_three_with_readme_and_tests() -> None:
    assert len(EXAMPLES) >= 3
    for example in EXAMPLES:
        assert (example / "README.md").exists()
        assert list(example.glob("tests/test_*.py"))
