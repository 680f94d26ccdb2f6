/** What does the mission file say about the vehicle that it flies on? Shapes and rules of `flight`. */
import { z } from "zod";
import { type Endpoint, ENDPOINT_RULE, parseEndpoint } from "../jetson/mavlink/endpoint.ts";
import { durationSchema, strictObject } from "./schema.ts";

export interface MissionFlight {
  /** Where the autopilot's MAVLink comes in. */
  mavlink: Endpoint;
  /** 1..255: the vehicle. */
  systemId: number;
  /** What becomes of background without a link; `keep`: only jobs whose `when` leaves the phase out have to stop. */
  onLinkLoss: "stop" | "keep";
  linkTimeoutNs: number;
  /** Whether the agent tells the autopilot of the computer's load. */
  report: boolean;
}

const SYSTEM_RULE = "must be a whole number of 1 to 255";
const endpoint = z.string({ error: ENDPOINT_RULE }).transform((text, context) => {
  const parsed = parseEndpoint(text);
  if (parsed !== undefined) return parsed;
  context.addIssue({ code: "custom", message: ENDPOINT_RULE });
  return z.NEVER;
});

export const flightSchema = strictObject({
  mavlink: endpoint,
  systemId: z.int({ error: SYSTEM_RULE }).min(1, SYSTEM_RULE).max(255, SYSTEM_RULE).default(1),
  onLinkLoss: z.enum(["stop", "keep"], { error: "must be stop or keep" }).default("stop"),
  // Autopilots send a heartbeat each second.
  linkTimeout: durationSchema({ min: 1.5e9, max: 60e9 }).prefault("3s"),
  report: z.boolean().default(false),
});

export function flightOf(raw: z.infer<typeof flightSchema>): MissionFlight {
  const { linkTimeout, ...rest } = raw;
  return { ...rest, linkTimeoutNs: linkTimeout };
}
