// A PreparedModel for the fake engine: no files behind it.
import type { PreparedModel } from '#vitrine/model/prepare-model.js';
import { FAKE_EOS_ID, FAKE_VOCAB_SIZE } from './fake-model.js';

export function fakePreparedModel(contextLength = 512): PreparedModel {
  return {
    directory: '/nowhere',
    config: {},
    architecture: 'FakeForCausalLM',
    modelType: 'fake',
    spec: {
      vocabSize: FAKE_VOCAB_SIZE,
      hiddenSize: 8,
      intermediateSize: 8,
      numHeads: 1,
      numKvHeads: 1,
      headDim: 8,
      rmsNormEps: 1e-5,
      attentionScale: 1,
      qkvBias: false,
      outputBias: false,
      mlpBias: false,
      qkNorm: false,
      activation: 'silu',
      tieWordEmbeddings: true,
      rope: { rotaryDim: 8, invFreq: [1, 0.1, 0.01, 0.001], attentionFactor: 1, dynamicNtk: null },
      layers: [{ slidingWindow: 0, moe: null }],
      dtype: 'float32',
      kvCache: { dtype: 'float32', scales: [] },
    },
    quantization: null,
    loadPlan: { files: [], parameters: [], dummySeed: 0 },
    contextLength,
    eosTokenIds: [FAKE_EOS_ID],
    generationDefaults: {},
  };
}
