/**
 * Who may change something? Whoever can read this user's token file, or may use the server's Unix socket.
 *
 * The file is made at the first start, with mode 0600; all agents and commands of the user share it. A token proves
 * nothing about who somebody is, only that they may read the file.
 */
import { InputError } from "../errors.ts";
import { path } from "../std/mod.ts";

const TOKEN_BYTES = 32;
const MOST_CHARACTERS = 512;
const LEAST_CHARACTERS = 16;

/** Where the token lies if the mission does not say: beside the engines' sockets. */
export function defaultTokenFile(runDir: string): string {
  return path.join(runDir, "token");
}

/** Reads the token, and makes one where there is none. Throws `InputError` if others may read it. */
export async function openToken(file: string): Promise<string> {
  try {
    await Deno.writeTextFile(file, newToken() + "\n", { mode: 0o600, createNew: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw refused(file, error);
  }
  return await readToken(file);
}

/** Throws `InputError` if it is not there, is none, or others may read it. */
export async function readToken(file: string): Promise<string> {
  let text: string;
  try {
    const { mode } = await Deno.stat(file);
    if (mode !== null && (mode & 0o077) !== 0) {
      throw new InputError({
        file,
        field: "",
        rule: `must be readable by its owner only, and has mode 0${(mode & 0o777).toString(8)}`,
        remedy: "chmod 600 it, and change the token if somebody may have read it",
      });
    }
    text = await Deno.readTextFile(file);
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw refused(file, error);
  }
  const token = text.trim();
  if (token.length >= LEAST_CHARACTERS && token.length <= MOST_CHARACTERS && /^[\x21-\x7e]+$/.test(token)) {
    return token;
  }
  const rule = `must hold one token of ${LEAST_CHARACTERS} to ${MOST_CHARACTERS} printable characters`;
  throw new InputError({ file, field: "", rule, remedy: "remove it: the next run makes another one" });
}

function refused(file: string, cause: unknown): InputError {
  const why = cause instanceof Deno.errors.NotFound
    ? "is not there"
    : (cause as Error).message.split("\n")[0];
  return new InputError({ file, field: "", rule: `must be a readable token file: it ${why}` }, { cause });
}

function newToken(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(TOKEN_BYTES));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Takes as long for a token that is nearly right as for one that is all wrong. */
export async function sameToken(given: string, token: string): Promise<boolean> {
  const digest = async (text: string) =>
    new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  const [a, b] = await Promise.all([digest(given), digest(token)]);
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}
