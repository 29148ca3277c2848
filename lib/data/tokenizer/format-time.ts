const two = (value: number) => String(value).padStart(2, '0');
const spell = (date: Date, part: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat('en-US', part).format(date);

const DIRECTIVES: Readonly<Record<string, (date: Date) => string>> = {
  '%': () => '%',
  Y: (date) => String(date.getFullYear()),
  y: (date) => two(date.getFullYear() % 100),
  m: (date) => two(date.getMonth() + 1),
  B: (date) => spell(date, { month: 'long' }),
  b: (date) => spell(date, { month: 'short' }),
  d: (date) => two(date.getDate()),
  e: (date) => String(date.getDate()).padStart(2),
  A: (date) => spell(date, { weekday: 'long' }),
  a: (date) => spell(date, { weekday: 'short' }),
  H: (date) => two(date.getHours()),
  I: (date) => two(date.getHours() % 12 || 12),
  M: (date) => two(date.getMinutes()),
  S: (date) => two(date.getSeconds()),
  p: (date) => (date.getHours() < 12 ? 'AM' : 'PM'),
  F: (date) => formatTime(date, '%Y-%m-%d'),
  T: (date) => formatTime(date, '%H:%M:%S'),
};

/** The local time as C's strftime writes it in English. `%-d` leaves leading zeros out. Throws for other directives. */
export function formatTime(date: Date, format: string): string {
  return format.replace(/%(-?)(.?)/gsu, (written, plain, letter) => {
    if (!Object.hasOwn(DIRECTIVES, letter)) throw new Error(`strftime_now: '${written}' is not known`);
    const value = DIRECTIVES[letter]!(date);
    return plain ? value.replace(/^[0 ](?=.)/, '') : value;
  });
}
