// Python's strftime for chat templates ("Today is …"), always in English: a prompt must not depend on the locale.

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];

const DAY_MS = 86_400_000;

/** Local time. Letters it does not know, and `%-` before those it does, stay as Python on Linux has them. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)([A-Za-z%])/g, (directive, dash: string, letter: string) => {
    const text = expand(date, letter);
    if (text === undefined) return directive;
    return dash === '' ? text : text.replace(/^[0 ]+(?=.)/, '');
  });
}

function expand(date: Date, letter: string): string | undefined {
  const two = (value: number) => String(value).padStart(2, '0');
  const part = (format: string) => strftime(date, format);
  switch (letter) {
    case 'Y':
      return String(date.getFullYear());
    case 'y':
      return two(date.getFullYear() % 100);
    case 'm':
      return two(date.getMonth() + 1);
    case 'B':
      return MONTHS[date.getMonth()]!;
    case 'b':
    case 'h':
      return MONTHS[date.getMonth()]!.slice(0, 3);
    case 'd':
      return two(date.getDate());
    case 'e':
      return String(date.getDate()).padStart(2, ' ');
    case 'A':
      return DAYS[date.getDay()]!;
    case 'a':
      return DAYS[date.getDay()]!.slice(0, 3);
    case 'w':
      return String(date.getDay());
    case 'u':
      return String(date.getDay() || 7);
    case 'j':
      return dayOfYear(date);
    case 'H':
      return two(date.getHours());
    case 'I':
      return two(date.getHours() % 12 || 12);
    case 'M':
      return two(date.getMinutes());
    case 'S':
      return two(date.getSeconds());
    case 'p':
      return date.getHours() < 12 ? 'AM' : 'PM';
    case 'F':
      return part('%Y-%m-%d');
    case 'T':
    case 'X':
      return part('%H:%M:%S');
    case 'R':
      return part('%H:%M');
    case 'D':
    case 'x':
      return part('%m/%d/%y');
    case 'c':
      return part('%a %b %e %H:%M:%S %Y');
    case '%':
      return '%';
    default:
      return undefined;
  }
}

function dayOfYear(date: Date): string {
  const midnight = Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  return String(1 + (midnight - Date.UTC(date.getFullYear(), 0, 1)) / DAY_MS).padStart(3, '0');
}
