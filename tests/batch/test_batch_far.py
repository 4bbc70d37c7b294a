"""Batches with files in a store (a local server of S3's protocol), and with work on a cluster (a local one)."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mediagen
import pytest

from batch.fake_worker import DRIVER
from batch.test_batch_runs import Bench, killed_again_and_again
from deid.batch.cluster import serve
from deid.batch.worker import require_same_place
from deid.errors import InputError, OutputError, UsageError
from deid.remote import Url, fetched

OWN = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """A server of S3's protocol; where it listens."""
    pytest.importorskip("s3fs", reason="no s3fs: pip install 'deid-video[s3]'")
    pytest.importorskip("moto.server", reason="no moto, and so no store to test with")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


class Shelf(Bench):
    """A bench whose sources and copies are in buckets of their own."""

    def __init__(self, place: Path, name: str) -> None:
        super().__init__(place)
        self.inside, self.outside = Url(f"s3://{name}-in"), Url(f"s3://{name}-out")
        self.ledger = place / "ledger.sqlite"
        system, _ = self.inside._open()
        for bucket in (self.inside, self.outside):
            system.mkdir(bucket.text.removeprefix("s3://"))
        for number in range(3):
            self.put(f"{'day/' if number else ''}{number}.mp4", f"clip {number}")

    def put(self, name: str, text: str) -> None:
        super().put(name, text)
        (self.inside / name).put(self.sources / name, may_replace=True)

    def command(self, *words: object) -> list[str]:
        where = ["batch", self.inside.text, "-o", self.outside.text, "--ledger", str(self.ledger)]
        return [sys.executable, "-c", DRIVER, *where, *map(str, words)]

    def outputs(self) -> dict[str, bytes]:
        system, _ = self.outside._open()
        root = self.outside.text.removeprefix("s3://")
        return {name: system.cat_file(f"{root}/{name}") for name in self.outside.walk()}


@pytest.fixture
def shelf(store: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    import s3fs

    for name, value in {**OWN, "AWS_ENDPOINT_URL": store}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    return Shelf(tmp_path, f"b{abs(hash(request.node.name)) % 10**9}")


def expected(bench: Bench) -> dict[str, bytes]:
    return {
        str(path.relative_to(bench.sources)): b"made of " + path.read_bytes() + b" with seed 4morphable"
        for path in bench.sources.rglob("*.mp4")
    }


def test_from_store_to_store_once_and_then_what_changed(shelf: Shelf) -> None:
    told = shelf.run("--seed", 4)
    assert shelf.fates(told) == {"0.mp4": "done", "day/1.mp4": "done", "day/2.mp4": "done"}
    assert shelf.outputs() == expected(shelf)  # and nothing hidden is left there
    shelf.starts()
    shelf.put("0.mp4", "another")
    (shelf.outside / "day/1.mp4").remove()
    due = {entry["target"]: entry["due"] for entry in shelf.run("--seed", 4, "--dry-run")["files"]}
    assert "looked at" in due["0.mp4"] and "gone" in due["day/1.mp4"] and due["day/2.mp4"] == "finished"
    shelf.run("--seed", 4)
    assert shelf.starts() == ["0.mp4", "1.mp4"] and shelf.outputs() == expected(shelf)


@pytest.mark.slow
def test_what_others_put_there_is_left_alone(shelf: Shelf) -> None:
    (shelf.outside / "day/2.mp4").put(shelf.sources / "day/2.mp4", may_replace=True)
    shelf.run("--seed", 5, code=9)
    assert "not what this batch made" in shelf.said and shelf.outputs()["day/2.mp4"] == b"clip 2"
    shelf.run("--seed", 4, "--overwrite", "--retry-failed")
    assert shelf.outputs() == expected(shelf)
    assert set(shelf.fates(shelf.run("--seed", 4)).values()) == {"skip"}


@pytest.mark.slow
def test_kills_leave_whole_copies_and_nothing_hidden(shelf: Shelf) -> None:
    environment = shelf.environment(FAKE_SLEEP="0.2")
    killed_again_and_again(shelf.command("--jobs", 2, "--seed", 4, "--quiet"), environment, 4, 3.0, seed=2)
    assert shelf.outputs() == expected(shelf)


def test_a_store_that_fails_is_told_in_a_sentence(
    shelf: Shelf, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    with pytest.raises(OutputError, match="no such bucket"):
        (Url("s3://nobodys-bucket") / "a.mp4").put(shelf.sources / "0.mp4", may_replace=True)
    done = subprocess.run([*shelf.command()[:4], str(shelf.sources), "-o", "s3://x/y"], capture_output=True, text=True)
    assert done.returncode == 2 and "name a file with --ledger" in done.stderr
    for name in OWN:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(InputError, match="there are no credentials for s3://"):
        with fetched(shelf.inside / "0.mp4"):
            pass
    for name, value in {**OWN, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(InputError, match="0.mp4 cannot be reached"):
        with fetched(shelf.inside / "0.mp4"):
            pass


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    pytest.importorskip("ray", reason="no ray: pip install 'deid-video[ray]'")
    made = Bench(tmp_path)
    for number in range(3):
        made.put(f"{'day/' if number else ''}{number}.mp4", f"clip {number}")
    return made


def test_a_worker_of_the_cluster_that_is_killed_costs_one_attempt(bench: Bench) -> None:
    """The process that Ray itself started, and the file's own with it."""
    bench.put("long.mp4", "hang at first")
    words = ("--executor", "ray", "--jobs", 2, "--seed", 4, "--json", "--quiet")
    process = subprocess.Popen(
        bench.command(*words), env=bench.environment(FAKE_PARENTS="1"), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    limit = time.monotonic() + 120
    parents = bench.log.with_name("log.parents")
    while time.monotonic() < limit and not (parents.exists() and "long.mp4" in parents.read_text()):
        time.sleep(0.1)
    (line,) = [line for line in parents.read_text().splitlines() if line.startswith("long.mp4")]
    bench.put("long.mp4", "well by now")
    os.kill(int(line.split()[1]), signal.SIGKILL)
    out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert bench.outputs() == expected(bench)
    assert sorted(bench.starts()) == ["0.mp4", "1.mp4", "2.mp4", "long.mp4", "long.mp4"]
    assert sorted(p.name for p in (bench.out / ".deid-batch").rglob("*")) == ["ledger.sqlite", "ledger.sqlite.lock"]
    bench.run("--seed", 4)  # one ledger, wherever the work was done
    assert bench.starts() == []


def test_a_cluster_that_is_not_there_is_a_sentence(bench: Bench) -> None:
    bench.run("--address", "auto", code=2)
    assert "add --executor ray" in bench.said
    bench.run("--executor", "ray", "--address", "ray://127.0.0.1:9", code=2)
    bench.run("--executor", "ray", "--address", "127.0.0.1:9", code=1)
    assert "there is no Ray cluster at 127.0.0.1:9" in bench.said and len(bench.said.strip().splitlines()) == 1


@pytest.mark.slow
def test_real_work_on_a_cluster_gives_the_same_bytes(shelf: Shelf, tmp_path: Path) -> None:
    """From store to store, and from folder to folder, which the workers find to be the same folder."""
    pytest.importorskip("ray", reason="no ray: pip install 'deid-video[ray]'")
    source, deid = tmp_path / "clips", [sys.executable, "-m", "deid", "batch"]
    source.mkdir()
    for number in range(2):
        mediagen.clip(source / f"{number}.mp4", seconds=0.2 + 0.04 * number, audio=[["aac"]])
        (shelf.inside / f"real/{number}.mp4").put(source / f"{number}.mp4", may_replace=False)
    options = ["--engine", "solid", "--seed", "5", "--threads", "1", "--quiet"]
    ray = ["--executor", "ray"]
    near, far, shared = tmp_path / "near", shelf.outside / "real", tmp_path / "shared"
    for words in (
        [str(source), "-o", str(near)],
        [(shelf.inside / "real").text, "-o", far.text, "--ledger", str(tmp_path / "far.sqlite"), *ray],
        [str(source), "-o", str(shared), *ray],
    ):
        done = subprocess.run([*deid, *words, *options], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    for name in ("0.mp4", "1.mp4"):
        made = (near / name).read_bytes()
        assert (shared / name).read_bytes() == made
        assert (far / name).content() == hashlib.sha256(made).hexdigest()
    assert list(far.walk()) == ["0.mp4", "1.mp4"]
    assert not list((shared / ".deid-batch").glob("unnamed*"))
    done = subprocess.run([*deid, str(source), "-o", str(shared), *ray, "--gpus", "1"], capture_output=True, text=True)
    assert done.returncode == 2 and "the 1 GPUs of --gpus" in done.stderr


def test_a_folder_that_is_another_one_elsewhere_is_found_out(tmp_path: Path) -> None:
    proof = tmp_path / "out" / ".deid-batch" / "unnamed" / "proof"
    proof.parent.mkdir(parents=True)
    proof.write_text("this one")
    require_same_place({"proof": [str(proof), "this one"]})
    require_same_place({"proof": None})
    for wrong in ([str(proof), "another"], [str(proof.with_name("none")), "this one"]):
        with pytest.raises(UsageError, match=f"{tmp_path}/out is not the same folder on"):
            require_same_place({"proof": wrong})


def test_another_version_on_a_machine_is_told() -> None:
    told = list(serve({}, 10.0, False, "", "0.0.1"))
    assert [message["t"] for message in told] == ["fail", "over"] and "the batch is of 0.0.1" in told[0]["message"]


@pytest.mark.slow
def test_kills_of_the_batch_itself_while_a_cluster_works(bench: Bench) -> None:
    for number in range(3, 7):
        bench.put(f"{number}.mp4", f"clip {number}")
    command = bench.command("--executor", "ray", "--jobs", 2, "--seed", 4, "--quiet")
    killed_again_and_again(command, bench.environment(FAKE_SLEEP="0.3"), 4, 12.0, seed=4)
    assert bench.outputs() == expected(bench)
    assert sorted(p.name for p in (bench.out / ".deid-batch").rglob("*")) == ["ledger.sqlite", "ledger.sqlite.lock"]
