/**
 * How is `bundle.json` written? As JSON whose short objects and lists take one line, as `deno fmt` leaves them.
 *
 * Keys keep their order; those that are undefined are left out.
 */

const MAX_WIDTH = 110;

export function manifestText(manifest: Record<string, unknown>): string {
  return pretty(JSON.parse(JSON.stringify(manifest)), 0, 0, true) + "\n";
}

/** `column`: where the value begins. One more column is left for the comma. */
function pretty(value: unknown, indent: number, column: number, isWhole = false): string {
  const short = flat(value);
  if (!isWhole && column + short.length + 1 <= MAX_WIDTH) return short;
  if (typeof value !== "object" || value === null) return short;
  const inner = indent + 2;
  const entries = Array.isArray(value)
    ? value.map((item) => pretty(item, inner, inner))
    : Object.entries(value).map(([key, item]) => {
      const head = `${JSON.stringify(key)}: `;
      return head + pretty(item, inner, inner + head.length);
    });
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const lines = entries.map((entry) => `\n${" ".repeat(inner)}${entry}`);
  return `${open}${lines.join(",")}\n${" ".repeat(indent)}${close}`;
}

function flat(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flat).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${flat(item)}`);
  return entries.length === 0 ? "{}" : `{ ${entries.join(", ")} }`;
}
