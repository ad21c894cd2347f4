"""The Policy port: sample, explain and save."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, takewhile
from pathlib import Path

from torch import Tensor
from transformers import GenerationConfig

from expound.files import staged_folder
from expound.models.conversion import quiet
from expound.models.cut import decoder_of
from expound.models.decoding import Asked, Drawn, Speaker, sample_responses
from expound.models.head import head_of
from expound.models.loading import Loaded, prompt_ids
from expound.models.low_rank import with_learnt
from expound.records import Conversation, Json, Prompt, Response, SamplingKey, content_id
from expound.settings import SamplingSettings

CHUNK_PROMPTS = 16
"""Prompts sampled and stored together."""
_POLICY = "policy."


def policy_id(reference: str, state: Mapping[str, Tensor]) -> str:
    """Return the id of a tuned policy: the hash of the reference's identity and the "policy." tensors of a branch."""
    tensors: list[Json] = []
    for name in sorted(name for name in state if name.startswith(_POLICY)):
        array = state[name].detach().cpu().contiguous().numpy()
        tensors.append([name, list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()])
    return content_id("policy", reference, tensors)


def text_of(loaded: Loaded, tokens: Sequence[int]) -> str:
    """Return what the tokens of a response say."""
    return str(loaded.tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()


def reached(loaded: Loaded, tokens: Sequence[int]) -> list[int]:
    """Return how many characters of what they say are complete behind each of the tokens of a response.

    A character of several tokens is that of the token which completes it.
    """
    decoded = [
        str(loaded.tokenizer.decode(list(tokens[: count + 1]), skip_special_tokens=True))
        for count in range(len(tokens))
    ]
    whole = decoded[-1]
    before, held = len(whole) - len(whole.lstrip()), len(whole.strip())
    shared = [
        sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(part, whole, strict=False))) for part in decoded
    ]
    return [min(max(count - before, 0), held) for count in accumulate(shared, max)]


class ModelPolicy:
    """A language model that explains: the reference, or a tuned branch merged into it. Fulfils `ports.Policy`."""

    def __init__(
        self,
        loaded: Loaded,
        render: Callable[[Prompt], Conversation],
        sampling: SamplingSettings,
        branch: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Merge the "policy." tensors of `branch` (None: the reference); `sampling` says what `save` writes.

        Errors: ModelRefused when the branch was tuned on a model of another shape.
        """
        self._loaded, self._render, self._sampling = loaded, render, sampling
        learnt = {name.removeprefix(_POLICY): one for name, one in (branch or {}).items() if name.startswith(_POLICY)}
        self._model = with_learnt(loaded.model, learnt) if branch is not None else loaded.model
        self.id = loaded.identity if branch is None else policy_id(loaded.identity, branch)
        """Identity of its weights."""
        self._speaker = Speaker(decoder_of(self._model), head_of(self._model), loaded.end_tokens, loaded.pad_token)

    def chunks(self, prompts: Sequence[Prompt]) -> Sequence[tuple[Prompt, ...]]:
        """Return the prompts in groups of like length that are sampled together; depends on the prompts alone."""
        lengths = {prompt.id: len(self._ids(prompt, 0)) for prompt in prompts}
        ordered = sorted(prompts, key=lambda prompt: (lengths[prompt.id], prompt.id))
        return [tuple(ordered[start : start + CHUNK_PROMPTS]) for start in range(0, len(ordered), CHUNK_PROMPTS)]

    def sample(
        self, prompts: Sequence[Prompt], responses: int, sampling: SamplingSettings, key: SamplingKey
    ) -> tuple[Response, ...]:
        """Return `responses` responses to each prompt, in the order given.

        Errors: PromptError when a prompt does not fit the context.
        """
        asked = [Asked(prompt.id, self._ids(prompt, sampling.max_new_tokens)) for prompt in prompts]
        drawn = sample_responses(self._speaker, asked, responses, sampling, key)
        found = []
        for prompt, group in zip(prompts, drawn, strict=True):
            for sample, said in enumerate(group):
                text = self._text(said)
                id_ = Response.make_id(prompt.id, self.id, key.round, sample, text)
                finished, tokens = said.finished, said.tokens
                found.append(Response(id_, prompt.id, text, self.id, key.round, sample, finished, tokens))
        return tuple(found)

    def explain(self, conversation: Conversation, sampling: SamplingSettings, key: SamplingKey) -> str:
        """Return one explanation; temperature 0 is greedy.

        Errors: PromptError when the conversation does not fit the context.
        """
        ids = prompt_ids(self._loaded, conversation, "(the one to explain)", sampling.max_new_tokens)
        name = content_id("conversation", conversation.system, conversation.user)
        ((said,),) = sample_responses(self._speaker, [Asked(name, ids)], 1, sampling, key)
        return self._text(said)

    def save(self, folder: Path) -> None:
        """Write the merged model as a plain Hugging Face folder whose `generate` explains greedily.

        Errors: StorageError when the disk refuses.
        """
        plain = GenerationConfig(
            do_sample=False,
            max_new_tokens=self._sampling.max_new_tokens,
            eos_token_id=list(self._loaded.end_tokens),
            pad_token_id=self._loaded.pad_token,
            bos_token_id=self._loaded.tokenizer.bos_token_id,
        )
        before = self._model.generation_config
        self._model.generation_config = plain
        try:
            with quiet(), staged_folder(folder, replaces=True) as staging:
                self._model.save_pretrained(staging)
                self._loaded.tokenizer.save_pretrained(staging)
        finally:
            self._model.generation_config = before

    def _ids(self, prompt: Prompt, new_tokens: int) -> tuple[int, ...]:
        return prompt_ids(self._loaded, self._render(prompt), prompt.name or prompt.id, new_tokens)

    def _text(self, said: Drawn) -> str:
        return text_of(self._loaded, said.tokens)
