"""Whatever is wrong on the command line is said in one line, which names the key."""

import re

import hydra
import pytest

from asyncopt import InputError
from asyncopt.run import command_line, messages, settings


def said(*overrides):
    """Returns the line for what Hydra, or the check of the values, refuses."""
    try:
        with hydra.initialize_config_dir(str(command_line.CONFIG_FOLDER), version_base="1.3"):
            settings.checked(hydra.compose("config", list(overrides)))
    except Exception as error:
        return messages.explain(error, command_line._keys)
    return None


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trace.max_dely=3", "trace.max_dely: no such key, .* did you mean trace.max_delay?"),
        ("max_delay=3", "max_delay: no such key, .* did you mean trace.max_delay?"),
        ("foo/bar=3", "foo/bar: no such key, "),
        ("optimizer=apamm", "optimizer=apamm: no such option, expected one of adam, .*; did you mean apam?"),
        ("+sweep=nowhere", "sweep=nowhere: no such option, expected one of .*staleness"),
        ("trace=1e3", "an option of a group is a name, expected no number"),
        ("trace=true", "an option of a group is a name, expected no number, boolean"),
        ("trace=null", "an option of a group is a name, .* or null"),
        ("seeds=${nonexistent}", "seeds: Interpolation key 'nonexistent' not found, expected the name of another key"),
        ("seeds=${oc.env:NO_SUCH}", "seeds: KeyError .* 'NO_SUCH' not found.*, expected one that is set"),
        ("a=b=c", "a=b=c: mismatched input '=' .*, expected key=value; in quotes"),
        ("seeds='", "seeds=': LexerNoViableAltException"),
        ("+trace=uniform", "trace is given twice: it has a value already, expected trace=... without"),
        ("work=local_steps", r"work is off, expected \+work=NAME to choose one"),
        ("handling=drop_stale", r"handling is off, expected \+handling=NAME"),
        ("+policy=rounds", "policy is given twice"),
        ("data=digits_of_workers", "data.num_workers: the trace asyncopt.traces.uniform sets no workers, expected"),
        ("policy=rounds", "policy: asyncopt.traces.policies.Rounds changes nothing about .*uniform, expected trace="),
        ("~trace", "trace is missing, expected trace=..."),
        ("~seeds", "seeds is missing, expected seeds=..."),
        ("~optimizer.learning_rate", "optimizer.learning_rate is missing"),
        ("problem=null", "an option of a group is a name, .* or null"),
        ("+constraint=3", "an option of a group is a name"),
        ("handling=3", "an option of a group is a name"),
        ("~handling", "Could not delete .handling.*, expected ~NAME of a group that has an option"),
        ("+lr=3", "lr: no such key, and no other value refers to it"),
        ("optimizer.constraint=3", r"optimizer.constraint is 3, expected \+constraint=NAME"),
        ("+c=3", "c: no such key, and no other value"),
        ("plot=3", "plot is 3, expected true or false"),
        ("seeds=???", "seeds has no value, expected seeds=..."),
    ],
)
def test_what_is_wrong_is_said_in_one_line(override, expected):
    line = said(override)
    assert line is not None
    assert re.match(expected, line), line
    assert "expected" in line or "--help" in line, "it does not say what to do"
    assert "\n" not in line


def test_a_policy_is_chosen_without_a_plus():
    assert said("trace=policy", "+policy=rounds") == (
        "policy is given twice: it has a value already, expected policy=... without +"
    )


def test_a_value_of_ones_own_is_for_others_to_refer_to():
    assert said("+budget=500", "trace.num_updates=${budget}") is None
    assert said("+budget=500", "trace.num_updates=${..budget}") is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InputError("seeds is -1,\n expected more"), "seeds is -1, expected more"),
        (MemoryError("10 TB"), "not enough memory: 10 TB"),
        (ModuleNotFoundError("No module named 'ray'", name="ray"), "No module named 'ray'; expected pip install"),
        (RuntimeError("inside"), "RuntimeError: inside; HYDRA_FULL_ERROR=1 in the environment shows where"),
    ],
)
def test_other_errors(error, expected):
    assert messages.explain(error, list).startswith(expected)


def test_a_long_value_is_cut():
    assert len(messages.explain(InputError("x" * 10_000), list)) < 700


def test_a_command_line_that_is_wrong(command_lines, tmp_path):
    for override, status_and_line in {
        "trace.max_dely=3": "asyncopt: trace.max_dely: no such key",
        "+sweep=staleness": "asyncopt: the configuration is a sweep over trace.max_delay, expected the option -m",
        "trace.max_delay=-1": "asyncopt: trace: max_delay is -1",
    }.items():
        status, errors = command_lines(override, "hydra.run.dir=out", folder=tmp_path)
        assert status == 1
        assert len(errors.splitlines()) <= 2
        assert errors.splitlines()[-1].startswith(status_and_line)
