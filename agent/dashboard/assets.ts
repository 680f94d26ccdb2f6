/**
 * Which files is the dashboard made of, and where do they lie?
 *
 * Its own in this folder, uPlot's in the package that deno.json names; neither is built. tools/compile.ts lays both into the
 * executable's folder.
 */
import { createRequire } from "node:module";
import { assetPath, isExecutable } from "../assets/place.ts";
import type { Page } from "../http/routes.ts";
import { path } from "../std/mod.ts";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

const OWN = [
  "style.css",
  "page.js",
  "verdict.js",
  "stream.js",
  "timeline.js",
  "charts.js",
  "format.js",
  "icon.svg",
];
export const PLOT = { "/assets/uplot.js": "uPlot.iife.min.js", "/assets/uplot.css": "uPlot.min.css" };

/** By path. */
export async function dashboardPages(): Promise<Map<string, Page>> {
  const folder = assetPath("agent/dashboard");
  const packaged = isExecutable() ? folder : plotFolder();
  const files = new Map<string, string>([["/", `${folder}/page.html`]]);
  for (const name of OWN) files.set(`/assets/${name}`, `${folder}/${name}`);
  for (const [page, name] of Object.entries(PLOT)) files.set(page, `${packaged}/${name}`);
  const pages = new Map<string, Page>();
  for (const [page, file] of files) {
    const bytes = await Deno.readFile(file);
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const etag = `"${[...hash.subarray(0, 12)].map((byte) => byte.toString(16).padStart(2, "0")).join("")}"`;
    pages.set(page, { type: TYPES[path.extname(file)] ?? "application/octet-stream", bytes, etag });
  }
  return pages;
}

/** Where the package keeps what browsers load; in a source tree. */
export function plotFolder(): string {
  return path.dirname(createRequire(import.meta.url).resolve("uplot"));
}
