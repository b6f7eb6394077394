"""House rules that no other tool checks. ``python tools/tidy.py`` lists what breaks them, exit 1.

* Imports point one way (gflow/__init__.py draws the layers) and form no cycle.
* Our own modules are imported inside functions only where the supervisor begins and in ``cli``.
* Certain libraries appear only where they belong.
* Words that name nothing are no module names.
* A hot command loads little: the modules that ``gflowctl ping`` brings in are listed and bounded.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "gflow"

#: Layer → layers it may import. ``errors`` may be imported by all.
LAYERS: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "inheritance": frozenset(),
    "config": frozenset({"inheritance"}),
    "model": frozenset(),
    "process": frozenset(),
    "scheduling": frozenset({"model"}),
    "persistence": frozenset({"model", "process"}),
    "launching": frozenset({"model", "process"}),
    "monitoring": frozenset({"model", "process"}),
    "api": frozenset({"model"}),
    "compat": frozenset({"api", "model"}),
    "supervisor": frozenset(
        {
            "config",
            "model",
            "process",
            "scheduling",
            "persistence",
            "launching",
            "monitoring",
            "api",
            "compat",
        }
    ),
    "cli": frozenset(
        {"config", "api", "process", "model", "persistence", "launching", "monitoring", "compat"}
    ),
    "__init__": frozenset({"api"}),
}

#: Library → files (prefixes below gflow/) that may import it.
PLACES: dict[str, tuple[str, ...]] = {
    "asyncio": ("supervisor/", "api/server", "compat/"),
    "aiohttp": ("supervisor/", "api/server", "compat/"),
    "psutil": ("monitoring/",),
    "orjson": ("persistence/codec", "api/server"),
    "setproctitle": ("process/child", "supervisor/main", "launching/shim"),
    "sqlite3": ("persistence/",),
    "rich": ("cli/",),
    "textual": ("cli/",),
    "pynvml": ("monitoring/",),
    "msgpack": ("compat/takeover/state",),
    "random": (),
    "threading": (),
}

#: What the pure core must not know.
IMPURE = frozenset({"os", "time", "random", "logging", "asyncio", "socket", "subprocess", "io"})

BANNED_NAMES = frozenset({"utils", "util", "helpers", "common", "misc", "base", "manager", "types"})

LATE_IMPORTS = ("supervisor/main.py", "supervisor/program.py", "cli/")

#: What ``gflowctl ping`` may never load: each would cost more than the whole command may take.
HOT_BANNED = (
    "asyncio",
    "aiohttp",
    "orjson",
    "dataclasses",
    "inspect",
    "rich",
    "psutil",
    "textual",
    "sqlite3",
    "http.client",
    "email",
    "tomllib",
    "multiprocessing",
    "subprocess",
    "gflow.model",
    "gflow.supervisor",
)


def main() -> int:
    """Print every broken rule; 0 when there is none."""
    problems = [*check_tree(ROOT / PACKAGE), *check_hot_imports()]
    for problem in problems:
        print(problem)
    print(f"tidy: {len(problems)} problem(s)")
    return 1 if problems else 0


def check_tree(package: Path) -> list[str]:
    """Problems of the package's files, one sentence each."""
    problems: list[str] = []
    graph: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package).as_posix()
        if path.stem in BANNED_NAMES or BANNED_NAMES & set(Path(relative).parts[:-1]):
            problems.append(f"{relative}: the name says nothing")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module = _module_name(relative)
        graph[module] = set()
        for name, late, line in imports(tree):
            where = f"{relative}:{line}"
            problems += _library_problems(relative, where, name)
            if name == PACKAGE or name.startswith(PACKAGE + "."):
                problems += _layer_problems(relative, where, name, late)
                if not late:
                    graph[module].add(name)
    problems += [f"import cycle: {' -> '.join(cycle)}" for cycle in cycles(graph)]
    return problems


def imports(tree: ast.Module) -> Iterator[tuple[str, bool, int]]:
    """(module, inside a function, line) of every import; type-checking blocks are left out."""
    stack: list[tuple[ast.AST, bool]] = [(tree, False)]
    while stack:
        node, late = stack.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, late, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            assert node.module is not None
            yield node.module, late, node.lineno
            for alias in node.names:
                yield f"{node.module}.{alias.name}", late, node.lineno
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        inside = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        stack += [(child, inside) for child in ast.iter_child_nodes(node)]


def cycles(graph: dict[str, set[str]]) -> Iterator[list[str]]:
    """Import cycles, each once, as the modules along it (iterative depth-first search)."""
    done: set[str] = set()
    for root in sorted(graph):
        path: list[str] = []
        stack: list[tuple[str, bool]] = [(root, True)]
        while stack:
            module, entering = stack.pop()
            if not entering:
                done.add(path.pop())
                continue
            if module in path:
                yield [*path[path.index(module) :], module]
                continue
            if module in done or module not in graph:
                continue
            path.append(module)
            stack.append((module, False))
            stack += [(target, True) for target in sorted(graph[module])]


def check_hot_imports() -> list[str]:
    """Problems of what ``gflowctl ping`` loads, found by running it with no supervisor there."""
    program = (
        "import sys; from gflow.cli.program import main\n"
        "sys.argv = ['gflowctl', '--runtime-dir', '/nonexistent/gflow', 'ping']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('\\n'.join(sorted(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if answer.returncode != 0:
        return [f"gflowctl ping cannot be loaded: {answer.stderr.strip().splitlines()[-1:]}"]
    loaded = set(answer.stdout.split())
    return [f"gflowctl ping loads {name}" for name in HOT_BANNED if name in loaded]


def _module_name(relative: str) -> str:
    parts = relative.removesuffix(".py").split("/")
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join([PACKAGE, *parts])


def _layer(relative_or_module: str) -> str:
    return relative_or_module.removesuffix(".py").split("/")[0]


def _library_problems(relative: str, where: str, name: str) -> Iterator[str]:
    top = name.split(".")[0]
    allowed = PLACES.get(top)
    if allowed is not None and not relative.startswith(allowed):
        yield f"{where}: {top} does not belong here"
    if relative.startswith("scheduling/") and top in IMPURE:
        yield f"{where}: the core is pure and does not know {top}"


def _layer_problems(relative: str, where: str, name: str, late: bool) -> Iterator[str]:
    own = _layer(relative)
    target = name.split(".")[1] if "." in name else "__init__"
    if target not in LAYERS:
        target = "__init__"  # a name of the top-level package, __version__ say
    if own not in LAYERS:
        yield f"{where}: {own} is no known layer"
    elif target not in {own, "errors", "__init__"} and target not in LAYERS[own]:
        yield f"{where}: {own} must not import {target}"
    elif own == "cli" and target not in {"cli", "api", "errors", "config"} and not late:
        yield f"{where}: cli imports {target} late or not at all"
    if late and not relative.startswith(LATE_IMPORTS) and relative != "__init__.py":
        yield f"{where}: our own modules are imported at the top"


if __name__ == "__main__":
    sys.exit(main())
