/** Greatest common divisor of two non-negative integers. */
export function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** `numerator/denominator` in lowest terms, as a number where it is whole. */
export function fraction(numerator: number, denominator: number): string {
  const divisor = gcd(Math.abs(numerator), denominator);
  return denominator === divisor ? `${numerator / divisor}` : `${numerator / divisor}/${denominator / divisor}`;
}

/** An amount of cents as dollars: 1205 as '12.05', 1200 as '12'. */
export function dollars(cents: number): string {
  return cents % 100 === 0 ? `${cents / 100}` : (cents / 100).toFixed(2);
}

/** `coefficients[power]` as '3x^2 - x + 5'. */
export function polynomial(coefficients: readonly number[], variable = 'x'): string {
  const terms = coefficients
    .map((coefficient, power) => ({ coefficient, power }))
    .filter(({ coefficient }) => coefficient !== 0)
    .reverse();
  if (terms.length === 0) return '0';
  return terms.map((term, place) => signed(term.coefficient, place === 0) + monomial(term, variable)).join('');
}

function monomial({ coefficient, power }: { coefficient: number; power: number }, variable: string): string {
  const size = Math.abs(coefficient);
  if (power === 0) return `${size}`;
  return `${size === 1 ? '' : size}${variable}${power === 1 ? '' : `^${power}`}`;
}

function signed(coefficient: number, isFirst: boolean): string {
  if (isFirst) return coefficient < 0 ? '-' : '';
  return coefficient < 0 ? ' - ' : ' + ';
}

/** A number as an operand: negative ones in parentheses. */
export function operand(value: number): string {
  return value < 0 ? `(${value})` : `${value}`;
}
