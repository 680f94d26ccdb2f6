"""Does a line of results become the right detections, and is a bad one refused in words? Needs no ROS.

    cd examples/ros2 && python3 -m unittest
"""

import json
import os
import tempfile
import unittest

from detections import BadLine, Box, Follower, parse_line, stamp_of

ROWS = [[10.0, 20.0, 40.0, 60.0, 0.75, 1], [-8.5, 0, 17, 30, 0.5, 0], [0, 0, 0, 0, 0, 0]]


def line(**change: object) -> str:
    result = {
        "work": "obstacle-detector", "kind": "critical", "number": 7, "sensorNs": 5_000, "arrivalNs": 6_000,
        "late": False, "dropped": False, "failed": False, "complete": True, "simulated": False,
        "values": {"boxes": ROWS},
    }
    return json.dumps(result | change)


class Lines(unittest.TestCase):
    def test_boxes_have_their_centre_and_zeros_are_left_out(self) -> None:
        found = parse_line(line(), "obstacle-detector")
        self.assertEqual((found.number, found.seen_ns, found.late, found.simulated), (7, 5_000, False, False))
        self.assertEqual(found.boxes, [Box(30, 50, 40, 60, 0.75, "1"), Box(0, 15, 17, 30, 0.5, "0")])

    def test_only_boxes_above_the_least_score_are_told(self) -> None:
        found = parse_line(line(), "obstacle-detector", least_score=0.5)
        self.assertEqual([box.score for box in found.boxes], [0.75])

    def test_a_frame_without_detections_is_a_message_without_any(self) -> None:
        self.assertEqual(parse_line(line(values={"boxes": []}), "obstacle-detector").boxes, [])

    def test_without_a_sensor_time_the_arrival_counts(self) -> None:
        self.assertEqual(parse_line(line(sensorNs=0), "obstacle-detector").seen_ns, 6_000)
        self.assertEqual(parse_line(line(arrivalNs="9007199254740993", sensorNs=0), "obstacle-detector").seen_ns, 2**53 + 1)

    def test_late_and_simulated_are_told(self) -> None:
        found = parse_line(line(late=True, simulated=True), "obstacle-detector")
        self.assertEqual((found.late, found.simulated), (True, True))

    def test_other_lines_are_nothing(self) -> None:
        self.assertIsNone(parse_line(line(work="vegetation-map"), "obstacle-detector"))
        self.assertIsNone(parse_line(line(complete=False, dropped=True), "obstacle-detector"))
        self.assertIsNone(parse_line(line(simulated=True, values={}), "obstacle-detector"))

    def test_bad_lines_are_refused_with_their_rule(self) -> None:
        for text, rule in [
            ("{", "must be JSON"),
            ("[]", "must be an object"),
            (line(number="x"), "number: must be a whole number"),
            (line(sensorNs=0, arrivalNs=-1), "arrivalNs: must be a whole number"),
            (line(values={}), "values.boxes: must be rows"),
            (line(values={"boxes": [[1, 2, 3]]}), "result 7: box 0: must be 6 finite numbers"),
            (line(values={"boxes": [ROWS[0], [1, 2, 3, 4, "NaN", 0]]}), "result 7: box 1: must be 6 finite numbers"),
            (line(values={"boxes": [[1, 2, 3, 4, True, 0]]}), "must be 6 finite numbers"),
        ]:
            with self.assertRaisesRegex(BadLine, rule, msg=text):
                parse_line(text, "obstacle-detector")

    def test_a_stamp_is_the_sensors_time_on_the_wall_clock(self) -> None:
        self.assertEqual(stamp_of(2_000_000_005, 1_700_000_000_999_999_999), (1_700_000_003, 4))


class Files(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "out.jsonl")

    def tearDown(self) -> None:
        self.folder.cleanup()

    def write(self, text: str, mode: str = "a") -> None:
        with open(self.path, mode, encoding="utf-8") as file:
            file.write(text)

    def test_what_is_there_already_is_old(self) -> None:
        self.write("old\n")
        follower = Follower(self.path)
        self.assertEqual(follower.lines(), [])
        self.write("new\n")
        self.assertEqual(follower.lines(), ["new"])
        follower.close()

    def test_half_a_line_waits_for_its_end(self) -> None:
        self.write("")
        follower = Follower(self.path)
        self.write("one\ntw")
        self.assertEqual(follower.lines(), ["one"])
        self.write("o\n")
        self.assertEqual(follower.lines(), ["two"])
        follower.close()

    def test_a_file_that_comes_later_is_read_from_its_beginning(self) -> None:
        follower = Follower(self.path)
        self.assertEqual(follower.lines(), [])
        self.write("one\n")
        self.assertEqual(follower.lines(), ["one"])
        follower.close()

    def test_a_new_run_puts_a_new_file_there_and_nothing_of_either_is_lost(self) -> None:
        self.write("old\n")
        follower = Follower(self.path)
        self.write("last\nhal")
        os.rename(self.path, self.path + ".1")
        self.write("first\n")
        self.assertEqual(follower.lines(), ["last", "first"])
        self.write("second\n")
        self.assertEqual(follower.lines(), ["second"])
        follower.close()


if __name__ == "__main__":
    unittest.main()
