/** Where does the server listen? On a TCP port of this machine, a Unix socket, or both. */
import { InputError } from "../errors.ts";
import type { Handler } from "./app.ts";
import type { HttpSettings } from "./settings.ts";

/** Whoever may use the socket may change things: its owner and group. */
const SOCKET_MODE = 0o660;

export interface Server {
  /** `undefined`: it listens at no port. */
  url: string | undefined;
  /** Idle keep-alive connections may stay open: closing does not wait for them for ever. */
  close(): Promise<void>;
}

/** Binds at once, so that a taken address is found before anything runs. Throws `InputError`, and then listens nowhere. */
export async function serveHttp(
  handler: Handler,
  { listen, socket }: HttpSettings,
  missionFile: string,
): Promise<Server> {
  const servers: Deno.HttpServer[] = [];
  const url = listen === undefined ? undefined : bindPort(listen);
  try {
    if (socket !== undefined) await bindSocket(socket);
  } catch (error) {
    await Promise.all(servers.map((server) => server.shutdown()));
    throw error;
  }
  return {
    url,
    async close() {
      await Promise.all(servers.map((server) => server.shutdown()));
    },
  };

  function bindPort({ hostname, port }: { hostname: string; port: number }): string {
    const fetch = (request: Request) => handler(request, { socket: false });
    try {
      const server = Deno.serve({ hostname, port, onListen: () => {} }, fetch);
      servers.push(server);
      const host = hostname.includes(":") ? `[${hostname}]` : hostname;
      return `http://${host}:${server.addr.port}`;
    } catch (error) {
      throw new InputError({
        file: missionFile,
        field: "http.listen",
        rule: `${hostname}:${port} ${whyNot(error)}`,
        remedy: error instanceof Deno.errors.NotCapable
          ? `allow it with CALYPTE_ALLOW_NET=${hostname}:${port}`
          : "choose another port, port 0 for any free one, or `listen: false`",
      }, { cause: error });
    }
  }

  async function bindSocket(path: string): Promise<void> {
    const fetch = (request: Request) => handler(request, { socket: true });
    try {
      await removeStale(path);
      const server = Deno.serve({ path, onListen: () => {} }, fetch);
      servers.push(server as unknown as Deno.HttpServer);
      Deno.chmodSync(path, SOCKET_MODE);
    } catch (error) {
      throw new InputError({
        file: missionFile,
        field: "http.socket",
        rule: `${path} ${whyNot(error)}`,
        remedy: "name a path in a folder that this user may write to, such as one below /run",
      }, { cause: error });
    }
  }
}

function whyNot(error: unknown): string {
  if (error instanceof Deno.errors.AddrInUse) return "is in use already";
  return `cannot be listened on: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`;
}

/** A socket that nobody listens on any more is left from a run that was killed. Another kind of file is not touched. */
async function removeStale(path: string): Promise<void> {
  let info: Deno.FileInfo;
  try {
    info = Deno.lstatSync(path);
  } catch {
    return;
  }
  if (info.isSocket !== true || await answers(path)) {
    throw new Deno.errors.AddrInUse("somebody listens there");
  }
  Deno.removeSync(path);
}

async function answers(path: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return true;
  } catch (error) {
    return !(error instanceof Deno.errors.ConnectionRefused);
  }
}
