const BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

type Labels = Readonly<Record<string, string | number>>;

/** What is read off when somebody asks. */
export interface Reading {
  name: string;
  help: string;
  type: 'gauge' | 'counter';
  values: readonly (readonly [Labels, number])[];
}

/** What is measured while the server runs, in the text format of Prometheus. */
export class Metrics {
  private readonly counters = new Map<string, { help: string; values: Map<string, number> }>();
  private readonly histograms = new Map<string, { help: string; counts: number[]; sum: number; count: number }>();

  add(name: string, help: string, labels: Labels, value = 1): void {
    const counter = this.counters.get(name) ?? { help, values: new Map<string, number>() };
    this.counters.set(name, counter);
    const key = inBraces(labels);
    counter.values.set(key, (counter.values.get(key) ?? 0) + value);
  }

  observe(name: string, help: string, seconds: number): void {
    const histogram = this.histograms.get(name) ?? { help, counts: BUCKETS.map(() => 0), sum: 0, count: 0 };
    this.histograms.set(name, histogram);
    histogram.sum += seconds;
    histogram.count++;
    for (const [i, bound] of BUCKETS.entries()) if (seconds <= bound) histogram.counts[i]!++;
  }

  /** All of it, behind what is read off now. */
  text(readings: readonly Reading[]): string {
    const lines: string[] = [];
    const head = (name: string, help: string, type: string) => {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    };
    for (const { name, help, type, values } of readings) {
      head(name, help, type);
      for (const [labels, value] of values) lines.push(`${name}${inBraces(labels)} ${value}`);
    }
    for (const [name, { help, values }] of this.counters) {
      head(name, help, 'counter');
      for (const [labels, value] of values) lines.push(`${name}${labels} ${value}`);
    }
    for (const [name, { help, counts, sum, count }] of this.histograms) {
      head(name, help, 'histogram');
      for (const [i, bound] of BUCKETS.entries()) lines.push(`${name}_bucket{le="${bound}"} ${counts[i]}`);
      lines.push(`${name}_bucket{le="+Inf"} ${count}`, `${name}_sum ${sum}`, `${name}_count ${count}`);
    }
    return `${lines.join('\n')}\n`;
  }
}

function inBraces(labels: Labels): string {
  const escaped = (value: string | number) => String(value).replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`));
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length > 0 ? `{${pairs.join()}}` : '';
}
