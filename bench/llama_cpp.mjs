// One dense model in llama.cpp: greedy tokens and speed of decoding, as the last line of JSON.
//   node llama_cpp.mjs FOLDER MODEL.gguf THREADS RUNS, where FOLDER is one in which node-llama-cpp is installed.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const PROMPT = 64;
const CONTINUED = 64;

const [folder, path, threads, runs] = process.argv.slice(2);
const { getLlama } = await import(pathToFileURL(join(folder, 'node_modules/node-llama-cpp/dist/index.js')));
const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error', maxThreads: Number(threads) });
const model = await llama.loadModel({ modelPath: path, useMmap: false });
const context = await model.createContext({ contextSize: 512, threads: Number(threads), flashAttention: true });
const sequence = context.getSequence();
const vocabulary = model.fileInfo.metadata.llama.vocab_size;
const prompt = Array.from({ length: PROMPT }, (_, i) => (300 + i * 37) % vocabulary);
const speeds = [];
let tokens = [];
for (let run = 0; run < Number(runs) + 1; run++) {
  await sequence.clearHistory();
  tokens = [];
  let first = 0;
  for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    if (tokens.push(token) === 1) first = performance.now();
    if (tokens.length === CONTINUED + 1) break;
  }
  speeds.push((CONTINUED * 1000) / (performance.now() - first));
}
const sorted = speeds.slice(1).sort((a, b) => a - b);
console.log(JSON.stringify({ decode_tok_s: Number(sorted[sorted.length >> 1].toFixed(2)), tokens }));
process.exit(0);
