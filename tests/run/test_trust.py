"""A folder that somebody else wrote is data: no command runs code that it names."""

import copy
import os
import shutil
import sys

import pytest
from omegaconf import OmegaConf

from asyncopt import InputError
from asyncopt.files import manifest, records
from asyncopt.run import trust, verification
from tests.run.test_verify import record_into

pytestmark = pytest.mark.usefixtures("same_environment")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record_into(tmp_path_factory.mktemp("recorded"))


@pytest.fixture
def rewritten(recorded, tmp_path):
    """Returns a copy of the run's folder whose configuration was changed."""

    def write(change):
        folder = tmp_path / "run"
        shutil.copytree(recorded, folder)
        config = OmegaConf.to_container(OmegaConf.load(folder / records.CONFIG))
        change(config)
        (folder / records.CONFIG).write_text(OmegaConf.to_yaml(OmegaConf.create(config, flags={"allow_objects": True})))
        return folder

    return write


# Bytes from which pickle runs a shell command, as text that YAML can hold.
PICKLED = "cos\nsystem\n(S'touch ran'\ntR."
BYTES = {"_target_": "io.BytesIO", "_args_": [{"_target_": "codecs.encode", "_args_": [PICKLED, "latin1"]}]}
HARMFUL = {
    "pandas.read_pickle": {"_target_": "pandas.read_pickle", "filepath_or_buffer": BYTES},
    "joblib.load": {"_target_": "joblib.load", "filename": BYTES},
    "numpy.load": {"_target_": "numpy.load", "file": BYTES, "allow_pickle": True},
    "pathlib.Path.write_text": {
        "_target_": "pathlib.Path.write_text", "_args_": [{"_target_": "pathlib.Path", "_args_": ["ran"]}, "x"],
    },
    "its_own_module.make": {"_target_": "its_own_module.make"},
}  # fmt: skip
PLACES = {
    "a group": lambda config, node: config.update(problem=node),
    "an argument": lambda config, node: config["problem"].update(noise=node),
    "a list in an argument": lambda config, node: config["problem"].update(noise=[0.1, [node]]),
    "beside a known target": lambda config, node: config["optimizer"].update(_args_=[node]),
    "the trace": lambda config, node: config.update(trace=node),
    "the handling": lambda config, node: config.update(handling=node),
}


@pytest.fixture
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "its_own_module.py").write_text("import pathlib\npathlib.Path('ran').write_text('x')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # as `python -m` does
    yield tmp_path
    sys.modules.pop("its_own_module", None)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("target", HARMFUL)
def test_a_configuration_cannot_run_code(target, place, rewritten, in_a_folder_of_its_own, capsys):
    folder = rewritten(lambda config: PLACES[place](config, copy.deepcopy(HARMFUL[target])))
    assert verification.main([os.path.relpath(folder), "--quiet"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "config.yaml: " in line
    assert "_target_ is" in line or "_args_ is" in line
    assert not (in_a_folder_of_its_own / "ran").exists()
    assert "its_own_module" not in sys.modules


def test_through_a_link(rewritten, in_a_folder_of_its_own):
    folder = rewritten(lambda config: config.update(problem=HARMFUL["its_own_module.make"]))
    (in_a_folder_of_its_own / "link").symlink_to(folder)
    with pytest.raises(InputError, match=r"problem\._target_ is 'its_own_module.make'.*--trust"):
        verification.verify("link")
    assert not (in_a_folder_of_its_own / "ran").exists()


def test_what_the_user_trusts_may_run(rewritten, in_a_folder_of_its_own):
    (in_a_folder_of_its_own / "its_own_module.py").write_text(
        "import asyncopt, pathlib\n"
        "def make(**settings):\n    pathlib.Path('ran').touch()\n    return asyncopt.problems.quadratic(**settings)\n"
    )
    folder = rewritten(lambda config: config["problem"].update(_target_="its_own_module.make"))
    manifest.write(folder, manifest.read(folder))
    arguments = [str(folder), "--quiet", "--trust", "its_own_module.make"]
    assert verification.main(arguments) == 0
    assert (in_a_folder_of_its_own / "ran").exists()


@pytest.mark.parametrize("target", [["pandas.read_pickle"], {"name": "pandas.read_pickle"}, None, 3])
def test_a_target_is_a_name(target):
    with pytest.raises(InputError, match=r"config\.yaml: problem\._target_ is "):
        trust.check("config.yaml", {"problem": {"_target_": target}})


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "${nowhere}", "${oc.decode:'[1]'}"])
def test_interpolations_are_refused(value, rewritten):
    folder = rewritten(lambda config: config["problem"].update(noise=value))
    with pytest.raises(InputError, match=r"config\.yaml: problem\.noise is ['\"]\$\{"):
        verification.verify(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [1, 2]\nb: *a\n", "line 1 has 'a'"),
        ("a: !!python/object/apply:os.system ['touch ran']\n", "line 1 has 'tag:yaml.org,2002:python/object/apply"),
        ("x: 1\na: !!binary aGk=\n", "line 2 has 'tag:yaml.org,2002:binary'"),
    ],
)
def test_yaml_is_plain(text, message, rewritten, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = rewritten(lambda config: None)
    with open(folder / records.CONFIG, "a") as file:
        file.write("extra:\n" + "".join(f"  {line}\n" for line in text.splitlines()))
    with pytest.raises(InputError, match=r"config\.yaml: cannot be read: .* expected no tag, anchor or alias"):
        records.load_run(folder, checked=False)
    assert not (tmp_path / "ran").exists()


def test_every_shipped_constructor_is_known(recorded):
    """Against the configuration's own files: a run of any of them can be verified."""
    from asyncopt.run.command_line import CONFIG_FOLDER

    targets = set()
    for path in CONFIG_FOLDER.rglob("*.yaml"):
        if "hydra" not in path.parts:  # Hydra's launchers, which no run writes
            lines = path.read_text().partition("\nhydra:\n")[0].splitlines()  # nor Hydra's own section
            targets |= {line.split(": ", 1)[1] for line in lines if line.strip().startswith("_target_: ")}
    assert len(targets) > 30
    for target in targets:
        trust.check("config.yaml", {"problem": {"_target_": target}})


def test_an_installed_package_may_name_its_own(monkeypatch):
    from importlib import metadata

    entry = metadata.EntryPoint("mine", "my_package.optimizers:mine", trust.ENTRY_POINTS)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [entry] if group == trust.ENTRY_POINTS else [])
    trust._known.cache_clear()
    try:
        trust.check("config.yaml", {"optimizer": {"_target_": "my_package.optimizers.mine"}})
        with pytest.raises(InputError, match=r"my_package\.optimizers\.other"):
            trust.check("config.yaml", {"optimizer": {"_target_": "my_package.optimizers.other"}})
    finally:
        trust._known.cache_clear()
