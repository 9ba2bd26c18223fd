"""Looks for data files in the folders where they may be."""

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
    """Returns the path of a file or folder that may have several names.

    It is looked for in ``root/folder`` and in ``root``. Without a root, the environment variable ASYNCOPT_DATA is the
    root, and the ``usual`` folders come after it. If it is in none and there is a mirror, it is fetched into the first
    of these folders.

    Args:
      root: the folder where the user keeps data, or None.
      folder: the data set's own folder in the root.
      names: the names it may have, plain and compressed, say; the first that exists is returned.
      hint: a sentence for the message that says where to get it.
      usual: folders in which packages put it.
      mirror: address of a folder with the published file, or None.
      published: the file to fetch from the mirror, or None.

    Raises:
      InputError: if there is no such file, with the folders looked in and the hint; or if it cannot be fetched.
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
