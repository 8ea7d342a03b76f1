"""`labelvault client backup` and `restore`, as people type them."""

from labelvault.cli import exits


def test_a_home_is_backed_up_and_restored(world, cli):
    """The keystore is spoken of each time; the restored home verifies, its old grants are shown as ended."""
    world.enrol()
    file, home = world.folder / "monday.backup", world.folder / "restored"
    ran = world.client("backup", "-o", file)
    assert ran.code == exits.OK
    assert "root.keystore is not in it" in ran.out + ran.err
    made = world.client("backup", "-o", world.folder / "two", "--to-vault", "--json").json
    assert made["has_identity"] is True
    keystore = world.folder / "client" / "root.keystore"
    passphrase = ("--passphrase-file", world.passphrase_file)
    ran = cli("client", "restore", file, "--keystore", keystore, "--home", home, *passphrase, "--json")
    assert ran.code == exits.OK, ran.err
    assert ran.json["known"] == made["size"]
    verified = cli("client", "ledger", "verify", "--home", home, *passphrase, "--json").json
    assert [each["size"] for each in verified["before"]] == [made["size"]]
    shown = cli("client", "ledger", "verify", "--home", home, *passphrase).out
    assert "before a restore" in shown
    old = verified["before"][0]["origin"].rsplit("/")[-1]
    ran = cli("client", "ledger", "export", "--epoch", old, "-o", world.folder / "old", "--home", home, *passphrase)
    assert ran.code == exits.OK
    third = world.folder / "third"
    options = ("--from-vault", made["locator"], "--vault", world.vault, "--keystore", keystore, "--home", third)
    ran = cli("client", "restore", *options, *passphrase)
    assert ran.code == exits.OK, ran.err
    assert "Unknown: what was released from" in ran.out + ran.err


def test_what_can_not_be_restored_says_why_and_writes_nothing(world, cli):
    """A damaged file, a home that is there, no file at all, and both at once."""
    file, home = world.folder / "monday.backup", world.folder / "restored"
    assert world.client("backup", "-o", file).code == exits.OK
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    (world.folder / "damaged").write_bytes(data)
    given = ("--keystore", world.folder / "client" / "root.keystore", "--passphrase-file", world.passphrase_file)
    ran = cli("client", "restore", world.folder / "damaged", "--home", home, *given, "--json")
    assert (ran.code, ran.json["error"]["kind"]) == (exits.AUTHENTICITY, "BackupError")
    ran = cli("client", "restore", file, "--home", world.folder / "client", *given, "--json")
    assert (ran.code, ran.json["error"]["kind"]) == (exits.KEYS, "KeystoreError")
    assert cli("client", "restore", "--home", home, *given).code == exits.USAGE
    both = ("--from-vault", "x", "--vault", world.vault)
    assert cli("client", "restore", file, *both, "--home", home, *given).code == exits.USAGE
    assert world.client("backup").code == exits.USAGE
    assert not home.exists()
