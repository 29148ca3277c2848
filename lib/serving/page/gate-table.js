/** All members at each stitch, of one token. It is the legend of the chart, too. */
import { made } from './dom.js';
import { gatesAt, placeOf, shown } from './gates.js';

/** @import { TokenGates } from '../../model/stitches/gate-log.js' */
/** @import { Members } from './gates.js' */

/**
 * The rows of the table's head and body.
 * @param {TokenGates} gates
 * @param {number} chosen the stitch that the chart shows
 * @param {Members} members
 */
export function gateRows(gates, chosen, members) {
  const byStitch = gates.stitches.map((_, s) => new Map(gatesAt(gates, s).map(({ name, gate }) => [name, gate])));
  const heads = gates.stitches.map((stitch, s) => {
    const { afterLayer, kind } = stitch.placement;
    const arrow = made(
      'span',
      { ariaHidden: 'true' },
      `${afterLayer} ${kind === 'experts_into_hub' ? '→ hub' : '← hub'}`,
    );
    return made(
      'th',
      { scope: 'col', className: s === chosen ? 'chosen' : '', title: placeOf(stitch) },
      arrow,
      made('span', { className: 'hidden' }, placeOf(stitch)),
    );
  });
  const rows = gates.members.map((name) => {
    const swatch = made('span', { className: `swatch ${members.lookOf(name)}`, ariaHidden: 'true' });
    const cells = byStitch.map((own, s) => {
      const gate = own.get(name);
      const cell = made('td', { className: s === chosen ? 'chosen' : '' }, gate === undefined ? '–' : shown(gate));
      if (gate !== undefined) cell.style.setProperty('--gate', `${gate}`);
      return cell;
    });
    const head = made('th', { scope: 'row' }, swatch, name);
    return made('tr', { className: members.lookOf(name) }, head, ...cells);
  });
  const corner = made('th', { scope: 'col' }, 'After layer');
  return { head: made('tr', {}, corner, ...heads), rows };
}
