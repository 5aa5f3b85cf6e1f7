"""What the whole repository keeps to: arrows in one direction, small files, one place for each thing."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import datasets

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    "clip",
    "dassl",
    "datasets",
    "trainers",
    "experiments",
    "reporting",
    "benchmarks",
    "demo",
    "deploy",
)
FILES = [
    *sorted(ROOT.glob("*.py")),
    *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))),
]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES
}

LONG_FILES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}


def imports(module: str) -> set[str]:
    """Our modules that the code of one names in its imports: for types, in functions, too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return found & set(MODULES) - {module}


GRAPH = {name: imports(name) for name in MODULES}


def reached(module: str) -> set[str]:
    """Our modules that the import of one leads to, with the packages around each."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting += GRAPH[name]
        waiting += [name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)]
    return seen


def test_the_graph_is_that_of_the_repository() -> None:
    assert {"train", "clip.model", "trainers.plugins.dpc.plugin", "dassl.engine", "demo.render"} <= set(
        MODULES
    )
    assert "trainers.core.trainer" in GRAPH["trainers.plugins.stack"]
    assert "trainers.coop" in GRAPH["trainers"] and "clip" in reached("train")


def test_there_are_no_circles() -> None:
    order = list(TopologicalSorter(GRAPH).static_order())  # CycleError names a circle
    assert order.index("clip") < order.index("trainers.core") < order.index("trainers") < order.index("train")


@pytest.mark.parametrize(
    ("package", "others"),
    [
        ("clip", {"dassl", "trainers", "datasets"}),
        ("dassl", {"clip", "datasets", "trainers"}),
        ("datasets", {"clip", "trainers"}),
        ("trainers.core", {"datasets"}),
        ("trainers", {"datasets", "train"}),
        ("experiments", {"clip", "dassl", "datasets", "trainers", "reporting"}),
    ],
)
def test_what_a_package_knows_nothing_of(package: str, others: set[str]) -> None:
    ours = [name for name in MODULES if f"{name}.".startswith(f"{package}.")]
    assert ours
    for name in ours:
        assert not {other.split(".")[0] for other in GRAPH[name]} & others, name


def test_the_spine_knows_no_method_and_no_plug_in() -> None:
    for name in MODULES:
        if name.startswith("trainers.core"):
            foreign = {
                n for n in GRAPH[name] if n.startswith("trainers.") and not n.startswith("trainers.core")
            }
            assert not foreign, name
        if name.startswith("trainers.plugins"):
            allowed = ("trainers.core", "trainers.plugins")
            foreign = {n for n in GRAPH[name] if n.startswith("trainers") and not n.startswith(allowed)}
            assert not foreign, name


def test_files_are_short() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    long = {name for name, length in lengths.items() if length > LONG_FILES.get(name, 300)}
    assert not long
    assert all(lengths[name] > 300 for name in LONG_FILES), "an exception that is none any more"


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or 0) - node.lineno + 1


def test_functions_are_short() -> None:
    lengths = {f"{path.relative_to(ROOT)}:{name}": n for path in FILES for name, n in functions(path)}
    long = {name: length for name, length in lengths.items() if length > LONG_FUNCTIONS.get(name, 60)}
    assert not long
    assert all(lengths[name] > 60 for name in LONG_FUNCTIONS), "an exception that is none any more"


TRAINERS = sorted((ROOT / "trainers").rglob("*.py"))


def test_the_variant_is_read_in_one_place() -> None:
    found = {str(path.relative_to(ROOT / "trainers")) for path in TRAINERS if "VARIANT" in path.read_text()}
    assert found == {f"plugins/dpc/{name}.py" for name in ("dual", "options", "readings")}


def test_a_small_method_is_a_small_file() -> None:
    assert len((ROOT / "trainers/kgcoop.py").read_text().splitlines()) <= 40


def code(path: Path) -> str:
    """A file without its comments and docstrings."""
    text = path.read_text()
    tree = ast.parse(text)
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            skipped |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return " ".join(t.string for t in tokens if t.type != tokenize.COMMENT and t.start[0] not in skipped)


def test_no_method_knows_a_data_set_by_name() -> None:
    names = [name for name in datasets.__all__ if name[0].isupper()]
    assert {"EuroSAT", "ImageNet", "Folder", "SUN397"} <= set(names)
    word = re.compile(rf"\b({'|'.join(names)})\b")
    found = {str(path.relative_to(ROOT)): word.findall(code(path)) for path in TRAINERS}
    assert not {name: words for name, words in found.items() if words}


def test_one_module_imports_yacs() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in FILES
        if re.search(r"^(from|import) yacs", path.read_text(), re.M)
    ]
    assert found == ["dassl/config/node.py"]
