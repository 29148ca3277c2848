import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../lib/base/random.js';
import type { Row } from './bench.js';
import { ENDLESS, GOOD, normalized, type Refused, refused } from './load/requests.js';
import { LoadedServer } from './load/server.js';
import { HalfOpen, leave, pipelined, readSlowly } from './load/sockets.js';
import { round, spread } from './measure.js';

export interface LoadOptions {
  minutes: number;
  /** Connections that say nothing, or not all. */
  halfOpen: number;
}

const CLIENTS = 64;
/** A template that does not end keeps all waiting until it is stopped. */
const ENDLESS_MS = 120_000;
const SAMPLE_MS = 2000;

/**
 * Bad input and load: `bts serve` is asked by 64 clients at once who send what is right and what is not, leave, read slowly or
 * send several requests at once, beside connections that are never of use. Each answer must be the one that is given alone, each
 * refusal have the right status, and memory stay as it was. Throws what was wrong.
 */
export async function benchLoad({ minutes, halfOpen }: LoadOptions): Promise<Row> {
  const folder = await mkdtemp(join(tmpdir(), 'bts-load-'));
  const server = await LoadedServer.start(folder);
  try {
    return await load(server, 60_000 * minutes, halfOpen);
  } finally {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function load(server: LoadedServer, ms: number, halfOpen: number): Promise<Row> {
  const post = async ({ path, body, method = 'POST', type = 'application/json' }: Omit<Refused, 'statuses'>) => {
    const response = await fetch(server.url + path, { method, body, headers: { 'Content-Type': type } });
    return { status: response.status, text: normalized(await response.text()) };
  };
  const alone: string[] = [];
  for (const good of GOOD) {
    const { status, text } = await post(good);
    if (status !== 200) throw new Error(`asked alone: ${status} ${text.slice(0, 200)}`);
    alone.push(text);
  }

  const counts = { answers: 0, refusals: 0, leavers: 0, slow: 0, pipelined: 0, endedEarly: 0 };
  const faults: string[] = [];
  const expect = (holds: boolean, what: string) => {
    if (!holds) faults.push(what);
  };
  const began = performance.now();
  const isOver = () => performance.now() - began > ms || faults.length > 20 || server.hasEnded;

  const act = async (random: () => number) => {
    const g = Math.floor(random() * GOOD.length);
    const good = GOOD[g]!;
    const kind = random();
    if (kind < 0.6) {
      const { status, text } = await post(good);
      counts.answers++;
      expect(status === 200 && text === alone[g], `request ${g}: ${status} ${text.slice(0, 200)}`);
    } else if (kind < 0.85) {
      const bad = refused(random);
      counts.refusals++;
      const got = await post(bad).catch((error) => {
        if (!bad.mayEnd) throw error;
        counts.endedEarly++;
        return undefined;
      });
      if (!got) return;
      const { status, text } = got;
      const isRight = bad.statuses.includes(status) && text.includes('"error"');
      expect(isRight, `${bad.path} ${bad.body.slice(0, 60)}: ${status} ${text.slice(0, 200)}`);
    } else if (kind < 0.92) {
      await leave(server.url, good, random() < 0.5);
      counts.leavers++;
    } else if (kind < 0.96) {
      expect((await readSlowly(server.url, good)) === alone[g], `read slowly: ${g}`);
      counts.slow++;
    } else {
      const whole = [1, 2, 3].map((i) => (g + i) % GOOD.length).filter((i) => !GOOD[i]!.body.includes('"stream":true'));
      const bad = { path: '/v1/completions', body: '{}' };
      const got = await pipelined(server.port, [...whole.map((i) => GOOD[i]!), bad, good].slice(0, -1));
      const isRight = got.length === whole.length + 1 && whole.every((i, at) => got[at]!.text === alone[i]);
      expect(isRight && got.at(-1)!.status === 400, `pipelined ${whole}: ${got.map(({ status }) => status)}`);
      counts.pipelined++;
    }
  };
  const client = async (number: number) => {
    const source = new Random(number, 'load');
    while (!isOver()) {
      await act(() => source.uniform()).catch((error) =>
        faults.push(`client ${number}: ${error} ${error.cause ?? ''}`),
      );
    }
  };
  const endless = async () => {
    while (!isOver()) {
      const { status, text } = await post(ENDLESS);
      expect(status === 400, `endless template: ${status} ${text.slice(0, 200)}`);
      for (let waited = 0; waited < ENDLESS_MS && !isOver(); waited += 500) await sleep(500);
    }
  };
  const samples: { rss: number; device: number; lines: number }[] = [];
  /** Seconds that /metrics took at most. */
  let longestWait = 0;
  const sample = async () => {
    while (!isOver()) {
      const asked = performance.now();
      const metrics = await server.metrics();
      const waited = (performance.now() - asked) / 1000;
      longestWait = Math.max(longestWait, waited);
      const rss = await server.residentMiB();
      const device = metrics.sum('bts_device_bytes') / 2 ** 20;
      samples.push({ rss, device, lines: metrics.lines });
      if (waited > 10)
        console.log(`${round((performance.now() - began) / 1000, 0)} s: /metrics took ${round(waited, 0)} s`);
      await sleep(SAMPLE_MS);
    }
  };
  const silent = new HalfOpen(server.port, halfOpen);
  await Promise.all([...Array.from({ length: CLIENTS }, (_, i) => client(i)), endless(), sample()]);
  silent.close();
  const seconds = (performance.now() - began) / 1000;
  const parts = [between(samples, 0.1, 0.2), between(samples, 0.45, 0.55), between(samples, 0.9, 1)];
  const tokens = (await server.metrics()).sum('bts_generated_tokens_total');
  const { code, running } = {
    running: (await server.metrics()).sum('bts_running_sequences'),
    code: await server.stop(),
  };
  expect(code === 0, `the server ended with ${code}`);
  expect(running === 0, `${running} sequences are computed that nobody waits for`);
  expect(server.errors.length === 0, `the server said: ${server.errors.slice(0, 5).join('; ')}`);
  const [early, middle, late] = parts as [Memory, Memory, Memory];
  console.log(
    `${round(seconds, 0)} s, ${JSON.stringify(counts)}, ${halfOpen} half-open connections, ended ${silent.ended} times`,
  );
  console.log(
    `MiB of the process: ${early.rss}, ${middle.rss}, ${late.rss}; of the device: ${early.device}, ${middle.device}, ${late.device}`,
  );
  if (faults.length > 0) throw new Error(`under load:\n${faults.join('\n')}`);
  return {
    seconds: round(seconds, 0),
    ...counts,
    answers_s: round(counts.answers / seconds, 1),
    tokens_s: round(tokens / seconds, 0),
    half_open: halfOpen,
    half_open_ended: silent.ended,
    half_open_refused: silent.refused,
    rss_mib: parts.map(({ rss }) => ({ rss })),
    device_mib: parts.map(({ device }) => ({ device })),
    metric_lines: late.lines - early.lines,
    longest_wait_s: round(longestWait, 1),
  };
}

type Memory = ReturnType<typeof between>;

/** Medians of a part of the samples, from a share of their number to another. */
function between(all: readonly { rss: number; device: number; lines: number }[], from: number, to: number) {
  const own = all.slice(Math.floor(from * all.length), Math.max(1, Math.ceil(to * all.length)));
  const median = (of: (one: (typeof own)[number]) => number) => round(spread(own.map(of)).median, 1);
  return { rss: median(({ rss }) => rss), device: median(({ device }) => device), lines: median(({ lines }) => lines) };
}
