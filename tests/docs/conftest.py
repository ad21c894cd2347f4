"""What the tests of the documents share: a shell that knows `expound`, and a project that was walked once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.reading import shell_environment
from tests.support.projects import make_project


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return shell_environment(tmp_path_factory.mktemp("bin"))


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory, tiny_llama_folder: Path) -> Path:
    """Give a folder that holds `incidents`, a project of which one round is decided. Copy it, never write into it."""
    import expound

    folder = tmp_path_factory.mktemp("walked")
    expound.run(make_project(folder / "incidents", tiny_llama_folder))
    return folder
