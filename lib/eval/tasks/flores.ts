import { z } from 'zod';
import { type DataFolder, huggingFacePaths, type Location } from '../data/data-folder.js';
import { textScoring } from '../scoring.js';
import type { Group, Task } from '../task.js';
import { prompted } from '../template.js';

interface Language {
  name: string;
  /** As FLORES-200 writes it. */
  code: string;
}

const LANGUAGES: Record<string, Language> = {
  en: { name: 'English', code: 'eng_Latn' },
  nl: { name: 'Dutch', code: 'nld_Latn' },
  es: { name: 'Spanish', code: 'spa_Latn' },
  pt: { name: 'Portuguese', code: 'por_Latn' },
  vi: { name: 'Vietnamese', code: 'vie_Latn' },
  id: { name: 'Indonesian', code: 'ind_Latn' },
  hi: { name: 'Hindi', code: 'hin_Deva' },
  fr: { name: 'French', code: 'fra_Latn' },
  de: { name: 'German', code: 'deu_Latn' },
  ru: { name: 'Russian', code: 'rus_Cyrl' },
  it: { name: 'Italian', code: 'ita_Latn' },
  ca: { name: 'Catalan', code: 'cat_Latn' },
  gl: { name: 'Galician', code: 'glg_Latn' },
  eu: { name: 'Basque', code: 'eus_Latn' },
};

/** The paper's languages, each from and into English. */
const PAPER = ['nl', 'es', 'pt', 'vi', 'id', 'hi', 'fr'];

/** lm-eval's benchmarks that have these tasks under a name of their own, each around one language. */
const BENCHES = {
  spanish_bench: 'es',
  portuguese_bench: 'pt',
  catalan_bench: 'ca',
  galician_bench: 'gl',
  basque_bench: 'eu',
};
const BENCH_LANGUAGES = ['ca', 'es', 'en', 'gl', 'eu', 'it', 'de', 'pt', 'fr'];

/** A line of text, or a row of Hugging Face's with all languages or with one. */
const SENTENCES = Object.fromEntries(
  Object.entries(LANGUAGES).map(([language, { code }]) => [
    language,
    z.union([
      z.string(),
      z.object({ [`sentence_${code}`]: z.string() }).transform((row) => row[`sentence_${code}`]!),
      z.object({ sentence: z.string() }).transform(({ sentence }) => sentence),
    ]),
  ]),
);

interface Pair {
  source: string;
  target: string;
}

function readSentences(data: DataFolder, language: string, split: 'dev' | 'devtest'): Promise<string[]> {
  const { name, code } = LANGUAGES[language]!;
  const short = code.slice(0, 3);
  const location: Location = {
    what: `the ${split} sentences of FLORES in ${name}`,
    paths: [
      `flores101/flores-${split === 'dev' ? 'dev' : 'test'}.${language}`,
      `flores200/${split}/${code}.${split}`,
      `flores101/${split}/${short}.${split}`,
      ...huggingFacePaths('flores', 'all', split),
      ...huggingFacePaths('flores', code, split),
    ],
    source: 'https://github.com/facebookresearch/flores, or facebook/flores on Hugging Face',
  };
  return data.read(location, SENTENCES[language]!);
}

async function readPairs(data: DataFolder, from: string, into: string, split: 'dev' | 'devtest'): Promise<Pair[]> {
  const [sources, targets] = await Promise.all([readSentences(data, from, split), readSentences(data, into, split)]);
  return sources.map((source, i) => ({ source, target: targets[i] ?? '' }));
}

function pairTask(name: string, from: string, into: string): Task<Pair> {
  const [source, target] = [LANGUAGES[from]!, LANGUAGES[into]!];
  const answer = (pair: Pair) => pair.target;
  return {
    name,
    version: 1,
    source: 'Goyal et al. 2022, FLORES (CC-BY-SA-4.0)',
    follows: "the paper's 1 shot, the prompt of lm-eval's flores 1.0 (whose default is none), without its TER",
    kind: 'generate',
    shots: 1,
    draw: 'random',
    generation: { stop: ['\n'] },
    answerDelimiter: '',
    documents: (data) => readPairs(data, from, into, 'devtest'),
    examples: (data) => readPairs(data, from, into, 'dev'),
    ...prompted(`${source.name} sentence: {source}\n${target.name} sentence:`, (pair) => ({ ...pair })),
    answer,
    ...textScoring({ answer, metrics: ['bleu', 'chrf'] }),
  };
}

const codes = Object.keys(LANGUAGES);
const directions = codes.flatMap((from) => codes.flatMap((into) => (from === into ? [] : [[from, into] as const])));
const benches = Object.entries(BENCHES).flatMap(([bench, center]) =>
  directions
    .filter((pair) => pair.includes(center) && pair.every((code) => BENCH_LANGUAGES.includes(code)))
    .map(([from, into]) => pairTask(`${bench}_flores_${from}-${into}`, from, into)),
);

export const tasks: readonly Task[] = [
  ...directions.map(([from, into]) => pairTask(`flores_${from}-${into}`, from, into)),
  ...benches,
];

export const groups: readonly Group[] = [
  {
    name: 'flores_s',
    description: "FLORES: the mean over the paper's seven languages as sources, into English",
    members: PAPER.map((language) => `flores_${language}-en`),
    weightBySize: false,
  },
  {
    name: 'flores_t',
    description: "FLORES: the mean over the paper's seven languages as targets, from English",
    members: PAPER.map((language) => `flores_en-${language}`),
    weightBySize: false,
  },
];
