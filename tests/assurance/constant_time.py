"""`python -m tests.assurance.constant_time`: find secrets that are compared by `==`, which tells how far they agree.

Part of `make lint`. It goes by names and by calls, so it finds what is written as such: `SecretBytes` itself raises on
any comparison but `matches`.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECRET_WORDS = {"secret", "dek", "kek", "seed", "passphrase", "password", "token", "tag", "mac", "commitment", "hashed"}
SECRET_CALLS = {"reveal", "mac", "seed"}
NOT_SECRET = {"size", "len", "bytes", "id", "kind", "name", "path", "count", "index", "file", "generation"}
"""Last words of names that tell about a secret and are none: `token_size`."""


def words(node: ast.expr) -> list[str]:
    """The words of the name that an expression ends in: `self._one_time_seed` gives one, time, seed."""
    if isinstance(node, ast.Name):
        return node.id.lower().strip("_").split("_")
    if isinstance(node, ast.Attribute):
        return node.attr.lower().strip("_").split("_")
    if isinstance(node, ast.Subscript):
        return words(node.value)
    return []


def is_secret(node: ast.expr) -> bool:
    """Tell whether an expression is, by its name or by what it calls, a secret or an authenticator."""
    if isinstance(node, ast.Call):
        called = words(node.func)
        return bool(called) and called[-1] in SECRET_CALLS
    named = words(node)
    return bool(named) and bool(SECRET_WORDS & set(named)) and named[-1] not in NOT_SECRET


def is_plain(node: ast.expr) -> bool:
    """Tell whether an expression is one of the constants that no secret is compared with in earnest."""
    return isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool | int))


def faults(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines on which a secret is compared by `==`, `!=` or membership, and what they compare."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        compared = any(isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for operator in node.ops)
        if compared and any(map(is_secret, sides)) and not any(map(is_plain, sides)):
            yield node.lineno, ast.unparse(node)


def main() -> int:
    """Say what was found; 1 if anything was."""
    found = 0
    for path in sorted((ROOT / "labelvault").rglob("*.py")):
        for line, compared in faults(ast.parse(path.read_bytes())):
            found += 1
            print(f"{path.relative_to(ROOT)}:{line}: `{compared}`: use hmac.compare_digest or SecretBytes.matches")  # noqa: T201 - a tool
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
