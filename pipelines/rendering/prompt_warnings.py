"""Prompt warnings: what of a Request's prompts its model does not read, in words."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cache

from pipelines.checkpoints import token_count
from pipelines.checkpoints.token_count import Tokens
from pipelines.errors import ContactSheetError, shortened
from pipelines.model_manager.model_entry import ModelEntry
from pipelines.request.prompts.prompt_schedule import Clause, texts_of
from pipelines.request.prompts.prompt_tags import unread_tags
from pipelines.request.request import Request
from pipelines.runs.events import Warnings

log = logging.getLogger(__name__)

_QUOTED = 80
_AND = re.compile(r"\bAND\b")


class PromptWarnings:
    """Finds what is not read. Each text is counted once for each model.

    Args:
        opened: opens a model by its name.
    """

    def __init__(self, opened: Callable[[str], ModelEntry]) -> None:
        self._open = opened
        self._seen: dict[tuple[Hashable, ...], frozenset[str]] = {}
        self._of_texts = cache(self._texts)
        self._cut = cache(self._unread)

    def of(self, request: Request) -> Warnings:
        """List what a complete Request's model does not read of its prompts."""
        from pipelines.rendering.trajectories import guidance_for, guidance_key

        can = self._open(request.model).capabilities
        found = list(
            self._of_texts(request.model, request.prompt, request.negative_prompt, request.steps)
        )
        key = guidance_key(request)
        texts = self._seen.get(key)
        if texts is None:
            try:
                texts = guidance_for(request, can).texts
            except ContactSheetError:  # its own cell says so, when it starts
                texts = frozenset({"prompt", "negative"})
            self._seen[key] = texts
        if request.negative_prompt and "negative" not in texts:
            found.append("the negative prompt is not read: guidance is off at guidance_scale 1")
        if request.prompt and request.guidance_scale == 0.0 and can.guidance == "classifier_free":
            found.append("the prompt is not read: guidance_scale 0 leaves it out")
        return tuple(found)

    def _texts(self, model: str, prompt: str, negative: str, steps: int) -> Warnings:
        request = Request(model=model, prompt=prompt, negative_prompt=negative, steps=steps)
        can = self._open(model).capabilities
        prompts = self._prompt(model, "prompt", prompt, can.clauses(request), steps)
        found = list(prompts)
        if not can.composes and _AND.search(prompt):
            found.append(f"prompt: AND is read as a word; {model!r} takes one prompt")
        if negative:
            clause = (can.negative(request),)
            found += self._prompt(model, "negative prompt", negative, clause, steps)
            if _AND.search(negative):
                found.append("negative prompt: AND is read as a word; it joins prompts only")
        return tuple(dict.fromkeys(found))

    def _prompt(
        self, model: str, name: str, text: str, clauses: Sequence[Clause], steps: int
    ) -> Iterator[str]:
        for words in (words for clause in clauses for words in clause.never):
            yield f"{name}: {_quoted(words)} is not read, as none of the {steps} steps reaches it"
        for tag in unread_tags(text, negative=name != "prompt"):
            yield f"{name}: {_quoted(tag)} is not carried out; it is read as words"
        for one in texts_of(clauses):
            cut = self._cut(model, one)
            if cut is not None:
                yield (
                    f"{name}: {_quoted(cut.cut)} is not read; the text encoder reads "
                    f"{cut.most} tokens"
                )

    def _unread(self, model: str, text: str) -> Tokens | None:
        try:
            entry = self._open(model)
            named = entry.embeddings.named([text])
            vectors = {name: one.vectors for name, one in named.items()}
            return token_count.unread(entry.info, text, vectors)
        except Exception:  # whoever encodes with what is broken says so
            log.exception("%s: tokens could not be counted", model)
            return None


def _quoted(text: str) -> str:
    return repr(shortened(text.strip(), _QUOTED))
