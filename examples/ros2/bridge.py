"""NOT RUN: there was no ROS where this was written. A sketch of a node that publishes an agent's detections.

    source /opt/ros/humble/setup.bash
    python3 bridge.py --results /var/lib/calypte/data/detections.jsonl --task obstacle-detector --frame-id camera_optical

Publishes vision_msgs/Detection2DArray on `detections`, one message for each result, stamped with the sensor's time. Needs rclpy
and vision_msgs 4 (Humble or later: earlier ones have another centre). What is tested, without ROS, is detections.py.
"""

import argparse
import sys
import time

import rclpy
from detections import BadLine, Detections, Follower, parse_line, stamp_of
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

# The agent writes results as they come; a look costs one read.
LOOK_S = 0.01


class Bridge(Node):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__("calypte_detections")
        self.options = options
        self.follower = Follower(options.results)
        self.publisher = self.create_publisher(Detection2DArray, "detections", qos_profile_sensor_data)
        self.bad = self.simulated = 0
        self.timer = self.create_timer(LOOK_S, self.look)

    def look(self) -> None:
        for line in self.follower.lines():
            try:
                found = parse_line(line, self.options.task, least_score=self.options.least_score)
            except BadLine as error:
                self.bad += 1
                self.get_logger().warning(f"{error} ({self.bad} so far)", throttle_duration_sec=10)
                continue
            if found is None:
                continue
            if found.simulated and not self.options.simulated:
                self.simulated += 1
                self.get_logger().warning(
                    f"{self.simulated} results are simulated and are not published (--simulated publishes them)",
                    throttle_duration_sec=10,
                )
                continue
            self.publisher.publish(self.message(found))

    def message(self, found: Detections) -> Detection2DArray:
        message = Detection2DArray()
        message.header.frame_id = self.options.frame_id
        # Asked each time, as the wall clock may be set.
        offset_ns = time.time_ns() - time.monotonic_ns()
        message.header.stamp.sec, message.header.stamp.nanosec = stamp_of(found.seen_ns, offset_ns)
        for at, box in enumerate(found.boxes):
            detection = Detection2D()
            detection.header = message.header
            detection.id = f"{found.number}/{at}"
            detection.bbox.center.position.x = box.center_x
            detection.bbox.center.position.y = box.center_y
            detection.bbox.size_x = box.size_x
            detection.bbox.size_y = box.size_y
            hypothesis = ObjectHypothesisWithPose()
            hypothesis.hypothesis.class_id = box.class_id
            hypothesis.hypothesis.score = box.score
            detection.results.append(hypothesis)
            message.detections.append(detection)
        return message


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--results", required=True, help="the file of the task's `output: { jsonl: FILE }`")
    parser.add_argument("--task", required=True, help="the critical task's name in the mission")
    parser.add_argument("--frame-id", default="camera", help="of the messages' headers")
    parser.add_argument("--least-score", type=float, default=0.0, help="boxes must have more")
    parser.add_argument("--simulated", action="store_true", help="publish what a simulator answered, too")
    options, ros = parser.parse_known_args()
    rclpy.init(args=[sys.argv[0], *ros])
    bridge = Bridge(options)
    try:
        rclpy.spin(bridge)
    except KeyboardInterrupt:
        pass
    finally:
        bridge.follower.close()
        bridge.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
