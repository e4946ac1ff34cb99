"""The multi-scale sampler: batches to the number, equal ranks, whole coverage, exact resume."""

import random
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from mvit_lib.data import Key, MultiScaleSampler

SIZES = (160, 192, 256, 288, 320)
IMAGENET = 1_281_167


@pytest.mark.parametrize(
    ("rule", "world_size", "batches"),
    [
        ("paper", 1, (512, 355, 200, 158, 128)),
        ("paper", 8, (512, 355, 200, 158, 128)),
        ("cvnets-v0.1", 8, (328, 224, 128, 128, 128)),
        ("cvnets-v0.1", 1, (327, 227, 128, 128, 128)),
        ("cvnets-head", 8, (327, 227, 128, 101, 81)),
    ],
)
def test_batches_are_those_of_the_paper_and_of_the_code(rule, world_size, batches):
    sampler = MultiScaleSampler(1000, rule=rule, world_size=world_size)
    assert tuple(sampler.batches[size, size] for size in SIZES) == batches


def updates(seed: int, **options) -> int:
    """Steps of 300 epochs of ImageNet on 8 ranks."""
    sampler = MultiScaleSampler(IMAGENET, seed=seed, world_size=8, **options)
    total = 0
    for epoch in range(300):
        sampler.set_epoch(epoch)
        total += len(sampler)
    return total


def test_the_ordinary_sampler_takes_375_600_updates():
    assert updates(0, sizes=(256,), base_batch=128) == 375_600


@pytest.mark.parametrize(
    ("rule", "known"), [("paper", 178_017), ("cvnets-v0.1", 257_200), ("cvnets-head", 278_538)]
)
def test_updates_of_300_epochs_of_imagenet(rule, known):
    for seed in range(5):
        assert updates(seed, rule=rule) == pytest.approx(known, rel=0.005)


cases = st.fixed_dictionaries(
    {
        "num_samples": st.integers(1, 300),
        "sizes": st.lists(st.sampled_from([32, 48, (32, 64), 64]), min_size=1, max_size=4).map(tuple),
        "base_batch": st.integers(1, 40),
        "rule": st.sampled_from(["paper", "cvnets-v0.1", "cvnets-head"]),
        "seed": st.integers(0, 10**6),
    }
)


@given(cases, st.sampled_from([1, 2, 3, 8]), st.integers(0, 5))
def test_ranks_agree_and_cover_everything(case, world_size, epoch):
    ranks = [MultiScaleSampler(**case, rank=rank, world_size=world_size) for rank in range(world_size)]
    seen, shapes = Counter(), []
    for rank, sampler in enumerate(ranks):
        sampler.set_epoch(epoch)
        if rank == world_size - 1:
            random.seed(rank), random.random(), torch.manual_seed(rank), torch.rand(3)  # a stray draw
        steps = list(sampler)
        assert len(steps) == len(sampler)
        shapes.append([({(k.height, k.width, k.epoch) for k in step}, len(step)) for step in steps])
        for step in steps:
            assert len({(k.height, k.width) for k in step}) == 1
            assert len(step) == sampler.batches[step[0].height, step[0].width]
            seen.update(k.index for k in step)
    assert all(shape == shapes[0] for shape in shapes)
    assert seen.keys() == set(range(case["num_samples"]))


@given(cases, st.data())
def test_resuming_gives_the_steps_that_were_left(case, data):
    whole = MultiScaleSampler(**case)
    whole.set_epoch(3)
    steps = list(whole)
    consumed = data.draw(st.integers(0, len(steps)))
    resumed = MultiScaleSampler(**case)
    resumed.load_state_dict({"epoch": 3, "step": consumed})
    assert len(resumed) == len(steps) - consumed
    assert list(resumed) == steps[consumed:]
    assert list(resumed) == steps  # the pass after that is whole again
    resumed.set_epoch(4)
    whole.set_epoch(4)
    assert list(resumed) == list(whole)


def test_epochs_and_seeds_differ():
    def steps(seed, epoch):
        sampler = MultiScaleSampler(5000, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert steps(0, 0) == steps(0, 0)
    assert steps(0, 0) != steps(0, 1)
    assert steps(0, 0) != steps(1, 0)


def test_sizes_are_drawn_evenly_per_step():
    sampler = MultiScaleSampler(IMAGENET)
    drawn = Counter()
    for epoch in range(10):
        sampler.set_epoch(epoch)
        drawn.update(size for size, _ in sampler.plan())
    total = sum(drawn.values())
    for size in SIZES:
        assert drawn[size, size] / total == pytest.approx(0.2, abs=5 * (0.16 / total) ** 0.5)


class Echo(Dataset):
    """Gives back its key, as a tensor."""

    def __getitem__(self, key: Key) -> torch.Tensor:
        return torch.tensor(key)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_cannot_matter(workers):
    sampler = MultiScaleSampler(500, sizes=(32, 64), base_batch=16)
    loader = DataLoader(Echo(), batch_sampler=sampler, num_workers=workers)
    assert len(loader) == len(sampler)
    batches = [[Key(*row) for row in batch.tolist()] for batch in loader]
    assert batches == list(MultiScaleSampler(500, sizes=(32, 64), base_batch=16))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "linear"}, "rule='linear'.*'paper'"),
        ({"num_samples": 0}, "num_samples=0"),
        ({"sizes": ()}, r"sizes=\(\)"),
        ({"sizes": (0,)}, "sizes must be at least 1"),
        ({"base_batch": 0}, "base_batch=0"),
        ({"rank": 2, "world_size": 2}, "rank=2"),
    ],
)
def test_bad_arguments_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        MultiScaleSampler(**({"num_samples": 10} | options))


def test_a_step_beyond_the_epoch_is_named():
    sampler = MultiScaleSampler(1000)
    with pytest.raises(ValueError, match="step=999: epoch 2 has"):
        sampler.load_state_dict({"epoch": 2, "step": 999})
