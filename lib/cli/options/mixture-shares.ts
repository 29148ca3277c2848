import { BtsError } from '../../base/errors.js';

/** Of all rows, for each domain that an expert was made for: the paper's mixture. */
const EXPERT_SHARE = 0.15;

/**
 * Each domain's share of the training rows. A domain named like an expert gets 15 %, the others divide the rest evenly; if
 * all are experts' domains, or none is, all get the same. Shares that are `given` win; the other domains then keep their
 * proportions within what is left.
 *
 * Throws BAD_OPTION for a share of an unknown domain, and where nothing is left for the others.
 */
export function mixtureShares(
  domains: readonly string[],
  given: Readonly<Record<string, number>> = {},
  experts: readonly string[] = [],
): Record<string, number> {
  const unknown = Object.keys(given).find((name) => !domains.includes(name));
  if (unknown !== undefined) {
    throw new BtsError('BAD_OPTION', `--weight names '${unknown}', but the domains are ${domains.join(', ')}.`);
  }
  const natural = naturalShares(domains, experts);
  const open = domains.filter((name) => !Object.hasOwn(given, name));
  const givenSum = sum(Object.values(given));
  if (open.length === 0) {
    if (givenSum > 0) return Object.fromEntries(domains.map((name) => [name, given[name]! / givenSum]));
    throw new BtsError('BAD_OPTION', '--weight leaves every domain a share of 0: nothing would be trained on.');
  }
  const left = 1 - givenSum;
  if (left <= 0) {
    throw new BtsError(
      'BAD_OPTION',
      `the shares given with --weight add up to ${givenSum}: nothing is left for ${open.join(', ')}. ` +
        'Give all domains a weight, or keep the sum below 1.',
    );
  }
  const openSum = sum(open.map((name) => natural(name)));
  const share = (name: string) => (open.includes(name) ? (left * natural(name)) / openSum : given[name]!);
  return Object.fromEntries(domains.map((name) => [name, share(name)]));
}

function naturalShares(domains: readonly string[], experts: readonly string[]): (name: string) => number {
  const ofExperts = domains.filter((name) => experts.includes(name)).length;
  const others = domains.length - ofExperts;
  const rest = 1 - ofExperts * EXPERT_SHARE;
  if (ofExperts === 0 || others === 0 || rest <= 0) return () => 1 / domains.length;
  return (name) => (experts.includes(name) ? EXPERT_SHARE : rest / others);
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
