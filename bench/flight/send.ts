/**
 * The scripted autopilot in real time, to try a mission with `flight` by hand:
 *
 * ```sh
 * ./calypte run examples/missions/flight.yaml --backend sim
 * deno run -A bench/flight/send.ts --to udp:127.0.0.1:14550 --from 60s --for 10m
 * ```
 *
 * A stand-in for an autopilot: it says what bench/flight/script.ts says, and takes no commands.
 */
import { parseDurationNs } from "../../agent/quantity.ts";
import { parseArgs } from "../../agent/std/mod.ts";
import { ENDPOINT_RULE, parseEndpoint } from "../../jetson/mavlink/endpoint.ts";
import { readFrames } from "../../jetson/mavlink/frames.ts";
import { bindUdp } from "../../jetson/mavlink/udp.ts";
import { FLIGHT_S } from "./script.ts";
import { ScriptedVehicle } from "./vehicle.ts";

const args = parseArgs(Deno.args, { string: ["to", "from", "for"] });
const to = parseEndpoint(String(args["to"] ?? "udp:127.0.0.1:14550"));
if (to === undefined) {
  console.error(`--to ${ENDPOINT_RULE}`);
  Deno.exit(2);
}
const seconds = (name: string, otherwise: number) =>
  args[name] === undefined
    ? otherwise
    : parseDurationNs(args[name], { allowZero: true, where: { file: "", field: `--${name}` } }) / 1e9;
const fromS = seconds("from", 0);
const endS = Math.min(FLIGHT_S, fromS + seconds("for", FLIGHT_S));
const vehicle = new ScriptedVehicle();
vehicle.until(fromS);
let reports = 0;
const here = to.hostname.includes(":") ? "::1" : "127.0.0.1";
const socket = await bindUdp({ hostname: here, port: 0 }, (bytes) => {
  for (const { messageId, componentId } of readFrames(bytes).frames) {
    reports++;
    if (reports === 1) console.log(`message ${messageId} from component ${componentId}`);
  }
});
const beganMs = performance.now();
const timer = setInterval(() => {
  const atS = fromS + (performance.now() - beganMs) / 1000;
  for (const datagram of vehicle.until(Math.min(atS, endS))) socket.send(datagram, to);
  if (atS < endS) return;
  clearInterval(timer);
  socket.close();
  console.log(`sent until ${endS.toFixed(0)} s of the script; ${reports} messages came back`);
}, 100);
