/** What the ranks of an adapter cost in loss: an expert, its hub, and adapters of several ranks between them. */
import { type HeldOutDomain, type HeldOutLoss, type HeldOutOptions, heldOutLosses } from '../eval/held-out-loss.js';
import type { ShrunkExpert } from '../model/adapters/shrunk-expert.js';
import { DenseModel } from '../model/dense-model.js';
import { renderLines } from '../plots/line-panels.js';
import type { Device } from '../tensor/device.js';
import { Progress } from '../terminal/progress.js';
import { type Column, renderTable } from '../terminal/table.js';
import { whole } from '../terminal/units.js';
import { lossColumns } from './results.js';

/** The hub, an adapter, or the expert. */
export interface RankLosses {
  model: string;
  /** The largest of an adapter's matrices; null for hub and expert. */
  rank: number | null;
  /** In an adapter's file; null for the others. */
  parameters: number | null;
  /** How far an adapter's matrices are from the expert's, by the Frobenius norm of all differences to the hub's. */
  error: number | null;
  losses: HeldOutLoss[];
}

/**
 * The losses of the hub, of adapters of these ranks, the lowest first, and of the expert, one after the other in memory. Throws
 * what loading models and `heldOutLosses` throw.
 */
export async function rankLosses(
  device: Device,
  folders: { hub: string; expert: string },
  shrunk: ShrunkExpert,
  ranks: readonly number[],
  domains: readonly HeldOutDomain[],
  options: HeldOutOptions,
): Promise<RankLosses[]> {
  const { signal } = options;
  const rows: RankLosses[] = [];
  const add = async (row: Omit<RankLosses, 'losses'>, load: () => Promise<DenseModel>) => {
    const progress = new Progress(`evaluating ${row.model}`);
    try {
      using model = await load();
      const onProgress = (domain: string, tokens: number) => progress.update(tokens, [`tokens of ${domain}`]);
      rows.push({ ...row, losses: await heldOutLosses(model, domains, { ...options, onProgress }) });
      progress.done(`evaluated ${row.model}`);
    } finally {
      progress.done();
    }
  };
  const plain = { rank: null, parameters: null, error: null };
  await add({ model: 'hub', ...plain }, () => DenseModel.load(device, folders.hub, { signal }));
  for (const rank of ranks) {
    using adapter = shrunk.truncated(rank);
    const { parameters, error } = adapter;
    await add({ model: `rank ${rank}`, rank, parameters, error }, () => adapter.load({ signal }));
  }
  await add({ model: 'expert', ...plain }, () =>
    DenseModel.load(device, folders.expert, { base: folders.hub, signal }),
  );
  return rows;
}

export function rankTable(rows: readonly RankLosses[]): string {
  const columns: Column<RankLosses>[] = [
    { title: 'model', value: ({ model }) => model },
    { title: 'parameters', value: ({ parameters }) => parameters, format: whole },
    { title: 'error', value: ({ error }) => error, digits: 3 },
    ...lossColumns(rows),
  ];
  return renderTable(rows, columns);
}

/** A panel for each domain: the adapters' losses by rank, between the lines of hub and expert. */
export async function drawRankLosses(name: string, rows: readonly RankLosses[]): Promise<string> {
  const adapters = rows.filter((row) => row.rank !== null);
  const ranks = adapters.map(({ rank }) => rank!);
  const ends = [Math.min(...ranks), Math.max(...ranks)];
  const [hub, expert] = [rows[0]!, rows.at(-1)!];
  return await renderLines({
    title: `${name} as an adapter of its hub`,
    subtitle: ['Loss on held-out text, in nats per token, by the rank of the adapter'],
    names: ['hub', 'expert', 'adapter'],
    panels: hub.losses.map(({ domain }, d) => {
      const level = ({ losses }: RankLosses) => ends.map((x) => ({ x, y: losses[d]!.loss }));
      const byRank = adapters.map(({ rank, losses }) => ({ x: rank!, y: losses[d]!.loss }));
      return { title: domain, lines: [level(hub), level(expert), byRank] };
    }),
    columns: Math.min(hub.losses.length, 4),
    xTitle: 'rank',
    yTitle: 'loss',
    xValues: ranks,
  });
}
