"""Homes to measure in: a vault, a client with one sealed project, and a contractor who has joined."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from labelvault.client import Client, Limits, PassphraseRoot, Project, Scope
from labelvault.contractor import Contractor, Membership
from labelvault.crypto.kdf import Argon2idParameters
from labelvault.vendor import Vault

PASSPHRASE: Final = "only for measuring"  # noqa: S105
CHEAP: Final = Argon2idParameters(memory_kib=8192, passes=1, lanes=1)
"""Unlocking is not what is measured."""
WIDE: Final = Limits(max_open=1000, max_total=1_000_000, per_hour=10_000, lease_ttl_s=3600)


def write_tasks(folder: Path, count: int, content_bytes: int, *, batch: str = "w1") -> Path:
    """Write a project folder whose tasks are rows of about so many bytes, in one JSONL file; return the file."""
    path = folder / "tasks" / f"{batch}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    empty = len(json.dumps({"id": f"{0:08}", "text": ""}))
    filler = "A line of text that a labeler reads. " * (content_bytes // 37 + 1)
    text = filler[: max(0, content_bytes - empty)]
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(json.dumps({"id": f"{number:08}", "text": text}) + "\n")
    return path


def write_guidelines(folder: Path, count: int, content_bytes: int) -> None:
    """Write guidelines, which every task requires."""
    (folder / "guidelines").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / "guidelines" / f"{number}.md").write_bytes(b"g" * content_bytes)


@dataclass(frozen=True, slots=True)
class Home:
    """Where the actors of a measurement live: `client/`, `vendor/` and `ada/` are below `folder`."""

    folder: Path

    @property
    def vault(self) -> str:
        """The vault's address in the file system."""
        return f"sqlite:///{self.folder}/vendor/vault.db"

    def make(self, *, floor_bytes: int = 4096, address: str | None = None) -> None:
        """Make vault and client, who reaches it at `address` if that is given; then the vault is there already."""
        if address is None:
            (self.folder / "vendor").mkdir(parents=True)
            Vault.open(self.vault).close()
        root = PassphraseRoot(PASSPHRASE, parameters=CHEAP)
        with Client.create(self.folder / "client", root, address or self.vault) as lab:
            lab.create_project("p", floor_bytes=floor_bytes)

    @contextmanager
    def client(self) -> Iterator[tuple[Client, Project]]:
        """Open the client's home, and its project."""
        with Client.open(self.folder / "client", PassphraseRoot(PASSPHRASE, parameters=CHEAP)) as lab:
            yield lab, lab.project("p")

    def join(self, lab: Client, project: Project, *, name: str = "ada") -> tuple[Contractor, Membership]:
        """Make a contractor, enrol it, grant it all batches and let it join."""
        me = Contractor.create(self.folder / name, PASSPHRASE, label=name, parameters=CHEAP)
        lab.enroll(me.card(), fingerprint=me.card_fingerprint, name=name)
        ends = datetime.now(UTC) + timedelta(days=1)
        grant = project.grant(name, Scope(batches=project.batches()), expires_at=ends, limits=WIDE)
        return me, me.join(lab.invite(grant.grant_id), fingerprint=lab.fingerprint)
