"""The trainings behind the shipped weights and behind the tables of the notebooks, as rows of `make runs`."""

import csv
import dataclasses
import fcntl
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.utils.data import Dataset

from mvit_lib import MobileNetV2, MobileViTBlock, load_weights, mobilevit_s, mobilevit_xs, mobilevit_xxs
from mvit_lib.course.two_marks import BandBlock, accuracy, block_network, far_apart, learn, side_by_side
from mvit_lib.data import ImageFolder, PixelZoo
from mvit_lib.data.download import fetch
from mvit_lib.data.folders import split_by_hash
from mvit_lib.data.items import Items
from mvit_lib.train import Recipe, evaluate, fit
from mvit_lib.weights import save_weights

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINTS = ROOT / ".checkpoints"
WEIGHTS = ROOT / "mvit_lib" / "assets" / "weights"
SIZE = 128
# Animals that fill a good part of the picture.
LARGE = (0.4, 0.85)
# Half of the paper's sizes: 128 px stands among them as 256 px does among the paper's.
MULTI_SCALE = (80, 96, 128, 144, 160)
# The sizes of both trainings, then three that neither has seen.
EVALUATED = (*MULTI_SCALE, 64, 112, 192)
Result = dict[str, object]


def large_animals() -> tuple[Items, Items]:
    """PixelZoo with animals that a short training can learn; kept at the largest size for sharp crops."""
    return (
        PixelZoo("train", length=4000, size=max(MULTI_SCALE), scales=LARGE, cache=True),
        PixelZoo("test", size=SIZE, scales=LARGE),
    )


def sign_digits() -> tuple[Items, Items]:
    return split_by_hash(ImageFolder(fetch("sign-digits"), size=SIZE))


def trashnet() -> tuple[Items, Items]:
    return split_by_hash(ImageFolder(fetch("trashnet"), size=SIZE))


def train(
    folder: str, model: torch.nn.Module, data: Dataset, recipe: Recipe, seed: int, task: str = "classify"
) -> Result:
    """Train in a folder of its own, going on from its checkpoint; what every table tells about it.

    cpu_seconds: of all threads, loading and augmentation included; less disturbed than the clock when
    the machine does other things beside.
    """
    recipe = replace(recipe, seed=seed)
    history = fit(model, data, recipe, task=task, out=CHECKPOINTS / folder)
    if history.stopped:
        raise KeyboardInterrupt
    return {
        "epochs": recipe.epochs,
        "updates": len(history.losses),
        "images": sum(int(row["images"]) for row in history.rows),
        "seconds": f"{history.seconds:.0f}",
        "cpu_seconds": f"{sum(row['cpu_seconds'] for row in history.rows):.0f}",
        "threads": torch.get_num_threads(),
    }


def evaluated(model: torch.nn.Module, **data: Items) -> Result:
    """Top-1 in per cent on each dataset, under its name."""
    return {f"top1_{name}": f"{100 * evaluate(model, items).top1:.2f}" for name, items in data.items()}


# The weights that come with the package

MODELS = {
    "xxs": mobilevit_xxs,
    "xs": mobilevit_xs,
    "s": mobilevit_s,
    # 911,104 parameters without its classifier; XXS has 924,784.
    "mobilenetv2": lambda num_classes: MobileNetV2(num_classes, width=0.7),
}
# Name -> hours on two cores. All but XXS are compared, not shipped.
SHIPPED = {
    "sign-digits-xxs": 0.2,
    "pixelzoo-xxs": 0.7,
    "pixelzoo-xs": 0.8,
    "pixelzoo-s": 1.1,
    "pixelzoo-mobilenetv2": 0.6,
}
# A hand fills the picture, and is a left or a right one.
HANDS = {"crop_scale": (0.6, 1.0), "flip": 0.0}


@dataclass(frozen=True)
class Stage:
    """A part of a training: name, data to learn from, recipe, and what is done to the network before."""

    name: str
    data: Callable[[], Items]
    recipe: Recipe
    change: Callable[[torch.nn.Module], torch.nn.Module] | None = None


def zoo_stages(epochs: tuple[int, int], rates: tuple[float, float]) -> tuple[Stage, ...]:
    """Shapes first: animals that fill a picture of 64 px, at a quarter of the cost; then whole scenes.

    An animal may stand anywhere in its scene, so crops keep most of it; colours say nothing about its
    class, so the photometric augmentation changes them.
    """
    shapes, scenes = epochs
    shapes_rate, scenes_rate = rates
    common = {"crop_scale": (0.8, 1.0), "augmentation": "photometric"}
    return (
        Stage(
            "shapes",
            lambda: PixelZoo("train", length=30_000, size=64, scales=(0.35, 0.85), cache=True),
            replace(Recipe.small(shapes, batch=64, size=64), rate=shapes_rate, **common),
        ),
        Stage(
            "scenes",
            lambda: PixelZoo("train", length=30_000, size=SIZE, cache=True),
            replace(
                Recipe.small(scenes, batch=32, size=SIZE),
                rate=scenes_rate,
                sizes=(64, 96, SIZE),
                **common,
            ),
        ),
    )


STAGES = {
    "sign-digits-xxs": (
        Stage(
            "hands",
            lambda: sign_digits()[0],
            replace(Recipe.small(40, batch=32, size=96), rate=1e-3, **HANDS),
        ),
    ),
    "pixelzoo-xxs": zoo_stages((16, 10), (1.5e-3, 1e-3)),
    # XS forgets everything at XXS's rates: after its second epoch all answers are alike.
    "pixelzoo-xs": zoo_stages((8, 6), (6e-4, 6e-4)),
    "pixelzoo-s": zoo_stages((6, 4), (6e-4, 6e-4)),
    # The table "rates" finds its best rate above MobileViT's.
    "pixelzoo-mobilenetv2": zoo_stages((16, 10), (3e-3, 2e-3)),
}


CARDS = {
    "sign-digits-xxs": {
        "network": "MobileViT-XXS",
        "purpose": "the ten digits in sign language, one hand per photo, at 96 px",
        "data": "Sign Language Digits Dataset (Turkey Ankara Ayrancı Anadolu High School, Apache-2.0), split "
        "by the SHA-256 of each file: a fifth for the test.",
        "limits": "Photos of one school, one hand on a plain wall; the same people are on both sides of the "
        "split, so for other people expect less.",
        "licence": "Weights MIT, like the library. The photos are Apache-2.0 and not part of it.",
    },
    "pixelzoo-xxs": {
        "network": "MobileViT-XXS",
        "purpose": "the ten animals of PixelZoo, one per scene, at 128 px",
        "data": "PixelZoo, drawn by this library: split `train` with one animal per scene, first those that "
        "fill a picture of 64 px, then all sizes; `test` has other scenes before other regions of the same "
        "photos, `shift` other hues, textures and photos.",
        "limits": "It has seen drawings only. On photographs its answers mean nothing before fine-tuning.",
        "licence": "MIT, like the library.",
    },
}


@contextmanager
def locked(name: str, wait: bool = False) -> Iterator[bool]:
    """Hold the lock of this name, if no other process does; gives whether it is ours. wait: until it is."""
    CHECKPOINTS.mkdir(exist_ok=True)
    with open(CHECKPOINTS / f"{name}.lock", "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def ship(name: str) -> Callable[[int], Result]:
    """Train one of the shipped networks; its evaluation, and its file where it is small enough."""

    def run(seed: int) -> Result:
        is_zoo, size = name.startswith("pixelzoo"), name.rpartition("-")[2]
        test = PixelZoo("test", size=SIZE) if is_zoo else sign_digits()[1]
        torch.manual_seed(seed)
        model = MODELS[size](num_classes=len(test.classes))
        parts = []
        for stage in STAGES[name]:
            data = stage.data()
            parts.append(train(f"shipped/{name}/{stage.name}", model, data, stage.recipe, seed))
        result: Result = {"train_images": len(data), "test_images": len(test)} | added(parts)
        file = weights_of(name)
        file.parent.mkdir(exist_ok=True)
        save_weights(model, file, torch.float16)
        model = load_weights(file)  # what is shipped is what is measured
        result |= evaluated(model, test=test)
        result |= evaluated(model, shift=PixelZoo("shift", size=SIZE)) if is_zoo else {"top1_shift": ""}
        if file.parent == WEIGHTS:
            shift = f", {result['top1_shift']} % on `shift`" if is_zoo else ""
            measured = f"Top-1 {result['top1_test']} % on `test`{shift}"
            write_log(name, STAGES[name])
            write_card(name, f"shipped: {name}", STAGES[name], CARDS[name], seed, result, measured)
        return result

    return run


def weights_of(name: str) -> Path:
    """Where the weights of a shipped row are stored: in the package only XXS."""
    return (WEIGHTS if name.endswith("-xxs") else CHECKPOINTS) / f"{name}.safetensors"


def trained(name: str) -> Path:
    """The weights of a shipped row, trained first if they are not on this machine."""
    with locked(f"shipped-{name}-0", wait=True):
        if not weights_of(name).exists():
            ship(name)(0)
    return weights_of(name)


def write_log(name: str, stages: tuple[Stage, ...]) -> None:
    """Every epoch of a shipped training, all stages in one table, for the notebooks."""
    rows = []
    for stage in stages:
        with open(CHECKPOINTS / "shipped" / name / stage.name / "log.csv", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                numbers = {key: f"{float(value):.6g}" for key, value in row.items()}
                rows.append({"stage": stage.name} | numbers)
    path = WEIGHTS.parent / "runs" / f"log_{name}.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def added(parts: list[Result]) -> Result:
    """The numbers of all stages together."""
    total = {key: sum(int(part[key]) for part in parts) for key in parts[0]}
    return total | {"threads": parts[-1]["threads"]}


def write_card(
    name: str,
    row: str,
    stages: tuple[Stage, ...],
    about: dict[str, str],
    seed: int,
    result: Result,
    measured: str,
) -> None:
    """The model card: data, recipe, command, seed, machine, results; every number from the run itself."""
    fields = {
        f.name: " | ".join(str(getattr(stage.recipe, f.name)) for stage in stages)
        for f in dataclasses.fields(Recipe)
    }
    fields["seed"] = " | ".join(str(seed) for _ in stages)
    recipe = "\n".join(f"| {field} | {value} |" for field, value in fields.items())
    heads = " | ".join(stage.name for stage in stages)
    text = f"""# {name}

{about["network"]} for {about["purpose"]}. `load_weights("{name}")`

**Data.** {about["data"]} {result["train_images"]} images to learn from, {result["test_images"]} to test on.

**Result.** {measured}, measured on the stored float16 weights.

**Made by** `make runs ARGS="{row}"`, seed {seed}: {result["updates"]} updates,
{result["images"]} images seen, {result["cpu_seconds"]} CPU seconds on {result["threads"]} thread(s) of
{processor()}, PyTorch {torch.__version__}.

**Limits.** {about["limits"]}

**Licence.** {about["licence"]}

| recipe | {heads} |
|---{"|---" * len(stages)}|
{recipe}
"""
    (WEIGHTS / f"{name}.md").write_text(text, encoding="utf-8")


def processor() -> str:
    """The processor's name as Linux tells it; the machine type elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else platform.machine()


# Fixed size against the multi-scale sampler

COMPARED: dict[str, tuple[Callable[[], tuple[Items, Items]], int, dict[str, object]]] = {
    # data, epochs (about 48,000 images in each), what its pictures ask of the recipe
    "PixelZoo": (large_animals, 12, {"crop_scale": (0.8, 1.0), "augmentation": "photometric"}),
    "Sign Language Digits": (sign_digits, 28, HANDS),
    "TrashNet": (trashnet, 24, {}),
}
SAMPLERS = {"fixed": (SIZE,), "multi-scale": MULTI_SCALE}


def compare_samplers(data_name: str, sampler: str) -> Callable[[int], Result]:
    """XXS from scratch, with as many images whichever the sampler; accuracy by size."""

    def run(seed: int) -> Result:
        load, epochs, changes = COMPARED[data_name]
        data = load()
        torch.manual_seed(seed)
        model = mobilevit_xxs(num_classes=len(data[0].classes))
        recipe = replace(Recipe.small(epochs, batch=32, size=SIZE), rate=1e-3, **changes)
        recipe = replace(recipe, sizes=SAMPLERS[sampler])
        folder = f"multi_scale/{data_name}-{sampler}-{seed}".replace(" ", "-")
        result = train(folder, model, data[0], recipe, seed)
        for size in EVALUATED:
            result[f"top1_{size}"] = f"{100 * evaluate(model, data[1], size=size).top1:.2f}"
        return result

    return run


# TrashNet, from scratch and from weights that were trained on something else

STARTS = {"scratch": None, "pixelzoo-xxs": "pixelzoo-xxs", "sign-digits-xxs": "sign-digits-xxs"}


def transfer(start: str) -> Callable[[int], Result]:
    """XXS on TrashNet at 128 px."""

    def run(seed: int) -> Result:
        data = trashnet()
        torch.manual_seed(seed)
        classes = len(data[0].classes)
        weights = STARTS[start]
        model = load_weights(weights, num_classes=classes) if weights else mobilevit_xxs(num_classes=classes)
        recipe = replace(Recipe.small(40, batch=32, size=SIZE), rate=1e-3)
        result = train(f"transfer/trashnet-{start}-{seed}", model, data[0], recipe, seed)
        return result | evaluated(model, test=data[1])

    return run


# Two marks to compare (notebook 06): the right unfold and the wrong one, marks far apart and near

UNFOLDS = {"2×2 patches": MobileViTBlock, "bands": BandBlock}
MARKS = {"far apart": far_apart, "side by side": side_by_side}
MARK_SIZE, MARK_SETTINGS = (16, 8), {"steps": 150, "batch": 64, "rate": 1e-2, "stop_at": 0.99}


def compare_marks(unfold: str, where: str) -> Callable[[int], Result]:
    """The small network of notebook 06, trained until it is right in 99 of 100, at most 150 steps.

    accuracy: in per cent, on 2,000 new pictures.
    """

    def run(seed: int) -> Result:
        torch.manual_seed(seed)
        model, positions = block_network(UNFOLDS[unfold]), MARKS[where](MARK_SIZE)
        steps = len(learn(model, MARK_SIZE, positions, **MARK_SETTINGS, seed=seed))
        right = accuracy(model, MARK_SIZE, positions, count=2000)
        return {"steps": steps, "accuracy": f"{100 * right:.1f}"}

    return run
