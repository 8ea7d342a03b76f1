"""Guidelines, rubrics, gold and attachments in every form that they come in: sealed as they are."""

import pytest

from tests.client.test_large import summary
from tests.world import World, write_file

DOCUMENTS: dict[str, tuple[str, bytes]] = {
    "a.md": ("text/markdown", b"# A\r\n\r\ntwo  \n"),
    "a.markdown": ("text/markdown", b"# A"),
    "a.txt": ("text/plain", b"\xef\xbb\xbftext"),
    "a.html": ("text/html", b"<!doctype html><p>\xe4"),
    "a.HTM": ("text/html", b"<p>"),
    "a.pdf": ("application/pdf", b"%PDF-1.7\n\x00\xff%%EOF"),
    "a.docx": ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", b"PK\x03\x04" + bytes(99)),
    "a.json": ("application/json", b'{"a": 1.50, "a": NaN}'),
    "a.jsonl": ("application/jsonl", b'{"a": 1}\nbroken\n\n'),
    "a.yaml": ("application/yaml", b"a: &x [*x]\n"),
    "a.yml": ("application/yaml", b"a: 1"),
    "a.csv": ("text/csv", b'a,b\r\n"1,2'),
    "a.tsv": ("text/tab-separated-values", b"a\tb\n"),
    "a.toml": ("application/toml", b"a = 1"),
    "a.parquet": ("application/vnd.apache.parquet", b"PAR1 and no more"),
    "a.xyz": ("application/octet-stream", b"\x00"),
    "a": ("application/octet-stream", b""),
}


@pytest.mark.parametrize("folder", ["guidelines", "rubrics", "gold", "attachments"])
def test_documents_are_sealed_as_they_are(world: World, folder: str) -> None:
    """Every form that guidelines and rubrics come in: its media type, and byte for byte; none is looked into."""
    for name, (_, content) in DOCUMENTS.items():
        write_file(world.source, f"{folder}/{name}", content)
    assert summary(world.project.seal(world.source))[0] == len(DOCUMENTS)
    out = world.folder / "out"
    assert not world.project.export(out).faults
    for name, (kind, content) in DOCUMENTS.items():
        assert (out / folder / name).read_bytes() == content
        item = world.project.find(f"{folder}/{name}")
        write_file(world.source, f"{folder}/{name}", content + b"x")
        world.project.seal(world.source)
        assert world.project.compare(item, 1).old.media_type == kind
