"""Reports in tests: without pictures, unless a test is about them."""

import pytest

from asyncopt.drawing import style


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
    """Writes empty files in place of pictures, which take two thirds of a report's time, but for tests that are marked.

    What fixtures of a module or session write has its pictures.
    """
    if request.node.get_closest_marker("draws") is None:
        monkeypatch.setattr(style, "save", lambda figure, path: path.write_bytes(b""))
