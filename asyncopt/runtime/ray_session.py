"""A connection to Ray: an existing cluster, or one on this machine for this machine only."""

import contextlib
import os
import socket
import warnings
from collections.abc import Iterator

from asyncopt.checks import InputError

# Whatever its name says: with 0, Ray's servers listen on the loopback interface alone; else on all there are.
_CLUSTER_OR_NOT = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_PATIENCE = 10.0  # seconds


@contextlib.contextmanager
def ray_session(address: str | None, num_cpus: int | None = None) -> Iterator[None]:
    """Connects to Ray, unless this process is connected already, and leaves it as it was found.

    Args:
      address: of a running cluster, or "auto"; None starts one here, which listens on 127.0.0.1 alone.
      num_cpus: that a cluster started here is said to have; None for those it has.

    Raises:
      InputError: if Ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError(f"Ray is not installed ({error}), expected: pip install 'asyncopt[ray]'") from error
    if ray.is_initialized():
        yield
        return
    try:
        with warnings.catch_warnings():
            # Ray starts processes, which JAX warns of; they execute another program at once, so that nothing is forked.
            warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
            if address is None:
                with _loopback():
                    ray.init(include_dashboard=False, num_cpus=num_cpus, log_to_driver=False, configure_logging=False)
            else:
                _check_reachable(address)
                ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (OSError, ValueError) as error:
        raise InputError(f"address is {address!r}, expected that of a running Ray cluster: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Refuses an address at which nobody listens; Ray would try for many minutes."""
    host, separator, port = address.rpartition("://")[2].rpartition(":")
    if separator and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Lets a Ray that is started within listen on 127.0.0.1 alone."""
    from ray._private import ray_constants

    # Ray has read the variable when it was imported; what it starts reads it again.
    variable, constant = os.environ.get(_CLUSTER_OR_NOT), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[_CLUSTER_OR_NOT], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = constant
        if variable is None:
            del os.environ[_CLUSTER_OR_NOT]
        else:
            os.environ[_CLUSTER_OR_NOT] = variable
