"""What the documents name is there: links, files, modules, names in them, tests, commands with their flags, values."""

import ast
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import pytest
from places import ROOT

import trm_jax
from trm_jax.commands.cli import main
from trm_jax.experiments import sudoku_mlp

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "data" / "README.md")
)
# Where a path may begin that is not told from the root of the repository or from the document's own folder.
INSIDE = ("", "trm_jax", "experiments", "docs")
# Files that a reader makes, and words that stand for such.
FOREIGN = {"futoshiki.py", "own.py", "FILE.py", "NAME.py", "NAME.md"}
# Of files that are not looked for: what a run or a dataset has in its folder.
ENDINGS = {"py", "json", "jsonl", "sha256"}
CONFIG = sudoku_mlp.get_config().to_dict()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def defined(path: Path) -> set[str]:
    """The names that a module binds, and Class.attribute for what its classes bind."""
    names: set[str] = set()
    for node in tree(path).body:
        names |= bound(node)
        if isinstance(node, ast.ClassDef):
            inside = {name for child in ast.walk(node) if isinstance(child, ast.stmt) for name in bound(child)}
            names |= {f"{node.name}.{name}" for name in inside}
    return names


def bound(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.ImportFrom | ast.Import):
        return {alias.asname or alias.name for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


@cache
def modules() -> dict[str, list[Path]]:
    """Every module of the package by its last name."""
    found: dict[str, list[Path]] = {}
    for path in (ROOT / "trm_jax").rglob("*.py"):
        found.setdefault(path.stem, []).append(path)
    return found


@cache
def classes() -> dict[str, set[str]]:
    """The attributes of every class of the package."""
    found: dict[str, set[str]] = {}
    for paths in modules().values():
        for class_name, _, name in (name.partition(".") for path in paths for name in defined(path)):
            found.setdefault(class_name, set()).add(name)
    return {name: attributes for name, attributes in found.items() if attributes != {""}}


@cache
def help_of(command: str) -> str:
    """What `trm COMMAND --help` prints; empty if there is no such command."""
    with redirect_stdout(StringIO()) as printed, pytest.raises(SystemExit):
        raise SystemExit(main([*command.split(), "--help"]))
    return printed.getvalue()


def there(document: str, path: str) -> Path | None:
    """The file or folder of ours that a document means."""
    places = ((ROOT / document).parent / path, *(ROOT / inside / path for inside in INSIDE))
    return next((place for place in places if place.exists()), None)


def code(text: str) -> list[str]:
    """Everything set as code: spans, and lines of blocks, those that go on in the next one joined."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    blocks += re.findall(r"(?:^    \S.*\n)+", text, re.MULTILINE)
    lines = [line.strip() for block in blocks for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return lines + [" ".join(span.replace("\\|", "|").split()) for span in re.findall(r"`([^`]+)`", rest)]


def slugs(path: Path) -> set[str]:
    """The anchors of a document's headings, as they are shown on the web."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def wrong_links(document: str, text: str) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"\w+://", target):
            continue
        file = ((ROOT / document).parent / path) if path else ROOT / document
        if not file.exists() or (anchor and anchor not in slugs(file)):
            yield f"link to {target}"


def wrong_files(document: str, text: str) -> Iterator[str]:
    """Paths of ours, files and folders; tests in them, as path::name, and modules of tests by their name alone."""
    text = re.sub(r"\[[^]]*\]\([^)]*\)", "", text)  # links are looked at elsewhere, what they show is for the eye
    file_of_ours = r"(?<![\w/.<~-])((?:[\w.-]+/)*[\w-]+\.(?:py|md|sh|sbatch|yaml)\b(?!\.\w))"
    for path, name in re.findall(file_of_ours + r"(?:::(\w+))?", text):
        file = there(document, path)
        if file is None and path.rpartition("/")[2] not in FOREIGN:
            yield f"file {path}"
        elif name and file and name not in defined(file):
            yield f"test {path}::{name}"
    for path in re.findall(r"(?<![\w/.-])((?:docs|tests|benchmarks|experiments|trm_jax)/[\w./-]*\w)", text):
        if there(document, path) is None and path.rpartition("/")[2] not in FOREIGN:
            yield f"path {path}"
    known = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    yield from (f"test {name}" for name in re.findall(r"(?<![\w/:`])(test_\w+)\b(?!\.\w)", text) if name not in known)


def wrong_names(document: str, text: str) -> Iterator[str]:
    """Dotted names: modules and what is in them, classes and their attributes, values of an experiment."""
    for name in re.findall(r"\b((?:trm_jax|benchmarks)(?:\.\w+)+)", text):
        words, path = name.split("."), ROOT
        while words and (path / words[0]).is_dir():
            path /= words.pop(0)
        if words and (path / f"{words[0]}.py").is_file():
            path /= f"{words.pop(0)}.py"
        rest = ".".join(words)
        offered = trm_jax.__all__ if path == ROOT / "trm_jax" else ()
        if rest and rest not in {*offered, *defined(path if path.is_file() else path / "__init__.py")}:
            yield f"name {name}"
    yield from (f"name trm.{name}" for name in re.findall(r"\btrm\.(\w+)", text) if name not in trm_jax.__all__)
    for group, key in re.findall(r"\bconfig\.([a-z]+)\.([a-z_0-9]+)", text):
        if key not in CONFIG.get(group, ()):
            yield f"value config.{group}.{key}"
    for first, second in re.findall(r"`(\w+)\.(\w+)`", text):
        in_modules = {name for path in modules().get(first, []) for name in defined(path)}
        known = in_modules | classes().get(first, set()) | set(CONFIG.get(first, ()))
        if known and first != "config" and second not in known | ENDINGS:
            yield f"name {first}.{second}"
    for path, name in re.findall(r"`([\w/]+\.py)`, `(\w+)`", text):
        file = there(document, path)
        if file and name not in defined(file):
            yield f"name {name} in {path}"


def wrong_imports(document: str, text: str) -> Iterator[str]:
    """What the Python on a page takes from the package."""
    for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in ("trm_jax", "experiments"):
                module = import_module(str(node.module))
                for name in (alias.name for alias in node.names):
                    if not hasattr(module, name) and not find_spec(f"{module.__name__}.{name}"):
                        yield f"import of {name} from {node.module}"


def wrong_commands(document: str, text: str) -> Iterator[str]:
    """Targets of make, programs of benchmarks/, commands of trm, their flags, and experiments with their variants."""
    named = r"--config=(?:experiments/)?(?!experiments/)([a-z][a-z_0-9/]*)\b(?:\.py)?(?::(\w+))?"
    for line in code(text):
        target = re.match(r"make ([a-z-]+)", line)
        if target and not re.search(rf"^{target[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE):
            yield f"make {target[1]}"
        if program := re.match(r"python -m (benchmarks\.\w+)", line):
            known = source_with_flags(program[1])
            yield from (f"{program[1]} {flag}" for flag in flags(line) if f'"{flag}"' not in known)
        for words in re.findall(r"(?:^| )(?:trm|python -m trm_jax) ([a-z][^;&]*)", line):
            for command in commands(words):
                shown = help_of(command)
                if not shown:
                    yield f"trm {command}"
                yield from (f"trm {command} {flag}" for flag in flags(words) if not re.search(rf"{flag}\b", shown))
        for file, variant in re.findall(named, line):
            try:
                import_module(f"trm_jax.experiments.{file.replace('/', '.')}").get_config(variant)
            except (ImportError, ValueError) as error:
                yield f"--config={file}: {error}"


def commands(words: str) -> list[str]:
    """The commands that words after `trm` name: one, or those of `data sudoku|maze` or `ledger add|show`."""
    first, _, rest = words.partition(" ")
    following = re.match(r"[a-z|-]+", rest)
    if first in ("data", "ledger") and following:
        return [f"{first} {kind}" for kind in following[0].split("|")]
    return ["eval arc-score" if words.startswith("eval arc-score") else first]


def flags(line: str) -> list[str]:
    """The long flags of a command, but those of an experiment."""
    return [flag for flag in re.findall(r"(?:^|[ \[])(--[a-z][a-z-]*)(?=[ =\]]|$)", line) if flag != "--config"]


def source_with_flags(program: str) -> str:
    """The source of a program of benchmarks/ and of its neighbours from which it may take flags."""
    source = (ROOT / f"{program.replace('.', '/')}.py").read_text()
    neighbours = re.findall(r"^from benchmarks\.(\w+) import", source, re.MULTILINE)
    return source + "".join((ROOT / "benchmarks" / f"{name}.py").read_text() for name in neighbours)


def wrong(document: str, text: str) -> list[str]:
    checks = (wrong_links, wrong_files, wrong_names, wrong_imports, wrong_commands)
    return [fault for check in checks for fault in check(document, text)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_names_is_there(document: str) -> None:
    text = (ROOT / document).read_text()
    if document == "CHANGELOG.md":  # older versions had what they had
        text = "## [".join(text.split("## [")[:2])
    assert wrong(document, text) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("see [here](docs/gone.md)", "link to docs/gone.md"),
        ("see [here](docs/parity.md#no-such-part)", "link to docs/parity.md#no-such-part"),
        ("`recursion/gone.py` shows it", "file recursion/gone.py"),
        ("in tests/gone/test_x.jsonl", "path tests/gone/test_x.jsonl"),
        ("tests/test_sizes.py::test_gone", "test tests/test_sizes.py::test_gone"),
        ("by test_gone alone", "test test_gone"),
        ("`trm_jax.runs.gone`", "name trm_jax.runs.gone"),
        ("trm_jax.runs.checkpoint.gone", "name trm_jax.runs.checkpoint.gone"),
        ("`trm.lode(folder)`", "name trm.lode"),
        ("`config.train.stepz`", "value config.train.stepz"),
        ("`train.stepz`", "name train.stepz"),
        ("`step.train_steps`", "name step.train_steps"),
        ("`State.x`", "name State.x"),
        ("`model/layers.py`, `gone`", "name gone in model/layers.py"),
        ("```python\nfrom trm_jax.model import gone\n```", "import of gone from trm_jax.model"),
        ("`make gone`", "make gone"),
        ("```\ntrm gone runs/demo\n```", "trm gone"),
        ("```\nFOO=1 trm data gone x\n```", "trm data gone"),
        ("`trm eval DIR [--halt-over 3]`", "trm eval --halt-over"),
        ("`trm data maze|gone OUT`", "trm data gone"),
        ("`trm ledger show --markdow`", "trm ledger show --markdow"),
        ("```\ntrm data sudoku OUT.csv \\\n    --generatee 5\n```", "trm data sudoku --generatee"),
        ("`python -m benchmarks.guard --no-such 3`", "benchmarks.guard --no-such"),
        ("`--config=experiments/sudoku_mlp.py:big`", "--config=sudoku_mlp: unknown variant 'big'"),
        ("`trm estimate --config=sudoku_gone`", "--config=sudoku_gone: No module named"),
    ],
)
def test_what_is_not_there_is_found(text: str, fault: str) -> None:
    assert any(found.startswith(fault) for found in wrong("README.md", text + "\n")), wrong("README.md", text + "\n")


def links(document: str) -> set[Path]:
    """The files that a document has a link to."""
    targets = re.findall(r"\]\(([^)\s#]+)", (ROOT / document).read_text())
    return {((ROOT / document).parent / target).resolve() for target in targets}


def test_every_page_is_linked_from_the_first_and_every_other_file_from_a_page() -> None:
    assert {ROOT / document for document in DOCUMENTS} - {ROOT / "README.md"} <= links("README.md")
    files = {path for path in (ROOT / "docs").iterdir() if path.is_file()}
    assert files <= set().union(*map(links, DOCUMENTS))


def test_figures_that_are_said_to_be_of_the_ledger_are_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "check"]) == 0, capsys.readouterr().out
