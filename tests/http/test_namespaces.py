"""Vendor, client and contractor each in a network of its own: TLS, foreign addresses, no short cut."""

import hashlib
import ipaddress
import json
import os
import shutil
import subprocess
from contextlib import ExitStack

import pytest
from cryptography import x509

from labelvault.vendor import Vault
from tests.http.large_actors import NAME
from tests.http.serving import OTHER_TOKEN, TOKEN
from tests.http.test_large_items import MIB, actor, homes, write_source
from tests.http.test_processes import private, process, served
from tests.http.test_relay import certificate

__all__ = ["homes"]
VAULT = "203.0.113.1"
"""The vendor's address, of those that are set aside for documentation; the links to it have others."""


def ip(*words):
    """Run the tool that makes namespaces and links; return whether it did."""
    return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0


@pytest.fixture
def networks():
    """Three namespaces: client and contractor have a link to the vendor each, and none to each other."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and the tool ip")
    mark = f"lv{os.getpid()}"
    names = {"vendor": f"{mark}v", "client": f"{mark}c", "contractor": f"{mark}a"}
    with ExitStack() as made:
        for name in names.values():
            if not ip("netns", "add", name):
                pytest.skip("network namespaces can't be made here")
            made.callback(ip, "netns", "del", name)
            assert ip("-n", name, "link", "set", "lo", "up")
        vendor = names["vendor"]
        assert ip("-n", vendor, "addr", "add", f"{VAULT}/32", "dev", "lo")
        for who, net in (("client", "192.0.2"), ("contractor", "198.51.100")):
            near, far = f"{names[who]}0", f"{names[who]}1"
            if not ip("-n", vendor, "link", "add", near, "type", "veth", "peer", "name", far, "netns", names[who]):
                pytest.skip("links between network namespaces can't be made here")
            for name, link, number in ((vendor, near, 1), (names[who], far, 2)):
                assert ip("-n", name, "addr", "add", f"{net}.{number}/30", "dev", link)
                assert ip("-n", name, "link", "set", link, "up")
            assert ip("-n", names[who], "route", "add", f"{VAULT}/32", "via", f"{net}.1")
        yield names


def test_three_networks_meet_at_the_vault_over_tls(tmp_path, networks, homes, monkeypatch):
    """Sealed as a stream, opened in ranges, over TLS with bound tokens; a link that is cut is a RelayError."""
    within = {who: ["ip", "netns", "exec", name] for who, name in networks.items()}
    options = certificate(tmp_path, x509.IPAddress(ipaddress.ip_address(VAULT)))
    monkeypatch.setenv("SSL_CERT_FILE", str(options["ssl_certfile"]))
    url = f"sqlite:///{tmp_path}/vendor/vault.db"
    Vault.open(url).close()
    folder = homes(f"https://{VAULT}:8443")
    ids = json.loads((folder / "ids.json").read_text())
    tokens = private(
        tmp_path / "tokens",
        f"lab:{TOKEN}:client={ids['client']}\nada:{OTHER_TOKEN}:contractor={ids['client']}/{ids['contractor']}\n",
    )
    write_source(folder / "source", 20 * MIB)
    tls = ("--tls-cert", options["ssl_certfile"], "--tls-key", options["ssl_keyfile"])
    with served(url, "--token-file", tokens, *tls, host=VAULT, port=8443, within=within["vendor"]) as (address, _):
        assert address == f"https://{VAULT}:8443"
        assert actor("seal", folder, within["client"])["new"] == 2
        (folder / "asked.json").write_text(json.dumps(actor("invite", folder, within["client"])))
        words = ("client", "issuer", "run", "--home", folder / "lab", "--passphrase-file", folder / "passphrase")
        with process(*words, within=within["client"]):
            opened = actor("read", folder, within["contractor"])
        assert opened["whole"] == hashlib.sha256((folder / "source" / NAME).read_bytes()).hexdigest()
        name = networks["contractor"]
        assert ip("-n", name, "route", "get", VAULT)
        assert not ip("-n", name, "route", "get", "192.0.2.2")
        assert ip("-n", name, "link", "set", f"{name}1", "down")
        with pytest.raises(AssertionError, match="RelayError"):
            actor("read", folder, within["contractor"])
    with Vault.open(url) as vault:
        assert {each.event for each in vault.receipts()} == {"opened", "closed"}
        assert vault.check() == []
