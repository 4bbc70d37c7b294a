"""A stand-in for a worker: what a worker says and leaves, without looking at a picture."""

from __future__ import annotations

ENTRY = r"""
import hashlib, json, os, sys, time, ctypes
ctypes.CDLL(None).prctl(1, 9)
task = json.loads(sys.stdin.readline())
far = "://" in task["source"]
if far:
    from pathlib import Path
    from deid.remote import Url, fetched
def send(t, **more):
    sys.stdout.write(json.dumps({"t": t, **more}) + "\n"); sys.stdout.flush()
with open(os.environ["FAKE_LOG"], "a") as log:
    log.write(task["name"] + "\n")
if "FAKE_PARENTS" in os.environ:
    with open(os.environ["FAKE_LOG"] + ".parents", "a") as log:
        log.write(f"{task['name']} {os.getppid()}\n")
if far:
    stamp = Url(task["source"]).stamp()
    with fetched(Url(task["source"])) as (local, _):
        data = local.read_bytes()
else:
    state = os.stat(task["source"])
    stamp = f"{state.st_size}:{state.st_mtime_ns}"
    data = open(task["source"], "rb").read()
content = hashlib.sha256(data).hexdigest()
send("content", **{"is": content, "stamp": stamp})
if content == task["unless"]:
    send("same"); os._exit(0)
send("stage", name="rendering", total=2)
word = data.split()[0].decode() if data.split() else ""
once = os.path.join(os.environ["FAKE_LOG"] + ".once", task["name"])
if word == "crash" or (word == "once" and not os.path.exists(once)):
    os.makedirs(os.path.dirname(once), exist_ok=True); open(once, "w").close()
    os.kill(os.getpid(), 9)
if word == "hang":
    time.sleep(600)
if word == "bad":
    send("fail", code=3, message="it is not a video."); os._exit(3)
if word == "odd":
    send("fail", code=1, message="unexpected."); os._exit(1)
judged = {"passed": word != "leaky", "summary": [], "criteria": [{"name": "identity", "met": False}]}
if task["kind"] == "audit":
    made = open(task["target"], "rb").read()
    assert hashlib.sha256(made).hexdigest() == task["output"]
    send("audit", audit=judged, page="<p>page</p>" if task["pages"] else None); os._exit(0)
staging = os.environ["FAKE_LOG"] + f".{os.getpid()}" if far else task["staging"]
os.makedirs(staging)
target = os.path.join(staging, task["name"])
made = b"made of " + data + b" with seed " + str(task["seed"]).encode() + task["config"]["engine"].encode()
with open(target, "wb") as file:
    for part in (made[:9], made[9:]):
        file.write(part); file.flush(); time.sleep(float(os.environ.get("FAKE_SLEEP", "0")))
if far and task["kind"] == "run":
    (Url(task["staging"]) / task["name"]).put(Path(target), may_replace=True)
report = {"frames": 1, "seconds": 0.04, "engine": "solid", "people": [], "tracks": [], "damaged_frames": 0,
          "warnings": [], "audit": judged if task["config"]["audit"] else None}
send("end", report=report, output=hashlib.sha256(made).hexdigest(), personas=[])
os._exit(0)
"""
"""To be run in place of :data:`deid.batch.pool._ENTRY`. ``FAKE_LOG``: a file that gets a line for every start."""

DRIVER = f"""
from deid.batch import pool
pool._ENTRY = {ENTRY!r}
from deid.cli import main
main()
"""
"""``python -c`` this for a ``deid`` whose workers are stand-ins."""
