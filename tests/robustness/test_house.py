"""The rules of the house, held for every file: imports, names, docstrings, lengths, documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers.house import documents, imports, layers, names, private_names
from tests.helpers.house.source_tree import SourceFile, in_packages, read_tree

ROOT = Path(__file__).parents[2]
PRODUCT = ("app", "pipelines", "ui", "presets", "training", "bench")

# What a user, a command or another program puts there.
EXAMPLES = {
    "models/.downloads",
    "models/annotators",
    "models/annotators/depth",
    "models/dream.safetensors",
    "models/dream/tokenizer",
}
# Why a file may have more than 300 lines.
LONG_FILES = {
    "pipelines/studio.py": "the one door: a method for each thing that callers may ask for",
    "tests/cli/test_app.py": "every command, against one small model",
    "tests/parity/test_families.py": "all families against diffusers, from one table of sheets",
    "tests/parity/test_controlnet.py": "all options of a ControlNet against diffusers",
    "tests/parity/test_controlnet_flow.py": "the same for two families of flow models",
    "tests/parity/test_lora_forms.py": "every form of LoRA against its own formula, from one table",
    "tests/pipelines/checkpoints/test_identify.py": "every kind of file, from one set of makers",
    "tests/pipelines/checkpoints/test_single_file.py": "every layout, from one set of makers",
    "tests/pipelines/model_manager/test_manager.py": "one cache under all kinds of pressure",
    "tests/pipelines/request/test_request.py": "every field of a Request, and axes over it",
    "tests/pipelines/test_studio.py": "the door's methods, with one small model",
    "tests/robustness/test_odd_files.py": "every kind of odd file, from one set of makers",
    "tests/ui/control_editor/test_map_editor.py": "one page, opened once, edited in many ways",
    "tests/ui/tabs/test_controlnet.py": "one page, opened once",
    "tests/ui/tabs/test_sheets.py": "one page, opened once",
}
# Names of libraries that have no public twin: torch's compiled call, diffusers' choice of
# attention and its hooks, the address of a tensor's storage.
FOREIGN = frozenset(
    {"_attention_backend", "_cdata", "_compiled_call_impl", "_diffusers_hook"},
)


def tell(found: Sequence[object]) -> str:
    """All that was found, a line each."""
    return "\n".join(map(str, ["", *found]))


@pytest.fixture(scope="module")
def files() -> dict[str, SourceFile]:
    return read_tree(ROOT)


@pytest.fixture(scope="module")
def graph(files: dict[str, SourceFile]) -> imports.Graph:
    return imports.import_graph(files)


def test_no_file_imports_itself_by_way_of_others(graph: imports.Graph) -> None:
    found = imports.circles(graph)
    assert not found, tell(found)


@pytest.mark.parametrize("package", ["pipelines", "ui", "training", "bench"])
def test_no_folder_imports_itself_by_way_of_its_neighbours(
    graph: imports.Graph, package: str
) -> None:
    found = imports.folder_circles(graph, package)
    assert not found, tell(found)


def test_no_folder_is_crowded(files: dict[str, SourceFile]) -> None:
    found = names.crowded_folders(in_packages(files, "pipelines", "ui"))
    assert not found, tell(found)


def test_no_file_name_is_a_gerund(files: dict[str, SourceFile]) -> None:
    found = names.gerunds(files.values())
    assert not found, tell(found)


def test_every_file_says_in_its_first_line_what_it_is(files: dict[str, SourceFile]) -> None:
    found = names.bad_first_lines(in_packages(files, *PRODUCT))
    assert not found, tell(found)


def test_long_files_have_a_reason(files: dict[str, SourceFile]) -> None:
    found = names.long_files(files.values(), LONG_FILES)
    assert not found, tell(found)


def test_no_test_reaches_for_a_private_name(files: dict[str, SourceFile]) -> None:
    found = private_names.reached(in_packages(files, "tests"), FOREIGN)
    assert not found, tell(found)


def test_documents_name_what_exists(files: dict[str, SourceFile]) -> None:
    found = documents.lost_in_documents(ROOT, files, EXAMPLES)
    assert not found, tell(found)


def test_docstrings_name_what_exists(files: dict[str, SourceFile]) -> None:
    found = documents.lost_in_docstrings(ROOT, files)
    assert not found, tell(found)


def test_the_diagram_of_the_layers_is_what_the_imports_give(graph: imports.Graph) -> None:
    text = (ROOT / layers.DOCUMENT).read_text()
    assert text == layers.replaced(text, layers.picture(graph)), "make docs writes it"
