import { z } from 'zod';
import { strip } from '../../python/text.js';
import { type DataFolder, huggingFacePaths, type Location } from '../data/data-folder.js';
import { choiceScoring } from '../scoring.js';
import type { Group, Task } from '../task.js';
import { prompted } from '../template.js';

const LETTERS = ['A', 'B', 'C', 'D'];

const SUBJECTS: Record<string, string> = {
  stem: `abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science
    college_mathematics college_physics computer_security conceptual_physics electrical_engineering elementary_mathematics
    high_school_biology high_school_chemistry high_school_computer_science high_school_mathematics high_school_physics
    high_school_statistics machine_learning`,
  humanities: `formal_logic high_school_european_history high_school_us_history high_school_world_history
    international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory
    professional_law world_religions`,
  social_sciences: `econometrics high_school_geography high_school_government_and_politics high_school_macroeconomics
    high_school_microeconomics high_school_psychology human_sexuality professional_psychology public_relations
    security_studies sociology us_foreign_policy`,
  other: `business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing
    medical_genetics miscellaneous nutrition professional_accounting professional_medicine virology`,
};

interface Question {
  question: string;
  choices: string[];
  /** The index of the right choice. */
  answer: number;
}

const Letter = z.enum(['A', 'B', 'C', 'D']).transform((letter) => LETTERS.indexOf(letter));
const QuestionRow = z.union([
  z
    .tuple([z.string(), z.string(), z.string(), z.string(), z.string(), Letter])
    .transform(([question, a, b, c, d, answer]): Question => ({ question, choices: [a, b, c, d], answer })),
  z.object({
    question: z.string(),
    choices: z.array(z.string()).length(4),
    answer: z.union([z.int().min(0).max(3), Letter]),
  }),
]);

function subjectTask(subject: string): Task<Question> {
  const location = (split: string): Location => ({
    what: `the ${split} questions of MMLU's ${subject}`,
    paths: [`mmlu/${split}/${subject}_${split}.csv`, ...huggingFacePaths('mmlu', subject, split)],
    source: 'https://people.eecs.berkeley.edu/~hendrycks/data.tar, or cais/mmlu on Hugging Face',
  });
  const read = (data: DataFolder, split: string) => data.read(location(split), QuestionRow);
  const choices = () => LETTERS;
  const answer = ({ answer }: Question) => answer;
  return {
    name: `mmlu_${subject}`,
    version: 1,
    source: 'Hendrycks et al. 2021, hendrycks/test (MIT)',
    follows: "the paper's 5 shots, the prompt of lm-eval's mmlu 1.0",
    kind: 'choices',
    shots: 5,
    draw: 'first',
    documents: (data) => read(data, 'test'),
    examples: (data) => read(data, 'dev'),
    preamble: () =>
      `The following are multiple choice questions (with answers) about ${subject.replaceAll('_', ' ')}.\n\n`,
    ...prompted('{question}\nA. {A}\nB. {B}\nC. {C}\nD. {D}\nAnswer:', ({ question, choices }) => ({
      question: strip(question),
      ...Object.fromEntries(LETTERS.map((letter, i) => [letter, choices[i]!])),
    })),
    answer,
    choices,
    ...choiceScoring({ answer, choices }),
  };
}

const subjects = Object.entries(SUBJECTS).map(([category, names]) => ({ category, names: names.split(/\s+/) }));

export const tasks: readonly Task[] = subjects.flatMap(({ names }) => names.map(subjectTask));

export const groups: readonly Group[] = [
  {
    name: 'mmlu',
    description: 'MMLU: 57 subjects, multiple choice',
    members: tasks.map(({ name }) => name),
    weightBySize: true,
  },
  ...subjects.map(({ category, names }) => ({
    name: `mmlu_${category}`,
    description: `MMLU: ${category.replace('_', ' ')}`,
    members: names.map((name) => `mmlu_${name}`),
    weightBySize: true,
  })),
];
