/** A reproduction as commands of `bts`, one for each model. */
import { dirname, join } from 'node:path';
import { type Reproduction, type Row, slug, titleOf } from './config.js';

/** A model and the command that makes it. */
export interface Make {
  /** The same for repeats. */
  title: string;
  folder: string;
  args: string[];
}

/** All that one seed of random choices takes. */
export interface Plan {
  seed: number;
  /** The seed, its experts, what is made of them: the models of a stage need those before it, not each other. */
  stages: Make[][];
}

export type Domains = Readonly<Record<string, readonly string[]>>;

/** The options of a command that reads these texts, and keeps their tokens below the folder of the reproduction. */
export function textOptions(domains: Domains, root: string): string[] {
  const named = Object.entries(domains).flatMap(([name, paths]) => ['--domain', `${name}=${paths.join(',')}`]);
  return [...named, '--cache', join(root, 'tokens')];
}

/** The commands of a reproduction under `root`. */
export function planReproduction(config: Reproduction, domains: Domains, root: string): Plan[] {
  return config.seeds.map((seed) => planSeed(config, domains, join(root, `seed-${seed}`), seed));
}

function planSeed(config: Reproduction, domains: Domains, root: string, seed: number): Plan {
  const { general, model, generalShare } = config;
  const names = Object.keys(domains);
  const expertNames = names.filter((name) => name !== general);
  const at = (name: string) => join(root, name);
  const text = (wanted: readonly string[]) =>
    textOptions(Object.fromEntries(wanted.map((name) => [name, domains[name]!])), dirname(root));
  const sizes = ['--batch-size', config.batchSize, '--sequence-length', config.sequenceLength];
  const run = ['--evaluate-tokens', config.curveTokens, '--keep', 1, '--json', '--resume'];
  const phase = ({ steps, learningRate }: { steps: number; learningRate: number }, own = seed) => {
    const every = Math.max(1, Math.floor(steps / config.evaluations));
    const often = ['--evaluate-every', every, '--checkpoint-every', every];
    return ['--steps', steps, '--learning-rate', learningRate, ...often, ...sizes, '--seed', own, ...run];
  };
  const make = (title: string, folder: string, args: readonly (string | number)[]): Make => ({
    title,
    folder: at(folder),
    args: [...args, '--out', at(folder)].map(String),
  });

  const shape = ['--width', model.width, '--layers', model.layers, '--heads', model.heads];
  const widths = ['--key-value-heads', model.keyValueHeads, '--feed-forward-width', model.feedForwardWidth];
  const tokenizer = ['--train-tokenizer', model.vocabulary];
  const mostly = ['--weight', `${general}=${generalShare}`];
  const hub = make('Seed', 'seed', [
    'train',
    ...shape,
    ...widths,
    ...tokenizer,
    ...text(names),
    ...mostly,
    ...phase(config.seed),
  ]);
  const frozen = config.expert.freeze.length > 0 ? ['--freeze', config.expert.freeze.join(',')] : [];
  const experts = expertNames.map((name) =>
    make(`Expert ${name}`, `experts-${name}`, [
      'train',
      '--from',
      hub.folder,
      ...frozen,
      ...text([name]),
      ...phase(config.expert),
    ]),
  );
  const ranks = [...new Set(config.rows.flatMap(({ expertRank }) => expertRank ?? []))];
  const shrunk = new Map(
    ranks.map((rank) => [
      rank,
      experts.map(({ title, folder }, i) =>
        make(`${title}, rank ${rank}`, `experts-${expertNames[i]}-rank-${rank}`, [
          'shrink',
          ...[folder, '--hub', hub.folder, '--rank', rank, '--json'],
        ]),
      ),
    ]),
  );
  const membersOf = ({ expertRank }: Row) => {
    const taken = expertRank === undefined ? experts : shrunk.get(expertRank)!;
    return ['--hub', hub.folder, ...taken.flatMap(({ folder }, i) => ['--expert', `${expertNames[i]}=${folder}`])];
  };

  const row = (row: Row, repeat: number): Make => {
    const title = titleOf(row);
    const { system, ablate } = row;
    if (system === 'seed') return hub;
    const folder = repeat === 0 ? slug(title) : `${slug(title)}-${repeat + 1}`;
    const trained = phase({ ...config.merge, ...given(row) }, seed + repeat);
    const common = [...membersOf(row), ...text(names), ...row.options];
    if (system === 'bts') {
      const taken = ablate ? ['--ablate', ablate.join(',')] : [];
      const stitches = ['--stitches', Math.min(config.stitches, model.layers), '--no-compare'];
      return make(title, folder, ['stitch', ...common, ...stitches, ...taken, ...trained]);
    }
    const training = system === 'soup' || system === 'btm' ? [...sizes, '--seed', seed, ...run] : trained;
    return make(title, folder, ['baseline', system, ...common, ...training]);
  };
  const rows = config.rows.flatMap((each) => Array.from({ length: each.repeats }, (_, repeat) => row(each, repeat)));
  const stages = [[hub], experts, ...shrunk.values(), rows.filter((each) => each !== hub)];
  return { seed, stages };
}

const given = ({ steps, learningRate }: Row) => ({
  ...(steps !== undefined && { steps }),
  ...(learningRate !== undefined && { learningRate }),
});
