import { BtsError } from '../../base/errors.js';
import { didYouMean } from '../../base/suggest.js';
import { note } from '../../terminal/output.js';
import { textTable } from '../commands/gates.js';
import { saveMessages } from './saved.js';
import type { Session } from './session.js';

interface Command {
  argument?: string;
  help: string;
  run(session: Session, argument: string): void | Promise<void>;
}

const COMMANDS: Record<string, Command> = {
  without: {
    argument: '[names]',
    help: 'these experts take no part any more; without a name: who does not',
    run: (session, argument) => {
      if (argument !== '') session.without = [...new Set([...session.without, ...namesOf(argument)])];
      tellWho(session);
    },
  },
  with: {
    argument: '[names]',
    help: 'these experts take part again; without a name: all',
    run: (session, argument) => {
      const named = namesOf(argument);
      const wrong = named.find((name) => !session.without.includes(name));
      if (wrong !== undefined) throw new BtsError('BAD_OPTION', `'${wrong}' is not switched off.`);
      session.without = argument === '' ? [] : session.without.filter((name) => !named.includes(name));
      tellWho(session);
    },
  },
  gates: {
    argument: '[on|off]',
    help: "the last answer's gates; on or off: whether tokens have the color of the member that leads",
    run: (session, argument) => {
      if (!session.hasGates) throw new BtsError('BAD_OPTION', 'the model has no gates, only stitched models have.');
      if (argument === '') note(session.last ? textTable([session.last]) : '(there is no answer yet)');
      else if (argument === 'off') session.tint.isOn = false;
      else if (argument !== 'on') throw new BtsError('BAD_OPTION', `expected /gates, /gates on or /gates off.`);
      else if (session.tint.canTint) session.tint.isOn = true;
      else throw new BtsError('BAD_OPTION', 'the output shows no colors, or too few: /gates has the numbers.');
    },
  },
  save: {
    argument: 'FILE',
    help: "write the conversation as JSON, for 'bts chat --messages FILE'",
    run: async (session, file) => {
      if (file === '') throw new BtsError('BAD_OPTION', 'expected a file: /save FILE.');
      await saveMessages(file, session.conversation.messages);
      note(`(${session.conversation.messages.length} messages are in '${file}')`);
    },
  },
  new: { help: 'begin a new conversation', run: (session) => session.renew() },
  help: { help: 'show this', run: () => note(helpText()) },
};
export const QUIT = '/quit';
const NAMES = [...Object.keys(COMMANDS).map((name) => `/${name}`), QUIT];

const namesOf = (argument: string) => argument.split(/[\s,]+/).filter((name) => name !== '');

function tellWho({ without }: Session): void {
  note(without.length > 0 ? `(without ${without.join(', ')})` : '(all members take part)');
}

export function helpText(): string {
  const rows = Object.entries(COMMANDS).map(([name, { argument = '', help }]) => [`/${name} ${argument}`, help]);
  const all = [...rows, [QUIT, 'end, as Ctrl-D does']];
  const lines = all.map(([command, help]) => `  ${command!.trimEnd().padEnd(18)} ${help}`);
  return [...lines, "  //text             a message that begins with '/'"].join('\n');
}

/** What a line says to the model; undefined where it is a command. */
export function messageOf(line: string): string | undefined {
  if (!line.startsWith('/')) return line;
  return line.startsWith('//') ? line.slice(1) : undefined;
}

/** Does what a line that begins with '/' says. Throws BAD_OPTION, FILE_IO. */
export async function runCommand(session: Session, line: string): Promise<void> {
  const [, name = '', argument = ''] = /^\/(\S*)\s*(.*?)\s*$/s.exec(line) ?? [];
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command) return await command.run(session, argument);
  throw new BtsError(
    'BAD_OPTION',
    `there is no /${name}.${didYouMean(`/${name}`, NAMES)} /help shows what there is; '/${line}' is told to the model.`,
  );
}
