import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { type DataFolder, huggingFacePaths, type Location } from '../data/data-folder.js';
import { lastNumber, regexFilter, stripped } from '../filters.js';
import { textScoring } from '../scoring.js';
import type { Group, Task } from '../task.js';
import { prompted } from '../template.js';

interface Language {
  question: string;
  /** Before a chain of thought, and before a number alone. */
  steps: string;
  direct: string;
  /** The words before the answer, a Python pattern with one group. */
  answer: string;
}

const NUMBER = '(\\-?[0-9\\.\\,]+)';
// As in lm-eval 0.4.13, the slip in the Russian `steps` and the English `direct` of many included.
const LANGUAGES: Record<string, Language> = {
  bn: { question: 'প্রশ্ন:', steps: 'ধাপে ধাপে উত্তর:', direct: 'Answer:', answer: `The answer is ${NUMBER}` },
  de: {
    question: 'Frage:',
    steps: 'Schritt-für-Schritt-Antwort:',
    direct: 'Antwort:',
    answer: `Die Antwort lautet ${NUMBER}`,
  },
  en: { question: 'Question:', steps: 'Step-by-Step Answer:', direct: 'Answer:', answer: `The answer is ${NUMBER}` },
  es: {
    question: 'Pregunta:',
    steps: 'Respuesta paso a paso:',
    direct: 'Respuesta:',
    answer: `La respuesta es ${NUMBER}`,
  },
  fr: {
    question: 'Question :',
    steps: 'Réponse étape par étape :',
    direct: 'Réponse :',
    answer: `La réponse est ${NUMBER}`,
  },
  ja: { question: '問題：', steps: 'ステップごとの答え:', direct: 'Answer:', answer: `答えは${NUMBER}です。` },
  ru: { question: 'Задача:', steps: 'Пошаговоерешение:', direct: 'Answer:', answer: `Ответ — ${NUMBER}` },
  sw: { question: 'Swali:', steps: 'Jibu la Hatua kwa Hatua:', direct: 'Answer:', answer: `Jibu ni ${NUMBER}` },
  te: { question: 'ప్రశ్న:', steps: 'దశలవారీగా సమాధానం:', direct: 'Answer:', answer: `సమాధానం ${NUMBER}` },
  th: { question: 'โจทย์:', steps: 'คำตอบทีละขั้นตอน:', direct: 'Answer:', answer: `คำตอบคือ ${NUMBER}` },
  zh: { question: '问题：', steps: '逐步解答:', direct: 'Answer:', answer: `答案是 ${NUMBER}。` },
};

interface Problem {
  question: string;
  /** The worked answer of an example; problems that are asked have none. */
  answer: string | null;
  answerNumber: number;
}

const NumberText = z.string().transform((text) => Number(text.replaceAll(',', '')));
const ProblemRow = z.union([
  z
    .tuple([z.string(), NumberText.pipe(z.number())])
    .transform(([question, answerNumber]): Problem => ({ question, answer: null, answerNumber })),
  z
    .object({ question: z.string(), answer: z.string().nullable(), answer_number: z.number() })
    .transform(({ question, answer, answer_number }): Problem => ({ question, answer, answerNumber: answer_number })),
]);
const Exemplars = z.object({
  EXEMPLAR_NUMBER_ANSWERS: z.array(z.number()),
  MGSM_EXEMPLARS: z.record(z.string(), z.record(z.string(), z.object({ q: z.string(), a: z.string() }))),
});

const source = 'https://github.com/google-research/url-nlp (mgsm), or juletxara/mgsm on Hugging Face';

function readProblems(data: DataFolder, language: string): Promise<Problem[]> {
  const location: Location = {
    what: `the MGSM problems in '${language}'`,
    paths: [`mgsm/mgsm_${language}.tsv`, ...huggingFacePaths('mgsm', language, 'test')],
    source,
  };
  return data.read(location, ProblemRow);
}

async function readExamples(data: DataFolder, language: string): Promise<Problem[]> {
  const what = `the MGSM examples in '${language}'`;
  const training: Location = { what, paths: huggingFacePaths('mgsm', language, 'train'), source };
  if (await data.has(training)) return data.read(training, ProblemRow);
  const exemplars: Location = { what, paths: ['mgsm/exemplars.json'], source };
  const content = await data.readWhole(exemplars, Exemplars);
  const examples = content.MGSM_EXEMPLARS[language];
  if (!examples) throw new BtsError('BAD_DATA', `'mgsm/exemplars.json' has no examples in '${language}'.`);
  return Object.entries(examples)
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([, { q, a }], i) => ({ question: q, answer: a, answerNumber: content.EXEMPLAR_NUMBER_ANSWERS[i]! }));
}

const answerNumber = (doc: Problem) => `${doc.answerNumber}`;

/** A task in which `label` stands between question and answer. */
function languageTask(language: string, label: string) {
  const { question, steps } = LANGUAGES[language]!;
  const skipped = [...steps].length + 1;
  return {
    source: 'Shi et al. 2022, google-research/url-nlp (CC-BY-4.0)',
    kind: 'generate',
    shots: 8,
    draw: 'random',
    generation: { stop: [question, '</s>', '<|im_end|>'] },
    documents: (data: DataFolder) => readProblems(data, language),
    examples: (data: DataFolder) => readExamples(data, language),
    // Examples bring the word for 'question' with them.
    ...prompted(`{question}\n${label}`, (doc: Problem) => ({
      question: doc.answer === null ? `${question} ${doc.question}` : doc.question,
    })),
    answer: answerNumber,
    // The label of the worked answer is cut off by its length.
    exampleAnswer: (doc: Problem) =>
      doc.answer === null ? answerNumber(doc) : [...doc.answer].slice(skipped).join(''),
  } as const;
}

const exactMatch = { ignoreCase: true, ignorePunctuation: true };
const shotsNote = "with the paper's 8 shots (lm-eval's default is none)";

function nativeTask(language: string): Task<Problem> {
  const { steps, answer } = LANGUAGES[language]!;
  const filters = [regexFilter('strict-match', answer), lastNumber];
  return {
    ...languageTask(language, steps),
    name: `mgsm_native_cot_${language}`,
    version: 4,
    follows: `lm-eval's mgsm_native_cot 4.0 ${shotsNote}; mgsm_direct has numbers alone, mgsm_en_cot an English label`,
    ...textScoring({ answer: answerNumber, filters, exactMatch }),
  };
}

function englishTask(language: string): Task<Problem> {
  const { steps, answer } = LANGUAGES.en!;
  const filters = [regexFilter('strict-match', answer), lastNumber];
  return {
    ...languageTask(language, steps),
    name: `mgsm_en_cot_${language}`,
    version: 3,
    follows: `lm-eval's mgsm_en_cot 3.0 ${shotsNote}`,
    ...textScoring({ answer: answerNumber, filters, exactMatch }),
  };
}

function directTask(language: string): Task<Problem> {
  return {
    ...languageTask(language, LANGUAGES[language]!.direct),
    name: `mgsm_direct_${language}`,
    version: 4,
    follows: `lm-eval's mgsm_direct 4.0 ${shotsNote}`,
    answerDelimiter: '',
    exampleAnswer: answerNumber,
    ...textScoring({ answer: answerNumber, filters: [stripped, lastNumber], exactMatch }),
  };
}

const all = Object.keys(LANGUAGES);
export const tasks: readonly Task[] = [...all.map(nativeTask), ...all.map(englishTask), ...all.map(directTask)];

export const groups: readonly Group[] = (['native_cot', 'en_cot', 'direct'] as const).map((kind) => ({
  name: `mgsm_${kind}`,
  description: `MGSM in ${all.length} languages, ${{ native_cot: 'chains of thought', en_cot: 'chains of thought after an English label', direct: 'numbers alone' }[kind]}`,
  members: all.map((language) => `mgsm_${kind}_${language}`),
  weightBySize: true,
}));
