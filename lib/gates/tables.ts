import { DIRECTIONS } from '../model/stitches/directions/index.js';
import { type MeanGates, subjectOf, type TaskGates } from './gate-sums.js';
import type { GatedText } from './gated-text.js';

/** A line for each token, stitch and member that has a gate, as RFC 4180 has them. */
export function tokensCsv(texts: readonly GatedText[], quantiles: readonly number[] = []): string {
  const head = ['text', 'part', 'position', 'id', 'token', 'after_layer', 'kind', 'member', 'gate'];
  const lines = [[...head, ...quantiles.map((quantile) => `quantile_${quantile}`)]];
  for (const { name, prompt, answer } of texts) {
    for (const [i, token] of [...prompt, ...answer].entries()) {
      const { id, text, gates } = token;
      const own = [name, i < prompt.length ? 'prompt' : 'answer', `${i + 1}`, `${id}`, text];
      for (const { placement, mean, quantiles } of gates?.stitches ?? []) {
        const { afterLayer, kind } = placement;
        for (let m = DIRECTIONS[kind].firstGated; m < mean.length; m++) {
          const numbers = [mean[m]!, ...(quantiles?.[m] ?? [])].map(number);
          lines.push([...own, `${afterLayer}`, kind, gates!.members[m]!, ...numbers]);
        }
      }
    }
  }
  return csv(lines);
}

/** A line for each domain or task, stitch and member that has a gate. */
export function meansCsv(members: readonly string[], means: readonly (MeanGates | TaskGates)[]): string {
  const subject = means.some((mean) => 'task' in mean) ? 'task' : 'domain';
  const head = ['tokens', 'after_layer', 'kind', 'member', 'gate', 'below_0.05', 'above_0.95', 'unheard', 'entropy'];
  const lines = [[subject, ...head]];
  for (const mean of means) {
    const { tokens, stitch, gates, saturation, unheard, entropy } = mean;
    for (let m = DIRECTIONS[stitch.kind].firstGated; m < gates.length; m++) {
      lines.push([
        subjectOf(mean),
        `${tokens}`,
        `${stitch.afterLayer}`,
        stitch.kind,
        members[m]!,
        ...[gates, saturation.low, saturation.high].map((each) => number(each[m]!)),
        `${unheard.includes(members[m]!)}`,
        number(entropy),
      ]);
    }
  }
  return csv(lines);
}

const csv = (lines: readonly (readonly string[])[]) =>
  lines.map((line) => `${line.map(csvField).join(',')}\r\n`).join('');

const number = (gate: number) => `${Number(gate.toPrecision(6))}`;

const csvField = (field: string) => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field);
