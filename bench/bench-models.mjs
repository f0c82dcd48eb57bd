// The models of the benchmarks: options of the engine for one with steps of fractions of a millisecond, and one of
// milliseconds.
const stories = new URL('../models/stories260K', import.meta.url).pathname;

export const STORIES_260K = { title: 'stories260K', options: { modelPath: stories } };

/** Random weights. */
export const DUMMY_160M = {
  title: 'dummy 160M (12 layers, hidden 768, vocabulary 32,000, bfloat16)',
  options: {
    modelPath: stories,
    loadFormat: 'dummy',
    dtype: 'bfloat16',
    jsonModelOverrideArgs: {
      hidden_size: 768,
      intermediate_size: 3072,
      num_hidden_layers: 12,
      num_attention_heads: 12,
      num_key_value_heads: 12,
      vocab_size: 32000,
      max_position_embeddings: 2048,
    },
  },
};

/** The model that --model names, of those that a benchmark has; ends the program for any other. */
export function modelNamed(name, models) {
  if (Object.hasOwn(models, name)) return models[name];
  console.error(`--model: expected one of ${Object.keys(models).join(', ')}, got '${name}'`);
  process.exit(1);
}
