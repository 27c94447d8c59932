"""Downloads from a server of this process: whole and as published, or not at all."""

import http.client

import pytest
from data_cases import Broken, md5, served

from cloudchamber._core.errors import DamagedFile, FileAccess
from cloudchamber.data.download import checksum, fetch
from cloudchamber.data.sources import SOURCES, Origin

CONTENT = bytes(range(256)) * 20_000  # more than one block


def leftovers(folder):
    return list(folder.iterdir()) if folder.exists() else []


def test_a_file_with_the_published_checksum_is_kept(tmp_path):
    with served({"/a": CONTENT}) as (address, asked):
        path = fetch(Origin("file.bin", (f"{address}/a",), md5(CONTENT)), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "file.bin"
    assert path.read_bytes() == CONTENT
    assert leftovers(path.parent) == [path]
    assert asked == ["/a"]


def test_sha256_is_checked_as_well(tmp_path):
    with served({"/a": b"abc"}) as (address, _):
        known = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        assert checksum(fetch(Origin("f", (f"{address}/a",), known), tmp_path), "sha256") == known


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (CONTENT + b"x", DamagedFile, md5(CONTENT + b"x")),
        (b"", DamagedFile, md5(b"")),
        (Broken(CONTENT[:99], len(CONTENT)), FileAccess, f"broke off after 99 of {len(CONTENT)} bytes"),
        (Broken(CONTENT[:-1], len(CONTENT)), FileAccess, f"of {len(CONTENT)} bytes"),
        (404, FileAccess, "HTTP Error 404: Not Found"),
        (503, FileAccess, "HTTP Error 503"),
    ],
)
def test_anything_else_is_refused_and_nothing_stays(tmp_path, answer, kind, told):
    with served({"/a": answer}) as (address, _), pytest.raises(kind) as caught:
        fetch(Origin("file.bin", (f"{address}/a",), md5(CONTENT)), tmp_path)
    message = str(caught.value)
    assert message.startswith(f"file.bin must be downloaded with {md5(CONTENT)}; got: {address}/a: ")
    assert told in message
    assert leftovers(tmp_path) == []


def test_an_address_where_nobody_answers(tmp_path):
    with served({}) as (address, _):
        pass
    with pytest.raises(FileAccess, match=r"Connection refused"):
        fetch(Origin("f", (f"{address}/a",), md5(b"")), tmp_path)
    assert leftovers(tmp_path) == []


def test_the_next_mirror_is_tried(tmp_path):
    with served({"/wrong": b"another file", "/cut": Broken(b"a", 3), "/right": b"abc"}) as (address, asked):
        urls = tuple(f"{address}/{name}" for name in ("gone", "wrong", "cut", "right", "never"))
        assert fetch(Origin("f", urls, md5(b"abc")), tmp_path).read_bytes() == b"abc"
    assert asked == ["/gone", "/wrong", "/cut", "/right"]


def test_every_mirror_that_failed_is_named(tmp_path):
    with served({"/wrong": b"another file"}) as (address, _), pytest.raises(DamagedFile) as caught:
        fetch(Origin("f", (f"{address}/gone", f"{address}/wrong"), md5(b"abc")), tmp_path)
    assert "/gone: HTTP Error 404" in str(caught.value)
    assert f"/wrong: {md5(b'another file')}" in str(caught.value)


@pytest.mark.parametrize(
    "failure", [TimeoutError("timed out"), ConnectionResetError("reset by peer"), http.client.IncompleteRead(b"")]
)
def test_a_connection_that_breaks_in_the_middle(tmp_path, monkeypatch, failure):
    read = http.client.HTTPResponse.read

    def breaking(response, *size):
        if response.length < len(CONTENT):
            raise failure
        return read(response, 1000)

    monkeypatch.setattr(http.client.HTTPResponse, "read", breaking)
    with served({"/a": CONTENT}) as (address, _), pytest.raises(FileAccess, match="/a: ") as caught:
        fetch(Origin("f", (f"{address}/a",), md5(CONTENT)), tmp_path)
    assert str(failure) in str(caught.value)
    assert leftovers(tmp_path) == []


def test_an_interrupted_download_leaves_what_stood_there(tmp_path, monkeypatch):
    (tmp_path / "f").write_text("older")

    def interrupted(response, file, url):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("cloudchamber.data.download._copy", interrupted)
    with served({"/a": b"abc"}) as (address, _), pytest.raises(KeyboardInterrupt):
        fetch(Origin("f", (f"{address}/a",), md5(b"abc")), tmp_path)
    assert [path.name for path in leftovers(tmp_path)] == ["f"]
    assert (tmp_path / "f").read_text() == "older"


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileAccess, match="must be writable"):
        fetch(Origin("f", ("http://127.0.0.1:9/a",), md5(b"")), tmp_path / "file" / "folder")


def test_a_file_that_cannot_be_read_has_no_checksum(tmp_path):
    with pytest.raises(FileAccess, match="must be readable"):
        checksum(tmp_path / "absent", "md5")


@pytest.mark.parametrize("source", SOURCES.values(), ids=lambda source: source.name)
def test_the_table_of_sources_is_complete(source):
    assert all((source.title, source.page, source.licence, source.citation))
    assert all(rows > 0 for rows in source.rows)
    for part in source.origins:
        for origin in part:
            algorithm, digits = origin.checksum.split(":")
            assert len(digits) == {"md5": 32, "sha256": 64}[algorithm]
            assert int(digits, 16) >= 0
            assert all(url.startswith("http") and url.endswith(origin.file) for url in origin.urls)
