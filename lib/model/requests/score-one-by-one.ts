import { throwIfAborted } from '../../base/errors.js';
import type { LanguageModel } from '../language-model.js';
import { Distribution } from './distribution.js';
import type { ContinuationRequest, ContinuationScore, RequestOptions, Scored } from './request.js';

/**
 * Scores each continuation token by token behind a copy of its context. It is slower than all together, and needs nothing of a
 * model but caches that are extended and copied: ensembles and routers of several models have no single cache.
 */
export async function* scoreOneByOne<Request extends ContinuationRequest>(
  model: LanguageModel,
  requests: readonly Request[],
  { signal, gates }: Pick<RequestOptions, 'signal' | 'gates'>,
): AsyncGenerator<Scored<Request>> {
  for (const request of requests) {
    throwIfAborted(signal, 'scoring');
    const { context, continuations } = request;
    using before = model.createCache(1, context.length, { gates });
    const first = new Distribution(await model.extend(before, context));
    const scores: ContinuationScore[] = [];
    for (const tokens of continuations) {
      using cache = model.createCache(1, context.length + tokens.length, { gates });
      cache.copySequence(before, 0, 0);
      const score: ContinuationScore = first.score(tokens[0]!);
      if (gates) score.gates = (await before.gates!.latest).slice(-1);
      for (const [i, token] of tokens.slice(1).entries()) {
        const next = new Distribution(await model.extend(cache, [tokens[i]!])).score(token);
        score.logProbability += next.logProbability;
        score.isGreedy &&= next.isGreedy;
        if (gates) score.gates!.push(...(await cache.gates!.latest));
      }
      scores.push(score);
    }
    yield { request, scores };
  }
}
