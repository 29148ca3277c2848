import { z } from 'zod';
import { similarNames } from './suggest.js';

/** Makes the error to throw from a reason. */
export type Fail = (reason: string) => Error;

/** Parses `value` with a zod schema; throws its first faults on one line through `fail`. */
export function check<Schema extends z.ZodType>(schema: Schema, value: unknown, fail: Fail): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues
    .slice(0, 3)
    .map((issue) => [issue.path.join('.'), messageOf(issue, schema)].filter(Boolean).join(': '));
  throw fail(faults.join('; ').slice(0, 1000));
}

/** Of a key that there is not, with what is like it, where the schema tells. */
function messageOf(issue: z.core.$ZodIssue, schema: z.ZodType): string {
  if (issue.code !== 'unrecognized_keys' || issue.path.length > 0 || !(schema instanceof z.ZodObject))
    return issue.message;
  const near = similarNames(issue.keys[0]!, Object.keys(schema.shape)).map((name) => `'${name}'`);
  return near.length > 0 ? `${issue.message} (is it ${near.join(' or ')}?)` : issue.message;
}
