"""`python -m tests.assurance.selftest`: delete one check of the library at a time, and see what catches it.

A table of checks that all pass says nothing if they would pass anything.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
SHOWN = 3
UNCAUGHT = "[red]none[/]"


@dataclass(frozen=True)
class Break:
    """One check that is deleted.

    Attributes:
        name: what is not checked any more.
        file: below `labelvault/`.
        old: stands there exactly once.
        new: stands there instead.
    """

    name: str
    file: str
    old: str
    new: str

    def apply(self, package: Path) -> None:
        """Change the one place.

        Raises:
            ValueError: it is not there, or not once: the code has changed, and this list has not.
        """
        path = package / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.file} holds its text {text.count(self.old)} times")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


BREAKS = (
    Break(
        "the signature of a frame",
        "wire/frame.py",
        "        verify(public_key, _SIGNATURE_LABEL + self._covered() + self.cosignature, self.signature)",
        "        pass",
    ),
    Break(
        "one encoding",
        "wire/codec.py",
        "    if _pack(value) != data:\n",
        "    if False:\n",
    ),
    Break("map keys in order", "wire/codec.py", "    _check_sorted(value)\n    if _pack", "    if _pack"),
    Break(
        "bounds before decoding",
        "wire/codec.py",
        "    _check_size(data, max_bytes)\n    _scan(data)\n",
        "    _check_size(data, max_bytes)\n",
    ),
    Break(
        "the digest of an item",
        "envelope/seal.py",
        "    if not hmac.compare_digest(item_digest(header, payload_bytes, leaves), digest):\n",
        "    if False:\n",
    ),
    Break(
        "the hash of each leaf that is read",
        "envelope/ranges.py",
        "        if len(data) != length or not hmac.compare_digest(leaf_hash(data), self._leaves[number]):\n",
        "        if len(data) != length:\n",
    ),
    Break(
        "the wrap's binding to item and digest",
        "keys/kek.py",
        "    return _WRAP_LABEL + encode_record(_WrapContext(header_bytes, digest, kek_id, generation))",
        "    return _WRAP_LABEL + encode_record(_WrapContext(header_bytes[:1], bytes(32), kek_id, generation))",
    ),
    Break(
        "the signature of a checkpoint",
        "ledger/note.py",
        "    verify(key.public_key, _encode(text), own[0])\n",
        "",
    ),
    Break(
        "the rows of a statement",
        "ledger/statement.py",
        "    check_rows(signed.message, rows)\n    return signed",
        "    return signed",
    ),
    Break(
        "the end of a file of messages",
        "wire/framefile.py",
        " or end > len(data) or len(frames)",
        " or len(frames)",
    ),
    Break(
        "the checksum of a keystore",
        "keys/keystore.py",
        "    if tagged_hash(_HASH_LABEL, whole) != checksum:\n",
        "    if False:\n",
    ),
    Break(
        "whose card is enrolled",
        "keys/cards.py",
        "    signed.frame.verify_cosignature(",
        "    (lambda _: None)(",
    ),
    Break(
        "a one-time key works once",
        "issuer/authorize.py",
        '    if usage.key_spent:\n        raise DeniedError("replayed")\n',
        "",
    ),
    Break(
        "how old an approval may be",
        "issuer/authorize.py",
        "    if not -CLOCK_SKEW <= now - approved_at <= PRESENCE_MAX_AGE:\n",
        "    if False:\n",
    ),
    Break(
        "the rate",
        "issuer/authorize.py",
        "    if usage.released_last_hour >= granted.limits.per_hour:\n",
        "    if usage.released_last_hour > granted.limits.per_hour:\n",
    ),
    Break(
        "that a renewal names a lease of its own item",
        "issuer/authorize.py",
        " or old.item != what.item:\n",
        ":\n",
    ),
    Break(
        "that a client's commit is synced",
        "database.py",
        '"synchronous=FULL"',
        '"synchronous=NORMAL"',
    ),
    Break(
        "that a vault's commit is synced",
        "stores/sqlite_files.py",
        '"synchronous=FULL",\n',
        '"synchronous=NORMAL",\n',
    ),
    Break(
        "that a lease is in the ledger before it leaves",
        "issuer/service.py",
        "        self._log.append_raw(data)\n        self._state.record_release",
        "        self._log.append_raw(data)\n"
        "        reply_to(self._relay, self._client, [(0, request.data)], [lease.data], now)  # type: ignore\n"
        "        self._state.record_release",
    ),
    # What the world at random is for: a line of somebody's state, which shows as something that a thief reads.
    Break(
        "that a prekey is erased at the close",
        "contractor/held.py",
        "        self._prekeys.erase(*(key for key in keys if prekey_lease_id",
        "        list((key for key in keys if prekey_lease_id",
    ),
    Break(
        "that the prekey of a lease that has ended is erased",
        "contractor/held.py",
        "            self._prekeys.erase(*spent)\n",
        "            pass\n",
    ),
    Break(
        "that a close drops what was open",
        "contractor/task.py",
        "                self._opened.close()\n                self._opened = None\n",
        "                self._kept, self._opened = self._opened, None\n",
    ),
    Break(
        "that a close drops the key of a renewal that is on its way",
        "contractor/task.py",
        "                self._key = NextKey()\n                self._leases",
        "                self._leases",
    ),
    Break(
        "that a rotation destroys the old KEK",
        "client/rotating.py",
        "            rotation.keks.erase(new.kek_id, old)\n",
        "            pass\n",
    ),
    Break(
        "that a phone approves only what is dated by its own clock",
        "contractor/presence_checks.py",
        "    if approved_at is None or abs(approved_at - now) > CLOCK_SKEW:\n",
        "    if approved_at is None:\n",
    ),
    Break(
        "that a receipt is of the lease's own contractor",
        "issuer/receiving.py",
        "            or receipt.frame.signer != lease.contractor\n",
        "",
    ),
    Break(
        "that a grant was revoked, in the issuer's state",
        "issuer/state.py",
        "            grant_revoked=bool(revoked),\n",
        "            grant_revoked=False,\n",
    ),
    # And what decisions see as well.
    Break(
        "the presence of whoever asks",
        "issuer/authorize.py",
        "    _check_presence(what, granted, now)\n    _check_replaces",
        "    _check_replaces",
    ),
    Break(
        "the scope",
        "issuer/authorize.py",
        "    if task.batch not in granted.scope.batches and task.item not in granted.scope.items:\n",
        "    if False:\n",
    ),
    Break(
        "the end of a grant",
        "issuer/authorize.py",
        "    if now >= granted.expires_at:\n",
        "    if False:\n",
    ),
    Break(
        "nesting in rows of JSON",
        "client/rows.py",
        "    except RecursionError:\n        raise ProjectError",
        "    except ZeroDivisionError:\n        raise ProjectError",
    ),
)


def caught_by(broken: Break | None, checks: list[str]) -> tuple[list[str], str]:
    """Break a copy, or leave it whole, and run the slice on it.

    Returns:
        The checks that failed, and what was said if none could be run.
    """
    with tempfile.TemporaryDirectory(prefix="labelvault-broken-") as place:
        copy = Path(place)
        for folder in ("labelvault", "tests"):
            shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
        if broken is not None:
            broken.apply(copy / "labelvault")
        output = copy / "assurance.json"
        command = [sys.executable, "-m", "tests.assurance", "--profile", "slice", "--processes", "1"]
        command += ["--output", str(output), "--library", str(copy / "labelvault")]
        for name in checks:
            command += ["--only", name]
        ran = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        if not output.exists():
            return [], ran.stderr[-2000:]
        table = json.loads(output.read_text())
    return [row["check"] for row in table if row["failed"]], ""


def main() -> int:
    """Break one after the other, show which check caught it; 1 if one was not caught, or the whole copy fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.assurance.selftest", description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="run this check alone on each copy; repeat")
    parser.add_argument("--break", dest="named", action="append", choices=[each.name for each in BREAKS])
    options = parser.parse_args()
    breaks = [each for each in BREAKS if options.named is None or each.name in options.named]
    start = time.monotonic()
    console = Console()
    with ThreadPoolExecutor(2) as pool:
        (whole, said), *found = pool.map(lambda each: caught_by(each, options.only), [None, *breaks])
    table = Table(title="Self-test: one check deleted in each copy", title_justify="left")
    table.add_column("deleted")
    table.add_column("caught by")
    table.add_row("nothing", ", ".join(whole) or said or "[green]none[/]")
    for each, (caught, text) in zip(breaks, found, strict=True):
        more = f" and {len(caught) - SHOWN} more" if len(caught) > SHOWN else ""
        table.add_row(each.name, ", ".join(caught[:SHOWN]) + more or text or UNCAUGHT)
    console.print(table)
    missed = [each.name for each, (caught, _) in zip(breaks, found, strict=True) if not caught]
    console.print(f"{len(breaks) - len(missed)} of {len(breaks)} caught, in {time.monotonic() - start:.0f} s")
    return int(bool(missed or whole or said))


if __name__ == "__main__":
    sys.exit(main())
