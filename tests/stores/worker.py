"""What the crash and race tests run in processes of their own: work on a store, and say what was done.

`python -m tests.stores.worker <database> <name> <what>`; a line is printed only once the store has acknowledged.
"""

import itertools
import sys
from pathlib import Path

from labelvault.stores.sqlite import SQLiteStore
from tests.stores.samples import BOX, NOW, QUEUE, key_of, task


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def claim_all(store, name):
    """Claim until nothing is open."""
    while claim := store.claim(QUEUE, name, 60, NOW):
        say("claimed", claim.item.hex(), claim.id.hex())


def churn(store, name):
    """Put, post, claim and finish for ever: whoever started this kills it."""
    for number in itertools.count(int(name)):
        batch = [task(number * 10 + part, size=20_000) for part in range(3)]
        store.put_items(batch, NOW)
        say("put", *(key_of(each)[1].hex() for each in batch))
        store.post(BOX, b"message %d" % number, NOW)
        say("posted", number)
        claim = store.claim(QUEUE, name, 60, NOW)
        say("claimed", claim.item.hex(), claim.id.hex())
        if number % 3 == 0:
            store.finish(claim.id)
            say("finished", claim.item.hex())


def put_same(store, name):
    """Store the same items as everyone else does at the same time."""
    for number in range(20):
        say("new", store.put_items([task(number), task(number + 1)], NOW))


def open_only(store, name):
    """Opening was all."""
    say("opened", store.status(NOW).items)


if __name__ == "__main__":
    path, who, what = sys.argv[1:]
    opened = SQLiteStore(Path(path), create=True)
    say("ready")
    sys.stdin.readline()
    {"claim_all": claim_all, "churn": churn, "put_same": put_same, "open_only": open_only}[what](opened, who)
    opened.close()
