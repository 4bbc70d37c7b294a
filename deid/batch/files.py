"""Which files a batch takes, and what their copies are called."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from string import Formatter

from deid.errors import InputNotFound, OutputError, UsageError
from deid.remote import Url, is_url

READ_ONLY_KINDS = (
    ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".flv", ".wmv", ".asf", ".ogv", ".mxf", ".3gp", ".vob", ".y4m",
)  # fmt: skip
"""Endings of videos that are read and not written; their copies are Matroska files."""

TEMPLATE = "{dir}/{stem}{ext}"
FIELDS = ("dir", "stem", "ext", "root", "hash")
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Item:
    """One source: ``source``, absolute, or a URL; ``root``: the name of the SRC folder it was found in, or of its own
    where it was named itself; ``relative``: its place there; ``folder``: it is a folder of frames."""

    source: Path | Url
    root: str
    relative: PurePosixPath
    folder: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """``items``, in order of place and name; ``left``: how many other files lie in the folders."""

    items: tuple[Item, ...]
    left: int


def find(
    sources: Sequence[str], include: Sequence[str] = (), exclude: Sequence[str] = (), frames: bool = False
) -> Found:
    """The files that ``sources`` (files, folders, patterns with ``*``, ``?``, ``[...]`` and ``**``, also by URL) stand
    for.

    Within folders those with an ending of a video or a picture are taken, or those that match one of ``include``;
    never what matches one of ``exclude``, nor hidden files. A pattern with a slash is matched with the place below the
    folder, one without with the name. ``frames``: a folder that holds pictures only is one clip.

    Raises :class:`InputNotFound` where a source names nothing.
    """
    items: dict[str, Item] = {}
    left = 0
    for source in sources:
        if is_url(source):
            if frames:
                raise UsageError(f"--frames takes folders of this machine, and {source} is none.")
            far, others = _far_away(source, include, exclude)
            left += others
            for item in far:
                items.setdefault(str(item.source), item)
            continue
        for path, base in _spelled_out(source):
            if path.is_dir():
                found, others = _below(path, base, include, exclude, frames)
                left += others
            elif _wanted(PurePosixPath(path.name), (), exclude, any_ending=True):
                relative = PurePosixPath(os.path.relpath(path, base)) if base else PurePosixPath(path.name)
                found = [Item(path, (base or path.parent).name, relative)]
            else:
                found = []
            for item in found:
                items.setdefault(os.path.realpath(str(item.source)), item)
    return Found(tuple(sorted(items.values(), key=lambda i: (i.relative.as_posix(), str(i.source)))), left)


def _far_away(source: str, include: Sequence[str], exclude: Sequence[str]) -> tuple[list[Item], int]:
    """What a URL of a file or folder, or one with a pattern, stands for, and how many files are not wanted."""
    url = Url(source)
    if glob.has_magic(url.text.split("://", 1)[1].split("?", 1)[0]) and not url.exists():
        fixed = url.text[: min(url.text.find(sign) for sign in "*?[" if sign in url.text)]
        base = Url(fixed.rsplit("/", 1)[0])
        found = [u for u in url.matches() if not u.is_folder()]
        if not found:
            raise InputNotFound(f"nothing matches {source}; check the pattern.")
        items = [Item(u, base.name, PurePosixPath(_place_below(u, base))) for u in found]
        wanted = [item for item in items if _wanted(item.relative, (), exclude, any_ending=True)]
        return wanted, len(items) - len(wanted)
    if url.scheme in ("http", "https") or not url.is_folder():
        if not url.exists():
            raise InputNotFound(f"there is no {url}; name files, folders or patterns.")
        name = PurePosixPath(url.name)
        return ([Item(url, url.folder.name, name)] if _wanted(name, (), exclude, any_ending=True) else []), 0
    items, left = [], 0
    for place in url.walk():
        relative = PurePosixPath(place)
        if any(part.startswith(".") for part in relative.parts):
            continue
        if _wanted(relative, include, exclude):
            items.append(Item(url / place, url.name, relative))
        else:
            left += 1
    return items, left


def _place_below(url: Url, base: Url) -> str:
    """Stores differ in how many slashes follow the scheme."""
    own, above = (u.text.split("://", 1)[1].lstrip("/") for u in (url, base))
    return own[len(above) + 1 :] if own.startswith(above + "/") else url.name


def _spelled_out(source: str) -> Iterator[tuple[Path, Path | None]]:
    """(path, folder that its place is told from) of everything that one argument stands for."""
    path = Path(os.path.abspath(source))
    if os.path.lexists(path) or not glob.has_magic(source):
        if not path.exists():
            raise InputNotFound(f"there is no {source}; name files, folders or patterns.")
        yield path, None
        return
    parts = Path(source).parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    base = Path(os.path.abspath(Path(*parts[:first]))) if first else Path.cwd()
    names = sorted(glob.glob(source, recursive=True))
    if not names:
        raise InputNotFound(f"nothing matches {source}; check the pattern.")
    inside = {os.path.abspath(name) for name in names}
    for name in names:
        # what lies in a folder that matches too comes with it, once
        if not any(str(parent) in inside for parent in Path(os.path.abspath(name)).parents if parent != base):
            yield Path(os.path.abspath(name)), base


def _below(
    folder: Path, base: Path | None, include: Sequence[str], exclude: Sequence[str], frames: bool
) -> tuple[list[Item], int]:
    """Everything wanted below a folder, and how many files are not."""
    root = base or folder
    found: list[Item] = []
    left = 0
    for place, folders, names in os.walk(folder):
        names = sorted(name for name in names if not name.startswith("."))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(place)
        relative = PurePosixPath(os.path.relpath(here, root))
        if frames and names and not folders and all(_is_picture(name) for name in names):
            if _wanted(relative, include, exclude, any_ending=True):
                found.append(Item(here, root.name, relative if relative.parts else PurePosixPath(here.name), True))
            else:
                left += 1
            continue
        for name in names:
            own = relative / name
            if os.path.isfile(here / name) and _wanted(own, include, exclude):
                found.append(Item(here / name, root.name, own))
            else:
                left += 1
    return found, left


def _is_picture(name: str) -> bool:
    from deid.media.target import IMAGE_EXTENSIONS

    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS


def _wanted(place: PurePosixPath, include: Sequence[str], exclude: Sequence[str], any_ending: bool = False) -> bool:
    from deid.media.target import IMAGE_EXTENSIONS, VIDEO_KINDS

    if any(_matches(place, pattern) for pattern in exclude):
        return False
    if include:
        return any(_matches(place, pattern) for pattern in include)
    return any_ending or place.suffix.lower() in {*VIDEO_KINDS, *IMAGE_EXTENSIONS, *READ_ONLY_KINDS}


def _matches(place: PurePosixPath, pattern: str) -> bool:
    return fnmatchcase(place.as_posix() if "/" in pattern else place.name, pattern)


def check_template(template: str) -> None:
    """Raises :class:`UsageError` where a name template asks for what there is not."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"--name {template!r} is no template ({error}); fields look like {{stem}}.") from None
    for _, field, form, conversion in parts:
        if field is not None and (field not in FIELDS or form or conversion):
            raise UsageError(f"--name has no {{{field}}}; there are {', '.join(FIELDS)}.")


def name_of(item: Item, template: str, content: Callable[[], str]) -> str:
    """Where the copy of ``item`` goes below DST, with slashes. ``content``: tells its SHA-256, where that is asked for.

    Raises :class:`UsageError` for a name that leads out of DST."""
    ending = "" if item.folder else _ending(item.relative.suffix)
    values = {
        "dir": item.relative.parent.as_posix(),
        "stem": item.relative.name if item.folder else item.relative.stem,
        "ext": ending,
        "root": item.root,
        "hash": content()[:16] if "{hash}" in template else "",
    }
    name = os.path.normpath(template.format(**values).lstrip("/"))
    if name in (".", "") or name.startswith("..") or os.path.isabs(name):
        raise UsageError(f"--name makes {name!r} of {item.source.name}, which is no place below DST; change it.")
    return name


def _ending(suffix: str) -> str:
    from deid.media.target import IMAGE_EXTENSIONS, VIDEO_KINDS

    return suffix if suffix.lower() in {*VIDEO_KINDS, *IMAGE_EXTENSIONS} else ".mkv"


def refuse_clashes(items: Sequence[Item], names: Sequence[str], destination: Path | Url) -> None:
    """Raises :class:`UsageError` where two copies would have one name or one would lie among the sources, and
    :class:`OutputError` where DST cannot be a folder."""
    if isinstance(destination, Url):
        destination.require_writable()
        if any(item.folder for item in items):
            raise UsageError(f"a folder of frames cannot go to {destination}; give -o a folder of this machine.")
        if destination.exists() and not destination.is_folder():
            raise OutputError(f"{destination} is a file; give -o the name of a folder.")
    elif destination.exists() and not destination.is_dir():
        raise OutputError(f"{destination} is a file; give -o the name of a folder.")
    by_name: dict[str, Item] = {}
    for item, name in zip(items, names, strict=True):
        other = by_name.setdefault(name, item)
        if other is not item:
            raise UsageError(
                f"{other.source} and {item.source} would both become {name}; give --name more fields, such as "
                "{root}/{dir}/{stem}{ext}."
            )
    for name, item in by_name.items():
        for parent in PurePosixPath(name).parents:
            if str(parent) in by_name:
                raise UsageError(f"the copy of {item.source} would lie within that of {by_name[str(parent)].source}.")


def refuse_among_sources(
    sources: Sequence[str], items: Sequence[Item], names: Sequence[str], destination: Path | Url
) -> None:
    """Raises :class:`UsageError` where DST lies in a source folder, or a copy in one: the next run would take it for a
    source."""
    if isinstance(destination, Url):
        own, apart = destination.text, "/"
        folders = {s.rstrip("/") for s in sources if is_url(s) and Url(s).is_folder()}
        files = {i.source.text for i in items if isinstance(i.source, Url)}
    else:
        own, apart = os.path.realpath(destination), os.sep
        folders = {os.path.realpath(s) for s in sources if not is_url(s) and os.path.isdir(s)}
        folders |= {os.path.realpath(i.source) for i in items if i.folder and isinstance(i.source, Path)}
        files = {os.path.realpath(i.source) for i in items if isinstance(i.source, Path)}
    for folder in folders:
        if own == folder or own.startswith(folder + apart):
            raise UsageError(f"{destination} lies in the source folder {folder}; choose another place with -o.")
    for name in names:
        whole = f"{own}{apart}{name}"
        if whole in files or any(whole.startswith(folder + apart) for folder in folders):
            raise UsageError(f"{name} would lie among the sources; choose another place with -o, or another --name.")


def stamp_of(path: Path | Url) -> str:
    """What tells cheaply that a file, or a folder of frames, is as it was. Raises :class:`OSError`, and of a URL the
    errors of :mod:`deid.remote`."""
    if isinstance(path, Url):
        return path.stamp()
    if not path.is_dir():
        return _stamp(os.stat(path))
    lines = [f"{e.name} {_stamp(e.stat())}" for e in sorted(os.scandir(path), key=lambda e: e.name)]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _stamp(state: os.stat_result) -> str:
    return f"{state.st_size}:{state.st_mtime_ns}"


def content_of(path: Path | Url, tick: Callable[[], None] = lambda: None) -> str:
    """SHA-256 of a file's bytes, or of the names and bytes in a folder. Raises as :func:`stamp_of`."""
    if isinstance(path, Url):
        return path.content(tick)
    digest = hashlib.sha256()
    if path.is_dir():
        for entry in sorted(os.scandir(path), key=lambda e: e.name):
            if entry.is_file():
                digest.update(f"{entry.name}\0{content_of(Path(entry.path), tick)}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            tick()
    return digest.hexdigest()
