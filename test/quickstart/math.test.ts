import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Choices } from '../../lib/quickstart/texts/choices.js';
import { mathProblems, PROBLEM_KINDS } from '../../lib/quickstart/texts/math-problems.js';

const SAMPLE = 100;

/** The numbers of a text in order. */
const numbersIn = (text: string) => (text.match(/-?\d+(?:\.\d+)?/g) ?? []).map(Number);

/** What stands between the words of a text: 'Tens: 4 + 7 = 11, carry 1.' gives '4 + 7 = 11' and '1'. */
const formulasIn = (text: string) =>
  text
    .replaceAll(' mod ', ' % ')
    .split(/[A-Za-z']{2,}|[:;,?]|\.(?=\s|$)/)
    .map((formula) => formula.trim())
    .filter((formula) => formula !== '');

const longestFormula = (text: string) => formulasIn(text).sort((one, other) => other.length - one.length)[0]!;

/** The value of '3x^2 - 2x + 1', '2/3 - 1/4' or '5 * (2 + 1)'. */
function evaluate(formula: string, variables: Record<string, number> = {}): number {
  const script = formula.replace(/(\d+|[a-z]|\([^()]*\))\^(\d+)/g, '($1**$2)').replace(/(\d)(\(?[a-z])/g, '$1*$2');
  return Function(...Object.keys(variables), `return ${script}`)(...Object.values(variables));
}

/** A quotient of whole numbers as the lowest terms that can be found by trying. */
function lowest(numerator: number, denominator: number): string {
  for (let divisor = denominator; divisor > 1; divisor--) {
    if (numerator % divisor === 0 && denominator % divisor === 0)
      return lowest(numerator / divisor, denominator / divisor);
  }
  return denominator === 1 ? `${numerator}` : `${numerator}/${denominator}`;
}

const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
const product = (values: number[]) => values.reduce((total, value) => total * value, 1);
const range = (count: number) => Array.from({ length: count }, (_, place) => place);
const isClose = (one: number, other: number) => Math.abs(one - other) < 1e-6 * (1 + Math.abs(other));
const money = (value: number) => `$${Math.round(value * 100) % 100 === 0 ? Math.round(value) : value.toFixed(2)}`;

/** The unknowns that an answer ('x = 2, y = 3') tells. */
const unknownsIn = (answer: string): Record<string, number> =>
  Object.fromEntries([...answer.matchAll(/([a-z]) = (-?\d+)/g)].map(([, name, value]) => [name, Number(value)]));

/**
 * How many equations ('3 * 4 = 12', '7 mod 5 = 2', '2x = 6') stand in a line, and which of them are wrong. Those with
 * other unknowns than the given do not count.
 */
function checkEquations(line: string, unknowns: Record<string, number> = {}): { found: number; wrong: string[] } {
  const canEvaluate = (side: string) => (side.match(/[a-z]/g) ?? []).every((letter) => letter in unknowns);
  const pairs = formulasIn(line)
    .flatMap((formula) => {
      const sides = formula.split('=').map((side) => side.trim());
      return sides.slice(1).map((right, place) => [sides[place]!, right] as const);
    })
    .filter((pair) => pair.every(canEvaluate));
  const wrong = pairs.filter(([left, right]) => !isClose(evaluate(left, unknowns), evaluate(right, unknowns)));
  return { found: pairs.length, wrong: wrong.map((pair) => pair.join(' = ')) };
}

/** Whether a question has equations and the answer fulfils them all. */
function solves(question: string, answer: string): boolean {
  const { found, wrong } = checkEquations(question, unknownsIn(answer));
  return found > 0 && wrong.length === 0;
}

/** Computes each kind's answer again from the words of the question: n are its numbers, q the question, a the answer. */
const CHECKS: Record<string, (n: number[], q: string, a: string) => boolean> = {
  addition: ([x, y], _, a) => a === `${x! + y!}`,
  subtraction: ([x, y], _, a) => a === `${x! - y!}`,
  multiplication: ([x, y], _, a) => a === `${x! * y!}`,
  longDivision: ([x, y], _, a) => {
    const [quotient, rest = 0] = numbersIn(a);
    return quotient! * y! + rest === x && rest < y! && rest >= 0;
  },
  orderOfOperations: (_, q, a) => Number(a) === evaluate(longestFormula(q)),
  fractionSum: ([p, b, r, d], q, a) => a === lowest(q.includes(' - ') ? p! * d! - r! * b! : p! * d! + r! * b!, b! * d!),
  fractionProduct: ([p, b, r, d], q, a) =>
    a === (/Multiply|\*/.test(q) ? lowest(p! * r!, b! * d!) : lowest(p! * d!, b! * r!)),
  greatestCommonDivisor: ([x, y], _, a) =>
    Number(a) === Math.max(...range(x! + 1).filter((d) => d > 0 && x! % d === 0 && y! % d === 0)),
  leastCommonMultiple: ([x, y], _, a) =>
    Number(a) ===
    range(y! + 1)
      .map((times) => times * x!)
      .find((m) => m > 0 && m % y! === 0),
  primeFactors: ([x], _, a) => {
    const primes = numbersIn(a);
    return product(primes) === x && primes.every((p) => range(p).every((d) => d < 2 || p % d !== 0));
  },
  modularPower: ([base, exponent, modulus], _, a) => a === `${BigInt(base!) ** BigInt(exponent!) % BigInt(modulus!)}`,
  binary: ([x], q, a) => a === (/to decimal|Which/.test(q) ? `${Number.parseInt(`${x}`, 2)}` : x!.toString(2)),
  linearEquation: (_, q, a) => solves(q, a),
  unknownOnBothSides: (_, q, a) => solves(q, a),
  twoEquations: (_, q, a) => solves(q, a) && checkEquations(q, unknownsIn(a)).found === 2,
  quadratic: (_, q, a) => {
    const [left] = longestFormula(q).split('=');
    const roots = a.split(' or ');
    const values = roots.map((root) => Number(root.slice(4)));
    const minusSum = (evaluate(left!, { x: 1 }) - evaluate(left!, { x: -1 })) / 2;
    return roots.every((root) => solves(q, root)) && values[0]! + values.at(-1)! === -minusSum;
  },
  evaluation: (n, q, a) => Number(a) === evaluate(longestFormula(q.replace('f(x) = ', '')), { x: n.at(-1)! }),
  derivative: (_, q, a) => {
    const f = longestFormula(q.replace('f(x) = ', ''));
    const slope = (x: number) => (evaluate(f, { x: x + 1e-4 }) - evaluate(f, { x: x - 1e-4 })) / 2e-4;
    return [-2, -0.5, 0, 1, 3].every((x) => Math.abs(slope(x) - evaluate(a, { x })) < 1e-4);
  },
  arithmeticSequence: (n, q, a) => {
    const count = Number(/number (\d+)/.exec(q)![1]);
    const [first, second] = numbersIn(/-?\d+(, -?\d+)+/.exec(q)![0]);
    const terms = range(count).map((place) => first! + place * (second! - first!));
    return a === `${/sum|Add up/.test(q) ? sum(terms) : terms.at(-1)}` && n.includes(terms[3]!);
  },
  geometricSequence: (_, q, a) => {
    const place = Number(/number (\d+)/.exec(q)![1]);
    const [first, second] = numbersIn(/-?\d+(, -?\d+)+/.exec(q)![0]);
    return Number(a) === first! * (second! / first!) ** (place - 1);
  },
  determinant: ([p, q, r, s], _, a) => Number(a) === p! * s! - q! * r!,
  dotProduct: (n, _, a) =>
    Number(a) === sum(n.slice(0, n.length / 2).map((value, place) => value * n[n.length / 2 + place]!)),
  mean: (n, _, a) => a === lowest(sum(n), n.length),
  shopping: ([n, price, m, other], _, a) => a === money(n! * price! + m! * other!),
  change: ([n, price, paid], _, a) => a === money(paid! - n! * price!) && paid! >= n! * price!,
  givingAway: ([have, give, find], _, a) => Number(a) === have! - give! + find!,
  sharing: ([total, parts], _, a) => a === `${Math.floor(total! / parts!)} each, ${total! % parts!} left`,
  packing: (n, _, a) => Number(a) === product(n),
  travel: ([x, y], q, a) =>
    a === (/How far/.test(q) ? `${x! * y!} km` : /speed\?/.test(q) ? `${x! / y!} km per hour` : `${x! / y!} hours`),
  ages: ([difference, total], _, a) => Number(a) + (Number(a) + difference!) === total,
  ratio: ([total, x, y], _, a) => a === `${(total! * x!) / (x! + y!)} and ${(total! * y!) / (x! + y!)}`,
  percentage: ([percent, base], _, a) => isClose(Number(a), (percent! / 100) * base!),
  percentChange: ([before, after], q, a) =>
    a === `${Math.round((100 * Math.abs(after! - before!)) / before!)}%` &&
    /rises|increase/.test(q) === after! > before!,
  interest: ([principal, rate, years], _, a) => a === `$${principal! + (principal! * rate! * years!) / 100}`,
  conversion: (n, q, a) => {
    const seconds = (text: string) =>
      sum([...text.matchAll(/(\d+) (\w+)/g)].map(([, count, unit]) => Number(count) * UNIT[unit!]!));
    const smaller = Math.min(...(q.match(/\w+/g) ?? []).map((word) => UNIT[word] ?? Number.POSITIVE_INFINITY));
    const rest = a.includes(' and ') ? numbersIn(a)[1]! : 0;
    const larger = Math.max(...(q.match(/\w+/g) ?? []).map((word) => UNIT[word] ?? 0));
    return n.length > 0 && isClose(seconds(a), seconds(q)) && rest * smaller < larger;
  },
  rectangle: ([x, y], q, a) => Number(a) === (q.includes('area') ? x! * y! : 2 * (x! + y!)),
  triangle: ([x, y], _, a) => isClose(Number(a), Math.hypot(x!, y!)),
  drawing: ([x, y], q, a) => {
    const wanted = /that it is (\w+)|draw a (\w+)/.exec(q)!;
    const counts = Object.fromEntries([...q.matchAll(/(\d+) (\w+)/g)].map((match) => [match[2], Number(match[1])]));
    return a === lowest(counts[wanted[1] ?? wanted[2]!]!, x! + y!);
  },
  choosing: ([n, k], _, a) =>
    Number(a) === product(range(k!).map((i) => n! - i)) / product(range(k!).map((i) => i + 1)),
};

/** In units of which all the others are multiples: millimeters, milliliters, grams, seconds; inches; ounces. */
const UNIT: Record<string, number> = {
  millimeters: 1,
  centimeters: 10,
  meters: 1000,
  kilometers: 1e6,
  grams: 1,
  kilograms: 1000,
  milliliters: 1,
  liters: 1000,
  seconds: 1,
  minutes: 60,
  hours: 3600,
  days: 86_400,
  weeks: 604_800,
  inches: 1,
  feet: 12,
  yards: 36,
  ounces: 1,
  pounds: 16,
};

test('every kind of problem has a check here', () => {
  assert.equal(Object.keys(PROBLEM_KINDS).sort(), Object.keys(CHECKS).sort());
});

for (const [kind, make] of Object.entries(PROBLEM_KINDS)) {
  test(`${kind}: the answer follows from the question, and every step is true`, () => {
    const random = new Choices(7);
    let equations = 0;
    const wordings = new Set<string>();
    for (let count = 0; count < SAMPLE; count++) {
      const problem = make(random);
      const text = [problem.question, ...problem.steps, problem.answer].join('\n');
      assert.ok(CHECKS[kind]!(numbersIn(problem.question), problem.question, problem.answer), text);
      for (const step of problem.steps) {
        const { found, wrong } = checkEquations(
          step,
          problem.answer.includes(' or ') ? {} : unknownsIn(problem.answer),
        );
        assert.equal(wrong, [], text);
        equations += found;
      }
      assert.not.match(text, /NaN|undefined|Infinity|-0\b|\+ -|--/);
      wordings.add(problem.question.replace(/-?[\d.]+/g, '#').replace(/[A-Z][a-z]+/g, 'N'));
    }
    // The solution of a drawing may be 'In all: 3 + 4 = 7' and no more, that of a derivative '3x becomes 3.'.
    assert.ok(equations >= SAMPLE / 2, `only ${equations} equations were found in ${SAMPLE} solutions`);
    assert.ok(wordings.size > 1);
  });
}

test('the digits written column by column are those of the answer', () => {
  const random = new Choices(11);
  const lastDigits = (steps: string[], pattern: RegExp) =>
    steps.map((step) => pattern.exec(step)?.slice(1).join('') ?? '');
  for (let count = 0; count < SAMPLE; count++) {
    const { answer: sum, steps: sumSteps } = PROBLEM_KINDS.addition!(random);
    assert.is(
      lastDigits(sumSteps, /(?:Write|last carry) (\d)/)
        .reverse()
        .join(''),
      sum,
    );
    const { answer: difference, steps: differenceSteps } = PROBLEM_KINDS.subtraction!(random);
    assert.is(
      Number(
        lastDigits(differenceSteps, /= (\d)\.$/)
          .reverse()
          .join(''),
      ),
      Number(difference),
    );
    const { answer: quotient, steps: divisionSteps } = PROBLEM_KINDS.longDivision!(random);
    assert.is(lastDigits(divisionSteps, / (\d) times?:|write (0)/).join(''), quotient.split(' ')[0]);
  }
});

test('the check of steps finds what is wrong', () => {
  assert.equal(checkEquations('Ones: 5 + 8 = 14. Write 4, carry 1.').wrong, ['5 + 8 = 14']);
  assert.equal(checkEquations('9 * 9 = 81, 81 mod 7 = 5').wrong, ['81 % 7 = 5']);
  assert.equal(checkEquations('2/4 = 14/28 and 2/7 = 9/28').wrong, ['2/7 = 9/28']);
  assert.equal(checkEquations('8^2 + 15^2 = 64 + 225 = 290').wrong, ['64 + 225 = 290']);
  assert.equal(checkEquations('One part: (-3) * 4 = 12').wrong, ['(-3) * 4 = 12']);
  assert.equal(checkEquations('Subtract 3 on both sides: 2x + 5 = 9', { x: 3 }).wrong, ['2x + 5 = 9']);
  assert.equal(checkEquations('Subtract 3 on both sides: 2x + 5 = 9, x - 1 = 2'), { found: 0, wrong: [] });
});

test('problems come without end, no question twice, the same for the same seed', () => {
  const take = (seed: number) => {
    const texts: string[] = [];
    for (const { text } of mathProblems(new Choices(seed)).documents as Iterable<{ text: string }>) {
      texts.push(text);
      if (texts.length === 5000) break;
    }
    return texts;
  };
  const texts = take(3);
  assert.is(new Set(texts.map((text) => text.split('\n')[0]!.replace(/^\w+/, ''))).size, 5000);
  assert.ok(texts.every((text) => /^\w+: .+\n[\w ]+:\n(.+\n)+Answer: .+$/.test(text)));
  assert.equal(take(3), texts);
  assert.not.equal(take(4), texts);
});

test.run();
