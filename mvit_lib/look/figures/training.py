"""Pictures of notebook 09: schedule, smoothing, augmentation, trainings recorded or just done."""

import math
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator
from torch import Tensor

from mvit_lib.look.style import ACCENT, INK, bare
from mvit_lib.train import Recipe
from mvit_lib.train.progress import smooth

Row = Mapping[str, Any]
Line = tuple[list[float], list[float]]
VIOLET = "#7d72d6"
NETWORK_COLOURS = {"ViT": INK, "MobileNetV2": VIOLET, "MobileViT": ACCENT}


def fig_schedule(
    recipe: Recipe, per_epoch: int, first: int = 8, middle: tuple[int, int] = (148, 154)
) -> tuple[Figure, dict[str, Line]]:
    """The learning rate of a recipe: over the whole training, its first epochs, a few in the middle.

    per_epoch: updates of an epoch. data: "whole", "first", "middle" -> (epoch, learning rate), every 20th
    part of an epoch; the whole training once an epoch.
    """
    updates, part = per_epoch * recipe.epochs, max(1, per_epoch // 20)
    chosen = {
        "whole": range(0, updates, per_epoch),
        "first": range(0, per_epoch * first, part),
        "middle": range(per_epoch * middle[0], per_epoch * middle[1], part),
    }
    data = {
        name: (
            [u / per_epoch for u in these],
            [recipe.learning_rate(u, updates, u // per_epoch) for u in these],
        )
        for name, these in chosen.items()
    }
    fig, axes = plt.subplots(1, 3, figsize=(8, 2.7), width_ratios=(1.3, 1, 1))
    fig.subplots_adjust(left=0.08, right=0.985, top=0.89, bottom=0.18, wspace=0.34)
    titles = ("the whole training", f"the first {first} epochs", "a few in the middle")
    for ax, title, (epochs, rates) in zip(axes, titles, data.values(), strict=True):
        ax.plot(epochs, [1000 * r for r in rates], color=ACCENT, lw=2)
        ax.set_xlabel("epoch")
        ax.set_title(title)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes[0].set_ylabel("learning rate in 1/1000")
    for ax in axes[:2]:
        ax.set_ylim(0, 1000 * recipe.rate * 1.15)
    end = recipe.warmup(updates) / per_epoch
    axes[1].axvline(end, color=INK, lw=1, ls=":")
    axes[1].text(end + 0.2, 200 * recipe.rate, "warm-up\nends", fontsize=9)
    return fig, data


def smoothed_loss(gap: Tensor, s: float, K: int) -> Tensor:
    """The loss when the right logit lies `gap` above the K − 1 others, which are equal."""
    log_sum = torch.log1p((K - 1) * torch.exp(-gap))
    wrong = s * (K - 1) / K  # the share of all wrong classes together
    return log_sum + wrong * gap


def best_gap(s: float, K: int) -> float:
    """Where `smoothed_loss` is least; infinite without smoothing."""
    return math.log1p(K * (1 - s) / s) if s else math.inf


def fig_smoothing(K: int, shares: Sequence[float]) -> tuple[Figure, dict[float, tuple[Tensor, Tensor]]]:
    """The loss of one image against the gap between the right logit and the others, for several shares s.

    data: s -> (gap, loss), 1201 points from 0 to 12.
    """
    gap = torch.linspace(0, 12, 1201, dtype=torch.float64)
    data = {s: (gap, smoothed_loss(gap, s, K)) for s in shares}
    fig, ax = plt.subplots(figsize=(8, 2.9))
    fig.subplots_adjust(left=0.09, right=0.84, top=0.95, bottom=0.17)
    for (s, (x, y)), colour in zip(data.items(), (VIOLET, ACCENT, INK), strict=False):
        ax.plot(x, y, color=colour, lw=2)
        ax.annotate(f"s = {s:g}", (12, y[-1]), (6, 3), textcoords="offset points", color=colour, va="bottom")
        best = best_gap(s, K)
        if best < 12:
            least = smoothed_loss(torch.tensor(best), s, K).item()
            ax.plot(best, least, "o", color=colour, ms=8)
            ax.annotate(f"least at {best:.2f}", (best, least), (0, 10), textcoords="offset points",
                        color=colour, ha="center")  # fmt: skip
    ax.set_ylim(0, None)
    ax.set_xlabel(f"right logit minus the {K - 1} others")
    ax.set_ylabel("loss")
    return fig, data


def fig_gaps(gaps: Mapping[float, Sequence[float]], best: float) -> tuple[Figure, dict[float, list[float]]]:
    """How the gap between right and wrong logit grows in a training, for several shares s of smoothing.

    gaps: s -> the gap at every update. best: where the smoothed loss is least. data: s -> means of 5 updates.
    """
    fig, ax = plt.subplots(figsize=(8, 2.7))
    fig.subplots_adjust(left=0.09, right=0.84, top=0.95, bottom=0.18)
    data = {s: smooth(line, len(line) // 5) for s, line in gaps.items()}
    for (s, line), colour in zip(data.items(), (VIOLET, ACCENT), strict=False):
        ax.plot([5 * i + 2 for i in range(len(line))], line, color=colour, lw=2)
        ax.annotate(f"s = {s:g}", (5 * len(line) - 3, line[-1]), (6, 3), textcoords="offset points",
                    color=colour, va="bottom")  # fmt: skip
    ax.axhline(best, color=INK, lw=1, ls=":")
    ax.text(0, best + 0.25, f"log 19 = {best:.2f}" if abs(best - math.log(19)) < 1e-9 else f"{best:.2f}")
    ax.set_xlabel("update")
    ax.set_ylabel("right logit minus wrong")
    return fig, data


def fig_pictures(
    rows: Mapping[str, Sequence[Tensor]], captions: Sequence[str] = ()
) -> tuple[Figure, dict[str, list[Tensor]]]:
    """Rows of pictures, each row with its name on the left.

    rows: name -> images [3, H, W] in [0, 1]. captions: over the columns. data: name -> images [H, W, 3].
    """
    columns = max(map(len, rows.values()))
    fig, axes = plt.subplots(len(rows), columns, figsize=(8, 7.2 / columns * len(rows) + 0.25), squeeze=False)
    fig.subplots_adjust(left=0.12, right=0.995, top=0.9, bottom=0.01, wspace=0.05, hspace=0.06)
    data = {name: [image.permute(1, 2, 0) for image in images] for name, images in rows.items()}
    for line, (name, images) in zip(axes, data.items(), strict=True):
        for ax in line:
            bare(ax)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=6)
        for ax, image in zip(line, images, strict=False):
            ax.imshow(image.numpy())
    for ax, caption in zip(axes[0], captions, strict=False):
        ax.set_title(caption, fontsize=9)
    return fig, data


def fig_answers(
    images: Tensor, truth: Sequence[str], answers: Sequence[str], columns: int = 8
) -> tuple[Figure, list[str]]:
    """Images with the network's answer under each; a wrong one in orange, with what it is.

    images: [B, 3, H, W] in [0, 1]. data: the captions.
    """
    rows = -(-len(images) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(8, 1.32 * rows), squeeze=False)
    fig.subplots_adjust(left=0.005, right=0.995, top=0.99, bottom=0.3 / rows, wspace=0.06, hspace=0.5)
    captions = [
        found if found == true else f"{found}\n({'an' if true[0] in 'aeiou' else 'a'} {true})"
        for true, found in zip(truth, answers, strict=True)
    ]
    for i, ax in enumerate(axes.flat):
        bare(ax)
        if i < len(images):
            ax.imshow(images[i].permute(1, 2, 0).numpy())
            colour = INK if truth[i] == answers[i] else ACCENT
            ax.set_xlabel(captions[i], fontsize=9, color=colour, labelpad=2)
    return fig, captions


def fig_losses(losses: Sequence[float], classes: int) -> tuple[Figure, dict[str, list[float]]]:
    """The loss of every update of one training, and the loss of a network that guesses.

    data: "updates" -> every loss, "means" -> means of about ten.
    """
    means = smooth(losses, max(1, len(losses) // 10))
    fig, ax = plt.subplots(figsize=(8, 2.5))
    fig.subplots_adjust(left=0.08, right=0.98, top=0.95, bottom=0.2)
    ax.plot(losses, color=ACCENT, lw=0.8, alpha=0.45)
    step = len(losses) / len(means)
    ax.plot([(i + 0.5) * step for i in range(len(means))], means, color=ACCENT, lw=2.2)
    chance = math.log(classes)
    ax.axhline(chance, color=INK, lw=1, ls=":")
    ax.text(len(losses), chance + 0.03, f"guessing: log {classes} = {chance:.2f}", ha="right", va="bottom")
    ax.set_ylim(0, max(*losses, chance) * 1.12)
    ax.set_xlabel("update")
    ax.set_ylabel("loss")
    return fig, {"updates": list(losses), "means": means}


def fig_log(rows: Sequence[Row]) -> tuple[Figure, dict[str, dict[str, list[float]]]]:
    """A recorded training, epoch by epoch: its loss, and below its learning rate; a colour for each stage.

    rows: with stage, epoch, loss and rate, any number of them. data: stage -> "epoch" (of all stages, in
    order), "loss", "rate".
    """
    fig, axes = plt.subplots(2, 1, figsize=(8, 3.6), sharex=True, height_ratios=(3, 1.3))
    fig.subplots_adjust(left=0.1, right=0.98, top=0.93, bottom=0.14, hspace=0.15)
    data: dict[str, dict[str, list[float]]] = {}
    for i, row in enumerate(rows, 1):
        stage = data.setdefault(row["stage"], {"epoch": [], "loss": [], "rate": []})
        for name, value in (("epoch", i), ("loss", row["loss"]), ("rate", 1000 * row["rate"])):
            stage[name].append(value)
    for (name, stage), colour in zip(data.items(), (VIOLET, ACCENT, INK), strict=False):
        for ax, what in zip(axes, ("loss", "rate"), strict=True):
            ax.plot(stage["epoch"], stage[what], "o-", color=colour, lw=1.8, ms=3)
        axes[0].text(stage["epoch"][0], max(stage["loss"]) + 0.03, name, color=colour, va="bottom")
    if not rows:
        fig.delaxes(axes[1])
        _nothing_yet(axes[0], "no log is recorded yet")
        return fig, data
    axes[0].set_ylabel("loss")
    axes[1].set_ylabel("η in\n1/1000")
    axes[1].set_xlabel("epoch")
    return fig, data


def top1_by_setting(rows: Sequence[Row]) -> dict[tuple[str, int, str, str], list[float]]:
    """(dataset, per cent of it, augmentation, network) -> top-1 in per cent of every seed recorded."""
    found: dict[tuple[str, int, str, str], list[float]] = {}
    for row in rows:
        part, augmentation, network = row["name"].rsplit(", ", 2)
        name, share, _ = part.rsplit(" ", 2)
        found.setdefault((name, int(share), augmentation, network), []).append(row["top1_test"])
    return found


def _nothing_yet(ax: Axes, words: str = "no training is recorded yet") -> None:
    ax.figure.set_size_inches(8, 1)
    bare(ax).text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes)


def fig_data_size(
    rows: Sequence[Row], data_name: str = "PixelZoo"
) -> tuple[Figure, dict[str, dict[int, list[float]]]]:
    """Top-1 against the share of the data that was learned from, a line for each network.

    rows: of assets/runs/networks.csv, any number of them. A small dot is a seed. data: network -> per cent
    of the data -> top-1 of every seed, of the trainings with basic augmentation.
    """
    data: dict[str, dict[int, list[float]]] = {}
    for (name, share, augmentation, network), values in sorted(top1_by_setting(rows).items()):
        if (name, augmentation) == (data_name, "basic"):
            data.setdefault(network, {})[share] = values
    fig, ax = plt.subplots(figsize=(8, 3.1))
    fig.subplots_adjust(left=0.08, right=0.84, top=0.95, bottom=0.17)
    if not data:
        _nothing_yet(ax)
        return fig, data
    for network, line in data.items():
        colour = NETWORK_COLOURS[network]
        for share, values in line.items():
            ax.plot([share] * len(values), values, "o", ms=4, color=colour, alpha=0.6, mew=0)
        ax.plot(list(line), [mean(values) for values in line.values()], color=colour, lw=2)
    ax.set_ylim(0, None)
    least = 0.075 * ax.get_ylim()[1]
    heights = _apart({network: mean(line[max(line)]) for network, line in data.items()}, least)
    for network, line in data.items():
        place = (max(line), heights[network])
        ax.annotate(network, place, (9, 0), textcoords="offset points", color=NETWORK_COLOURS[network],
                    va="center")  # fmt: skip
    ax.set_xscale("log")
    shares = sorted({share for line in data.values() for share in line})
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xticks(shares, [f"{share} %" for share in shares])
    ax.set_xlabel(f"share of the {data_name} scenes")
    ax.set_ylabel("top-1 in %")
    return fig, data


def _apart(heights: Mapping[str, float], least: float) -> dict[str, float]:
    """The same heights, moved up where they lie closer than `least` to the one below."""
    placed: dict[str, float] = {}
    for name, height in sorted(heights.items(), key=lambda pair: pair[1]):
        placed[name] = max(height, max(placed.values(), default=-math.inf) + least)
    return placed
