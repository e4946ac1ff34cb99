"""Training from the command line: python -m mvit_lib.train --help"""

import argparse
import ast
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch.utils.data import Dataset

from mvit_lib.classifier import Network
from mvit_lib.data import CocoDetection, ImageFolder, PixelZoo, VOCDetection, VOCSegmentation
from mvit_lib.data.download import DATASETS, fetch
from mvit_lib.data.folders import split_by_hash
from mvit_lib.heads import DeepLabV3, SSDLite
from mvit_lib.heads.head import Head
from mvit_lib.layers import init_weights
from mvit_lib.memory import keep_freed_pages
from mvit_lib.mobilenet import MobileNetV2
from mvit_lib.mobilevit import mobilevit_s, mobilevit_xs, mobilevit_xxs
from mvit_lib.train.average_precision import DetectionResult
from mvit_lib.train.distributed import process_group, rank_and_size
from mvit_lib.train.loop import evaluate, fit, freeze
from mvit_lib.train.plan import plan
from mvit_lib.train.recipe import Recipe
from mvit_lib.train.tasks import TASKS
from mvit_lib.weights import load_backbone, load_weights

# Task -> its head and the output stride that it asks of the backbone.
HEADS: dict[str, tuple[type[Head], int]] = {"detect": (SSDLite, 32), "segment": (DeepLabV3, 16)}
MODELS = {"xxs": mobilevit_xxs, "xs": mobilevit_xs, "s": mobilevit_s, "mobilenetv2": MobileNetV2}
DESCRIPTION = """\
Train a network on your images, or on PixelZoo, which draws its own.

  a first try, offline:      python -m mvit_lib.train --data pixelzoo --epochs 5 --out runs/first
  your own folder:           python -m mvit_lib.train --data photos --out runs/photos
  start from trained weights: … --init pixelzoo-xxs   (and --freeze backbone: only the classifier learns)
  several processes:         torchrun --nproc-per-node 8 -m mvit_lib.train …

To classify, a folder holds one folder of images per class, or train/ and val/ (or test/) with one folder
per class each. To detect or segment it is laid out like Pascal VOC, or (to detect) like COCO. Instead of a
folder: a dataset's name, which is downloaded: {datasets}.
A training that was stopped goes on when it is started again with the same --out."""
EPILOG = """\
Without --recipe a small one is taken (AdamW, 5 % warm-up, cosine). Any field of a recipe can be set, as in
--set label_smoothing=0 --set augmentation=advanced. The fields:
""" + textwrap.fill(", ".join(field.name for field in fields(Recipe)), 100)


def parser() -> argparse.ArgumentParser:
    """The arguments; numbers left out come from the recipe."""
    p = argparse.ArgumentParser(
        "python -m mvit_lib.train", None, DESCRIPTION.format(datasets=", ".join(DATASETS)), EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = p.add_argument
    what = p.add_argument_group("what to train on what")
    what.add_argument("--task", choices=sorted(TASKS), default="classify")
    what.add_argument(
        "--data",
        required=True,
        metavar="PATH",
        help="a folder, pixelzoo, or the name of a dataset to download",
    )
    what.add_argument("--val", metavar="PATH", help="images to evaluate on (else: val/, test/, or a fifth)")
    what.add_argument("--model", choices=list(MODELS), default="xxs", help="default: xxs")
    what.add_argument(
        "--init", metavar="NAME", help="start from these weights: a name, a file, a hub repository"
    )
    what.add_argument("--freeze", metavar="PART", help="what does not learn: backbone, or a child's name")
    what.add_argument("--out", metavar="FOLDER", help="where checkpoint, log.csv and model.safetensors go")
    how = p.add_argument_group("how")
    how.add_argument(
        "--recipe", choices=["small", "imagenet", "coco_ssdlite", "voc_deeplab"], default="small"
    )
    how.add_argument("--epochs", type=int, metavar="N", help="default: 20, or the recipe's")
    how.add_argument("--batch", type=int, metavar="N", help="images per step and process; default: 64")
    how.add_argument("--sizes", metavar="PX,…", help="image sizes in training, several for multi-scale")
    how.add_argument("--rate", type=float, metavar="LR", help="highest learning rate")
    how.add_argument("--seed", type=int, metavar="N", help="default: 0")
    how.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="any other field")
    how.add_argument("--workers", type=int, default=1, metavar="N", help="processes that load images")
    how.add_argument("--plan", action="store_true", help="say what it will take, and train nothing")
    add("--version", action="version", version=f"mvit_lib {version('mvit_lib')}")
    return p


def choose_recipe(args: argparse.Namespace) -> Recipe:
    """The named recipe with what the command line changes.

    Raises: ValueError naming a field that does not exist or a value it cannot take.
    """
    small = args.recipe == "small"
    size = 128 if args.task == "classify" else 256
    recipe = (
        Recipe.small(args.epochs or 20, args.batch or 64, size) if small else getattr(Recipe, args.recipe)()
    )
    given = {name: getattr(args, name) for name in ("epochs", "batch", "rate", "seed")}
    changes = {name: value for name, value in given.items() if value is not None}
    if args.sizes:
        changes["sizes"] = tuple(int(size) for size in args.sizes.split(","))
        if small:
            changes |= dict.fromkeys(("eval_resize", "eval_crop"), max(changes["sizes"]))
    names = [field.name for field in fields(Recipe)]
    for pair in args.set:
        name, _, text = pair.partition("=")
        if name not in names:
            raise ValueError(f"--set {pair}: expected FIELD=VALUE with a field of {names}")
        changes[name] = read_value(text)
    return replace(recipe, **changes)


def read_value(text: str) -> object:
    """A number, a tuple of numbers, True or False; anything else is itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def choose_data(args: argparse.Namespace, recipe: Recipe) -> tuple[Dataset, Dataset]:
    """Training and validation data.

    Raises: FileNotFoundError or ValueError if the folders are not as the help says.
    """
    size = recipe.eval_crop
    if args.data == "pixelzoo":
        options = {"task": args.task, "size": size, "seed": recipe.seed}
        return PixelZoo("train", **options), PixelZoo("test", **options)
    root = fetch(args.data) if args.data in DATASETS and not Path(args.data).exists() else Path(args.data)
    return (
        class_folders(root, args.val, size) if args.task == "classify" else annotated(root, args.task, size)
    )


def class_folders(root: Path, val_path: str | None, size: int) -> tuple[Dataset, Dataset]:
    """One folder of images per class, perhaps in train/ and val/; else a fifth is held out."""
    train = root / "train" if (root / "train").is_dir() else root
    held_out = [Path(val_path)] if val_path else [root / name for name in ("val", "valid", "test")]
    val = next((folder for folder in held_out if folder.is_dir()), None)
    if val_path and val is None:
        raise FileNotFoundError(f"--val {val_path}: no such folder")
    if val is None:
        return split_by_hash(ImageFolder(train, size=size))
    data = ImageFolder(train, size=size)
    return data, ImageFolder(val, size=size, classes=data.classes)


def annotated(root: Path, task: str, size: int) -> tuple[Dataset, Dataset]:
    """Boxes or masks as Pascal VOC or COCO lay them out: the splits train and val."""
    if task == "segment":
        return VOCSegmentation(root, "train", size=size), VOCSegmentation(root, "val", size=size)
    files = [
        next((root / "annotations").glob(f"instances_{split}*.json"), None) for split in ("train", "val")
    ]
    if None not in files:
        folders = [root / file.stem.removeprefix("instances_") for file in files]
        train, val = (CocoDetection(*pair, size=size) for pair in zip(folders, files, strict=True))
        return train, val
    train, val = (VOCDetection(root, split, classes=None, size=size) for split in ("train", "val"))
    return train, val


def choose_model(args: argparse.Namespace, classes: tuple[str, ...]) -> Network:
    """A fresh network, or trained weights; with a new classifier where theirs is for other classes."""
    if args.task in HEADS:
        return choose_head(args, ("background", *classes))
    if not args.init:
        return MODELS[args.model](num_classes=len(classes))
    model = load_weights(args.init, num_classes=len(classes))
    unnamed = tuple(f"class {i}" for i in range(len(classes)))
    if model.classes not in (classes, unnamed):
        model.classifier.apply(init_weights)
        print(f"new classifier: {args.init} knows other classes; not trained yet")
    return model


def choose_head(args: argparse.Namespace, classes: tuple[str, ...]) -> Head:
    """The task's head on a fresh backbone, on a trained one, or with all that was trained of it."""
    kind, stride = HEADS[args.task]
    if not args.init:
        return kind(MODELS[args.model](num_classes=0, output_stride=stride), len(classes))
    model = load_weights(args.init)
    if isinstance(model, kind):
        same = len(model.classes) == len(classes)
        return model if same else load_weights(args.init, num_classes=len(classes))
    print(f"new head on the backbone of {args.init}; not trained yet")
    return kind(load_backbone(args.init, stride), len(classes))


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says; returns the exit status."""
    args = parser().parse_args(arguments)
    keep_freed_pages()
    with process_group() as device:
        recipe = choose_recipe(args)
        torch.manual_seed(recipe.seed)
        train, val = choose_data(args, recipe)
        model = choose_model(args, train.classes).to(device)
        if args.freeze:
            freeze(model, args.freeze)
        rank, world_size = rank_and_size()
        sampler = recipe.sampler(len(train), rank, world_size)
        if rank == 0:
            print(f"{len(train)} images to learn from, {len(val)} to check, {len(train.classes)} classes")
        if args.plan:
            print(plan(model, recipe, sampler))
            return 0
        history = fit(
            model, train, recipe, task=args.task, val_data=val, sampler=sampler, out=args.out,
            workers=args.workers,
        )  # fmt: skip
        result = evaluate(model, val, task=args.task, workers=args.workers)
        if rank == 0:
            report(result, val, args.out)
            print(f"{'stopped' if history.stopped else 'finished'} after {history.seconds:.0f} s of training")
    return 0


def report(result: object, data: Dataset, out: str | None) -> None:
    """Print an evaluation; a detector's also as COCO counts it, and its finds to `out` as COCO's JSON."""
    print(result)
    if isinstance(result, DetectionResult):
        if out:
            result.write_coco(Path(out) / "detections.json", getattr(data, "category_ids", None))
        try:
            numbers = result.coco()
            print(f"COCO AP {numbers['ap']:.2%}, AP50 {numbers['ap50']:.2%}, AP75 {numbers['ap75']:.2%}")
        except ModuleNotFoundError as error:
            print(error)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, FileNotFoundError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
