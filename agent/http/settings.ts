/** Where is the agent asked, and what opens it? As the mission says. */
import { InputError } from "../errors.ts";

export interface HttpSettings {
  /** `undefined`: at no port. Port 0: any free one. */
  listen: { hostname: string; port: number } | undefined;
  /** Of a Unix socket, mode 0660: whoever may use it may change things. */
  socket: string | undefined;
  /** `undefined`: beside the engines' sockets. */
  tokenFile: string | undefined;
}

interface RawHttp {
  listen: { hostname: string; port: number } | false;
  socket?: string | undefined;
  tokenFile?: string | undefined;
}

/** `undefined`: the agent is not asked at all. */
export function httpOf(raw: RawHttp | false, resolve: (path: string) => string): HttpSettings | undefined {
  if (raw === false || raw.listen === false && raw.socket === undefined) return undefined;
  const { listen, socket, tokenFile } = raw;
  return {
    listen: listen === false ? undefined : listen,
    socket: socket && resolve(socket),
    tokenFile: tokenFile && resolve(tokenFile),
  };
}

/** Whether others than this machine can connect. */
export function isRemote({ listen }: HttpSettings): boolean {
  if (listen === undefined) return false;
  const { hostname } = listen;
  return !(hostname === "localhost" || hostname === "::1" || /^127(\.\d{1,3}){3}$/.test(hostname));
}

/** Throws `InputError` if other machines could connect and nobody has allowed that. */
export function checkRemote(http: HttpSettings, allowed: boolean, file: string): void {
  if (!isRemote(http) || allowed) return;
  const { hostname } = http.listen!;
  throw new InputError({
    file,
    field: "http.listen",
    rule: `${hostname} can be reached from other machines`,
    remedy: "start with --allow-remote, which wants the token of every reader, or listen on 127.0.0.1",
  });
}
