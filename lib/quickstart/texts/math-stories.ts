import { dollars } from './math-notation.js';
import type { ProblemKind } from './math-problem.js';

const NAMES = (
  'Ada Amir Anna Ben Bao Carla Chen Dana David Elena Emma Farid Fatima George Grace Hana Hugo Ines Ivan Jana ' +
  'Jonas Kofi Lena Leo Lucia Mara Mei Milan Nadia Noah Olga Omar Paul Priya Rosa Sam Sara Tom Uma Viktor Wei Yara Zoe'
).split(' ');
const THINGS = [
  'apples',
  'books',
  'pencils',
  'marbles',
  'stamps',
  'oranges',
  'candles',
  'postcards',
  'cups',
  'plants',
  'shells',
  'stickers',
];
const CONTAINERS = ['boxes', 'bags', 'baskets', 'crates', 'shelves', 'trays'];
const TRAVELLERS = ['A train', 'A bus', 'A cyclist', 'A car', 'A ship', 'A runner', 'A truck'];

const shopping: ProblemKind = (random) => {
  const [name, thing, other] = [random.pick(NAMES), ...random.pickTwo(THINGS)] as const;
  const [n, m] = [random.integer(2, 12), random.integer(2, 12)];
  const [price, otherPrice] = [random.integer(4, 99) * 5, random.integer(4, 99) * 5];
  const total = n * price + m * otherPrice;
  const steps = [
    `The ${thing}: ${n} * ${dollars(price)} = ${dollars(n * price)}`,
    `The ${other}: ${m} * ${dollars(otherPrice)} = ${dollars(m * otherPrice)}`,
    `Together: ${dollars(n * price)} + ${dollars(m * otherPrice)} = ${dollars(total)}`,
  ];
  const question = random.pick([
    `${name} buys ${n} ${thing} at $${dollars(price)} each and ${m} ${other} at $${dollars(otherPrice)} each. How much is that?`,
    `In a shop ${name} takes ${n} ${thing} for $${dollars(price)} apiece, and ${m} ${other} for $${dollars(otherPrice)} apiece. What is the total?`,
  ]);
  return { question, steps, answer: `$${dollars(total)}` };
};

const change: ProblemKind = (random) => {
  const [name, thing] = [random.pick(NAMES), random.pick(THINGS)];
  const [n, price] = [random.integer(2, 9), random.integer(4, 120) * 5];
  const paid = [500, 1000, 2000, 5000, 10000].find((note) => note >= n * price)!;
  const steps = [
    `The ${thing} cost ${n} * ${dollars(price)} = ${dollars(n * price)}`,
    `What is left: ${dollars(paid)} - ${dollars(n * price)} = ${dollars(paid - n * price)}`,
  ];
  const question = random.pick([
    `${name} buys ${n} ${thing} for $${dollars(price)} each and pays with $${dollars(paid)}. How much change comes back?`,
    `For ${n} ${thing} at $${dollars(price)} each, ${name} hands over $${dollars(paid)}. What is the change?`,
  ]);
  return { question, steps, answer: `$${dollars(paid - n * price)}` };
};

const givingAway: ProblemKind = (random) => {
  const [[name, friend], thing] = [random.pickTwo(NAMES), random.pick(THINGS)];
  const [have, give, find] = [random.integer(40, 200), random.integer(5, 39), random.integer(5, 60)];
  const steps = [
    `After the gift: ${have} - ${give} = ${have - give}`,
    `With the new ones: ${have - give} + ${find} = ${have - give + find}`,
  ];
  const question = random.pick([
    `${name} has ${have} ${thing}, gives ${give} of them to ${friend} and later gets ${find} more. How many are there now?`,
    `Of ${have} ${thing}, ${name} lets ${friend} have ${give}. Then ${name} finds ${find} others. How many ${thing} does ${name} have in the end?`,
  ]);
  return { question, steps, answer: `${have - give + find}` };
};

const sharing: ProblemKind = (random) => {
  const [name, thing, container] = [random.pick(NAMES), random.pick(THINGS), random.pick(CONTAINERS)];
  const [total, parts] = [random.integer(30, 500), random.integer(3, 16)];
  const [each, left] = [Math.floor(total / parts), total % parts];
  const steps = [`${parts} * ${each} = ${parts * each}`, `${total} - ${parts * each} = ${left}`];
  const question = random.pick([
    `${name} shares ${total} ${thing} equally among ${parts} ${container}. How many does each get, and how many are left?`,
    `${total} ${thing} go into ${parts} ${container}, the same number into each. How many are in each, and how many remain?`,
  ]);
  return { question, steps, answer: `${each} each, ${left} left` };
};

const packing: ProblemKind = (random) => {
  const [thing, container] = [random.pick(THINGS), random.pick(CONTAINERS)];
  const [boxes, rows, columns] = [random.integer(3, 20), random.integer(2, 12), random.integer(2, 12)];
  const steps = [
    `One holds ${rows} * ${columns} = ${rows * columns}`,
    `All of them: ${boxes} * ${rows * columns} = ${boxes * rows * columns}`,
  ];
  const question = random.pick([
    `There are ${boxes} ${container} with ${rows} rows of ${columns} ${thing} each. How many ${thing} is that?`,
    `Each of ${boxes} ${container} has ${rows} rows, and each row ${columns} ${thing}. How many ${thing} are there?`,
  ]);
  return { question, steps, answer: `${boxes * rows * columns}` };
};

const travel: ProblemKind = (random) => {
  const who = random.pick(TRAVELLERS);
  const [speed, hours] = [random.integer(4, 40) * 3, random.integer(2, 12)];
  const distance = speed * hours;
  return random.pick([
    {
      question: `${who} moves at ${speed} km per hour for ${hours} hours. How far does it get?`,
      steps: ['Distance is speed times time.', `${speed} * ${hours} = ${distance}`],
      answer: `${distance} km`,
    },
    {
      question: `${who} covers ${distance} km in ${hours} hours. What is its average speed?`,
      steps: ['Speed is distance divided by time.', `${distance} / ${hours} = ${speed}`],
      answer: `${speed} km per hour`,
    },
    {
      question: `${who} travels ${distance} km at ${speed} km per hour. How long does it take?`,
      steps: ['Time is distance divided by speed.', `${distance} / ${speed} = ${hours}`],
      answer: `${hours} hours`,
    },
  ]);
};

const ages: ProblemKind = (random) => {
  const [older, younger] = random.pickTwo(NAMES);
  const [age, difference] = [random.integer(5, 40), random.integer(2, 25)];
  const sum = 2 * age + difference;
  const steps = [
    `Let ${younger} be a years old. Then ${older} is a + ${difference}.`,
    `Together: 2a + ${difference} = ${sum}`,
    `${sum} - ${difference} = ${2 * age} and ${2 * age} / 2 = ${age}`,
  ];
  const question = random.pick([
    `${older} is ${difference} years older than ${younger}. Together they are ${sum} years old. How old is ${younger}?`,
    `The ages of ${younger} and ${older} differ by ${difference} years and add up to ${sum}. ${younger} is the younger one. How old is ${younger}?`,
  ]);
  return { question, steps, answer: `${age}` };
};

const ratio: ProblemKind = (random) => {
  const [[name, friend], thing] = [random.pickTwo(NAMES), random.pick(THINGS)];
  const [a, b, part] = [random.integer(1, 7), random.integer(2, 9), random.integer(3, 25)];
  const total = (a + b) * part;
  const steps = [
    `There are ${a} + ${b} = ${a + b} parts.`,
    `One part: ${total} / ${a + b} = ${part}`,
    `${name}: ${a} * ${part} = ${a * part}`,
    `${friend}: ${b} * ${part} = ${b * part}`,
  ];
  const question = random.pick([
    `${name} and ${friend} split ${total} ${thing} in the ratio ${a}:${b}. How many does each get?`,
    `Divide ${total} ${thing} between ${name} and ${friend} in the ratio ${a}:${b}.`,
  ]);
  return { question, steps, answer: `${a * part} and ${b * part}` };
};

const interest: ProblemKind = (random) => {
  const [name, principal, rate, years] = [
    random.pick(NAMES),
    random.integer(2, 90) * 100,
    random.integer(1, 9),
    random.integer(2, 12),
  ];
  const yearly = (principal * rate) / 100;
  const steps = [
    `Interest of one year: ${principal} * ${rate} / 100 = ${yearly}`,
    `Interest of all years: ${years} * ${yearly} = ${years * yearly}`,
    `With the savings: ${principal} + ${years * yearly} = ${principal + years * yearly}`,
  ];
  const question = random.pick([
    `${name} saves $${principal} at ${rate}% simple interest per year. How much is it after ${years} years?`,
    `A deposit of $${principal} earns ${rate}% simple interest a year for ${years} years. What is it worth then?`,
  ]);
  return { question, steps, answer: `$${principal + years * yearly}` };
};

/** Problems about people and things. */
export const stories = {
  shopping,
  change,
  givingAway,
  sharing,
  packing,
  travel,
  ages,
  ratio,
  interest,
} satisfies Record<string, ProblemKind>;
