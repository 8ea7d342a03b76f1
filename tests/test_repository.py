"""The repository itself: what it depends on, what it ships, what may import what, and what importing does."""

import ast
import configparser
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "labelvault"
MODULES = sorted(PACKAGE.rglob("*.py"))
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]


def run(*command, cwd=ROOT):
    """Run one command to its end; the caller looks at the exit code."""
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)


def in_fresh_process(code):
    """Run code in a new interpreter and return the JSON that it prints."""
    done = run(sys.executable, "-B", "-c", code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def tracked_files():
    """Every file that git tracks and that is still there."""
    listed = run("git", "ls-files", "-z")
    if listed.returncode != 0:
        pytest.skip("not a git checkout, so nothing says which files are tracked")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def contract(name):
    """One import contract, as pyproject.toml states it."""
    (found,) = (each for each in PYPROJECT["tool"]["importlinter"]["contracts"] if each["id"] == name)
    return found


def name_of(requirement):
    """The normalised name at the start of a requirement."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def pins(lock):
    """Name, version and hashes of every requirement in a lock file."""
    logical = lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    found = {}
    for line in logical:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = re.match(r"([a-z0-9._-]+)(?:\[[a-z0-9,._-]+\])?==([^\s;]+)[^#]*$", line)
        assert match, f"{lock.name}: not pinned: {line[:60]}"
        found[match[1]] = (match[2], re.findall(r"--hash=(\S+)", line))
    return found


# --- dependencies and lock files ---


def test_the_core_depends_on_exactly_four_packages():
    """Every dependency of the core is trusted with plaintext, so a fifth is no accident."""
    assert PROJECT["dependencies"] == ["cryptography>=50", "pynacl", "msgpack", "pydantic"]


def test_only_declared_packages_are_imported():
    """Nothing is imported that merely happens to be installed beside the declared dependencies."""
    core = {"cryptography", "nacl", "msgpack", "pydantic", "labelvault"}
    for module in MODULES:
        allowed = core | ({"click", "rich", "uvicorn"} if module.is_relative_to(PACKAGE / "cli") else set())
        allowed |= {"starlette"} if module.parent == PACKAGE / "vendor" and module.stem.startswith("http") else set()
        allowed |= {"pyarrow"} if module == PACKAGE / "client" / "parquet_child.py" else set()
        allowed |= {"Crypto"} if module == PACKAGE / "crypto" / "shares.py" else set()
        allowed |= {"keyring"} if module == PACKAGE / "cli" / "os_keyring.py" else set()
        allowed |= {"httpx"} if module.parent == PACKAGE / "relay" and module.stem.startswith("http") else set()
        allowed |= {"httpx"} if module == PACKAGE / "cli" / "webhook.py" else set()
        for node in ast.walk(ast.parse(module.read_bytes())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - allowed
            assert not foreign, f"{module.relative_to(ROOT)} imports {foreign}"


def test_there_are_lock_files():
    """The tests below would pass on an empty folder."""
    assert [lock.name for lock in LOCKS] == ["bench.txt", "build.txt", "dev.txt", "lock.txt", "mutants.txt", "run.txt"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_locked_requirement_has_hashes_and_no_address(lock):
    """A lock file says by hash what is installed, and leaves open from where."""
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert "@" not in text
    assert not re.search(r"^\s*-", re.sub(r"^ +--hash=.*$", "", text, flags=re.MULTILINE), flags=re.MULTILINE)
    found = pins(lock)
    assert found
    for name, (_, hashes) in found.items():
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), name


def test_the_locks_hold_every_declared_dependency():
    """What pyproject.toml asks for is what the lock files pin, and both locks agree on the version."""
    run_pins, dev_pins = pins(ROOT / "requirements/run.txt"), pins(ROOT / "requirements/dev.txt")
    extras = PROJECT["optional-dependencies"]
    wanted = {name_of(each) for each in PROJECT["dependencies"] + extras["cli"]}
    assert wanted <= run_pins.keys()
    needed = (each for name in ("dev", "service", "parquet", "keyring", "quorum") for each in extras[name])
    assert {name_of(each) for each in needed} <= dev_pins.keys()
    assert run_pins.items() <= dev_pins.items()
    bench_pins = pins(ROOT / "requirements/bench.txt")
    assert {name_of(each) for each in extras["bench"]} | run_pins.keys() <= bench_pins.keys()
    assert all(bench_pins[name] == dev_pins[name] for name in bench_pins.keys() & dev_pins.keys())


# --- what is tracked and what ships ---


def test_no_tracked_file_names_a_registry_or_a_path_of_a_machine():
    """The repository works wherever it is cloned: it names no package host and no place on one machine."""
    hosts = [
        "pypi org",
        "pythonhosted org",
        "npmjs org",
        "npmjs com",
        "deb debian org",
        "golang org",
        "crates io",
    ]
    folders = ["work", "farm", "root", "opt/wheels", "opt/pypi"]
    pattern = re.compile(
        "|".join([re.escape(host.replace(" ", ".")) for host in hosts])
        + "|"
        + "|".join(rf"(?<![\w./<])/{folder}/" for folder in folders)
    )
    assert all(pattern.search(f"at {host.replace(' ', '.')}/simple") for host in hosts)
    assert all(pattern.search(f"in '/{folder}/x'") for folder in folders)
    found = []
    for file in tracked_files():
        text = file.read_bytes().decode("utf-8", errors="replace")
        found += [f"{file.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    assert not found


def test_nothing_tracked_runs_unasked():
    """No .pth file and no import hook of the interpreter is part of the repository."""
    names = {"sitecustomize.py", "usercustomize.py"}
    assert not [file for file in tracked_files() if file.suffix == ".pth" or file.name in names]


def test_the_project_declares_no_entry_point_but_its_command():
    """No other program loads LabelVault by discovering it."""
    assert PROJECT["scripts"] == {"labelvault": "labelvault.cli:main"}
    assert "entry-points" not in PROJECT
    assert "gui-scripts" not in PROJECT


def test_the_wheel_holds_the_package_and_nothing_that_runs_unasked(tmp_path):
    """The built wheel is the package, its types, its example project, one command, and no .pth file."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("no setuptools here to build with; `make test` installs it")
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(PACKAGE, tree / "labelvault", ignore=shutil.ignore_patterns("__pycache__"))
    build = [
        "wheel",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        ".",
    ]
    done = run(sys.executable, "-m", "pip", *build, cwd=tree)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("labelvault-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
        parser = configparser.ConfigParser()
        parser.read_string(archive.read(entry_points).decode())
    assert parser.sections() == ["console_scripts"]
    assert not [name for name in names if name.endswith(".pth")]
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"labelvault"}
    shipped = {file.relative_to(ROOT).as_posix() for file in [*MODULES, PACKAGE / "py.typed", *PACKAGE.rglob("*.css")]}
    example = {f.relative_to(ROOT).as_posix() for f in (PACKAGE / "story/example").rglob("*") if f.is_file()}
    assert example, "the demo's own project is missing"
    assert shipped | example == {name for name in names if ".dist-info/" not in name}


# --- imports ---

LINT_IMPORTS = [
    sys.executable,
    "-c",
    "from importlinter.cli import lint_imports_command; lint_imports_command()",
    "--no-cache",
]


def test_the_import_contracts_hold():
    """The trust boundary is a folder boundary."""
    done = run(*LINT_IMPORTS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def skeleton(tmp_path):
    """A tree of all rooms in which every contract holds: the valid twin of each planted import."""
    modules = {layer.strip() for line in contract("layers")["layers"] for layer in line.split("|")}
    packages = modules - {"__main__", "errors"}
    files = {f"{room}/__init__.py": "" for room in packages} | {
        "__init__.py": "",
        "__main__.py": "",
        "errors.py": "",
    }
    files |= {f"crypto/{name}.py": "import cryptography, nacl" for name in ("aead", "hpke", "kdf", "sign")}
    files |= {"crypto/shares.py": "import Crypto"}
    files |= {"issuer/authorize.py": "import labelvault.ledger", "cli/show.py": "import click, rich, uvicorn"}
    service = {"http": "starlette", "http_answers": "starlette", "http_claims": "starlette"}
    files |= {f"vendor/{name}.py": f"import {package}" for name, package in service.items()}
    files |= {"client/parquet.py": "", "client/parquet_child.py": "import pyarrow"}
    files |= {"cli/os_keyring.py": "import keyring"}
    files |= {f"relay/{name}.py": "import httpx" for name in ("http", "http_send")}
    for name, text in files.items():
        path = tmp_path / "labelvault" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    done = run(*LINT_IMPORTS, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    return tmp_path


@pytest.mark.parametrize(
    ("name", "planted", "line"),
    [
        ("primitives", "client", "import cryptography"),
        ("primitives", "vendor", "import nacl"),
        ("primitives", "keys", "import Crypto"),
        ("terminal", "story", "import rich"),
        ("http", "vendor", "import starlette"),
        ("http", "relay", "import httpx"),
        ("http", "client", "import uvicorn"),
        ("parquet", "client", "import pyarrow"),
        ("parquet", "client.parquet", "import pyarrow.parquet"),
        ("keyring", "contractor", "import keyring"),
        ("vendor", "vendor", "import labelvault.keys"),
        ("vendor", "vendor", "import labelvault.issuer.authorize"),
        ("vendor", "stores", "import labelvault.envelope"),
        ("vendor", "relay", "import labelvault.crypto.sign"),
        ("vendor", "wire", "import labelvault.crypto.aead"),
        ("vendor", "stores", "import labelvault.crypto.shares"),
        ("drill", "drill", "import labelvault.client"),
        ("drill", "drill", "import labelvault.ledger"),
        ("contractor", "contractor", "import labelvault.issuer"),
        ("contractor", "contractor", "import labelvault.ledger"),
        ("core", "envelope", "import time"),
        ("core", "issuer.authorize", "import sqlite3"),
        ("layers", "wire", "import labelvault.stores"),
        ("layers", "client", "import labelvault.vendor"),
        ("layers", "issuer", "import labelvault.client"),
        ("layers", "unplaced_room", ""),
    ],
)
def test_a_forbidden_import_breaks_its_contract(skeleton, name, planted, line):
    """Each contract refuses the one import that it is there to refuse; without that line all of them hold."""
    path = skeleton / "labelvault" / planted.replace(".", "/")
    if path.with_suffix(".py").exists():
        path = path.with_suffix(".py")
    else:
        path.mkdir(exist_ok=True)
        (path / "__init__.py").touch()
        path = path / "planted.py"
    path.write_text(line + "\n", encoding="utf-8")
    done = run(*LINT_IMPORTS, "--contract", name, cwd=skeleton)
    assert done.returncode == 1
    assert "Contracts: 0 kept, 1 broken." in done.stdout
    assert f"labelvault.{planted}" in done.stdout or planted == "unplaced_room"


def test_importing_the_vendor_loads_nothing_that_decrypts_or_signs():
    """A process with all of the vendor's modules loaded holds no code to open, sign or issue with."""
    loaded = in_fresh_process(
        "import importlib, json, pkgutil, sys\n"
        "import labelvault.vendor\n"
        "for found in pkgutil.walk_packages(labelvault.vendor.__path__, 'labelvault.vendor.'):\n"
        "    importlib.import_module(found.name)\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    rooms = ("envelope", "keys", "issuer", "ledger", "client", "contractor", "drill", "story", "cli")
    refused = {"cryptography", "click", "rich"} | {f"labelvault.{room}" for room in rooms}
    refused |= {f"labelvault.crypto.{name}" for name in ("sign", "aead", "hpke", "kdf")}
    assert "labelvault.vendor" in loaded
    assert not refused & set(loaded)


WATCHED_IMPORT = """
import _thread, importlib, json, os, pkgutil, sys, threading

events, read = [], []
WATCHED = ("socket.", "subprocess.", "os.system", "os.fork", "os.posix_spawn", "os.exec")


def hook(event, args):
    if event.startswith(WATCHED):
        events.append(event)
    elif event == "open" and args[0] is not None and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        events.append(f"open {args[1]}")


class Watching(type(os.environ)):
    def __getitem__(self, key):
        frame = sys._getframe(1)
        while frame.f_globals["__name__"] in ("os", "_collections_abc", "collections.abc"):
            frame = frame.f_back
        if frame.f_globals["__name__"].partition(".")[0] in ("labelvault", "control"):
            read.append(key)
        return super().__getitem__(key)


def counted(start):
    def counting(*args, **kwargs):
        events.append("thread")
        return start(*args, **kwargs)

    return counting


def seen():
    result = {"events": sorted(set(events)), "read": sorted(set(read))}
    events.clear()
    read.clear()
    return result


sys.addaudithook(hook)
os.environ.__class__ = Watching
threading.Thread.start = counted(threading.Thread.start)
_thread.start_new_thread = counted(_thread.start_new_thread)

import socket
socket.socket().close()
thread = threading.Thread(target=len, args=("",))
thread.start()
thread.join()
os.environ["LABELVAULT_CONTROL"] = "set"
exec("import os; os.getenv('LABELVAULT_CONTROL')", {"__name__": "control"})
control = seen()

import labelvault
found = [module.name for module in pkgutil.walk_packages(labelvault.__path__, "labelvault.")]
modules = [name for name in found if name != "labelvault.__main__"]
for name in modules:
    importlib.import_module(name)
result = {"control": control, "import": seen(), "modules": modules, "threads": threading.active_count()}
print(json.dumps(result))
"""


def test_X4_importing_starts_no_thread_opens_no_socket_and_reads_no_environment():
    """Importing every module touches nothing outside; the same watch sees a thread, a socket and a read."""
    result = in_fresh_process(WATCHED_IMPORT)
    assert "thread" in result["control"]["events"]
    assert any(event.startswith("socket.") for event in result["control"]["events"])
    assert result["control"]["read"] == ["LABELVAULT_CONTROL"]
    assert len(result["modules"]) >= len(MODULES) - 2
    assert result["import"] == {"events": [], "read": []}
    assert result["threads"] == 1


# --- source text ---


def public_functions(body, prefix=""):
    """Functions and methods whose whole dotted name is public, with that name."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{prefix}{node.name}.")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
            if not marks & {"overload", "override", "setter"}:
                yield f"{prefix}{node.name}", node


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.relative_to(ROOT).as_posix())
def test_every_public_function_says_what_it_guarantees(module):
    """Every module, public class and public function has a docstring."""
    tree = ast.parse(module.read_bytes())
    assert ast.get_docstring(tree), module
    silent = [name for name, node in public_functions(tree.body) if not ast.get_docstring(node)]
    silent += [
        n.name for n in tree.body if isinstance(n, ast.ClassDef) and n.name[0] != "_" and not ast.get_docstring(n)
    ]
    assert not silent


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.relative_to(ROOT).as_posix())
def test_no_check_vanishes_under_optimisation(module):
    """Library code holds no assert: `python -O` would drop it."""
    asserts = [node.lineno for node in ast.walk(ast.parse(module.read_bytes())) if isinstance(node, ast.Assert)]
    assert not asserts
