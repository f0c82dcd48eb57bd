import assert from 'node:assert/strict';
import { test } from 'node:test';
import { strftime } from '#vitrine/tokenizer/strftime.js';

const morning = new Date(2024, 1, 5, 9, 3, 7);
const night = new Date(2023, 11, 31, 23, 59, 0);

test('what Python on Linux writes in the C locale', () => {
  const cases: [Date, string, string][] = [
    [morning, '%d %b %Y', '05 Feb 2024'],
    [morning, '%A, %B %-d, %y', 'Monday, February 5, 24'],
    [morning, '%a %e|%H:%M:%S', 'Mon  5|09:03:07'],
    [morning, '%I:%M %p', '09:03 AM'],
    [morning, '%-I %-M %-S %-m', '9 3 7 2'],
    [morning, '%j %w %u', '036 1 1'],
    [morning, '%F %T %R %D', '2024-02-05 09:03:07 09:03 02/05/24'],
    [morning, '%c', 'Mon Feb  5 09:03:07 2024'],
    [night, '%I %p %j %w %u %h', '11 PM 365 0 7 Dec'],
    [new Date(2024, 11, 31, 0, 0, 0), '%I %j %-H', '12 366 0'],
    [morning, '100%% %Q %', '100% %Q %'],
  ];
  for (const [date, format, expected] of cases) assert.equal(strftime(date, format), expected);
});
