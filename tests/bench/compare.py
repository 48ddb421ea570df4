"""Measures the renderer beside sharp, Pillow and libvips, in one interleaved run; `tests/bench/compare` calls it.

Every program is a process that answers jobs on a pipe, kept warm, and each round asks all of them in turn, so that what
else happens on the machine happens to all. Time is the CPU time of the whole process, read from its POSIX clock; memory
is what a fresh process adds to its resident set for one upload, at its peak. Quality is the signal-to-noise ratio of luma
in the 512-pixel picture before it is encoded, against a full decode, a Lanczos resize in floating point and LittleCMS.
"""
import argparse
import io
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import pillow_heif
import photos
from PIL import Image, ImageCms, ImageOps

# Our own program with the faster decoder of HEVC.
LIBAVCODEC = "libavcodec"
OURS = ["pockitd", LIBAVCODEC]
HERE = pathlib.Path(__file__).resolve().parent
SIDE = 512

# What the renderer's CPU time may be, as a share of each peer's, by the kind of file. There is none for 6 megapixels: the
# peers decode that at a quarter, which loses the quality that is asked for below.
TIME_GOALS = {
    "jpeg-444": {"sharp": 0.30, "pillow": 0.40},
    "jpeg-420": {"sharp": 0.22, "pillow": 0.33},
    "jpeg-progressive": {"sharp": 0.50, "pillow": 0.50},
    "heic": {"pillow": 0.65},
    "heic-libavcodec": {"pillow": 0.45},
    "png": {"sharp": 0.80, "pillow": 0.80},
}
# Most memory that an upload of 12 megapixels may add, in MB.
MEMORY_GOALS = {"jpeg-444": 8, "jpeg-420": 8, "jpeg-progressive": 24, "heic": 40}
PSNR_GOAL = 43.0


class Program:
    """A running program and its CPU clock."""

    def __init__(self, command, hevc=None):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        # The id of another process's CPU clock, see clock_getcpuclockid(3) and the kernel's posix-timers.h.
        self.clock = (~self.process.pid << 3) | 2
        self.has_hevc = bool(hevc) and self.ask("hevc", hevc) == [1]

    def ask(self, *job):
        self.process.stdin.write(" ".join(map(str, job)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer:
            raise RuntimeError(f"{self.process.args} died of {job}")
        return [int(number) for number in answer]

    def cpu(self, *job):
        """CPU time of a job, in milliseconds."""
        before = time.clock_gettime(self.clock)
        self.ask(*job)
        return (time.clock_gettime(self.clock) - before) * 1e3

    def status(self, field):
        """A size from /proc, in MB."""
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024 / 1e6
        raise KeyError(field)

    def added_memory(self, *job):
        """What a job adds to the resident set at its peak, in MB."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        before = self.status("VmRSS")
        self.ask(*job)
        return self.status("VmHWM") - before

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def start(command, name):
    """A program; ours decodes HEIC by libde265, or by libavcodec if that is its name here."""
    hevc = {"pockitd": "libde265", LIBAVCODEC: LIBAVCODEC}.get(name)
    return Program(command, hevc)


def contestants(kind, has_libavcodec):
    if kind != "heic":
        return ["pockitd", "sharp", "pillow", "vips"]
    return ["pockitd", LIBAVCODEC, "pillow"] if has_libavcodec else ["pockitd", "pillow"]


def commands(arguments):
    python = [sys.executable, str(HERE / "renderers.py")]
    return {
        "pockitd": [arguments.renderer],
        LIBAVCODEC: [arguments.renderer],
        "sharp": ["node", str(pathlib.Path(arguments.node) / "sharp.mjs")],
        "pillow": [*python, "pillow"],
        "vips": [*python, "vips"],
    }


def times(programs, names, file, rounds):
    """Median CPU time of each, in milliseconds."""
    found = {name: [] for name in names}
    for name in names:
        programs[name].ask("load", file)
        programs[name].ask("render")
    for turn in range(rounds):
        for name in names[turn % len(names):] + names[:turn % len(names)]:
            found[name].append(programs[name].cpu("render"))
    return {name: statistics.median(values) for name, values in found.items()}


def memory(command, name, file, runs=3):
    found = []
    for _ in range(runs):
        program = start(command, name)
        program.ask("load", file)
        found.append(program.added_memory("render"))
        program.close()
    return statistics.median(found)


def luma(rgb):
    return rgb.astype(float) @ np.array([0.299, 0.587, 0.114])


class Reference:
    """The picture as it should be, cropped at any place."""

    def __init__(self, file):
        pillow_heif.register_heif_opener()
        image = Image.open(file)
        profile = image.info.get("icc_profile")
        self.transform = None
        if profile:
            self.transform = ImageCms.buildTransform(
                ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), "RGB", "RGB")
        image = ImageOps.exif_transpose(image).convert("RGB")
        self.size = image.size
        self.channels = [Image.fromarray(np.asarray(channel, np.float32)) for channel in image.split()]

    def square(self, shift=(0.0, 0.0)):
        """The centre square, moved by a part of a pixel of the small picture."""
        width, height = self.size
        side = min(self.size)
        step = side / SIDE
        left = min(max((width - side) / 2 + shift[0] * step, 0), width - side)
        top = min(max((height - side) / 2 + shift[1] * step, 0), height - side)
        small = [channel.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
                 for channel in self.channels]
        rgb = np.stack([np.asarray(channel) for channel in small], axis=-1)
        image = Image.fromarray(np.clip(np.rint(rgb), 0, 255).astype(np.uint8))
        if self.transform:
            image = ImageCms.applyTransform(image, self.transform)
        return np.asarray(image)


def psnr(one, other):
    error = np.mean((luma(one) - luma(other)) ** 2)
    return 99.0 if error == 0 else 10 * np.log10(255 ** 2 / error)


def quality(programs, names, file):
    """PSNR of luma of each, in decibels. The peers cut the square at whole pixels after resizing, some at another place
    than the centre: theirs is compared with the place that fits best, ours with the centre alone."""
    reference = Reference(file)
    centre = reference.square()
    along = 0 if reference.size[0] > reference.size[1] else 1
    moved = [reference.square((step / 10, 0) if along == 0 else (0, step / 10)) for step in range(-12, 13)]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            raw = pathlib.Path(folder) / name
            programs[name].ask("load", file)
            width, height = programs[name].ask("pixels", raw)
            pixels = np.fromfile(raw, np.uint8).reshape(height, width, 3)
            against = [centre] if name in OURS else [centre, *moved]
            found[name] = max(psnr(pixels, one) for one in against)
    return found


def table(title, names, rows):
    print(f"\n{title}\n")
    print("| photo | " + " | ".join(names) + " | goal |")
    print("| --- " * (len(names) + 2) + "|")
    for photo, cells, verdict in rows:
        print(f"| {photo} | " + " | ".join(cells.get(name, "") for name in names) + f" | {verdict} |")
    sys.stdout.flush()


def missed_times(kind, cpu):
    """The goals that CPU times miss, in words."""
    failures = []
    for own, goals in [("pockitd", TIME_GOALS.get(kind, {})), (LIBAVCODEC, TIME_GOALS.get(f"{kind}-libavcodec", {}))]:
        for name, goal in goals.items():
            if own in cpu and cpu[own] / cpu[name] > goal:
                failures.append(f"{own} / {name} {cpu[own] / cpu[name]:.2f} > {goal}")
    return failures


def verdict(failures):
    return "met" if not failures else "MISSED: " + ", ".join(failures)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renderer", required=True, help="the built render.rs")
    parser.add_argument("--node", required=True, help="folder with sharp.mjs and node_modules")
    parser.add_argument("--photos", required=True, help="folder for the photos that are made")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="photos with this in their name")
    arguments = parser.parse_args()
    programs_of = commands(arguments)
    found = [photo for photo in photos.all(pathlib.Path(arguments.photos)) if arguments.only in photo.file.name]
    names = list(programs_of)
    missed = 0

    programs = {name: start(command, name) for name, command in programs_of.items()}
    has_libavcodec = programs[LIBAVCODEC].has_hevc
    if not has_libavcodec:
        print("skipped: HEIC by libavcodec: scripts/libavcodec has not been run", file=sys.stderr)
        names.remove(LIBAVCODEC)
    rows = []
    for photo in found:
        cpu = times(programs, contestants(photo.kind, has_libavcodec), photo.file, arguments.rounds if not photo.huge else 5)
        failures = missed_times(photo.kind, cpu)
        missed += len(failures)
        cells = {name: f"{value:.1f}" for name, value in cpu.items()}
        for name in cpu.keys() - set(OURS):
            ratios = [f"{cpu[own] / cpu[name]:.2f}" for own in OURS if own in cpu]
            cells[name] += f" ({', '.join(ratios)})"
        rows.append((photo.file.name, cells, verdict(failures) if photo.kind in TIME_GOALS else ""))
    table("CPU time of both renditions, in ms (ours as a share of theirs)", names, rows)

    rows = []
    for photo in found:
        sharpness = quality(programs, contestants(photo.kind, has_libavcodec), photo.file)
        failures = [] if sharpness["pockitd"] >= PSNR_GOAL else [f"{sharpness['pockitd']:.1f} < {PSNR_GOAL}"]
        if sharpness.get("sharp", 0) > sharpness["pockitd"]:
            failures.append("sharp is better")
        missed += len(failures)
        rows.append((photo.file.name, {name: f"{value:.1f}" for name, value in sharpness.items()}, verdict(failures)))
    table("PSNR of luma before encoding, in dB", names, rows)
    for program in programs.values():
        program.close()

    rows = []
    for photo in found:
        added = {name: memory(programs_of[name], name, photo.file) for name in contestants(photo.kind, has_libavcodec)}
        goal = None if photo.huge else MEMORY_GOALS.get(photo.kind)
        failures = [f"{added[own]:.1f} > {goal}" for own in OURS if goal and added.get(own, 0) > goal]
        missed += len(failures)
        cells = {name: f"{value:.1f}" for name, value in added.items()}
        rows.append((photo.file.name, cells, verdict(failures) if goal else ""))
    table("Memory that one upload adds to a fresh process at its peak, in MB", names, rows)
    print(f"\n{missed} goals missed" if missed else "\nall goals met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
