"""`labelvault client quorum`: the root key in shares for several people, and back."""

from pathlib import Path

import click

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.files import read_text
from labelvault.cli.options import Passphrase, examples, json_option, passphrase_options
from labelvault.cli.output import Output
from labelvault.client import PassphraseRoot, recover_root
from labelvault.keys.quorum import read_share, write_shares

_HAND_OUT = (
    "Give each file to another person, on paper or on a stick of its own, and remove it here. Whoever has {needed} of"
    " them opens every backup. One that is lost can't be made again; split anew if too few are left."
)


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault client`."""
    group.add_command(quorum)


@click.group()
def quorum() -> None:
    """Split the root key into shares for several people, and put it together again."""


@quorum.command(
    epilog=examples("labelvault client quorum split --needed 3 --shares 5 --to ./shares"),
)
@click.option("--needed", type=click.IntRange(2, 16), required=True, help="How many shares give the key back.")
@click.option("--shares", "count", type=click.IntRange(2, 16), required=True, help="How many are made.")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="A new directory for them: share-1.txt and so on.",
)
@client_options
def split(needed: int, count: int, folder: Path, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Write shares of the root key for several people.

    Each has thirty words. Any --needed of them replace keystore and passphrase. Needs the extra quorum. After rotate
    root, split anew: these give the old key.
    """
    if needed > count:
        raise click.UsageError("more shares are --needed than are made")
    with opened(home, passphrase) as client:
        shares = client.split_root(needed, count)
    files = write_shares(folder, shares)
    root = read_share(shares[0]).root
    out.result(
        {"files": files, "needed": needed, "root": root},
        f"{count} shares of root key {root.hex()} are in {folder}; they were tried.",
        _HAND_OUT.format(needed=needed),
    )


@quorum.command(
    epilog=examples(
        "labelvault client quorum recover share-1.txt share-4.txt share-5.txt \\\n    --to ./root.keystore",
    )
)
@click.argument(
    "files", metavar="SHARE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--to", "file", type=click.Path(path_type=Path), required=True, help="A new keystore.")
@passphrase_options
@json_option
def recover(files: tuple[Path, ...], file: Path, passphrase: Passphrase, out: Output) -> None:
    """Put the root key together from SHAREs, into a new keystore.

    It opens with a new passphrase. Give it to client restore, or put it into a home in the place of root.keystore. Type
    a share that is on paper into a file first; case, spaces and line ends don't matter.
    """
    shares = [read_text(each) for each in files]
    for each, share in zip(files, shares, strict=True):
        out.note(f"{each}: share {read_share(share).number} is whole")
    root = recover_root(shares, file, PassphraseRoot(passphrase.read(new=True)))
    out.result(
        {"file": file, "root": root},
        f"{file} holds root key {root.hex()}, under the new passphrase.",
        "Now keep it apart from every backup, and destroy what was typed in.",
    )
