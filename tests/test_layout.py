"""docs/layout.md, the linter's contracts and the source tree agree about the rooms."""

import ast
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

PACKAGE = ROOT / "d2l_recsys"
LINTER = shutil.which("lint-imports", path=str(ROOT.__class__(sys.executable).parent))


def layers():
    """The rooms from the top, read from the linter's first contract in pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text().partition("\nlayers = [")[2].partition("]")[0]
    return [line.split(" | ") for line in re.findall(r'"(.+)"', text)]


def sources():
    folders = ("benchmarks", "chapters", "d2l_recsys", "ports", "tests")
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def test_the_page_has_the_rooms_in_the_linters_order():
    table = (
        (ROOT / "docs" / "layout.md").read_text().partition("## The rooms")[2].partition("## ")[0]
    )
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [re.findall(r"`(\w+)(?:\.py|/)`", row) for row in rows]
    order = {room: height for height, rooms in enumerate(layers()) for room in rooms}
    heights = [[order.pop(room) for room in rooms] for rooms in named]
    assert not order, "docs/layout.md lacks these rooms"
    flat = [height for row in heights for height in row]
    assert flat == sorted(flat)


def test_what_stands_in_a_room_is_told():
    text = (ROOT / "docs" / "layout.md").read_text()
    for room in (path for path in PACKAGE.iterdir() if (path / "__init__.py").exists()):
        row = next(line for line in text.splitlines() if line.startswith(f"| `{room.name}/`"))
        files = {path.stem for path in room.glob("*.py")} - {"__init__"}
        told = set(re.findall(r"`(\w+)`", row.partition("/`")[2])) - {"__init__"}
        assert told <= files, room.name
        # The row of baseline, the largest room, names only the files that readers look for.
        assert room.name == "baseline" or told == files, room.name


def test_few_files_lie_flat():
    assert len(list(PACKAGE.glob("*.py"))) <= 14


def test_no_module_is_imported_under_two_names():
    """No file imports the folder chapters under another name than d2l_recsys.chapters."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            assert not any(name.split(".")[0] == "chapters" for name in names), path


@pytest.mark.skipif(LINTER is None, reason="import-linter is not installed for this Python")
@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("settings.py", "    from d2l_recsys.train import train_ctr\n", "from the rooms below"),
        ("training/history.py", "    import mxnet\n", "Only backend.py imports MXNet"),
        ("loaders/batches.py", "    from d2l_recsys import backend\n", "work without MXNet"),
        ("new_file.py", "", "from the rooms below"),
    ],
)
def test_the_linter_sees_what_breaks_a_rule(file, line, broken, tmp_path):
    """The linter also sees imports inside a function."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    ignored = shutil.ignore_patterns("__pycache__", "files")
    shutil.copytree(PACKAGE, tmp_path / "d2l_recsys", ignore=ignored)
    with (tmp_path / "d2l_recsys" / file).open("a") as opened:
        opened.write(f"\n\ndef broken():\n{line}    return None\n")
    command = [LINTER, "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(rf"{broken}.*BROKEN", done.stdout), done.stdout


def test_the_package_imports_no_chapter(tmp_path):
    code = "from d2l_recsys.chapters import mf\n\n__all__ = ['mf']\n"
    command = [sys.executable, "-m", "ruff", "check", "--stdin-filename"]
    for file, is_refused in (("d2l_recsys/runs/new.py", True), ("chapters/extras/new.py", False)):
        done = subprocess.run(
            [*command, file, "-"], cwd=ROOT, input=code, capture_output=True, text=True
        )
        assert ("TID251" in done.stdout) == is_refused


def test_the_imports_of_the_docs_work_outside_the_checkout(tmp_path):
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    lines = set(re.findall(r"(?m)^(?:from|import) .*chapters.*$", page))
    assert "from d2l_recsys.chapters import mf" in lines
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert not [p for p in pages if re.search("(?m)^from chapters", p.read_text("utf-8"))]
    # Each must be found where no checkout is. Running the chapters would take seconds.
    found = [re.fullmatch("from (.+) import (.+)", line).groups() for line in sorted(lines)]
    names = [module if name[0].isupper() else f"{module}.{name}" for module, name in found]
    code = f"import importlib.util as i; print([n for n in {names} if not i.find_spec(n)])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
