import { z } from 'zod';

const oneOrMore = <T extends z.ZodType>(element: T) =>
  z.union([element, z.array(element)]).transform((value) => [value].flat() as z.output<T>[]);

const FilterStep = z.discriminatedUnion('function', [
  z.strictObject({
    function: z.literal('regex'),
    regex_pattern: z.string(),
    group_select: z.int().default(0),
    fallback: z.string().default('[invalid]'),
  }),
  z.strictObject({ function: z.enum(['take_first', 'remove_whitespace', 'lowercase', 'uppercase']) }),
]);
export type FilterStep = z.output<typeof FilterStep>;

const Metric = z.strictObject({
  metric: z.enum(['exact_match', 'bleu', 'chrf', 'acc', 'acc_norm', 'acc_bytes', 'perplexity']),
  aggregation: z.string().optional(),
  higher_is_better: z.boolean().optional(),
  ignore_case: z.boolean().default(false),
  ignore_punctuation: z.boolean().default(false),
  ignore_numbers: z.boolean().default(false),
  regexes_to_ignore: z.array(z.string()).default([]),
});

/** Choices may have names, which stand for nothing. */
const ChoicesByName = z.record(z.string(), z.string()).transform((choices) => Object.values(choices));

const Rows = z.record(z.string(), z.unknown());
/** What lm-eval's files say of data sets that it downloads, and other things that change nothing here. */
const ignored = Object.fromEntries(
  `tag task_alias group dataset_path dataset_name dataset_kwargs training_split validation_split test_split fewshot_split
   should_decontaminate doc_to_decontamination_query unsafe_code`
    .split(/\s+/)
    .map((name) => [name, z.unknown().optional()]),
);

/** A task of the user's: the fields of lm-eval's task files, and `data` for where its documents lie. */
export const OwnTask = z.strictObject({
  ...ignored,
  task: z.string().regex(/^[\w.-]+$/, 'expected letters, digits, dot, dash and underscore'),
  data: z.union([
    z.string().transform((test) => ({ test, train: undefined })),
    z.strictObject({ test: z.string(), train: z.string().optional() }),
  ]),
  source: z.string().default('own data'),
  metadata: z.object({ version: z.number().default(1) }).default({ version: 1 }),
  output_type: z.enum(['multiple_choice', 'generate_until', 'loglikelihood', 'loglikelihood_rolling']),
  description: z.string().default(''),
  doc_to_text: z.string().default(''),
  doc_to_target: z.union([z.string(), z.int(), z.boolean(), z.array(z.union([z.string(), z.int()])).min(1)]),
  doc_to_choice: z.union([z.string(), z.array(z.string()).min(1), ChoicesByName]).optional(),
  target_delimiter: z.string().default(' '),
  fewshot_delimiter: z.string().default('\n\n'),
  num_fewshot: z.int().min(0).default(0),
  fewshot_config: z
    .strictObject({ sampler: z.enum(['default', 'first_n']).default('default'), samples: z.array(Rows).optional() })
    .default({ sampler: 'default' }),
  generation_kwargs: z
    .strictObject({
      until: oneOrMore(z.string().min(1)).optional(),
      max_gen_toks: z.int().min(1).optional(),
      do_sample: z.boolean().optional(),
      temperature: z.number().min(0).optional(),
      top_p: z.number().positive().max(1).optional(),
    })
    .default({}),
  repeats: z.literal(1).default(1),
  filter_list: z.array(z.strictObject({ name: z.string(), filter: z.array(FilterStep) })).optional(),
  metric_list: z.array(Metric).min(1).optional(),
});
export type OwnTask = z.output<typeof OwnTask>;
