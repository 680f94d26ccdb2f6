// @ts-check
/** How are numbers read in a field? Short, with their unit; what is not known says so. */

/** @param {number} ns */
export function duration(ns) {
  if (!(ns > 0)) return "0";
  if (ns < 1e6) return `${three(ns / 1e3)} us`;
  if (ns < 1e9) return `${three(ns / 1e6)} ms`;
  if (ns < 120e9) return `${three(ns / 1e9)} s`;
  return `${Math.round(ns / 60e9)} min`;
}

/**
 * Three digits that count.
 * @param {number} value
 */
function three(value) {
  return value >= 100
    ? Math.round(value).toString()
    : Number(value.toPrecision(value >= 10 ? 3 : 2)).toString();
}

/** @param {number} value */
export function count(value) {
  return Math.round(value).toLocaleString("en-US");
}

/** @param {number | null | undefined} share */
export function percent(share) {
  if (share === null || share === undefined) return "unknown";
  // 99.97 % is not all.
  const shown = share > 0.995 && share < 1 ? Math.min(99.9, share * 100) : share * 100;
  return `${shown.toFixed(shown >= 99 && share < 1 ? 1 : 0)} %`;
}

/**
 * @param {number | null | undefined} value
 * @param {string} unit
 */
export function quantity(value, unit) {
  return value === null || value === undefined ? "unknown" : `${value.toFixed(value < 100 ? 1 : 0)} ${unit}`;
}

/** @param {number} ns */
export function ago(ns) {
  const seconds = ns / 1e9;
  if (seconds < 2) return "just now";
  if (seconds < 100) return `${Math.round(seconds)} s ago`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min ago`;
  return `${(seconds / 3_600).toFixed(1)} h ago`;
}
