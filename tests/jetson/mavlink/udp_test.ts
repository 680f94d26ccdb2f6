import { assertEquals, assertRejects } from "@std/assert";
import { endpointText, parseEndpoint } from "../../../jetson/mavlink/endpoint.ts";
import { bindUdp } from "../../../jetson/mavlink/udp.ts";

const LOOPBACK = { hostname: "127.0.0.1", port: 0 };

Deno.test("addresses: version 4, version 6 in brackets, and nothing else", () => {
  assertEquals(parseEndpoint("udp:127.0.0.1:14550"), { hostname: "127.0.0.1", port: 14550 });
  assertEquals(parseEndpoint("udp:[::1]:1"), { hostname: "::1", port: 1 });
  const wrong = [
    "127.0.0.1:14550",
    "tcp:127.0.0.1:14550",
    "udp:127.0.0.1",
    "udp:127.0.0.1:0",
    "udp:127.0.0.1:65536",
    "udp:127.0.0.256:1",
    "udp:localhost:14550",
    "udp:::1:14550",
    "udp:[1234]:14550",
    "udp:127.0.0.1:14550 ",
  ];
  for (const text of wrong) assertEquals(parseEndpoint(text), undefined, text);
  for (const text of ["127.0.0.1:5", "[::1]:5"]) {
    assertEquals(endpointText(parseEndpoint(`udp:${text}`)!), text);
  }
});

Deno.test("a datagram arrives with the address to answer to, and the answer arrives there", async () => {
  const got = Promise.withResolvers<number[]>();
  const answered = Promise.withResolvers<number[]>();
  const agent = await bindUdp(LOOPBACK, (bytes, from) => {
    got.resolve([...bytes]);
    agent.send(Uint8Array.of(9), from);
  });
  const vehicle = await bindUdp(LOOPBACK, (bytes) => answered.resolve([...bytes]));
  try {
    vehicle.send(Uint8Array.of(1, 2, 3), agent.endpoint);
    assertEquals(await got.promise, [1, 2, 3]);
    assertEquals(await answered.promise, [9]);
  } finally {
    agent.close();
    vehicle.close();
    vehicle.close();
    agent.send(Uint8Array.of(1), LOOPBACK);
  }
});

Deno.test("an address in use is an error in words", async () => {
  const first = await bindUdp(LOOPBACK, () => {});
  try {
    await assertRejects(() => bindUdp(first.endpoint, () => {}), Error, "EADDRINUSE");
  } finally {
    first.close();
  }
});

Deno.test({
  name: "without permission for an address there is an error before anything is bound",
  permissions: { net: ["127.0.0.1:1"] },
  fn: async () => {
    await assertRejects(
      () => bindUdp({ hostname: "127.0.0.1", port: 14_550 }, () => {}),
      Error,
      "there is no permission to use 127.0.0.1:14550",
    );
  },
});
