/** The command line against an agent that is asked over HTTP on a port of this machine, without a run around it. */
import { serveHttp } from "../../../agent/http/server.ts";
import { main } from "../../../agent/main.ts";
import { type HttpScene, setUpHttp, tokenFolder } from "../http/scene.ts";

export interface CommandScene extends HttpScene, AsyncDisposable {
  address: string;
  /** With `--address` behind the arguments: exit status, standard output, standard error. */
  calypte(...args: string[]): Promise<[number, string, string]>;
  /** The agent is gone. */
  stop(): Promise<void>;
}

export async function setUpCommands(port = 0): Promise<CommandScene> {
  const listening = { hostname: "127.0.0.1", port };
  const scene = setUpHttp({ listening: () => listening });
  const http = { listen: listening, socket: undefined, tokenFile: undefined };
  const server = await serveHttp(scene.handler, http, "m.yaml");
  listening.port = Number(new URL(server.url!).port);
  const folder = await tokenFolder();
  const address = `127.0.0.1:${listening.port}`;
  let stopped = false;
  const stop = async () => {
    if (!stopped) await server.close();
    stopped = true;
  };
  return Object.assign(scene, {
    address,
    stop,
    async calypte(...args: string[]): Promise<[number, string, string]> {
      let [out, err] = ["", ""];
      const terminal = {
        out: (text: string) => void (out += text),
        err: (text: string) => void (err += text),
      };
      const code = await main([...args, "--address", address], terminal);
      return [code, out, err];
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await folder[Symbol.asyncDispose]();
    },
  });
}
