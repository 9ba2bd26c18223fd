"""A connection to Ray: an existing cluster, or one on this machine for this machine only."""

import contextlib
import warnings
from collections.abc import Iterator

from asyncopt.checks import InputError


@contextlib.contextmanager
def ray_session(address: str | None, num_cpus: float | None = None) -> Iterator[None]:
    """Connects to Ray, unless this process is connected already, and leaves it as it was found.

    Args:
      address: of a running cluster, or "auto"; None starts one here, bound to 127.0.0.1.
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
    local = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", "num_cpus": num_cpus}
    try:
        with warnings.catch_warnings():
            # Ray starts processes, which JAX warns of; they execute another program at once, so that nothing is forked.
            warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
            ray.init(address=address, log_to_driver=False, configure_logging=False, **({} if address else local))
    except (ConnectionError, ValueError) as error:
        raise InputError(f"address is {address!r}, expected that of a running Ray cluster: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()
