"""Wildcard files: which ones a name or a pattern means, and what is said of the rest."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from pipelines import InvalidRequest, UnknownName
from pipelines.request.prompts.prompt_templates import expand

FILES = {
    "animals/cats.txt": "tabby\n\n# of the east\nsiamese\n\n\n", "animals/big/cats.txt": "lion\n",
    "animals/dogs.txt": "rex", "cats.txt": "tom\r\n", "empty.txt": "# nothing\n \n",
    "animals/none.txt": "", "my list.txt": "a\n", "v1.5.txt": "b\n", "v1.txt": "c\n",
    "Case.txt": "C\n", "Twice.txt": "T\n", "twice.txt": "t\n", "up.TXT": "upper\n",
    "one.txt": "x __two__", "two.txt": "__one__ y", "old.yaml": "k:\n  - a\n",
    "bracket[1].txt": "square\n",
}  # fmt: skip
MEANT = {
    "__animals/cats__": ["tabby", "siamese"],
    "__animals/*__": ["lion", "tabby", "siamese", "rex"],
    "__animals/**__": ["lion", "tabby", "siamese", "rex"],
    "__animals/*ts__": ["lion", "tabby", "siamese"],
    "__animals/**/cats__": ["lion", "tabby", "siamese"],
    "__**/cats__": ["lion", "tabby", "siamese", "tom"],
    "__*cats__": ["lion", "tabby", "siamese", "tom"],
    "__ca?s__": ["tom"],
    "__animals/[cd]*__": ["tabby", "siamese", "rex"],
    "__animals/[!c]o*__": ["rex"],
    "__animals\\cats__": ["tabby", "siamese"],
    "__/cats__": ["tom"],
    "__./cats__": ["tom"],
    "__ cats __": ["tom"],
    "__cats.txt__": ["tom"],
    "__my list__": ["a"],
    "__v1.5__": ["b"],
    "__v1__": ["c"],
    "__case__": ["C"],
    "__CATS__": ["tom"],
    "__ANIMALS/D*__": ["rex"],
    "__twice__": ["t"],
    "__Twice__": ["T"],
    "__up__": ["upper"],
    "__bracket[1]__": ["square"],
    "{2$$ and $$__animals/c*__}": ["tabby and siamese", "siamese and tabby"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wildcards")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    (folder / "folder.txt").mkdir()
    return folder


@pytest.mark.parametrize("template", MEANT)
def test_names_and_patterns_mean_files(folder: Path, template: str) -> None:
    assert list(expand(template, [folder])) == MEANT[template]


@pytest.mark.parametrize(
    ("template", "kind", "said"),
    [
        ("a __empty__", InvalidRequest, "wildcard 'empty' has no value: empty.txt holds nothing"),
        ("{x|__empty__}", InvalidRequest, "wildcard 'empty' has no value"),
        ("__*/non*__", InvalidRequest, "animals/none.txt holds nothing but empty lines"),
        ("__animals/cows*__", UnknownName, "unknown wildcard 'animals/cows*'"),
        ("__k__", UnknownName, "old.yaml is not read: only .txt files are"),
        ("__one__", InvalidRequest, "a wildcard that holds itself (one, two, one)"),
        ("__[z-a]__", InvalidRequest, "wildcard '[z-a]' is no pattern"),
        ("__*a*a*a*a*a*a*a__", InvalidRequest, "more than 6 signs"),
    ],
)
def test_what_is_not_there_is_named(
    folder: Path, template: str, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as caught:
        expand(template, [folder])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "crème\nbrûlée\n".encode(), codecs.BOM_UTF8 + "crème\r\nbrûlée".encode(),
        "\ufeffcrème\rbrûlée\r\r".encode("utf-16-le"), "\ufeffcrème\nbrûlée".encode("utf-16-be"),
        "crème\n\n\nbrûlée \n".encode("cp1252"),
    ],
)  # fmt: skip
def test_files_of_any_editor_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dessert.txt").write_bytes(content)
    assert expand("__dessert__", [tmp_path]) == ("crème", "brûlée")


def test_a_file_that_is_no_text_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_bytes(b"a\nb\0c")
    with pytest.raises(InvalidRequest, match=r"wildcard file .*odd\.txt cannot be read: a NUL byte "
                       "at line 2, column 2"):  # fmt: skip
        expand("__odd__", [tmp_path])
