// Writes the files that are derived from tables in src/ (needs dist/): the C++ layout headers and docs/options.md.
// With --check it only compares, and fails when a file is stale.
import { readFile, writeFile } from 'node:fs/promises';
import * as layout from '../dist/engine/forward-batch-layout.js';
import * as spans from '../dist/trace/record/span-layout.js';

const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const pascal = (name) => name[0].toUpperCase() + name.slice(1);
const CPP_TYPE = { i32: 'int32_t', u32: 'uint32_t', f32: 'float' };

function sectionEnum(name, sections) {
  const rows = sections.map((s, i) => `  k${pascal(s.name)} = ${i},  // ${s.type}[${s.length}] ${s.doc}`);
  return `enum class ${name} : int {\n${rows.join('\n')}\n  kCount = ${sections.length},\n};`;
}

function sectionNames(name, sections) {
  const rows = sections.map((s) => `    "${s.name}",`);
  return `inline constexpr std::array<std::string_view, ${sections.length}> ${name} = {\n${rows.join('\n')}\n};`;
}

function headerEnum(name, words) {
  return `enum class ${name} : int {\n${words.map((w, i) => `  k${pascal(w)} = ${i},`).join('\n')}\n};`;
}

function accessors(struct, sectionEnumName, sections) {
  const rows = sections.map(
    (s) =>
      `  std::span<const ${CPP_TYPE[s.type]}> ${snake(s.name)}() const { return section<${CPP_TYPE[s.type]}>(${sectionEnumName}::k${pascal(s.name)}); }`,
  );
  return `/// Read access to every section of a ${struct}; no checks (see validate()).\nstruct ${struct}Sections {\n  const int32_t* words = nullptr;\n\n  template <class T>\n  std::span<const T> section(${sectionEnumName} which) const {\n    const int at = kDirectoryStart + 2 * static_cast<int>(which);\n    return {reinterpret_cast<const T*>(words + words[at]), static_cast<size_t>(words[at + 1])};\n  }\n\n${rows.join('\n')}\n};`;
}

function layoutHeader() {
  const flags = Object.entries(layout.REQUEST_FLAG).map(
    ([k, v]) => `inline constexpr int32_t kFlag${pascal(k)} = ${v};`,
  );
  const profile = Object.entries(layout.PROFILE_STEP).map(
    ([k, v]) => `inline constexpr int32_t kProfile${pascal(k)} = ${v};`,
  );
  const modes = Object.entries(layout.FORWARD_MODE).map(
    ([k, v]) => `inline constexpr int32_t kMode${pascal(k)} = ${v};`,
  );
  return `// Generated from src/engine/forward-batch-layout.ts by \`npm run generate\`. Do not edit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace vitrine::layout {

inline constexpr int kDirectoryStart = ${layout.DIRECTORY_START};
inline constexpr int kHeaderWords = ${layout.HEADER_WORDS};
inline constexpr int32_t kVersion = ${layout.LAYOUT_VERSION};
inline constexpr int32_t kForwardBatchMagic = 0x${layout.FORWARD_BATCH_MAGIC.toString(16)};
inline constexpr int32_t kStepOutputMagic = 0x${layout.STEP_OUTPUT_MAGIC.toString(16)};

${modes.join('\n')}

${profile.join('\n')}

${flags.join('\n')}

${headerEnum('BatchHeader', layout.FORWARD_BATCH_HEADER)}

${headerEnum('OutputHeader', layout.STEP_OUTPUT_HEADER)}

${sectionEnum('BatchSection', layout.FORWARD_BATCH_SECTIONS)}

${sectionEnum('OutputSection', layout.STEP_OUTPUT_SECTIONS)}

/// The sections' names in forward-batch-layout.ts, for messages.
${sectionNames('kBatchSectionNames', layout.FORWARD_BATCH_SECTIONS)}

${accessors('ForwardBatch', 'BatchSection', layout.FORWARD_BATCH_SECTIONS)}

}  // namespace vitrine::layout
`;
}

const constants = (type, prefix, table) =>
  Object.entries(table)
    .map(([k, v]) => `inline constexpr ${type} ${prefix}${pascal(k)} = ${v};`)
    .join('\n');

/** Where each field of a schema begins; shapes have no names of their own and are numbered. */
function spanArguments() {
  return Object.entries(spans.SPAN_SCHEMAS)
    .filter(([, fields]) => fields.length > 0)
    .map(([schema, fields]) => {
      let word = 0;
      let shapes = 0;
      const rows = fields.map((field) => {
        const shape = field.type === 'dims' && field.name === 'Input Dims';
        const name = shape
          ? `dims${++shapes}`
          : field.name.replace(/[^A-Za-z0-9]+(.?)/g, (_, letter) => letter.toUpperCase());
        const type = `${field.type}${field.size === undefined ? '' : `[${field.size}]`}`;
        const row = `  static constexpr size_t k${pascal(name)} = ${word};  // ${type}`;
        word += spans.fieldWords(field);
        return row;
      });
      return `struct ${pascal(schema)}Args {\n${rows.join('\n')}\n};`;
    })
    .join('\n\n');
}

/** Offsets in the C++ structs are checked against the tables by static_assert. */
function spanLayoutHeader() {
  return `// Generated from src/trace/record/span-layout.ts by \`npm run generate\`. Do not edit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vitrine::span_layout {

inline constexpr uint32_t kVersion = ${spans.SPAN_LAYOUT_VERSION};
inline constexpr uint32_t kChunkMagic = 0x${spans.CHUNK_MAGIC.toString(16)};
inline constexpr size_t kChunkHeaderBytes = ${spans.CHUNK_HEADER_BYTES};
inline constexpr size_t kRecordBytes = ${spans.RECORD_BYTES};
inline constexpr size_t kArgumentWords = ${spans.ARGUMENT_WORDS};

// Byte offsets in the chunk header.
${constants('size_t', 'kHeader', spans.CHUNK_HEADER)}

// Byte offsets in a record.
${constants('size_t', 'kRecord', spans.RECORD_OFFSET)}

${constants('uint8_t', 'kKind', spans.RECORD_KIND)}

${constants('uint8_t', 'kCategory', spans.CATEGORY_ID)}

${constants('uint16_t', 'kSchema', spans.SCHEMA_ID)}

// The first argument word of each field, by schema.
${spanArguments()}

}  // namespace vitrine::span_layout
`;
}

async function optionsPage() {
  const { renderOptionsPage } = await import('../dist/config/options-page.js');
  return renderOptionsPage();
}

const FILES = [
  ['native/core/forward_batch_layout.h', layoutHeader],
  ['native/profiler/span_layout.h', spanLayoutHeader],
  ['docs/options.md', optionsPage],
];

const root = new URL('..', import.meta.url);
const check = process.argv.includes('--check');
const only = process.argv.slice(2).filter((a) => !a.startsWith('--'));
let stale = 0;
for (const [path, render] of FILES) {
  if (only.length > 0 && !only.includes(path)) continue;
  const wanted = await render();
  const url = new URL(path, root);
  const found = await readFile(url, 'utf8').catch(() => '');
  if (found === wanted) continue;
  if (check) {
    console.error(`${path} is stale: run npm run generate`);
    stale += 1;
  } else {
    await writeFile(url, wanted);
    console.log(`wrote ${path}`);
  }
}
process.exitCode = stale > 0 ? 1 : 0;
