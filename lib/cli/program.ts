import { Command } from 'commander';
import { baselineCommand } from './commands/baseline.js';
import { chatCommand } from './commands/chat.js';
import { checkCommand } from './commands/check.js';
import { doctorCommand } from './commands/doctor.js';
import { evalCommand } from './commands/eval.js';
import { flopsCommand } from './commands/flops.js';
import { gatesCommand } from './commands/gates.js';
import { generateCommand } from './commands/generate.js';
import { addCommand, removeCommand } from './commands/members.js';
import { paramsCommand } from './commands/params.js';
import { quickstartCommand } from './commands/quickstart.js';
import { reproduceCommand } from './commands/reproduce.js';
import { serveCommand } from './commands/serve.js';
import { shrinkCommand } from './commands/shrink.js';
import { sparseCommand } from './commands/sparse.js';
import { stitchCommand } from './commands/stitch.js';
import { trainCommand } from './commands/train.js';
import { helpLayout, helpWidth, wrapHelp } from './help-layout.js';
import { version } from './version.js';

/** Each adds itself to the program; what takes long ends when the signal fires. */
const COMMANDS: readonly ((program: Command, signal: AbortSignal) => void)[] = [
  quickstartCommand,
  checkCommand,
  trainCommand,
  shrinkCommand,
  stitchCommand,
  addCommand,
  removeCommand,
  sparseCommand,
  baselineCommand,
  generateCommand,
  chatCommand,
  serveCommand,
  evalCommand,
  gatesCommand,
  reproduceCommand,
  paramsCommand,
  flopsCommand,
  doctorCommand,
];

const EXAMPLES = `
Exit codes: 0 done, 1 failed, 2 the command line is wrong, 130 interrupted (143 by SIGTERM, 129 by SIGHUP).

Examples:
  bts quickstart
  bts check --hub seed --expert code=experts/code --expert math=experts/math
  bts stitch --config stitch.yaml
  bts generate generalist "Once upon a time" --temperature 0
  bts <command> --help`;

/**
 * The command line of `bts`: `parseAsync` runs a command, and rejects with what went wrong, for the caller to report. Work
 * in progress is saved and ends when the signal fires.
 */
export function createProgram(signal: AbortSignal): Command {
  const width = helpWidth();
  const program = new Command('bts')
    .description(
      'Branch-Train-Stitch: make one generalist of several Llama-family models without touching the originals.',
    )
    .version(version, '-V, --version', 'Show the version')
    .helpOption('-h, --help', 'Show this help')
    .helpCommand('help [command]', 'Show the help of a command')
    .exitOverride()
    .configureOutput({
      outputError: () => {},
      writeOut: (text) => process.stdout.write(wrapHelp(text, width)),
      writeErr: (text) => process.stderr.write(wrapHelp(text, width)),
    })
    .configureHelp(helpLayout(width))
    .addHelpText('after', EXAMPLES);
  for (const add of COMMANDS) add(program, signal);
  return program;
}

/** The options of all commands, as the API names them. */
export function optionNames(program: Command): string[] {
  return program.commands.flatMap(({ options }) => options.map((option) => option.attributeName()));
}
