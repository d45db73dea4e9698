// Numbers as text, as reports of the workbench write them.

/** `43.8 %` @param {number} share @param {number} [digits] */
export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;

/** Some digits, and whole numbers as they are: `0.001235`, `6.781`, `12340` @param {number} value @param {number} [digits] */
export function number(value, digits = 4) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e9 || (size > 0 && size < 1e-4)) return value.toExponential(2);
  return String(size >= 1000 ? Math.round(value) : Number(value.toPrecision(digits)));
}

/** `43.75 %`, and `40 %` for whole ones @param {number} share */
export const shortPercent = (share) => `${number(100 * share)} %`;

/** `3 s`, `12 min`, `5 h` @param {number} seconds */
export function duration(seconds) {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

/** `1 layer`, `2 layers` @param {number} count @param {string} noun */
export const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** A text with signs for its line ends and tabs. @param {string} text */
export const withMarks = (text) => text.replaceAll("\n", "⏎").replaceAll("\t", "⇥");
