"""How the engine's modules hang together: arrows in one direction, and what nobody here uses set apart."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "dassl").rglob("*.py"))
}
COMPAT = [name for name in MODULES if name.endswith(".compat")]


def imports(module: str) -> set[str]:
    """What the import of a module runs first, as far as it is the engine's: for types, in functions, too.

    The packages around what is imported are run before it; those around the module itself are running.
    """
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    around = {name.rsplit(".", count)[0] for name in found for count in range(name.count(".") + 1)}
    return {name for name in around & set(MODULES) if not f"{module}.".startswith(f"{name}.")}


def test_there_are_no_circles() -> None:
    graph = {name: imports(name) for name in MODULES}
    order = list(TopologicalSorter(graph).static_order())  # CycleError names a circle
    assert order.index("dassl.utils") < order.index("dassl.optim") < order.index("dassl.engine")


def public_functions(path: Path) -> set[str]:
    body = ast.parse(path.read_text()).body
    return {n.name for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name[0] != "_"}


def test_what_stands_apart_is_used_by_others_only() -> None:
    apart = {name for module in COMPAT for name in public_functions(MODULES[module])}
    assert {"RandomDomainSampler", "count_num_param", "compute_ci95", "clean_cfg"} <= apart
    told = {"__init__", "compat", "samplers", "tools", "torchtools", "trainer"}  # which hand them on
    folders = ("dassl", "trainers", "datasets", "clip", "demo", "benchmarks", "reporting")
    files = [*ROOT.glob("*.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    for path in files:
        if path.is_relative_to(ROOT / "dassl") and path.stem in told:
            continue
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        names |= {a.name for node in nodes if isinstance(node, ast.ImportFrom) for a in node.names}
        assert not names & apart, path


def test_every_module_can_be_the_first() -> None:
    """Under their own names alone; one process for all, which forgets them in between."""
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    for known in [m for m in sys.modules if m.split('.')[0] == 'dassl']:\n"
        "        del sys.modules[known]\n"
        "    importlib.import_module(name)\n"
    )
    command = [sys.executable, "-c", code, *MODULES]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
