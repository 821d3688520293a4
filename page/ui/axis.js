// SPDX-License-Identifier: Apache-2.0
// The axis of time: which instants get a tick, and what is written there. Local time.

const SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

// About how long a step is, the first instant of the step that `at` lies in, the next one, and how it is written.
const fixed = (ms) => ({ ms, floor: (at) => {
  const offset = new Date(at).getTimezoneOffset() * MINUTE;
  return Math.floor((at - offset) / ms) * ms + offset;
}, next: (at) => at + ms });

const days = (number) => ({ ms: number * DAY, floor: (at) => {
  const day = new Date(at);
  const first = number === 1 ? day.getDate() : 1 + number * Math.floor((day.getDate() - 1) / number);
  return new Date(day.getFullYear(), day.getMonth(), first).getTime();
}, next: (at) => {
  const day = new Date(at);
  const next = new Date(day.getFullYear(), day.getMonth(), day.getDate() + number);
  const month = new Date(day.getFullYear(), day.getMonth() + 1, 1);
  return number > 1 && month - next < number * DAY / 2 ? month.getTime() : next.getTime();
} });

const months = (number) => ({ ms: number * 30.4 * DAY, floor: (at) => {
  const day = new Date(at);
  return new Date(day.getFullYear(), number * Math.floor(day.getMonth() / number), 1).getTime();
}, next: (at) => {
  const day = new Date(at);
  return new Date(day.getFullYear(), day.getMonth() + number, 1).getTime();
} });

const format = (options) => new Intl.DateTimeFormat("en-GB", options);
const clockSeconds = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const clock = format({ hour: "2-digit", minute: "2-digit" });
const dayName = format({ day: "numeric", month: "short" });
const monthName = format({ month: "short" });
const year = format({ year: "numeric" });

const STEPS = [
  ...[1, 2, 5, 10, 30].map((n) => ({ ...fixed(n * SECOND), write: clockSeconds })),
  ...[1, 2, 5, 10, 30].map((n) => ({ ...fixed(n * MINUTE), write: clock })),
  ...[1, 3, 6, 12].map((n) => ({ ...fixed(n * HOUR), write: clock })),
  ...[1, 2, 5, 10].map((n) => ({ ...days(n), write: dayName })),
  ...[1, 3, 6].map((n) => ({ ...months(n), write: monthName })),
  ...[12, 24, 60, 120].map((n) => ({ ...months(n), write: year })),
];

function isNewDay(at) {
  const day = new Date(at);
  return day.getHours() === 0 && day.getMinutes() === 0 && day.getSeconds() === 0;
}

// A day's first instant is written as the day, and a year's first month as the year.
function label(at, step) {
  if (step.ms < DAY && isNewDay(at)) return { text: dayName.format(at), strong: true };
  if (step.ms < 300 * DAY && step.ms > 20 * DAY && new Date(at).getMonth() === 0) return { text: year.format(at), strong: true };
  return { text: step.write.format(at), strong: false };
}

// The ticks of [from, until] if at most `most` have room: [{at, text, strong}].
export function ticks(from, until, most) {
  const step = STEPS.find((each) => (until - from) / each.ms <= most) ?? STEPS.at(-1);
  const found = [];
  for (let at = step.floor(from); at <= until && found.length < 200; at = step.next(at))
    if (at >= from) found.push({ at, ...label(at, step) });
  return found;
}

export function spanName(ms) {
  if (ms >= 2 * 365 * DAY) return `${(ms / 365.25 / DAY).toFixed(1)} years`;
  if (ms >= 60 * DAY) return `${Math.round(ms / 30.4 / DAY)} months`;
  if (ms >= 2 * DAY) return `${(ms / DAY).toFixed(ms < 10 * DAY ? 1 : 0)} days`;
  if (ms >= 2 * HOUR) return `${(ms / HOUR).toFixed(1)} hours`;
  if (ms >= 2 * MINUTE) return `${(ms / MINUTE).toFixed(1)} minutes`;
  return `${Math.round(ms / SECOND)} seconds`;
}
