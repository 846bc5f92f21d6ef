import pytest
import torch

from lib import FrequencyDataset, SignalSpec, StatefulLSTMExtractor
from lib.run.booklet import find_browser


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def spec() -> SignalSpec:
    """A small specification with numbers unlike the assignment's, so that nothing can lean on those."""
    return SignalSpec(frequencies=(2.0, 5.0, 9.0), sample_rate=200.0, duration=0.6)


@pytest.fixture
def dataset(spec) -> FrequencyDataset:
    return FrequencyDataset(spec, noise_seed=1)


@pytest.fixture
def model(spec) -> StatefulLSTMExtractor:
    return StatefulLSTMExtractor(n_frequencies=spec.n_frequencies, hidden_size=6, head_size=5)


def pytest_addoption(parser):
    parser.addoption("--executed", help="folder of a run of the series that the tests judge instead of making one")


def pytest_runtest_setup(item):
    if item.get_closest_marker("browser") and not find_browser():
        pytest.skip("needs chromium")
