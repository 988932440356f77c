"""What is said of mutations that nothing could notice is said of mutations that there are."""

from __future__ import annotations

import json

from tests.mutation.__main__ import EQUIVALENT, known_files, trials_of


def test_every_explained_mutation_is_one_of_todays_code() -> None:
    explained = json.loads(EQUIVALENT.read_text())
    assert all(explained.values())
    assert not set(explained) - {trial.name for file in known_files() for trial in trials_of(file)}
