/** What a program may use. */
export interface Limits {
  /** Of the wall clock, and of each process's processor time. */
  milliseconds: number;
  /** Of address space, each process. */
  memoryBytes: number;
  /** Processes and threads at once. */
  processes: number;
  /** Of each file. */
  fileBytes: number;
  /** Of stdout and stderr together. */
  outputBytes: number;
}

export const LIMITS: Limits = {
  milliseconds: 10_000,
  memoryBytes: 1 << 30,
  processes: 32,
  fileBytes: 16 << 20,
  outputBytes: 1 << 20,
};

/**
 * The interpreter's arguments. It reads a secret and the program from stdin, takes on the limits, runs the program and tells
 * the verdict on descriptor 3 after the secret: a program that ends the process, or that guesses, has not passed. As in
 * Hugging Face's code_eval, `__name__` is not '__main__'.
 */
export function runnerArguments(limits: Limits): string[] {
  const seconds = Math.ceil(limits.milliseconds / 1000);
  const source = `
import os, resource, sys
for limit, value in (
    ("RLIMIT_CPU", ${seconds}), ("RLIMIT_AS", ${limits.memoryBytes}), ("RLIMIT_NPROC", ${limits.processes}),
    ("RLIMIT_FSIZE", ${limits.fileBytes}), ("RLIMIT_NOFILE", 64), ("RLIMIT_CORE", 0),
):
    resource.setrlimit(getattr(resource, limit), (value, value))
process = os.getpid()
secret, program = sys.stdin.buffer.read().decode("utf-8", "surrogatepass").split("\\n", 1)
try:
    exec(compile(program, "program", "exec"), {})
    verdict = "passed"
except BaseException as error:
    verdict = "failed: " + type(error).__name__ + (": " + str(error)[:200] if str(error) else "")
if os.getpid() == process:
    os.write(3, (secret + verdict).encode("utf-8", "replace"))
os._exit(0)
`;
  return ['-I', '-c', source];
}
