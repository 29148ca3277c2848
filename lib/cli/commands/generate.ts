import type { Command } from 'commander';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { hashOptions } from '../../base/file-hash.js';
import { parseOptions } from '../../base/options-check.js';
import { flag } from '../../base/schema.js';
import type { GeneratedToken } from '../../model/decoding/generation.js';
import type { LogProbabilities } from '../../model/decoding/log-probabilities.js';
import { generateOptions } from '../../model/decoding/options.js';
import { quantizeOptions } from '../../model/transformer/quantization.js';
import { onFirst } from '../../tensor/together.js';
import { note, printJson, writeText } from '../../terminal/output.js';
import { addConfigOption, addOptions, readOptions } from '../options/options.js';
import { loadOnRanks, openRanks } from '../options/ranks.js';
import { samplingGroup, withoutExperts } from '../options/sampling-options.js';
import { deviceOptions } from '../options/training-options.js';
import { readStdin } from '../stdin.js';

const outputGroup = { logprobs: generateOptions.logprobs };
const promptOptions = {
  chat: flag().default(false).meta({
    description: "Take the prompt for a user's message and answer it, by the tokenizer's chat template",
  }),
};
const Schema = z.object({
  ...promptOptions,
  ...samplingGroup,
  ...outputGroup,
  ...quantizeOptions,
  ...deviceOptions,
  ...hashOptions,
});

const EXAMPLES = `
Without a prompt, the text begins as the tokenizer begins texts. The prompt itself is not printed.

Several processes of a launcher generate with a stitched model, a member on each: as many as it has members.

Examples:
  bts generate generalist "def fibonacci(n):" --max-tokens 64 --temperature 0
  echo "Once upon a time" | bts generate generalist - --top-p 0.9 --seed 7
  bts generate generalist "Q: 2 + 2 = ?" --stop "Q:" --json
  bts generate generalist --chat "What is 2 + 2?"`;

export function generateCommand(program: Command, signal: AbortSignal): void {
  const command = program
    .command('generate')
    .description('Continue a text with a model, dense or stitched; the text comes on stdout as it is generated.')
    .argument('<model>', "The model's folder")
    .argument('[prompt]', "The text to continue; '-' reads it from stdin, without its last line end")
    .addHelpText('after', EXAMPLES);
  addOptions(command, 'Prompt:', promptOptions);
  addOptions(command, 'Sampling:', samplingGroup);
  addOptions(command, 'Output:', outputGroup);
  addOptions(command, 'Members:', quantizeOptions);
  addOptions(command, 'Device:', deviceOptions);
  addOptions(command, 'Files:', hashOptions);
  addConfigOption(command);
  command
    .option('--json', 'Print text, tokens and statistics as JSON, at the end')
    .action(async (folder: string, prompt = '') => {
      const values = await readOptions(command, Schema);
      await run(folder, prompt, values, command.opts().json === true, signal);
    });
}

async function run(
  folder: string,
  given: string,
  values: z.output<typeof Schema>,
  json: boolean,
  signal: AbortSignal,
): Promise<void> {
  const { without = [], chat, logprobs, members, quantize, verify } = values;
  const settings = parseOptions(generateOptions, values);
  if (logprobs !== undefined && !json) {
    throw new BtsError('BAD_OPTION', '--logprobs prints with --json only: add it.');
  }
  using ranks = await openRanks('generate', values);
  // A launcher gives stdin to one of its processes.
  const prompt = await onFirst(ranks.communicator, () => (given === '-' ? readStdin(signal) : given));
  if (chat && prompt === '') throw new BtsError('BAD_OPTION', '--chat answers a message: give one as the prompt.');
  using loaded = await loadOnRanks(ranks, folder, { members, quantize, verify, signal });
  const model = withoutExperts(loaded, without);
  const tokens: number[] = [];
  const logProbabilities: LogProbabilities[] = [];
  let text = '';
  let finish: GeneratedToken['finish'] = 'length';
  const began = performance.now();
  let firstAt = began;
  try {
    const input = chat ? [{ role: 'user', content: prompt }] : prompt;
    for await (const token of model.generate(input, { ...settings, signal })) {
      if (tokens.length === 0) firstAt = performance.now();
      tokens.push(token.id);
      const { logProbability, topLogProbabilities = [] } = token;
      if (logProbability !== undefined) logProbabilities.push({ logProbability, topLogProbabilities });
      text += token.text;
      if (!json) writeText(token.text);
      if (token.finish) finish = token.finish;
    }
  } finally {
    if (!json && tokens.length > 0 && !text.endsWith('\n')) writeText('\n');
  }
  const ended = performance.now();
  const firstTokenMs = firstAt - began;
  const tokensPerSecond = tokens.length > 1 ? ((tokens.length - 1) / (ended - firstAt)) * 1000 : null;
  if (json) {
    const probabilities = logprobs === undefined ? {} : { logProbabilities };
    printJson({ text, tokens, ...probabilities, finish, firstTokenMs, tokensPerSecond });
  } else if (process.stderr.isTTY) {
    const rate = tokensPerSecond === null ? '' : `, then ${tokensPerSecond.toFixed(1)} tokens/s`;
    note(`${tokens.length} tokens, the first after ${firstTokenMs.toFixed(0)} ms${rate}; ended by ${finish}`);
  }
}
