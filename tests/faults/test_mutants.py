"""The list of mutants fits the code: whether the cases see them is for `make mutants`."""

from pathlib import Path

import pytest
from faults.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_changes_stands_there_once(mutant: Mutant) -> None:
    for change in mutant.changes:
        assert (ROOT / change.file).read_text("utf-8").count(change.old) == 1, change.old
        assert change.new != change.old
    assert all((ROOT / "tests" / case.partition("::")[0]).exists() for case in mutant.cases)
