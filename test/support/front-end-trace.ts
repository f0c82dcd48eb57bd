// What a front end sent during a profile, as a trace file: written by the product's writer, as a rank does it.
import { join } from 'node:path';
import { TraceWriter } from '#vitrine/trace/write/trace-writer.js';
import type { FakeProfiler } from './fake-profiler.js';
import { type CheckedTrace, readTrace } from './trace-checker.js';
import { writerOptions } from './trace-files.js';

export async function writeFrontEndTrace(
  directory: string,
  profiler: FakeProfiler,
  profileId: string,
): Promise<CheckedTrace> {
  const path = join(directory, `${profileId}-TP-9.trace.json.gz`);
  const writer = await TraceWriter.open(writerOptions(path));
  const spans = profiler.spans.filter((message) => message.profileId === profileId);
  const [first] = spans;
  if (first === undefined) throw new Error('The front end has sent no spans.');
  const source = writer.addSource({ pid: first.pid, name: first.processName, sortIndex: 0 });
  for (const { payload, names, threads } of spans)
    writer.write(source, { records: new Uint8Array(payload), names, threads });
  for (const { pid, stacks } of profiler.ends.filter((message) => message.profileId === profileId)) {
    if (stacks !== null) writer.writeCpuProfile(pid, stacks.thread, stacks.profile as never);
  }
  await writer.finish();
  return readTrace(path);
}
