"""Models made in tests leave nothing in the user's cache; the real one uses it, since its conversion takes long."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def _cache_of_this_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _cache_of_this_run: Path) -> None:
    if request.node.get_closest_marker("smollm2") is None:
        monkeypatch.setenv("EXPOUND_CACHE", str(_cache_of_this_run))
