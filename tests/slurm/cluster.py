"""A real SLURM on this machine for as long as tests need it: a controller, one node, two partitions.

From Debian's packages slurmctld, slurmd, slurm-client and munge. All files lie in a folder of its own, and everything
runs as the present user. `low` is where jobs go; one in `high` preempts them: they get SIGTERM, a grace time, and are
queued again. Such a job waits until its credential has expired: two minutes elsewhere, five seconds here. On a busy
machine the node's daemon may take more than the usual ten seconds to answer; SLURM would then give the node no job
until it has asked again, which it does every 100 seconds. So it waits a minute, and asks every 20 seconds.
"""

from __future__ import annotations

import collections
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
ReturnToService=2
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/d.pid
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/d.log
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=100000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=10
MessageTimeout=60
SlurmdTimeout=60
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60 OverSubscribe=NO
PartitionName=high Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing() -> str | None:
    """Why there can be no cluster here; None where there can."""
    absent = [name for name in PROGRAMS if _program(name) is None]
    if absent:
        return f"no SLURM here ({', '.join(absent)}): apt-get install slurmctld slurmd slurm-client munge"
    return None


class Cluster:
    """A running SLURM; its commands find it by SLURM_CONF in `environment`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start everything and wait until jobs can run."""
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        names = {
            "folder": self.folder, "host": socket.gethostname().split(".")[0],
            "user": pwd.getpwuid(os.getuid()).pw_name, "ports": _free_ports(2),
        }  # fmt: skip
        (self.folder / "slurm.conf").write_text(CONFIGURATION.format(**names))
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = {name: self.folder / f"munge.{name}" for name in ("socket", "pid", "log", "seed")}
        self._run(
            "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={files['socket']}",
            f"--pid-file={files['pid']}", f"--log-file={files['log']}", f"--seed-file={files['seed']}",
        )  # fmt: skip
        until(files["socket"].exists, "munged listens")
        self.start_controller()
        self._run("slurmd", "-D")
        until(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T"), "the node is idle")

    def start_controller(self) -> None:
        """Start slurmctld and wait until it answers."""
        self._run("slurmctld", "-D")
        until(lambda: "UP" in self.ask("scontrol", "ping"), "the controller answers")

    def stop_controller(self) -> None:
        """End slurmctld as a restart of its service does; jobs go on."""
        self._end("slurmctld")

    def cancel_all(self) -> None:
        """End all jobs."""
        self.ask("scancel", f"--user={os.getuid()}")
        until(lambda: not self.ask("squeue", "--noheader").strip(), "no job is left")

    def stop(self) -> None:
        """End everything that was started."""
        with contextlib.suppress(TimeoutError, subprocess.TimeoutExpired):
            self.cancel_all()
        for name in reversed(list(self.processes)):
            self._end(name)

    def ask(self, *command: str) -> str:
        """Output of one of SLURM's commands, whether or not it succeeded."""
        return self._call(command).stdout

    def tell(self, *command: str) -> str:
        """Output of one of SLURM's commands, which has to succeed."""
        done = self._call(command)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """States of all jobs that are known, by id (`7_2` in an array)."""
        lines = self.ask("squeue", "--noheader", "--array", "--states=all", "--format=%i %T").splitlines()
        return dict(line.split()[:2] for line in lines if line.strip())

    def _call(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)

    def _run(self, name: str, *options: str) -> None:
        program = _program(name)
        assert program is not None
        with (self.folder / f"{name}.out").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [program, *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment}, start_new_session=True,
            )  # fmt: skip

    def _end(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster in an empty folder, ended with everything that runs on it."""
    made = Cluster(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()


LONG = 300
"""Seconds that a job may take to start: a Python that imports everything, on a machine that others use, too."""


def until(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait for a condition. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s in vain until {what}")
        time.sleep(0.1)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Hold:
    """Jobs that are submitted from now on look at these files."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        self.folder = folder
        monkeypatch.setenv("FRACGEN_TEST_HOLD", str(folder))
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "hook"))

    def at(self, name: str) -> None:
        (self.folder / f"{name}.hold").touch()

    def release(self, name: str) -> None:
        (self.folder / f"{name}.hold").unlink()

    def process(self, name: str) -> int:
        """Wait for the process that is stopped there; its number."""
        file = self.folder / f"{name}.at"
        until(lambda: file.exists() and file.read_text(), f"a job is stopped at {name}", LONG)
        return int(file.read_text())

    def until_told(self, name: str) -> None:
        """Wait until the process that is stopped there has heard a signal to stop."""
        until((self.folder / f"{name}.told").exists, f"the job that is stopped at {name} is told to stop", LONG)

    def written(self) -> collections.Counter[str]:
        """How often every file has been written."""
        return collections.Counter((self.folder / "written").read_text().split())
