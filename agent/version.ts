/** Which version of the agent is this? As deno.json says. */
import manifest from "../deno.json" with { type: "json" };

export const VERSION: string = manifest.version;
