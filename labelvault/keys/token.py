"""The bearer token that an HTTP vault knows an actor by: one file in the actor's home.

It opens nothing and authorises nothing but talking to the vault; who steals it can delay and flood, and read what the
vault's own host can read.
"""

import stat
from pathlib import Path
from typing import Final

from labelvault.errors import KeystoreError, KeystoreForeignError
from labelvault.keys.files import read_private

TOKEN_FILE: Final = "vault.token"  # noqa: S105 - a file name
_MAX_BYTES: Final = 2048
_ONE_LINE: Final = "Write the token that the vendor gave you into it, as its one line."


def read_token(home: Path) -> str | None:
    """Return the token in a home; None if there is none.

    Raises:
        KeystoreError: others can read the file, or it holds something else than one line of text.
    """
    path = home / TOKEN_FILE
    if not path.is_symlink() and not path.exists():
        return None
    data = read_private(path, _MAX_BYTES)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise KeystoreError(
            f"{path} can be read by others", next_step=f"chmod 600 {path}, and ask the vendor for a new token."
        )
    try:
        token = data.decode("ascii").strip()
    except UnicodeDecodeError:
        # `from None`: the original error holds the bytes.
        raise KeystoreForeignError(f"{path} holds no token", next_step=_ONE_LINE) from None
    if not token or len(token.split()) != 1:
        raise KeystoreForeignError(f"{path} holds no token", next_step=_ONE_LINE)
    return token
