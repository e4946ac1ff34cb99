"""What every dataset promises: items depend on (seed, epoch, index) alone, batches have one form per task."""

import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from mvit_lib.data import ImageFolder, Key, MultiScaleSampler, collate
from mvit_lib.data.folders import split_by_hash
from mvit_lib.data.items import Items
from mvit_lib.transforms import Boxes, Sample


def sample_of(task, index):
    """A picture of 12 × 8 pixels that tells its index, and a target that does."""
    image = Image.new("RGB", (12, 8), (index, 2 * index, 255))
    if task == "classify":
        return Sample(image, label=index)
    if task == "segment":
        return Sample(image, mask=Image.fromarray(np.full((8, 12), index, np.uint8)))
    corners = np.array([[0, 0, 6, 4]] * index, dtype=np.float32).reshape(-1, 4)
    return Sample(image, boxes=Boxes(corners, np.arange(1, index + 1), np.arange(index) % 2 == 1))


class Drawn(Items):
    def __init__(self, task="classify", size=(8, 12), transform=None, seed=0, length=7):
        super().__init__(size, transform, seed)
        self.task, self.length = task, length

    def __len__(self):
        return self.length

    def load(self, index, size):
        return sample_of(self.task, index)


def speckle(sample, size, draw):
    """A transform that draws every pixel."""
    pixels = np.frombuffer(draw.randbytes(size[0] * size[1] * 3), np.uint8).reshape(*size, 3)
    return replace(sample, image=Image.fromarray(pixels))


def assert_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    elif isinstance(a, tuple | list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def test_an_int_gives_the_own_size_and_a_key_its_size():
    data = Drawn(size=(8, 12))
    image, label = data[3]
    assert (image.shape, image.dtype, label) == ((3, 8, 12), torch.float32, 3)
    assert image[:, 0, 0].tolist() == pytest.approx([3 / 255, 6 / 255, 1])
    image, label = data[Key(5, 32, 24, 0)]
    assert (image.shape, label) == ((3, 32, 24), 5)
    assert Drawn(size=20)[0][0].shape == (3, 20, 20)


@pytest.mark.parametrize("task", ["classify", "detect", "segment"])
def test_targets_follow_the_image_to_its_size(task):
    data = Drawn(task)
    image, target = data[Key(2, 16, 36, 0)]
    assert image.shape == (3, 16, 36)
    if task == "classify":
        assert target == 2
    if task == "segment":
        assert_same(target, torch.full((16, 36), 2))
    if task == "detect":
        assert_same(target["boxes"], torch.tensor([[0.0, 0, 18, 8]] * 2))
        assert_same(target["labels"], torch.tensor([1, 2]))
        assert_same(target["crowd"], torch.tensor([False, True]))
        assert (target["image_id"], target["original_size"]) == (2, (8, 12))


@given(st.integers(-30, 30))
def test_indices_count_from_both_ends_and_no_further(index):
    data = Drawn(transform=speckle)
    if -7 <= index < 7:
        assert_same(data[index], data[index % 7])
        assert_same(data[Key(index, 8, 12, 0)], data[Key(index % 7, 8, 12, 0)])
    else:
        with pytest.raises(IndexError, match=f"{index} of a dataset of 7"):
            data[index]


def test_iteration_ends_after_the_last_item():
    assert [label for _, label in Drawn()] == list(range(7))


def test_randomness_comes_from_seed_epoch_and_index_alone():
    def draw(seed=0, epoch=0, index=0):
        torch.rand(3)  # what the global generators do is no matter
        np.random.random()
        return Drawn(transform=speckle, seed=seed)[Key(index, 8, 12, epoch)][0]

    assert torch.equal(draw(), draw())
    pictures = [draw(), draw(seed=1), draw(epoch=1), draw(index=1), draw(1, 0, 1), draw(0, 1, 1)]
    for i, a in enumerate(pictures):
        for b in pictures[:i]:
            assert not torch.equal(a, b)


@pytest.mark.parametrize("task", ["classify", "detect", "segment"])
def test_workers_do_not_matter(task):
    data = Drawn(task, transform=speckle if task == "classify" else None, length=20)
    sampler = MultiScaleSampler(20, sizes=(8, (12, 16)), base_batch=3)
    batches = []
    for workers in (0, 1, 2):
        sampler.set_epoch(1)
        loader = DataLoader(data, batch_sampler=sampler, collate_fn=collate(task), num_workers=workers)
        batches.append(list(loader))
    assert len(batches[0]) == len(sampler)
    assert_same(batches[0], batches[1])
    assert_same(batches[0], batches[2])
    direct = [collate(task)([data[key] for key in keys]) for keys in sampler]
    assert_same(batches[0], direct)


@pytest.mark.parametrize("task", ["classify", "detect", "segment"])
def test_a_batch_has_the_form_of_its_task_and_channels_last(task):
    data = Drawn(task)
    images, targets = collate(task)([data[1], data[0], data[4]])
    assert images.shape == (3, 3, 8, 12)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert not images.is_contiguous()
    for image, index in zip(images, (1, 0, 4), strict=True):
        assert torch.equal(image, data[index][0])
    if task == "classify":
        assert_same(targets, torch.tensor([1, 0, 4]))
    if task == "segment":
        assert_same(targets, torch.tensor([1, 0, 4]).view(3, 1, 1).expand(3, 8, 12))
    if task == "detect":
        assert_same(targets, [data[1][1], data[0][1], data[4][1]])
        assert [len(target["boxes"]) for target in targets] == [1, 0, 4]
        assert targets[1]["boxes"].shape == (0, 4)


def test_an_unknown_task_is_named():
    with pytest.raises(ValueError, match="task='track'.*classify.*detect.*segment"):
        collate("track")


def test_a_target_is_the_callers_own():
    data = Drawn("detect", transform=lambda sample, size, draw: sample)
    kept = data.load(3, (8, 12))
    data.load = lambda index, size: kept
    data[3][1]["boxes"].zero_()
    assert data[3][1]["boxes"].sum() == 3 * 10


def fill(root, contents):
    """contents: {"class/name.png": grey value} -> a folder of 1 × 1 images; equal values, equal bytes."""
    shutil.rmtree(root, ignore_errors=True)
    for name, value in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (1, 1), value % 256).save(root / name)
    return ImageFolder(root)


def names(part):
    return {path.name for path, _ in part.samples}


@given(
    values=st.lists(st.integers(0, 255), min_size=2, max_size=12),
    share=st.floats(0.1, 0.9),
    shuffle=st.randoms(use_true_random=False),
)
def test_a_split_by_hash_is_by_content_alone(tmp_path_factory, values, share, shuffle):
    root = tmp_path_factory.getbasetemp() / "split"
    data = fill(root, {f"{'ab'[i % 2]}/{i}.png": value for i, value in enumerate(values)})
    content = {path.name: path.read_bytes() for path, _ in data.samples}
    expected = {
        name for name, data in content.items() if int(hashlib.sha256(data).hexdigest(), 16) < share * 2**256
    }
    if expected in (set(), set(content)):
        with pytest.raises(ValueError, match="part empty"):
            split_by_hash(data, share)
        return
    train, test = split_by_hash(data, share)
    assert names(test) == expected
    assert names(train) == set(content) - expected
    assert not {content[name] for name in names(train)} & {content[name] for name in names(test)}
    shuffle.shuffle(data.samples)
    shuffled = split_by_hash(data, share)
    assert [names(part) for part in shuffled] == [names(train), names(test)]


def test_a_split_keeps_the_kind_the_labels_and_the_settings(tmp_path):
    data = fill(tmp_path, {f"{label}/{value}.png": value for label in "ab" for value in range(20)})
    data.seed = 5
    train, test = split_by_hash(data, 0.5)
    assert sorted(train.samples + test.samples) == sorted(data.samples)
    for part in (train, test):
        assert isinstance(part, ImageFolder)
        assert (part.classes, part.size, part.seed) == (("a", "b"), (256, 256), 5)
        assert part[0][1] == part.samples[0][1]
    assert len(data) == 40


def test_the_share_lies_within_binomial_bounds(tmp_path):
    """2,000 distinct files, share 0.3: mean 600, standard deviation 20.5; four of them on each side."""
    folder = tmp_path / "a"
    folder.mkdir()
    for i in range(2000):
        (folder / f"{i}.jpg").write_bytes(f"content {i}".encode())
    train, test = split_by_hash(ImageFolder(tmp_path), 0.3)
    assert 518 <= len(test) <= 682
    assert len(train) + len(test) == 2000


def test_a_bigger_share_only_adds_to_the_test_part(tmp_path):
    data = fill(tmp_path, {f"a/{value}.png": value for value in range(60)})
    parts = [names(split_by_hash(data, share)[1]) for share in (0.2, 0.5, 0.8)]
    assert parts[0] < parts[1] < parts[2]


@pytest.mark.parametrize("share", [0, 1, -0.2, 80, float("nan")])
def test_a_share_that_is_none_is_named(tmp_path, share):
    data = fill(tmp_path, {"a/0.png": 0})
    with pytest.raises(ValueError, match=f"test_share={share}"):
        split_by_hash(data, share)
