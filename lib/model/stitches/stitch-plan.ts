import { BtsError } from '../../base/errors.js';
import type { Placement } from '../../checkpoint/stitch-manifest.js';

/**
 * Where S stitches stand in L layers: stitch s after layer s * floor(L / S), the last after layer L. The last one leads
 * into the hub, and directions alternate backwards from it (the paper's text; its pseudo-code ends the other way), or all
 * lead into the hub. Throws BAD_OPTION unless 1 <= S <= L.
 *
 * @param layers L
 * @param stitches S
 * @param alternate whether directions take turns
 */
export function planStitches(layers: number, stitches: number, alternate = true): Placement[] {
  if (!Number.isInteger(stitches) || stitches < 1 || stitches > layers) {
    throw new BtsError(
      'BAD_OPTION',
      `stitches must be a whole number from 1 to the ${layers} layers, not ${stitches}.`,
    );
  }
  const every = Math.floor(layers / stitches);
  return Array.from({ length: stitches }, (_, index) => ({
    afterLayer: index === stitches - 1 ? layers : (index + 1) * every,
    kind: alternate && (stitches - 1 - index) % 2 === 1 ? 'hub_into_experts' : 'experts_into_hub',
  }));
}

/** Throws BAD_STITCH unless the stitches stand one behind the other within the layers and the last leads into the hub. */
export function checkPlan(plan: readonly Placement[], layers: number): void {
  const ordered = plan.every(
    ({ afterLayer }, i) =>
      Number.isInteger(afterLayer) && afterLayer > (plan[i - 1]?.afterLayer ?? 0) && afterLayer <= layers,
  );
  if (!ordered) {
    const places = plan.map(({ afterLayer }) => afterLayer).join(', ');
    throw new BtsError(
      'BAD_STITCH',
      `stitches must stand after rising layers from 1 to ${layers}, not after ${places}.`,
    );
  }
  if (plan.at(-1)?.kind !== 'experts_into_hub') {
    throw new BtsError(
      'BAD_STITCH',
      'the last stitch must be experts_into_hub: what comes after it reaches no output.',
    );
  }
}
