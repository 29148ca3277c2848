import type { z } from 'zod';
import { checkOptions } from '../../base/options-check.js';
import { count, integer, positive, text } from '../../base/schema.js';
import { type EngineOptions, engineOptions } from '../options.js';

/** Where a server listens, whom it answers, and what it refuses. */
export const serverOptions = {
  /** Default 127.0.0.1. */
  host: text('an address').default('127.0.0.1').meta({
    description: 'Address to listen at; 0.0.0.0 is every address of this machine',
    argument: 'address',
  }),
  /** Default 8000; 0: any that is free. */
  port: integer(0, 65535).default(8000).meta({ description: 'Port to listen at; 0: any that is free' }),
  /** What clients send as their bearer token; default: none is asked for. */
  apiKey: text('a key').optional().meta({
    description:
      'Key that clients send as their bearer token (default: BTS_API_KEY of the environment; else none is asked for)',
    argument: 'key',
  }),
  /** Origin whose pages may ask; default: none. */
  cors: text('an origin').optional().meta({
    description: "Origin whose pages may ask, '*' for all (default: none)",
    argument: 'origin',
  }),
  /** MiB of a request, at most; default 8. */
  maxBody: positive().default(8).meta({
    description: 'Size of a request, at most; more is refused (413)',
    argument: 'MiB',
  }),
  /** Tokens that an answer may have, at most; default: the model's positions. */
  maxTokens: count().optional().meta({
    description: "Tokens that an answer may have, at most (default: the model's positions)",
  }),
  /** Seconds that a request may take, waiting included; default 600. */
  timeout: positive(2_000_000).default(600).meta({
    description: 'How long a request may take, waiting included; then it ends (408)',
    argument: 'seconds',
  }),
};

/** How models are served. */
export interface ServeOptions extends z.input<z.ZodObject<typeof serverOptions>>, EngineOptions {
  /** Is told of what nobody expected, for which a client gets 500; default: `console.error`. */
  onError?: (error: Error) => void;
}

const all = { ...serverOptions, ...engineOptions };
export type ServerSettings = z.output<z.ZodObject<typeof all>> & Required<Pick<ServeOptions, 'onError'>>;

/** Fills in defaults. Throws BAD_OPTION. */
export function checkServeOptions(options: ServeOptions): ServerSettings {
  const checked = checkOptions('serve', all, options, { onError: true });
  return { ...checked, onError: checked.onError ?? console.error };
}
