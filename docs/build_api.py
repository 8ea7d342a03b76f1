"""Writes docs/api/ from the docstrings of the public API: `make docs`.

What is public: what `MODULES` says, with its members without a leading underscore. griffe reads the source and imports
nothing, so the pages are the same whatever Python runs this. A public name without a docstring is an error, and so is a
docstring that griffe does not understand.
"""

import logging
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import griffe

ROOT: Final = Path(__file__).resolve().parents[1]
TARGET: Final = ROOT / "docs" / "api"
MODULES: Final[dict[str, tuple[str, ...]]] = {
    "labelvault.client": (),
    "labelvault.contractor": (),
    "labelvault.auditor": (),
    "labelvault.witness": (),
    "labelvault.vendor": (),
    "labelvault.vendor.http_limits": ("HttpLimits",),
    "labelvault.vendor.http_callers": ("Caller",),
    "labelvault.vendor.http_tokens": ("Tokens", "read_tokens"),
    "labelvault.errors": (),
    "labelvault.relay": (),
    "labelvault.stores": (),
}
"""What is shown of each module; nothing named means `__all__`, or every class where there is none."""
_WIDTH: Final = 100
_GENERATED: Final = "<!-- Written by docs/build_api.py from the docstrings: `make docs`. Don't edit. -->\n"
_HEADINGS: Final = {"parameters": "Arguments", "raises": "Raises", "attributes": "Attributes", "yields": "Yields"}


class UndocumentedError(Exception):
    """A public name has no docstring, or one that can't be read."""


class _Complaints(logging.Handler):
    """Keeps what griffe only logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one complaint."""
        self.found.append(record.getMessage())


def pages(root: Path = ROOT) -> dict[str, str]:
    """Return the file names and texts of all pages.

    Args:
        root: the folder that holds the package.

    Raises:
        UndocumentedError: names every public name without a docstring, and every docstring that can't be read.
    """
    complaints = _Complaints()
    logger = logging.getLogger("griffe")
    logger.propagate = False
    logger.addHandler(complaints)
    try:
        loader = griffe.GriffeLoader(search_paths=[root], docstring_parser=griffe.Parser.google)
        package = loader.load("labelvault", try_relative_path=False)
        loader.resolve_aliases()
        contents = [f"# API reference\n\n{_GENERATED}"]
        contents.append("The public API. What is not on these pages may change without notice.\n")
        contents.append("| module | |\n|---|---|")
        made = {}
        for name, shown in MODULES.items():
            inner = name.partition(".")[2]
            module = package[inner]
            found = _public(module, shown)
            complaints.found += [f"{path} has no docstring" for each in found for path in _undocumented(each)]
            file = f"{inner.replace('.', '-')}.md"
            made[file] = _page(name, module, found)
            contents.append(f"| [`{name}`]({file}) | {str(next(_docstring(module))).splitlines()[0]} |")
    finally:
        logger.removeHandler(complaints)
    if complaints.found:
        raise UndocumentedError("; ".join(complaints.found))
    return {"README.md": "\n".join(contents) + "\n", **made}


def _public(module: griffe.Object | griffe.Alias, shown: Sequence[str]) -> list[griffe.Object]:
    names = [*shown] or [str(name) for name in module.exports or ()]
    if not names:
        names = [each.name for each in module.members.values() if each.is_class and not each.is_alias]
    return [_target(module.members[name]) for name in names]


def _target(found: griffe.Object | griffe.Alias) -> griffe.Object:
    return found.final_target if isinstance(found, griffe.Alias) else found


def _members(thing: griffe.Object) -> list[griffe.Object]:
    """Return what a class offers: inherited first, then methods and properties in the order of its source."""
    found = [_target(each) for each in thing.members.values() if not each.is_alias]
    methods = [each for each in found if _is_public_method(each)]
    bases = thing.resolved_bases if isinstance(thing, griffe.Class) else []
    inherited = [each for base in bases for each in _members(_target(base)) if each.name not in thing.members]
    return inherited + sorted(methods, key=lambda each: each.lineno or 0)


def _is_public_method(thing: griffe.Object) -> bool:
    if thing.name in ("__init__", "__call__", "__len__"):
        return thing.docstring is not None and thing.is_function
    return not thing.name.startswith("_") and (thing.is_function or "property" in thing.labels)


def _fields(thing: griffe.Object) -> list[griffe.Attribute]:
    """Return what a class declares in its body, and not what its methods assign."""
    found = [each for each in thing.members.values() if isinstance(each, griffe.Attribute)]
    found = [each for each in found if not each.name.startswith("_") and not each.name.isupper()]
    return [each for each in found if each.value is None or "class-attribute" in each.labels]


def _undocumented(thing: griffe.Object | griffe.Alias) -> Iterator[str]:
    if thing.docstring is None:
        yield thing.path
    if thing.is_class:
        yield from (each.path for each in _members(_target(thing)) if each.docstring is None)


def _page(name: str, module: griffe.Object | griffe.Alias, found: list[griffe.Object]) -> str:
    parts = [f"# `{name}`", _GENERATED, *_docstring(module)]
    parts.append(textwrap.fill(" · ".join(f"[`{each.name}`](#{_slug(each.name)})" for each in found), 120))
    for thing in found:
        parts += [f"## `{thing.name}`", _code(thing), *_docstring(thing)]
        if thing.is_class:
            for member in _members(thing):
                title = thing.name if member.name == "__init__" else f"{thing.name}.{member.name}"
                parts += [f"### `{title}{'()' if member.is_function else ''}`", _code(member), *_docstring(member)]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _code(thing: griffe.Object) -> str:
    if isinstance(thing, griffe.Function):
        text = _signature(thing)
    elif isinstance(thing, griffe.Class):
        bases = ", ".join(str(base) for base in thing.bases)
        text = f"class {thing.name}({bases})" if bases else f"class {thing.name}"
        fields = [f"    {each.name}: {each.annotation}" for each in _fields(thing)]
        text = "\n".join([f"{text}:", *fields]) if fields else text
    elif isinstance(thing, griffe.Attribute):
        text = f"{thing.name}: {thing.annotation}"
    else:
        text = thing.name
    return f"```python\n{text}\n```"


def _default(value: object) -> str:
    return "" if value is None else f" = {value}"


def _signature(function: griffe.Function) -> str:
    """Return a signature in one line, or one line a parameter if that is too long."""
    shown = []
    bare_star = False
    for each in function.parameters:
        if each.name in ("self", "cls"):
            continue
        if each.kind is griffe.ParameterKind.keyword_only and not bare_star:
            shown.append("*")
            bare_star = True
        bare_star = bare_star or each.kind is griffe.ParameterKind.var_positional
        stars = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(each.kind, "")
        text = f"{stars}{each.name}" + (f": {each.annotation}" if each.annotation is not None else "")
        shown.append(text + _default(each.default if not stars else None))
    parent = function.parent.name if function.parent is not None and function.parent.is_class else ""
    if function.name == "__init__":
        head, returns = parent, ""
    else:
        head = f"{parent}.{function.name}" if "classmethod" in function.labels else function.name
        returns = f" -> {function.returns}" if function.returns is not None else ""
    line = f"{head}({', '.join(shown)}){returns}"
    if len(line) <= _WIDTH:
        return line
    return "\n".join([f"{head}(", *(f"    {each}," for each in shown), f"){returns}"])


def _docstring(thing: griffe.Object | griffe.Alias) -> Iterator[str]:
    for section in thing.docstring.parsed if thing.docstring is not None else []:
        kind = section.kind.value
        if kind == "text":
            yield str(section.value)
        elif kind == "returns":
            yield "**Returns**"
            yield " ".join(_item("", each.description) for each in section.value)
        elif kind in _HEADINGS:
            yield f"**{_HEADINGS[kind]}**"
            yield "\n".join(f"- {_item(_term(kind, each), each.description)}" for each in section.value)
        else:
            raise ValueError(f"{thing.path}: nobody knows how to show {kind}")


def _term(kind: str, element: object) -> str:
    name = getattr(element, "annotation", "") if kind in ("raises", "yields") else getattr(element, "name", "")
    return ", ".join(f"`{each}`" for each in re.findall(r"[\w.*]+", str(name)))


def _item(term: str, description: str) -> str:
    text = re.sub(r"\s*\n\s*", " ", description.strip())
    return f"{term}: {text}" if term else text


def _slug(title: str) -> str:
    """Return the anchor that a heading gets: lowercase, without marks."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def main() -> None:
    """Write all pages, and remove what is none of them."""
    try:
        made = pages()
    except UndocumentedError as error:
        sys.exit(str(error))
    TARGET.mkdir(exist_ok=True)
    for old in TARGET.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (TARGET / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
