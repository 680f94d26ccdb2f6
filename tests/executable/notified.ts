/** Stands in for systemd: prints what comes to the socket that the argument names, one line each, until it is `STOPPING=1`. */
const socket = Deno.listenDatagram({ transport: "unixpacket", path: Deno.args[0]! });
console.log("listening");
for await (const [bytes] of socket) {
  const text = new TextDecoder().decode(bytes);
  console.log(text);
  if (text === "STOPPING=1") break;
}
