"""Conversation -> the text and the token ids that the model sees.

The ids are always those of the rendered text, so whoever encodes that text with the saved tokenizer continues from
the same tokens as we do.
"""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import TemplateError
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerBase

from expound.errors import ModelRefused
from expound.records import Conversation

_MARK = "expound-answer-mark"


def rendered(tokenizer: PreTrainedTokenizerBase, conversation: Conversation) -> str:
    """Return the text of a conversation up to where the model's answer begins.

    A tokenizer without a chat template gets the system message, an empty line and the user's message. A template
    that refuses a system message gets it at the head of the user's.
    """
    if not tokenizer.chat_template:
        return f"{conversation.system}\n\n{conversation.user}\n"
    try:
        return _apply(tokenizer, _messages(conversation.system, conversation.user), prompt=True)
    except TemplateError:
        return _apply(tokenizer, _messages("", f"{conversation.system}\n\n{conversation.user}"), prompt=True)


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    """Return the ids of a rendered text, exactly as `tokenizer.encode` gives them."""
    return tuple(int(token) for token in tokenizer.encode(text))


def leave_marks_to_the_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Stop `encode` from adding marks of its own when a chat template writes them all.

    Templates render the beginning mark themselves; a tokenizer that adds it once more doubles it.
    Errors: ModelRefused when the tokenizer goes on adding marks.
    """
    if not tokenizer.chat_template or _adds_nothing(tokenizer):
        return
    if tokenizer.is_fast:
        plain = TemplateProcessing(single="$A:0", pair="$A:0 $B:1", special_tokens=[])
        tokenizer.backend_tokenizer.post_processor = plain
    if not _adds_nothing(tokenizer):
        raise ModelRefused(
            f"The tokenizer {type(tokenizer).__name__} adds marks that its chat template writes too.",
            "Convert it to a fast tokenizer (tokenizer.json) elsewhere.",
        )


def turn_ends(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the special token with which the chat template ends the model's turn, if there is one.

    Errors: ModelRefused for a template that puts a question and its answer into no text.
    """
    if not tokenizer.chat_template:
        return ()
    messages = [*_messages("", "question"), {"role": "assistant", "content": _MARK}]
    try:
        _, _, after = _apply(tokenizer, messages, prompt=False).partition(_MARK)
    except TemplateError as error:
        raise ModelRefused(f"The model's chat template cannot be used ({error}).", "Mend or remove it.") from error
    ids = tokenizer.encode(after, add_special_tokens=False)
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    return tuple(ids[:1]) if ids and ids[0] in special else ()


def _adds_nothing(tokenizer: PreTrainedTokenizerBase) -> bool:
    return bool(tokenizer.encode("a") == tokenizer.encode("a", add_special_tokens=False))


def _messages(system: str, user: str) -> list[dict[str, str]]:
    opening = [{"role": "system", "content": system}] if system else []
    return [*opening, {"role": "user", "content": user}]


def _apply(tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, str]], *, prompt: bool) -> str:
    return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=prompt))
