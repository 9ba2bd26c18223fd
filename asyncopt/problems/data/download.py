"""Fetches published files from a mirror that the user names, and uses them only if their checksum is right."""

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
      name: the file's name; ``.tar.gz`` is unpacked.
      md5: the file's checksum, as published.
    """

    name: str
    md5: str


def fetch(mirror: str, published: Published, folder: pathlib.Path) -> None:
    """Fetches a file into a folder, whole or not at all, and unpacks it there if it is an archive.

    Args:
      mirror: address of the folder that the file is in, http or https.
      published: the file.
      folder: the folder to put it in; it is created if it is missing.

    Raises:
      InputError: if pooch is not installed, the file cannot be fetched, or its checksum is another one.
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
            fetched = pooch.retrieve(
                address, f"md5:{published.md5}", published.name, partial, progressbar=sys.stderr.isatty()
            )
            if is_archive:
                with tarfile.open(fetched) as archive:
                    archive.extractall(partial, filter="data")
                os.remove(fetched)
        except (OSError, ValueError, EOFError, zlib.error, tarfile.TarError) as error:  # requests' errors are OSErrors
            raise InputError(f"{address}: cannot be fetched: {error}") from error
        for path in pathlib.Path(partial).iterdir():
            os.replace(path, folder / path.name)
