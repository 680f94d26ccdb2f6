/**
 * Datagrams to and from an address. `node:dgram`, as `Deno.listenDatagram` is not stable.
 */
import dgram from "node:dgram";
import { type Endpoint, endpointText } from "./endpoint.ts";

export interface DatagramSocket {
  /** Where it is bound; the port is never 0. */
  readonly endpoint: Endpoint;
  /** What cannot be sent is dropped, as UDP would. */
  send(bytes: Uint8Array, to: Endpoint): void;
  close(): void;
}

export type OnDatagram = (bytes: Uint8Array, from: Endpoint) => void;

export type BindDatagrams = (endpoint: Endpoint, onDatagram: OnDatagram) => Promise<DatagramSocket>;

/** Throws `Error` with a message for people: no permission, no such address, or in use. */
export const bindUdp: BindDatagrams = async (endpoint, onDatagram) => {
  // Deno throws a missing permission where nobody can catch it.
  if (!await mayUse(endpoint)) {
    throw new Error(`there is no permission to use ${endpointText(endpoint)}`);
  }
  const socket = dgram.createSocket(endpoint.hostname.includes(":") ? "udp6" : "udp4");
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.bind({ address: endpoint.hostname, port: endpoint.port, exclusive: true }, () => {
      socket.removeListener("error", reject);
      resolve();
    });
  });
  // Such as "port unreachable" in answer to what was sent: the next datagram may come all the same.
  socket.on("error", () => {});
  socket.on("message", (bytes, from) => {
    onDatagram(bytes, { hostname: from.address, port: from.port });
  });
  const { address, port } = socket.address();
  const allowed = new Map<string, boolean>();
  let closed = false;
  return {
    endpoint: { hostname: address, port },
    send(bytes, to) {
      const key = endpointText(to);
      const may = allowed.get(key);
      if (closed || may === false) return;
      if (may === true) return socket.send(bytes, to.port, to.hostname, () => {});
      void mayUse(to).then((granted) => {
        // One entry for each vehicle that ever spoke; forgotten rather than kept without bound.
        if (allowed.size >= 16) allowed.clear();
        allowed.set(key, granted);
        if (granted && !closed) socket.send(bytes, to.port, to.hostname, () => {});
      });
    },
    close() {
      if (closed) return;
      closed = true;
      socket.close();
    },
  };
};

async function mayUse(endpoint: Endpoint): Promise<boolean> {
  const { state } = await Deno.permissions.query({ name: "net", host: endpointText(endpoint) });
  return state === "granted";
}
