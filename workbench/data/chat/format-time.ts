// Python's strftime, for templates that insert the date. Names of days and months are English, as in Python unless a
// program sets a locale.

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

const two = (value: number): string => String(value).padStart(2, "0");
const hour12 = (time: Date): number => time.getHours() % 12 || 12;
const day = (time: Date): string => DAYS[time.getDay()] as string;
const month = (time: Date): string => MONTHS[time.getMonth()] as string;

function dayOfYear(time: Date): number {
  const start = Date.UTC(time.getFullYear(), 0, 1);
  return 1 + Math.round((Date.UTC(time.getFullYear(), time.getMonth(), time.getDate()) - start) / 86_400_000);
}

const FIELDS: Readonly<Record<string, (time: Date) => string>> = {
  "%": () => "%",
  A: day,
  a: (time) => day(time).slice(0, 3),
  B: month,
  b: (time) => month(time).slice(0, 3),
  d: (time) => two(time.getDate()),
  e: (time) => String(time.getDate()).padStart(2, " "),
  F: (time) => formatTime(time, "%Y-%m-%d"),
  H: (time) => two(time.getHours()),
  I: (time) => two(hour12(time)),
  j: (time) => String(dayOfYear(time)).padStart(3, "0"),
  m: (time) => two(time.getMonth() + 1),
  M: (time) => two(time.getMinutes()),
  p: (time) => (time.getHours() < 12 ? "AM" : "PM"),
  S: (time) => two(time.getSeconds()),
  T: (time) => formatTime(time, "%H:%M:%S"),
  w: (time) => String(time.getDay()),
  y: (time) => two(time.getFullYear() % 100),
  Y: (time) => String(time.getFullYear()),
};

/**
 * Formats a local time.
 * @param format fields of Python's strftime. `%-d` and the like have no leading zero; unknown fields stay as they are
 */
export function formatTime(time: Date, format: string): string {
  return format.replace(/%(-?)([a-zA-Z%])/g, (whole, bare: string, name: string) => {
    const text = FIELDS[name]?.(time);
    if (text === undefined) return whole;
    return bare ? text.replace(/^[0 ]+(?=.)/, "") : text;
  });
}
