import { z } from 'zod';
import { type DataFolder, huggingFacePaths, type Location } from '../data/data-folder.js';
import { stripped } from '../filters.js';
import { textScoring } from '../scoring.js';
import type { Task } from '../task.js';
import { prompted } from '../template.js';

interface Question {
  question: string;
  aliases: string[];
}

const Aliases = z.array(z.string()).min(1);
const QuestionRow = z.union([
  // The authors' layout, Hugging Face's, and that of a list of questions with aliases.
  z
    .object({ Question: z.string(), Answer: z.object({ Aliases }) })
    .transform(({ Question, Answer }): Question => ({ question: Question, aliases: Answer.Aliases })),
  z
    .object({ question: z.string(), answer: z.object({ aliases: Aliases }) })
    .transform(({ question, answer }): Question => ({ question, aliases: answer.aliases })),
  z.object({ question: z.string(), aliases: Aliases }),
]);

const source = 'https://nlp.cs.washington.edu/triviaqa/, or mandarjoshi/trivia_qa (rc.nocontext) on Hugging Face';
const questions: Location = {
  what: 'the validation questions of TriviaQA',
  paths: [
    ...['unfiltered-web-dev.json', 'wikipedia-dev.json', 'web-dev.json'].flatMap((file) => [
      `triviaqa/${file}`,
      `triviaqa/qa/${file}`,
    ]),
    ...huggingFacePaths('triviaqa', 'rc.nocontext', 'validation'),
    'triviaqa/triviaqa_sample150.official_layout.json',
    'triviaqa/triviaqa_sample150.json',
  ],
  source,
};
const training: Location = {
  what: 'the training questions of TriviaQA',
  paths: [
    ...['unfiltered-web-train.json', 'wikipedia-train.json', 'web-train.json'].flatMap((file) => [
      `triviaqa/${file}`,
      `triviaqa/qa/${file}`,
    ]),
    ...huggingFacePaths('triviaqa', 'rc.nocontext', 'train'),
  ],
  source,
};

/** Without training questions, the first of the others are shown, and not asked. */
const SET_ASIDE = 50;

async function read(data: DataFolder): Promise<{ asked: Question[]; shown: Question[] }> {
  const all = await data.read(questions, QuestionRow);
  if (await data.has(training)) return { asked: all, shown: await data.read(training, QuestionRow) };
  return { asked: all.slice(SET_ASIDE), shown: all.slice(0, SET_ASIDE) };
}

const answer = ({ aliases }: Question) => aliases;

const triviaqa: Task<Question> = {
  name: 'triviaqa',
  version: 3,
  source: 'Joshi et al. 2017',
  follows: "lm-eval's triviaqa 3.0 with 5 shots (lm-eval's default is none, the paper names no number)",
  kind: 'generate',
  shots: 5,
  draw: 'random',
  generation: { stop: ['\n', '.', ','] },
  documents: async (data) => (await read(data)).asked,
  examples: async (data) => (await read(data)).shown,
  ...prompted('Question: {question}?\nAnswer:', ({ question }) => ({ question })),
  answer,
  ...textScoring({ answer, filters: [stripped], exactMatch: { ignoreCase: true, ignorePunctuation: true } }),
};

export const tasks: readonly Task[] = [triviaqa];
