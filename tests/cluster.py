"""A Dask cluster of separate processes: a scheduler, and workers that each have folders and packages of their own."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import ipy_imgvar

#: Where the package is, for workers that have this version.
ROOT = Path(ipy_imgvar.__file__).parent.parent


class Cluster:
    """A scheduler on loopback, and workers as they are asked for.

    Parameters
    ----------
    folder
        For the folders of the workers, and for logs.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.workers = {}
        about = self.folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", about, path=None
        )
        for _ in range(1200):
            with contextlib.suppress(OSError, ValueError):
                self.address = json.loads(about.read_text())["address"]
                return
            time.sleep(0.05)
        raise TimeoutError((self.folder / "scheduler" / "log").read_text())

    def _start(self, name, *words, path=ROOT, **environment):
        """Start a process of its own home, working folder and folder for temporary files."""
        home = self.folder / name
        home.mkdir()
        command = name if name == "scheduler" else "worker"
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(home),
            "OMP_NUM_THREADS": "1",
            "DASK_LOGGING__DISTRIBUTED": "warning",
            **({"PYTHONPATH": str(path)} if path is not None else {}),
            **environment,
        }
        code = f"import sys; from distributed.cli.dask_{command} import main; main(sys.argv[1:])"
        with (home / "log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-c", code, *map(str, words), "--no-dashboard"],
                cwd=home,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def add_worker(self, name, *words, path=ROOT, **environment):
        """Start a worker of one thread, and return its process.

        Parameters
        ----------
        name
            The worker's, and its folder's.
        *words
            Further options of `dask worker`.
        path
            A folder that comes first on its module path.
        **environment
            Further variables.
        """
        process = self._start(
            name,
            self.address,
            "--nthreads=1",
            "--no-nanny",
            f"--name={name}",
            *words,
            path=path,
            **environment,
        )
        self.workers[name] = process
        return process

    def close(self):
        """Kill all processes."""
        for process in (*self.workers.values(), self.scheduler):
            process.kill()
            process.wait()
