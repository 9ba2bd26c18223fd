"""Runs the suite with the newest and the oldest versions of what the package needs: ``nox -s newest oldest``.

uv chooses the versions. Arguments after ``--`` go to pytest: ``nox -s newest-3.13 -- tests/optim``.
"""

import nox

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["newest", "oldest"]
PYTHONS = ["3.11", "3.12", "3.13"]


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """With the newest versions, for each Python."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """With the oldest versions that pyproject.toml allows. What old versions say of each other is no error of ours."""
    session.install("--resolution", "lowest-direct", ".[test]")
    session.run("pytest", "-W", "default::DeprecationWarning", *session.posargs)


@nox.session(python=PYTHONS[0])
@nox.parametrize("room", ["traces", "plan", "theory", "analysis"])
def mutants(session: nox.Session, room: str) -> None:
    """Says which small mistakes in a room the tests would not notice."""
    session.install(".[test]", "cosmic-ray>=8.4")
    session.run("python", "-m", "tests.mutants", room, *session.posargs)
