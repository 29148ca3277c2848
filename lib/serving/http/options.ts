import { z } from 'zod';
import { check } from '../../base/check.js';
import { BtsError } from '../../base/errors.js';
import { engineOptions } from '../options.js';

/** Where a server listens, whom it answers, and what it refuses. */
export const serverOptions = {
  host: z.string().min(1).default('127.0.0.1').meta({
    description: 'Address to listen at; 0.0.0.0 is every address of this machine',
    argument: 'address',
  }),
  port: z.int().min(0).max(65535).default(8000).meta({ description: 'Port to listen at; 0: any that is free' }),
  apiKey: z.string().min(1).optional().meta({
    description:
      'Key that clients send as their bearer token (default: BTS_API_KEY of the environment; else none is asked for)',
    argument: 'key',
  }),
  cors: z.string().min(1).optional().meta({
    description: "Origin whose pages may ask, '*' for all (default: none)",
    argument: 'origin',
  }),
  maxBody: z.number().positive().default(8).meta({
    description: 'Size of a request, at most; more is refused (413)',
    argument: 'MiB',
  }),
  maxTokens: z.int().min(1).optional().meta({
    description: "Tokens that an answer may have, at most (default: the model's positions)",
  }),
  timeout: z.number().positive().default(600).meta({
    description: 'How long a request may take, waiting included; then it ends (408)',
    argument: 'seconds',
  }),
};

const Schema = z.strictObject({ ...serverOptions, ...engineOptions });
export type ServerOptions = z.input<typeof Schema>;
export type ServerSettings = z.output<typeof Schema>;

/** Fills in defaults. Throws BAD_OPTION. */
export const serverSettings = (options: ServerOptions): ServerSettings =>
  check(Schema, options, (reason) => new BtsError('BAD_OPTION', `how to serve: ${reason}.`));
