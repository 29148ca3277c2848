export interface Run {
  passed: boolean;
  verdict: string;
}
export interface Sandbox {
  run(program: string, signal?: AbortSignal): Promise<Run>;
}
