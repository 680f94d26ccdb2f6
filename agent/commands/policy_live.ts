/** `calypte policy show|set`: which policy plans the background of the running agent, and another one. */
import { DEFAULT_LISTEN } from "../config_schema.ts";
import { closest, InputError } from "../errors.ts";
import { POLICY_NAMES } from "../../policies/registry.ts";
import { ask, noAnswer, parseAddress } from "./address.ts";
import { type Command, parseCommand, type Terminal } from "./command.ts";

const SHOW_HELP = `Usage: calypte policy show [options]

Says which policy plans the background of the running agent, and with which options.

Options:
  --address HOST:PORT  where the agent listens; default ${DEFAULT_LISTEN}
  --json               its whole answer as JSON

Exit status 1 if no agent answers.

Example:
  calypte policy show
`;

/** What `/v1/policy` answers, as far as it is shown. */
interface InForce {
  name: string;
  /** Of a policy of one's own. */
  file: string | null;
  options: Record<string, unknown>;
  /** When it was set by hand; `null`: it is the mission's. */
  since: string | null;
}

export const policyShowCommand: Command = {
  name: "policy show",
  summary: "show the policy of the running agent",
  help: SHOW_HELP,
  async run(args, terminal) {
    const { flags, values } = parseCommand("policy show", args, {
      boolean: ["json"],
      string: ["address"],
      positional: [],
    });
    return await report(parseAddress(values.address), flags.json, terminal);
  },
};

const SET_HELP = `Usage: calypte policy set NAME [options]

Gives the running agent another built-in policy, from the next plan on. It holds until the run ends in
order, or a reload that changes the policy. A policy of your own comes by the mission.

Options:
  --options LIST       numbers for the policy, such as reserve=0.2; several between commas. calypte policy
                       list says which there are
  --address HOST:PORT  where the agent listens; default ${DEFAULT_LISTEN}
  --json               its whole answer as JSON

Exit status 1 if no agent answers, or if it refuses.

Example:
  calypte policy set energy
`;

export const policySetCommand: Command = {
  name: "policy set",
  summary: "give the running agent another policy",
  help: SET_HELP,
  async run(args, terminal) {
    const { flags, values, positional: [name = ""] } = parseCommand("policy set", args, {
      boolean: ["json"],
      string: ["address", "options"],
      positional: ["NAME"],
    });
    if (!POLICY_NAMES.some((each) => each === name)) {
      const near = closest(name, POLICY_NAMES);
      throw new InputError({
        file: "",
        field: name,
        rule: `must be one of ${POLICY_NAMES.join(", ")}`,
        ...(near === undefined ? {} : { remedy: `did you mean ${near}?` }),
      });
    }
    return await report(parseAddress(values.address), flags.json, terminal, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name, options: parseOptions(values.options) }),
    });
  },
};

function parseOptions(text: string | undefined): Record<string, number> {
  const options: Record<string, number> = {};
  for (const entry of text?.split(",") ?? []) {
    const [, key, value] = entry.match(/^([\w-]+)=(\S+)$/) ?? [];
    if (key === undefined || value === undefined || !Number.isFinite(Number(value))) {
      throw new InputError({ file: "", field: "--options", rule: `must be NAME=NUMBER, not ${entry}` });
    }
    options[key] = Number(value);
  }
  return options;
}

async function report(
  address: string,
  json: boolean,
  terminal: Terminal,
  init: RequestInit = {},
): Promise<number> {
  const answer = await ask<InForce>(address, "/v1/policy", init);
  if (answer instanceof Error) {
    terminal.err(noAnswer(address, answer));
    return 1;
  }
  const { name, file, options, since } = answer;
  const given = Object.entries(options).map(([key, value]) => ` ${key}=${value}`).join("");
  terminal.out(
    json
      ? JSON.stringify(answer) + "\n"
      : `${file === null ? name : `${file}, else ${name}`}${given}${since ? `  (set at ${since})` : ""}\n`,
  );
  return 0;
}
