"""expound closes the human-feedback loop for explanations: sample, ask, settle, fit, tune, measure, go round again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from expound.api import *  # noqa: F403

__all__ = (
    "Handle ResponseText RewardValue Waiting ask demo explain export fit fit_file ingest init invite measure open plan"
    " raters report run sample serve settle settle_file status tune"
).split()


def __getattr__(name: str) -> object:
    """Load the verbs when one is first used, so that `import expound` stays light."""
    if name in __all__:
        from expound import api

        return vars(api)[name]
    raise AttributeError(f"module 'expound' has no attribute '{name}'")
