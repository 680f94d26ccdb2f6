/**
 * Does the tree keep the house rules that a machine can check? Each finding names what to do instead.
 *
 * `.tools/deno run --allow-read tools/house_rules.ts` lists the findings; tests/tools/house_rules_test.ts fails on any. It knows
 * nothing of formatting and types, which `deno fmt`, `deno lint` and `deno check` look after.
 *
 * An exception is a comment on the line or on the one above it: `house-rule: NAME, because REASON`.
 */

export interface Finding {
  rule: string;
  path: string;
  /** From 1; 0: the whole file. */
  line: number;
  text: string;
  instead: string;
}

interface Rule {
  name: string;
  /** What to do instead. */
  instead: string;
  /** Which files, by their path from the root. */
  applies: (path: string) => boolean;
  /** Indices in `text` that break the rule. */
  find: (text: string) => number[];
}

const MAX_LINES = 500;
/** Says so in its first lines; its generator is held to the rules instead. */
const GENERATED = /^(?:.*\n){0,5}.*\bgenerated\b.*\bby tools\//i;
const CODE = /\.(ts|cc|h|cu)$/;
const LIBRARY_TS = /^(mod\.ts$|(agent|ffi|ptx|policies|jetson)\/.*\.ts$)/;
const NATIVE = /^ffi\/native\/.*\.(cc|h)$/;
const TESTS = /^tests\/.*\.(ts|cc|h)$/;
const SKIPPED_FOLDERS = /^(\.git|\.tools|\.carry|build|dist|out|node_modules|__pycache__)$/;
/** Reads as text and is written by hand. deno.lock is neither. */
const TEXT =
  /\.(ts|js|css|html|cc|h|cu|py|sh|md|json|jsonc|yaml|yml|txt|service|map|cmake)$|(^|\/)(Makefile|run|calypte)$/;

/** The log stamps its lines, and the command line speaks to people. */
const READS_CLOCK = ["agent/log.ts"];
const PRINTS = /^agent\/(log|main|cli)\.ts$|^agent\/(cli|commands)\//;

const RULES: Rule[] = [
  {
    name: "clock",
    instead:
      "take `now` as an argument, or ask the engine's clock; only agent/log.ts stamps with the wall clock",
    applies: (path) => /^(agent|ffi|policies)\/.*\.ts$/.test(path) && !READS_CLOCK.includes(path),
    find: matches(/\bDate\.now\(|\bperformance\.now\(|\bnew Date\(\)/g),
  },
  {
    name: "core-clock",
    instead: "the scheduler core is `event, now -> actions`: pass the time in with the event",
    applies: (path) => /^ffi\/native\/core\//.test(path),
    find: matches(/std::chrono|clock_gettime|gettimeofday|calypte_now_ns/g),
  },
  {
    name: "printing",
    instead: "use agent/log.ts, return the text, or throw; only the command line prints",
    applies: (path) => LIBRARY_TS.test(path) && !PRINTS.test(path) && !path.startsWith("agent/dashboard/"),
    find: matches(/\bconsole\.\w+\(/g),
  },
  {
    name: "native-printing",
    instead: "return a code and set the last error's text: the library never prints and never exits",
    applies: (path) => NATIVE.test(path),
    find: matches(/\bstd::c(out|err)\b|\bf?printf\(|\bputs\(|(?<![\w.>:])_?exit\(|\bstd::exit\(/g),
  },
  {
    name: "todo",
    instead: "do it, or say what it waits for: `TODO(what it waits for): what is to be done`",
    applies: (path) => TEXT.test(path) && !isOwn(path),
    find: matches(/\bTODO\b(?!\([^)]+\): \S)/g),
  },
  {
    name: "machine-path",
    instead: "derive the path from the repository's root, an option or an environment variable",
    applies: (path) => TEXT.test(path),
    find: matches(/(?<![\w.$}*-])\/(?:home|root|Users|work|farm|mnt)\//g),
  },
  {
    name: "registry-host",
    instead: "let the package manager's own configuration say where packages come from",
    applies: (path) => TEXT.test(path),
    find: matches(
      /registry\.npm|npm\.jsr\.io|https?:\/\/jsr\.io|pypi\.org|pythonhosted\.org|static\.crates\.io|deb\.debian/g,
    ),
  },
  {
    name: "sleep",
    instead: "advance virtual time, or wait for the event itself",
    applies: (path) => TESTS.test(path) && !isOwn(path),
    find: (text) => [
      ...timers(text),
      ...matches(/(?<![\w.])(?:await delay|u?sleep|nanosleep)\(|\bsleep_(?:for|until)\(/g)(text),
    ],
  },
  {
    name: "policy-import",
    instead: "a policy knows nothing but its own folder; what it needs belongs into the snapshot",
    applies: isPolicy,
    find: matches(/\bfrom\s+"(?!\.\/[a-z_]+\.ts")|\bimport\s+"|\bimport\(/g),
  },
  {
    name: "policy-purity",
    instead: "a policy is a pure function: what it needs belongs into the snapshot",
    applies: isPolicy,
    find: matches(
      /\bDeno\.|\bfetch\(|\bMath\.random\(|\bcrypto\.|\bglobalThis\b|\bset(Timeout|Interval)\(|^(export )?let /gm,
    ),
  },
];

function isPolicy(path: string): boolean {
  return /^policies\/.*\.ts$/.test(path) && path !== "policies/registry.ts";
}

/** The rules and their test have to spell out what they forbid. */
function isOwn(path: string): boolean {
  return path === "tools/house_rules.ts" || path === "tests/tools/house_rules_test.ts";
}

function matches(pattern: RegExp): (text: string) => number[] {
  return (text) => Array.from(text.matchAll(pattern), (match) => match.index);
}

/** Timers whose delay, the second argument, is not literally 0 or left out. */
function timers(text: string): number[] {
  const found: number[] = [];
  for (const match of text.matchAll(/\bsetTimeout\(|\bsetInterval\(/g)) {
    let depth = 1;
    let lastComma = -1;
    let at = match.index + match[0].length;
    for (; at < text.length && depth > 0; at++) {
      const char = text[at]!;
      if ("([{".includes(char)) depth++;
      else if (")]}".includes(char)) depth--;
      else if (char === "," && depth === 1 && !/^,\s*\)/.test(text.slice(at, at + 80))) lastComma = at;
    }
    const delay = lastComma < 0 ? "" : text.slice(lastComma + 1, at - 1).replace(",", "").trim();
    if (delay !== "" && delay !== "0") found.push(match.index);
  }
  return found;
}

/** Findings in one file. */
export function checkFile(path: string, text: string): Finding[] {
  const lines = text.split("\n");
  const findings: Finding[] = [];
  const lineCount = text.endsWith("\n") ? lines.length - 1 : lines.length;
  const kept = /house-rule: length, because \S/.test(lines.slice(0, 5).join("\n"));
  if (CODE.test(path) && lineCount > MAX_LINES && !GENERATED.test(text) && !kept) {
    findings.push({
      rule: "length",
      path,
      line: 0,
      text: `${lineCount} lines`,
      instead: `give each subject a file of its own; ${MAX_LINES} lines at most`,
    });
  }
  for (const rule of RULES) {
    if (!rule.applies(path)) continue;
    for (const index of rule.find(text)) {
      const line = text.slice(0, index).split("\n").length;
      const allowed = new RegExp(`house-rule: ${rule.name}, because \\S`);
      if (allowed.test(lines[line - 1]!) || allowed.test(lines[line - 2] ?? "")) continue;
      findings.push({ rule: rule.name, path, line, text: lines[line - 1]!.trim(), instead: rule.instead });
    }
  }
  return findings;
}

/** Findings about a folder's name. */
export function checkFolder(path: string): Finding[] {
  if (!/(^|\/)(utils?|helpers?|misc|common)$/.test(path)) return [];
  return [{
    rule: "folder",
    path,
    line: 0,
    text: path,
    instead: "name the folder for the question that it answers",
  }];
}

/** Findings in the whole tree under `root`. */
export async function checkTree(root: string, under = ""): Promise<Finding[]> {
  const findings: Finding[] = [];
  for await (const entry of Deno.readDir(`${root}/${under}`)) {
    const path = under + entry.name;
    if (entry.isDirectory && !SKIPPED_FOLDERS.test(entry.name)) {
      findings.push(...checkFolder(path), ...await checkTree(root, `${path}/`));
    } else if (entry.isFile && TEXT.test(path)) {
      findings.push(...checkFile(path, await Deno.readTextFile(`${root}/${path}`)));
    }
  }
  return findings.sort((a, b) => a.path < b.path ? -1 : a.path > b.path ? 1 : a.line - b.line);
}

export function describeFinding(finding: Finding): string {
  const place = finding.line > 0 ? `${finding.path}:${finding.line}` : finding.path;
  return `${place}: [${finding.rule}] ${finding.text}\n    instead: ${finding.instead}`;
}

if (import.meta.main) {
  const findings = await checkTree(new URL("..", import.meta.url).pathname.replace(/\/$/, ""));
  for (const finding of findings) console.log(describeFinding(finding));
  Deno.exit(findings.length > 0 ? 1 : 0);
}
