"""Data and losses of one's own: right where there is an answer to compare with, and refused with the place if not."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
import scipy.sparse
import sklearn.datasets

import asyncopt
from asyncopt import InputError, traces
from asyncopt.problems import data, from_loss, logistic

ROWS = np.random.default_rng(0).normal(size=(2_500, 3))
TARGETS = ROWS @ [1.0, -2.0, 0.5] + np.random.default_rng(1).normal(size=2_500)


def squares(weights, rows):
    features, targets = rows
    return jnp.mean((features @ weights - targets) ** 2)


def test_least_squares_end_at_numpys_solution():
    solution, residuals, *_ = np.linalg.lstsq(ROWS, TARGETS)
    optimum = float(residuals[0]) / len(ROWS)
    problem = from_loss(lambda key: jnp.zeros(3), squares, (ROWS, TARGETS), batch_size=64, optimum=optimum)
    assert problem.objective(jnp.asarray(solution)) == pytest.approx(optimum, rel=1e-12)
    assert problem.objective(jnp.ones(3)) == pytest.approx(np.mean((ROWS @ np.ones(3) - TARGETS) ** 2), rel=1e-12)
    run = asyncopt.replay(problem, asyncopt.apam(0.003), traces.uniform(3_000, 10))
    np.testing.assert_allclose(run.average, solution, atol=0.1)
    assert run.gap[-1] < 0.01 < run.gap[0]
    assert (run.gap > -1e-12).all()
    assert repr(problem) == f"FromLoss(squares, 3 parameters, F* = {optimum:.6g})"


FEATURES, LABELS = (jnp.asarray(part) for part in sklearn.datasets.load_iris(return_X_y=True))


def test_an_equinox_module_is_trained_and_its_static_part_kept():
    def cross_entropy(model, rows):
        return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(model)(rows[0]), rows[1]).mean()

    problem = from_loss(lambda key: eqx.nn.MLP(4, 3, 16, 1, key=key), cross_entropy, (FEATURES, LABELS))
    run = asyncopt.replay(problem, asyncopt.apam(0.01), traces.uniform(2_000, 5))
    found = jax.vmap(problem.model(run.params))(FEATURES).argmax(axis=1)
    assert (found == LABELS).mean() > 0.9


def test_flax_variables_are_trained():
    model = nn.Sequential([nn.Dense(16), nn.relu, nn.Dense(3)])

    def cross_entropy(variables, rows):
        return optax.softmax_cross_entropy_with_integer_labels(model.apply(variables, rows[0]), rows[1]).mean()

    problem = from_loss(lambda key: model.init(key, FEATURES[:1]), cross_entropy, (FEATURES, LABELS))
    run = asyncopt.replay(problem, asyncopt.apam(0.01), traces.uniform(400, 5), seeds=2)
    assert (run.objective[:, -1] < 0.5 * run.objective[:, 0]).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": ()}, "data has arrays of shapes"),
        ({"data": (ROWS, TARGETS[:-1])}, r"data has arrays of shapes \[\(2500, 3\), \(2499,\)\]"),
        ({"data": (jnp.zeros((0, 3)), jnp.zeros(0))}, "expected one number of rows, at least 1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"optimum": float("nan")}, "optimum is nan, expected a finite number"),
        ({"optimum": "0"}, "optimum is '0', expected a finite number"),
        ({"init": jnp.zeros(3)}, "init is .*, expected a function"),
        ({"data": data.digits()}, "data is Dataset.*, expected arrays, such as"),
        ({"loss": lambda weights, rows: rows[1]}, "loss returns .*, expected the mean loss of the rows"),
        ({"init": lambda key: jnp.arange(3)}, "init returns no array of floats"),
    ],
)
def test_a_loss_that_cannot_be_minimised(changed, message):
    arguments = {"init": lambda key: jnp.zeros(3), "loss": squares, "data": (ROWS, TARGETS)} | changed
    with pytest.raises(InputError, match=message):
        from_loss(**arguments)


def test_rows_from_arrays_tables_and_a_file_are_the_same_problem(tmp_path):
    features, labels = sklearn.datasets.load_breast_cancer(return_X_y=True, as_frame=True)
    names = np.array(["malignant", "benign"])[labels]
    table = features.assign(diagnosis=names)
    table.to_csv(tmp_path / "rows.csv", index=False)
    made = [
        data.from_arrays(features.to_numpy(), names),
        data.from_arrays(features, pd.Series(names)),
        data.from_arrays(scipy.sparse.csr_array(features.to_numpy()), list(names)),
        data.from_csv(tmp_path / "rows.csv", label="diagnosis"),
        data.from_csv(tmp_path / "rows.csv", label=30),
    ]
    for rows in made:
        dense = rows.features.toarray() if scipy.sparse.issparse(rows.features) else rows.features
        np.testing.assert_array_equal(dense, made[0].features)
        np.testing.assert_array_equal(rows.labels, made[0].labels)
    assert made[0].num_classes == 2
    # Classes are in the order of their names: benign, which scikit-learn has as 1, comes first here.
    together = np.r_[made[0].labels, made[0].test_labels]
    assert (together == 0).sum() == (labels == 1).sum()
    scaled = (features - features.mean()) / features.std(ddof=0)
    bundled = logistic("breast_cancer").optimum
    assert logistic(data.from_arrays(scaled, names)).optimum == pytest.approx(bundled, rel=1e-6)


def test_names_of_columns_may_be_pandas_numbers(tmp_path):
    pd.DataFrame([[1.5, 2.0, "a"], [3.0, 4.0, "b"]]).to_csv(tmp_path / "rows.csv", index=False)
    assert data.from_csv(tmp_path / "rows.csv", "2", test_fraction=0.0).features.tolist() == [[1.5, 2], [3, 4]]


def test_large_whole_numbers_are_classes_of_their_own(tmp_path):
    (tmp_path / "rows.csv").write_text("x,y\n1,9007199254740993\n2,9007199254740992\n3,9007199254740992\n")
    assert data.from_csv(tmp_path / "rows.csv", "y", test_fraction=0.0).labels.tolist() == [1, 0, 0]


def test_a_file_without_a_header(tmp_path):
    (tmp_path / "rows.csv").write_text("1,a,2\n3,b,4\n5,a,6\n")
    rows = data.from_csv(tmp_path / "rows.csv", np.int64(1), header=False, test_fraction=0.0)
    assert rows.features.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert rows.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize("labels", [[-1, 1, 1, -1], [2.0, 7.0, 7.0, 2.0], [False, True, True, False], list("abba")])
def test_labels_of_any_kind_are_numbered(labels):
    rows = data.from_arrays(np.eye(4), labels, test_fraction=0.0)
    assert rows.labels.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        ([[1.0], [np.nan]], [0, 1], "feature 0 of row 1 is nan, expected a finite number"),
        ([[1.0], ["x"]], [0, 1], "a feature is 'x', expected numbers"),
        ([[1.0], ["1_0"]], [0, 1], "a feature is '1_0', expected numbers"),
        ([[1.0], [2.0 + 1j]], [0, 1], "a feature is .*j.*, expected numbers"),
        ([[10**400], [1]], [0, 1], "a feature is too large"),
        ([[1.0], [None]], [0, 1], "a feature is None, expected numbers"),
        ([[1.0], [2.0, 3.0]], [0, 1], "features are no rows of one length"),
        (np.array([["2026-11-28"], ["2026-11-29"]], "datetime64[D]"), [0, 1], "a feature is datetime.date"),
        (scipy.sparse.csr_array(np.array([[np.inf], [1.0]])), [0, 1], "a feature is inf, expected finite numbers"),
        (scipy.sparse.csr_array(np.array([[1j], [1.0]])), [0, 1], "features have the dtype complex128"),
        ([1.0, 2.0], [0, 1], r"features has the shape \[2\]"),
        (np.zeros((0, 2)), [], r"features has the shape \[0, 2\]"),
        (np.eye(3), [0, 1], r"labels has the shape \[2\], expected 3"),
        (np.eye(2), [0.5, 1.0], "label 0 is 0.5, expected a class"),
        (np.eye(2), [np.nan, 1.0], "label 0 is nan, expected a class"),
        (np.eye(2), ["a", None], "label 1 is None, which is missing"),
        (np.eye(2), ["a", np.nan], "label 1 is nan, which is missing"),
        (np.eye(3), np.array([0, 0.5, 2], object), "label 1 is 0.5, expected a class"),
        (np.eye(2), pd.to_datetime(pd.Series(["2020", None])), "labels have the dtype datetime64"),
        (np.eye(2), np.array([1j, 0]), "labels have the dtype complex128"),
        (np.eye(2), np.ma.array([0, 1], mask=[0, 1]), "some values are masked"),
        (np.ma.array(np.eye(2), mask=np.eye(2)), [0, 1], "some values are masked"),
        (np.eye(2), [1, None], "label 1 is None, expected a whole number"),
        (np.eye(3), [2**53, 2**53 + 1, 2.0], "label 0 is 9007199254740992, a float"),
        (pd.DataFrame(np.eye(2)), pd.Series([0, 1], [1, 0]), "the same index in another order"),
        (np.eye(2), [1, 1], r"every label is \[1\], expected at least two classes"),
    ],
)
def test_arrays_that_are_no_data(features, labels, message):
    with pytest.raises(InputError, match=message):
        data.from_arrays(features, labels, test_fraction=0.0)


def test_a_name_is_a_text():
    rows, none = np.eye(2), np.zeros((0, 2))
    for make in (
        lambda: data.from_arrays(rows, [0, 1], name=3),
        lambda: data.Dataset(3, rows, np.arange(2), 2, none, np.arange(0)),
        lambda: data.RegressionData(3, rows, np.ones(2)),
    ):
        with pytest.raises(InputError, match="name is 3, expected a text"):
            make()


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        ("", "y", "0 rows, expected a header and one row"),
        ("x,y\n", "y", "1 rows, expected a header and one row"),
        ("x,y\n1,0\n2,1\n", "z", r"no column 'z', expected one of \['x', 'y'\]"),
        ("x,y\n1,0\n2,1\n", 2, "no column 2"),
        ("y\n1\n0\n", "y", "one column, expected features besides"),
        ("x,y\n1,0\n2\n", "y", "row 3: 1 cells, expected 2"),
        ("x,y\n1,0\n1_0,1\n", "y", "row 3: x is '1_0', expected a number"),
        ("x,y\n1,0\n2,\n", "y", "row 3: no label in 'y'"),
        ("1,0\n2,1\n", 1, r"the first row is \['1', '0'\], expected the names of the columns, or header=False"),
        ("5.1,3.5,setosa\n5,3,other\n", 2, "the first row is .*, expected the names of the columns, or header=False"),
        ("y,y\n1,0\n2,1\n", "y", "2 columns are named 'y', expected one, or its number from 0"),
        ("x,y\n1,0\n2,NA\n3,1\n", "y", "row 3: the label is 'NA', expected either numbers or texts in all rows"),
        ("x,y\n1,a\n2,b\n3,0\n", "y", "row 4: the label is '0', expected either numbers or texts in all rows"),
        ("x,y\n1,0\n2,nan\n", "y", "label 1 is nan, expected a class"),
        ("x,y\n1,0\ninf,1\n", "y", "feature 0 of row 1 is inf"),
        ('x,y\n"1,0\n', "y", "not a CSV text file"),
    ],
)
def test_a_file_that_is_no_table(text, label, message, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        data.from_csv(path, label)
    assert str(path) in str(raised.value)
