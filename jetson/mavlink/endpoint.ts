/** Addresses such as `udp:127.0.0.1:14550`. */

export interface Endpoint {
  /** An IP address; of version 6 without brackets. */
  hostname: string;
  port: number;
}

export const ENDPOINT_RULE = 'must be "udp:ADDRESS:PORT" such as "udp:127.0.0.1:14550" or "udp:[::1]:14550"';

/** `undefined`: it is none. Port 0 is none either, as nobody could send to it. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^udp:(?:\[([0-9A-Fa-f:.]{2,45})\]|(\d{1,3}(?:\.\d{1,3}){3})):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const [, six, four, digits] = match;
  const port = Number(digits);
  if (port < 1 || port > 65_535) return undefined;
  if (four !== undefined) {
    return four.split(".").every((part) => Number(part) <= 255) ? { hostname: four, port } : undefined;
  }
  return six !== undefined && six.includes(":") ? { hostname: six, port } : undefined;
}

/** `host:port`, as permissions name it. */
export function endpointText({ hostname, port }: Endpoint): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}
