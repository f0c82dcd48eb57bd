// How far a UTF-8 sequence has come: needed wherever text arrives byte by byte.

/** Bytes in the sequence that `lead` opens; 0 when no sequence can start with it. */
function sequenceLength(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;
  if (lead < 0xe0) return 2;
  if (lead < 0xf0) return 3;
  return lead < 0xf5 ? 4 : 0;
}

/**
 * How many bytes at the end of bytes[0, length) may be the start of a character that is not complete yet, 0 to 3. It may
 * be too many (a sequence that no further byte can save), which is harmless: a cut before a lead byte never changes how
 * the two parts decode.
 */
export function incompleteTail(bytes: Uint8Array, length: number): number {
  for (let back = 1; back <= 3 && back <= length; back++) {
    const byte = bytes[length - back]!;
    if (byte >= 0xc0) return sequenceLength(byte) > back ? back : 0;
    if (byte < 0x80) return 0;
  }
  return 0;
}

/** Whether bytes[0, length), at most 4, are one whole character, the start of one, or neither. Strict (RFC 3629). */
export function classifySequence(bytes: Uint8Array, length: number): 'complete' | 'incomplete' | 'invalid' {
  const lead = bytes[0]!;
  const wanted = sequenceLength(lead);
  if (wanted === 0 || length > wanted) return 'invalid';
  for (let i = 1; i < length; i++) {
    const byte = bytes[i]!;
    let low = 0x80;
    let high = 0xbf;
    // The second byte excludes overlong forms, surrogates and everything above U+10FFFF.
    if (i === 1 && lead === 0xe0) low = 0xa0;
    if (i === 1 && lead === 0xed) high = 0x9f;
    if (i === 1 && lead === 0xf0) low = 0x90;
    if (i === 1 && lead === 0xf4) high = 0x8f;
    if (byte < low || byte > high) return 'invalid';
  }
  return length === wanted ? 'complete' : 'incomplete';
}
