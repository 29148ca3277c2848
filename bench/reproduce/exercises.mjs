/**
 * Small tasks with answers, made so that models of a few million weights can learn them: exercises as training text, and
 * others of the same kind, which are not in it, as multiple choice with four choices. Guessing gets 25 % of them right.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from './random.mjs';

const TRAINING_EXERCISES = 16_000;
const QUESTIONS = 300;
/** Answered before each question. */
const SHOTS = 4;
const PER_DOCUMENT = 10;
const CHOICES = 4;
/** One in so many is asked and not trained on. */
const HELD_OUT_PHRASES = 10;
/** Wrong translations are drawn from as many shorter and longer ones. */
const NEAR = 20;

/** What an exercise is: a prompt, what follows it behind a space, and three wrong answers. */

/** Sums, differences, products, series and comparisons of small numbers. */
export function arithmetic(random) {
  const [a, b] = [random.between(2, 49), random.between(2, 49)];
  const near = (n) =>
    random.sample(
      [n - 10, n - 2, n - 1, n + 1, n + 2, n + 10].filter((other) => other >= 0),
      3,
    );
  const exercise = (question, n, wrong = near(n)) => ({
    prompt: `Question: ${question}\nAnswer:`,
    answer: `${n}`,
    wrong: wrong.map(String),
  });
  const kinds = [
    () => exercise(`What is ${a} + ${b}?`, a + b),
    () => exercise(`What is ${a + b} - ${b}?`, a),
    () => {
      const step = random.between(1, 10);
      return exercise(`What comes next: ${[0, 1, 2, 3].map((i) => a + i * step).join(', ')}?`, a + 4 * step);
    },
    () => {
      const numbers = random.sample([...Array(99).keys()], 3).map((n) => n + 1);
      const largest = Math.max(...numbers);
      const others = numbers.filter((n) => n !== largest);
      return exercise(`Which is the largest of ${numbers.join(', ')}?`, largest, [...others, largest + 1]);
    },
    () => {
      const [low, high] = [Math.min(a, b), Math.max(a, b) + 1];
      const wrong = [high, high + 1, low + 100].slice(0, 3);
      return exercise(`Which is the smaller of ${a < b ? `${low}, ${high}` : `${high}, ${low}`}?`, low, wrong);
    },
  ];
  return random.pick(kinds)();
}

const NAMES =
  `account buffer cache channel client color column config context counter cursor default delay depth device driver
  element encoding entry error event field filter folder format frame group handler header height image index input item
  kernel label layer length level limit line logger margin matrix message method model module name node number object offset
  option order output owner package parent parser path pattern point policy port prefix process queue radius record region
  reply request result root scale schema score sender server session signal size source stack state status step stream
  string suffix table target task text thread time title token total tree unit user value vector version weight width window
  worker writer`.split(/\s+/);

/** Idioms of Python whose next word is one that stands in them already. */
export function idioms(random) {
  const [a, b, c, ...absent] = random.sample(NAMES, 5);
  const idiom = (prompt, answer, others = [b, c]) => {
    const seen = random.pick(others.filter((other) => other !== answer));
    return { prompt, answer, wrong: [seen, ...absent] };
  };
  return random.pick([
    () => idiom(`def __init__(self, ${c}, ${a}):\n    self.${c} = ${c}\n    self.${a} =`, a),
    () => idiom(`def set_${a}(self, ${a}):\n    self.${b}.${c} =`, a),
    () => idiom(`for ${a} in ${b}.get_${c}():\n    if not`, a),
    () => idiom(`from ${b}.${c} import ${a}\nresult =`, a),
    () => idiom(`with open(${b}) as ${a}:\n    ${c} =`, a),
    () => idiom(`${a} = []\nfor ${b} in ${c}:\n    ${a}.append(${b})\nreturn`, a),
    () => idiom(`if ${a} is None:\n    ${a} = self.${b}.${c}\nreturn`, a),
    () => idiom(`try:\n    ${b} = int(${a})\nexcept ValueError:\n    ${b} = ${c}.parse(${a})\nreturn`, b, [a, c]),
    () => idiom(`while ${a} < len(${b}):\n    ${c}.write(${b}[${a}])\n    ${a} += 1\nassert`, a),
    () => idiom(`lambda ${a}, ${b}:`, a, [b, c]),
  ])();
}

/**
 * Translations of short phrases: [language, English, translation]. Wrong are others of about the same length, which are kept
 * out of the training text like the right one.
 */
export function phrases(pairs, random) {
  const sides = { asked: new Map(), trained: new Map() };
  for (const pair of random.sample(pairs)) {
    const side = random.below(HELD_OUT_PHRASES) === 0 ? sides.asked : sides.trained;
    const [language] = pair;
    side.set(language, [...(side.get(language) ?? []), pair]);
  }
  for (const list of sides.asked.values()) list.sort((a, b) => a[2].length - b[2].length);
  return (random, isQuestion) => {
    const list = random.pick([...(isQuestion ? sides.asked : sides.trained).values()]);
    const at = random.below(list.length);
    const [language, english, answer] = list[at];
    const near = list.slice(Math.max(0, at - NEAR), at + NEAR + 1).map(([, , other]) => other);
    const wrong = [...new Set(near)].filter((other) => other !== answer);
    return { prompt: `English: ${english}\n${language}:`, answer, wrong: random.sample(wrong, CHOICES - 1) };
  };
}

/**
 * Writes NAME.jsonl, training text, and NAME.json with NAME-questions.jsonl, the task. No question stands in the text: what
 * is asked is drawn first, and does not come again.
 */
export function writeExercises(folder, name, draw, { seed, metric = 'acc' }) {
  mkdirSync(folder, { recursive: true });
  const random = new Random(seed);
  const asked = new Map();
  while (asked.size < QUESTIONS + SHOTS) {
    const exercise = draw(random, true);
    if (exercise.wrong.length === CHOICES - 1 && new Set(exercise.wrong).size === CHOICES - 1)
      asked.set(exercise.prompt, exercise);
  }
  const rows = [...asked.values()].map(({ prompt, answer, wrong }) => {
    const choices = random.sample([answer, ...wrong]);
    return { prompt, choices, label: choices.indexOf(answer) };
  });
  const texts = [];
  while (texts.length < TRAINING_EXERCISES) {
    const { prompt, answer } = draw(random, false);
    if (!asked.has(prompt)) texts.push(`${prompt} ${answer}`);
  }
  const documents = Array.from({ length: TRAINING_EXERCISES / PER_DOCUMENT }, (_, i) =>
    texts.slice(i * PER_DOCUMENT, (i + 1) * PER_DOCUMENT).join('\n\n'),
  );
  const questions = `${name}-questions.jsonl`;
  const task = {
    task: name,
    data: questions,
    output_type: 'multiple_choice',
    doc_to_text: 'prompt',
    doc_to_choice: 'choices',
    doc_to_target: 'label',
    num_fewshot: SHOTS,
    fewshot_config: { sampler: 'first_n', samples: rows.slice(0, SHOTS) },
    metric_list: [{ metric }],
  };
  const lines = (objects) => objects.map((object) => `${JSON.stringify(object)}\n`).join('');
  writeFileSync(join(folder, `${name}.jsonl`), lines(documents.map((text) => ({ text }))));
  writeFileSync(join(folder, questions), lines(rows.slice(SHOTS)));
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(task, null, 2)}\n`);
}
