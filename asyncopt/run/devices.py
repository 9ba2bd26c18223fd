"""Sets JAX up for a configuration: the precision, the cores of each device, the folder of compiled programs."""

import contextlib
import functools
import hashlib
import os
import pathlib
import platform
import warnings
from collections.abc import Mapping
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache


def prepare_jax(settings: Mapping[str, Any], num_runs: int) -> None:
    """Sets JAX up for runs of one configuration.

    Args:
      settings: the configuration, as in ``conf/config.yaml``; precision, compilation_cache and threads are read.
      num_runs: the number of runs side by side.
    """
    jax.config.update("jax_enable_x64", settings["precision"] == "float64")
    _let_a_gpu_repeat_itself()
    _keep_compiled_programs(settings["compilation_cache"])
    num_cores = len(os.sched_getaffinity(0))
    threads = settings["threads"]
    if threads is None:
        threads = max(1, num_cores // max(1, num_runs))  # an empty list of seeds is refused later
    _share_out_cores(min(threads, num_cores), num_cores)


def _let_a_gpu_repeat_itself() -> None:
    """Asks XLA for the same bits from one process to the next on a GPU. This works once, before JAX starts.

    By default XLA adds up scatters there in any order, and takes the convolution that was fastest when it tried.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_deterministic_ops" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".lstrip()


def _share_out_cores(threads: int, num_cores: int) -> None:
    """Makes devices of ``threads`` cores each, so that seeds run side by side. This works once, before JAX starts.

    An update of a small model runs kernels of a few microseconds each. Handing them from thread to thread costs more
    than it gains (`benchmarks/sparse_logistic.py` shows both). A network has enough work for several threads.
    """
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        os.environ.setdefault("PJRT_NPROC", str(threads))
        with contextlib.suppress(RuntimeError):  # an earlier job of this process started JAX, which keeps its devices
            jax.config.update("jax_num_cpu_devices", num_cores // threads)


def _keep_compiled_programs(cache: bool | str) -> None:
    """Lets JAX keep compiled programs in a folder for the next process. JAX's own variables take precedence."""
    if cache is True and "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = None
    if cache is not False:
        folder = _usable(pathlib.Path(_user_cache() if cache is True else cache).expanduser() / _kind_of_machine())
    if jax.config.values["jax_compilation_cache_dir"] == folder:
        return
    jax.config.update("jax_compilation_cache_dir", folder)
    if folder is not None:
        # The next run needs every program again. By default, JAX keeps only those that took a second to compile.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    compilation_cache.reset_cache()  # else JAX would not read the setting again


def _user_cache() -> pathlib.Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(base) / "asyncopt" / "compiled"


@functools.cache
def _kind_of_machine() -> str:
    """Returns a name for this kind of machine: on a cluster, machines of several kinds can share a home folder."""
    facts = [platform.system(), platform.machine()]
    cpu = pathlib.Path("/proc/cpuinfo")
    if cpu.is_file():  # the first processor's instruction sets stand for all
        facts += [line for line in cpu.read_text().splitlines() if line.startswith(("flags", "Features"))][:1]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def _usable(folder: pathlib.Path) -> str | None:
    """Creates the folder if needed and returns it; else warns and returns None. Without it, a run only starts later."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        warnings.warn(f"compilation_cache: no compiled program is kept: {error}", stacklevel=2)
        return None
    if not os.access(folder, os.W_OK):
        warnings.warn(f"compilation_cache: no compiled program is kept: {folder} cannot be written", stacklevel=2)
        return None
    return str(folder)
