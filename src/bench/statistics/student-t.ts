// Student's t distribution, as far as 95 % intervals need it.

const NORMAL = 1.959963984540054;
/** From here on two terms of the expansion about the normal value (26.7.5) are exact to eight digits. */
const MANY = 500;

/**
 * t with P(|T| < t) = 0.95 for `degrees` of freedom (at least 1; fractions, as of Welch's, are rounded down, which widens
 * the interval).
 */
export function studentT95(degrees: number): number {
  const whole = Math.floor(degrees);
  if (whole > MANY) {
    const z = NORMAL;
    return z + (z ** 3 + z) / (4 * whole) + (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * whole ** 2);
  }
  // As an angle: the whole line becomes 0 … π/2.
  let low = 0;
  let high = Math.PI / 2;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (probabilityWithin(middle, whole) < 0.95) low = middle;
    else high = middle;
  }
  return Math.tan(low) * Math.sqrt(whole);
}

/** P(|T| < √degrees · tan(angle)), by the finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4. */
function probabilityWithin(angle: number, degrees: number): number {
  const cosine = Math.cos(angle);
  const isOdd = degrees % 2 === 1;
  let term = isOdd ? cosine : 1;
  let sum = degrees === 1 ? 0 : term;
  for (let k = isOdd ? 3 : 2; k <= degrees - 2; k += 2) {
    term *= ((k - 1) / k) * cosine * cosine;
    sum += term;
  }
  const series = Math.sin(angle) * sum;
  return isOdd ? (2 / Math.PI) * (angle + series) : series;
}
