"""What a file is that was given for one of weights, by its bytes, before anything tries to read it."""

import codecs
import zipfile
from pathlib import Path

# What files of other formats begin with.
_OTHERS = {
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "a gzipped file, which has to be unpacked first",
    b"\x93NUMPY": "an array of NumPy",
    b"\x89HDF": "an HDF5 file",
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"version https://git-lfs": "what Git LFS keeps in place of a file, which `git lfs pull` fetches",
}
_LOOK = 4_096
# A .safetensors file begins with the length of its header, in so many bytes, and the header with a brace.
_LENGTH = 8
# As torch.save wrote files before it wrote archives.
_PICKLED = b"\x80"
_ARCHIVE = b"PK"


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as .safetensors do, whatever its name."""
    with path.open("rb") as file:
        begin = file.read(_LENGTH + 1)
    header = int.from_bytes(begin[:_LENGTH], "little")
    return begin[_LENGTH:] == b"{" and header <= path.stat().st_size - _LENGTH


def is_torch(path: Path) -> bool:
    """Whether a file begins as those of torch.save do, whatever its name, and holds nothing else that is known."""
    with path.open("rb") as file:
        begin = file.read(len(_ARCHIVE))
    return begin.startswith((_PICKLED, _ARCHIVE)) and not foreign(path)


def foreign(path: Path) -> str:
    """What a file is that holds no weights; "" for one that may hold some, of torch or .safetensors, whole or damaged.

    Raises OSError: it cannot be read.
    """
    with path.open("rb") as file:
        begin = file.read(_LOOK)
    if not begin:
        return "empty"
    for magic, told in _OTHERS.items():
        if begin.lower().startswith(magic.lower()):
            return told
    if begin.startswith(_ARCHIVE):
        return _other_archive(path)
    if begin.startswith(_PICKLED) or is_safetensors(path):
        return ""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(begin)
    except UnicodeDecodeError:
        text = "\0"
    return "text" if all(char.isprintable() or char.isspace() for char in text) else "damaged, or of another form"


def _other_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # a damaged archive makes the parser raise anything, and whoever reads it tells that
        return ""
    if any(name.endswith("data.pkl") for name in names):
        return ""
    return "arrays of NumPy" if any(name.endswith(".npy") for name in names) else "an archive of other files"
