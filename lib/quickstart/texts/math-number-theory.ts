import { gcd } from './math-notation.js';
import type { ProblemKind } from './math-problem.js';

const greatestCommonDivisor: ProblemKind = (random) => {
  const factor = random.integer(1, 24);
  const [a, b] = [factor * random.integer(2, 40), factor * random.integer(2, 40)];
  const steps = [`Euclid's algorithm: divide, keep the remainder, repeat.`];
  let [high, low] = [Math.max(a, b), Math.min(a, b)];
  while (low > 0) {
    steps.push(`${high} = ${Math.floor(high / low)} * ${low} + ${high % low}`);
    [high, low] = [low, high % low];
  }
  steps.push(`The remainder is 0, so the last divisor counts: ${high}.`);
  const question = random.pick([
    `Find the greatest common divisor of ${a} and ${b}.`,
    `What is gcd(${a}, ${b})?`,
    `What is the largest number that divides both ${a} and ${b}?`,
  ]);
  return { question, steps, answer: `${high}` };
};

const leastCommonMultiple: ProblemKind = (random) => {
  const factor = random.integer(1, 9);
  const [a, b] = [factor * random.integer(2, 15), factor * random.integer(2, 15)];
  const divisor = gcd(a, b);
  const steps = [
    `The greatest common divisor of ${a} and ${b} is ${divisor}.`,
    `${a} * ${b} = ${a * b}`,
    `${a * b} / ${divisor} = ${(a * b) / divisor}`,
  ];
  const question = random.pick([
    `Find the least common multiple of ${a} and ${b}.`,
    `What is lcm(${a}, ${b})?`,
    `What is the smallest number that both ${a} and ${b} divide?`,
  ]);
  return { question, steps, answer: `${(a * b) / divisor}` };
};

const primeFactors: ProblemKind = (random) => {
  const factors = Array.from({ length: random.integer(2, 5) }, () =>
    random.pick([2, 2, 2, 3, 3, 5, 7, 11, 13, 17]),
  ).sort((x, y) => x - y);
  const number = factors.reduce((product, factor) => product * factor);
  let rest = number;
  const steps = factors.slice(0, -1).map((factor) => {
    rest /= factor;
    return `${rest * factor} = ${factor} * ${rest}`;
  });
  steps.push(`${rest} is prime.`);
  const question = random.pick([
    `Write ${number} as a product of primes.`,
    `Find the prime factorization of ${number}.`,
    `Which primes multiply to ${number}?`,
  ]);
  return { question, steps, answer: factors.join(' * ') };
};

const modularPower: ProblemKind = (random) => {
  const [base, exponent, modulus] = [random.integer(2, 20), random.integer(3, 20), random.integer(5, 40)];
  const bits = exponent.toString(2);
  const steps = [`In binary ${exponent} is ${bits}: square for every digit, multiply for every one.`];
  let power = 1;
  for (const bit of bits) {
    const square = power * power;
    const next = bit === '1' ? (square % modulus) * base : square;
    steps.push(`${power} * ${power} = ${square}, ${square} mod ${modulus} = ${square % modulus}`);
    if (bit === '1') steps.push(`${square % modulus} * ${base} = ${next}, ${next} mod ${modulus} = ${next % modulus}`);
    power = next % modulus;
  }
  const question = random.pick([
    `What is ${base}^${exponent} mod ${modulus}?`,
    `Find the remainder of ${base}^${exponent} when divided by ${modulus}.`,
  ]);
  return { question, steps, answer: `${power}` };
};

const binary: ProblemKind = (random) => {
  const number = random.integer(5, 1000);
  if (random.coin()) {
    const steps = [...number.toString(2)].map((_, place) => {
      const rest = Math.floor(number / 2 ** place);
      return `${rest} = 2 * ${Math.floor(rest / 2)} + ${rest % 2}`;
    });
    const question = random.pick([`Write ${number} in binary.`, `Convert ${number} from decimal to binary.`]);
    return {
      question,
      steps: [...steps, 'Read the remainders from the last to the first.'],
      answer: number.toString(2),
    };
  }
  const digits = number.toString(2);
  const powers = [...digits].map((bit, place) => (bit === '1' ? 2 ** (digits.length - 1 - place) : 0)).filter(Boolean);
  const steps = [`The ones stand for ${powers.join(', ')}.`, `${powers.join(' + ')} = ${number}`];
  const question = random.pick([
    `Which number is ${digits} in binary?`,
    `Convert the binary number ${digits} to decimal.`,
  ]);
  return { question, steps, answer: `${number}` };
};

/** Divisors, primes, remainders, other bases. */
export const numberTheory = {
  greatestCommonDivisor,
  leastCommonMultiple,
  primeFactors,
  modularPower,
  binary,
} satisfies Record<string, ProblemKind>;
