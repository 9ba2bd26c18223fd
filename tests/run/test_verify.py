"""Recorded runs from the command line, and the command that says whether a replay is the run."""

import dataclasses
import json
import shutil

import hydra
import numpy as np
import pytest

from asyncopt import InputError, traces
from asyncopt.files import manifest, npz, records
from asyncopt.run import execute, verification
from asyncopt.run.command_line import CONFIG_FOLDER
from asyncopt.runtime import recording
from asyncopt.traces.trace import FILE_KIND

pytestmark = pytest.mark.usefixtures("same_environment")


def composed(*overrides):
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return hydra.compose("config", ["problem=quadratic", "progress=false", "plot=false", *overrides])


def configured(*overrides):
    return composed("runtime=threads", "runtime.workers=3", "trace.num_updates=80", *overrides)


def record_into(folder, *overrides):
    """Makes a real run, with one thread a device as the command line has it; returns its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PJRT_NPROC", "1")
        execute.run(configured(*overrides), folder)
    return folder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    return record_into(folder, "runtime.reads=blocks", "runtime.num_blocks=3", "seeds=[5]")


def test_a_recorded_run_is_a_run(recorded):
    record = records.load_run(recorded)
    assert record.metrics["seed"].unique() == [5]
    assert record.metrics["time"].iloc[-1] == traces.load(recorded / "trace.npz").time[-1]
    facts = record.summary["runtime"]
    assert facts["updates_per_second"] > 0
    assert (facts["workers_replaced"], facts["gradients_refused"], facts["incidents"]) == (0, 0, [])
    assert record.summary["trace"]["num_workers"] == 3


def test_its_replay_is_the_run(recorded, capsys):
    assert verification.main([str(recorded), "--quiet"]) == 0
    assert "80 updates of 3 workers: every iterate is bit-identical to the recorded one" in capsys.readouterr().out


@pytest.mark.parametrize(
    "overrides",
    [
        ("policy=rennala", "policy.batch=7"),  # the last step uses more gradients than were asked for
        ("policy=ringmaster", "policy.max_delay=2"),
        ("policy=ringleader", "+handling=gradient_table", "handling.rounds=true"),
        ("policy=buffered", "problem=logistic", "data=digits_of_workers"),
    ],
)
def test_the_replay_of_a_server_that_decides_is_the_run(overrides, tmp_path, capsys):
    record_into(tmp_path, *overrides)
    record = records.load_run(tmp_path)
    assert record.summary["trace"]["num_updates"] >= 80
    assert record.metrics["step"].iloc[-1] == record.summary["trace"]["num_updates"]
    assert verification.main([str(tmp_path), "--quiet"]) == 0
    assert "every iterate is bit-identical to the recorded one" in capsys.readouterr().out


def test_all_updates_in_one_step(tmp_path, capsys):
    """Then there is no rate to show."""
    record_into(tmp_path, "policy=buffered", "policy.size=200")
    assert "80 updates" not in capsys.readouterr().out
    assert records.load_run(tmp_path).summary["runtime"]["updates_per_second"] is None
    assert verification.main([str(tmp_path), "--quiet"]) == 0


def test_another_number_of_workers_is_noticed(recorded):
    record = records.load_run(recorded)
    changed = dict(record.config) | {"runtime": dict(record.config["runtime"]) | {"workers": 5}}
    with pytest.MonkeyPatch.context() as patch:
        load = records.load_run
        patch.setattr(
            records, "load_run", lambda *args, **more: dataclasses.replace(load(*args, **more), config=changed)
        )
        assert "runtime.workers is 5, and trace.npz has 3 workers" in verification.verify(recorded).text


def test_labels_name_the_policy_and_the_work(tmp_path):
    record_into(tmp_path / "real", "policy=ringmaster", "policy.max_delay=2")
    labels = records.load_run(tmp_path / "real").labels
    assert labels["method"] == "APAM, ringmaster, max delay 2, stops"
    assert labels["trace"] == "ringmaster, max delay 2, stops"
    methods = []
    for more in ([], ["work.num_steps=[1,2,3]", "work.keep_state=true"]):
        options = ["+work=local_steps", "trace=policy", "trace.num_workers=3", "trace.num_updates=20", *more]
        execute.run(composed(*options), tmp_path / str(len(more)))
        methods.append(records.load_run(tmp_path / str(len(more))).labels["method"])
    assert methods == [
        "APAM, asynchronous, waits, 20 local steps of sgd",
        "APAM, asynchronous, waits, local steps, 1, 2, 3 of sgd, state kept",
    ]


def test_a_run_that_was_recorded_before_there_were_policies(recorded):
    record = records.load_run(recorded)
    old = {key: value for key, value in record.config.items() if key not in ("policy", "work")}
    with pytest.MonkeyPatch.context() as patch:
        load = records.load_run
        patch.setattr(records, "load_run", lambda *args, **more: dataclasses.replace(load(*args, **more), config=old))
        assert verification.verify(recorded).differs_at is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("policy=rounds",), "policy: .*Rounds changes nothing about asyncopt.traces.uniform, expected trace=policy"),
        (("runtime=threads", "policy=rounds", "runtime.synchronous=true"), "a policy is given, expected one"),
        (("runtime=threads", "policy=ringleader"), "policy: ringleader steps with a table of gradients, expected"),
        (("trace=policy", "policy=ringleader"), "policy: ringleader steps with a table of gradients, expected"),
        (("runtime=threads", "policy=rennala", "policy.batch=0"), "policy: batch is 0, expected an integer"),
    ],
)
def test_policies_that_change_nothing_or_do_not_fit(overrides, message, tmp_path):
    with pytest.raises(InputError, match=message):
        execute.run(composed(*overrides), tmp_path)


def test_the_replay_of_its_trace_file_agrees(recorded, tmp_path):
    config = composed("trace=file", f"trace.path={recorded / 'trace.npz'}", "seeds=[5]")
    execute.run(config, tmp_path)
    replayed, real = (records.load_run(folder).metrics for folder in (tmp_path, recorded))
    for column in ("objective", "average_objective", "drift", "time"):
        np.testing.assert_allclose(replayed[column], real[column], rtol=1e-9, atol=1e-12)


def tampered(recorded, folder, **fields):
    """Copies a recorded run with another trace."""
    shutil.copytree(recorded, folder)
    trace = traces.load(recorded / "trace.npz")
    names = ("read_version", "read_end", "block_version", "worker", "time", "arrival", "sample", "num_workers")
    given = {name: getattr(trace, name) for name in names} | fields
    traces.Trace(given.pop("read_version"), **given).save(folder / "trace.npz")
    return folder


def test_the_first_update_that_differs_is_named(recorded, tmp_path, capsys):
    trace = traces.load(recorded / "trace.npz")
    sample = trace.sample.copy()
    sample[33] += 1000
    folder = tampered(recorded, tmp_path / "sample", sample=sample)
    assert verification.main([str(folder), "--quiet"]) == 1
    said = capsys.readouterr().out
    assert f"differs first at update 33: worker {trace.worker[33]}, sample {sample[33]}, read at iterate" in said
    blocks = trace.block_version if trace.block_version is not None else trace.read_version[:, None].repeat(3, axis=1)
    blocks = blocks.copy()
    blocks[50, 2] = max(blocks[50, 2] - 5, 0)
    ends = {"read_version": blocks.min(axis=1), "read_end": blocks.max(axis=1)}
    folder = tampered(recorded, tmp_path / "block", block_version=blocks, **ends)
    assert verification.verify(folder).differs_at == 50


def test_other_versions_are_named_where_a_replay_differs(recorded, tmp_path):
    folder = tampered(recorded, tmp_path / "old", sample=traces.load(recorded / "trace.npz").sample + 7)
    facts = json.loads((folder / "summary.json").read_text())
    facts["versions"]["jax"] = "0.0.1"
    (folder / "summary.json").write_text(json.dumps(facts))
    found = verification.verify(folder)
    assert found.differs_at == 0
    assert "jax was 0.0.1, is " in found.text


def test_the_optimizers_state_at_the_end_counts(recorded, tmp_path):
    folder = tampered(recorded, tmp_path / "state")
    fields = npz.read(folder / "recording.npz", recording._KIND)
    last = fields[f"leaf_{sum(name.startswith('leaf_') for name in fields) - 1}"].copy()
    last[0] ^= 1
    fields[f"leaf_{sum(name.startswith('leaf_') for name in fields) - 1}"] = last
    npz.write(folder / "recording.npz", recording._KIND, fields)
    found = verification.verify(folder)
    assert found.differs_at == 80
    assert "every iterate is the recorded one, but the last state is not: optimizer_state" in found.text
    assert "recording.npz is not the file that was written" in found.text


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("worker", lambda trace: {"worker": np.roll(trace.worker, 1)}),
        ("time", lambda trace: {"time": trace.time * 2}),
        ("arrival", lambda trace: {"arrival": trace.arrival * 0.5}),
        ("num_workers", lambda trace: {"num_workers": 9}),
    ],
)
def test_what_no_iterate_depends_on_is_compared_too(recorded, field, change, tmp_path):
    folder = tampered(recorded, tmp_path / field, **change(traces.load(recorded / "trace.npz")))
    found = verification.verify(folder)
    assert found.differs_at == 80
    assert "trace.npz is not the file that was written" in found.text
    assert "summary.json is not what the replay gives: trace" in found.text
    manifest.write(folder, manifest.read(folder))  # whoever changes the list as well has changed other facts
    assert "summary.json is not what the replay gives: trace" in verification.verify(folder).text


def test_measurements_are_compared(recorded, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(recorded, folder)
    metrics = records.load_run(folder).metrics
    metrics.assign(gap=metrics["gap"] * 0.1).to_parquet(folder / records.METRICS, index=False)
    manifest.write(folder, manifest.read(folder))
    found = verification.verify(folder)
    assert found.differs_at == 80
    assert found.text == "metrics.parquet is not what the replay measures: gap"


@pytest.mark.parametrize("name", ["compute_seconds", "digests"])
def test_a_changed_recording_is_named(recorded, name, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(recorded, folder)
    fields = npz.read(folder / "recording.npz", recording._KIND)
    changed = fields[name].copy()
    changed[40] += 1
    npz.write(folder / "recording.npz", recording._KIND, fields | {name: changed})
    found = verification.verify(folder)
    assert found.differs_at == (40 if name == "digests" else 80)
    assert "recording.npz is not the file that was written" in found.text


@pytest.mark.parametrize("left", [[], ["config.yaml", "metrics.parquet", "summary.json", "trace.npz"]])
def test_a_shorter_list_of_checksums_is_noticed(recorded, left, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(recorded, folder)
    manifest.write(folder, left)
    assert "SHA256SUMS does not list recording.npz" in verification.verify(folder).text
    (folder / "SHA256SUMS").unlink()
    assert "SHA256SUMS does not list recording.npz" in verification.verify(folder).text


def test_tables_of_other_types_are_no_traceback(recorded, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(recorded, folder)
    metrics = records.load_run(folder).metrics
    metrics.assign(gap="x").to_parquet(folder / records.METRICS, index=False)
    facts = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(facts | {"versions": [1]}))
    assert "metrics.parquet is not what the replay measures: gap" in verification.verify(folder).text


def test_a_fingerprint_that_was_changed_is_noticed(recorded, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(recorded, folder)
    facts = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(facts | {"fingerprint": "0" * 64}))
    assert verification.verify(folder).text == "summary.json is not the file that was written"


def test_a_read_version_older_than_every_block_is_refused(recorded, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(recorded, folder)
    fields = npz.read(folder / "trace.npz", FILE_KIND)
    fields.setdefault("block_version", fields["read_version"][:, None].repeat(3, axis=1))
    fields["read_version"][60:] -= 20
    npz.write(folder / "trace.npz", FILE_KIND, fields)
    with pytest.raises(InputError, match=r"trace\.npz: read_version"):
        verification.verify(folder)


def test_refuses_what_is_no_recorded_run(recorded, tmp_path, capsys):
    assert verification.main([str(tmp_path)]) == 1
    assert "not a finished run, it has no config.yaml" in capsys.readouterr().err
    folder = tampered(recorded, tmp_path / "short")
    fields = npz.read(folder / "recording.npz", recording._KIND)
    npz.write(folder / "recording.npz", recording._KIND, fields | {"digests": fields["digests"][:-1]})
    with pytest.raises(InputError, match="digests, expected uint64 for each of the 80 updates"):
        verification.verify(folder)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seeds=2"], r"seeds is 2 .*, expected one seed, seeds=\[0\]"),
        (["history_dtype=float32"], "expected one seed, .* history_dtype=null"),
        (["trace=uniform"], "trace: a real run makes its own, expected no asyncopt.traces.uniform"),
        (["trace.num_updates=0"], "trace: num_updates is 0"),
        (["runtime.workers=0"], "runtime.workers is 0"),
        (["runtime.reads=some"], "runtime: reads is 'some'"),
        (["runtime.synchronous=true"], "runtime.synchronous: rounds are for an optimizer that steps once a round"),
        (["staleness=3"], "staleness is 3"),
        (["optimizer=sgd", "optimizer.learning_rate=1e200"], "runtime: the run diverged: iterate . is not finite"),
    ],
)
def test_bad_input(overrides, message, tmp_path):
    with pytest.raises(InputError, match=message):
        execute.run(configured(*overrides), tmp_path)


def test_a_recorded_trace_is_not_replayed_out_of_nothing(tmp_path):
    with pytest.raises(InputError, match="trace: trace=recorded is for real runs, expected runtime=threads"):
        execute.run(composed("trace=recorded"), tmp_path)


def test_rounds_from_the_command_line(tmp_path):
    rounds = ["+handling=buffer_updates", "handling.size=3", "handling.exponent=0.0", "trace.num_updates=81"]
    execute.run(configured("runtime.synchronous=true", *rounds), tmp_path)
    assert records.load_run(tmp_path).summary["trace"]["max_delay"] == 0
    assert verification.verify(tmp_path).differs_at is None
