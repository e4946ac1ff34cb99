"""Getting datasets: downloads that resume and are checked, archives that cannot leave their folder.

Files come from strangers: nothing is believed before its SHA-256 agrees, and nothing is written
outside the folder that was named.
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
from pathlib import Path, PurePosixPath

from tqdm.auto import tqdm

CHUNK = 1 << 20
# A photo archive shrinks its content little; a hundredfold is a bomb.
LARGEST_RATIO = 100


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(url: str, sha256: str, target: str | Path, attempts: int = 5) -> Path:
    """Fetch `url` to the file `target` and return it; at once if it is there already.

    The bytes go to `target` + ".part", which a later call takes up where it ended, and get their name
    when all of them are there and the hash agrees. A cut connection is taken up again by itself, up
    to `attempts` times in a row without a new byte.

    Raises: ValueError if the address is not http(s), or if the file (an existing one, too) has another
    hash; ConnectionError, naming what to do, if the server cannot be reached or keeps cutting.
    """
    target = Path(target)
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no http address")
    if target.exists():
        if sha256_of(target) != sha256:
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
    if (found := sha256_of(part)) != sha256:
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
