"""The Policy port: sample, explain and save."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from expound.models.loading import Loaded
from expound.records import Conversation, Prompt, Response, SamplingKey
from expound.settings import SamplingSettings


def policy_id(reference: str, state: Mapping[str, Tensor]) -> str:
    """Return the id of a tuned policy: the hash of the reference's identity and the "policy." tensors of a branch."""
    raise NotImplementedError


class ModelPolicy:
    """A language model that explains: the reference, or a tuned branch merged into it. Fulfils `ports.Policy`."""

    def __init__(
        self,
        loaded: Loaded,
        render: Callable[[Prompt], Conversation],
        sampling: SamplingSettings,
        branch: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Merge the "policy." tensors of `branch` (None: the reference); `sampling` says what `save` writes."""
        raise NotImplementedError

    @property
    def id(self) -> str:
        """Identity of its weights."""
        raise NotImplementedError

    def chunks(self, prompts: Sequence[Prompt]) -> Sequence[tuple[Prompt, ...]]:
        """Return the prompts in groups that are sampled together; depends on the prompts alone."""
        raise NotImplementedError

    def sample(
        self, prompts: Sequence[Prompt], responses: int, sampling: SamplingSettings, key: SamplingKey
    ) -> tuple[Response, ...]:
        """Return `responses` responses to each prompt, in the order given."""
        raise NotImplementedError

    def explain(self, conversation: Conversation, sampling: SamplingSettings, key: SamplingKey) -> str:
        """Return one explanation; temperature 0 is greedy."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write the merged model as a plain Hugging Face folder with a generation config."""
        raise NotImplementedError
