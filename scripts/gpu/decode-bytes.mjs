// What a decode step must read at least: all weights once, and the keys and values of every request.
import { resolveOptions } from '../../dist/config/resolve-options.js';
import { ENGINE_OPTIONS } from '../../dist/config/tables/engine-options.js';
import { prepareModel } from '../../dist/model/prepare-model.js';
import { StepWork } from '../../dist/model/step-work.js';

/** Of the middle decode step of a row of bench-one-batch. */
export async function decodeBytes(modelPath, quantization, { batch_size, input_len, output_len }) {
  const options = { modelPath, loadFormat: 'dummy', ...(quantization && { quantization }) };
  const { spec } = await prepareModel(resolveOptions(ENGINE_OPTIONS, options));
  const lengths = Array.from({ length: batch_size }, () => input_len + Math.ceil(output_len / 2));
  const counts = lengths.map(() => 1);
  return new StepWork(spec).of(counts, lengths).bytes;
}
