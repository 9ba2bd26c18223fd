"""Where files of data are looked for, and what is said if they are not there."""

import os
import pathlib
from collections.abc import Sequence

from asyncopt.checks import InputError

ROOT_VARIABLE = "ASYNCOPT_DATA"


def find(
    root: str | os.PathLike[str] | None, folder: str, names: Sequence[str], hint: str, usual: Sequence[str] = ()
) -> pathlib.Path:
    """Returns the first file that exists of several names for it, in the first folder that has one.

    Looked at are ``root/folder`` and ``root`` itself, or without a root those of the environment variable
    ASYNCOPT_DATA, and ``usual`` places after it.

    Args:
      root: where the user keeps data, or None.
      folder: the data set's own folder below it.
      names: of the file, as in plain and compressed.
      hint: where to get it.
      usual: folders in which packages put it.

    Raises:
      InputError: if no such file is found; the message says where it was looked for, and the hint.
    """
    chosen = root if root is not None else os.environ.get(ROOT_VARIABLE)
    folders = [] if chosen is None else [pathlib.Path(chosen) / folder, pathlib.Path(chosen)]
    if root is None:
        folders += [pathlib.Path(place) for place in usual]
    for place in folders:
        for name in names:
            if (place / name).is_file():
                return place / name
    looked = ", ".join(map(str, folders)) or "no folder, since none is named"
    raise InputError(
        f"{names[0]}: no such file (looked in {looked}); set data.root or the environment variable {ROOT_VARIABLE}. "
        f"{hint}"
    )
