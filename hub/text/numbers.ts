// Formats numbers for people: three significant digits and a decimal unit.

/** Three significant digits, never with an exponent: `1840`, `186`, `18.6`, `1.86`, `0.186`. */
export function threeDigits(value: number): string {
  if (!Number.isFinite(value) || value === 0) return String(value);
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(decimals, 6));
}

/** Formats a fraction as a percentage: `43.7 %`. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** `482`, `1.18 M`. Numbers of a thousand or more have three significant digits. */
export function formatCount(count: number): string {
  const { value, unit } = scaled(count, ["", " k", " M", " G", " T"]);
  return `${unit === "" ? Math.round(value) : threeDigits(value)}${unit}`;
}

/** `23.4 GB` */
export function formatBytes(bytes: number): string {
  const { value, unit } = scaled(bytes, ["B", "kB", "MB", "GB", "TB"]);
  return `${unit === "B" ? value : threeDigits(value)} ${unit}`;
}

/** `48 s`, `3 min 20 s`, `5 h 07 min` */
export function formatDuration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (hours > 0) return `${hours} h ${String(minutes).padStart(2, "0")} min`;
  return minutes > 0 ? `${minutes} min ${String(rest).padStart(2, "0")} s` : `${rest} s`;
}

/** A number with its noun: `1 class`, `10 classes`. @param many plural of `one`. Default: `one` with an s */
export function countOf(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

function scaled(count: number, units: readonly string[]): { value: number; unit: string } {
  let [value, unit] = [count, 0];
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return { value, unit: units[unit] as string };
}
