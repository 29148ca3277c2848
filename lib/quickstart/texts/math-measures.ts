import { fraction, gcd } from './math-notation.js';
import type { ProblemKind } from './math-problem.js';

const COLORS = ['red', 'blue', 'green', 'white', 'black', 'yellow'];

const percentage: ProblemKind = (random) => {
  const [percent, base] = [random.integer(1, 19) * 5, random.integer(4, 200) * 5];
  const value = `${(percent * base) / 100}`;
  const steps = [
    `${percent} percent means ${percent} of every 100.`,
    `${percent} * ${base} = ${percent * base}`,
    `${percent * base} / 100 = ${value}`,
  ];
  const question = random.pick([
    `What is ${percent}% of ${base}?`,
    `Find ${percent} percent of ${base}.`,
    `How much is ${percent}% of ${base}?`,
  ]);
  return { question, steps, answer: value };
};

const percentChange: ProblemKind = (random) => {
  const [thing, percent, unit] = [
    random.pick(['a bicycle', 'a lamp', 'a ticket', 'a coat', 'a chair', 'a phone']),
    random.integer(1, 15) * 5,
    random.integer(1, 30),
  ];
  const before = unit * 20;
  const moved = unit * (percent / 5);
  const rises = random.coin();
  const after = rises ? before + moved : before - moved;
  const steps = [
    rises ? `The rise is ${after} - ${before} = ${moved}` : `The fall is ${before} - ${after} = ${moved}`,
    `As a share of the old price: ${moved} / ${before} = ${moved / before}`,
    `In percent: ${moved / before} * 100 = ${percent}`,
  ];
  const question = random.pick([
    `The price of ${thing} ${rises ? 'rises' : 'falls'} from $${before} to $${after}. By how many percent?`,
    `${thing.replace(/^a/, 'A')} cost $${before} and now costs $${after}. What is the ${rises ? 'increase' : 'decrease'} in percent?`,
  ]);
  return { question, steps, answer: `${percent}%` };
};

/** One of the larger unit, more of it, the smaller unit, and how many of the smaller make one of the larger. */
const UNITS = [
  ['A kilometer', 'kilometers', 'meters', 1000],
  ['A meter', 'meters', 'centimeters', 100],
  ['A centimeter', 'centimeters', 'millimeters', 10],
  ['A kilogram', 'kilograms', 'grams', 1000],
  ['A liter', 'liters', 'milliliters', 1000],
  ['An hour', 'hours', 'minutes', 60],
  ['A minute', 'minutes', 'seconds', 60],
  ['A day', 'days', 'hours', 24],
  ['A week', 'weeks', 'days', 7],
  ['A foot', 'feet', 'inches', 12],
  ['A yard', 'yards', 'feet', 3],
  ['A pound', 'pounds', 'ounces', 16],
] as const;

const conversion: ProblemKind = (random) => {
  const [one, large, small, factor] = random.pick(UNITS);
  const [whole, rest] = [random.integer(2, 60), random.integer(2, factor - 1)];
  const total = whole * factor + rest;
  const fact = `${one} has ${factor} ${small}.`;
  if (random.coin()) {
    const steps = [fact, `${whole} * ${factor} = ${whole * factor}`, `${whole * factor} + ${rest} = ${total}`];
    const question = random.pick([
      `How many ${small} are ${whole} ${large} and ${rest} ${small}?`,
      `Convert ${whole} ${large} and ${rest} ${small} to ${small}.`,
    ]);
    return { question, steps, answer: `${total} ${small}` };
  }
  const steps = [
    fact,
    `${factor} fits ${whole} times: ${whole} * ${factor} = ${whole * factor}`,
    `${total} - ${whole * factor} = ${rest}`,
  ];
  const question = random.pick([
    `Write ${total} ${small} in ${large} and ${small}.`,
    `How many ${large} and ${small} are ${total} ${small}?`,
  ]);
  return { question, steps, answer: `${whole} ${large} and ${rest} ${small}` };
};

const rectangle: ProblemKind = (random) => {
  const [place, length, width] = [
    random.pick(['garden', 'field', 'room', 'sheet of paper', 'yard', 'table']),
    random.integer(5, 90),
    random.integer(3, 60),
  ];
  if (random.coin()) {
    const question = random.pick([
      `A rectangular ${place} is ${length} by ${width}. What is its area?`,
      `Find the area of a ${place} with sides ${length} and ${width}.`,
    ]);
    return {
      question,
      steps: ['Area is length times width.', `${length} * ${width} = ${length * width}`],
      answer: `${length * width}`,
    };
  }
  const steps = [
    'The perimeter is twice the sum of the sides.',
    `${length} + ${width} = ${length + width}`,
    `2 * ${length + width} = ${2 * (length + width)}`,
  ];
  const question = random.pick([
    `A rectangular ${place} is ${length} by ${width}. What is its perimeter?`,
    `How long is a fence around a ${place} with sides ${length} and ${width}?`,
  ]);
  return { question, steps, answer: `${2 * (length + width)}` };
};

const triangle: ProblemKind = (random) => {
  const [[a, b, c], scale] = [
    random.pick([
      [3, 4, 5],
      [5, 12, 13],
      [8, 15, 17],
      [7, 24, 25],
      [20, 21, 29],
    ] as const),
    random.integer(1, 12),
  ];
  const [p, q, r] = [a * scale, b * scale, c * scale];
  const steps = [
    'By Pythagoras the square of the longest side is the sum of the squares of the others.',
    `${p}^2 + ${q}^2 = ${p * p} + ${q * q} = ${r * r}`,
    `The root of ${r * r} is ${r}, since ${r} * ${r} = ${r * r}`,
  ];
  const question = random.pick([
    `A right triangle has legs ${p} and ${q}. How long is the hypotenuse?`,
    `A ladder stands ${p} from a wall and reaches up ${q}. How long is it?`,
    `How far apart are two corners of a rectangle with sides ${p} and ${q} that lie across from each other?`,
  ]);
  return { question, steps, answer: `${r}` };
};

const drawing: ProblemKind = (random) => {
  const [[one, other], thing] = [random.pickTwo(COLORS), random.pick(['balls', 'marbles', 'cards', 'socks', 'beads'])];
  const [a, b] = [random.integer(2, 30), random.integer(2, 30)];
  const steps = [`In all: ${a} + ${b} = ${a + b}`, `${a} of ${a + b} are ${one}.`];
  if (gcd(a, a + b) > 1) steps.push(`In lowest terms: ${a}/${a + b} = ${fraction(a, a + b)}`);
  const question = random.pick([
    `A bag holds ${a} ${one} and ${b} ${other} ${thing}. One is drawn blindly. What is the probability that it is ${one}?`,
    `Among ${thing} there are ${a} ${one} ones and ${b} ${other} ones. How likely is it to draw a ${one} one?`,
  ]);
  return { question, steps, answer: fraction(a, a + b) };
};

const choosing: ProblemKind = (random) => {
  const [thing, n, k] = [
    random.pick(['people', 'books', 'colors', 'songs', 'cities']),
    random.integer(5, 14),
    random.integer(2, 4),
  ];
  const factors = Array.from({ length: k }, (_, place) => n - place);
  const orders = Array.from({ length: k }, (_, place) => k - place);
  const product = (values: number[]) => values.reduce((result, value) => result * value);
  const [ordered, orderings] = [product(factors), product(orders)];
  const steps = [
    `With order: ${factors.join(' * ')} = ${ordered}`,
    `Each choice is counted ${orders.join(' * ')} = ${orderings} times.`,
    `${ordered} / ${orderings} = ${ordered / orderings}`,
  ];
  const question = random.pick([
    `From ${n} ${thing} choose ${k}, the order does not matter. How many ways are there?`,
    `In how many ways can one pick from ${n} ${thing} a group of ${k}?`,
  ]);
  return { question, steps, answer: `${ordered / orderings}` };
};

/** Percentages, units, shapes and chances. */
export const measures = {
  percentage,
  percentChange,
  conversion,
  rectangle,
  triangle,
  drawing,
  choosing,
} satisfies Record<string, ProblemKind>;
