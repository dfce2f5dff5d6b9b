"""Input that means no good: bytes with a few places changed, and little memory to read them in."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

# What parsers of text, numbers and JSON are known to stumble over.
LIKELY = [
    b"", b"\0", b"\n", b"\r", b"\xff", b'"', b"\\", b"[", b"{", b"}", b",", b":", b"0", b"-0", b"1e999", b"NaN",
    b"Infinity", b"-1", b"null", b"true", b"9" * 400, b"9" * 5_000, b"[" * 100_000, b'{"a":' * 5_000, b"\\ud800",
    b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"../", b"/etc/passwd", b"x" * 70_000,
]  # fmt: skip
# (place, what comes there, how many bytes go)
EDITS = st.lists(
    st.tuples(st.integers(0, 1 << 16), st.sampled_from(LIKELY) | st.binary(max_size=3), st.integers(0, 9)), max_size=3
)


def damaged(content: bytes, edits: list[tuple[int, bytes, int]], cut: int | None = None) -> bytes:
    """The content with edits, each anywhere in it, and the end missing from `cut` on."""
    for place, new, gone in edits:
        at = place % (len(content) + 1)
        content = content[:at] + new + content[at + gone :]
    return content if cut is None else content[: cut % (len(content) + 1)]


def read_or_told(read: Callable[[], Any], fault: type[Exception]) -> tuple[Any, Any]:
    """What `read` returns, and None; or None, and the error that it raises."""
    try:
        return read(), None
    except fault as error:
        return None, error


def assert_told(error: Exception, path: Path) -> None:
    """An error in due form: one line that a terminal shows as it is, with the file in front."""
    assert str(error).startswith(str(path))
    assert str(error).isprintable()
    assert len(str(error)) < 1_000


@contextmanager
def little_memory(more: int = 1 << 28) -> Iterator[None]:
    """This process may ask for so many bytes more than it has, touched or not; beyond them it gets a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
