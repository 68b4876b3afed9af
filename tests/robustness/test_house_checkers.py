"""The checkers behind the rules of the house find what breaks a rule, in small trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.house import documents, imports, layers, names, private_names
from tests.helpers.house.source_tree import SourceFile, read_tree


def tree(root: Path, **texts: str) -> dict[str, SourceFile]:
    """A small source tree; `a__b` stands for the file `a/b.py`, `a__` for `a/__init__.py`."""
    for name, text in texts.items():
        parts = [part or "__init__" for part in name.split("__")]
        path = root.joinpath(*parts[:-1], parts[-1] + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read_tree(root)


CIRCLE = ["pipelines.low", "pipelines.high"]


@pytest.mark.parametrize(
    "back",
    [
        "from pipelines.high import x",
        "from pipelines import high",
        "from . import high",
        "from .high import x",
        "import pipelines.high",
        "def late():\n    from pipelines.high import x",
        "if TYPE_CHECKING:\n    from pipelines.high import x",
        "import_module('pipelines.high')",
        "TABLE = {'a': ('pipelines.high', 'Class')}",
        "import_module(f'pipelines.{name}')",
    ],
)
def test_every_way_to_import_closes_a_circle(tmp_path: Path, back: str) -> None:
    found = tree(tmp_path, pipelines__="", pipelines__high="import pipelines.low\n")
    assert imports.circles(imports.import_graph(found)) == []
    found = tree(tmp_path, pipelines__low=back)
    assert imports.circles(imports.import_graph(found)) == [sorted(CIRCLE)]


def test_a_long_circle_is_told_as_a_whole_and_what_hangs_on_it_is_not(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        ui__a="import ui.b, ui.outside", ui__b="import ui.c", ui__c="import ui.a",
        ui__outside="", ui__above="import ui.a", ui__d="import ui.e", ui__e="import ui.d",
    )  # fmt: skip
    wanted = [["ui.a", "ui.b", "ui.c"], ["ui.d", "ui.e"]]
    assert imports.circles(imports.import_graph(found)) == wanted


def test_folders_close_a_circle_where_no_files_do(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        pipelines__="from pipelines.a.top import x", pipelines__a__="", pipelines__b__="",
        pipelines__a__top="import pipelines.b.only", pipelines__a__low="",
        pipelines__b__only="import pipelines.a.low",
    )  # fmt: skip
    graph = imports.import_graph(found)
    assert imports.circles(graph) == []
    assert imports.folder_circles(graph, "pipelines") == [["pipelines.a", "pipelines.b"]]


def test_a_folder_and_the_file_beside_it_close_a_circle(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        ui__="", ui__a__="", ui__a__inner__="", ui__a__inner__one="import ui.a.beside",
        ui__a__beside="import ui.a.inner.two", ui__a__inner__two="",
    )  # fmt: skip
    graph = imports.import_graph(found)
    assert imports.folder_circles(graph, "ui") == [["ui.a.beside", "ui.a.inner"]]


def test_names_and_docstrings_are_checked(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        **{f"ui__f{i}": '"""A."""' for i in range(17)},
        bench__making='"""Makes."""', bench__bare="x = 1",
        bench__wide=f'"""{"x" * 101}."""', bench__lighting='"""A noun."""', bench__="",
    )  # fmt: skip
    assert names.crowded_folders(found.values()) == []
    assert names.gerunds(found.values()) == ["bench/making.py"]
    assert names.bad_first_lines(found.values()) == [
        "bench/bare.py: no docstring",
        "bench/wide.py: 102 characters",
    ]
    crowded = tree(tmp_path, ui__more="")
    assert names.crowded_folders(crowded.values()) == ["ui: 18 files"]


def test_lengths_and_their_reasons_are_checked(tmp_path: Path) -> None:
    found = tree(tmp_path, ui__a="\n" * 300, ui__b="\n" * 301, ui__c="\n" * 501)
    reasons = {"ui/a.py": "", "ui/c.py": "", "ui/gone.py": ""}
    assert names.long_files(found.values(), reasons) == [
        "ui/b.py: 301 lines",
        "ui/c.py: 501 lines",
        "ui/a.py: no reason needed",
        "ui/gone.py: no reason needed",
    ]
    assert names.long_files(found.values(), {"ui/b.py": ""}) == ["ui/c.py: 501 lines"]


@pytest.mark.parametrize(
    "line",
    [
        "from pipelines.studio import _secret",
        "studio._secret",
        "studio.manager._secret()",
        "open_studio()._secret = 1",
        "print(pipelines.studio._secret)",
        "monkeypatch.setattr(studio, '_secret', 1)",
        "getattr(studio, '_secret')",
        "class Mine(pipelines.studio.Studio):\n    def f(self):\n        self._secret()",
        "monkeypatch.setattr('pipelines.studio._secret', 1)",
    ],
)
def test_every_way_to_a_private_name_is_seen(tmp_path: Path, line: str) -> None:
    found = tree(tmp_path, tests__test_a=f"import pipelines.studio\n{line}\n")
    (told,) = private_names.reached(found.values())
    assert told.startswith("tests/test_a.py:") and told.endswith("_secret")
    assert private_names.reached(found.values(), frozenset({"_secret"})) == (
        [told] if "pipelines.studio._secret'" in line else []
    )


def test_what_is_the_test_s_own_or_a_library_s_is_let_be(tmp_path: Path) -> None:
    text = """
import os, torch._dynamo
from diffusers import models
class Own:
    def __init__(self):
        self._seen = []
        self._helped()
    def _helped(self): ...
own = Own()
own._seen
os._exit
torch._dynamo.reset
models._x
row._replace(a=1)
len.__name__
def _helper(_unused): ...
_helper(1)
print("_secret", "pipelines.studio")
"""
    assert private_names.reached(tree(tmp_path, tests__test_a=text).values()) == []


def test_lost_names_in_documents_are_told_with_their_line(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        pipelines__="", pipelines__a__="", pipelines__a__b="class C:\n    x = 1\n\nD = E = 2\n",
        tests__test_a="",
    )  # fmt: skip
    (tmp_path / "docs").mkdir()
    (tmp_path / "models" / "m").mkdir(parents=True)
    good = (
        "`pipelines/a/b.py` `pipelines/a/` `pipelines.a.b` `pipelines.a.b.C` `pipelines.a.b.C.x` "
        "`pipelines.a.b.E` `/generate` `a|b` `sheet.png` `vae/config.json` `x = y/z`\n"
        "`models/mine`\n"
        "    python -m pytest tests/test_a.py\n"
    )
    (tmp_path / "README.md").write_text(good)
    assert documents.lost_in_documents(tmp_path, found, {"models/mine"}) == []
    (tmp_path / "docs" / "d.md").write_text(
        "\n`a/b.py`, `b.py`\n`pipelines/a/c.py` `pipelines.a.c` `pipelines.a.b.F`\n"
        "    python -m pipelines.x --y\n    pytest tests/test_b.py\n"
    )
    (tmp_path / "models" / "m" / "README.md").write_text("`models/yours`")
    assert documents.lost_in_documents(tmp_path, found, {"models/mine"}) == [
        "docs/d.md:2 a/b.py",
        "docs/d.md:2 b.py",
        "docs/d.md:3 pipelines/a/c.py",
        "docs/d.md:3 pipelines.a.c",
        "docs/d.md:3 pipelines.a.b.F",
        "docs/d.md:4 pipelines.x",
        "docs/d.md:5 tests/test_b.py",
        "models/m/README.md:1 models/yours",
    ]


def test_lost_names_in_docstrings_are_told(tmp_path: Path) -> None:
    text = (
        '"""See `ui.a`, `ui.b`."""\ndef f():\n    """`ui/c.py`; not `__init__.py`, `a/b.py`."""\n'
    )
    found = tree(tmp_path, ui__="", ui__a=text)
    assert documents.lost_in_docstrings(tmp_path, found) == ["ui/a.py: ui.b", "ui/a.py: ui/c.py"]


def test_a_package_stands_a_floor_above_what_it_imports() -> None:
    graph = {"a.top": {"a.mid", "a.low"}, "a.mid": {"a.low"}, "a.low": set(), "a.side": {"a.low"}}
    assert layers.drawn(graph) == ("  2  top  → mid\n  1  mid  → low\n  1  side → low\n  0  low")
    with pytest.raises(ValueError, match=r"import each other: \[\['a.low', 'a.mid', 'a.top'\]\]"):
        layers.drawn(graph | {"a.low": {"a.top"}})


def test_only_what_stands_between_the_marks_is_written_anew() -> None:
    text = f"before\n{layers.BEGIN}old\n{layers.END}after\n"
    assert layers.replaced(text, "new\n") == f"before\n{layers.BEGIN}new\n{layers.END}after\n"
