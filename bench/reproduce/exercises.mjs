/**
 * Small tasks with answers, made so that models of a few million weights can learn them: exercises as training text, and
 * others of the same kind, which are not in it, as multiple choice with four choices. Guessing gets 25 % of them right.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from './random.mjs';

const TRAINING_EXERCISES = 24_000;
const QUESTIONS = 300;
/** Answered before each question. */
const SHOTS = 4;
const PER_DOCUMENT = 10;
const CHOICES = 4;
/** Wrong numbers are as far from the right one. */
const FAR = 5;
/** One phrase in so many is asked and not trained on. */
const HELD_OUT_PHRASES = 10;
/** Wrong translations are drawn from as many shorter and longer ones. */
const NEAR = 20;

// What an exercise is: a prompt, the answer behind it, and three wrong ones.

/** Sums, differences, series and comparisons of small numbers. */
export function arithmetic(random) {
  const [a, b, step] = [random.between(1, 30), random.between(1, 30), random.between(1, 10)];
  const three = random.sample(numbers(1, 99), 3);
  const [question, answer] = random.pick([
    [`What is ${a} + ${b}?`, a + b],
    [`What is ${a + b} - ${b}?`, a],
    [`What comes next: ${[0, 1, 2, 3].map((i) => a + i * step).join(', ')}?`, a + 4 * step],
    [`Which is the largest of ${three.join(', ')}?`, Math.max(...three)],
    [`Which is the smallest of ${three.join(', ')}?`, Math.min(...three)],
  ]);
  const far = numbers(1, 99).filter((n) => Math.abs(n - answer) >= FAR);
  const wrong = random.sample(far, CHOICES - 1).map(String);
  return { prompt: `Question: ${question}\nAnswer:`, answer: `${answer}`, wrong };
}

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

const NAMES =
  `account buffer cache channel client color column config context counter cursor default delay depth device driver
  element encoding entry error event field filter folder format frame group handler header height image index input item
  kernel label layer length level limit line logger margin matrix message method model module name node number object offset
  option order output owner package parent parser path pattern point policy port prefix process queue radius record region
  reply request result root scale schema score sender server session signal size source stack state status step stream
  string suffix table target task text thread time title token total tree unit user value vector version weight width window
  worker writer`.split(/\s+/);

/** Idioms of Python with names of all kinds, and what completes them; wrong is what completes others. */
export function idioms(random) {
  const [a, b, c] = random.sample(NAMES, 3);
  const all = [
    [`with open(${a})`, `as ${b}:`],
    [`while ${a} < len(${b}):\n    ${b}[${a}].${c}()\n    ${a} +=`, '1'],
    [`try:\n    ${a} = int(${b})\nexcept`, 'ValueError:'],
    [`if ${a}.${b} is`, 'None:'],
    [`def __init__(self, ${a}):\n    self.${a} =`, a],
    [`if not isinstance(${a}, str):\n    raise`, `TypeError(${a})`],
    [`${a} = ${b}.get(${c})\nif not ${a}:\n    raise`, `KeyError(${c})`],
    [`${a} = sorted(${b}, key=lambda ${c}:`, `${c}.${a})`],
    [`@property\ndef ${a}(self):\n    return`, `self._${a}`],
    [`assert ${a} in ${b},`, `f"no {${a}}"`],
    [`${a} = [${b} for ${b} in ${c}`, `if ${b}]`],
    [`print("${a}:", ${b},`, 'file=sys.stderr)'],
    [`${a} = ${b} if ${b}`, `else ${c}`],
    [`async def ${a}(${b}):\n    return`, `await ${b}.${c}()`],
    [`for ${a}, ${b} in`, `enumerate(${c}):`],
    [`${a} = os.path.join(os.path.dirname(${b}),`, `"${c}.txt")`],
    [`def ${a}(*args,`, `**kwargs):`],
  ];
  const [prompt, answer] = random.pick(all);
  const others = all.map(([, other]) => other).filter((other) => other !== answer);
  return { prompt, answer, wrong: random.sample(others, CHOICES - 1) };
}

/**
 * Translations of short phrases: [language, English, translation]. Wrong are phrases of about the same length, one in the same
 * language and two in others. They are kept out of the training text like the right one.
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
    const side = isQuestion ? sides.asked : sides.trained;
    const [language, ...others] = random.sample([...side.keys()], CHOICES - 1);
    const [, english, answer] = random.pick(side.get(language));
    const draw = (each) => random.pick(aboutAsLong(side.get(each), answer));
    const wrong = isQuestion ? [language, ...others].map(draw) : [];
    return { prompt: `English: ${english}\n${language}:`, answer, wrong };
  };
}

/** Of a list that is sorted by length, translations about as long as one, which is not among them. */
function aboutAsLong(list, answer) {
  const at = list.findIndex(([, , other]) => other.length >= answer.length);
  const middle = at < 0 ? list.length : at;
  const near = list.slice(Math.max(0, middle - NEAR), middle + NEAR).map(([, , other]) => other);
  return near.filter((other) => other !== answer);
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
