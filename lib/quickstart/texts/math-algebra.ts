import type { Choices } from './choices.js';
import { fraction, operand, polynomial } from './math-notation.js';
import type { ProblemKind } from './math-problem.js';

const VARIABLES = ['x', 'y', 'z', 'n', 't', 'a'];

const linearEquation: ProblemKind = (random) => {
  const variable = random.pick(VARIABLES);
  const [a, root, b] = [random.integer(2, 15), nonZero(random, 20), nonZero(random, 40)];
  const c = a * root + b;
  const equation = `${polynomial([b, a], variable)} = ${c}`;
  const steps = [
    `${b > 0 ? 'Subtract' : 'Add'} ${Math.abs(b)} on both sides: ${a}${variable} = ${c - b}`,
    `Divide both sides by ${a}: ${variable} = ${root}`,
    `Check: ${a} * ${operand(root)} + ${operand(b)} = ${c}`,
  ];
  const question = random.pick([
    `Solve ${equation} for ${variable}.`,
    `Find ${variable}, given ${equation}.`,
    `For which ${variable} is ${equation}?`,
  ]);
  return { question, steps, answer: `${variable} = ${root}` };
};

const unknownOnBothSides: ProblemKind = (random) => {
  const variable = random.pick(VARIABLES);
  const [c, root, b] = [random.integer(2, 9), nonZero(random, 12), nonZero(random, 30)];
  const a = c + random.integer(2, 9);
  const d = (a - c) * root + b;
  const equation = `${polynomial([b, a], variable)} = ${polynomial([d, c], variable)}`;
  const steps = [
    `Subtract ${c}${variable} on both sides: ${polynomial([b, a - c], variable)} = ${d}`,
    `${b > 0 ? 'Subtract' : 'Add'} ${Math.abs(b)}: ${a - c}${variable} = ${d - b}`,
    `Divide by ${a - c}: ${variable} = ${root}`,
  ];
  const question = random.pick([
    `Solve ${equation}.`,
    `Find ${variable} such that ${equation}.`,
    `Solve for ${variable}: ${equation}`,
  ]);
  return { question, steps, answer: `${variable} = ${root}` };
};

const twoEquations: ProblemKind = (random) => {
  const [x, y] = [nonZero(random, 9), nonZero(random, 9)];
  const [a, b, c] = [random.integer(1, 6), random.integer(1, 6), random.integer(1, 6)];
  const sums = [a * x + b * y, c * x - b * y] as const;
  const [ax, by, cx] = [polynomial([0, a]), polynomial([0, b], 'y'), polynomial([0, c])];
  const first = `${ax} + ${by} = ${sums[0]}`;
  const second = `${cx} - ${by} = ${sums[1]}`;
  const steps = [
    `Add the equations, y drops out: ${polynomial([0, a + c])} = ${sums[0] + sums[1]}`,
    `Divide by ${a + c}: x = ${x}`,
    `Put x into the first: ${by} = ${sums[0]} - ${a} * ${operand(x)}, so ${by} = ${b * y} and y = ${y}`,
  ];
  const question = random.pick([
    `Solve the system ${first} and ${second}.`,
    `Find x and y with ${first} and ${second}.`,
    `Two equations hold: ${first} and ${second}. Find x and y.`,
  ]);
  return { question, steps, answer: `x = ${x}, y = ${y}` };
};

const quadratic: ProblemKind = (random) => {
  const [p, q] = [nonZero(random, 12), nonZero(random, 12)].sort((one, other) => one - other) as [number, number];
  const equation = `${polynomial([p * q, -(p + q), 1])} = 0`;
  const factor = (root: number) => `(${polynomial([-root, 1])})`;
  const steps = [
    `Look for two numbers with product ${p * q} and sum ${-(p + q)}: ${-p} and ${-q}.`,
    `Their product: ${operand(-p)} * ${operand(-q)} = ${p * q}. Their sum: ${operand(-p)} + ${operand(-q)} = ${-(p + q)}`,
    p === q ? `So ${factor(p)}^2 = 0` : `So ${factor(p)}${factor(q)} = 0`,
    `A product is zero when a factor is.`,
  ];
  const question = random.pick([`Solve ${equation}.`, `Find all x with ${equation}.`, `Factor and solve ${equation}.`]);
  return { question, steps, answer: p === q ? `x = ${p}` : `x = ${p} or x = ${q}` };
};

const evaluation: ProblemKind = (random) => {
  const coefficients = [nonZero(random, 12), nonZero(random, 9), nonZero(random, 6), random.integer(0, 3)];
  const x = nonZero(random, 6);
  const terms = coefficients.map((coefficient, power) => coefficient * x ** power);
  const text = polynomial(coefficients);
  const steps = [2, 3]
    .filter((power) => coefficients[power] !== 0)
    .map((power) => `${operand(x)}^${power} = ${x ** power}`);
  steps.push(
    ...[3, 2, 1]
      .filter((power) => coefficients[power] !== 0)
      .map((power) => `${operand(coefficients[power]!)} * ${operand(x ** power)} = ${terms[power]}`),
  );
  const value = terms.reduce((sum, term) => sum + term);
  const summands = terms.filter((term) => term !== 0).reverse();
  steps.push(`Add them up: ${summands.map((term) => operand(term)).join(' + ')} = ${value}`);
  const question = random.pick([
    `Let f(x) = ${text}. What is f(${x})?`,
    `Evaluate ${text} at x = ${x}.`,
    `What is the value of ${text} for x = ${x}?`,
  ]);
  return { question, steps, answer: `${value}` };
};

const derivative: ProblemKind = (random) => {
  const coefficients = Array.from({ length: random.integer(3, 5) }, () => random.integer(-9, 9));
  coefficients[coefficients.length - 1] = nonZero(random, 9);
  const text = polynomial(coefficients);
  const derived = coefficients.map((coefficient, power) => coefficient * power).slice(1);
  const steps = coefficients
    .map((coefficient, power) => ({ coefficient, power }))
    .filter(({ coefficient, power }) => coefficient !== 0 && power > 1)
    .reverse()
    .map(({ coefficient, power }) => {
      const term = Array.from({ length: power + 1 }, (_, place) => (place === power ? coefficient : 0));
      return `${polynomial(term)} becomes ${polynomial(term.map((value) => value * power).slice(1))}, since ${power} * ${operand(coefficient)} = ${power * coefficient}`;
    });
  if (coefficients[1] !== 0) steps.push(`${polynomial([0, coefficients[1]!])} becomes ${coefficients[1]}.`);
  if (coefficients[0] !== 0) steps.push(`The constant ${coefficients[0]} becomes 0.`);
  const question = random.pick([
    `Find the derivative of ${text}.`,
    `Differentiate f(x) = ${text}.`,
    `Let f(x) = ${text}. What is f'(x)?`,
  ]);
  return { question, steps, answer: polynomial(derived) };
};

const arithmeticSequence: ProblemKind = (random) => {
  const [first, difference, count] = [random.integer(-20, 40), nonZero(random, 12), random.integer(8, 40)];
  const shown = [0, 1, 2, 3].map((place) => first + place * difference).join(', ');
  const last = first + (count - 1) * difference;
  const steps = [
    `Each term is the one before plus ${difference}.`,
    `Term number ${count} is ${operand(first)} + ${count - 1} * ${operand(difference)} = ${last}`,
  ];
  if (random.coin()) {
    const question = random.pick([
      `The sequence ${shown}, ... goes on like this. What is term number ${count}?`,
      `Find term number ${count} of the arithmetic sequence ${shown}, ...`,
    ]);
    return { question, steps, answer: `${last}` };
  }
  const sum = (count * (first + last)) / 2;
  const total = count * (first + last);
  steps.push(`First plus last: ${operand(first)} + ${operand(last)} = ${first + last}`);
  steps.push(`The sum is ${count} * ${operand(first + last)} / 2 = ${total} / 2 = ${sum}`);
  const question = random.pick([
    `Add up the terms of the sequence ${shown}, ... from the first to term number ${count}.`,
    `What is the sum of the arithmetic sequence ${shown}, ... up to term number ${count}?`,
  ]);
  return { question, steps, answer: `${sum}` };
};

const geometricSequence: ProblemKind = (random) => {
  const [first, ratio, place] = [random.integer(1, 9), random.integer(2, 5), random.integer(5, 8)];
  const terms = Array.from({ length: place }, (_, power) => first * ratio ** power);
  const steps = [`Each term is ${ratio} times the one before: ${terms[1]} / ${terms[0]} = ${ratio}`];
  for (let next = 3; next < place; next++) steps.push(`${terms[next - 1]} * ${ratio} = ${terms[next]}`);
  steps.push(`${terms[place - 2]} * ${ratio} = ${terms[place - 1]}`);
  const shown = terms.slice(0, 3).join(', ');
  const question = random.pick([
    `The sequence ${shown}, ... is geometric. What is term number ${place}?`,
    `Find term number ${place} of the geometric sequence ${shown}, ...`,
    `Continue ${shown}, ... by the same factor. What is term number ${place}?`,
  ]);
  return { question, steps: [...new Set(steps)], answer: `${terms[place - 1]}` };
};

const determinant: ProblemKind = (random) => {
  const [a, b, c, d] = [nonZero(random, 12), nonZero(random, 12), nonZero(random, 12), nonZero(random, 12)];
  const steps = [
    `Main diagonal: ${operand(a)} * ${operand(d)} = ${a * d}`,
    `Other diagonal: ${operand(b)} * ${operand(c)} = ${b * c}`,
    `${a * d} - ${operand(b * c)} = ${a * d - b * c}`,
  ];
  const matrix = `[[${a}, ${b}], [${c}, ${d}]]`;
  const question = random.pick([
    `Find the determinant of ${matrix}.`,
    `What is det ${matrix}?`,
    `Compute the determinant of the matrix ${matrix}.`,
  ]);
  return { question, steps, answer: `${a * d - b * c}` };
};

const dotProduct: ProblemKind = (random) => {
  const length = random.integer(2, 4);
  const [u, v] = [0, 1].map(() => Array.from({ length }, () => nonZero(random, 12))) as [number[], number[]];
  const products = u.map((value, place) => value * v[place]!);
  const sum = products.reduce((total, product) => total + product);
  const steps = [
    ...u.map((value, place) => `${operand(value)} * ${operand(v[place]!)} = ${products[place]}`),
    `${products.map(operand).join(' + ')} = ${sum}`,
  ];
  const [left, right] = [`(${u.join(', ')})`, `(${v.join(', ')})`];
  const question = random.pick([
    `What is the dot product of ${left} and ${right}?`,
    `Multiply the vectors ${left} and ${right} entry by entry and add up.`,
  ]);
  return { question, steps, answer: `${sum}` };
};

const mean: ProblemKind = (random) => {
  const values = Array.from({ length: random.integer(4, 7) }, () => random.integer(2, 60));
  const sum = values.reduce((total, value) => total + value);
  const answer = fraction(sum, values.length);
  const steps = [
    `The sum: ${values.join(' + ')} = ${sum}`,
    `There are ${values.length} numbers: ${sum}/${values.length} = ${answer}`,
  ];
  const list = `${values.slice(0, -1).join(', ')} and ${values.at(-1)}`;
  const question = random.pick([
    `What is the mean of ${list}?`,
    `Find the average of ${list}.`,
    `Compute the arithmetic mean of ${list}.`,
  ]);
  return { question, steps, answer };
};

/** From `-largest` to `largest` without 0. */
function nonZero(random: Choices, largest: number): number {
  return random.integer(1, largest) * random.pick([-1, 1, 1]);
}

/** Unknowns, functions, sequences, vectors. */
export const algebra = {
  linearEquation,
  unknownOnBothSides,
  twoEquations,
  quadratic,
  evaluation,
  derivative,
  arithmeticSequence,
  geometricSequence,
  determinant,
  dotProduct,
  mean,
} satisfies Record<string, ProblemKind>;
