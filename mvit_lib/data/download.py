"""Getting datasets: downloads that resume and are checked, archives that cannot leave their folder.

Files come from strangers: nothing is believed before its SHA-256 agrees, and nothing is written
outside the folder that was named. `fetch` does all of it for the datasets in DATASETS.
"""

import hashlib
import http.client
import os
import shutil
import stat
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm.auto import tqdm

CHUNK = 1 << 20
# A photo archive shrinks its content little; a hundredfold is a bomb.
LARGEST_RATIO = 100


@dataclass(frozen=True)
class Archive:
    """A file to download and unpack: its addresses, one as good as the other, and what must be in it.

    folder: the wanted folder inside it. sha256: of the file; None where the server packs it anew for
    every request: then `tree` is the tree_sha256 of `folder`.
    """

    urls: tuple[str, ...]
    folder: str
    sha256: str | None = None
    tree: str | None = None


BCCD = "d272fb14cdff6e473fafeeeba32aba5f560e9e43"
VOC = "pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"
COCO = ("https://s3.amazonaws.com/images.cocodataset.org", "http://images.cocodataset.org")

DATASETS: dict[str, tuple[Archive, ...]] = {
    # Sign Language Digits, 2,062 photos of 10 classes, 28 MB: ImageFolder(root).
    "sign-digits": (
        Archive(
            ("https://github.com/ardamavi/Sign-Language-Digits-Dataset/archive/refs/heads/master.zip",),
            "Sign-Language-Digits-Dataset-master/Dataset",
            tree="dfbee581094004f6bb7a246660392f6b3c1db9f49e779e75cde4076e1a17a773",
        ),
    ),
    # BCCD, 364 photos of blood cells, 10 MB: VOCDetection(root, split, classes=None).
    "bccd": (
        Archive(
            (f"https://github.com/Shenggan/BCCD_Dataset/archive/{BCCD}.zip",),
            f"BCCD_Dataset-{BCCD}/BCCD",
            tree="650db5c44a6db1f967fe843261ef645a7b275e9d72db887987b797f9074f8ef3",
        ),
    ),
    # TrashNet, 2,527 photos of 6 classes, 43 MB: ImageFolder(root).
    "trashnet": (
        Archive(
            (
                "https://huggingface.co/datasets/garythung/trashnet/resolve/main/dataset-resized.zip",
                "https://github.com/garythung/trashnet/raw/master/data/dataset-resized.zip",
            ),
            "dataset-resized",
            sha256="c060e8abfe5d6de0578ca15be1ed8ad0794a865d333c3473d53d1d9ad6e38b8c",
        ),
    ),
    # Imagenette, 13,394 photos of 10 ImageNet classes, 342 MB: ImageFolder(root / "train"), "val".
    "imagenette": (
        Archive(
            ("https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz",),
            "imagenette2-320",
            sha256="569b4497c98db6dd29f335d1f109cf315fe127053cedf69010d047f0188e158c",
        ),
    ),
    # Pascal VOC 2012, 2 GB: VOCDetection(root, split), VOCSegmentation(root, split).
    "voc2012": (
        Archive(
            (f"https://thor.robots.ox.ac.uk/{VOC}", f"http://host.robots.ox.ac.uk/{VOC}"),
            "VOCdevkit/VOC2012",
            sha256="e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
        ),
    ),
    # COCO 2017, 20 GB: CocoDetection(root / "val2017", root / "annotations/instances_val2017.json").
    "coco2017": (
        Archive(
            tuple(f"{host}/annotations/annotations_trainval2017.zip" for host in COCO),
            "annotations",
            sha256="113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
        ),
        Archive(
            tuple(f"{host}/zips/val2017.zip" for host in COCO),
            "val2017",
            sha256="4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
        ),
        Archive(
            tuple(f"{host}/zips/train2017.zip" for host in COCO),
            "train2017",
            sha256="69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
        ),
    ),
}


def fetch(name: str, folder: str | Path | None = None) -> Path:
    """Get one of DATASETS and return its root, which its reader takes; at once if it is there already.

    It is unpacked in `folder` / name; without a folder, in $MVIT_DATA / name or ~/.cache/mvit/data / name.
    The root is the archive's folder there; of several archives, what holds their folders. The archives
    stay beside it and may be deleted.

    Raises: ValueError if no dataset has this name, or an archive is not what it was; ConnectionError,
    naming what to do, if none of an archive's addresses can be read.
    """
    if name not in DATASETS:
        raise ValueError(f"name={name!r}: expected one of {sorted(DATASETS)}")
    archives = DATASETS[name]
    home = Path(folder or os.environ.get("MVIT_DATA") or "~/.cache/mvit/data").expanduser() / name
    for archive in archives:
        if not (home / archive.folder).is_dir():
            _install(archive, _download_from_any(archive, home), home)
    return home / archives[0].folder if len(archives) == 1 else home


def _download_from_any(archive: Archive, home: Path) -> Path:
    target = home / archive.urls[0].rpartition("/")[2]
    errors = []
    for url in archive.urls:
        try:
            return download(url, archive.sha256, target)
        except ConnectionError as error:
            errors.append(str(error))
    raise ConnectionError(
        f"{target.name} cannot be downloaded ({'; '.join(errors)}): get it where there is a connection, "
        f"from {' or '.join(archive.urls)}, put it at {target}, and call again"
    )


def _install(archive: Archive, file: Path, home: Path) -> None:
    """Unpack `file` into `home`: all of it or, if it is not what it should be, nothing."""
    unpacked = home / (file.name + ".unpacked")
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        extract(file, unpacked)
        if archive.tree is not None and (found := tree_sha256(unpacked / archive.folder)) != archive.tree:
            raise ValueError(f"{archive.folder} in it has tree hash {found}, expected {archive.tree}")
        for entry in unpacked.iterdir():
            os.replace(entry, home / entry.name)
    except ValueError as error:
        raise ValueError(
            f"{file} is not what it was: {error}. Delete it to fetch it again, or unpack it unchecked with "
            "extract(file, folder)"
        ) from error
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_sha256(folder: Path) -> str:
    """One hash for the names and contents of all files below a folder, but for hidden ones.

    It is the SHA-256 of the sorted lines "relative/path  sha256-of-file\\n".
    """
    lines = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and "/." not in f"/{name}":
            lines.append(f"{name}  {sha256_of(path)}\n")
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def download(url: str, sha256: str | None, target: str | Path, attempts: int = 5) -> Path:
    """Fetch `url` to the file `target` and return it; at once if it is there already.

    The bytes go to `target` + ".part", which a later call takes up where it ended, and get their name
    when all of them are there and the hash agrees (sha256=None: whatever it is). A cut connection is
    taken up again by itself, up to `attempts` times in a row without a new byte.

    Raises: ValueError if the address is not http(s), or if the file (an existing one, too) has another
    hash; ConnectionError, naming what to do, if the server cannot be reached or keeps cutting.
    """
    target = Path(target)
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no http address")
    if target.exists():
        if sha256 is not None and sha256_of(target) != sha256:
            raise ValueError(f"{target} is there, but is not the expected file: move it away first")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    failures = 0
    while failures < attempts:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _fetch(url, part):
                break
        except urllib.error.HTTPError as error:
            raise ConnectionError(f"{url} answered {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            raise ConnectionError(
                f"cannot reach {url} ({error.reason}): get it where there is a connection "
                f"and put it at {target}"
            ) from error
        except (OSError, http.client.HTTPException):
            pass  # cut in the middle: go on from there
        after = part.stat().st_size if part.exists() else 0
        failures = 0 if after > before else failures + 1
    else:
        raise ConnectionError(f"{url} was cut {attempts} times at byte {before}: call again to go on")
    if sha256 is not None and (found := sha256_of(part)) != sha256:
        part.unlink()
        raise ValueError(f"{url} has SHA-256 {found}, expected {sha256}: it was thrown away")
    os.replace(part, target)
    return target


def _fetch(url: str, part: Path) -> bool:
    """Append what the server still has to `part`; whether the file is complete then."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing lies beyond: the hash will tell
            return True
        raise
    with answer:
        if answer.status != 206:  # the server does not resume: from the beginning
            start = 0
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        with (
            open(part, "ab" if start else "wb") as file,
            tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem) as bar,
        ):
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    return total is None or part.stat().st_size >= total


def extract(archive: str | Path, folder: str | Path) -> Path:
    """Unpack a .zip or .tar(.gz, .bz2, .xz) into the new `folder` and return it.

    It is unpacked beside `folder` first and renamed when whole. Only plain files and folders come out.

    Raises: FileExistsError if `folder` exists; ValueError if the archive is damaged, of another kind,
    holds a path outside, a link or a device, or more than a hundred times its own size.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists already")
    unpacking = folder.with_name(folder.name + ".unpacking")
    shutil.rmtree(unpacking, ignore_errors=True)
    unpacking.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            _extract_zip(archive, unpacking)
        elif tarfile.is_tarfile(archive):
            _extract_tar(archive, unpacking)
        else:
            raise ValueError(f"{archive.name} is neither a zip nor a tar archive")
        os.replace(unpacking, folder)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise ValueError(f"{archive.name} is damaged: {error}") from error
    finally:
        shutil.rmtree(unpacking, ignore_errors=True)
    return folder


def _extract_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        _refuse_bomb(archive, sum(member.file_size for member in members))
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(f"{archive.name} holds {member.filename!r}, which is no plain file")
            path = _inside(archive, folder, member.filename)
            if member.is_dir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with file.open(member) as source, open(path, "xb") as sink:
                shutil.copyfileobj(source, sink, CHUNK)


def _extract_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as file:
        for member in _within_size(archive, file):
            path = _inside(archive, folder, member.name)
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            if not member.isfile():
                raise ValueError(f"{archive.name} holds {member.name!r}, which is no plain file")
            path.parent.mkdir(parents=True, exist_ok=True)
            with file.extractfile(member) as source, open(path, "xb") as sink:
                shutil.copyfileobj(source, sink, CHUNK)


def _within_size(archive: Path, file: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members, for as long as they do not add up to a bomb."""
    total = 0
    for member in file:
        total += member.size
        _refuse_bomb(archive, total)
        yield member


def _refuse_bomb(archive: Path, unpacked: int) -> None:
    limit = max(LARGEST_RATIO * archive.stat().st_size, 10 * CHUNK)
    if unpacked > limit:
        raise ValueError(f"{archive.name} would unpack to more than {limit:,} bytes: refused as a bomb")


def _inside(archive: Path, folder: Path, name: str) -> Path:
    """Where a member goes; ValueError if that is not inside the folder, on any system."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    path = (folder / Path(*parts)).resolve() if parts else folder
    if (
        ".." in parts
        or ":" in name
        or name.startswith(("/", "\\"))
        or folder.resolve() not in (path, *path.parents)
    ):
        raise ValueError(f"{archive.name} holds {name!r}, which leads out of its folder")
    return path
