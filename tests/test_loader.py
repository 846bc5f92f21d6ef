import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import FrequencyDataset, SignalSpec, StatefulDataLoader, assemble_inputs, generate


def test_forty_thousand_rows():
    dataset = FrequencyDataset(SignalSpec(), 1)
    assert len(dataset) == 40_000
    x, y = dataset[23_456]
    assert (x.shape, y.shape) == ((5,), (1,))
    assert (x.dtype, y.dtype) == (torch.float32, torch.float32)


def test_row_indexing(dataset, spec):
    signals = generate(spec, 1)
    for row in (0, 1, 119, 120, 239, 359):
        x, y = dataset[row]
        freq_idx, time_idx = row // 120, row % 120
        assert x[0] == pytest.approx(signals.mixed[time_idx], rel=1e-6)
        assert x[1:].tolist() == [float(i == freq_idx) for i in range(3)]
        assert y.item() == pytest.approx(signals.targets[freq_idx, time_idx], abs=1e-6)


@pytest.mark.parametrize("row", [-1, 360, 10**6])
def test_rows_outside_are_refused(dataset, row):
    with pytest.raises(IndexError, match=str(row)):
        dataset[row]


def test_all_frequencies_share_the_mixture(dataset):
    assert torch.equal(dataset.inputs[0, :, 0], dataset.inputs[2, :, 0])


@given(steps=st.integers(1, 120), layout=st.sampled_from(["parallel", "sequential"]))
@settings(max_examples=60, deadline=None)
def test_order_is_kept_for_every_cut(steps, layout):
    dataset = FrequencyDataset(SignalSpec(frequencies=(2.0, 5.0, 9.0), sample_rate=200.0, duration=0.6), 1)
    loader = StatefulDataLoader(dataset, steps=steps, layout=layout)
    batches = list(loader)
    assert len(batches) == len(loader)
    seen = {lane: [] for lane in range(3)}
    for batch in batches:
        assert batch.x.shape[:2] == batch.y.shape[:2] == (len(batch.freq_idx), len(batch.time_range))
        assert batch.is_first_batch == (batch.time_range.start == 0)
        assert batch.is_last_batch == (batch.time_range.stop == 120)
        assert len(batch.freq_idx) == (3 if layout == "parallel" else 1)
        for lane, x, y in zip(batch.freq_idx.tolist(), batch.x, batch.y, strict=True):
            for k, t in enumerate(batch.time_range):
                row = dataset[lane * 120 + t]
                assert torch.equal(x[k], row[0])
                assert torch.equal(y[k], row[1])
            seen[lane] += batch.time_range
    assert all(times == list(range(120)) for times in seen.values())


def test_sequential_finishes_a_frequency_before_the_next(dataset):
    order = [batch.freq_idx.item() for batch in StatefulDataLoader(dataset, steps=50, layout="sequential")]
    assert order == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_shuffling_is_refused_with_the_reason(dataset):
    with pytest.raises(ValueError, match="state carried"):
        StatefulDataLoader(dataset, shuffle=True)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("steps", 0), ("steps", 121), ("steps", 1.5), ("steps", True), ("layout", "x")],
)
def test_bad_arguments_are_refused_by_name(dataset, argument, value):
    with pytest.raises(ValueError, match=f"{argument} = "):
        StatefulDataLoader(dataset, **{argument: value})


def test_lanes_of_many_seeds(spec):
    mixed = generate(spec, [7, 8]).mixed
    inputs = assemble_inputs(spec, mixed)
    assert inputs.shape == (6, 120, 4)
    np.testing.assert_allclose(inputs[4, :, 0], mixed[1], rtol=1e-6)
    assert inputs[4, 0, 1:].tolist() == [0, 1, 0]
