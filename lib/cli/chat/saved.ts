import { BtsError } from '../../base/errors.js';
import { exists, readJson } from '../../base/file.js';
import { overwrite } from '../../base/overwrite.js';
import type { ChatMessage } from '../../data/tokenizer/chat-template.js';
import { Messages } from '../../serving/http/requests.js';

/** A conversation from a file: a list of messages as OpenAI's API takes them. Throws BAD_DATA, FILE_NOT_FOUND, FILE_IO. */
export async function readMessages(path: string): Promise<ChatMessage[]> {
  const parsed = Messages.safeParse(await readJson(path, 'BAD_DATA'));
  if (parsed.success) return parsed.data;
  throw new BtsError(
    'BAD_DATA',
    `'${path}' is no conversation: expected a list of messages such as {"role": "user", "content": "Hello"}.`,
  );
}

/** Writes a conversation. Throws BAD_OPTION where something else lies there, FILE_IO. */
export async function saveMessages(path: string, messages: readonly ChatMessage[]): Promise<void> {
  const isOther = (await exists(path)) && !(await readMessages(path).catch(() => undefined));
  if (isOther) throw new BtsError('BAD_OPTION', `'${path}' is there and is no conversation: choose another name.`);
  await overwrite(path, `${JSON.stringify(messages, null, 2)}\n`);
}
