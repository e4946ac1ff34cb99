"""Downloads against a local server that cuts, lies and serves wrong bytes; archives that want to escape."""

import hashlib
import http.server
import io
import stat
import tarfile
import threading
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvit_lib.data.download import DATASETS, Archive, _inside, download, extract, fetch, tree_sha256

DATA = bytes(range(256)) * 4000
SHA = hashlib.sha256(DATA).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; `mischief` says how, `requests` remembers the Range of every request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.mischief, self.requests = "", []
        self.files = {"/data.bin": DATA}
        self.host = f"http://127.0.0.1:{self.server_address[1]}"
        self.url = f"{self.host}/data.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        mischief, wanted = self.server.mischief, self.headers.get("Range")
        self.server.requests.append(wanted)
        data = self.server.files.get(self.path)
        if mischief == "404" or data is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if mischief == "no resume":
            start = 0
        if start >= len(data):
            self.send_error(416)
            return
        body = data[start:]
        self.send_response(206 if start else 200)
        if mischief != "no length":
            length = len(body) + (1000 if mischief == "claims too much" else 0)
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if mischief == "wrong bytes":
            body = b"x" * len(body)
        if mischief == "cuts":
            body = body[:300_000]
        if mischief == "cuts at once" or (mischief == "no resume" and len(self.server.requests) == 1):
            body = body[: 300_000 if start == 0 else 0]
        self.wfile.write(body)


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("mischief", ["", "no length", "cuts", "no resume"])
def test_all_bytes_arrive_in_the_end(server, tmp_path, mischief):
    server.mischief = mischief
    path = download(server.url, SHA, tmp_path / "sub" / "data.bin")
    assert path.read_bytes() == DATA
    assert [f.name for f in path.parent.iterdir()] == ["data.bin"]
    if mischief == "cuts":
        assert server.requests == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_a_file_that_is_there_is_not_fetched_again(server, tmp_path):
    target = tmp_path / "data.bin"
    target.write_bytes(DATA)
    assert download(server.url, SHA, target) == target
    assert server.requests == []
    target.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"data\.bin is there, but is not the expected file"):
        download(server.url, SHA, target)
    assert target.read_bytes() == b"mine"


def test_a_later_call_takes_up_what_an_earlier_one_left(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(DATA[:777])
    download(server.url, SHA, tmp_path / "data.bin")
    assert server.requests == ["bytes=777-"]
    (tmp_path / "whole.bin.part").write_bytes(DATA)
    assert download(server.url, SHA, tmp_path / "whole.bin").read_bytes() == DATA


def test_wrong_bytes_are_thrown_away(server, tmp_path):
    server.mischief = "wrong bytes"
    with pytest.raises(ValueError, match=f"expected {SHA}"):
        download(server.url, SHA, tmp_path / "data.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_keeps_cutting_is_given_up_and_the_part_is_kept(server, tmp_path):
    server.mischief = "cuts at once"
    with pytest.raises(ConnectionError, match="cut 3 times at byte 300000: call again"):
        download(server.url, SHA, tmp_path / "data.bin", attempts=3)
    assert (tmp_path / "data.bin.part").read_bytes() == DATA[:300_000]


def test_a_server_that_claims_too_much_does_not_fool_the_hash(server, tmp_path):
    server.mischief = "claims too much"
    assert download(server.url, SHA, tmp_path / "data.bin").read_bytes() == DATA


def test_no_connection_says_what_to_do(server, tmp_path):
    server.mischief = "404"
    with pytest.raises(ConnectionError, match="answered 404"):
        download(server.url, SHA, tmp_path / "data.bin")
    with pytest.raises(ConnectionError, match=r"cannot reach .* put it at .*data\.bin"):
        download("http://127.0.0.1:9/data.bin", SHA, tmp_path / "data.bin")
    with pytest.raises(ValueError, match="no http address"):
        download("file:///etc/passwd", SHA, tmp_path / "data.bin")


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def make_tar(path, members, **kinds):
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.type = kinds.get("type", tarfile.REGTYPE)
            info.linkname = kinds.get("linkname", "")
            file.addfile(info, io.BytesIO(content))
    return path


MAKERS = {"a.zip": make_zip, "a.tar.gz": make_tar}


@pytest.mark.parametrize("name", MAKERS)
def test_an_archive_unpacks_whole(name, tmp_path):
    archive = MAKERS[name](tmp_path / name, {"a/b.txt": b"1", "ü/c d.txt": b"22", "empty.txt": b""})
    folder = extract(archive, tmp_path / "out")
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert {k.replace("\\", "/"): v for k, v in found.items()} == {
        "a/b.txt": b"1",
        "ü/c d.txt": b"22",
        "empty.txt": b"",
    }
    with pytest.raises(FileExistsError):
        extract(archive, folder)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    "path", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:\\evil", "a/b/../../../evil"]
)
def test_no_member_leaves_the_folder(name, path, tmp_path):
    archive = MAKERS[name](tmp_path / name, {"good": b"1", path: b"2"})
    with pytest.raises(ValueError, match="leads out of its folder"):
        extract(archive, tmp_path / "deep" / "out")
    assert {p.name for p in tmp_path.rglob("*")} <= {name, "deep"}


@given(st.text(alphabet="ab./\\:", min_size=1, max_size=12))
def test_every_accepted_name_lies_inside(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp()
    try:
        path = _inside(folder / "x.zip", folder, name)
    except ValueError:
        return
    assert folder.resolve() in (path, *path.parents)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_no_links_and_devices_from_a_tar(kind, tmp_path):
    archive = make_tar(tmp_path / "a.tar.gz", {"link": b""}, type=kind, linkname="/etc/passwd")
    with pytest.raises(ValueError, match="'link', which is no plain file"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_links_from_a_zip(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="'link', which is no plain file"):
        extract(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("name", MAKERS)
def test_a_bomb_is_refused_before_it_fills_the_disk(name, tmp_path):
    archive = MAKERS[name](tmp_path / name, {"zeros": bytes(40_000_000)})
    assert archive.stat().st_size < 200_000
    with pytest.raises(ValueError, match="refused as a bomb"):
        extract(archive, tmp_path / "out")
    assert not any(p.name.startswith("out") for p in tmp_path.iterdir())


@pytest.mark.parametrize("name", MAKERS)
def test_a_damaged_archive_leaves_nothing(name, tmp_path):
    archive = MAKERS[name](tmp_path / name, {"a": DATA, "b": DATA[::-1]})
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=name):
        extract(archive, tmp_path / "out")
    archive.write_bytes(b"<html>404</html>")
    with pytest.raises(ValueError, match="neither a zip nor a tar"):
        extract(archive, tmp_path / "out")
    assert {p.name for p in tmp_path.iterdir()} == {name}


def zipped(members, compression=zipfile.ZIP_DEFLATED):
    """Two calls give the same bytes: no time of day in them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, compression)
    return buffer.getvalue()


PHOTOS = {"photos/cat/1.jpg": b"cat", "photos/dog/2.jpg": b"dog", "photos/.DS_Store": b"?", "LICENSE": b"MIT"}
DEAD = "http://127.0.0.1:9"


def offer(server, monkeypatch, name="photos.zip", content=None, **changes):
    """Let the server have an archive, and DATASETS an entry "photos" of it."""
    server.files[f"/{name}"] = content = zipped(PHOTOS) if content is None else content
    entry = {"urls": (f"{server.host}/{name}",), "folder": "photos", "sha256": sha_of(content)} | changes
    monkeypatch.setitem(DATASETS, "photos", (Archive(**entry),))


def sha_of(content):
    return hashlib.sha256(content).hexdigest()


def tree_of(members):
    """The rule of tree_sha256, from the contents in memory."""
    lines = sorted(f"{name}  {sha_of(content)}\n" for name, content in members.items())
    return sha_of("".join(lines).encode())


def test_a_dataset_is_fetched_once_and_whole(server, tmp_path, monkeypatch):
    offer(server, monkeypatch)
    root = fetch("photos", tmp_path)
    assert root == tmp_path / "photos/photos"
    assert (root / "cat/1.jpg").read_bytes() == b"cat"
    assert {path.name for path in root.parent.iterdir()} == {"photos", "photos.zip", "LICENSE"}
    (tmp_path / "photos/photos.zip").unlink()
    assert fetch("photos", tmp_path) == root
    assert len(server.requests) == 1


def test_the_folder_comes_from_the_environment(server, tmp_path, monkeypatch):
    offer(server, monkeypatch)
    monkeypatch.setenv("MVIT_DATA", str(tmp_path / "mine"))
    assert fetch("photos") == tmp_path / "mine/photos/photos"
    monkeypatch.delenv("MVIT_DATA")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    assert fetch("photos") == tmp_path / "home/.cache/mvit/data/photos/photos"


def test_an_archive_that_is_packed_anew_is_known_by_what_it_holds(server, tmp_path, monkeypatch):
    tree = tree_of({"cat/1.jpg": b"cat", "dog/2.jpg": b"dog"})
    for i, compression in enumerate((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)):
        members = PHOTOS | {"README": bytes([i])}
        offer(server, monkeypatch, content=zipped(members, compression), sha256=None, tree=tree)
        assert (fetch("photos", tmp_path / str(i)) / "dog/2.jpg").read_bytes() == b"dog"
    offer(server, monkeypatch, content=zipped(PHOTOS | {"photos/3.jpg": b"new"}), sha256=None, tree=tree)
    with pytest.raises(
        ValueError, match=rf"photos\.zip is not what it was: photos .*expected {tree}\. Delete"
    ):
        fetch("photos", tmp_path / "2")
    assert [path.name for path in (tmp_path / "2/photos").iterdir()] == ["photos.zip"]


def test_another_address_is_tried_and_without_any_it_says_what_to_do(server, tmp_path, monkeypatch):
    name, content = "photos.zip", zipped(PHOTOS)
    offer(server, monkeypatch, urls=(f"{DEAD}/{name}", f"{server.host}/gone", f"{server.host}/{name}"))
    assert (fetch("photos", tmp_path / "a") / "cat/1.jpg").exists()
    offer(server, monkeypatch, urls=(f"{DEAD}/1/{name}", f"{DEAD}/2/{name}"))
    place = tmp_path / "b/photos/photos.zip"
    with pytest.raises(ConnectionError, match=f"from {DEAD}/1/{name} or {DEAD}/2/{name}, put it at {place}"):
        fetch("photos", tmp_path / "b")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    assert (fetch("photos", tmp_path / "b") / "cat/1.jpg").exists()


def test_wrong_bytes_unpack_nothing(server, tmp_path, monkeypatch):
    offer(server, monkeypatch, sha256="0" * 64)
    with pytest.raises(ValueError, match="expected 0000"):
        fetch("photos", tmp_path)
    offer(server, monkeypatch, content=zipped(PHOTOS)[:-30])
    with pytest.raises(ValueError, match=r"photos\.zip"):
        fetch("photos", tmp_path)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["photos.zip"]


def test_of_several_archives_only_the_missing_ones_are_fetched(server, tmp_path, monkeypatch):
    archives = []
    for part in ("train", "val"):
        server.files[f"/{part}.zip"] = content = zipped({f"{part}/1.jpg": part.encode()})
        archives.append(Archive((f"{server.host}/{part}.zip",), part, sha_of(content)))
    monkeypatch.setitem(DATASETS, "photos", tuple(archives))
    val = server.files.pop("/val.zip")
    with pytest.raises(ConnectionError, match=r"val\.zip"):
        fetch("photos", tmp_path)
    server.files["/val.zip"] = val
    (tmp_path / "photos/val.zip.unpacked/val").mkdir(parents=True)  # as a killed process leaves it
    root = fetch("photos", tmp_path)
    assert root == tmp_path / "photos"
    assert {path.name for path in root.iterdir()} == {"train", "val", "train.zip", "val.zip"}
    assert (root / "val/1.jpg").read_bytes() == b"val"
    assert len(server.requests) == 3


def test_an_unknown_dataset_is_named():
    with pytest.raises(ValueError, match="'mnist': expected one of .*'bccd'.*'voc2012'"):
        fetch("mnist")


def test_the_table_can_be_meant():
    assert set(DATASETS) == {"sign-digits", "bccd", "trashnet", "imagenette", "voc2012", "coco2017"}
    for archives in DATASETS.values():
        for archive in archives:
            (known,) = {archive.sha256, archive.tree} - {None}  # by its bytes or by what it holds
            assert len(known) == 64
            assert int(known, 16)
            assert all(url.startswith(("https://", "http://")) for url in archive.urls)
            assert len({url.rpartition("/")[2] for url in archive.urls}) == 1
        assert len({archive.urls[0].rpartition("/")[2] for archive in archives}) == len(archives)
        assert len({archive.folder for archive in archives}) == len(archives)


names = st.text("ab", min_size=1, max_size=2)
trees = st.dictionaries(st.tuples(names, names).map("/".join), st.binary(max_size=2), max_size=4)


@given(trees, trees)
def test_trees_have_one_hash_exactly_if_they_are_equal(tmp_path_factory, a, b):
    hashes = []
    for members in (a, b):
        root = tmp_path_factory.mktemp("tree")
        for name, content in members.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(content)
        (root / ".hidden").mkdir()
        (root / ".hidden/x").write_bytes(bytes(len(hashes)))
        hashes.append(tree_sha256(root))
        assert hashes[-1] == tree_of(members)
    assert (hashes[0] == hashes[1]) == (a == b)
