import type { Choices } from './choices.js';
import { fraction, gcd } from './math-notation.js';
import type { ProblemKind } from './math-problem.js';

const PLACES = ['Ones', 'Tens', 'Hundreds', 'Thousands', 'Ten thousands', 'Hundred thousands'];

const addition: ProblemKind = (random) => {
  const [a, b] = [sized(random, 2, 5), sized(random, 2, 5)];
  const steps: string[] = [];
  let carry = 0;
  for (let place = 0; place < Math.max(`${a}`.length, `${b}`.length); place++) {
    const [x, y] = [digit(a, place), digit(b, place)];
    const sum = x + y + carry;
    const carried = carry > 0 ? ` + ${carry}` : '';
    carry = Math.floor(sum / 10);
    const write = carry > 0 ? `Write ${sum % 10}, carry ${carry}.` : `Write ${sum}.`;
    steps.push(`${PLACES[place]}: ${x} + ${y}${carried} = ${sum}. ${write}`);
  }
  if (carry > 0) steps.push(`The last carry ${carry} goes in front.`);
  const question = random.pick([
    `What is ${a} + ${b}?`,
    `Add ${a} and ${b}.`,
    `Find the sum of ${a} and ${b}.`,
    `Work out ${a} + ${b} column by column.`,
  ]);
  return { question, steps, answer: `${a + b}` };
};

const subtraction: ProblemKind = (random) => {
  const small = sized(random, 2, 4);
  const [a, b] = [small + sized(random, 2, 4), small];
  const steps: string[] = [];
  let borrowed = 0;
  for (let place = 0; place < `${a}`.length; place++) {
    const [x, y] = [digit(a, place), digit(b, place)];
    const lent = borrowed > 0 ? ` - ${borrowed}` : '';
    const borrows = x - borrowed < y;
    const top = borrows ? x + 10 : x;
    steps.push(`${PLACES[place]}: ${borrows ? `borrow ten, ` : ''}${top}${lent} - ${y} = ${top - borrowed - y}.`);
    borrowed = borrows ? 1 : 0;
  }
  const question = random.pick([
    `What is ${a} - ${b}?`,
    `From ${a} take away ${b}.`,
    `Find the difference of ${a} and ${b}.`,
    `Work out ${a} - ${b}, borrowing where needed.`,
  ]);
  return { question, steps, answer: `${a - b}` };
};

const multiplication: ProblemKind = (random) => {
  const [a, b] = [sized(random, 2, 4), sized(random, 2, 3)];
  const partial = [...`${b}`].map((_, place) => digit(b, place) * 10 ** place).filter((part) => part > 0);
  const steps = partial.map((part) => `${a} * ${part} = ${a * part}`);
  if (partial.length > 1) steps.push(`Together: ${partial.map((part) => a * part).join(' + ')} = ${a * b}`);
  const question = random.pick([
    `What is ${a} * ${b}?`,
    `Multiply ${a} by ${b}.`,
    `Find the product of ${a} and ${b}.`,
    `Work out ${a} times ${b} with partial products.`,
  ]);
  return { question, steps, answer: `${a * b}` };
};

const longDivision: ProblemKind = (random) => {
  const [dividend, divisor] = [sized(random, 3, 5), random.integer(3, 25)];
  const steps: string[] = [];
  let rest = 0;
  for (let place = `${dividend}`.length - 1; place >= 0; place--) {
    const part = rest * 10 + digit(dividend, place);
    const times = Math.floor(part / divisor);
    rest = part % divisor;
    if (times > 0) {
      steps.push(
        `${divisor} goes into ${part} ${times} time${times > 1 ? 's' : ''}: ${part} - ${times * divisor} = ${rest}.`,
      );
    } else if (steps.length > 0) steps.push(`${divisor} does not go into ${part}: write 0.`);
  }
  const question = random.pick([
    `Divide ${dividend} by ${divisor}.`,
    `What are quotient and remainder of ${dividend} divided by ${divisor}?`,
    `Work out ${dividend} / ${divisor} by long division.`,
  ]);
  const quotient = Math.floor(dividend / divisor);
  steps.push(`Check: ${quotient} * ${divisor} + ${rest} = ${dividend}`);
  return { question, steps, answer: rest > 0 ? `${quotient} remainder ${rest}` : `${quotient}` };
};

const orderOfOperations: ProblemKind = (random) => {
  const [a, b, c, d] = [random.integer(2, 40), random.integer(2, 15), random.integer(2, 15), random.integer(2, 30)];
  const { expression, steps, value } = random.pick([
    {
      expression: `${a} + ${b} * ${c} - ${d}`,
      steps: [
        `Multiplication first: ${b} * ${c} = ${b * c}`,
        `Then left to right: ${a} + ${b * c} - ${d} = ${a + b * c - d}`,
      ],
      value: a + b * c - d,
    },
    {
      expression: `(${a} + ${b}) * ${c} - ${d}`,
      steps: [
        `Parentheses first: ${a} + ${b} = ${a + b}`,
        `Then the multiplication: ${a + b} * ${c} = ${(a + b) * c}`,
        `Then the subtraction: ${(a + b) * c} - ${d} = ${(a + b) * c - d}`,
      ],
      value: (a + b) * c - d,
    },
    {
      expression: `${a} * ${b} + ${c} * ${d}`,
      steps: [
        `Both products: ${a} * ${b} = ${a * b} and ${c} * ${d} = ${c * d}`,
        `Their sum: ${a * b} + ${c * d} = ${a * b + c * d}`,
      ],
      value: a * b + c * d,
    },
    {
      expression: `${a} + ${b} * (${c} + ${d})`,
      steps: [
        `Parentheses first: ${c} + ${d} = ${c + d}`,
        `Then the multiplication: ${b} * ${c + d} = ${b * (c + d)}`,
        `Then the addition: ${a} + ${b * (c + d)} = ${a + b * (c + d)}`,
      ],
      value: a + b * (c + d),
    },
  ]);
  const question = random.pick([
    `Evaluate ${expression}.`,
    `What is ${expression}?`,
    `Simplify ${expression} to one number.`,
  ]);
  return { question, steps, answer: `${value}` };
};

const fractionSum: ProblemKind = (random) => {
  const [b, d] = [random.integer(2, 15), random.integer(2, 15)];
  const [a, c] = [random.integer(1, 2 * b - 1), random.integer(1, 2 * d - 1)];
  const common = (b * d) / gcd(b, d);
  const [left, right] = [(a * common) / b, (c * common) / d];
  const [sign, top] = random.pick([['+', left + right] as const, ['-', left - right] as const]);
  const expression = `${a}/${b} ${sign} ${c}/${d}`;
  const answer = fraction(top, common);
  const steps = [
    b === d ? `Both denominators are ${b}.` : `The least common denominator of ${b} and ${d} is ${common}.`,
    ...(b === d ? [] : [`${a}/${b} = ${left}/${common} and ${c}/${d} = ${right}/${common}`]),
    `${left}/${common} ${sign} ${right}/${common} = ${top}/${common}`,
    answer === `${top}/${common}` ? `This is in lowest terms.` : `In lowest terms: ${top}/${common} = ${answer}`,
  ];
  const question = random.pick([
    `Compute ${expression}.`,
    `What is ${expression} in lowest terms?`,
    `Simplify ${expression}.`,
  ]);
  return { question, steps, answer };
};

const fractionProduct: ProblemKind = (random) => {
  const [a, b, c, d] = [random.integer(1, 14), random.integer(2, 15), random.integer(1, 14), random.integer(2, 15)];
  const divides = random.coin();
  const [x, y] = divides ? [d, c] : [c, d];
  const answer = fraction(a * x, b * y);
  const steps = [
    ...(divides ? [`Dividing by ${c}/${d} is multiplying by ${d}/${c}.`] : []),
    `Numerators: ${a} * ${x} = ${a * x}`,
    `Denominators: ${b} * ${y} = ${b * y}`,
    answer === `${a * x}/${b * y}` ? `${answer} is in lowest terms.` : `In lowest terms: ${a * x}/${b * y} = ${answer}`,
  ];
  const question = divides
    ? random.pick([`Divide ${a}/${b} by ${c}/${d}.`, `What is (${a}/${b}) / (${c}/${d})?`])
    : random.pick([`Multiply ${a}/${b} by ${c}/${d}.`, `What is (${a}/${b}) * (${c}/${d})?`]);
  return { question, steps, answer };
};

/** A number with `least` to `most` digits. */
function sized(random: Choices, least: number, most: number): number {
  const digits = random.integer(least, most);
  return random.integer(10 ** (digits - 1), 10 ** digits - 1);
}

function digit(number: number, place: number): number {
  return Math.floor(number / 10 ** place) % 10;
}

/** Whole numbers and fractions. */
export const arithmetic = {
  addition,
  subtraction,
  multiplication,
  longDivision,
  orderOfOperations,
  fractionSum,
  fractionProduct,
} satisfies Record<string, ProblemKind>;
