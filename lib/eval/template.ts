import type { Task } from './task.js';

/** A task's prompt: a text in which `{name}` stands for a field of the document. */
export function prompted<Doc>(
  prompt: string,
  fields: (doc: Doc) => Readonly<Record<string, string>>,
): Pick<Task<Doc>, 'prompt' | 'question'> {
  return {
    prompt,
    question(doc) {
      const values = fields(doc);
      return prompt.replace(/\{(\w+)\}/g, (_, name: string) => values[name]!);
    },
  };
}
