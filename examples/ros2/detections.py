"""What does a line of an agent's results say, in the words of vision_msgs? Plain Python, without ROS.

A mission writes one line of JSON for each result (`output: { jsonl: FILE }`, docs/RESULTS.md). Of the obstacle detector's, the
value `boxes` has up to 100 rows (x, y, width, height, score, class): the corner at the top left in pixels, best first, zeros
behind.
"""

import json
import math
import os
from dataclasses import dataclass, field

FIELDS = 6


class BadLine(ValueError):
    """A line that is no result of such a task. Its text says what, where and the rule."""


@dataclass(frozen=True)
class Box:
    """One detection. Pixels of the frame that the detector saw; the centre, as vision_msgs/BoundingBox2D has it."""

    center_x: float
    center_y: float
    size_x: float
    size_y: float
    score: float
    class_id: str


@dataclass(frozen=True)
class Detections:
    """Of one frame."""

    number: int
    # When the sensor saw it, else when it arrived: nanoseconds of CLOCK_MONOTONIC.
    seen_ns: int
    late: bool
    simulated: bool
    boxes: list[Box] = field(default_factory=list)


def parse_line(line: str, task: str, value: str = "boxes", least_score: float = 0.0) -> Detections | None:
    """None: a line of something else, or of a request without a result. BadLine: it is not what the task writes."""
    try:
        result = json.loads(line)
    except ValueError as error:
        raise BadLine(f"a line of results: must be JSON: {error}") from error
    if not isinstance(result, dict):
        raise BadLine("a line of results: must be an object")
    if result.get("work") != task or result.get("complete") is not True:
        return None
    number = integer(result, "number")
    # A sensor that gives no time: 0 or nothing.
    seen_ns = integer(result, "sensorNs", 0) or integer(result, "arrivalNs")
    values = result.get("values")
    if not isinstance(values, dict) or not isinstance(values.get(value), list):
        # On the simulator an output may be left out, and then there is nothing to tell.
        if result.get("simulated") is True:
            return None
        raise BadLine(f"result {number}: values.{value}: must be rows of {FIELDS} numbers; is it the bundle's output?")
    boxes = [box for box in (box_of(row, number, at) for at, row in enumerate(values[value])) if box.score > least_score]
    return Detections(number, seen_ns, result.get("late") is True, result.get("simulated") is True, boxes)


def box_of(row: object, number: int, at: int) -> Box:
    """Rows behind the last box are zeros: a score of 0."""
    # JSON has no NaN: the agent writes it as text, and true is no number either.
    good = isinstance(row, list) and len(row) == FIELDS and all(type(cell) in (int, float) for cell in row)
    if not good or not all(math.isfinite(cell) for cell in row):
        raise BadLine(f"result {number}: box {at}: must be {FIELDS} finite numbers, got {str(row)[:80]}")
    x, y, width, height, score, label = row
    return Box(x + width / 2, y + height / 2, float(width), float(height), float(score), str(int(label)))


def integer(result: dict, key: str, default: int | None = None) -> int:
    """Of a result. Integers beyond 2^53 come as text."""
    found = result.get(key, default)
    if isinstance(found, str) and found.isdecimal():
        found = int(found)
    if type(found) is not int or found < 0:
        raise BadLine(f"a line of results: {key}: must be a whole number, got {str(found)[:80]}")
    return found


def stamp_of(seen_ns: int, wall_minus_monotonic_ns: int) -> tuple[int, int]:
    """Seconds and nanoseconds of a header's stamp, on the wall clock."""
    return divmod(seen_ns + wall_minus_monotonic_ns, 1_000_000_000)


class Follower:
    """Whole lines of a file that grows, from its present end on.

    A new run puts a new file in the place of the old one: then that one is read from its beginning. Nothing waits here:
    `lines` gives what is there now.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.file = None
        self.rest = ""
        self.reopen(from_end=True)

    def reopen(self, from_end: bool = False) -> None:
        if self.file is not None:
            self.file.close()
        self.rest = ""
        try:
            self.file = open(self.path, encoding="utf-8", errors="replace")
        except FileNotFoundError:
            self.file = None
            return
        if from_end:
            self.file.seek(0, 2)

    def lines(self) -> list[str]:
        text = "" if self.file is None else self.file.read()
        *whole, self.rest = (self.rest + text).split("\n")
        # Looked at behind the last read, so that nothing of the old file is lost.
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return whole
        same = self.file is not None and os.fstat(self.file.fileno()).st_ino == there.st_ino
        if not same or there.st_size < self.file.tell():
            self.reopen()
            more = "" if self.file is None else self.file.read()
            *later, self.rest = more.split("\n")
            whole += later
        return whole

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None
