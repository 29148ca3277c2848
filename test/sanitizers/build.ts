/** The addon with a sanitizer of clang, in a folder of its own. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { availableProcessors } from '../../lib/base/processors.js';

const run = promisify(execFile);

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const clang = 'clang++-19';

/** How each is compiled; that for addresses also looks for undefined behavior, and counts what is covered for libFuzzer. */
const KINDS = {
  address: {
    flags: '-O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer -fsanitize=fuzzer-no-link',
    runtime: 'asan',
  },
  undefined: { flags: '-O3 -g -fsanitize=undefined', runtime: 'ubsan_standalone' },
  thread: { flags: '-O1 -g -fsanitize=thread', runtime: 'tsan' },
} as const;
export type Sanitizer = keyof typeof KINDS;
export const SANITIZERS = Object.keys(KINDS) as Sanitizer[];

const OPTIONS = {
  // Node itself never gives everything back. An error ends the process by SIGABRT, which libFuzzer waits for.
  ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1:handle_segv=2:allocator_may_return_null=1',
  UBSAN_OPTIONS: 'halt_on_error=1:abort_on_error=1:print_stacktrace=1',
  // What Node and V8 do among themselves is not compiled with it: of their locks it sees too little to judge.
  TSAN_OPTIONS: 'ignore_noninstrumented_modules=1:halt_on_error=1:abort_on_error=1:second_deadlock_stack=1',
};

/** Compiles what has changed. Returns the environment of a Node process in which this binary stands for the ordinary one. */
export async function buildSanitized(kind: Sanitizer): Promise<Record<string, string>> {
  const { flags, runtime } = KINDS[kind];
  const folder = join(root, 'build/sanitizers', kind);
  const output = join(folder, 'out');
  // Sanitizers replace functions of the runtime, such as those that guard static variables: it must not come along.
  const settings = {
    BTS_RUNTIME: '',
    CMAKE_CXX_COMPILER: clang,
    CMAKE_BUILD_TYPE: 'Debug',
    CMAKE_CXX_FLAGS_DEBUG: flags,
    BTS_OUTPUT: output,
  };
  await run('cmake', [
    '-S',
    root,
    '-B',
    folder,
    ...Object.entries(settings).map(([name, value]) => `-D${name}=${value}`),
  ]);
  const parallel = ['--parallel', `${availableProcessors()}`];
  await run('cmake', ['--build', folder, ...parallel, '--target', 'branch_train_stitch'], { maxBuffer: 1 << 26 });
  const { stdout } = await run(clang, [`-print-file-name=libclang_rt.${runtime}-x86_64.so`]);
  return {
    ...OPTIONS,
    LD_PRELOAD: stdout.trim(),
    BTS_SANITIZED: join(output, 'Release/branch_train_stitch.node'),
    NODE_OPTIONS: `--require ${join(root, 'test/sanitizers/stand-in.cjs')}`,
  };
}
