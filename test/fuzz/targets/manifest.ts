import { baselineConfig, readBaseline } from '../../../lib/checkpoint/baseline-manifest.js';
import { configToJson } from '../../../lib/checkpoint/config.js';
import { readManifest } from '../../../lib/checkpoint/stitch-manifest.js';
import { CONFIGS } from '../../support/models.js';
import { Bytes } from '../bytes.js';
import { editedJson } from '../json-edits.js';
import { expectTyped, put, type Target } from '../target.js';

const hash = '0a'.repeat(32);
const member = (name: string) => ({ name, path: `../${name}`, config: hash, weights: hash, tokenizer: hash });
const members = [member('hub'), { ...member('code'), tokenizer: null }];
const STITCHED = [
  {
    formatVersion: 1,
    members,
    plan: [
      { afterLayer: 1, kind: 'hub_into_experts' },
      { afterLayer: 2, kind: 'experts_into_hub' },
    ],
    gate: 'channel',
    gateBias: true,
    rank: 4,
    expertsAfterMerge: 'projected',
    dropout: 0.1,
  },
];
const BASELINES = [
  { formatVersion: 1, system: 'btm', members },
  { formatVersion: 1, system: 'sparse', k: 1, model: { path: '../stitched', stitches: hash } },
  { formatVersion: 1, system: 'bam', experts: ['code', 'math'], config: configToJson(CONFIGS.llama) },
];

export const target: Target = {
  words: Object.keys({ ...STITCHED[0], ...BASELINES[1], ...member('') }).map((key) => `"${key}"`),
  seeds: () => [Buffer.of(0, 0, 0), ...BASELINES.map((_, seed) => Buffer.of(1, 0, seed))],
  async run(data, folder) {
    const bytes = new Bytes(data);
    if (bytes.below(2) === 0) {
      await put(folder, 'bts.json', editedJson(bytes, STITCHED));
      await expectTyped(['BAD_STITCH'], () => readManifest(folder));
    } else {
      await put(folder, 'baseline.json', editedJson(bytes, BASELINES));
      await expectTyped(['BAD_STITCH', 'BAD_CONFIG'], async () => {
        const manifest = await readBaseline(folder);
        if ('config' in manifest) baselineConfig(manifest, folder);
      });
    }
  },
};
