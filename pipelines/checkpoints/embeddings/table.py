"""Embedding table: the embeddings that prompts for one model may name, and those that they do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipelines.checkpoints.embeddings import catalog
from pipelines.checkpoints.embeddings.layouts import Embedding, bundled_embeddings
from pipelines.checkpoints.formats.tensor_files import read_header
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.checkpoints.token_count import is_word
from pipelines.errors import ContactSheetError, InvalidRequest, ModelUnavailable, UnknownName
from pipelines.families import FamilySpec
from pipelines.families.capabilities import Configs
from pipelines.request.prompts.embedding_names import find_embeddings, unknown_embeddings
from pipelines.request.request import Request
from pipelines.utils.digests import digest_of_file, digest_of_lines

_WHERE = "python app.py models lists them"


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """Embedding table of one model: reads headers when it is first asked, and keeps what it read.

    Attributes:
        lora_file: finds a LoRA's file by the name a Request has for it.
    """

    model: ModelInfo
    spec: FamilySpec
    configs: Configs
    folders: Sequence[Path]
    lora_file: Callable[[str], Path]

    @cached_property
    def fitting(self) -> list[ModelInfo]:
        """Embeddings here that prompts for the model may name."""
        return [info for info in self._infos if self.misfit(info) is None]

    def misfit(self, info: ModelInfo) -> str | None:
        """Explain why prompts for the model cannot name it; None if they can."""
        if info.problem:
            return info.problem
        try:
            return catalog.opened(info).misfit(self.spec, self.configs)
        except ContactSheetError as error:
            return str(error)

    def named(self, texts: Iterable[str], loras: Iterable[str] = ()) -> dict[str, Embedding]:
        """List the embeddings that texts name, by the names that are known.

        Args:
            loras: that are applied; what is bundled into them can be named as well.
        Raises:
            UnknownName: for `embedding:name` of what is not here.
            ModelUnavailable: for one that is broken or a pickle.
            InvalidRequest: for one that does not fit the model. A name without the mark that is an
                everyday word for the model stays a word then.
        """
        bundled = {one.name: one for lora in loras for one in self._bundled(lora)}
        known = (*bundled, *self._by_name)
        found: dict[str, Embedding] = {}
        for text in dict.fromkeys(texts):
            for word in unknown_embeddings(text, known):
                raise UnknownName.of("embedding", word, known, _WHERE)
            for span in find_embeddings(text, known):
                if span.name in bundled:
                    found[span.name] = self._checked(bundled[span.name])
                    continue
                why = self._why_not(span.name)
                if why is None:
                    found[span.name] = catalog.opened(self._by_name[span.name])
                elif span.marked or not is_word(self.model, text[span.start : span.end]):
                    raise why
        return found

    def mark(self, request: Request) -> str:
        """Hash what embeddings a Request names; "" for none.

        What is bundled into a LoRA counts with the LoRA.
        """
        if not self._by_name:
            return ""
        names = self.of(request)
        own = sorted((name, one) for name, one in names.items() if name in self._by_name)
        lines = [f"{name} {digest_of_file(one.file)}" for name, one in own]
        return f" {digest_of_lines(lines)}" if lines else ""

    def of(self, request: Request) -> dict[str, Embedding]:
        """List the embeddings that a Request names. Raises: as `named`."""
        return self.named([request.prompt, request.negative_prompt], request.lora_names)

    @cached_property
    def _infos(self) -> list[ModelInfo]:
        return catalog.find(self.folders)

    @cached_property
    def _by_name(self) -> Mapping[str, ModelInfo]:
        by_name: dict[str, ModelInfo] = {}
        for info in self._infos:
            for name in catalog.names_of(info):
                by_name.setdefault(name, info)
        return by_name

    def _bundled(self, lora: str) -> list[Embedding]:
        file = self.lora_file(lora)
        return bundled_embeddings(file, read_header(file).shapes)

    def _checked(self, one: Embedding) -> Embedding:
        why = one.misfit(self.spec, self.configs)
        if why is not None:
            raise InvalidRequest(f"embedding {one.name!r} in {one.file} does not fit: {why}")
        return one

    def _why_not(self, name: str) -> ContactSheetError | None:
        """The error for an embedding that cannot be used with this model; None if it can."""
        info = self._by_name[name]
        if info.problem:
            return ModelUnavailable(info.problem)
        why = self.misfit(info)
        if why is None:
            return None
        fit = ", ".join(other.id for other in self.fitting)
        return InvalidRequest(
            f"embedding {name!r} does not fit {self.model.id!r}: {why}; these here fit: "
            f"{fit or 'none'}"
        )
