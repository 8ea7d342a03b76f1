"""Issuers in processes of their own, for races and crashes over one `client.db`.

`python -m tests.issuer.worker <folder> race`: for each line of stdin, a JSON list of requests in hex, handle them in
turn and print the JSON list of answers in hex; `race-freezing` freezes on alarms. `... die <step>`, or
`die-freezing`: answer the mailbox, and die by SIGKILL at a step.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labelvault.client import Client, PassphraseRoot
from labelvault.issuer import service
from labelvault.issuer.service import Issuer
from tests.world import CHEAP, PASSPHRASE

STEPS = {
    "before authorize": ("service", "authorize", "before", None),
    "after authorize": ("service", "authorize", "after", None),
    "after release": ("service", "release", "after", None),
    "after entry": ("_log", "append_raw", "after", None),
    "after state": ("_state", "record_release", "after", None),
    "after checkpoint": ("_log", "sign", "after", None),
    "before commit": ("_database", "_run", "before", "COMMIT"),
    "after commit": ("_database", "_run", "after", "COMMIT"),
    "before post": ("_relay", "reply", "before", None),
    "after post": ("_relay", "reply", "after", None),
}
"""Each step between a request and its answer: what is called there, whether before or after, with which argument."""
DURABLE_FROM = list(STEPS).index("after commit")
POSTED_FROM = list(STEPS).index("after post")


def break_at(
    step: str, issuer: Issuer, fail: Callable[[], None], set_attribute: Callable[[Any, str, Any], None] = setattr
) -> None:
    """Make `fail` be called when the issuer comes to a step for the first time."""
    owner_name, name, when, argument = STEPS[step]
    owner = service if owner_name == "service" else getattr(issuer, owner_name)
    real = getattr(owner, name)
    done: list[bool] = []

    def broken(*arguments: Any, **options: Any) -> Any:
        mine = not done and (argument is None or arguments[0] == argument)
        if mine:
            done.append(True)
        if mine and when == "before":
            fail()
        result = real(*arguments, **options)
        if mine and when == "after":
            fail()
        return result

    set_attribute(owner, name, broken)


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(folder: str, mode: str, step: str = "") -> None:
    """Open the home, and do as told."""
    lab = Client.open(Path(folder) / "client", PassphraseRoot(PASSPHRASE, parameters=CHEAP))
    issuer = lab.issuer(freeze_on_alarm=mode.endswith("-freezing"))
    say("ready")
    if mode.startswith("die"):
        break_at(step, issuer, lambda: os.kill(os.getpid(), signal.SIGKILL))
        issuer.answer()
        raise SystemExit("it lived on")
    for line in sys.stdin:
        answers = [issuer.handle(bytes.fromhex(request)) for request in json.loads(line)]
        say(json.dumps([None if answer is None else answer.hex() for answer in answers]))
    issuer.close()
    lab.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
