"""The how-to pages, read by somebody who types all of them, in a world where the other actors have done their part."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from labelvault.stores import open_store
from labelvault.vendor import Vault
from tests.docs.reader import Reader, blocks_of
from tests.stores.samples import NOW, item, put_stream, tasks

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs").glob("howto-*.md")), ROOT / "docs" / "incident.md"]

# The pages are for people at a terminal, who are asked for their passphrase. This one has it in a file.
PRELUDE: Final = """
umask 077
labelvault() {
    case "$1" in
        client|contractor) command labelvault "$@" --passphrase-file ~/passphrase ;;
        ledger)
            case "$2" in
                init|cosign) command labelvault "$@" --passphrase-file ~/passphrase ;;
                *) command labelvault "$@" ;;
            esac ;;
        *) command labelvault "$@" ;;
    esac
}
answer() { python -c "import json, sys; print(json.load(sys.stdin)$1)"; }
"""
VENDOR: Final = """
echo 'correct horse battery staple' > passphrase
token() { python -c 'import secrets; print(secrets.token_hex(32))'; }
lab=$(token) ada=$(token)
mkdir -p srv
printf 'lab:%s\\nada:%s\\n' $lab $ada > srv/tokens
"""
SERVED: Final = "labelvault vendor serve --vault sqlite:///srv/vault.db --token-file srv/tokens --port 8000"
PROJECT: Final = f"cp -r {ROOT}/labelvault/story/example project"
CLIENT: Final = f"""
{PROJECT}
labelvault client init --vault https://vault.example.com/lv
echo $lab > ~/.labelvault/client/vault.token
labelvault client project create ferry
labelvault client seal ferry ./project
"""
ADA: Final = """
labelvault contractor init --label "ada's laptop"
echo $ada > ~/.labelvault/contractor/vault.token
words=$(labelvault contractor card -o ada.card --json | answer '["fingerprint"]')
"""
DESK: Final = """
desk() { labelvault contractor "$@" --home desk-7; }
desk init --tier desk --label 'rendering host 7'
echo $ada > desk-7/vault.token; chmod 600 desk-7/vault.token
words=$(desk card -o desk-7.card --json | answer '["fingerprint"]')
labelvault client enroll desk-7.card --name desk-7 --fingerprint "$words"
labelvault client grant ferry desk-7 --batch week-14 --expires 7d --max-open 2 --max-total 40 --per-hour 10 \
    --lease-ttl 30m --waive-presence --invite desk-7.invite
desk join desk-7.invite --fingerprint "$(labelvault client ls --json | answer '["fingerprint"]')"
tasks="[each['item'] for each in json.load(sys.stdin)['items'] if each['batch'] == 'week-14']"
item=$(labelvault client ls ferry --json | python -c "import json, sys; print($tasks[1])")
desk open $item --to opened
mkdir stolen; cp -r srv stolen/vendor; cp -r desk-7 stolen/desk-7
sleep 1
"""
GRANTED: Final = """
labelvault client enroll ada.card --name ada --fingerprint "$words"
labelvault client grant ferry ada --batch week-14 --expires 7d --max-open 1 --max-total 40 --per-hour 10 \
    --lease-ttl 30m --invite ada.invite
"""


def vendor(reader: Reader) -> None:
    """A vault is served."""
    reader.instead["https://vault.example.com/lv"] = "http://127.0.0.1:8000"
    reader.type(VENDOR)
    reader.start("vault", SERVED)


def for_the_client(reader: Reader) -> None:
    """The vault is served, and ada has sent her card and is on the telephone."""
    vendor(reader)
    reader.type(f"{PROJECT}\necho $lab > token-from-the-vendor\n{ADA}")


def for_the_contractor(reader: Reader) -> None:
    """The client has sealed a project, and its issuer answers."""
    vendor(reader)
    reader.type(f"{CLIENT}\necho $ada > token-from-the-platform")
    reader.start("issuer", "labelvault client issuer run")


def enrolled(reader: Reader) -> None:
    """The client heard ada's words, told its own, and sent the invite."""
    reader.type(
        "words=$(labelvault contractor card -o again.card --json | answer '[\"fingerprint\"]')\n"
        f"{GRANTED}\nwords_of_the_client=$(labelvault client ls --json | answer '[\"fingerprint\"]')"
    )


def claimed(reader: Reader) -> None:
    """The platform shows ada the id of a task that she may open."""
    task = "[each for each in json.load(sys.stdin)['items'] if each['batch'] == 'week-14'][0]['item']"
    item = reader.type(f'labelvault client ls ferry --json | python -c "import json, sys; print({task})"')
    reader.instead["576429f50825042cda7fff69d5eae683"] = item.strip()


def listed(reader: Reader) -> None:
    """Ada reads the lease off the list."""
    lease = reader.type('labelvault contractor list --json | answer \'["openings"][-1]["lease"]\'')
    reader.instead["5b9df688"] = lease[:8]


def issued(reader: Reader) -> None:
    """The client issues a lease for a task that ada named."""
    item = reader.type('labelvault client ls ferry --json | python -c "' + _task_of("week-14") + '"').strip()
    reader.instead["8b52689d4016375de797a84efcbe9dfa"] = item
    reader.type(f"labelvault client issue --contractor ada --item {item} --prekeys ada.prekeys --to ada.leases")


def desk_enrolled(reader: Reader) -> None:
    """The client heard the words from the device, and sent the desk's invite."""
    reader.type(
        "words=$(labelvault contractor device card desk.card --json | answer '[\"fingerprint\"]')\n"
        'labelvault client enroll desk.card --name desk --fingerprint "$words"\n'
        "labelvault client grant ferry desk --batch week-14 --expires 7d --max-open 1 --max-total 40 --per-hour 10"
        " --lease-ttl 30m --invite desk.invite"
    )
    item = reader.type('labelvault client ls ferry --json | python -c "' + _task_of("week-14") + '"')
    reader.instead["6c1f7f8a9a0f9d4be4dd8ac1cd9d7b11"] = item.strip()


def _task_of(batch: str) -> str:
    found = f"[each for each in json.load(sys.stdin)['items'] if each['batch'] == '{batch}'][-1]['item']"
    return f"import json, sys; print({found})"


def answered(reader: Reader) -> None:
    """Ada joined, opened a task and answered, while the issuer of the page ran."""
    item = reader.type('labelvault client ls ferry --json | python -c "' + _task_of("week-14") + '"').strip()
    reader.type(
        "words_of_the_client=$(labelvault client ls --json | answer '[\"fingerprint\"]')\n"
        'labelvault contractor join ada.invite --fingerprint "$words_of_the_client"\n'
        f"labelvault contractor open {item} --to opened > /dev/null\n"
        'lease=$(labelvault contractor list --json | answer \'["openings"][-1]["lease"]\')\n'
        'echo \'{"label": "good"}\' | labelvault contractor submit $lease -\n'
        "labelvault contractor close $lease"
    )


def for_the_vendor(reader: Reader) -> None:
    """A client has sealed a project into the vault."""
    vendor(reader)
    reader.type(CLIENT)


def breached(reader: Reader) -> None:
    """A desk without presence has a task open, and copies were taken of it and of the vendor's host."""
    vendor(reader)
    reader.type(CLIENT)
    reader.start("issuer", "labelvault client issuer run")
    reader.type(DESK)


def made_anew(reader: Reader) -> None:
    """The desk's person has a clean machine and a new card, and is on the telephone."""
    reader.type(
        "labelvault contractor init --tier desk --label 'rendering host 7, anew' --home desk-7b\n"
        "words=$(labelvault contractor card -o desk-7b.card --home desk-7b --json | answer '[\"fingerprint\"]')"
    )


WORLDS: Final = {
    "howto-auditor.md": (for_the_vendor, {}),
    "howto-client.md": (for_the_client, {"collect ferry --to": answered}),
    "howto-contractor.md": (
        for_the_contractor,
        {
            "contractor join ada.invite": enrolled,
            "contractor open 57": claimed,
            "contractor close": listed,
            "contractor import": issued,
            "token-from-the-platform desk": desk_enrolled,
        },
    ),
    "howto-vendor.md": (for_the_vendor, {}),
    "incident.md": (breached, {"client enroll": made_anew}),
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_how_to_page_runs_as_it_stands_there(tmp_path: Path, page: Path) -> None:
    """Every command of the page does what the page says."""
    others_begin, meanwhile = WORLDS[page.name]
    with Reader(tmp_path / "desk", prelude=PRELUDE) as reader:
        others_begin(reader)
        typed = [block for block in blocks_of(page) if block.language == "sh"]
        assert reader.read(page, meanwhile) >= len(typed) > 5


def test_the_backup_of_the_page_is_whole(tmp_path: Path) -> None:
    """A vault that is open and written to, with a payload in a file, is copied without damage."""
    (script,) = (each for each in blocks_of(ROOT / "docs/howto-vendor.md") if each.words.get("file") == "backup.py")
    (tmp_path / "backup.py").write_text(script.text)
    live, copy = tmp_path / "vault.db", tmp_path / "backup"
    with closing(open_store(f"sqlite:///{live}", create=True)) as store:
        store.put_items(tasks(3), NOW)
        put_stream(store, item(9, size=3 * 1024 * 1024))
        subprocess.run([sys.executable, "backup.py", live, copy], cwd=tmp_path, check=True, timeout=60)
        store.put_items(tasks(5), NOW)
    assert len(list((copy / "vault.db.payloads").iterdir())) == 1
    with Vault.open(f"sqlite:///{copy / 'vault.db'}") as vault:
        assert vault.check() == []
        assert vault.status().items == 4
    assert {path.stat().st_mode & 0o077 for path in copy.rglob("*")} == {0}
