"""Keeping freed pages takes effect, and memory stays bounded when tensor sizes keep changing."""

import os
import platform
import subprocess
import sys

import pytest

glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can keep pages")

PAGE_FAULTS = """
import resource, sys, torch
from mvit_lib.memory import keep_freed_pages
if sys.argv[1] == "kept":
    assert keep_freed_pages()
def use():
    return torch.ones(8, 1024, 1024).sum()          # 32 MiB, far above glibc's threshold
for _ in range(10):                                  # a small block may settle in a freed one, at first
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

CHANGING_SIZES = """
import random, resource, torch
from mvit_lib import mobilevit_xxs
model = mobilevit_xxs(10)
sizes = random.Random(0)
def peak_after(steps):
    for _ in range(steps):
        side = sizes.choice([96, 128, 160, 192, 224])
        model(torch.rand(sizes.randint(1, 4), 3, side, side)).sum().backward()
        model.zero_grad()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(peak_after(20), peak_after(20), peak_after(40))
"""


def run(code: str, *args: str, **extra: str) -> list[float]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")} | extra
    done = subprocess.run(
        [sys.executable, "-c", code, *args], env=env, capture_output=True, text=True, check=True
    )
    return [float(word) for word in done.stdout.split()]


@glibc_only
def test_freed_pages_are_used_again():
    (kept,), (default,) = run(PAGE_FAULTS, "kept"), run(PAGE_FAULTS, "default")
    assert kept < 0.2 * default


@glibc_only
def test_the_environment_variables_do_the_same():
    variables = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2147483647"}
    (kept,), (default,) = run(PAGE_FAULTS, "default", **variables), run(PAGE_FAULTS, "default")
    assert kept < 0.2 * default


@glibc_only
@pytest.mark.slow
def test_memory_does_not_grow_without_bound():
    """Peak memory after 20, 40 and 80 training steps of ever-changing sizes."""
    variables = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2147483647"}
    _, middle, last = run(CHANGING_SIZES, **variables)
    assert last < 1.25 * middle
