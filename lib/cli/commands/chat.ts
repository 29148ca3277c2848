import type { Command } from 'commander';
import { z } from 'zod';
import { BtsError, throwIfAborted } from '../../base/errors.js';
import { hashOptions } from '../../base/file-hash.js';
import { flag, text } from '../../base/schema.js';
import type { LanguageModel } from '../../model/language-model.js';
import { loadModel } from '../../model/load-model.js';
import { quantizeOptions } from '../../model/transformer/quantization.js';
import { colorDepth } from '../../terminal/colors.js';
import { note } from '../../terminal/output.js';
import { helpText, messageOf, QUIT, runCommand } from '../chat/commands.js';
import { Conversation } from '../chat/conversation.js';
import { openLines } from '../chat/open-lines.js';
import { readMessages } from '../chat/saved.js';
import { Session } from '../chat/session.js';
import { Tint } from '../chat/tint.js';
import { openDevice } from '../options/open-device.js';
import { addConfigOption, addOptions, readOptions } from '../options/options.js';
import { samplingGroup } from '../options/sampling-options.js';
import { deviceOptions } from '../options/training-options.js';

const conversationGroup = {
  messages: text('a file').optional().meta({
    description:
      'Go on with the messages in this JSON file, such as /save writes; one that is not answered yet is answered',
    argument: 'file',
  }),
  plain: flag().default(false).meta({
    description: 'All is one text that goes on, without a chat template: for models that only continue texts',
  }),
};
const Schema = z.object({
  ...conversationGroup,
  ...samplingGroup,
  ...quantizeOptions,
  ...deviceOptions,
  ...hashOptions,
});
type Values = z.output<typeof Schema>;

const EXAMPLES = `
Type a message, or a command:
${helpText()}

Ctrl-C stops an answer; at an empty line twice, or Ctrl-D, it ends all. Where the terminal has colors, each token has that of
the member that led where it was chosen. Messages may also come through a pipe, one a line: answers are on stdout, all else is on
stderr. What a conversation has more than fits the model is left out from its beginning.

Examples:
  bts chat generalist
  bts chat generalist --without math --temperature 0
  bts chat seed --plain                                       # continues what you type
  printf 'Hello\\nAnd in French?\\n' | bts chat generalist --json`;

export function chatCommand(program: Command, signal: AbortSignal): void {
  const command = program
    .command('chat')
    .description('Talk with a model, dense or stitched, by its chat template.')
    .argument('<model>', "The model's folder")
    .addHelpText('after', EXAMPLES);
  addOptions(command, 'Conversation:', conversationGroup);
  addOptions(command, 'Sampling:', samplingGroup);
  addOptions(command, 'Members:', quantizeOptions);
  addOptions(command, 'Device:', deviceOptions);
  addOptions(command, 'Files:', hashOptions);
  addConfigOption(command);
  command.option('--json', 'Print each answer as a line of JSON, at its end').action(async (folder: string) => {
    await run(folder, await readOptions(command, Schema), command.opts().json === true, signal);
  });
}

async function run(folder: string, values: Values, json: boolean, signal: AbortSignal): Promise<void> {
  const { messages: file, plain, without = [], members, quantize, verify, ...others } = values;
  const { device: _, threads: __, precision: ___, ...generating } = others;
  const messages = file === undefined ? [] : await readMessages(file);
  using device = openDevice(values);
  using model = await loadModel(device, folder, { members, quantize, verify, signal });
  if (!plain) expectTemplate(model);
  const conversation = new Conversation(model, { plain, maxTokens: generating.maxTokens, messages });
  using lines = await openLines(signal);
  const { isTerminal } = lines;
  const tint = new Tint(json ? 1 : colorDepth(process.stdout));
  using session = new Session(model, conversation, tint, { ...generating, without, json, isTerminal });
  const answer = () => lines.during((stop) => session.answer(stop));
  const respond = async (line: string) => {
    const message = messageOf(line);
    if (message === undefined) return await runCommand(session, line);
    session.conversation.ask(message);
    await answer();
  };
  /** A person is told what went wrong, and goes on. */
  const attempt = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      if (!isTerminal || signal.aborted || !(error instanceof BtsError)) throw error;
      note(error.code === 'ABORTED' ? '(stopped)' : `${error.code}: ${error.message}`);
    }
  };
  if (isTerminal) note('Type a message, or /help.');
  if (conversation.isAsked) await attempt(answer);
  const prompt = () => (session.without.length > 0 ? `without ${session.without.join()}> ` : '> ');
  for await (const line of lines.read(prompt)) {
    if (line.trim() === QUIT) return;
    if (line.trim() !== '') await attempt(() => respond(line));
  }
  throwIfAborted(signal, 'the conversation');
}

/** Throws BAD_TOKENIZER where the model has no chat template. */
function expectTemplate({ tokenizer }: LanguageModel): void {
  try {
    tokenizer.applyChatTemplate([{ role: 'user', content: 'Hello' }], { addGenerationPrompt: true });
  } catch (error) {
    if (!(error instanceof BtsError) || error.code !== 'BAD_TOKENIZER') return; // it wants another conversation
    throw new BtsError('BAD_TOKENIZER', `${error.message} 'bts chat --plain' does that.`, { cause: error });
  }
}
