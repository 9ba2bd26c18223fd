"""Published files, fetched from a mirror that the user names, and used only if their checksum is right."""

import dataclasses
import os
import pathlib
import sys
import tarfile
import tempfile
import zlib

from asyncopt.checks import InputError


@dataclasses.dataclass(frozen=True)
class Published:
    """A file as its authors published it.

    Args:
      name: of the file; ``.tar.gz`` is unpacked.
      md5: its checksum, as published.
    """

    name: str
    md5: str


def fetch(mirror: str, published: Published, folder: pathlib.Path) -> None:
    """Fetches a file into a folder, whole or not at all, and unpacks it there if it is an archive.

    Args:
      mirror: address of the folder it is in, http or https.
      published: which file.
      folder: made if need be.

    Raises:
      InputError: if pooch is not installed, or the file cannot be fetched, or it is another one than was published.
    """
    try:
        import pooch
    except ImportError as error:
        raise InputError(
            "mirror is set, but pooch is not installed, expected: pip install 'asyncopt[download]'"
        ) from error
    if not mirror.startswith(("http://", "https://")):
        raise InputError(f"mirror is {mirror!r}, expected an address that starts with http:// or https://")
    address = f"{mirror.rstrip('/')}/{published.name}"
    is_archive = published.name.endswith(".tar.gz")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as partial:
        try:
            path = pooch.retrieve(
                address, f"md5:{published.md5}", published.name, partial, progressbar=sys.stderr.isatty()
            )
            if is_archive:
                with tarfile.open(path) as archive:
                    archive.extractall(partial, filter="data")
                os.remove(path)
        except (OSError, ValueError, EOFError, zlib.error, tarfile.TarError) as error:  # requests' errors are OSErrors
            raise InputError(f"{address}: cannot be fetched: {error}") from error
        for made in pathlib.Path(partial).iterdir():
            os.replace(made, folder / made.name)
