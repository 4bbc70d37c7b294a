"""The machine-readable mark: IPTC's digital source type, as XMP and as a plain container tag.

Terms of the IPTC NewsCodes vocabulary ``digitalsourcetype``:

* ``compositeSynthetic``, "mix or composite of several elements, at least one of which is synthetic", for footage in
  which faces were replaced by generated ones;
* ``humanEdits``, "augmentation, correction or enhancement by one or more humans using non-generative tools", for
  footage in which faces were merely obscured. (``algorithmicallyEnhanced`` would fit worse: it means minor corrections
  that leave the content alone.)

XMP goes where its specification (ISO 16684-1, part 3 of Adobe's text) puts it: a ``uuid`` box in MP4 and QuickTime, an
application block in GIF, an APP1 segment in JPEG, an ``iTXt`` chunk in PNG. Matroska, WebM and AVI get tags."""

from __future__ import annotations

import os
import struct

from ..errors import InputNotFound
from .structure import gif_structure

_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TERMS = {"obscured": "humanEdits", "synthetic": "compositeSynthetic"}
_SENTENCES = {
    "obscured": "Faces in this recording were obscured to protect the people shown.",
    "synthetic": "Faces in this recording are synthetic: they were replaced to protect the people shown.",
}
_XMP_BOX = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
_LOOK_AT = 1 << 20


def uri(mark: str) -> str:
    """The digital source type that ``mark`` (``obscured`` or ``synthetic``) stands for."""
    return _VOCABULARY + TERMS[mark]


def sentence(mark: str) -> str:
    """What the mark says to people, followed by its term."""
    return f"{_SENTENCES[mark]} Digital source type: {uri(mark)}"


def container_tags(mark: str, kind: str) -> dict[str, str]:
    """Metadata entries for FFmpeg's muxer of ``kind``."""
    tags = {"comment": sentence(mark)}
    if kind in ("mkv", "webm"):
        tags["DIGITAL_SOURCE_TYPE"] = uri(mark)
    return tags


def xmp(mark: str) -> bytes:
    """A read-only XMP packet with nothing but the mark."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<Iptc4xmpExt:DigitalSourceType>{uri(mark)}</Iptc4xmpExt:DigitalSourceType>"
        f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{_SENTENCES[mark]}</rdf:li></rdf:Alt></dc:description>'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def append_to_quicktime(path: str, mark: str) -> None:
    """Add the XMP box behind the last box of a finished MP4 or QuickTime file; no offset inside changes."""
    packet = xmp(mark)
    with open(path, "ab") as f:
        f.write(struct.pack(">I4s", 24 + len(packet), b"uuid") + _XMP_BOX + packet)


def insert_in_gif(path: str, mark: str) -> None:
    """Add the XMP application block before the trailer of a finished GIF."""
    end = gif_structure(path).end
    # The 256 descending bytes let a reader that skips by block lengths land on the terminator wherever it starts.
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"
    with open(path, "r+b") as f:
        f.seek(end)
        f.write(b"\x21\xff\x0bXMP DataXMP" + xmp(mark) + trailer + b"\x3b")
        f.truncate()


def read_mark(path: str | os.PathLike[str]) -> str | None:
    """``obscured`` or ``synthetic`` as the finished file ``path`` declares it, or ``None`` without a mark. Looks at the
    first and the last megabyte only, where every container keeps it. Raises :class:`InputNotFound`."""
    try:
        with open(path, "rb") as f:
            head = f.read(_LOOK_AT)
            f.seek(max(0, os.path.getsize(path) - _LOOK_AT))
            tail = f.read()
    except OSError as e:
        raise InputNotFound(f"{os.fspath(path)} cannot be read: {e.strerror}.") from e
    # What follows the term differs between containers and can be letters, so known terms are looked for as they are.
    return next((mark for mark in TERMS if uri(mark).encode() in head or uri(mark).encode() in tail), None)
