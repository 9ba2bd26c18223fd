"""Damaged files again, chosen by the code that they reach: ``python -m tests.fuzz.guided --inputs 10000``.

`atheris <https://github.com/google/atheris>`_ changes the bytes of a file, and keeps each change that reaches new code
of the reader. It is in the extra ``dev``, on Linux. Each kind of file has a process of its own, since libFuzzer ends
the process.
"""

import argparse
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

READERS = ["asyncopt.checks", "asyncopt.files", "asyncopt.traces", "asyncopt.problems.data"]


def fuzz(name, inputs):
    """Gives the reader of one kind of file so many inputs, and ends the process; a failure with a traceback."""
    import atheris

    with atheris.instrument_imports(include=READERS):
        from tests.fuzz.test_readers import FORMATS, check_read
    (kind,) = (kind for kind in FORMATS if kind.name == name)

    def check(content):
        try:
            check_read(kind, path, content)
        except BaseException:
            print(f"of the bytes {content!r}", flush=True)
            raise

    with tempfile.TemporaryDirectory() as folder:
        path, corpus = pathlib.Path(folder, name), pathlib.Path(folder, "corpus")
        kind.write(path)
        corpus.mkdir()
        (corpus / "whole").write_bytes(path.read_bytes())
        options = [f"-runs={inputs}", "-max_len=4096", "-timeout=10", f"-artifact_prefix={folder}/"]
        atheris.Setup([sys.argv[0], *options, str(corpus)], check)
        atheris.Fuzz()


def main():
    """Fuzzes every kind of file, or one; returns 1 if a reader failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1000, help="for each kind of file")
    parser.add_argument("--only", metavar="NAME", help="one kind of file")
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("left out: atheris is not installed (pip install '.[dev]')")
        return 0
    if options.only:
        fuzz(options.only, options.inputs)
    from tests.fuzz.test_readers import FORMATS

    failed = []
    for kind in FORMATS:
        command = [sys.executable, "-m", "tests.fuzz.guided", "--inputs", str(options.inputs), "--only", kind.name]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        # The traceback is on the standard output, what libFuzzer says on the standard error.
        print(f"{kind.name}: {ended.stdout}", *ended.stderr.splitlines()[-1:], flush=True)
        if ended.returncode:
            failed.append(kind.name)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
