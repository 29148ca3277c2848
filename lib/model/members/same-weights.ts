import { BtsError } from '../../base/errors.js';
import type { DenseCheckpoint } from '../../checkpoint/dense-checkpoint.js';
import { familyOf } from '../../checkpoint/families/index.js';

/** Throws MEMBERS_DIFFER unless all weights have a counterpart in every model. */
export function expectSameWeights(checkpoints: readonly DenseCheckpoint[]): void {
  const [hub] = checkpoints;
  expectSameNames(checkpoints);
  const other = checkpoints.find(({ config }) => config.embedding.tied !== hub!.config.embedding.tied);
  if (!other) return;
  throw new BtsError(
    'MEMBERS_DIFFER',
    `these models must have the same weights: '${hub!.folder}' and '${other.folder}' differ in whether the head is the embedding.`,
  );
}

/** Families may store the same weights in other pieces. */
function expectSameNames([hub, ...others]: readonly DenseCheckpoint[]): void {
  const layerNames = ({ config }: DenseCheckpoint) =>
    `${familyOf(config)
      .layer(config)
      .map(({ name }) => name)}`;
  const other = others.find((checkpoint) => layerNames(checkpoint) !== layerNames(hub!));
  if (!other) return;
  throw new BtsError(
    'MEMBERS_DIFFER',
    `these models must have the same weights: '${hub!.folder}' (${hub!.config.family}) and ` +
      `'${other.folder}' (${other.config.family}) store the weights of a layer as other tensors.`,
  );
}
