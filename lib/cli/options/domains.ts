import { type DomainTokens, prepareTokens } from '../../data/token-shards.js';
import type { Tokenizer } from '../../data/tokenizer.js';
import { onEach } from '../../tensor/together.js';
import { compact, Progress } from '../../terminal/progress.js';
import { defaultCacheFolder } from './cache-folder.js';
import type { Ranks } from './ranks.js';
import type { DomainValues } from './training-options.js';

/** The domains of a command as tokens. */
export interface OpenDomains extends AsyncDisposable {
  readonly all: readonly DomainTokens[];
}

/** The same on all ranks: the first process of each machine tokenizes, the others find it in the cache. */
export async function openDomainsTogether(
  { communicator, localRank }: Ranks,
  ...args: Parameters<typeof openDomains>
): Promise<OpenDomains> {
  const first = await onEach(communicator, async () => (localRank === 0 ? await openDomains(...args) : undefined));
  return await onEach(communicator, async () => first ?? (await openDomains(...args)));
}

/** Tokenizes the text of all domains, or finds it in the cache. Throws what `prepareTokens` and `defaultCacheFolder` throw. */
export async function openDomains(
  values: DomainValues,
  tokenizer: Tokenizer,
  signal: AbortSignal,
): Promise<OpenDomains> {
  const all: DomainTokens[] = [];
  const close = async () => {
    for (const domain of all) await domain.dispose();
  };
  try {
    const cacheFolder = values.cache ?? (await defaultCacheFolder());
    for (const [name, paths] of Object.entries(values.domain)) {
      all.push(await openDomain({ ...values, cache: cacheFolder }, name, paths, tokenizer, signal));
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { all, [Symbol.asyncDispose]: close };
}

async function openDomain(
  values: DomainValues & { cache: string },
  name: string,
  paths: string[],
  tokenizer: Tokenizer,
  signal: AbortSignal,
): Promise<DomainTokens> {
  const progress = new Progress(`reading ${name}`);
  let counted = '';
  const tokens = await prepareTokens({
    name,
    paths,
    tokenizer,
    signal,
    cacheFolder: values.cache,
    heldOutFraction: values.heldOutFraction,
    documents: values.documents,
    textField: values.textField,
    onProgress: ({ documents, tokens }) => {
      counted = `${compact(tokens)} tokens`;
      progress.update(documents, ['documents', counted]);
    },
  }).catch((error) => {
    progress.done(`reading ${name}`);
    throw error;
  });
  const { train, heldOut } = tokens;
  const kept = heldOut.length > 0 ? `, ${compact(heldOut.length)} of them held out` : '';
  const cached = counted === '' ? ' (from the cache)' : '';
  progress.done(`${name}: ${compact(train.length + heldOut.length)} tokens${kept}${cached}`);
  return tokens;
}
