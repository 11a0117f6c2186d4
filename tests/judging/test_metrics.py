"""Metrics against closed forms, brute force and the peer (uncertainty-toolbox)."""

import numpy as np
import pytest
from mliuq.errors import MliuqError
from mliuq.judging import metrics
from scipy.stats import kstest, norm, spearmanr


@pytest.fixture(scope="module")
def honest() -> tuple[np.ndarray, np.ndarray]:
    """Errors drawn from the predicted Gaussians, stds over a decade."""
    rng = np.random.default_rng(1)
    std = 10 ** rng.uniform(-2, -1, 20000)
    return std * rng.standard_normal(std.size), std


def test_honest_error_bars_score_as_honest(honest):
    error, std = honest
    assert metrics.rms_z(error, std) == pytest.approx(1, abs=0.02)
    assert metrics.mean_abs_z(error, std) == pytest.approx(np.sqrt(2 / np.pi), abs=0.02)
    assert metrics.coverage(error, std, 1) == pytest.approx(0.6827, abs=0.01)
    assert metrics.coverage(error, std, 2) == pytest.approx(0.9545, abs=0.01)
    assert metrics.miscalibration_area(error, std) < 0.01
    assert metrics.ence(error, std) < 0.05
    assert kstest(metrics.pit(error, std), "uniform").pvalue > 0.01


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_wrong_size_shows(honest, scale):
    error, std = honest
    assert metrics.rms_z(error, scale * std) == pytest.approx(metrics.rms_z(error, std) / scale)
    assert metrics.ence(error, scale * std) == pytest.approx(abs(1 - 1 / scale), abs=0.05)
    assert metrics.miscalibration_area(error, scale * std) > 0.1
    assert metrics.crps(error, scale * std) > metrics.crps(error, std)
    assert metrics.nll(error, scale * std) > metrics.nll(error, std)


def test_crps_is_the_integral_it_claims():
    error, std = np.array([0.3, -1.2]), np.array([0.5, 0.9])
    x = np.linspace(-20, 20, 400001)
    for e, s in zip(error, std, strict=True):
        integrand = (norm.cdf(x / s) - (x >= e)) ** 2
        assert metrics.crps(np.array([e]), np.array([s])) == pytest.approx(np.trapezoid(integrand, x), rel=1e-3)


def test_crps_of_members_is_the_double_sum_and_tends_to_the_gaussian():
    rng = np.random.default_rng(2)
    members, y = rng.standard_normal((7, 5)), rng.standard_normal(5)
    double = np.abs(members[:, None] - members[None]).mean(axis=(0, 1))
    assert metrics.crps_members(y, members) == pytest.approx(np.mean(np.abs(members - y).mean(0) - 0.5 * double))
    many = 0.7 * rng.standard_normal((20000, 5))
    assert metrics.crps_members(y, many) == pytest.approx(metrics.crps(y, np.full(5, 0.7)), rel=0.01)


def test_pit_of_members_counts_ties_half():
    assert metrics.pit_members(np.array([1.0]), np.array([[0.0], [1.0], [2.0], [3.0]])) == pytest.approx([0.375])


def test_area_is_the_area_of_the_curve(honest):
    error, std = honest[0][:300], 1.4 * honest[1][:300]
    expected, observed = metrics.coverage_curve(error, std, points=200001)
    assert metrics.miscalibration_area(error, std) == pytest.approx(
        np.trapezoid(np.abs(observed - expected), expected), abs=1e-5
    )


def test_auc_is_the_fraction_of_ordered_pairs():
    rng = np.random.default_rng(3)
    error, std = rng.standard_normal(200), rng.integers(1, 20, 200).astype(float)
    large = np.abs(error) > np.quantile(np.abs(error), 0.9)
    pairs = std[large][:, None] - std[~large][None]
    assert metrics.auc_large_errors(error, std) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert metrics.spearman(error, std) == pytest.approx(spearmanr(np.abs(error), std).statistic)


def test_constant_width_tells_nothing_apart(honest):
    error = honest[0]
    constant = np.full_like(error, 0.1)
    assert metrics.auc_large_errors(error, constant) == 0.5
    assert np.isnan(metrics.spearman(error, constant))


def test_agrees_with_uncertainty_toolbox(honest):
    toolbox = pytest.importorskip("uncertainty_toolbox.metrics")
    calibration = pytest.importorskip("uncertainty_toolbox.metrics_calibration")
    error, std = honest[0][:2000], 0.8 * honest[1][:2000]
    zero = np.zeros_like(error)
    assert metrics.crps(error, std) == pytest.approx(toolbox.crps_gaussian(zero, std, error), rel=1e-10)
    assert metrics.nll(error, std) == pytest.approx(toolbox.nll_gaussian(zero, std, error), rel=1e-10)
    assert metrics.sharpness(std) == pytest.approx(toolbox.sharpness(std), rel=1e-12)
    assert metrics.miscalibration_area(error, std) == pytest.approx(
        toolbox.miscalibration_area(zero, std, error), abs=2e-3
    )
    expected, observed = calibration.get_proportion_lists_vectorized(zero, std, error)
    ours = metrics.coverage_curve(error, std, points=len(expected))
    assert np.allclose(ours[0], expected)
    assert np.allclose(ours[1], observed, atol=2e-3)


def test_summary_and_classes(honest):
    error, std = honest[0][:1000], honest[1][:1000]
    label = np.where(np.arange(1000) % 4 == 0, "liquid", "bcc")
    all_rows = metrics.summarize(error, std, envelope=(-3 * std, 3 * std))
    classes = metrics.by_class(error, std, label.tolist(), envelope=(-3 * std, 3 * std))
    assert list(classes) == ["bcc", "liquid"]
    assert classes["liquid"].count == 250
    total = sum(c.count * c.rms_z**2 for c in classes.values()) / all_rows.count
    assert total == pytest.approx(all_rows.rms_z**2)
    assert all_rows.envelope == pytest.approx(1 - metrics.coverage(error, std, 3))


def test_one_row_is_enough():
    assert metrics.summarize(np.array([0.1]), np.array([0.2])).rms_z == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("error", "std", "says"),
    [
        ([1.0, 2.0], [1.0], "one shape"),
        ([], [], "n ≥ 1"),
        ([np.nan], [1.0], "finite"),
        ([1.0, 1.0], [1.0, 0.0], "row 1"),
    ],
)
def test_bad_input_is_named(error, std, says):
    with pytest.raises(MliuqError, match=says):
        metrics.rms_z(np.array(error), np.array(std))


def test_rows_zero_by_symmetry_are_found():
    kind = np.array([1, 1, 1, 1, 2, 0], dtype=np.int8)
    size = np.array([1.0, 2.0, 1e-9, 0.0, 1e-9, 1e-9])
    assert metrics.informative(kind, size).tolist() == [True, True, False, False, True, True]


def test_no_energy_is_zero_by_symmetry_whatever_one_far_configuration_does():
    """Rows of a hundred energies and forces beside one dimer a thousand times as large: all but exact zeros stay."""
    rng = np.random.default_rng(0)
    kind = np.repeat(np.array([0, 1, 2], dtype=np.int8), 100)
    size = rng.uniform(0.5, 1.5, 300)
    size[[5, 105, 205]] = 1e3
    size[[7, 8]] = 0.0, 1e-9
    zero = [110, 111, 210]
    size[zero] = 0.0, 1e-13, 1e-12
    found = metrics.informative(kind, size)
    assert np.flatnonzero(~found).tolist() == zero
    assert not metrics.informative(kind[100:], np.zeros(200)).any()
    assert metrics.informative(kind[:3], np.zeros(3)).all()


def test_independent_errors_of_known_correlations():
    assert metrics.independent(np.diag([1.0, 4.0, 9.0])) == pytest.approx(3)
    assert metrics.independent(np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])) == pytest.approx(1)
    blocks = np.kron(np.diag([1.0, 5.0]), np.ones((4, 4)))
    assert metrics.independent(blocks) == pytest.approx(2)
    with pytest.raises(MliuqError, match="variances above 0"):
        metrics.independent(np.zeros((2, 2)))


def test_rms_z_of_a_group_scatters_as_its_independent_errors_say():
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((40, 3))
    covariance = factor @ factor.T + 0.1 * np.eye(40)
    errors = rng.multivariate_normal(np.zeros(40), covariance, 4000)
    rms_z = np.sqrt(np.mean(errors**2 / np.diagonal(covariance), axis=1))
    worth = metrics.independent(covariance)
    assert np.var(rms_z**2) == pytest.approx(2 / worth, rel=0.1)
    low, high = metrics.rms_z_range(worth)
    assert np.mean((rms_z > low) & (rms_z < high)) == pytest.approx(0.9, abs=0.03)
