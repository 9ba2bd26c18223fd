"""Where files of data are looked for, and what is said if they are not there."""

import os
import pathlib
from collections.abc import Sequence

from asyncopt.checks import InputError
from asyncopt.problems.data.download import Published, fetch

ROOT_VARIABLE = "ASYNCOPT_DATA"


def find(
    root: str | os.PathLike[str] | None,
    folder: str,
    names: Sequence[str],
    hint: str,
    usual: Sequence[str] = (),
    mirror: str | None = None,
    published: Published | None = None,
) -> pathlib.Path:
    """Returns the first that exists of several names for a file or a folder, in the first folder that has one.

    Looked at are ``root/folder`` and ``root`` itself, or without a root those of the environment variable
    ASYNCOPT_DATA, and ``usual`` places after it. If it is nowhere and there is a mirror, it is fetched into the first
    of these folders.

    Args:
      root: where the user keeps data, or None.
      folder: the data set's own folder below it.
      names: of the file, as in plain and compressed.
      hint: where to get it.
      usual: folders in which packages put it.
      mirror: address of a folder that has the published file, or None.
      published: the file to fetch from there, if it is given.

    Raises:
      InputError: if no such file is found, with where it was looked for and the hint; or if it cannot be fetched.
    """
    chosen = root if root is not None else os.environ.get(ROOT_VARIABLE)
    folders = [] if chosen is None else [pathlib.Path(chosen) / folder, pathlib.Path(chosen)]
    if root is None:
        folders += [pathlib.Path(place) for place in usual]
    for place in folders:
        for name in names:
            if (place / name).exists():
                return place / name
    if mirror is not None and published is not None:
        if not folders:
            raise InputError(
                f"mirror is {mirror!r}, but there is no folder to fetch to; set data.root or {ROOT_VARIABLE}"
            )
        fetch(mirror, published, folders[0])
        return find(root, folder, names, f"{mirror}/{published.name} does not hold it", usual)
    looked = ", ".join(map(str, folders)) or "no folder, since none is named"
    raise InputError(
        f"{names[0]}: no such file (looked in {looked}); set data.root or the environment variable {ROOT_VARIABLE}. "
        f"{hint}"
    )
