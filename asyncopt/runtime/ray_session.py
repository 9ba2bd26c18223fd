"""A connection to Ray: to a running cluster, or to a new one that only this machine can reach."""

import contextlib
import os
import socket
import warnings
from collections.abc import Iterator

from asyncopt import stopping
from asyncopt.checks import InputError

# Despite its name: with 0, Ray's servers listen on the loopback interface alone; otherwise on every interface.
_CLUSTER_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_PATIENCE = 10.0  # seconds


@contextlib.contextmanager
def ray_session(address: str | None, num_cpus: int | None = None) -> Iterator[None]:
    """Connects to Ray, and disconnects at the end; a connection that exists already is used and left open.

    Args:
      address: address of a running cluster, or "auto"; None starts one on this machine, bound to 127.0.0.1.
      num_cpus: number of cores that a cluster started here may count on; None for the cores of the machine.

    Raises:
      InputError: if Ray is not installed, or there is no cluster at the address.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError(f"Ray is not installed ({error}), expected: pip install 'asyncopt[ray]'") from error
    if ray.is_initialized():
        yield
        return
    try:
        with stopping.handlers_kept(), warnings.catch_warnings():
            # JAX warns when Ray starts processes. They execute another program at once, so no JAX thread is forked.
            warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
            if address is None:
                with _loopback():
                    ray.init(include_dashboard=False, num_cpus=num_cpus, log_to_driver=False, configure_logging=False)
            else:
                _check_reachable(address)
                ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (OSError, ValueError) as error:
        raise InputError(f"address is {address!r}, expected that of a running Ray cluster: {error}") from error
    except KeyboardInterrupt:  # what has been started is not left behind
        ray.shutdown()
        raise
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises OSError if nothing listens at an address; Ray itself would try for many minutes."""
    from ray._private import services

    if address == "auto":  # the address that Ray finds may be that of a cluster that has just been killed
        address = services.canonicalize_bootstrap_address(address) or address
    host, separator, port = address.rpartition("://")[2].rpartition(":")
    if separator and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Binds a cluster that is started meanwhile to 127.0.0.1."""
    from ray._private import ray_constants

    # Ray read the variable when it was imported; the processes that it starts read it again.
    variable, constant = os.environ.get(_CLUSTER_VARIABLE), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[_CLUSTER_VARIABLE], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = constant
        if variable is None:
            del os.environ[_CLUSTER_VARIABLE]
        else:
            os.environ[_CLUSTER_VARIABLE] = variable
