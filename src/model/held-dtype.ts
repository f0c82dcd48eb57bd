// The dtypes that the native parameters of a model are held in.
import type { Float8Linear, ModelSpec, StoredDType } from '../native/addon.js';

/** `parameter`: as ParameterPlan names it. Vectors, which are held in float32, count as the model's dtype. */
export function heldDType(spec: ModelSpec, parameter: string): StoredDType {
  const [, layer, linear] = /^layers\.(\d+)\.(\w+)$/.exec(parameter) ?? [];
  const float8 = layer === undefined ? undefined : spec.layers[Number(layer)]?.float8;
  return float8?.includes(linear as Float8Linear) ? 'float8_e4m3fn' : spec.dtype;
}
