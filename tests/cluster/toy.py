"""SLURM on one machine for tests: as root, without systemd, dbus or cgroups, all of it in one folder.

The GPUs are pretended: 4 character devices, shared by 8 shards. Known to work with SLURM 22.05 of Debian:
slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo", "munged")
NULL_DEVICE = os.makedev(1, 3)
CONF = """\
ClusterName=toy
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={controller_port}
SlurmdPort={node_port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=64
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
SchedulerType=sched/backfill
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
{gres_types}KillWait=2
InactiveLimit=0
MinJobAge=300
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=8000 {gres}State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# shards per GPU are told by the file's order; device files must be character devices to be numbered
GRES = "NodeName={host} Name=gpu File={folder}/gpu[0-3]\n"


def why_not() -> str:
    """Why there is no SLURM for tests here; "" where there can be one."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a test's SLURM is started as root on Linux"
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"SLURM's packages are not installed: no {missing[0]}"
    return ""


class Toy:
    """A running SLURM.

    Args:
        gres: what its one node has: "gpu:4,shard:8", "gpu:4" or "".

    Raises:
        RuntimeError: it did not start; its logs are part of the message.
    """

    def __init__(self, folder: Path, gres: str = "gpu:4,shard:8") -> None:
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        (folder / "munge").mkdir(parents=True, mode=0o700)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        self._configure(gres)
        self._start_munge()
        for program in ("slurmctld", "slurmd"):
            self.call(program)
        deadline = time.monotonic() + 30
        while self.call("sinfo", "-h", "-o", "%T") != "idle":
            if time.monotonic() > deadline:
                logs = "\n".join(path.read_text() for path in folder.glob("*.log"))
                self.stop()
                raise RuntimeError(f"SLURM did not start:\n{logs}")
            time.sleep(0.1)

    def _configure(self, gres: str) -> None:
        host = socket.gethostname().partition(".")[0]
        words = {"host": host, "folder": self.folder}
        words |= {"controller_port": _free_port(), "node_port": _free_port()}
        types = ",".join(part.partition(":")[0] for part in gres.split(",") if part)
        words["gres_types"] = f"GresTypes={types}\n" if types else ""
        words["gres"] = f"Gres={gres} " if gres else ""
        (self.folder / "slurm.conf").write_text(CONF.format(**words))
        lines = ""
        if gres:
            for number in range(4):
                os.mknod(self.folder / f"gpu{number}", 0o666 | stat.S_IFCHR, NULL_DEVICE)
            lines = GRES.format(**words)
            if "shard" in gres:
                lines += f"NodeName={host} Name=shard Count=8\n"
        (self.folder / "gres.conf").write_text(lines)
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\n")

    def _start_munge(self) -> None:
        """One of its own: the system's key and socket are left alone."""
        munge = self.folder / "munge"
        key = munge / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        # --force: the folder may lie below one that everybody writes in, such as /tmp
        words = [f"--key-file={key}", f"--socket={munge}/socket", f"--log-file={munge}/log"]
        words += [f"--pid-file={munge}/pid", f"--seed-file={munge}/seed", "--force"]
        subprocess.run(["munged", *words], check=True, capture_output=True)

    def call(self, *words: str) -> str:
        """What a command of SLURM prints."""
        result = subprocess.run(
            words, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=60
        )
        return result.stdout.strip()

    def stop(self) -> None:
        """End its jobs, and itself: by the process ids that it left, never by name."""
        self.call("scancel", "--user=root")
        deadline = time.monotonic() + 10
        while self.call("squeue", "-h") and time.monotonic() < deadline:
            time.sleep(0.1)
        for name in ("slurmd.pid", "slurmctld.pid", "munge/pid"):
            if (path := self.folder / name).exists():
                with suppress(ProcessLookupError):
                    os.kill(int(path.read_text()), signal.SIGKILL)  # nothing of it is to be kept; 5 s faster


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
