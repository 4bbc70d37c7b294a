"""Builds the source archive and the wheel out of the last commit, looks into them, and tries the wheel out.

    python tools/archives.py build [FOLDER]     # default dist; both archives, and what is wrong in them
    python tools/archives.py smoke [FOLDER]     # the wheel in an environment of its own, far from the sources; minutes

Only ``smoke``'s installation uses the network; what it then runs is cut off from it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 60_000_000
"""Of either archive: weights may take 40 MB, code and texts take one."""

_BESIDE = {"LICENSE", "README.md", "THIRD-PARTY.md", "pyproject.toml", "setup.py"}
_UNWANTED = {"tests", "shared", "build", "dist", "__pycache__", ".git", ".venv"}
_MEDIA = {".mp4", ".mkv", ".mov", ".webm", ".avi", ".wav", ".mp3", ".jpg", ".jpeg", ".png", ".npz"}
_CHECKPOINTS = {".pt", ".pth", ".pkl", ".onnx", ".ckpt"}
_NO_SOCKETS = """
import socket

def refused(*arguments, **options):
    raise OSError("the network is switched off")

for name in ("connect", "connect_ex", "sendto", "bind"):
    setattr(socket.socket, name, refused)
for name in ("getaddrinfo", "gethostbyname", "create_connection"):
    setattr(socket, name, refused)
"""


def build(target: Path) -> tuple[Path, Path]:
    """Both archives of the last commit in ``target``: (wheel, source archive). Nothing that is not committed is in
    them. The wheel is built from the source archive, so that this one is known to be whole."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        commit, made = Path(folder) / "commit", Path(folder) / "made"
        packed = subprocess.run(["git", "archive", "--format=tar", "HEAD"], cwd=ROOT, capture_output=True, check=True)
        commit.mkdir()
        subprocess.run(["tar", "-x"], cwd=commit, input=packed.stdout, check=True)
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(made), str(commit)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for old in (*target.glob("deid_video-*.whl"), *target.glob("deid_video-*.tar.gz")):
            old.unlink()
        wheel, archive = (Path(shutil.copy(next(made.glob(kind)), target)) for kind in ("*.whl", "*.tar.gz"))
    return wheel, archive


def committed() -> set[str]:
    """The package's files in the last commit."""
    command = ["git", "ls-tree", "-r", "--name-only", "-z", "HEAD", "deid"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    return set(said.decode().strip("\0").split("\0"))


def faults(wheel: Path, archive: Path) -> list[str]:
    """What is wrong in the archives, a sentence each: files of the package that are missing, files that have no
    business there, a size beyond :data:`MOST_BYTES`."""
    found = []
    with zipfile.ZipFile(wheel) as opened:
        in_wheel = set(opened.namelist())
    with tarfile.open(archive) as packed:
        in_archive = {name.partition("/")[2] for name in packed.getnames()} - {""}
    for path, names in ((wheel, in_wheel), (archive, in_archive)):
        found += [f"{path.name} lacks {name}" for name in sorted(committed() - names)]
        found += [f"{path.name} holds {name}" for name in sorted(filter(_is_unwanted, names))]
        if path.stat().st_size > MOST_BYTES:
            found.append(f"{path.name} takes {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}")
    found += [f"{wheel.name} holds {name}" for name in sorted(in_wheel - committed()) if ".dist-info/" not in name]
    found += [f"{archive.name} lacks {name}" for name in sorted(_BESIDE - in_archive)]
    return found


def _is_unwanted(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(_UNWANTED & set(path.parts)) or path.suffix.lower() in _MEDIA | _CHECKPOINTS | {".pyc"}


def smoke(wheel: Path, place: Path) -> None:
    """Install ``wheel`` into a fresh environment in ``place`` and use it from there, without a network. Raises
    ``CalledProcessError`` or ``AssertionError`` when anything is not as it should be."""
    subprocess.run([sys.executable, "-m", "venv", str(place / "venv")], check=True)
    python, deid = place / "venv/bin/python", place / "venv/bin/deid"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel], check=True)
    subprocess.run([python, "-m", "pip", "check", "--disable-pip-version-check"], check=True)
    work = place / "work"
    work.mkdir()

    def run(*words: object) -> str:
        return _cut_off(list(map(str, words)), work, place)

    home = Path(run(python, "-c", "import deid; print(deid.__file__)").strip()).parent
    assert home.is_relative_to(place.resolve()), f"deid came from {home}"
    assert run(deid, "--version").split()[-1] == wheel.name.split("-")[1]
    assert "Exit codes:" in run(deid, "--help")
    for name in ("generator", "mapper"):
        assert "sha256" in run(deid, "models", "info", home / f"models/stylegan/{name}.safetensors").lower()
    run(deid, "demo", "-o", "look", "--engine", "pixelate")
    for engine in ("morphable", "stylegan", "blur"):
        run(deid, "run", "look/talker.mp4", "-o", f"{engine}.mp4", "--engine", engine, "--end", "1", "--seed", "5")
        assert "video" in run(deid, "info", f"{engine}.mp4")
        print(f"{engine}: {(work / f'{engine}.mp4').stat().st_size:,} bytes", flush=True)


def _cut_off(command: list[str], work: Path, place: Path) -> str:
    """What ``command`` prints, run in ``work`` where nothing of this project can be imported and no network reached:
    by a namespace without one where the system allows that, and for Python in any case."""
    blocker = place / "blocker"
    blocker.mkdir(exist_ok=True)
    (blocker / "sitecustomize.py").write_text(_NO_SOCKETS, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "DEID_"))}
    environment |= {"PYTHONPATH": str(blocker), "HOME": str(work), "DEID_NO_CONFIG": "1"}
    alone = ["unshare", "--net", "--map-root-user"]
    if shutil.which("unshare") and subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0:
        command = [*alone, *command]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        done.check_returncode()
    return done.stdout


def _wheel_in(folder: Path) -> Path:
    wheels = list(folder.glob("deid_video-*.whl"))
    if len(wheels) != 1:
        sys.exit(f"{folder} holds {len(wheels)} wheels, not one; build it: python tools/archives.py build {folder}")
    return wheels[0].resolve()


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("build", "smoke"))
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "dist")
    asked = parser.parse_args(words)
    if asked.what == "smoke":
        with tempfile.TemporaryDirectory() as place:
            smoke(_wheel_in(asked.folder), Path(place))
        print("the wheel works in an environment of its own")
        return 0
    made = build(asked.folder)
    wrong = faults(*made)
    _tell(f"{path}: {path.stat().st_size:,} bytes" for path in made)
    _tell(wrong)
    return 1 if wrong else 0


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


if __name__ == "__main__":
    sys.exit(main())
