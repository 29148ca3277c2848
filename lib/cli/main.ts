#!/usr/bin/env node
import { fileError } from '../base/errors.js';
import { reportFailure } from './failure.js';
import { Interrupt } from './interrupt.js';
import { present } from './options/options.js';
import { createProgram, optionNames } from './program.js';

const interrupt = new Interrupt();
const program = createProgram(interrupt.signal);
const json = process.argv.includes('--json');
const report = (error: unknown) => {
  // A reader that went away is no failure; a terminal that was closed takes stdout with it, and is one.
  if (interrupt.outputClosed && interrupt.exitCode === undefined) return;
  process.exitCode = reportFailure(error, json, {
    ...present({ interrupted: interrupt.exitCode }),
    options: optionNames(program),
  });
};

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (interrupt.outputClosed) return;
  interrupt.closeOutput();
  if (error.code !== 'EPIPE')
    process.exitCode = reportFailure(fileError(error, 'stdout', 'writing the results'), false);
});
// Work goes on where nobody reads its progress.
process.stderr.on('error', () => {});

await program.parseAsync().catch(report);
