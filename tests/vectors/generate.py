"""Write the vectors: `python -m tests.vectors.generate`, or with `--seal` after the world itself has changed.

What is signed, hashed or encoded comes out the same each time. What is sealed does not: it is kept in
`sources/sealed.json`, from which faults are derived, and made anew only with `--seal`.
"""

import sys

from tests.vectors import (
    ahead_book,
    answers_book,
    backup_book,
    exchange_book,
    items_book,
    keys_book,
    ledger_book,
    presence_book,
    share_book,
    witness_book,
)
from tests.vectors.craft import Sealed
from tests.vectors.form import FOLDER, Book, render


def build(sealed: Sealed) -> dict[str, str]:
    """Return every file's text by its name."""
    book = Book()
    items_book.add(book, sealed)
    keys_book.add(book)
    exchange_book.add(book, sealed)
    answers_book.add(book, sealed)
    ahead_book.add(book, sealed)
    presence_book.add(book)
    ledger_book.add(book)
    witness_book.add(book)
    backup_book.add(book, sealed)
    share_book.add(book, sealed)
    vectors = book.vectors
    return {name: render(each, vectors[each.twin] if each.twin else None) for name, each in vectors.items()}


def main(arguments: list[str]) -> None:
    """Write all files, and remove those that are no longer made."""
    sealed = Sealed(anew=arguments == ["--seal"])
    files = build(sealed)
    sealed.write()
    for path in FOLDER.glob("*.json"):
        if path.stem not in files:
            path.unlink()
    for name, text in files.items():
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
