// One dense model in llama.cpp, answering several at the same time: tokens a second and when the first token came, as the last
// line of JSON.
//   node llama_cpp_serve.mjs FOLDER MODEL.gguf THREADS RUNS CLIENTS, where FOLDER is one in which node-llama-cpp is installed.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const PROMPT = 64;
const CONTINUED = 64;

const [folder, path, threads, runs, clients] = process.argv.slice(2);
const { getLlama } = await import(pathToFileURL(join(folder, 'node_modules/node-llama-cpp/dist/index.js')));
const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error', maxThreads: Number(threads) });
const model = await llama.loadModel({ modelPath: path, useMmap: false });
const context = await model.createContext({
  contextSize: 256,
  sequences: Number(clients),
  threads: Number(threads),
  flashAttention: true,
});
const sequences = Array.from({ length: Number(clients) }, () => context.getSequence());
const vocabulary = model.fileInfo.metadata.llama.vocab_size;

async function ask(sequence, client) {
  const prompt = Array.from({ length: PROMPT }, (_, i) => (300 + client * 1009 + i * 37) % vocabulary);
  const began = performance.now();
  let first = 0;
  let count = 0;
  for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    if (++count === 1) first = performance.now() - began;
    if (count === CONTINUED) break;
  }
  return first;
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const took = [];
const firsts = [];
for (let run = 0; run < Number(runs) + 1; run++) {
  for (const sequence of sequences) await sequence.clearHistory();
  const began = performance.now();
  const first = await Promise.all(sequences.map(ask));
  took.push((performance.now() - began) / 1000);
  firsts.push(median(first));
}
const tokens = (sequences.length * CONTINUED) / median(took.slice(1));
console.log(JSON.stringify({ tok_s: Number(tokens.toFixed(1)), first_ms: Number(median(firsts.slice(1)).toFixed(1)) }));
process.exit(0);
